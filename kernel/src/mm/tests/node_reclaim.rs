//! `vm.zone_reclaim_mode` on two nodes: the near one is reclaimed from before the far one is asked.

use crate::addr::Pfn;
use crate::gfp::Gfp;
use crate::host::HostMachine;
use crate::mm::freelist;
use crate::mm::kmem_cache::CacheFlags;
use crate::mm::memory::Hook;
use crate::mm::mmap;
use crate::mm::node::NodeFlags;
use crate::mm::page_alloc::{alloc_pages, alloc_pages_node};
use crate::mm::slab;
use crate::mm::sparse::Place;
use crate::mm::testing::{Lab, board_2_nodes, context, lower_to};
use crate::mm::vmscan;
use crate::mm::zone::AllocFlags;
use crate::mmzone::{NodeId, NodeMask, Watermark, ZoneType};
use crate::proc::sysctl;
use crate::task::TaskFlags;

use super::scenes::{add_clean, add_dirty};
use super::users::users;

const NODE: [NodeId; 2] = [NodeId(0), NodeId(1)];
/// The pages of the cache in every scene.
const CACHE: u32 = 200;

fn set(lab: &Lab<'_>, name: &str, value: u32) {
    sysctl::find(name).unwrap().write(&lab.memory, &lab.current(), &value.to_string()).unwrap();
}

/// Two nodes, on the first of which `fill` put something; so much else is taken there that it is at its Low mark.
fn near_full<'m>(machine: &'m HostMachine, mode: u32, fill: fn(&Lab<'_>)) -> Lab<'m> {
    let lab = Lab::without_pcp(machine);
    set(&lab, "watermark_boost_factor", 0);
    set(&lab, "zone_reclaim_mode", mode);
    fill(&lab);
    let zone = lab.zone_on(0, ZoneType::Dma32);
    lower_to(&lab.memory, &lab.current(), zone, zone.watermark(Watermark::Low));
    lab
}

fn clean(lab: &Lab<'_>) {
    add_clean(lab, CACHE);
}

fn mapped(lab: &Lab<'_>) {
    clean(lab);
    for index in 0..CACHE {
        mmap::map(&lab.memory, &lab.current(), users(lab), Place::new(0, index), false).unwrap();
    }
}

fn node_of(lab: &Lab<'_>, pfn: Pfn) -> NodeId {
    lab.memory.zone_of(pfn).unwrap().node
}

/// The node of a page for `gfp`, the events about reclaim, and how many pages were taken and how often in vain.
fn ask(lab: &Lab<'_>, gfp: Gfp) -> (NodeId, Vec<String>, [i64; 3]) {
    let (mut node, mut events) = (NODE[0], Vec::new());
    let diff = lab.vmstat_diff(|| {
        events = lab.traced_only(&["node_reclaimed"], || node = node_of(lab, lab.alloc(gfp, 0).unwrap()));
    });
    lab.assert_sound();
    (node, events, diff.all(["pgsteal_direct", "zone_reclaim_failed", "allocstall_normal"]))
}

#[track_caller]
fn check(mode: u32, fill: fn(&Lab<'_>), gfp: Gfp, node: NodeId, event: &str, counts: [i64; 3]) {
    let machine = board_2_nodes("");
    let lab = near_full(&machine, mode, fill);
    assert_eq!(lab.memory.has(Hook::NodeReclaim), mode != 0);
    let events = if event.is_empty() { vec![] } else { vec![format!("node_reclaimed: node=0 outcome={event}")] };
    assert_eq!(ask(&lab, gfp), (node, events, counts));
}

#[test]
fn without_the_mode_the_next_node_serves() {
    check(0, clean, Gfp::GFP_KERNEL, NODE[1], "", [0; 3]);
}

#[test]
fn with_it_the_near_one_makes_room() {
    // A sixteenth of the cache.
    check(1, clean, Gfp::GFP_KERNEL, NODE[0], "success nr_reclaimed=12", [12, 0, 0]);
}

#[test]
fn who_may_not_wait_goes_on_at_once() {
    check(1, clean, Gfp::GFP_NOWAIT, NODE[1], "may_not_wait nr_reclaimed=0", [0; 3]);
    let machine = board_2_nodes("");
    let lab = near_full(&machine, 1, clean);
    lab.tasks().init().change_flags(TaskFlags::PF_MEMALLOC, TaskFlags::empty());
    assert_eq!(ask(&lab, Gfp::GFP_KERNEL).1, ["node_reclaimed: node=0 outcome=may_not_wait nr_reclaimed=0"]);
}

#[test]
fn a_node_with_little_cache_is_left_alone() {
    check(1, |_| {}, Gfp::GFP_KERNEL, NODE[1], "full nr_reclaimed=0", [0; 3]);
    let machine = board_2_nodes("");
    let lab = near_full(&machine, 1, clean);
    // 5 % of some 4,000 pages are more than the 200 of the cache.
    set(&lab, "min_unmapped_ratio", 5);
    assert_eq!(ask(&lab, Gfp::GFP_KERNEL).0, NODE[1]);
    set(&lab, "min_unmapped_ratio", 4);
    assert_eq!(ask(&lab, Gfp::GFP_KERNEL).0, NODE[0]);
}

/// As in v5.0: slab pages above their ratio let reclaim begin, and only the page cache is a reason to scan.
#[test]
fn slab_pages_alone_are_a_reason_to_fail() {
    let slabs = |lab: &Lab<'_>| {
        set(lab, "min_slab_ratio", 0);
        let cache = lab.memory.slabs.create("reclaimable", 512, 0, CacheFlags::RECLAIM_ACCOUNT).unwrap();
        slab::kmem_cache_alloc(&lab.memory, &lab.current(), cache, Gfp::GFP_KERNEL).unwrap();
    };
    check(1, slabs, Gfp::GFP_KERNEL, NODE[1], "some nr_reclaimed=0", [0, 1, 0]);
}

#[test]
fn dirty_and_mapped_pages_need_their_bits() {
    let dirty = |lab: &Lab<'_>| add_dirty(lab, CACHE);
    check(1, dirty, Gfp::GFP_KERNEL, NODE[1], "full nr_reclaimed=0", [0; 3]);
    // Looked at, and left to the flusher, as direct reclaim always does.
    check(3, dirty, Gfp::GFP_KERNEL, NODE[1], "some nr_reclaimed=0", [0, 1, 0]);
    check(1, mapped, Gfp::GFP_KERNEL, NODE[1], "full nr_reclaimed=0", [0; 3]);
    // All were used: 187 have their second chance down to priority 1, the other 13 at 0, before 51 of the first go.
    check(5, mapped, Gfp::GFP_KERNEL, NODE[0], "success nr_reclaimed=51", [51, 0, 0]);
}

#[test]
fn mapped_pages_are_not_even_taken_off_their_list() {
    let machine = board_2_nodes("");
    let lab = near_full(&machine, 1, |lab| {
        clean(lab);
        // The oldest, and those that a scan of a sixteenth meets first.
        for index in 0..100 {
            mmap::map(&lab.memory, &lab.current(), users(lab), Place::new(0, index), false).unwrap();
        }
    });
    let events = lab.traced_only(&["mm_vmscan_lru_isolate"], || _ = lab.alloc(Gfp::GFP_KERNEL, 0).unwrap());
    let fields = ["isolate_mode=2", "nr_requested=12", "nr_scanned=12", "nr_taken=0", "lru=inactive_file"];
    assert!(fields.iter().all(|field| events[0].contains(field)), "{events:#?}");
    lab.assert_sound();
}

#[test]
fn one_at_a_time_reclaims_and_only_from_near() {
    let machine = board_2_nodes("");
    let lab = near_full(&machine, 1, clean);
    lab.memory.node(NODE[0]).set_flags(NodeFlags::RECLAIM_LOCKED);
    assert_eq!(ask(&lab, Gfp::GFP_KERNEL).1, ["node_reclaimed: node=0 outcome=busy nr_reclaimed=0"]);
    lab.memory.node(NODE[0]).clear_flags(NodeFlags::RECLAIM_LOCKED);
    // CPU 1 is on node 1.
    lab.memory.env.cpu().set_cpu(1);
    let current = lab.current();
    let events = lab.traced_only(&["node_reclaimed"], || {
        let pfn = alloc_pages_node(&lab.memory, &current, Some(NODE[0]), Gfp::GFP_KERNEL, 0).unwrap();
        assert_eq!(node_of(&lab, pfn), NODE[1]);
    });
    assert_eq!(events, ["node_reclaimed: node=0 outcome=not_near nr_reclaimed=0"]);
}

#[test]
fn for_a_block_there_must_be_as_many_pages_and_room_to_compact() {
    let machine = board_2_nodes("");
    let lab = near_full(&machine, 1, clean);
    let events = lab.traced_only(&["node_reclaimed"], || {
        let pfn = alloc_pages(&lab.memory, &lab.current(), Gfp::GFP_KERNEL, 5).unwrap();
        assert_eq!(node_of(&lab, pfn), NODE[0]);
    });
    // A sixteenth of what is left, again and again, up to 64: 12 + 11 + 11 + 10 + 9 + 9 + 8.
    assert_eq!(events, ["node_reclaimed: node=0 outcome=success nr_reclaimed=70"]);
    // All that there is, and still too little: nobody is kept from trying again.
    let lab = near_full(&machine, 1, |lab| add_clean(lab, 20));
    set(&lab, "min_unmapped_ratio", 0);
    let ask = || alloc_pages(&lab.memory, &lab.current(), Gfp::GFP_KERNEL | Gfp::__GFP_NORETRY, 5);
    let events = lab.traced_only(&["node_reclaimed"], || assert_eq!(node_of(&lab, ask().unwrap()), NODE[1]));
    assert_eq!(events, ["node_reclaimed: node=0 outcome=some nr_reclaimed=20"]);
    add_clean(&lab, 20);
    let zone = lab.zone_on(0, ZoneType::Dma32);
    lower_to(&lab.memory, &lab.current(), zone, zone.watermark(Watermark::Low));
    let events = lab.traced_only(&["node_reclaimed"], || ask().unwrap());
    // One came back as a page that was missed, and is active.
    assert_eq!(events, ["node_reclaimed: node=0 outcome=some nr_reclaimed=19"]);
}

/// The events of a request near node 0, both nodes being at their Low marks, and the cache on node 1, so far away, which
/// has CPUs or not.
fn ask_far(distance: u8, has_cpus: bool) -> Vec<String> {
    let machine = board_2_nodes("");
    let mut lab = near_full(&machine, 1, |lab| {
        lab.memory.env.cpu().set_cpu(1);
        clean(lab);
        lab.memory.env.cpu().set_cpu(0);
    });
    lab.memory.nodes[0].distance[1] = distance;
    if !has_cpus {
        lab.memory.nodes_with_cpus = NodeMask::default().with(NODE[0]);
    }
    let zone = lab.zone_on(1, ZoneType::Dma32);
    lower_to(&lab.memory, &lab.current(), zone, zone.watermark(Watermark::Low));
    // The first attempt alone: GFP_KERNEL would make room on both.
    let flags = AllocFlags::WMARK_LOW;
    let ac = context(&lab.memory, NODE[0], Gfp::GFP_KERNEL, 0);
    let find = || freelist::get_page_or_make_room(&lab.memory, &lab.current(), &ac, flags, vmscan::make_room);
    lab.traced_only(&["node_reclaimed"], find)
}

#[test]
fn a_node_without_cpus_is_reclaimed_from_by_others_unless_it_is_far() {
    let full = "node_reclaimed: node=0 outcome=full nr_reclaimed=0";
    assert_eq!(ask_far(30, true), [full, "node_reclaimed: node=1 outcome=not_near nr_reclaimed=0"]);
    assert_eq!(ask_far(30, false), [full, "node_reclaimed: node=1 outcome=success nr_reclaimed=12"]);
    assert_eq!(ask_far(31, false), [full]);
}
