//! The boundaries between zone types, for the whole machine.

use core::fmt;

use crate::addr::{Order, PAGE_SHIFT, PAGE_SIZE, Pfn, PfnRange};
use crate::bootargs::BootArgs;
use crate::memblock::Memblock;
use crate::mmzone::{MAX_NR_ZONES, Profile, ZoneType};

const MIB: u64 = 1 << 20;
/// x86's DMA, from the days of 24 address lines.
const X86_DMA_BYTES: u64 = 16 * MIB;
/// What a 32-bit x86 kernel maps: 1 GiB less 128 MiB for vmalloc and fixed mappings.
const X86_LOWMEM_BYTES: u64 = 896 * MIB;
/// `highmem=` must leave so much below.
const LEAST_LOWMEM_BYTES: u64 = 64 * MIB;

/// Where each configured zone type lies, Movable apart, and which one Movable is cut from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ZoneLimits {
    types: &'static [ZoneType],
    ranges: [PfnRange; MAX_NR_ZONES],
    movable_zone: usize,
}

impl ZoneLimits {
    /// Puts the zones of the profile one after the other, from the lowest page of RAM to the highest.
    pub(super) fn new(memblock: &Memblock, args: &BootArgs<'_>) -> ZoneLimits {
        let ram = memblock.dram().pages_inside();
        let highmem_start = highmem_start(memblock, args, ram);
        let types = args.profile.zones(highmem_start.is_some());
        let lowmem_end = highmem_start.unwrap_or(ram.end);
        let mut ranges = [PfnRange::default(); MAX_NR_ZONES];
        let mut start = ram.start;
        for (range, kind) in ranges.iter_mut().zip(types) {
            let limit = match kind {
                ZoneType::Dma => dma_limit(args, ram.start).min(lowmem_end),
                ZoneType::Dma32 => dma32_limit(args, start, ram.start).min(lowmem_end),
                ZoneType::Normal => lowmem_end,
                ZoneType::HighMem => ram.end,
                ZoneType::Movable => continue,
            };
            *range = PfnRange::new(start, limit.min(ram.end).max(start));
            start = range.end;
        }
        let movable_zone = (0..types.len()).rev().find(|i| !ranges[*i].is_empty()).unwrap_or(0);
        ZoneLimits { types, ranges, movable_zone }
    }

    /// The configured zone types by index.
    pub fn types(&self) -> &'static [ZoneType] {
        self.types
    }

    /// Where the zone with this index lies on a machine of one node without Movable; Movable's own range is empty.
    #[doc(alias = "arch_zone_lowest_possible_pfn")]
    pub fn range(&self, zone: usize) -> PfnRange {
        self.ranges[zone]
    }

    /// Index of the zone that Movable is cut from: the highest one with pages.
    pub fn movable_zone(&self) -> usize {
        self.movable_zone
    }

    /// Whether the pages of the zone type have no address in the kernel: HighMem, and Movable where it is cut from it.
    #[doc(alias = "is_highmem_idx")]
    pub fn is_highmem(&self, kind: ZoneType) -> bool {
        match kind {
            ZoneType::Movable => self.types[self.movable_zone] == ZoneType::HighMem,
            kind => kind == ZoneType::HighMem,
        }
    }

    /// The first page that has no address in the kernel, if there is one.
    #[doc(alias = "max_low_pfn")]
    pub fn highmem_start(&self) -> Option<Pfn> {
        let zone = self.types.iter().position(|kind| *kind == ZoneType::HighMem)?;
        Some(self.ranges[zone]).filter(|range| !range.is_empty()).map(|range| range.start)
    }

    /// Where the zone lies on a node on which Movable starts at `movable`. Linux: `adjust_zone_range_for_zone_movable`.
    pub(super) fn on_node(&self, kind: ZoneType, movable: Option<Pfn>, node: PfnRange) -> PfnRange {
        let range = self.types.iter().position(|k| *k == kind).map_or(PfnRange::default(), |i| self.ranges[i]);
        match movable {
            None => range,
            Some(movable) if kind == ZoneType::Movable => {
                PfnRange::new(movable, node.end.min(self.ranges[self.movable_zone].end))
            }
            Some(movable) => PfnRange::new(range.start, range.end.min(movable)),
        }
    }
}

/// The end of the window of 2^bits bytes that holds the lowest RAM. Linux 5.5: `max_zone_phys`.
fn window_end(lowest: Pfn, bits: u32) -> Pfn {
    let window = 1 << (bits - PAGE_SHIFT);
    Pfn((lowest.0 & !(window - 1)) + window)
}

/// `bytes` above `start`, both ends at multiples of a maximal block.
fn end_of_size(start: Pfn, bytes: u64) -> Pfn {
    start.align_down(Order::MAX).add(bytes.div_ceil(PAGE_SIZE)).align_up(Order::MAX)
}

fn dma_limit(args: &BootArgs<'_>, lowest: Pfn) -> Pfn {
    match (args.dma, args.profile) {
        (Some(bytes), _) => end_of_size(lowest, bytes),
        (None, Profile::X86_32) => end_of_size(lowest, X86_DMA_BYTES),
        (None, _) => window_end(lowest, 30),
    }
}

fn dma32_limit(args: &BootArgs<'_>, start: Pfn, lowest: Pfn) -> Pfn {
    args.dma32.map_or(window_end(lowest, 32), |bytes| end_of_size(start, bytes))
}

/// The first page of HighMem, or `None` where there is no such zone. What the argument `highmem=` asks for is taken from
/// the top of RAM; on x86-32 what lies above the lowmem window is HighMem anyway.
fn highmem_start(memblock: &Memblock, args: &BootArgs<'_>, ram: PfnRange) -> Option<Pfn> {
    let natural = match args.profile {
        Profile::X86_32 => Some(end_of_size(ram.start, X86_LOWMEM_BYTES).min(ram.end)),
        Profile::Full => Some(ram.end),
        Profile::Arm64V50 | Profile::Arm64V55 => None,
    };
    let total = memblock.page_ranges().map(|(pages, _)| pages.nr_pages()).sum();
    match highmem_pages(args.highmem.unwrap_or(0), total) {
        Ok(0) => natural,
        Ok(pages) => {
            let asked = Pfn(ram.end.0 - pages).align_down(Order::MAX).max(ram.start);
            Some(natural.map_or(asked, |natural| natural.min(asked)))
        }
        Err(error) => {
            log::error!("{error}");
            natural
        }
    }
}

/// Pages of `highmem=bytes` on a machine with `total` pages. Linux: `lowmem_pfn_init` on x86-32.
pub(super) fn highmem_pages(bytes: u64, total: u64) -> Result<u64, HighmemError> {
    let pages = bytes >> PAGE_SHIFT;
    if pages != 0 && pages >= total {
        return Err(HighmemError::TooBig { pages, total });
    }
    if pages != 0 && (total - pages) * PAGE_SIZE < LEAST_LOWMEM_BYTES {
        return Err(HighmemError::LowmemTooSmall { pages });
    }
    Ok(pages)
}

/// Why `highmem=` is ignored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HighmemError {
    /// There is no more than so much memory.
    TooBig {
        /// Pages asked for.
        pages: u64,
        /// Pages there are.
        total: u64,
    },
    /// Less than 64 MiB would be left.
    LowmemTooSmall {
        /// Pages asked for.
        pages: u64,
    },
}

impl fmt::Display for HighmemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |pages: u64| pages * PAGE_SIZE / MIB;
        match *self {
            HighmemError::TooBig { pages, total } => {
                write!(f, "highmem size ({}MB) is bigger than pages available ({}MB)!", mib(pages), mib(total))
            }
            HighmemError::LowmemTooSmall { pages } => {
                write!(f, "highmem size ({}MB) results in <64MB lowmem, ignoring it!", mib(pages))
            }
        }
    }
}

impl core::error::Error for HighmemError {}
