//! `resched`: when a thread that offers its CPU gives it away.

use core::fmt::Write as _;

use kernel::sched::Resched;

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status};
use crate::value;

/// `resched [always|tick|never]`
pub const fn resched<M: Machine>() -> Command<M> {
    Command {
        name: "resched",
        summary: "say when reclaim and other long work lets others run",
        help: "\
Long work in the kernel offers its CPU now and then. tick: whoever is ready
gets it if the tick asked for that, as in Linux and at first. always: at each
offer, the most turns that there can be. never: at none, so a thread runs
until it sleeps. Without a word: which it is. It holds for every thread;
sleeping and waking stay as they are. Jobs of the shell offer the CPU at each
line that they print, whatever is chosen here.
Linux: cond_resched, PREEMPT_NONE.",
        args: &[Arg::Maybe("always|tick|never", Kind::Choice(&["always", "tick", "never"])), Arg::Flag("--json")],
        examples: &["resched; resched always; resched tick"],
        run,
    }
}

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let knob = &call.shell.machine.memory().resched;
    if let Some(word) = call.args.word(0) {
        knob.set(value::one_of("choice", word, Resched::ALL.map(|choice| (choice.name(), choice)).into_iter())?);
        return Ok(Status::DONE);
    }
    let name = knob.get().name();
    if call.json() {
        writeln!(call, r#"{{"resched":"{name}"}}"#)?;
    } else {
        writeln!(call, "{name}")?;
    }
    Ok(Status::DONE)
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_prints, check, run, shell};

    #[test]
    fn who_never_gives_the_cpu_away_is_done_first() {
        // A page of anonymous memory is an offer, and an offer takes 10 us here; the shell waits for 100 ms.
        let pages = ["never", "tick", "always"].map(|choice| {
            let mut shell = shell();
            assert_prints(&run(&mut shell, &std::format!("resched {choice}; resched")), choice);
            run(&mut shell, "anon 11000 &");
            let table = run(&mut shell, "anon ls");
            run(&mut shell, "kill %1; wait");
            table.split_whitespace().nth(7).unwrap().parse::<u32>().unwrap()
        });
        assert!(pages[0] == 11_000 && pages[1..].iter().all(|pages| (1000..11_000).contains(pages)), "{pages:?}");
    }

    #[test]
    fn choices_are_told_and_checked() {
        check(
            "resched; resched always; resched --json; resched sometimes; echo $?",
            "tick\n{\"resched\":\"always\"}\nresched: no choice `sometimes`\n2",
        );
    }
}
