//! Where a task may take memory, and where it would like to: its cpuset's nodes and its memory policy.
//!
//! [`Placement`] is the part of a task that the allocator asks. What a cpuset is, and which task is in which, is decided
//! by `mm/cpuset.rs`; what a [`Mempolicy`] does to a request by `mm/mempolicy.rs`. When the nodes of a task change, its
//! policy moves along: the second of the old nodes becomes the second of the new ones. Linux:
//! `task_struct::mems_allowed`, `mems_allowed_seq`, `mempolicy` and `il_prev`; `mpol_rebind_task`.
//!
//! Linux does more: a policy may be static or relative (`MPOL_F_STATIC_NODES`), and each mapping may have one.

use core::fmt;

use crate::mmzone::{MAX_NUMNODES, NodeId, NodeMask};
use crate::sync::atomic::{
    AtomicU8, AtomicU16, AtomicU32,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// Which nodes a task wants its memory from. Linux: `struct mempolicy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mempolicy {
    /// Near the CPU that asks. Linux: `MPOL_DEFAULT`.
    #[default]
    Default,
    /// Near this node, but any will do. Linux: `MPOL_PREFERRED`.
    Preferred(NodeId),
    /// From these nodes or not at all. Linux: `MPOL_BIND`.
    Bind(NodeMask),
    /// From each of these nodes in turn, but any will do. Linux: `MPOL_INTERLEAVE`.
    Interleave(NodeMask),
}

impl Mempolicy {
    /// The nodes that it names.
    pub const fn nodes(self) -> NodeMask {
        match self {
            Mempolicy::Default => NodeMask(0),
            Mempolicy::Preferred(node) => NodeMask(0).with(node),
            Mempolicy::Bind(nodes) | Mempolicy::Interleave(nodes) => nodes,
        }
    }

    /// The same policy about the nodes of `usable` only.
    ///
    /// # Errors
    ///
    /// When it names nodes and none of them is left. Linux: `mpol_set_nodemask`.
    pub fn within(self, usable: NodeMask) -> Result<Mempolicy, PolicyError> {
        let left = self.nodes().and(usable);
        if left == NodeMask(0) && self != Mempolicy::Default {
            return Err(PolicyError { nodes: self.nodes(), usable });
        }
        Ok(match self {
            Mempolicy::Default | Mempolicy::Preferred(_) => self,
            Mempolicy::Bind(_) => Mempolicy::Bind(left),
            Mempolicy::Interleave(_) => Mempolicy::Interleave(left),
        })
    }

    /// The policy of a task whose nodes were `old` and are `new`. Linux: `mpol_rebind_policy`.
    fn rebound(self, old: NodeMask, new: NodeMask) -> Mempolicy {
        // A policy that lost all its nodes is about all that there are.
        let moved = |nodes: NodeMask| {
            let moved = nodes.iter().fold(NodeMask(0), |moved, node| moved.with(remap(node, old, new)));
            if moved == NodeMask(0) { new } else { moved }
        };
        match self {
            Mempolicy::Default => self,
            Mempolicy::Preferred(node) => Mempolicy::Preferred(remap(node, old, new)),
            Mempolicy::Bind(nodes) => Mempolicy::Bind(moved(nodes)),
            Mempolicy::Interleave(nodes) => Mempolicy::Interleave(moved(nodes)),
        }
    }

    fn encode(self) -> u16 {
        let mode: u16 = match self {
            Mempolicy::Default => 0,
            Mempolicy::Preferred(_) => 1,
            Mempolicy::Bind(_) => 2,
            Mempolicy::Interleave(_) => 3,
        };
        mode << 8 | u16::from(self.nodes().0)
    }

    fn decode(word: u16) -> Mempolicy {
        let nodes = NodeMask(word as u8);
        match word >> 8 {
            1 => nodes.iter().next().map_or(Mempolicy::Default, Mempolicy::Preferred),
            2 => Mempolicy::Bind(nodes),
            3 => Mempolicy::Interleave(nodes),
            _ => Mempolicy::Default,
        }
    }
}

/// As /proc/PID/numa_maps prints it. Linux: `mpol_to_str`.
impl fmt::Display for Mempolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mempolicy::Default => f.write_str("default"),
            Mempolicy::Preferred(node) => write!(f, "prefer:{node}"),
            Mempolicy::Bind(nodes) => write!(f, "bind:{nodes}"),
            Mempolicy::Interleave(nodes) => write!(f, "interleave:{nodes}"),
        }
    }
}

/// Why a task cannot have a policy: it may use none of the nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PolicyError {
    /// The nodes that the policy names.
    pub nodes: NodeMask,
    /// The nodes that have memory and are in the task's cpuset.
    pub usable: NodeMask,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the task may use nodes {}, none of {}", self.usable, self.nodes)
    }
}

/// The node that stands in `new` where `node` stands in `old`; `node` itself if it does not. Linux: `node_remap`.
fn remap(node: NodeId, old: NodeMask, new: NodeMask) -> NodeId {
    match old.iter().position(|other| other == node) {
        Some(position) => new.iter().cycle().nth(position).unwrap_or(node),
        None => node,
    }
}

/// Where a task may take memory, and where it would like to.
#[derive(Default)]
pub struct Placement {
    mems_allowed: AtomicU8,
    /// Changes before and after `mems_allowed` and the policy do.
    seq: AtomicU32,
    cpuset: AtomicU8,
    policy: AtomicU16,
    /// The node that an interleaved request was near last.
    il_prev: AtomicU8,
}

impl Placement {
    /// The first cpuset with all nodes, no policy: what a task begins with.
    pub(super) fn reset(&self) {
        self.cpuset.store(0, Relaxed);
        self.policy.store(0, Relaxed);
        self.mems_allowed.store(NodeMask::ALL.0, Relaxed);
    }

    /// What `parent` has. Linux: `cpuset_fork`, `mpol_dup`.
    pub(super) fn inherit(&self, parent: &Placement) {
        self.cpuset.store(parent.cpuset(), Relaxed);
        self.set_policy(parent.policy());
        self.mems_allowed.store(parent.mems_allowed().0, Relaxed);
    }

    /// Nodes whose memory the task may use.
    pub fn mems_allowed(&self) -> NodeMask {
        NodeMask(self.mems_allowed.load(Acquire))
    }

    /// What changes when the nodes do: a request that fails although this has changed asks again. Linux:
    /// `read_mems_allowed_begin`, which waits until a change is over; here the request notices at its end.
    pub fn mems_cookie(&self) -> u32 {
        self.seq.load(Acquire)
    }

    /// Lets the task use `nodes`, and moves its policy along. Linux: `cpuset_change_task_nodemask`.
    pub fn change_mems(&self, nodes: NodeMask) {
        self.seq.fetch_add(1, AcqRel);
        let policy = self.policy().rebound(self.mems_allowed(), nodes);
        self.policy.store(policy.encode(), Relaxed);
        self.mems_allowed.store(nodes.0, Relaxed);
        self.seq.fetch_add(1, Release);
    }

    /// Number of the task's cpuset.
    pub fn cpuset(&self) -> u8 {
        self.cpuset.load(Relaxed)
    }

    /// Notes that the task is in cpuset number `cpuset`.
    pub fn enter_cpuset(&self, cpuset: u8) {
        self.cpuset.store(cpuset, Relaxed);
    }

    /// The task's policy.
    pub fn policy(&self) -> Mempolicy {
        Mempolicy::decode(self.policy.load(Relaxed))
    }

    /// Gives the task a policy; interleaving begins with the first node. Linux: `do_set_mempolicy`.
    pub fn set_policy(&self, policy: Mempolicy) {
        self.policy.store(policy.encode(), Relaxed);
        self.il_prev.store(MAX_NUMNODES as u8 - 1, Relaxed);
    }

    /// The node of `nodes` whose turn it is. Linux: `interleave_nodes`.
    pub fn interleave(&self, nodes: NodeMask) -> Option<NodeId> {
        let next = nodes.next_in(NodeId(self.il_prev.load(Relaxed)))?;
        self.il_prev.store(next.0, Relaxed);
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICIES: [Mempolicy; 4] = [
        Mempolicy::Default,
        Mempolicy::Preferred(NodeId(1)),
        Mempolicy::Bind(NodeMask(0b11)),
        Mempolicy::Interleave(NodeMask(0b1101)),
    ];

    #[test]
    fn policies_are_kept_and_printed() {
        let placement = Placement::default();
        for (policy, text) in POLICIES.into_iter().zip(["default", "prefer:1", "bind:0-1", "interleave:0,2-3"]) {
            placement.set_policy(policy);
            assert_eq!((placement.policy(), policy.to_string().as_str()), (policy, text));
        }
    }

    #[test]
    fn only_usable_nodes_are_kept() {
        let within = |policy: Mempolicy, usable| policy.within(NodeMask(usable));
        assert_eq!(within(POLICIES[3], 0b111), Ok(Mempolicy::Interleave(NodeMask(0b101))));
        assert_eq!(within(POLICIES[2], 0b10), Ok(Mempolicy::Bind(NodeMask(0b10))));
        assert_eq!(within(POLICIES[0], 0), Ok(Mempolicy::Default));
        let error = within(POLICIES[1], 0b101).unwrap_err();
        assert_eq!(error.to_string(), "the task may use nodes 0,2, none of 1");
    }

    #[test]
    fn turns_go_round() {
        let placement = Placement::default();
        placement.set_policy(POLICIES[3]);
        let turns: Vec<_> = (0..4).map(|_| placement.interleave(NodeMask(0b1101)).unwrap().0).collect();
        assert_eq!(turns, [0, 2, 3, 0]);
        assert_eq!(placement.interleave(NodeMask(0)), None);
    }

    #[test]
    fn a_policy_moves_with_the_nodes_and_the_cookie_tells() {
        let placement = Placement::default();
        placement.reset();
        let moved = |policy, old, new| {
            placement.change_mems(NodeMask(old));
            placement.set_policy(policy);
            let cookie = placement.mems_cookie();
            placement.change_mems(NodeMask(new));
            assert_ne!(placement.mems_cookie(), cookie);
            assert_eq!(placement.mems_allowed(), NodeMask(new));
            placement.policy()
        };
        assert_eq!(moved(POLICIES[2], 0b0011, 0b1100), Mempolicy::Bind(NodeMask(0b1100)));
        assert_eq!(moved(POLICIES[2], 0b0011, 0b0100), Mempolicy::Bind(NodeMask(0b0100)));
        assert_eq!(moved(POLICIES[1], 0b0011, 0b1001), Mempolicy::Preferred(NodeId(3)));
        // What was not among the old nodes stays where it is.
        assert_eq!(moved(POLICIES[1], 0b0101, 0b1000), Mempolicy::Preferred(NodeId(1)));
        assert_eq!(moved(POLICIES[0], 0b0011, 0b1000), Mempolicy::Default);
    }
}
