//! The per-CPU lists of a running machine: refill, order, drain. How a drain takes turns is tested beside the lists.

use crate::addr::Pfn;
use crate::gfp::Gfp;
use crate::mm::freelist;
use crate::mm::pcp::PcpLimits;
use crate::mm::testing::{Lab, board_2_nodes, board_64m};
use crate::mm::zone::AllocFlags;
use crate::mmzone::MigrateType::{self, Isolate, Movable, Unmovable};
use crate::mmzone::{NodeId, ZoneType};
use crate::task::Current;

const RECLAIMABLE: Gfp = Gfp::GFP_KERNEL.union(Gfp::__GFP_RECLAIMABLE);

#[test]
fn a_refill_takes_a_batch_in_ascending_order() {
    let machine = board_64m("");
    let lab = Lab::new(&machine);
    let before = lab.zone().counts.free_pages();
    let first = lab.alloc(Gfp::GFP_KERNEL, 0).unwrap().0;
    assert_eq!(lab.pcp(Unmovable), [first + 1, first + 2]);
    assert_eq!((lab.zone().pcp_pages(), lab.zone().counts.free_pages()), (2, before - 3));
    let more = [0; 4].map(|_| lab.alloc(Gfp::GFP_KERNEL, 0).unwrap().0 - first);
    assert_eq!((more, lab.zone().pcp_pages()), ([1, 2, 3, 4], 1));
    lab.assert_sound();
}

#[test]
fn every_type_has_a_list_and_all_share_a_count() {
    let machine = board_64m("");
    let lab = Lab::new(&machine);
    for gfp in [Gfp::GFP_KERNEL, Gfp::GFP_HIGHUSER_MOVABLE, RECLAIMABLE] {
        lab.alloc(gfp, 0).unwrap();
    }
    let lists = MigrateType::ALL[..3].iter().map(|migratetype| lab.pcp(*migratetype).len());
    assert_eq!((lists.collect::<Vec<_>>(), lab.zone().pcp_pages()), (vec![2, 2, 2], 6));
}

#[test]
fn the_page_freed_last_is_taken_first() {
    let machine = board_64m("");
    let lab = Lab::new(&machine);
    let pages = [0; 3].map(|_| lab.alloc(Gfp::GFP_KERNEL, 0).unwrap());
    pages.iter().for_each(|pfn| assert_eq!(lab.free(*pfn, 0), Ok(true)));
    assert_eq!(lab.pcp(Unmovable), [pages[2].0, pages[1].0, pages[0].0]);
    assert_eq!([0; 3].map(|_| lab.alloc(Gfp::GFP_KERNEL, 0).unwrap()), [pages[2], pages[1], pages[0]]);
}

#[test]
fn at_high_a_batch_goes_back_from_the_tail() {
    let machine = board_64m("");
    let lab = Lab::new(&machine);
    let pages: Vec<Pfn> = (0..18).map(|_| lab.alloc(Gfp::GFP_KERNEL, 0).unwrap()).collect();
    lab.drain();
    for (freed, pfn) in pages.iter().enumerate() {
        lab.free(*pfn, 0).unwrap();
        let expected = if freed < 17 { freed as u64 + 1 } else { 15 };
        assert_eq!(lab.zone().pcp_pages(), expected, "after {} pages", freed + 1);
    }
    let kept: Vec<u64> = pages[3..].iter().rev().map(|pfn| pfn.0).collect();
    assert_eq!(lab.pcp(Unmovable), kept);
    lab.assert_sound();
}

#[test]
fn without_room_every_page_goes_back_at_once() {
    let machine = board_64m("");
    let lab = Lab::without_pcp(&machine);
    assert_eq!(lab.zone().pcp_limits(), PcpLimits { high: 0, batch: 1 });
    let pfn = lab.alloc(Gfp::GFP_KERNEL, 0).unwrap();
    assert_eq!(lab.zone().pcp_pages(), 0);
    lab.free(pfn, 0).unwrap();
    assert_eq!((lab.zone().pcp_pages(), lab.list(10, Unmovable)), (0, vec![pfn.0]));
}

#[test]
fn a_page_of_an_isolated_block_waits_nowhere() {
    let machine = board_64m("");
    let lab = Lab::new(&machine);
    let pfn = lab.alloc(Gfp::GFP_KERNEL, 0).unwrap();
    lab.drain();
    let before = lab.zone().counts.free_pages();
    lab.memory.blocks.set_migratetype(lab.memory.pages.index(pfn), Isolate);
    lab.free(pfn, 0).unwrap();
    // It is on the list of isolated blocks, and does not count as free, nor do the pages that it merged with.
    assert_eq!(lab.zone().pcp_pages(), 0);
    assert!(lab.list(9, Isolate).contains(&pfn.0) || lab.list(10, Isolate).contains(&pfn.0));
    assert!(lab.zone().counts.free_pages() <= before);
}

#[test]
fn a_waiting_page_of_a_block_isolated_since_goes_to_the_isolated() {
    let machine = board_64m("");
    let lab = Lab::new(&machine);
    let pfn = lab.alloc(Gfp::GFP_KERNEL, 0).unwrap();
    lab.free(pfn, 0).unwrap();
    lab.memory.blocks.set_migratetype(lab.memory.pages.index(pfn), Isolate);
    lab.zone().free.lock(&lab.memory.pin()).nr_isolated = 1;
    let before = lab.zone().counts.free_pages();
    lab.drain();
    let isolated: usize = (0..11).map(|order| lab.list(order, Isolate).len()).sum();
    assert!(isolated > 0);
    assert!(lab.zone().counts.free_pages() <= before);
}

#[test]
fn requests_are_served_from_the_list_while_the_check_looks_at_the_zone() {
    let machine = board_64m("");
    let lab = Lab::new(&machine);
    lab.alloc(Gfp::GFP_KERNEL, 0).unwrap();
    let free = lab.zone().counts.free_pages();
    lab.zone().set_watermarks([free - 1; 3]);
    assert!(lab.alloc(Gfp::GFP_NOWAIT, 0).is_ok());
    assert!(lab.alloc(Gfp::GFP_NOWAIT, 0).is_ok());
    assert!(lab.alloc(Gfp::GFP_NOWAIT, 0).is_ok()); // refilled: the check came before
    assert!(lab.alloc(Gfp::GFP_NOWAIT, 0).is_err()); // two pages are on the list, and yet
    assert_eq!(lab.zone().pcp_pages(), 2);
}

#[test]
fn a_drain_may_be_of_one_zone() {
    let machine = board_2_nodes("");
    let lab = Lab::new(&machine);
    let zones = [0, 1].map(|node| lab.zone_on(node, ZoneType::Dma32));
    for (node, zone) in zones.iter().enumerate() {
        zone.set_pcp_limits(PcpLimits { high: 12, batch: 4 });
        lab.take_near(node as u8, Gfp::GFP_KERNEL, 0, AllocFlags::empty()).unwrap();
    }
    assert_eq!(zones.map(|zone| zone.pcp_pages()), [3, 3]);
    freelist::drain_local_pages(&lab.memory, &lab.current(), Some(zones[1]));
    assert_eq!(zones.map(|zone| zone.pcp_pages()), [3, 0]);
    lab.drain();
    assert_eq!(zones.map(|zone| zone.pcp_pages()), [0, 0]);
    lab.assert_sound();
}

#[test]
fn each_cpu_has_lists_of_its_own() {
    let machine = board_64m("");
    let lab = Lab::new(&machine);
    let first = lab.alloc(Gfp::GFP_KERNEL, 0).unwrap();
    lab.free(first, 0).unwrap();
    lab.memory.env.cpu().set_cpu(1);
    let second = lab.alloc(Gfp::GFP_KERNEL, 0).unwrap();
    assert_eq!(second.0, first.0 + 3);
    assert_eq!([0, 1].map(|cpu| lab.zone().pageset(cpu).count()), [3, 2]);
    lab.drain(); // of this CPU alone
    assert_eq!([0, 1].map(|cpu| lab.zone().pageset(cpu).count()), [3, 0]);
    assert_eq!(lab.memory.cpu(), 1);
    lab.assert_sound();
}

#[test]
fn draining_is_traced_page_by_page() {
    let machine = board_64m("");
    let lab = Lab::new(&machine);
    let pfn = lab.alloc(Gfp::GFP_HIGHUSER_MOVABLE, 0).unwrap();
    let lines = lab.traced(|| lab.drain());
    let line = |pfn: Pfn| {
        format!("mm_page_pcpu_drain: page={:#x} pfn={} order=0 migratetype={}", pfn.addr().0, pfn.0, Movable as u8)
    };
    assert_eq!(lines, [line(pfn.add(2)), line(pfn.add(1))]);
}

#[test]
fn pages_of_the_other_node_wait_on_lists_of_that_node() {
    let machine = board_2_nodes("");
    let lab = Lab::new(&machine);
    lab.memory.zones().for_each(|zone| zone.set_pcp_limits(PcpLimits { high: 12, batch: 2 }));
    let current = Current::new(lab.tasks().init());
    let node = Some(NodeId(1));
    let pfn = crate::mm::page_alloc::alloc_pages_node(&lab.memory, &current, node, Gfp::GFP_KERNEL, 0).unwrap();
    lab.free(pfn, 0).unwrap();
    let waiting = [0, 1].map(|node| lab.zone_on(node, ZoneType::Dma32).pageset(0).count());
    assert_eq!(waiting, [0, 2]);
}
