//! Why a device tree is refused: [`DeviceTreeError`], one clear line each.
//!
//! Raised by the header reader and the checker beside this file; whoever boots prints the line and stops.
//!
//! Linux does more: it boots on with what it could read of a broken tree, and may hang without a word.

use core::fmt;

use super::DeviceTree;

/// One of the three blocks that the header points at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Block {
    /// The nodes and properties.
    Structure,
    /// The names of the properties.
    Strings,
    /// The `/memreserve/` entries.
    Reservations,
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Block::Structure => "structure block",
            Block::Strings => "strings block",
            Block::Reservations => "reservation map",
        })
    }
}

/// Why a device tree is refused. Every `at` counts bytes from the start of the structure block, if it
/// does not say otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceTreeError {
    /// Fewer bytes than a header has.
    NoHeader {
        /// Bytes that there are.
        len: usize,
    },
    /// The first word is not the magic number.
    BadMagic {
        /// The first word.
        found: u32,
    },
    /// Version 17 cannot be read from this blob.
    BadVersion {
        /// The header's version.
        version: u32,
        /// The oldest version that the blob says it is compatible with.
        last_compatible: u32,
    },
    /// The total size is smaller than a header or larger than [`DeviceTree::MAX_BYTES`].
    BadTotalSize {
        /// The header's total size.
        size: u32,
    },
    /// The blob ends before its total size.
    Truncated {
        /// The header's total size.
        size: usize,
        /// Bytes that there are.
        len: usize,
    },
    /// A block is misaligned or not inside the blob.
    BadBlock {
        /// Which block.
        block: Block,
        /// Its offset in the blob.
        offset: u32,
        /// Its size; 0 for the reservation map, whose size the header does not tell.
        size: u32,
    },
    /// The reservation map has no closing entry of zeros.
    EndlessReservations,
    /// A word that is no token of the format.
    BadToken {
        /// The word.
        token: u32,
        /// Where it stands.
        at: usize,
    },
    /// The structure block ends in the middle of something.
    UnexpectedEnd {
        /// Where the unfinished thing starts.
        at: usize,
    },
    /// A node's name that is empty, too long, unterminated, or has a character that no name has; or a property whose
    /// name is empty or outside the strings block.
    BadName {
        /// Where the node or the property starts.
        at: usize,
    },
    /// A name in the strings block that is too long, unterminated, or has a character that no name has.
    BadString {
        /// Where in the strings block.
        at: usize,
    },
    /// A token in the wrong place: a property after a child node, a second root, an end without a beginning.
    Misplaced {
        /// The token.
        token: u32,
        /// Where it stands.
        at: usize,
    },
    /// Nodes nested deeper than [`DeviceTree::MAX_DEPTH`].
    TooDeep {
        /// Where the node starts that is too deep.
        at: usize,
    },
    /// `#address-cells` or `#size-cells` is no number that an address can have (at most 4; for the root 1 or 2).
    BadCells {
        /// Where the property starts.
        at: usize,
    },
    /// A property that has to be text is not: not UTF-8, or without its closing NUL.
    BadText {
        /// Where the property starts.
        at: usize,
    },
    /// The boot arguments are longer than [`DeviceTree::MAX_BOOTARGS`].
    LongBootArgs {
        /// Bytes of the property, with the closing NUL.
        len: usize,
    },
    /// No enabled memory node with a size above 0.
    NoMemory,
    /// The buffer for the copy is smaller than [`DeviceTree::copy_size`] says.
    SmallBuffer {
        /// Bytes that the copy needs.
        needed: usize,
        /// Bytes that there are.
        len: usize,
    },
}

impl fmt::Display for DeviceTreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("device tree: ")?;
        match *self {
            Self::NoHeader { len } => {
                write!(f, "{len} bytes are too few for the header of {}", DeviceTree::HEADER_BYTES)
            }
            Self::BadMagic { found } => write!(f, "bad magic {found:#010x}, expected 0xd00dfeed"),
            Self::BadVersion { version, last_compatible } => {
                write!(f, "version {version} (compatible down to {last_compatible}) cannot be read as version 17")
            }
            Self::BadTotalSize { size } => write!(
                f,
                "total size {size:#x} is not between {:#x} and {:#x} bytes",
                DeviceTree::HEADER_BYTES,
                DeviceTree::MAX_BYTES
            ),
            Self::Truncated { size, len } => write!(f, "total size {size:#x}, but the blob ends after {len:#x} bytes"),
            Self::BadBlock { block, offset, size } => {
                write!(f, "the {block} at offset {offset:#x}, size {size:#x}, is misaligned or outside the blob")
            }
            Self::EndlessReservations => write!(f, "the {} has no end", Block::Reservations),
            Self::BadToken { token, at } => write!(f, "bad token {token:#x} at {at:#x} in the structure block"),
            Self::UnexpectedEnd { at } => write!(f, "the structure block ends inside what starts at {at:#x}"),
            Self::BadName { at } => write!(f, "bad name at {at:#x} in the structure block"),
            Self::BadString { at } => write!(f, "bad name at {at:#x} in the strings block"),
            Self::Misplaced { token, at } => write!(f, "misplaced token {token:#x} at {at:#x} in the structure block"),
            Self::TooDeep { at } => {
                write!(f, "nodes nested deeper than {} at {at:#x} in the structure block", DeviceTree::MAX_DEPTH)
            }
            Self::BadCells { at } => {
                write!(
                    f,
                    "bad #address-cells or #size-cells at {at:#x} in the structure block (at most 4, root 1 or 2)"
                )
            }
            Self::BadText { at } => {
                write!(f, "the property at {at:#x} in the structure block is not NUL-terminated text")
            }
            Self::LongBootArgs { len } => {
                write!(f, "boot arguments of {len} bytes, {} are allowed", DeviceTree::MAX_BOOTARGS)
            }
            Self::NoMemory => f.write_str("no memory node with a size above 0"),
            Self::SmallBuffer { needed, len } => write!(f, "the copy needs {needed:#x} bytes, the buffer has {len:#x}"),
        }
    }
}

impl core::error::Error for DeviceTreeError {}
