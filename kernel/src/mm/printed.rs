//! What was reported so far: so that a report does not come again, or not too often.
//!
//! Key types: [`Printed`], which [`super::memory::Memory`] has one of, [`RateLimit`], and [`WarnOnce`], the warnings that come
//! once per boot, with the lines of `mm/page_alloc.c` that they have in Linux. Neighbour: [`super::warn`] prints.
//! Linux: `lib/ratelimit.c`, `WARN_ON_ONCE`, `tainted_mask`.
//!
//! Linux does more: 17 other reasons to call a kernel tainted.

use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Messages that are printed once per boot. Linux: `WARN_ON_ONCE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum WarnOnce {
    /// An order of 11 or more was asked for.
    OrderTooHigh,
    /// `__GFP_NOFAIL` with an order above 1.
    NoFailOrder,
    /// `__GFP_ATOMIC` with `__GFP_DIRECT_RECLAIM`.
    AtomicReclaim,
    /// `__GFP_NOFAIL` without `__GFP_DIRECT_RECLAIM`.
    NoFailNoReclaim,
    /// `__GFP_NOFAIL` from a task with `PF_MEMALLOC`.
    NoFailMemalloc,
    /// `__GFP_NOFAIL` with an order above 3.
    NoFailCostly,
    /// `__GFP_NOFAIL` when there is nobody to kill.
    NoFailNoVictim,
}

impl WarnOnce {
    /// Where it stands in v5.0: the line of `mm/page_alloc.c`, and the function that the compiler made it part of.
    pub const fn place(self) -> (u32, &'static str) {
        match self {
            WarnOnce::OrderTooHigh => (4529, "__alloc_pages_nodemask"),
            WarnOnce::NoFailOrder => (3093, "get_page_from_freelist"),
            WarnOnce::AtomicReclaim => (4235, "__alloc_pages_slowpath"),
            WarnOnce::NoFailNoReclaim => (4427, "__alloc_pages_slowpath"),
            WarnOnce::NoFailMemalloc => (4435, "__alloc_pages_slowpath"),
            WarnOnce::NoFailCostly => (4443, "__alloc_pages_slowpath"),
            WarnOnce::NoFailNoVictim => (3684, "__alloc_pages_slowpath"),
        }
    }
}

/// A message that is printed at most so often. Linux: `DEFINE_RATELIMIT_STATE`.
#[derive(Default)]
pub struct RateLimit {
    begin_ns: AtomicU64,
    printed: AtomicU32,
    missed: AtomicU32,
}

impl RateLimit {
    /// Whether one more may be printed now, `burst` within `interval_ns`; with the number suppressed before it, once.
    pub fn admit(&self, now_ns: u64, interval_ns: u64, burst: u32) -> Option<u32> {
        let begin = self.begin_ns.load(Relaxed);
        let mut suppressed = 0;
        if begin == 0 || now_ns.saturating_sub(begin) > interval_ns {
            self.begin_ns.store(now_ns.max(1), Relaxed);
            suppressed = self.missed.swap(0, Relaxed);
            self.printed.store(0, Relaxed);
        }
        if self.printed.load(Relaxed) < burst {
            self.printed.fetch_add(1, Relaxed);
            Some(suppressed)
        } else {
            self.missed.fetch_add(1, Relaxed);
            None
        }
    }
}

/// What was reported so far.
#[derive(Default)]
pub struct Printed {
    /// A bit for each [`WarnOnce`] that came up.
    warned: AtomicU32,
    /// Warnings in all, by which their ends are told apart.
    warnings: AtomicU64,
    tainted: AtomicBool,
    /// Nobody wants to hear of dropped caches any more. Linux: `stfu` in `drop_caches_sysctl_handler`.
    pub(super) drop_caches_quietly: AtomicBool,
    /// Bad pages: 60 a minute.
    pub(super) bad_page: RateLimit,
    /// Sleeping where that is forbidden: one a second.
    pub(super) sleep: RateLimit,
    /// Overwritten poison: 10 within 5 seconds.
    pub(super) poison: RateLimit,
    /// Requests that failed: 10 within 5 seconds.
    pub(super) warn_alloc: RateLimit,
    /// Mem-Info after one of these: one a second.
    pub(super) show_mem: RateLimit,
    /// What led to an OOM kill: 10 within 5 seconds.
    pub(super) oom: RateLimit,
    /// Slab caches that got no page: 10 within 5 seconds.
    pub(super) slab: RateLimit,
}

impl Printed {
    /// The number of this warning among all, if it comes up for the first time.
    pub(super) fn first(&self, warning: WarnOnce) -> Option<u64> {
        let bit = 1 << warning as u8;
        let is_first = self.warned.fetch_or(bit, Relaxed) & bit == 0;
        is_first.then(|| self.warnings.fetch_add(1, Relaxed) + 1)
    }

    /// Forgets which warnings came up. Linux: `/sys/kernel/debug/clear_warn_once`.
    pub fn clear_warn_once(&self) {
        self.warned.store(0, Relaxed);
    }

    /// Whether something happened that should not have. Linux: `TAINT_WARN`.
    pub fn is_tainted(&self) -> bool {
        self.tainted.load(Relaxed)
    }

    /// Notes that something happened that should not have. Linux: `add_taint`.
    pub(super) fn add_taint(&self) {
        self.tainted.store(true, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_limit_lets_a_burst_through_and_counts_the_rest() {
        let limit = RateLimit::default();
        let admitted: Vec<_> = (1..=4).map(|now| limit.admit(now, 100, 2)).collect();
        assert_eq!(admitted, [Some(0), Some(0), None, None]);
        assert_eq!(limit.admit(102, 100, 2), Some(2));
        assert_eq!(limit.admit(103, 100, 2), Some(0));
    }
}
