//! The watermark check: the exact number of free pages at which each kind of request is refused.

use crate::sync::atomic::Ordering::Relaxed;

use crate::addr::{Order, Pfn};
use crate::gfp::Gfp;
use crate::mm::testing::{HostMachine, Lab, MIB, board_16m};
use crate::mm::zone::{AllocFlags, Zone};
use crate::mmzone::{MigrateType, Watermark};

/// Flags that the slow path uses, by their number in the specification.
fn flags(bits: u32) -> AllocFlags {
    AllocFlags::from_bits(bits).unwrap()
}

fn order(order: u32) -> Order {
    Order::new(order).unwrap()
}

/// Lets the zone say that it has `free` pages.
fn pretend_free(zone: &Zone, free: u64) {
    zone.counts.count(MigrateType::Movable, free as i64 - zone.counts.free_pages() as i64);
}

/// The most free pages at which `passes` says no, having said yes from there on.
fn threshold(zone: &Zone, passes: impl Fn() -> bool) -> u64 {
    let at = |free| {
        pretend_free(zone, free);
        passes()
    };
    let (mut no, mut yes) = (0, 4096);
    while no + 1 < yes {
        let middle = (no + yes) / 2;
        *if at(middle) { &mut yes } else { &mut no } = middle;
    }
    no
}

fn check_thresholds(min: u64, expected: &[(u32, u64)]) {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    for &(bits, limit) in expected {
        let found = threshold(lab.zone(), || lab.zone().watermark_ok(Order::ZERO, min, 0, flags(bits)));
        assert_eq!(found, limit, "flags {bits:#x} of Min {min}");
    }
}

#[test]
fn entitled_requests_go_below_min() {
    check_thresholds(1000, &[(0x240, 1000), (0x260, 500), (0x230, 375), (0x210, 750), (0x220, 500), (0x8, 500)]);
    check_thresholds(501, &[(0x240, 501), (0x260, 251), (0x230, 189), (0x210, 376), (0x220, 251), (0x8, 251)]);
    check_thresholds(128, &[(0, 128), (0x20, 64), (0x10, 96), (0x30, 48), (0x8, 64)]);
    check_thresholds(7, &[(0, 7), (0x20, 4), (0x10, 6), (0x30, 3), (0x8, 4)]);
    check_thresholds(1, &[(0, 1), (0x20, 1), (0x10, 1), (0x30, 1), (0x8, 1)]);
}

#[test]
fn a_victims_share_comes_before_harder_and_after_high() {
    check_thresholds(1000, &[(0x18, 500), (0x28, 250), (0x38, 250)]);
}

#[test]
fn a_block_counts_but_for_its_first_page() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    for (block, limit) in [(0, 100), (1, 101), (3, 107), (10, 1123)] {
        let found = threshold(lab.zone(), || lab.zone().watermark_ok(order(block), 100, 0, flags(0)));
        assert_eq!(found, limit, "order {block}");
    }
}

#[test]
fn the_lowmem_reserve_of_the_preferred_zone_is_added() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    lab.zone().lowmem_reserve[2].store(77, Relaxed);
    for (classzone, limit) in [(0, 100), (1, 100), (2, 177)] {
        let ok = || lab.zone().watermark_ok(Order::ZERO, 100, classzone, flags(0));
        assert_eq!(threshold(lab.zone(), ok), limit);
        let fast = || lab.zone().watermark_fast(Order::ZERO, 100, classzone, flags(0));
        assert_eq!(threshold(lab.zone(), fast), limit);
    }
}

/// Thresholds of the full check and of the one with the shortcut, with 300 pages in HighAtomic blocks.
fn check_highatomic(bits: u32, block: u32, full: u64, fast: u64) {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let zone = lab.zone();
    zone.nr_reserved_highatomic.store(300, Relaxed);
    let found = threshold(zone, || zone.watermark_ok(order(block), 1000, 0, flags(bits)));
    let found_fast = threshold(zone, || zone.watermark_fast(order(block), 1000, 0, flags(bits)));
    assert_eq!((found, found_fast), (full, fast), "flags {bits:#x} order {block}");
}

#[test]
fn the_highatomic_reserve_is_for_those_who_try_harder() {
    check_highatomic(0x240, 0, 1300, 1000); // the shortcut does not look at it
    check_highatomic(0x260, 0, 800, 800);
    check_highatomic(0x230, 0, 375, 375);
    check_highatomic(0x8, 0, 500, 500);
    check_highatomic(0x240, 1, 1301, 1301);
    check_highatomic(0x210, 1, 751, 751);
}

#[test]
fn free_cma_pages_count_for_movable_requests() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let zone = lab.zone();
    zone.counts.count(MigrateType::Cma, 200);
    for (bits, limit) in [(0, 1200), (0x80, 1000)] {
        assert_eq!(threshold(zone, || zone.watermark_ok(Order::ZERO, 1000, 0, flags(bits))), limit);
        assert_eq!(threshold(zone, || zone.watermark_fast(Order::ZERO, 1000, 0, flags(bits))), limit);
    }
}

#[test]
fn fewer_free_pages_than_the_block_are_refused_not_wrapped() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    pretend_free(lab.zone(), 3);
    assert!(!lab.zone().watermark_ok(Order::MAX, 0, 0, flags(0)));
    lab.zone().nr_reserved_highatomic.store(512, Relaxed);
    assert!(!lab.zone().watermark_ok(Order::ZERO, 0, 0, flags(0)));
}

/// Which of the flag sets pass when the only free block, of order 5, is on the list of `migratetype`.
fn who_finds(migratetype: MigrateType, block: u32) -> Vec<u32> {
    let machine = HostMachine::new("", &[(0x4000_0000, 16 * MIB, 0)], &[(0x4000_0000, 16 * MIB)]);
    let lab = Lab::new(&machine);
    let (zone, pages) = (lab.zone(), lab.memory.pages);
    let index = pages.index(Pfn(0x40020));
    lab.memory.blocks.write_records(pages, index);
    {
        let pin = lab.memory.pin();
        zone.buddy(&mut zone.free.lock(&pin), pages, lab.memory.blocks).free(index, order(5), migratetype);
    }
    pretend_free(zone, 10_000);
    let passes = |bits: &u32| zone.watermark_ok(order(block), 0, 0, flags(*bits));
    [0, 0x80, 0x10, 0x8, 0x20].into_iter().filter(passes).collect()
}

#[test]
fn an_order_needs_a_block_on_a_list_that_the_request_may_use() {
    let all = [0, 0x80, 0x10, 0x8, 0x20];
    for own in [MigrateType::Unmovable, MigrateType::Movable, MigrateType::Reclaimable] {
        assert_eq!(who_finds(own, 5), all);
        assert_eq!(who_finds(own, 1), all);
        assert_eq!(who_finds(own, 6), []);
    }
    assert_eq!(who_finds(MigrateType::Cma, 5), [0x80]);
    assert_eq!(who_finds(MigrateType::HighAtomic, 5), [0x10, 0x8]);
    assert_eq!(who_finds(MigrateType::Isolate, 5), []);
    assert_eq!(who_finds(MigrateType::Isolate, 0), all); // one page is not looked for
}

/// How many pages stay free when requests with these flags have taken all they can, one by one.
fn left_by(bits: u32, marks: [u64; 3]) -> u64 {
    let machine = board_16m("");
    let lab = Lab::without_pcp(&machine);
    lab.memory.sysctl.watermark_boost_factor.store(0, Relaxed);
    lab.memory.sysctl.min_free_kbytes.store(4 * marks[0], Relaxed);
    lab.zone().set_watermarks(marks);
    lab.exhaust(Gfp::GFP_KERNEL, flags(bits));
    lab.assert_sound();
    lab.zone().counts.free_pages()
}

#[test]
fn requests_stop_exactly_at_their_threshold() {
    for (bits, left) in [
        (0x201, 1250), // the fast path, whoever asks
        (0x281, 1250),
        (0x240, 1000),
        (0x2c0, 1000),
        (0x260, 500),
        (0x230, 375),
        (0x210, 750),
        (0x220, 500),
        (0x8, 500),
        (0x4, 0),
        (0x42, 1500),
    ] {
        assert_eq!(left_by(bits, [1000, 1250, 1500]), left, "flags {bits:#x}");
    }
    for (bits, left) in [(0x240, 501), (0x260, 251), (0x230, 189), (0x210, 376), (0x8, 251)] {
        assert_eq!(left_by(bits, [501, 600, 700]), left, "flags {bits:#x}");
    }
}

#[test]
fn flags_name_their_watermark() {
    let named = [0x240, 0x201, 0x42].map(|bits| flags(bits).watermark());
    assert_eq!(named, [Watermark::Min, Watermark::Low, Watermark::High]);
}

#[test]
fn a_boost_raises_every_mark_for_its_readers() {
    let machine = board_16m("");
    let lab = Lab::without_pcp(&machine);
    lab.memory.sysctl.watermark_boost_factor.store(0, Relaxed);
    lab.zone().set_watermarks([100, 200, 300]);
    lab.zone().set_boost(512);
    lab.exhaust(Gfp::GFP_KERNEL, flags(0x201));
    assert_eq!(lab.zone().counts.free_pages(), 712);
    lab.exhaust(Gfp::GFP_KERNEL, flags(0x240));
    assert_eq!(lab.zone().counts.free_pages(), 612);
}
