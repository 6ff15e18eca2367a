//! The table under test: what every row must have, and that every example runs.

use alloc::format;

use kernel::sched::HZ;

use super::commands;
use crate::arg::Usage;
use crate::exec::Shell;
use crate::host::HostMachine;
use crate::machine::Machine;
use crate::status::Status;
use crate::testing::{check, shell};

#[test]
fn every_row_is_complete() {
    for row in commands::<HostMachine>() {
        let name = row.name;
        assert!(!row.summary.is_empty() && !row.summary.ends_with('.') && row.summary.len() <= 64, "{name}: summary");
        assert!(!row.help.is_empty() && row.help.lines().all(|line| line.len() <= 78), "{name}: help");
        assert!(format!("{name}{}", Usage(row.args)).len() <= 80, "{name}: usage");
        assert!(name == name.to_lowercase() && name.split(' ').count() <= 2, "{name}: name");
        assert!([row.name, row.summary, row.help].iter().all(|text| text.is_ascii()), "{name}: ASCII");
    }
}

#[test]
fn no_name_is_given_twice() {
    let rows = commands::<HostMachine>();
    for (i, row) in rows.iter().enumerate() {
        assert!(rows[..i].iter().all(|earlier| earlier.name != row.name), "{}", row.name);
    }
}

#[test]
fn every_example_runs_on_a_fresh_machine() {
    for row in commands::<HostMachine>() {
        assert!(!row.examples.is_empty() || row.name == "source", "{}: no example", row.name);
        for example in row.examples {
            let mut shell = shell();
            let status = shell.run_line(example);
            assert_eq!(status, Status::DONE, "{example}: {}", shell.machine.take_output());
            assert!(example.contains(super::first_word(row.name)), "{example} is no example of {}", row.name);
        }
    }
}

/// Ticks after which a request that never ends is called off, as a person would: 10 s.
const PATIENCE: u64 = 10 * HZ;
/// Questions after ^C after which a command that does very much is called off.
const QUESTIONS: u32 = 2_000;

/// Nobody is killed, for the machine would stop when there is nobody left to kill.
#[test]
fn every_example_answers_without_a_free_page() {
    for row in commands::<HostMachine>() {
        for example in row.examples {
            let mut shell = shell();
            shell.run_line("oom disable; pcp off; free to 0");
            assert!(shell.machine.memory().populated_zones().all(|zone| zone.counts.free_pages() == 0));
            shell.machine.take_output();
            shell.machine.interrupt_after(PATIENCE);
            shell.machine.interrupt_in(QUESTIONS);
            let status = shell.run_line(example);
            let output = shell.machine.take_output();
            // A check that fails, of a lab or `expect`, is an answer, too.
            let answers =
                [Status::DONE, Status::REFUSED, Status::USAGE, Status::AUDIT, Status::KILLED, Status::INTERRUPTED];
            assert!(answers.contains(&status), "{example}: {status:?}: {output}");
            assert!(status == Status::DONE || !output.is_empty(), "{example}: {status:?} and not a word");
            if !shell.is_off() {
                shell.run_line("audit");
                let audit = shell.machine.take_output();
                assert!(audit.contains("audit passed"), "{example}: {audit}");
            }
        }
    }
}

#[test]
fn what_is_printed_fits_the_screen() {
    // Tables, masks, messages and events of Linux have Linux's width; an object and a finding of the audit are a line
    // however long it is.
    let is_event =
        |line: &str| line.contains('=') && (line.contains("] ") || line.starts_with("  ") && !line.starts_with("   "));
    let is_log = |line: &str| line.starts_with('[') || line.starts_with("warning: ");
    let is_mask = |line: &str| line.starts_with("0x") || line.contains("(PF_");
    let is_ours = |line: &str| {
        !is_log(line) && !is_mask(line) && !is_event(line) && !line.starts_with("Node ") && !line.starts_with('{')
    };
    let shows = |shell: &mut Shell<HostMachine>| {
        let output = shell.machine.take_output();
        output.lines().filter(|line| is_ours(line)).for_each(|line| assert!(line.len() <= 80, "{line}"));
    };
    let mut shell = shell();
    for row in commands::<HostMachine>() {
        shell.run_line(&format!("help {}", row.name));
        row.examples.iter().for_each(|example| _ = shell.run_line(example));
        shows(&mut shell);
    }
    for name in ["gfp 0xffffff", "help orders", "help watermarks", "help zones", "cat /proc/quirks", "map", "audit"] {
        shell.run_line(name);
        shows(&mut shell);
    }
}

#[test]
fn names_are_found_by_family_and_member() {
    check("task nwe x", "`task` has no `nwe`; did you mean `new`?");
    check("task", "`task` what? `help task` tells");
    check("tsak list", "no command `tsak`; did you mean `task`?");
    check("ALLOC", "no command `ALLOC`; did you mean `alloc`?");
}

#[test]
fn help_tells_of_everything() {
    let mut shell = shell();
    shell.run_line("help");
    let list = shell.machine.take_output();
    for row in commands::<HostMachine>() {
        assert!(list.contains(row.summary), "{}", row.name);
        assert_eq!(shell.run_line(&format!("help {}", row.name)), Status::DONE);
        assert!(shell.machine.take_output().contains(row.help.lines().next().unwrap_or_default()), "{}", row.name);
    }
    assert!(list.lines().all(|line| line.len() <= 80));
    for topic in &crate::cmd::help::TOPICS {
        assert!(list.contains(topic.summary) && topic.text.lines().all(|line| line.len() <= 78), "{}", topic.name);
        assert_eq!(shell.run_line(&format!("help {}", topic.name)), Status::DONE);
    }
    check("help aloc", "help: no command `aloc`; did you mean `alloc`?");
    check("help task nwe", "help: `task` has no `nwe`; did you mean `new`?");
}
