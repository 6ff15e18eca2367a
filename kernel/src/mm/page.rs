//! The page record: everything that the allocator knows about one page frame, in 16 bytes.
//!
//! A [`Page`] has two links and one [`PageState`]. A page is on at most one list at a time (a buddy free list, a per-CPU
//! list, an LRU list), so the links serve all three; a page on no list keeps there what its owner wants. Links are
//! indices into the record array [`Pages`], not pointers. The array covers the pages from the lowest to the highest of
//! the machine; its base is a multiple of 1,024 pages, so that buddies by index are buddies by number.
//!
//! Only the *head* of a block has a meaningful record. [`Kind::Tail`] is what a record says when its page belongs to the
//! block of a head before it, or to nothing; and the records inside a maximal block that was never split are not even
//! written (see [`super::pageblock`]).
//!
//! All fields are atomics with relaxed order, because records are shared between CPUs; what makes a sequence of accesses
//! exclusive is the zone lock, the pin of a per-CPU list, or being the only owner of the page. Linux: `struct page`.
//!
//! Linux does more: 64 bytes with unions for a dozen users, and sections so that large holes cost nothing.

use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Relaxed, Release},
};
use core::fmt;

use bitflags::bitflags;

use crate::addr::{MAX_ORDER_NR_PAGES, Order, Pfn, PfnRange};
use crate::mmzone::MigrateType;

/// The link that leads nowhere.
pub const NIL: u32 = u32::MAX;

/// What a page is, as far as the allocator cares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Part of the block of a head before it, or of no block (reserved memory, a hole).
    Tail = 0,
    /// Head of a free block on a list of its zone. Linux: `PageBuddy`.
    Buddy = 1,
    /// On a per-CPU list.
    Pcp = 2,
    /// Head of an allocated block.
    Allocated = 3,
    /// Found bad and kept out of use.
    Bad = 4,
}

bitflags! {
    /// Marks of an allocated page. Linux: `PG_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct PageFlags: u16 {
        /// Head of a compound page.
        const HEAD = 1 << 0;
        /// Taken below every watermark, to make room: `page_is_pfmemalloc`.
        const PFMEMALLOC = 1 << 1;
        /// Locked by someone who works on its content.
        const LOCKED = 1 << 2;
        /// On an LRU list.
        const LRU = 1 << 3;
        /// On an active LRU list.
        const ACTIVE = 1 << 4;
        /// Used since reclaim last looked.
        const REFERENCED = 1 << 5;
        /// Content differs from the store's.
        const DIRTY = 1 << 6;
        /// On its way to the store.
        const WRITEBACK = 1 << 7;
        /// Belongs to the slab allocator.
        const SLAB = 1 << 8;
        /// Anonymous memory.
        const SWAPBACKED = 1 << 9;
        /// Cannot be reclaimed.
        const UNEVICTABLE = 1 << 10;
        /// To be reclaimed as soon as writeback ends.
        const RECLAIM = 1 << 11;
        /// Movable though not on an LRU list.
        const MOVABLE = 1 << 12;
        /// Was in active use before it was deactivated.
        const WORKINGSET = 1 << 13;
        /// Has a slot of the swap space.
        const SWAPCACHE = 1 << 14;
        /// The content is there.
        const UPTODATE = 1 << 15;

        /// None of these may be set when a page is freed. Linux: `PAGE_FLAGS_CHECK_AT_FREE`.
        const CHECK_AT_FREE = Self::LOCKED.bits() | Self::LRU.bits() | Self::ACTIVE.bits() | Self::WRITEBACK.bits()
            | Self::SLAB.bits() | Self::UNEVICTABLE.bits();
    }
}

/// A page's state as one value: kind, order, type, zone, flags, owner and reference count.
///
/// Bits, low to high: kind 4, order 4, migratetype 3, zone 5, flags 16, owner 16, references 16.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct PageState(u64);

const ORDER_SHIFT: u32 = 4;
const TYPE_SHIFT: u32 = 8;
const ZONE_SHIFT: u32 = 11;
const FLAGS_SHIFT: u32 = 16;
const OWNER_SHIFT: u32 = 32;
const COUNT_SHIFT: u32 = 48;
const TYPE_MASK: u64 = 7 << TYPE_SHIFT;
const ZONE_MASK: u64 = 31 << ZONE_SHIFT;

impl PageState {
    /// The state of a page that heads no block.
    pub const TAIL: PageState = PageState(0);

    /// A block of `order` in the zone with number `zone`.
    #[inline(always)]
    pub const fn new(kind: Kind, order: Order, migratetype: MigrateType, zone: u8) -> PageState {
        PageState(
            kind as u64
                | (order.get() as u64) << ORDER_SHIFT
                | (migratetype as u64) << TYPE_SHIFT
                | (zone as u64) << ZONE_SHIFT,
        )
    }

    /// The same block, free or on its way, as `kind`: no flags, no owner, no references.
    #[inline(always)]
    pub const fn to_free(self, kind: Kind, migratetype: MigrateType) -> PageState {
        PageState(self.0 & (ZONE_MASK | 15 << ORDER_SHIFT) | kind as u64 | (migratetype as u64) << TYPE_SHIFT)
    }

    /// The same single page on per-CPU list `list`, which is the number of its migratetype.
    #[inline(always)]
    pub const fn to_free_pcp(self, list: usize) -> PageState {
        PageState(self.0 & ZONE_MASK | Kind::Pcp as u64 | (list as u64) << TYPE_SHIFT)
    }

    /// The same block handed to `owner`: one reference, `flags` set.
    #[inline(always)]
    pub const fn to_allocated(self, flags: PageFlags, owner: u16) -> PageState {
        PageState(
            self.0 & (ZONE_MASK | TYPE_MASK | 15 << ORDER_SHIFT)
                | Kind::Allocated as u64
                | (flags.bits() as u64) << FLAGS_SHIFT
                | (owner as u64) << OWNER_SHIFT
                | 1 << COUNT_SHIFT,
        )
    }

    /// The same page with another order.
    #[inline(always)]
    #[must_use]
    pub const fn with_order(self, order: Order) -> PageState {
        PageState(self.0 & !(15 << ORDER_SHIFT) | (order.get() as u64) << ORDER_SHIFT)
    }

    /// The same page with `flags` instead of its own.
    #[must_use]
    pub const fn with_flags(self, flags: PageFlags) -> PageState {
        PageState(self.0 & !(0xffff << FLAGS_SHIFT) | (flags.bits() as u64) << FLAGS_SHIFT)
    }

    /// The same page with another owner.
    #[must_use]
    pub const fn with_owner(self, owner: u16) -> PageState {
        PageState(self.0 & !(0xffff << OWNER_SHIFT) | (owner as u64) << OWNER_SHIFT)
    }

    /// What the page is.
    #[inline(always)]
    pub const fn kind(self) -> Kind {
        match self.0 & 15 {
            1 => Kind::Buddy,
            2 => Kind::Pcp,
            3 => Kind::Allocated,
            4 => Kind::Bad,
            _ => Kind::Tail,
        }
    }

    /// Whether the page is of `kind`.
    #[inline(always)]
    pub const fn is(self, kind: Kind) -> bool {
        self.0 & 15 == kind as u64
    }

    /// Whether the page heads a free block of `order` in `zone`: whether its buddy may merge with it.
    #[inline(always)]
    pub const fn is_buddy(self, order: Order, zone: u8) -> bool {
        let block = PageState::new(Kind::Buddy, order, MigrateType::Unmovable, zone);
        self.0 & !TYPE_MASK == block.0
    }

    /// Order of the block.
    #[inline(always)]
    pub const fn order(self) -> Order {
        Order::from_bits((self.0 >> ORDER_SHIFT) as u32)
    }

    /// The list a free block is on; for pages of per-CPU lists and allocated ones, the list they came from.
    #[inline(always)]
    pub const fn migratetype(self) -> MigrateType {
        match MigrateType::from_u8((self.0 >> TYPE_SHIFT & 7) as u8) {
            Some(migratetype) => migratetype,
            None => MigrateType::Unmovable,
        }
    }

    /// Number of the zone (node times 5 plus index).
    #[inline(always)]
    pub const fn zone(self) -> usize {
        (self.0 >> ZONE_SHIFT & 31) as usize
    }

    /// The marks of an allocated page.
    #[inline(always)]
    pub const fn flags(self) -> PageFlags {
        PageFlags::from_bits_retain((self.0 >> FLAGS_SHIFT) as u16)
    }

    /// Who holds the page: the number of a task.
    pub const fn owner(self) -> u16 {
        (self.0 >> OWNER_SHIFT) as u16
    }

    /// Number of references.
    #[inline(always)]
    pub const fn count(self) -> u16 {
        (self.0 >> COUNT_SHIFT) as u16
    }

    /// Whether this is an allocated block of `order` with `references`, free of marks that forbid to free it.
    #[inline(always)]
    pub const fn is_freeable(self, order: u32, references: u16) -> bool {
        const CHECKED: u64 =
            15 | 15 << ORDER_SHIFT | (PageFlags::CHECK_AT_FREE.bits() as u64) << FLAGS_SHIFT | 0xffff << COUNT_SHIFT;
        let wanted = Kind::Allocated as u64 | (order as u64) << ORDER_SHIFT | (references as u64) << COUNT_SHIFT;
        order < 16 && self.0 & CHECKED == wanted
    }

    /// Whether this is a page of a per-CPU list as it must be: order 0, no flags, owner or references.
    #[inline(always)]
    pub const fn is_clean_pcp(self) -> bool {
        self.0 & !(TYPE_MASK | ZONE_MASK) == Kind::Pcp as u64
    }

    /// Whether flags, owner and references are all clear, as they must be while a page is free.
    #[inline(always)]
    pub const fn is_unused(self) -> bool {
        self.0 >> FLAGS_SHIFT == 0
    }
}

impl fmt::Debug for PageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} order {} {} zone {} flags {:?} owner {} count {}",
            self.kind(),
            self.order(),
            self.migratetype(),
            self.zone(),
            self.flags(),
            self.owner(),
            self.count()
        )
    }
}

/// The record of one page frame.
#[derive(Default)]
#[repr(C, align(16))]
pub struct Page {
    next: AtomicU32,
    prev: AtomicU32,
    state: AtomicU64,
}

const _: () = assert!(size_of::<Page>() == 16);

impl Page {
    /// A record as RAM may hold it before anybody wrote one.
    #[cfg(any(test, feature = "host"))]
    pub(crate) const fn garbage(next: u32, prev: u32, state: PageState) -> Page {
        Page { next: AtomicU32::new(next), prev: AtomicU32::new(prev), state: AtomicU64::new(state.0) }
    }

    /// The page's state.
    #[inline(always)]
    pub fn state(&self) -> PageState {
        PageState(self.state.load(Relaxed))
    }

    /// Replaces the state; the caller owns the page, or holds the lock of the list that it is on.
    #[inline(always)]
    pub fn set_state(&self, state: PageState) {
        self.state.store(state.0, Relaxed);
    }

    /// Adds references to a page that others may hold too. Linux: `page_ref_add`.
    pub fn get(&self, references: u16) {
        self.state.fetch_add(u64::from(references) << COUNT_SHIFT, Relaxed);
    }

    /// Adds a reference to a page that somebody else may be about to free; whether it still had one.
    ///
    /// Linux: `get_page_unless_zero`.
    pub fn get_unless_zero(&self) -> bool {
        let more = |bits| (PageState(bits).count() > 0).then_some(bits + (1 << COUNT_SHIFT));
        self.state.fetch_update(AcqRel, Relaxed, more).is_ok()
    }

    /// Takes a page off an LRU list as far as its record goes: one reference more, and not [`PageFlags::LRU`] any more;
    /// `false` when somebody frees it right now.
    ///
    /// Linux: `__isolate_lru_page`.
    pub fn isolate(&self) -> bool {
        let isolated = |bits| {
            let listed = bits & !((PageFlags::LRU.bits() as u64) << FLAGS_SHIFT);
            (PageState(bits).count() > 0).then_some(listed + (1 << COUNT_SHIFT))
        };
        self.state.fetch_update(AcqRel, Relaxed, isolated).is_ok()
    }

    /// Takes all references of a page that has exactly `expected`, so that nobody can get a new one; whether it had.
    /// Linux: `page_ref_freeze`.
    pub fn freeze(&self, expected: u16) -> bool {
        let frozen = |bits| (PageState(bits).count() == expected).then_some(bits & !(0xffff << COUNT_SHIFT));
        self.state.fetch_update(AcqRel, Relaxed, frozen).is_ok()
    }

    /// Gives a frozen page `references`. Linux: `page_ref_unfreeze`.
    pub fn unfreeze(&self, references: u16) {
        self.state.fetch_or(u64::from(references) << COUNT_SHIFT, Release);
    }

    /// Sets `flags`, whoever else changes the page; those that were set before. Linux: `SetPage...`, `TestSetPage...`.
    pub fn set_flags(&self, flags: PageFlags) -> PageFlags {
        PageState(self.state.fetch_or((flags.bits() as u64) << FLAGS_SHIFT, AcqRel)).flags() & flags
    }

    /// Clears `flags`, whoever else changes the page; those that were set before. Linux: `ClearPage...`,
    /// `TestClearPage...`.
    pub fn clear_flags(&self, flags: PageFlags) -> PageFlags {
        PageState(self.state.fetch_and(!((flags.bits() as u64) << FLAGS_SHIFT), AcqRel)).flags() & flags
    }

    /// Sets who holds the page, whoever else changes its marks.
    pub fn set_owner(&self, owner: u16) {
        let owned = |bits| Some(bits & !(0xffff << OWNER_SHIFT) | u64::from(owner) << OWNER_SHIFT);
        let _ = self.state.fetch_update(AcqRel, Relaxed, owned);
    }

    /// Locks the page; whether nobody had. Linux: `trylock_page`.
    pub fn try_lock(&self) -> bool {
        self.set_flags(PageFlags::LOCKED).is_empty()
    }

    /// The page's flags.
    #[inline(always)]
    pub fn flags(&self) -> PageFlags {
        self.state().flags()
    }

    /// Drops one reference; whether it was the last. Linux: `put_page_testzero`.
    #[inline(always)]
    pub fn put_testzero(&self) -> bool {
        let before = PageState(self.state.fetch_sub(1 << COUNT_SHIFT, AcqRel));
        before.count() == 1
    }

    /// Drops `references` at once; whether these were the last. Linux: `page_ref_sub_and_test`.
    pub fn sub_and_test(&self, references: u16) -> bool {
        let before = PageState(self.state.fetch_sub(u64::from(references) << COUNT_SHIFT, AcqRel));
        before.count() == references
    }

    /// Next page of the list, or [`NIL`].
    #[inline(always)]
    pub(super) fn next(&self) -> u32 {
        self.next.load(Relaxed)
    }

    /// Previous page of the list, or [`NIL`].
    #[inline(always)]
    pub(super) fn prev(&self) -> u32 {
        self.prev.load(Relaxed)
    }

    #[inline(always)]
    pub(super) fn set_next(&self, next: u32) {
        self.next.store(next, Relaxed);
    }

    #[inline(always)]
    pub(super) fn set_prev(&self, prev: u32) {
        self.prev.store(prev, Relaxed);
    }

    /// What the owner of an allocated page that is on no list keeps in its record. Linux: `page->private`.
    pub fn private(&self) -> u32 {
        self.next()
    }

    /// Sets what [`Page::private`] returns; only for an allocated page that is on no list.
    pub fn set_private(&self, private: u32) {
        self.set_next(private);
    }
}

/// The records of all pages, from the lowest to the highest.
#[derive(Clone, Copy)]
pub struct Pages<'m> {
    records: &'m [Page],
    base: u64,
}

impl<'m> Pages<'m> {
    /// Records that an array for `span` needs: the span rounded out to maximal blocks.
    pub const fn records_for(span: PfnRange) -> usize {
        (span.end.align_up(Order::MAX).0 - span.start.align_down(Order::MAX).0) as usize
    }

    /// The array for `span`. The records need not be initialised in any way: none is read before it was written.
    ///
    /// # Panics
    ///
    /// When `records` is not [`Pages::records_for`] long.
    pub fn new(records: &'m [Page], span: PfnRange) -> Pages<'m> {
        assert_eq!(records.len(), Pages::records_for(span), "record array does not fit {span:?}");
        assert!(records.len() < NIL as usize, "more pages than links can name");
        Pages { records, base: span.start.align_down(Order::MAX).0 }
    }

    /// The pages that have a record.
    pub fn span(&self) -> PfnRange {
        PfnRange::new(Pfn(self.base), Pfn(self.base + self.records.len() as u64))
    }

    /// The index of `pfn`'s record.
    #[inline(always)]
    pub fn index(&self, pfn: Pfn) -> u32 {
        pfn.0.wrapping_sub(self.base) as u32
    }

    /// The index of `pfn`'s record, or `None` for a page beyond the array.
    #[inline(always)]
    pub fn checked_index(&self, pfn: Pfn) -> Option<u32> {
        let index = u32::try_from(pfn.0.wrapping_sub(self.base)).ok()?;
        ((index as usize) < self.records.len()).then_some(index)
    }

    /// The number of the page whose record is at `index`.
    #[inline(always)]
    pub fn pfn(&self, index: u32) -> Pfn {
        Pfn(self.base + u64::from(index))
    }

    /// The record at `index`.
    #[inline(always)]
    pub fn at(&self, index: u32) -> &'m Page {
        &self.records[index as usize]
    }

    /// Clears the records of the maximal block that contains `index`.
    pub fn clear_maximal_block(self, index: u32) {
        let first = index as usize & !(MAX_ORDER_NR_PAGES as usize - 1);
        for page in &self.records[first..first + MAX_ORDER_NR_PAGES as usize] {
            page.set_state(PageState::TAIL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(n: u32) -> Order {
        Order::new(n).unwrap()
    }

    #[test]
    fn a_state_keeps_what_it_was_made_of() {
        let free = PageState::new(Kind::Buddy, order(7), MigrateType::Cma, 19);
        assert_eq!(
            (free.kind(), free.order().get(), free.migratetype(), free.zone()),
            (Kind::Buddy, 7, MigrateType::Cma, 19)
        );
        assert!(free.is_unused());

        let taken = free.to_allocated(PageFlags::HEAD | PageFlags::PFMEMALLOC, 513);
        assert_eq!(
            (taken.kind(), taken.order().get(), taken.migratetype(), taken.zone()),
            (Kind::Allocated, 7, MigrateType::Cma, 19)
        );
        assert_eq!((taken.owner(), taken.count(), taken.flags()), (513, 1, PageFlags::HEAD | PageFlags::PFMEMALLOC));
        assert!(!taken.is_unused());

        let back = taken.to_free(Kind::Pcp, MigrateType::Movable);
        assert_eq!(
            (back.kind(), back.order().get(), back.migratetype(), back.zone()),
            (Kind::Pcp, 7, MigrateType::Movable, 19)
        );
        assert!(back.is_unused());
    }

    #[test]
    fn a_buddy_has_the_same_order_and_zone_and_any_type() {
        for migratetype in MigrateType::ALL {
            let free = PageState::new(Kind::Buddy, order(3), migratetype, 6);
            assert!(free.is_buddy(order(3), 6));
            assert!(!free.is_buddy(order(2), 6));
            assert!(!free.is_buddy(order(3), 5));
            assert!(!free.to_free(Kind::Pcp, migratetype).is_buddy(order(3), 6));
            assert!(!free.to_allocated(PageFlags::empty(), 0).is_buddy(order(3), 6));
        }
        assert!(!PageState::TAIL.is_buddy(order(0), 0));
    }

    #[test]
    fn the_last_reference_is_told_apart() {
        let page = Page::default();
        page.set_state(
            PageState::new(Kind::Pcp, order(0), MigrateType::Movable, 0).to_allocated(PageFlags::empty(), 0),
        );
        page.get(32768);
        assert_eq!(page.state().count(), 32769);
        for _ in 0..32768 {
            assert!(!page.put_testzero());
        }
        assert!(page.put_testzero());
    }

    #[test]
    fn the_array_is_rounded_out_to_maximal_blocks() {
        let span = PfnRange::new(Pfn(0x40083), Pfn(0x40c01));
        assert_eq!(Pages::records_for(span), 0x1000);
        let records: Vec<Page> = (0..0x1000).map(|_| Page::default()).collect();
        let pages = Pages::new(&records, span);
        assert_eq!(pages.index(Pfn(0x40083)), 0x83);
        assert_eq!(pages.pfn(0x83), Pfn(0x40083));
        assert_eq!(pages.checked_index(Pfn(0x41000)), None);
        assert_eq!(pages.checked_index(Pfn(0x3ffff)), None);
    }
}
