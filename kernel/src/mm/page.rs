//! The page record: everything that the allocator knows about one page frame, in 16 bytes.
//!
//! A [`Page`] has two links and one [`PageState`] (`page/state.rs`). A page is on at most one list at a time (a buddy free list, a per-CPU
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

use crate::addr::{MAX_ORDER_NR_PAGES, Order, Pfn, PfnRange};
use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Relaxed, Release},
};

mod state;

use state::{COUNT_SHIFT, FLAGS_SHIFT, OWNER_SHIFT};
pub use state::{Kind, PageFlags, PageState};

/// The link that leads nowhere.
pub const NIL: u32 = u32::MAX;

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
    use crate::mmzone::MigrateType;

    #[test]
    fn the_last_reference_is_told_apart() {
        let page = Page::default();
        page.set_state(
            PageState::new(Kind::Pcp, Order::ZERO, MigrateType::Movable, 0).to_allocated(PageFlags::empty(), 0),
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
