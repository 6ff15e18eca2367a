//! `repeat`, `source`, `poweroff`: commands about running commands.

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value;

/// `repeat N COMMAND...`
pub const fn repeat<M: Machine>() -> Command<M> {
    Command {
        name: "repeat",
        summary: "run a command several times",
        help: "\
Ends early, with its status, when the command ends with something other than
0.",
        args: &[Arg::One("N", Kind::Number), Arg::Rest],
        examples: &["repeat 3 echo again"],
        run: run_repeat,
    }
}

/// `source`
pub const fn source<M: Machine>() -> Command<M> {
    Command {
        name: "source",
        summary: "run the script that the machine was started with",
        help: "\
The script is the initial ramdisk: lines of ASCII text, each shown behind a
prompt and run as if it had been typed. The status is 0 if every line's was.",
        args: &[],
        examples: &[],
        run: run_source,
    }
}

/// `poweroff [N]`
pub const fn poweroff<M: Machine>() -> Command<M> {
    Command {
        name: "poweroff",
        summary: "switch the machine off",
        help: "\
N, 0 to 255, is handed to whoever started the machine, as far as there is a
way.",
        args: &[Arg::Maybe("N", Kind::Number)],
        examples: &["poweroff 0"],
        run: run_poweroff,
    }
}

fn run_repeat<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let times = value::number(call.args.must(0))?;
    for _ in 0..times {
        call.check_interrupt()?;
        let status = call.shell.run_command(call.args.rest(), call.redirection);
        if status != Status::DONE || call.shell.is_off() {
            return Ok(status);
        }
    }
    Ok(Status::DONE)
}

fn run_source<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let Some(text) = call.shell.machine.script() else {
        return Err(Trouble::Refused("the machine was started without a script"));
    };
    if call.shell.session.depth >= crate::exec::DEPTH_MAX {
        return Err(Trouble::Nesting);
    }
    Ok(call.shell.run_script(text))
}

fn run_poweroff<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let status = call.args.word(0).map_or(Ok(0), |word| value::number_in("the exit status", word, 0, 255))?;
    call.shell.power_off(Status(status as u8));
    Ok(Status::DONE)
}
