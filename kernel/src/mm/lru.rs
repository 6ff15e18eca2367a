//! The LRU lists of a node: reclaimable pages by age, in five lists.
//!
//! New pages come to the head, reclaim takes from the tail. [`Lruvec`] is the lists and the figures by which reclaim
//! weighs anonymous against file pages; [`super::node::Node`] keeps one behind a lock. Which list a page is on is told by
//! its flags ([`lru_of`]); whoever changes these flags holds the lock, or has isolated the page. Counting pages per zone
//! and node is done by [`super::swap`].
//!
//! Linux: `struct lruvec`, `include/linux/mm_inline.h`.
//! Linux does more: one set of lists per memory cgroup, and batches of pages per CPU on their way to the lists.

use super::list::List;
use super::page::{PageFlags, Pages};
use crate::reclaim_types::LruList;
use crate::vmstat::{NodeStat, ZoneStat};

/// The two kinds of reclaimable memory, as an index: anonymous, file.
pub const ANON: usize = 0;
/// See [`ANON`].
pub const FILE: usize = 1;

/// The kind of the pages of `lru`.
pub const fn kind_of(lru: LruList) -> usize {
    if lru.is_file() { FILE } else { ANON }
}

/// What a node counts the pages of `lru` in. Linux: `NR_LRU_BASE + lru`.
pub const fn node_stat(lru: LruList) -> NodeStat {
    match lru {
        LruList::InactiveAnon => NodeStat::NrInactiveAnon,
        LruList::ActiveAnon => NodeStat::NrActiveAnon,
        LruList::InactiveFile => NodeStat::NrInactiveFile,
        LruList::ActiveFile => NodeStat::NrActiveFile,
        LruList::Unevictable => NodeStat::NrUnevictable,
    }
}

/// What a zone counts its pages on `lru` in. Linux: `NR_ZONE_LRU_BASE + lru`.
pub const fn zone_stat(lru: LruList) -> ZoneStat {
    match lru {
        LruList::InactiveAnon => ZoneStat::NrZoneInactiveAnon,
        LruList::ActiveAnon => ZoneStat::NrZoneActiveAnon,
        LruList::InactiveFile => ZoneStat::NrZoneInactiveFile,
        LruList::ActiveFile => ZoneStat::NrZoneActiveFile,
        LruList::Unevictable => ZoneStat::NrZoneUnevictable,
    }
}

/// The list that a page with these marks is on, or belongs on. Linux: `page_lru`.
pub fn lru_of(flags: PageFlags) -> LruList {
    let active = flags.contains(PageFlags::ACTIVE);
    match flags.contains(PageFlags::SWAPBACKED) {
        _ if flags.contains(PageFlags::UNEVICTABLE) => LruList::Unevictable,
        true if active => LruList::ActiveAnon,
        true => LruList::InactiveAnon,
        false if active => LruList::ActiveFile,
        false => LruList::InactiveFile,
    }
}

/// The LRU lists of a node.
#[derive(Debug)]
pub struct Lruvec {
    lists: [List; LruList::COUNT],
    /// Pages that reclaim looked at lately, by kind. Linux: `recent_scanned`.
    pub recent_scanned: [u64; 2],
    /// Those of them that were in use. Linux: `recent_rotated`.
    pub recent_rotated: [u64; 2],
}

impl Lruvec {
    /// No page on any list.
    pub const EMPTY: Lruvec =
        Lruvec { lists: [List::EMPTY; LruList::COUNT], recent_scanned: [0; 2], recent_rotated: [0; 2] };

    /// One of the lists.
    pub fn list(&self, lru: LruList) -> &List {
        &self.lists[lru as usize]
    }

    /// One of the lists, to change it.
    pub fn list_mut(&mut self, lru: LruList) -> &mut List {
        &mut self.lists[lru as usize]
    }

    /// Weighs a page that came to, or within, `lru` into what reclaim knows of its kind. Linux:
    /// `update_page_reclaim_stat`.
    pub fn note_arrival(&mut self, lru: LruList) {
        let kind = kind_of(lru);
        self.recent_scanned[kind] += 1;
        self.recent_rotated[kind] += u64::from(lru.is_active());
    }

    /// Takes a page off its list.
    pub fn remove(&mut self, pages: &Pages<'_>, index: u32) {
        let lru = lru_of(pages.at(index).state().flags());
        self.list_mut(lru).remove(pages, index);
    }
}
