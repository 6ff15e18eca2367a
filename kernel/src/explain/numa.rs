//! Limits on the nodes of a request in words, and reclaim from the near one.

use core::fmt::{self, Formatter};

use super::pages;
use crate::mmzone::{NodeId, NodeMask};
use crate::reclaim_types::NodeReclaim;
use crate::trace::Numa;
use crate::trace::reasons::{NodeChoice, ReserveRule};

pub fn words(event: &Numa, f: &mut Formatter<'_>) -> fmt::Result {
    match *event {
        Numa::PolicyAsked { choice, nodes, node, vpn } => asked(f, choice, nodes, node, vpn),
        Numa::CpusetNarrowed { nodes } => {
            write!(f, "there are cpusets: the first attempt looks at nodes {nodes} only, those of the task's")
        }
        Numa::NodemaskDropped { nodes, rule: ReserveRule::None } => {
            write!(f, "__GFP_ATOMIC cannot wait for nodes {nodes} to have room: any node will do from here on")
        }
        Numa::NodemaskDropped { nodes, rule: _ } => {
            write!(f, "a reserve is open to the request: it is not limited to nodes {nodes} any more")
        }
        Numa::NodeReclaimed { node, outcome, nr_reclaimed } => reclaimed(f, node, outcome, nr_reclaimed),
    }
}

/// What made a request go near `node`.
fn asked(f: &mut Formatter<'_>, choice: NodeChoice, nodes: NodeMask, node: NodeId, vpn: Option<u64>) -> fmt::Result {
    match (choice, vpn) {
        (NodeChoice::Default, _) => write!(f, "the task has no memory policy: near node {node}, the CPU's own"),
        (NodeChoice::Preferred, _) => write!(f, "policy prefer:{nodes}: near node {node}, but any other will do"),
        (NodeChoice::Bind, _) => {
            write!(f, "policy bind:{nodes}: nodes {nodes} or none, tried as they lie from node {node}, the CPU's own")
        }
        (NodeChoice::Interleave, None) => {
            write!(f, "policy interleave:{nodes}: it is the turn of node {node}, but any other will do")
        }
        (NodeChoice::Interleave, Some(vpn)) => {
            write!(f, "policy interleave:{nodes}: number {vpn} of the task's pages belongs on node {node}, ")?;
            f.write_str("but any other will do")
        }
        (NodeChoice::Interrupt, _) => write!(f, "an interrupt has no memory policy: near node {node}, the CPU's own"),
        (NodeChoice::ThisNode, _) => write!(f, "__GFP_THISNODE: no policy is asked; node {node}, the CPU's own"),
        (NodeChoice::BindLowZone, _) => {
            write!(f, "policy bind:{nodes} is about the highest zones, and the mask wants lower ones: near node {node}")
        }
        (NodeChoice::BindOutsideCpuset, _) => {
            write!(f, "policy bind:{nodes} has no node of the task's cpuset, and does not count: near node {node}")
        }
    }
}

/// What came of `vm.zone_reclaim_mode`.
fn reclaimed(f: &mut Formatter<'_>, node: NodeId, outcome: NodeReclaim, nr_reclaimed: u64) -> fmt::Result {
    let why = match outcome {
        NodeReclaim::MayNotWait => "the request may not wait, or reclaims already",
        NodeReclaim::NotNear => "it has CPUs, and the request's is none of them",
        NodeReclaim::Busy => "somebody else does so now",
        NodeReclaim::Full => "too little of it may go (vm.min_unmapped_ratio, vm.min_slab_ratio)",
        NodeReclaim::Some | NodeReclaim::Success => {
            let enough = if outcome == NodeReclaim::Some { "too little" } else { "enough" };
            let came = pages(nr_reclaimed);
            return write!(f, "before others are asked, node {node} is reclaimed from: {came} came free, {enough}");
        }
    };
    write!(f, "node {node} is not reclaimed from before others are asked: {why}")
}
