//! `ps`, `top`: who runs where, and how busy the processors are.

use core::fmt::Write as _;

use kernel::mmzone::NR_CPUS;
use kernel::proc::json::Quoted;
use kernel::sched::{CpuTime, MAX_THREADS, ThreadId, ThreadInfo, ThreadState};
use kernel::task::Task;

use crate::arg::Arg;
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status};

/// Nanoseconds of a millisecond.
const MS: u64 = 1_000_000;

/// `ps`
pub const fn ps<M: Machine>() -> Command<M> {
    Command {
        name: "ps",
        summary: "list tasks with their threads: processor, state, time run",
        help: "\
CPU is the processor that runs the thread, or ran it last; MAY the one that it
is bound to, or any. S is R for a thread that runs or wants to, S for one that
sleeps. TIME is seconds run. A task without a thread acts only when somebody
acts as it: the shell after task use, or a job. One with several jobs has a
line for each.",
        args: &[Arg::Flag("--json")],
        examples: &["ps", "sleep 1 & ps", "ps --json"],
        run: run_ps,
    }
}

/// `top`
pub const fn top<M: Machine>() -> Command<M> {
    Command {
        name: "top",
        summary: "show how busy each processor was since the last top",
        help: "\
The first top counts from the start of the machine. AWAKE is how many threads
run there or want to: a thread that is bound to no processor wakes up where
there are the fewest, and stays there until it sleeps again.",
        args: &[Arg::Flag("--json")],
        examples: &["top", "top; sleep 1; top"],
        run: run_top,
    }
}

/// Every thread of the machine.
fn threads<M: Machine>(machine: &M) -> impl Iterator<Item = ThreadInfo> {
    (0..MAX_THREADS as u8).filter_map(|n| machine.thread(ThreadId(n)))
}

/// The `n`th thread that acts as `task`.
fn nth_thread<M: Machine>(machine: &M, task: &Task, n: usize) -> Option<ThreadInfo> {
    threads(machine).filter(|info| info.pid == task.pid()).nth(n)
}

fn run_ps<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    if !call.json() {
        writeln!(call, "  PID CPU MAY S       TIME FLAGS      NAME")?;
    }
    for task in call.tasks().iter() {
        let mut shown = 0;
        while let Some(info) = nth_thread(&call.shell.machine, task, shown) {
            line(call, task, Some(info))?;
            shown += 1;
        }
        if shown == 0 {
            line(call, task, None)?;
        }
    }
    Ok(Status::DONE)
}

/// One line: a task, and a thread of its if it has one.
fn line<M: Machine>(call: &mut Call<'_, '_, M>, task: &Task, info: Option<ThreadInfo>) -> core::fmt::Result {
    let (pid, flags, name) = (task.pid(), task.flags().bits(), task.comm());
    if call.json() {
        write!(call, r#"{{"pid":{pid},"name":{},"flags":{flags}"#, Quoted(name.as_str()))?;
        if let Some(ThreadInfo { cpu, bound, state, ran_ns, .. }) = info {
            write!(call, r#","cpu":{cpu},"bound":{bound},"state":"{}","ran_ns":{ran_ns}"#, state.letter())?;
        }
        return writeln!(call, "}}");
    }
    match info {
        Some(ThreadInfo { cpu, bound, state, ran_ns, .. }) => {
            let ms = ran_ns / MS;
            write!(call, "{pid:>5} {cpu:>3} ")?;
            if bound { write!(call, "{cpu:>3}") } else { write!(call, "any") }?;
            write!(call, " {} {:>6}.{:03}", state.letter(), ms / 1000, ms % 1000)?;
        }
        None => write!(call, "{pid:>5}   -   - - {:>10}", "-")?,
    }
    writeln!(call, " {flags:<#10x} {name}")
}

fn run_top<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    if !call.json() {
        writeln!(call, "CPU   BUSY   IDLE   BUSY(s)   IDLE(s) AWAKE")?;
    }
    for cpu in 0..NR_CPUS {
        let Some(time) = call.shell.machine.cpu_time(cpu) else { continue };
        let CpuTime { busy_ns, idle_ns } = time.since(call.shell.session.cpu_times[cpu]);
        let busy = CpuTime { busy_ns, idle_ns }.permille();
        let is_awake = |info: ThreadInfo| usize::from(info.cpu) == cpu && info.state != ThreadState::Asleep;
        let awake = threads(&call.shell.machine).filter(|info| is_awake(*info)).count();
        call.shell.session.cpu_times[cpu] = time;
        if call.json() {
            let times = format_args!(r#""busy_ns":{busy_ns},"idle_ns":{idle_ns}"#);
            writeln!(call, r#"{{"cpu":{cpu},"busy_permille":{busy},{times},"awake":{awake}}}"#)?;
            continue;
        }
        let idle = 1000 - busy;
        write!(call, "{cpu:>3} {:>4}.{}% {:>4}.{}%", busy / 10, busy % 10, idle / 10, idle % 10)?;
        let [busy, idle] = [busy_ns, idle_ns].map(|ns| ns / MS);
        let [busy, idle] = [busy, idle].map(|ms| (ms / 1000, ms % 1000));
        writeln!(call, " {:>5}.{:03} {:>5}.{:03} {awake:>5}", busy.0, busy.1, idle.0, idle.1)?;
    }
    Ok(Status::DONE)
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, run, shell};

    #[test]
    fn threads_are_listed_with_their_tasks() {
        let mut shell = shell();
        run(&mut shell, "task new hog; task new idler; task use hog; sleep 100 & task use sh");
        let listed = run(&mut shell, "ps");
        let has = |line: &str| listed.lines().any(|listed| crate::expect::lines_match(listed, line));
        assert!(has("    1   0   0 R [..] 0x0        sh"), "{listed}");
        assert!(has("    2   0 any S [..] 0x0        hog"), "{listed}");
        assert!(has("    3   -   - -          - 0x0        idler"), "{listed}");
        assert!(has("[..]   0 any S [..] 0x[..] kswapd0"), "{listed}");
        assert!(run(&mut shell, "ps --json").contains(r#""name":"idler","flags":0}"#));
        run(&mut shell, "kill %1; wait");
        assert!(run(&mut shell, "ps").contains("    2   -   - -          - 0x0        hog\n"));
    }

    #[test]
    fn load_is_counted_from_the_last_look() {
        let mut shell = shell();
        run(&mut shell, "top; sleep 10");
        let shown = run(&mut shell, "top --json; top --json");
        let idle = |line: usize| {
            let text = shown.lines().nth(line).unwrap().split_once(r#""idle_ns":"#).unwrap().1;
            text.split_once(',').unwrap().0.parse::<u64>().unwrap()
        };
        assert!((9_900_000_000..=10_100_000_000).contains(&idle(0)), "{shown}");
        assert!(idle(1) < 100_000_000, "{shown}");
        check("top", "CPU   BUSY   IDLE   BUSY(s)   IDLE(s) AWAKE\n  0 [..]%[..]%[..]     1");
    }
}
