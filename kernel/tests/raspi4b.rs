//! Raspberry Pi 4 boards of 1, 2, 4 and 8 GiB: from the tree that their firmware leaves to an allocator that gives out
//! every page of RAM, and none of the holes.
//!
//! The firmware keeps 0x3b400000 to 0x3fffffff for the graphics processor, and above 0xfc000000 there are devices; it
//! writes all banks into the `reg` of one node, with sizes of one or two cells by its age. The first page belongs to
//! the stub in which the other processors wait.

#[path = "devicetree/dts.rs"]
mod dts;

use kernel::addr::{PAGE_SIZE, PhysAddr};
use kernel::bootargs::BootArgs;
use kernel::check;
use kernel::devicetree::DeviceTree;
use kernel::early::{self, Loaded};
use kernel::gfp::Gfp;
use kernel::host::HostMachine;
use kernel::memblock::{AddrRange, Memblock};
use kernel::mm::page_alloc::alloc_pages;
use kernel::mmzone::ZoneType;
use kernel::numa;
use kernel::task::{Current, TaskTable};

const GIB: u64 = 1 << 30;
/// Where the graphics processor's memory starts, and where it ends.
const GRAPHICS: (u64, u64) = (0x3b40_0000, 0x4000_0000);
/// Where the devices start below 4 GiB.
const DEVICES: u64 = 0xfc00_0000;
/// Where the firmware puts the image and the tree.
const LOADED: Loaded = Loaded { image: range(0x20_0000, 0x60_0000), tree: range(0x2eff_0000, 0x2f00_0000) };

const fn range(start: u64, end: u64) -> AddrRange {
    AddrRange::new(PhysAddr(start), PhysAddr(end))
}

/// Start and bytes of each bank of a board.
fn banks(gib: u64) -> Vec<(u64, u64)> {
    let mut banks = vec![(0, GRAPHICS.0)];
    match gib {
        1 => {}
        2 => banks.push((GRAPHICS.1, GIB)),
        _ => banks.push((GRAPHICS.1, DEVICES - GRAPHICS.1)),
    }
    if gib == 8 {
        banks.extend([(4 * GIB, 2 * GIB), (6 * GIB, 2 * GIB)]);
    }
    banks
}

/// The tree that the firmware leaves.
fn tree(gib: u64, size_cells: u64) -> Vec<u8> {
    let split =
        |value: u64, cells| if cells == 2 { format!("{} {}", value >> 32, value as u32) } else { value.to_string() };
    let pairs = banks(gib).into_iter().map(|(start, bytes)| split(start, 2) + " " + &split(bytes, size_cells) + " ");
    let reg: String = pairs.collect();
    dts::compile(&format!(
        "/memreserve/ 0 0x1000; / {{ #address-cells = <2>; #size-cells = <{size_cells}>;
           memory@0 {{ device_type = \"memory\"; reg = <{reg}>; }}; }};"
    ))
}

/// What the boot knows of the RAM of a board.
fn memblock(gib: u64, size_cells: u64) -> Memblock {
    let blob = tree(gib, size_cells);
    let mut copy = vec![0; DeviceTree::copy_size(&blob).unwrap()];
    let tree = DeviceTree::load(&blob, &mut copy).unwrap();
    let mut memblock = Memblock::new();
    early::init(&mut memblock, &tree, &BootArgs::parse(""), LOADED).unwrap();
    numa::init(&mut memblock, &tree, false).unwrap();
    memblock
}

#[test]
fn the_banks_of_every_board_are_found_around_the_holes() {
    for gib in [1, 2, 4, 8] {
        for size_cells in [1, 2] {
            let memblock = memblock(gib, size_cells);
            let found: Vec<_> =
                memblock.memory().iter().map(|region| (region.range.start.0, region.range.end.0)).collect();
            let mut expected: Vec<_> = banks(gib).iter().map(|(start, bytes)| (*start, start + bytes)).collect();
            // The two upper banks touch.
            if gib == 8 {
                expected.truncate(2);
                expected.push((4 * GIB, 8 * GIB));
            }
            assert_eq!(found, expected, "{gib} GiB, {size_cells} size cells");
            let reserved: Vec<_> = memblock.reserved().iter().map(|region| region.range).collect();
            assert_eq!(reserved, [range(0, 0x1000), LOADED.image, LOADED.tree], "{gib} GiB");
        }
    }
}

/// Boots the allocator of a board and takes every page that it gives: each is RAM and not reserved, and they are all.
#[track_caller]
fn exhaust(gib: u64, args: &str) -> HostMachine {
    let banks: Vec<_> = banks(gib).iter().map(|(start, bytes)| (*start, *bytes, 0)).collect();
    let used = [range(0, 0x1000), LOADED.image, LOADED.tree];
    let reserved = used.map(|range| (range.start.0, range.end.0 - range.start.0));
    let machine = HostMachine::new(args, &banks, &reserved);
    let memory = machine.memory();
    let tasks = TaskTable::new("sh");
    let current = Current::new(tasks.init());
    let is_ram = |addr: u64| banks.iter().any(|(start, bytes, _)| (*start..start + bytes).contains(&addr));
    let mut taken = 0;
    for order in (0..=10).rev() {
        let gfp = Gfp::GFP_HIGHUSER_MOVABLE | Gfp::__GFP_MEMALLOC | Gfp::__GFP_NOWARN | Gfp::__GFP_NORETRY;
        while let Ok(block) = alloc_pages(&memory, &current, gfp - Gfp::__GFP_DIRECT_RECLAIM, order) {
            let (start, end) = (block.addr().0, block.addr().0 + (PAGE_SIZE << order));
            assert!(is_ram(start) && is_ram(end - 1), "{start:#x} to {end:#x} is no RAM");
            assert!(used.iter().all(|used| end <= used.start.0 || used.end.0 <= start), "{start:#x} is in use");
            taken += 1 << order;
        }
    }
    let all: u64 = banks.iter().map(|(_, bytes, _)| bytes / PAGE_SIZE).sum();
    let in_use: u64 = reserved.iter().map(|(_, bytes)| bytes / PAGE_SIZE).sum();
    assert_eq!(taken, all - in_use, "{gib} GiB, {args}");
    assert!(check::audit(&memory).is_clean(), "{gib} GiB, {args}");
    drop(memory);
    machine
}

#[test]
fn every_page_of_every_board_is_given_out_and_no_hole_is() {
    for gib in [1, 2, 4, 8] {
        exhaust(gib, "");
    }
    exhaust(8, "zones=arm64-5.5");
    exhaust(4, "zones=full");
}

/// 4 GiB are all below the limit of DMA32, and the upper half of 8 GiB is the zone Normal.
#[test]
fn the_zones_of_each_board() {
    for (gib, normal) in [(1, 0), (2, 0), (4, 0), (8, 4 * GIB / PAGE_SIZE)] {
        let banks: Vec<_> = banks(gib).iter().map(|(start, bytes)| (*start, *bytes, 0)).collect();
        let machine = HostMachine::new("", &banks, &[]);
        let memory = machine.memory();
        let present = |kind| -> u64 {
            memory.populated_zones().filter(|zone| zone.zone_type == kind).map(|zone| zone.present).sum()
        };
        let all: u64 = banks.iter().map(|(_, bytes, _)| bytes / PAGE_SIZE).sum();
        assert_eq!((present(ZoneType::Dma32), present(ZoneType::Normal)), (all - normal, normal), "{gib} GiB");
    }
}
