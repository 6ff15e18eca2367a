//! How soon an evicted page comes back: whether reclaim threw out something that was in use.
//!
//! Each node has a clock, `inactive_age`, that moves with every eviction and activation of a file page. An evicted page
//! leaves a [`Shadow`] with the time; when it is read again, the time between tells how much longer the inactive list
//! would have had to be to keep it. If the active pages could have made that room, the page competes with them: it comes
//! back active.
//!
//! Neighbours: [`super::swap`] and `vmscan` move the clock, the page cache keeps the shadows. Linux: `mm/workingset.c`.
//!
//! Linux does more: coarser shadows where a pointer is too small for the clock, and a shrinker for their tree nodes.

use crate::sync::atomic::Ordering::Relaxed;

use super::memory::{Env, Memory};
use super::node::Node;
use super::page::PageFlags;
use crate::mmzone::{MAX_NUMNODES, NodeId};
use crate::task::Current;
use crate::vmstat::NodeStat;

/// Bits of the clock that a shadow keeps.
const AGE_BITS: u32 = 48;
const AGE_MASK: u64 = (1 << AGE_BITS) - 1;
const NODE_BITS: u32 = 2;
const _: () = assert!(MAX_NUMNODES <= 1 << NODE_BITS);

/// What an evicted page leaves behind. Linux: `pack_shadow`, `unpack_shadow`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shadow {
    /// The clock at the eviction, its low bits.
    age: u64,
    node: NodeId,
    /// Whether the page had been active in its time.
    workingset: bool,
}

impl Shadow {
    const fn pack(self) -> u64 {
        (self.age & AGE_MASK) << (NODE_BITS + 1) | (self.node.0 as u64) << 1 | self.workingset as u64
    }

    const fn unpack(shadow: u64) -> Shadow {
        let node = shadow >> 1 & ((1 << NODE_BITS) - 1);
        Shadow { age: shadow >> (NODE_BITS + 1) & AGE_MASK, node: NodeId(node as u8), workingset: shadow & 1 != 0 }
    }
}

/// Moves the clock of a node; the time then.
fn tick(node: &Node) -> u64 {
    node.inactive_age.fetch_add(1, Relaxed) + 1
}

/// The node of a page.
fn node_of<'a, E: Env>(memory: &'a Memory<'_, E>, index: u32) -> &'a Node {
    memory.node(memory.zone(memory.pages.at(index).state().zone()).node)
}

/// The shadow of a file page that is about to be evicted; moves the clock. Linux: `workingset_eviction`.
pub fn eviction<E: Env>(memory: &Memory<'_, E>, index: u32) -> u64 {
    let node = node_of(memory, index);
    let workingset = memory.pages.at(index).flags().contains(PageFlags::WORKINGSET);
    Shadow { age: tick(node), node: node.id, workingset }.pack()
}

/// A file page is active from now on; moves the clock. Linux: `workingset_activation`.
pub fn activation<E: Env>(memory: &Memory<'_, E>, index: u32) {
    tick(node_of(memory, index));
}

/// The page takes the place of `shadow` and is not on an LRU list yet: it is marked active, if it should not have been
/// evicted. Linux: `workingset_refault`.
pub fn refault<E: Env>(memory: &Memory<'_, E>, _current: &Current<'_>, index: u32, shadow: u64) {
    let shadow = Shadow::unpack(shadow);
    let node = memory.node(shadow.node);
    let distance = node.inactive_age.load(Relaxed).wrapping_sub(shadow.age) & AGE_MASK;
    node.add_stat(NodeStat::WorkingsetRefault, 1);
    if distance > node.stat(NodeStat::NrActiveFile) {
        return;
    }
    let page = memory.pages.at(index);
    page.set_flags(PageFlags::ACTIVE);
    tick(node);
    node.add_stat(NodeStat::WorkingsetActivate, 1);
    if shadow.workingset {
        page.set_flags(PageFlags::WORKINGSET);
        node.add_stat(NodeStat::WorkingsetRestore, 1);
    }
}

/// Reclaim of the node ended: refaults count from here. Linux: `snapshot_refaults`.
pub fn snapshot_refaults(node: &Node) {
    node.refaults.store(node.stat(NodeStat::WorkingsetActivate), Relaxed);
}

/// Whether evicted pages came back as active ones since reclaim last ended: the active list had too much of the room.
pub fn has_refaulted(node: &Node) -> bool {
    node.refaults.load(Relaxed) != node.stat(NodeStat::WorkingsetActivate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shadow_keeps_what_it_was_made_of() {
        for (age, node, workingset) in [(1, 0, false), (AGE_MASK, 3, true), (0x1234_5678_9abc, 2, false)] {
            let shadow = Shadow { age, node: NodeId(node), workingset };
            assert_eq!(Shadow::unpack(shadow.pack()), shadow);
        }
        let later = Shadow { age: AGE_MASK + 3, node: NodeId(0), workingset: false };
        assert_eq!(Shadow::unpack(later.pack()).age, 2);
    }
}
