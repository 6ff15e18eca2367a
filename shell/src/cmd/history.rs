//! `history`: the lines typed before.

use core::fmt::Write as _;

use kernel::proc::json::Quoted;

use crate::arg::Arg;
use crate::command::{Call, Command};
use crate::exec::Shell;
use crate::machine::{Machine, Output};
use crate::status::{Outcome, Status};

/// `history [--json]`
pub const fn history<M: Machine>() -> Command<M> {
    Command {
        name: "history",
        summary: "list the lines typed before",
        help: "\
!! is the last line and !7 the line with that number; what follows is
appended. The arrows, or ^P and ^N, walk through them.",
        args: &[Arg::Flag("--json")],
        examples: &["history", "history --json"],
        run,
    }
}

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let json = call.json();
    let Shell { machine, editor, capture, mid_line, .. } = &mut *call.shell;
    let mut out = Output { machine, capture: capture.as_mut(), mid_line };
    for (n, line) in editor.history().iter() {
        if json {
            writeln!(out, r#"{{"number":{n},"line":{}}}"#, Quoted(line))?;
        } else {
            writeln!(out, "{n:>5}  {line}")?;
        }
    }
    Ok(Status::DONE)
}
