//! `__GFP_WRITE`: pages that will be dirty do not pile up on one node.

use crate::addr::Pfn;
use crate::gfp::Gfp;
use crate::mm::sysctl::Sysctls;
use crate::mm::testing::{Lab, board_2_nodes};
use crate::mm::writeback;
use crate::mmzone::NodeId;
use crate::sync::atomic::Ordering::Relaxed;
use crate::task::TaskFlags;
use crate::vmstat::{LabEvent, NodeStat};

use super::scenes::add_dirty;
use super::users::users;

const WRITE: Gfp = Gfp::GFP_KERNEL.union(Gfp::__GFP_WRITE);

fn node_of(lab: &Lab<'_>, pfn: Pfn) -> u8 {
    lab.memory.zone_of(pfn).unwrap().node.0
}

/// How many pages of node 0 may be dirty: with so many, one more may come.
fn limit(lab: &Lab<'_>) -> u64 {
    let Sysctls { dirty_ratio, .. } = &lab.memory.sysctl;
    let node = lab.memory.node(NodeId(0));
    let free: u64 = lab.memory.zones_of(node.id).iter().map(|zone| zone.counts.free_pages()).sum();
    let cached = node.stat(NodeStat::NrInactiveFile) + node.stat(NodeStat::NrActiveFile);
    (free + cached - node.totalreserve()) * dirty_ratio.load(Relaxed) / 100
}

fn dirty(lab: &Lab<'_>) -> [u64; 2] {
    [0, 1].map(|node| lab.memory.node(NodeId(node)).stat(NodeStat::NrDirty))
}

/// Node of a page for `gfp`, what was said of each zone, and how often the slow path was taken.
fn ask(lab: &Lab<'_>, gfp: Gfp) -> (u8, Vec<String>, u64) {
    let slow = lab.memory.lab_event(LabEvent::Slowpath);
    let mut node = u8::MAX;
    let events = lab.traced_only(&["zone_considered"], || node = node_of(lab, lab.alloc(gfp, 0).unwrap()));
    let said = |event: &String| {
        let word = |name: &str| event.split_whitespace().find_map(|word| word.strip_prefix(name)).unwrap().to_owned();
        format!("{} {}", word("node="), word("verdict="))
    };
    (node, events.iter().map(said).collect(), lab.memory.lab_event(LabEvent::Slowpath) - slow)
}

fn said(events: &[&str]) -> Vec<String> {
    events.iter().map(|event| (*event).to_owned()).collect()
}

#[test]
fn what_is_written_goes_to_the_next_node_when_the_near_one_has_its_share() {
    let machine = board_2_nodes("");
    let lab = Lab::without_pcp(&machine);
    let limit = limit(&lab);
    add_dirty(&lab, limit as u32);
    assert_eq!(ask(&lab, WRITE), (0, said(&["0 enough"]), 0));
    // One above the limit came while there was room for it; what comes then goes farther.
    add_dirty(&lab, limit as u32 + 11);
    assert_eq!(dirty(&lab), [limit + 1, 10]);
    assert_eq!(ask(&lab, WRITE), (1, said(&["0 dirty_limit", "1 enough"]), 0));
    assert_eq!(ask(&lab, Gfp::GFP_KERNEL), (0, said(&["0 enough"]), 0));
    lab.assert_sound();
}

#[test]
fn who_cleans_memory_has_a_quarter_more() {
    let machine = board_2_nodes("");
    let lab = Lab::without_pcp(&machine);
    let limit = limit(&lab);
    lab.tasks().init().change_flags(TaskFlags::PF_LESS_THROTTLE, TaskFlags::empty());
    add_dirty(&lab, (limit + limit / 4) as u32 + 11);
    assert_eq!(dirty(&lab), [limit + limit / 4 + 1, 10]);
}

#[test]
fn the_slow_path_takes_what_there_is() {
    let machine = board_2_nodes("");
    let lab = Lab::without_pcp(&machine);
    lab.memory.sysctl.dirty_ratio.store(0, Relaxed);
    add_dirty(&lab, 2);
    // One on each node: then both have more than nothing.
    assert_eq!(dirty(&lab), [1, 1]);
    let (node, said_of, slow) = ask(&lab, WRITE);
    assert_eq!((node, said_of, slow), (0, said(&["0 dirty_limit", "1 dirty_limit", "0 enough"]), 1));
}

#[test]
fn all_zones_of_a_node_over_its_limit_are_passed_over() {
    let machine = board_2_nodes("zones=arm64-5.0:dma32=8M");
    let lab = Lab::without_pcp(&machine);
    lab.memory.sysctl.dirty_ratio.store(0, Relaxed);
    add_dirty(&lab, 1);
    let (node, said_of, _) = ask(&lab, WRITE);
    assert_eq!((node, said_of), (1, said(&["0 dirty_limit", "0 dirty_limit", "1 enough"])));
    // What is being written counts until it is.
    writeback::write_dirty(&lab.memory, &lab.current(), users(&lab), writeback::Reason::All);
    assert_eq!((dirty(&lab), ask(&lab, WRITE).0), ([0, 0], 1));
    writeback::sync(&lab.memory, &lab.current(), users(&lab)).unwrap();
    assert_eq!(ask(&lab, WRITE).0, 0);
}
