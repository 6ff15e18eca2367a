//! `cat`, `ls`, `echo`, `sysctl`: the tables and the settings, by the paths that Linux gives them.
//!
//! The files are the kernel's; `paths.rs` finds them.

use alloc::string::String;
use core::fmt::{self, Write as _};

use kernel::proc::json::Quoted;
use kernel::proc::pid::{PidFile, PidPath};
use kernel::proc::sysctl::{self, SYSCTLS, Sysctl};
use kernel::proc::{Form, World};
use kernel::task::Task;

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::lex::LINE_BYTES_MAX;
use crate::machine::Machine;
use crate::paths::{self, Node, PathError};
use crate::status::{Outcome, Status, Trouble};
use crate::value;

/// `cat FILE...`
pub const fn cat<M: Machine>() -> Command<M> {
    Command {
        name: "cat",
        summary: "print files of /proc and /sys, as Linux v5.0 would",
        help: "\
ls lists them. With --json each row of a table is an object of its own.",
        args: &[Arg::One("FILE", Kind::Path), Arg::Many("FILE", Kind::Path), Arg::Flag("--json")],
        examples: &["cat /proc/buddyinfo", "cat /proc/zoneinfo --json", "cat /proc/sys/vm/min_free_kbytes"],
        run: run_cat,
    }
}

/// `ls [DIRECTORY]`
pub const fn ls<M: Machine>() -> Command<M> {
    Command {
        name: "ls",
        summary: "list the files of /proc and /sys",
        help: "\
/proc has the tables, /proc/PID what a task tells, /proc/sys/vm the settings,
/sys/kernel/debug/extfrag the indices of fragmentation.",
        args: &[Arg::Maybe("DIRECTORY", Kind::Path), Arg::Flag("--json")],
        examples: &["ls /proc", "ls /proc/sys/vm --json"],
        run: run_ls,
    }
}

/// `echo [WORD...] [> FILE]`
pub const fn echo<M: Machine>() -> Command<M> {
    Command {
        name: "echo",
        summary: "print words, or write them to a file",
        help: "\
With > and a file of /proc/sys/vm, the words are the new value of a setting;
with /proc/PID/oom_score_adj, what the OOM killer adds to a task's score.",
        args: &[Arg::Many("WORD", Kind::Text)],
        examples: &["echo status $?", "echo 'a  b' \"$?\"", "echo 4096 > /proc/sys/vm/min_free_kbytes"],
        run: run_echo,
    }
}

/// `sysctl [NAME[=VALUE]|-a]`
pub const fn sysctl<M: Machine>() -> Command<M> {
    Command {
        name: "sysctl",
        summary: "list settings, or read or set one",
        help: "\
vm. before the name may be left out. A value outside Linux's limits is refused
and changes nothing. -a, or no name: all settings that can be read.",
        args: &[Arg::Maybe("NAME[=VALUE]", Kind::Sysctl), Arg::Flag("-a"), Arg::Flag("--json")],
        examples: &["sysctl -a", "sysctl vm.min_free_kbytes=4096", "sysctl 'vm.lowmem_reserve_ratio=256 32 0'"],
        run: run_sysctl,
    }
}

fn run_cat<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let mut status = Status::DONE;
    for path in call.args.words() {
        match cat_one(call, path) {
            Ok(()) => {}
            Err(Trouble::Interrupted) => return Err(Trouble::Interrupted),
            Err(trouble) => {
                writeln!(call, "cat: {trouble}")?;
                status = trouble.status();
            }
        }
    }
    Ok(status)
}

fn cat_one<'a, M: Machine>(call: &mut Call<'_, '_, M>, path: &'a str) -> Result<(), Trouble<'a>> {
    let memory = call.shell.machine.memory();
    match paths::open::<M>(path)? {
        Node::OfTask(PidPath { file: Some(file), .. }) => {
            let task = task_at(call, path)?;
            let form = if call.json() { Form::Json } else { Form::Text };
            let (machine, current) = (&call.shell.machine, call.current());
            let (memory, nr_cpus) = (machine.memory(), machine.nr_cpus());
            Ok(file.read(memory, &current, task, (form, nr_cpus), call)?)
        }
        Node::OfTask(_) | Node::Directory => Err(PathError::new(path, "Is a directory").into()),
        Node::Setting(setting) if !setting.is_readable() => Err(PathError::new(path, "Permission denied").into()),
        Node::Setting(setting) if call.json() => json(call, setting),
        Node::Setting(setting) => Ok(setting.read(memory, call)?),
        Node::Table(file) => {
            if let Some(refusal) = file.refusal(memory) {
                return Err(Trouble::Refused(refusal));
            }
            let form = if call.json() { Form::Json } else { Form::Text };
            let machine = &call.shell.machine;
            let (resources, nr_cpus, cmdline) = (machine.resources(), machine.nr_cpus(), machine.cmdline());
            let interrupts = machine.interrupts();
            Ok((file.write)(&World { memory, resources, nr_cpus, interrupts, cmdline }, form, call)?)
        }
    }
}

/// The task whose directory or file is at `path`.
fn task_at<'a, M: Machine>(call: &Call<'_, '_, M>, path: &'a str) -> Result<&'static Task, PathError<'a>> {
    let (memory, current) = (call.shell.machine.memory(), call.current());
    let task = PidPath::parse(path).and_then(|path| path.task(memory, &current));
    task.ok_or(PathError::new(path, "No such file or directory"))
}

fn run_ls<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let path = call.args.word(0).unwrap_or("/proc");
    let node = paths::open::<M>(path)?;
    if let Node::OfTask(PidPath { file, .. }) = node {
        task_at(call, path)?;
        match file {
            Some(file) => entry(call, NAME_COLUMNS, path, file.about())?,
            None => PidFile::ALL.iter().try_for_each(|file| entry(call, NAME_COLUMNS, file.name(), file.about()))?,
        }
        return Ok(Status::DONE);
    }
    let Node::Directory = node else {
        entry(call, NAME_COLUMNS, path, node.about())?;
        return Ok(Status::DONE);
    };
    let (mut result, mut columns) = (Ok(()), NAME_COLUMNS);
    let tasks = call.tasks();
    paths::for_each_entry::<M>(tasks, path, &mut |name, _| columns = columns.max(name.len()));
    paths::for_each_entry::<M>(tasks, path, &mut |name, node| {
        if result.is_ok() {
            result = match node {
                Node::OfTask(of_task) => entry_of_task(call, columns, name, of_task),
                node => entry(call, columns, name, node.about()),
            };
        }
    });
    result.map(|()| Status::DONE)
}

/// Columns of a name, at least.
const NAME_COLUMNS: usize = 25;

/// The line of a task's directory: whose it is.
fn entry_of_task<M: Machine>(
    call: &mut Call<'_, '_, M>,
    columns: usize,
    name: &str,
    path: PidPath,
) -> Result<(), Trouble<'static>> {
    let task = path.pid.and_then(|pid| call.tasks().by_pid(pid));
    let name_of_task = task.map_or_else(|| call.current().task.comm(), Task::comm);
    entry(call, columns, name, name_of_task.as_str())
}

/// One line of `ls`.
fn entry<M: Machine>(
    call: &mut Call<'_, '_, M>,
    columns: usize,
    name: &str,
    about: &str,
) -> Result<(), Trouble<'static>> {
    if call.json() {
        writeln!(call, r#"{{"name":"{name}","about":{}}}"#, Quoted(about))?;
    } else {
        writeln!(call, "{name:<columns$} {about}")?;
    }
    Ok(())
}

fn run_echo<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let mut text = String::new();
    text.try_reserve_exact(LINE_BYTES_MAX + LINE_BYTES_MAX / 2).map_err(|_| Trouble::OutOfHeap)?;
    for (i, word) in call.args.words().enumerate() {
        text.push_str(if i == 0 { "" } else { " " });
        text.push_str(word);
    }
    let Some(path) = call.redirection else {
        writeln!(call, "{text}")?;
        return Ok(Status::DONE);
    };
    match paths::open::<M>(path)? {
        Node::Setting(setting) => set(call, setting, &text),
        Node::OfTask(PidPath { file: Some(file), .. }) => set_of_task(call, path, file, &text),
        Node::OfTask(_) | Node::Directory => Err(PathError::new(path, "Is a directory").into()),
        Node::Table(_) => Err(Trouble::Usage("write error: the file can only be read")),
    }
}

/// Gives a setting a value, or says what would be one.
fn set<'a, M: Machine>(call: &mut Call<'_, 'a, M>, setting: &'static Sysctl, text: &str) -> Outcome<'a> {
    match call.kernel(|memory, current| setting.write(memory, current, text)) {
        Ok(()) => Ok(Status::DONE),
        Err(error) => {
            writeln!(call, "{error}")?;
            Ok(Status::USAGE)
        }
    }
}

/// Writes a file of a task, or says why not.
fn set_of_task<'a, M: Machine>(call: &mut Call<'_, 'a, M>, path: &'a str, file: PidFile, text: &str) -> Outcome<'a> {
    let task = task_at(call, path)?;
    match call.kernel(|memory, current| file.write(memory, current, task, text)) {
        Ok(()) => Ok(Status::DONE),
        Err(error) => {
            writeln!(call, "{error}")?;
            Ok(Status::USAGE)
        }
    }
}

fn run_sysctl<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let name = call.args.word(0).filter(|_| !call.args.flag("-a"));
    let Some(word) = name else {
        SYSCTLS.iter().filter(|setting| setting.is_readable()).try_for_each(|setting| show(call, setting))?;
        return Ok(Status::DONE);
    };
    let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name.trim_end(), Some(value)));
    let setting = sysctl::find(name.strip_prefix("vm.").unwrap_or(name));
    let names = SYSCTLS.iter().map(|setting| setting.name);
    let setting = setting.ok_or_else(|| value::unknown("setting", name.strip_prefix("vm.").unwrap_or(name), names))?;
    if value.is_none() && !setting.is_readable() {
        return Err(Trouble::Usage("the setting can only be written"));
    }
    let status = value.map_or(Ok(Status::DONE), |value| set(call, setting, value.trim_start()))?;
    if status == Status::DONE && setting.is_readable() {
        show(call, setting)?;
    }
    Ok(status)
}

/// `vm.NAME = VALUE`, or an object.
fn show<M: Machine>(call: &mut Call<'_, '_, M>, setting: &'static Sysctl) -> Result<(), Trouble<'static>> {
    if call.json() {
        return json(call, setting);
    }
    write!(call, "vm.{} = ", setting.name)?;
    let memory = call.shell.machine.memory();
    Ok(setting.read(memory, call)?)
}

/// The setting as an object; its value is a text, because some have several numbers.
fn json<M: Machine>(call: &mut Call<'_, '_, M>, setting: &'static Sysctl) -> Result<(), Trouble<'static>> {
    let memory = call.shell.machine.memory();
    write!(call, r#"{{"name":"vm.{}","value":""#, setting.name)?;
    setting.read(memory, &mut InString(call))?;
    Ok(writeln!(call, r#""}}"#)?)
}

/// Text inside a JSON string: tabs become blanks, and the line's end is left out.
struct InString<'o>(&'o mut dyn fmt::Write);

impl fmt::Write for InString<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().filter(|&c| c != '\n').try_for_each(|c| self.0.write_char(if c == '\t' { ' ' } else { c }))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_prints, check, run, shell, shell_with};

    #[test]
    fn tables_come_from_the_kernel() {
        check(
            "cat /proc/buddyinfo",
            "Node 0, zone    DMA32      0      0      0      0      0      0      0      0      0      0     15 ",
        );
        check("cat /proc/iomem", "40000000-43ffffff : System RAM\n  40000000-403fffff : reserved");
        check("cat /proc/iomem --json", "{\"level\":0,\"start\":1073741824,[..]}\n{\"level\":1,[..]}");
        check(
            "cat /proc/budyinfo; echo $?",
            "cat: /proc/budyinfo: No such file or directory; did you mean `/proc/buddyinfo`?\n2",
        );
        check("cat /proc/sys /proc/version; echo $?", "cat: /proc/sys: Is a directory\nslowpath version [..]\n2");
        check("cat /proc/page_owner; echo $?", "cat: owners are recorded only when booted with page_owner=on\n1");
        check("echo 1 > /proc/sys", "echo: /proc/sys: Is a directory");
    }

    #[test]
    fn the_boot_arguments_are_a_file() {
        let mut shell = shell_with("page_owner=on quirk.nofragment=5.1");
        let script = "cat /proc/cmdline; alloc GFP_KERNEL; cat /proc/page_owner --json";
        let expected = "page_owner=on quirk.nofragment=5.1\n#1 order 0 pfn [..]\n{\"pfn\":[..],\"order\":0,[..]}";
        assert_prints(&run(&mut shell, script), expected);
        assert!(run(&mut shell, "cat /proc/quirks").starts_with("Q1  nofragment=5.1 (or 5.0), fixed in 5.1\n"));
    }

    #[test]
    fn a_line_of_ls_fits_the_screen() {
        let output = run(&mut shell(), "ls /proc; ls /proc/sys/vm; ls /sys/kernel/debug/extfrag");
        output.lines().for_each(|line| assert!(line.len() <= 80, "{line}"));
    }

    #[test]
    fn directories_are_listed() {
        let mut shell = shell();
        let output = run(&mut shell, "ls");
        assert_eq!(output, run(&mut shell, "ls /proc/"));
        assert!(
            output.starts_with("1/ [..]") || output.contains("\nsys/                      a directory\n"),
            "{output}"
        );
        assert!(run(&mut shell, "ls /proc/sys/vm").contains("\nlowmem_reserve_ratio "));
        check("ls /; ls /proc/sys --json", "proc/ [..]\nsys/ [..]\n{\"name\":\"vm/\",\"about\":\"a directory\"}");
        check("ls /proc/vmstat", "/proc/vmstat [..]");
        check("ls /nowhere", "ls: /nowhere: No such file or directory");
    }

    #[test]
    fn settings_are_written_by_path_or_name() {
        let path = "/proc/sys/vm/min_free_kbytes";
        check(&format!("echo 4096 > {path}; cat {path}; sysctl min_free_kbytes"), "4096\nvm.min_free_kbytes = 4096");
        check("sysctl vm.watermark_scale_factor=20", "vm.watermark_scale_factor = 20");
        check(
            "sysctl 'lowmem_reserve_ratio=128 16 0' --json",
            r#"{"name":"vm.lowmem_reserve_ratio","value":"128 16 0"}"#,
        );
        check(&format!("cat {path} --json"), r#"{"name":"vm.min_free_kbytes","value":"[..]"}"#);
    }

    #[test]
    fn tasks_have_files() {
        let script =
            "task new hog; echo 500 > /proc/2/oom_score_adj; cat /proc/2/oom_score_adj /proc/2/comm /proc/self/comm";
        check(script, "task 2 hog\n500\nhog\nsh");
        check("cat /proc/7/comm; echo $?", "cat: /proc/7/comm: No such file or directory\n2");
        check("cat /proc/1; ls /proc/9", "cat: /proc/1: Is a directory\nls: /proc/9: No such file or directory");
        check("ls /proc/self/comm", "/proc/self/comm [..]");
        assert!(run(&mut shell(), "ls /proc/1").starts_with("comm "));
        let refused = "write error: Invalid argument: oom_score_adj must be -1000 to 1000\n2\n0";
        check("echo 2000 > /proc/1/oom_score_adj; echo $?; cat /proc/1/oom_score_adj", refused);
        check("echo x > /proc/1/comm", "write error: the file can only be read");
    }

    #[test]
    fn a_value_outside_the_limits_changes_nothing() {
        let refused = "write error: Invalid argument: watermark_scale_factor must be 1 to 1000\n2\nvm.watermark_scale_factor = 10";
        check("sysctl vm.watermark_scale_factor=1001; echo $?; sysctl watermark_scale_factor", refused);
        check(
            "echo 0 > /proc/sys/vm/watermark_scale_factor",
            "write error: Invalid argument: watermark_scale_factor [..]",
        );
        check("echo 1 > /proc/vmstat; echo $?", "echo: write error: the file can only be read\n2");
        let all = run(&mut shell(), "sysctl -a");
        assert!(all.lines().count() > 20 && all.contains("\nvm.swappiness = 60\n"), "{all}");
        assert_eq!(all, run(&mut shell(), "sysctl"));
        check("sysctl vm.min_free", "sysctl: no setting `min_free`");
        check("sysctl min_free_kbyte", "sysctl: no setting `min_free_kbyte`; did you mean `min_free_kbytes`?");
    }
}
