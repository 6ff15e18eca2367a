//! How large every zone of every node is: a computation over memblock, before any zone exists.
//!
//! [`ZoneLayout::new`] takes the regions of RAM with their nodes and the boot arguments, and answers with one
//! [`NodeLayout`] per node and one [`ZoneSize`] per zone of it. The steps are those of Linux: the boundaries between
//! zone types (`zone_sizes/limits.rs`), the start of Movable on each node (`zone_sizes/movable.rs`), then the
//! intersection of both with each node. `zone_sizes/report.rs` is what the boot log says of it; `mm/memory.rs` builds the
//! zones. Linux: `free_area_init_nodes` in `mm/page_alloc.c`.
//!
//! Linux does more: mirrored memory, hot-added nodes, and struct pages that are initialised later.

mod limits;
mod movable;
mod report;
#[cfg(test)]
mod tests;

use crate::addr::{PAGE_SIZE, PAGEBLOCK_NR_PAGES, Pfn, PfnRange};
use crate::bootargs::BootArgs;
use crate::memblock::Memblock;
use crate::mmzone::{MAX_NR_ZONES, MAX_NUMNODES, MigrateType, NodeId, NodeMask, ZoneType};

pub use limits::{HighmemError, ZoneLimits};

/// Bytes that Linux spends on a page's record; its estimates and its log are made with them.
const SIZEOF_STRUCT_PAGE: u64 = 64;

/// Size and place of one zone of one node. Holes between the node's regions are spanned, but not present.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZoneSize {
    /// Its type; [`ZoneLayout::types`] at the same index.
    pub kind: ZoneType,
    /// First page, or 0 in an empty zone.
    pub start_pfn: Pfn,
    /// Pages from the first to the last, holes included.
    pub spanned: u64,
    /// Pages that are RAM.
    pub present: u64,
    /// Pages that Linux expects the zone to manage once the page records are paid for. It decides, before the buddy
    /// allocator has the pages, which zones stand in the zonelists.
    pub managed_estimate: u64,
}

impl ZoneSize {
    const fn empty(kind: ZoneType) -> ZoneSize {
        ZoneSize { kind, start_pfn: Pfn(0), spanned: 0, present: 0, managed_estimate: 0 }
    }

    /// The pages that the zone spans.
    pub const fn span(&self) -> PfnRange {
        PfnRange::new(self.start_pfn, Pfn(self.start_pfn.0 + self.spanned))
    }

    /// Pages that Linux's records of the zone take, as estimated at boot: of the present pages where holes are large
    /// enough for a sparse memory map, else of the spanned ones.
    #[doc(alias = "calc_memmap_size")]
    pub const fn memmap_pages(&self) -> u64 {
        let sparse = self.spanned > self.present + self.present / 16;
        let pages = if sparse { self.present } else { self.spanned };
        (pages * SIZEOF_STRUCT_PAGE).div_ceil(PAGE_SIZE)
    }
}

/// One node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeLayout {
    /// Whether the node exists, be it without memory.
    pub online: bool,
    /// From its lowest page to its highest; empty without memory. Nodes may interleave.
    pub span: PfnRange,
    /// Pages that are RAM.
    pub present: u64,
    /// Where Movable starts, if the node has a part of it. Linux: `zone_movable_pfn`.
    pub movable_start: Option<Pfn>,
    nr_zones: usize,
    zones: [ZoneSize; MAX_NR_ZONES],
}

impl NodeLayout {
    /// Its zones by index, configured but empty ones included.
    pub fn zones(&self) -> &[ZoneSize] {
        &self.zones[..self.nr_zones]
    }
}

/// All nodes and their zones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ZoneLayout {
    limits: ZoneLimits,
    /// The nodes by number.
    pub nodes: [NodeLayout; MAX_NUMNODES],
}

impl ZoneLayout {
    /// Sizes the zones of the `online` nodes. RAM without a node counts as node 0's. A `highmem=` that cannot be is
    /// logged and ignored.
    pub fn new(memblock: &Memblock, online: NodeMask, args: &BootArgs<'_>) -> ZoneLayout {
        let limits = ZoneLimits::new(memblock, args);
        let movable = movable::starts(memblock, args, &limits);
        let nodes = core::array::from_fn(|n| {
            let node = NodeId(n as u8);
            node_layout(memblock, &limits, (node, online.contains(node)), movable[n])
        });
        ZoneLayout { limits, nodes }
    }

    /// The configured zone types by index.
    pub fn types(&self) -> &'static [ZoneType] {
        self.limits.types()
    }

    /// Where the zones lie regardless of nodes and Movable, and which of them Movable is cut from.
    pub fn limits(&self) -> &ZoneLimits {
        &self.limits
    }

    /// The nodes that exist.
    pub fn online(&self) -> impl Iterator<Item = (NodeId, &NodeLayout)> {
        (0..).map(NodeId).zip(&self.nodes).filter(|(_, node)| node.online)
    }

    /// The nodes that have memory. Linux: `N_MEMORY`.
    pub fn with_memory(&self) -> NodeMask {
        let nodes = self.online().filter(|(_, node)| node.present != 0);
        nodes.fold(NodeMask::default(), |mask, (id, _)| mask.with(id))
    }

    /// Pages in all zonelists when they are built. Linux: `vm_total_pages`.
    pub fn total_pages(&self) -> u64 {
        self.online().flat_map(|(_, node)| node.zones()).map(|zone| zone.managed_estimate).sum()
    }

    /// Whether there is memory enough to group pages by mobility: one pageblock of each type.
    #[doc(alias = "page_group_by_mobility_disabled")]
    pub fn groups_by_mobility(&self) -> bool {
        self.total_pages() >= PAGEBLOCK_NR_PAGES * MigrateType::COUNT as u64
    }

    /// The highest zone, Movable apart, that has pages on some node. Linux: `policy_zone`.
    pub fn policy_zone(&self) -> ZoneType {
        let zones = self.online().flat_map(|(_, node)| node.zones());
        let managed = zones.filter(|zone| zone.managed_estimate != 0 && zone.kind != ZoneType::Movable);
        managed.map(|zone| zone.kind).max().unwrap_or(self.types()[0])
    }
}

/// The pages of RAM of `node`, region by region.
fn node_pages(memblock: &Memblock, node: NodeId) -> impl Iterator<Item = PfnRange> + '_ {
    memblock.page_ranges().filter(move |(_, n)| n.unwrap_or_default() == node).map(|(pages, _)| pages)
}

/// Linux: `free_area_init_node`.
fn node_layout(memblock: &Memblock, limits: &ZoneLimits, node: (NodeId, bool), movable: Option<Pfn>) -> NodeLayout {
    let (id, online) = node;
    let pages = || node_pages(memblock, id);
    let start = pages().map(|p| p.start).min().unwrap_or_default();
    let end = pages().map(|p| p.end).max().unwrap_or_default();
    let span = PfnRange::new(start, end);
    let mut layout = NodeLayout {
        online,
        span,
        present: pages().map(PfnRange::nr_pages).sum(),
        movable_start: movable,
        nr_zones: limits.types().len(),
        zones: [ZoneSize::empty(ZoneType::Movable); MAX_NR_ZONES],
    };
    for (zone, kind) in layout.zones.iter_mut().zip(limits.types()) {
        *zone = ZoneSize::empty(*kind);
        let inside = limits.on_node(*kind, movable, span).intersect(span);
        if !inside.is_empty() {
            zone.start_pfn = inside.start;
            zone.spanned = inside.nr_pages();
            zone.present = pages().map(|p| p.intersect(inside).nr_pages()).sum();
            zone.managed_estimate = managed_estimate(zone, limits.is_highmem(*kind));
        }
    }
    layout
}

/// HighMem's records lie in lower zones.
fn managed_estimate(zone: &ZoneSize, highmem: bool) -> u64 {
    let memmap = if highmem { 0 } else { zone.memmap_pages() };
    // A zone whose records do not fit into it pays nothing, in Linux, but a warning.
    if zone.present >= memmap { zone.present - memmap } else { zone.present }
}
