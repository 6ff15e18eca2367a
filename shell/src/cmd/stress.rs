//! `stress`: random work on everything, and whether the machine survived it.

use alloc::boxed::Box;
use core::fmt::Write as _;

use kernel::mm::memory::Env;
use kernel::mm::{sleep, writeback};
use kernel::sched::{HZ, Scheduler};
use kernel::stress::{self, Limits, Settings, Stress};
use kernel::task::Current;

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value;

/// Operations when nobody says how many.
const OPERATIONS: u64 = 10_000;
/// Ticks that daemons get to finish what they are at.
const PATIENCE: u64 = 10 * HZ;

/// `stress [AMOUNT]`
pub const fn stress<M: Machine>() -> Command<M> {
    Command {
        name: "stress",
        summary: "do random things to everything, and check that nothing was lost",
        help: "\
Takes and gives pages, objects and handles with all masks; reads, writes,
maps, locks and cuts off files 56 to 63; makes tasks, fills their memory, has
them killed; changes settings, the disk and swap space; the daemons work.
AMOUNT is a number of operations, or seconds: 30s. The seed says what
happens. In the end everything is given back, settings are as before, and
audit, pc verify and the checks of tasks and handles tell whether all is well;
status 3 if not. ^C ends it early. Files 56 to 63 are empty then.",
        args: &[Arg::Maybe("AMOUNT", Kind::Text), Arg::Opt("--seed", "N", Kind::Number)],
        examples: &["stress", "stress 1000 --seed 7", "stress 300s"],
        run,
    }
}

/// How long to go on.
#[derive(Clone, Copy)]
enum Amount {
    Operations(u64),
    /// Until this tick.
    Until(u64),
}

fn amount(word: Option<&str>, now: u64) -> Result<Amount, Trouble<'_>> {
    let Some(word) = word else { return Ok(Amount::Operations(OPERATIONS)) };
    match word.strip_suffix('s') {
        Some(seconds) => {
            Ok(Amount::Until(now + value::number_in("the number of seconds", seconds, 1, 86_400)? as u64 * HZ))
        }
        None => Ok(Amount::Operations(value::number(word)?)),
    }
}

/// Somebody who does random things, off the stack: a thread's is small.
#[inline(never)]
fn person(seed: u64, limits: Limits) -> Box<Stress> {
    Box::new(Stress::new(seed, 0, limits))
}

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let (memory, cpu) = (call.shell.machine.memory(), call.shell.machine.cpu());
    let now = || memory.env.sched().jiffies();
    let amount = amount(call.args.word(0), now())?;
    let seed = call.args.option("--seed").map_or(Ok(1), value::number)?;
    let (settings, limits) = (Settings::of(memory), Limits::of(memory, 1, false));
    let (mut person, mut operations, mut interrupted) = (person(seed, limits), 0, false);
    let goes_on = |operations| match amount {
        Amount::Operations(most) => operations < most,
        Amount::Until(end) => now() < end,
    };
    while goes_on(operations) && !interrupted {
        person.step(memory, cpu);
        operations += 1;
        interrupted = call.shell.machine.interrupted();
    }
    let current = Current::new(memory.env.tasks().init(), cpu);
    person.give_back(memory, cpu);
    stress::thaw_all(memory);
    let _ = writeback::sync(memory, &current, memory.env.owner());
    let mut complete = stress::give_back_files(memory, &current);
    complete &= settings.restore(memory, &current);
    call.shell.machine.settle(None);
    let end = now() + PATIENCE;
    while !stress::at_rest(memory) && now() < end {
        sleep::schedule_timeout(memory, &current, 1);
    }
    let found = stress::inspect(memory, &current);
    let clean = complete && found.is_clean();
    let stress::Inspection { findings, lost_files, lost_anon, lost_handles } = found;
    writeln!(call, "{operations} operations with seed {seed}: {}", if clean { "clean" } else { "NOT CLEAN" })?;
    if !clean {
        writeln!(
            call,
            "audit findings {findings}, lost pages: files {lost_files}, tasks {lost_anon}, handles {lost_handles}"
        )?;
    }
    match (clean, interrupted) {
        (false, _) => Ok(Status::AUDIT),
        (true, true) => Err(Trouble::Interrupted),
        (true, false) => Ok(Status::DONE),
    }
}

#[cfg(test)]
mod tests {
    use crate::machine::Machine;
    use crate::testing::{check, run, shell};

    #[test]
    fn a_machine_survives_and_is_as_before() {
        let mut shell = shell();
        let before = run(&mut shell, "sysctl");
        assert_eq!(run(&mut shell, "stress 3000 --seed 7; echo $?"), "3000 operations with seed 7: clean\n0\n");
        assert_eq!(run(&mut shell, "sysctl"), before);
        assert!(run(&mut shell, "audit").starts_with("audit passed: "));
        assert_eq!(run(&mut shell, "task list").lines().filter(|line| line.contains(" s0.")).count(), 0);
    }

    #[test]
    fn a_broken_machine_is_found_out() {
        let mut shell = shell();
        run(&mut shell, "alloc GFP_KERNEL");
        let memory = shell.machine.memory();
        let held = shell.session.handles.get(1).unwrap();
        memory.pages.at(memory.pages.index(held.pfn)).set_state(kernel::mm::page::PageState::TAIL);
        let output = run(&mut shell, "stress 10; echo $?");
        assert!(output.contains("NOT CLEAN") && output.ends_with("\n3\n"), "{output}");
    }

    #[test]
    fn amounts_are_numbers() {
        check("stress 1x; echo $?", "stress: [..]\n2");
        check("stress 0s; echo $?", "stress: the number of seconds must be [..]\n2");
    }
}
