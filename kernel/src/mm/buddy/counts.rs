//! How much is free in one zone, as who has not locked it may know: [`FreeCounts`].
//!
//! The watermark check needs only these numbers and which lists are empty, so it takes no lock. Linux: `vm_stat` of
//! `struct zone`, `free_area.nr_free`. Linux does more: a part of each change waits in per-CPU counters.

use super::SLOTS;
use crate::addr::{MAX_ORDER, Order};
use crate::mmzone::MigrateType;
use crate::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

/// How much is free in one zone: written under the zone's lock, read by anyone.
#[derive(Default)]
pub struct FreeCounts {
    /// Free pages on all lists but Isolate. Linux: `NR_FREE_PAGES`.
    free: AtomicU64,
    /// Free pages on the CMA lists. Linux: `NR_FREE_CMA_PAGES`.
    cma: AtomicU64,
    nr_free: [AtomicU32; MAX_ORDER as usize],
    /// For each migratetype, the set of orders whose list is not empty.
    orders: [AtomicU16; SLOTS],
}

impl FreeCounts {
    /// Free pages. Linux: `zone_page_state(zone, NR_FREE_PAGES)`.
    #[inline(always)]
    pub fn free_pages(&self) -> u64 {
        self.free.load(Relaxed)
    }

    /// Free pages on the CMA lists.
    #[inline(always)]
    pub fn free_cma(&self) -> u64 {
        self.cma.load(Relaxed)
    }

    /// Free blocks of `order` on the lists of all types. Linux: `free_area.nr_free`.
    #[inline(always)]
    pub fn nr_free(&self, order: Order) -> u64 {
        u64::from(self.nr_free[order.index()].load(Relaxed))
    }

    /// Bit k is set when the list of order k and `migratetype` has a block.
    #[inline(always)]
    pub fn orders(&self, migratetype: MigrateType) -> u16 {
        self.orders[migratetype as usize].load(Relaxed)
    }

    /// Counts `pages` of `migratetype` in (`free` of the list type) or, when negative, out.
    #[inline(always)]
    pub(in crate::mm) fn count(&self, migratetype: MigrateType, pages: i64) {
        if migratetype != MigrateType::Isolate {
            add(&self.free, pages);
        }
        if migratetype == MigrateType::Cma {
            add(&self.cma, pages);
        }
    }

    /// Counts free pages of type `from` as of type `to`. A count that does not change is not touched: who looks without
    /// the lock must not take a free block for one in use.
    pub(super) fn retype(&self, from: MigrateType, to: MigrateType, pages: i64) {
        let crosses = |border: MigrateType| i64::from(to == border) - i64::from(from == border);
        add(&self.free, -pages * crosses(MigrateType::Isolate));
        add(&self.cma, pages * crosses(MigrateType::Cma));
    }

    #[inline(always)]
    pub(super) fn linked(&self, order: Order, migratetype: MigrateType) {
        self.one_more(order);
        self.listed(1 << order.get(), migratetype);
    }

    #[inline(always)]
    pub(super) fn one_more(&self, order: Order) {
        let nr_free = &self.nr_free[order.index()];
        nr_free.store(nr_free.load(Relaxed) + 1, Relaxed);
    }

    /// The lists of `more` orders are not empty now.
    #[inline(always)]
    pub(super) fn listed(&self, more: u16, migratetype: MigrateType) {
        let orders = &self.orders[migratetype as usize];
        orders.store(orders.load(Relaxed) | more, Relaxed);
    }

    #[inline(always)]
    pub(super) fn unlinked(&self, order: Order, migratetype: MigrateType, now_empty: bool) {
        let nr_free = &self.nr_free[order.index()];
        nr_free.store(nr_free.load(Relaxed) - 1, Relaxed);
        if now_empty {
            let orders = &self.orders[migratetype as usize];
            orders.store(orders.load(Relaxed) & !(1 << order.get()), Relaxed);
        }
    }
}

/// Adds to a counter that only the holder of the zone's lock writes.
#[inline(always)]
fn add(counter: &AtomicU64, change: i64) {
    counter.store(counter.load(Relaxed).wrapping_add_signed(change), Relaxed);
}
