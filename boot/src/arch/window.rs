//! The kernel's window on this machine: addresses that it maps page by page, in tables that it writes itself.
//!
//! [`Window`] is the kernel's [`Mmu`]: barriers and TLB maintenance, and accesses through a mapping. The first tables come
//! from [`super::mmu`]'s pool. Every CPU uses the same tables, and the instructions below reach them all.
//! Linux: `arch/arm64/include/asm/tlbflush.h`.
//!
//! Linux does more: address space identifiers, and waiting for page faults of other CPUs.

use super::mmu::{self, OutOfTables};
use aarch64_cpu::asm::barrier::{ISH, ISHST, SY, dsb, isb};
use kernel::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use kernel::mm::mmu::{Mmu, WINDOW_START};
use spin::Once;

/// Tables of level 3 for slots of kmap: those of `kmap_atomic`, and those of `kmap`.
const SLOT_TABLES: usize = 2;
/// More pages than this are forgotten with everything else. Linux: `MAX_TLB_RANGE`.
const MAX_FLUSHED_PAGES: u64 = 64;

static TABLE: Once<u64> = Once::new();

/// Takes the window's tables. Once, before RAM's allocator has them.
pub fn init() -> Result<(), OutOfTables> {
    let table = mmu::take_window(WINDOW_START.0, SLOT_TABLES)?;
    TABLE.call_once(|| table);
    Ok(())
}

/// The window. There is one, so it holds nothing.
pub struct Window;

impl Mmu for Window {
    fn window_table(&self) -> PhysAddr {
        PhysAddr(*TABLE.get().expect("the hand-over came first"))
    }

    fn publish(&self) {
        dsb(ISHST);
        isb(SY);
    }

    fn flush_tlb(&self, at: VirtAddr, nr_pages: u64) {
        dsb(ISHST);
        if nr_pages > MAX_FLUSHED_PAGES {
            // SAFETY: forgetting translations changes nothing but time.
            unsafe { core::arch::asm!("tlbi vmalle1is") };
        } else {
            for page in 0..nr_pages {
                let operand = (at.0 + page * PAGE_SIZE) >> PAGE_SHIFT;
                // SAFETY: as above.
                unsafe { core::arch::asm!("tlbi vaae1is, {page}", page = in(reg) operand) };
            }
        }
        dsb(ISH);
        isb(SY);
    }

    fn read(&self, at: VirtAddr) -> u64 {
        // SAFETY: who asks has mapped the page, and owns it; any bits are a word.
        unsafe { (at.0 as *const u64).read() }
    }

    fn write(&self, at: VirtAddr, word: u64) {
        // SAFETY: as in `read`.
        unsafe { (at.0 as *mut u64).write(word) }
    }

    /// The hand-over mapped nothing from there on, but what the loader left there.
    fn end_linear_map(&self, _start: Pfn) {}
}
