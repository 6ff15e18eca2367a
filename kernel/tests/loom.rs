//! The drain of per-CPU lists by their own CPUs, in every order that the memory model allows: `cargo xtask loom`.
//!
//! The other tests of schedules take every access as sequentially consistent. Here the source of [`call::Round`], taken in
//! as it is, runs on loom's atomics, and loom reports any two accesses to a list that nothing orders. A thread is a CPU:
//! it fills its list with its interrupts masked, and is interrupted before and after that.
//!
//! Nothing bounds the orders: a test ends when loom has been through all, and fails if one of the outcomes that there
//! can be never came. What is exhausted:
//!
//! * one CPU, interrupted three times, and two rounds: the second begins where the first ended;
//! * two CPUs, each interrupted with its list empty and filled, and two rounds: the caller sees what both have done.
//!
//! Left out is what would order accesses that the round has to order: the zone's lock (what a CPU drains waits in a cell
//! of its own, which the caller empties) and the caller's own list. A look too early, and an interrupt of a CPU that was
//! not asked, change nothing; so the caller looks once instead of in a loop, and the orders in which it looks in time
//! stand for its wait.
#![cfg(loom)]

/// What the module finds around itself in the kernel.
mod sync {
    pub mod atomic {
        use loom::sync::atomic;
        pub use loom::sync::atomic::Ordering;

        /// A loom atomic whose loads loom tries before and after every other access.
        ///
        /// With its own loads it does not (0.7.3, issues 166 and 392): it compares an access only with the last one to the same atomic, and if
        /// that is a load by the same thread, never turns it round with another thread's load before. An exchange that
        /// fails is a load, too, and what is last for one of these is last for all. It finds the newest value only, and
        /// that is enough: with a single atomic, what finds an older one could as well have come earlier.
        #[derive(Debug)]
        pub struct AtomicU64(atomic::AtomicU64);

        impl AtomicU64 {
            /// What is never stored.
            const NEVER: u64 = u64::MAX;

            pub fn new(value: u64) -> AtomicU64 {
                AtomicU64(atomic::AtomicU64::new(value))
            }

            pub fn load(&self, order: Ordering) -> u64 {
                self.0.compare_exchange(Self::NEVER, Self::NEVER, Ordering::Relaxed, order).unwrap_err()
            }

            pub fn store(&self, value: u64, order: Ordering) {
                self.0.store(value, order);
            }

            pub fn fetch_and(&self, mask: u64, order: Ordering) -> u64 {
                self.0.fetch_and(mask, order)
            }
        }
    }
}

#[path = "../src/sync/call.rs"]
mod call;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::thread;

use call::Round;

/// Pages that a refill takes.
const BATCH: u64 = 3;
/// What the caller wants done.
const DRAIN: u64 = 7;

/// A number without a lock; loom reports any access that nothing orders after the last change.
struct Plain(UnsafeCell<u64>);

impl Plain {
    fn new() -> Plain {
        Plain(UnsafeCell::new(0))
    }

    fn get(&self) -> u64 {
        // SAFETY: threads take turns in loom, and it checks that the round orders the accesses.
        self.0.with(|value| unsafe { *value })
    }

    fn replace(&self, value: u64) -> u64 {
        // SAFETY: as in `get`.
        self.0.with_mut(|old| unsafe { core::mem::replace(&mut *old, value) })
    }
}

/// The caller and `OTHERS` CPUs.
struct Machine<const OTHERS: usize> {
    round: Round,
    /// What the CPUs are to do.
    call: Plain,
    /// A list for each CPU, which only that one touches.
    lists: [Plain; OTHERS],
    /// Pages that each CPU has drained, until the caller takes them.
    drained: [Plain; OTHERS],
}

impl<const OTHERS: usize> Machine<OTHERS> {
    fn new() -> Self {
        let none = || core::array::from_fn(|_| Plain::new());
        Machine { round: Round::new(), call: Plain::new(), lists: none(), drained: none() }
    }

    /// The handler of the interrupt; whether CPU `cpu` was asked.
    fn interrupt(&self, cpu: usize) -> bool {
        self.round.answer(cpu, || {
            assert_eq!(self.call.get(), DRAIN);
            let pages = self.lists[cpu].replace(0);
            self.drained[cpu].replace(self.drained[cpu].get() + pages);
        })
    }

    /// CPU `cpu` is interrupted, fills its list, and is interrupted again; a bit for each interrupt that found it asked.
    fn run(&self, cpu: usize, interrupts: u32) -> u32 {
        let first = u32::from(self.interrupt(cpu));
        self.lists[cpu].replace(BATCH);
        (1..interrupts).fold(first, |answers, nth| answers | u32::from(self.interrupt(cpu)) << nth)
    }

    /// Asks all; the pages drained, if all have answered when it looks.
    fn drain(&self) -> Option<u64> {
        self.call.replace(DRAIN);
        self.round.ask((1 << OTHERS) - 1);
        self.round.is_over().then(|| {
            self.call.replace(0);
            self.drained.iter().map(|drained| drained.replace(0)).sum()
        })
    }

    /// All are at rest after `asked` rounds, of which the caller has `taken` pages.
    fn check(&self, asked: u32, taken: u64, answers: &[u32; OTHERS]) {
        let all_answered = answers.iter().all(|answers| answers.count_ones() == asked);
        assert!(answers.iter().all(|answers| answers.count_ones() <= asked), "answered twice: {answers:?}");
        assert_eq!(self.round.is_over(), all_answered, "{answers:?}");
        for (list, answers) in self.lists.iter().zip(answers) {
            assert_eq!(list.get(), if answers >> 1 == 0 { BATCH } else { 0 });
        }
        let pages: u64 = self.lists.iter().chain(&self.drained).map(Plain::get).sum();
        assert_eq!(taken + pages, BATCH * OTHERS as u64, "pages are lost");
    }
}

/// One order: how many rounds were over when the caller looked, and which interrupts each CPU answered.
fn drain_up_to<const OTHERS: usize>(rounds: u32, interrupts: u32) -> (u32, Vec<u32>) {
    let machine = Arc::new(Machine::<OTHERS>::new());
    let cpus: [_; OTHERS] = core::array::from_fn(|cpu| {
        let machine = machine.clone();
        thread::spawn(move || machine.run(cpu, interrupts))
    });
    let drained: Vec<u64> = (0..rounds).map_while(|_| machine.drain()).collect();
    let over = drained.len() as u32;
    let answers = cpus.map(|cpu| cpu.join().unwrap());
    machine.check(rounds.min(over + 1), drained.iter().sum(), &answers);
    (over, answers.to_vec())
}

/// Goes through every order, in which there are `outcomes`.
fn exhaust<const OTHERS: usize>(rounds: u32, interrupts: u32, outcomes: usize) {
    let (start, seen) = (Instant::now(), Arc::new(Mutex::new((0, BTreeSet::new()))));
    let mut builder = Builder::new();
    (builder.preemption_bound, builder.max_permutations, builder.max_duration) = (None, None, None);
    let noted = seen.clone();
    builder.check(move || {
        let outcome = drain_up_to::<OTHERS>(rounds, interrupts);
        let mut seen = noted.lock().unwrap();
        seen.0 += 1;
        seen.1.insert(outcome);
    });
    let (orders, seen) = &*seen.lock().unwrap();
    println!("{OTHERS} CPUs, {rounds} rounds: all {orders} orders in {:.1} s", start.elapsed().as_secs_f32());
    assert_eq!(seen.len(), outcomes, "{seen:?}");
}

#[test]
fn a_cpu_is_drained_twice() {
    // Round one: no interrupt or one of three finds it asked. It is over in time: no other or one of the other two
    // does, and then that one is over in time, or not.
    exhaust::<1>(2, 3, 4 + 6 + 3);
}

#[test]
fn two_cpus_are_drained_early_or_late() {
    // Each answers early, late or not. Or round one is over in time, which each has answered early or late, or early and
    // round two late; and that is over in time if both did.
    exhaust::<2>(2, 2, 3 * 3 + 3 * 3 + 1);
}
