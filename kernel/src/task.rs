//! Tasks: who asks for memory, in what state, and in what context.
//!
//! A [`Task`] has the flags that decide about reserves (`PF_MEMALLOC` and its kin), a name, and what the OOM killer looks
//! at. [`TaskTable`] holds a fixed number of them; a task is found by name or number. [`Current`] is the one that acts:
//! it is passed to everything that Linux would ask `current` for, so that a test, or the shell, can act as any task in
//! any context. Linux: `struct task_struct`, `include/linux/sched.h`, `include/linux/preempt.h`.
//!
//! Linux does more: nearly everything; here a task has no address space, no files and no scheduler.

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicI16, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

use bitflags::bitflags;

use crate::gfp::Gfp;
use crate::mmzone::NodeMask;

/// Tasks at most.
pub const MAX_TASKS: usize = 64;
/// Bytes of a task's name, as Linux has without the terminating zero.
pub const COMM_BYTES: usize = 15;

bitflags! {
    /// What a task is doing, written by the task itself. Linux: `PF_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct TaskFlags: u32 {
        /// Getting shut down.
        const PF_EXITING = 0x4;
        /// Dumping core.
        const PF_DUMPCORE = 0x200;
        /// Making room: may use all of the reserves.
        const PF_MEMALLOC = 0x800;
        /// I am kswapd.
        const PF_KSWAPD = 0x2_0000;
        /// Requests lose `__GFP_FS`.
        const PF_MEMALLOC_NOFS = 0x4_0000;
        /// Requests lose `__GFP_IO` and `__GFP_FS`.
        const PF_MEMALLOC_NOIO = 0x8_0000;
        /// Throttle me less: I clean memory.
        const PF_LESS_THROTTLE = 0x10_0000;
        /// I am a kernel thread.
        const PF_KTHREAD = 0x20_0000;
    }
}

impl TaskFlags {
    /// The flag called `name`, in either case, with or without `PF_`.
    pub fn by_name(name: &str) -> Option<TaskFlags> {
        TaskFlags::all().iter_names().find_map(|(known, flag)| {
            let matches = known.eq_ignore_ascii_case(name) || known[3..].eq_ignore_ascii_case(name);
            matches.then_some(flag)
        })
    }
}

impl fmt::Display for TaskFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, _) in self.iter_names() {
            write!(f, "{separator}{name}")?;
            separator = "|";
        }
        Ok(())
    }
}

/// What runs: a task, or something that interrupted it. Linux: `preempt_count`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Context {
    /// The task itself; it may sleep.
    #[default]
    Task,
    /// The task inside an atomic section, such as under a spin lock.
    Atomic,
    /// The task with bottom halves disabled.
    BhOff,
    /// A softirq.
    SoftIrq,
    /// An interrupt handler.
    HardIrq,
}

impl Context {
    /// Every context, the harmless first.
    pub const ALL: [Context; 5] = [Context::Task, Context::Atomic, Context::BhOff, Context::SoftIrq, Context::HardIrq];

    /// The name in the shell.
    pub const fn name(self) -> &'static str {
        match self {
            Context::Task => "task",
            Context::Atomic => "atomic",
            Context::BhOff => "bhoff",
            Context::SoftIrq => "softirq",
            Context::HardIrq => "hardirq",
        }
    }

    /// `in_interrupt()`: a hard interrupt, a softirq, or bottom halves disabled.
    pub const fn in_interrupt(self) -> bool {
        matches!(self, Context::BhOff | Context::SoftIrq | Context::HardIrq)
    }

    /// `in_serving_softirq()`.
    pub const fn in_serving_softirq(self) -> bool {
        matches!(self, Context::SoftIrq)
    }

    /// `in_irq()`.
    pub const fn in_irq(self) -> bool {
        matches!(self, Context::HardIrq)
    }

    /// Whether sleeping is forbidden.
    pub const fn in_atomic(self) -> bool {
        !matches!(self, Context::Task)
    }

    /// `preempt_count()` as Linux lays it out, with nothing nested.
    pub const fn preempt_count(self) -> u32 {
        match self {
            Context::Task => 0,
            Context::Atomic => 1,
            Context::BhOff => 0x200,
            Context::SoftIrq => 0x100,
            Context::HardIrq => 0x1_0000,
        }
    }
}

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
}

/// A task.
#[derive(Default)]
pub struct Task {
    alive: AtomicBool,
    pid: u16,
    comm: [AtomicU64; 2],
    flags: AtomicU32,
    realtime: AtomicBool,
    oom_victim: AtomicBool,
    oom_score_adj: AtomicI16,
    mems_allowed: AtomicU8,
}

impl Task {
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
        Comm(bytes)
    }

    /// The task's flags.
    #[inline(always)]
    pub fn flags(&self) -> TaskFlags {
        TaskFlags::from_bits_retain(self.flags.load(Relaxed))
    }

    /// Sets `set` and clears `clear`.
    pub fn change_flags(&self, set: TaskFlags, clear: TaskFlags) {
        self.flags.store(((self.flags() - clear) | set).bits(), Relaxed);
    }

    /// Whether the task has a real-time priority. Linux: `rt_task`.
    pub fn is_realtime(&self) -> bool {
        self.realtime.load(Relaxed)
    }

    /// Whether the OOM killer chose the task. Linux: `tsk_is_oom_victim`.
    pub fn is_oom_victim(&self) -> bool {
        self.oom_victim.load(Relaxed)
    }

    /// How much the OOM killer should like the task: -1000 (never) to 1000.
    pub fn oom_score_adj(&self) -> i16 {
        self.oom_score_adj.load(Relaxed)
    }

    /// Sets `oom_score_adj`.
    ///
    /// # Errors
    ///
    /// When it is not within -1000 and 1000.
    pub fn set_oom_score_adj(&self, adj: i64) -> Result<(), TaskError> {
        match i16::try_from(adj) {
            Ok(valid @ -1000..=1000) => {
                self.oom_score_adj.store(valid, Relaxed);
                Ok(())
            }
            _ => Err(TaskError::OomScoreAdj(adj)),
        }
    }

    /// Nodes whose memory the task may use.
    pub fn mems_allowed(&self) -> NodeMask {
        NodeMask(self.mems_allowed.load(Relaxed))
    }

    fn init(&self, comm: &str, kind: TaskKind) {
        let mut bytes = [0; 16];
        bytes[..comm.len()].copy_from_slice(comm.as_bytes());
        for (word, chunk) in self.comm.iter().zip(bytes.chunks_exact(8)) {
            word.store(chunk.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)), Relaxed);
        }
        let flags = if kind == TaskKind::Kernel { TaskFlags::PF_KTHREAD } else { TaskFlags::empty() };
        self.flags.store(flags.bits(), Relaxed);
        self.realtime.store(kind == TaskKind::RealTime, Relaxed);
        self.oom_victim.store(false, Relaxed);
        self.oom_score_adj.store(0, Relaxed);
        self.mems_allowed.store(NodeMask::ALL.0, Relaxed);
        self.alive.store(true, Relaxed);
    }
}

/// A task's name.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Comm([u8; 16]);

impl Comm {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(self.0.len());
        str::from_utf8(&self.0[..end]).unwrap_or("?")
    }
}

impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// All tasks of the machine. Number 1 is the first, which is never killed.
pub struct TaskTable {
    tasks: [Task; MAX_TASKS],
}

impl TaskTable {
    /// A table whose first task is called `init`.
    ///
    /// # Panics
    ///
    /// When `init` is no valid name.
    pub fn new(init: &str) -> TaskTable {
        let table = TaskTable { tasks: core::array::from_fn(|slot| Task { pid: slot as u16 + 1, ..Task::default() }) };
        table.spawn(init, TaskKind::User).expect("name of the first task");
        table
    }

    /// The first task.
    pub fn init(&self) -> &Task {
        &self.tasks[0]
    }

    /// Makes a task.
    ///
    /// # Errors
    ///
    /// When the name is empty, too long, not printable ASCII without blanks, or taken, or the table is full.
    pub fn spawn(&self, comm: &str, kind: TaskKind) -> Result<&Task, TaskError> {
        if comm.is_empty() || comm.len() > COMM_BYTES {
            return Err(TaskError::NameLength(comm.len()));
        }
        if let Some(at) = comm.bytes().position(|byte| !byte.is_ascii_graphic()) {
            return Err(TaskError::NameByte { at, byte: comm.as_bytes()[at] });
        }
        if let Some(task) = self.find(comm) {
            return Err(TaskError::NameTaken(task.pid));
        }
        let slot = self.tasks.iter().find(|task| !task.alive.load(Relaxed)).ok_or(TaskError::TableFull)?;
        slot.init(comm, kind);
        Ok(slot)
    }

    /// Takes the task off the table; what it held is the caller's to free.
    ///
    /// # Errors
    ///
    /// When it is the first task.
    pub fn remove(&self, task: &Task) -> Result<(), TaskError> {
        if task.pid == self.init().pid {
            return Err(TaskError::InitKilled);
        }
        self.tasks[usize::from(task.pid) - 1].alive.store(false, Relaxed);
        Ok(())
    }

    /// The task called `comm`.
    pub fn find(&self, comm: &str) -> Option<&Task> {
        self.iter().find(|task| task.comm().as_str() == comm)
    }

    /// The task with number `pid`.
    pub fn by_pid(&self, pid: u16) -> Option<&Task> {
        self.iter().find(|task| task.pid == pid)
    }

    /// All tasks by number.
    pub fn iter(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter().filter(|task| task.alive.load(Relaxed))
    }
}

/// Why a task could not be made, changed or removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskError {
    /// The name has this many bytes.
    NameLength(usize),
    /// The name has a byte that is not printable.
    NameByte {
        /// Where it stands.
        at: usize,
        /// The byte.
        byte: u8,
    },
    /// The task with this number has the name already.
    NameTaken(u16),
    /// There are [`MAX_TASKS`] tasks.
    TableFull,
    /// The first task cannot be removed.
    InitKilled,
    /// `oom_score_adj` is out of its range.
    OomScoreAdj(i64),
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskError::NameLength(bytes) => write!(f, "a task's name has 1 to {COMM_BYTES} bytes, not {bytes}"),
            TaskError::NameByte { at, byte } => {
                write!(f, "byte {byte:#04x} at {at} of the name is not printable ASCII")
            }
            TaskError::NameTaken(pid) => write!(f, "task {pid} has that name already"),
            TaskError::TableFull => write!(f, "there are {MAX_TASKS} tasks already; kill one first"),
            TaskError::InitKilled => write!(f, "the first task cannot be killed"),
            TaskError::OomScoreAdj(adj) => write!(f, "oom_score_adj must be -1000..1000, not {adj}"),
        }
    }
}

/// Who acts, where, and in what context. Linux: `current`.
#[derive(Clone, Copy)]
pub struct Current<'t> {
    /// The task that acts, or that was interrupted.
    pub task: &'t Task,
    /// The CPU that runs it.
    pub cpu: usize,
    context: Context,
    forbidden: Gfp,
}

impl<'t> Current<'t> {
    /// `task` itself, on CPU `cpu`.
    pub const fn new(task: &'t Task, cpu: usize) -> Current<'t> {
        Current { task, cpu, context: Context::Task, forbidden: Gfp::empty() }
    }

    /// The same task in another context.
    #[must_use]
    pub const fn in_context(self, context: Context) -> Current<'t> {
        let forbidden = if context.in_atomic() { Gfp::__GFP_DIRECT_RECLAIM } else { Gfp::empty() };
        Current { context, forbidden, ..self }
    }

    /// Whether the task acts itself, or what interrupted it.
    #[inline(always)]
    pub const fn context(&self) -> Context {
        self.context
    }

    /// What a request must not ask for in this context: to sleep where sleeping is forbidden.
    #[inline(always)]
    pub const fn forbidden(&self) -> Gfp {
        self.forbidden
    }

    /// The task's flags. Linux: `current->flags`.
    #[inline(always)]
    pub fn flags(&self) -> TaskFlags {
        self.task.flags()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_come_and_go_by_name() {
        let tasks = TaskTable::new("sh");
        let hog = tasks.spawn("a-15-byte-name!", TaskKind::User).unwrap();
        assert_eq!((hog.pid(), hog.comm().as_str()), (2, "a-15-byte-name!"));
        assert_eq!(tasks.spawn("a-15-byte-name!", TaskKind::User).err(), Some(TaskError::NameTaken(2)));
        tasks.remove(hog).unwrap();
        assert!(tasks.find("a-15-byte-name!").is_none());
        assert_eq!(tasks.spawn("next", TaskKind::Kernel).map(Task::pid), Ok(2));
        assert_eq!(tasks.find("next").unwrap().flags(), TaskFlags::PF_KTHREAD);
    }

    #[test]
    fn bad_names_and_a_full_table_are_refused() {
        let tasks = TaskTable::new("sh");
        assert_eq!(tasks.spawn("", TaskKind::User).err(), Some(TaskError::NameLength(0)));
        assert_eq!(tasks.spawn("0123456789abcdef", TaskKind::User).err(), Some(TaskError::NameLength(16)));
        assert_eq!(tasks.spawn("a b", TaskKind::User).err(), Some(TaskError::NameByte { at: 1, byte: b' ' }));
        assert_eq!(tasks.remove(tasks.init()), Err(TaskError::InitKilled));
        for n in 1..MAX_TASKS {
            tasks.spawn(&format!("t{n}"), TaskKind::User).unwrap();
        }
        assert_eq!(tasks.spawn("one-more", TaskKind::User).err(), Some(TaskError::TableFull));
    }

    #[test]
    fn flags_are_found_by_either_name() {
        assert_eq!(TaskFlags::by_name("PF_MEMALLOC"), Some(TaskFlags::PF_MEMALLOC));
        assert_eq!(TaskFlags::by_name("memalloc_nofs"), Some(TaskFlags::PF_MEMALLOC_NOFS));
        assert_eq!(TaskFlags::by_name("memalloc_no"), None);
        let tasks = TaskTable::new("sh");
        tasks.init().change_flags(TaskFlags::PF_MEMALLOC | TaskFlags::PF_EXITING, TaskFlags::empty());
        tasks.init().change_flags(TaskFlags::empty(), TaskFlags::PF_EXITING);
        assert_eq!(tasks.init().flags().to_string(), "PF_MEMALLOC");
    }

    #[test]
    fn contexts_are_what_linux_calls_them() {
        let interrupt = Context::ALL.map(Context::in_interrupt);
        assert_eq!(interrupt, [false, false, true, true, true]);
        assert_eq!(Context::ALL.map(Context::in_serving_softirq), [false, false, false, true, false]);
        assert_eq!(Context::ALL.map(Context::in_atomic), [false, true, true, true, true]);
    }

    #[test]
    fn oom_score_adj_keeps_its_range() {
        let tasks = TaskTable::new("sh");
        assert_eq!(tasks.init().set_oom_score_adj(1001), Err(TaskError::OomScoreAdj(1001)));
        assert_eq!(tasks.init().set_oom_score_adj(-1000), Ok(()));
        assert_eq!(tasks.init().oom_score_adj(), -1000);
    }
}
