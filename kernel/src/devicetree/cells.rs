//! Reading a property's value: big-endian numbers, lists of numbers, text.
//!
//! Every reader answers `None`, or ends, where the bytes do; nothing here panics. Linux: `of_read_number`,
//! `of_property_read_string` and their family.

/// The big-endian word at byte `offset`.
pub(super) fn be32(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

/// A value that is exactly one word.
pub(super) fn word(value: &[u8]) -> Option<u32> {
    if value.len() == 4 { be32(value, 0) } else { None }
}

/// A value that is exactly one or two words.
pub(super) fn word_or_two(value: &[u8]) -> Option<u64> {
    if matches!(value.len(), 4 | 8) { Some(number(value)) } else { None }
}

/// The big-endian number in all of `cells`, of which the low 64 bits are kept.
///
/// Linux: `of_read_number`.
pub(super) fn number(cells: &[u8]) -> u64 {
    cells.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The text up to the first NUL; empty when it is not UTF-8.
pub(super) fn text(value: &[u8]) -> &str {
    let text = value.split(|byte| *byte == 0).next().unwrap_or(&[]);
    core::str::from_utf8(text).unwrap_or("")
}

/// The texts of a list as bytes, without the NULs between them and without empty ones.
pub(super) fn entries(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == 0).filter(|entry| !entry.is_empty())
}

/// How many words an address and a size have on one bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct CellSizes {
    /// Words of an address, 0 to 4.
    pub address: usize,
    /// Words of a size, 0 to 4.
    pub size: usize,
}

impl CellSizes {
    /// Bytes of one address and one size.
    pub(super) const fn pair_bytes(self) -> usize {
        4 * (self.address + self.size)
    }
}

/// The (address, size) pairs of a `reg`-like value; a partial pair at the end is left out, as in Linux.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pairs<'a> {
    rest: &'a [u8],
    cells: CellSizes,
}

impl<'a> Pairs<'a> {
    /// The pairs of `value`.
    pub(super) const fn new(value: &'a [u8], cells: CellSizes) -> Pairs<'a> {
        Pairs { rest: value, cells }
    }
}

impl Iterator for Pairs<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        if self.cells.pair_bytes() == 0 {
            return None;
        }
        let (pair, rest) = self.rest.split_at_checked(self.cells.pair_bytes())?;
        self.rest = rest;
        let (address, size) = pair.split_at_checked(4 * self.cells.address)?;
        Some((number(address), number(size)))
    }
}
