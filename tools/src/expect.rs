//! Runs the expect scripts of `tools/expect`, which use the console as a person does.
//!
//! Each script gets QEMU's command line as its arguments and ends with status 0. All of them run on virt; `boot.exp`
//! runs on every machine that there is in its kinds, `forever.exp` on each board.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::build::{self, BuildArgs, Built};
use crate::qemu::{self, Console, Machine, MachineArgs};
use crate::run::{self, RunArgs};
use crate::tally::{self, Tally};
use crate::{process, tree, workspace};

/// What the other scripts share; it is none itself.
const LIBRARY: &str = "lib";
/// The script that runs on every machine.
const EVERYWHERE: &str = "boot";
/// The script that runs on each board, whose interrupts have other controllers and other latencies.
const ON_BOARDS: &str = "forever";

/// Options of `expect`.
#[derive(Args, Clone, Debug, Default)]
pub struct ExpectArgs {
    /// Only scripts whose name contains one of these
    pub names: Vec<String>,
}

/// One script on one machine.
struct Play {
    name: String,
    script: PathBuf,
    machine: MachineArgs,
}

/// Runs scripts and prints the result.
pub fn run(args: &ExpectArgs) -> Result<u8> {
    Ok(replay(&build::build(BuildArgs::default())?, &args.names)?.finish())
}

/// Runs the scripts whose names contain one of `names`, all if there is none.
pub fn replay(built: &Built, names: &[String]) -> Result<Tally> {
    let plays = plays(names)?;
    Ok(tally::parallel(&plays, |play| play.name.clone(), |play| perform(play, built)))
}

/// The scripts and their machines.
fn plays(names: &[String]) -> Result<Vec<Play>> {
    let dir = workspace::root().join("tools/expect");
    let mut plays = Vec::new();
    for file in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let script = file?.path();
        let name = script.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let chosen = names.is_empty() || names.iter().any(|part| name.contains(part));
        if chosen && name != LIBRARY && script.extension().is_some_and(|extension| extension == "exp") {
            let machines = match name.as_str() {
                EVERYWHERE => machines(),
                ON_BOARDS => boards(),
                _ => vec![("virt", MachineArgs::default())],
            };
            plays.extend(machines.into_iter().map(|(machine, args)| Play {
                name: format!("expect {name} on {machine}"),
                script: script.clone(),
                machine: args,
            }));
        }
    }
    plays.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(plays)
}

/// Every machine that can be had here, in its kinds.
fn machines() -> Vec<(&'static str, MachineArgs)> {
    let virt = MachineArgs::default();
    let mut machines = vec![
        ("virt", virt.clone()),
        ("virt at EL2", MachineArgs { el2: true, ..virt.clone() }),
        ("virt with GICv3", MachineArgs { gic: Some(qemu::Gic::V3), ..virt.clone() }),
        ("virt with a secure world", MachineArgs { secure: true, ..virt.clone() }),
    ];
    let raspi4b = |tree: &str| MachineArgs { machine: Machine::Raspi4b, tree: Some(tree.to_owned()), ..virt.clone() };
    match (qemu::has(Machine::Raspi4b), tree::distribution()) {
        (false, _) => tally::skip("expect boot on raspi4b", qemu::NO_RASPI4B),
        (true, None) => machines.push(("raspi4b", raspi4b("own"))),
        (true, Some(_)) => {
            machines.extend([("raspi4b", raspi4b("own")), ("raspi4b as distributed", raspi4b("distribution"))]);
        }
    }
    machines
}

/// A small machine of each kind, with a zone above those that the kernel itself may use.
fn boards() -> Vec<(&'static str, MachineArgs)> {
    let plain = machines().into_iter().filter(|(name, _)| ["virt", "raspi4b"].contains(name));
    plain
        .map(|(name, machine)| (name, MachineArgs { append: "mem=64M movablecore=16M".to_owned(), ..machine }))
        .collect()
}

/// Runs one script.
fn perform(play: &Play, built: &Built) -> Result<()> {
    let run = RunArgs { machine: play.machine.clone(), script: None, timeout: None, build: BuildArgs::default() };
    let qemu = run::command(&run, built, Console::Pipe)?;
    let mut expect = Command::new("expect");
    expect.arg(&play.script).arg(qemu.get_program()).args(qemu.get_args());
    process::capture(&mut expect).map(drop)
}
