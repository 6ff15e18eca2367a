//! Translation tables of the window: AArch64's, with pages of 4 KiB, from level 1 to level 3.
//!
//! [`entry`] finds the entry of an address or the one that leads to no table yet; who maps pages adds tables there
//! ([`add_table`]), from the page allocator. [`read_word`] and [`write_word`] access memory by virtual address, in the linear
//! map or in the window. Neighbours: [`super::mmu`] says what the window is; [`super::highmem`] and [`super::vmalloc`] map
//! pages. Linux: `arch/arm64/include/asm/pgtable.h`, `vmap_pte_range`.
//!
//! Linux does more: tables that are freed again, and marks of its own in entries.

use super::memory::{Env, LinearMap, Memory};
use super::mmu::{Mmu, WINDOW_END, WINDOW_START};
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, PhysAddr, VirtAddr};

/// Entries of a table, in bits of an address.
const ENTRIES_BITS: u32 = 9;
/// Bytes of an entry.
const ENTRY_BYTES: u64 = 8;
/// The bit shift of what an entry of level 1 spans.
const TOP_SHIFT: u32 = PAGE_SHIFT + 2 * ENTRIES_BITS;

/// Valid, and above level 3 a table; at level 3 a page.
const TABLE_OR_PAGE: u64 = 0b11;
/// Where a table or page is.
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;
/// Read and written by the kernel, never executed; shared and cached: attribute 1. Linux: `PAGE_KERNEL`.
const PAGE_KERNEL: u64 = TABLE_OR_PAGE | 1 << 2 | 3 << 8 | 1 << 10 | 1 << 53 | 1 << 54;

/// Whether an address is in the window.
pub const fn in_window(at: VirtAddr) -> bool {
    WINDOW_START.0 <= at.0 && at.0 < WINDOW_END.0
}

/// The place of the entry for the page at `at`, an address in the window.
///
/// # Errors
///
/// The place of the entry that leads to no table yet.
pub fn entry<L: LinearMap>(linear: &L, mmu: &dyn Mmu, at: VirtAddr) -> Result<PhysAddr, PhysAddr> {
    let (mut table, mut shift) = (mmu.window_table(), TOP_SHIFT);
    loop {
        let number = at.0 >> shift & ((1 << ENTRIES_BITS) - 1);
        let place = PhysAddr(table.0 + number * ENTRY_BYTES);
        if shift == PAGE_SHIFT {
            return Ok(place);
        }
        let word = linear.read_word(place);
        if word & TABLE_OR_PAGE != TABLE_OR_PAGE {
            return Err(place);
        }
        (table, shift) = (PhysAddr(word & ADDRESS), shift - ENTRIES_BITS);
    }
}

/// Lets the entry at `place` lead to the table in the page `table`, which is all zeros.
pub fn add_table<L: LinearMap>(linear: &L, place: PhysAddr, table: Pfn) {
    linear.write_word(place, table.addr().0 | TABLE_OR_PAGE);
}

/// Lets the entry at `place` lead to the page `pfn`. Linux: `set_pte_at`.
pub fn set_pte<L: LinearMap>(linear: &L, place: PhysAddr, pfn: Pfn) {
    linear.write_word(place, pfn.addr().0 | PAGE_KERNEL);
}

/// Lets the entry at `place` lead nowhere. Linux: `pte_clear`.
pub fn clear_pte<L: LinearMap>(linear: &L, place: PhysAddr) {
    linear.write_word(place, 0);
}

/// The page that is mapped at `at`, an address in the window. Linux: `vmalloc_to_pfn`.
pub fn mapped<L: LinearMap>(linear: &L, mmu: &dyn Mmu, at: VirtAddr) -> Option<Pfn> {
    let word = linear.read_word(entry(linear, mmu, at).ok()?);
    (word & TABLE_OR_PAGE == TABLE_OR_PAGE).then(|| PhysAddr(word & ADDRESS).pfn())
}

/// Unmaps `nr_pages` pages from `at` on, and has every CPU forget them. Linux: `unmap_kernel_range`.
pub fn unmap<L: LinearMap>(linear: &L, mmu: &dyn Mmu, at: VirtAddr, nr_pages: u64) {
    for page in 0..nr_pages {
        if let Ok(place) = entry(linear, mmu, at.add(page * PAGE_SIZE)) {
            clear_pte(linear, place);
        }
    }
    mmu.publish();
    mmu.flush_tlb(at, nr_pages);
}

/// The word of 8 bytes at `at`, a multiple of 8 in a page that the caller owns and that is mapped there.
pub fn read_word<E: Env>(memory: &Memory<'_, E>, at: VirtAddr) -> u64 {
    match memory.env.mmu().filter(|_| in_window(at)) {
        Some(mmu) => mmu.read(at),
        None => memory.env.linear().read_word(PhysAddr(at.0)),
    }
}

/// Writes what [`read_word`] reads.
pub fn write_word<E: Env>(memory: &Memory<'_, E>, at: VirtAddr, word: u64) {
    match memory.env.mmu().filter(|_| in_window(at)) {
        Some(mmu) => mmu.write(at, word),
        None => memory.env.linear().write_word(PhysAddr(at.0), word),
    }
}
