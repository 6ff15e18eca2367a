//! Memory that the device tree reserves: `/memreserve/` entries and the children of `/reserved-memory`; and the words that
//! parked processors poll, where it forgets them.
//!
//! [`scan`] takes the ranges with a fixed place first, so that those which only ask for a size land beside them, not on
//! them. Answer: a [`ReservedMem`], the table of what belongs to whom. Linux: `early_init_fdt_scan_reserved_mem` in
//! `drivers/of/fdt.c`, and `drivers/of/of_reserved_mem.c`.
//!
//! Linux does more: it hands regions to drivers (`memory-region`) and has allocators of its own in some of them.

use core::fmt;

use crate::addr::{MAX_ORDER_NR_PAGES, PAGE_SIZE, PhysAddr};
use crate::devicetree::{DeviceTree, EnableMethod, ReservedNode};
use crate::memblock::{AddrRange, ListFull, Memblock, MemblockError};
use crate::quirks::{Quirk, Quirks};

/// Nodes remembered at most. Linux: `MAX_RESERVED_REGIONS`.
pub const MAX_RESERVED_REGIONS: usize = 32;
/// Contiguous areas start and end at multiples of it: a maximal block, 4 MiB.
pub const CMA_ALIGN: u64 = MAX_ORDER_NR_PAGES * PAGE_SIZE;
/// A cache line: the alignment of a region that asks for none.
const DEFAULT_ALIGN: u64 = 64;

/// A child of `/reserved-memory` and where it is. Linux: `struct reserved_mem`.
#[derive(Clone, Copy, Debug)]
pub struct ReservedRegion<'t> {
    /// What the tree says of it.
    pub node: ReservedNode<'t>,
    /// Its (first) range; empty when it found no place.
    pub range: AddrRange,
    /// Whether it is an area for contiguous allocations, lent to movable pages meanwhile.
    pub cma: bool,
}

/// The children of `/reserved-memory`, by address.
#[derive(Clone, Debug, Default)]
pub struct ReservedMem<'t> {
    regions: [Option<ReservedRegion<'t>>; MAX_RESERVED_REGIONS],
    len: usize,
}

impl<'t> ReservedMem<'t> {
    /// The regions; those without a place first, then by address.
    pub fn regions(&self) -> impl Iterator<Item = &ReservedRegion<'t>> {
        self.regions[..self.len].iter().flatten()
    }

    /// The default area for contiguous allocations, if the tree names one.
    pub fn default_cma(&self) -> Option<AddrRange> {
        self.regions().find(|region| region.cma && region.node.linux_cma_default).map(|region| region.range)
    }

    /// Linux: `fdt_reserved_mem_save_node`, and the sort before the overlap check.
    fn save(&mut self, node: ReservedNode<'t>, range: AddrRange) {
        if self.len == MAX_RESERVED_REGIONS {
            log::error!("OF: reserved mem: not enough space all defined regions.");
            return;
        }
        let at = self.regions().take_while(|region| region.range.start <= range.start).count();
        self.regions.copy_within(at..self.len, at + 1);
        self.regions[at] = Some(ReservedRegion { node, range, cma: false });
        self.len += 1;
    }
}

/// Reserves everything that the tree wants reserved.
pub fn scan<'t>(
    memblock: &mut Memblock,
    tree: &'t DeviceTree<'_>,
    quirks: Quirks,
) -> Result<ReservedMem<'t>, ListFull> {
    for (base, size) in tree.memreserve() {
        memblock.reserve(AddrRange::sized(base, size))?;
    }
    keep_parked_cpus(memblock, tree)?;
    let mut table = ReservedMem::default();
    let Some(parent) = tree.reserved_memory() else {
        return Ok(table);
    };
    if !parent.supported_format {
        log::error!("OF: fdt: Reserved memory: unsupported node format, ignoring");
        return Ok(table);
    }
    for node in parent.children().filter(|node| node.enabled) {
        if node.has_reg {
            reserve_fixed(memblock, &mut table, node, quirks)?;
        } else if node.size.is_some() || node.malformed == Some("size") {
            table.save(node, AddrRange::default());
        }
    }
    report_overlaps(&table);
    for region in table.regions[..table.len].iter_mut().flatten() {
        if region.range.is_empty() {
            region.range = reserve_anywhere(memblock, &region.node, quirks)?;
        }
        region.cma = is_contiguous_area(region);
    }
    Ok(table)
}

/// Reserves the page of every word that a parked processor polls, which the tree has to have reserved: with the word lies
/// the code that polls it, and a processor whose code is overwritten runs whatever stands there. Linux trusts the tree.
fn keep_parked_cpus(memblock: &mut Memblock, tree: &DeviceTree<'_>) -> Result<(), ListFull> {
    for cpu in tree.cpus() {
        let EnableMethod::SpinTable { release } = cpu.enable else { continue };
        let page = AddrRange::sized(PhysAddr(release.0 & !(PAGE_SIZE - 1)), PAGE_SIZE);
        if memblock.is_memory(page) && !memblock.is_reserved(page) {
            log::warn!("CPU {:#x} polls {release}, which no /memreserve/ keeps: reserving its page", cpu.mpidr);
            memblock.reserve(page)?;
        }
    }
    Ok(())
}

/// A child with `reg`: every pair is reserved, the first is remembered. Linux: `__reserved_mem_reserve_reg`.
fn reserve_fixed<'t>(
    memblock: &mut Memblock,
    table: &mut ReservedMem<'t>,
    node: ReservedNode<'t>,
    quirks: Quirks,
) -> Result<(), ListFull> {
    if node.malformed == Some("reg") {
        log::error!("OF: fdt: Reserved memory: invalid reg property in '{}', skipping node.", node.name);
        return Ok(());
    }
    for (i, (base, size)) in node.regs().enumerate() {
        let range = AddrRange::sized(base, size);
        let place = Place { node: &node, range };
        if size == 0 {
            log::info!("OF: fdt: Reserved memory: failed to reserve memory for {place}");
        } else if node.no_map {
            keep_unmapped(memblock, range, quirks)?;
            log::debug!("OF: fdt: Reserved memory: reserved region for {place}");
        } else {
            memblock.reserve(range)?;
            log::debug!("OF: fdt: Reserved memory: reserved region for {place}");
        }
        if i == 0 {
            table.save(node, range);
        }
    }
    Ok(())
}

/// Makes a hole of the range, or marks it: quirk Q6.
fn keep_unmapped(memblock: &mut Memblock, range: AddrRange, quirks: Quirks) -> Result<(), ListFull> {
    if quirks.switched(Quirk::Nomap) { memblock.mark_nomap(range) } else { memblock.remove(range) }
}

/// A child that only has a size; empty when it gets nothing. Linux: `__reserved_mem_alloc_size`.
fn reserve_anywhere(memblock: &mut Memblock, node: &ReservedNode<'_>, quirks: Quirks) -> Result<AddrRange, ListFull> {
    let nothing = Ok(AddrRange::default());
    let align = node.alignment.filter(|align| *align != 0).unwrap_or(DEFAULT_ALIGN);
    match (node.malformed, node.size) {
        (Some("alloc-ranges"), _) => {
            log::error!("OF: reserved mem: invalid alloc-ranges property in '{}', skipping node.", node.name);
            return nothing;
        }
        (Some(property), _) => {
            log::error!("OF: reserved mem: invalid {property} property in '{}' node.", node.name);
            return nothing;
        }
        _ if !align.is_power_of_two() => {
            log::error!("OF: reserved mem: invalid alignment property in '{}' node.", node.name);
            return nothing;
        }
        // A `reg` of size 0 and no size: it reserves nothing, and says so by itself.
        (None, None) => return nothing,
        (None, Some(_)) => {}
    }
    let (size, align) = (node.size.unwrap_or(0), if wants_cma(node) { align.max(CMA_ALIGN) } else { align });
    let Some(range) = find_place(memblock, node, (size, align))? else {
        log::info!("OF: reserved mem: failed to allocate memory for node '{}'", node.name);
        return nothing;
    };
    log::debug!("OF: reserved mem: allocated memory for {}", Place { node, range });
    if node.no_map {
        keep_unmapped(memblock, range, quirks)?;
    }
    Ok(range)
}

/// Searches every range that the child allows in turn, or all memory.
fn find_place(
    memblock: &mut Memblock,
    node: &ReservedNode<'_>,
    wanted: (u64, u64),
) -> Result<Option<AddrRange>, ListFull> {
    if !node.has_alloc_ranges {
        return alloc_in(memblock, wanted, AddrRange::ALL);
    }
    for (start, len) in node.alloc_ranges() {
        let place = alloc_in(memblock, wanted, AddrRange::sized(start, len))?;
        if place.is_some() {
            return Ok(place);
        }
    }
    Ok(None)
}

/// Linux searches the highest place below the end and gives it back if that lies below the start: the same.
fn alloc_in(memblock: &mut Memblock, wanted: (u64, u64), within: AddrRange) -> Result<Option<AddrRange>, ListFull> {
    let (size, align) = wanted;
    match memblock.alloc(size, align, within, None) {
        Ok(range) => Ok(Some(range)),
        Err(MemblockError::NoRoom { .. }) => Ok(None),
        Err(MemblockError::ListFull(full)) => Err(full),
    }
}

fn wants_cma(node: &ReservedNode<'_>) -> bool {
    node.shared_dma_pool && node.reusable && !node.no_map
}

/// Linux: `rmem_cma_setup`.
fn is_contiguous_area(region: &ReservedRegion<'_>) -> bool {
    let range = region.range;
    if !wants_cma(&region.node) || range.is_empty() {
        return false;
    }
    let aligned = range.start.0.is_multiple_of(CMA_ALIGN) && range.size().is_multiple_of(CMA_ALIGN);
    if aligned {
        log::info!("Reserved memory: created CMA memory pool at {}, size {} MiB", range.start, range.size() >> 20);
    } else {
        log::error!("Reserved memory: incorrect alignment of CMA region");
    }
    aligned
}

/// Compares each with the next by address. Linux: `__rmem_check_for_overlap`.
fn report_overlaps(table: &ReservedMem<'_>) {
    let placed = || table.regions().filter(|region| region.range.start != PhysAddr(0));
    for (a, b) in placed().zip(placed().skip(1)).filter(|(a, b)| a.range.end > b.range.start) {
        let (first, second) = (Extent(a), Extent(b));
        log::error!("OF: reserved mem: OVERLAP DETECTED!\n{first} overlaps with {second}");
    }
}

/// `name (base--end)`.
struct Extent<'a, 't>(&'a ReservedRegion<'t>);

impl fmt::Display for Extent<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}--{})", self.0.node.name, self.0.range.start, self.0.range.end)
    }
}

/// `node 'name': base 0x..., size n MiB`.
struct Place<'a, 't> {
    node: &'a ReservedNode<'t>,
    range: AddrRange,
}

impl fmt::Display for Place<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node '{}': base {}, size {} MiB", self.node.name, self.range.start, self.range.size() >> 20)
    }
}
