//! The state of a page as one value: what it is, and its marks.
//!
//! [`PageState`] packs a [`Kind`], an order, a migratetype, the number of a zone, [`PageFlags`], an owner and a count of
//! references into 64 bits, so that one load tells all of it and one store changes all of it. Everything here is a
//! function of values; [`super::Page`] keeps one where other CPUs see it. Linux: `_refcount`, `_mapcount` and `flags` of
//! `struct page`, `include/linux/page-flags.h`.

use core::fmt;

use bitflags::bitflags;

use crate::addr::Order;
use crate::mmzone::MigrateType;

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
pub struct PageState(pub(super) u64);

const ORDER_SHIFT: u32 = 4;
const TYPE_SHIFT: u32 = 8;
const ZONE_SHIFT: u32 = 11;
pub(super) const FLAGS_SHIFT: u32 = 16;
pub(super) const OWNER_SHIFT: u32 = 32;
pub(super) const COUNT_SHIFT: u32 = 48;
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
}
