//! The free lists of one zone: split, merge, and nothing that decides.
//!
//! [`FreeLists`] is what the zone's lock protects: for each order and migratetype a list of free blocks. [`FreeCounts`]
//! beside it is written under the lock and read without: the watermark check needs only counts and which lists are
//! empty. [`Buddy`] borrows both, with the records and the pageblock map, for as long as the lock is held; having one is
//! the proof of the lock.
//!
//! A block of order k starts at a multiple of 2^k pages; its buddy is the other half of the block of order k + 1. Only a
//! block's first record carries kind, order and type:
//!
//! ```text
//!     order 3 at 0x40008        buddy of order 3 at 0x40000
//!     B . . . . . . .           B . . . . . . .          -> merged: order 4 at 0x40000
//! ```
//!
//! Which list to fall back on when one is empty is decided in [`super::fallback`]. Linux: `mm/page_alloc.c`,
//! `__free_one_page`, `expand`, `__rmqueue_smallest`.
//!
//! Linux does more: guard pages between allocations, and lists per memory section while memory is hot-added.

use core::ops::Range;

use super::list::List;
use super::page::{Kind, PageFlags, PageState, Pages};
use super::pageblock::Pageblocks;
use crate::addr::{MAX_ORDER, Order, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Pfn};
use crate::mmzone::MigrateType;

mod counts;

pub use counts::FreeCounts;

/// Room for lists of an order: those of the migratetypes, rounded up so that finding one needs no multiplication.
const SLOTS: usize = MigrateType::COUNT.next_power_of_two();

/// The free blocks of one zone. Linux: `zone->free_area`.
pub struct FreeLists {
    lists: [[List; SLOTS]; MAX_ORDER as usize],
    /// Pageblocks of type Isolate.
    pub nr_isolated: u32,
}

impl FreeLists {
    /// No free block.
    pub const EMPTY: FreeLists = FreeLists { lists: [[List::EMPTY; SLOTS]; MAX_ORDER as usize], nr_isolated: 0 };

    /// The blocks of `order` on the list of `migratetype`.
    #[inline(always)]
    pub fn list(&self, order: Order, migratetype: MigrateType) -> &List {
        &self.lists[order.index()][migratetype as usize]
    }
}

/// Single pages of one type that are freed one after the other and lie in a row.
pub struct Run {
    pages: Range<u32>,
    migratetype: MigrateType,
    descending: bool,
}

impl Run {
    /// The run of one page.
    #[inline(always)]
    pub fn of(index: u32, migratetype: MigrateType) -> Run {
        Run { pages: index..index + 1, migratetype, descending: false }
    }

    /// Adds the page that is freed next, if it continues the run.
    #[inline(always)]
    pub fn extend(&mut self, index: u32, migratetype: MigrateType) -> bool {
        if migratetype != self.migratetype {
            return false;
        }
        let alone = self.pages.len() == 1;
        if index == self.pages.end && (alone || !self.descending) {
            self.pages.end += 1;
            self.descending = false;
        } else if index + 1 == self.pages.start && (alone || self.descending) {
            self.pages.start = index;
            self.descending = true;
        } else {
            return false;
        }
        true
    }
}

/// One zone's free memory, locked.
pub struct Buddy<'b, 'm> {
    /// The lists; the borrow proves the lock.
    pub lists: &'b mut FreeLists,
    /// The counts that go with them.
    pub counts: &'b FreeCounts,
    /// All page records.
    pub pages: Pages<'m>,
    /// All pageblocks.
    pub blocks: Pageblocks<'m>,
    /// Number of the zone, as page records have it.
    pub zone: u8,
}

impl<'m> Buddy<'_, 'm> {
    /// The same, for a callee: what stays with the caller is then known not to change.
    #[inline(always)]
    pub fn reborrow(&mut self) -> Buddy<'_, 'm> {
        Buddy { lists: self.lists, ..*self }
    }

    /// Takes the smallest block of at least `order` from the lists of `migratetype`, gives its upper halves back, and
    /// returns the index of what is left: 2^order pages, on no list, that remember `migratetype`.
    ///
    /// Does not change the count of free pages. Linux: `__rmqueue_smallest`.
    #[inline(always)]
    pub fn take(&mut self, order: Order, migratetype: MigrateType) -> Option<u32> {
        let index = self.take_unwritten(order, migratetype)?;
        self.pages.at(index).set_state(self.taken(order, migratetype));
        Some(index)
    }

    /// Takes the first block of just `order` from the list of `migratetype`; the caller writes its record from
    /// [`Buddy::taken`].
    #[inline(always)]
    pub fn take_exact(&mut self, order: Order, migratetype: MigrateType) -> Option<u32> {
        let (index, now_empty) = self.lists.lists[order.index()][migratetype as usize].pop_front(&self.pages)?;
        self.counts.unlinked(order, migratetype, now_empty);
        Some(index)
    }

    /// Gives a block back whose buddy is not free, so that nothing merges; `false`, with nothing done, if it is.
    #[inline(always)]
    pub fn free_alone(&mut self, index: u32, order: Order, migratetype: MigrateType) -> bool {
        if self.buddy_is_free(index, order) {
            return false;
        }
        self.counts.count(migratetype, order.nr_pages() as i64);
        self.file(index, order, migratetype);
        true
    }

    /// Whether the buddy of the block is free, in one piece.
    #[inline(always)]
    fn buddy_is_free(&self, index: u32, order: Order) -> bool {
        order < Order::MAX && self.pages.at(index ^ order.nr_pages() as u32).state().is_buddy(order, self.zone)
    }

    /// Puts the unlinked block on its list: first, or last if it may soon be part of a larger one.
    #[inline(always)]
    fn file(&mut self, index: u32, order: Order, migratetype: MigrateType) {
        self.pages.at(index).set_state(PageState::new(Kind::Buddy, order, migratetype, self.zone));
        let last = self.parent_may_merge_soon(index, order);
        let list = &mut self.lists.lists[order.index()][migratetype as usize];
        if last {
            list.push_back(&self.pages, index);
        } else {
            list.push_front(&self.pages, index);
        }
        self.counts.linked(order, migratetype);
    }

    /// [`Buddy::take`] for a caller that writes the record itself, from [`Buddy::taken`].
    #[inline(always)]
    pub fn take_unwritten(&mut self, order: Order, migratetype: MigrateType) -> Option<u32> {
        let (index, found) = self.unlink_smallest(order, migratetype)?;
        if found != order {
            self.expand(index, order, found, migratetype);
        }
        Some(index)
    }

    /// The record of a block just taken: on no list, with the list that it came from.
    #[inline(always)]
    pub fn taken(&self, order: Order, migratetype: MigrateType) -> PageState {
        PageState::new(Kind::Pcp, order, migratetype, self.zone)
    }

    /// Takes the free block at `index`, whose record is `state`, off its list and apart: into single pages of `owner`,
    /// allocated with `flags`. The count of free pages follows. Linux: `__isolate_free_page`, `split_page`.
    pub fn take_apart(&mut self, index: u32, state: PageState, flags: PageFlags, owner: u16) {
        let (order, migratetype) = (state.order(), state.migratetype());
        if order == Order::MAX {
            self.blocks.write_records(self.pages, index);
        }
        self.unlink(index, order, migratetype);
        self.counts.count(migratetype, -(order.nr_pages() as i64));
        let page = self.taken(Order::ZERO, migratetype).to_allocated(flags, owner);
        for index in index..index + order.nr_pages() as u32 {
            self.pages.at(index).set_state(page);
        }
    }

    /// Takes up to `max` single pages in a row from the smallest block of `migratetype`, as as many [`Buddy::take`]s of
    /// order 0 would one after the other: what the first leaves of the block is the smallest for the next. What the last
    /// leaves goes back, on lists that were empty.
    ///
    /// Does not change the count of free pages.
    #[inline(always)]
    pub fn take_pages(&mut self, max: u32, migratetype: MigrateType) -> Option<Range<u32>> {
        let (index, order) = self.unlink_smallest(Order::ZERO, migratetype)?;
        if order == Order::MAX {
            self.blocks.write_records(self.pages, index);
        }
        let size = order.nr_pages() as u32;
        let taken = max.min(size);
        let mut rest = taken;
        while rest < size {
            let order = Order::largest_at(Pfn(u64::from(rest)));
            self.link_only(index + rest, order, migratetype);
            self.counts.listed(1 << order.get(), migratetype);
            rest += order.nr_pages() as u32;
        }
        let page = self.taken(Order::ZERO, migratetype);
        for index in index..index + taken {
            self.pages.at(index).set_state(page);
        }
        Some(index..index + taken)
    }

    /// Takes the first block of the smallest order, `least` or above, that `migratetype` has; with its order.
    #[inline(always)]
    fn unlink_smallest(&mut self, least: Order, migratetype: MigrateType) -> Option<(u32, Order)> {
        let candidates = self.counts.orders(migratetype) >> least.get();
        if candidates == 0 {
            return None;
        }
        let order = Order::new(least.get() + candidates.trailing_zeros())?;
        let list = &mut self.lists.lists[order.index()][migratetype as usize];
        let (index, now_empty) = list.pop_front(&self.pages)?;
        self.counts.unlinked(order, migratetype, now_empty);
        Some((index, order))
    }

    /// Splits the unlinked block at `index` from order `high` down to `low`. The upper halves go to the lists of the
    /// orders between, which are empty: the block was the smallest.
    ///
    /// Linux: `expand`.
    #[inline(always)]
    fn expand(&mut self, index: u32, low: Order, high: Order, migratetype: MigrateType) {
        if high == Order::MAX {
            self.blocks.write_records(self.pages, index);
        }
        let mut order = high;
        while let Some(half) = order.down()
            && low <= half
        {
            order = half;
            self.link_only(index + half.nr_pages() as u32, half, migratetype);
        }
        self.counts.listed((1 << high.get()) - (1 << low.get()), migratetype);
    }

    /// Gives 2^order pages at `index` back to the list of `migratetype`, merged with every free buddy.
    ///
    /// Linux: `__free_one_page`.
    #[inline(always)]
    pub fn free(&mut self, index: u32, order: Order, migratetype: MigrateType) {
        self.counts.count(migratetype, order.nr_pages() as i64);
        let (index, order) = self.merge(index, order);
        self.file(index, order, migratetype);
    }

    /// Gives single pages back that lie in a row, as one [`Buddy::free`] for each of them would, in their order.
    ///
    /// Freed one by one, the pages of an aligned block merge with each other alone until the last of them is free; so
    /// each such block can be freed as a whole.
    #[inline(always)]
    pub fn free_run(&mut self, run: Run) {
        for index in run.pages.clone() {
            self.pages.at(index).set_state(PageState::TAIL);
        }
        let mut rest = run.pages;
        while !rest.is_empty() {
            let fits = rest.len().ilog2();
            let at = if run.descending { rest.end } else { rest.start };
            let order = Order::from_bits(at.trailing_zeros().min(fits));
            let nr_pages = order.nr_pages() as u32;
            let index = if run.descending { at - nr_pages } else { at };
            rest = if run.descending { rest.start..index } else { index + nr_pages..rest.end };
            self.free(index, order, run.migratetype);
        }
    }

    /// Merges the unlinked block with its buddy, as often as that is free; returns the block that came of it.
    #[inline(always)]
    fn merge(&mut self, mut index: u32, mut order: Order) -> (u32, Order) {
        while let Some(up) = order.up() {
            let buddy = index ^ order.nr_pages() as u32;
            let state = self.pages.at(buddy).state();
            if !state.is_buddy(order, self.zone) {
                break;
            }
            if order >= Order::PAGEBLOCK && self.lists.nr_isolated > 0 && isolation_forbids(self.blocks, index, buddy) {
                break;
            }
            self.unlink(buddy, order, state.migratetype());
            self.pages.at(index | buddy).set_state(PageState::TAIL);
            index &= buddy;
            order = up;
        }
        (index, order)
    }

    /// Whether the buddy of the block's future parent is free, so that keeping this block back helps a large merge.
    #[inline(always)]
    fn parent_may_merge_soon(&self, index: u32, order: Order) -> bool {
        let Some(up) = order.up() else { return false };
        if up >= Order::MAX {
            return false;
        }
        let parent = index & !(order.nr_pages() as u32);
        self.pages.at(parent ^ up.nr_pages() as u32).state().is_buddy(up, self.zone)
    }

    /// Moves the free blocks of `index`'s pageblock to the heads of `migratetype`'s lists; returns the pages moved.
    /// `limits` are the zone's indices; a pageblock that ends beyond them is left alone.
    ///
    /// A block larger than a pageblock moves as one. `in_use` hears of every page that is not free. Linux:
    /// `move_freepages_block`.
    pub fn move_pageblock(
        &mut self,
        index: u32,
        limits: &Range<u32>,
        migratetype: MigrateType,
        mut in_use: impl FnMut(PageState),
    ) -> u64 {
        let block = index & !(PAGEBLOCK_NR_PAGES as u32 - 1);
        let end = block + PAGEBLOCK_NR_PAGES as u32;
        let mut at = if limits.contains(&block) { block } else { index };
        if end > limits.end {
            return 0;
        }
        let mut moved = 0;
        while at < end {
            let state = self.blocks.state_of(&self.pages, at);
            if state.is(Kind::Buddy) {
                self.relink(at, state, migratetype);
                moved += state.order().nr_pages();
                at += state.order().nr_pages() as u32;
            } else {
                in_use(state);
                at += 1;
            }
        }
        moved
    }

    /// Moves the free block at `index`, whose record is `state`, to the head of `migratetype`'s list of its order.
    ///
    /// The count of free pages follows when the move crosses the border of Isolate or CMA. Linux: `list_move`.
    pub fn relink(&mut self, index: u32, state: PageState, migratetype: MigrateType) {
        self.unlink(index, state.order(), state.migratetype());
        self.counts.retype(state.migratetype(), migratetype, state.order().nr_pages() as i64);
        self.link_front(index, state.order(), migratetype);
    }

    /// Retypes the pageblocks of the block of `order` at `index`. Linux: `change_pageblock_range`.
    pub fn set_pageblocks(&mut self, index: u32, order: Order, migratetype: MigrateType) {
        let blocks = 1u32 << order.get().saturating_sub(PAGEBLOCK_ORDER);
        for block in 0..blocks {
            self.blocks.set_migratetype(index + block * PAGEBLOCK_NR_PAGES as u32, migratetype);
        }
    }

    /// Makes the block the only one of its list, which is empty; the caller counts the list as not empty.
    #[inline(always)]
    fn link_only(&mut self, index: u32, order: Order, migratetype: MigrateType) {
        self.pages.at(index).set_state(PageState::new(Kind::Buddy, order, migratetype, self.zone));
        let list = &mut self.lists.lists[order.index()][migratetype as usize];
        debug_assert!(list.is_empty(), "a smaller block was there");
        *list = List::of(index);
        self.counts.one_more(order);
    }

    #[inline(always)]
    fn link_front(&mut self, index: u32, order: Order, migratetype: MigrateType) {
        self.pages.at(index).set_state(PageState::new(Kind::Buddy, order, migratetype, self.zone));
        self.lists.lists[order.index()][migratetype as usize].push_front(&self.pages, index);
        self.counts.linked(order, migratetype);
    }

    #[inline(always)]
    fn unlink(&mut self, index: u32, order: Order, migratetype: MigrateType) {
        let list = &mut self.lists.lists[order.index()][migratetype as usize];
        let now_empty = list.remove(&self.pages, index);
        self.counts.unlinked(order, migratetype, now_empty);
    }
}

/// At pageblock size and above, isolated blocks merge only with isolated ones.
#[cold]
#[inline(never)]
fn isolation_forbids(blocks: Pageblocks<'_>, index: u32, buddy: u32) -> bool {
    let (own, other) = (blocks.of(index).migratetype(), blocks.of(buddy).migratetype());
    own != other && (own == MigrateType::Isolate || other == MigrateType::Isolate)
}
