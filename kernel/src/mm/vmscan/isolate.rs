//! Pages off the LRU lists, 32 at a time, for reclaim to look at, and back.
//!
//! The LRU lock is held while a handful of pages is taken off a list or put back, never while one is looked at. An
//! isolated page has a reference more and no [`PageFlags::LRU`]; it counts as isolated until it is put back or freed.
//! Linux: `isolate_lru_pages`, `putback_inactive_pages`, `move_active_pages_to_lru`.

use super::ScanControl;
use crate::mm::list::List;
use crate::mm::lru::{Lruvec, kind_of};
use crate::mm::memory::{Env, Memory};
use crate::mm::node::Node;
use crate::mm::owner::PageOwner;
use crate::mm::page::PageFlags;
use crate::mm::swap;
use crate::mmzone::MAX_NR_ZONES;
use crate::reclaim_types::LruList;
use crate::task::Current;
use crate::trace::vmscan::{LruIsolate, Vmscan};
use crate::vmstat::{NodeStat, ZoneEvent};

/// Changes of the lists' sizes, by zone index, gathered while the lists are locked.
#[derive(Default)]
pub(super) struct SizeChanges([[i32; LruList::COUNT]; MAX_NR_ZONES]);

impl SizeChanges {
    fn add(&mut self, zone: usize, lru: LruList, change: i32) {
        self.0[zone][lru.index()] += change;
    }

    /// Counts the changes. Linux: `update_lru_sizes`.
    pub(super) fn count<E: Env>(&self, memory: &Memory<'_, E>, node: &Node) {
        for (zone, changes) in memory.zones_of(node.id).iter().zip(&self.0) {
            for (lru, &change) in LruList::ALL.into_iter().zip(changes).filter(|(_, change)| **change != 0) {
                swap::add_lru_size(node, zone, lru, change.into());
            }
        }
    }
}

/// Pages taken off a list.
pub(super) struct Isolated {
    /// The pages, that from the list's tail first.
    pub pages: List,
    /// How many.
    pub nr_taken: u64,
    /// Pages looked at, those included that stay.
    pub nr_scanned: u64,
}

/// What pages under reclaim count as.
fn isolated_stat(lru: LruList) -> NodeStat {
    if lru.is_file() { NodeStat::NrIsolatedFile } else { NodeStat::NrIsolatedAnon }
}

/// What an event says of a scan that may not unmap pages. Linux: `ISOLATE_UNMAPPED`.
const ISOLATE_UNMAPPED: u32 = 0x2;

/// Takes up to `nr_to_scan` pages off the tail of a list. Pages of zones that do not help are passed over, and go to its
/// head; so do mapped ones if they may not be unmapped.
///
/// Linux: `isolate_lru_pages`.
pub(super) fn isolate_lru_pages<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    node: &Node,
    sc: &ScanControl,
    lru: LruList,
    nr_to_scan: u64,
) -> Isolated {
    let mut isolated = Isolated { pages: List::EMPTY, nr_taken: 0, nr_scanned: 0 };
    let mut changes = SizeChanges::default();
    let mut skipped = [0; MAX_NR_ZONES];
    {
        let pin = memory.pin();
        let mut lruvec = node.lru.lock(&pin);
        take(memory, lruvec.list_mut(lru), sc, nr_to_scan, &mut isolated, &mut skipped, |zone| {
            changes.add(zone, lru, -1);
        });
        lruvec.recent_scanned[kind_of(lru)] += isolated.nr_taken;
    }
    changes.count(memory, node);
    node.add_stat(isolated_stat(lru), isolated.nr_taken as i64);
    for (index, &nr) in skipped.iter().enumerate().filter(|(_, nr)| **nr > 0) {
        memory.count_zone(ZoneEvent::Pgskip, index, nr);
    }
    memory.trace(current, || {
        Vmscan::MmVmscanLruIsolate(LruIsolate {
            isolate_mode: if sc.may_unmap { 0 } else { ISOLATE_UNMAPPED },
            classzone: sc.reclaim_idx,
            order: sc.traced_order(),
            nr_requested: nr_to_scan,
            nr_scanned: isolated.nr_scanned,
            nr_skipped: skipped.iter().sum(),
            nr_taken: isolated.nr_taken,
            lru,
        })
    });
    isolated
}

/// The part of [`isolate_lru_pages`] that runs under the LRU lock; `taken` hears of each page's zone.
fn take<E: Env>(
    memory: &Memory<'_, E>,
    list: &mut List,
    sc: &ScanControl,
    nr_to_scan: u64,
    isolated: &mut Isolated,
    skipped: &mut [u64; MAX_NR_ZONES],
    mut taken: impl FnMut(usize),
) {
    let pages = &memory.pages;
    let (mut aside, mut looked) = (List::EMPTY, 0);
    while looked < nr_to_scan
        && let Some(index) = list.pop_back(pages)
    {
        isolated.nr_scanned += 1;
        let page = pages.at(index);
        let zone = memory.zone(page.state().zone()).index;
        if zone > sc.reclaim_idx {
            skipped[zone] += 1;
            aside.push_front(pages, index);
            continue;
        }
        looked += 1;
        let may_go = sc.may_unmap || memory.env.owner().mapcount(index) == 0;
        if may_go && page.isolate() {
            isolated.pages.push_back(pages, index);
            isolated.nr_taken += 1;
            taken(zone);
        } else {
            // Else somebody frees it right now, and will want the lock to take it off.
            list.push_front(pages, index);
        }
    }
    while let Some(index) = aside.pop_back(pages) {
        list.push_front(pages, index);
    }
}

/// What came back to the lists.
pub(super) struct PutBack {
    /// Pages put on active lists.
    pub active: u64,
    /// Pages put on inactive lists.
    pub inactive: u64,
    /// Pages whose last reference that was: off every list, and to be freed without the lock.
    pub dead: List,
    /// What to count without the lock.
    pub changes: SizeChanges,
}

impl PutBack {
    /// Nothing yet.
    pub(super) fn new() -> PutBack {
        PutBack { active: 0, inactive: 0, dead: List::EMPTY, changes: SizeChanges::default() }
    }

    /// Puts isolated pages at the heads of the lists where they belong, the last page foremost, and drops the
    /// isolation's references.
    pub(super) fn add<E: Env>(&mut self, memory: &Memory<'_, E>, lruvec: &mut Lruvec, mut pages: List) {
        while let Some((index, _)) = pages.pop_front(&memory.pages) {
            let page = memory.pages.at(index);
            let lru = swap::choose_list(memory, page, index);
            if page.put_testzero() {
                page.clear_flags(PageFlags::LRU | PageFlags::ACTIVE | PageFlags::UNEVICTABLE);
                self.dead.push_front(&memory.pages, index);
                continue;
            }
            lruvec.list_mut(lru).push_front(&memory.pages, index);
            self.changes.add(memory.zone(page.state().zone()).index, lru, 1);
            match lru.is_active() {
                true => self.active += 1,
                false => self.inactive += 1,
            }
        }
    }

    /// Counts what came back of `nr_taken` isolated pages of `lru`, and frees what nobody wanted.
    pub(super) fn finish<E: Env>(
        self,
        memory: &Memory<'_, E>,
        current: &Current<'_>,
        node: &Node,
        lru: LruList,
        nr_taken: u64,
    ) {
        self.changes.count(memory, node);
        node.add_stat(isolated_stat(lru), -(nr_taken as i64));
        swap::free_unreferenced_list(memory, current, self.dead);
    }
}
