//! Reclaim from a near node before a request takes pages of a farther one: `vm.zone_reclaim_mode`.
//!
//! A zone that has too little for a request is passed over, and the next one may be on another node. With the mode set,
//! [`make_room`] reclaims from the zone's node first: a sixteenth of its lists, then more, until as many pages are free as
//! the request wants. That takes clean pages of files that nobody maps; [`ReclaimMode`] has bits for more. Who may not
//! wait does not reclaim, nor who is far away, nor a second one beside the first.
//!
//! Neighbours: [`super::super::freelist`] walks the zones and asks, [`super::shrink_node`] scans. Linux: `node_reclaim`,
//! `zone_allows_reclaim`.
//!
//! Linux does more: later versions trace it.

use bitflags::bitflags;

use super::{ScanControl, shrink_node};
use crate::gfp::Gfp;
use crate::mm::alloc_context::AllocContext;
use crate::mm::memory::{Env, Hook, Memory};
use crate::mm::node::{Node, NodeFlags};
use crate::mm::reserves;
use crate::mm::sleep;
use crate::mm::zone::Zone;
use crate::reclaim_types::NodeReclaim;
use crate::sync::atomic::Ordering::Relaxed;
use crate::task::{Current, TaskFlags};
use crate::trace::Numa;
use crate::vmstat::{NodeStat, VmEvent};

/// Nodes farther than this from the one that the request likes best are not reclaimed from for it. Linux:
/// `RECLAIM_DISTANCE`.
const RECLAIM_DISTANCE: u8 = 30;
/// The first scan looks at a sixteenth of each list. Linux: `NODE_RECLAIM_PRIORITY`.
const NODE_RECLAIM_PRIORITY: u32 = 4;

bitflags! {
    /// The bits of `vm.zone_reclaim_mode`; every value but 0 switches reclaim on.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(super) struct ReclaimMode: u64 {
        /// Nothing more. Linux: `RECLAIM_ZONE`.
        const ZONE = 1 << 0;
        /// Dirty pages may be written. Linux: `RECLAIM_WRITE`.
        const WRITE = 1 << 1;
        /// Pages may be taken from those who map them, to swap, too. Linux: `RECLAIM_UNMAP`.
        const UNMAP = 1 << 2;
    }
}

/// Whether the zone, which has too little for the request, deserves another look, for its node was reclaimed from.
pub fn make_room<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, ac: &AllocContext<'_>, zone: &Zone) -> bool {
    let is_near = memory.node(ac.preferred_node).distance[zone.node.index()] <= RECLAIM_DISTANCE;
    if !memory.has(Hook::NodeReclaim) || !is_near {
        return false;
    }
    let (outcome, nr_reclaimed) = node_reclaim(memory, current, ac, memory.node(zone.node));
    memory.trace(current, || Numa::NodeReclaimed { node: zone.node, outcome, nr_reclaimed });
    outcome.has_scanned()
}

/// Reclaims from the node for the request, if that may be worth it; the pages that came free. Linux: `node_reclaim`.
fn node_reclaim<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    node: &Node,
) -> (NodeReclaim, u64) {
    let mode = ReclaimMode::from_bits_retain(memory.sysctl.zone_reclaim_mode.load(Relaxed));
    let enough_cache = pagecache_reclaimable(node, mode) > reserves::min_unmapped_pages(memory, node.id);
    if !enough_cache && node.stat(NodeStat::NrSlabReclaimable) <= reserves::min_slab_pages(memory, node.id) {
        return (NodeReclaim::Full, 0);
    }
    if !ac.gfp.contains(Gfp::__GFP_DIRECT_RECLAIM) || current.flags().contains(TaskFlags::PF_MEMALLOC) {
        return (NodeReclaim::MayNotWait, 0);
    }
    if memory.nodes_with_cpus.contains(node.id) && memory.near_node() != node.id {
        return (NodeReclaim::NotNear, 0);
    }
    if !node.try_set(NodeFlags::RECLAIM_LOCKED) {
        return (NodeReclaim::Busy, 0);
    }
    let nr_reclaimed = if enough_cache { scan(memory, current, ac, node, mode) } else { 0 };
    node.clear_flags(NodeFlags::RECLAIM_LOCKED);
    if nr_reclaimed >= ac.order.nr_pages() {
        return (NodeReclaim::Success, nr_reclaimed);
    }
    memory.count(VmEvent::ZoneReclaimFailed, 1);
    (NodeReclaim::Some, nr_reclaimed)
}

/// Scans harder and harder until there is enough for the request. Linux: `__node_reclaim`.
fn scan<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    node: &Node,
    mode: ReclaimMode,
) -> u64 {
    sleep::cond_resched(memory, current);
    let mut sc = ScanControl::near(current, ac, mode);
    let current = &current.with(TaskFlags::PF_MEMALLOC | TaskFlags::PF_SWAPWRITE);
    for priority in (0..=NODE_RECLAIM_PRIORITY).rev() {
        sc.priority = priority;
        shrink_node(memory, current, node, &mut sc);
        if sc.nr_reclaimed >= ac.order.nr_pages() {
            break;
        }
    }
    sc.nr_reclaimed
}

/// Pages of files that the mode lets go. Linux: `node_pagecache_reclaimable`.
fn pagecache_reclaimable(node: &Node, mode: ReclaimMode) -> u64 {
    let cache = if mode.contains(ReclaimMode::UNMAP) {
        node.stat(NodeStat::NrFilePages)
    } else {
        let listed = node.stat(NodeStat::NrInactiveFile) + node.stat(NodeStat::NrActiveFile);
        listed.saturating_sub(node.stat(NodeStat::NrMapped))
    };
    let dirty = if mode.contains(ReclaimMode::WRITE) { 0 } else { node.stat(NodeStat::NrDirty) };
    cache.saturating_sub(dirty)
}
