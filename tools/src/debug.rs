//! `debug`: the machine stopped before its first instruction, with gdb attached.
//!
//! gdb owns the terminal and starts QEMU as its remote, so both end together; the console is a telnet port of this
//! machine. The image is position-independent: its symbols move to where the machine loads it.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::build::{self, BuildArgs};
use crate::qemu::{self, Console, Launch, Machine, MachineArgs};
use crate::{needs, process, tree, workspace};

/// Options of `debug`.
#[derive(Args, Clone, Debug)]
pub struct DebugArgs {
    /// What to run on.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Port of the console
    #[arg(long, value_name = "PORT", default_value_t = 4444)]
    pub console: u16,
}

/// Where QEMU loads the image.
const fn load_address(machine: Machine) -> u64 {
    match machine {
        Machine::Virt => 0x4008_0000,
        Machine::Raspi4b => 0x8_0000,
    }
}

/// Becomes gdb; returns only if that fails.
pub fn run(args: &DebugArgs) -> Result<u8> {
    let gdb = needs::gdb().context("there is no gdb for aarch64; `cargo xtask setup --debug` installs one")?;
    let built = build::build(BuildArgs { debug: true, ..BuildArgs::default() })?;
    let tree = tree::find(&args.machine)?;
    let launch = Launch {
        image: &built.image,
        tree: tree.as_ref(),
        script: None,
        console: Console::Telnet(args.console),
        gdb: true,
    };
    let mut qemu = Command::new(qemu::PROGRAM);
    qemu.args(qemu::command_line(&args.machine, &launch)?);
    println!("console: telnet localhost {}", args.console);
    let symbols = format!("symbol-file -o {:#x} {}", load_address(args.machine.machine), built.elf.display());
    let remote = format!("target remote | {}", process::spelled(&qemu));
    let mut gdb = Command::new(gdb);
    gdb.args(["-q", "-ex", "set architecture aarch64", "-ex", &symbols, "-ex", &remote, "-x"]);
    gdb.arg(workspace::root().join("tools/gdb/slowpath.gdb"));
    Err(gdb.exec()).context("cannot start gdb")
}
