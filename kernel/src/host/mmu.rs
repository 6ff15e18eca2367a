//! Address translation of a host machine: the tables are pages of its RAM, walked as hardware would, and high pages are
//! not in the linear map.
//!
//! Neighbour: [`crate::mm::mmu`] says what a machine owes the kernel.

use super::HostEnv;
use super::ram::Ram;
use crate::addr::{PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use crate::mm::mmu::{Mmu, WINDOW_END};
use crate::mm::pgtable;
use crate::sync::atomic::Ordering::Relaxed;

/// The window's table of level 1. It, and the tables of the slots behind it, lie where no board has RAM.
const WINDOW_TABLE: Pfn = Pfn(1 << 35);
/// The table of level 2 for the last GiB, and the two of level 3 at its end.
const SLOTS_TABLE: Pfn = Pfn(WINDOW_TABLE.0 + 1);
const FIXMAP_TABLE: Pfn = Pfn(WINDOW_TABLE.0 + 2);
const PKMAP_TABLE: Pfn = Pfn(WINDOW_TABLE.0 + 3);

/// Whether a page is one of these.
pub fn is_table(pfn: Pfn) -> bool {
    (WINDOW_TABLE..=PKMAP_TABLE).contains(&pfn)
}

/// RAM with the tables that a machine brings along.
pub fn with_tables() -> Ram {
    let mut ram = Ram::default();
    ram.fill(WINDOW_TABLE, 4, 0);
    let mut link =
        |table: Pfn, entry: u64, to: Pfn| ram.write_word(PhysAddr(table.addr().0 + entry * 8), to.addr().0 | 3);
    link(WINDOW_TABLE, 511, SLOTS_TABLE);
    link(SLOTS_TABLE, 510, FIXMAP_TABLE);
    link(SLOTS_TABLE, 511, PKMAP_TABLE);
    ram
}

impl HostEnv<'_> {
    /// Where the page table has `at`.
    #[track_caller]
    fn translate(&self, at: VirtAddr) -> PhysAddr {
        let Some(pfn) = pgtable::mapped(self, self, at) else { panic!("{at:?} is not mapped") };
        PhysAddr(pfn.addr().0 + at.0 % PAGE_SIZE)
    }
}

impl Mmu for HostEnv<'_> {
    fn window_table(&self) -> PhysAddr {
        WINDOW_TABLE.addr()
    }

    fn publish(&self) {}

    /// There is no cache of translations: each access walks the tables.
    fn flush_tlb(&self, at: VirtAddr, nr_pages: u64) {
        debug_assert!(at.add(nr_pages * PAGE_SIZE) <= WINDOW_END);
    }

    fn read(&self, at: VirtAddr) -> u64 {
        let addr = self.translate(at);
        self.ram(|ram| ram.read_word(addr))
    }

    fn write(&self, at: VirtAddr, word: u64) {
        let addr = self.translate(at);
        self.ram(|ram| ram.write_word(addr, word));
    }

    fn end_linear_map(&self, start: Pfn) {
        self.linear_end.store(start.0, Relaxed);
    }
}
