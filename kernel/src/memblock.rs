//! Memory before the page allocator: which bytes are RAM and which of them are taken.
//!
//! A [`Memblock`] holds two sorted lists of disjoint [`Region`]s, *memory* and *reserved*; memory minus reserved is free.
//! The lists are `memblock/region.rs`. The device tree fills them through `early.rs` and `reserved_mem.rs`, `numa.rs`
//! gives the regions their nodes, `mm/zone_sizes.rs` reads them, and what is free in the end goes to the buddy
//! allocator. Linux: `mm/memblock.c`.
//!
//! Linux does more: it doubles a list that is full, allocates bottom-up on request, and prefers mirrored memory.

mod region;
#[cfg(test)]
mod tests;

use core::fmt;

use crate::addr::{PAGE_SIZE, PfnRange, PhysAddr};
use crate::mmzone::NodeId;

use region::RegionList;
pub use region::{AddrRange, ListFull, ListName, MAX_REGIONS, Region, RegionFlags};

/// Why an allocation failed. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemblockError {
    /// No slot to note the reservation.
    ListFull(ListFull),
    /// No free memory fits.
    NoRoom {
        /// Bytes asked for.
        size: u64,
        /// Alignment asked for.
        align: u64,
        /// Where it had to lie.
        within: AddrRange,
    },
}

impl fmt::Display for MemblockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            MemblockError::ListFull(full) => full.fmt(f),
            MemblockError::NoRoom { size, align, within } => {
                write!(f, "memblock: no {size:#x} free bytes aligned to {align:#x} in {within}")
            }
        }
    }
}

impl core::error::Error for MemblockError {}

impl From<ListFull> for MemblockError {
    fn from(full: ListFull) -> MemblockError {
        MemblockError::ListFull(full)
    }
}

/// The machine's RAM and what of it is taken, before the page allocator exists.
#[derive(Clone)]
#[doc(alias = "memblock")]
pub struct Memblock {
    memory: RegionList,
    reserved: RegionList,
    movable_node: bool,
    limit: PhysAddr,
}

impl Default for Memblock {
    fn default() -> Self {
        Memblock::new()
    }
}

/// Changes. Each either happens or returns an error and changes nothing.
impl Memblock {
    /// No memory, nothing reserved.
    pub const fn new() -> Memblock {
        let (memory, reserved) = (RegionList::new(ListName::Memory), RegionList::new(ListName::Reserved));
        Memblock { memory, reserved, movable_node: false, limit: AddrRange::ALL.end }
    }

    /// Adds RAM of a node not known yet; what was RAM before keeps its node and flags.
    #[doc(alias = "memblock_add")]
    pub fn add(&mut self, range: AddrRange) -> Result<(), ListFull> {
        self.memory.add(Region { range, ..Region::default() })
    }

    /// Adds RAM of `node`.
    #[doc(alias = "memblock_add_node")]
    pub fn add_node(&mut self, range: AddrRange, node: NodeId) -> Result<(), ListFull> {
        self.memory.add(Region { range, node: Some(node), ..Region::default() })
    }

    /// Makes `range` no RAM.
    #[doc(alias = "memblock_remove")]
    pub fn remove(&mut self, range: AddrRange) -> Result<(), ListFull> {
        self.memory.remove(range)
    }

    /// Takes `range`, whether it is RAM or not, free or not.
    #[doc(alias = "memblock_reserve")]
    pub fn reserve(&mut self, range: AddrRange) -> Result<(), ListFull> {
        self.reserved.add(Region { range, ..Region::default() })
    }

    /// Gives `range` back, whether it was taken or not.
    #[doc(alias = "memblock_free")]
    pub fn free(&mut self, range: AddrRange) -> Result<(), ListFull> {
        self.reserved.remove(range)
    }

    /// Tells that the RAM in `range` belongs to `node`.
    #[doc(alias = "memblock_set_node")]
    pub fn set_node(&mut self, range: AddrRange, node: NodeId) -> Result<(), ListFull> {
        self.memory.update(range, |r| r.node = Some(node))
    }

    /// Keeps the RAM in `range` out of the linear map: never free, but still RAM.
    #[doc(alias = "memblock_mark_nomap")]
    pub fn mark_nomap(&mut self, range: AddrRange) -> Result<(), ListFull> {
        self.memory.update(range, |r| r.flags |= RegionFlags::NOMAP)
    }

    /// Tells that the RAM in `range` can be unplugged.
    #[doc(alias = "memblock_mark_hotplug")]
    pub fn mark_hotplug(&mut self, range: AddrRange) -> Result<(), ListFull> {
        self.memory.update(range, |r| r.flags |= RegionFlags::HOTPLUG)
    }

    /// Forgets which RAM in `range` can be unplugged.
    #[doc(alias = "memblock_clear_hotplug")]
    pub fn clear_hotplug(&mut self, range: AddrRange) -> Result<(), ListFull> {
        self.memory.update(range, |r| r.flags -= RegionFlags::HOTPLUG)
    }

    /// From now on [`find`](Memblock::find) leaves out RAM that can be unplugged (boot argument `movable_node`).
    pub fn set_movable_node(&mut self, on: bool) {
        self.movable_node = on;
    }

    /// Keeps only what lies in `keep`, and RAM outside the linear map; an empty `keep` changes nothing. With the error
    /// the reservations, or part of them, are as they were.
    #[doc(alias = "memblock_cap_memory_range")]
    pub fn cap_memory_range(&mut self, keep: AddrRange) -> Result<(), ListFull> {
        if keep.is_empty() {
            return Ok(());
        }
        self.memory.isolate(keep)?;
        self.memory.retain(|r| keep.covers(r.range) || !r.is_mapped());
        self.reserved.remove(AddrRange::new(AddrRange::ALL.start, keep.start))?;
        self.reserved.remove(AddrRange::new(keep.end, AddrRange::ALL.end))
    }

    /// Keeps the lowest `limit` bytes of RAM; 0, or more than there is, changes nothing.
    #[doc(alias = "memblock_mem_limit_remove_map")]
    pub fn limit_memory(&mut self, limit: u64) -> Result<(), ListFull> {
        if limit == 0 {
            return Ok(());
        }
        let mut left = limit;
        for region in self.memory.regions() {
            if left <= region.range.size() {
                let end = AddrRange::sized(region.range.start, left).end;
                return self.cap_memory_range(AddrRange::new(AddrRange::ALL.start, end));
            }
            left -= region.range.size();
        }
        Ok(())
    }

    /// [`alloc`](Memblock::alloc) stays below `limit` from now on: what is above has no address in the kernel.
    #[doc(alias = "memblock_set_current_limit")]
    pub fn set_current_limit(&mut self, limit: PhysAddr) {
        self.limit = limit;
    }

    /// Finds and reserves: see [`find`](Memblock::find). `NoRoom` when nothing fits.
    #[doc(alias = "memblock_alloc_range_nid")]
    pub fn alloc(
        &mut self,
        size: u64,
        align: u64,
        within: AddrRange,
        node: Option<NodeId>,
    ) -> Result<AddrRange, MemblockError> {
        let within = AddrRange::new(within.start, within.end.min(self.limit));
        let base = self.find(size, align, within, node).ok_or(MemblockError::NoRoom { size, align, within })?;
        let range = AddrRange::sized(base, size);
        self.reserve(range)?;
        Ok(range)
    }
}

/// Questions.
impl Memblock {
    /// The regions that are RAM, ascending.
    pub fn memory(&self) -> &[Region] {
        self.memory.regions()
    }

    /// The regions that are taken, ascending; they may lie outside RAM.
    pub fn reserved(&self) -> &[Region] {
        self.reserved.regions()
    }

    /// From the first byte of RAM to the last; empty without RAM.
    #[doc(alias = "memblock_start_of_DRAM")]
    #[doc(alias = "memblock_end_of_DRAM")]
    pub fn dram(&self) -> AddrRange {
        match self.memory() {
            [] => AddrRange::default(),
            [first, .., last] => AddrRange::new(first.range.start, last.range.end),
            [only] => only.range,
        }
    }

    /// Bytes of RAM.
    #[doc(alias = "memblock_phys_mem_size")]
    pub fn memory_size(&self) -> u64 {
        self.memory().iter().map(|r| r.range.size()).sum()
    }

    /// Bytes that are taken.
    #[doc(alias = "memblock_reserved_size")]
    pub fn reserved_size(&self) -> u64 {
        self.reserved().iter().map(|r| r.range.size()).sum()
    }

    /// Whether all of `range` is RAM of one region.
    #[doc(alias = "memblock_is_region_memory")]
    pub fn is_memory(&self, range: AddrRange) -> bool {
        self.memory().get(self.memory.first_ending_above(range.start)).is_some_and(|r| r.range.covers(range))
    }

    /// Whether a byte of `range` is taken.
    #[doc(alias = "memblock_is_region_reserved")]
    pub fn is_reserved(&self, range: AddrRange) -> bool {
        self.reserved().get(self.reserved.first_ending_above(range.start)).is_some_and(|r| r.range.overlaps(range))
    }

    /// Free memory, ascending: each range lies in one region of RAM and carries its node and flags.
    #[doc(alias = "for_each_free_mem_range")]
    pub fn free_ranges(&self) -> impl DoubleEndedIterator<Item = Region> + '_ {
        let usable = self.memory().iter().filter(|r| r.is_mapped());
        usable.flat_map(|r| self.reserved.gaps(r.range).map(|range| Region { range, ..*r }))
    }

    /// The highest free place for `size` bytes at a multiple of `align`, a power of two, that lies in `within` and, if
    /// given, on `node`. Never page 0: its address is the answer for "none" in too much code.
    #[doc(alias = "memblock_find_in_range_node")]
    pub fn find(&self, size: u64, align: u64, within: AddrRange, node: Option<NodeId>) -> Option<PhysAddr> {
        debug_assert!(align.is_power_of_two());
        let within = AddrRange::new(within.start.max(PhysAddr(PAGE_SIZE)), within.end);
        self.free_ranges()
            .rev()
            .filter(|r| node.is_none() || r.node == node)
            .filter(|r| !(self.movable_node && r.flags.contains(RegionFlags::HOTPLUG)))
            .find_map(|r| r.range.intersect(within).last_fit(size, align))
    }

    /// The whole pages of RAM, region by region, with their node.
    #[doc(alias = "for_each_mem_pfn_range")]
    pub fn page_ranges(&self) -> impl Iterator<Item = (PfnRange, Option<NodeId>)> + '_ {
        self.memory().iter().map(|r| (r.range.pages_inside(), r.node)).filter(|(pages, _)| !pages.is_empty())
    }

    /// What /proc/iomem shows of RAM: each region, then the pages in it that are taken.
    pub fn resources(&self) -> impl Iterator<Item = Resource> + '_ {
        self.memory().iter().flat_map(move |memory| {
            let name = if memory.is_mapped() { "System RAM" } else { "reserved" };
            let outer = Resource { level: 0, range: whole_pages(memory.range.pages_inside()), name };
            let inner = self.reserved_pages(outer.range).map(|range| Resource { level: 1, range, name: "reserved" });
            core::iter::once(outer).chain(inner)
        })
    }

    /// The taken parts of `within`, rounded out to pages; a page that two regions share goes with the lower one.
    fn reserved_pages(&self, within: AddrRange) -> impl Iterator<Item = AddrRange> + '_ {
        let first = self.reserved.first_ending_above(within.start);
        let mut done = within.start;
        self.reserved()[first..].iter().take_while(move |r| r.range.start < within.end).filter_map(move |r| {
            let pages = whole_pages(r.range.pages_touched());
            let rest = AddrRange::new(pages.start.max(done), pages.end.min(within.end));
            done = rest.end;
            (!rest.is_empty()).then_some(rest)
        })
    }
}

/// One line of /proc/iomem.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resource {
    /// 0 at the left margin, 1 inside the line before.
    pub level: u8,
    /// Whole pages.
    pub range: AddrRange,
    /// `System RAM` or `reserved`.
    pub name: &'static str,
}

fn whole_pages(pages: PfnRange) -> AddrRange {
    AddrRange::new(pages.start.addr(), pages.end.addr())
}
