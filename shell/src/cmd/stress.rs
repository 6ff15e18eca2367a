//! `stress`: random work on everything, and whether the machine survived it.

use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

use kernel::check;
use kernel::mm::memory::Env;
use kernel::mm::{slab, sleep, writeback};
use kernel::sched::{HZ, Scheduler};
use kernel::stress::{self, Inspection, Limits, Settings, Stress};
use kernel::task::Current;

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value;

mod cpus;

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
status 3 if not. ^C ends it early. Files 56 to 63 are empty then. With --cpus
a person at every CPU does so at the same time, in interrupt handlers, too.",
        args: &[Arg::Maybe("AMOUNT", Kind::Text), Arg::Opt("--seed", "N", Kind::Number), Arg::Flag("--cpus")],
        examples: &["stress", "stress 1000 --seed 7", "stress 300s", "stress 1000 --cpus"],
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

impl Amount {
    /// What each of `persons` has to do.
    fn share_of(self, persons: u64) -> Amount {
        match self {
            Amount::Operations(all) => Amount::Operations(all.div_ceil(persons)),
            until => until,
        }
    }

    /// Whether there is more to do for whoever did so much, now.
    fn goes_on(self, operations: u64, now: u64) -> bool {
        match self {
            Amount::Operations(most) => operations < most,
            Amount::Until(end) => now < end,
        }
    }
}

/// What was done.
struct Work {
    operations: u64,
    /// Persons who did it.
    persons: u64,
    /// ^C ended it.
    interrupted: bool,
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

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let memory = call.shell.machine.memory();
    let amount = amount(call.args.word(0), memory.env.sched().jiffies())?;
    let seed = call.args.option("--seed").map_or(Ok(1), value::number)?;
    // Who waits for a frozen disk waits for ever, and nobody is there who thaws it.
    stress::thaw_all(memory);
    let (settings, allocated) = (Settings::of(memory), rest(call));
    let work = match call.args.flag("--cpus") {
        true => cpus::run(call, amount, seed),
        false => Ok(alone(call, amount, seed)),
    };
    let found = look(call, &settings);
    let lost = found.allocated.wrapping_sub(allocated) as i64;
    let Work { operations, persons, interrupted } = work?;
    let clean = found.complete && found.inspection.is_clean() && lost == 0;
    let crowd = if persons > 1 { format!(" on {persons} CPUs") } else { String::new() };
    writeln!(call, "{operations} operations{crowd} with seed {seed}: {}", if clean { "clean" } else { "NOT CLEAN" })?;
    if !clean {
        let Inspection { findings, lost_files, lost_anon, lost_handles } = found.inspection;
        writeln!(
            call,
            "audit findings {findings}, lost pages: files {lost_files}, tasks {lost_anon}, handles {lost_handles}, raw {lost}"
        )?;
    }
    match (clean, interrupted) {
        (false, _) => Ok(Status::AUDIT),
        (true, true) => Err(Trouble::Interrupted),
        (true, false) => Ok(Status::DONE),
    }
}

/// The shell's own thread does it all.
#[inline(never)]
fn alone<M: Machine>(call: &mut Call<'_, '_, M>, amount: Amount, seed: u64) -> Work {
    let memory = call.shell.machine.memory();
    let mut person = Stress::new(seed, 0, Limits::of(memory, 1, false));
    let (mut operations, mut interrupted) = (0, false);
    while amount.goes_on(operations, memory.env.sched().jiffies()) && !interrupted {
        person.step(memory);
        operations += 1;
        interrupted = call.shell.machine.interrupted();
    }
    person.give_back(memory);
    Work { operations, persons: 1, interrupted }
}

/// What is left when everything was given back.
struct Found {
    inspection: Inspection,
    /// Files and settings are as they were.
    complete: bool,
    /// Pages in use.
    allocated: u64,
}

/// Lets the machine come to rest, and looks at everything.
fn look<M: Machine>(call: &mut Call<'_, '_, M>, settings: &Settings) -> Found {
    let memory = call.shell.machine.memory();
    let current = Current::new(memory.env.tasks().init());
    stress::thaw_all(memory);
    let _ = writeback::sync(memory, &current, memory.env.owner());
    let mut complete = stress::give_back_files(memory, &current);
    complete &= settings.restore(memory, &current);
    let allocated = rest(call);
    Found { inspection: stress::inspect(memory, &current), complete, allocated }
}

/// Waits until nobody is in the middle of something; how many pages are in use then.
fn rest<M: Machine>(call: &mut Call<'_, '_, M>) -> u64 {
    let memory = call.shell.machine.memory();
    let current = Current::new(memory.env.tasks().init());
    let now = || memory.env.sched().jiffies();
    call.shell.machine.settle(None);
    let end = now() + PATIENCE;
    while !stress::at_rest(memory) && now() < end {
        sleep::schedule_timeout(memory, &current, 1);
    }
    memory.slabs.iter().for_each(|cache| _ = slab::kmem_cache_shrink(memory, &current, cache));
    check::audit(memory).totals.allocated
}

#[cfg(test)]
mod tests {
    use crate::machine::Machine;
    use crate::status::Status;
    use crate::testing::{check, run, shell};

    #[test]
    fn a_machine_survives_and_is_as_before() {
        let mut shell = shell();
        let before = run(&mut shell, "sysctl");
        // What the kernel reports meanwhile comes before.
        let output = run(&mut shell, "stress 3000 --seed 7; echo $?");
        assert!(output.ends_with("3000 operations with seed 7: clean\n0\n"), "{output}");
        assert_eq!(run(&mut shell, "sysctl"), before);
        assert!(run(&mut shell, "audit").starts_with("audit passed: "));
        assert_eq!(run(&mut shell, "task list").lines().filter(|line| line.contains(" s0.")).count(), 0);
    }

    /// With this seed somebody is killed.
    #[test]
    fn what_was_frozen_does_not_hold_it_up() {
        let output = run(&mut shell(), "pc disk freeze; reaper freeze; flusher freeze; stress 3000 --seed 7");
        assert!(output.contains("Out of memory: ") && output.ends_with(" with seed 7: clean\n"), "{output}");
    }

    #[test]
    fn a_person_at_every_cpu_works_on_a_thread_of_its_own() {
        let mut shell = shell();
        let output = run(&mut shell, "stress 3000 --cpus --seed 7; echo $?; audit");
        assert!(output.contains("3000 operations with seed 7: clean\n0\naudit passed: "), "{output}");
        assert!(!run(&mut shell, "task list").contains("stress/"));
    }

    #[test]
    fn ctrl_c_sends_everybody_home() {
        let mut shell = shell();
        for line in ["stress 100s --cpus", "stress 100s"] {
            shell.machine.interrupt_after(500);
            assert_eq!(shell.run_line(line), Status::INTERRUPTED, "{line}");
            let output = shell.machine.take_output();
            assert!(output.contains(" operations with seed 1: clean\n"), "{line}: {output}");
            assert!(run(&mut shell, "audit").starts_with("audit passed: "), "{line}");
        }
    }

    #[test]
    fn a_page_that_nobody_gives_back_is_found_out() {
        let mut shell = shell();
        let memory = shell.machine.memory();
        let pages = || kernel::check::audit(memory).totals.allocated;
        let before = pages();
        let output = run(&mut shell, "stress 500");
        assert!(output.ends_with("500 operations with seed 1: clean\n"), "{output}");
        assert_eq!(pages(), before);
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
