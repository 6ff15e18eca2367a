//! How the memory of a machine comes into being: from sized zones and a memblock to an allocator that works.
//!
//! ```text
//!   metadata_size   how many bytes of RAM the records take; the caller reserves them
//!   Memory::new     every zone exists, none has a page
//!   free_area_init  zones get their place and size, pageblocks their first type, nodes their zonelists
//!   free_all        what memblock has free goes into the buddy lists, and is managed from then on
//!   init_late       per-CPU lists, watermarks and reserves; requests may sleep
//! ```
//!
//! The cost does not grow with RAM but for one record per maximal block (4 MiB): no other record is written until its
//! block is split. Linux: `free_area_init_nodes`, `memblock_free_all`, `init_per_zone_wmark_min`, in v5.0's
//! `mm/page_alloc.c` and `mm/memblock.c`.
//!
//! Linux does more: it writes every page's record, or leaves that to a thread.

use crate::sync::atomic::Ordering::Relaxed;

use super::highmem;
use super::memory::{Env, Hook, Memory};
use super::page::{PageState, Pages};
use super::pageblock::Pageblocks;
use super::prep::PAGE_POISON;
use super::reserves;
use super::zone::Zone;
use super::zone_sizes::ZoneLayout;
use super::zonelist::{ZoneRef, Zonelist};
use crate::addr::{MAX_ORDER_NR_PAGES, Order, PAGEBLOCK_NR_PAGES, Pfn, PfnRange};
use crate::memblock::Memblock;
use crate::mmzone::{MAX_NUMNODES, MigrateType, NodeId};
use crate::quirks::Quirk;

/// How much room the records of a machine take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MetadataSize {
    /// Page records of 16 bytes; as many owner records of 24, if owners are recorded.
    pub records: usize,
    /// Bytes of the pageblock map.
    pub pageblock_bytes: usize,
}

impl MetadataSize {
    /// The room for pages from the lowest to the highest of `span`.
    pub const fn for_span(span: PfnRange) -> MetadataSize {
        let records = Pages::records_for(span);
        MetadataSize { records, pageblock_bytes: Pageblocks::bytes_for(records) }
    }
}

/// Gives every zone its place and size, every pageblock its first type, and every node its zonelists.
///
/// `node_order` lists all nodes for each node, nearest first. Linux: `free_area_init_nodes`, `build_all_zonelists`.
pub fn free_area_init<E: Env>(
    memory: &mut Memory<'_, E>,
    layout: &ZoneLayout,
    memblock: &Memblock,
    distances: &[[u8; MAX_NUMNODES]; MAX_NUMNODES],
    node_order: impl Fn(NodeId) -> [Option<NodeId>; MAX_NUMNODES],
) {
    for (id, node) in layout.online() {
        let own = &mut memory.nodes[id.index()];
        own.online = true;
        own.span = node.span;
        own.distance = distances[id.index()];
        for (index, size) in node.zones().iter().enumerate() {
            let zone = &mut memory.zones[zone_number(id, index)];
            zone.span = size.span();
            zone.present = size.present;
            zone.is_highmem = layout.limits().is_highmem(size.kind);
        }
    }
    if let (Some(start), Some(mmu)) = (layout.limits().highmem_start(), memory.env.mmu()) {
        mmu.end_linear_map(start);
        memory.highmem.start = start;
    }
    memory.set_hook(Hook::MobilityOff, !layout.groups_by_mobility());
    init_pageblocks(memory, memblock);
    for (id, _) in layout.online() {
        let order = node_order(id);
        let zones = |node: NodeId| managed_zones(layout, node);
        memory.nodes[id.index()].thisnode = Zonelist::new(zones(id));
        memory.nodes[id.index()].fallback = Zonelist::new(order.into_iter().flatten().flat_map(zones));
    }
    memory.zonelists_changed();
}

fn zone_number(node: NodeId, index: usize) -> usize {
    node.index() * crate::mmzone::MAX_NR_ZONES + index
}

/// The zones of `node` that are expected to manage pages, highest first. Linux: `build_zonerefs_node`.
fn managed_zones(layout: &ZoneLayout, node: NodeId) -> impl Iterator<Item = ZoneRef> {
    let zones = layout.nodes[node.index()].zones().iter().enumerate().rev();
    zones
        .filter(|(_, zone)| zone.managed_estimate > 0)
        .map(move |(index, _)| ZoneRef { zone: zone_number(node, index) as u8, index: index as u8 })
}

/// Types every pageblock whose first page is memory as Movable, and writes the first record of every maximal block.
///
/// Linux: `memmap_init_zone`.
fn init_pageblocks<E: Env>(memory: &Memory<'_, E>, memblock: &Memblock) {
    for block in (0..memory.span().nr_pages()).step_by(MAX_ORDER_NR_PAGES as usize) {
        memory.pages.at(block as u32).set_state(PageState::TAIL);
    }
    for (range, _) in memblock.page_ranges() {
        let first = range.start.align_up(Order::PAGEBLOCK);
        let blocks = PfnRange::new(first, range.end.max(first)).nr_pages().div_ceil(PAGEBLOCK_NR_PAGES);
        memory.blocks.init_range(memory.pages.index(first), blocks as usize, MigrateType::Movable);
    }
}

/// Hands every free range of `memblock` to the allocator, in ascending order. Linux: `memblock_free_all`.
pub fn free_all<E: Env>(memory: &Memory<'_, E>, memblock: &Memblock) {
    for region in memblock.free_ranges() {
        free_range(memory, region.node.unwrap_or_default(), region.range.pages_inside());
    }
}

/// Fills all that `memblock` has free with poison, which takes its time, and has every page checked for it from now on.
///
/// Linux: the boot argument `page_poison=1`; there each page is filled as it is freed.
pub fn poison_free<E: Env>(memory: &Memory<'_, E>, memblock: &Memblock) {
    for region in memblock.free_ranges() {
        let pages = region.range.pages_inside();
        highmem::fill_pages(memory, pages.start, pages.nr_pages(), PAGE_POISON);
    }
    memory.set_hook(Hook::Poison, true);
}

/// Hands `range` of `node` to the allocator, in blocks as large as their place allows. Linux: `__free_memory_core`.
pub fn free_range<E: Env>(memory: &Memory<'_, E>, node: NodeId, range: PfnRange) {
    for zone in memory.zones_of(node) {
        let part = range.intersect(zone.span);
        if !part.is_empty() {
            free_zone_range(memory, zone, part);
        }
    }
}

fn free_zone_range<E: Env>(memory: &Memory<'_, E>, zone: &Zone, range: PfnRange) {
    let pin = memory.pin();
    let mut guard = zone.free.lock(&pin);
    let mut buddy = zone.buddy(&mut guard, memory.pages, memory.blocks);
    let mut at = range.start;
    while at < range.end {
        let order = largest_block(at, range.end);
        let index = memory.pages.index(at);
        if order < Order::MAX {
            memory.blocks.write_records(memory.pages, index);
        }
        buddy.free(index, order, memory.blocks.of(index).migratetype());
        at = at.add(order.nr_pages());
    }
    let nr_pages = range.nr_pages();
    zone.managed.fetch_add(nr_pages, Relaxed);
    memory.totalram.fetch_add(nr_pages, Relaxed);
    zone.pageset(pin.cpu()).count_free(nr_pages);
}

/// The largest block that may start at `at` and ends by `end`.
fn largest_block(at: Pfn, end: Pfn) -> Order {
    Order::new((end.0 - at.0).ilog2()).unwrap_or(Order::MAX).min(Order::largest_at(at))
}

/// Sizes the per-CPU lists, computes watermarks and reserves, and lets requests sleep.
///
/// Linux: `setup_per_cpu_pageset`, `init_per_zone_wmark_min`, and the end of `kernel_init_freeable`.
pub fn init_late<E: Env>(memory: &Memory<'_, E>) {
    memory.set_hook(Hook::Boot, false);
    reserves::setup_per_cpu_pagesets(memory);
    reserves::init_per_zone_wmark_min(memory);
    if memory.quirks.switched(Quirk::ThpMinFree) {
        reserves::set_recommended_min_free_kbytes(memory);
    }
    if memory.page_owners.is_on() {
        memory.set_hook(Hook::PageOwner, true);
    }
}
