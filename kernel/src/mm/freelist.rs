//! Pages out of the free lists and back into them, without ever waiting.
//!
//! [`get_page_from_freelist`] walks the zonelist, checks each zone's watermark, and takes a block from the first zone
//! that may give one: for a single page from the list of the CPU, filled a batch at a time, else from the zone's buddy
//! lists. [`free_unref_page`] and [`free_block`] are the way back. What a request is, is told by its [`AllocContext`].
//!
//! The order of the checks is v5.0's, because it can be observed. Linux: `mm/page_alloc.c`, `get_page_from_freelist`,
//! `rmqueue`, `free_unref_page`.
//!
//! Linux does more: deferred initialisation of page records, and dirty limits, which come with the page cache.

use core::sync::atomic::Ordering::Relaxed;

use super::alloc_context::AllocContext;
use super::buddy::{Buddy, Run};
use super::fallback::{self, FallbackControl, Range32};
use super::memory::{Env, Hook, Memory};
use super::page::{Kind, PageState};
use super::pcp::PcpLists;
use super::prep;
use super::zone::{AllocFlags, WatermarkTerms, Zone};
use crate::addr::Order;
use crate::gfp::Gfp;
use crate::mmzone::MigrateType;
use crate::quirks::Quirk;
use crate::sync::Pin;
use crate::task::Current;
use crate::trace::decision::{self, Decision, Verdict, WatermarkCheck};
use crate::trace::kmem::Kmem;
use crate::vmstat::NumaStat;

/// Takes a block from the first zone that may give one; its record index, or `None` when every zone is too low.
///
/// Linux: `get_page_from_freelist`.
#[inline(never)]
pub fn get_page_from_freelist<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    flags: AllocFlags,
) -> Option<u32> {
    match walk(memory, current, ac, flags) {
        Walk::Found(index) => Some(index),
        Walk::Refused if !flags.contains(AllocFlags::NOFRAGMENT) => None,
        Walk::Refused | Walk::Remote => match walk(memory, current, ac, flags - AllocFlags::NOFRAGMENT) {
            Walk::Found(index) => Some(index),
            _ => None,
        },
    }
}

/// How a walk of the zonelist ended.
enum Walk {
    /// With a block.
    Found(u32),
    /// Nowhere: every zone refused.
    Refused,
    /// At a remote zone, before which fragmentation of the local ones is the lesser evil.
    Remote,
}

#[inline(always)]
fn walk<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, ac: &AllocContext<'_>, flags: AllocFlags) -> Walk {
    let unusual = memory.hooks() & (Hook::Trace as u32 | Hook::Cpusets as u32) != 0;
    for zoneref in ac.zonelist.eligible(ac.highest, ac.nodemask) {
        let zone = memory.zone(usize::from(zoneref.zone));
        if unusual && !look_closer(memory, current, ac, zone, flags) {
            continue;
        }
        if flags.contains(AllocFlags::NOFRAGMENT) && is_remote(memory, ac, zone) {
            return Walk::Remote;
        }
        let mark = zone.watermark(flags.watermark());
        let enough = zone.watermark_fast(ac.order, mark, ac.classzone, flags);
        if !enough && !flags.contains(AllocFlags::NO_WATERMARKS) {
            continue;
        }
        if let Some(index) = take_from_zone(memory, current, ac, zone, flags) {
            return Walk::Found(index);
        }
    }
    Walk::Refused
}

/// Takes a block from the zone, which may give one, and prepares it.
#[inline(never)]
fn take_from_zone<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    zone: &Zone,
    flags: AllocFlags,
) -> Option<u32> {
    let index = match ac.order {
        Order::ZERO => rmqueue_pcplist(memory, current, ac, zone, flags),
        _ => rmqueue_buddy(memory, current, ac, zone, flags),
    }?;
    Some(prep::prep_new_page(memory, current, ac, flags, index))
}

/// Whether the zone is on another node than the one that the request likes best.
fn is_remote<E: Env>(memory: &Memory<'_, E>, ac: &AllocContext<'_>, zone: &Zone) -> bool {
    memory.nr_online_nodes() > 1 && zone.node != ac.preferred_node && zone.id != ac.preferred_zone
}

/// Whether the cpuset lets the request use the zone; records what its watermark says.
#[cold]
#[inline(never)]
fn look_closer<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    zone: &Zone,
    flags: AllocFlags,
) -> bool {
    if memory.has(Hook::Cpusets) && flags.contains(AllocFlags::CPUSET) && !cpuset_allows(current, zone, ac.gfp) {
        trace_zone(memory, current, ac, zone, None, Verdict::Cpuset);
        return false;
    }
    let mark = zone.watermark(flags.watermark());
    let terms = zone.watermark_terms(ac.order, mark, ac.classzone, flags);
    let verdict = if zone.watermark_fast(ac.order, mark, ac.classzone, flags) {
        Verdict::Enough
    } else if flags.contains(AllocFlags::NO_WATERMARKS) {
        Verdict::NoWatermarks
    } else if terms.pass() {
        Verdict::NoBlock
    } else {
        Verdict::TooFewPages
    };
    trace_zone(memory, current, ac, zone, Some(watermark_check(zone, flags, terms)), verdict);
    true
}

/// The terms of a check as the event has them.
fn watermark_check(zone: &Zone, flags: AllocFlags, terms: WatermarkTerms) -> WatermarkCheck {
    WatermarkCheck {
        mark: flags.watermark(),
        threshold: terms.min as u64,
        reserve: terms.reserve as u64,
        free: zone.counts.free_pages(),
        cma: terms.cma as u64,
        highatomic: terms.highatomic as u64,
    }
}

fn trace_zone<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    zone: &Zone,
    check: Option<WatermarkCheck>,
    verdict: Verdict,
) {
    let zone = decision::ZoneRef { node: zone.node, zone: zone.zone_type };
    memory.trace(current, || Decision::ZoneConsidered { zone, order: ac.order, check, verdict });
}

/// Whether the cpuset of `current` lets it use the zone's node. Linux: `__cpuset_zone_allowed`.
fn cpuset_allows(current: &Current<'_>, zone: &Zone, gfp: Gfp) -> bool {
    current.context().in_interrupt()
        || current.task.mems_allowed().contains(zone.node)
        || current.task.is_oom_victim()
        || (!gfp.contains(Gfp::__GFP_HARDWALL) && current.flags().contains(crate::task::TaskFlags::PF_EXITING))
}

/// Takes one page from the list of this CPU, filling it first if it is empty. Linux: `rmqueue_pcplist`.
#[inline(always)]
fn rmqueue_pcplist<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    zone: &Zone,
    flags: AllocFlags,
) -> Option<u32> {
    let pin = memory.pin();
    let index = loop {
        let mut lists = zone.pcp.local(&pin);
        let pageset = lists.shared();
        if lists.list(ac.migratetype).is_empty() {
            refill(memory, current, &pin, zone, ac.migratetype, flags, &mut lists);
        }
        match lists.take(&memory.pages, pageset, ac.migratetype) {
            Some(index) if !prep::check_new_page(memory, index) => continue,
            taken => break taken,
        }
    };
    if index.is_some() {
        count_alloc(memory, &pin, ac, zone, Order::ZERO);
    }
    drop(pin);
    wake_for_boost(zone);
    index
}

/// Moves a batch of pages from the zone's lists to a per-CPU list. Linux: `rmqueue_bulk`.
#[inline(never)]
pub(super) fn refill<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    pin: &Pin<'_, E::Irq>,
    zone: &Zone,
    migratetype: MigrateType,
    flags: AllocFlags,
    lists: &mut PcpLists,
) {
    let mut guard = zone.free.lock(pin);
    let mut buddy = zone.buddy(&mut guard, memory.pages, memory.blocks);
    let (mut left, mut lent) = (zone.pcp_limits().batch, 0);
    let batch = left;
    while left > 0 {
        let run = match buddy.take_pages(left, migratetype) {
            Some(run) => run,
            None => match fall_back(memory, current, zone, buddy.reborrow(), Order::ZERO, migratetype, flags) {
                Fallen::Moved => continue,
                Fallen::Lent(index) => {
                    lent += 1;
                    index..index + 1
                }
                Fallen::Empty => break,
            },
        };
        if memory.has(Hook::Trace) {
            run.clone().for_each(|index| trace_zone_locked(memory, current, index, Order::ZERO, migratetype));
        }
        left -= run.len() as u32;
        lists.refill(&memory.pages, zone.pageset(pin.cpu()), migratetype, run);
    }
    zone.counts.count(migratetype, lent - i64::from(batch - left));
    zone.counts.count(MigrateType::Cma, -lent);
}

#[cold]
fn trace_zone_locked<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    index: u32,
    order: Order,
    migratetype: MigrateType,
) {
    let page = memory.pages.pfn(index);
    memory.trace(current, || Kmem::MmPageAllocZoneLocked { page, order, migratetype });
}

/// Takes a block of order 1 or more from the zone's lists. Linux: the second half of `rmqueue`.
#[inline(never)]
fn rmqueue_buddy<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    zone: &Zone,
    flags: AllocFlags,
) -> Option<u32> {
    if ac.gfp.contains(Gfp::__GFP_NOFAIL) && ac.order.get() > 1 {
        prep::warn_nofail_order(memory, ac);
    }
    let pin = memory.pin();
    let mut guard = zone.free.lock(&pin);
    let mut buddy = zone.buddy(&mut guard, memory.pages, memory.blocks);
    let index = loop {
        let reserved =
            if flags.contains(AllocFlags::HARDER) { buddy.take(ac.order, MigrateType::HighAtomic) } else { None };
        let index = match reserved {
            Some(index) => index,
            None => rmqueue_locked(memory, current, zone, &mut buddy, ac.order, ac.migratetype, flags)?,
        };
        if prep::check_new_page(memory, index) {
            break index;
        }
    };
    let nr_pages = ac.order.nr_pages() as i64;
    buddy.counts.count(memory.pages.at(index).state().migratetype(), -nr_pages);
    if flags.contains(AllocFlags::HARDER) {
        fallback::reserve_highatomic(zone, &mut buddy, &fallback_control(memory, zone), index);
    }
    drop(guard);
    count_alloc(memory, &pin, ac, zone, ac.order);
    drop(pin);
    wake_for_boost(zone);
    Some(index)
}

/// Takes a block off the lists of `migratetype`, of CMA for movable requests, or of whom it may fall back on.
///
/// Does not change the count of free pages. Linux: `__rmqueue`.
#[inline(always)]
fn rmqueue_locked<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    zone: &Zone,
    buddy: &mut Buddy<'_, '_>,
    order: Order,
    migratetype: MigrateType,
    flags: AllocFlags,
) -> Option<u32> {
    loop {
        if let Some(index) = buddy.take(order, migratetype) {
            if memory.has(Hook::Trace) {
                trace_zone_locked(memory, current, index, order, migratetype);
            }
            return Some(index);
        }
        match fall_back(memory, current, zone, buddy.reborrow(), order, migratetype, flags) {
            Fallen::Moved => {}
            Fallen::Lent(index) => return Some(index),
            Fallen::Empty => return None,
        }
    }
}

/// What there is when the lists of a migratetype are empty.
enum Fallen {
    /// A block of CMA, lent to a movable request.
    Lent(u32),
    /// Blocks that came over from another type.
    Moved,
    /// Nothing.
    Empty,
}

/// Takes a block from CMA, for a movable request, or moves memory of another type to the lists of `migratetype`.
///
/// Linux: `__rmqueue_cma_fallback`, `__rmqueue_fallback`.
#[cold]
#[inline(never)]
fn fall_back<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    zone: &Zone,
    mut buddy: Buddy<'_, '_>,
    order: Order,
    migratetype: MigrateType,
    flags: AllocFlags,
) -> Fallen {
    if migratetype == MigrateType::Movable
        && let Some(index) = buddy.take(order, MigrateType::Cma)
    {
        trace_zone_locked(memory, current, index, order, migratetype);
        return Fallen::Lent(index);
    }
    let control = fallback_control(memory, zone);
    let Some(fallback) = fallback::rmqueue_fallback(zone, buddy, &control, order, migratetype, flags) else {
        return Fallen::Empty;
    };
    memory.trace(current, || Kmem::MmPageAllocExtfrag {
        page: memory.pages.pfn(fallback.index),
        alloc_order: order,
        fallback_order: fallback.order,
        alloc_migratetype: migratetype,
        fallback_migratetype: fallback.from,
        change_ownership: fallback.change_ownership,
    });
    Fallen::Moved
}

fn fallback_control<E: Env>(memory: &Memory<'_, E>, zone: &Zone) -> FallbackControl {
    let indices = zone.indices(&memory.pages);
    FallbackControl {
        limits: Range32 { start: indices.start, end: indices.end },
        boost_factor: memory.sysctl.watermark_boost_factor.load(Relaxed),
        mobility_disabled: memory.has(Hook::MobilityOff),
        boost_small_zones: !memory.quirks.switched(Quirk::SmallBoost),
    }
}

/// Counts pages that left the zone for a caller. Linux: `__count_zid_vm_events`, `zone_statistics`.
#[inline(always)]
fn count_alloc<E: Env>(
    memory: &Memory<'_, E>,
    pin: &Pin<'_, E::Irq>,
    ac: &AllocContext<'_>,
    zone: &Zone,
    order: Order,
) {
    let cpu = pin.cpu();
    let pageset = zone.pageset(cpu);
    pageset.count_alloc(order.nr_pages());
    if memory.has(Hook::NumaStatOff) {
        return;
    }
    if zone.node == ac.preferred_node {
        pageset.count_numa(NumaStat::NumaHit);
    } else {
        pageset.count_numa(NumaStat::NumaMiss);
        memory.zone(usize::from(ac.preferred_zone)).pageset(cpu).count_numa(NumaStat::NumaForeign);
    }
    let local = zone.node == memory.cpu_node[cpu];
    pageset.count_numa(if local { NumaStat::NumaLocal } else { NumaStat::NumaOther });
}

/// After a boost kswapd is due; until it exists the mark is only taken back. Linux: the end of `rmqueue`.
#[inline(always)]
pub(super) fn wake_for_boost(zone: &Zone) {
    if zone.is_boosted() {
        zone.set_boosted(false);
    }
}

/// Puts a single page, prepared for freeing, on the list of this CPU. Linux: `free_unref_page`.
#[inline(always)]
pub fn free_unref_page<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, index: u32, state: PageState) {
    let migratetype = memory.blocks.of(index).migratetype();
    if migratetype == MigrateType::Isolate {
        return free_block(memory, index, state);
    }
    let zone = memory.zone(state.zone());
    memory.pages.at(index).set_state(state.to_free(Kind::Pcp, migratetype));
    let pin = memory.pin();
    let mut lists = zone.pcp.local(&pin);
    let pageset = lists.shared();
    pageset.count_free(1);
    let count = lists.put(&memory.pages, pageset, index, migratetype);
    drop(lists);
    drop(pin);
    if count >= zone.pcp_high() {
        drain_batch(memory, current, zone);
    }
}

/// Gives a batch of pages of this CPU's list back to the zone.
#[inline(never)]
pub(super) fn drain_batch<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, zone: &Zone) {
    let pin = memory.pin();
    let mut lists = zone.pcp.local(&pin);
    drain_lists(memory, current, &pin, zone, &mut lists, zone.pcp_limits().batch);
}

/// Gives `nr` pages of a per-CPU list back to the zone. Linux: `free_pcppages_bulk`.
#[inline(always)]
fn drain_lists<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    pin: &Pin<'_, E::Irq>,
    zone: &Zone,
    lists: &mut PcpLists,
    nr: u32,
) {
    let pageset = zone.pageset(pin.cpu());
    let mut guard = zone.free.lock(pin);
    let mut buddy = zone.buddy(&mut guard, memory.pages, memory.blocks);
    let isolated = buddy.lists.nr_isolated > 0;
    let mut run: Option<Run> = None;
    lists.drain(&memory.pages, pageset, nr, |index| {
        let own = memory.pages.at(index).state().migratetype();
        let migratetype = if isolated { memory.blocks.of(index).migratetype() } else { own };
        if memory.has(Hook::Trace) {
            trace_drain(memory, current, index, migratetype);
        }
        let extended = run.as_mut().is_some_and(|run| run.extend(index, migratetype));
        if !extended && let Some(complete) = run.replace(Run::of(index, migratetype)) {
            buddy.free_run(complete);
        }
    });
    if let Some(complete) = run {
        buddy.free_run(complete);
    }
}

#[cold]
fn trace_drain<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, index: u32, migratetype: MigrateType) {
    memory.trace(current, || Kmem::MmPagePcpuDrain { page: memory.pages.pfn(index), migratetype });
}

/// Gives the pages on this CPU's lists back to their zones: those of `only`, or of all. Linux: `drain_local_pages`.
pub fn drain_local_pages<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, only: Option<&Zone>) {
    for zone in memory.populated_zones().filter(|zone| only.is_none_or(|only| only.id == zone.id)) {
        let pin = memory.pin();
        let mut lists = zone.pcp.local(&pin);
        let count = lists.shared().count();
        if count > 0 {
            drain_lists(memory, current, &pin, zone, &mut lists, count);
        }
    }
}

/// Gives a block, prepared for freeing and in `state`, back to its zone. Linux: `__free_pages_ok`, `free_one_page`.
#[inline(never)]
pub fn free_block<E: Env>(memory: &Memory<'_, E>, index: u32, state: PageState) {
    let (zone, order) = (memory.zone(state.zone()), state.order());
    let pin = memory.pin();
    let mut guard = zone.free.lock(&pin);
    let migratetype = memory.blocks.of(index).migratetype();
    zone.buddy(&mut guard, memory.pages, memory.blocks).free(index, order, migratetype);
    zone.pageset(pin.cpu()).count_free(order.nr_pages());
}
