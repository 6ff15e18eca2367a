//! `audit`: is every page accounted for?

use core::fmt::Write as _;

use kernel::check::{self, Finding};
use kernel::proc::json::Quoted;

use crate::arg::Arg;
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};

/// `audit`
pub const fn audit<M: Machine>() -> Command<M> {
    Command {
        name: "audit",
        summary: "check that every page is accounted for, exactly once",
        help: "\
Walks all free lists and page records and holds them against the counters, the
watermarks and each other. What does not hold is named, with the place and
both numbers, and the status is 3. Warnings are what v5.0 itself may get
wrong.",
        args: &[Arg::Flag("--json")],
        examples: &["audit", "alloc GFP_KERNEL -n 1000; audit"],
        run,
    }
}

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let audit = call.kernel(|memory, _| check::audit(memory));
    for finding in audit.findings() {
        if call.json() { json(call, finding)? } else { writeln!(call, "{finding}")? }
    }
    let (clean, totals) = (audit.is_clean(), audit.totals);
    if call.json() {
        let check::Totals { managed, free, pcp, allocated, bad } = totals;
        write!(call, r#"{{"clean":{clean},"managed":{managed},"free":{free},"#)?;
        writeln!(call, r#""pcp":{pcp},"allocated":{allocated},"bad":{bad}}}"#)?;
    } else {
        writeln!(call, "audit {}: {totals}", if clean { "passed" } else { "FAILED" })?;
    }
    Ok(if clean { Status::DONE } else { Status::AUDIT })
}

fn json<M: Machine>(call: &mut Call<'_, '_, M>, finding: &Finding) -> Result<(), Trouble<'static>> {
    let Finding { id, property, is_warning, first, faults } = finding;
    write!(call, r#"{{"id":"{id}","property":{},"warning":{is_warning},"#, Quoted(property))?;
    write!(call, r#""place":"{}","what":{},"#, first.place, Quoted(first.what))?;
    Ok(writeln!(call, r#""found":{},"expected":{},"faults":{faults}}}"#, first.found, first.expected)?)
}

#[cfg(test)]
mod tests {
    use crate::machine::Machine;
    use crate::testing::{check, run, shell};

    #[test]
    fn a_sound_machine_passes() {
        check("audit; echo $?", "audit passed: 15360 pages: 15360 free, 0 per-CPU, 0 allocated, 0 bad\n0");
        check("audit --json", r#"{"clean":true,"managed":15360,"free":15360,"pcp":0,"allocated":0,"bad":0}"#);
    }

    #[test]
    fn a_broken_one_fails_with_status_3() {
        let mut shell = shell();
        run(&mut shell, "alloc GFP_KERNEL");
        let memory = shell.machine.memory();
        let held = shell.session.handles.get(1).unwrap();
        // Somebody tears the page's record to pieces.
        let record = memory.pages.at(memory.pages.index(held.pfn));
        record.set_state(kernel::mm::page::PageState::TAIL);
        let output = run(&mut shell, "audit; echo $?");
        assert!(output.contains("audit FAILED") && output.ends_with("\n3\n"), "{output}");
        let json = run(&mut shell, "audit --json");
        assert!(json.starts_with("{\"id\":\"I") && json.contains("\"clean\":false"), "{json}");
    }
}
