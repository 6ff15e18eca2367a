//! `parallel`: people work on all CPUs at the same time, on machines of every kind; afterwards nothing is lost.
//!
//! Each run is the shell's `stress --cpus` on a machine of its own: a thread on every CPU takes and gives with masks and
//! orders mixed, beside kswapd, kcompactd, the flusher and the OOM reaper. `stress` says `clean` when the audit, the
//! ledger and all pages agree, and the watchdog has said nothing. [`play`] is the short form of the suite.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;

use crate::build::{self, BuildArgs, Built};
use crate::guest::{self, Script};
use crate::qemu::{self, Gic, Machine, MachineArgs};
use crate::size::Size;
use crate::tally::{self, Tally};

/// What a run may take beside the seconds of work.
const SLACK: Duration = Duration::from_secs(120);
/// Numbers of CPUs of virt.
const CPUS: [u32; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
/// CPUs of the Raspberry Pi 4.
const PI_CPUS: u32 = 4;

/// How long, and how often.
#[derive(Args, Clone, Debug)]
pub struct ParallelArgs {
    /// Seconds of work on each machine
    #[arg(long, default_value_t = 60)]
    pub seconds: u32,
    /// Runs on each machine, with a seed of its own each
    #[arg(long, default_value_t = 1)]
    pub runs: u64,
    /// Where the seeds start
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// RAM of virt
    #[arg(long, default_value = "256M")]
    pub memory: Size,
}

impl ParallelArgs {
    /// As much as the suite takes.
    pub const SHORT: ParallelArgs = ParallelArgs { seconds: 3, runs: 1, seed: 1, memory: Size(256 << 20) };
}

/// One run.
struct Run {
    name: String,
    machine: MachineArgs,
    seed: u64,
}

/// Runs them all and prints a line for each, with what was done; then the sum.
pub fn run(args: &ParallelArgs) -> Result<u8> {
    Ok(play(&build::build(BuildArgs::default())?, args)?.finish())
}

/// Runs them all, one after the other: each wants all processors of the host.
pub fn play(built: &Built, args: &ParallelArgs) -> Result<Tally> {
    let mut tally = Tally::default();
    for run in runs(args) {
        let start = Instant::now();
        let (said, result) = match work(built, args, &run) {
            Ok(said) => (said, Ok(())),
            Err(error) => (String::from("failed"), Err(error)),
        };
        let seconds = start.elapsed().as_secs_f64();
        tally.record(&format!("parallel: {:<24} seed {:<6} {said} ({seconds:.1} s)", run.name, run.seed), result);
    }
    Ok(tally)
}

/// All machines with all seeds.
fn runs(args: &ParallelArgs) -> Vec<Run> {
    let mut machines: Vec<(String, MachineArgs)> = Vec::new();
    for (gic, name) in [(Gic::V2, "GICv2"), (Gic::V3, "GICv3")] {
        machines.extend(CPUS.map(|cpus| {
            let memory = Some(args.memory);
            let machine = MachineArgs { smp: Some(cpus), gic: Some(gic), memory, ..MachineArgs::default() };
            (format!("virt {name} --smp {cpus}"), machine)
        }));
    }
    if qemu::has(Machine::Raspi4b) {
        let tree = Some("own".to_owned());
        let machine = MachineArgs { machine: Machine::Raspi4b, tree, ..MachineArgs::default() };
        machines.push((format!("raspi4b, {PI_CPUS} CPUs"), machine));
    } else {
        tally::skip("parallel work on raspi4b", qemu::NO_RASPI4B);
    }
    let seeds = args.seed..args.seed + args.runs;
    let with_seed = |seed| machines.iter().map(move |(name, machine)| (name.clone(), machine.clone(), seed));
    seeds.flat_map(with_seed).map(|(name, machine, seed)| Run { name, machine, seed }).collect()
}

/// One run; what `stress` said.
fn work(built: &Built, args: &ParallelArgs, run: &Run) -> Result<String> {
    let text = format!("stress {}s --cpus --seed {}\naudit\n", args.seconds, run.seed);
    let limit = Some(Duration::from_secs(args.seconds.into()) + SLACK);
    let mut console = Vec::new();
    let finished =
        guest::run(&Script { machine: &run.machine, image: &built.image, text: &text, limit }, &mut console)?;
    let console = String::from_utf8_lossy(&console).into_owned();
    ensure!(finished.status == 0, "status {}:\n{}{}", finished.status, finished.boot, last_lines(&console));
    let said = console.lines().find(|line| line.contains(" operations") && line.contains(" with seed "));
    ensure!(said.is_some_and(|line| line.ends_with(": clean")), "not clean:\n{}", last_lines(&console));
    ensure!(console.contains("\naudit passed: "), "no audit:\n{}", last_lines(&console));
    let stuck = console.lines().find(|line| line.contains("lockup") || line.contains("Bad page state"));
    ensure!(stuck.is_none(), "{}", last_lines(&console));
    Ok(said.and_then(|line| line.split(" with seed ").next()).unwrap_or_default().to_owned())
}

/// The end of a console, which may be long.
fn last_lines(console: &str) -> String {
    let lines: Vec<&str> = console.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_has_every_seed() {
        let args = ParallelArgs { runs: 3, seed: 7, ..ParallelArgs::SHORT };
        let runs = runs(&args);
        let machines = runs.iter().filter(|run| run.seed == 9).count();
        assert!(machines >= 2 * CPUS.len() && runs.len() == 3 * machines, "{machines} of {}", runs.len());
        assert!(runs.iter().any(|run| run.name == "virt GICv3 --smp 8"));
    }

    #[test]
    fn the_end_of_a_long_console_is_shown() {
        let console = (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join("\n");
        assert!(last_lines(&console).starts_with("40\n") && last_lines(&console).ends_with("\n99"));
        assert_eq!(last_lines("one"), "one");
    }
}
