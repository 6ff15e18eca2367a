//! Compaction: the scenarios of the specification that need nothing but compaction, and what they leave open.

mod daemon;
mod lru_pages;
mod movable;
mod requests;
mod scanners;

use crate::addr::{Order, Pfn};
use crate::gfp::Gfp;
use crate::mm::compaction;
use crate::mm::memory::Env;
use crate::mm::memory::Hook;
use crate::mm::page::PageFlags;
use crate::mmzone::NodeId;
use crate::reclaim_types::{CompactPriority, CompactResult};
use crate::task::TaskFlags;
use crate::trace::{Compaction, Event};
use crate::vmstat::VmEvent;

use movable::{BASE, FIRST_HANDLE, MovableLab, machine};

const ASYNC: CompactPriority = CompactPriority::Async;
const LIGHT: CompactPriority = CompactPriority::SyncLight;
const FULL: CompactPriority = CompactPriority::SyncFull;

#[test]
fn t51_a_movable_request_frees_one_block_without_waiting() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    let gfp = Gfp::GFP_HIGHUSER_MOVABLE;
    assert_eq!(lab.take(gfp, 4), None);
    assert_eq!(lab.try_to_compact(gfp, 4, ASYNC), CompactResult::Success);
    assert_eq!(lab.count(VmEvent::PgmigrateSuccess), 8);
    assert_eq!(lab.take(gfp, 4), Some(FIRST_HANDLE));
    lab.assert_intact();
}

/// The free scanner takes the lowest free pages of the highest pageblock; both lists are used from their last page on, so
/// that pages keep their order.
#[test]
fn pages_move_to_the_far_end_in_order() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    lab.try_to_compact(Gfp::GFP_HIGHUSER_MOVABLE, 4, ASYNC);
    let frames: Vec<u64> = (0..9).map(|handle| lab.owner().frame_of(handle).0).collect();
    let last_block = BASE + 0x3e00;
    assert_eq!(frames[..8], [1, 3, 5, 7, 9, 11, 13, 15].map(|page| last_block + page));
    assert_eq!(frames[8], FIRST_HANDLE.0 + 16);
}

/// The second attempt makes a block after 32 pages, and goes on to the end of the pageblock, which the request will take
/// over: 256 pages of it were in use.
#[test]
fn t52_an_unmovable_request_finishes_the_pageblock_that_it_takes() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    assert_eq!(lab.try_to_compact(Gfp::GFP_KERNEL, 4, ASYNC), CompactResult::Complete);
    assert_eq!(lab.count(VmEvent::PgmigrateSuccess), 0);
    assert_eq!(lab.try_to_compact(Gfp::GFP_KERNEL, 4, LIGHT), CompactResult::Success);
    assert_eq!(lab.count(VmEvent::PgmigrateSuccess), 256);
    assert_eq!(lab.zone().counts.nr_free(Order::PAGEBLOCK), 1);
    assert!(lab.take(Gfp::GFP_KERNEL, 4).is_some());
    lab.assert_intact();
}

#[test]
fn t53_without_io_nothing_is_compacted() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    for priority in [ASYNC, LIGHT, FULL] {
        assert_eq!(lab.try_to_compact(Gfp::GFP_NOIO, 4, priority), CompactResult::Skipped);
    }
    assert_eq!(lab.count(VmEvent::CompactMigrateScanned), 0);
}

/// Compaction's share of the scenario: the first request's two attempts fail and put the second request off; the third
/// one's both run, for an attempt that never waits does not put off.
#[test]
fn t54_a_failure_puts_the_next_request_off() {
    let machine = machine();
    let lab = MovableLab::full_of_raw_pages(&machine);
    let attempt = |priority| lab.try_to_compact(Gfp::GFP_KERNEL, 4, priority);
    assert_eq!([attempt(ASYNC), attempt(LIGHT)], [CompactResult::Complete; 2]);
    assert_eq!((lab.zone().compact.shift(), lab.zone().compact.order_failed()), (1, 0));
    assert_eq!(attempt(ASYNC), CompactResult::Deferred);
    assert_eq!([attempt(ASYNC), attempt(LIGHT)], [CompactResult::Complete; 2]);
    assert_eq!(lab.zone().compact.shift(), 2);
    lab.assert_intact();
}

#[test]
fn t55_with_every_attempt_failing_few_of_them_run() {
    let machine = machine();
    let lab = MovableLab::full_of_raw_pages(&machine);
    let runs = |_: &u32| lab.try_to_compact(Gfp::GFP_KERNEL, 4, LIGHT) != CompactResult::Deferred;
    assert_eq!((1..=255).filter(runs).collect::<Vec<u32>>(), [1, 3, 7, 15, 31, 63, 127, 191, 255]);
}

#[test]
fn t57_where_memory_lacks_and_not_order_nothing_is_compacted() {
    let machine = machine();
    let lab = MovableLab::full_of_raw_pages(&machine);
    lab.take_everything();
    // 12 blocks of order 8, each with a page in use behind it.
    for block in 0..12 {
        let first = BASE + block * 512;
        (first..first + 256).for_each(|pfn| lab.free(Pfn(pfn)));
    }
    let events = lab.events(|| assert_eq!(lab.try_to_compact(Gfp::GFP_TRANSHUGE, 9, ASYNC), CompactResult::Skipped));
    let suitable = "mm_compaction_suitable: node=0 zone=DMA32    order=9 ret=not_suitable_zone";
    assert!(events.iter().any(|event| event.to_string() == suitable), "{events:?}");
    assert_eq!(lab.count(VmEvent::CompactMigrateScanned), 0);
}

#[test]
fn t59_pinned_pages_stay_where_they_are() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    let pinned = [0, 1, 2, 40, 41, 300, 301, 302, 1000, 2000];
    let frames = pinned.map(|handle| lab.owner().frame_of(handle));
    frames.iter().for_each(|&frame| lab.page(frame).get(1));
    compaction::compact_node(&lab.memory, &lab.current(), lab.memory.node(NodeId(0)));
    assert_eq!(pinned.map(|handle| lab.owner().frame_of(handle)), frames);
    assert!(lab.count(VmEvent::PgmigrateFail) > 0);
    frames.iter().for_each(|&frame| assert!(!lab.page(frame).put_testzero()));
    lab.assert_intact();
}

/// Half of the handles' pages are free, so that half of their pageblocks come out empty.
#[test]
fn compacting_everything_leaves_whole_blocks() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    compaction::compact_nodes(&lab.memory, &lab.current());
    assert_eq!(lab.count(VmEvent::PgmigrateSuccess), 2048);
    assert_eq!(lab.zone().counts.nr_free(Order::MAX), 4);
    assert_eq!(lab.zone().counts.free_pages(), 4096);
    lab.assert_intact();
}

#[test]
fn a_request_that_is_served_anyway_needs_no_compaction() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    assert_eq!(lab.try_to_compact(Gfp::GFP_KERNEL, 0, LIGHT), CompactResult::Success);
    assert_eq!(lab.count(VmEvent::CompactMigrateScanned), 0);
}

/// Min 256, and twice the block: 256 + 2 * 8 must stay.
#[test]
fn too_few_free_pages_are_not_worth_it() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    lab.free_to(273);
    assert_eq!(lab.suitable(Gfp::GFP_KERNEL, 3), CompactResult::Continue);
    lab.free_to(272);
    assert_eq!(lab.suitable(Gfp::GFP_KERNEL, 3), CompactResult::Skipped);
    assert_eq!(lab.suitable_with(3, 273), CompactResult::Continue);
}

/// A costly order must leave Low, 320, and twice the block.
#[test]
fn a_costly_order_needs_more() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    assert_eq!([352, 353].map(|free| lab.suitable_with(4, free)), [CompactResult::Skipped, CompactResult::Continue]);
}

#[test]
fn a_task_that_must_die_gives_up() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    lab.current().task.kill();
    assert_eq!(lab.try_to_compact(Gfp::GFP_KERNEL, 4, LIGHT), CompactResult::Contended);
    lab.assert_intact();
}

#[test]
fn work_that_is_called_off_ends() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    lab.memory.env.sched().set_interrupted(true);
    compaction::compact_nodes(&lab.memory, &lab.current());
    assert_eq!(lab.count(VmEvent::PgmigrateSuccess), 0);
    lab.memory.env.sched().set_interrupted(false);
    lab.assert_intact();
}

/// A request compacts with `PF_MEMALLOC` and must not wait for a lock that it may itself hold.
#[test]
fn a_locked_page_is_left_alone() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    let locked = lab.page(lab.owner().frame_of(3));
    locked.set_flags(PageFlags::LOCKED);
    let _scope = lab.current().task.scope(TaskFlags::PF_MEMALLOC);
    assert_eq!(lab.try_to_compact(Gfp::GFP_HIGHUSER_MOVABLE, 4, ASYNC), CompactResult::Success);
    assert_eq!(lab.owner().frame_of(3), FIRST_HANDLE.add(6));
    locked.clear_flags(PageFlags::LOCKED);
    lab.assert_intact();
}

#[test]
fn success_ends_deferral_and_keeps_the_skip_marks() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    let (zone, order) = (lab.zone(), Order::new(4).unwrap());
    zone.compact.defer(order);
    zone.compact.set_flush(true);
    compaction::compacted_for(&lab.memory, &lab.current(), zone, order);
    assert_eq!((zone.compact.shift(), zone.compact.order_failed(), zone.compact.wants_flush()), (0, 5, false));
}

/// The story of T51 as the trace tells it.
#[test]
fn events_tell_the_story() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    let events = lab.events(|| lab.try_to_compact(Gfp::GFP_HIGHUSER_MOVABLE, 4, ASYNC));
    let told = |event: &&Event| {
        matches!(event, Event::Compaction(event) if !matches!(event, Compaction::MmCompactionFinished { .. }))
            || matches!(event, Event::Migrate(_))
    };
    let lines: Vec<String> = events.iter().filter(told).map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "mm_compaction_try_to_compact_pages: order=4 gfp_mask=0x6200ca priority=2",
            "mm_compaction_suitable: node=0 zone=DMA32    order=4 ret=continue",
            "mm_compaction_begin: zone_start=0x40000 migrate_pfn=0x40000 free_pfn=0x43e00 zone_end=0x44000, mode=async",
            "mm_compaction_isolate_migratepages: range=(0x42000 ~ 0x42010) nr_scanned=16 nr_taken=8",
            "mm_compaction_isolate_freepages: range=(0x43e00 ~ 0x43e10) nr_scanned=16 nr_taken=8",
            "mm_migrate_pages: nr_succeeded=8 nr_failed=0 mode=MIGRATE_ASYNC reason=compaction",
            "mm_compaction_migratepages: nr_migrated=8 nr_failed=0",
            "mm_compaction_end: zone_start=0x40000 migrate_pfn=0x42010 free_pfn=0x43e10 zone_end=0x44000, mode=async \
             status=success",
            "mm_compaction_defer_reset: node=0 zone=DMA32    order=4 order_failed=5 consider=1 limit=1",
        ]
    );
    assert!(!lab.memory.has(Hook::Trace));
}
