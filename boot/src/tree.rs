//! The device tree: from the address in x0 to a checked copy behind the image.
//!
//! [`peek`] tells whether there is a tree at all, before the MMU is on; [`open`] checks it and copies it. The copy's
//! buffer is the image's last part, and what the copy leaves of it stays RAM
//! ([`Tree::copy_end`]).
//!
//! Linux does more: it unflattens the tree into objects.

use crate::arch::mmu::{self, Kind};
use crate::boot_error::BootError;
use core::cell::UnsafeCell;
use core::slice;
use core::sync::atomic::{AtomicBool, Ordering};
use kernel::addr::PhysAddr;
use kernel::devicetree::DeviceTree;
use kernel::memblock::AddrRange;

/// Room for the copy. The largest tree of a real board that we know has 123 KiB.
const BUFFER_BYTES: usize = 256 << 10;

/// Memory for the copy.
#[repr(C, align(4096))]
struct Buffer(UnsafeCell<[u8; BUFFER_BYTES]>);

// SAFETY: `open` alone uses it, once, as `TAKEN` sees to.
unsafe impl Sync for Buffer {}

#[unsafe(link_section = ".noinit.last")]
static BUFFER: Buffer = Buffer(UnsafeCell::new([0; BUFFER_BYTES]));
static TAKEN: AtomicBool = AtomicBool::new(false);

/// A device tree, and where things are.
pub struct Tree {
    /// The tree, read from the copy.
    pub tree: DeviceTree<'static>,
    /// What the loader passed.
    pub blob: AddrRange,
    /// One past the last byte of the copy, hence of the image.
    pub copy_end: PhysAddr,
}

/// The size of the device tree at `address`, judged by its header. Also called before the MMU is on.
///
/// The header must be mapped, or the MMU off; addresses that cannot be a tree's are not read.
pub fn peek(address: u64) -> Result<usize, BootError> {
    if address == 0 || !address.is_multiple_of(8) || address >= mmu::END {
        return Err(BootError::NoTree(address));
    }
    // SAFETY: by the boot protocol a device tree is there. If it is not, the header's magic tells; if nothing is, the
    // read faults, and that is reported.
    let header = unsafe { slice::from_raw_parts(address as *const u8, DeviceTree::HEADER_BYTES) };
    DeviceTree::total_size(header).map_err(|error| BootError::NotATree { address, error })
}

/// Checks the device tree at `address` and copies it. Once.
pub fn open(address: u64) -> Result<Tree, BootError> {
    // The entry code mapped the tree if it looked like one. If not, its header has to be read again to say why.
    // SAFETY: read-only, and the machine stops if it is no tree.
    unsafe { mmu::map(address..address.saturating_add(1), Kind::ReadOnly)? };
    let bytes = peek(address)?;
    assert!(!TAKEN.swap(true, Ordering::Relaxed), "the device tree is opened once");
    // SAFETY: the entry code mapped these bytes read-only, so nobody writes them.
    let blob = unsafe { slice::from_raw_parts(address as *const u8, bytes) };
    // SAFETY: the flag above makes this the only reference.
    let buffer = unsafe { &mut *BUFFER.0.get() };
    let copy_bytes = DeviceTree::copy_size(blob).map_err(BootError::Tree)?;
    let copy_end = PhysAddr(buffer.as_ptr() as u64 + copy_bytes.min(BUFFER_BYTES) as u64);
    let tree = DeviceTree::load(blob, buffer).map_err(BootError::Tree)?;
    Ok(Tree { tree, blob: AddrRange::sized(PhysAddr(address), bytes as u64), copy_end })
}
