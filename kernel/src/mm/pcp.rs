//! The per-CPU page lists: order-0 pages that a CPU hands out and takes back without the zone's lock.
//!
//! [`PcpLists`] are one CPU's share of one zone: a list for each of the types Unmovable, Movable and Reclaimable, reached
//! only by that CPU with interrupts masked. [`Pageset`] counts them, for anyone to read. When
//! the count reaches *high*, *batch* pages go back to the zone, taken from the tails of the lists in turn.
//!
//! Linux: `struct per_cpu_pages`, `free_pcppages_bulk`. Linux does more since 5.13: lists of orders 1 to 3, and limits
//! that follow the load.

use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use core::ops::Range;

use super::list::List;
use super::page::Pages;
use crate::mmzone::MigrateType;
use crate::vmstat::NumaStat;

/// How many pages the per-CPU lists of a zone hold, and move at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PcpLimits {
    /// Pages at which `batch` of them go back to the zone.
    pub high: u32,
    /// Pages moved at a time.
    pub batch: u32,
}

impl PcpLimits {
    /// While the machine boots every freed page goes straight back to its zone.
    pub const BOOT: PcpLimits = PcpLimits { high: 0, batch: 1 };

    /// Limits for a zone of `managed` pages. `fraction` is the sysctl `percpu_pagelist_fraction`, 0 for the default.
    ///
    /// Linux: `zone_batchsize`, `pageset_set_high`.
    pub fn for_zone(managed: u64, fraction: u64) -> PcpLimits {
        let batch = batch_size(managed);
        match managed.checked_div(fraction) {
            None => PcpLimits { high: 6 * batch, batch: batch.max(1) },
            Some(high) => {
                let high = u32::try_from(high).unwrap_or(u32::MAX);
                PcpLimits { high, batch: (high / 4).clamp(1, 96) }
            }
        }
    }
}

/// A thousandth of the zone, at most 1 MiB, rounded so that batches of neighbouring sizes do not resonate.
fn batch_size(managed: u64) -> u32 {
    let thousandth = (managed / 1024).min(256) as u32;
    let quarter = (thousandth / 4).max(1);
    let power = (quarter + quarter / 2).ilog2();
    (1 << power) - 1
}

/// One CPU's pages of one zone.
pub struct PcpLists {
    lists: [List; MigrateType::PCPTYPES],
}

impl Default for PcpLists {
    fn default() -> PcpLists {
        PcpLists { lists: [List::EMPTY; MigrateType::PCPTYPES] }
    }
}

/// What one CPU counts of one zone: written by that CPU with interrupts masked, read by anyone.
///
/// A block that the fast path hands out counts thrice: as allocated, as a NUMA hit, and as local or other. A single page
/// is counted once, in `plain_pages`, and read thrice; a larger block as allocated and in `plain_blocks`.
#[derive(Default)]
pub struct Pageset {
    count: AtomicU32,
    /// Whether the CPU belongs to the zone's node.
    local: AtomicBool,
    plain_pages: AtomicU64,
    plain_blocks: AtomicU64,
    pgalloc: AtomicU64,
    pgfree: AtomicU64,
    numa: [AtomicU64; NumaStat::COUNT],
}

impl Pageset {
    /// Pages on the CPU's lists.
    #[inline(always)]
    pub fn count(&self) -> u32 {
        self.count.load(Relaxed)
    }

    #[inline(always)]
    fn add(&self, change: i32) -> u32 {
        let count = self.count.load(Relaxed).wrapping_add_signed(change);
        self.count.store(count, Relaxed);
        count
    }

    /// Pages that left the zone for a caller.
    pub fn pgalloc(&self) -> u64 {
        self.pgalloc.load(Relaxed) + self.plain_pages.load(Relaxed)
    }

    /// Pages that came back.
    pub fn pgfree(&self) -> u64 {
        self.pgfree.load(Relaxed)
    }

    /// The CPU's count of `stat`.
    pub fn numa(&self, stat: NumaStat) -> u64 {
        let local = self.local.load(Relaxed);
        let includes_plain = match stat {
            NumaStat::NumaHit => true,
            NumaStat::NumaLocal => local,
            NumaStat::NumaOther => !local,
            _ => false,
        };
        let plain = self.plain_pages.load(Relaxed) + self.plain_blocks.load(Relaxed);
        self.numa[stat.index()].load(Relaxed) + if includes_plain { plain } else { 0 }
    }

    /// Says whether the CPU belongs to the zone's node.
    pub(super) fn set_local(&self, local: bool) {
        self.local.store(local, Relaxed);
    }

    /// Counts a page that the fast path handed out.
    #[inline(always)]
    pub(super) fn count_plain_page(&self) {
        self.plain_pages.store(self.plain_pages.load(Relaxed) + 1, Relaxed);
    }

    /// Counts a block of `nr_pages` that the fast path handed out.
    #[inline(always)]
    pub(super) fn count_plain_block(&self, nr_pages: u64) {
        self.plain_blocks.store(self.plain_blocks.load(Relaxed) + 1, Relaxed);
        self.count_alloc(nr_pages);
    }

    /// Counts pages that left the zone for a caller. Linux: `__count_zid_vm_events(PGALLOC, ...)`.
    #[inline(always)]
    pub(super) fn count_alloc(&self, nr_pages: u64) {
        self.pgalloc.store(self.pgalloc.load(Relaxed) + nr_pages, Relaxed);
    }

    /// Counts pages that came back. Linux: `__count_vm_events(PGFREE, ...)`.
    #[inline(always)]
    pub(super) fn count_free(&self, nr_pages: u64) {
        self.pgfree.store(self.pgfree.load(Relaxed) + nr_pages, Relaxed);
    }

    /// Counts so many requests more.
    #[inline(always)]
    pub(super) fn count_numa(&self, stat: NumaStat, requests: u64) {
        let counter = &self.numa[stat.index()];
        counter.store(counter.load(Relaxed) + requests, Relaxed);
    }

    /// Forgets the NUMA counters.
    pub(super) fn clear_numa(&self) {
        self.count_alloc(self.plain_pages.swap(0, Relaxed));
        self.plain_blocks.store(0, Relaxed);
        for counter in &self.numa {
            counter.store(0, Relaxed);
        }
    }
}

/// Which list holds the pages of each migratetype: those of HighAtomic and CMA blocks wait among the movable ones.
const LIST_OF: [u8; MigrateType::COUNT] = [0, 1, 2, 1, 1, 1];

impl PcpLists {
    /// The list that serves `migratetype`.
    pub fn list(&self, migratetype: MigrateType) -> &List {
        &self.lists[usize::from(LIST_OF[migratetype as usize])]
    }

    #[inline(always)]
    fn list_mut(&mut self, migratetype: MigrateType) -> &mut List {
        &mut self.lists[usize::from(LIST_OF[migratetype as usize])]
    }

    /// Takes the page that was put back last from the list with number `list`; `None` from 3 on.
    #[inline(always)]
    pub fn take_from(&mut self, pages: &Pages<'_>, pageset: &Pageset, list: usize) -> Option<u32> {
        let (index, _) = self.lists.get_mut(list)?.pop_front(pages)?;
        pageset.add(-1);
        Some(index)
    }

    /// Puts a freed page where it is taken next from the list with number `list`, which must be below 3; returns the
    /// new count.
    #[inline(always)]
    pub fn put_on(&mut self, pages: &Pages<'_>, pageset: &Pageset, index: u32, list: usize) -> u32 {
        self.lists[list].push_front(pages, index);
        pageset.add(1)
    }

    /// Takes the page that was put back last.
    #[inline(always)]
    pub fn take(&mut self, pages: &Pages<'_>, pageset: &Pageset, migratetype: MigrateType) -> Option<u32> {
        let (index, _) = self.list_mut(migratetype).pop_front(pages)?;
        pageset.add(-1);
        Some(index)
    }

    /// Puts a freed page where it is taken next; returns the new count.
    #[inline(always)]
    pub fn put(&mut self, pages: &Pages<'_>, pageset: &Pageset, index: u32, migratetype: MigrateType) -> u32 {
        self.list_mut(migratetype).push_front(pages, index);
        pageset.add(1)
    }

    /// Adds the pages of a refill behind the others.
    #[inline(always)]
    pub fn refill(&mut self, pages: &Pages<'_>, pageset: &Pageset, migratetype: MigrateType, run: Range<u32>) {
        pageset.add(run.len() as i32);
        let list = self.list_mut(migratetype);
        for index in run {
            list.push_back(pages, index);
        }
    }

    /// Takes `nr` pages (no more than there are), oldest first, from the lists in turn: one page from the first list
    /// that has any, two from the next, and so on; `give` gets them one by one.
    ///
    /// Linux: `free_pcppages_bulk`.
    #[inline(always)]
    pub fn drain(&mut self, pages: &Pages<'_>, pageset: &Pageset, nr: u32, mut give: impl FnMut(u32)) {
        let mut left = nr.min(pageset.count());
        pageset.add(-(left as i32));
        let (mut cursor, mut credit) = (0, 0);
        while left > 0 {
            loop {
                credit += 1;
                cursor = (cursor + 1) % MigrateType::PCPTYPES;
                if !self.lists[cursor].is_empty() {
                    break;
                }
            }
            if credit == MigrateType::PCPTYPES as u32 {
                credit = left;
            }
            while left > 0 && credit > 0 {
                let Some(index) = self.lists[cursor].pop_back(pages) else { break };
                give(index);
                left -= 1;
                credit -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Pfn, PfnRange};
    use crate::mm::testing::garbage_records;

    #[test]
    fn sizes_follow_the_table() {
        for (managed, high, batch) in [
            (0, 0, 1),
            (8191, 0, 1),
            (8192, 6, 1),
            (12288, 18, 3),
            (24576, 42, 7),
            (45056, 90, 15),
            (90112, 186, 31),
            (176_128, 378, 63),
            (16_000_000, 378, 63),
        ] {
            assert_eq!(PcpLimits::for_zone(managed, 0), PcpLimits { high, batch }, "{managed} pages");
        }
        assert_eq!(PcpLimits::for_zone(250_000, 8), PcpLimits { high: 31250, batch: 96 });
        assert_eq!(PcpLimits::for_zone(20, 8), PcpLimits { high: 2, batch: 1 });
    }

    /// Fills the lists with pages named like `M3` (fourth page from the head of Movable); checks which ones a drain
    /// takes, in order.
    fn check(fill: [u32; 3], nr: u32, expected: &str) {
        let records = garbage_records(1024);
        let pages = Pages::new(&records, PfnRange::new(Pfn(0), Pfn(1024)));
        let (mut lists, pageset) = (PcpLists::default(), Pageset::default());
        for (pcp_type, pages_of_type) in fill.into_iter().enumerate() {
            let first = pcp_type as u32 * 100;
            lists.refill(&pages, &pageset, MigrateType::ALL[pcp_type], first..first + pages_of_type);
        }
        let mut taken = Vec::new();
        lists.drain(&pages, &pageset, nr, |index| {
            taken.push(format!("{}{}", ["U", "M", "R"][index as usize / 100], index % 100));
        });
        assert_eq!(taken.join(" "), expected);
        assert_eq!(pageset.count(), fill.iter().sum::<u32>() - nr);
    }

    #[test]
    fn draining_takes_turns() {
        check([3, 5, 2], 7, "M4 R1 U2 M3 R0 U1 M2");
        check([0, 6, 4], 7, "M5 R3 M4 M3 R2 M2 M1");
        check([0, 9, 0], 7, "M8 M7 M6 M5 M4 M3 M2");
        check([1, 9, 1], 8, "M8 R0 U0 M7 M6 M5 M4 M3");
    }

    #[test]
    fn draining_all_empties_the_lists() {
        check([2, 0, 0], 2, "U1 U0");
        check([0, 0, 0], 0, "");
    }

    #[test]
    fn reserve_and_lent_pages_wait_among_the_movable() {
        for migratetype in [MigrateType::HighAtomic, MigrateType::Cma, MigrateType::Movable] {
            assert_eq!(usize::from(LIST_OF[migratetype as usize]), MigrateType::Movable as usize);
        }
    }
}
