//! `task`: the tasks that commands act as; their flags are in `task/flags.rs`.

use core::fmt::Write as _;

use kernel::mm::memory::Env;
use kernel::proc::json::Quoted;
use kernel::task::{MAX_TASKS, Task, TaskError, TaskKind};
use kernel::trace::Oom;

use super::free::{Freed, free_matching};
use super::jobs::wait_for;
use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::count::Count;
use crate::exec::Shell;
use crate::exit;
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value::{self, Search, ValueError};

mod flags;

pub use flags::{pf, scope, set};

/// Millions of handles are looked through in less than a second, but not in a tenth of one.
const HANDLES_BETWEEN_QUESTIONS: u32 = 1024;

/// `task new NAME [--rt] [--kthread] [--oom-score-adj N] [--cpu N]`
pub const fn new<M: Machine>() -> Command<M> {
    Command {
        name: "task new",
        summary: "make a task",
        help: "\
--rt gives it a real-time priority, which counts as trying harder when it asks
for memory; --kthread makes it a kernel thread, which the OOM killer spares.
--oom-score-adj is -1000 (never kill) to 1000 (kill first). --cpu binds it:
who acts as it, the shell after task use or a job, does so on that processor,
and takes pages from that processor's lists.",
        args: &[
            Arg::One("NAME", Kind::Text),
            Arg::Flag("--rt"),
            Arg::Flag("--kthread"),
            Arg::Opt("--oom-score-adj", "N", Kind::Number),
            Arg::Opt("--cpu", "N", Kind::Number),
        ],
        examples: &["task new hog", "task new db --oom-score-adj -500; task use db", "task new near --cpu 0; ps"],
        run: run_new,
    }
}

/// `task use NAME`
pub const fn switch<M: Machine>() -> Command<M> {
    Command {
        name: "task use",
        summary: "act as another task",
        help: "\
What is allocated from now on belongs to that task, and its flags decide what
it may take from the reserves.",
        args: &[Arg::One("NAME", Kind::Task)],
        examples: &["task new hog; task use hog; task list"],
        run: run_use,
    }
}

/// `task adj NAME N`
pub const fn adj<M: Machine>() -> Command<M> {
    Command {
        name: "task adj",
        summary: "set how much the OOM killer should like a task",
        help: "\
Writes oom_score_adj: -1000 (never kill) to 1000 (kill first).",
        args: &[Arg::One("NAME", Kind::Task), Arg::One("N", Kind::Number)],
        examples: &["task new hog; task adj hog 500; task list"],
        run: run_adj,
    }
}

/// `task run NAME COMMAND...`
pub const fn run<M: Machine>() -> Command<M> {
    Command {
        name: "task run",
        summary: "run one command as another task, on its processor",
        help: "\
As task use NAME, COMMAND and task use back again. With & behind it, it is a
job, and tasks that are bound to different processors work at the same time.",
        args: &[Arg::One("NAME", Kind::Task), Arg::Rest],
        examples: &[
            "task new hog; task run hog alloc GFP_KERNEL -n 10",
            "task new a --cpu 0; task run a sleep 1 & wait",
        ],
        run: run_run,
    }
}

/// `task list`
pub const fn list<M: Machine>() -> Command<M> {
    Command {
        name: "task list",
        summary: "list the tasks; * marks the one you act as",
        help: "\
PAGES is what the task holds through handles, ADJ its oom_score_adj.",
        args: &[Arg::Flag("--json")],
        examples: &["task list", "task list --json"],
        run: run_list,
    }
}

/// `task leak NAME on|off`
pub const fn leak<M: Machine>() -> Command<M> {
    Command {
        name: "task leak",
        summary: "let a task leave its blocks behind when it dies",
        help: "\
What the kernel allocated on behalf of a process is not freed by killing it:
an OOM kill of such a task helps less than it seems to. The blocks keep their
handles, and belong to nobody then.",
        args: &[Arg::One("NAME", Kind::Task), Arg::One("SWITCH", Kind::Choice(&["on", "off"]))],
        examples: &["task new hog; task leak hog on; task kill hog; task list"],
        run: run_leak,
    }
}

/// `task kill NAME`
pub const fn kill<M: Machine>() -> Command<M> {
    Command {
        name: "task kill",
        summary: "end a task and free what it holds",
        help: "\
What it has mapped is freed, too; its blocks are not if task leak says so. A
job that acts as the task is called off first. If you act as it yourself, you
act as the first task afterwards. The first one and kernel threads stay.",
        args: &[Arg::One("NAME", Kind::Task)],
        examples: &["task new hog; task use hog; alloc GFP_KERNEL -n 10; task kill hog"],
        run: run_kill,
    }
}

/// The task called `name`.
pub fn find<'a, M: Machine>(call: &Call<'_, 'a, M>, name: &'a str) -> Result<&'static Task, Trouble<'a>> {
    let tasks = call.tasks();
    tasks.find(name).ok_or_else(|| {
        let mut search = Search::new(name);
        tasks.iter().for_each(|task| search.offer(task.comm().as_str()));
        ValueError::Unknown { what: "task", word: name, nearest: search.nearest() }.into()
    })
}

/// Prints what the kernel said about a task.
fn refuse<'a, M: Machine>(call: &mut Call<'_, 'a, M>, error: TaskError) -> Outcome<'a> {
    writeln!(call, "task: {error}")?;
    Ok(match error {
        TaskError::TableFull | TaskError::InitKilled => Status::REFUSED,
        _ => Status::USAGE,
    })
}

fn run_new<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let name = call.args.must(0);
    let adj = call.args.option("--oom-score-adj");
    let adj = adj.map_or(Ok(0), |word| value::number_in("oom_score_adj", word, -1000, 1000))?;
    let kind = match (call.args.flag("--rt"), call.args.flag("--kthread")) {
        (true, true) => return Err(Trouble::Usage("--rt and --kthread exclude each other")),
        (true, false) => TaskKind::RealTime,
        (false, true) => TaskKind::Kernel,
        (false, false) => TaskKind::User,
    };
    let cpu = call.args.option("--cpu").map(|word| online_cpu(call, word)).transpose()?;
    let task = match call.tasks().spawn(name, kind) {
        Ok(task) => task,
        Err(error) => return refuse(call, error),
    };
    task.bind_cpu(cpu);
    call.shell.session.scopes.forget(task);
    call.shell.session.estates.set_leaky(task.pid(), false);
    if let Err(error) = task.set_oom_score_adj(adj) {
        return refuse(call, error);
    }
    writeln!(call, "task {} {}", task.pid(), task.comm())?;
    Ok(Status::DONE)
}

/// The processor with the number `word`, which runs.
fn online_cpu<'a, M: Machine>(call: &Call<'_, 'a, M>, word: &'a str) -> Result<usize, Trouble<'a>> {
    let last = call.shell.machine.nr_cpus() as i64 - 1;
    let cpu = value::number_in("the number of the processor", word, 0, last)? as usize;
    call.shell.machine.cpu_time(cpu).map(|_| cpu).ok_or(Trouble::Refused("that processor did not come online"))
}

fn run_run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let pid = find(call, call.args.must(0))?.pid();
    let outer = core::mem::replace(&mut call.shell.session.pid, pid);
    let status = call.shell.run_command(call.args.rest(), call.redirection);
    // The command may have been task use.
    if call.shell.session.pid == pid {
        call.shell.session.pid = outer;
    }
    Ok(status)
}

fn run_use<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    call.shell.session.pid = find(call, call.args.must(0))?.pid();
    Ok(Status::DONE)
}

fn run_adj<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let task = find(call, call.args.must(0))?;
    let adj = value::number_in("oom_score_adj", call.args.must(1), -1000, 1000)?;
    if let Err(error) = task.set_oom_score_adj(adj) {
        return refuse(call, error);
    }
    let (pid, comm, oom_score_adj) = (u32::from(task.pid()), task.comm(), task.oom_score_adj());
    call.kernel(|memory, current| memory.trace(current, || Oom::OomScoreAdjUpdate { pid, comm, oom_score_adj }));
    Ok(Status::DONE)
}

fn run_list<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let own = call.current().task.pid();
    let held = pages_held(call)?;
    if !call.json() {
        writeln!(call, "  PID NAME                 PAGES   ADJ FLAGS")?;
    }
    for task in call.tasks().iter() {
        let (pid, flags, realtime) = (task.pid(), task.flags(), task.is_realtime());
        let (name, adj, pages) = (task.comm(), task.oom_score_adj(), held[usize::from(pid)]);
        if call.json() {
            write!(call, r#"{{"pid":{pid},"name":{},"pages":{pages},"oom_score_adj":{adj},"#, Quoted(name.as_str()))?;
            writeln!(call, r#""flags":{},"realtime":{realtime},"current":{}}}"#, flags.bits(), pid == own)?;
        } else {
            let mark = if pid == own { '*' } else { ' ' };
            let realtime = if realtime { " rt" } else { "" };
            writeln!(call, "{mark}{pid:>4} {name:<15} {pages:>10} {adj:>5} {:#x}({flags}){realtime}", flags.bits())?;
        }
    }
    Ok(Status::DONE)
}

/// Pages behind the handles of each task, by its number.
fn pages_held<M: Machine>(call: &mut Call<'_, '_, M>) -> Result<[u64; MAX_TASKS + 1], Trouble<'static>> {
    let mut pages = [0; MAX_TASKS + 1];
    let Shell { machine, session, .. } = &mut *call.shell;
    for (number, held) in session.handles.iter() {
        if number % HANDLES_BETWEEN_QUESTIONS == 0 && machine.interrupted() {
            return Err(Trouble::Interrupted);
        }
        pages[usize::from(held.pid)] += held.order.nr_pages();
    }
    Ok(pages)
}

fn run_leak<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let task = find(call, call.args.must(0))?;
    let leaky = value::one_of("switch", call.args.must(1), [("on", true), ("off", false)].into_iter())?;
    call.shell.session.estates.set_leaky(task.pid(), leaky);
    Ok(Status::DONE)
}

fn run_kill<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let task = find(call, call.args.must(0))?;
    let (pid, name) = (task.pid(), task.comm());
    if task.is_init() {
        return refuse(call, TaskError::InitKilled);
    }
    if !exit::may_die(task) {
        return Err(Trouble::Refused("kernel threads cannot be killed"));
    }
    if call.shell.session.in_job {
        // The shell ends the task when it looks next, and this job with it if it acts as the task.
        task.kill();
        return Ok(Status::DONE);
    }
    end_jobs_of(call, pid)?;
    let mut freed = Freed::default();
    let mut status = Status::DONE;
    if !call.shell.session.estates.is_leaky(pid) {
        // Stopped half-way, the task lives on with what it still holds.
        status = free_matching(call, |held| held.pid == pid, &mut freed)?;
    }
    let mapped = call.shell.end_task(task).mapped;
    write!(call, "killed {name}: {freed}")?;
    if mapped > 0 {
        write!(call, "; unmapped {}", Count::pages(mapped))?;
    }
    writeln!(call)?;
    Ok(status)
}

/// Calls off the jobs that act as task `pid`, and takes over what they have.
fn end_jobs_of<M: Machine>(call: &mut Call<'_, '_, M>, pid: u16) -> Result<(), Trouble<'static>> {
    let sched = call.shell.machine.memory().env.sched();
    for place in 0..call.shell.session.jobs.len() {
        if call.shell.session.jobs[place].pid(&call.shell.machine) == pid {
            call.shell.session.jobs[place].call_off(sched);
            wait_for(call, place)?;
        }
    }
    call.shell.notice_jobs();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, run, shell};

    #[test]
    fn allocations_die_with_their_task() {
        let mut shell = shell();
        run(&mut shell, "alloc GFP_KERNEL; task new hog; task use hog; alloc GFP_KERNEL -n 10 -o 1");
        let listed = "  PID NAME                 PAGES   ADJ FLAGS\n    1 sh                       1     0 0x0()\n\
                      *   2 hog                     20     0 0x0()\n";
        assert!(run(&mut shell, "task list").starts_with(listed));
        assert_eq!(run(&mut shell, "task kill hog"), "killed hog: freed 10 blocks, 20 pages\n");
        assert_eq!(run(&mut shell, "free all"), "freed 1 block, 1 page\n");
        assert!(run(&mut shell, "task list").contains("*   1 sh"));
    }

    #[test]
    fn what_the_kernel_refuses_is_said() {
        check("task new sh; echo $?", "task: task 1 has that name already\n2");
        check("task kill sh; echo $?", "task: the first task cannot be killed\n1");
        check("task use hgo; task new hog; task use hgo", "task use: no task `hgo`\ntask 2 hog\ntask use: [..] `hog`?");
        check("task new a --rt --kthread", "task new: --rt and --kthread exclude each other");
        check("task new a --oom-score-adj 1001", "task new: oom_score_adj must be -1000..1000, not 1001");
    }

    #[test]
    fn names_are_safe_in_json() {
        let list = r#"{"pid":2,"name":"a\"b","pages":0,"oom_score_adj":-5,"flags":0,"realtime":true,"current":false}"#;
        let mut shell = shell();
        run(&mut shell, r#"task new 'a"b' --rt --oom-score-adj -5"#);
        assert_eq!(run(&mut shell, "task list --json").lines().nth(1), Some(list));
    }

    #[test]
    fn jobs_end_before_their_task_does() {
        let mut shell = shell();
        run(&mut shell, "task new hog; task use hog; free to 0; alloc GFP_NOFS & task use sh");
        let output = run(&mut shell, "task kill hog; jobs; echo $?");
        let took = "[1] called off: alloc GFP_NOFS\nkilled hog: freed 15360 blocks, 15360 pages\n0\n";
        assert!(output.ends_with(took), "{output}");
        assert!(run(&mut shell, "audit").contains(" 0 allocated, 0 bad"));
    }

    #[test]
    fn what_leaks_belongs_to_nobody() {
        let mut shell = shell();
        run(&mut shell, "task new hog; task leak hog on; task use hog; alloc GFP_KERNEL -n 5");
        assert_eq!(run(&mut shell, "task kill hog"), "killed hog: freed 0 blocks, 0 pages\n");
        assert!(run(&mut shell, "task new next; task list").contains("\n    2 next                     0 "));
        assert_eq!(
            run(&mut shell, "task kill next; free all"),
            "killed next: freed 0 blocks, 0 pages\nfreed 5 blocks, 5 pages\n"
        );
        check("task leak sh maybe", "task leak: no switch `maybe`");
    }

    #[test]
    fn kernel_threads_stay() {
        check("task kill kswapd0; echo $?", "task kill: kernel threads cannot be killed\n1");
        check("task new k --kthread; task kill k", "task 2 k\ntask kill: kernel threads cannot be killed");
    }

    #[test]
    fn adj_is_written_and_traced() {
        check("task adj sh 1001", "task adj: oom_score_adj must be -1000..1000, not 1001");
        let traced = "trace on; task adj sh -17; trace show --json";
        check(traced, r#"{"seq":0,[..]"text":"oom_score_adj_update: pid=1 comm=sh oom_score_adj=-17"}"#);
    }
}
