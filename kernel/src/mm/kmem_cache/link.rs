//! The free objects of a slab: a chain that runs through the objects themselves.
//!
//! The first free object is named by a [`Chain`]; each one holds a word ([`word`]) that names the next one, says how long
//! the chain is from here on, and bears a mark that is another one at every address:
//!
//! ```text
//!   63            32 31           16 15            0
//!   | mark of the   | objects from  | the next one |
//!   | address       | here on       | or NIL       |
//! ```
//!
//! So a CPU that takes an object sees whether somebody wrote to it since it was freed, a slab need not count its objects,
//! and an object that is freed twice is known by its mark: whoever gets an object finds zero where the word was.
//!
//! Linux: `get_freepointer`, `set_freepointer`; there the word is an address, and the page counts.

use super::layout::MAX_OBJECTS;
use crate::addr::PhysAddr;

/// The object that is none.
pub const NIL: u16 = 0x3ff;

const _: () = assert!(MAX_OBJECTS < NIL);

/// Free objects of a slab: the first one and how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chain {
    /// The first object, by its place in the slab, or [`NIL`].
    pub head: u16,
    /// Number of objects.
    pub len: u16,
}

impl Chain {
    /// No object.
    pub const EMPTY: Chain = Chain { head: NIL, len: 0 };

    /// Whether there is no object.
    #[inline(always)]
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The word that the first object, whose link lies at `at`, must hold, without its lowest 16 bits.
    #[inline(always)]
    pub const fn expected(self, at: PhysAddr) -> u64 {
        (mark(at) as u64) << 16 | self.len as u64
    }
}

/// The mark of a free object whose link lies at `at`.
#[inline(always)]
const fn mark(at: PhysAddr) -> u32 {
    (at.0 >> 3) as u32 ^ 0x5f1a_b1e5
}

/// The word of a free object before `chain`, whose link lies at `at`.
#[inline(always)]
pub const fn word(at: PhysAddr, chain: Chain) -> u64 {
    (mark(at) as u64) << 32 | (chain.len as u64 + 1) << 16 | chain.head as u64
}

/// Whether `word`, found at `at`, bears the mark of a free object.
#[inline(always)]
pub const fn is_marked(at: PhysAddr, word: u64) -> bool {
    (word >> 32) as u32 == mark(at)
}

/// The chain that begins with object `head`, whose link lies at `at` and holds `word`; `None` if that cannot be.
pub const fn chain(at: PhysAddr, head: u16, word: u64) -> Option<Chain> {
    let (len, next) = ((word >> 16) as u16, word as u16);
    let is_sane = len >= 1 && len <= MAX_OBJECTS && (next < MAX_OBJECTS && len > 1 || next == NIL && len == 1);
    if is_marked(at, word) && is_sane { Some(Chain { head, len }) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_says_what_comes_after_it() {
        let at = PhysAddr(0x4000_0100);
        let first = word(at, Chain::EMPTY);
        assert_eq!(chain(at, 7, first), Some(Chain { head: 7, len: 1 }));
        assert_eq!(first as u16, NIL);
        let second = word(at, Chain { head: 7, len: 1 });
        assert_eq!((chain(at, 3, second), second as u16), (Some(Chain { head: 3, len: 2 }), 7));
        assert_eq!(second >> 16, Chain { head: 3, len: 2 }.expected(at));
    }

    #[test]
    fn a_word_belongs_to_its_address() {
        let at = PhysAddr(0x4000_0100);
        let word = word(at, Chain { head: 7, len: 1 });
        for other in [PhysAddr(0x4000_0108), PhysAddr(0x4000_1100)] {
            assert_eq!((chain(other, 3, word), is_marked(other, word)), (None, false));
        }
        for changed in [0, 0x5a5a_5a5a_5a5a_5a5a, word ^ 1 << 40, word ^ 3 << 16, word | NIL as u64] {
            assert_eq!(chain(at, 3, changed), None, "{changed:#x}");
        }
    }
}
