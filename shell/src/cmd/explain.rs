//! `explain`: every decision of one command.
//!
//! The words are the kernel's (`kernel::explain`), made of each event's fields and nothing else; this file runs the
//! command, reads what was recorded meanwhile, and lays it out.

use core::fmt::{self, Write as _};
use core::ops::Range;

use kernel::explain::explain as words;
use kernel::mm::memory::{Env, Hook};
use kernel::proc::json::Quoted;
use kernel::trace::walk::{Step, walk};
use kernel::trace::{Entry, EventSet, Tracer};

use super::trace;
use crate::arg::Arg;
use crate::capture::Capture;
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};

/// Columns of a line of words.
const COLUMNS: usize = 80;
/// Blanks before words.
const INDENT: usize = 4;

/// `explain COMMAND...`
pub const fn explain<M: Machine>() -> Command<M> {
    Command {
        name: "explain",
        summary: "run a command and tell every decision behind its answer",
        help: "\
Prints every event that the command causes, daemons' included, in order: the
event as Linux's trace file has it, and below it what that means, with the
arithmetic. Then comes what the command printed, and its status, which is that
of explain. Events are kept in a ring of 1024; a line says when the command
caused more. After ^C, trace show has what was recorded so far.",
        args: &[Arg::Flag("--json"), Arg::Rest],
        examples: &["explain alloc GFP_KERNEL", "free to 100 DMA32; explain alloc GFP_NOWAIT || free all"],
        run,
    }
}

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let (seqs, status, output) = record(call);
    if status == Status::INTERRUPTED {
        call.shell.say(format_args!("{}", output.as_str()));
        return Ok(status);
    }
    tell(call, seqs)?;
    if call.json() {
        writeln!(call, r#"{{"status":{},"output":{}}}"#, status.0, Quoted(output.as_str()))?;
        return Ok(status);
    }
    call.write_str(output.as_str())?;
    if output.lost() > 0 {
        writeln!(call, "(the shell's heap had no room for {} bytes more)", output.lost())?;
    }
    writeln!(call, "status {}", status.0)?;
    Ok(status)
}

/// Runs the command with every event recorded: the numbers of its events, its status, what it printed.
fn record<M: Machine>(call: &mut Call<'_, '_, M>) -> (Range<u64>, Status, Capture) {
    let memory = call.shell.machine.memory();
    let tracer = memory.env.tracer();
    let (was_on, wanted) = (memory.has(Hook::Trace), tracer.set_filter(EventSet::ALL));
    let start = tracer.next_seq();
    memory.set_hook(Hook::Trace, true);
    let (status, output) = call.shell.run_captured(call.args.rest(), call.redirection);
    memory.set_hook(Hook::Trace, was_on);
    tracer.set_filter(wanted);
    (start..tracer.next_seq(), status, output)
}

/// Prints the events, each with its words, under the name of whoever caused them.
fn tell<M: Machine>(call: &mut Call<'_, '_, M>, seqs: Range<u64>) -> Result<(), Trouble<'static>> {
    let tracer = call.shell.machine.memory().env.tracer();
    let mut last = Last::default();
    for step in walk(tracer, seqs) {
        match step {
            Step::Lost(events) => trace::show_lost(call, events)?,
            Step::Entry(entry) if call.json() => {
                trace::json(call, &entry)?;
                writeln!(call, r#","words":{}}}"#, Quoted(words(&entry.event)))?;
            }
            Step::Entry(entry) => last.follow(call, &entry)?,
        }
    }
    last.end_run(call)?;
    Ok(())
}

/// What was told last, so that neither a name nor an event is told again.
#[derive(Default)]
struct Last {
    entry: Option<Entry>,
    /// How often the same came again.
    again: u64,
}

impl Last {
    /// Tells the next event, under the name of its task if that is another one than before.
    fn follow<M: Machine>(&mut self, call: &mut Call<'_, '_, M>, entry: &Entry) -> fmt::Result {
        let last = self.entry.replace(*entry);
        let same_task = last.is_some_and(|last| last.stamp.pid == entry.stamp.pid);
        if same_task && last.is_some_and(|last| last.event == entry.event) {
            self.again += 1;
            return Ok(());
        }
        self.end_run(call)?;
        if !same_task {
            writeln!(call, "{}-{}", trace::comm(call.tasks(), entry), entry.stamp.pid)?;
        }
        show(call, entry)
    }

    /// Says how often the same event came again.
    fn end_run<M: Machine>(&mut self, call: &mut Call<'_, '_, M>) -> fmt::Result {
        match core::mem::take(&mut self.again) {
            0 => Ok(()),
            1 => writeln!(call, "    and the same once more"),
            times => writeln!(call, "    and the same {times} times more"),
        }
    }
}

/// The event as in a trace, and its words below it.
fn show<M: Machine>(call: &mut Call<'_, '_, M>, entry: &Entry) -> fmt::Result {
    writeln!(call, "  {}", entry.event)?;
    let mut text = Capture::default();
    write!(text, "{}", words(&entry.event))?;
    wrap(call, text.as_str())
}

/// Writes `text` in lines of at most [`COLUMNS`], indented.
fn wrap(out: &mut dyn fmt::Write, text: &str) -> fmt::Result {
    let mut column = 0;
    for word in text.split_ascii_whitespace() {
        if column > 0 && column + 1 + word.len() <= COLUMNS {
            write!(out, " {word}")?;
            column += 1 + word.len();
        } else {
            write!(out, "{}{:INDENT$}{word}", if column > 0 { "\n" } else { "" }, "")?;
            column = INDENT + word.len();
        }
    }
    if column > 0 { writeln!(out) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use crate::status::Status;
    use crate::testing::{assert_prints, check, run, shell};

    #[test]
    fn a_request_is_told_step_by_step() {
        let output = run(&mut shell(), "explain alloc GFP_KERNEL -o 3");
        assert!(output.ends_with("Unmovable\nstatus 0\n"), "{output}");
        let beginning = "sh-1\n  zone_considered: node=0 zone=DMA32    order=3 mark=low [..] verdict=enough\n    \
                         DMA32: free 15360 - 7 (the block but for a page) - 0 highatomic - 0 cma =\n    \
                         15353 > low [..] + reserve 0: enough";
        let lines: Vec<&str> = output.lines().collect();
        assert_prints(&lines[..4].join("\n"), beginning);
        let served = lines.iter().position(|line| line.starts_with("  mm_page_alloc: page=0x")).unwrap();
        let words = "    the request with 0x6000c0(GFP_KERNEL) is served: 8 pages from pfn [..]";
        assert_prints(lines[served + 1], words);
    }

    #[test]
    fn the_status_is_the_commands() {
        check("explain bad; echo $?", "no command `bad`\nstatus 2\n2");
        check("explain echo hi", "hi\nstatus 0");
        check(
            "explain echo 5000 > /proc/sys/vm/min_free_kbytes; sysctl min_free_kbytes",
            "status 0\nvm.min_[..] = 5000",
        );
        let refused = run(&mut shell(), "free to 10; explain alloc GFP_NOWAIT; echo $?");
        assert!(refused.contains("= 10 <= low ") && refused.ends_with("(GFP_NOWAIT)\nstatus 1\n1\n"), "{refused}");
    }

    #[test]
    fn daemons_tell_their_part_and_nothing_twice() {
        let output = run(&mut shell(), "free to 260 DMA32; explain alloc GFP_NOWAIT|__GFP_NOWARN");
        let (own, daemon) = output.split_once("\nkswapd0-64\n").expect("a daemon's part");
        assert!(own.contains("  mm_vmscan_wakeup_kswapd: nid=0 "), "{own}");
        assert!(
            daemon.starts_with("  mm_vmscan_kswapd_wake: nid=0 ") && daemon.contains("\n    and the same "),
            "{daemon}"
        );
    }

    #[test]
    fn recording_is_as_before() {
        let mut shell = shell();
        run(&mut shell, "trace on mm_page_free; explain alloc GFP_KERNEL; trace clear; alloc GFP_KERNEL; free #2");
        assert_eq!(run(&mut shell, "trace show --json").lines().count(), 1);
        run(&mut shell, "trace off; explain alloc GFP_KERNEL; trace clear; free all");
        assert_eq!(run(&mut shell, "trace show --json"), "");
    }

    #[test]
    fn lost_events_are_said() {
        let output = run(&mut shell(), "explain alloc GFP_KERNEL -n 2000");
        assert!(output.starts_with("[LOST ") && output.contains("\nallocated 2000 of 2000 "), "{output}");
    }

    #[test]
    fn explanations_nest() {
        let output = run(&mut shell(), "explain explain alloc GFP_KERNEL");
        assert_eq!(output.matches("  mm_page_alloc: ").count(), 2, "{output}");
        assert!(output.ends_with("Unmovable\nstatus 0\nstatus 0\n"), "{output}");
    }

    #[test]
    fn objects_have_words() {
        let output = run(&mut shell(), "explain --json alloc GFP_KERNEL -o 4");
        let last = output.lines().last().unwrap();
        assert_prints(last, r##"{"status":0,"output":"#1 order 4 [..]\n"}"##);
        assert!(output.lines().all(|line| line == last || line.contains(r#","words":""#)), "{output}");
    }

    #[test]
    fn an_interrupted_command_is_left_at_once() {
        let mut shell = shell();
        shell.machine.interrupt_in(50);
        assert_eq!(shell.run_line("explain alloc GFP_KERNEL -n max"), Status::INTERRUPTED);
        let output = shell.machine.take_output();
        assert!(output.starts_with("allocated ") && output.ends_with("^C\n"), "{output}");
        assert!(run(&mut shell, "trace show kmem -n 1").contains(": mm_page_alloc: "));
    }
}
