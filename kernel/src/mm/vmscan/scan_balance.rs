//! How much of which list to scan: active against inactive, and anonymous against file pages.
//!
//! [`inactive_list_is_low`] tells whether a kind has too few candidates, so that active pages must come down.
//! [`get_scan_count`] makes the plan for one scan of a node: which kinds, and how many pages of each list, weighed by how
//! often reclaim lately found pages of either kind in use. [`ScanPlan`] is worked off in portions. Linux:
//! `inactive_list_is_low`, `get_scan_count`, and the arithmetic of `shrink_node_memcg`.

use crate::sync::atomic::Ordering::Relaxed;

use super::{SWAP_CLUSTER_MAX, ScanControl};
use crate::mm::lru::{ANON, FILE, kind_of, zone_stat};
use crate::mm::memory::{Env, Memory};
use crate::mm::node::Node;
use crate::mm::owner::PageOwner;
use crate::mm::workingset;
use crate::mm::zone::Zone;
use crate::mmzone::{MAX_NR_ZONES, Watermark};
use crate::reclaim_types::LruList;
use crate::task::Current;
use crate::trace::vmscan::{InactiveListIsLow, Vmscan};
use crate::vmstat::NodeStat;

/// The lists that are scanned, in the order in which they take turns.
pub(super) const EVICTABLE: [LruList; 4] =
    [LruList::InactiveAnon, LruList::ActiveAnon, LruList::InactiveFile, LruList::ActiveFile];

/// Pages of a GiB, as a shift.
const GIB_SHIFT: u32 = 18;

/// Pages on a list in the zones that a scan is for. Linux: `lruvec_lru_size`.
fn size<E: Env>(memory: &Memory<'_, E>, node: &Node, lru: LruList, reclaim_idx: usize) -> u64 {
    memory.zones_of(node.id).iter().take(reclaim_idx + 1).map(|zone| zone.stat(zone_stat(lru))).sum()
}

/// Pages of the zone that reclaim could look at. Linux: `zone_reclaimable_pages`.
pub fn zone_reclaimable_pages<E: Env>(memory: &Memory<'_, E>, zone: &Zone) -> u64 {
    let pages = |lists: [LruList; 2]| lists.iter().map(|&lru| zone.stat(zone_stat(lru))).sum::<u64>();
    let file = pages([LruList::InactiveFile, LruList::ActiveFile]);
    let has_swap = memory.env.owner().swap_space().free > 0;
    file + if has_swap { pages([LruList::InactiveAnon, LruList::ActiveAnon]) } else { 0 }
}

/// How many times larger than the inactive list the active one may be.
const fn inactive_ratio(pages: u64) -> u64 {
    match pages >> GIB_SHIFT {
        0 => 1,
        gib => (10 * gib).isqrt(),
    }
}

/// Whether active pages of the kind (of files, or anonymous) must come down before more inactive ones are taken.
/// `actual` when that decides what is done, not only what is planned.
///
/// Linux: `inactive_list_is_low`.
pub fn inactive_list_is_low<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    node: &Node,
    sc: &ScanControl,
    file: bool,
    actual: bool,
) -> bool {
    if !file && memory.env.owner().swap_space().total == 0 {
        return false;
    }
    let lists = [LruList::evictable(file, false), LruList::evictable(file, true)];
    let [inactive, active] = lists.map(|lru| size(memory, node, lru, sc.reclaim_idx));
    // Pages come back that were thrown out too early: the active list protects nothing of worth, and must make room.
    let refaulting = file && actual && workingset::has_refaulted(node);
    let ratio = if refaulting { 0 } else { inactive_ratio(inactive + active) };
    if actual {
        memory.trace(current, || {
            let [total_inactive, total_active] = lists.map(|lru| size(memory, node, lru, MAX_NR_ZONES));
            Vmscan::MmVmscanInactiveListIsLow(InactiveListIsLow {
                nid: node.id,
                reclaim_idx: sc.reclaim_idx,
                total_inactive,
                inactive,
                total_active,
                active,
                ratio,
                file,
            })
        });
    }
    inactive * ratio < active
}

/// Which kinds of pages a scan takes. Linux: `enum scan_balance`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ScanBalance {
    /// Both, as much as there is.
    Equal,
    /// Both, weighed.
    Fract,
    /// Anonymous pages alone.
    Anon,
    /// Pages of files alone.
    File,
}

/// The first reason that holds decides.
fn scan_balance<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    node: &Node,
    sc: &ScanControl,
    swappiness: u64,
) -> ScanBalance {
    let has_candidates = |file: bool| {
        !inactive_list_is_low(memory, current, node, sc, file, false)
            && size(memory, node, LruList::evictable(file, false), sc.reclaim_idx) >> sc.priority > 0
    };
    if !sc.may_swap || memory.env.owner().swap_space().free == 0 {
        ScanBalance::File
    } else if sc.priority == 0 && swappiness > 0 {
        ScanBalance::Equal
    } else if page_cache_is_gone(memory, node) && has_candidates(false) {
        ScanBalance::Anon
    } else if has_candidates(true) {
        ScanBalance::File
    } else {
        ScanBalance::Fract
    }
}

/// Whether taking every file page would not bring the node above its high watermarks.
fn page_cache_is_gone<E: Env>(memory: &Memory<'_, E>, node: &Node) -> bool {
    let zones = || memory.zones_of(node.id).iter().filter(|zone| zone.managed() > 0);
    let file = node.stat(NodeStat::NrActiveFile) + node.stat(NodeStat::NrInactiveFile);
    let free: u64 = zones().map(|zone| zone.counts.free_pages()).sum();
    file + free <= zones().map(|zone| zone.watermark(Watermark::High)).sum()
}

/// The weights of anonymous and file pages: the less reclaim found pages of a kind in use, the more it takes of them.
fn fractions<E: Env>(memory: &Memory<'_, E>, node: &Node, swappiness: u64) -> [u64; 2] {
    let totals = [
        node.stat(NodeStat::NrActiveAnon) + node.stat(NodeStat::NrInactiveAnon),
        node.stat(NodeStat::NrActiveFile) + node.stat(NodeStat::NrInactiveFile),
    ];
    let pin = memory.pin();
    let mut lruvec = node.lru.lock(&pin);
    for kind in [ANON, FILE] {
        // What was long ago counts less and less.
        if lruvec.recent_scanned[kind] > totals[kind] / 4 {
            lruvec.recent_scanned[kind] /= 2;
            lruvec.recent_rotated[kind] /= 2;
        }
    }
    let priority = [swappiness, 200 - swappiness];
    [ANON, FILE].map(|kind| priority[kind] * (lruvec.recent_scanned[kind] + 1) / (lruvec.recent_rotated[kind] + 1))
}

/// The plan for one scan of a node. Linux: `get_scan_count`.
pub(super) fn get_scan_count<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    node: &Node,
    sc: &ScanControl,
) -> ScanPlan {
    let swappiness = memory.sysctl.swappiness.load(Relaxed).min(100);
    let balance = scan_balance(memory, current, node, sc, swappiness);
    let fraction = if balance == ScanBalance::Fract { fractions(memory, node, swappiness) } else { [0; 2] };
    let denominator = fraction[ANON] + fraction[FILE] + 1;
    ScanPlan::new(EVICTABLE.map(|lru| {
        let scan = size(memory, node, lru, sc.reclaim_idx) >> sc.priority;
        match balance {
            ScanBalance::Equal => scan,
            ScanBalance::Fract => (scan * fraction[kind_of(lru)]).div_ceil(denominator),
            ScanBalance::File if lru.is_file() => scan,
            ScanBalance::Anon if !lru.is_file() => scan,
            ScanBalance::File | ScanBalance::Anon => 0,
        }
    }))
}

/// Pages still to be scanned, by list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ScanPlan {
    nr: [u64; 4],
    target: [u64; 4],
}

impl ScanPlan {
    const fn new(target: [u64; 4]) -> ScanPlan {
        ScanPlan { nr: target, target }
    }

    /// Whether there is anything to do. The active list of anonymous pages does not count.
    pub(super) fn has_work(&self) -> bool {
        EVICTABLE.iter().any(|&lru| lru != LruList::ActiveAnon && self.nr[lru.index()] > 0)
    }

    /// The next portion of a list; `None` when the list has had its share.
    pub(super) fn take(&mut self, lru: LruList) -> Option<u64> {
        let left = &mut self.nr[lru.index()];
        let portion = (*left).min(SWAP_CLUSTER_MAX);
        *left -= portion;
        (portion > 0).then_some(portion)
    }

    /// Enough pages are free: drops the kind of which less is left, and scans as large a part of the other as was scanned
    /// of this one, so that both feel the same pressure. `false` when a kind has had its share: then all is done.
    pub(super) fn drop_smaller_kind(&mut self) -> bool {
        let [anon, file] = [ANON, FILE].map(|kind| lists_of(kind).map(|lru| self.nr[lru]).iter().sum::<u64>());
        if anon == 0 || file == 0 {
            return false;
        }
        let (smaller, larger, left) = if file > anon { (ANON, FILE, anon) } else { (FILE, ANON, file) };
        let target: u64 = lists_of(smaller).map(|lru| self.target[lru]).iter().sum();
        let percent_left = left * 100 / (target + 1);
        lists_of(smaller).iter().for_each(|&lru| self.nr[lru] = 0);
        for lru in lists_of(larger) {
            let scanned = self.target[lru] - self.nr[lru];
            self.nr[lru] = (self.target[lru] * (100 - percent_left) / 100).saturating_sub(scanned);
        }
        true
    }
}

/// The numbers of the lists of a kind.
const fn lists_of(kind: usize) -> [usize; 2] {
    let first = if kind == FILE { LruList::InactiveFile } else { LruList::InactiveAnon };
    [first.index(), first.index() + 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_active_pages_grows_with_memory() {
        const GIB: u64 = 1 << GIB_SHIFT;
        for (pages, ratio) in [
            (GIB - 1, 1),
            (GIB, 3),
            (2 * GIB, 4),
            (4 * GIB, 6),
            (8 * GIB, 8),
            (10 * GIB, 10),
            (100 * GIB, 31),
            (1024 * GIB, 101),
        ] {
            assert_eq!(inactive_ratio(pages), ratio, "{pages} pages");
        }
    }

    #[test]
    fn a_plan_is_worked_off_in_portions() {
        let mut plan = ScanPlan::new([0, 40, 70, 0]);
        let portions: Vec<_> = (0..4).map(|_| plan.take(LruList::InactiveFile)).collect();
        assert_eq!(portions, [Some(32), Some(32), Some(6), None]);
        assert!(!plan.has_work(), "the active anonymous list alone is no reason to scan");
    }

    #[test]
    fn the_other_kind_is_scanned_as_far_as_the_dropped_one_was() {
        // Of 100 anonymous pages 36 are left: 35 % of 101. So 65 % of each file list, less what was scanned of it.
        let mut plan = ScanPlan { nr: [36, 0, 936, 436], target: [100, 0, 1000, 500] };
        assert!(plan.drop_smaller_kind());
        assert_eq!(plan.nr, [0, 0, 650 - 64, 325 - 64]);
        // The file pages are fewer, and the anonymous ones further than they were.
        let mut plan = ScanPlan { nr: [40, 10, 30, 0], target: [100, 30, 60, 0] };
        assert!(plan.drop_smaller_kind());
        assert_eq!(plan.nr, [0, 0, 0, 0]);
        assert!(!plan.drop_smaller_kind());
    }
}
