//! `color`, `stty`: what the line can show.

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status};
use crate::value;

const ON_OFF: [(&str, bool); 2] = [("on", true), ("off", false)];

/// `color on|off`
pub const fn color<M: Machine>() -> Command<M> {
    Command {
        name: "color",
        summary: "allow escape codes for colours, or not",
        help: "\
Off at first, so that a log file or a program at the other end reads plain
text. With --json there are never any.",
        args: &[Arg::One("WHETHER", Kind::Choice(&["on", "off"]))],
        examples: &["color off"],
        run: run_color,
    }
}

/// `stty echo|-echo`
pub const fn stty<M: Machine>() -> Command<M> {
    Command {
        name: "stty",
        summary: "show what is typed, or not",
        help: "\
A program that drives the shell may not want to read its own commands again.
The prompt is shown all the same.",
        args: &[Arg::One("WHETHER", Kind::Choice(&["echo", "-echo"]))],
        examples: &["stty echo"],
        run: run_stty,
    }
}

fn run_color<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let on = value::one_of("setting", call.args.must(0), ON_OFF.into_iter())?;
    call.shell.session.color = on;
    call.shell.editor.set_escapes(on);
    Ok(Status::DONE)
}

fn run_stty<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let echo = value::one_of("setting", call.args.must(0), [("echo", true), ("-echo", false)].into_iter())?;
    call.shell.editor.set_echo(echo);
    Ok(Status::DONE)
}
