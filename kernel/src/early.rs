//! From the device tree to memblock: what is RAM, what of it is used, what is taken.
//!
//! [`init`] is the list of steps, in the order that decides who wins where two of them meet. It leaves memblock ready for
//! `numa.rs`, which gives the regions their nodes, and answers with an [`Early`]. Linux: `setup_machine_fdt` and
//! `arm64_memblock_init`.
//!
//! Linux does more: it moves the linear map at random, and keeps memory for a crash kernel.

use core::fmt;

use crate::addr::{PAGE_SIZE, PhysAddr};
use crate::bootargs::{BootArgs, CmaArg};
use crate::devicetree::DeviceTree;
use crate::memblock::{AddrRange, ListFull, Memblock, MemblockError};
use crate::reserved_mem::{self, CMA_ALIGN, ReservedMem};

/// Physical addresses that arm64 reaches by default: 48 bits.
const PHYS_END: PhysAddr = PhysAddr(1 << 48);
/// Bytes that the linear map covers with 48-bit virtual addresses.
const LINEAR_REGION_SIZE: u64 = 1 << 47;
/// The linear map starts at a multiple of it: what an entry of the second level maps.
const MEMSTART_ALIGN: u64 = 1 << 30;

/// What the loader put into memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loaded {
    /// The image, from its first byte to the end of its bss and stacks.
    pub image: AddrRange,
    /// The device tree's blob.
    pub tree: AddrRange,
}

/// What became of the reservations.
#[derive(Clone, Debug, Default)]
pub struct Early<'t> {
    /// The initial RAM disk, if there is one in RAM.
    pub initrd: Option<AddrRange>,
    /// What the tree reserved.
    pub reserved: ReservedMem<'t>,
    /// The default area for contiguous allocations, reserved: the tree's, or the one of the boot argument `cma=`.
    pub cma: Option<AddrRange>,
}

/// Why there is no memory to boot with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EarlyError {
    /// No bank is as large as a page.
    NoMemory,
    /// The image runs where the tree leaves no RAM for it.
    ImageOutside(AddrRange),
    /// More regions than memblock can note.
    ListFull(ListFull),
}

impl fmt::Display for EarlyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EarlyError::NoMemory => f.write_str("device tree: no memory bank is as large as a page"),
            EarlyError::ImageOutside(image) => {
                write!(f, "device tree: the image {image} lies outside the memory that may be used")
            }
            EarlyError::ListFull(full) => full.fmt(f),
        }
    }
}

impl core::error::Error for EarlyError {}

impl From<ListFull> for EarlyError {
    fn from(full: ListFull) -> EarlyError {
        EarlyError::ListFull(full)
    }
}

/// Fills an empty memblock.
#[doc(alias = "arm64_memblock_init")]
pub fn init<'t>(
    memblock: &mut Memblock,
    tree: &'t DeviceTree<'_>,
    args: &BootArgs<'_>,
    loaded: Loaded,
) -> Result<Early<'t>, EarlyError> {
    memblock.set_movable_node(args.movable_node);
    add_banks(memblock, tree)?;
    check_image(memblock, loaded.image)?;
    let initrd = tree.initrd().map(|range| whole_pages(AddrRange::new(range.start, range.end)));
    let initrd = initrd.filter(|range| is_accessible(memblock, *range));
    memblock.reserve(loaded.tree)?;

    keep_usable_range(memblock, tree)?;
    keep_linear_map(memblock)?;
    apply_limit(memblock, args.mem, loaded.image)?;
    if let Some(initrd) = initrd {
        memblock.remove(initrd)?; // with whatever flags it had
        memblock.add(initrd)?; // even above the limit
        memblock.reserve(initrd)?;
    }
    memblock.reserve(loaded.image)?;
    let reserved = reserved_mem::scan(memblock, tree, args.quirks)?;
    let cma = match reserved.default_cma() {
        None => reserve_cma(memblock, args.cma)?,
        named => named,
    };
    check_image(memblock, loaded.image)?; // no usable range and no hole may take it away
    Ok(Early { initrd, reserved, cma })
}

fn check_image(memblock: &Memblock, image: AddrRange) -> Result<(), EarlyError> {
    if memblock.is_memory(image) { Ok(()) } else { Err(EarlyError::ImageOutside(image)) }
}

/// Adds the tree's banks, cut to whole pages. Linux: `early_init_dt_add_memory_arch`.
pub fn add_banks(memblock: &mut Memblock, tree: &DeviceTree<'_>) -> Result<(), EarlyError> {
    for bank in tree.memory() {
        let raw = AddrRange::sized(bank.base, bank.size);
        let pages = raw.pages_inside();
        if pages.is_empty() {
            log::warn!("Ignoring memory block {:#x} - {:#x}", raw.start.0, raw.end.0);
            continue;
        }
        let range = AddrRange::new(pages.start.addr(), pages.end.addr());
        memblock.add(range)?;
        if bank.hotplug {
            memblock.mark_hotplug(range)?;
        }
    }
    if memblock.memory().is_empty() { Err(EarlyError::NoMemory) } else { Ok(()) }
}

/// Linux believes the loader and makes RAM of the place; here it has to be RAM.
fn is_accessible(memblock: &Memblock, initrd: AddrRange) -> bool {
    let accessible = memblock.is_memory(initrd);
    if !accessible {
        log::warn!("initrd not fully accessible via the linear mapping -- please check your bootloader ...");
    }
    accessible
}

/// Linux: `fdt_enforce_memory_region`.
fn keep_usable_range(memblock: &mut Memblock, tree: &DeviceTree<'_>) -> Result<(), ListFull> {
    let Some((base, size)) = tree.usable_memory_range() else {
        return Ok(());
    };
    memblock.cap_memory_range(AddrRange::sized(base, size))
}

/// Removes what has too high an address, or lies too far above the lowest RAM. Linux removes the lowest RAM instead of
/// the image; here the image lies in the lowest RAM.
fn keep_linear_map(memblock: &mut Memblock) -> Result<(), ListFull> {
    memblock.remove(AddrRange::new(PHYS_END, AddrRange::ALL.end))?;
    let start = PhysAddr(memblock.dram().start.0 & !(MEMSTART_ALIGN - 1));
    memblock.remove(AddrRange::new(AddrRange::sized(start, LINEAR_REGION_SIZE).end, AddrRange::ALL.end))
}

/// `mem=`: the lowest bytes of RAM stay, and so does the image.
fn apply_limit(memblock: &mut Memblock, limit: Option<u64>, image: AddrRange) -> Result<(), ListFull> {
    let Some(limit) = limit.map(|bytes| bytes & !(PAGE_SIZE - 1)) else {
        return Ok(());
    };
    log::info!("Memory limited to {}MB", limit >> 20);
    memblock.limit_memory(limit)?;
    memblock.add(image)
}

/// The default area of `cma=`, below the limit of 32-bit devices. Linux: `dma_contiguous_reserve`.
fn reserve_cma(memblock: &mut Memblock, arg: Option<CmaArg>) -> Result<Option<AddrRange>, ListFull> {
    let Some(CmaArg { size, within }) = arg.filter(|arg| arg.size != 0) else {
        return Ok(None);
    };
    let size = size.checked_next_multiple_of(CMA_ALIGN).unwrap_or(size);
    let mib = size >> 20;
    let dma_end = PhysAddr((memblock.dram().start.0 & !0xffff_ffff) + (1 << 32));
    match memblock.alloc(size, CMA_ALIGN, AddrRange::new(within.start, within.end.min(dma_end)), None) {
        Ok(range) => {
            log::info!("cma: Reserved {mib} MiB at {}", range.start);
            Ok(Some(range))
        }
        Err(MemblockError::NoRoom { .. }) => {
            log::error!("cma: Failed to reserve {mib} MiB");
            Ok(None)
        }
        Err(MemblockError::ListFull(full)) => Err(full),
    }
}

fn whole_pages(range: AddrRange) -> AddrRange {
    let pages = range.pages_touched();
    AddrRange::new(pages.start.addr(), pages.end.addr())
}
