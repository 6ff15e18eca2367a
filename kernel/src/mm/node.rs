//! A node: memory that is equally far from a CPU, with its zonelists.
//!
//! Linux: `struct pglist_data`. Its zones are kept with all others in [`super::memory::Memory`], so that a page record
//! can name its zone by one number.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::zonelist::Zonelist;
use crate::addr::PfnRange;
use crate::mmzone::{MAX_NUMNODES, NodeId};
use crate::vmstat::NodeStat;

/// Distance of a node to itself.
pub const LOCAL_DISTANCE: u8 = 10;
/// Distance of two nodes that no table mentions.
pub const REMOTE_DISTANCE: u8 = 20;
/// Nodes farther apart than this are not reclaimed from before the next zone is tried. Linux: `RECLAIM_DISTANCE`.
pub const RECLAIM_DISTANCE: u8 = 30;

/// A node of the machine.
pub struct Node {
    /// The node's number.
    pub id: NodeId,
    /// Whether the machine has the node: memory, or a CPU.
    pub online: bool,
    /// First and last page with everything in between.
    pub span: PfnRange,
    /// Distances to all nodes, 10 for itself.
    pub distance: [u8; MAX_NUMNODES],
    /// The zones of all nodes, nearest first.
    pub fallback: Zonelist,
    /// The node's own zones. Linux: `ZONELIST_NOFALLBACK`.
    pub thisnode: Zonelist,
    /// Pages that the node keeps from ordinary use.
    pub(super) totalreserve: AtomicU64,
    stats: [AtomicU64; NodeStat::COUNT],
}

impl Node {
    /// A node that is not online.
    pub fn new(id: NodeId) -> Node {
        let distance = core::array::from_fn(|other| if other == id.index() { LOCAL_DISTANCE } else { REMOTE_DISTANCE });
        Node {
            id,
            online: false,
            span: PfnRange::default(),
            distance,
            fallback: Zonelist::default(),
            thisnode: Zonelist::default(),
            totalreserve: AtomicU64::new(0),
            stats: Default::default(),
        }
    }

    /// A counter of the node. Linux: `node_page_state`.
    pub fn stat(&self, stat: NodeStat) -> u64 {
        self.stats[stat.index()].load(Relaxed)
    }

    /// Pages that the node keeps from ordinary use. Linux: `totalreserve_pages` of `pg_data_t`.
    pub fn totalreserve(&self) -> u64 {
        self.totalreserve.load(Relaxed)
    }
}
