//! The slots through which pages outside the linear map are reached.
//!
//! A [`HighMemory`] says where such pages begin and which slot holds which. [`Pkmaps`] is the table of `kmap`: shared,
//! counted, and emptied lazily, all slots at once when the search comes round. [`AtomicSlots`] is a CPU's stack of slots
//! for `kmap_atomic`. Pages are named by record index. Both only keep the books; [`super::highmem`] writes the translation tables.
//! Linux: `pkmap_count`, `last_pkmap_nr`, `__kmap_atomic_idx` of `mm/highmem.c`.
//!
//! Linux does more: a hash from pages to addresses, and tables of another colour for caches that need it.

use super::mmu::{KM_TYPE_NR, LAST_PKMAP};
use crate::addr::Pfn;
use crate::sched::WaitQueue;
use crate::sync::{Class, PerCpu, SpinLock};

/// What lies outside the linear map, and where it is mapped now.
pub struct HighMemory {
    /// The first such page; no page of the machine is at or above it if there are none.
    pub start: Pfn,
    /// The slots of `kmap`.
    pub(super) pkmaps: SpinLock<Pkmaps>,
    /// Who sleeps until a slot of `kmap` is unused. Linux: `pkmap_map_wait`.
    pub(super) pkmap_wait: WaitQueue,
    /// The slots of `kmap_atomic`.
    pub(super) atomics: PerCpu<AtomicSlots>,
}

impl Default for HighMemory {
    fn default() -> HighMemory {
        HighMemory {
            start: Pfn(u64::MAX),
            pkmaps: SpinLock::new(Class::Leaf, Pkmaps::default()),
            pkmap_wait: WaitQueue::new(),
            atomics: PerCpu::new(Class::Leaf, |_| (AtomicSlots::default(), ())),
        }
    }
}

/// One slot of `kmap`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Pkmap {
    /// 0: empty; 1: still mapped, but nobody uses it; else one more than its users.
    count: u32,
    /// What it maps, by record index, unless it is empty.
    page: u32,
}

/// The table of `kmap`.
pub struct Pkmaps {
    slots: [Pkmap; LAST_PKMAP],
    /// The slot that was filled last.
    last: usize,
    /// How often all unused slots were emptied.
    flushes: u64,
}

impl Default for Pkmaps {
    fn default() -> Pkmaps {
        Pkmaps { slots: [Pkmap::default(); LAST_PKMAP], last: 0, flushes: 0 }
    }
}

/// Nobody has the page mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotMapped;

impl Pkmaps {
    /// The slot that maps `page`, used or not.
    pub fn find(&self, page: u32) -> Option<usize> {
        self.slots.iter().position(|slot| slot.count > 0 && slot.page == page)
    }

    /// Users of a slot and the page in it, if it has users.
    pub fn used(&self, slot: usize) -> Option<(u32, u32)> {
        let Pkmap { count, page } = self.slots[slot];
        (count > 1).then(|| (page, count - 1))
    }

    /// How often all unused slots were emptied so far.
    pub fn flushes(&self) -> u64 {
        self.flushes
    }

    /// One user more of a slot that is mapped.
    pub fn get(&mut self, slot: usize) {
        self.slots[slot].count += 1;
    }

    /// One user less of the slot that maps `page`; how many are left.
    ///
    /// # Errors
    ///
    /// When it has no users. Linux: `kunmap_high`, where that is a bug.
    pub fn put(&mut self, page: u32) -> Result<u32, NotMapped> {
        let slot = self.find(page).map(|slot| &mut self.slots[slot]).filter(|slot| slot.count > 1).ok_or(NotMapped)?;
        slot.count -= 1;
        Ok(slot.count - 1)
    }

    /// Gives an empty slot to `page`, which is in none, with one user; `None` when all have users.
    ///
    /// The search goes on behind the slot that was filled last. When it comes round, `empty` is called with every slot
    /// that nobody uses, and `flushed` once after that if there was one. Linux: `map_new_virtual`.
    pub fn map(&mut self, page: u32, mut empty: impl FnMut(usize), mut flushed: impl FnMut()) -> Option<usize> {
        let mut left = LAST_PKMAP;
        loop {
            self.last = (self.last + 1) % LAST_PKMAP;
            if self.last == 0 {
                if self.empty_unused(&mut empty) {
                    flushed();
                }
                left = LAST_PKMAP;
            }
            if self.slots[self.last].count == 0 {
                self.slots[self.last] = Pkmap { count: 2, page };
                return Some(self.last);
            }
            left = left.checked_sub(1).filter(|left| *left > 0)?;
        }
    }

    /// Empties every slot that nobody uses; whether there was one. Linux: `flush_all_zero_pkmaps`.
    fn empty_unused(&mut self, empty: &mut impl FnMut(usize)) -> bool {
        let mut any = false;
        for (number, slot) in self.slots.iter_mut().enumerate().filter(|(_, slot)| slot.count == 1) {
            *slot = Pkmap::default();
            empty(number);
            any = true;
        }
        self.flushes += u64::from(any);
        any
    }
}

/// The slots of one CPU for `kmap_atomic`, the last used first.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtomicSlots {
    pages: [u32; KM_TYPE_NR],
    depth: usize,
}

impl AtomicSlots {
    /// Gives the next slot to `page`; `None` when no more than `kept` are left. Linux: `kmap_atomic_idx_push`.
    pub fn push(&mut self, page: u32, kept: usize) -> Option<usize> {
        let slot = self.depth;
        if slot + kept >= KM_TYPE_NR {
            return None;
        }
        self.pages[slot] = page;
        self.depth += 1;
        Some(slot)
    }

    /// Takes the last slot back. Linux: `kmap_atomic_idx_pop`.
    pub fn pop(&mut self) -> Option<usize> {
        self.depth = self.depth.checked_sub(1)?;
        Some(self.depth)
    }

    /// The pages in the slots, the last used last.
    pub fn pages(&self) -> &[u32] {
        &self.pages[..self.depth]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills a slot; what was emptied for it, and how often all CPUs had to forget.
    fn map(table: &mut Pkmaps, page: u32) -> (Option<usize>, Vec<usize>, u32) {
        let (mut emptied, mut flushes) = (Vec::new(), 0);
        (table.map(page, |slot| emptied.push(slot), || flushes += 1), emptied, flushes)
    }

    #[test]
    fn slots_are_emptied_only_when_the_search_comes_round() {
        let mut table = Pkmaps::default();
        for n in 1..512 {
            assert_eq!(map(&mut table, n), (Some(n as usize), vec![], 0));
        }
        table.put(7).unwrap();
        table.put(9).unwrap();
        assert_eq!(table.find(7), Some(7), "still mapped, though nobody uses it");
        assert_eq!(table.put(7), Err(NotMapped));
        assert_eq!(map(&mut table, 1000), (Some(0), vec![7, 9], 1));
        assert_eq!((table.find(7), table.flushes()), (None, 1));
        assert_eq!(map(&mut table, 1001), (Some(7), vec![], 0));
        assert_eq!(map(&mut table, 1002), (Some(9), vec![], 0));
        assert_eq!(map(&mut table, 1003).0, None);
        assert_eq!(table.used(0), Some((1000, 1)));
    }

    #[test]
    fn a_page_has_one_slot_and_its_users_are_counted() {
        let mut table = Pkmaps::default();
        let slot = map(&mut table, 5).0.unwrap();
        table.get(slot);
        assert_eq!(table.used(slot), Some((5, 2)));
        assert_eq!([table.put(5), table.put(5)], [Ok(1), Ok(0)]);
        assert_eq!((table.used(slot), table.put(5)), (None, Err(NotMapped)));
    }

    #[test]
    fn atomic_slots_are_a_stack() {
        let mut slots = AtomicSlots::default();
        assert_eq!((0..18).map(|n| slots.push(n, 2)).collect::<Vec<_>>(), (0..18).map(Some).collect::<Vec<_>>());
        assert_eq!((slots.push(18, 2), slots.push(18, 0)), (None, Some(18)));
        assert_eq!(slots.pages().last(), Some(&18));
        assert_eq!((slots.pop(), slots.pages().len()), (Some(18), 18));
        (0..18).for_each(|_| _ = slots.pop().unwrap());
        assert_eq!(slots.pop(), None);
    }
}
