//! The content of pages: [`LinearMap`], through which the kernel reads and writes those that always have an address.
//!
//! The allocator knows a page's number and never its bytes; who wants them filled, copied or compared asks here. High
//! pages are not in the linear map: [`crate::mm::highmem`] asks for the others, and maps those. Linux:
//! `page_address`, `clear_page`, `copy_page`.

use crate::addr::{Pfn, PhysAddr};

/// RAM by physical address, as far as it is in the linear map. Whoever calls owns the pages.
pub trait LinearMap {
    /// Fills `nr_pages` pages at `pfn` with `byte`.
    fn fill_pages(&self, pfn: Pfn, nr_pages: u64, byte: u8);

    /// The first byte of `nr_pages` pages at `pfn` that differs from `byte`: its offset and what it is.
    fn first_other(&self, pfn: Pfn, nr_pages: u64, byte: u8) -> Option<(u64, u8)>;

    /// Copies the page `from` to the page `to`.
    fn copy_page(&self, from: Pfn, to: Pfn);

    /// Writes the page `pfn`: `word(n)` is its `n`th word of 8 bytes, lowest byte first.
    fn write_page(&self, pfn: Pfn, word: impl FnMut(usize) -> u64);

    /// Reads the page `pfn`, word by word as [`LinearMap::write_page`] writes it.
    fn read_page(&self, pfn: Pfn, word: impl FnMut(usize, u64));

    /// The word of 8 bytes at `addr`, a multiple of 8, lowest byte first.
    fn read_word(&self, addr: PhysAddr) -> u64;

    /// Writes what [`LinearMap::read_word`] reads.
    fn write_word(&self, addr: PhysAddr, word: u64);
}
