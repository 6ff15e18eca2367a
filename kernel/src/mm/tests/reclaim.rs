//! Direct reclaim as a whole: scenarios T38 to T48 of the specification, as far as they need no page cache.
//!
//! One call of `try_to_free_pages` on a machine with 256 free pages, Min's worth; the counters start at 0.

use crate::sync::atomic::Ordering::Relaxed;

use super::test_env::{Mapped, ReclaimLab, m64};
use crate::gfp::Gfp;
use crate::mm::page::PageFlags;
use crate::mm::vmscan;
use crate::mmzone::NodeId;
use crate::vmstat::VmEvent::{
    Pgactivate, Pgdeactivate, Pgrefill, Pgrotated, PgscanDirect, PgstealDirect, SlabsScanned,
};
use crate::vmstat::{NodeStat, ZoneEvent};

const CLEAN: PageFlags = PageFlags::empty();

/// Reclaims with `nr` pages of one kind on the lists and 256 free; checks what is sound always.
fn after_reclaim(nr: u64, marks: PageFlags, mapped: Mapped, then: impl FnOnce(&ReclaimLab<'_>, u64)) {
    let machine = m64();
    let lab = ReclaimLab::new(&machine);
    lab.pages(nr, marks, mapped);
    lab.free_to(256);
    let result = lab.reclaim(Gfp::GFP_KERNEL);
    lab.assert_lists_sound();
    then(&lab, result);
}

#[test]
fn t38_direct_reclaim_stops_at_priority_9() {
    after_reclaim(12000, CLEAN, Mapped::NOT, |lab, result| {
        // 12000 >> 12, then of what is left >> 11, >> 10, >> 9.
        assert_eq!(result, 2 + 5 + 11 + 23);
        assert_eq!(lab.events([PgscanDirect, PgstealDirect, Pgactivate]), [41, 41, 0]);
        assert_eq!(lab.free_pages(), 297);
        let dma32 = lab.zone().index;
        assert_eq!(lab.memory.zone_event(ZoneEvent::Allocstall, dma32), 0);
        assert_eq!(lab.memory.zone_event(ZoneEvent::Allocstall, dma32 + 1), 1, "counted for the mask's zone");
    });
}

#[test]
fn t39_little_cache_is_reclaimed_at_a_lower_priority() {
    after_reclaim(1000, CLEAN, Mapped::NOT, |lab, result| {
        assert_eq!((result, lab.free_pages()), (56, 256 + 56));
    });
    after_reclaim(20, CLEAN, Mapped::NOT, |lab, result| {
        assert_eq!((result, lab.free_pages()), (20, 276));
        assert_eq!(lab.stat(NodeStat::NrInactiveFile), 0);
    });
}

#[test]
fn t40_mapped_pages_get_a_second_chance() {
    after_reclaim(12000, CLEAN, Mapped::YOUNG, |lab, result| {
        assert_eq!(result, 56);
        assert_eq!(lab.events([PgscanDirect, PgstealDirect, Pgactivate]), [12056, 56, 0]);
    });
}

#[test]
fn t41_mapped_code_is_activated_at_once() {
    after_reclaim(12000, CLEAN, Mapped::CODE, |lab, result| {
        assert_eq!(result, 52);
        let events = lab.events([PgscanDirect, PgstealDirect, Pgactivate, Pgdeactivate]);
        assert_eq!(events, [12052, 52, 12000, 5124]);
    });
}

#[test]
fn t42_direct_reclaim_writes_no_file_page() {
    after_reclaim(12000, PageFlags::DIRTY, Mapped::NOT, |lab, result| {
        assert_eq!(result, 0);
        assert_eq!(lab.stat(NodeStat::NrVmscanImmediateReclaim), 13604);
        assert_eq!(lab.events([Pgactivate, Pgdeactivate]), [13604, 7620]);
        assert_eq!(lab.stat(NodeStat::NrVmscanWrite), 0);
        assert!(lab.owner().flusher_wakes.load(Relaxed) > 0);
    });
}

#[test]
fn t43_what_reclaim_waits_for_is_rotated_when_it_is_written() {
    after_reclaim(12000, PageFlags::DIRTY, Mapped::NOT, |lab, _| {
        let (pages, owner, current) = (lab.memory.pages, lab.owner(), lab.current());
        // The flusher takes all that reclaim met.
        let met = (0..16384).filter(|&index| lab.flags(index).contains(PageFlags::RECLAIM | PageFlags::LRU));
        for index in met {
            pages.at(index).clear_flags(PageFlags::DIRTY);
            pages.at(index).set_flags(PageFlags::WRITEBACK);
            owner.writes.lock().unwrap().push_back(index);
        }
        owner.complete_writes(&lab.memory, &current);
        lab.assert_lists_sound();
        assert_eq!(lab.events([Pgrotated]), [12000]);
        assert!(lab.reclaim(Gfp::GFP_KERNEL) >= 32);
        lab.assert_lists_sound();
    });
}

#[test]
fn t44_active_pages_come_down_while_there_are_too_many() {
    let machine = m64();
    let lab = ReclaimLab::new(&machine);
    lab.pages(8000, PageFlags::ACTIVE, Mapped::NOT);
    lab.pages(4000, CLEAN, Mapped::NOT);
    lab.free_to(256);
    assert_eq!(lab.reclaim(Gfp::GFP_KERNEL), 57);
    assert_eq!(lab.events([PgstealDirect, Pgdeactivate, Pgrefill]), [57, 119, 119]);
    lab.assert_lists_sound();
}

#[test]
fn t45_anonymous_pages_need_io_and_a_slot() {
    let machine = m64();
    let lab = ReclaimLab::new(&machine);
    lab.owner().swap_total.store(4096, Relaxed);
    lab.pages(8000, PageFlags::SWAPBACKED, Mapped::ONCE);
    lab.free_to(256);
    assert_eq!(lab.reclaim(Gfp::GFP_NOIO), 0);
    assert_eq!((lab.stat(NodeStat::NrVmscanWrite), lab.free_pages()), (0, 256));
    lab.reclaim(Gfp::GFP_NOFS);
    assert_eq!(lab.stat(NodeStat::NrVmscanWrite), 4096);
    assert_eq!(lab.owner().writes.lock().unwrap().len(), 4096);
    lab.assert_lists_sound();
    let free = lab.free_pages();
    lab.owner().complete_writes(&lab.memory, &lab.current());
    // No slot is free, so no anonymous page is looked at until some are.
    assert_eq!(lab.reclaim(Gfp::GFP_KERNEL), 0);
    lab.owner().swap_total.store(5000, Relaxed);
    assert!(lab.reclaim(Gfp::GFP_KERNEL) >= 32);
    assert!(lab.free_pages() >= free + 32);
    lab.assert_lists_sound();
}

/// Objects scanned, and left for later, when 1000 objects are shrunk at `priority` with so many left from before.
fn shrink(priority: u32, deferred: u64, gfp: Gfp) -> (u64, u64) {
    let machine = m64();
    let lab = ReclaimLab::new(&machine);
    lab.owner().objects.store(1000, Relaxed);
    lab.owner().deferred.store(deferred, Relaxed);
    let freed = vmscan::shrink_slab(&lab.memory, &lab.current(), NodeId(0), gfp, priority);
    let scanned = lab.owner().scanned.load(Relaxed);
    assert_eq!((freed, lab.events([SlabsScanned])), (scanned, [scanned]));
    (scanned, lab.owner().deferred.load(Relaxed))
}

#[test]
fn t48_a_shrinker_is_asked_in_batches_and_owes_the_rest() {
    let kernel = Gfp::GFP_KERNEL;
    let fresh = [12, 5, 3, 0].map(|priority| shrink(priority, 0, kernel));
    assert_eq!(fresh, [(0, 0), (0, 62), (128, 122), (1920, 80)]);
    assert_eq!(shrink(0, 122, kernel), (1920, 202));
    assert_eq!(shrink(0, 0, Gfp::GFP_NOFS), (0, 2000), "what must not be done now is put off");
}

#[test]
fn pages_that_slab_gives_back_count_as_reclaimed() {
    let machine = m64();
    let lab = ReclaimLab::new(&machine);
    lab.owner().objects.store(100_000, Relaxed);
    lab.free_to(256);
    // With what the priority before left: 48, 48+96, 16+194, 82+390, 88+780, 100+1562 objects. Each 128 are 2 pages, so 0,
    // 1, 1, 3, 6 and 12 batches, of which the last makes more than 32 pages.
    assert_eq!(lab.reclaim(Gfp::GFP_KERNEL), 2 * 23);
    assert_eq!(lab.owner().scanned.load(Relaxed), 128 * 23);
}

#[test]
fn refaults_end_the_protection_of_the_active_list() {
    let machine = m64();
    let lab = ReclaimLab::new(&machine);
    lab.pages(4000, PageFlags::ACTIVE, Mapped::NOT);
    lab.pages(8000, CLEAN, Mapped::NOT);
    lab.free_to(256);
    lab.reclaim(Gfp::GFP_KERNEL);
    assert_eq!(lab.events([Pgdeactivate]), [0], "enough candidates");
    lab.node().add_stat(NodeStat::WorkingsetActivate, 1);
    lab.reclaim(Gfp::GFP_KERNEL);
    let [deactivated] = lab.events([Pgdeactivate]);
    assert!(deactivated > 0);
    lab.reclaim(Gfp::GFP_KERNEL);
    assert_eq!(lab.events([Pgdeactivate]), [deactivated], "the refaults before the last reclaim count no more");
}

#[test]
fn pages_of_zones_that_do_not_help_are_passed_over() {
    use crate::host::HostMachine;
    use crate::mm::testing::MIB;
    let machine = HostMachine::new("movablecore=32M", &[(0x4000_0000, 64 * MIB, 0)], &[]);
    let lab = ReclaimLab::new(&machine);
    lab.pages(6000, CLEAN, Mapped::NOT);
    let movable = lab.memory.zone_types().len() - 1;
    assert_eq!(lab.reclaim(Gfp::GFP_KERNEL), 0, "all of it is movable memory");
    assert_eq!(lab.events([PgstealDirect]), [0]);
    assert!(lab.reclaim(Gfp::GFP_HIGHUSER_MOVABLE) >= 32);
    // A list with pages of both: those of the movable zone are skipped, and stay.
    lab.pages(3000, CLEAN, Mapped::NOT);
    let [scanned, stolen] = lab.events([PgscanDirect, PgstealDirect]);
    assert!(lab.reclaim(Gfp::GFP_KERNEL) > 0);
    let skipped = lab.memory.zone_event(ZoneEvent::Pgskip, movable);
    let moved = lab.events([PgscanDirect, PgstealDirect]);
    assert_eq!(moved[0] - scanned, moved[1] - stolen + skipped);
    assert!(skipped > 0);
    lab.assert_lists_sound();
}
