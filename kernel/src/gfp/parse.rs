//! Masks from text: `GFP_KERNEL|__GFP_ZERO`, `kernel-fs`, `GFP_USER&~__GFP_IO`, `0x6000c0`, `gfp26:0xd0`.
//!
//! Terms are names or numbers; `|` adds a term, `&~` and `-` take it away, from left to right. Names may be in either
//! case and lack their prefix where that leaves one meaning. Key types: [`ParsedGfp`] (the mask, and notes on what older
//! kernels called it), [`GfpError`] (what was wrong, and where). Neighbour: `names` has the table.

use core::fmt;

use super::{Gfp, GfpName, NAMES, NameKind};

/// A mask, and what its writer ought to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ParsedGfp {
    /// The mask.
    pub mask: Gfp,
    notes: [Option<GfpNote>; ParsedGfp::MAX_NOTES],
}

/// A remark on a mask written in the terms of an older kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GfpNote {
    /// The name is old: its row says what became of it.
    Old(&'static GfpName),
    /// A number of 2.6, and the mask that it is now.
    From26(u32, Gfp),
    /// A mask without `__GFP_WAIT`, which meant more in 2.6.
    NoWait26,
}

/// Why a text is no mask. `at` counts bytes from the text's start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GfpError<'a> {
    /// A name or number is missing.
    NoTerm {
        /// Where it should stand.
        at: usize,
    },
    /// No row of the table has this name.
    Unknown {
        /// Where the word starts.
        at: usize,
        /// The word.
        word: &'a str,
    },
    /// Without its prefix the word could be either name.
    Ambiguous {
        /// Where the word starts.
        at: usize,
        /// The word.
        word: &'a str,
        /// The two names.
        names: [&'static str; 2],
    },
    /// Not a number, or not one of 32 bits.
    BadNumber {
        /// Where the word starts.
        at: usize,
        /// The word.
        word: &'a str,
    },
    /// 2.6 had no such bits.
    Bad26 {
        /// Where the word starts.
        at: usize,
        /// The bits that 2.6 lacks.
        bits: u32,
    },
    /// Something other than `|`, `&~` or `-` between two terms.
    BadOperator {
        /// Where it stands.
        at: usize,
        /// Its first character.
        found: char,
    },
}

impl ParsedGfp {
    /// Notes beyond this number are dropped.
    pub const MAX_NOTES: usize = 8;

    /// The notes, in the order of the text; each once.
    pub fn notes(&self) -> impl Iterator<Item = GfpNote> {
        self.notes.into_iter().flatten()
    }

    fn note(&mut self, note: GfpNote) {
        if self.notes().any(|known| known == note) {
            return;
        }
        if let Some(slot) = self.notes.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some(note);
        }
    }
}

impl Gfp {
    /// Reads a mask.
    ///
    /// ```
    /// use kernel::gfp::Gfp;
    /// assert_eq!(Gfp::parse("GFP_KERNEL|zero").unwrap().mask, Gfp::GFP_KERNEL | Gfp::__GFP_ZERO);
    /// ```
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(text: &str) -> Result<ParsedGfp, GfpError<'_>> {
        let mut cursor = Cursor { text, at: 0 };
        let mut parsed = ParsedGfp::default();
        let mut forbidden = Gfp::empty();
        let mut add = true;
        loop {
            let (bits, inverse) = resolve(cursor.word()?, &mut parsed)?;
            let target = if inverse { &mut forbidden } else { &mut parsed.mask };
            target.set(bits, add);
            match cursor.operator()? {
                Some(next) => add = next,
                None => break,
            }
        }
        parsed.mask -= forbidden;
        Ok(parsed)
    }
}

/// The text and how far it has been read.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

/// A word of the text and where it starts.
#[derive(Clone, Copy)]
struct Word<'a> {
    at: usize,
    text: &'a str,
}

impl<'a> Cursor<'a> {
    fn rest(&mut self) -> &'a str {
        let rest = self.text[self.at..].trim_start();
        self.at = self.text.len() - rest.len();
        rest
    }

    /// The next name or number.
    fn word(&mut self) -> Result<Word<'a>, GfpError<'a>> {
        let rest = self.rest();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if length == 0 {
            return Err(GfpError::NoTerm { at: self.at });
        }
        let word = Word { at: self.at, text: &rest[..length] };
        self.at += length;
        Ok(word)
    }

    /// Whether the next term is added or taken away; `None` at the end.
    fn operator(&mut self) -> Result<Option<bool>, GfpError<'a>> {
        let rest = self.rest();
        let Some(found) = rest.chars().next() else {
            return Ok(None);
        };
        for (operator, add) in [("|", true), ("&~", false), ("-", false)] {
            if rest.starts_with(operator) {
                self.at += operator.len();
                return Ok(Some(add));
            }
        }
        Err(GfpError::BadOperator { at: self.at, found })
    }
}

/// The bits of `word`, and whether it forbids them; notes go to `parsed`.
fn resolve<'a>(word: Word<'a>, parsed: &mut ParsedGfp) -> Result<(Gfp, bool), GfpError<'a>> {
    if let Some(digits) = strip_prefix_ignore_case(word.text, "gfp26:") {
        return Ok((from_26(number(word, digits)?, word.at, parsed)?, false));
    }
    if word.text.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok((Gfp::from_bits_retain(number(word, word.text)?), false));
    }
    let row = lookup(word)?;
    if row.is_old() {
        parsed.note(GfpNote::Old(row));
    }
    Ok((row.mask, row.kind == NameKind::OldInverse))
}

/// The row that `word` names, in full or without its prefix. A v5.0 name goes before an old one.
fn lookup(word: Word<'_>) -> Result<&'static GfpName, GfpError<'_>> {
    if let Some(row) = NAMES.iter().find(|row| row.name.eq_ignore_ascii_case(word.text)) {
        return Ok(row);
    }
    let mut matches = NAMES.iter().filter(|row| row.short().eq_ignore_ascii_case(word.text));
    let first = matches.next().ok_or(GfpError::Unknown { at: word.at, word: word.text })?;
    match matches.find(|row| !row.is_old() && row.mask != first.mask) {
        Some(other) => Err(GfpError::Ambiguous { at: word.at, word: word.text, names: [first.name, other.name] }),
        None => Ok(first),
    }
}

fn number<'a>(word: Word<'a>, digits: &str) -> Result<u32, GfpError<'a>> {
    let parsed = match strip_prefix_ignore_case(digits, "0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    parsed.map_err(|_| GfpError::BadNumber { at: word.at, word: word.text })
}

fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, tail) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(tail)
}

/// 2.6's bits that have the same place and meaning in v5.0.
const SAME_26: u32 = 0x7_dee7;
const WAIT_26: u32 = 0x10;
const COLD_26: u32 = 0x100;
const RECLAIMABLE_26: u32 = 0x8_0000;
const MOVABLE_26: u32 = 0x10_0000;

/// The mask that `old` meant in Linux 2.6.2x and 2.6.3x.
///
/// There a mask without `__GFP_WAIT` still woke kswapd, and with `__GFP_HIGH` was what is `GFP_ATOMIC` today.
fn from_26<'a>(old: u32, at: usize, parsed: &mut ParsedGfp) -> Result<Gfp, GfpError<'a>> {
    let unknown = old & !(SAME_26 | WAIT_26 | COLD_26 | RECLAIMABLE_26 | MOVABLE_26);
    if unknown != 0 {
        return Err(GfpError::Bad26 { at, bits: unknown });
    }
    let mut mask = Gfp::from_bits_retain(old & SAME_26);
    mask.set(Gfp::__GFP_RECLAIMABLE, old & RECLAIMABLE_26 != 0);
    mask.set(Gfp::__GFP_MOVABLE, old & MOVABLE_26 != 0);
    mask |= Gfp::__GFP_KSWAPD_RECLAIM;
    if old & WAIT_26 != 0 {
        mask |= Gfp::__GFP_DIRECT_RECLAIM;
    } else if mask.contains(Gfp::__GFP_HIGH) {
        mask |= Gfp::__GFP_ATOMIC;
    }
    parsed.note(GfpNote::From26(old, mask));
    if old & WAIT_26 == 0 {
        parsed.note(GfpNote::NoWait26);
    }
    if old & COLD_26 != 0
        && let Some(cold) = NAMES.iter().find(|row| row.name == "__GFP_COLD")
    {
        parsed.note(GfpNote::Old(cold));
    }
    Ok(mask)
}

impl fmt::Display for GfpNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GfpNote::Old(row) => write!(f, "note: {} {}", row.name, row.about),
            GfpNote::From26(old, mask) => write!(f, "note: 2.6's {old:#x} is {}", mask.mode()),
            GfpNote::NoWait26 => f.write_str(
                "note: in 2.6 every mask without __GFP_WAIT could use a quarter of min; now __GFP_ATOMIC asks for it",
            ),
        }
    }
}

impl GfpError<'_> {
    /// Where the error is, in bytes from the start of the text.
    pub const fn at(&self) -> usize {
        match *self {
            GfpError::NoTerm { at }
            | GfpError::Unknown { at, .. }
            | GfpError::Ambiguous { at, .. }
            | GfpError::BadNumber { at, .. }
            | GfpError::Bad26 { at, .. }
            | GfpError::BadOperator { at, .. } => at,
        }
    }
}

impl fmt::Display for GfpError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GfpError::NoTerm { at } => write!(f, "expected a GFP name or a number at column {}", at + 1),
            GfpError::Unknown { word, .. } => write!(f, "no GFP flag is called {word}"),
            GfpError::Ambiguous { word, names: [one, other], .. } => {
                write!(f, "{word} may be {one} or {other}: give its prefix")
            }
            GfpError::BadNumber { word, .. } => write!(f, "{word} is not a number of 32 bits"),
            GfpError::Bad26 { bits, .. } => write!(f, "Linux 2.6 had no GFP bits {bits:#x}"),
            GfpError::BadOperator { at, found } => {
                write!(f, "expected |, &~ or - at column {}, not {}", at + 1, found.escape_default())
            }
        }
    }
}
