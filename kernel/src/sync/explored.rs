//! What [`super`] is made of when threads are explored: a lock and an interrupt mask that let others run while they wait.
//!
//! Key types: [`SpinMutex`], which takes the place of `spin`'s, and [`Mask`]. An interrupt handler on a CPU is a thread
//! of its own then, and so is each of several threads that take turns on one CPU: only one of them can have the CPU's
//! interrupts masked, the others wait for that.

use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use spin::mutex;

use crate::host::explore;

/// A spin lock, with a step before it is taken and one after it is given back.
pub struct SpinMutex<T>(mutex::SpinMutex<T>);

impl<T> SpinMutex<T> {
    /// An unlocked lock.
    pub const fn new(value: T) -> SpinMutex<T> {
        SpinMutex(mutex::SpinMutex::new(value))
    }

    /// Waits for the lock.
    pub fn lock(&self) -> SpinMutexGuard<'_, T> {
        let mut guard = None;
        explore::wait(|| {
            guard = self.0.try_lock();
            guard.is_some()
        });
        match guard {
            Some(guard) => SpinMutexGuard { guard, _wake: Wake },
            None => unreachable!("the wait was for the guard"),
        }
    }

    /// The data, without locking.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

/// The right to use what a [`SpinMutex`] protects.
pub struct SpinMutexGuard<'l, T> {
    // Dropped first: who is woken finds the lock free.
    guard: mutex::SpinMutexGuard<'l, T>,
    _wake: Wake,
}

impl<T> Deref for SpinMutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for SpinMutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// Tells those who wait when it is dropped.
struct Wake;

impl Drop for Wake {
    fn drop(&mut self) {
        explore::wake();
    }
}

/// Who has the interrupts of a CPU masked.
#[derive(Default)]
pub struct Mask {
    /// One more than the number of the thread; 0 for nobody.
    holder: AtomicUsize,
    depth: AtomicUsize,
}

impl Mask {
    /// Masks; waits while another thread of the CPU has them masked.
    pub fn enter(&self) {
        let me = explore::me() + 1;
        if self.holder.load(Relaxed) != me {
            explore::wait(|| self.holder.compare_exchange(0, me, Relaxed, Relaxed).is_ok());
        }
        self.depth.fetch_add(1, Relaxed);
    }

    /// Undoes one [`Mask::enter`].
    pub fn leave(&self) {
        if self.depth.fetch_sub(1, Relaxed) == 1 {
            self.holder.store(0, Relaxed);
            explore::wake();
        }
    }
}
