//! The machine's own locks: spin locks that are taken in the order of `kernel::sync::Class`, as the allocator's are.
//!
//! A [`Lock`] needs no pin, for some are used before there are threads, and the console is held with interrupts on. Builds
//! with debug assertions (`cargo xtask build --checked`) note in the CPU's `HeldLocks` what it holds, and panic at the
//! first lock out of order, naming both; others are nothing but the spin lock. A report of the end is not stopped by that.
//!
//! Linux does more: see `kernel/src/sync/order.rs`.

use core::ops::{Deref, DerefMut};
use kernel::sync::Class;
use spin::mutex::{SpinMutex, SpinMutexGuard};

/// Data behind a spin lock of the machine.
pub struct Lock<T> {
    data: SpinMutex<T>,
    #[cfg(debug_assertions)]
    class: Class,
}

/// The right to use what a [`Lock`] protects.
pub struct Guard<'l, T> {
    // Dropped first: a note may outlive its lock for a moment, not the other way round.
    data: SpinMutexGuard<'l, T>,
    _note: notes::Note,
}

impl<T> Lock<T> {
    /// An unlocked lock, which is taken in the order that `class` says.
    #[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "only debug builds check the order"))]
    pub const fn new(class: Class, value: T) -> Lock<T> {
        Lock {
            data: SpinMutex::new(value),
            #[cfg(debug_assertions)]
            class,
        }
    }

    /// Waits for the lock.
    #[inline(always)]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock(&self) -> Guard<'_, T> {
        #[cfg(debug_assertions)]
        let note = notes::Note::waiting(self.class);
        #[cfg(not(debug_assertions))]
        let note = notes::Note;
        Guard { data: self.data.lock(), _note: note }
    }

    /// The lock, if nobody has it.
    #[inline(always)]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        let data = self.data.try_lock()?;
        #[cfg(debug_assertions)]
        let note = notes::Note::taken(self.class);
        #[cfg(not(debug_assertions))]
        let note = notes::Note;
        Some(Guard { data, _note: note })
    }

    /// Gives the lock back for a guard that was leaked on this CPU.
    ///
    /// # Safety
    ///
    /// As for `SpinMutex::force_unlock`: it is locked, and nobody will use what [`Guard::leak`] returned.
    #[inline(always)]
    pub unsafe fn force_unlock(&self) {
        #[cfg(debug_assertions)]
        notes::release(self.class);
        // SAFETY: the caller's promise.
        unsafe { self.data.force_unlock() };
    }

    /// Where the data is.
    pub fn as_mut_ptr(&self) -> *mut T {
        self.data.as_mut_ptr()
    }
}

impl<'l, T> Guard<'l, T> {
    /// The data without the guard: the lock stays locked until [`Lock::force_unlock`].
    pub fn leak(this: Guard<'l, T>) -> &'l mut T {
        let Guard { data, _note } = this;
        // What the note says lasts until `force_unlock`.
        let _ = core::mem::ManuallyDrop::new(_note);
        SpinMutexGuard::leak(data)
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.data
    }
}

/// Ends the checks: the machine stops, and its last words may need any lock.
pub fn stop_checking() {
    #[cfg(debug_assertions)]
    notes::STOPPED.store(true, core::sync::atomic::Ordering::Relaxed);
}

#[cfg(not(debug_assertions))]
mod notes {
    //! None.

    /// Nothing.
    pub struct Note;
}

#[cfg(debug_assertions)]
mod notes {
    //! What each CPU holds. Written with interrupts masked: a handler takes locks, too.

    use crate::arch::cpu;
    use crate::machine::Machine;
    use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use kernel::sync::order::Token;
    use kernel::sync::{Class, LocalIrq};

    /// Whether nobody checks any more.
    pub static STOPPED: AtomicBool = AtomicBool::new(false);

    /// The note that a lock is held; dropped, it is not.
    pub struct Note(Option<Token<'static>>);

    impl Note {
        /// The caller is about to wait for a lock of `class`. No closures here: they would hide where the caller is.
        #[track_caller]
        pub fn waiting(class: Class) -> Note {
            let before = cpu::mask();
            let checks = !STOPPED.load(Relaxed);
            let note = if checks { Some(Machine.held_locks().take(class)) } else { None };
            cpu::restore(before);
            Note(note)
        }

        /// The caller has got a lock of `class` without waiting.
        #[track_caller]
        pub fn taken(class: Class) -> Note {
            let before = cpu::mask();
            let checks = !STOPPED.load(Relaxed);
            let note = if checks { Machine.held_locks().taken(class) } else { None };
            cpu::restore(before);
            Note(note)
        }
    }

    /// The lock of `class`, whose note was forgotten, is not held any more.
    pub fn release(class: Class) {
        cpu::masked(|| Machine.held_locks().release(class));
    }

    impl Drop for Note {
        fn drop(&mut self) {
            cpu::masked(|| drop(self.0.take()));
        }
    }
}
