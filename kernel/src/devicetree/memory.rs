//! Memory banks and the distances between nodes, raw: nothing is rounded to pages, merged or sorted.
//!
//! Linux: `early_init_dt_scan_memory` and `of_numa_parse_distance_map`. A disabled memory node is skipped, which Linux
//! does since 5.17: QEMU's `virt,secure=on` describes in one the RAM that only the secure world reaches.

use core::iter;

use super::cells::{CellSizes, Pairs, be32};
use super::device;
use super::structure::Blocks;
use super::walk::{Node, Walk};
use crate::addr::PhysAddr;

/// One range of RAM as the tree has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryBank {
    /// First byte.
    pub base: PhysAddr,
    /// Bytes, never 0; `base + size` does not overflow.
    pub size: u64,
    /// `numa-node-id`, when the memory node has one.
    pub node: Option<u32>,
    /// Whether the memory node is marked `hotpluggable`.
    pub hotplug: bool,
}

/// The banks of every enabled node whose `device_type` is `memory`, at any depth, in the tree's order.
pub(super) fn banks<'a>(blocks: Blocks<'a>, root: CellSizes) -> impl Iterator<Item = MemoryBank> + use<'a> {
    let mut walk = Walk::new(blocks);
    let nodes = iter::from_fn(move || {
        loop {
            if walk.next_value("device_type")? == b"memory\0" {
                return walk.lineage().node();
            }
        }
    });
    nodes.filter(|node| node.is_enabled()).flat_map(move |node| banks_of(node, root))
}

fn banks_of(node: Node<'_>, root: CellSizes) -> impl Iterator<Item = MemoryBank> {
    let ranges = node.property("linux,usable-memory").or_else(|| node.property("reg")).unwrap_or(&[]);
    let (numa_node, hotplug) = (node.word("numa-node-id"), node.property("hotpluggable").is_some());
    Pairs::new(ranges, root).filter(|(_, size)| *size > 0).map(move |(base, size)| MemoryBank {
        base: PhysAddr(base),
        size: size.min(u64::MAX - base),
        node: numa_node,
        hotplug,
    })
}

/// The triples (from, to, distance) of the distance map; none when there is no map.
pub(super) fn distances<'a>(blocks: Blocks<'a>) -> impl Iterator<Item = (u32, u32, u32)> + use<'a> {
    let map = device::find(blocks, &["numa-distance-map-v1"]).and_then(|(map, _)| map.node());
    let matrix = map.and_then(|map| map.property("distance-matrix")).unwrap_or(&[]);
    matrix.chunks_exact(12).filter_map(|triple| Some((be32(triple, 0)?, be32(triple, 4)?, be32(triple, 8)?)))
}
