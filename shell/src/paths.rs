//! The files that paths lead to.
//!
//! There is no file system: the files are the kernel's, `kernel::proc::files`, below /proc/sys/vm `kernel::proc::sysctl`,
//! and those of tasks, `kernel::proc::pid`; directories are what their paths say. [`open`] finds a [`Node`] or says what
//! Linux would, a [`PathError`]; [`for_each_entry`] lists a directory, for `ls` and for TAB. Paths start at the root.
//!
//! Linux does more: `..`, a working directory, and links.

use core::fmt;

use kernel::proc::pid::{PidFile, PidPath};
use kernel::proc::sysctl::{self, SYSCTLS, Sysctl};
use kernel::proc::{self, ProcFile};
use kernel::task::{MAX_TASKS, Task, TaskTable};

use crate::machine::Machine;
use crate::value::{Nearest, Search, Suggestion};

/// Longer paths there are none.
const PATH_BYTES: usize = 64;

/// What a path leads to.
pub enum Node<M: Machine> {
    /// A table, which can be read.
    Table(ProcFile<M::Env>),
    /// A setting, which can be written, too.
    Setting(&'static Sysctl),
    /// A file of a task, or its directory. Whether there is such a task, its user finds out.
    OfTask(PidPath),
    /// A directory, which can be listed.
    Directory,
}

impl<M: Machine> Node<M> {
    /// One line on what it is.
    pub const fn about(&self) -> &'static str {
        match self {
            Node::Table(file) => file.about,
            Node::Setting(setting) => setting.about,
            Node::OfTask(PidPath { file: Some(file), .. }) => file.about(),
            Node::OfTask(_) | Node::Directory => "a directory",
        }
    }
}

/// Why a path leads nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathError<'a> {
    /// The path.
    pub path: &'a str,
    /// What is wrong with it, in Linux's words.
    pub fault: &'static str,
    /// The path that was probably meant.
    pub nearest: Option<Nearest>,
}

impl<'a> PathError<'a> {
    /// Something is wrong with a path that exists.
    pub const fn new(path: &'a str, fault: &'static str) -> PathError<'a> {
        PathError { path, fault, nearest: None }
    }
}

impl fmt::Display for PathError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.path, self.fault, Suggestion(self.nearest))
    }
}

/// A file: its directory with the last slash, its name there, and what it is.
type File<M> = (&'static str, &'static str, Node<M>);

/// Every file, in the order of the paths.
fn files<M: Machine>() -> impl Iterator<Item = File<M>> {
    let tables = |are_before: bool| {
        let files = proc::files::<M::Env>().into_iter();
        files.filter(move |file| (file.path < sysctl::DIRECTORY) == are_before).map(|file| {
            let (directory, name) = file.path.split_at(file.path.rfind('/').map_or(0, |slash| slash + 1));
            (directory, name, Node::Table(file))
        })
    };
    let settings = SYSCTLS.iter().map(|setting| (sysctl::DIRECTORY, setting.name, Node::Setting(setting)));
    tables(true).chain(settings).chain(tables(false))
}

/// What of the path `directory` lies below the path `dir`; `None` when it does not.
fn below(directory: &'static str, dir: &str) -> Option<&'static str> {
    dir.split('/').filter(|part| !matches!(*part, "" | ".")).try_fold(directory.strip_prefix('/')?, |rest, part| {
        let (head, rest) = rest.split_once('/')?;
        (head == part).then_some(rest)
    })
}

/// What is at `path`.
pub fn open<M: Machine>(path: &str) -> Result<Node<M>, PathError<'_>> {
    if let Some(path) = PidPath::parse(path) {
        return Ok(Node::OfTask(path));
    }
    let (dir, last) = path.rsplit_once('/').ok_or_else(|| no_such::<M>(path))?;
    if let Some((.., file)) = files().find(|(directory, name, _)| *name == last && below(directory, dir) == Some("")) {
        return Ok(file);
    }
    if is_directory::<M>(path) {
        return Ok(Node::Directory);
    }
    let mut above = dir;
    while let Some((dir, last)) = above.rsplit_once('/') {
        if files::<M>().any(|(directory, name, _)| name == last && below(directory, dir) == Some("")) {
            return Err(PathError::new(path, "Not a directory"));
        }
        above = dir;
    }
    Err(no_such::<M>(path))
}

fn is_directory<M: Machine>(path: &str) -> bool {
    path.starts_with('/') && files::<M>().any(|(directory, ..)| below(directory, path).is_some())
}

/// The error for a path that is not there: with the one that it nearly is, or the one that ends as it does.
fn no_such<M: Machine>(path: &str) -> PathError<'_> {
    let (mut search, mut same_end) = (Search::new(path), None);
    let last = path.rsplit('/').next().filter(|last| !last.is_empty());
    for (directory, name, _) in files::<M>() {
        let mut bytes = [0; PATH_BYTES];
        bytes[..directory.len()].copy_from_slice(directory.as_bytes());
        bytes[directory.len()..][..name.len()].copy_from_slice(name.as_bytes());
        let whole = core::str::from_utf8(&bytes[..directory.len() + name.len()]).unwrap_or_default();
        search.offer(whole);
        search.offer(directory.trim_end_matches('/'));
        same_end = same_end.or_else(|| (last == Some(name)).then(|| Nearest::new(whole)).flatten());
    }
    PathError { path, fault: "No such file or directory", nearest: search.nearest().or(same_end) }
}

/// Calls `each` for what is in the directory `path`, by name, but tasks first; names of directories end in a slash.
pub fn for_each_entry<M: Machine>(tasks: &TaskTable, path: &str, each: &mut dyn FnMut(&str, Node<M>)) {
    if let Some(PidPath { pid, file: None }) = PidPath::parse(path) {
        let known = pid.is_none_or(|pid| tasks.by_pid(pid).is_some());
        let files = PidFile::ALL.into_iter().filter(|_| known);
        return files.for_each(|file| each(file.name(), Node::OfTask(PidPath { pid, file: Some(file) })));
    }
    if path.split('/').filter(|part| !matches!(*part, "" | ".")).eq(["proc"]) && path.starts_with('/') {
        for_each_task(tasks, each);
    }
    let mut last = "";
    for (directory, name, file) in files::<M>() {
        match below(directory, path).map(|rest| rest.split_inclusive('/').next()) {
            None => {}
            Some(None) => each(name, file),
            Some(Some(inner)) if inner == last => {}
            Some(Some(inner)) => {
                last = inner;
                each(inner, Node::Directory);
            }
        }
    }
}

/// The directories of tasks, by number.
fn for_each_task<M: Machine>(tasks: &TaskTable, each: &mut dyn FnMut(&str, Node<M>)) {
    for pid in tasks.iter().map(Task::pid) {
        const { assert!(MAX_TASKS < 100) };
        let digits = [b'0' + (pid / 10) as u8, b'0' + (pid % 10) as u8, b'/'];
        let name = core::str::from_utf8(&digits[usize::from(pid < 10)..]).unwrap_or_default();
        each(name, Node::OfTask(PidPath { pid: Some(pid), file: None }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;

    use crate::host::HostMachine;
    use kernel::task::TaskKind;

    #[track_caller]
    fn check(path: &str, expected: &str) {
        let text = match open::<HostMachine>(path) {
            Ok(Node::Table(file)) => file.path.to_string(),
            Ok(Node::Setting(setting)) => setting.name.to_string(),
            Ok(Node::OfTask(path)) => format!("{:?} of {:?}", path.file, path.pid),
            Ok(Node::Directory) => "a directory".to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(text, expected);
    }

    #[test]
    fn paths_lead_to_files_and_directories() {
        check("/proc/buddyinfo", "/proc/buddyinfo");
        check("//proc/./buddyinfo", "/proc/buddyinfo");
        check("/proc/sys/vm/min_free_kbytes", "min_free_kbytes");
        check("/proc/2/comm", "Some(Comm) of Some(2)");
        check("/sys/kernel/debug/extfrag/extfrag_index", "/sys/kernel/debug/extfrag/extfrag_index");
        for path in ["/", "/proc", "/proc/", "/proc/sys", "/proc/sys/vm/", "/sys/kernel/debug/extfrag"] {
            check(path, "a directory");
        }
    }

    #[test]
    fn what_is_not_there_is_answered_in_linuxs_words() {
        check("/proc/budyinfo", "/proc/budyinfo: No such file or directory; did you mean `/proc/buddyinfo`?");
        check("buddyinfo", "buddyinfo: No such file or directory; did you mean `/proc/buddyinfo`?");
        check(
            "/proc/min_free_kbytes",
            "/proc/min_free_kbytes: No such file or directory; did you mean `/proc/sys/vm/min_free_kbytes`?",
        );
        check("/proc/sis/vm", "/proc/sis/vm: No such file or directory; did you mean `/proc/sys/vm`?");
        check("/nowhere", "/nowhere: No such file or directory");
        check("", ": No such file or directory");
        check("/proc/buddyinfo/", "/proc/buddyinfo/: Not a directory");
        check("/proc/buddyinfo/x/y", "/proc/buddyinfo/x/y: Not a directory");
    }

    fn entries(path: &str) -> String {
        let mut names = Vec::new();
        let tasks = TaskTable::new("sh");
        tasks.spawn("kswapd0", TaskKind::Daemon).unwrap();
        for_each_entry::<HostMachine>(&tasks, path, &mut |name, _| names.push(name.to_string()));
        names.join(" ")
    }

    #[test]
    fn directories_list_their_entries_once() {
        assert_eq!(entries("/"), "proc/ sys/");
        assert_eq!(entries("/proc/sys"), "vm/");
        assert_eq!(entries("/sys/kernel/debug/extfrag/"), "extfrag_index unusable_index");
        assert!(entries("//proc/.").starts_with("1/ 64/ buddyinfo "));
        assert_eq!(entries("/proc/64/"), "comm fail-nth oom_score oom_score_adj status");
        assert_eq!((entries("/proc/7"), entries("/proc/1/comm")), (String::new(), String::new()));
        assert!(entries("/proc").contains(" quirks slabinfo sys/ version "), "{}", entries("/proc"));
        assert_eq!(entries("/proc/buddyinfo"), "");
    }
}
