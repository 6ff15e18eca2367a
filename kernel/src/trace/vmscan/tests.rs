//! Texts of reclaim's events, as a real kernel traced them.

use super::*;
use crate::trace::assert_texts;

const NID: NodeId = NodeId(0);

/// Texts of a real trace, with the fields that only v5.0 has (`zid`, `may_writepage`, `classzone_idx`) or that later
/// kernels split (`nr_activate`).
#[test]
fn kswapd_and_direct_reclaim() {
    let noretry = Gfp::GFP_NOFS | Gfp::__GFP_NOWARN | Gfp::__GFP_NORETRY | Gfp::__GFP_HARDWALL;
    let (order, gfp) = (Order::ZERO, Gfp::empty());
    assert_texts(&[
        (Vmscan::MmVmscanKswapdSleep { nid: NID }, "mm_vmscan_kswapd_sleep: nid=0"),
        (
            Vmscan::MmVmscanKswapdWake { nid: NodeId(1), zid: 2, order: Order::PAGEBLOCK },
            "mm_vmscan_kswapd_wake: nid=1 zid=2 order=9",
        ),
        (
            Vmscan::MmVmscanWakeupKswapd { nid: NID, zid: 1, order, gfp },
            "mm_vmscan_wakeup_kswapd: nid=0 zid=1 order=0 gfp_flags=none",
        ),
        (
            Vmscan::MmVmscanWakeupKswapd { nid: NID, zid: 1, order, gfp: noretry },
            "mm_vmscan_wakeup_kswapd: nid=0 zid=1 order=0 \
             gfp_flags=GFP_NOFS|__GFP_NOWARN|__GFP_NORETRY|__GFP_HARDWALL",
        ),
        (
            Vmscan::MmVmscanDirectReclaimBegin { order, may_writepage: true, gfp: noretry, classzone_idx: 1 },
            "mm_vmscan_direct_reclaim_begin: order=0 may_writepage=1 \
             gfp_flags=GFP_NOFS|__GFP_NOWARN|__GFP_NORETRY|__GFP_HARDWALL classzone_idx=1",
        ),
        (Vmscan::MmVmscanDirectReclaimEnd { nr_reclaimed: 53 }, "mm_vmscan_direct_reclaim_end: nr_reclaimed=53"),
    ]);
}

#[test]
fn shrinkers() {
    let shrinker = &ShrinkerName { scan: "super_cache_scan+0x0/0x1a0", shrinker: "ffff000001a3abf8" };
    let start = ShrinkSlabStart {
        shrinker,
        nid: NID,
        deferred: 722,
        gfp: Gfp::GFP_KERNEL,
        freeable: 183,
        delta: 0,
        total_scan: 91,
        priority: 12,
    };
    let end =
        ShrinkSlabEnd { shrinker, nid: NID, deferred_before: 722, deferred_after: 631, total_scan: 27, freed: 64 };
    assert_texts(&[
        (
            Vmscan::MmShrinkSlabStart(start),
            "mm_shrink_slab_start: super_cache_scan+0x0/0x1a0 ffff000001a3abf8: nid: 0 objects to shrink 722 \
             gfp_flags GFP_KERNEL cache items 183 delta 0 total_scan 91 priority 12",
        ),
        (
            Vmscan::MmShrinkSlabEnd(end),
            "mm_shrink_slab_end: super_cache_scan+0x0/0x1a0 ffff000001a3abf8: nid: 0 unused scan count 722 \
             new scan count 631 total_scan 27 last shrinker return val 64",
        ),
    ]);
}

#[test]
fn pages_leave_the_lists_and_are_written() {
    let isolate = LruIsolate {
        isolate_mode: 2,
        classzone: 1,
        order: Order::ZERO,
        nr_requested: 7,
        nr_scanned: 6,
        nr_skipped: 3,
        nr_taken: 5,
        lru: LruList::InactiveFile,
    };
    assert_texts(&[
        (
            Vmscan::MmVmscanLruIsolate(isolate),
            "mm_vmscan_lru_isolate: isolate_mode=2 classzone=1 order=0 nr_requested=7 nr_scanned=6 nr_skipped=3 \
             nr_taken=5 lru=inactive_file",
        ),
        (
            Vmscan::MmVmscanWritepage { page: Pfn(297552), file: true },
            "mm_vmscan_writepage: page=0x48a50000 pfn=297552 flags=RECLAIM_WB_FILE|RECLAIM_WB_ASYNC",
        ),
    ]);
}

#[test]
fn lists_are_shrunk() {
    let stat = ReclaimStat {
        nr_dirty: 1,
        nr_unqueued_dirty: 99,
        nr_congested: 3,
        nr_writeback: 2,
        nr_immediate: 4,
        nr_activate: 5,
        nr_ref_keep: 6,
        nr_unmap_fail: 7,
    };
    let inactive = LruShrinkInactive { nid: NID, nr_scanned: 32, nr_reclaimed: 4, stat, priority: 11, file: false };
    let active = LruShrinkActive {
        nid: NID,
        nr_taken: 7,
        nr_active: 1,
        nr_deactivated: 6,
        nr_referenced: 2,
        priority: 8,
        file: true,
    };
    let low = InactiveListIsLow {
        nid: NID,
        reclaim_idx: 1,
        total_inactive: 900,
        inactive: 800,
        total_active: 3000,
        active: 2600,
        ratio: 3,
        file: true,
    };
    assert_texts(&[
        (
            Vmscan::MmVmscanLruShrinkInactive(inactive),
            "mm_vmscan_lru_shrink_inactive: nid=0 nr_scanned=32 nr_reclaimed=4 nr_dirty=1 nr_writeback=2 \
             nr_congested=3 nr_immediate=4 nr_activate=5 nr_ref_keep=6 nr_unmap_fail=7 priority=11 \
             flags=RECLAIM_WB_ANON|RECLAIM_WB_ASYNC",
        ),
        (
            Vmscan::MmVmscanLruShrinkActive(active),
            "mm_vmscan_lru_shrink_active: nid=0 nr_taken=7 nr_active=1 nr_deactivated=6 nr_referenced=2 \
             priority=8 flags=RECLAIM_WB_FILE|RECLAIM_WB_ASYNC",
        ),
        (
            Vmscan::MmVmscanInactiveListIsLow(low),
            "mm_vmscan_inactive_list_is_low: nid=0 reclaim_idx=1 total_inactive=900 inactive=800 \
             total_active=3000 active=2600 ratio=3 flags=RECLAIM_WB_FILE",
        ),
    ]);
}
