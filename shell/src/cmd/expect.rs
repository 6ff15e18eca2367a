//! `expect`: whether a command prints what it should.

use core::fmt::Write as _;

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::expect;
use crate::machine::Machine;
use crate::status::{Outcome, Status};

/// `expect LINE COMMAND...`
pub const fn expect<M: Machine>() -> Command<M> {
    Command {
        name: "expect",
        summary: "run a command, and look for a line in what it prints",
        help: "\
[..] in LINE stands for any text. The status is the command's if one of its
lines is LINE, else 3. Scripts that check themselves are made of this.",
        args: &[Arg::One("LINE", Kind::Text), Arg::Rest],
        examples: &["expect '#1 order 3 [..]' alloc GFP_KERNEL -o 3", "expect hi echo hi"],
        run,
    }
}

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let (status, output) = call.shell.run_captured(call.args.rest(), call.redirection);
    call.shell.say(format_args!("{}", output.as_str()));
    let wanted = call.args.must(0);
    if status == Status::INTERRUPTED || output.as_str().lines().any(|line| expect::matches(line, wanted)) {
        return Ok(status);
    }
    writeln!(call, "expect: no line is `{wanted}`")?;
    Ok(Status::AUDIT)
}

#[cfg(test)]
mod tests {
    use crate::testing::check;

    #[test]
    fn a_line_is_there_or_not() {
        check("expect 'b[..]d' echo bcd; echo $?", "bcd\n0");
        check("expect bc echo bcd; echo $?", "bcd\nexpect: no line is `bc`\n3");
        check(
            "expect '#1 was freed already' free #1; echo $?",
            "free: [..]\nexpect: no line is `#1 was freed already`\n3",
        );
        check("expect '[..]no #1 yet' free #1; echo $?", "free: there is no #1 yet\n1");
    }
}
