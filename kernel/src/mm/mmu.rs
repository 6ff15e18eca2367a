//! The machine's address translation, as far as the kernel maps pages itself.
//!
//! The linear map is the machine's own business. Beside it lies the *window*, 512 GiB of addresses under one translation
//! table of level 1 that belongs to the kernel: areas of vmalloc at its start, and at its end the slots of kmap, whose
//! tables the machine brings along. [`super::pgtable`] walks the tables; they are RAM like any other, which
//! [`super::memory::Env`] reads and writes. A [`Mmu`] is what else it takes: barriers, and accesses through a mapping.
//!
//! Linux does more: 16 and 64 KiB pages, three levels, blocks in vmalloc areas, and permissions that change.

use crate::addr::{PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use crate::mmzone::NR_CPUS;

/// Bytes under one entry of a table of level 2: those under a table of level 3.
pub const TABLE_BYTES: u64 = 512 * PAGE_SIZE;
/// Where the window starts.
pub const WINDOW_START: VirtAddr = VirtAddr(0xf000_0000_0000);
/// Where it ends: one table of level 1 further on.
pub const WINDOW_END: VirtAddr = VirtAddr(WINDOW_START.0 + 512 * 512 * TABLE_BYTES);
/// Where areas of vmalloc begin. Linux: `VMALLOC_START`.
pub const VMALLOC_START: VirtAddr = WINDOW_START;
/// Where they end: the last GiB of the window is for the slots of kmap. Linux: `VMALLOC_END`.
pub const VMALLOC_END: VirtAddr = VirtAddr(WINDOW_END.0 - 512 * TABLE_BYTES);
/// The slots of `kmap`, as many as a table of level 3 has. Linux: `PKMAP_BASE`.
pub const PKMAP_START: VirtAddr = VirtAddr(WINDOW_END.0 - TABLE_BYTES);
/// How many there are. Linux: `LAST_PKMAP`, on x86-32 with PAE.
pub const LAST_PKMAP: usize = 512;
/// The slots of `kmap_atomic`, those of one CPU after the other. Linux: `FIX_KMAP_BEGIN`.
pub const FIXMAP_START: VirtAddr = VirtAddr(WINDOW_END.0 - 2 * TABLE_BYTES);
/// How many each CPU has. Linux: `KM_TYPE_NR`.
pub const KM_TYPE_NR: usize = 20;

const _: () = assert!(NR_CPUS * KM_TYPE_NR <= 512);

/// The translation of addresses in the window. The CPUs share it.
pub trait Mmu: Sync {
    /// The window's table of level 1. At first nothing is mapped, but the tables for the slots of kmap are there.
    fn window_table(&self) -> PhysAddr;

    /// Makes entries that were written visible to the walks of every CPU.
    fn publish(&self);

    /// Has every CPU forget what it knows of `nr_pages` pages from `at` on, whose entries were cleared. Linux:
    /// `flush_tlb_kernel_range`.
    fn flush_tlb(&self, at: VirtAddr, nr_pages: u64);

    /// The word of 8 bytes at `at`, a multiple of 8 in a page of the window that is mapped.
    fn read(&self, at: VirtAddr) -> u64;

    /// Writes what [`Mmu::read`] reads.
    fn write(&self, at: VirtAddr, word: u64);

    /// The pages from `start` on are not in the linear map; said once, before anybody uses one.
    fn end_linear_map(&self, start: Pfn);
}
