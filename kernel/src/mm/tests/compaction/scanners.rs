//! The scanners: where they look, what they leave alone, and what they remember.

use crate::addr::{Order, Pfn};
use crate::gfp::Gfp;
use crate::mm::compaction;
use crate::mm::memory::Env;
use crate::mm::page::PageFlags;
use crate::mm::pcp::PcpLimits;
use crate::mm::testing::{HostMachine, MIB};
use crate::mmzone::{MigrateType, NodeId, Watermark};
use crate::reclaim_types::CompactResult;
use crate::sched::JIFFY_NS;
use crate::vmstat::VmEvent;

use super::movable::{BASE, FIRST_HANDLE, MovableLab, PAGES, machine};
use super::{ASYNC, FULL, LIGHT};

/// Pageblocks that are marked to be skipped, by number.
fn skipped(lab: &MovableLab<'_>) -> Vec<u64> {
    let is_skipped = |block: &u64| lab.memory.blocks.of((block * 512) as u32).skip();
    (0..lab.memory.blocks.count() as u64).filter(is_skipped).collect()
}

#[test]
fn pageblocks_that_give_nothing_are_skipped_until_kswapd_sleeps() {
    let machine = machine();
    let lab = MovableLab::full_of_raw_pages(&machine);
    assert_eq!(lab.try_to_compact(Gfp::GFP_KERNEL, 3, LIGHT), CompactResult::Complete);
    let scanned = lab.count(VmEvent::CompactMigrateScanned);
    assert_eq!(skipped(&lab), (0..31).collect::<Vec<_>>());
    assert_eq!(scanned, 31 * 512);

    // Everything is marked: nothing is scanned.
    lab.try_to_compact(Gfp::GFP_HIGHUSER_MOVABLE, 3, ASYNC);
    assert_eq!(lab.count(VmEvent::CompactMigrateScanned), scanned);

    assert!(lab.zone().compact.wants_flush());
    compaction::reset_isolation_suitable(&lab.memory, lab.memory.node(NodeId(0)));
    assert_eq!((skipped(&lab), lab.zone().compact.wants_flush()), (vec![], false));
    // Nobody asked for it again.
    lab.memory.blocks.set_skip(0, true);
    compaction::reset_isolation_suitable(&lab.memory, lab.memory.node(NodeId(0)));
    assert_eq!(skipped(&lab), [0]);
}

#[test]
fn the_hardest_attempt_looks_at_skipped_pageblocks_too() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    (0..PAGES as u32).step_by(512).for_each(|index| lab.memory.blocks.set_skip(index, true));
    assert_eq!(lab.try_to_compact(Gfp::GFP_KERNEL, 4, LIGHT), CompactResult::Complete);
    assert_eq!(lab.try_to_compact(Gfp::GFP_KERNEL, 4, FULL), CompactResult::Success);
    lab.assert_intact();
}

/// A page that stays in every block of order 4, and every attempt gives up at it.
#[test]
fn a_request_that_cannot_wait_gives_up_on_a_block_at_its_first_fixed_page() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    // Every block of 16 pages but one of the last pageblock but one gets a raw page: the second free page of the block.
    let lucky = FIRST_HANDLE.0 + 14 * 512 + 160;
    for block in (FIRST_HANDLE.0..BASE + PAGES).step_by(16).filter(|&block| block != lucky) {
        let index = lab.memory.pages.index(Pfn(block + 3));
        let state = lab.memory.pages.at(index).state();
        let pin = lab.memory.pin();
        let mut guard = lab.zone().free.lock(&pin);
        let mut buddy = lab.zone().buddy(&mut guard, lab.memory.pages, lab.memory.blocks);
        buddy.take_apart(index, state, PageFlags::empty(), 1);
        lab.zone().compact.count_taken(1);
    }
    assert_eq!(lab.try_to_compact(Gfp::GFP_HIGHUSER_MOVABLE, 4, ASYNC), CompactResult::Success);
    assert_eq!(lab.take(Gfp::GFP_HIGHUSER_MOVABLE, 4), Some(Pfn(lucky)));
    assert_eq!(lab.count(VmEvent::PgmigrateSuccess), 8);
    lab.assert_intact();
}

#[test]
fn the_next_attempt_goes_on_where_the_last_one_gave_up() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    lab.try_to_compact(Gfp::GFP_HIGHUSER_MOVABLE, 4, LIGHT);
    // The unmovable half gave nothing; the pageblock from which pages moved is looked at again.
    assert_eq!(lab.zone().compact.migrate_pfn(true), Pfn(FIRST_HANDLE.0 - 512));
    assert_eq!(lab.zone().compact.free_pfn(), Pfn(BASE + PAGES - 512));
    assert!(lab.zone().compact.free_pfn().is_aligned(Order::PAGEBLOCK));
}

/// A free page may be taken as long as more than Min + 1 are free before, as if it were allocated.
#[test]
fn the_free_scanner_stays_above_min() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    assert_eq!(lab.zone().watermark(Watermark::Min), 256);
    lab.free_to(257);
    compaction::compact_nodes(&lab.memory, &lab.current());
    assert_eq!(lab.count(VmEvent::PgmigrateSuccess), 0);
    let lab = MovableLab::scattered(&machine);
    lab.free_to(258);
    compaction::compact_nodes(&lab.memory, &lab.current());
    assert!(lab.count(VmEvent::PgmigrateSuccess) > 0);
    lab.assert_intact();
}

/// Nothing merges on a per-CPU list: 8 pages make the block only because they are brought together.
#[test]
fn freed_pages_leave_the_per_cpu_list() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    lab.zone().set_pcp_limits(PcpLimits { high: 186, batch: 31 });
    assert_eq!(lab.try_to_compact(Gfp::GFP_HIGHUSER_MOVABLE, 4, ASYNC), CompactResult::Success);
    assert_eq!((lab.count(VmEvent::PgmigrateSuccess), lab.zone().pcp_pages()), (8, 0));
    lab.assert_intact();
}

/// Whoever may wait lets the others run and goes on.
#[test]
fn a_request_that_cannot_wait_ends_when_others_want_the_cpu() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    let attempt = |priority| {
        std::thread::scope(|scope| {
            let threads = lab.memory.env.sched();
            threads.spawn(scope, || {});
            threads.advance(JIFFY_NS);
            let result = lab.try_to_compact(Gfp::GFP_HIGHUSER_MOVABLE, 4, priority);
            threads.settle();
            result
        })
    };
    assert_eq!([attempt(ASYNC), attempt(LIGHT)], [CompactResult::Contended, CompactResult::Success]);
    lab.assert_intact();
}

/// 16 MiB, nothing for 16 MiB, 16 MiB.
#[test]
fn a_hole_is_passed_over() {
    let banks = [(BASE << 12, 16 * MIB, 0), ((BASE << 12) + 32 * MIB, 16 * MIB, 0)];
    let machine = HostMachine::new("", &banks, &[]);
    let lab = MovableLab::fresh(&machine);
    lab.take_everything();
    compaction::compact_nodes(&lab.memory, &lab.current());
    // In the last pageblock the scanners meet.
    assert_eq!(skipped(&lab), (0..8).chain(16..23).collect::<Vec<_>>());
    assert_eq!(lab.count(VmEvent::CompactMigrateScanned), 15 * 512);
}

/// No page moves into what could serve anybody, nor among pages that cannot move.
#[test]
fn the_free_scanner_leaves_large_free_blocks_and_other_types_alone() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    lab.memory.blocks.set_migratetype(PAGES as u32 - 512, MigrateType::Unmovable);
    lab.try_to_compact(Gfp::GFP_HIGHUSER_MOVABLE, 4, ASYNC);
    assert_eq!(lab.owner().frame_of(0), Pfn(BASE + PAGES - 1024 + 1));
    // The hardest attempt does not mind the type.
    let lab = MovableLab::scattered(&machine);
    lab.memory.blocks.set_migratetype(PAGES as u32 - 512, MigrateType::Unmovable);
    lab.try_to_compact(Gfp::GFP_HIGHUSER_MOVABLE, 4, FULL);
    assert_eq!(lab.owner().frame_of(0), Pfn(BASE + PAGES - 512 + 1));
}

/// In a fresh machine no record but the heads' is written; compaction must not read the others.
#[test]
fn a_fresh_machine_has_nothing_to_compact() {
    let machine = machine();
    let lab = MovableLab::fresh(&machine);
    compaction::compact_nodes(&lab.memory, &lab.current());
    assert_eq!(lab.count(VmEvent::CompactIsolated), 0);
    assert_eq!(lab.zone().counts.nr_free(Order::MAX), 16);
    assert!(lab.memory.pages.index(Pfn(BASE)) == 0 && !lab.memory.blocks.of(0).is_written());
    lab.assert_intact();
}

/// 256 free pages in a row are a target like any other, and their pageblock becomes movable.
#[test]
fn a_large_part_of_a_pageblock_makes_it_movable() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    let last = PAGES as u32 - 512;
    lab.memory.blocks.set_migratetype(last, MigrateType::Reclaimable);
    lab.free_half(BASE + u64::from(last));
    lab.try_to_compact(Gfp::GFP_HIGHUSER_MOVABLE, 9, FULL);
    assert_eq!(lab.memory.blocks.of(last).migratetype(), MigrateType::Movable);
    lab.assert_intact();
}
