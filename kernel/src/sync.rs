//! Locks and per-CPU cells; the only module of this crate that has `unsafe`.
//!
//! A [`Pin`] proves that interrupts are masked on the CPU that runs the caller, so that neither an interrupt handler nor
//! another thread of this CPU comes in between. A [`SpinLock`] can be taken only with a pin: an interrupt handler that
//! allocates can then never wait for a lock that the code it interrupted holds. A [`PerCpu`] cell needs no lock at all.
//!
//! Under `--cfg shuttle` atomics, locks and masks tell `host::explore` where another thread may run.
//!
//! [`Class`] says in which order they are taken, and debug builds hold everybody to it ([`order`]).
//!
//! Linux: `local_irq_save`, `spin_lock_irqsave`, `this_cpu_ptr`.
//! Linux does more: sleeping locks, and locks that need no masking.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};

#[cfg(not(shuttle))]
use spin::mutex::{SpinMutex, SpinMutexGuard};

use crate::mmzone::NR_CPUS;
use atomic::{AtomicBool, Ordering};
#[cfg(shuttle)]
use explored::{SpinMutex, SpinMutexGuard};

pub mod atomic;
pub mod call;
#[cfg(shuttle)]
mod explored;
pub mod order;

pub use order::Class;

/// The CPU as locks see it: its number and its interrupt mask.
///
/// # Safety
///
/// From `mask` until the matching `restore`, `cpu` must return one number below [`NR_CPUS`], and nothing but the caller
/// (and what the caller calls) may run with that number: no interrupt handler of that CPU, no other thread.
pub unsafe trait LocalIrq {
    /// Masks interrupts on this CPU; returns what `restore` needs to undo just that. Calls may nest.
    fn mask(&self) -> usize;

    /// Puts the interrupt mask back to what it was before the matching `mask`.
    fn restore(&self, saved: usize);

    /// Number of the CPU that runs the caller; below [`NR_CPUS`].
    fn cpu(&self) -> usize;

    /// What the CPU that runs the caller holds.
    #[cfg(debug_assertions)]
    fn held_locks(&self) -> &order::HeldLocks;

    /// Masks interrupts until the pin is dropped.
    #[inline(always)]
    fn pin(&self) -> Pin<'_, Self> {
        let saved = self.mask();
        Pin { cpu: self.cpu(), irq: self, saved }
    }
}

/// Proof that interrupts are masked on CPU [`Pin::cpu`], and that the caller stays there.
pub struct Pin<'e, I: LocalIrq + ?Sized> {
    irq: &'e I,
    cpu: usize,
    saved: usize,
}

impl<I: LocalIrq + ?Sized> Pin<'_, I> {
    /// Number of the CPU that the caller is pinned to.
    #[inline(always)]
    pub fn cpu(&self) -> usize {
        self.cpu
    }

    /// Notes that a lock of `class` is taken.
    #[cfg(debug_assertions)]
    #[track_caller]
    fn take(&self, class: Class) -> order::Token<'_> {
        self.irq.held_locks().take(class)
    }
}

impl<I: LocalIrq + ?Sized> Drop for Pin<'_, I> {
    #[inline(always)]
    fn drop(&mut self) {
        self.irq.restore(self.saved);
    }
}

/// Data behind a spin lock that is held only with interrupts masked.
pub struct SpinLock<T> {
    data: SpinMutex<T>,
    #[cfg(debug_assertions)]
    class: Class,
}

impl<T> SpinLock<T> {
    /// An unlocked lock, which is taken in the order that `class` says.
    #[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "only debug builds check the order"))]
    pub const fn new(class: Class, value: T) -> SpinLock<T> {
        SpinLock {
            data: SpinMutex::new(value),
            #[cfg(debug_assertions)]
            class,
        }
    }

    /// Waits for the lock. The guard gives it back; the pin must outlive the guard.
    ///
    /// # Panics
    ///
    /// In debug builds, when the CPU holds a lock that is to be taken after this one.
    #[inline(always)]
    #[cfg_attr(debug_assertions, track_caller)]
    #[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "only debug builds check the order"))]
    pub fn lock<'p, I: LocalIrq + ?Sized>(&'p self, pin: &'p Pin<'_, I>) -> SpinGuard<'p, T> {
        #[cfg(debug_assertions)]
        let token = pin.take(self.class);
        #[cfg(not(debug_assertions))]
        let token = order::Token::new();
        SpinGuard { data: self.data.lock(), _token: token }
    }

    /// The data, without locking: the exclusive borrow proves that nobody else can reach it.
    pub fn get_mut(&mut self) -> &mut T {
        self.data.get_mut()
    }
}

/// The right to use what a [`SpinLock`] protects.
pub struct SpinGuard<'p, T> {
    data: SpinMutexGuard<'p, T>,
    _token: order::Token<'p>,
}

impl<T> Deref for SpinGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.data
    }
}

/// One `T` for each CPU, used by that CPU alone, without any atomic read-modify-write; and beside it an `S` that
/// everyone may look at.
pub struct PerCpu<T, S = ()> {
    cells: [Cell<T, S>; NR_CPUS],
    #[cfg(debug_assertions)]
    class: Class,
}

/// One CPU's values, on cache lines of their own.
#[repr(align(64))]
struct Cell<T, S> {
    value: UnsafeCell<T>,
    borrowed: AtomicBool,
    shared: S,
}

// SAFETY: a `T` is reached only through `local`, by the one CPU that the pin names; `LocalIrq` promises that nothing else
// runs with that number meanwhile. A `T` may thus be used by several threads one after the other, hence `Send`; an `S`
// is shared, hence `Sync`.
unsafe impl<T: Send, S: Sync> Sync for PerCpu<T, S> {}

impl<T, S> PerCpu<T, S> {
    /// Values for each CPU, made by `init` from its number, which are borrowed in the order that `class` says.
    #[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "only debug builds check the order"))]
    pub fn new(class: Class, mut init: impl FnMut(usize) -> (T, S)) -> PerCpu<T, S> {
        PerCpu {
            cells: core::array::from_fn(|cpu| {
                let (value, shared) = init(cpu);
                Cell { value: UnsafeCell::new(value), borrowed: AtomicBool::new(false), shared }
            }),
            #[cfg(debug_assertions)]
            class,
        }
    }

    /// The values of the CPU that `pin` names, until the guard is dropped.
    ///
    /// # Panics
    ///
    /// When the caller has a guard of them already; in debug builds, when it holds what is to be taken after them.
    #[inline(always)]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn local<'p, I: LocalIrq + ?Sized>(&'p self, pin: &'p Pin<'_, I>) -> LocalGuard<'p, T, S> {
        let cell = &self.cells[pin.cpu() % NR_CPUS];
        if cell.borrow() {
            borrowed_twice(pin.cpu());
        }
        #[cfg(debug_assertions)]
        let token = pin.take(self.class);
        #[cfg(not(debug_assertions))]
        let token = order::Token::new();
        LocalGuard { cell, _token: token }
    }

    /// What everyone may look at of CPU `cpu`.
    #[inline(always)]
    pub fn shared(&self, cpu: usize) -> &S {
        &self.cells[cpu].shared
    }

    /// What everyone may look at, of all CPUs.
    pub fn iter(&self) -> impl Iterator<Item = &S> {
        self.cells.iter().map(|cell| &cell.shared)
    }
}

/// The right of one CPU to use its value of a [`PerCpu`].
pub struct LocalGuard<'p, T, S> {
    cell: &'p Cell<T, S>,
    _token: order::Token<'p>,
}

impl<'p, T, S> LocalGuard<'p, T, S> {
    /// What everyone may look at of this CPU.
    #[inline(always)]
    pub fn shared(&self) -> &'p S {
        &self.cell.shared
    }
}

impl<T, S> Deref for LocalGuard<'_, T, S> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: `borrow` said that this is the only guard of the cell, and a guard lends the value as it is lent.
        unsafe { &*self.cell.value.get() }
    }
}

impl<T, S> DerefMut for LocalGuard<'_, T, S> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as for `deref`; the exclusive borrow of the guard makes this the only reference.
        unsafe { &mut *self.cell.value.get() }
    }
}

impl<T, S> Drop for LocalGuard<'_, T, S> {
    #[inline(always)]
    fn drop(&mut self) {
        self.cell.borrowed.store(false, Ordering::Release);
    }
}

#[cold]
#[inline(never)]
fn borrowed_twice(cpu: usize) -> ! {
    panic!("per-CPU cell of CPU {cpu} borrowed twice");
}

impl<T, S> Cell<T, S> {
    /// Marks the value borrowed; whether it was already.
    ///
    /// On the machine, `LocalIrq` promises that only the caller can look at the mark, so that looking and marking need
    /// not be one step. A host has threads instead, and no promise is needed: they are one step.
    #[inline(always)]
    fn borrow(&self) -> bool {
        if cfg!(target_os = "none") {
            let borrowed = self.borrowed.load(Ordering::Relaxed);
            self.borrowed.store(true, Ordering::Relaxed);
            borrowed
        } else {
            self.borrowed.swap(true, Ordering::Acquire)
        }
    }
}

/// A CPU of a host program: it has no interrupts to mask, and the number it is given.
#[cfg(not(target_os = "none"))]
#[derive(Default)]
pub struct HostCpu {
    cpu: core::sync::atomic::AtomicUsize,
    masked: core::sync::atomic::AtomicUsize,
    #[cfg(debug_assertions)]
    held: order::HeldLocks,
    #[cfg(shuttle)]
    mask: explored::Mask,
}

#[cfg(not(target_os = "none"))]
impl HostCpu {
    /// Acts as CPU `cpu` from now on.
    pub fn set_cpu(&self, cpu: usize) {
        assert!(cpu < NR_CPUS, "CPU {cpu} of {NR_CPUS}");
        self.cpu.store(cpu, Ordering::Relaxed);
    }

    /// The CPU that it acts as.
    pub fn number(&self) -> usize {
        self.cpu.load(Ordering::Relaxed)
    }

    /// How many pins there are.
    pub fn masked(&self) -> usize {
        self.masked.load(Ordering::Relaxed)
    }
}

#[cfg(not(target_os = "none"))]
// SAFETY: on a host `PerCpu` finds out by itself whether a cell is in use, and spin locks need no pin to be sound;
// nothing rests on the promise.
unsafe impl LocalIrq for HostCpu {
    fn mask(&self) -> usize {
        #[cfg(shuttle)]
        self.mask.enter();
        self.masked.fetch_add(1, Ordering::Relaxed)
    }

    fn restore(&self, saved: usize) {
        self.masked.store(saved, Ordering::Relaxed);
        #[cfg(shuttle)]
        self.mask.leave();
    }

    fn cpu(&self) -> usize {
        self.cpu.load(Ordering::Relaxed)
    }

    #[cfg(debug_assertions)]
    fn held_locks(&self) -> &order::HeldLocks {
        &self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_belongs_to_one_cpu() {
        let env = HostCpu::default();
        let cells = PerCpu::new(Class::CpuPages, |cpu| (cpu * 10, ()));
        env.set_cpu(3);
        *cells.local(&env.pin()) += 1;
        env.set_cpu(0);
        assert_eq!(*cells.local(&env.pin()), 0);
        env.set_cpu(3);
        assert_eq!(*cells.local(&env.pin()), 31);
    }

    #[test]
    #[should_panic(expected = "borrowed twice")]
    fn a_cell_is_not_borrowed_twice() {
        let env = HostCpu::default();
        let cells = PerCpu::new(Class::CpuPages, |_| (0, ()));
        let pin = env.pin();
        let _first = cells.local(&pin);
        let _second = cells.local(&pin);
    }

    #[test]
    fn a_pin_masks_until_it_is_dropped() {
        let env = HostCpu::default();
        {
            let _outer = env.pin();
            drop(env.pin());
            assert_eq!(env.masked(), 1);
        }
        assert_eq!(env.masked(), 0);
    }
}
