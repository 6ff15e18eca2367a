//! The tasks of a machine: a fixed number of slots.
//!
//! Key types: [`TaskTable`], and [`TaskError`], which says why a task could not be made, changed or removed. A slot's number
//! is the task's; it is used again once the task was removed and nobody has it in hand. Linux: `kernel/fork.c`,
//! `for_each_process`.
//!
//! Linux does more: 4 million numbers, namespaces of them, and threads.

use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::{Relaxed, SeqCst};
use core::fmt;

use super::{COMM_BYTES, PinnedTask, Task, TaskKind};

/// Tasks at most.
pub const MAX_TASKS: usize = 64;

/// All tasks of the machine. Number 1 is the first, which is never killed.
pub struct TaskTable {
    tasks: [Task; MAX_TASKS],
    /// Tasks made so far.
    spawned: AtomicU64,
}

impl TaskTable {
    /// A table whose first task is called `init`.
    ///
    /// # Panics
    ///
    /// When `init` is no valid name.
    pub fn new(init: &str) -> TaskTable {
        let tasks = core::array::from_fn(|slot| Task { pid: slot as u16 + 1, ..Task::default() });
        let table = TaskTable { tasks, spawned: AtomicU64::new(0) };
        table.spawn(init, TaskKind::User).expect("name of the first task");
        table
    }

    /// The first task.
    pub fn init(&self) -> &Task {
        &self.tasks[0]
    }

    /// Makes a task, a child of the first.
    ///
    /// # Errors
    ///
    /// When the name is empty, too long, not printable ASCII without blanks, or taken, or the table is full.
    pub fn spawn(&self, comm: &str, kind: TaskKind) -> Result<&Task, TaskError> {
        self.add(comm, kind, self.init().pid)
    }

    /// Makes a process whose parent is `parent`: with its user, its `oom_score_adj`, its cpuset and policy,
    /// and memory of its own.
    ///
    /// # Errors
    ///
    /// As [`TaskTable::spawn`]. Linux: `fork`.
    pub fn spawn_child(&self, parent: &Task, comm: &str) -> Result<&Task, TaskError> {
        let child = self.add(comm, TaskKind::User, parent.pid)?;
        child.set_uid(parent.uid());
        child.oom.score_adj.store(parent.oom_score_adj(), Relaxed);
        child.placement.inherit(&parent.placement);
        Ok(child)
    }

    fn add(&self, comm: &str, kind: TaskKind, parent: u16) -> Result<&Task, TaskError> {
        if comm.is_empty() || comm.len() > COMM_BYTES {
            return Err(TaskError::NameLength(comm.len()));
        }
        if let Some(at) = comm.bytes().position(|byte| !byte.is_ascii_graphic()) {
            return Err(TaskError::NameByte { at, byte: comm.as_bytes()[at] });
        }
        if let Some(task) = self.find(comm) {
            return Err(TaskError::NameTaken(task.pid));
        }
        let mut free = self.tasks.iter().filter(|task| take(task));
        // From the end, so that the numbers of users' tasks do not depend on how many daemons a machine has.
        let slot = if kind == TaskKind::Daemon { free.next_back() } else { free.next() }.ok_or(TaskError::TableFull)?;
        slot.init(comm, kind, parent, self.spawned.fetch_add(1, Relaxed));
        Ok(slot)
    }

    /// Takes the task off the table; what it held is the caller's to free, its children become the first task's.
    ///
    /// # Errors
    ///
    /// When it is the first task.
    pub fn remove(&self, task: &Task) -> Result<(), TaskError> {
        if task.pid == self.init().pid {
            return Err(TaskError::InitKilled);
        }
        let slot = &self.tasks[usize::from(task.pid) - 1];
        slot.alive.store(false, SeqCst);
        slot.taken.store(false, SeqCst);
        for child in self.iter().filter(|child| child.parent() == task.pid) {
            child.parent.store(self.init().pid, Relaxed);
        }
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

    /// The task with number `pid`, even if it was removed: for those who keep it from being made anew.
    pub fn pinned(&self, pid: u16) -> Option<&Task> {
        self.tasks.get(usize::from(pid).checked_sub(1)?).filter(|task| task.oom.is_pinned())
    }

    /// All tasks, the oldest first. Linux: `for_each_process`.
    pub fn by_age(&self) -> impl Iterator<Item = &Task> {
        self.pinned_by_age().map(|task| task.0)
    }

    /// [`TaskTable::by_age`], each in hand while it is looked at: for those who keep one while others end.
    pub fn pinned_by_age(&self) -> impl Iterator<Item = PinnedTask<'_>> {
        let mut age = 0;
        core::iter::from_fn(move || {
            loop {
                let found = self.iter().map(|task| (task.born.load(Relaxed), task)).filter(|(born, _)| *born >= age);
                let (born, task) = found.min_by_key(|(born, _)| *born)?;
                age = born + 1;
                if let Some(pinned) = PinnedTask::new(task, born) {
                    return Some(pinned);
                }
            }
        })
    }

    /// All tasks by number.
    pub fn iter(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter().filter(|task| task.alive.load(SeqCst))
    }
}

/// Takes a free slot for a new task; whether it was free. Who pins a task looks afterwards whether it is still there: so
/// either that is seen here, or the pin is let go.
fn take(slot: &Task) -> bool {
    if slot.oom.is_pinned() || slot.taken.swap(true, SeqCst) {
        return false;
    }
    let is_pinned = slot.oom.is_pinned();
    if is_pinned {
        slot.taken.store(false, SeqCst);
    }
    !is_pinned
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::TaskFlags;

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
    fn children_inherit_and_are_inherited() {
        let tasks = TaskTable::new("sh");
        let parent = tasks.spawn("parent", TaskKind::User).unwrap();
        parent.set_uid(1000);
        parent.set_oom_score_adj(-17).unwrap();
        let child = tasks.spawn_child(parent, "child").unwrap();
        assert_eq!((parent.parent(), child.parent(), child.uid(), child.oom_score_adj()), (1, 2, 1000, -17));
        tasks.remove(parent).unwrap();
        assert_eq!(child.parent(), 1);
    }

    #[test]
    fn numbers_are_used_again_but_ages_are_not() {
        let tasks = TaskTable::new("sh");
        let [a, _] = ["a", "b"].map(|name| tasks.spawn(name, TaskKind::User).unwrap());
        tasks.spawn("kswapd0", TaskKind::Daemon).unwrap();
        tasks.remove(a).unwrap();
        tasks.spawn("c", TaskKind::User).unwrap();
        let ages: Vec<_> = tasks.by_age().map(|task| (task.comm().as_str().to_owned(), task.pid())).collect();
        assert_eq!(ages, [("sh", 1), ("b", 3), ("kswapd0", 64), ("c", 2)].map(|(name, pid)| (name.to_owned(), pid)));
    }

    #[test]
    fn a_task_in_hand_keeps_its_number() {
        let tasks = TaskTable::new("sh");
        let victim = tasks.spawn("victim", TaskKind::User).unwrap();
        let pinned = tasks.pinned_by_age().last().unwrap();
        assert_eq!(pinned.pid(), 2);
        tasks.remove(victim).unwrap();
        assert_eq!(tasks.spawn("next", TaskKind::User).map(Task::pid), Ok(3));
        assert_eq!(tasks.pinned(2).map(Task::pid), Some(2));
        drop(pinned);
        assert_eq!(tasks.spawn("other", TaskKind::User).map(Task::pid), Ok(2));
        assert!(PinnedTask::new(victim, 1).is_none(), "that was another one");
        assert!(tasks.pinned(2).is_none() && tasks.pinned(0).is_none() && tasks.pinned(65).is_none());
    }
}
