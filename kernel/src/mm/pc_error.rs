//! Why something about pages of files, tasks or handles could not be done.
//!
//! Key type: [`PcError`], which everything that a person can do to them returns.

use core::fmt;

use super::page_alloc::AllocError;
use super::sparse::Place;
use super::users::{MAX_FILES, MAX_INDEX};
use crate::gfp::Gfp;

/// Why something about pages of files, tasks or handles could not be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PcError {
    /// Files have small numbers.
    FileNumber(u32),
    /// The page is beyond what a file or a task's memory may span.
    Index(u64),
    /// There is no room for another record of this kind.
    TableFull(&'static str, usize),
    /// The allocator said no.
    NoMemory(AllocError),
    /// The page of the file is not in the cache.
    NotCached(Place),
    /// The task does not map the page of the file, or not any more.
    NotMapped(Place),
    /// Somebody has locked the page of the file by hand.
    Locked(Place),
    /// Nobody has locked the page of the file by hand.
    NotLocked(Place),
    /// Nobody has pinned the page.
    NotPinned,
    /// The page is pinned.
    Pinned,
    /// The task has no page at this virtual page number.
    NoPage(u32),
    /// There is no such handle.
    NoHandle(u32),
    /// A handle's page must be movable.
    NotMovable(Gfp),
    /// There is swap space already, so many slots, in use.
    SwapInUse(u64),
    /// Somebody is giving the swap space up.
    SwapClosing,
    /// Swap space of so many slots cannot be given up, for in memory there is room for so many pages only.
    NoRoomToUnuse(u64, u64),
    /// The work was called off, or may not wait here.
    Interrupted,
}

impl fmt::Display for PcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PcError::FileNumber(file) => write!(f, "files are numbered 0 to {}, there is no {file}", MAX_FILES - 1),
            PcError::Index(index) => write!(f, "pages are numbered 0 to {}, there is no {index}", MAX_INDEX - 1),
            PcError::TableFull(table, entries) => write!(f, "the table of {table} is full: it has {entries} entries"),
            PcError::NoMemory(error) => error.fmt(f),
            PcError::NotCached(Place { object, index }) => {
                write!(f, "page {index} of file {object} is not in the cache; read it first")
            }
            PcError::NotMapped(Place { object, index }) => {
                write!(f, "the task does not map page {index} of file {object} (any more); map it")
            }
            PcError::Locked(Place { object, index }) => write!(f, "page {index} of file {object} is locked already"),
            PcError::NotLocked(Place { object, index }) => write!(f, "page {index} of file {object} was not locked"),
            PcError::NotPinned => write!(f, "the page was not pinned"),
            PcError::Pinned => write!(f, "the page is pinned; unpin it first"),
            PcError::NoPage(vpn) => write!(f, "the task has no anonymous page {vpn}"),
            PcError::NoHandle(number) => write!(f, "there is no handle {number}"),
            PcError::NotMovable(gfp) => write!(f, "a handle's page can move: the mask needs __GFP_MOVABLE, not {gfp}"),
            PcError::SwapInUse(used) => write!(f, "{used} slots of the swap space are in use; swapoff comes first"),
            PcError::SwapClosing => write!(f, "somebody is giving the swap space up already"),
            PcError::NoRoomToUnuse(slots, room) => {
                write!(
                    f,
                    "there is room for {room} pages in memory, and the swap space has {slots} slots; free something"
                )
            }
            PcError::Interrupted => write!(f, "interrupted"),
        }
    }
}

impl From<AllocError> for PcError {
    fn from(error: AllocError) -> PcError {
        PcError::NoMemory(error)
    }
}
