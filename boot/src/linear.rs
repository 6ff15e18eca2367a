//! RAM through the linear map, which the hand-over made: [`LinearRam`].
//!
//! All of it is mapped at its physical address but for high pages, which nobody asks for here. Linux:
//! `arch/arm64/lib/clear_page.S`, `copy_page.S`. Linux does more: it copies past the caches where that is faster.

use core::{ptr, slice};
use kernel::addr::{PAGE_SIZE, Pfn, PhysAddr};
use kernel::mm::memory::LinearMap;

/// Words of a page.
const PAGE_WORDS: usize = PAGE_SIZE as usize / 8;

/// This machine's RAM. There is one, so it holds nothing.
pub struct LinearRam;

impl LinearMap for LinearRam {
    fn fill_pages(&self, pfn: Pfn, nr_pages: u64, byte: u8) {
        // SAFETY: the allocator asks for pages that it manages and has just taken or got back: RAM, mapped by the
        // hand-over, in nobody's use.
        unsafe { ptr::write_bytes(pfn.addr().0 as *mut u8, byte, (nr_pages * PAGE_SIZE) as usize) }
    }

    fn first_other(&self, pfn: Pfn, nr_pages: u64, byte: u8) -> Option<(u64, u8)> {
        // SAFETY: as in `fill_pages`.
        let bytes = unsafe { slice::from_raw_parts(pfn.addr().0 as *const u8, (nr_pages * PAGE_SIZE) as usize) };
        let at = bytes.iter().position(|other| *other != byte)?;
        Some((at as u64, bytes[at]))
    }

    fn copy_page(&self, from: Pfn, to: Pfn) {
        // SAFETY: as in `fill_pages`, but that the pages belong to who asks; they are different ones.
        unsafe { ptr::copy_nonoverlapping(words(from), words(to), PAGE_WORDS) }
    }

    fn write_page(&self, pfn: Pfn, mut word: impl FnMut(usize) -> u64) {
        for n in 0..PAGE_WORDS {
            // SAFETY: as in `copy_page`, and the word lies in the page.
            unsafe { words(pfn).add(n).write(word(n)) }
        }
    }

    fn read_page(&self, pfn: Pfn, mut word: impl FnMut(usize, u64)) {
        for n in 0..PAGE_WORDS {
            // SAFETY: as in `write_page`; any bits are a word.
            word(n, unsafe { words(pfn).add(n).read() });
        }
    }

    #[inline(always)]
    fn read_word(&self, addr: PhysAddr) -> u64 {
        // SAFETY: as in `copy_page`: a word of a page that belongs to who asks.
        unsafe { (addr.0 as *const u64).read() }
    }

    #[inline(always)]
    fn write_word(&self, addr: PhysAddr, word: u64) {
        // SAFETY: as in `read_word`.
        unsafe { (addr.0 as *mut u64).write(word) }
    }
}

/// The words of a page.
fn words(pfn: Pfn) -> *mut u64 {
    pfn.addr().0 as *mut u64
}
