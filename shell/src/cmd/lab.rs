//! `lab`, `labs`: worked examples that explain themselves, and notice when the machine disagrees.
//!
//! A lab is a text file in `labs/`: lines with `# ` are for the reader, lines with `$ ` are commands, and the lines below a
//! command are what it prints, where `[..]` stands for any text and `...` for any lines. What a lab sets is what it was
//! before when it ends.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use kernel::proc::sysctl::{SYSCTLS, Sysctl};

use crate::arg::{Arg, Kind};
use crate::capture::Capture;
use crate::command::{Call, Command};
use crate::expect::lines_match;
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value;

/// A worked example.
pub struct Lab {
    /// What `lab` is asked for.
    pub name: &'static str,
    /// Text, commands, and what they print.
    text: &'static str,
}

/// Every lab, the easy ones first.
pub const LABS: [Lab; 6] = [
    Lab { name: "reserves", text: include_str!("../../labs/reserves.txt") },
    Lab { name: "pf_memalloc", text: include_str!("../../labs/pf_memalloc.txt") },
    Lab { name: "nofs", text: include_str!("../../labs/nofs.txt") },
    Lab { name: "compaction", text: include_str!("../../labs/compaction.txt") },
    Lab { name: "abuse", text: include_str!("../../labs/abuse.txt") },
    Lab { name: "oom", text: include_str!("../../labs/oom.txt") },
];

/// Marks the reader's lines.
const COMMENT: &str = "# ";
/// Marks commands.
const COMMAND: &str = "$ ";

/// `labs`
pub const fn labs<M: Machine>() -> Command<M> {
    Command {
        name: "labs",
        summary: "list the labs",
        help: "\
Worked examples, the easy ones first; lab NAME runs one.",
        args: &[Arg::Flag("--json")],
        examples: &["labs"],
        run: run_labs,
    }
}

/// `lab NAME`
pub const fn lab<M: Machine>() -> Command<M> {
    Command {
        name: "lab",
        summary: "run a worked example that explains itself",
        help: "\
Shows each command behind a $, what it prints, and what that means. Where the
machine prints something else than the lab says, that is shown, and the status
is 3. A lab wants a machine on which nothing is held: free all first.",
        args: &[Arg::One("NAME", Kind::Lab)],
        examples: &["lab reserves"],
        run: run_lab,
    }
}

impl Lab {
    /// The first line: what it is about.
    fn title(&self) -> &'static str {
        self.text.lines().next().and_then(|line| line.strip_prefix(COMMENT)).unwrap_or_default()
    }

    /// Its lines but the first, as steps.
    fn steps(&self) -> impl Iterator<Item = Step> {
        let mut rest = self.text.split_once('\n').map_or("", |(_, rest)| rest);
        core::iter::from_fn(move || {
            let (line, mut below) = rest.split_once('\n')?;
            let expected = below;
            if let Some(command) = line.strip_prefix(COMMAND) {
                while let Some((line, after)) = below.split_once('\n').filter(|(line, _)| is_output(line)) {
                    debug_assert!(!line.is_empty());
                    below = after;
                }
                rest = below;
                return Some(Step::Command(command, &expected[..expected.len() - below.len()]));
            }
            rest = below;
            Some(Step::Text(line))
        })
    }
}

/// Whether a line below a command is what it prints.
fn is_output(line: &str) -> bool {
    !line.is_empty() && !line.starts_with(COMMENT) && !line.starts_with(COMMAND)
}

enum Step {
    /// A line for the reader.
    Text(&'static str),
    /// A command, and what it prints.
    Command(&'static str, &'static str),
}

fn run_labs<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    for lab in &LABS {
        if call.json() {
            writeln!(call, r#"{{"name":"{}","about":"{}"}}"#, lab.name, lab.title())?;
        } else {
            writeln!(call, "{:<12} {}", lab.name, lab.title())?;
        }
    }
    Ok(Status::DONE)
}

fn run_lab<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let name = call.args.must(0);
    let lab = LABS.iter().find(|lab| lab.name == name);
    let lab = lab.ok_or_else(|| value::unknown("lab", name, LABS.iter().map(|lab| lab.name)))?;
    if !call.shell.session.handles.is_empty() || !call.shell.session.jobs.is_empty() {
        return Err(Trouble::Refused("a lab begins with nothing held and no job: free all, wait"));
    }
    let settings = settings(call)?;
    writeln!(call, "{}", lab.title())?;
    let result = run_steps(call, lab);
    restore(call, &settings);
    let (commands, wrong) = result?;
    if wrong == 0 {
        writeln!(call, "lab {name}: all {commands} commands printed what they should")?;
        return Ok(Status::DONE);
    }
    writeln!(call, "lab {name}: {wrong} of {commands} commands printed something else")?;
    Ok(Status::AUDIT)
}

/// Runs the lab: its commands, and how many of them printed something else than it says.
fn run_steps<M: Machine>(call: &mut Call<'_, '_, M>, lab: &Lab) -> Result<(u32, u32), Trouble<'static>> {
    let (mut commands, mut wrong) = (0, 0);
    for step in lab.steps() {
        match step {
            Step::Text(line) => writeln!(call, "{line}")?,
            Step::Command(command, expected) => {
                writeln!(call, "{COMMAND}{command}")?;
                commands += 1;
                wrong += u32::from(!run_step(call, command, expected)?);
            }
        }
    }
    Ok((commands, wrong))
}

/// Runs one command; whether it printed what is expected.
fn run_step<M: Machine>(call: &mut Call<'_, '_, M>, line: &str, expected: &str) -> Result<bool, Trouble<'static>> {
    let shell = &mut *call.shell;
    let outer = shell.capture.replace(Capture::default());
    shell.session.depth += 1;
    let status = shell.run_line(line);
    shell.notice_jobs();
    shell.session.depth -= 1;
    let output = core::mem::replace(&mut shell.capture, outer).unwrap_or_default();
    call.write_str(output.as_str())?;
    if status == Status::INTERRUPTED {
        return Err(Trouble::Interrupted);
    }
    let as_expected = lines_match(output.as_str(), expected);
    if !as_expected {
        writeln!(call, "! The lab expects:")?;
        expected.lines().try_for_each(|line| writeln!(call, "! {line}"))?;
    }
    Ok(as_expected)
}

/// What every setting is that can be read and written.
fn settings<M: Machine>(call: &Call<'_, '_, M>) -> Result<Vec<(&'static Sysctl, String)>, Trouble<'static>> {
    const BYTES: usize = 64;
    let memory = call.shell.machine.memory();
    let mut settings = Vec::new();
    settings.try_reserve_exact(SYSCTLS.len()).map_err(|_| Trouble::OutOfHeap)?;
    for setting in SYSCTLS.iter().filter(|setting| setting.is_readable()) {
        let mut text = String::new();
        text.try_reserve_exact(BYTES).map_err(|_| Trouble::OutOfHeap)?;
        setting.read(memory, &mut text)?;
        settings.push((setting, text));
    }
    Ok(settings)
}

/// Writes those settings that are not what they were.
fn restore<M: Machine>(call: &mut Call<'_, '_, M>, settings: &[(&'static Sysctl, String)]) {
    for (setting, before) in settings {
        let mut now = Capture::default();
        let unread = setting.read(call.shell.machine.memory(), &mut now).is_err();
        if unread || now.as_str() != before {
            // It is what was read, so it can be written.
            let _ = call.kernel(|memory, current| setting.write(memory, current, before));
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::testing::{check, run, shell};

    #[test]
    fn every_lab_is_right() {
        for lab in &LABS {
            let mut shell = shell();
            let before = run(&mut shell, "sysctl");
            let output = run(&mut shell, &format!("lab {}", lab.name));
            assert!(output.contains(" commands printed what they should\n"), "{}: {output}", lab.name);
            let is_kernels = |line: &str| line.starts_with('[') || line.starts_with("page allocation failure");
            assert!(output.lines().all(|line| line.len() <= 80 || is_kernels(line)), "{output}");
            assert_eq!(run(&mut shell, "sysctl"), before);
            let audit = run(&mut shell, "free all; handle free all; audit");
            assert!(audit.contains(" 0 allocated, 0 bad"), "{}: {audit}", lab.name);
        }
    }

    #[test]
    fn labs_can_be_read() {
        for lab in &LABS {
            assert!(!lab.title().is_empty() && lab.title().len() <= 64, "{}", lab.name);
            assert!(lab.text.is_ascii() && lab.text.ends_with('\n'), "{}", lab.name);
            assert!(lab.text.lines().all(|line| line.len() <= 80), "{}", lab.name);
            assert!(lab.steps().any(|step| matches!(step, Step::Command(_, expected) if !expected.is_empty())));
        }
        assert_eq!(run(&mut shell(), "labs").lines().count(), LABS.len());
        assert_eq!(run(&mut shell(), "labs --json").lines().count(), LABS.len());
    }

    #[test]
    fn what_is_not_as_expected_is_shown() {
        let lab = Lab { name: "wrong", text: "# wrong\n$ echo a\nb\n$ echo c\nc\n" };
        let mut shell = shell();
        let words = crate::lex::Words::default();
        let args = crate::arg::parse(&[], words.args()).unwrap();
        let mut call = Call { shell: &mut shell, args, redirection: None };
        assert_eq!(run_steps(&mut call, &lab), Ok((2, 1)));
        assert_eq!(shell.machine.take_output(), "$ echo a\na\n! The lab expects:\n! b\n$ echo c\nc\n");
    }

    #[test]
    fn a_lab_begins_with_nothing_held() {
        check("alloc GFP_KERNEL; lab reserves; echo $?", "#1 [..]\nlab: a lab begins with nothing held [..]\n1");
        check("lab reservse; echo $?", "lab: no lab `reservse`; did you mean `reserves`?\n2");
    }
}
