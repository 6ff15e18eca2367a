//! `readers`: the programs that people use on Linux's tables read ours, and find in them what stands there.
//!
//! A guest with two nodes shows its tables. slabtop and vmstat read /proc/slabinfo and no other file, so ours is bound
//! over it in a mount namespace that only they see; jc reads its standard input. What a program prints is compared with
//! the table itself, number by number. A program that is not installed, and a machine that gives no namespace, are named
//! and skipped; `make test` installs the programs where it can.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::build::{self, BuildArgs, Built};
use crate::console::PROMPT;
use crate::guest::{self, Script};
use crate::process;
use crate::qemu::MachineArgs;
use crate::size::Size;
use crate::tally::{self, Tally};

/// RAM of the guest's nodes; they differ so that tables cannot be mixed up unseen.
const NODES: [Size; 2] = [Size(256 << 20), Size(512 << 20)];
/// Zones of which the first is DMA: jc takes that name for the start of a node, and loses nodes without.
const ZONES: &str = "zones=arm64-5.5";
/// What is done before the tables are shown, and what shows them.
const LINES: &str = "\
alloc GFP_KERNEL -n 77
alloc GFP_USER -o 3
kmalloc 200 -n 40
cat /proc/slabinfo
cat /proc/buddyinfo
cat /proc/zoneinfo
";
/// How long the guest may take.
const LIMIT: Duration = Duration::from_secs(60);
/// The file that slabtop and vmstat read.
const SLABINFO: &str = "/proc/slabinfo";
/// Ways into a mount namespace of one's own: as anyone where that is allowed, and as root.
const NAMESPACES: [&str; 2] = ["-rm", "-m"];

/// Reads the tables and prints the result.
pub fn run() -> Result<u8> {
    let built = build::build(BuildArgs::default())?;
    let mut tally = Tally::default();
    play(&mut tally, &built);
    Ok(tally.finish())
}

/// Lets every program read.
pub fn play(tally: &mut Tally, built: &Built) {
    match tables(built) {
        Ok(tables) => read_all(tally, &tables),
        Err(error) => tally.record("tables for other programs", Err(error)),
    }
}

/// The guest's tables, as text.
struct Tables {
    slabinfo: String,
    buddyinfo: String,
    zoneinfo: String,
}

/// Runs the guest.
fn tables(built: &Built) -> Result<Tables> {
    let machine = MachineArgs { numa: NODES.to_vec(), append: ZONES.to_owned(), ..MachineArgs::default() };
    let mut console = Vec::new();
    let script = Script { machine: &machine, image: &built.image, text: LINES, limit: Some(LIMIT) };
    let finished = guest::run(&script, &mut console)?;
    let console = String::from_utf8_lossy(&console).replace('\r', "");
    ensure!(finished.status == 0, "status {}:\n{}{console}", finished.status, finished.boot);
    let table = |name: &str| reply(&console, &format!("cat /proc/{name}"));
    Ok(Tables { slabinfo: table("slabinfo")?, buddyinfo: table("buddyinfo")?, zoneinfo: table("zoneinfo")? })
}

/// What the console has between a command and the next prompt.
fn reply(console: &str, command: &str) -> Result<String> {
    let typed = format!("{PROMPT}{command}\n");
    let (_, rest) = console.split_once(&typed).with_context(|| format!("'{command}' was not run:\n{console}"))?;
    Ok(rest.split(PROMPT).next().unwrap_or(rest).to_owned())
}

/// A program, and what it must find.
type Check<'a> = (&'a str, &'a str, &'a dyn Fn() -> Result<()>);

fn read_all(tally: &mut Tally, tables: &Tables) {
    let checks: [Check<'_>; 4] = [
        ("slabtop", "slabtop -o reads slabinfo", &|| slabtop(&tables.slabinfo)),
        ("vmstat", "vmstat -m reads slabinfo", &|| vmstat(&tables.slabinfo)),
        ("jc", "jc reads buddyinfo of two nodes", &|| buddyinfo(&tables.buddyinfo)),
        ("jc", "jc reads zoneinfo of two nodes", &|| zoneinfo(&tables.zoneinfo)),
    ];
    let namespace = namespace();
    for (program, name, check) in checks {
        if Command::new(program).arg("--version").output().is_err() {
            tally::skip(name, &format!("there is no {program}; `cargo xtask setup --tables` installs it"));
        } else if program != "jc" && namespace.is_none() {
            tally::skip(name, "this machine lets us make no mount namespace");
        } else {
            tally.run(name, check);
        }
    }
}

/// The first way into a mount namespace in which something can be bound over /proc/slabinfo.
fn namespace() -> Option<&'static str> {
    let empty = tempfile::NamedTempFile::new().ok()?;
    NAMESPACES.into_iter().find(|way| process::capture(&mut bound(way, empty.path(), "true")).is_ok())
}

/// A shell command for which `file` is /proc/slabinfo.
fn bound(way: &str, file: &Path, command: &str) -> Command {
    let mut unshare = Command::new("unshare");
    unshare.args([way, "sh", "-c"]).arg(format!("mount --bind \"$0\" {SLABINFO} && {command}")).arg(file);
    unshare.env("LC_ALL", "C");
    unshare
}

/// What a command prints for which `text` is /proc/slabinfo.
fn with_slabinfo(text: &str, command: &str) -> Result<String> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), text)?;
    let way = namespace().context("no mount namespace any more")?;
    process::capture(&mut bound(way, file.path(), command))
}

/// A line of /proc/slabinfo, as text.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Copy, Debug)]
struct Cache<'a> {
    name: &'a str,
    active: &'a str,
    objects: &'a str,
}

/// The fields of a row of words, by their places.
fn cache<'a>(words: &[&'a str], [name, active, objects]: [usize; 3]) -> Option<Cache<'a>> {
    Some(Cache { name: words.get(name)?, active: words.get(active)?, objects: words.get(objects)? })
}

/// The rows after the first `head` lines.
fn caches(text: &str, head: usize, places: [usize; 3]) -> Vec<Cache<'_>> {
    let rows = text.lines().skip(head).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut caches: Vec<_> = rows.filter_map(|words| cache(&words, places)).collect();
    caches.sort();
    caches
}

/// The caches that the table itself has.
fn expected(slabinfo: &str) -> Result<Vec<Cache<'_>>> {
    let caches = caches(slabinfo, 2, [0, 1, 2]);
    ensure!(caches.len() >= 14, "slabinfo lacks the caches of kmalloc:\n{slabinfo}");
    Ok(caches)
}

fn vmstat(slabinfo: &str) -> Result<()> {
    let text = with_slabinfo(slabinfo, "vmstat -m")?;
    same(&caches(&text, 1, [0, 1, 2]), &expected(slabinfo)?)
}

/// slabtop leaves out what does not fit its screen, so each row that it prints must be one of ours.
fn slabtop(slabinfo: &str) -> Result<()> {
    let text = with_slabinfo(slabinfo, "slabtop -o")?;
    let expected = expected(slabinfo)?;
    let shown = caches(&text, 7, [7, 1, 0]);
    ensure!(shown.len() >= expected.len().min(10), "slabtop shows {} caches:\n{text}", shown.len());
    let foreign = shown.iter().find(|cache| !expected.contains(cache));
    ensure!(foreign.is_none(), "slabtop shows {foreign:?}, which is not in\n{slabinfo}");
    Ok(())
}

fn same(shown: &[Cache<'_>], expected: &[Cache<'_>]) -> Result<()> {
    ensure!(shown == expected, "it shows\n{shown:#?}\nand the table has\n{expected:#?}");
    Ok(())
}

/// What jc makes of a table.
fn jc(parser: &str, text: &str) -> Result<String> {
    let mut child =
        Command::new("jc").arg(parser).env("LC_ALL", "C").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("no pipe to jc")?.write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "jc {parser} cannot read\n{text}");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn buddyinfo(table: &str) -> Result<()> {
    let found = jc("--proc-buddyinfo", table)?;
    let expected = buddyinfo_as_json(table)?;
    ensure!(found == expected, "jc finds\n{found}\nand the table has\n{expected}");
    Ok(())
}

/// `Node 0, zone    DMA32      1 ...` of each line as jc writes it.
fn buddyinfo_as_json(table: &str) -> Result<String> {
    let mut rows = Vec::new();
    for line in table.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["Node", node, "zone", zone, chunks @ ..] = &words[..] else { anyhow::bail!("no row of a zone: {line}") };
        let node = node.trim_end_matches(',');
        rows.push(format!(r#"{{"node":{node},"zone":"{zone}","free_chunks":[{}]}}"#, chunks.join(",")));
    }
    for node in ["Node 0,", "Node 1,"] {
        ensure!(table.lines().any(|line| line.starts_with(node)), "no {node} in\n{table}");
    }
    Ok(format!("[{}]", rows.join(",")))
}

fn zoneinfo(table: &str) -> Result<()> {
    let found = jc("--proc-zoneinfo", table)?;
    for zone in zones(table) {
        let part = found.split(r#"{"node":"#).find(|part| part.starts_with(&format!("{},", zone.node)));
        let part = part.with_context(|| format!("jc finds no node {}:\n{found}", zone.node))?;
        ensure!(part.contains(&zone.json()), "jc does not find {} in node {}:\n{part}", zone.json(), zone.node);
    }
    Ok(())
}

/// The head of a zone in /proc/zoneinfo.
struct Zone<'a> {
    node: &'a str,
    name: &'a str,
    /// Name and number of `free`, `min` ... `managed`.
    pages: Vec<(&'a str, &'a str)>,
}

impl Zone<'_> {
    fn json(&self) -> String {
        let pages: Vec<String> = self.pages.iter().map(|(name, number)| format!("\"{name}\":{number}")).collect();
        format!(r#""{}":{{"pages":{{{}"#, self.name, pages.join(","))
    }
}

/// Every zone of the table.
fn zones(table: &str) -> Vec<Zone<'_>> {
    let mut zones: Vec<Zone<'_>> = Vec::new();
    for line in table.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (&words[..], zones.last_mut()) {
            (["Node", node, "zone", name], _) => {
                zones.push(Zone { node: node.trim_end_matches(','), name, pages: Vec::new() });
            }
            (["pages", name, number], Some(zone)) => zone.pages.push((name, number)),
            ([name @ ("min" | "low" | "high" | "spanned" | "present" | "managed"), number], Some(zone))
                if zone.pages.len() < 7 =>
            {
                zone.pages.push((name, number));
            }
            _ => {}
        }
    }
    zones
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_end_at_the_next_prompt() {
        let console = "slowpath> cat /proc/a\n1\n2\nslowpath> cat /proc/b\n3\n";
        assert_eq!(reply(console, "cat /proc/a").unwrap(), "1\n2\n");
        assert_eq!(reply(console, "cat /proc/b").unwrap(), "3\n");
        assert!(reply(console, "cat /proc/c").is_err());
    }

    #[test]
    fn rows_are_compared_by_number() {
        let ours = "head\nhead\nkmalloc-256 5 32 256 32 2 : tunables\nkmalloc-128 1 32 128 32 1 : tunables\n";
        let theirs = "Cache Num Total Size Pages\nkmalloc-128 1 32 128 32\nkmalloc-256 5 32 256 32\n";
        same(&caches(theirs, 1, [0, 1, 2]), &caches(ours, 2, [0, 1, 2])).unwrap();
        let wrong = theirs.replace(" 5 ", " 6 ");
        assert!(same(&caches(&wrong, 1, [0, 1, 2]), &caches(ours, 2, [0, 1, 2])).is_err());
        assert!(expected(ours).is_err(), "a table without kmalloc's caches");
    }

    #[test]
    fn tables_become_what_jc_writes() {
        let table = "Node 0, zone    DMA32      1      0\nNode 1, zone   Normal      2      3\n";
        assert_eq!(
            buddyinfo_as_json(table).unwrap(),
            r#"[{"node":0,"zone":"DMA32","free_chunks":[1,0]},{"node":1,"zone":"Normal","free_chunks":[2,3]}]"#
        );
        assert!(buddyinfo_as_json("Node 0, zone DMA32 1 0\n").is_err(), "one node only");
        assert!(buddyinfo_as_json("zone DMA32 1 0\n").is_err());
        let table =
            "Node 1, zone    DMA32\n  pages free     7\n        min      1\n        low      2\n      nr_free 7\n";
        assert_eq!(zones(table)[0].json(), r#""DMA32":{"pages":{"free":7,"min":1,"low":2"#);
    }
}
