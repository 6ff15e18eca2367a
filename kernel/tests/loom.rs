//! The drain of per-CPU lists by their own CPUs, in every order that the memory model allows: `cargo xtask loom`.
//!
//! The other tests of schedules take every access as sequentially consistent. Here the source of [`call::Round`], taken in
//! as it is, runs on loom's atomics, and loom reports any two accesses to a list that nothing orders. A thread is a CPU:
//! it fills its list with its interrupts masked, and is interrupted before or after that.
#![cfg(loom)]

/// What the module finds around itself in the kernel.
mod sync {
    pub mod atomic {
        pub use loom::sync::atomic::{AtomicU64, Ordering};
    }
}

#[path = "../src/sync/call.rs"]
mod call;

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread;

use call::Round;

/// CPUs besides the caller.
const OTHERS: usize = 2;
/// Pages in the zone at first.
const FREE: u64 = 8;
/// Pages that a refill takes.
const BATCH: u64 = 3;

struct Machine {
    round: Round,
    /// What the CPUs are to do: the number of this drain.
    call: UnsafeCell<u64>,
    /// A list for each CPU, which only that one touches.
    lists: [UnsafeCell<u64>; OTHERS],
    /// What each CPU has drained, for the caller.
    drained: [UnsafeCell<u64>; OTHERS],
    zone: Mutex<u64>,
}

impl Machine {
    fn new() -> Machine {
        Machine {
            round: Round::new(),
            call: UnsafeCell::new(0),
            lists: Default::default(),
            drained: Default::default(),
            zone: Mutex::new(FREE),
        }
    }

    /// The refill of a list, which nothing interrupts.
    fn refill(&self, cpu: usize) {
        *self.zone.lock().unwrap() -= BATCH;
        // SAFETY: only this thread has the list, and loom checks just that.
        self.lists[cpu].with_mut(|list| unsafe { *list += BATCH });
    }

    /// The handler of the interrupt; whether CPU `cpu` was asked.
    fn interrupt(&self, cpu: usize) -> bool {
        self.round.answer(cpu, || {
            // SAFETY: the caller does not write before the round is over; loom checks it.
            assert_eq!(self.call.with(|call| unsafe { *call }), 7);
            // SAFETY: as in `refill`.
            let pages = self.lists[cpu].with_mut(|list| unsafe { core::mem::take(&mut *list) });
            *self.zone.lock().unwrap() += pages;
            // SAFETY: the caller reads it when the round is over; loom checks it.
            self.drained[cpu].with_mut(|drained| unsafe { *drained = pages + 1 });
        })
    }
}

/// Nothing waits in a loop, or there would be no end of orders: the caller looks once, and the CPUs are interrupted once
/// before their refill and once behind it.
#[test]
fn a_drain_reaches_every_cpu_and_waits() {
    loom::model(|| {
        let machine = Arc::new(Machine::new());
        let cpus = [0, 1].map(|cpu| {
            let machine = machine.clone();
            thread::spawn(move || {
                let early = machine.interrupt(cpu);
                machine.refill(cpu);
                (early, machine.interrupt(cpu))
            })
        });
        // SAFETY: nobody was asked to look yet; loom checks it.
        machine.call.with_mut(|call| unsafe { *call = 7 });
        machine.round.ask((1 << OTHERS) - 1);
        // Loom lets the others run first here; else it would have us look too early every time.
        thread::yield_now();
        if machine.round.is_over() {
            // SAFETY: the round is over; loom checks that this orders the accesses.
            let drained = [0, 1].map(|cpu| machine.drained[cpu].with(|drained| unsafe { *drained }));
            assert!(drained.iter().all(|drained| [1, BATCH + 1].contains(drained)), "{drained:?}");
            // SAFETY: as above: nobody looks any more.
            machine.call.with_mut(|call| unsafe { *call = 0 });
        }
        let answers = cpus.map(|cpu| cpu.join().unwrap());
        assert!(answers.iter().all(|(early, late)| !(*early && *late)), "asked twice: {answers:?}");
        let listed = |cpu: usize| if answers[cpu].1 { 0 } else { BATCH };
        for cpu in 0..OTHERS {
            // SAFETY: its CPU is done.
            assert_eq!(machine.lists[cpu].with(|list| unsafe { *list }), listed(cpu));
        }
        assert_eq!(*machine.zone.lock().unwrap(), FREE - listed(0) - listed(1));
    });
}
