//! What a zone remembers of its compaction: how far attempts are put off, and where the scanners left off.
//!
//! Deferral is a count with an exponential back-off. After a failure of order k, requests of order k and above are put
//! off 2^[`shift`](CompactState::shift) - 1 times before the next one may try; every failure in a row doubles that, up to
//! 64. With every attempt failing, those numbered 1, 3, 7, 15, 31, 63, 127, 191, 255 really run.
//!
//! Nothing here is locked: requests on two CPUs may lose a count to each other, as in Linux, where these are plain fields
//! of `struct zone` (`compact_considered`, `compact_defer_shift`, `compact_order_failed`, `compact_cached_free_pfn`, ...).

use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::addr::{Order, Pfn, PfnRange};

/// The largest shift. Linux: `COMPACT_MAX_DEFER_SHIFT`.
pub const MAX_DEFER_SHIFT: u32 = 6;

/// What a zone remembers of its compaction.
#[derive(Debug, Default)]
pub struct CompactState {
    considered: AtomicU32,
    shift: AtomicU32,
    /// Lowest order that is put off. 0 at first: the first failure puts off every order.
    order_failed: AtomicU32,
    /// The scanners met on behalf of a request: before kswapd sleeps, the skip marks are to go.
    flush: AtomicBool,
    /// Where the migrate scanner goes on: of compaction that never waits, of compaction that may.
    migrate: [AtomicU64; 2],
    /// Where the free scanner goes on.
    free: AtomicU64,
    /// Pages taken off the free lists since boot, which `pgalloc` does not count.
    taken: AtomicU64,
}

impl CompactState {
    /// Attempts considered since the last failure.
    pub fn considered(&self) -> u32 {
        self.considered.load(Relaxed)
    }

    /// log2 of the attempts that a failure puts off.
    pub fn shift(&self) -> u32 {
        self.shift.load(Relaxed)
    }

    /// The lowest order that is put off; 11 when none is.
    pub fn order_failed(&self) -> u32 {
        self.order_failed.load(Relaxed)
    }

    /// Compacting for `order` failed: puts later attempts off, twice as long as the last time. Linux:
    /// `defer_compaction`.
    pub fn defer(&self, order: Order) {
        self.considered.store(0, Relaxed);
        self.shift.store((self.shift() + 1).min(MAX_DEFER_SHIFT), Relaxed);
        self.order_failed.store(self.order_failed().min(order.get()), Relaxed);
    }

    /// Counts an attempt for `order`; whether it is put off. Linux: `compaction_deferred`.
    pub fn consider(&self, order: Order) -> bool {
        if order.get() < self.order_failed() {
            return false;
        }
        let limit = 1 << self.shift();
        let considered = (self.considered() + 1).min(limit);
        self.considered.store(considered, Relaxed);
        considered < limit
    }

    /// There is a block of `order`: only larger ones are put off from now on; and none of those either, for now, if it
    /// could be `allocated`, too. Linux: `compaction_defer_reset`.
    pub fn reset(&self, order: Order, allocated: bool) {
        if allocated {
            self.considered.store(0, Relaxed);
            self.shift.store(0, Relaxed);
        }
        if order.get() >= self.order_failed() {
            self.order_failed.store(order.get() + 1, Relaxed);
        }
    }

    /// Whether attempts for `order` were put off as long as can be, so that this one should start afresh.
    ///
    /// Linux: `compaction_restarting`.
    pub fn is_restarting(&self, order: Order) -> bool {
        order.get() >= self.order_failed()
            && self.shift() == MAX_DEFER_SHIFT
            && self.considered() >= 1 << MAX_DEFER_SHIFT
    }

    /// Counts free pages that became targets of migration: no request asked for them, so no counter of Linux tells of
    /// them; `pgfree` counts them, or those that they replaced, all the same.
    pub fn count_taken(&self, nr_pages: u64) {
        self.taken.fetch_add(nr_pages, Relaxed);
    }

    /// What [`CompactState::count_taken`] counted since boot.
    pub fn taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }

    /// Whether the skip marks are to go before kswapd sleeps. Linux: `compact_blockskip_flush`.
    pub fn wants_flush(&self) -> bool {
        self.flush.load(Relaxed)
    }

    /// Sets what [`CompactState::wants_flush`] returns.
    pub fn set_flush(&self, flush: bool) {
        self.flush.store(flush, Relaxed);
    }

    /// Where the migrate scanner of compaction that may wait (`sync`), or may not, left off; anywhere at first.
    pub fn migrate_pfn(&self, sync: bool) -> Pfn {
        Pfn(self.migrate[usize::from(sync)].load(Relaxed))
    }

    /// Where the free scanner left off; anywhere at first.
    pub fn free_pfn(&self) -> Pfn {
        Pfn(self.free.load(Relaxed))
    }

    /// Both migrate scanners start at `pfn` next time.
    pub fn set_migrate_pfn(&self, pfn: Pfn) {
        self.migrate.iter().for_each(|cached| cached.store(pfn.0, Relaxed));
    }

    /// The free scanner starts at `pfn` next time.
    pub fn set_free_pfn(&self, pfn: Pfn) {
        self.free.store(pfn.0, Relaxed);
    }

    /// A whole pageblock at `pfn` gave the migrate scanner nothing: the next one need not look there; nor one that may
    /// wait, if this one did (`sync`).
    pub fn advance_migrate(&self, pfn: Pfn, sync: bool) {
        self.migrate[0].fetch_max(pfn.0, Relaxed);
        if sync {
            self.migrate[1].fetch_max(pfn.0, Relaxed);
        }
    }

    /// A whole pageblock at `pfn` gave the free scanner nothing: the next one need not look there.
    pub fn lower_free(&self, pfn: Pfn) {
        self.free.fetch_min(pfn.0, Relaxed);
    }

    /// Free pages went back to the pageblock at `pfn`: the next free scanner should not miss them.
    pub fn raise_free(&self, pfn: Pfn) {
        self.free.fetch_max(pfn.0, Relaxed);
    }

    /// Both scanners start at the ends of a zone of `span` again. Linux: `reset_cached_positions`.
    pub fn reset_scanners(&self, span: PfnRange) {
        self.set_migrate_pfn(span.start);
        self.set_free_pfn(last_pageblock(span));
    }
}

/// Start of the last pageblock of a zone.
pub fn last_pageblock(span: PfnRange) -> Pfn {
    Pfn(span.end.0 - 1).align_down(Order::PAGEBLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(n: u32) -> Order {
        Order::new(n).unwrap()
    }

    /// Numbers of the attempts that are not put off, when each of them fails.
    fn attempts(state: &CompactState, failing: u32, count: u32) -> Vec<u32> {
        let runs = |_: &u32| {
            let runs = !state.consider(order(failing));
            if runs {
                state.defer(order(failing));
            }
            runs
        };
        (1..=count).filter(runs).collect()
    }

    #[test]
    fn every_failure_doubles_the_wait() {
        let state = CompactState::default();
        assert_eq!(attempts(&state, 4, 255), [1, 3, 7, 15, 31, 63, 127, 191, 255]);
        assert_eq!((state.shift(), state.order_failed()), (6, 0));
    }

    #[test]
    fn smaller_orders_are_not_put_off_once_one_succeeded() {
        let state = CompactState::default();
        state.defer(order(4));
        state.reset(order(2), false);
        assert_eq!((state.order_failed(), state.shift()), (3, 1));
        assert!(!state.consider(order(2)));
        assert!(state.consider(order(3)));
        state.reset(order(4), true);
        assert_eq!((state.order_failed(), state.shift(), state.considered()), (5, 0, 0));
        assert!(!state.consider(order(5)));
    }

    #[test]
    fn after_the_longest_wait_everything_starts_afresh() {
        let state = CompactState::default();
        (0..6).for_each(|_| state.defer(order(4)));
        (0..63).for_each(|_| assert!(state.consider(order(4)) && !state.is_restarting(order(4))));
        assert!(!state.consider(order(4)));
        assert!(state.is_restarting(order(4)));
        state.defer(order(4));
        assert!(!state.is_restarting(order(4)));
    }

    #[test]
    fn scanners_only_go_on() {
        let state = CompactState::default();
        state.reset_scanners(PfnRange::new(Pfn(1024), Pfn(5000)));
        assert_eq!((state.migrate_pfn(true), state.free_pfn()), (Pfn(1024), Pfn(4608)));
        state.advance_migrate(Pfn(2048), false);
        state.advance_migrate(Pfn(1536), true);
        assert_eq!((state.migrate_pfn(false), state.migrate_pfn(true)), (Pfn(2048), Pfn(1536)));
        state.lower_free(Pfn(4096));
        state.lower_free(Pfn(4608));
        assert_eq!(state.free_pfn(), Pfn(4096));
        state.raise_free(Pfn(4608));
        assert_eq!(state.free_pfn(), Pfn(4608));
    }
}
