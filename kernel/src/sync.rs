//! Locks and per-CPU cells; the only module of this crate that has `unsafe`.
//!
//! A [`Pin`] proves that interrupts are masked on the CPU that runs the caller, so that neither an interrupt handler nor
//! another thread of this CPU comes in between. A [`SpinLock`] can be taken only with a pin: an interrupt handler that
//! allocates can then never wait for a lock that the code it interrupted holds. A [`PerCpu`] cell needs no lock at all.
//!
//! Under `--cfg shuttle` atomics, locks and masks tell `host::explore` where another thread may run.
//!
//! Linux: `local_irq_save`, `spin_lock_irqsave`, `this_cpu_ptr`.
//! Linux does more: sleeping locks, lockdep, and locks that need no masking.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};

#[cfg(not(shuttle))]
use spin::mutex::{SpinMutex, SpinMutexGuard};

use crate::mmzone::NR_CPUS;
use atomic::{AtomicBool, Ordering};
#[cfg(shuttle)]
use explored::{SpinMutex, SpinMutexGuard};

pub mod atomic;
#[cfg(shuttle)]
mod explored;

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
}

impl<I: LocalIrq + ?Sized> Drop for Pin<'_, I> {
    #[inline(always)]
    fn drop(&mut self) {
        self.irq.restore(self.saved);
    }
}

/// Data behind a spin lock that is held only with interrupts masked.
pub struct SpinLock<T>(SpinMutex<T>);

impl<T> SpinLock<T> {
    /// An unlocked lock.
    pub const fn new(value: T) -> SpinLock<T> {
        SpinLock(SpinMutex::new(value))
    }

    /// Waits for the lock. The guard gives it back; the pin must outlive the guard.
    #[inline(always)]
    pub fn lock<'p, I: LocalIrq + ?Sized>(&'p self, _pin: &'p Pin<'_, I>) -> SpinGuard<'p, T> {
        SpinGuard(self.0.lock())
    }

    /// The data, without locking: the exclusive borrow proves that nobody else can reach it.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

/// The right to use what a [`SpinLock`] protects.
pub struct SpinGuard<'p, T>(SpinMutexGuard<'p, T>);

impl<T> Deref for SpinGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// One `T` for each CPU, used by that CPU alone, without any atomic read-modify-write; and beside it an `S` that
/// everyone may look at.
pub struct PerCpu<T, S = ()>([Cell<T, S>; NR_CPUS]);

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
    /// Values for each CPU, made by `init` from its number.
    pub fn new(mut init: impl FnMut(usize) -> (T, S)) -> PerCpu<T, S> {
        PerCpu(core::array::from_fn(|cpu| {
            let (value, shared) = init(cpu);
            Cell { value: UnsafeCell::new(value), borrowed: AtomicBool::new(false), shared }
        }))
    }

    /// The values of the CPU that `pin` names, until the guard is dropped.
    ///
    /// # Panics
    ///
    /// When the caller has a guard of them already.
    #[inline(always)]
    pub fn local<'p, I: LocalIrq + ?Sized>(&'p self, pin: &'p Pin<'_, I>) -> LocalGuard<'p, T, S> {
        let cell = &self.0[pin.cpu() % NR_CPUS];
        if cell.borrow() {
            borrowed_twice(pin.cpu());
        }
        LocalGuard(cell)
    }

    /// What everyone may look at of CPU `cpu`.
    #[inline(always)]
    pub fn shared(&self, cpu: usize) -> &S {
        &self.0[cpu].shared
    }

    /// What everyone may look at, of all CPUs.
    pub fn iter(&self) -> impl Iterator<Item = &S> {
        self.0.iter().map(|cell| &cell.shared)
    }
}

/// The right of one CPU to use its value of a [`PerCpu`].
pub struct LocalGuard<'p, T, S>(&'p Cell<T, S>);

impl<'p, T, S> LocalGuard<'p, T, S> {
    /// What everyone may look at of this CPU.
    #[inline(always)]
    pub fn shared(&self) -> &'p S {
        &self.0.shared
    }
}

impl<T, S> Deref for LocalGuard<'_, T, S> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: `borrow` said that this is the only guard of the cell, and a guard lends the value as it is lent.
        unsafe { &*self.0.value.get() }
    }
}

impl<T, S> DerefMut for LocalGuard<'_, T, S> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as for `deref`; the exclusive borrow of the guard makes this the only reference.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T, S> Drop for LocalGuard<'_, T, S> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.borrowed.store(false, Ordering::Release);
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_belongs_to_one_cpu() {
        let env = HostCpu::default();
        let cells = PerCpu::new(|cpu| (cpu * 10, ()));
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
        let cells = PerCpu::new(|_| (0, ()));
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
