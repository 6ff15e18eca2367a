//! `seeds`: `shell/docs/seeds.md`, the table of what the study notes say, line by line at the prompt.
//!
//! A row's commands are typed on a fresh machine, one after the other; each must be understood, and be done or refused as
//! Linux would. A name of the last column is a transcript, a lab, or a function of a Rust file: a test of this file holds
//! that it is there.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::corpus::{self, PlaceArgs};
use crate::qemu::MachineArgs;
use crate::tally::{self, Tally};
use crate::transcript::Place;
use crate::workspace;

/// The machine of each row: 64 MiB, as in the scenarios.
const MEMORY: &str = "mem=64M";
/// What is typed after a command, and what comes before its status.
const ASK: (&str, &str) = ("echo its status was $?", "its status was ");
/// When to give up.
const LIMIT: Duration = Duration::from_secs(60);

/// Plays the table where the options say and prints the result.
pub fn run(args: &PlaceArgs) -> Result<u8> {
    Ok(play(args.places())?.finish())
}

/// Plays every row in each place.
pub fn play(places: &[Place]) -> Result<Tally> {
    let (places, image) = corpus::open(places, "study notes")?;
    let mut plays: Vec<(Place, Row)> = Vec::new();
    for place in places {
        plays.extend(rows()?.into_iter().map(|row| (place, row)));
    }
    Ok(tally::parallel(
        &plays,
        |(place, row)| format!("study notes: {} on {}", row.says, place.name()),
        |(place, row)| row.play(*place, image.as_deref()),
    ))
}

/// A row of the table.
struct Row {
    says: String,
    boot: String,
    commands: Vec<String>,
    /// Tests, transcripts and labs that hold it.
    names: Vec<String>,
}

/// Every row of every table of the file.
fn rows() -> Result<Vec<Row>> {
    let text = fs::read_to_string(workspace::root().join("shell/docs/seeds.md"))?;
    text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| says ")).map(row).collect()
}

fn row(line: &str) -> Result<Row> {
    let line = line.replace("\\|", "\u{1}");
    let cells: Vec<String> = line.split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect();
    let [_, says, _, lines, names, _] = &cells[..] else { anyhow::bail!("not four cells: {line}") };
    let mut spans = lines.split('`').skip(1).step_by(2).map(str::to_owned);
    let boot = if lines.starts_with("boot ") { spans.next().unwrap_or_default() } else { String::new() };
    let commands: Vec<String> =
        spans.flat_map(|span| span.split("; ").map(str::to_owned).collect::<Vec<_>>()).collect();
    ensure!(!commands.is_empty(), "nothing to type: {line}");
    Ok(Row { says: says.clone(), boot, commands, names: names.split(", ").map(str::to_owned).collect() })
}

impl Row {
    /// Types the row's commands and looks how each ended.
    fn play(&self, place: Place, image: Option<&Path>) -> Result<()> {
        let machine = MachineArgs { append: format!("{MEMORY} {}", self.boot), ..MachineArgs::default() };
        let lines = self.commands.iter().map(|command| format!("{command}\n{}\n", ASK.0));
        let script = lines.collect::<String>() + "poweroff 0\n";
        let (console, status) = corpus::session(place, image, &machine, &script, LIMIT)?;
        ensure!(status == 0, "status {status}:\n{console}");
        let statuses: Vec<&str> = console.lines().filter_map(|line| line.strip_prefix(ASK.1)).collect();
        let fine = statuses.iter().filter(|status| ["0", "1"].contains(status)).count();
        let names = self.names.join(", ");
        ensure!(fine == self.commands.len(), "not every command was done or refused; see {names}:\n{console}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_line_of_the_table_is_understood() {
        for row in rows().unwrap() {
            row.play(Place::Host, None).unwrap_or_else(|error| panic!("{}: {error}", row.says));
        }
    }

    #[test]
    fn a_line_that_is_not_understood_is_found_out() {
        let row = row("| a | b | `alloc GFP_KERNEL; aloc GFP_KERNEL` | c |").unwrap();
        assert!(row.play(Place::Host, None).unwrap_err().to_string().contains("no command `aloc`"));
    }

    #[test]
    fn every_test_of_the_table_is_there() {
        let there = names_that_are_there();
        for name in rows().unwrap().iter().flat_map(|row| &row.names) {
            assert!(there.contains(name), "there is no {name}");
        }
    }

    /// Files of transcripts and labs, and functions of the kernel's and the shell's sources.
    fn names_that_are_there() -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for dir in ["tools/transcripts", "shell/labs", "kernel/src", "kernel/tests", "shell/src"] {
            collect(&workspace::root().join(dir), &mut names);
        }
        names
    }

    fn collect(dir: &Path, names: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).expect("a directory of the repository").flatten() {
            let path = entry.path();
            if path.is_dir() {
                collect(&path, names);
            } else if path.extension().is_some_and(|extension| extension == "txt") {
                names.insert(entry.file_name().to_string_lossy().into_owned());
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source");
                let functions = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
                names.extend(functions.map(str::to_owned));
            }
        }
    }
}
