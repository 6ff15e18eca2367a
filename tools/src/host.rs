//! Runs a script in the shell on this machine, without a guest.
//!
//! The memory is a record of pages and nothing more: the kernel crate never touches what it manages, so 64 GiB cost
//! the host no more than their records.

use anyhow::{Result, ensure};
use shell::exec::Shell;
use shell::host::HostMachine;

use crate::qemu::{self, MachineArgs};

/// Where QEMU's virt has its RAM.
const RAM: u64 = 0x4000_0000;

/// Runs the lines of `script` as if typed and returns the console from the first prompt on, and the exit status.
///
/// Memory, nodes, processors and boot arguments are those of `machine`.
pub fn run(machine: &MachineArgs, script: &str) -> Result<(String, u8)> {
    ensure!(machine.smp.unwrap_or(1) == 1, "the shell on the host has one processor");
    let mut start = RAM;
    let mut banks = Vec::new();
    for (node, size) in (0..).zip(qemu::memory_of_nodes(machine)?) {
        banks.push((start, size.0, node));
        start += size.0;
    }
    let mut shell = Shell::new(HostMachine::new(&machine.append, &banks, &[]));
    let status = shell.run_script(script);
    let console = shell.machine.take_output();
    Ok((console, shell.machine.off().unwrap_or(status.0)))
}
