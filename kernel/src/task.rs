//! Tasks: who asks for memory, in what state, and in what context.
//!
//! A [`Task`] has the flags that decide about reserves (`PF_MEMALLOC` and its kin), a name, its memory in figures
//! ([`Mm`]), and what the OOM killer notes about it ([`OomMarks`]). [`TaskTable`] holds a fixed number of them; a task is
//! found by name or number. [`Current`] is the one that acts. Linux: `struct task_struct`, `include/linux/sched.h`.
//!
//! A task is a process here, and several threads may act as one: the shell and its jobs. What only the thread that acts
//! has, it has in its `Current`: the flags of a scope ([`Current::with`]) are nobody else's, and end with it.
//!
//! Linux does more: nearly everything; here a task has no code, no files and no priority, and of its address space there is
//! what [`Mm`] counts and `mm::mmap` and `mm::anon` keep.

use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

pub use crate::comm::{COMM_BYTES, Comm};
use crate::mmzone::NodeMask;

mod current;
mod flags;
mod mm;
mod oom;
mod placement;
mod table;

pub use current::{Context, Current, Undertaker};
pub use flags::TaskFlags;
pub use mm::{Mm, MmFlags, MmapWrite};
pub use oom::{OOM_SCORE_ADJ_MAX, OOM_SCORE_ADJ_MIN, OomMarks};
pub use placement::{Mempolicy, Placement, PolicyError};
pub use table::{MAX_TASKS, TaskError, TaskTable};

/// How a task is scheduled and who it works for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TaskKind {
    /// An ordinary process.
    #[default]
    User,
    /// A process with a real-time priority.
    RealTime,
    /// A kernel thread.
    Kernel,
    /// A kernel thread of the machine itself, such as kswapd.
    Daemon,
}

/// A task.
#[derive(Default)]
pub struct Task {
    /// Somebody makes the task of this slot, or made it.
    taken: AtomicBool,
    alive: AtomicBool,
    pid: u16,
    comm: [AtomicU64; 2],
    flags: AtomicU32,
    realtime: AtomicBool,
    /// One more than the number of the only CPU that may run it; 0: any may.
    bound_cpu: AtomicU8,
    sigkill: AtomicBool,
    uid: AtomicU32,
    parent: AtomicU16,
    /// Tasks made before this one, by which the table tells their age.
    born: AtomicU64,
    /// Pages that slab caches gave back for the reclaim that the task is in; for whichever of its threads looks first.
    /// Linux: `reclaim_state`.
    reclaimed_slab: AtomicU64,
    /// Requests until one is to fail; 0 for none.
    fail_nth: AtomicU32,
    /// What the task has mapped.
    pub mm: Mm,
    /// What the OOM killer notes about it.
    pub oom: OomMarks,
    /// Where it may take memory, and where it would like to.
    pub placement: Placement,
}

/// Flags that a task has for a while, whoever acts as it: how a person plays what a thread does by [`Current::with`].
/// Dropped, they are what they were before.
#[must_use]
pub struct Scope<'t> {
    task: &'t Task,
    scope: TaskFlags,
    before: TaskFlags,
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        self.task.change_flags(self.before, self.scope - self.before);
    }
}

impl Task {
    /// Sets `flags` until the scope is dropped.
    pub fn scope(&self, flags: TaskFlags) -> Scope<'_> {
        let before = self.flags() & flags;
        self.change_flags(flags, TaskFlags::empty());
        Scope { task: self, scope: flags, before }
    }

    /// Whether the task was told to die and has not noticed yet. Linux: `fatal_signal_pending`.
    pub fn is_dying(&self) -> bool {
        self.sigkill.load(Relaxed)
    }

    /// Tells the task to die. Linux: `SIGKILL`.
    pub fn kill(&self) {
        self.sigkill.store(true, Relaxed);
    }

    /// Whether the task has memory of its own: neither a kernel thread nor one that exited. Linux: `task->mm`.
    pub fn has_mm(&self) -> bool {
        !self.flags().contains(TaskFlags::PF_KTHREAD) && !self.mm.is_gone()
    }

    /// Whether it is the first task, without which there is nobody to talk to. Linux: `is_global_init`.
    pub fn is_init(&self) -> bool {
        self.pid == 1
    }

    /// Whose task it is.
    pub fn uid(&self) -> u32 {
        self.uid.load(Relaxed)
    }

    /// Makes it the task of another user.
    pub fn set_uid(&self, uid: u32) {
        self.uid.store(uid, Relaxed);
    }

    /// Number of the process that the task is a thread of: its own. Threads that act as one task have no numbers.
    pub fn tgid(&self) -> u16 {
        self.pid
    }

    /// Number of the task that made it.
    pub fn parent(&self) -> u16 {
        self.parent.load(Relaxed)
    }

    /// Notes whether the OOM killer chose the task; whether it had before.
    pub fn set_oom_victim(&self, victim: bool) -> bool {
        self.oom.victim.swap(victim, Relaxed)
    }

    /// Counts pages that slab caches gave back on the task's behalf.
    pub fn add_reclaimed_slab(&self, nr_pages: u64) {
        self.reclaimed_slab.fetch_add(nr_pages, Relaxed);
    }

    /// Takes the count of [`Task::add_reclaimed_slab`], and starts afresh.
    pub fn take_reclaimed_slab(&self) -> u64 {
        self.reclaimed_slab.swap(0, Relaxed)
    }

    /// How many requests from now on one of the task's is to fail; 0 for none. Linux: `fail_nth`.
    pub fn fail_nth(&self) -> u32 {
        self.fail_nth.load(Relaxed)
    }

    /// Sets [`Task::fail_nth`]; nobody looks at it until `mm::fault_inject` says so.
    pub fn set_fail_nth(&self, nth: u32) {
        self.fail_nth.store(nth, Relaxed);
    }

    /// Counts a request; whether it is the one to fail.
    pub fn count_down_fail_nth(&self) -> bool {
        self.fail_nth.fetch_update(Relaxed, Relaxed, |nth| nth.checked_sub(1)) == Ok(1)
    }

    /// The task's number; page records name owners by it.
    #[inline(always)]
    pub fn pid(&self) -> u16 {
        self.pid
    }

    /// The name, at most [`COMM_BYTES`] bytes.
    pub fn comm(&self) -> Comm {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.comm[0].load(Relaxed).to_le_bytes());
        bytes[8..].copy_from_slice(&self.comm[1].load(Relaxed).to_le_bytes());
        Comm::from_bytes(bytes)
    }

    /// The task's flags.
    #[inline(always)]
    pub fn flags(&self) -> TaskFlags {
        TaskFlags::from_bits_retain(self.flags.load(Relaxed))
    }

    /// Sets `set` and clears `clear`, in one step: an interrupt handler, or a person at another CPU, changes other flags.
    pub fn change_flags(&self, set: TaskFlags, clear: TaskFlags) {
        let changed = |flags| Some(flags & !clear.bits() | set.bits());
        // Never fails, for there is always something to write.
        let _ = self.flags.fetch_update(Relaxed, Relaxed, changed);
    }

    /// Whether the task has a real-time priority. Linux: `rt_task`.
    pub fn is_realtime(&self) -> bool {
        self.realtime.load(Relaxed)
    }

    /// Whether the OOM killer chose the task. Linux: `tsk_is_oom_victim`.
    pub fn is_oom_victim(&self) -> bool {
        self.oom.victim.load(Relaxed)
    }

    /// How much the OOM killer should like the task: -1000 (never) to 1000.
    pub fn oom_score_adj(&self) -> i16 {
        self.oom.score_adj.load(Relaxed)
    }

    /// Sets `oom_score_adj`.
    ///
    /// # Errors
    ///
    /// When it is not within -1000 and 1000.
    pub fn set_oom_score_adj(&self, adj: i64) -> Result<(), TaskError> {
        match i16::try_from(adj) {
            Ok(valid @ OOM_SCORE_ADJ_MIN..=OOM_SCORE_ADJ_MAX) => {
                self.oom.score_adj.store(valid, Relaxed);
                Ok(())
            }
            _ => Err(TaskError::OomScoreAdj(adj)),
        }
    }

    /// Nodes whose memory the task may use.
    pub fn mems_allowed(&self) -> NodeMask {
        self.placement.mems_allowed()
    }

    /// The only CPU that may run the task, if there is one. Linux: `cpus_allowed`.
    pub fn bound_cpu(&self) -> Option<usize> {
        usize::from(self.bound_cpu.load(Relaxed)).checked_sub(1)
    }

    /// Lets only CPU `cpu` run the task, or any. Linux: `set_cpus_allowed_ptr`.
    pub fn bind_cpu(&self, cpu: Option<usize>) {
        self.bound_cpu.store(cpu.map_or(0, |cpu| cpu as u8 + 1), Relaxed);
    }

    /// Makes a task of a free slot.
    fn init(&self, comm: &str, kind: TaskKind, parent: u16, born: u64) {
        let mut bytes = [0; 16];
        bytes[..comm.len()].copy_from_slice(comm.as_bytes());
        for (word, chunk) in self.comm.iter().zip(bytes.chunks_exact(8)) {
            word.store(chunk.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)), Relaxed);
        }
        let is_kernel = matches!(kind, TaskKind::Kernel | TaskKind::Daemon);
        let flags = if is_kernel { TaskFlags::PF_KTHREAD } else { TaskFlags::empty() };
        self.flags.store(flags.bits(), Relaxed);
        self.realtime.store(kind == TaskKind::RealTime, Relaxed);
        self.placement.reset();
        self.bind_cpu(None);
        self.sigkill.store(false, Relaxed);
        self.reclaimed_slab.store(0, Relaxed);
        self.fail_nth.store(0, Relaxed);
        self.uid.store(0, Relaxed);
        self.parent.store(parent, Relaxed);
        self.born.store(born, Relaxed);
        self.mm.reset();
        self.oom.reset();
        self.alive.store(true, SeqCst);
    }
}

/// A task in hand: it may end meanwhile, but its number is not given to another one. Linux: `get_task_struct`.
#[must_use]
pub struct PinnedTask<'t>(&'t Task);

impl<'t> PinnedTask<'t> {
    /// Takes a task in hand that the caller has just found; `None` if it has ended since, and perhaps is another one.
    fn new(task: &'t Task, born: u64) -> Option<PinnedTask<'t>> {
        task.oom.pin();
        let pinned = PinnedTask(task);
        (task.alive.load(SeqCst) && task.born.load(Relaxed) == born).then_some(pinned)
    }
}

impl core::ops::Deref for PinnedTask<'_> {
    type Target = Task;

    fn deref(&self) -> &Task {
        self.0
    }
}

impl Drop for PinnedTask<'_> {
    fn drop(&mut self) {
        self.0.oom.unpin();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oom_score_adj_keeps_its_range() {
        let tasks = TaskTable::new("sh");
        assert_eq!(tasks.init().set_oom_score_adj(1001), Err(TaskError::OomScoreAdj(1001)));
        assert_eq!(tasks.init().set_oom_score_adj(-1000), Ok(()));
        assert_eq!(tasks.init().oom_score_adj(), -1000);
    }
}
