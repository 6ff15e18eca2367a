//! What is told about nodes: who chose one, who was passed over, and why a request began again.

use crate::addr::Pfn;
use crate::explain::explain;
use crate::gfp::Gfp;
use crate::mm::cpuset;
use crate::mm::memory::{Env, Hook};
use crate::mm::mempolicy::set_mempolicy;
use crate::mm::page_alloc::{alloc_page, alloc_page_vma, alloc_pages_nodemask};
use crate::mm::testing::{HostMachine, Lab, MIB, board_2_nodes};
use crate::mmzone::{NodeId, NodeMask, ZoneType};
use crate::task::{Context, Mempolicy};
use crate::trace::decision::Decision;
use crate::trace::walk::{Step, walk};
use crate::trace::{Event, EventSet, Tracer};

const NODE: [NodeId; 2] = [NodeId(0), NodeId(1)];
const BOTH: NodeMask = NodeMask(0b11);
const USER: Gfp = Gfp::GFP_NOWAIT.union(Gfp::__GFP_NOWARN).union(Gfp::__GFP_HARDWALL);
const KERNEL: Gfp = Gfp::GFP_NOWAIT.union(Gfp::__GFP_NOWARN);

/// What is told of nodes while `act` goes on.
fn told<R>(lab: &Lab<'_>, act: impl FnOnce() -> R) -> Vec<String> {
    let ring = lab.memory.env.tracer();
    lab.memory.set_hook(Hook::Trace, true);
    let start = ring.next_seq();
    act();
    let end = ring.next_seq();
    lab.memory.set_hook(Hook::Trace, false);
    let about_nodes = EventSet::named("numa").unwrap().with(EventSet::named("slowpath_retry").unwrap());
    let entries = walk(ring, start..end).filter_map(|step| match step {
        Step::Entry(entry) => Some(entry.event),
        _ => None,
    });
    let passed_over = |event: &Event| matches!(event, Event::Decision(Decision::ZoneConsidered { check: None, .. }));
    entries
        .filter(|event| about_nodes.contains(*event) || passed_over(event))
        .map(|e| explain(&e).to_string())
        .collect()
}

fn set(lab: &Lab<'_>, policy: Mempolicy) {
    set_mempolicy(&lab.memory, lab.tasks().init(), policy).unwrap();
}

#[test]
fn the_policy_that_chose_a_node_is_named() {
    let machine = board_2_nodes("");
    let lab = Lab::new(&machine);
    let one = |gfp| told(&lab, || alloc_page(&lab.memory, &lab.current(), gfp).unwrap());
    assert_eq!(one(KERNEL), ["the task has no memory policy: near node 0, the CPU's own"]);
    set(&lab, Mempolicy::Preferred(NODE[1]));
    assert_eq!(one(KERNEL), ["policy prefer:1: near node 1, but any other will do"]);
    set(&lab, Mempolicy::Interleave(BOTH));
    let turn = |node| [format!("policy interleave:0-1: it is the turn of node {node}, but any other will do")];
    assert_eq!([one(KERNEL), one(KERNEL), one(KERNEL)], [turn(0), turn(1), turn(0)]);
    let at = told(&lab, || alloc_page_vma(&lab.memory, &lab.current(), Gfp::GFP_HIGHUSER_MOVABLE, 3));
    assert_eq!(at, ["policy interleave:0-1: number 3 of the task's pages belongs on node 1, but any other will do"]);
    assert_eq!(one(KERNEL | Gfp::__GFP_THISNODE), ["__GFP_THISNODE: no policy is asked; node 0, the CPU's own"]);
    let interrupt = lab.current().in_context(Context::SoftIrq);
    let served = told(&lab, || alloc_page(&lab.memory, &interrupt, Gfp::GFP_ATOMIC));
    assert_eq!(served, ["an interrupt has no memory policy: near node 0, the CPU's own"]);
}

#[test]
fn a_binding_is_told_with_its_nodes_and_who_is_passed_over() {
    let machine = board_2_nodes("");
    let lab = Lab::without_pcp(&machine);
    set(&lab, Mempolicy::Bind(NodeMask(0b10)));
    let bound = "policy bind:1: nodes 1 or none, tried as they lie from node 0, the CPU's own";
    let over = "DMA32 of node 0 is passed over: the request is limited to nodes 1";
    let one = |gfp| told(&lab, || alloc_page(&lab.memory, &lab.current(), gfp));
    assert_eq!(one(KERNEL), [bound, over]);
    // Nothing above Low on node 1: the slow path looks twice more, and GFP_ATOMIC anywhere.
    lab.zone_on(1, ZoneType::Dma32).set_watermarks([1 << 20; 3]);
    assert_eq!(one(KERNEL), [bound, over, over, over]);
    let lifted = "__GFP_ATOMIC cannot wait for nodes 1 to have room: any node will do from here on";
    assert_eq!(one(Gfp::GFP_ATOMIC), [bound, over, over, lifted]);
    let reserve = "a reserve is open to the request: it is not limited to nodes 1 any more";
    assert_eq!(one(KERNEL | Gfp::__GFP_MEMALLOC), [bound, over, over, reserve]);
}

#[test]
fn a_binding_that_does_not_count_is_told() {
    // Node 0 has DMA32 alone, node 1 NORMAL alone.
    let banks = [(0x4000_0000, 64 * MIB, 0), (0x1_0000_0000, 64 * MIB, 1)];
    let machine = HostMachine::new("", &banks, &[]);
    let lab = Lab::new(&machine);
    set(&lab, Mempolicy::Bind(NodeMask(0b10)));
    let low = told(&lab, || alloc_page(&lab.memory, &lab.current(), KERNEL | Gfp::__GFP_DMA32));
    assert_eq!(low, ["policy bind:1 is about the highest zones, and the mask wants lower ones: near node 0"]);
    let near = cpuset::create(&lab.memory, "near", NodeMask(0b01)).unwrap();
    cpuset::attach(&lab.memory, near, lab.tasks().init());
    lab.tasks().init().placement.set_policy(Mempolicy::Bind(NodeMask(0b10)));
    let words = told(&lab, || alloc_page(&lab.memory, &lab.current(), USER));
    assert_eq!(words[0], "policy bind:1 has no node of the task's cpuset, and does not count: near node 0");
}

#[test]
fn a_cpuset_tells_how_it_keeps_a_request_in() {
    let machine = board_2_nodes("");
    let lab = Lab::without_pcp(&machine);
    let near = cpuset::create(&lab.memory, "near", NodeMask(0b10)).unwrap();
    cpuset::attach(&lab.memory, near, lab.tasks().init());
    lab.zone_on(1, ZoneType::Dma32).set_watermarks([1 << 20; 3]);
    let default = "the task has no memory policy: near node 0, the CPU's own";
    let narrowed = "there are cpusets: the first attempt looks at nodes 1 only, those of the task's";
    let masked = "DMA32 of node 0 is passed over: the request is limited to nodes 1";
    let one = |gfp| told(&lab, || alloc_page(&lab.memory, &lab.current(), gfp));
    let cpuset_bars = "DMA32: the task's cpuset does not have node 0";
    assert_eq!(one(USER), [default, narrowed, masked, cpuset_bars, cpuset_bars]);
    assert_eq!(one(KERNEL), [default, narrowed, masked], "the kernel's own memory is not confined");
    cpuset::set_hardwall(&lab.memory, near, true).unwrap();
    let wall = format!("{cpuset_bars}, and keeps the kernel's own memory in, too: it is a hardwall or exclusive");
    assert_eq!(one(KERNEL), [default, narrowed, masked, &wall, &wall]);
}

#[test]
fn a_request_that_begins_again_for_its_cpuset_says_so() {
    let machine = board_2_nodes("");
    let lab = Lab::new(&machine);
    let near = cpuset::create(&lab.memory, "near", NodeMask(0b10)).unwrap();
    cpuset::attach(&lab.memory, near, lab.tasks().init());
    let mut page = Err(crate::mm::page_alloc::AllocError::OrderTooHigh(11));
    let words = told(&lab, || {
        page = alloc_pages_nodemask(&lab.memory, &lab.current(), USER, 0, NODE[0], Some(NodeMask(0b01)));
    });
    let again = "once more: without its nodemask, which has no node of the task's cpuset";
    assert!(words.iter().any(|words| words == again), "{words:#?}");
    assert_eq!(page.map(|pfn: Pfn| lab.memory.zone_of(pfn).unwrap().node), Ok(NODE[1]));
}
