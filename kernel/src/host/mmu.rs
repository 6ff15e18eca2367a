//! Address translation of a host machine: the tables are pages of its RAM, walked as hardware would, and high pages are
//! not in the linear map.
//!
//! What was walked once stays in a [`Tlb`], which forgets nothing by itself: a mapping that is changed without telling it
//! leads to the old page from then on, as it may on hardware.
//!
//! Neighbour: [`crate::mm::mmu`] says what a machine owes the kernel.

use super::HostEnv;
use super::ram::Ram;
use crate::addr::{PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use crate::mm::mmu::{Mmu, WINDOW_END};
use crate::mm::pgtable;
use crate::sync::atomic::Ordering::Relaxed;
use std::collections::BTreeMap;

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

/// The translations that the CPU remembers: what the page table had at an address when it was walked.
#[derive(Default)]
pub struct Tlb(BTreeMap<VirtAddr, Pfn>);

impl Tlb {
    fn forget(&mut self, at: VirtAddr, nr_pages: u64) {
        (0..nr_pages).for_each(|page| _ = self.0.remove(&at.add(page * PAGE_SIZE)));
    }
}

impl HostEnv<'_> {
    /// Where `at` leads.
    #[track_caller]
    fn translate(&self, at: VirtAddr) -> PhysAddr {
        let offset = at.0 % PAGE_SIZE;
        let page = VirtAddr(at.0 - offset);
        let mut tlb = self.tlb.lock().expect("no panic while it is locked");
        let pfn = tlb.0.get(&page).copied().or_else(|| {
            let pfn = pgtable::mapped(self, self, page)?;
            tlb.0.insert(page, pfn);
            Some(pfn)
        });
        // Who sees the panic may go on with the machine.
        drop(tlb);
        let Some(pfn) = pfn else { panic!("{at:?} is not mapped") };
        PhysAddr(pfn.addr().0 + offset)
    }
}

impl Mmu for HostEnv<'_> {
    fn window_table(&self) -> PhysAddr {
        WINDOW_TABLE.addr()
    }

    fn publish(&self) {}

    fn flush_tlb(&self, at: VirtAddr, nr_pages: u64) {
        debug_assert!(at.add(nr_pages * PAGE_SIZE) <= WINDOW_END);
        self.tlb.lock().expect("no panic while it is locked").forget(at, nr_pages);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::mmu::PKMAP_START;

    #[test]
    fn what_was_walked_stays_until_it_is_flushed() {
        let env = HostEnv::default();
        let place = pgtable::entry(&env, &env, PKMAP_START).unwrap();
        pgtable::set_pte(&env, place, Pfn(5));
        Mmu::write(&env, PKMAP_START, 55);
        pgtable::set_pte(&env, place, Pfn(6));
        Mmu::write(&env, PKMAP_START.add(8), 56);
        env.flush_tlb(PKMAP_START, 1);
        Mmu::write(&env, PKMAP_START, 66);
        let words = [0x5000, 0x5008, 0x6000].map(|addr| env.ram(|ram| ram.read_word(PhysAddr(addr))));
        assert_eq!(words, [55, 56, 66]);
    }
}
