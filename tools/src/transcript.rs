//! Transcripts: sessions as text, which are tests on the host and on every machine.
//!
//! ```text
//! #! machine=virt,host args="--append mem=256M" status=1
//! # what the next command shows
//! slowpath> alloc GFP_KERNEL -o 3
//! #1 order 3 pfn 0x[..] DMA32 Unmovable
//! slowpath> cat /proc/zoneinfo
//! Node 0, zone    DMA32
//! ...
//! ```
//!
//! Lines under a prompt are the command's whole output. `...` alone stands for any lines, `[..]` for any text within a
//! line. Lines that start with `# ` before a prompt are comments; blank lines before a prompt do not count. The first
//! line may be a header: on which machines (all when it says nothing), options of `cargo xtask run`, the exit status,
//! and a time limit in seconds.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, ValueEnum};

use crate::console::PROMPT;
use crate::diff;
use crate::qemu::{Machine, MachineArgs};

/// Marks the header.
const HEADER: &str = "#!";
/// Marks a comment.
const COMMENT: &str = "# ";
/// Time limit of a transcript that names none; the machine that runs the tests may be a busy one.
const LIMIT: Duration = Duration::from_secs(60);

/// Where a transcript runs.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// The shell in a process of this machine
    Host,
    /// The image in QEMU's virt
    Virt,
    /// The image in QEMU's raspi4b
    Raspi4b,
}

impl Place {
    /// Every place.
    pub const ALL: [Place; 3] = [Place::Host, Place::Virt, Place::Raspi4b];

    /// The machine there, none on the host.
    pub const fn machine(self) -> Option<Machine> {
        match self {
            Place::Host => None,
            Place::Virt => Some(Machine::Virt),
            Place::Raspi4b => Some(Machine::Raspi4b),
        }
    }

    /// The name in headers and options.
    pub const fn name(self) -> &'static str {
        match self {
            Place::Host => "host",
            Place::Virt => Machine::Virt.name(),
            Place::Raspi4b => Machine::Raspi4b.name(),
        }
    }
}

/// A session and the machines that it is true for.
#[derive(Debug)]
pub struct Transcript {
    /// Places where it runs.
    pub places: Vec<Place>,
    /// The machine, without its kind.
    pub machine: MachineArgs,
    /// The exit status; 0 or 1 are both right when none is given.
    pub status: Option<u8>,
    /// When to give up.
    pub limit: Duration,
    /// The commands in order.
    steps: Vec<Step>,
}

/// One command and its output.
#[derive(Debug)]
struct Step {
    /// Line number of the command, from 1.
    line: usize,
    command: String,
    expected: Vec<String>,
}

/// Options of a machine, as they stand in a header.
#[derive(Parser)]
struct HeaderArgs {
    #[command(flatten)]
    machine: MachineArgs,
}

impl Transcript {
    /// Reads a transcript.
    ///
    /// # Errors
    /// When a header or a line is none of those above.
    pub fn parse(text: &str) -> Result<Transcript> {
        let mut transcript = Transcript {
            places: Place::ALL.to_vec(),
            machine: MachineArgs::default(),
            status: None,
            limit: LIMIT,
            steps: Vec::new(),
        };
        let mut lines = (1..).zip(text.lines()).peekable();
        if let Some((_, header)) = lines.next_if(|(_, line)| line.starts_with(HEADER)) {
            transcript.read_header(header).context("line 1")?;
        }
        for (line, text) in lines {
            if let Some(command) = command(text) {
                transcript.steps.push(Step { line, command: command.to_owned(), expected: Vec::new() });
            } else if let Some(step) = transcript.steps.last_mut() {
                step.expected.push(text.to_owned());
            } else {
                let comment = text.trim().is_empty() || text.starts_with(COMMENT);
                ensure!(comment, "line {line}: output without a command; a command starts with '{PROMPT}'");
            }
        }
        for step in &mut transcript.steps {
            trim(&mut step.expected, |line| line.trim().is_empty() || line.starts_with(COMMENT));
        }
        ensure!(!transcript.steps.is_empty(), "there is no command; a command starts with '{PROMPT}'");
        Ok(transcript)
    }

    /// Reads `key=value` words.
    fn read_header(&mut self, header: &str) -> Result<()> {
        let words = shlex::split(&header[HEADER.len()..]).context("a quote is not closed")?;
        for word in words {
            let (key, value) = word.split_once('=').with_context(|| format!("'{word}' is not KEY=VALUE"))?;
            match key {
                "machine" => {
                    let place = |name| Place::from_str(name, false).map_err(anyhow::Error::msg);
                    self.places = value.split(',').map(place).collect::<Result<_>>().context("machine=")?;
                }
                "args" => {
                    let words = shlex::split(value).context("a quote in args= is not closed")?;
                    let words = ["args=".to_owned()].into_iter().chain(words);
                    self.machine = HeaderArgs::try_parse_from(words)?.machine;
                }
                "status" => self.status = Some(value.parse().context("status=")?),
                "timeout" => self.limit = Duration::from_secs(value.parse().context("timeout=")?),
                _ => bail!("'{key}' is not one of machine, args, status, timeout"),
            }
        }
        Ok(())
    }

    /// The commands, as a script.
    pub fn script(&self) -> String {
        self.steps.iter().map(|step| format!("{}\n", step.command)).collect()
    }

    /// Compares a console, from the first prompt on, with the session; the error is a report for people.
    pub fn compare(&self, console: &str, status: u8) -> Result<(), String> {
        let replies = replies(console);
        let mut report = String::new();
        for (index, step) in self.steps.iter().enumerate() {
            let reply = replies.get(index).filter(|reply| reply.command == step.command);
            let Some(reply) = reply else {
                let ran = replies.get(index).map_or("nothing", |reply| reply.command);
                report += &format!("line {}: '{}' did not run; after it ran: {ran}\n", step.line, step.command);
                break;
            };
            if let Some(diff) = diff::lines(&step.expected, &reply.output) {
                report += &format!("line {}: {PROMPT}{}\n{diff}", step.line, step.command);
            }
        }
        if !self.status.map_or(status <= 1, |expected| expected == status) {
            report += &format!("exit status {status}, expected {}\n", self.status.map_or(0, |expected| expected));
        }
        if report.is_empty() { Ok(()) } else { Err(report) }
    }

    /// The transcript's `text` with the output of `console` wherever it differs from what was expected.
    pub fn accept(&self, text: &str, console: &str) -> String {
        let lines: Vec<&str> = text.lines().collect();
        let mut accepted: Vec<&str> = Vec::new();
        let mut next = 0;
        for (step, reply) in self.steps.iter().zip(replies(console)) {
            if step.command == reply.command && diff::lines(&step.expected, &reply.output).is_some() {
                accepted.extend(&lines[next..step.line]);
                accepted.extend(&reply.output);
                next = step.line + step.expected.len();
            }
        }
        accepted.extend(&lines[next..]);
        accepted.join("\n") + "\n"
    }
}

/// One command and its output, as the console shows them.
struct Reply<'a> {
    command: &'a str,
    output: Vec<&'a str>,
}

/// Cuts a console at its prompts; one that waits for a command at the end is none.
fn replies(console: &str) -> Vec<Reply<'_>> {
    let mut replies: Vec<Reply<'_>> = Vec::new();
    for line in console.lines() {
        match (command(line), replies.last_mut()) {
            (Some(command), _) => replies.push(Reply { command, output: Vec::new() }),
            (None, Some(reply)) => reply.output.push(line),
            (None, None) => {}
        }
    }
    for reply in &mut replies {
        trim(&mut reply.output, |line| line.trim().is_empty());
    }
    replies.pop_if(|last| last.command.is_empty() && last.output.is_empty());
    replies
}

/// The command after a prompt.
fn command(line: &str) -> Option<&str> {
    match line.strip_prefix(PROMPT) {
        Some(command) => Some(command.trim_end()),
        None => (line == PROMPT.trim_end()).then_some(""),
    }
}

/// Removes the last lines that do not count.
fn trim<S: AsRef<str>>(lines: &mut Vec<S>, idle: impl Fn(&str) -> bool) {
    while lines.pop_if(|line| idle(line.as_ref())).is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "\
#! machine=virt,host args=\"--icount --append 'mem=256M loglevel=7'\" status=1
# two blocks

slowpath> alloc GFP_KERNEL
#1 order 0 pfn 0x[..] DMA32 Unmovable

# and a table
slowpath> cat /proc/zoneinfo
Node 0, zone    DMA32
...
slowpath> poweroff 1
";

    /// Compares `console` with [`SESSION`]; every line of `report` must be part of the report.
    #[track_caller]
    fn check(console: &str, status: u8, report: &[&str]) {
        let got = Transcript::parse(SESSION).unwrap().compare(console, status);
        match got {
            Ok(()) => assert!(report.is_empty(), "nothing differs"),
            Err(text) => {
                assert!(!report.is_empty() && report.iter().all(|line| text.contains(line)), "report:\n{text}");
            }
        }
    }

    const GOOD: &str = "slowpath> alloc GFP_KERNEL\n#1 order 0 pfn 0x48a50 DMA32 Unmovable\n\
                        slowpath> cat /proc/zoneinfo\nNode 0, zone    DMA32\n  pages free 1\nslowpath> poweroff 1\n";

    #[test]
    fn headers_comments_and_commands_are_read() {
        let session = Transcript::parse(SESSION).unwrap();
        assert_eq!(session.places, [Place::Virt, Place::Host]);
        assert_eq!((session.machine.append.as_str(), session.machine.icount), ("mem=256M loglevel=7", true));
        assert_eq!(session.script(), "alloc GFP_KERNEL\ncat /proc/zoneinfo\npoweroff 1\n");
        assert_eq!(session.steps[0].expected, ["#1 order 0 pfn 0x[..] DMA32 Unmovable"]);
    }

    #[test]
    fn what_is_no_transcript_is_refused() {
        for (text, reason) in [
            ("", "no command"),
            ("output\nslowpath> x\n", "output without a command"),
            ("#! machine=pdp11\nslowpath> x\n", "pdp11"),
            ("#! colour=red\nslowpath> x\n", "colour"),
            ("#! args=\"--memory\nslowpath> x\n", "quote"),
            ("#! args=--memory=lots\nslowpath> x\n", "not a size"),
        ] {
            let error = format!("{:#}", Transcript::parse(text).unwrap_err());
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn an_equal_console_passes() {
        check(GOOD, 1, &[]);
        check(&format!("{GOOD}slowpath> "), 1, &[]);
    }

    #[test]
    fn differences_are_shown_where_they_are() {
        let wrong_zone = GOOD.replacen("DMA32", "Normal", 1);
        check(&wrong_zone, 1, &["line 4: slowpath> alloc", "- #1 order", "+ #1 order 0 pfn 0x48a50 Normal"]);
        check(GOOD, 0, &["exit status 0, expected 1"]);
        check("", 1, &["'alloc GFP_KERNEL' did not run"]);
        let ended = GOOD.split_once("slowpath> cat").unwrap().0;
        check(ended, 1, &["line 8: 'cat /proc/zoneinfo' did not run; after it ran: nothing"]);
        check(&GOOD.replace("poweroff 1\n", "poweroff 1\nbye\n"), 1, &["line 11", "+ bye"]);
    }

    #[test]
    fn acceptance_changes_only_what_differs() {
        let session = Transcript::parse(SESSION).unwrap();
        assert_eq!(session.accept(SESSION, GOOD), SESSION);
        let changed = GOOD.replace("Node 0,", "Node 1,");
        let expected = SESSION.replace("Node 0, zone    DMA32\n...\n", "Node 1, zone    DMA32\n  pages free 1\n");
        assert_eq!(session.accept(SESSION, &changed), expected);
    }
}
