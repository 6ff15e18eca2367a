//! Intervals of addresses, and sorted lists of them.
//!
//! An [`AddrRange`] is the interval; a [`Region`] adds node and flags; a [`RegionList`] keeps disjoint regions sorted and
//! merged. All of its changes are made of three primitives: the *gaps* that the list leaves in a range, a *cut* at an
//! address, and the *merge* of neighbours that agree. Linux: `struct memblock_type` and its helpers in `mm/memblock.c`.

use core::fmt;
use core::ops::Range;

use bitflags::bitflags;

use crate::addr::{PfnRange, PhysAddr};
use crate::mmzone::NodeId;

/// Regions that a list holds at most (Linux starts with as many).
pub const MAX_REGIONS: usize = 128;

/// Bytes from `start` up to, and without, `end`; empty when `end` is not above `start`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AddrRange {
    /// First byte.
    pub start: PhysAddr,
    /// One past the last byte.
    pub end: PhysAddr,
}

impl AddrRange {
    /// Every address (but the very last byte, as in Linux).
    pub const ALL: AddrRange = AddrRange { start: PhysAddr(0), end: PhysAddr(u64::MAX) };

    /// The range `[start, end)`.
    pub const fn new(start: PhysAddr, end: PhysAddr) -> AddrRange {
        AddrRange { start, end }
    }

    /// `size` bytes from `base`, cut off at the end of the address space.
    #[doc(alias = "memblock_cap_size")]
    pub const fn sized(base: PhysAddr, size: u64) -> AddrRange {
        AddrRange::new(base, PhysAddr(base.0.saturating_add(size)))
    }

    /// Number of bytes.
    pub const fn size(self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }

    /// Whether the range has no byte.
    pub const fn is_empty(self) -> bool {
        self.start.0 >= self.end.0
    }

    /// Whether every byte of `other` is in the range.
    pub const fn covers(self, other: AddrRange) -> bool {
        self.start.0 <= other.start.0 && other.end.0 <= self.end.0
    }

    /// Whether the ranges share a byte.
    pub const fn overlaps(self, other: AddrRange) -> bool {
        self.start.0 < other.end.0 && other.start.0 < self.end.0
    }

    /// The bytes that both ranges have; possibly empty.
    pub fn intersect(self, other: AddrRange) -> AddrRange {
        AddrRange::new(self.start.max(other.start), self.end.min(other.end))
    }

    /// The pages that lie in the range with every byte.
    pub const fn pages_inside(self) -> PfnRange {
        PfnRange::new(self.start.pfn_up(), self.end.pfn())
    }

    /// The pages that have at least one byte in the range.
    pub const fn pages_touched(self) -> PfnRange {
        PfnRange::new(self.start.pfn(), self.end.pfn_up())
    }

    /// The highest place of `size` bytes in the range that starts at a multiple of `align`, a power of two.
    pub(super) fn last_fit(self, size: u64, align: u64) -> Option<PhysAddr> {
        if size == 0 || self.size() < size {
            return None;
        }
        let base = PhysAddr((self.end.0 - size) & !(align - 1));
        (base >= self.start).then_some(base)
    }
}

/// As Linux prints a range: `[mem 0x0000000040000000-0x000000007fffffff]`, the end inclusive.
impl fmt::Display for AddrRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[mem {}-{}]", self.start, PhysAddr(self.end.0.wrapping_sub(1)))
    }
}

bitflags! {
    /// What is special about a region of memory.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct RegionFlags: u8 {
        /// The memory can be unplugged.
        const HOTPLUG = 0x1;
        /// The memory is not in the kernel's linear map.
        const NOMAP = 0x4;
    }
}

/// One interval of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Region {
    /// Its bytes.
    pub range: AddrRange,
    /// The node that they belong to, once known. Always `None` in the reserved list.
    pub node: Option<NodeId>,
    /// Always empty in the reserved list.
    pub flags: RegionFlags,
}

impl Region {
    /// Whether the pages may be allocated and read at all.
    pub(super) fn is_mapped(&self) -> bool {
        !self.flags.contains(RegionFlags::NOMAP)
    }

    pub(super) fn continues(&self, before: &Region) -> bool {
        before.range.end == self.range.start && before.node == self.node && before.flags == self.flags
    }
}

/// One of the two lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListName {
    /// What is RAM.
    Memory,
    /// What is taken.
    Reserved,
}

/// The list has no slot left for the pieces of a range. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListFull(pub ListName, pub AddrRange);

impl fmt::Display for ListFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            ListName::Memory => "memory",
            ListName::Reserved => "reserved",
        };
        write!(f, "memblock: {} does not fit into the list of {MAX_REGIONS} {name} regions", self.1)
    }
}

impl core::error::Error for ListFull {}

/// Regions sorted by address, disjoint, neighbours merged. Linux: `struct memblock_type`.
#[derive(Clone)]
pub(super) struct RegionList {
    name: ListName,
    len: usize,
    slots: [Region; MAX_REGIONS],
}

impl RegionList {
    pub(super) const fn new(name: ListName) -> RegionList {
        let free = Region { range: AddrRange::new(PhysAddr(0), PhysAddr(0)), node: None, flags: RegionFlags::empty() };
        RegionList { name, len: 0, slots: [free; MAX_REGIONS] }
    }

    pub(super) fn regions(&self) -> &[Region] {
        &self.slots[..self.len]
    }

    /// Index of the first region that ends above `addr`.
    pub(super) fn first_ending_above(&self, addr: PhysAddr) -> usize {
        self.regions().partition_point(|r| r.range.end <= addr)
    }

    /// Index of the first region that starts at or above `addr`.
    pub(super) fn first_starting_at(&self, addr: PhysAddr) -> usize {
        self.regions().partition_point(|r| r.range.start < addr)
    }

    /// The parts of `within` that no region covers, ascending.
    pub(super) fn gaps(&self, within: AddrRange) -> impl DoubleEndedIterator<Item = AddrRange> + '_ {
        let (first, last) = (self.first_ending_above(within.start), self.first_starting_at(within.end));
        let below = |i: usize| if i == 0 { AddrRange::ALL.start } else { self.regions()[i - 1].range.end };
        let above = |i: usize| self.regions().get(i).map_or(AddrRange::ALL.end, |r| r.range.start);
        (first..last + 1)
            .map(move |i| AddrRange::new(below(i), above(i)).intersect(within))
            .filter(|gap| !gap.is_empty())
    }

    fn first_gap(&self, within: AddrRange) -> Option<AddrRange> {
        self.gaps(within).next()
    }

    fn check_room(&self, pieces: usize, range: AddrRange) -> Result<(), ListFull> {
        if self.len + pieces > MAX_REGIONS { Err(ListFull(self.name, range)) } else { Ok(()) }
    }

    /// Adds what no region covers yet; covered parts keep their node and flags. Linux: `memblock_add_range`.
    pub(super) fn add(&mut self, new: Region) -> Result<(), ListFull> {
        self.check_room(self.gaps(new.range).count(), new.range)?;
        while let Some(gap) = self.first_gap(new.range) {
            self.insert(self.first_starting_at(gap.start), Region { range: gap, ..new });
        }
        self.merge();
        Ok(())
    }

    /// Takes `range` out. Linux: `memblock_remove_range`.
    pub(super) fn remove(&mut self, range: AddrRange) -> Result<(), ListFull> {
        let inside = self.isolate(range)?;
        self.slots.copy_within(inside.end..self.len, inside.start);
        self.len -= inside.len();
        Ok(())
    }

    /// Changes all regions of `range`.
    pub(super) fn update(&mut self, range: AddrRange, change: impl Fn(&mut Region)) -> Result<(), ListFull> {
        let inside = self.isolate(range)?;
        self.slots[inside].iter_mut().for_each(change);
        self.merge();
        Ok(())
    }

    /// Cuts the list at both ends of `range`, returns the indices of the regions between. Linux:
    /// `memblock_isolate_range`.
    pub(super) fn isolate(&mut self, range: AddrRange) -> Result<Range<usize>, ListFull> {
        if range.is_empty() {
            return Ok(0..0);
        }
        let cuts = [range.start, range.end];
        self.check_room(cuts.iter().filter(|addr| self.straddling(**addr).is_some()).count(), range)?;
        for addr in cuts {
            self.cut(addr);
        }
        Ok(self.first_starting_at(range.start)..self.first_starting_at(range.end))
    }

    /// Index of the region that has bytes on both sides of `addr`.
    fn straddling(&self, addr: PhysAddr) -> Option<usize> {
        let i = self.first_ending_above(addr);
        self.regions().get(i).filter(|r| r.range.start < addr).map(|_| i)
    }

    fn cut(&mut self, addr: PhysAddr) {
        if let Some(i) = self.straddling(addr) {
            let low = Region { range: AddrRange::new(self.slots[i].range.start, addr), ..self.slots[i] };
            self.slots[i].range.start = addr;
            self.insert(i, low);
        }
    }

    pub(super) fn insert(&mut self, at: usize, region: Region) {
        self.slots.copy_within(at..self.len, at + 1);
        self.slots[at] = region;
        self.len += 1;
    }

    /// Joins neighbours that touch and agree. Linux: `memblock_merge_regions`.
    fn merge(&mut self) {
        let mut last = 0;
        for i in 1..self.len {
            let region = self.slots[i];
            if region.continues(&self.slots[last]) {
                self.slots[last].range.end = region.range.end;
            } else {
                last += 1;
                self.slots[last] = region;
            }
        }
        self.len = self.len.min(last + 1);
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Region) -> bool) {
        let mut kept = 0;
        for i in 0..self.len {
            if keep(&self.slots[i]) {
                self.slots[kept] = self.slots[i];
                kept += 1;
            }
        }
        self.len = kept;
    }
}
