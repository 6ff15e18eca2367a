//! Which zones a request comes to, in which order, and how much it leaves in each.

use crate::gfp::Gfp;
use crate::mm::page_alloc;
use crate::mm::testing::{HostMachine, Lab, MIB, board_2_nodes};
use crate::mm::zone::AllocFlags;
use crate::mmzone::{NodeId, NodeMask, Watermark, ZoneType};

/// 128 MiB.
fn board(args: &str) -> HostMachine {
    HostMachine::new(args, &[(0x4000_0000, 128 * MIB, 0)], &[])
}

/// Takes all there is for `gfp`, whatever the watermarks; names the zones in the order of their use.
#[track_caller]
fn check(machine: &HostMachine, node: u8, gfp: Gfp, expected: &str) {
    let lab = Lab::new(machine);
    let mut zones: Vec<String> = Vec::new();
    while let Some(pfn) = lab.take_near(node, gfp, 10, AllocFlags::NO_WATERMARKS) {
        let zone = lab.memory.zone_of(pfn).unwrap();
        let name = format!("{}{}", zone.zone_type, if zone.node == NodeId(0) { "" } else { "'" });
        if zones.last() != Some(&name) {
            zones.push(name);
        }
    }
    assert_eq!(zones.join(" "), expected, "{gfp}");
}

#[test]
fn every_zone_from_the_highest_allowed_down() {
    let full = board("zones=full:dma=16M,dma32=16M,highmem=32M movablecore=16M");
    check(&full, 0, Gfp::GFP_HIGHUSER_MOVABLE, "Movable HighMem Normal DMA32 DMA");
    check(&full, 0, Gfp::GFP_HIGHUSER, "HighMem Normal DMA32 DMA");
    check(&full, 0, Gfp::GFP_KERNEL, "Normal DMA32 DMA");
    check(&full, 0, Gfp::GFP_KERNEL | Gfp::__GFP_MOVABLE, "Normal DMA32 DMA");
    check(&full, 0, Gfp::GFP_DMA32, "DMA32 DMA");
    check(&full, 0, Gfp::GFP_DMA, "DMA");
    check(&full, 0, Gfp::GFP_DMA | Gfp::GFP_DMA32, "DMA");
    check(&full, 0, Gfp::GFP_HIGHUSER | Gfp::GFP_DMA32, "DMA");
}

#[test]
fn profiles_without_a_zone_use_normal() {
    let x86 = board("zones=x86-32:highmem=32M");
    check(&x86, 0, Gfp::GFP_HIGHUSER, "HighMem Normal DMA");
    check(&x86, 0, Gfp::GFP_DMA32, "Normal DMA");
    let arm64 = board("zones=arm64-5.0:dma32=32M");
    check(&arm64, 0, Gfp::GFP_KERNEL, "Normal DMA32");
    check(&arm64, 0, Gfp::GFP_DMA, "Normal DMA32");
    check(&arm64, 0, Gfp::GFP_DMA32, "DMA32");
    check(&arm64, 0, Gfp::GFP_HIGHUSER_MOVABLE, "Normal DMA32");
    check(&board(""), 0, Gfp::GFP_KERNEL, "DMA32");
}

#[test]
fn the_near_node_is_emptied_before_the_far_one() {
    let machine =
        HostMachine::new("zones=arm64-5.0:dma32=24M", &[(0x4000_0000, 32 * MIB, 0), (0x4200_0000, 32 * MIB, 1)], &[]);
    check(&machine, 0, Gfp::GFP_KERNEL, "Normal DMA32 Normal'");
    check(&machine, 1, Gfp::GFP_KERNEL, "Normal' Normal DMA32");
    check(&machine, 1, Gfp::GFP_DMA32, "DMA32");
    check(&machine, 1, Gfp::GFP_KERNEL | Gfp::__GFP_THISNODE, "Normal'");
}

#[test]
fn a_nodemask_leaves_nodes_out() {
    let machine = board_2_nodes("");
    let lab = Lab::new(&machine);
    let only = |node| Some(NodeMask::default().with(NodeId(node)));
    let alloc = |order, near, nodes| {
        let page = page_alloc::alloc_pages_nodemask(&lab.memory, &lab.current(), Gfp::GFP_KERNEL, order, near, nodes);
        page.ok().map(|pfn| lab.memory.zone_of(pfn).unwrap().node)
    };
    for order in [0, 3] {
        assert_eq!(alloc(order, NodeId(0), only(1)), Some(NodeId(1)));
        assert_eq!(alloc(order, NodeId(1), only(0)), Some(NodeId(0)));
        assert_eq!(alloc(order, NodeId(0), Some(NodeMask::default())), None);
        assert_eq!(alloc(order, NodeId(1), None), Some(NodeId(1)));
    }
}

/// DMA32 of 64 MiB below Normal of 64 MiB, which keeps 16384 / 256 pages of DMA32 from requests that like Normal best.
fn two_zones() -> HostMachine {
    board("zones=arm64-5.0:dma32=64M")
}

fn low(lab: &Lab<'_>, node: u8, zone: ZoneType) -> u64 {
    lab.zone_on(node, zone).watermark(Watermark::Low)
}

fn free(lab: &Lab<'_>, node: u8, zone: ZoneType) -> u64 {
    lab.zone_on(node, zone).counts.free_pages()
}

#[test]
fn protection_refuses_at_the_exact_page() {
    let machine = two_zones();
    let lab = Lab::without_pcp(&machine);
    let fast = AllocFlags::WMARK_LOW;
    lab.exhaust(Gfp::GFP_KERNEL, fast);
    assert_eq!(free(&lab, 0, ZoneType::Normal), low(&lab, 0, ZoneType::Normal));
    assert_eq!(free(&lab, 0, ZoneType::Dma32), low(&lab, 0, ZoneType::Dma32) + 64);
    assert_eq!(lab.take_all(Gfp::GFP_DMA32, 0, fast).len(), 64);
    assert_eq!(free(&lab, 0, ZoneType::Dma32), low(&lab, 0, ZoneType::Dma32));
}

#[test]
fn protection_refuses_a_block_as_if_its_pages_were_gone() {
    let machine = two_zones();
    let lab = Lab::without_pcp(&machine);
    lab.memory.sysctl.watermark_boost_factor.store(0, crate::sync::atomic::Ordering::Relaxed);
    lab.take_all(Gfp::GFP_KERNEL, 10, AllocFlags::WMARK_LOW);
    lab.take_all(Gfp::GFP_KERNEL, 3, AllocFlags::WMARK_LOW);
    let above = free(&lab, 0, ZoneType::Dma32) - low(&lab, 0, ZoneType::Dma32) - 64;
    assert!((1..=7).contains(&above), "{above}");
}

/// Node 0 has DMA32 alone; node 1 has 16 MiB of DMA32 and 48 MiB of Normal, which protects 12288 / 256 pages.
fn check_classzone(args: &str, protected: u64) {
    let banks = [(0x4000_0000, 32 * MIB, 0), (0x4200_0000, 64 * MIB, 1)];
    let machine = HostMachine::new(&format!("zones=arm64-5.0:dma32=48M {args}"), &banks, &[]);
    let lab = Lab::without_pcp(&machine);
    for order in [10, 6, 3, 0] {
        while page_alloc::alloc_pages(&lab.memory, &lab.current(), Gfp::GFP_NOWAIT, order).is_ok() {}
    }
    let min = |zone| lab.zone_on(1, zone).watermark(Watermark::Min);
    assert_eq!(free(&lab, 1, ZoneType::Normal), min(ZoneType::Normal));
    assert_eq!(free(&lab, 1, ZoneType::Dma32), min(ZoneType::Dma32) + protected);
}

#[test]
fn protection_goes_by_the_preferred_zone_or_later_by_the_highest() {
    check_classzone("", 0);
    check_classzone("quirk.classzone=highest", 48);
}
