//! The walk over the zones: the order of its checks as the trace tells it, and what is counted where.

use crate::addr::Pfn;
use crate::gfp::Gfp;
use crate::mm::page_alloc::{self, alloc_pages_node};
use crate::mm::testing::{HostMachine, Lab, MIB, board_2_nodes, board_16m, board_64m};
use crate::mm::zone::{AllocFlags, Zone};
use crate::mmzone::{MigrateType, NodeId, ZoneType};
use crate::vmstat::{NumaStat, VmEvent, ZoneEvent};

/// DMA32 and Normal of 32 MiB each.
fn board_2_zones(args: &str) -> HostMachine {
    HostMachine::new(&format!("zones=arm64-5.0:dma32=32M {args}"), &[(0x4000_0000, 64 * MIB, 0)], &[])
}

/// What the trace says of a request, with runs of equal kinds of lines told once.
fn story(lab: &Lab<'_>, gfp: Gfp, order: u32) -> Vec<String> {
    let mut kinds: Vec<String> = lab
        .traced(|| lab.alloc(gfp, order))
        .iter()
        .map(|line| {
            let word = |key| line.split(' ').find_map(|word| word.strip_prefix(key)).unwrap_or("").to_owned();
            format!("{} {}{}", line.split(':').next().unwrap_or(""), word("zone="), word("verdict="))
        })
        .collect();
    kinds.dedup();
    kinds
}

#[test]
fn a_request_considers_takes_and_is_told() {
    let machine = board_64m("");
    let lab = Lab::new(&machine);
    let lines = lab.traced(|| lab.alloc(Gfp::GFP_KERNEL, 0));
    let names: Vec<&str> = lines.iter().map(|line| line.split(':').next().unwrap()).collect();
    let locked = "mm_page_alloc_zone_locked";
    let expected = [&lines[0][..lines[0].find(':').unwrap()], "mm_page_alloc_extfrag", locked, locked, locked];
    assert_eq!(names[..5], expected);
    assert_eq!(names[5..], ["mm_page_alloc"]);
    // From the list of the CPU nothing is moved.
    assert_eq!(lab.traced(|| lab.alloc(Gfp::GFP_KERNEL, 0)).len(), 2);
}

#[test]
fn a_failure_is_told_too() {
    let machine = board_2_zones("");
    let lab = Lab::new(&machine);
    lab.exhaust(Gfp::GFP_KERNEL, AllocFlags::empty());
    let story = story(&lab, Gfp::GFP_NOWAIT, 2);
    let refused = ["zone_considered Normaltoo_few_pages", "zone_considered DMA32too_few_pages"];
    assert_eq!(story[..2], refused);
    assert_eq!(story[2], "slowpath_entered ");
    assert!(story.contains(&"slowpath_refused ".to_owned()), "{story:?}");
    let lines = lab.traced(|| lab.alloc(Gfp::GFP_NOWAIT, 2));
    assert_eq!(lines.last().unwrap(), "mm_page_alloc: page=(null) pfn=0 order=2 migratetype=0 gfp_flags=GFP_NOWAIT");
}

#[test]
fn freeing_is_traced_before_it_is_done() {
    let machine = board_64m("");
    let lab = Lab::new(&machine);
    let pfn = lab.alloc(Gfp::GFP_KERNEL, 3).unwrap();
    let lines = lab.traced(|| lab.free(pfn, 3));
    assert_eq!(lines, [format!("mm_page_free: page={:#x} pfn={} order=3", pfn.addr().0, pfn.0)]);
}

fn numa(zone: &Zone) -> [u64; 5] {
    use NumaStat::{NumaForeign, NumaHit, NumaLocal, NumaMiss, NumaOther};
    [NumaHit, NumaMiss, NumaForeign, NumaLocal, NumaOther].map(|stat| zone.numa(stat))
}

/// Counters hit, miss, foreign, local, other of both nodes.
fn both(lab: &Lab<'_>) -> [[u64; 5]; 2] {
    [0, 1].map(|node| numa(lab.zone_on(node, ZoneType::Dma32)))
}

#[test]
fn hits_and_misses_are_counted_where_they_happen() {
    for order in [0, 1] {
        let machine = board_2_nodes("");
        let lab = Lab::new(&machine);
        let alloc = |node| alloc_pages_node(&lab.memory, &lab.current(), Some(NodeId(node)), Gfp::GFP_NOWAIT, order);
        alloc(0).unwrap();
        assert_eq!(both(&lab), [[1, 0, 0, 1, 0], [0; 5]]);
        alloc(1).unwrap();
        assert_eq!(both(&lab), [[1, 0, 0, 1, 0], [1, 0, 0, 0, 1]]);
        lab.memory.env.cpu().set_cpu(1);
        alloc(1).unwrap();
        assert_eq!(both(&lab), [[1, 0, 0, 1, 0], [2, 0, 0, 1, 1]]);
        // Node 0 is so low that its requests go to node 1, where CPU 1 is at home.
        lab.zone_on(0, ZoneType::Dma32).set_watermarks([8192; 3]);
        alloc(0).unwrap();
        assert_eq!(both(&lab), [[1, 0, 1, 1, 0], [2, 1, 0, 2, 1]]);
        lab.memory.env.cpu().set_cpu(0);
        alloc(0).unwrap();
        assert_eq!(both(&lab), [[1, 0, 2, 1, 0], [2, 2, 0, 2, 2]]);
    }
}

#[test]
fn cpus_ask_near_their_node() {
    let machine = board_2_nodes("");
    let lab = Lab::new(&machine);
    for (cpu, node) in [(0, 0), (1, 1), (2, 0)] {
        lab.memory.env.cpu().set_cpu(cpu);
        for order in [0, 0, 2] {
            let pfn = lab.alloc(Gfp::GFP_KERNEL, order).unwrap();
            assert_eq!(lab.memory.zone_of(pfn).unwrap().node, NodeId(node));
        }
        let any = alloc_pages_node(&lab.memory, &lab.current(), None, Gfp::GFP_KERNEL, 0).unwrap();
        assert_eq!(lab.memory.zone_of(any).unwrap().node, NodeId(node));
    }
}

#[test]
fn pages_that_leave_and_come_back_are_counted_by_zone() {
    let machine = board_2_zones("");
    let lab = Lab::new(&machine);
    let boot = lab.memory.event(VmEvent::Pgfree);
    assert_eq!(boot, 16384);
    let counts = || [0, 1, 2].map(|index| lab.memory.zone_event(ZoneEvent::Pgalloc, index));
    let normal = lab.alloc(Gfp::GFP_KERNEL, 3).unwrap();
    assert_eq!(counts(), [0, 8, 0]);
    let dma32 = lab.alloc(Gfp::GFP_DMA32, 0).unwrap();
    lab.alloc(Gfp::GFP_DMA32, 0).unwrap();
    assert_eq!(counts(), [2, 8, 0]);
    lab.free(normal, 3).unwrap();
    lab.free(dma32, 0).unwrap();
    assert_eq!((counts(), lab.memory.event(VmEvent::Pgfree)), ([2, 8, 0], boot + 9));
}

#[test]
fn a_request_at_boot_cannot_sleep() {
    let machine = board_16m("");
    let mut lab = Lab::new(&machine);
    lab.memory = machine.memory_at_boot();
    assert_eq!(lab.memory.gfp_allowed(), Gfp::BOOT_MASK);
    let lines = lab.traced(|| lab.alloc(Gfp::GFP_KERNEL | Gfp::__GFP_ZERO, 1));
    assert!(lines.last().unwrap().ends_with("gfp_flags=__GFP_ZERO"), "{lines:?}");
}

/// The board of the quirk Q1: DMA32 and Normal of one node. Normal has only movable blocks below a pageblock.
fn check_nofragment(args: &str, expected: ZoneType) {
    let machine = board_2_zones(args);
    let lab = Lab::new(&machine);
    lab.memory.sysctl.watermark_boost_factor.store(0, crate::sync::atomic::Ordering::Relaxed);
    // What is left in Normal is above Low, and in blocks of order 8, of which half a pageblock is in use.
    leave_halves(&lab, 0, ZoneType::Normal, Gfp::empty());
    let pfn = lab.alloc(Gfp::GFP_NOWAIT, 0).unwrap();
    assert_eq!(lab.memory.zone_of(pfn).unwrap().zone_type, expected);
    // When the lower zone cannot serve either, mixing is the lesser evil.
    let dma32 = lab.zone_on(0, ZoneType::Dma32);
    dma32.set_watermarks([dma32.managed(); 3]);
    lab.drain();
    let pfn = lab.alloc(Gfp::GFP_NOWAIT, 1).unwrap();
    assert_eq!(lab.memory.zone_of(pfn).unwrap().zone_type, ZoneType::Normal);
}

#[test]
fn v5_0_never_keeps_from_mixing_and_v5_1_does() {
    check_nofragment("", ZoneType::Normal);
    check_nofragment("quirk.nofragment=5.1", ZoneType::Dma32);
}

/// Takes all of a zone, and gives every other block of half a pageblock back: what is free is movable, and mixed when
/// another type takes it.
fn leave_halves(lab: &Lab<'_>, node: u8, zone: ZoneType, gfp: Gfp) {
    let zone = lab.zone_on(node, zone);
    let gfp = gfp | Gfp::__GFP_MOVABLE | Gfp::__GFP_THISNODE;
    let blocks = (0..zone.managed() >> 8).map(|_| lab.take_near(node, gfp, 8, AllocFlags::NO_WATERMARKS).unwrap());
    let blocks: Vec<Pfn> = blocks.collect();
    assert!(blocks.iter().all(|pfn| zone.span.contains(*pfn)));
    for pfn in blocks.iter().step_by(2) {
        lab.free(*pfn, 8).unwrap();
    }
}

#[test]
fn v5_1_keeps_from_mixing_only_in_normal_above_dma32() {
    let one = [(0x4000_0000, 96 * MIB, 0)];
    let machine = HostMachine::new("zones=full:dma=32M,dma32=32M quirk.nofragment=5.1", &one, &[]);
    let lab = Lab::new(&machine);
    leave_halves(&lab, 0, ZoneType::Dma32, Gfp::GFP_DMA32);
    assert_eq!(lab.memory.zone_of(lab.alloc(Gfp::GFP_DMA32, 1).unwrap()).unwrap().zone_type, ZoneType::Dma32);

    // Of several nodes, only on those that have DMA32.
    let two = [(0x4000_0000, 64 * MIB, 0), (0x4400_0000, 32 * MIB, 1)];
    let machine = HostMachine::new("zones=full:dma=32M,dma32=0 quirk.nofragment=5.1", &two, &[]);
    let lab = Lab::new(&machine);
    assert!(!lab.zone_on(0, ZoneType::Dma32).is_populated());
    leave_halves(&lab, 0, ZoneType::Normal, Gfp::empty());
    assert_eq!(lab.memory.zone_of(lab.alloc(Gfp::GFP_NOWAIT, 1).unwrap()).unwrap().zone_type, ZoneType::Normal);
}

#[test]
fn v5_1_mixes_before_it_goes_to_another_node() {
    let banks = [(0x4000_0000, 64 * MIB, 0), (0x4400_0000, 64 * MIB, 1)];
    // Node 1 has no DMA32: there the flag is not even set.
    for (node, dma32) in [(0, "32M"), (1, "64M")] {
        let args = format!("zones=arm64-5.0:dma32={dma32} quirk.nofragment=5.1");
        let machine = HostMachine::new(&args, &banks, &[]);
        let lab = Lab::new(&machine);
        for zone in lab.memory.zones_of(NodeId(node)).iter().filter(|zone| zone.is_populated()) {
            let dma32 = zone.zone_type == ZoneType::Dma32;
            leave_halves(&lab, node, zone.zone_type, if dma32 { Gfp::GFP_DMA32 } else { Gfp::empty() });
        }
        let pfn = alloc_pages_node(&lab.memory, &lab.current(), Some(NodeId(node)), Gfp::GFP_NOWAIT, 1).unwrap();
        assert_eq!(lab.memory.zone_of(pfn).unwrap().node, NodeId(node));
    }
}

#[test]
fn movable_memory_is_only_for_those_who_may_use_highmem_and_move() {
    let machine = HostMachine::new("movablecore=16M", &[(0x4000_0000, 64 * MIB, 0)], &[]);
    let lab = Lab::new(&machine);
    let zone = |gfp| lab.memory.zone_of(lab.alloc(gfp, 0).unwrap()).unwrap().zone_type;
    assert_eq!(zone(Gfp::GFP_HIGHUSER_MOVABLE), ZoneType::Movable);
    assert_eq!(zone(Gfp::GFP_USER | Gfp::__GFP_MOVABLE), ZoneType::Dma32);
    assert_eq!(zone(Gfp::GFP_HIGHUSER), ZoneType::Dma32);
}

#[test]
fn pages_remember_the_list_that_they_came_from() {
    let machine = board_64m("");
    let lab = Lab::new(&machine);
    for (gfp, migratetype) in [
        (Gfp::GFP_KERNEL, MigrateType::Unmovable),
        (Gfp::GFP_KERNEL | Gfp::__GFP_MOVABLE, MigrateType::Movable),
        (Gfp::GFP_KERNEL | Gfp::__GFP_RECLAIMABLE, MigrateType::Reclaimable),
    ] {
        for order in [0, 1] {
            let pfn = page_alloc::alloc_pages(&lab.memory, &lab.current(), gfp, order).unwrap();
            let state = lab.memory.pages.at(lab.memory.pages.index(pfn)).state();
            assert_eq!((state.migratetype(), state.order().get(), state.count()), (migratetype, order, 1));
        }
    }
}
