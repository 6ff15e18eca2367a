//! What the OOM killer notes about a task.
//!
//! Key type: [`OomMarks`]. Who may be killed and who is preferred is told by `oom_score_adj`; what happened to a victim by
//! the rest. Neighbours: `mm::oom_kill` reads and writes them, `proc::pid` shows them.
//! Linux: the `oom_*` members of `struct signal_struct` and `struct task_struct`, `include/uapi/linux/oom.h`.
//!
//! Linux does more: `oom_score_adj_min`, below which only the privileged go, and the old `oom_adj`.

use crate::sync::atomic::Ordering::{Relaxed, SeqCst};
use crate::sync::atomic::{AtomicBool, AtomicI16, AtomicU16, AtomicU32};

/// Never kill.
pub const OOM_SCORE_ADJ_MIN: i16 = -1000;
/// Kill first.
pub const OOM_SCORE_ADJ_MAX: i16 = 1000;

/// What the OOM killer notes about a task.
#[derive(Debug, Default)]
pub struct OomMarks {
    pub(super) score_adj: AtomicI16,
    pub(super) victim: AtomicBool,
    memdie: AtomicBool,
    origin: AtomicBool,
    /// Those who have the task in hand, and may go on after it was removed. Linux: `task_struct.usage`.
    pub(super) pins: AtomicU32,
    /// The task behind this one on the reaper's list; 0 for none.
    pub reaper_next: AtomicU16,
}

impl OomMarks {
    /// Counts the task among those whose exit is awaited; whether it was before. Linux: `TIF_MEMDIE`.
    pub fn set_memdie(&self) -> bool {
        self.memdie.swap(true, Relaxed)
    }

    /// The task is not awaited any more; whether it was. Linux: `TIF_MEMDIE`.
    pub fn clear_memdie(&self) -> bool {
        self.memdie.swap(false, Relaxed)
    }

    /// Whether the task asks to be killed before anybody else: it knows that it may use up all memory, as `swapoff` does.
    /// Linux: `oom_task_origin`.
    pub fn is_origin(&self) -> bool {
        self.origin.load(Relaxed)
    }

    /// Sets what [`OomMarks::is_origin`] returns. Linux: `set_current_oom_origin`.
    pub fn set_origin(&self, origin: bool) {
        self.origin.store(origin, Relaxed);
    }

    /// Whether somebody has the task in hand: then its number is not given to another one.
    pub fn is_pinned(&self) -> bool {
        self.pins.load(SeqCst) > 0
    }

    /// Takes the task in hand; [`OomMarks::unpin`] ends that. Linux: `get_task_struct`.
    pub fn pin(&self) {
        self.pins.fetch_add(1, SeqCst);
    }

    /// Undoes [`OomMarks::pin`]. Linux: `put_task_struct`.
    pub fn unpin(&self) {
        self.pins.fetch_sub(1, SeqCst);
    }

    /// As of a new task; whoever looked at the one before may still have it in hand for a moment.
    pub(super) fn reset(&self) {
        self.score_adj.store(0, Relaxed);
        self.reaper_next.store(0, Relaxed);
        [&self.victim, &self.memdie, &self.origin].iter().for_each(|mark| mark.store(false, Relaxed));
    }
}
