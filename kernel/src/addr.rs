//! Addresses, page frame numbers and orders: the only arithmetic on them.
//!
//! A [`PhysAddr`] counts bytes, a [`Pfn`] counts pages of 4 KiB, an [`Order`] is the base-2 logarithm of a block's
//! pages. Ends of ranges are exclusive. Linux: `include/linux/pfn.h`, `include/linux/mmzone.h`.
//!
//! Linux does more: granules of 16 and 64 KiB, and an order limit chosen when the kernel is configured.

use core::fmt;

/// log2 of the page size.
pub const PAGE_SHIFT: u32 = 12;
/// Bytes in a page.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;
/// Orders are below this (Linux v5.0's `MAX_ORDER` is exclusive).
pub const MAX_ORDER: u32 = 11;
/// Pages in a maximal block (order 10, 4 MiB).
pub const MAX_ORDER_NR_PAGES: u64 = 1 << (MAX_ORDER - 1);
/// Orders above this one are costly.
pub const PAGE_ALLOC_COSTLY_ORDER: u32 = 3;
/// Order of a pageblock, the unit that has a migratetype (2 MiB).
pub const PAGEBLOCK_ORDER: u32 = 9;
/// Pages in a pageblock.
pub const PAGEBLOCK_NR_PAGES: u64 = 1 << PAGEBLOCK_ORDER;

/// A physical address in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PhysAddr(pub u64);

impl PhysAddr {
    /// The page that contains this address.
    pub const fn pfn(self) -> Pfn {
        Pfn(self.0 >> PAGE_SHIFT)
    }

    /// The first page that starts at or after this address.
    pub const fn pfn_up(self) -> Pfn {
        Pfn(self.0.div_ceil(PAGE_SIZE))
    }
}

impl fmt::Display for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

impl fmt::Debug for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// An address in the kernel's own address space, in bytes. RAM that the linear map covers has its physical address there
/// too; all else is mapped page by page ([`crate::mm::pgtable`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct VirtAddr(pub u64);

impl VirtAddr {
    /// Where the linear map has `addr`. Linux: `__va`.
    pub const fn linear(addr: PhysAddr) -> VirtAddr {
        VirtAddr(addr.0)
    }

    /// The address `bytes` bytes further on.
    pub const fn add(self, bytes: u64) -> VirtAddr {
        VirtAddr(self.0 + bytes)
    }

    /// Whether a page starts here.
    pub const fn is_page_aligned(self) -> bool {
        self.0 & (PAGE_SIZE - 1) == 0
    }
}

impl fmt::Display for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

impl fmt::Debug for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "virt {:#x}", self.0)
    }
}

/// A page frame number: a physical address divided by the page size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pfn(pub u64);

impl Pfn {
    /// Address of the page's first byte.
    pub const fn addr(self) -> PhysAddr {
        PhysAddr(self.0 << PAGE_SHIFT)
    }

    /// The other half of the block of `order + 1` that contains the block of `order` at `self`.
    ///
    /// Linux: `__find_buddy_pfn`.
    pub const fn buddy(self, order: Order) -> Pfn {
        Pfn(self.0 ^ order.nr_pages())
    }

    /// First page of the block of `order` that contains `self`.
    pub const fn align_down(self, order: Order) -> Pfn {
        Pfn(self.0 & !(order.nr_pages() - 1))
    }

    /// First page at or after `self` on which a block of `order` may start.
    pub const fn align_up(self, order: Order) -> Pfn {
        Pfn(self.0 + order.nr_pages() - 1).align_down(order)
    }

    /// Whether a block of `order` may start here.
    pub const fn is_aligned(self, order: Order) -> bool {
        self.0 & (order.nr_pages() - 1) == 0
    }

    /// The page `nr_pages` further on.
    pub const fn add(self, nr_pages: u64) -> Pfn {
        Pfn(self.0 + nr_pages)
    }
}

impl fmt::Display for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pfn {:#x}", self.0)
    }
}

/// Pages from `start` up to, and without, `end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PfnRange {
    /// First page.
    pub start: Pfn,
    /// One past the last page.
    pub end: Pfn,
}

impl PfnRange {
    /// The range `[start, end)`; empty when `end` is not above `start`.
    pub const fn new(start: Pfn, end: Pfn) -> PfnRange {
        PfnRange { start, end }
    }

    /// Number of pages; 0 for an empty range.
    pub const fn nr_pages(self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }

    /// Whether the range has no page.
    pub const fn is_empty(self) -> bool {
        self.nr_pages() == 0
    }

    /// Whether `pfn` lies in the range.
    pub const fn contains(self, pfn: Pfn) -> bool {
        self.start.0 <= pfn.0 && pfn.0 < self.end.0
    }

    /// The pages that both ranges have; possibly empty.
    pub fn intersect(self, other: PfnRange) -> PfnRange {
        PfnRange::new(self.start.max(other.start), self.end.min(other.end))
    }
}

/// Size of a block: 2^order pages, 0 to 10.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Order(u8);

impl Order {
    /// One page.
    pub const ZERO: Order = Order(0);
    /// Two pages.
    pub const ONE: Order = Order(1);
    /// The largest block, 1,024 pages.
    pub const MAX: Order = Order(MAX_ORDER as u8 - 1);
    /// A pageblock, 512 pages.
    pub const PAGEBLOCK: Order = Order(PAGEBLOCK_ORDER as u8);

    /// The order, or `None` when it is above 10.
    pub const fn new(order: u32) -> Option<Order> {
        if order < MAX_ORDER { Some(Order(order as u8)) } else { None }
    }

    /// The order in the lowest four bits of `bits`; those above 10, which no record has, are taken for 10.
    #[inline(always)]
    pub const fn from_bits(bits: u32) -> Order {
        let order = bits & 15;
        if order < MAX_ORDER { Order(order as u8) } else { Order::MAX }
    }

    /// The order as a number, 0 to 10.
    #[inline(always)]
    pub const fn get(self) -> u32 {
        self.0 as u32
    }

    /// The order as an array index, 0 to 10.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Pages of a block of this order.
    pub const fn nr_pages(self) -> u64 {
        1 << self.0
    }

    /// The next larger order, or `None` at the maximum.
    pub const fn up(self) -> Option<Order> {
        Order::new(self.0 as u32 + 1)
    }

    /// The next smaller order, or `None` at 0.
    pub const fn down(self) -> Option<Order> {
        match self.0 {
            0 => None,
            n => Some(Order(n - 1)),
        }
    }

    /// All orders from `self` to the maximum, ascending.
    pub fn and_above(self) -> impl DoubleEndedIterator<Item = Order> + Clone {
        (self.0..MAX_ORDER as u8).map(Order)
    }

    /// All orders, ascending.
    pub fn all() -> impl DoubleEndedIterator<Item = Order> + Clone {
        Order::ZERO.and_above()
    }

    /// The smallest order whose blocks hold `bytes`; `None` above 4 MiB, and for no byte at all.
    pub const fn for_bytes(bytes: u64) -> Option<Order> {
        Order::new(get_order(bytes))
    }

    /// The largest order of a block that may start at `pfn` (page 0 is aligned to every order).
    pub const fn largest_at(pfn: Pfn) -> Order {
        let zeros = pfn.0.trailing_zeros();
        if zeros < MAX_ORDER { Order(zeros as u8) } else { Order::MAX }
    }
}

/// log2 of the pages that hold `bytes`, however many; 52 for no byte at all, as in Linux.
pub const fn get_order(bytes: u64) -> u32 {
    match bytes {
        0 => u64::BITS - PAGE_SHIFT,
        bytes => u64::BITS - ((bytes - 1) >> PAGE_SHIFT).leading_zeros(),
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_for_bytes_is_get_order() {
        let order = |bytes| Order::for_bytes(bytes).map(Order::get);
        assert_eq!(order(0), None);
        assert_eq!(order(1), Some(0));
        assert_eq!((get_order(0), get_order((4 << 20) + 1)), (52, 11));
        assert_eq!(order(4096), Some(0));
        assert_eq!(order(4097), Some(1));
        assert_eq!(order(8193), Some(2));
        assert_eq!(order(4 << 20), Some(10));
        assert_eq!(order((4 << 20) + 1), None);
    }

    #[test]
    fn buddies_pair_up_at_every_order() {
        for order in Order::all() {
            let block = Pfn(0x40000);
            assert_eq!(block.buddy(order).buddy(order), block);
            assert_eq!(block.buddy(order).align_down(order), block.buddy(order));
        }
    }

    #[test]
    fn page_zero_is_aligned_to_every_order() {
        assert_eq!(Order::largest_at(Pfn(0)), Order::MAX);
        assert_eq!(Order::largest_at(Pfn(0x40083)), Order::ZERO);
        assert_eq!(Order::largest_at(Pfn(0x40100)).get(), 8);
    }
}
