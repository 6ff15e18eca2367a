//! The words of making room: LRU lists, what a scan of one found, and how compaction tries and ends.
//!
//! Key types: [`LruList`], [`ReclaimStat`] and [`NodeReclaim`] of reclaim, [`MigrateMode`] of migration,
//! [`CompactPriority`] and [`CompactResult`] of compaction. Numbers are Linux's, because events print them and code
//! compares them. Neighbours: the LRU, reclaim and compaction act on these words, the events in `trace` print them.
//!
//! Linux: `enum lru_list`, `struct reclaim_stat`, `enum migrate_mode`, `include/linux/compaction.h`.
//! Linux does more: `MIGRATE_SYNC_NO_COPY`, for devices that copy pages themselves.

use core::fmt;

/// A list of pages by age. Linux: `enum lru_list`.
#[doc(alias = "lru_list")]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum LruList {
    /// Pages of tasks, next to be reclaimed.
    InactiveAnon = 0,
    /// Pages of tasks, in use.
    ActiveAnon = 1,
    /// Pages of files, next to be reclaimed.
    InactiveFile = 2,
    /// Pages of files, in use.
    ActiveFile = 3,
    /// Pages that must stay.
    Unevictable = 4,
}

impl LruList {
    /// Number of lists.
    pub const COUNT: usize = 5;
    /// Every list in the order of its number.
    pub const ALL: [LruList; LruList::COUNT] =
        [LruList::InactiveAnon, LruList::ActiveAnon, LruList::InactiveFile, LruList::ActiveFile, LruList::Unevictable];

    /// The list for evictable pages of files (else of tasks) that are active (else inactive).
    pub const fn evictable(file: bool, active: bool) -> LruList {
        match (file, active) {
            (false, false) => LruList::InactiveAnon,
            (false, true) => LruList::ActiveAnon,
            (true, false) => LruList::InactiveFile,
            (true, true) => LruList::ActiveFile,
        }
    }

    /// Whether its pages are in use. Linux: `is_active_lru`.
    pub const fn is_active(self) -> bool {
        matches!(self, LruList::ActiveAnon | LruList::ActiveFile)
    }

    /// Whether its pages belong to files. Linux: `is_file_lru`.
    pub const fn is_file(self) -> bool {
        matches!(self, LruList::InactiveFile | LruList::ActiveFile)
    }

    /// The name in events.
    pub const fn name(self) -> &'static str {
        match self {
            LruList::InactiveAnon => "inactive_anon",
            LruList::ActiveAnon => "active_anon",
            LruList::InactiveFile => "inactive_file",
            LruList::ActiveFile => "active_file",
            LruList::Unevictable => "unevictable",
        }
    }

    /// The list's array index.
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for LruList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What one look at isolated pages found, in pages. Linux: `struct reclaim_stat`.
#[doc(alias = "reclaim_stat")]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReclaimStat {
    /// File pages dirty or under writeback.
    pub nr_dirty: u32,
    /// File pages dirty, and nobody has begun to write them.
    pub nr_unqueued_dirty: u32,
    /// File pages whose device is congested, or that came round again before their writeback ended.
    pub nr_congested: u32,
    /// Pages under writeback.
    pub nr_writeback: u32,
    /// Pages under writeback that kswapd met a second time.
    pub nr_immediate: u32,
    /// Pages sent to an active list.
    pub nr_activate: u32,
    /// Pages kept because they were referenced.
    pub nr_ref_keep: u32,
    /// Pages that could not be unmapped.
    pub nr_unmap_fail: u32,
}

/// How long a migration may wait. Linux: `enum migrate_mode`.
#[doc(alias = "migrate_mode")]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum MigrateMode {
    /// Never waits.
    Async = 0,
    /// Waits for locks, not for writeback.
    SyncLight = 1,
    /// Waits for writeback too.
    Sync = 2,
}

impl MigrateMode {
    /// The name in events.
    pub const fn name(self) -> &'static str {
        match self {
            MigrateMode::Async => "MIGRATE_ASYNC",
            MigrateMode::SyncLight => "MIGRATE_SYNC_LIGHT",
            MigrateMode::Sync => "MIGRATE_SYNC",
        }
    }
}

/// How hard direct compaction tries; a lower number tries harder. Linux: `enum compact_priority`.
#[doc(alias = "compact_priority")]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum CompactPriority {
    /// Looks at everything, hints and deferral notwithstanding.
    SyncFull = 0,
    /// Waits for locks.
    SyncLight = 1,
    /// Never waits.
    Async = 2,
}

impl CompactPriority {
    /// The hardest. Linux: `MIN_COMPACT_PRIORITY`.
    pub const MIN: CompactPriority = CompactPriority::SyncFull;
    /// The hardest for costly orders. Linux: `MIN_COMPACT_COSTLY_PRIORITY`.
    pub const MIN_COSTLY: CompactPriority = CompactPriority::SyncLight;
    /// What a request's rounds begin with. Linux: `DEF_COMPACT_PRIORITY`.
    pub const DEF: CompactPriority = CompactPriority::SyncLight;
    /// What a request tries before its first round. Linux: `INIT_COMPACT_PRIORITY`.
    pub const INIT: CompactPriority = CompactPriority::Async;

    /// The next harder one; `None` after [`MIN`](Self::MIN).
    pub const fn harder(self) -> Option<CompactPriority> {
        match self {
            CompactPriority::Async => Some(CompactPriority::SyncLight),
            CompactPriority::SyncLight => Some(CompactPriority::SyncFull),
            CompactPriority::SyncFull => None,
        }
    }

    /// The name in events.
    pub const fn name(self) -> &'static str {
        match self {
            CompactPriority::SyncFull => "COMPACT_PRIO_SYNC_FULL",
            CompactPriority::SyncLight => "COMPACT_PRIO_SYNC_LIGHT",
            CompactPriority::Async => "COMPACT_PRIO_ASYNC",
        }
    }
}

/// How reclaim from one node on behalf of a request ended. Linux: `NODE_RECLAIM_NOSCAN` (the first three) to
/// `NODE_RECLAIM_SUCCESS`.
#[doc(alias = "NODE_RECLAIM_SUCCESS")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeReclaim {
    /// Not begun: the request may not wait, or reclaims already.
    MayNotWait,
    /// Not begun: the node has CPUs, and the request's is none of them.
    NotNear,
    /// Not begun: somebody else is at it.
    Busy,
    /// Not begun: there is too little that may go.
    Full,
    /// Less came free than the request wants.
    Some,
    /// Enough came free.
    Success,
}

impl NodeReclaim {
    /// Whether the node was scanned, so that its zones may have more by now.
    pub const fn has_scanned(self) -> bool {
        matches!(self, NodeReclaim::Some | NodeReclaim::Success)
    }

    /// The name in events.
    pub const fn name(self) -> &'static str {
        match self {
            NodeReclaim::MayNotWait => "may_not_wait",
            NodeReclaim::NotNear => "not_near",
            NodeReclaim::Busy => "busy",
            NodeReclaim::Full => "full",
            NodeReclaim::Some => "some",
            NodeReclaim::Success => "success",
        }
    }
}

/// How compaction ended; of several zones the highest counts. Linux: `enum compact_result`.
#[doc(alias = "compact_result")]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum CompactResult {
    /// Refused for its fragmentation index; only events have it, callers get `Skipped`.
    NotSuitableZone = 0,
    /// Not begun: too little free memory to work with.
    Skipped = 1,
    /// Not begun: it failed recently.
    Deferred = 2,
    /// No block of the order yet; only events have it, callers get `Continue`.
    NoSuitablePage = 3,
    /// Worth beginning, or going on.
    Continue = 4,
    /// The whole zone was scanned in vain.
    Complete = 5,
    /// A part of the zone was scanned in vain.
    PartialSkipped = 6,
    /// Broke off, for others need the locks or the task must die.
    Contended = 7,
    /// A block of the order is free.
    Success = 8,
}

impl CompactResult {
    /// Compaction did not run, up to this one. Linux: `COMPACT_INACTIVE`.
    pub const INACTIVE: CompactResult = CompactResult::Deferred;

    /// The name in events.
    pub const fn name(self) -> &'static str {
        match self {
            CompactResult::NotSuitableZone => "not_suitable_zone",
            CompactResult::Skipped => "skipped",
            CompactResult::Deferred => "deferred",
            CompactResult::NoSuitablePage => "no_suitable_page",
            CompactResult::Continue => "continue",
            CompactResult::Complete => "complete",
            CompactResult::PartialSkipped => "partial_skipped",
            CompactResult::Contended => "contended",
            CompactResult::Success => "success",
        }
    }

    /// Whether a block was made. Linux: `compaction_made_progress`.
    pub const fn made_progress(self) -> bool {
        matches!(self, CompactResult::Success)
    }

    /// Whether trying again in the same way is in vain. Linux: `compaction_failed`.
    pub const fn failed(self) -> bool {
        matches!(self, CompactResult::Complete)
    }

    /// Whether it did less than it could have. Linux: `compaction_withdrawn`.
    pub const fn withdrawn(self) -> bool {
        use CompactResult::{Contended, Deferred, PartialSkipped, Skipped};
        matches!(self, Skipped | Deferred | Contended | PartialSkipped)
    }
}

impl fmt::Display for CompactResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_linux_numbers_and_types() {
        for (number, lru) in LruList::ALL.into_iter().enumerate() {
            assert_eq!(lru.index(), number);
            let (kind, file, active) = match lru.name().split_once('_') {
                Some((age, kind)) => (kind, kind == "file", age == "active"),
                None => ("none", false, false),
            };
            assert_eq!((lru.is_file(), lru.is_active()), (file, active), "{lru}");
            assert_eq!(kind != "none", LruList::evictable(file, active) == lru, "{lru}");
        }
    }

    #[test]
    fn priorities_get_harder_down_to_the_minimum() {
        let rounds = core::iter::successors(Some(CompactPriority::INIT), |priority| priority.harder());
        assert_eq!(rounds.map(|priority| priority as u8).collect::<Vec<_>>(), [2, 1, 0]);
        assert_eq!((CompactPriority::DEF as u8, CompactPriority::MIN as u8), (1, 0));
    }

    #[test]
    fn results_are_ordered_and_of_one_kind() {
        use CompactResult::*;
        let all = [
            NotSuitableZone,
            Skipped,
            Deferred,
            NoSuitablePage,
            Continue,
            Complete,
            PartialSkipped,
            Contended,
            Success,
        ];
        let kind = |result: CompactResult| [result.made_progress(), result.failed(), result.withdrawn()];
        for (number, result) in all.into_iter().enumerate() {
            assert_eq!(result as usize, number);
            let expected = match number {
                8 => [true, false, false],
                5 => [false, true, false],
                1 | 2 | 6 | 7 => [false, false, true],
                _ => [false; 3],
            };
            assert_eq!(kind(result), expected, "{result}");
        }
        assert!(all.is_sorted());
        assert_eq!(all.iter().filter(|&&result| result <= CompactResult::INACTIVE).count(), 3);
    }
}
