//! What the pages of the laboratory hold: every word is computed, so that any page can be checked at any time.
//!
//! There is no disk with bytes behind a file. The content of a page follows from whose it is and from its version, so a
//! page that was lost, mixed up, written twice or copied badly cannot look right by accident. [`Content`] is the formula,
//! [`write()`] fills a page with it, [`matches()`] compares, [`sum`] is what the store remembers of the bytes it was given.
//!
//! Neighbours: [`super::store`] keeps versions and sums; `filemap`, `anon` and `handles` have the pages. Nothing like it
//! is in Linux.

use super::highmem;
use super::memory::{Env, Memory};

/// Words of a page.
const WORDS: usize = 512;

/// 2^64 divided by the golden ratio: spreads small numbers over all bits.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// What is different about files, about anonymous memory, and about handles.
const FILE_SEED: u64 = 0x6669_6c65_7061_6765;
const ANON_SEED: u64 = 0x616e_6f6e_7061_6765;
const HANDLE_SEED: u64 = 0x6861_6e64_6c65_7321;

/// Scatters the bits of `x`. The last step of splitmix64.
const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(GOLDEN);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The content of one page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Content(u64);

impl Content {
    /// Page `index` of `file` in its `version`; 0 is how the file came into the world.
    pub const fn file(file: u32, index: u32, version: u32) -> Content {
        Content::page(FILE_SEED, file, index, version)
    }

    /// The page at virtual page number `vpn` of the task `pid` in its `version`.
    pub const fn anon(pid: u16, vpn: u32, version: u32) -> Content {
        Content::page(ANON_SEED, pid as u32, vpn, version)
    }

    /// The page behind the handle with this number.
    pub const fn handle(number: u32) -> Content {
        Content(HANDLE_SEED ^ (number as u64) << 20)
    }

    const fn page(seed: u64, object: u32, index: u32, version: u32) -> Content {
        Content(seed ^ (object as u64) << 40 ^ (index as u64) << 10 ^ (version as u64).wrapping_mul(GOLDEN))
    }

    /// The word at `at`, below 512.
    pub const fn word(self, at: usize) -> u64 {
        mix(self.0 ^ at as u64)
    }
}

/// Fills a page.
pub fn write<E: Env>(memory: &Memory<'_, E>, page: u32, content: Content) {
    highmem::write_page(memory, memory.pages.pfn(page), |at| content.word(at));
}

/// Whether a page holds just that.
pub fn matches<E: Env>(memory: &Memory<'_, E>, page: u32, content: Content) -> bool {
    let mut same = true;
    highmem::read_page(memory, memory.pages.pfn(page), |at, word| same &= word == content.word(at));
    same
}

/// FNV-1a of the 4,096 bytes that a page holds now, with 64 bits.
pub fn sum<E: Env>(memory: &Memory<'_, E>, page: u32) -> u64 {
    let mut sum = Fnv::new();
    highmem::read_page(memory, memory.pages.pfn(page), |_, word| sum.add(word));
    sum.0
}

/// [`sum`] of a page that holds `content`.
pub fn sum_of(content: Content) -> u64 {
    let mut sum = Fnv::new();
    (0..WORDS).for_each(|at| sum.add(content.word(at)));
    sum.0
}

/// A Fowler-Noll-Vo hash under way.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, word: u64) {
        for byte in word.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::PhysAddr;
    use crate::mm::testing::{Lab, board_16m};

    #[test]
    fn the_sum_is_fnv_1a() {
        let mut sum = Fnv::new();
        sum.add(u64::from_le_bytes(*b"slowpath"));
        // FNV-1a of the bytes, by its definition on paper: 64-bit offset basis and prime.
        let expected = b"slowpath"
            .iter()
            .fold(14_695_981_039_346_656_037u64, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(1_099_511_628_211));
        assert_eq!(sum.0, expected);
    }

    #[test]
    fn mixing_is_splitmix64() {
        // The first outputs of splitmix64 seeded with 0 and with 1234567.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(1_234_567), 6_457_827_717_110_365_317);
    }

    #[test]
    fn a_page_is_what_was_written_and_nothing_else() {
        let machine = board_16m("");
        let lab = Lab::new(&machine);
        let page = 0x100;
        let content = Content::file(1, 2, 3);
        write(&lab.memory, page, content);
        assert!(matches(&lab.memory, page, content));
        assert_eq!(sum(&lab.memory, page), sum_of(content));
        let others = [Content::file(2, 2, 3), Content::file(1, 3, 3), Content::file(1, 2, 4), Content::anon(1, 2, 3)];
        assert!(others.iter().all(|&other| !matches(&lab.memory, page, other)));
        let last = PhysAddr(lab.memory.pages.pfn(page).addr().0 + 4095);
        lab.memory.env.write(last, !lab.memory.env.read(last));
        assert!(!matches(&lab.memory, page, content) && sum(&lab.memory, page) != sum_of(content));
    }
}
