//! Whose pages are taken when a type has none, how much of the pageblock goes with them, and what it costs.
//!
//! The zones here are laid out by hand: nothing is free but the blocks that a test puts on the lists.

use crate::addr::{Order, Pfn};
use crate::gfp::Gfp;
use crate::mm::fallback::{Fallback, FallbackControl, fallbacks, rmqueue_fallback};
use crate::mm::page::{Kind, PageFlags, PageState};
use crate::mm::testing::{HostMachine, Lab, MIB, board_64m};
use crate::mm::zone::AllocFlags;
use crate::mmzone::MigrateType::{self, Cma, HighAtomic, Isolate, Movable, Reclaimable, Unmovable};

mod boosts;

/// First page of the pageblock in which most tests play.
const P: u64 = 0x40000;

/// 16 MiB that are all in use.
fn full_board() -> HostMachine {
    HostMachine::new("", &[(0x4000_0000, 16 * MIB, 0)], &[(0x4000_0000, 16 * MIB)])
}

fn order(order: u32) -> Order {
    Order::new(order).unwrap()
}

/// Puts the block at `pfn` on the list of `migratetype`.
fn put(lab: &Lab<'_>, pfn: u64, block: u32, migratetype: MigrateType) {
    let (zone, pages) = (lab.zone(), lab.memory.pages);
    let index = pages.index(Pfn(pfn));
    lab.memory.blocks.write_records(pages, index);
    let pin = lab.memory.pin();
    zone.buddy(&mut zone.free.lock(&pin), pages, lab.memory.blocks).free(index, order(block), migratetype);
}

fn set_pageblock(lab: &Lab<'_>, pfn: u64, migratetype: MigrateType) {
    lab.memory.blocks.set_migratetype(lab.memory.pages.index(Pfn(pfn)), migratetype);
}

/// Pages at `pfn` that are in use and could be moved.
fn put_movable_in_use(lab: &Lab<'_>, pfn: u64, nr_pages: u64) {
    lab.memory.blocks.write_records(lab.memory.pages, lab.memory.pages.index(Pfn(pfn)));
    for page in 0..nr_pages {
        let state = PageState::new(Kind::Pcp, Order::ZERO, Movable, lab.zone().id);
        let flags = if page % 2 == 0 { PageFlags::LRU } else { PageFlags::MOVABLE };
        lab.memory.pages.at(lab.memory.pages.index(Pfn(pfn + page))).set_state(state.to_allocated(flags, 1));
    }
}

fn fall_back_with(
    lab: &Lab<'_>,
    control: &FallbackControl,
    block: u32,
    migratetype: MigrateType,
    flags: AllocFlags,
) -> Option<Fallback> {
    let (zone, pin) = (lab.zone(), lab.memory.pin());
    let mut guard = zone.free.lock(&pin);
    let buddy = zone.buddy(&mut guard, lab.memory.pages, lab.memory.blocks);
    rmqueue_fallback(zone, buddy, control, order(block), migratetype, flags)
}

/// Page, order and list of the block that a request finds, and whether its pageblock changed hands.
fn fall_back(lab: &Lab<'_>, block: u32, migratetype: MigrateType) -> Option<(u64, u32, MigrateType, bool)> {
    let control = lab.control(lab.zone());
    let found = fall_back_with(lab, &control, block, migratetype, AllocFlags::empty())?;
    Some((lab.memory.pages.pfn(found.index).0, found.order.get(), found.from, found.change_ownership))
}

#[test]
fn types_fall_back_in_their_order() {
    assert_eq!(fallbacks(Unmovable), [Reclaimable, Movable]);
    assert_eq!(fallbacks(Movable), [Reclaimable, Unmovable]);
    assert_eq!(fallbacks(Reclaimable), [Unmovable, Movable]);
}

#[test]
fn the_first_choice_comes_before_the_second_and_both_before_a_smaller_block() {
    for (wanted, first, second) in
        [(Unmovable, Reclaimable, Movable), (Movable, Reclaimable, Unmovable), (Reclaimable, Unmovable, Movable)]
    {
        let machine = full_board();
        let lab = Lab::new(&machine);
        put(&lab, P, 5, second);
        put(&lab, P + 0x200, 5, first);
        put(&lab, P + 0x400, 4, first);
        assert_eq!(fall_back(&lab, 0, wanted).unwrap().0, P + 0x200);
        assert_eq!(fall_back(&lab, 0, wanted).unwrap().0, P);
        assert_eq!(fall_back(&lab, 0, wanted).unwrap().0, P + 0x400);
        assert_eq!(fall_back(&lab, 0, wanted), None);
    }
}

#[test]
fn reserved_lent_and_isolated_pages_are_nobodys_fallback() {
    let machine = full_board();
    let lab = Lab::new(&machine);
    put(&lab, P, 5, HighAtomic);
    put(&lab, P + 0x200, 5, Cma);
    put(&lab, P + 0x400, 5, Isolate);
    for wanted in [Unmovable, Movable, Reclaimable] {
        assert_eq!(fall_back(&lab, 0, wanted), None);
    }
}

#[test]
fn a_block_below_the_order_does_not_help() {
    let machine = full_board();
    let lab = Lab::new(&machine);
    put(&lab, P, 5, Movable);
    assert_eq!(fall_back(&lab, 6, Unmovable), None);
    assert_eq!(fall_back(&lab, 5, Unmovable).unwrap().1, 5);
}

#[test]
fn a_whole_pageblock_changes_hands_without_a_boost() {
    let machine = full_board();
    let lab = Lab::new(&machine);
    for (pfn, block) in [(P + 0x200, 9), (P + 0x400, 10)] {
        put(&lab, pfn, block, Movable);
        assert_eq!(fall_back(&lab, 0, Unmovable), Some((pfn, block, Movable, true)));
        assert_eq!(lab.list(block, Unmovable), [pfn]);
    }
    let types = [0, 0x200, 0x400, 0x600, 0x800].map(|at| lab.pageblock(P + at));
    assert_eq!(types, [Movable, Unmovable, Unmovable, Unmovable, Movable]);
    assert_eq!(lab.zone().boost(), 0);
}

#[test]
fn a_movable_request_that_cannot_steal_takes_the_smallest_block() {
    let machine = full_board();
    let lab = Lab::new(&machine);
    set_pageblock(&lab, P, Unmovable);
    put(&lab, P, 3, Unmovable);
    put(&lab, P + 0x10, 1, Unmovable);
    put(&lab, P + 0x20, 2, Reclaimable);
    assert_eq!(fall_back(&lab, 0, Movable), Some((P + 0x10, 1, Unmovable, false)));
    assert_eq!((lab.list(1, Movable), lab.list(3, Unmovable)), (vec![P + 0x10], vec![P]));
    assert_eq!(fall_back(&lab, 2, Movable), Some((P + 0x20, 2, Reclaimable, false)));
    // Nothing smaller than what was found from above: the block itself.
    assert_eq!(fall_back(&lab, 3, Movable), Some((P, 3, Unmovable, false)));
    assert_eq!(lab.pageblock(P), Unmovable);
}

#[test]
fn a_movable_request_steals_from_order_4_up() {
    let machine = full_board();
    let lab = Lab::new(&machine);
    set_pageblock(&lab, P, Unmovable);
    put(&lab, P, 4, Unmovable);
    put(&lab, P + 0x20, 0, Unmovable);
    assert_eq!(fall_back(&lab, 0, Movable), Some((P, 4, Unmovable, false)));
    assert_eq!((lab.list(4, Movable), lab.list(0, Movable)), (vec![P], vec![P + 0x20]));
}

/// An unmovable or reclaimable request steals at any order; the pageblock follows when half of it is free or alike.
fn check_ownership(wanted: MigrateType, old: MigrateType, free_blocks: &[(u64, u32)], movable: u64, changes: bool) {
    let machine = full_board();
    let lab = Lab::new(&machine);
    set_pageblock(&lab, P, old);
    put_movable_in_use(&lab, P + 0x100, movable);
    free_blocks.iter().for_each(|(at, block)| put(&lab, P + at, *block, old));
    let found = fall_back(&lab, 0, wanted).unwrap();
    assert_eq!((found.3, lab.pageblock(P)), (changes, if changes { wanted } else { old }));
    for (at, block) in free_blocks {
        assert!(lab.list(*block, wanted).contains(&(P + at)), "block {at:#x}");
    }
}

#[test]
fn half_a_pageblock_of_free_pages_is_enough() {
    check_ownership(Unmovable, Reclaimable, &[(0, 8)], 0, true);
    check_ownership(Unmovable, Reclaimable, &[(0, 7), (0x80, 6), (0xc0, 5), (0xe0, 4)], 0, false);
    check_ownership(Reclaimable, Unmovable, &[(0, 7), (0xc0, 6), (0x80, 0)], 0, false);
}

#[test]
fn pages_in_use_that_are_alike_count() {
    // From a movable pageblock, what is neither free nor movable is taken to be of the request's kind.
    check_ownership(Unmovable, Movable, &[(0, 0)], 0, true);
    check_ownership(Unmovable, Movable, &[(0, 0)], 256, true);
    check_ownership(Unmovable, Movable, &[(0, 4)], 0x100, true);
    check_ownership(Reclaimable, Movable, &[(0, 0)], 0, true);
    // A movable request counts the movable pages.
    check_ownership(Movable, Unmovable, &[(0, 4)], 240, true);
    check_ownership(Movable, Unmovable, &[(0, 4)], 239, false);
    check_ownership(Movable, Reclaimable, &[(0, 4)], 256, true);
    // Between unmovable and reclaimable nothing is alike.
    check_ownership(Unmovable, Reclaimable, &[(0, 4)], 256, false);
}

#[test]
fn most_of_a_movable_pageblock_in_use_keeps_it_movable() {
    let machine = full_board();
    let lab = Lab::new(&machine);
    put_movable_in_use(&lab, P + 0x10, 257);
    put(&lab, P, 2, Movable);
    // 4 free and 251 that may be unmovable are one page less than half.
    assert_eq!(fall_back(&lab, 0, Unmovable), Some((P, 2, Movable, false)));
    assert_eq!(lab.pageblock(P), Movable);
}

#[test]
fn stolen_pages_stand_at_the_head_the_highest_first() {
    let machine = full_board();
    let lab = Lab::new(&machine);
    [8, 2, 4].iter().for_each(|at| put(&lab, P + at, 0, Movable));
    put(&lab, P + 0x210, 0, Movable);
    put(&lab, P + 0x300, 0, Unmovable);
    assert_eq!(fall_back(&lab, 0, Unmovable).map(|found| found.0), Some(P + 0x210));
    assert_eq!(fall_back(&lab, 0, Unmovable).map(|found| found.0), Some(P + 4));
    assert_eq!(lab.list(0, Unmovable), [P + 8, P + 4, P + 2, P + 0x300, P + 0x210]);
}

#[test]
fn a_reserved_pageblock_gives_one_block_and_keeps_its_type() {
    let machine = full_board();
    let lab = Lab::new(&machine);
    lab.zone().set_watermarks([1000, 1250, 1500]);
    set_pageblock(&lab, P, HighAtomic);
    put(&lab, P, 8, Movable);
    put(&lab, P + 0x100, 3, Movable);
    assert_eq!(fall_back(&lab, 0, Unmovable), Some((P, 8, Movable, false)));
    assert_eq!((lab.list(8, Unmovable), lab.list(3, Movable)), (vec![P], vec![P + 0x100]));
    assert_eq!((lab.pageblock(P), lab.zone().boost()), (HighAtomic, 0));
}

#[test]
fn a_pageblock_that_the_zone_ends_in_gives_one_block() {
    // 16 MiB and 1 MiB: the last pageblock is half there.
    let machine = HostMachine::new("", &[(0x4000_0000, 17 * MIB, 0)], &[(0x4000_0000, 17 * MIB)]);
    let lab = Lab::new(&machine);
    put(&lab, P + 0x1000, 4, Movable);
    put(&lab, P + 0x1020, 3, Movable);
    assert_eq!(fall_back(&lab, 0, Unmovable), Some((P + 0x1000, 4, Movable, false)));
    assert_eq!((lab.list(4, Unmovable), lab.list(3, Movable)), (vec![P + 0x1000], vec![P + 0x1020]));
}

#[test]
fn a_pageblock_that_the_zone_starts_in_moves_from_the_block_on() {
    let machine = HostMachine::new("", &[(0x4008_0000, 15 * MIB, 0)], &[(0x4008_0000, 15 * MIB)]);
    let lab = Lab::new(&machine);
    put(&lab, P + 0x80, 1, Reclaimable);
    put(&lab, P + 0x100, 4, Reclaimable);
    put(&lab, P + 0x180, 3, Reclaimable);
    assert_eq!(fall_back(&lab, 0, Unmovable).map(|found| found.0), Some(P + 0x100));
    assert_eq!((lab.list(3, Unmovable), lab.list(1, Reclaimable)), (vec![P + 0x180], vec![P + 0x80]));
}

#[test]
fn without_mobility_every_fallback_takes_the_pageblock_for_unmovable() {
    let machine = full_board();
    let lab = Lab::new(&machine);
    let control = FallbackControl { mobility_disabled: true, ..lab.control(lab.zone()) };
    put(&lab, P, 0, Movable);
    put_movable_in_use(&lab, P + 0x10, 300);
    fall_back_with(&lab, &control, 0, Unmovable, AllocFlags::empty()).unwrap();
    assert_eq!(lab.pageblock(P), Unmovable);
    // Nobody asks for others then; but retyping knows only Unmovable.
    put(&lab, P + 0x200, 0, Unmovable);
    fall_back_with(&lab, &control, 0, Movable, AllocFlags::empty()).unwrap();
    assert_eq!(lab.pageblock(P + 0x200), Unmovable);
    put(&lab, P + 0x400, 9, Unmovable);
    fall_back_with(&lab, &control, 0, Reclaimable, AllocFlags::empty()).unwrap();
    assert_eq!(lab.pageblock(P + 0x400), Unmovable);
}

#[test]
fn little_memory_is_not_grouped_by_mobility() {
    let pages = |mib: u64| {
        let machine = HostMachine::new("", &[(0x4000_0000, mib * MIB, 0)], &[]);
        let lab = Lab::new(&machine);
        let movable = lab.alloc(Gfp::GFP_HIGHUSER_MOVABLE, 0).unwrap();
        (lab.memory.pages.at(lab.memory.pages.index(movable)).state().migratetype(), lab.pageblock(movable.0))
    };
    // 12 MiB less what Linux would spend on their records is below six pageblocks.
    assert_eq!(pages(12), (Unmovable, Unmovable));
    assert_eq!(pages(13), (Movable, Movable));
}

#[test]
fn only_whole_pageblocks_are_mixed_without_fragmentation() {
    let machine = full_board();
    let lab = Lab::new(&machine);
    let control = lab.control(lab.zone());
    let fall_back = |block, flags| {
        let found = fall_back_with(&lab, &control, block, Unmovable, flags)?;
        Some((lab.memory.pages.pfn(found.index).0, found.order.get()))
    };
    put(&lab, P, 8, Movable);
    put(&lab, P + 0x200, 9, Movable);
    assert_eq!(fall_back(0, AllocFlags::NOFRAGMENT), Some((P + 0x200, 9)));
    assert_eq!(fall_back(0, AllocFlags::NOFRAGMENT), None);
    assert_eq!(fall_back(0, AllocFlags::empty()), Some((P, 8)));
}

#[test]
fn without_fragmentation_a_maximal_request_retypes_pageblocks_in_vain() {
    let machine = full_board();
    let lab = Lab::new(&machine);
    put(&lab, P + 0x200, 9, Movable);
    let control = lab.control(lab.zone());
    assert!(fall_back_with(&lab, &control, 10, Unmovable, AllocFlags::NOFRAGMENT).is_some());
    assert_eq!((lab.list(9, Unmovable), lab.pageblock(P + 0x200)), (vec![P + 0x200], Unmovable));
    assert!(fall_back_with(&lab, &control, 10, Unmovable, AllocFlags::NOFRAGMENT).is_none());
    assert!(fall_back_with(&lab, &control, 10, Movable, AllocFlags::empty()).is_none());
}

#[test]
fn requests_on_a_machine_with_little_memory_take_the_pageblock_too() {
    for (mib, migratetype) in [(10, Unmovable), (16, Movable)] {
        let machine = HostMachine::new("", &[(0x4000_0000, mib * MIB, 0)], &[(0x4000_0000, mib * MIB)]);
        let lab = Lab::without_pcp(&machine);
        put_movable_in_use(&lab, P + 0x10, 300);
        put(&lab, P, 0, Movable);
        assert_eq!(lab.take(Gfp::GFP_KERNEL, 0, AllocFlags::NO_WATERMARKS), Some(Pfn(P)));
        assert_eq!(lab.pageblock(P), migratetype);
    }
}

#[test]
fn a_block_whose_parent_may_merge_soon_is_used_last() {
    let machine = full_board();
    let lab = Lab::new(&machine);
    put(&lab, P + 0x20, 0, Movable);
    put(&lab, P + 2, 1, Movable);
    put(&lab, P, 0, Movable); // with P + 1 it would make P, the buddy of P + 2
    put(&lab, P + 0x40, 0, Movable);
    assert_eq!(lab.list(0, Movable), [P + 0x40, P + 0x20, P]);
    // At order 8 the parent would be a pageblock, which merges too; at 9 nothing is held back.
    put(&lab, P + 0x800, 8, Movable);
    put(&lab, P + 0x600, 9, Movable);
    put(&lab, P + 0x400, 8, Movable);
    assert_eq!(lab.list(8, Movable), [P + 0x800, P + 0x400]);
    put(&lab, P + 0xc00, 10, Movable);
    put(&lab, P + 0xa00, 9, Movable);
    assert_eq!(lab.list(9, Movable), [P + 0xa00, P + 0x600]);
}

#[test]
fn movable_requests_use_cma_before_they_fall_back() {
    let machine = full_board();
    let lab = Lab::without_pcp(&machine);
    set_pageblock(&lab, P, Cma);
    put(&lab, P, 4, Cma);
    set_pageblock(&lab, P + 0x200, Reclaimable);
    put(&lab, P + 0x200, 4, Reclaimable);
    let take = |gfp, block| lab.take(gfp, block, AllocFlags::NO_WATERMARKS).map(|pfn| pfn.0);
    assert_eq!(take(Gfp::GFP_KERNEL, 4), Some(P + 0x200));
    assert_eq!(take(Gfp::GFP_KERNEL, 0), None);
    assert_eq!(take(Gfp::GFP_HIGHUSER_MOVABLE, 0), Some(P));
    assert_eq!((lab.zone().counts.free_pages(), lab.zone().counts.free_cma()), (15, 15));
    assert_eq!(take(Gfp::GFP_HIGHUSER_MOVABLE, 3), Some(P + 8));
    assert_eq!((lab.zone().counts.free_pages(), lab.zone().counts.free_cma()), (7, 7));
    lab.free(Pfn(P), 0).unwrap();
    lab.free(Pfn(P + 8), 3).unwrap();
    assert_eq!((lab.list(4, Cma), lab.zone().counts.free_cma()), (vec![P], 16));
}

#[test]
fn a_fallback_is_traced() {
    let machine = board_64m("");
    let lab = Lab::new(&machine);
    let lines = lab.traced(|| lab.alloc(Gfp::GFP_KERNEL, 1));
    assert_eq!(
        lines[1..],
        [
            "mm_page_alloc_extfrag: page=0x43c00000 pfn=277504 alloc_order=1 fallback_order=10 pageblock_order=9 \
             alloc_migratetype=0 fallback_migratetype=1 fragmenting=0 change_ownership=1",
            "mm_page_alloc_zone_locked: page=0x43c00000 pfn=277504 order=1 migratetype=0 percpu_refill=0",
            "mm_page_alloc: page=0x43c00000 pfn=277504 order=1 migratetype=0 gfp_flags=GFP_KERNEL",
        ]
    );
}
