//! The order of locks, and in debug builds the proof at run time that it is kept.
//!
//! A lock has a [`Class`]. A CPU may take one only while all that it holds are of classes before it: then no two CPUs
//! can wait for each other, whatever they run. Each CPU notes what it holds in its [`HeldLocks`] and panics at the first
//! lock out of order, naming both and where they were taken, even if nobody was in the way this time. The cell of a
//! [`super::PerCpu`] has a class, too: it is no lock, but what it needs while it is borrowed must come after it.
//!
//! Release builds have neither the notes nor the checks: [`Token`] is empty. Linux: `kernel/locking/lockdep.c`.
//!
//! Linux does more: it learns the order from what happens, and knows which locks interrupt handlers take. Ours are held
//! with interrupts masked, all but the two outermost ones of the machine, for which no handler waits.

use core::fmt;

/// Kinds of locks, the outermost first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Class {
    /// The machine's right to call other CPUs; who has it waits for them. Linux: `csd_lock`.
    Calls,
    /// The machine's console; who only tries is not held to the order. Linux: `console_sem`.
    Console,
    /// The tables of those who use reclaimable memory.
    Users,
    /// The LRU lists of a node. Linux: `pgdat->lru_lock`.
    Lru,
    /// A CPU's slabs of a cache. Linux: `kmem_cache_cpu`.
    CpuSlab,
    /// A node's partial slabs of a cache. Linux: `kmem_cache_node.list_lock`.
    PartialSlabs,
    /// A CPU's page lists of a zone. Linux: `per_cpu_pages`.
    CpuPages,
    /// The free lists of a zone. Linux: `zone->lock`.
    Zone,
    /// A lock under which nothing else of the allocator's is taken.
    Leaf,
    /// The machine's run queues. Linux: `rq->lock`.
    RunQueues,
    /// A lock of the machine under which nothing else is taken but what follows.
    Machine,
    /// The heap of the image.
    Heap,
    /// The records of the log: whoever holds something else may have to complain. Linux: `logbuf_lock`.
    Log,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Calls => "the right to call CPUs",
            Class::Console => "the console",
            Class::Users => "the lock of the users' tables",
            Class::Lru => "an LRU lock",
            Class::CpuSlab => "a CPU's slabs",
            Class::PartialSlabs => "the lock of partial slabs",
            Class::CpuPages => "a CPU's page lists",
            Class::Zone => "a zone lock",
            Class::Leaf => "a leaf lock",
            Class::RunQueues => "the lock of the run queues",
            Class::Machine => "a lock of the machine",
            Class::Heap => "the heap's lock",
            Class::Log => "the log's lock",
        })
    }
}

#[cfg(debug_assertions)]
pub use checked::{HeldLocks, Token};

/// The note that a lock is held: none is needed.
#[cfg(not(debug_assertions))]
pub struct Token<'h>(core::marker::PhantomData<&'h ()>);

#[cfg(not(debug_assertions))]
impl Token<'_> {
    /// The only one.
    #[inline(always)]
    pub const fn new() -> Token<'static> {
        Token(core::marker::PhantomData)
    }
}

#[cfg(debug_assertions)]
mod checked {
    //! What debug builds note.

    use core::panic::Location;

    use spin::mutex::SpinMutex;

    use super::Class;

    /// Locks that a CPU can hold at once.
    const DEPTH: usize = 8;

    type Held = Option<(Class, &'static Location<'static>)>;

    /// The locks that a CPU holds.
    pub struct HeldLocks(SpinMutex<[Held; DEPTH]>);

    impl HeldLocks {
        /// None.
        pub const fn new() -> HeldLocks {
            HeldLocks(SpinMutex::new([None; DEPTH]))
        }

        /// Notes that the caller is about to take a lock of `class`.
        ///
        /// # Panics
        ///
        /// When the CPU holds one that must be taken after it, or of the same class.
        #[track_caller]
        pub fn take(&self, class: Class) -> Token<'_> {
            let (at, mut held) = (Location::caller(), self.0.lock());
            if let Some((other, taken)) = held.iter().flatten().copied().find(|(other, _)| *other >= class) {
                drop(held);
                panic!("lock order: {class} is taken at {at} while {other} is held, which was taken at {taken}");
            }
            let Some(place) = held.iter().position(Option::is_none) else {
                drop(held);
                panic!("lock order: {class} is taken at {at} while {DEPTH} locks are held");
            };
            held[place] = Some((class, at));
            Token { held: self, place }
        }

        /// Notes that the caller has a lock of `class`, for which it did not wait: in whatever order, it could not have
        /// waited for ever. `None` if it holds too many to note one more.
        #[track_caller]
        pub fn taken(&self, class: Class) -> Option<Token<'_>> {
            let (at, mut held) = (Location::caller(), self.0.lock());
            let place = held.iter().position(Option::is_none)?;
            held[place] = Some((class, at));
            Some(Token { held: self, place })
        }

        /// Notes that the lock of `class`, whose token was forgotten, is not held any more.
        pub fn release(&self, class: Class) {
            let mut held = self.0.lock();
            held.iter_mut().filter(|held| held.is_some_and(|(other, _)| other == class)).for_each(|held| *held = None);
        }
    }

    impl Default for HeldLocks {
        fn default() -> HeldLocks {
            HeldLocks::new()
        }
    }

    /// The note that a lock is held; dropped, it is not.
    pub struct Token<'h> {
        held: &'h HeldLocks,
        place: usize,
    }

    impl Drop for Token<'_> {
        fn drop(&mut self) {
            self.held.0.lock()[self.place] = None;
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;
    use crate::sync::{HostCpu, LocalIrq, PerCpu, SpinLock};

    #[test]
    fn the_order_is_free_to_be_kept() {
        let (cpu, lru, zone) = (HostCpu::default(), SpinLock::new(Class::Lru, ()), SpinLock::new(Class::Zone, ()));
        let cells = PerCpu::new(Class::CpuPages, |_| ((), ()));
        let pin = cpu.pin();
        let lru = lru.lock(&pin);
        let cell = cells.local(&pin);
        let zone_guard = zone.lock(&pin);
        // Given back in any order, and taken again.
        drop((cell, zone_guard));
        drop((zone.lock(&pin), lru));
    }

    #[test]
    #[should_panic(expected = "an LRU lock is taken at kernel/src/sync/order.rs:")]
    fn a_lock_out_of_order_is_found_although_nobody_waits() {
        let (cpu, lru, zone) = (HostCpu::default(), SpinLock::new(Class::Lru, ()), SpinLock::new(Class::Zone, ()));
        let (outer, inner) = (cpu.pin(), cpu.pin());
        let _zone = zone.lock(&outer);
        let _lru = lru.lock(&inner);
    }

    #[test]
    #[should_panic(expected = "while a zone lock is held, which was taken at kernel/src/sync/order.rs:")]
    fn two_of_a_kind_are_out_of_order() {
        let (cpu, zones) = (HostCpu::default(), [(); 2].map(|()| SpinLock::new(Class::Zone, ())));
        let pin = cpu.pin();
        let _guards = zones.each_ref().map(|zone| zone.lock(&pin));
    }

    #[test]
    fn who_only_tries_is_not_held_to_the_order() {
        let held = HeldLocks::new();
        let _zone = held.take(Class::Zone);
        let console = held.taken(Class::Console);
        drop((held.take(Class::RunQueues), console));
        core::mem::forget(held.take(Class::RunQueues));
        held.release(Class::RunQueues);
        drop(held.take(Class::RunQueues));
    }

    #[test]
    fn each_cpu_holds_its_own() {
        let (cpus, lru) = (<[HostCpu; 2]>::default(), SpinLock::new(Class::Lru, ()));
        let zone = SpinLock::new(Class::Zone, ());
        let [first, second] = cpus.each_ref().map(HostCpu::pin);
        let _zone = zone.lock(&first);
        drop(lru.lock(&second));
    }
}
