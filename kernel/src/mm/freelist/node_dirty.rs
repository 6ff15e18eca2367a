//! How many pages of a node may be dirty before pages to be written come from another one.
//!
//! A page for `__GFP_WRITE` will be dirty soon. [`node_dirty_ok`] keeps such pages from filling one node while others
//! have room: reclaim would meet nothing there that it can drop at once. Neighbour: `super::super::dirty_limits` has the
//! limits of the whole machine, at which writers wait. Linux: `node_dirty_ok` of `mm/page-writeback.c`.
//!
//! Linux does more: a limit in bytes.

use crate::mm::memory::{Env, Memory};
use crate::mmzone::NodeId;
use crate::sync::atomic::Ordering::Relaxed;
use crate::task::{Current, TaskFlags};
use crate::vmstat::NodeStat;

/// Whether the node may have one more dirty page.
pub(super) fn node_dirty_ok<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, id: NodeId) -> bool {
    let node = memory.node(id);
    node.stat(NodeStat::NrDirty) + node.stat(NodeStat::NrWriteback) <= node_dirty_limit(memory, current, id)
}

/// `vm.dirty_ratio` per cent of what could be dirty there; a quarter more for who cleans memory or is in a hurry.
fn node_dirty_limit<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, id: NodeId) -> u64 {
    let limit = memory.sysctl.dirty_ratio.load(Relaxed) * node_dirtyable(memory, id) / 100;
    let may_have_more = current.flags().contains(TaskFlags::PF_LESS_THROTTLE) || current.task.is_realtime();
    if may_have_more { limit + limit / 4 } else { limit }
}

/// Pages of the node that could be dirty: free ones beyond its reserve, and those of files. Linux:
/// `node_dirtyable_memory`.
fn node_dirtyable<E: Env>(memory: &Memory<'_, E>, id: NodeId) -> u64 {
    let node = memory.node(id);
    let free: u64 = memory.zones_of(id).iter().map(|zone| zone.counts.free_pages()).sum();
    free.saturating_sub(node.totalreserve()) + node.stat(NodeStat::NrInactiveFile) + node.stat(NodeStat::NrActiveFile)
}
