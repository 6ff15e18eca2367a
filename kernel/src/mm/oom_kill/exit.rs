//! The exit of a task, as far as memory goes.
//!
//! Linux: `exit_mm`, `exit_mmap`, `exit_oom_victim`.
//!
//! Linux does more: files, signals, the parent; here the shell frees what else the task held.

use crate::mm::memory::{Env, Memory};
use crate::mm::owner::PageOwner;
use crate::sync::atomic::{Ordering::SeqCst, fence};
use crate::task::{Current, MmFlags, Task, TaskFlags};

/// The task ends: what it has mapped is given back. The caller frees what else it held, and takes it off the table.
pub fn exit_task<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, task: &Task) {
    task.change_flags(TaskFlags::PF_EXITING, TaskFlags::empty());
    if task.has_mm() {
        memory.env.owner().exit_mmap(memory, current, task);
        if task.mm.has(MmFlags::OOM_VICTIM) {
            // The reaper has nothing left to do, and the next victim may be looked for.
            task.mm.set_flags(MmFlags::OOM_SKIP);
        }
        task.mm.set_gone();
        // Pairs with the one of `mark_oom_victim`.
        fence(SeqCst);
    }
    exit_oom_victim(memory, task);
}

/// Nobody waits for the task any more, if it was a victim.
pub fn exit_oom_victim<E: Env>(memory: &Memory<'_, E>, task: &Task) {
    if task.oom.clear_memdie() {
        remove_victim(memory);
    }
}

/// One victim less is awaited; with the last one, who waited for that goes on.
pub(super) fn remove_victim<E: Env>(memory: &Memory<'_, E>) {
    if memory.oom.remove_victim() {
        memory.oom.victims_wait.wake_all(memory.env.sched());
    }
}
