//! `vmstat`: every counter, and what has changed.

use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use kernel::mm::memory::{Env, Memory};
use kernel::proc::vmstat;
use kernel::vmstat::{LabEvent, VmStat};

use crate::arg::Arg;
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};

/// `vmstat`
pub const fn vmstat<M: Machine>() -> Command<M> {
    Command {
        name: "vmstat",
        summary: "print every counter: Linux's, then our own",
        help: "\
First the lines of /proc/vmstat in the order of v5.0, then, below an empty
line, what Linux does not count. vmstat diff tells what has changed.",
        args: &[Arg::Flag("--json")],
        examples: &["vmstat", "vmstat --json"],
        run: run_all,
    }
}

/// `vmstat diff`
pub const fn diff<M: Machine>() -> Command<M> {
    Command {
        name: "vmstat diff",
        summary: "print the counters that changed since the last time",
        help: "\
By how much each counter has changed since vmstat diff was run last, or since
the shell started. Counters that did not change are left out.",
        args: &[Arg::Flag("--json")],
        examples: &["alloc GFP_KERNEL -n 100; vmstat diff", "vmstat diff; free to 1000; vmstat diff --json"],
        run: run_diff,
    }
}

/// A counter of Linux's, or our own.
#[derive(Clone, Copy)]
enum Counter {
    Linux(VmStat),
    Lab(LabEvent),
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Counter::Linux(stat) => stat.fmt(f),
            Counter::Lab(event) => f.write_str(event.name()),
        }
    }
}

/// Every counter with its value, Linux's first.
fn values<E: Env>(memory: &Memory<'_, E>) -> impl Iterator<Item = (Counter, u64)> {
    let linux = vmstat::values(memory).map(|(stat, value)| (Counter::Linux(stat), value));
    linux.chain(LabEvent::ALL.iter().map(|&event| (Counter::Lab(event), memory.lab_event(event))))
}

/// Every counter's value at some time; empty for the start of everything.
#[derive(Debug, Default)]
pub struct Snapshot(Vec<u64>);

impl Snapshot {
    /// The values as of now; `None` when the heap has no room for them.
    pub fn take<E: Env>(memory: &Memory<'_, E>) -> Option<Snapshot> {
        let mut list = Vec::new();
        list.try_reserve_exact(values(memory).count()).ok()?;
        list.extend(values(memory).map(|(_, value)| value));
        Some(Snapshot(list))
    }

    fn get(&self, place: usize) -> u64 {
        self.0.get(place).copied().unwrap_or(0)
    }
}

fn run_all<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let mut ours = false;
    for (counter, value) in values(call.shell.machine.memory()) {
        if call.json() {
            writeln!(call, r#"{{"name":"{counter}","value":{value}}}"#)?;
            continue;
        }
        if !core::mem::replace(&mut ours, matches!(counter, Counter::Lab(_))) && ours {
            writeln!(call)?;
        }
        writeln!(call, "{counter} {value}")?;
    }
    Ok(Status::DONE)
}

fn run_diff<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let memory = call.shell.machine.memory();
    let now = Snapshot::take(memory).ok_or(Trouble::OutOfHeap)?;
    let names = values(memory).map(|(counter, _)| counter);
    for (place, counter) in names.enumerate() {
        let change = now.get(place).wrapping_sub(call.shell.session.counters.get(place)) as i64;
        match change {
            0 => {}
            _ if call.json() => writeln!(call, r#"{{"name":"{counter}","change":{change}}}"#)?,
            _ => writeln!(call, "{counter} {change:+}")?,
        }
    }
    call.shell.session.counters = now;
    Ok(Status::DONE)
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_prints, run, shell};

    #[test]
    fn linux_counters_come_first_in_its_order() {
        let mut shell = shell();
        let (own, linux) = (run(&mut shell, "vmstat"), run(&mut shell, "cat /proc/vmstat"));
        let (first, ours) = own.split_once("\n\n").unwrap();
        assert_eq!(first, linux.trim_end());
        assert!(ours.starts_with("uk_alloc_fail 0\nuk_slowpath "), "{ours}");
        let json = run(&mut shell, "vmstat --json");
        assert_eq!(json.lines().count(), first.lines().count() + ours.lines().count());
        assert!(json.starts_with("{\"name\":\"nr_free_pages\",\"value\":15360}\n"), "{json}");
    }

    #[test]
    fn the_difference_is_what_happened_since_the_last() {
        let mut shell = shell();
        assert_eq!(run(&mut shell, "vmstat diff"), "");
        let diff = run(&mut shell, "alloc GFP_KERNEL -o 4 | vmstat diff");
        assert!(diff.contains("one word too many"), "{diff}");
        run(&mut shell, "alloc GFP_KERNEL -o 4");
        let changes = "nr_free_pages -16\nnuma_hit +1\nnuma_local +1\nnr_dirty_threshold [..]\n\
                       nr_dirty_background_threshold [..]\npgalloc_dma32 +16";
        assert_prints(&run(&mut shell, "vmstat diff"), changes);
        assert_eq!(run(&mut shell, "vmstat diff; echo $?"), "0\n");
        run(&mut shell, "free all");
        assert!(run(&mut shell, "vmstat diff --json").starts_with("{\"name\":\"nr_free_pages\",\"change\":16}\n"));
    }
}
