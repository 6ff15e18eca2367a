//! `dmesg`, `warn-once reset`: the kernel log, and what is logged only once.

use core::fmt::Write as _;

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status};
use crate::value;

/// Longer records are cut.
const RECORD_BYTES: usize = 512;

/// `dmesg [-n LEVEL]`
pub const fn dmesg<M: Machine>() -> Command<M> {
    Command {
        name: "dmesg",
        summary: "print the kernel log",
        help: "\
The log is a ring: the oldest lines make room for new ones. Warnings and
failure reports of the allocator stand here, in Linux's words. -n sets which
records the console prints as they come, those below LEVEL: 4 errors, 5
warnings, too.",
        args: &[Arg::Opt("-n", "LEVEL", Kind::Number)],
        examples: &["dmesg", "dmesg -n 4"],
        run,
    }
}

/// `warn-once reset`
pub const fn warn_once_reset<M: Machine>() -> Command<M> {
    Command {
        name: "warn-once reset",
        summary: "let warnings that come once per boot come again",
        help: "\
Linux prints some warnings only the first time, such as that of __GFP_NOFAIL
with a high order. Linux: /sys/kernel/debug/clear_warn_once.",
        args: &[],
        examples: &["warn-once reset"],
        run: run_warn_once_reset,
    }
}

fn run_warn_once_reset<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    call.shell.machine.memory().printed.clear_warn_once();
    Ok(Status::DONE)
}

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    if let Some(word) = call.args.option("-n") {
        let level = value::number_in("the level", word, 1, 8)?;
        call.shell.machine.set_log_level(level as u8);
        return Ok(Status::DONE);
    }
    let (mut from, mut text) = (0, [0; RECORD_BYTES]);
    while let Some((len, next)) = call.shell.machine.log_record(from, &mut text) {
        writeln!(call, "{}", core::str::from_utf8(&text[..len]).unwrap_or("(a record that is not text)"))?;
        from = next;
    }
    Ok(Status::DONE)
}
