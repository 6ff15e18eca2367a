//! The device tree: what the machine is, read from a blob that nobody has checked.
//!
//! [`DeviceTree::load`] checks the blob and writes a copy that can be trusted; everything else reads that copy and
//! answers with plain values. Key types: [`DeviceTree`], [`MemoryBank`], [`ReservedMemory`], [`Cpu`], [`Device`],
//! [`Interrupt`], and the reasons [`DeviceTreeError`] and [`ConsoleError`]. Memblock, the zones' layout and the
//! drivers are built from these.
//!
//! ```text
//! blob -> header -> validate -> copy -+-> fdt crate: the root, /chosen, /aliases, /memreserve/
//!                   (structure)       `-> walk: memory, /reserved-memory, /cpus, devices with the way to the root
//! ```
//!
//! The `fdt` crate (0.1.5) panics on blobs that are not what it expects, even on the one that QEMU's raspi4b hands
//! over, so it sees only the copy, and of its calls only those that cannot panic on it: `find_node("/")`, `children`,
//! `property`, `memory_reservations`. One pass over QEMU's virt costs it 80,000 instructions and our walk 17,000, so it
//! makes one pass, when the tree is opened; every other question costs at most one or two of ours.
//!
//! Linux does more: overlays, `dma-ranges`, aliases as device numbers, and a `/proc/device-tree`.

mod cells;
mod chosen;
mod console;
mod cpus;
mod device;
mod error;
mod header;
mod interrupt;
mod memory;
mod reserved;
mod structure;
mod validate;
mod walk;

use core::ops::Range;

use fdt::Fdt;

use crate::addr::PhysAddr;

use cells::{CellSizes, text, word};
use chosen::Chosen;
use header::Header;
use structure::Blocks;

pub use console::{ConsoleError, UARTS};
pub use cpus::{Conduit, Cpu, EnableMethod};
pub use device::{Device, Region};
pub use error::{Block, DeviceTreeError};
pub use interrupt::{GIC, Interrupt, InterruptKind};
pub use memory::MemoryBank;
pub use reserved::{ReservedMemory, ReservedNode};

/// A device tree that has been checked.
#[derive(Clone, Debug)]
pub struct DeviceTree<'a> {
    fdt: Fdt<'a>,
    blocks: Blocks<'a>,
    root: CellSizes,
    chosen: Chosen<'a>,
}

impl<'a> DeviceTree<'a> {
    /// Bytes of a blob's header.
    pub const HEADER_BYTES: usize = 40;
    /// Bytes that a blob may have.
    pub const MAX_BYTES: usize = 2 << 20;
    /// Nodes on the way from the root to the deepest node, both counted.
    pub const MAX_DEPTH: usize = 32;
    /// Bytes that the boot arguments may have, with the closing NUL. Linux: `COMMAND_LINE_SIZE`.
    pub const MAX_BOOTARGS: usize = 2048;

    /// The blob's size, from its first [`DeviceTree::HEADER_BYTES`] bytes; checks magic, version and size.
    pub fn total_size(header: &[u8]) -> Result<usize, DeviceTreeError> {
        header::total_size(header)
    }

    /// Bytes of buffer that [`DeviceTree::load`] needs for this blob: its blocks without the padding between them.
    pub fn copy_size(blob: &[u8]) -> Result<usize, DeviceTreeError> {
        Header::read(blob).map(|header| header.copy_size())
    }

    /// Checks `blob`, which may be longer than its total size, copies it without NOPs into `copy`, and opens the copy.
    ///
    /// Refuses a blob that is broken anywhere, and one without memory. `/chosen`, `/aliases`, `/cpus` and the rest may
    /// be absent.
    pub fn load(blob: &[u8], copy: &'a mut [u8]) -> Result<DeviceTree<'a>, DeviceTreeError> {
        let (header, len) = validate::copy_checked(blob, copy)?;
        let copy = &copy[..len];
        let blocks = Blocks { structure: &copy[header.structure], strings: &copy[header.strings] };
        let fdt = Fdt::new(copy).map_err(|_| DeviceTreeError::NoHeader { len })?;
        let root = root_cells(&fdt);
        let tree = DeviceTree { fdt, blocks, root, chosen: Chosen::read(&fdt, root) };
        if tree.memory().next().is_none() {
            return Err(DeviceTreeError::NoMemory);
        }
        Ok(tree)
    }

    /// The machine's name; "" when absent.
    pub fn model(&self) -> &'a str {
        root_property(&self.fdt, "model").map_or("", text)
    }

    /// The boot arguments, up to the first NUL; "" when absent.
    pub fn bootargs(&self) -> &'a str {
        self.chosen.bootargs
    }

    /// Where the initial RAM disk is; `None` when absent or empty.
    pub fn initrd(&self) -> Option<Range<PhysAddr>> {
        self.chosen.initrd.clone()
    }

    /// The only memory that may be used, (base, size): `/chosen/linux,usable-memory-range`.
    pub fn usable_memory_range(&self) -> Option<(PhysAddr, u64)> {
        self.chosen.usable_memory_range
    }

    /// All banks of RAM in the tree's order, which is no order; they may overlap.
    pub fn memory(&self) -> impl Iterator<Item = MemoryBank> + use<'a> {
        memory::banks(self.blocks, self.root)
    }

    /// The (base, size) pairs of `/memreserve/`, up to the first of size 0.
    pub fn memreserve(&self) -> impl Iterator<Item = (PhysAddr, u64)> + use<'a> {
        let entries = self.fdt.memory_reservations().map(|entry| (entry.address() as u64, entry.size() as u64));
        entries.take_while(|(_, size)| *size != 0).map(|(base, size)| (PhysAddr(base), size))
    }

    /// `/reserved-memory`, when there is one.
    pub fn reserved_memory(&self) -> Option<ReservedMemory<'a>> {
        ReservedMemory::read(self.blocks, self.root)
    }

    /// The processors in the tree's order; none without `/cpus`.
    pub fn cpus(&self) -> impl Iterator<Item = Cpu> + use<'a> {
        cpus::cpus(self.blocks)
    }

    /// How PSCI firmware is called; `None` when there is none, or only version 0.1.
    pub fn psci(&self) -> Option<Conduit> {
        cpus::psci(self.blocks)
    }

    /// The (from, to, distance) triples of `numa-distance-map-v1`, unchecked; none when absent.
    pub fn distances(&self) -> impl Iterator<Item = (u32, u32, u32)> + use<'a> {
        memory::distances(self.blocks)
    }

    /// The console: the enabled device that `/chosen/stdout-path` names, whatever it is. Without that property (or
    /// without `/chosen`) the first enabled device of [`UARTS`].
    ///
    /// A `stdout-path` that leads nowhere is an error, not a guess; who wants to guess on asks `device(&UARTS)`.
    pub fn console(&self) -> Result<Device<'a>, ConsoleError<'a>> {
        console::console(self.blocks, self.chosen.stdout, self.chosen.serial0)
    }

    /// The first enabled device on enabled buses that lists one of `compatible`; an earlier entry of `compatible`
    /// wins over a later one.
    pub fn device(&self, compatible: &[&str]) -> Option<Device<'a>> {
        device::device(self.blocks, compatible)
    }
}

fn root_property<'a>(fdt: &Fdt<'a>, name: &str) -> Option<&'a [u8]> {
    fdt.find_node("/")?.property(name).map(|property| property.value)
}

/// How the root's children write addresses and sizes. As in Linux, a count that the root does not tell is 1.
fn root_cells(fdt: &Fdt<'_>) -> CellSizes {
    let cells = |name| root_property(fdt, name).and_then(word).unwrap_or(1) as usize;
    CellSizes { address: cells("#address-cells"), size: cells("#size-cells") }
}
