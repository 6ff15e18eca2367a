//! `tick`, `sleep`: let time pass.

use kernel::mm::sleep;
use kernel::sched::HZ;

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status};
use crate::value;

/// An hour: longer sleeps are mistakes.
const SECONDS_MAX: i64 = 3600;

/// `tick N`
pub const fn tick<M: Machine>() -> Command<M> {
    Command {
        name: "tick",
        summary: "let so many jiffies of 4 ms pass",
        help: "\
The shell sleeps, daemons and what else is ready run meanwhile. On the host,
and where the machine counts instructions, nobody waits for it: time moves to
the next thing that is due.",
        args: &[Arg::One("N", Kind::Number)],
        examples: &["tick 25"],
        run: run_tick,
    }
}

/// `sleep SECONDS`
pub const fn sleep<M: Machine>() -> Command<M> {
    Command {
        name: "sleep",
        summary: "let so many seconds pass",
        help: "\
As tick, 250 jiffies a second. ^C wakes the shell.",
        args: &[Arg::One("SECONDS", Kind::Number)],
        examples: &["sleep 2"],
        run: run_sleep,
    }
}

fn run_tick<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let ticks = value::number_in("the number of jiffies", call.args.must(0), 0, SECONDS_MAX * HZ as i64)?;
    pass(call, ticks as u64)
}

fn run_sleep<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let seconds = value::number_in("the number of seconds", call.args.must(0), 0, SECONDS_MAX)?;
    pass(call, seconds as u64 * HZ)
}

fn pass<'a, M: Machine>(call: &mut Call<'_, 'a, M>, ticks: u64) -> Outcome<'a> {
    call.kernel(|memory, current| sleep::schedule_timeout(memory, current, ticks));
    call.check_interrupt()?;
    Ok(Status::DONE)
}

#[cfg(test)]
mod tests {
    use kernel::mm::memory::Env;
    use kernel::sched::Scheduler;

    use crate::machine::Machine;
    use crate::testing::{check, run, shell};

    #[test]
    fn time_passes() {
        let mut shell = shell();
        let jiffies =
            |shell: &crate::exec::Shell<crate::host::HostMachine>| shell.machine.memory().env.sched().jiffies();
        let start = jiffies(&shell);
        assert_eq!(run(&mut shell, "tick 25; sleep 2; echo $?"), "0\n");
        assert_eq!(jiffies(&shell) - start, 525);
    }

    #[test]
    fn nobody_sleeps_in_an_interrupt() {
        check(
            "ctx hardirq tick 1",
            "[..] BUG: scheduling while atomic: sh/1/0x00010000\n[..] CPU: 0 PID: 1 Comm: sh [..]",
        );
    }

    #[test]
    fn bad_times() {
        check("tick -1; echo $?", "tick: the number of jiffies must be 0..900000, not -1\n2");
        check("sleep 1.5", "sleep: `1.5` is not a number (decimal, or 0x and hexadecimal)");
    }
}
