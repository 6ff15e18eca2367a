//! `test`: all the proofs, one after the other, and their sum.
//!
//! Unit tests on the host, its threads in many schedules, transcripts on the host and in QEMU, expect scripts, hard
//! starts, other programs that read the tables, the costs of booting and of the allocator's paths (`bench` ends with
//! status 3 above a limit), and the equality of two runs that count instructions.

use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::build::{self, BuildArgs, Built};
use crate::corpus::{self, CorpusArgs};
use crate::guest::{self, Script};
use crate::parallel::{self, ParallelArgs};
use crate::qemu::MachineArgs;
use crate::schedules::{self, Exploration};
use crate::size::Size;
use crate::tally::Tally;
use crate::transcript::Place;
use crate::{diff, expect, floors, hard, process, readers, seeds, workspace};

/// Cargo's call for all of these.
const UNIT_TESTS: [&str; 5] = ["test", "--workspace", "--exclude", "boot", "--no-fail-fast"];
/// The first prompt comes after at most so many instructions, whatever the size of RAM.
const MAX_BOOT_COST: u64 = 3_000_000;
/// Sizes of RAM at which that is measured.
const BOOT_SIZES: [Size; 3] = [Size(256 << 20), Size::gib(1), Size::gib(64)];
/// What the image logs: the cost stands between these.
const BOOT_COST: (&str, &str) = ("first prompt after ", " instructions");
/// A script that shows all that could differ between two runs: the allocator's work and the time of each message.
const SAME_TWICE: &str = "\
alloc GFP_KERNEL -n 1000
alloc GFP_ATOMIC -o 4
cat /proc/buddyinfo
free all
cat /proc/pagetypeinfo
cat /proc/vmstat
dmesg
";
/// How long one guest may take here.
const LIMIT: Duration = Duration::from_secs(60);

/// Options of `test`.
#[derive(Args, Clone, Debug)]
pub struct SuiteArgs {
    /// Only the tests of the host
    #[arg(long)]
    pub host: bool,
}

/// Runs everything and prints the sum.
pub fn run(args: &SuiteArgs) -> Result<u8> {
    let mut tally = host_tests("unit tests", workspace::cargo().args(UNIT_TESTS))?;
    tally.add(host_tests("tests of schedules", &mut schedules::cargo(&Exploration::SHORT))?);
    tally.add(host_tests("tests of memory orders", &mut schedules::loom())?);
    if !args.host {
        match build::build(BuildArgs::default()) {
            Ok(built) => guests(&mut tally, &built)?,
            Err(error) => tally.record("image", Err(error)),
        }
    }
    Ok(tally.finish())
}

/// Everything that needs the image.
fn guests(tally: &mut Tally, built: &Built) -> Result<()> {
    tally.add(corpus::replay(&CorpusArgs::default())?);
    tally.add(floors::play(&[Place::Virt, Place::Raspi4b])?);
    tally.add(seeds::play(&[Place::Virt, Place::Raspi4b])?);
    tally.add(expect::replay(built, &[])?);
    tally.add(hard::play(built, &[]));
    tally.add(parallel::play(built, &ParallelArgs::SHORT)?);
    readers::play(tally, built);
    for size in BOOT_SIZES {
        tally.run(&format!("first prompt with {size}"), || boot_cost(built, size));
    }
    tally.run("costs are within their limits", || counted(built, BOOT_SIZES[1], "bench\nbench slow").map(drop));
    tally.run("costs are the same with 4 CPUs", || costs_with(built, 4));
    tally.run("two counted runs are equal", || deterministic(built));
    Ok(())
}

/// Cargo's tests, counted one by one.
fn host_tests(what: &str, cargo: &mut Command) -> Result<Tally> {
    let Output { status, stdout, stderr } = process::output(cargo)?;
    let text = String::from_utf8_lossy(&stdout);
    let mut tally = count(&text);
    if status.success() {
        println!("ok      {} {what}", tally.passed);
    } else {
        tally.failed = tally.failed.max(1);
        println!("FAILED  {what}\n{}{text}", String::from_utf8_lossy(&stderr));
    }
    Ok(tally)
}

/// Sums the results that cargo's test programs print.
fn count(text: &str) -> Tally {
    let mut tally = Tally::default();
    for line in text.lines().filter(|line| line.starts_with("test result:")) {
        let number = |what: &str| {
            let before = line.split(what).next().filter(|before| before.len() < line.len());
            before.and_then(|before| before.trim_end().rsplit(' ').next()?.parse::<u32>().ok()).unwrap_or(0)
        };
        tally.add(Tally { passed: number("passed"), failed: number("failed") });
    }
    tally
}

/// Runs a script on virt with counted instructions and returns the console.
fn counted(built: &Built, memory: Size, text: &str) -> Result<String> {
    counted_on(built, &MachineArgs { memory: Some(memory), icount: true, ..MachineArgs::default() }, text)
}

/// Runs a script on `machine` and returns the console.
fn counted_on(built: &Built, machine: &MachineArgs, text: &str) -> Result<String> {
    let mut console = Vec::new();
    let script = Script { machine, image: &built.image, text, limit: Some(LIMIT) };
    let finished = guest::run(&script, &mut console)?;
    let console = String::from_utf8_lossy(&console).into_owned();
    ensure!(finished.prompted, "status {}, and no prompt:\n{}", finished.status, finished.boot);
    ensure!(finished.status == 0, "status {}:\n{console}", finished.status);
    Ok(console)
}

/// The allocator's paths cost as much with `cpus` CPUs as with one: nothing on them is shared.
fn costs_with(built: &Built, cpus: u32) -> Result<()> {
    let one = counted(built, BOOT_SIZES[1], "bench")?;
    let machine = MachineArgs { memory: Some(BOOT_SIZES[1]), smp: Some(cpus), icount: true, ..MachineArgs::default() };
    let many = counted_on(built, &machine, "bench")?;
    ensure!(one == many, "with one CPU:\n{one}with {cpus}:\n{many}");
    Ok(())
}

/// The cost of booting, as the image logs it.
fn boot_cost(built: &Built, memory: Size) -> Result<()> {
    let console = counted(built, memory, "dmesg")?;
    let cost = cost_in(&console).with_context(|| format!("dmesg has no '{}'", BOOT_COST.0))?;
    ensure!(cost <= MAX_BOOT_COST, "{cost} instructions, at most {MAX_BOOT_COST} are allowed");
    Ok(())
}

/// The number between the two texts of [`BOOT_COST`].
fn cost_in(console: &str) -> Option<u64> {
    let (_, rest) = console.split_once(BOOT_COST.0)?;
    rest.split_once(BOOT_COST.1)?.0.parse().ok()
}

/// One script, twice.
fn deterministic(built: &Built) -> Result<()> {
    let [first, second] = [0; 2].map(|_| counted(built, BOOT_SIZES[0], SAME_TWICE));
    let (first, second) = (first?, second?);
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    match diff::lines(&lines(&first), &lines(&second)) {
        None if first == second => Ok(()),
        changes => anyhow::bail!("the second run differs:\n{}", changes.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_cargo_are_added_up() {
        let text = "\
running 2 tests
test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
";
        assert_eq!(count(text), Tally { passed: 15, failed: 2 });
        assert_eq!(count("error: could not compile"), Tally::default());
    }

    #[test]
    fn the_cost_is_read_from_the_log() {
        assert_eq!(cost_in("[    0.000812] first prompt after 812345 instructions\n"), Some(812_345));
        assert_eq!(cost_in("first prompt after some instructions"), None);
        assert_eq!(cost_in(""), None);
    }
}
