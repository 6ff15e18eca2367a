//! What the pages of a host machine hold.
//!
//! A page that is full of one byte, as it is before anybody wrote to it, takes no more room than that.

use std::collections::BTreeMap;

use super::GARBAGE;
use crate::addr::{PAGE_SIZE, Pfn, PhysAddr};

/// Words of a page.
const WORDS: usize = PAGE_SIZE as usize / 8;

/// The content of one page.
#[derive(Clone)]
enum Content {
    /// The same byte everywhere.
    Full(u8),
    /// Words, lowest byte first.
    Words(Box<[u64; WORDS]>),
}

impl Content {
    fn word(&self, at: usize) -> u64 {
        match self {
            Content::Full(byte) => u64::from_le_bytes([*byte; 8]),
            Content::Words(words) => words[at],
        }
    }

    fn words(&mut self) -> &mut [u64; WORDS] {
        if let Content::Full(byte) = *self {
            *self = Content::Words(Box::new([u64::from_le_bytes([byte; 8]); WORDS]));
        }
        match self {
            Content::Words(words) => words,
            Content::Full(_) => unreachable!("made words just now"),
        }
    }
}

/// RAM: what is in the pages that were written.
#[derive(Default)]
pub struct Ram(BTreeMap<u64, Content>);

/// Word and shift of a byte in its page.
fn place(addr: PhysAddr) -> (usize, u32) {
    let offset = addr.0 % PAGE_SIZE;
    ((offset / 8) as usize, (offset % 8) as u32 * 8)
}

impl Ram {
    fn page(&self, pfn: Pfn) -> &Content {
        self.0.get(&pfn.0).unwrap_or(&Content::Full(GARBAGE))
    }

    fn page_mut(&mut self, pfn: Pfn) -> &mut Content {
        self.0.entry(pfn.0).or_insert(Content::Full(GARBAGE))
    }

    pub fn read(&self, addr: PhysAddr) -> u8 {
        let (word, shift) = place(addr);
        (self.page(addr.pfn()).word(word) >> shift) as u8
    }

    pub fn write(&mut self, addr: PhysAddr, byte: u8) {
        let (word, shift) = place(addr);
        let word = &mut self.page_mut(addr.pfn()).words()[word];
        *word = *word & !(0xff << shift) | u64::from(byte) << shift;
    }

    pub fn read_word(&self, addr: PhysAddr) -> u64 {
        self.page(addr.pfn()).word(place(addr).0)
    }

    pub fn write_word(&mut self, addr: PhysAddr, word: u64) {
        self.page_mut(addr.pfn()).words()[place(addr).0] = word;
    }

    pub fn fill(&mut self, pfn: Pfn, nr_pages: u64, byte: u8) {
        self.0.extend((0..nr_pages).map(|page| (pfn.0 + page, Content::Full(byte))));
    }

    pub fn copy(&mut self, from: Pfn, to: Pfn) {
        let content = self.page(from).clone();
        self.0.insert(to.0, content);
    }

    pub fn write_words(&mut self, pfn: Pfn, mut word: impl FnMut(usize) -> u64) {
        let words = self.page_mut(pfn).words();
        words.iter_mut().enumerate().for_each(|(at, place)| *place = word(at));
    }

    pub fn read_words(&self, pfn: Pfn, mut word: impl FnMut(usize, u64)) {
        let page = self.page(pfn);
        (0..WORDS).for_each(|at| word(at, page.word(at)));
    }

    /// The first byte of `nr_pages` pages at `pfn` that is not `byte`: how far from their start, and what it is.
    pub fn first_other(&self, pfn: Pfn, nr_pages: u64, byte: u8) -> Option<(u64, u8)> {
        let bytes_of = |page| (0..PAGE_SIZE).map(move |at| PhysAddr(pfn.add(page).addr().0 + at));
        let suspect = |page: &u64| !matches!(self.page(pfn.add(*page)), Content::Full(full) if *full == byte);
        let mut bytes = (0..nr_pages).filter(suspect).flat_map(bytes_of);
        let other = bytes.find(|addr| self.read(*addr) != byte)?;
        Some((other.0 - pfn.addr().0, self.read(other)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_bytes_are_the_same_memory() {
        let mut ram = Ram::default();
        ram.write_words(Pfn(2), |at| at as u64 * 0x0101);
        assert_eq!((ram.read(PhysAddr(0x2008)), ram.read(PhysAddr(0x2009)), ram.read(PhysAddr(0x200a))), (1, 1, 0));
        ram.write(PhysAddr(0x200a), 7);
        ram.copy(Pfn(2), Pfn(5));
        ram.fill(Pfn(2), 1, 0);
        let mut words = Vec::new();
        ram.read_words(Pfn(5), |_, word| words.push(word));
        assert_eq!((words[0], words[1], words[511]), (0, 0x7_0101, 511 * 0x0101));
        ram.write_word(PhysAddr(0x5010), 0x0908);
        assert_eq!((ram.read(PhysAddr(0x5011)), ram.read_word(PhysAddr(0x5008))), (9, 0x7_0101));
    }
}
