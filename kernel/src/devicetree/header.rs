//! The 40 bytes at the start of a blob, and where its three blocks lie.
//!
//! [`Header::read`] believes nothing: after it, every range lies inside the blob. Linux: `fdt_check_header` of libfdt.

use core::ops::Range;

use super::DeviceTree;
use super::cells::be32;
use super::error::{Block, DeviceTreeError};

/// The first word of every blob.
const MAGIC: u32 = 0xd00d_feed;
/// The only version of the format that is in use.
const VERSION: u32 = 17;
/// Bytes of one entry of the reservation map.
const RESERVATION_BYTES: usize = 16;

/// Where things are in a blob, in bytes from its start; all inside it.
#[derive(Clone, Debug)]
pub(super) struct Header {
    /// The `/memreserve/` entries with the closing entry of zeros.
    pub reservations: Range<usize>,
    /// The nodes and properties.
    pub structure: Range<usize>,
    /// The names of the properties.
    pub strings: Range<usize>,
}

impl Header {
    /// Reads the header of `blob`, which may be longer than its total size.
    pub(super) fn read(blob: &[u8]) -> Result<Header, DeviceTreeError> {
        let size = total_size(blob)?;
        let len = blob.len();
        let blob = blob.get(..size).ok_or(DeviceTreeError::Truncated { size, len })?;
        let structure = block(blob, Block::Structure, field(blob, 2), field(blob, 9), 4)?;
        let strings = block(blob, Block::Strings, field(blob, 3), field(blob, 8), 1)?;
        let reservations = block(blob, Block::Reservations, field(blob, 4), 0, 8)?.start;
        let entries = blob[reservations..].chunks_exact(RESERVATION_BYTES);
        let used = entries.take_while(|entry| entry.iter().any(|byte| *byte != 0)).count();
        let end = reservations + (used + 1) * RESERVATION_BYTES;
        if end > size {
            return Err(DeviceTreeError::EndlessReservations);
        }
        Ok(Header { reservations: reservations..end, structure, strings })
    }

    /// Bytes of a copy in which the blocks follow the header without padding.
    pub(super) fn copy_size(&self) -> usize {
        DeviceTree::HEADER_BYTES + self.reservations.len() + self.structure.len() + self.strings.len()
    }
}

/// The total size that the first [`DeviceTree::HEADER_BYTES`] of a blob tell.
pub(super) fn total_size(header: &[u8]) -> Result<usize, DeviceTreeError> {
    if header.len() < DeviceTree::HEADER_BYTES {
        return Err(DeviceTreeError::NoHeader { len: header.len() });
    }
    if field(header, 0) != MAGIC {
        return Err(DeviceTreeError::BadMagic { found: field(header, 0) });
    }
    let (version, last_compatible) = (field(header, 5), field(header, 6));
    if version < VERSION || last_compatible > VERSION {
        return Err(DeviceTreeError::BadVersion { version, last_compatible });
    }
    let size = field(header, 1);
    if !(DeviceTree::HEADER_BYTES..=DeviceTree::MAX_BYTES).contains(&(size as usize)) {
        return Err(DeviceTreeError::BadTotalSize { size });
    }
    Ok(size as usize)
}

/// Writes the header of a blob of `copy.len()` bytes whose blocks lie as `header` says.
pub(super) fn write(copy: &mut [u8], header: &Header) {
    let fields = [
        MAGIC as usize,
        copy.len(),
        header.structure.start,
        header.strings.start,
        header.reservations.start,
        VERSION as usize,
        VERSION as usize - 1,
        0,
        header.strings.len(),
        header.structure.len(),
    ];
    for (word, field) in copy.chunks_exact_mut(4).zip(fields) {
        word.copy_from_slice(&(field as u32).to_be_bytes());
    }
}

/// Word `index` of the header; 0 beyond the end.
fn field(header: &[u8], index: usize) -> u32 {
    be32(header, 4 * index).unwrap_or(0)
}

/// The range of one block, if it is aligned and lies behind the header and inside the blob.
fn block(blob: &[u8], block: Block, offset: u32, size: u32, align: usize) -> Result<Range<usize>, DeviceTreeError> {
    let (start, end) = (offset as usize, offset as usize + size as usize);
    if !start.is_multiple_of(align) || start < DeviceTree::HEADER_BYTES || end > blob.len() {
        return Err(DeviceTreeError::BadBlock { block, offset, size });
    }
    Ok(start..end)
}
