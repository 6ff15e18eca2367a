//! What reclaim, compaction and the OOM killer ask of those who own pages.
//!
//! A page on an LRU list, or one that is movable, belongs to somebody: a file, a task's anonymous memory, a handle. Only
//! the owner knows who maps the page, how it is written back and what to change when it moves. [`PageOwner`] is how calls
//! that otherwise only go down reach it; [`super::Env::owner`] names the one that a machine has. Pages are named
//! by record index.
//!
//! Unless said otherwise the caller has locked the page ([`crate::mm::page::PageFlags::LOCKED`]) and holds a reference.
//!
//! Linux: `struct address_space_operations`, `mm/rmap.c`, `struct shrinker`.

use super::{Env, Memory};
use crate::gfp::Gfp;
use crate::reclaim_types::MigrateMode;
use crate::task::{Current, Task};
use crate::trace::vmscan::ShrinkerName;

/// Who used a page through a mapping since reclaim last looked. Linux: `page_referenced`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct References {
    /// Mappings whose young bit was set; it is clear now.
    pub young: u32,
    /// Whether one of these is executable.
    pub executable: bool,
    /// Whether a mapping is locked into memory; the page must stay.
    pub mlocked: bool,
}

/// What became of an attempt to write a page. Linux: `pageout_t`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pageout {
    /// Could not start; the page stays where it is.
    Keep,
    /// Cannot be written at all; the page becomes active.
    Activate,
    /// On its way, with [`crate::mm::page::PageFlags::WRITEBACK`] set.
    Submitted,
    /// Written, and clean.
    Clean,
}

/// Why a page could not move. Linux: the error of `migrate_page`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MigrateError {
    /// Somebody uses the page right now; worth another try. Linux: `-EAGAIN`.
    Again,
    /// The page cannot move now. Linux: `-EBUSY`.
    Busy,
}

/// Slots for anonymous pages outside memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SwapSpace {
    /// All slots. Linux: `total_swap_pages`.
    pub total: u64,
    /// Slots that nobody uses. Linux: `get_nr_swap_pages`.
    pub free: u64,
}

/// Anonymous pages that have a slot and are in memory, and how often they were. Linux: `swap_cache_info`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SwapCache {
    /// Pages now. Linux: `total_swapcache_pages`.
    pub pages: u64,
    /// Pages added so far.
    pub added: u64,
    /// Pages that left again.
    pub deleted: u64,
    /// Searches that found the page.
    pub found: u64,
    /// Searches.
    pub searched: u64,
}

/// A cache of objects that gives memory back when asked. Linux: `struct shrinker`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shrinker {
    /// The names in events.
    pub name: &'static ShrinkerName,
    /// What an object costs to make again, in disk seeks; 0 for next to nothing. Linux: `seeks`.
    pub seeks: u32,
    /// Objects scanned at a time. Linux: `batch`, 128 if unset.
    pub batch: u64,
}

/// What a shrinker did with the objects that it was to look at. Linux: `SHRINK_STOP`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shrunk {
    /// Freed so many objects.
    Freed(u64),
    /// Can do nothing in this context.
    Stop,
}

/// What an owner knows differently from the pages or the counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mismatch {
    /// The page, by record index, if it is about one.
    pub page: Option<u32>,
    /// Which number.
    pub what: &'static str,
    /// What it is.
    pub found: u64,
    /// What it should be.
    pub expected: u64,
}

/// Those who own pages. Unanswered, a question is answered as by somebody who owns none, and no shrinker.
pub trait PageOwner {
    /// Takes note of who used the page through a mapping, and starts afresh. The page need not be locked.
    fn referenced(&self, _index: u32) -> References {
        References::default()
    }

    /// Mappings of the page. Linux: `page_mapcount`.
    fn mapcount(&self, _index: u32) -> u32 {
        0
    }

    /// Whether somebody locked the page into memory, so that it must stay. The page need not be locked. Linux: `PageMlocked`.
    fn is_mlocked(&self, _index: u32) -> bool {
        false
    }

    /// Takes every mapping of the page away, and the references that they hold; whether that was possible.
    ///
    /// Linux: `try_to_unmap`.
    fn unmap<E: Env>(&self, _memory: &Memory<'_, E>, _current: &Current<'_>, _index: u32) -> bool {
        false
    }

    /// Whether anonymous pages can go anywhere.
    fn swap_space(&self) -> SwapSpace {
        SwapSpace::default()
    }

    /// What of it is in memory, too, for reports.
    fn swap_cache(&self) -> SwapCache {
        SwapCache::default()
    }

    /// Gives an anonymous page a slot: it becomes a dirty page of the swap cache, whose reference is added. Whether there
    /// was a slot. Linux: `add_to_swap`.
    fn add_to_swap<E: Env>(&self, _memory: &Memory<'_, E>, _current: &Current<'_>, _index: u32) -> bool {
        false
    }

    /// Takes the slot of a page of the swap cache back, for the page stays. Linux: `try_to_free_swap`.
    fn free_swap<E: Env>(&self, _memory: &Memory<'_, E>, _current: &Current<'_>, _index: u32) -> bool {
        false
    }

    /// Clears the dirty mark and starts to write the page, as reclaim wants it. Unlocks the page when it returns
    /// [`Pageout::Submitted`]. Linux: `pageout`, `->writepage`.
    fn writepage<E: Env>(&self, _memory: &Memory<'_, E>, _current: &Current<'_>, _index: u32) -> Pageout {
        Pageout::Activate
    }

    /// Whether the device behind the page has more writes queued than it likes. Linux: `inode_write_congested`.
    fn is_congested(&self, _index: u32) -> bool {
        false
    }

    /// Whether any device has. Linux: `nr_wb_congested`.
    fn any_congested(&self) -> bool {
        false
    }

    /// Forgets a clean page that nobody but its cache and the caller refers to; drops the cache's reference, and leaves
    /// `shadow` in the place of a file's page. Whether nobody else came. Linux: `__remove_mapping`.
    fn remove_mapping<E: Env>(
        &self,
        _memory: &Memory<'_, E>,
        _current: &Current<'_>,
        _index: u32,
        _shadow: Option<u64>,
    ) -> bool {
        false
    }

    /// Asks the flusher to write dirty pages. Linux: `wakeup_flusher_threads(WB_REASON_VMSCAN)`.
    fn wake_flusher<E: Env>(&self, _memory: &Memory<'_, E>) {}

    /// How often the flusher looks for old pages has changed.
    fn writeback_interval_changed<E: Env>(&self, _memory: &Memory<'_, E>) {}

    /// Drops every clean page that nobody maps or holds. Linux: `drop_pagecache_sb`.
    fn drop_pagecache<E: Env>(&self, _memory: &Memory<'_, E>, _current: &Current<'_>) {}

    /// Takes a movable page that is on no LRU list out of its owner's hands, until it is migrated or put back; whether it
    /// was there. The page is not locked. Linux: `isolate_movable_page`.
    fn isolate_movable(&self, _index: u32) -> bool {
        false
    }

    /// Undoes [`PageOwner::isolate_movable`]. Linux: `putback_movable_page`.
    fn putback_movable(&self, _index: u32) {}

    /// Moves content and identity of the page `from` to the fresh page `to`, both locked: copies the bytes, the marks
    /// that belong to the content, and makes everybody who knew `from` know `to`. The owner's references move along.
    ///
    /// # Errors
    ///
    /// When somebody else refers to `from`, or `mode` forbids what it takes. Nothing changed then. Linux: `migrate_page`.
    fn migrate<E: Env>(
        &self,
        _memory: &Memory<'_, E>,
        _current: &Current<'_>,
        _from: u32,
        _to: u32,
        _mode: MigrateMode,
    ) -> Result<(), MigrateError> {
        Err(MigrateError::Busy)
    }

    /// Drops all anonymous memory of a task that dies; how many pages. Linux: `__oom_reap_task_mm`.
    fn reap<E: Env>(&self, _memory: &Memory<'_, E>, _current: &Current<'_>, _victim: &Task) -> u64 {
        0
    }

    /// Drops everything that a task has mapped, for it exits; how many pages. Linux: `exit_mmap`.
    fn exit_mmap<E: Env>(&self, memory: &Memory<'_, E>, current: &Current<'_>, task: &Task) -> u64 {
        self.reap(memory, current, task)
    }

    /// The shrinkers, in the order in which they are asked.
    fn shrinkers(&self) -> &[Shrinker] {
        &[]
    }

    /// Objects that the shrinker at `which` could free. Linux: `count_objects`.
    fn count_objects(&self, _which: usize) -> u64 {
        0
    }

    /// Looks at up to `nr` objects of the shrinker at `which` and frees what it can. Linux: `scan_objects`.
    fn scan_objects<E: Env>(
        &self,
        _memory: &Memory<'_, E>,
        _current: &Current<'_>,
        _which: usize,
        _nr: u64,
        _gfp: Gfp,
    ) -> Shrunk {
        Shrunk::Stop
    }

    /// Calls `report` for everything in which the owner's tables, its pages and the counters differ. The machine must be
    /// at rest.
    fn audit<E: Env>(&self, _memory: &Memory<'_, E>, _report: &mut dyn FnMut(Mismatch)) {}

    /// Work put off by the shrinker at `which`: takes it, and leaves `0`. Linux: `nr_deferred`.
    fn take_deferred(&self, _which: usize) -> u64 {
        0
    }

    /// Puts off work of the shrinker at `which`; how much there is then.
    fn add_deferred(&self, _which: usize, _nr: u64) -> u64 {
        0
    }
}
