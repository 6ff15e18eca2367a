//! `oom`, `sysrq`: the OOM killer from outside.

use core::fmt::Write as _;
use core::sync::atomic::Ordering::Relaxed;

use kernel::addr::PAGE_SIZE;
use kernel::mm::oom_kill;
use kernel::proc::json::Quoted;
use kernel::proc::pid;
use kernel::sched::HZ;

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};

/// Ticks that `oom disable` gives victims to exit. Linux: `freeze_timeout_msecs`.
const PATIENCE: u64 = 20 * HZ;

/// `oom score`
pub const fn score<M: Machine>() -> Command<M> {
    Command {
        name: "oom score",
        summary: "list the tasks as the OOM killer weighs them",
        help: "\
BADNESS is RSS + SWAP + PGTABLES (pages in memory, in the swap space, and of
page tables), moved by ADJ thousandths of all memory; SCORE is that in
thousandths of all memory, as /proc/PID/oom_score has it. 0: never killed. The
first task and kernel threads are not listed: they never are.",
        args: &[Arg::Flag("--json")],
        examples: &["oom score", "task new hog --oom-score-adj 500; oom score --json"],
        run: run_score,
    }
}

/// `oom disable`
pub const fn disable<M: Machine>() -> Command<M> {
    Command {
        name: "oom disable",
        summary: "let nobody be killed",
        help: "\
Requests that would have somebody killed fail instead, but for those that may
not fail. Waits until victims have exited; status 1 when they do not.",
        args: &[],
        examples: &["oom disable; oom enable"],
        run: run_disable,
    }
}

/// `oom enable`
pub const fn enable<M: Machine>() -> Command<M> {
    Command {
        name: "oom enable",
        summary: "let the OOM killer kill again",
        help: "\
Undoes oom disable.",
        args: &[],
        examples: &["oom disable; oom enable"],
        run: run_enable,
    }
}

/// `oom victim`
pub const fn victim<M: Machine>() -> Command<M> {
    Command {
        name: "oom victim",
        summary: "let the OOM killer have chosen a task",
        help: "\
The task is marked as one that the killer chose, which opens half of min to
it, but is not told to die, so that one can act as it. Nobody else is killed
for memory until it is gone: task kill NAME.",
        args: &[Arg::One("NAME", Kind::Task)],
        examples: &["task new hog; oom victim hog; oom score; task kill hog"],
        run: run_victim,
    }
}

/// `sysrq f`
pub const fn sysrq<M: Machine>() -> Command<M> {
    Command {
        name: "sysrq",
        summary: "f: have the OOM killer kill somebody now",
        help: "\
As Alt-SysRq-F does: the worst task is killed however much memory is free, and
even while an earlier victim is about to die. Status 1 when there is nobody.",
        args: &[Arg::One("KEY", Kind::Choice(&["f"]))],
        examples: &["task new hog; sysrq f; task list"],
        run: run_sysrq,
    }
}

fn run_score<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let (memory, current) = (call.shell.machine.memory(), call.current());
    let totalpages = oom_kill::totalpages(memory);
    if !call.json() {
        writeln!(call, "  PID NAME                   RSS     SWAP PGTABLES   ADJ  BADNESS SCORE")?;
    }
    for task in call.tasks().by_age().filter(|task| crate::exit::may_die(task)) {
        let (pid, name, adj) = (task.pid(), task.comm(), task.oom_score_adj());
        let (rss, swap) = (task.mm.rss(), task.mm.swapents.load(Relaxed));
        let pgtables = task.mm.pgtables_bytes.load(Relaxed) / PAGE_SIZE;
        let badness = oom_kill::oom_badness(&current, task, None, totalpages);
        let score = pid::oom_score(memory, &current, task);
        if call.json() {
            let name = Quoted(name);
            write!(call, r#"{{"pid":{pid},"name":{name},"rss":{rss},"swap":{swap},"pgtables":{pgtables},"#)?;
            writeln!(call, r#""oom_score_adj":{adj},"badness":{badness},"score":{score}}}"#)?;
        } else {
            write!(call, "{pid:>5} {name:<15} {rss:>10} {swap:>8} {pgtables:>8} {adj:>5} {badness:>8} {score:>5}")?;
            writeln!(call, "{}", if task.is_oom_victim() { " victim" } else { "" })?;
        }
    }
    Ok(Status::DONE)
}

fn run_disable<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let disabled = call.kernel(|memory, current| oom_kill::oom_killer_disable(memory, current, PATIENCE));
    call.check_interrupt()?;
    if disabled { Ok(Status::DONE) } else { Err(Trouble::Refused("a victim has not exited; nothing was changed")) }
}

fn run_enable<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    call.kernel(|memory, _| memory.oom.set_disabled(false));
    Ok(Status::DONE)
}

fn run_victim<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let task = super::task::find(call, call.args.must(0))?;
    if !crate::exit::may_die(task) {
        return Err(Trouble::Refused("the killer never chooses the first task, nor kernel threads"));
    }
    call.kernel(|memory, current| oom_kill::mark_oom_victim(memory, current, task));
    Ok(Status::DONE)
}

fn run_sysrq<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    if call.args.must(0) != "f" {
        return Err(Trouble::Usage("the only key is f"));
    }
    Ok(Status::done_if(call.kernel(|memory, current| oom_kill::sysrq_oom(memory, current))))
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::Ordering::Relaxed;

    use kernel::mm::memory::Env;

    use crate::exec::Shell;
    use crate::host::HostMachine;
    use crate::machine::Machine;
    use crate::testing::{assert_prints, check, run, shell};

    /// Tasks with so much memory each, in figures: T30.
    fn t30() -> Shell<HostMachine> {
        let mut shell = shell();
        let tasks = [
            ("a", 3000, 20, 0),
            ("b", 1500, 10, 500),
            ("c", 4500, 25, -200),
            ("d", 5000, 30, -1000),
            ("e", 100, 2, 1000),
        ];
        for (name, rss, pgtables, adj) in tasks {
            run(&mut shell, &alloc::format!("task new {name} --oom-score-adj {adj}"));
            let task = shell.machine.memory().env.tasks().find(name).unwrap();
            task.mm.anon_rss.store(rss, Relaxed);
            task.mm.pgtables_bytes.store(pgtables * 4096, Relaxed);
        }
        shell
    }

    /// 15360 pages are managed: adj counts 15 pages a thousandth.
    #[test]
    fn t30_badness_is_size_moved_by_adj() {
        let output = run(&mut t30(), "oom score");
        let expected = "  PID NAME                   RSS     SWAP PGTABLES   ADJ  BADNESS SCORE\n    \
                        2 a                     3000        0       20     0     3020   196\n    \
                        3 b                     1500        0       10   500     9010   586\n    \
                        4 c                     4500        0       25  -200     1525    99\n    \
                        5 d                     5000        0       30 -1000        0     0\n    \
                        6 e                      100        0        2  1000    15102   983\n";
        assert_eq!(output, expected);
        let json =
            r#"{"pid":2,"name":"a","rss":3000,"swap":0,"pgtables":20,"oom_score_adj":0,"badness":3020,"score":196}"#;
        assert_eq!(run(&mut t30(), "oom score --json").lines().next(), Some(json));
    }

    #[test]
    fn t30_the_worst_die_first_and_some_never() {
        let mut shell = t30();
        for victim in ["e (6)", "b (3)", "a (2)", "c (4)"] {
            let output = run(&mut shell, "sysrq f");
            assert!(
                output.lines().any(|line| line.starts_with(&alloc::format!("{victim} died: "))),
                "{victim}: {output}"
            );
        }
        let output = run(&mut shell, "sysrq f; echo $?");
        assert!(output.contains("Out of memory and no killable processes...") && output.ends_with("\n1\n"), "{output}");
    }

    #[test]
    fn without_the_killer_a_request_fails() {
        let mut shell = shell();
        let request = "task new hog; oom disable; free to 0; alloc GFP_KERNEL|__GFP_NOWARN; echo $?";
        assert!(
            run(&mut shell, request)
                .ends_with("page allocation failure: order:0, mode:0x6002c0(GFP_KERNEL|__GFP_NOWARN)\n1\n")
        );
        assert_eq!(run(&mut shell, "oom enable; task list").lines().nth(2).map(|line| &line[..9]), Some("    2 hog"));
    }

    /// 200 pages are free, and half of 256 are a victim's.
    #[test]
    fn t30d_a_victim_may_take_half_of_min() {
        let mut shell = shell();
        run(
            &mut shell,
            "pcp off; sysctl watermark_boost_factor=0; sysctl min_free_kbytes=1024; free to 200; task new hog; oom victim hog; task use hog",
        );
        let output = run(&mut shell, "alloc GFP_NOWAIT|__GFP_NOWARN -n max");
        assert!(output.starts_with("allocated 72 of max ") && output.contains(" free 128 "), "{output}");
        let output = run(&mut shell, "alloc GFP_NOWAIT|__GFP_NOMEMALLOC|__GFP_NOWARN; oom score; task kill hog");
        assert!(output.starts_with("page allocation failure") && output.contains(" victim\nkilled hog"), "{output}");
        // It is gone, and others may be chosen.
        assert_eq!(run(&mut shell, "oom disable; echo $?"), "0\n");
        check("oom victim sh; echo $?", "oom victim: the killer never [..]\n1");
    }

    #[test]
    fn keys_that_there_are_not() {
        check("sysrq q; echo $?", "sysrq: the only key is f\n2");
        assert_prints(&run(&mut shell(), "oom"), "`oom` what? `help oom` tells");
    }
}
