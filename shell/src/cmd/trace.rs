//! `trace`: what the allocator decided, as Linux's trace file has it.
//!
//! Events are recorded in the machine's ring (`kernel::trace`), whoever causes them; `explain` tells those of one command
//! in words.

use core::fmt::{self, Write as _};

use kernel::comm::Comm;
use kernel::mm::memory::{Env, Hook};
use kernel::proc::json::Quoted;
use kernel::task::{Task, TaskTable};
use kernel::trace::names::GROUPS;
use kernel::trace::walk::{LostEvents, Step, walk};
use kernel::trace::{Entry, EventSet, Tracer};

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value::{self, ValueError};

/// `trace on [EVENT...]`
pub const fn on<M: Machine>() -> Command<M> {
    Command {
        name: "trace on",
        summary: "record events: all, or those named",
        help: "\
EVENT is the name of one, as in Linux, or of a group: kmem, vmscan,
compaction, migrate, oom, pagemap, writeback are those of Linux; decision,
numa and slowpath are steps that Linux does not trace. The last 1024 events
are kept.",
        args: &[Arg::Many("EVENT", Kind::Event)],
        examples: &["trace on; alloc GFP_KERNEL -o 3; trace show", "trace on kmem slowpath"],
        run: run_on,
    }
}

/// `trace off`
pub const fn off<M: Machine>() -> Command<M> {
    Command {
        name: "trace off",
        summary: "record no more events",
        help: "\
What was recorded can still be shown.",
        args: &[],
        examples: &["trace on; alloc GFP_KERNEL; trace off; trace show"],
        run: run_off,
    }
}

/// `trace show [EVENT...] [-n N]`
pub const fn show<M: Machine>() -> Command<M> {
    Command {
        name: "trace show",
        summary: "print the recorded events, oldest first",
        help: "\
In the form of Linux's trace file, time in jiffies of 4 ms: all, or only the
EVENTs or groups named; with -n the last N of them. A line says where events
were lost, because newer ones took their place in the ring.",
        args: &[Arg::Many("EVENT", Kind::Event), Arg::Opt("-n", "N", Kind::Number), Arg::Flag("--json")],
        examples: &["trace on; free to 15000; trace show -n 5", "trace on; alloc GFP_KERNEL; trace show kmem --json"],
        run: run_show,
    }
}

/// `trace clear`
pub const fn clear<M: Machine>() -> Command<M> {
    Command {
        name: "trace clear",
        summary: "forget the recorded events",
        help: "\
Whether events are recorded does not change.",
        args: &[],
        examples: &["trace on; alloc GFP_KERNEL; trace clear; trace show"],
        run: run_clear,
    }
}

/// The events that the words name; all, without a word.
fn events<'a, M: Machine>(call: &Call<'_, 'a, M>) -> Result<EventSet, ValueError<'a>> {
    if call.args.word(0).is_none() {
        return Ok(EventSet::ALL);
    }
    let names = || GROUPS.iter().flat_map(|group| [group.name].into_iter().chain(group.events.iter().copied()));
    call.args.words().try_fold(EventSet::NONE, |set, word| {
        EventSet::named(word).map(|named| set.with(named)).ok_or_else(|| value::unknown("event", word, names()))
    })
}

fn run_on<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let wanted = events(call)?;
    let memory = call.shell.machine.memory();
    memory.env.tracer().set_filter(wanted);
    memory.set_hook(Hook::Trace, true);
    Ok(Status::DONE)
}

fn run_off<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    call.shell.machine.memory().set_hook(Hook::Trace, false);
    Ok(Status::DONE)
}

fn run_clear<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    call.shell.machine.memory().env.tracer().clear();
    Ok(Status::DONE)
}

fn run_show<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let wanted = events(call)?;
    let most = call.args.option("-n").map_or(Ok(u64::MAX), value::number)?;
    let tracer = call.shell.machine.memory().env.tracer();
    // What is recorded from now on is not shown.
    let seqs = tracer.first_seq()..tracer.next_seq();
    let is_shown = |step: &Step| match step {
        Step::Entry(entry) => wanted.contains(entry.event),
        Step::Lost(_) => true,
    };
    let is_entry = |step: &Step| matches!(step, Step::Entry(_));
    let (mut kept, mut found) = (0, 0);
    for step in walk(tracer, seqs.clone()).filter(is_entry) {
        kept += 1;
        found += u64::from(is_shown(&step));
    }
    if !call.json() {
        heading(call, kept, seqs.end - seqs.start)?;
    }
    let mut skip = found.saturating_sub(most);
    for step in walk(tracer, seqs).filter(is_shown) {
        match step {
            _ if skip > 0 => skip -= u64::from(is_entry(&step)),
            Step::Entry(entry) => show_entry(call, &entry)?,
            Step::Lost(events) => show_lost(call, events)?,
        }
    }
    Ok(Status::DONE)
}

/// The lines above a trace. Linux: `print_func_help_header`, without the columns of `irq-info`.
fn heading<M: Machine>(call: &mut Call<'_, '_, M>, kept: u64, written: u64) -> fmt::Result {
    let nr_cpus = call.shell.machine.nr_cpus();
    writeln!(call, "# tracer: nop\n#")?;
    writeln!(call, "# entries-in-buffer/entries-written: {kept}/{written}   #P:{nr_cpus}\n#")?;
    writeln!(call, "#           TASK-PID   CPU#   TIMESTAMP  FUNCTION")?;
    writeln!(call, "#              | |       |       |         |")
}

fn show_entry<M: Machine>(call: &mut Call<'_, '_, M>, entry: &Entry) -> Result<(), Trouble<'static>> {
    let comm = comm(call.tasks(), entry);
    if call.json() {
        json(call, entry)?;
        writeln!(call, "}}")?;
    } else {
        writeln!(call, "{}", entry.line(comm.as_str()))?;
    }
    Ok(())
}

/// A line in the place of events that were lost.
pub fn show_lost<M: Machine>(call: &mut Call<'_, '_, M>, events: u64) -> fmt::Result {
    if call.json() { writeln!(call, r#"{{"lost":{events}}}"#) } else { writeln!(call, "{}", LostEvents(events)) }
}

/// The event as the beginning of an object.
pub fn json<M: Machine>(call: &mut Call<'_, '_, M>, entry: &Entry) -> fmt::Result {
    let comm = comm(call.tasks(), entry);
    let Entry { seq, stamp, event } = entry;
    write!(call, r#"{{"seq":{seq},"time_ns":{},"cpu":{},"pid":{},"#, stamp.time, stamp.cpu, stamp.pid)?;
    write!(call, r#""comm":{},"event":"{}","text":{}"#, Quoted(comm), event.name(), Quoted(event))
}

/// The name of the task that an event belongs to; of one that is gone, what Linux calls it.
pub fn comm(tasks: &TaskTable, entry: &Entry) -> Comm {
    const GONE: Comm = Comm::from_bytes(*b"<...>\0\0\0\0\0\0\0\0\0\0\0");
    let task = u16::try_from(entry.stamp.pid).ok().and_then(|pid| tasks.by_pid(pid));
    task.map_or(GONE, Task::comm)
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_prints, check, run, shell};

    const HEADING: &str = "# tracer: nop\n#\n# entries-in-buffer/entries-written: [..]   #P:1\n#\n\
                           #           TASK-PID   CPU#   TIMESTAMP  FUNCTION\n#              | |       |       |         |\n";

    #[test]
    fn a_trace_reads_as_linuxs() {
        let lines = "              sh-1     [000] 0: zone_considered: node=0 zone=DMA32    order=3 mark=low [..]\n              \
                     sh-1     [000] 0: mm_page_alloc_zone_locked: page=0x[..] pfn=[..] order=3 migratetype=1 [..]";
        let mut shell = shell();
        let output =
            run(&mut shell, "trace on; alloc GFP_HIGHUSER_MOVABLE -o 3; trace off; trace show zone_considered");
        let (_, trace) = output.split_once('\n').unwrap();
        assert_prints(trace, &format!("{HEADING}{}", lines.split_once('\n').unwrap().0));
        let output = run(&mut shell, "alloc GFP_KERNEL; trace show kmem -n 2");
        let last = output.lines().last().unwrap();
        assert!(
            last.contains(": mm_page_alloc: page=0x") && last.ends_with(" gfp_flags=GFP_HIGHUSER_MOVABLE"),
            "{last}"
        );
        assert_eq!(output.lines().filter(|line| line.contains(": mm_page_alloc")).count(), 2, "{output}");
    }

    #[test]
    fn only_wanted_events_are_recorded() {
        let mut shell = shell();
        run(&mut shell, "trace on mm_page_free; alloc GFP_KERNEL -n 3; free all; trace off; alloc GFP_KERNEL");
        let output = run(&mut shell, "trace show --json");
        assert_eq!(output.lines().count(), 3, "{output}");
        assert!(output.lines().all(|line| line.contains(r#""comm":"sh","event":"mm_page_free","text":""#)), "{output}");
        assert!(run(&mut shell, "trace clear; trace show").ends_with(
            "# entries-in-buffer/entries-written: 0/0   #P:1\n#\n\
            #           TASK-PID   CPU#   TIMESTAMP  FUNCTION\n#              | |       |       |         |\n"
        ));
        check("trace on; echo $?", "0");
    }

    #[test]
    fn lost_events_and_dead_tasks_are_said() {
        let mut shell = shell();
        run(&mut shell, "task new hog; task use hog; trace on; alloc GFP_KERNEL -n 1000; trace off; task kill hog");
        let output = run(&mut shell, "trace show");
        let mut lines = output.lines().skip(6);
        assert!(lines.next().is_some_and(|line| line.starts_with("[LOST ")), "{output}");
        assert!(lines.clone().all(|line| line.starts_with("           <...>-2     [000] ")), "{output}");
        assert_eq!(lines.count(), 1024);
        let json = run(&mut shell, "trace show --json -n 1");
        assert!(json.starts_with("{\"seq\":") && json.lines().count() == 1, "{json}");
    }

    #[test]
    fn bad_names_change_nothing() {
        check("trace on mm_page_fre; echo $?", "trace on: no event `mm_page_fre`; did you mean `mm_page_free`?\n2");
        check("trace show -n many", "trace show: `many` is not a number (decimal, or 0x and hexadecimal)");
        check("trace", "`trace` what? `help trace` tells");
        let mut shell = shell();
        run(&mut shell, "trace on nonsense; alloc GFP_KERNEL");
        assert!(run(&mut shell, "trace show").contains("entries-written: 0/0"));
    }
}
