//! `jobs`, `kill`, `wait`: what runs in the background.

use core::fmt::Write as _;

use kernel::mm::memory::Env;
use kernel::proc::json::Quoted;
use kernel::task::{Comm, Task};

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::exec::Shell;
use crate::machine::{Machine, Output};
use crate::status::{Outcome, Status, Trouble};
use crate::value;

/// `jobs`
pub const fn jobs<M: Machine>() -> Command<M> {
    Command {
        name: "jobs",
        summary: "list what runs in the background",
        help: "\
A line that ends in & is a job: it runs beside the shell, as the task that you
act as when you start it, and takes turns with it whenever either sleeps. What
it prints comes before a later prompt, each line behind its number. Its blocks
have handles of its own until it is over; then they are yours, with the same
numbers if they are free. There can be 8 jobs.",
        args: &[Arg::Flag("--json")],
        examples: &["sleep 1 & jobs", "alloc GFP_KERNEL -n 10 & wait; free all; jobs"],
        run: run_jobs,
    }
}

/// `kill %N`
pub const fn kill<M: Machine>() -> Command<M> {
    Command {
        name: "kill",
        summary: "call a job off, as ^C does with a command",
        help: "\
The job ends at its next step, with status 143, and what it did until then
stays done. The task that it acts as lives on; task kill ends both.",
        args: &[Arg::One("%JOB", Kind::Job)],
        examples: &["sleep 100 & kill %1; wait %1 || jobs"],
        run: run_kill,
    }
}

/// `wait [%N]`
pub const fn wait<M: Machine>() -> Command<M> {
    Command {
        name: "wait",
        summary: "sleep until a job is over, or all of them are",
        help: "\
Tells what came of them. The status is that of the job, or 0 for all. ^C ends
the waiting, not the job.",
        args: &[Arg::Maybe("%JOB", Kind::Job)],
        examples: &["sleep 1 & wait %1", "alloc GFP_KERNEL & alloc GFP_KERNEL & wait"],
        run: run_wait,
    }
}

fn run_jobs<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let json = call.json();
    let Shell { machine, session, capture, mid_line, .. } = &mut *call.shell;
    for job in &session.jobs {
        let (number, over, pid) = (job.number, job.is_over(), job.pid(machine));
        let task = machine.memory().env.tasks().by_pid(pid).map_or_else(Comm::default, Task::comm);
        let line = job.line();
        let mut out = Output { machine, capture: capture.as_mut(), mid_line };
        if json {
            let (task, line) = (Quoted(task), Quoted(line));
            writeln!(out, r#"{{"job":{number},"over":{over},"pid":{pid},"task":{task},"line":{line}}}"#)?;
        } else {
            let state = if over { "over" } else { "runs" };
            writeln!(out, "[{number}] {state} as {task}: {line}")?;
        }
    }
    Ok(Status::DONE)
}

/// Where in the list the job called `word` stands.
fn find<'a, M: Machine>(call: &Call<'_, 'a, M>, word: &'a str) -> Result<usize, Trouble<'a>> {
    let number = value::job(word)?;
    let place = call.shell.session.jobs.iter().position(|job| job.number == number);
    place.ok_or(Trouble::Refused("there is no such job"))
}

fn run_kill<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let place = find(call, call.args.must(0))?;
    call.shell.session.jobs[place].call_off(call.shell.machine.memory().env.sched());
    Ok(Status::DONE)
}

fn run_wait<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let named = call.args.word(0).map(|word| find(call, word)).transpose()?;
    let places = named.map_or(0..call.shell.session.jobs.len(), |place| place..place + 1);
    let mut status = Status::DONE;
    for place in places {
        let ended = wait_for(call, place)?;
        status = if named.is_some() { ended } else { status };
    }
    call.shell.notice_jobs();
    Ok(status)
}

/// Sleeps until the job at `place` is over; its status.
pub fn wait_for<M: Machine>(call: &mut Call<'_, '_, M>, place: usize) -> Result<Status, Trouble<'static>> {
    let memory = call.shell.machine.memory();
    while !call.shell.session.jobs[place].wait(memory.env.sched()) {
        call.check_interrupt()?;
    }
    Ok(call.shell.session.jobs[place].status())
}
