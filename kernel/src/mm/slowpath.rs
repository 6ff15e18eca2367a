//! The slow path: what a request does when no zone is above Low.
//!
//! ```text
//!   wake kswapd, try down to Min                             S1-S3
//!   a large or unmovable block: compact, without waiting     S4
//!   +-> wake kswapd, try with what the reserves allow        S5-S6
//!   |   who may not sleep, or makes room already: fail       S7
//!   |   reclaim, compact                                     S8-S9
//!   |   once is enough for __GFP_NORETRY, and for costly ones: fail
//!   |   reclaim or compaction may still help: again          S12-S13
//!   |   kill somebody: again                                 S15-S17
//!   +-- __GFP_NOFAIL: help it, and again                     S21-S24
//!       fail, with a report                                  S25
//! ```
//!
//! [`SlowPath`] is one such attempt; its methods are the steps, and each returns an [`End`] when the matter is settled.
//! What a step means is in the files below: [`direct`] makes room, [`retry`] decides whether to go round again,
//! [`may_oom`] calls the killer. A request whose caller calls it off (^C) ends at the next step, and one that goes round
//! more often than a person allows ([`Memory::round_limit`]) ends there; both tell their caller so.
//!
//! Linux: `__alloc_pages_slowpath` in `mm/page_alloc.c`.

use crate::sync::atomic::Ordering::Relaxed;

use super::alloc_context::AllocContext;
use super::freelist;
use super::memory::{Env, Memory};
use super::printed::WarnOnce;
use super::reserve;
use super::sleep;
use super::vmscan;
use super::wakeup;
use super::warn;
use super::warn_alloc;
use super::zone::AllocFlags;
use crate::gfp::Gfp;
use crate::mmzone::MigrateType;
use crate::reclaim_types::{CompactPriority, CompactResult};
use crate::task::{Current, TaskFlags};
use crate::trace::Numa;
use crate::trace::reasons::{FlagsOrigin, HarderBy, RefuseReason, ReserveRule, RetryReason};
use crate::trace::slowpath::SlowPath as Step;
use crate::vmstat::LabEvent;

mod direct;
pub(super) mod hurried;
mod may_oom;
mod retry;

pub use direct::perform_reclaim;

/// Orders above this are costly: nobody goes to great lengths for them. Linux: `PAGE_ALLOC_COSTLY_ORDER`.
pub const COSTLY_ORDER: u32 = 3;

/// How an attempt ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// With a block; its record index.
    Page(u32),
    /// Without one.
    NoPage(RefuseReason),
    /// From the start: the nodes that the task may use have changed.
    RetryCpuset(RetryReason),
    /// The caller called it off.
    Interrupted,
    /// It has gone as many rounds as a person allows.
    RoundLimit,
}

/// Goes on, or ends.
type Outcome = Result<(), End>;

/// Why the slow path has no page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// There is none to be had.
    NoMemory,
    /// The caller called the request off.
    Interrupted,
    /// It has gone as many rounds as a person allows: so many.
    RoundLimit(u32),
}

/// A request on its way through the slow path.
struct SlowPath<'a, 'm, 't, 'z, E> {
    memory: &'a Memory<'m, E>,
    current: &'a Current<'t>,
    ac: &'a mut AllocContext<'z>,
    /// How far the next attempt may go.
    flags: AllocFlags,
    /// Whether `flags` are a reserve that was opened.
    reserve: ReserveRule,
    /// Whether the last step made room.
    progress: bool,
    /// Rounds in a row that made none.
    no_progress_loops: u32,
    compact_priority: CompactPriority,
    compact_result: CompactResult,
    compact_retries: u32,
    /// Rounds that it went so far.
    rounds: u32,
    /// What told of the task's nodes when the attempt began.
    mems_cookie: u32,
}

/// Finds a block for the request of `ac`, whose fast path failed. Leaves in `ac` its mask less what the task's scopes
/// take away, by which events name the request.
///
/// # Errors
///
/// When there is none, or the caller called it off. Linux: `__alloc_pages_slowpath`.
#[inline(never)]
pub fn alloc_pages_slowpath<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &mut AllocContext<'_>,
) -> Result<u32, Refusal> {
    memory.count_lab(LabEvent::Slowpath);
    let asked = ac.gfp;
    ac.gfp = current.scoped(asked);
    let alloc_mask = ac.gfp;
    let mut slow = SlowPath::new(memory, current, ac);
    slow.settle_mask(asked);
    let found = match slow.run() {
        End::Page(index) => Ok(index),
        End::Interrupted => Err(Refusal::Interrupted),
        End::RoundLimit => Err(Refusal::RoundLimit(slow.rounds)),
        End::NoPage(_) | End::RetryCpuset(_) => {
            memory.count_lab(LabEvent::AllocFail);
            report_failure(memory, current, slow.ac);
            Err(Refusal::NoMemory)
        }
    };
    ac.gfp = alloc_mask;
    found
}

/// Wakes the kswapd of every node that the request may use. Linux: `wake_all_kswapds`.
#[inline(always)]
fn wake_all_kswapds<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, ac: &AllocContext<'_>) {
    let mut last = None;
    for zoneref in ac.zonelist.eligible(ac.highest, ac.nodemask) {
        let zone = memory.zone(usize::from(zoneref.zone));
        if last != Some(zone.node) {
            wakeup::wakeup_kswapd(memory, current, zone, ac.gfp, ac.order, ac.highest);
        }
        last = Some(zone.node);
        if memory.nr_online_nodes() == 1 {
            break;
        }
    }
}

/// Says that the request fails, unless its mask asks not to. Linux: `warn_alloc`.
#[inline(always)]
fn report_failure<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, ac: &AllocContext<'_>) {
    if !ac.gfp.contains(Gfp::__GFP_NOWARN) {
        let text = format_args!("page allocation failure: order:{}", ac.order);
        warn_alloc::warn_alloc(memory, current, ac.gfp, ac.nodemask, text);
    }
}

impl<'a, 'm, 't, 'z, E: Env> SlowPath<'a, 'm, 't, 'z, E> {
    #[inline(always)]
    fn new(memory: &'a Memory<'m, E>, current: &'a Current<'t>, ac: &'a mut AllocContext<'z>) -> Self {
        SlowPath {
            memory,
            current,
            ac,
            flags: AllocFlags::empty(),
            reserve: ReserveRule::None,
            progress: false,
            no_progress_loops: 0,
            compact_priority: CompactPriority::DEF,
            compact_result: CompactResult::Skipped,
            compact_retries: 0,
            rounds: 0,
            mems_cookie: 0,
        }
    }

    /// From S1 on until the matter is settled.
    #[inline(always)]
    fn run(&mut self) -> End {
        loop {
            let mut outcome = self.start();
            let end = loop {
                outcome = match outcome.and_then(|()| self.round()) {
                    Err(End::NoPage(reason)) => self.no_page(reason),
                    outcome => outcome,
                };
                if let Err(end) = outcome {
                    break end;
                }
            };
            let End::RetryCpuset(reason) = end else { return end };
            self.note_retry(reason);
        }
    }

    /// S1 to S4: what is done once.
    #[inline(always)]
    fn start(&mut self) -> Outcome {
        self.begin()?;
        self.wake_kswapds();
        self.take(FlagsOrigin::Mask)?;
        self.compact_first()
    }

    /// S0: who may sleep is not in such a hurry. `asked` is the mask before the task's scopes.
    #[inline(always)]
    fn settle_mask(&mut self, asked: Gfp) {
        if self.has(Gfp::__GFP_ATOMIC | Gfp::__GFP_DIRECT_RECLAIM) {
            self.warn_once(WarnOnce::AtomicReclaim);
            self.ac.gfp -= Gfp::__GFP_ATOMIC;
        }
        let (order, gfp) = (self.ac.order, self.ac.gfp);
        self.memory.trace(self.current, || Step::SlowpathEntered { order, gfp, asked });
    }

    /// S1: everything from the mask again, but for the nodemask: one that was dropped stays so.
    fn begin(&mut self) -> Outcome {
        self.compact_retries = 0;
        self.no_progress_loops = 0;
        self.compact_priority = CompactPriority::DEF;
        self.mems_cookie = self.current.task.placement.mems_cookie();
        self.flags = reserve::gfp_to_alloc_flags(self.current, self.ac.gfp);
        self.ac.prefer(self.memory).ok_or(End::NoPage(RefuseReason::NoZone))
    }

    /// S2, S5: every node of the zonelist hears of the need.
    #[inline(always)]
    fn wake_kswapds(&self) {
        if self.flags.contains(AllocFlags::KSWAPD) {
            wake_all_kswapds(self.memory, self.current, self.ac);
        }
    }

    /// S3, S6: a look at the free lists.
    #[inline(always)]
    fn take(&mut self, origin: FlagsOrigin) -> Outcome {
        self.memory.trace(self.current, || Step::AllocFlagsChosen {
            flags: self.flags.bits(),
            origin,
            harder: self.harder_by(origin),
        });
        match freelist::get_page_or_make_room(self.memory, self.current, self.ac, self.flags, vmscan::make_room) {
            Some(index) => Err(End::Page(index)),
            None => Ok(()),
        }
    }

    /// S4: large blocks are worth compacting for before anything else, and unmovable ones, which spoil pageblocks.
    #[inline(always)]
    fn compact_first(&mut self) -> Outcome {
        let order = self.ac.order.get();
        let worth = order > COSTLY_ORDER || (order > 0 && self.ac.migratetype != MigrateType::Movable);
        if !worth || !self.can_direct_reclaim() || reserve::pfmemalloc_allowed(self.current, self.ac.gfp) {
            return Ok(());
        }
        self.compact(CompactPriority::INIT)?;
        if order > COSTLY_ORDER && self.has(Gfp::__GFP_NORETRY) {
            if self.compact_result == CompactResult::Deferred {
                return Err(End::NoPage(RefuseReason::CompactDeferred));
            }
            self.compact_priority = CompactPriority::INIT;
        }
        Ok(())
    }

    /// S5 to S17: one round; `Ok` to go round again.
    #[inline(always)]
    fn round(&mut self) -> Outcome {
        self.wake_kswapds();
        self.open_reserves();
        self.take(if self.reserve_is_open() { FlagsOrigin::Reserves } else { FlagsOrigin::Mask })?;
        if !self.can_direct_reclaim() {
            return Err(End::NoPage(RefuseReason::CannotSleep));
        }
        if self.current.flags().contains(TaskFlags::PF_MEMALLOC) {
            return Err(End::NoPage(RefuseReason::TaskMemalloc));
        }
        self.make_room()
    }

    /// S6: a reserve that is open to the request replaces what its mask allows, and its cpuset.
    #[inline(always)]
    fn open_reserves(&mut self) {
        self.reserve = reserve::reserve_rule(self.current, self.ac.gfp);
        let opened = reserve::reserve_flags(self.reserve);
        self.memory.trace(self.current, || Step::ReservesChecked { rule: self.reserve, flags: opened.bits() });
        if !opened.is_empty() {
            self.flags = opened;
        }
        if !opened.is_empty() || !self.flags.contains(AllocFlags::CPUSET) {
            if let Some(nodes) = self.ac.nodemask.take() {
                self.memory.trace(self.current, || Numa::NodemaskDropped { nodes, rule: self.reserve });
            }
            let _ = self.ac.prefer(self.memory);
        }
    }

    /// S8 to S17: reclaims, compacts, and decides whether that helps; `Ok` to go round again.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self) -> Outcome {
        self.check_interrupt()?;
        self.reclaim()?;
        self.compact(self.compact_priority)?;
        // Both give up early when they are called off; nobody is to die of that.
        self.check_interrupt()?;
        if self.has(Gfp::__GFP_NORETRY) {
            return Err(End::NoPage(RefuseReason::NoRetry));
        }
        if self.ac.order.get() > COSTLY_ORDER && !self.has(Gfp::__GFP_RETRY_MAYFAIL) {
            return Err(End::NoPage(RefuseReason::Costly));
        }
        if self.should_reclaim_retry() {
            return self.retry(RetryReason::ReclaimGoesOn);
        }
        if self.progress && self.should_compact_retry() {
            return self.retry(RetryReason::CompactGoesOn);
        }
        self.check_retry_cpuset()?;
        self.may_oom()?;
        if self.victim_gives_up() {
            return Err(End::NoPage(RefuseReason::OomVictimGivesUp));
        }
        if self.progress {
            self.no_progress_loops = 0;
            return self.retry(RetryReason::OomProgress);
        }
        Err(End::NoPage(RefuseReason::NoProgress))
    }

    /// S16: a victim that has used its share of the reserves should get on with dying.
    fn victim_gives_up(&self) -> bool {
        let spent = self.flags == AllocFlags::OOM || self.has(Gfp::__GFP_NOMEMALLOC);
        self.current.task.is_oom_victim() && spent
    }

    /// S20 to S24: the request has nothing, for `reason`; `Ok` to go round again, for it must not fail.
    #[inline(always)]
    fn no_page(&mut self, reason: RefuseReason) -> Outcome {
        self.memory.trace(self.current, || Step::SlowpathRefused { reason });
        self.check_retry_cpuset()?;
        if !self.has(Gfp::__GFP_NOFAIL) {
            return Err(End::NoPage(reason));
        }
        if !self.can_direct_reclaim() {
            self.warn_once(WarnOnce::NoFailNoReclaim);
            return Err(End::NoPage(RefuseReason::NoFailCannotSleep));
        }
        self.help_nofail()
    }

    /// S22 to S24: whoever must not fail may take a quarter of Min.
    #[cold]
    #[inline(never)]
    fn help_nofail(&mut self) -> Outcome {
        if self.current.flags().contains(TaskFlags::PF_MEMALLOC) {
            self.warn_once(WarnOnce::NoFailMemalloc);
        }
        if self.ac.order.get() > COSTLY_ORDER {
            self.warn_once(WarnOnce::NoFailCostly);
        }
        self.take_with(AllocFlags::HARDER | AllocFlags::CPUSET, FlagsOrigin::NoFailHelp)?;
        self.take_with(AllocFlags::HARDER, FlagsOrigin::NoFailHelp)?;
        sleep::cond_resched(self.memory, self.current);
        self.check_interrupt()?;
        self.retry(RetryReason::NoFail)
    }

    /// What gave an attempt's flags `ALLOC_HARDER`.
    fn harder_by(&self, origin: FlagsOrigin) -> HarderBy {
        match origin {
            FlagsOrigin::Mask => reserve::harder_by(self.current, self.ac.gfp),
            FlagsOrigin::NoFailHelp => HarderBy::NoFail,
            FlagsOrigin::Reserves | FlagsOrigin::OomLastTry | FlagsOrigin::OomNoFail => HarderBy::Nothing,
        }
    }

    /// A look at the free lists with other flags than the request's own.
    fn take_with(&mut self, flags: AllocFlags, origin: FlagsOrigin) -> Outcome {
        let own = core::mem::replace(&mut self.flags, flags);
        let outcome = self.take(origin);
        self.flags = own;
        outcome
    }

    /// Goes round again.
    fn retry(&mut self, reason: RetryReason) -> Outcome {
        self.rounds += 1;
        let limit = self.memory.round_limit.load(Relaxed);
        if limit != 0 && self.rounds >= limit {
            self.memory.trace(self.current, || Step::SlowpathRefused { reason: RefuseReason::RoundLimit });
            return Err(End::RoundLimit);
        }
        self.note_retry(reason);
        self.check_interrupt()
    }

    fn note_retry(&self, reason: RetryReason) {
        self.memory.count_lab(LabEvent::Retry);
        self.memory.trace(self.current, || Step::SlowpathRetry { reason });
    }

    fn warn_once(&self, warning: WarnOnce) {
        warn::warn_on_once(self.memory, self.current, warning);
    }

    fn check_interrupt(&self) -> Outcome {
        if sleep::interrupted(self.memory) { Err(End::Interrupted) } else { Ok(()) }
    }

    #[inline(always)]
    fn has(&self, bits: Gfp) -> bool {
        self.ac.gfp.contains(bits)
    }

    #[inline(always)]
    fn can_direct_reclaim(&self) -> bool {
        self.has(Gfp::__GFP_DIRECT_RECLAIM)
    }

    fn reserve_is_open(&self) -> bool {
        !reserve::reserve_flags(self.reserve).is_empty()
    }
}
