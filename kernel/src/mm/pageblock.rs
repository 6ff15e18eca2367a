//! The pageblock map: one byte for each 2 MiB of memory.
//!
//! It holds the block's migratetype, compaction's skip mark, and whether the page records of the surrounding maximal
//! block (4 MiB) are written. That last mark keeps boot's cost independent of RAM: at boot only the record of a maximal
//! block's first page is written; the records behind it are cleared when the block is split for the first time. Until
//! then, the first page's record speaks for all of them. Linux: `pageblock_flags`, `set_pageblock_migratetype`.

use crate::sync::atomic::{AtomicU8, Ordering::Relaxed};

use super::page::{Page, PageState, Pages};
use crate::addr::{Order, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Pfn};
use crate::mmzone::MigrateType;

const TYPE_MASK: u8 = 7;
const SKIP: u8 = 1 << 3;
const WRITTEN: u8 = 1 << 4;

/// The byte of one pageblock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pageblock(u8);

impl Pageblock {
    /// The type of the block's pages.
    #[inline(always)]
    pub fn migratetype(self) -> MigrateType {
        MigrateType::from_u8(self.0 & TYPE_MASK).unwrap_or(MigrateType::Unmovable)
    }

    /// Number of the per-CPU list for the block's pages, if that is their migratetype's own.
    #[inline(always)]
    pub fn pcp_list(self) -> Option<usize> {
        let migratetype = usize::from(self.0 & TYPE_MASK);
        (migratetype < MigrateType::PCPTYPES).then_some(migratetype)
    }

    /// Whether every page record of the block is valid, not the maximal block's first alone.
    #[inline(always)]
    pub fn is_written(self) -> bool {
        self.0 & WRITTEN != 0
    }

    /// Whether compaction found nothing here lately.
    pub fn skip(self) -> bool {
        self.0 & SKIP != 0
    }
}

/// The bytes of all pageblocks that the record array spans.
#[derive(Clone, Copy)]
pub struct Pageblocks<'m> {
    bytes: &'m [AtomicU8],
}

impl<'m> Pageblocks<'m> {
    /// Bytes for an array of `records` page records.
    pub const fn bytes_for(records: usize) -> usize {
        records.div_ceil(PAGEBLOCK_NR_PAGES as usize)
    }

    /// The map over `bytes`; every block is set to Unmovable, with no record written.
    pub fn new(bytes: &'m [AtomicU8]) -> Pageblocks<'m> {
        for byte in bytes {
            byte.store(MigrateType::Unmovable as u8, Relaxed);
        }
        Pageblocks { bytes }
    }

    /// The pageblock of the page with record `index`.
    #[inline(always)]
    pub fn of(self, index: u32) -> Pageblock {
        Pageblock(self.bytes[(index >> PAGEBLOCK_ORDER) as usize].load(Relaxed))
    }

    /// Types `count` pageblocks from that of `index` on, whose records are not written yet.
    pub fn init_range(self, index: u32, count: usize, migratetype: MigrateType) {
        let first = (index >> PAGEBLOCK_ORDER) as usize;
        for byte in &self.bytes[first..first + count] {
            byte.store(migratetype as u8, Relaxed);
        }
    }

    /// Retypes the pageblock of `index`; the zone's lock is held. Linux: `set_pageblock_migratetype`.
    pub fn set_migratetype(self, index: u32, migratetype: MigrateType) {
        self.update(index, |byte| byte & !TYPE_MASK | migratetype as u8);
    }

    /// Sets or clears compaction's skip mark.
    pub fn set_skip(self, index: u32, skip: bool) {
        self.update(index, |byte| if skip { byte | SKIP } else { byte & !SKIP });
    }

    /// Makes every record of the maximal block around `index` valid, if it is not yet, keeping the first one.
    #[inline(always)]
    pub fn write_records(self, pages: Pages<'_>, index: u32) {
        if !self.of(index).is_written() {
            self.write_records_now(pages, index);
        }
    }

    #[cold]
    #[inline(never)]
    fn write_records_now(self, pages: Pages<'_>, index: u32) {
        let first = index & !(Order::MAX.nr_pages() as u32 - 1);
        let head = pages.at(first).state();
        pages.clear_maximal_block(first);
        pages.at(first).set_state(head);
        for block in [first, first + PAGEBLOCK_NR_PAGES as u32] {
            self.update(block, |byte| byte | WRITTEN);
        }
    }

    /// The head of the block to which the page at `index` belongs, with its record: the page itself when it is a head,
    /// the head before it when it is a tail, `None` when it belongs to no block (reserved memory, a hole).
    ///
    /// Linux: `compound_head`, for every kind of block.
    pub fn head_of(self, pages: &Pages<'m>, index: u32) -> Option<(u32, &'m Page)> {
        let first = index & !(Order::MAX.nr_pages() as u32 - 1);
        if !self.of(index).is_written() {
            let page = pages.at(first);
            return (page.state() != PageState::TAIL).then_some((first, page));
        }
        Order::all().find_map(|order| {
            let head = index & !(order.nr_pages() as u32 - 1);
            let page = pages.at(head);
            let state = page.state();
            (state != PageState::TAIL && state.order() >= order).then_some((head, page))
        })
    }

    /// The state of the page itself: its record when that is valid, else that of a tail.
    #[inline(always)]
    pub fn state_of(self, pages: &Pages<'_>, index: u32) -> PageState {
        if self.of(index).is_written() || pages.pfn(index).is_aligned(Order::MAX) {
            pages.at(index).state()
        } else {
            PageState::TAIL
        }
    }

    /// Number of pageblocks in the map.
    pub fn count(self) -> usize {
        self.bytes.len()
    }

    /// Changes a byte, whoever else does: marks to skip are set without the zone's lock. Linux:
    /// `set_pfnblock_flags_mask`.
    fn update(self, index: u32, change: impl Fn(u8) -> u8) {
        let byte = &self.bytes[(index >> PAGEBLOCK_ORDER) as usize];
        let _ = byte.fetch_update(Relaxed, Relaxed, |byte| Some(change(byte)));
    }
}

/// First page of the pageblock that contains `pfn`.
pub fn pageblock_start(pfn: Pfn) -> Pfn {
    pfn.align_down(Order::PAGEBLOCK)
}

#[cfg(test)]
mod tests {
    use crate::sync::atomic::AtomicBool;

    use super::*;
    use crate::addr::PfnRange;
    use crate::mm::page::Kind;
    use crate::mm::testing::garbage_records;

    #[test]
    fn records_of_a_whole_maximal_block_are_read_through_its_head() {
        let records = garbage_records(2048);
        let pages = Pages::new(&records, PfnRange::new(Pfn(0), Pfn(2048)));
        let bytes: Vec<AtomicU8> = (0..4).map(|_| AtomicU8::new(0xff)).collect();
        let blocks = Pageblocks::new(&bytes);
        let free = PageState::new(Kind::Buddy, Order::MAX, MigrateType::Movable, 1);
        pages.at(1024).set_state(free);

        assert_eq!(blocks.head_of(&pages, 1999).map(|(head, _)| head), Some(1024));
        assert_eq!(blocks.state_of(&pages, 1999), PageState::TAIL);
        assert_eq!(blocks.state_of(&pages, 1024), free);

        blocks.write_records(pages, 1999);
        assert_eq!(pages.at(1024).state(), free);
        assert!((1025..2048).all(|index| pages.at(index).state() == PageState::TAIL));
        assert!(blocks.of(1024).is_written() && blocks.of(1536).is_written() && !blocks.of(0).is_written());
        assert_eq!(blocks.head_of(&pages, 1999).map(|(head, _)| head), Some(1024));
    }

    #[test]
    fn a_tail_of_a_smaller_block_belongs_to_no_other() {
        let records = garbage_records(1024);
        let pages = Pages::new(&records, PfnRange::new(Pfn(0), Pfn(1024)));
        let bytes = [AtomicU8::new(0), AtomicU8::new(0)];
        let blocks = Pageblocks::new(&bytes);
        blocks.write_records(pages, 0);
        pages.at(0).set_state(PageState::TAIL);
        pages.at(8).set_state(PageState::new(Kind::Buddy, Order::new(2).unwrap(), MigrateType::Movable, 0));
        assert_eq!(blocks.head_of(&pages, 11).map(|(head, _)| head), Some(8));
        assert!(blocks.head_of(&pages, 12).is_none());
        assert!(blocks.head_of(&pages, 7).is_none());
    }

    #[test]
    fn marks_of_two_cpus_do_not_undo_each_other() {
        let bytes = [AtomicU8::new(0)];
        let (blocks, done) = (Pageblocks::new(&bytes), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    blocks.set_skip(0, true);
                    blocks.set_skip(0, false);
                }
            });
            let rounds = if cfg!(miri) { 20 } else { 50_000 };
            let undone = (0..rounds).find(|n| {
                let migratetype = MigrateType::ALL[n % 2];
                blocks.set_migratetype(0, migratetype);
                // Time for the other's store, if it has loaded what was there before.
                (0..20).any(|_| blocks.of(0).migratetype() != migratetype)
            });
            done.store(true, Relaxed);
            assert_eq!(undone, None);
        });
    }

    #[test]
    fn type_and_skip_are_independent() {
        let bytes = [AtomicU8::new(0), AtomicU8::new(0)];
        let blocks = Pageblocks::new(&bytes);
        blocks.set_skip(600, true);
        for migratetype in MigrateType::ALL {
            blocks.set_migratetype(1023, migratetype);
            assert_eq!(blocks.of(512).migratetype(), migratetype);
            assert!(blocks.of(512).skip());
        }
        blocks.set_skip(600, false);
        assert!(!blocks.of(512).skip());
        assert_eq!(blocks.of(0).migratetype(), MigrateType::Unmovable);
    }
}
