//! The structure block as [`Token`]s, and [`Blocks`], which joins it with the strings block.
//!
//! Reading a token never panics and never leaves the block; what may follow what is the checker's business.

use super::error::DeviceTreeError;

/// Tokens of the format as words.
pub(super) const BEGIN_NODE: u32 = 1;
pub(super) const END_NODE: u32 = 2;
pub(super) const PROPERTY: u32 = 3;
pub(super) const NOP: u32 = 4;
pub(super) const END: u32 = 9;

/// Bytes that a name may have; longer ones are refused, so that the work for one name is bounded.
pub(super) const MAX_NAME: usize = 255;

/// One token of the structure block with what belongs to it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Token<'a> {
    /// A node with this name begins.
    BeginNode(&'a [u8]),
    /// The current node ends.
    EndNode,
    /// A property of the current node.
    Property(Property<'a>),
    /// Nothing.
    Nop,
    /// The block ends.
    End,
}

/// A property as it stands in the structure block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Property<'a> {
    /// Where its name starts in the strings block.
    pub name_offset: usize,
    /// Its value.
    pub value: &'a [u8],
}

/// The token at byte `at`, a multiple of 4, and where the next one starts (never beyond the end of the block).
#[inline]
pub(super) fn token_at(structure: &[u8], at: usize) -> Result<(Token<'_>, usize), DeviceTreeError> {
    let (words, _) = structure.as_chunks::<4>();
    let words = words.get(at / 4..).unwrap_or(&[]);
    let ends = DeviceTreeError::UnexpectedEnd { at };
    let (token, len) = match *words {
        [token, ref rest @ ..] => match (u32::from_be_bytes(token), rest) {
            (BEGIN_NODE, rest) => {
                let name = node_name(rest.as_flattened()).ok_or(DeviceTreeError::BadName { at })?;
                (Token::BeginNode(name), 1 + name.len() / 4 + 1)
            }
            (PROPERTY, [len, name_offset, rest @ ..]) => {
                let len = u32::from_be_bytes(*len) as usize;
                let name_offset = u32::from_be_bytes(*name_offset) as usize;
                let value = rest.as_flattened().get(..len).ok_or(ends)?;
                (Token::Property(Property { name_offset, value }), 3 + len.div_ceil(4))
            }
            (END_NODE, _) => (Token::EndNode, 1),
            (NOP, _) => (Token::Nop, 1),
            (END, _) => (Token::End, 1),
            (PROPERTY, _) => return Err(ends),
            (token, _) => return Err(DeviceTreeError::BadToken { token, at }),
        },
        [] => return Err(ends),
    };
    Ok((token, at + 4 * len))
}

/// The bytes up to a NUL, at most [`MAX_NAME`].
fn node_name(rest: &[u8]) -> Option<&[u8]> {
    let rest = &rest[..rest.len().min(MAX_NAME + 1)];
    let len = rest.iter().position(|byte| *byte == 0)?;
    Some(&rest[..len])
}

/// The structure block and the strings block of a tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks<'a> {
    /// The nodes and properties.
    pub structure: &'a [u8],
    /// The names of the properties.
    pub strings: &'a [u8],
}

impl<'a> Blocks<'a> {
    /// The token at byte `at`, and where the next one starts; `None` where the blocks are at fault.
    pub(super) fn token(self, at: usize) -> Option<(Token<'a>, usize)> {
        token_at(self.structure, at).ok()
    }

    /// Whether `property` has this name. The NUL is looked for first: most names differ in length.
    pub(super) fn is_named(self, property: Property<'_>, name: &[u8]) -> bool {
        let end = property.name_offset + name.len();
        self.strings.get(end) == Some(&0) && self.strings.get(property.name_offset..end) == Some(name)
    }
}
