//! A round of calls: one CPU asks others to do something at once, and waits until all have.
//!
//! This is how `drain_all_pages` reaches lists that only their own CPU may touch. [`Round`] carries no data: what is to
//! be done is written before [`Round::ask`], and each CPU finds it there; what each CPU did before its answer was
//! complete is there for whoever sees [`Round::is_over`]. `tests/loom.rs` explores that in all that the memory model
//! allows. The machine brings the interrupts (`boot/src/smp.rs`). Linux: `smp_call_function_many`, `csd_lock`.
//!
//! Linux does more: queues of calls for each CPU, calls that nobody waits for, and several callers at a time.

use crate::sync::atomic::{AtomicU64, Ordering};

/// Who has still to answer; for one caller at a time.
#[derive(Debug)]
pub struct Round {
    /// A bit for each CPU.
    asked: AtomicU64,
}

impl Round {
    /// Nobody is asked.
    #[cfg(not(loom))]
    pub const fn new() -> Round {
        Round { asked: AtomicU64::new(0) }
    }

    /// Nobody is asked.
    #[cfg(loom)]
    pub fn new() -> Round {
        Round { asked: AtomicU64::new(0) }
    }

    /// Asks `cpus`, a bit for each; they see all that was written before. The last round is over.
    pub fn ask(&self, cpus: u64) {
        self.asked.store(cpus, Ordering::Release);
    }

    /// Does `work` if CPU `cpu`, which calls this, was asked and has not answered yet; whether it did.
    pub fn answer(&self, cpu: usize, work: impl FnOnce()) -> bool {
        let asked = self.asked.load(Ordering::Acquire) & 1 << cpu != 0;
        if asked {
            work();
            // Others answer, too, and the caller sees what all of them did: a chain of read-modify-writes.
            self.asked.fetch_and(!(1 << cpu), Ordering::Release);
        }
        asked
    }

    /// Whether everyone has answered; if so, all that they did can be seen.
    pub fn is_over(&self) -> bool {
        self.asked.load(Ordering::Acquire) == 0
    }
}

impl Default for Round {
    fn default() -> Round {
        Round::new()
    }
}
