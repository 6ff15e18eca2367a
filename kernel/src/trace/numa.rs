//! Steps that decide which nodes a request may use, for `explain`: memory policies, cpusets and nodemasks; and what is
//! done so that the near one serves.
//!
//! Key type: [`Numa`]. Which zones were passed over for it, [`super::Decision::ZoneConsidered`] tells; that a request
//! began again because the nodes of its task changed, [`super::SlowPath::SlowpathRetry`]. Neighbours:
//! `mm::mempolicy`, `mm::page_alloc` and `mm::vmscan` emit these events, `mm::slowpath` the third.

use core::fmt;

use super::reasons::{NodeChoice, ReserveRule};
use crate::mmzone::{NodeId, NodeMask};
use crate::reclaim_types::NodeReclaim;

/// A step that limits the nodes of a request, or that lifts such a limit. `Display` prints its fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Numa {
    /// The policy of a task was asked for a node to be near to.
    PolicyAsked {
        /// What chose the node.
        choice: NodeChoice,
        /// The nodes that the policy names; none if there is no policy.
        nodes: NodeMask,
        /// The node.
        node: NodeId,
        /// The page's number in the task's memory, if nodes take turns by that.
        vpn: Option<u64>,
    },
    /// The first attempt of a request is limited to the nodes of its task's cpuset.
    CpusetNarrowed {
        /// The nodes.
        nodes: NodeMask,
    },
    /// The nodemask of a request does not count any more.
    NodemaskDropped {
        /// What it was.
        nodes: NodeMask,
        /// The reserve that is open to the request; without one it is `__GFP_ATOMIC` that beats nodemasks.
        rule: ReserveRule,
    },
    /// A near node was to be reclaimed from before another one is asked.
    NodeReclaimed {
        /// The node.
        node: NodeId,
        /// What came of it.
        outcome: NodeReclaim,
        /// Pages that came free.
        nr_reclaimed: u64,
    },
}

impl Numa {
    /// The event's name.
    pub const fn name(self) -> &'static str {
        match self {
            Numa::PolicyAsked { .. } => "policy_asked",
            Numa::CpusetNarrowed { .. } => "cpuset_narrowed",
            Numa::NodemaskDropped { .. } => "nodemask_dropped",
            Numa::NodeReclaimed { .. } => "node_reclaimed",
        }
    }
}

impl fmt::Display for Numa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Numa::PolicyAsked { choice, nodes, node, vpn } => {
                write!(f, "node={node} choice={choice}")?;
                if nodes != NodeMask(0) {
                    write!(f, " nodes={nodes}")?;
                }
                vpn.map_or(Ok(()), |vpn| write!(f, " vpn={vpn}"))
            }
            Numa::CpusetNarrowed { nodes } => write!(f, "nodes={nodes}"),
            Numa::NodemaskDropped { nodes, rule } => write!(f, "nodes={nodes} rule={rule}"),
            Numa::NodeReclaimed { node, outcome, nr_reclaimed } => {
                write!(f, "node={node} outcome={} nr_reclaimed={nr_reclaimed}", outcome.name())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::assert_texts;

    #[test]
    fn limits_and_their_end() {
        let asked = |choice, nodes, vpn| Numa::PolicyAsked { choice, nodes: NodeMask(nodes), node: NodeId(1), vpn };
        assert_texts(&[
            (asked(NodeChoice::Default, 0, None), "policy_asked: node=1 choice=default"),
            (asked(NodeChoice::Bind, 0b110, None), "policy_asked: node=1 choice=bind nodes=1-2"),
            (asked(NodeChoice::Interleave, 0b11, Some(7)), "policy_asked: node=1 choice=interleave nodes=0-1 vpn=7"),
            (Numa::CpusetNarrowed { nodes: NodeMask(0b101) }, "cpuset_narrowed: nodes=0,2"),
            (
                Numa::NodemaskDropped { nodes: NodeMask(1), rule: ReserveRule::Memalloc },
                "nodemask_dropped: nodes=0 rule=gfp_memalloc",
            ),
            (
                Numa::NodeReclaimed { node: NodeId(1), outcome: NodeReclaim::Some, nr_reclaimed: 7 },
                "node_reclaimed: node=1 outcome=some nr_reclaimed=7",
            ),
        ]);
    }
}
