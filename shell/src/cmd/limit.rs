//! `limit`: an end for requests that would go round the slow path for ever.

use core::sync::atomic::Ordering::Relaxed;

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status};
use crate::value;

/// `limit rounds N`
pub const fn rounds<M: Machine>() -> Command<M> {
    Command {
        name: "limit rounds",
        summary: "call off requests after so many rounds of the slow path",
        help: "\
Some requests go round until there is memory: GFP_KERNEL while somebody can
be killed, GFP_NOFS even when nobody can, __GFP_NOFAIL in any case. ^C ends
them; this does, too, after N rounds, and the answer says so. 0: no limit, as
in Linux and at first. The limit holds for every task.",
        args: &[Arg::One("N", Kind::Number)],
        examples: &["free to 0; limit rounds 50; alloc GFP_NOFS || limit rounds 0; free all"],
        run,
    }
}

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let rounds = value::number_in("the number of rounds", call.args.must(0), 0, i64::from(u32::MAX))?;
    call.shell.machine.memory().round_limit.store(rounds as u32, Relaxed);
    Ok(Status::DONE)
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_prints, check, run, shell};

    #[test]
    fn a_request_ends_after_so_many_rounds() {
        let mut shell = shell();
        let output = run(&mut shell, "free to 0; limit rounds 50; vmstat diff\nalloc GFP_NOFS; echo $?");
        let answer = "called off after 50 rounds (limit rounds): order:0, mode:0x600040(GFP_NOFS)\n1\n";
        assert!(output.ends_with(answer), "{output}");
        let diff = run(&mut shell, "vmstat diff");
        assert!(diff.contains("allocstall_normal +50\n") && diff.contains("\nuk_retry +49\n"), "{diff}");
        let once = run(&mut shell, "limit rounds 1; explain alloc GFP_NOFS|__GFP_NOFAIL");
        assert!(once.contains("reason=round_limit") && once.contains("called off after 1 round ("), "{once}");
        // A request that fails by itself says so, however many rounds it may go.
        let own = run(&mut shell, "limit rounds 1; alloc GFP_NOWAIT|__GFP_NOWARN");
        assert_prints(&own, "page allocation failure: [..]");
    }

    #[test]
    fn bad_limits() {
        check("limit rounds -1; echo $?", "limit rounds: the number of rounds must be 0..4294967295, not -1\n2");
        check("limit rounds", "limit rounds: N is missing; usage: limit rounds N");
    }
}
