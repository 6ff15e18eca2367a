//! Pageblocks kept for high-order atomic requests: when one is set aside, who may use it, how it is given back.

use crate::addr::Pfn;
use crate::gfp::Gfp;
use crate::mm::fallback;
use crate::mm::testing::{Lab, board_16m, board_64m};
use crate::mm::zone::AllocFlags;
use crate::mmzone::MigrateType::{self, Cma, HighAtomic, Movable, Reclaimable, Unmovable};

/// The flags of GFP_ATOMIC in the slow path.
fn atomic() -> AllocFlags {
    AllocFlags::HARDER | AllocFlags::HIGH | AllocFlags::KSWAPD
}

fn unreserve(lab: &Lab<'_>, migratetype: MigrateType, force: bool) -> bool {
    let (zone, pin) = (lab.zone(), lab.memory.pin());
    let control = lab.control(zone);
    let mut guard = zone.free.lock(&pin);
    let mut buddy = zone.buddy(&mut guard, lab.memory.pages, lab.memory.blocks);
    fallback::unreserve_highatomic(zone, &mut buddy, &control, migratetype, force)
}

#[test]
fn a_block_that_tried_harder_sets_its_pageblock_aside() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let before = lab.zone().counts.free_pages();
    assert_eq!(lab.take(Gfp::GFP_ATOMIC, 1, atomic()), Some(Pfn(0x40c00)));
    assert_eq!((lab.pageblock(0x40c00), lab.pageblock(0x40e00)), (HighAtomic, Unmovable));
    assert_eq!(lab.zone().nr_reserved_highatomic(), 512);
    // Its free pages moved; they still count as free. The other half of the maximal block did not.
    assert_eq!((lab.list(8, HighAtomic), lab.list(1, HighAtomic)), (vec![0x40d00], vec![0x40c02]));
    assert_eq!(lab.list(9, Unmovable), [0x40e00]);
    assert_eq!(lab.zone().counts.free_pages(), before - 2);
    lab.assert_sound();
}

#[test]
fn neither_a_single_page_nor_a_modest_request_sets_one_aside() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    lab.take(Gfp::GFP_ATOMIC, 0, atomic()).unwrap();
    lab.take(Gfp::GFP_ATOMIC, 3, AllocFlags::HIGH).unwrap();
    lab.take(Gfp::GFP_ATOMIC, 3, AllocFlags::OOM).unwrap();
    assert_eq!(lab.zone().nr_reserved_highatomic(), 0);
}

#[test]
fn the_reserve_ends_at_a_hundredth_of_the_zone_and_a_pageblock() {
    // 3965 pages: one pageblock brings it to 512, below 39 + 512; the second to 1024, and that is the end.
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let mut reserved = Vec::new();
    for _ in 0..4 {
        lab.take(Gfp::GFP_ATOMIC, 9, atomic()).unwrap();
        reserved.push(lab.zone().nr_reserved_highatomic());
    }
    assert_eq!(reserved, [512, 1024, 1024, 1024]);
    lab.assert_sound();
}

#[test]
fn blocks_kept_for_others_are_not_set_aside() {
    for kept in [HighAtomic, Cma, MigrateType::Isolate] {
        let machine = board_16m("");
        let lab = Lab::new(&machine);
        let (zone, pin) = (lab.zone(), lab.memory.pin());
        let index = lab.memory.pages.index(Pfn(0x40c00));
        lab.memory.blocks.set_migratetype(index, kept);
        let mut guard = zone.free.lock(&pin);
        let mut buddy = zone.buddy(&mut guard, lab.memory.pages, lab.memory.blocks);
        fallback::reserve_highatomic(zone, &mut buddy, &lab.control(zone), index);
        assert_eq!((lab.zone().nr_reserved_highatomic(), lab.pageblock(0x40c00)), (0, kept));
    }
}

#[test]
fn only_blocks_that_try_harder_come_from_the_reserve_and_they_come_first() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    lab.take(Gfp::GFP_ATOMIC, 1, atomic()).unwrap();
    assert_eq!(lab.take(Gfp::GFP_KERNEL, 1, AllocFlags::NO_WATERMARKS), Some(Pfn(0x40e00)));
    assert_eq!(lab.take(Gfp::GFP_ATOMIC, 1, atomic()), Some(Pfn(0x40c02)));
    assert_eq!(lab.take(Gfp::GFP_HIGHUSER_MOVABLE, 1, atomic()), Some(Pfn(0x40c04)));
    for order in [9, 6, 3, 1] {
        lab.take_all(Gfp::GFP_KERNEL, order, AllocFlags::NO_WATERMARKS | AllocFlags::OOM);
    }
    assert_eq!(lab.take(Gfp::GFP_ATOMIC, 0, atomic() | AllocFlags::NO_WATERMARKS).map(|pfn| pfn.0 >> 9), Some(0x200));
    lab.take_all(Gfp::GFP_KERNEL, 0, atomic() | AllocFlags::NO_WATERMARKS);
    assert_eq!(lab.zone().counts.free_pages(), 512 - 6);
    assert_eq!(lab.take(Gfp::GFP_ATOMIC, 7, atomic() | AllocFlags::NO_WATERMARKS), Some(Pfn(0x40c80)));
}

#[test]
fn its_single_pages_wait_among_the_movable_and_return_to_it() {
    let machine = board_64m("");
    let lab = Lab::new(&machine);
    let pfn = lab.take(Gfp::GFP_ATOMIC, 1, atomic()).unwrap();
    crate::mm::page_alloc::split_page(&lab.memory, pfn, crate::addr::Order::new(1).unwrap());
    lab.free(pfn, 0).unwrap();
    lab.free(pfn.add(1), 0).unwrap();
    assert_eq!(lab.pcp(Movable), [pfn.0 + 1, pfn.0]);
    lab.assert_sound();
    lab.drain();
    assert_eq!(lab.list(10, HighAtomic), [pfn.0]); // with its buddy, which is not reserved
    lab.assert_sound();
}

#[test]
fn a_larger_block_returns_to_it_at_once() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let pfn = lab.take(Gfp::GFP_ATOMIC, 3, atomic()).unwrap();
    lab.free(pfn, 3).unwrap();
    assert_eq!(lab.list(10, HighAtomic), [pfn.0]); // with its buddy, which is not reserved
}

#[test]
fn the_last_pageblock_is_given_back_only_by_force() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    lab.take(Gfp::GFP_ATOMIC, 1, atomic()).unwrap();
    assert!(!unreserve(&lab, Reclaimable, false));
    assert_eq!(lab.zone().nr_reserved_highatomic(), 512);
    assert!(unreserve(&lab, Reclaimable, true));
    assert_eq!((lab.zone().nr_reserved_highatomic(), lab.pageblock(0x40c00)), (0, Reclaimable));
    assert_eq!((lab.list(8, Reclaimable), lab.list(8, HighAtomic)), (vec![0x40d00], vec![]));
    assert!(!unreserve(&lab, Reclaimable, true));
    lab.assert_sound();
}

#[test]
fn of_two_pageblocks_one_is_given_back() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    lab.take(Gfp::GFP_ATOMIC, 9, atomic()).unwrap(); // nothing of it is free
    lab.take(Gfp::GFP_ATOMIC, 8, atomic()).unwrap();
    assert_eq!(lab.zone().nr_reserved_highatomic(), 1024);
    assert!(unreserve(&lab, Movable, false));
    assert_eq!(lab.zone().nr_reserved_highatomic(), 512);
    assert!(!unreserve(&lab, Movable, false));
    assert!(!unreserve(&lab, Movable, true)); // by force neither: no page of it is free
    lab.assert_sound();
}
