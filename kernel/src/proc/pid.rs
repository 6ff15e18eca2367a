//! /proc/PID: what each task tells about itself.
//!
//! Key type: [`PidFile`], one row for each file; the directories are there for every task, and `/proc/self` for the one
//! that looks. Neighbours: [`crate::task`] has the figures, [`crate::mm::oom_kill`] the score. Linux: `fs/proc/base.c`,
//! `proc_pid_status`.
//!
//! Linux does more: some fifty other files; and in `status` what this machine has not, such as a state and signal masks.

use crate::sync::atomic::Ordering::Relaxed;
use core::fmt;

use super::json::Object;
use super::{Form, sysctl};
use crate::addr::PAGE_SIZE;
use crate::mm::fault_inject;
use crate::mm::memory::{Env, Memory};
use crate::mm::oom_kill;
use crate::task::{Current, Task};
use crate::trace::oom::Oom;

/// The bit of SIGKILL in a set of signals.
const SIGKILL: u64 = 1 << 8;

/// A file of a task's directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PidFile {
    /// The name.
    Comm,
    /// Which request from now on is to fail; can be written.
    FailNth,
    /// How much the OOM killer likes it, out of 1000.
    OomScore,
    /// What a user adds to that; can be written.
    OomScoreAdj,
    /// Numbers and sizes.
    Status,
}

/// Why a file of a task was not written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PidError {
    /// It can only be read: `EACCES`.
    ReadOnly,
    /// Its content would not be a number from -1000 to 1000: `EINVAL`.
    Invalid,
    /// Its content would not be a count: `EINVAL`.
    NoCount,
}

impl fmt::Display for PidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PidError::ReadOnly => "write error: the file can only be read",
            PidError::Invalid => "write error: Invalid argument: oom_score_adj must be -1000 to 1000",
            PidError::NoCount => "write error: Invalid argument: fail-nth must be a number from 0 on",
        })
    }
}

/// What a path below /proc leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PidPath {
    /// The task's number; `None` for whoever looks.
    pub pid: Option<u16>,
    /// The file; `None` for the directory.
    pub file: Option<PidFile>,
}

impl PidPath {
    /// What `path` leads to, if it is `/proc/NUMBER` or `/proc/self`, or a file there. There need not be such a task.
    pub fn parse(path: &str) -> Option<PidPath> {
        let mut parts = path.strip_prefix('/')?.split('/').filter(|part| !matches!(*part, "" | "."));
        let directory = (parts.next()? == "proc").then(|| parts.next())??;
        let pid = if directory == "self" { None } else { Some(directory.parse().ok()?) };
        let file = match parts.next() {
            Some(name) => Some(PidFile::ALL.into_iter().find(|file| file.name() == name)?),
            None => None,
        };
        parts.next().is_none().then_some(PidPath { pid, file })
    }

    /// The task, if there is one with that number.
    pub fn task<'t, E: Env>(&self, memory: &'t Memory<'_, E>, current: &Current<'t>) -> Option<&'t Task> {
        self.pid.map_or(Some(current.task), |pid| memory.env.tasks().by_pid(pid))
    }
}

impl PidFile {
    /// Every file, by name.
    pub const ALL: [PidFile; 5] =
        [PidFile::Comm, PidFile::FailNth, PidFile::OomScore, PidFile::OomScoreAdj, PidFile::Status];

    /// The file's name.
    pub const fn name(self) -> &'static str {
        match self {
            PidFile::Comm => "comm",
            PidFile::FailNth => "fail-nth",
            PidFile::OomScore => "oom_score",
            PidFile::OomScoreAdj => "oom_score_adj",
            PidFile::Status => "status",
        }
    }

    /// One line on what it tells.
    pub const fn about(self) -> &'static str {
        match self {
            PidFile::Comm => "the task's name",
            PidFile::FailNth => "which request from now on is to fail, or 0",
            PidFile::OomScore => "how much the OOM killer likes it, of 1000",
            PidFile::OomScoreAdj => "what is added to that: -1000 never, 1000 first",
            PidFile::Status => "numbers and sizes",
        }
    }

    /// Writes the file's content.
    pub fn read<E: Env>(
        self,
        memory: &Memory<'_, E>,
        current: &Current<'_>,
        task: &Task,
        (form, nr_cpus): (Form, usize),
        out: &mut dyn fmt::Write,
    ) -> fmt::Result {
        let mut line = |value: &dyn fmt::Display| match form {
            Form::Text => writeln!(out, "{value}"),
            Form::Json if self == PidFile::Comm => Object::new(out).word(self.name(), value)?.end(),
            Form::Json => Object::new(out).field(self.name(), value)?.end(),
        };
        match self {
            PidFile::Comm => line(&task.comm()),
            PidFile::FailNth => line(&task.fail_nth()),
            PidFile::OomScore => line(&oom_score(memory, current, task)),
            PidFile::OomScoreAdj => line(&task.oom_score_adj()),
            PidFile::Status if form == Form::Json => status_json(task, out),
            PidFile::Status => status(memory, task, nr_cpus, out),
        }
    }

    /// Sets the file's content.
    ///
    /// # Errors
    ///
    /// When the file cannot be written, or not like that; nothing changes then. Linux: `oom_score_adj_write`,
    /// `proc_fail_nth_write`.
    pub fn write<E: Env>(
        self,
        memory: &Memory<'_, E>,
        current: &Current<'_>,
        task: &Task,
        text: &str,
    ) -> Result<(), PidError> {
        match self {
            PidFile::OomScoreAdj => write_oom_score_adj(memory, current, task, text),
            PidFile::FailNth => {
                let nth = sysctl::parse_int(text.trim()).and_then(|nth| u32::try_from(nth).ok());
                fault_inject::set_fail_nth(memory, task, nth.ok_or(PidError::NoCount)?);
                Ok(())
            }
            _ => Err(PidError::ReadOnly),
        }
    }
}

fn write_oom_score_adj<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    task: &Task,
    text: &str,
) -> Result<(), PidError> {
    let adj = sysctl::parse_int(text.trim()).ok_or(PidError::Invalid)?;
    task.set_oom_score_adj(i64::from(adj)).map_err(|_| PidError::Invalid)?;
    memory.trace(current, || Oom::OomScoreAdjUpdate {
        pid: u32::from(task.pid()),
        comm: task.comm(),
        oom_score_adj: task.oom_score_adj(),
    });
    Ok(())
}

/// The task's badness in thousandths of all memory. Linux: `proc_oom_score`.
pub fn oom_score<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, task: &Task) -> u64 {
    let totalpages = oom_kill::totalpages(memory).max(1);
    oom_kill::oom_badness(current, task, None, totalpages) * 1000 / totalpages
}

/// The task's memory in KiB, by the names that Linux gives it.
fn sizes(task: &Task) -> [(&'static str, u64); 7] {
    let (mm, kib) = (&task.mm, |pages: u64| pages * (PAGE_SIZE / 1024));
    [
        ("VmSize", kib(mm.total_vm.load(Relaxed))),
        ("VmRSS", kib(mm.rss())),
        ("RssAnon", kib(mm.anon_rss.load(Relaxed))),
        ("RssFile", kib(mm.file_rss.load(Relaxed))),
        ("RssShmem", kib(mm.shmem_rss.load(Relaxed))),
        ("VmPTE", mm.pgtables_bytes.load(Relaxed) / 1024),
        ("VmSwap", kib(mm.swapents.load(Relaxed))),
    ]
}

fn status<E: Env>(memory: &Memory<'_, E>, task: &Task, nr_cpus: usize, out: &mut dyn fmt::Write) -> fmt::Result {
    let uid = task.uid();
    writeln!(out, "Name:\t{}\nTgid:\t{}\nPid:\t{}", task.comm(), task.tgid(), task.pid())?;
    writeln!(out, "PPid:\t{}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}", task.parent())?;
    if task.has_mm() {
        sizes(task).iter().try_for_each(|(name, kib)| writeln!(out, "{name}:\t{kib:8} kB"))?;
    }
    let pending = if task.is_dying() { SIGKILL } else { 0 };
    writeln!(out, "Threads:\t1\nShdPnd:\t{pending:016x}")?;
    // Any CPU will do for any task: cpusets here have nodes only. Linux prints as many digits as there may be CPUs.
    let (mems, digits) = (task.mems_allowed().and(memory.nodes_with_memory()), nr_cpus.div_ceil(4));
    writeln!(out, "Cpus_allowed:\t{:0digits$x}\nCpus_allowed_list:\t{}", (1u64 << nr_cpus) - 1, CpuList(nr_cpus))?;
    writeln!(out, "Mems_allowed:\t{:x}\nMems_allowed_list:\t{mems}", mems.0)
}

/// The CPUs from 0 on, as Linux lists them: `0`, or `0-3`.
struct CpuList(usize);

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > 1 { write!(f, "0-{}", self.0 - 1) } else { f.write_str("0") }
    }
}

fn status_json(task: &Task, out: &mut dyn fmt::Write) -> fmt::Result {
    let mut row = Object::new(out);
    row.text("Name", task.comm().as_str())?.field("Pid", task.pid())?.field("PPid", task.parent())?;
    row.field("Uid", task.uid())?.field("killed", task.is_dying())?;
    if task.has_mm() {
        sizes(task).iter().try_for_each(|(name, kib)| row.field(name, kib).map(|_| ()))?;
    }
    row.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostMachine;
    use crate::mm::memory::Hook;
    use crate::task::TaskKind;
    use crate::trace::Tracer;

    fn machine() -> HostMachine {
        HostMachine::new("", &[(0x4000_0000, 64 << 20, 0)], &[])
    }

    fn cat<E: Env>(memory: &Memory<'_, E>, path: &str, form: Form) -> String {
        let (current, mut text) = (Current::new(memory.env.tasks().init()), String::new());
        let path = PidPath::parse(path).unwrap();
        let task = path.task(memory, &current).unwrap();
        path.file.unwrap().read(memory, &current, task, (form, 5), &mut text).unwrap();
        text
    }

    #[test]
    fn paths_name_tasks_and_their_files() {
        let parse = |path| PidPath::parse(path).map(|path| (path.pid, path.file));
        assert_eq!(parse("/proc/2"), Some((Some(2), None)));
        assert_eq!(parse("//proc/./2/oom_score"), Some((Some(2), Some(PidFile::OomScore))));
        assert_eq!(parse("/proc/self/comm"), Some((None, Some(PidFile::Comm))));
        for path in ["/proc", "/proc/vmstat", "/proc/2/maps", "/proc/2/comm/x", "proc/2", "/proc/65536", "/sys/2"] {
            assert_eq!(parse(path), None, "{path}");
        }
        assert!(PidFile::ALL.is_sorted_by(|one, other| one.name() < other.name()));
    }

    #[test]
    fn the_files_of_a_task() {
        let machine = machine();
        let memory = machine.memory();
        let parent = memory.env.tasks().spawn("parent", TaskKind::User).unwrap();
        parent.set_uid(1000);
        let task = memory.env.tasks().spawn_child(parent, "hog").unwrap();
        task.mm.anon_rss.store(3000, Relaxed);
        task.mm.pgtables_bytes.store(20 * PAGE_SIZE, Relaxed);
        let text = |path| cat(&memory, path, Form::Text);
        assert_eq!((text("/proc/3/comm"), text("/proc/self/comm")), ("hog\n".into(), "sh\n".into()));
        assert_eq!((text("/proc/3/oom_score"), text("/proc/3/oom_score_adj")), ("184\n".into(), "0\n".into()));
        assert_eq!(
            text("/proc/3/status"),
            "Name:\thog\nTgid:\t3\nPid:\t3\nPPid:\t2\nUid:\t1000\t1000\t1000\t1000\nVmSize:\t       0 kB\n\
             VmRSS:\t   12000 kB\nRssAnon:\t   12000 kB\nRssFile:\t       0 kB\nRssShmem:\t       0 kB\n\
             VmPTE:\t      80 kB\nVmSwap:\t       0 kB\nThreads:\t1\nShdPnd:\t0000000000000000\n\
             Cpus_allowed:\t1f\nCpus_allowed_list:\t0-4\nMems_allowed:\t1\nMems_allowed_list:\t0\n"
        );
        task.kill();
        assert!(text("/proc/3/status").contains("ShdPnd:\t0000000000000100\n"));
        assert_eq!(cat(&memory, "/proc/3/oom_score", Form::Json), "{\"oom_score\":184}\n");
        assert_eq!(cat(&memory, "/proc/3/comm", Form::Json), "{\"comm\":\"hog\"}\n");
        let json = cat(&memory, "/proc/3/status", Form::Json);
        assert!(json.starts_with("{\"Name\":\"hog\",\"Pid\":3,\"PPid\":2,\"Uid\":1000,\"killed\":true,"), "{json}");
        memory.env.tasks().spawn("kthread", TaskKind::Kernel).unwrap();
        assert!(!text("/proc/4/status").contains("Vm"));
    }

    #[test]
    fn oom_score_adj_is_written_within_its_limits() {
        let machine = machine();
        let memory = machine.memory();
        let current = Current::new(memory.env.tasks().init());
        let task = memory.env.tasks().spawn("hog", TaskKind::User).unwrap();
        memory.set_hook(Hook::Trace, true);
        let write = |text| PidFile::OomScoreAdj.write(&memory, &current, task, text);
        assert_eq!(write(" 500\n"), Ok(()));
        let event = memory.env.ring().entry_from(0).unwrap().event;
        assert_eq!(event.to_string(), "oom_score_adj_update: pid=2 comm=hog oom_score_adj=500");
        for bad in ["", "1001", "-1001", "0x1000", "5 5", "ten"] {
            assert_eq!(write(bad), Err(PidError::Invalid), "{bad}");
        }
        assert_eq!(cat(&memory, "/proc/2/oom_score_adj", Form::Text), "500\n");
        assert_eq!((write("-0x10"), task.oom_score_adj()), (Ok(()), -16));
        assert_eq!(PidFile::Comm.write(&memory, &current, task, "x"), Err(PidError::ReadOnly));
    }
    #[test]
    fn fail_nth_is_a_count() {
        let machine = machine();
        let memory = machine.memory();
        let current = Current::new(memory.env.tasks().init());
        let task = memory.env.tasks().spawn("tested", TaskKind::User).unwrap();
        assert_eq!(PidFile::FailNth.write(&memory, &current, task, "3\n"), Ok(()));
        assert_eq!((cat(&memory, "/proc/2/fail-nth", Form::Text), memory.has(Hook::FailNth)), ("3\n".into(), true));
        for bad in ["", "-1", "one", "1.5"] {
            assert_eq!(PidFile::FailNth.write(&memory, &current, task, bad), Err(PidError::NoCount), "{bad}");
        }
        assert_eq!(task.fail_nth(), 3);
        assert_eq!(PidFile::FailNth.write(&memory, &current, task, "0"), Ok(()));
        assert!(!memory.has(Hook::FailNth));
    }
}
