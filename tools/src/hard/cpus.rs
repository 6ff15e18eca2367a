//! Machines with several CPUs: all come up, under every firmware and interrupt controller, and daemons run on them.
//!
//! Daemons are spread over the CPUs and started by interrupts between these, which /proc/interrupts counts.

use anyhow::{Result, ensure};

use crate::build::Built;
use crate::qemu::{Gic, Machine, MachineArgs};

/// A machine with several CPUs.
pub struct Board {
    /// What it is.
    pub name: &'static str,
    /// How QEMU makes it.
    machine: fn() -> MachineArgs,
    /// CPUs that have to run.
    cpus: usize,
}

/// All of them.
pub const BOARDS: &[Board] = &[
    board("virt with GICv2", || virt(4, Gic::V2), 4),
    board("virt with GICv3", || virt(4, Gic::V3), 4),
    board("virt with 8 CPUs", || virt(8, Gic::V2), 8),
    board("virt at EL2", || MachineArgs { el2: true, ..virt(4, Gic::V3) }, 4),
    board("virt with more than we use", || virt(12, Gic::V3), 8),
    board("maxcpus=2", || MachineArgs { append: "maxcpus=2".into(), ..virt(4, Gic::V2) }, 2),
    board("nr_cpus=3", || MachineArgs { append: "nr_cpus=3".into(), ..virt(4, Gic::V2) }, 3),
    board(RASPI4B, || MachineArgs { machine: Machine::Raspi4b, tree: Some("own".into()), ..Default::default() }, 4),
];

/// The name of the board that an old QEMU lacks.
pub const RASPI4B: &str = "raspi4b";

/// What is asked of them.
const LINES: &str = "cat /proc/interrupts\nalloc GFP_KERNEL -n 1000 && free all && audit\n";
/// Daemons of a machine with one node.
const DAEMONS: usize = 4;

const fn board(name: &'static str, machine: fn() -> MachineArgs, cpus: usize) -> Board {
    Board { name, machine, cpus }
}

fn virt(smp: u32, gic: Gic) -> MachineArgs {
    MachineArgs { smp: Some(smp), gic: Some(gic), ..MachineArgs::default() }
}

/// Boots it and looks at its table of interrupts.
pub fn check(board: &Board, built: &Built) -> Result<()> {
    let (console, finished) = super::script(built, &(board.machine)(), LINES)?;
    ensure!(finished.status == 0, "status {}:\n{}{console}", finished.status, finished.boot);
    let names: String = (0..board.cpus).map(|cpu| format!("{:<11}", format!("CPU{cpu}"))).collect();
    ensure!(console.lines().any(|line| line.trim_start() == names), "not {} CPUs:\n{console}", board.cpus);
    let rescheduled = console.lines().find_map(|line| line.strip_prefix("IPI0:")).unwrap_or_default();
    let with_daemons = rescheduled.split_whitespace().take(board.cpus).skip(1).filter(|count| *count != "0").count();
    let expected = DAEMONS.min(board.cpus - 1);
    ensure!(with_daemons >= expected, "interrupts brought work to {with_daemons} CPUs, not {expected}:\n{console}");
    Ok(())
}
