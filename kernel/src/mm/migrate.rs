//! Migration: pages that are in use move to other frames, and nobody notices.
//!
//! Whoever wants frames free isolates the pages on them into a [`MigrateList`] and calls [`migrate_pages`], which takes a
//! target for each from [`MigrateTargets`] and asks the page's owner to move it: content, marks, references, and whatever
//! knows the page by its number ([`PageOwner::migrate`]). A page that somebody uses just then is tried again, up to ten
//! times; from the fourth time on migration waits for the page's lock, if it may wait. What could not be moved goes back
//! where it was.
//!
//! Two kinds of page move: those on the LRU lists, and those that are [`PageFlags::MOVABLE`] without being on one.
//!
//! Linux: `mm/migrate.c`, `migrate_pages`, `unmap_and_move`, `isolate_movable_page`.
//! Linux does more: huge pages, device memory, and migration between nodes.

use super::memory::{Env, Memory};
use super::owner::{MigrateError, PageOwner};
use super::page::{Page, PageFlags};
use super::sleep;
use super::swap;
use crate::reclaim_types::MigrateMode;
use crate::sched::Scheduler;
use crate::task::{Current, TaskFlags};
use crate::trace::migrate::Migrate;
use crate::vmstat::{NodeStat, VmEvent};

/// Pages moved at a time. Linux: `COMPACT_CLUSTER_MAX`.
pub const MIGRATE_BATCH: usize = 32;

/// How often a page is tried.
const PASSES: u32 = 10;
/// From this pass on, counted from 0, migration waits if it may.
const FORCE_FROM: u32 = 3;

/// Where an isolated page came from, and what counts it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Origin {
    /// An LRU list; the node counts it under this until it is moved or put back.
    Lru(NodeStat),
    /// Its owner.
    Owner,
}

/// A page taken out of its owner's or the LRU's hands, with a reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Isolated {
    index: u32,
    origin: Origin,
}

impl Isolated {
    /// Takes a page off its LRU list; `None` if it is not there any more.
    pub fn from_lru<E: Env>(memory: &Memory<'_, E>, index: u32) -> Option<Isolated> {
        let anon = memory.pages.at(index).flags().contains(PageFlags::SWAPBACKED);
        let stat = if anon { NodeStat::NrIsolatedAnon } else { NodeStat::NrIsolatedFile };
        swap::isolate_lru_page(memory, index).then(|| {
            count_isolated(memory, index, stat, 1);
            Isolated { index, origin: Origin::Lru(stat) }
        })
    }

    /// Takes a movable page that is on no LRU list from its owner; `None` if that one will not give it. Linux:
    /// `isolate_movable_page`.
    pub fn from_owner<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, index: u32) -> Option<Isolated> {
        let page = memory.pages.at(index);
        if page.flags().contains(PageFlags::LOCKED) || !page.get_unless_zero() {
            return None;
        }
        if !memory.env.owner().isolate_movable(index) {
            swap::put_page(memory, current, index);
            return None;
        }
        Some(Isolated { index, origin: Origin::Owner })
    }

    /// Gives the page back to where it came from. Linux: `putback_lru_page`, `putback_movable_page`.
    fn put_back<E: Env>(self, memory: &Memory<'_, E>, current: &Current<'_>) {
        match self.origin {
            Origin::Lru(stat) => {
                count_isolated(memory, self.index, stat, -1);
                swap::putback_lru_page(memory, current, self.index);
            }
            Origin::Owner => {
                if !is_orphan(memory.pages.at(self.index)) {
                    memory.env.owner().putback_movable(self.index);
                }
                swap::put_page(memory, current, self.index);
            }
        }
    }
}

fn count_isolated<E: Env>(memory: &Memory<'_, E>, index: u32, stat: NodeStat, delta: i64) {
    let zone = memory.zone(memory.pages.at(index).state().zone());
    memory.node(zone.node).add_stat(stat, delta);
}

/// Whether an isolated page's owner has let go of it: nobody refers to it but whoever isolated it.
fn is_orphan(page: &Page) -> bool {
    page.state().count() == 1
}

/// Isolated pages, at most [`MIGRATE_BATCH`]; the one isolated last comes first.
///
/// They are not linked: an owner keeps what it likes in the record of a page that is on no list.
#[derive(Debug, Default)]
pub struct MigrateList {
    pages: [Option<Isolated>; MIGRATE_BATCH],
    len: usize,
}

impl MigrateList {
    /// Pages in the list.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether there is no room for another one.
    pub fn is_full(&self) -> bool {
        self.len == MIGRATE_BATCH
    }

    /// Adds a page; the list must not be full.
    pub fn push(&mut self, page: Isolated) {
        self.pages[self.len] = Some(page);
        self.len += 1;
    }

    /// Shows every page to `keep`, the one isolated last first, and drops those that it does not want kept.
    fn retain(&mut self, mut keep: impl FnMut(Isolated) -> bool) {
        for page in self.pages[..self.len].iter_mut().rev() {
            if page.is_some_and(|isolated| !keep(isolated)) {
                *page = None;
            }
        }
        let mut kept = 0;
        for at in 0..core::mem::take(&mut self.len) {
            if self.pages[at].is_some() {
                self.pages.swap(kept, at);
                kept += 1;
            }
        }
        self.len = kept;
    }

    /// Gives every page back to where it came from. Linux: `putback_movable_pages`.
    pub fn put_back<E: Env>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>) {
        self.retain(|isolated| {
            isolated.put_back(memory, current);
            false
        });
    }
}

/// Where migrated pages go. Linux: `new_page_t`, `free_page_t`.
pub trait MigrateTargets {
    /// A page that belongs to nobody else: allocated, locked, with one reference.
    fn take(&mut self) -> Option<u32>;

    /// Takes a page back that was not needed, as [`MigrateTargets::take`] gave it.
    fn put_back(&mut self, index: u32);
}

/// What became of a list of pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Migrated {
    /// Pages that moved, or that nobody wants any more.
    pub succeeded: u64,
    /// Pages that were tried and stay where they were.
    pub failed: u64,
    /// There was no target for a page; it and those after it are still in the list. Linux: `-ENOMEM`.
    pub out_of_targets: bool,
}

/// How hard one pass tries.
#[derive(Clone, Copy)]
struct Attempt {
    mode: MigrateMode,
    /// Whether to wait, if the mode lets it.
    force: bool,
}

/// Why a page did not move.
enum Failure {
    /// There is no target.
    NoTarget,
    /// It could not be moved.
    Error(MigrateError),
}

/// Moves the pages of `list` to `targets`. Those that moved, and those that cannot, are no longer in the list then; those
/// that remain are the caller's to put back.
///
/// Linux: `migrate_pages`.
pub fn migrate_pages<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    list: &mut MigrateList,
    targets: &mut impl MigrateTargets,
    mode: MigrateMode,
) -> Migrated {
    let current = &current.with(TaskFlags::PF_SWAPWRITE);
    let (mut done, mut again) = (Migrated::default(), 0);
    for pass in 0..PASSES {
        let attempt = Attempt { mode, force: pass >= FORCE_FROM };
        again = one_pass(memory, current, list, targets, attempt, &mut done);
        if again == 0 || done.out_of_targets {
            break;
        }
    }
    if !done.out_of_targets {
        done.failed += again;
    }
    memory.count(VmEvent::PgmigrateSuccess, done.succeeded);
    memory.count(VmEvent::PgmigrateFail, done.failed);
    memory.trace(current, || Migrate::MmMigratePages { nr_succeeded: done.succeeded, nr_failed: done.failed, mode });
    done
}

/// Tries every page of the list once; how many are worth another try.
fn one_pass<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    list: &mut MigrateList,
    targets: &mut impl MigrateTargets,
    attempt: Attempt,
    done: &mut Migrated,
) -> u64 {
    let mut again = 0;
    list.retain(|isolated| {
        if done.out_of_targets {
            return true;
        }
        sleep::cond_resched(memory, current);
        match unmap_and_move(memory, current, isolated, targets, attempt) {
            Ok(()) => done.succeeded += 1,
            Err(Failure::Error(MigrateError::Busy)) => done.failed += 1,
            Err(Failure::Error(MigrateError::Again)) => {
                again += 1;
                return true;
            }
            Err(Failure::NoTarget) => {
                done.failed += 1;
                done.out_of_targets = true;
                return true;
            }
        }
        false
    });
    again
}

/// Moves a page to a target, or puts it back if it cannot move; a page worth another try stays isolated.
///
/// Linux: `unmap_and_move`.
fn unmap_and_move<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    isolated: Isolated,
    targets: &mut impl MigrateTargets,
    attempt: Attempt,
) -> Result<(), Failure> {
    let target = targets.take().ok_or(Failure::NoTarget)?;
    let page = memory.pages.at(isolated.index);
    let moved = if is_orphan(page) {
        targets.put_back(target);
        Ok(())
    } else {
        move_locked(memory, current, isolated, target, attempt).inspect_err(|_| targets.put_back(target))
    };
    match moved {
        Ok(()) => {
            if let Origin::Lru(stat) = isolated.origin {
                count_isolated(memory, isolated.index, stat, -1);
            }
            page.clear_flags(PageFlags::ACTIVE | PageFlags::UNEVICTABLE);
            swap::put_page(memory, current, isolated.index);
        }
        Err(MigrateError::Busy) => isolated.put_back(memory, current),
        Err(MigrateError::Again) => {}
    }
    moved.map_err(Failure::Error)
}

/// Locks the page and has its owner move it; the target then goes where the page was. Linux: `__unmap_and_move`.
fn move_locked<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    isolated: Isolated,
    target: u32,
    attempt: Attempt,
) -> Result<(), MigrateError> {
    let page = memory.pages.at(isolated.index);
    lock_page(memory, current, page, attempt)?;
    let moved = await_writeback(memory, current, page, attempt)
        .and_then(|()| move_to_new_page(memory, current, isolated.index, target, attempt.mode));
    page.clear_flags(PageFlags::LOCKED);
    moved?;
    match isolated.origin {
        Origin::Lru(_) => swap::putback_lru_page(memory, current, target),
        Origin::Owner => _ = swap::put_page(memory, current, target),
    }
    Ok(())
}

/// Linux: `move_to_new_page`.
fn move_to_new_page<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    from: u32,
    to: u32,
    mode: MigrateMode,
) -> Result<(), MigrateError> {
    memory.env.owner().migrate(memory, current, from, to, mode)?;
    memory.page_owners.copy(from, to);
    memory.pages.at(to).clear_flags(PageFlags::LOCKED);
    Ok(())
}

/// Marks that belong to the content, not to the frame.
const MOVED: PageFlags = PageFlags::ACTIVE
    .union(PageFlags::REFERENCED)
    .union(PageFlags::DIRTY)
    .union(PageFlags::SWAPBACKED)
    .union(PageFlags::UNEVICTABLE)
    .union(PageFlags::MOVABLE)
    .union(PageFlags::WORKINGSET)
    .union(PageFlags::SWAPCACHE)
    .union(PageFlags::UPTODATE);

/// Moves the marks that belong to the content from the page `from` to the page `to`, and the number of the task that
/// holds it; for [`PageOwner::migrate`], when nobody else can change either page. Linux: `migrate_page_states`.
pub fn migrate_page_states<E: Env>(memory: &Memory<'_, E>, from: u32, to: u32) {
    let (from, to) = (memory.pages.at(from), memory.pages.at(to));
    to.set_owner(from.state().owner());
    to.set_flags(from.clear_flags(MOVED));
}

/// Linux: `trylock_page`, and `lock_page` for those who may wait.
fn lock_page<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    page: &Page,
    attempt: Attempt,
) -> Result<(), MigrateError> {
    if page.try_lock() {
        return Ok(());
    }
    // A request that compacts may itself be the one that holds the lock, further up.
    let may_wait =
        attempt.force && attempt.mode != MigrateMode::Async && !current.flags().contains(TaskFlags::PF_MEMALLOC);
    if may_wait && wait_until(memory, current, || page.try_lock()) { Ok(()) } else { Err(MigrateError::Again) }
}

/// Waits until the page is written, if that is allowed. Linux: `wait_on_page_writeback`.
fn await_writeback<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    page: &Page,
    attempt: Attempt,
) -> Result<(), MigrateError> {
    let is_written = || !page.flags().contains(PageFlags::WRITEBACK);
    if is_written() {
        return Ok(());
    }
    if attempt.mode != MigrateMode::Sync {
        return Err(MigrateError::Busy);
    }
    if attempt.force && wait_until(memory, current, is_written) { Ok(()) } else { Err(MigrateError::Again) }
}

/// Looks at every tick whether `ready`; `false` when the wait was called off.
fn wait_until<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, mut ready: impl FnMut() -> bool) -> bool {
    while !ready() {
        if current.context().in_atomic() || sleep::interrupted(memory) || memory.env.sched().should_stop() {
            return false;
        }
        sleep::schedule_timeout(memory, current, 1);
    }
    true
}
