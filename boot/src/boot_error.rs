//! Why the machine cannot start: [`BootError`], one line each.
//!
//! Whatever stops the hand-over ends in `kernel_main`, which prints the line and stops the machine
//! ([`crate::panic::refuse`]).

use crate::arch::mmu::OutOfTables;
use core::fmt;
use kernel::devicetree::{ConsoleError, DeviceTreeError};
use kernel::early::EarlyError;
use kernel::memblock::{ListFull, MemblockError};

/// Why the machine cannot start.
#[derive(Clone, Copy, Debug)]
pub enum BootError {
    /// x0, which this was, cannot be the address of a device tree.
    NoTree(u64),
    /// What x0 points to is no device tree.
    NotATree {
        /// Where that is.
        address: u64,
        /// What is wrong with its header.
        error: DeviceTreeError,
    },
    /// The device tree is broken.
    Tree(DeviceTreeError),
    /// The tree names no console that we can drive.
    Console(ConsoleError<'static>),
    /// A device that we need is not in the tree.
    NoDevice(&'static str),
    /// A device has no registers that we can reach.
    NoRegisters {
        /// Its name in the tree.
        device: &'static str,
    },
    /// There are more interrupts than lines in our table; this one found no room.
    TooManyInterrupts(&'static str),
    /// RAM is in too many pieces for our page tables.
    Map(OutOfTables),
    /// The tree's memory and the image do not go together.
    Early(EarlyError),
    /// RAM is in too many pieces for memblock.
    Pieces(ListFull),
    /// No free range of RAM is large enough.
    TooSmall {
        /// What needs it.
        what: &'static str,
        /// How many bytes.
        needed: u64,
        /// Bytes that are free, not necessarily in one piece.
        free: u64,
    },
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootError::NoTree(address) => write!(f, "the loader passed no device tree (x0 = {address:#x})"),
            BootError::NotATree { address, error } => {
                write!(f, "the loader passed no device tree (x0 = {address:#x}): {error}")
            }
            BootError::Tree(error) => error.fmt(f),
            BootError::Console(error) => error.fmt(f),
            BootError::NoDevice(what) => write!(f, "device tree: no {what}"),
            BootError::NoRegisters { device } => write!(f, "device tree: {device} has no registers within reach"),
            BootError::TooManyInterrupts(name) => write!(f, "no room in the table of interrupts for {name}"),
            BootError::Map(error) => error.fmt(f),
            BootError::Early(error) => error.fmt(f),
            BootError::Pieces(error) => error.fmt(f),
            BootError::TooSmall { what, needed, free } => {
                write!(f, "too little RAM: {} KiB free, {what} needs {} KiB in one piece", free >> 10, needed >> 10)
            }
        }
    }
}

impl From<OutOfTables> for BootError {
    fn from(error: OutOfTables) -> BootError {
        BootError::Map(error)
    }
}

impl From<EarlyError> for BootError {
    fn from(error: EarlyError) -> BootError {
        BootError::Early(error)
    }
}

impl From<ListFull> for BootError {
    fn from(error: ListFull) -> BootError {
        BootError::Pieces(error)
    }
}

impl BootError {
    /// What memblock's refusal means for `what`, when `free` bytes are free.
    pub fn no_room(what: &'static str, error: MemblockError, free: u64) -> BootError {
        match error {
            MemblockError::ListFull(full) => BootError::Pieces(full),
            MemblockError::NoRoom { size, .. } => BootError::TooSmall { what, needed: size, free },
        }
    }
}
