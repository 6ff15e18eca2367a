//! The OOM killer's state: who may kill, how many victims have not exited, whom the reaper is to see.
//!
//! Key types: [`OomState`], which [`super::memory::Memory`] has one of, and [`OomLock`], the right to kill. Neighbour:
//! [`super::oom_kill`] decides. Linux: the statics of `mm/oom_kill.c`, `oom_lock`.

use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicBool, AtomicU32};

use crate::daemon::Daemon;
use crate::sched::WaitQueue;
use crate::sync::{Class, SpinLock};

/// The state of the OOM killer.
pub struct OomState {
    locked: AtomicBool,
    disabled: AtomicBool,
    storage_suspended: AtomicBool,
    victims: AtomicU32,
    /// Who waits until the last victim has exited. Linux: `oom_victims_wait`.
    pub victims_wait: WaitQueue,
    /// The task that was put on the reaper's list last; 0 for none. Linux: `oom_reaper_list`.
    pub(super) reaper_list: SpinLock<u16>,
    /// The reaper. Linux: `oom_reaper_th`, `oom_reaper_wait`.
    pub reaper: Daemon,
}

impl Default for OomState {
    fn default() -> OomState {
        OomState {
            locked: AtomicBool::new(false),
            disabled: AtomicBool::new(false),
            storage_suspended: AtomicBool::new(false),
            victims: AtomicU32::new(0),
            victims_wait: WaitQueue::new(),
            reaper_list: SpinLock::new(Class::Leaf, 0),
            reaper: Daemon::new(),
        }
    }
}

impl OomState {
    /// The right to kill; `None` while somebody else has it. Linux: `mutex_trylock(&oom_lock)`.
    pub fn try_lock(&self) -> Option<OomLock<'_>> {
        // Not made unless it is ours: dropping one unlocks.
        (!self.locked.swap(true, Acquire)).then(|| OomLock(self))
    }

    /// Victims that have not exited. Linux: `oom_victims`.
    pub fn victims(&self) -> u32 {
        self.victims.load(Relaxed)
    }

    /// Counts one victim more.
    pub(super) fn add_victim(&self) {
        self.victims.fetch_add(1, Relaxed);
    }

    /// Counts one victim less; whether that was the last.
    pub(super) fn remove_victim(&self) -> bool {
        self.victims.fetch_sub(1, Relaxed) == 1
    }

    /// Whether nobody may be killed. Linux: `oom_killer_disabled`.
    pub fn is_disabled(&self) -> bool {
        self.disabled.load(Relaxed)
    }

    /// Lets nobody be killed, or lets them be killed again. Linux: `oom_killer_enable`.
    pub fn set_disabled(&self, disabled: bool) {
        self.disabled.store(disabled, Relaxed);
    }

    /// Whether nothing can be written, so that a kill would not help. Linux: `pm_suspended_storage`.
    pub fn storage_suspended(&self) -> bool {
        self.storage_suspended.load(Relaxed)
    }

    /// Sets what [`OomState::storage_suspended`] returns, as a machine that goes to sleep does.
    pub fn set_storage_suspended(&self, suspended: bool) {
        self.storage_suspended.store(suspended, Relaxed);
    }
}

/// The right to kill, until dropped.
#[must_use]
pub struct OomLock<'o>(&'o OomState);

impl Drop for OomLock<'_> {
    fn drop(&mut self) {
        self.0.locked.store(false, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_to_kill_stays_with_one_however_often_others_try() {
        let oom = OomState::default();
        let lock = oom.try_lock().unwrap();
        assert!((0..2).all(|_| oom.try_lock().is_none()));
        drop(lock);
        assert!(oom.try_lock().is_some());
    }
}
