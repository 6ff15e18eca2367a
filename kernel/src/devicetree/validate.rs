//! The checker: reads a blob once, front to back, and writes a copy without NOPs that can be trusted.
//!
//! A tree is refused at its first fault, with the place. The work is linear in the blob, without recursion. What it
//! promises of the copy is what the `fdt` crate (0.1.5) takes for granted: blocks inside the blob, known tokens, every
//! node closed, properties before children, names that are printable ASCII without `/` and ended by a NUL, cell counts
//! of one word and at most 4, text that is text. NOPs go because the crate stumbles over them, and QEMU's raspi4b
//! blanks whole nodes with them.
//!
//! Linux does more: libfdt checks each step as it goes, so a fault that nobody meets harms nobody.

use super::DeviceTree;
use super::cells::word;
use super::error::DeviceTreeError;
use super::header::{self, Header};
use super::structure::{self, Blocks, MAX_NAME, Property, Token};

/// Properties that are text or lists of texts.
const TEXTS: [&[u8]; 9] = [
    b"bootargs",
    b"compatible",
    b"device_type",
    b"enable-method",
    b"linux,stdout-path",
    b"method",
    b"model",
    b"status",
    b"stdout-path",
];

/// Checks `blob`, writes the copy to the front of `copy`, and returns where its blocks are and its length.
pub(super) fn copy_checked(blob: &[u8], copy: &mut [u8]) -> Result<(Header, usize), DeviceTreeError> {
    let from = Header::read(blob)?;
    let (needed, len) = (from.copy_size(), copy.len());
    if needed > len {
        return Err(DeviceTreeError::SmallBuffer { needed, len });
    }
    let reservations = DeviceTree::HEADER_BYTES..DeviceTree::HEADER_BYTES + from.reservations.len();
    copy[reservations.clone()].copy_from_slice(&blob[from.reservations]);

    let blocks = Blocks { structure: &blob[from.structure], strings: &blob[from.strings] };
    check_strings(blocks.strings)?;
    let mut check = CheckControl { blocks, depth: 0, in_properties: false, root_seen: false };
    let written = check.structure(&mut copy[reservations.end..])?;

    let structure = reservations.end..reservations.end + written;
    let strings = structure.end..structure.end + blocks.strings.len();
    copy[strings.clone()].copy_from_slice(blocks.strings);
    let to = Header { reservations, structure, strings };
    let total = to.copy_size();
    header::write(&mut copy[..total], &to);
    Ok((to, total))
}

/// Every name in the strings block, so that any offset into it is the start of a sound one, if perhaps an empty one.
fn check_strings(strings: &[u8]) -> Result<(), DeviceTreeError> {
    let mut start = 0;
    for (at, byte) in strings.iter().enumerate() {
        if *byte == 0 {
            start = at + 1;
        } else if !is_name_byte(*byte) || at - start >= MAX_NAME {
            return Err(DeviceTreeError::BadString { at });
        }
    }
    if start == strings.len() { Ok(()) } else { Err(DeviceTreeError::BadString { at: start }) }
}

/// One check of a structure block: what is read first, what is known so far after it.
struct CheckControl<'b> {
    blocks: Blocks<'b>,
    /// Nodes open.
    depth: usize,
    /// Whether a property may come: since the last token that began a node there were only properties.
    in_properties: bool,
    /// Whether the root has begun.
    root_seen: bool,
}

impl CheckControl<'_> {
    /// Checks the whole block, copies it without its NOPs, and returns the bytes written.
    fn structure(&mut self, copy: &mut [u8]) -> Result<usize, DeviceTreeError> {
        let structure = self.blocks.structure;
        let (mut at, mut uncopied, mut written) = (0, 0, 0);
        loop {
            let (token, next) = structure::token_at(structure, at)?;
            match token {
                Token::BeginNode(name) => self.begin_node(name, at)?,
                Token::EndNode => self.end_node(at)?,
                Token::Property(property) => self.property(property, at)?,
                Token::Nop => {}
                Token::End => self.end(at)?,
            }
            if matches!(token, Token::Nop | Token::End) {
                let run = &structure[uncopied..if matches!(token, Token::End) { next } else { at }];
                copy[written..][..run.len()].copy_from_slice(run);
                written += run.len();
                uncopied = next;
            }
            if matches!(token, Token::End) {
                return Ok(written);
            }
            at = next;
        }
    }

    fn begin_node(&mut self, name: &[u8], at: usize) -> Result<(), DeviceTreeError> {
        let is_root = self.depth == 0;
        if is_root && self.root_seen {
            return Err(DeviceTreeError::Misplaced { token: structure::BEGIN_NODE, at });
        }
        if name.is_empty() != is_root || !name.iter().all(|byte| is_name_byte(*byte)) {
            return Err(DeviceTreeError::BadName { at });
        }
        if self.depth == DeviceTree::MAX_DEPTH {
            return Err(DeviceTreeError::TooDeep { at });
        }
        self.depth += 1;
        self.root_seen = true;
        self.in_properties = true;
        Ok(())
    }

    fn end_node(&mut self, at: usize) -> Result<(), DeviceTreeError> {
        let misplaced = DeviceTreeError::Misplaced { token: structure::END_NODE, at };
        self.depth = self.depth.checked_sub(1).ok_or(misplaced)?;
        self.in_properties = false;
        Ok(())
    }

    fn property(&mut self, property: Property<'_>, at: usize) -> Result<(), DeviceTreeError> {
        if !self.in_properties {
            return Err(DeviceTreeError::Misplaced { token: structure::PROPERTY, at });
        }
        let value = property.value;
        let is = |name: &[u8]| self.blocks.is_named(property, name);
        match self.blocks.strings.get(property.name_offset) {
            None | Some(0) => Err(DeviceTreeError::BadName { at }),
            Some(b'#') if (is(b"#address-cells") || is(b"#size-cells")) && !self.is_cell_count(value) => {
                Err(DeviceTreeError::BadCells { at })
            }
            Some(b'b'..=b's') if TEXTS.into_iter().any(is) && !is_text(value) => Err(DeviceTreeError::BadText { at }),
            Some(b'b') if is(b"bootargs") && value.len() > DeviceTree::MAX_BOOTARGS => {
                Err(DeviceTreeError::LongBootArgs { len: value.len() })
            }
            Some(_) => Ok(()),
        }
    }

    fn end(&self, at: usize) -> Result<(), DeviceTreeError> {
        if self.depth == 0 && self.root_seen {
            return Ok(());
        }
        Err(DeviceTreeError::Misplaced { token: structure::END, at })
    }

    /// The root's counts measure RAM and have to be 1 or 2; other buses may have what PCI has.
    fn is_cell_count(&self, value: &[u8]) -> bool {
        let allowed = if self.depth == 1 { 1..=2 } else { 0..=4 };
        word(value).is_some_and(|cells| allowed.contains(&cells))
    }
}

/// Whether this character may stand in the name of a node or a property.
fn is_name_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'/'
}

/// Whether `value` is empty, or UTF-8 and ended by a NUL.
fn is_text(value: &[u8]) -> bool {
    value.is_empty() || value.ends_with(&[0]) && core::str::from_utf8(value).is_ok()
}
