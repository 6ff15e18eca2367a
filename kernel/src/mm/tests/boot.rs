//! Handing memory to the allocator: which blocks, in which order, and of what type their pageblocks are.

use crate::gfp::Gfp;
use crate::mm::testing::{HostMachine, Lab, MIB};
use crate::mmzone::MigrateType::{Movable, Unmovable};

#[test]
fn a_pageblock_is_movable_when_its_first_page_is_memory() {
    // The second bank starts inside a pageblock, the third with one that is reserved.
    let banks = [(0x4000_0000, 6 * MIB, 0), (0x4070_0000, 3 * MIB, 0), (0x40c0_0000, 4 * MIB, 0)];
    let machine = HostMachine::new("", &banks, &[(0x40c0_0000, 0x1000)]);
    let lab = Lab::new(&machine);
    let types = [0, 2, 4, 6, 8, 10, 12, 14].map(|mib: u64| lab.pageblock(0x40000 + (mib << 8)));
    let hole = Unmovable;
    assert_eq!(types, [Movable, Movable, Movable, hole, Movable, hole, Movable, Movable]);
    // What is free in a pageblock that begins with a hole is unmovable.
    assert_eq!(lab.list(8, Unmovable), [0x40700]);
    assert_eq!(lab.pageblock(0x40700), Unmovable);
    lab.assert_sound();
}

#[test]
fn ranges_are_cut_where_their_place_wants_it() {
    let machine = HostMachine::new("", &[(0x4000_0000, 16 * MIB, 0)], &[(0x4040_5800, 0x2000), (0x4080_0000, 1)]);
    let lab = Lab::new(&machine);
    // 0x405 to 0x407 are touched by the first reservation, 0x800 by the second.
    assert_eq!(lab.list(0, Movable), [0x40801, 0x40404]);
    assert_eq!(lab.list(2, Movable), [0x40804, 0x40400]);
    assert_eq!(lab.list(3, Movable), [0x40808, 0x40408]);
    assert_eq!(lab.list(10, Movable), [0x40c00, 0x40000]);
    assert_eq!(lab.zone().managed(), 4096 - 4);
}

#[test]
fn the_highest_block_is_used_first() {
    let machine = HostMachine::new("", &[(0x4000_0000, 16 * MIB, 0)], &[]);
    let lab = Lab::new(&machine);
    let pages = [0; 3].map(|_| lab.alloc(Gfp::GFP_KERNEL, 10).unwrap().0);
    assert_eq!(pages, [0x40c00, 0x40800, 0x40400]);
}

#[test]
fn spans_include_holes_and_present_pages_do_not() {
    let machine = HostMachine::new("", &[(0x4000_1000, 4 * MIB, 0), (0x4100_0000, 4 * MIB, 0)], &[(0x4100_0000, 1)]);
    let lab = Lab::new(&machine);
    let zone = lab.zone();
    assert_eq!((zone.span.nr_pages(), zone.present, zone.managed()), (0x13ff, 2048, 2047));
    assert_eq!(lab.memory.totalram(), 2047);
}
