//! The only file that knows QEMU's command line.
//!
//! [`MachineArgs`] are the options of a machine as people give them, a [`Launch`] is what one start of it needs, and
//! [`command_line`] turns both into QEMU's arguments: a pure function. Neighbours: `tree` finds device trees, `guest`
//! and `run` start what this file spells.

use std::fmt::Write;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::size::Size;

/// QEMU's program.
pub const PROGRAM: &str = "qemu-system-aarch64";
/// The key, with Ctrl, that QEMU keeps for itself on an interactive console; Ctrl-A belongs to the line editor.
const ESCAPE: u8 = 0x1d;
/// What a person must know about [`ESCAPE`].
pub const ESCAPE_HELP: &str = "QEMU: Ctrl-] x quits, Ctrl-] c is QEMU's monitor; Ctrl-C goes to the guest";
/// RAM of virt when nothing is said.
const DEFAULT_MEMORY: Size = Size::gib(1);
/// From this size on QEMU must not reserve host memory for all the guest's RAM.
const UNRESERVED: Size = Size::gib(2);
/// QEMU's raspi4b has this much RAM, and no other amount.
const RASPI4B_MEMORY: Size = Size::gib(2);
/// A GICv2 reaches so many processors.
const GICV2_CPUS: u32 = 8;

/// The machines that QEMU gives us.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Machine {
    /// QEMU's own board, of any size
    #[default]
    Virt,
    /// Raspberry Pi 4 Model B
    Raspi4b,
}

impl Machine {
    /// QEMU's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Machine::Virt => "virt",
            Machine::Raspi4b => "raspi4b",
        }
    }
}

/// Version of the interrupt controller.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gic {
    /// GICv2, up to 8 processors
    #[value(name = "2")]
    V2,
    /// GICv3
    #[value(name = "3")]
    V3,
}

/// A machine and what it is told at boot.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct MachineArgs {
    /// Which machine
    #[arg(long, value_enum, default_value_t)]
    pub machine: Machine,
    /// RAM of virt [default: 1G]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Size>,
    /// Processors of virt [default: 1]; raspi4b always has 4
    #[arg(long, value_name = "N")]
    pub smp: Option<u32>,
    /// RAM of each NUMA node of virt, in place of --memory
    #[arg(long, value_name = "SIZES", value_delimiter = ',')]
    pub numa: Vec<Size>,
    /// Boot arguments
    #[arg(long, value_name = "ARGS", default_value = "", allow_hyphen_values = true)]
    pub append: String,
    /// Count instructions in place of time: each run equals the next, to the instruction
    #[arg(long)]
    pub icount: bool,
    /// Interrupt controller of virt [default: 2, and 3 for more than 8 processors]
    #[arg(long, value_enum)]
    pub gic: Option<Gic>,
    /// Enter virt at EL2
    #[arg(long)]
    pub el2: bool,
    /// Give virt a secure world (the image still starts in the normal one)
    #[arg(long)]
    pub secure: bool,
    /// Device tree: `own` or `distribution` (raspi4b), or a file [default: the distribution's if installed, else own]
    #[arg(long, value_name = "TREE")]
    pub tree: Option<String>,
    /// Serial port that is the console [default: the one that the device tree names]
    #[arg(long, value_name = "N")]
    pub serial: Option<usize>,
}

/// A device tree on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tree {
    /// The blob.
    pub path: PathBuf,
    /// The serial port, as QEMU counts them, that its `stdout-path` names.
    pub serial: usize,
}

/// Where the guest's console goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Console {
    /// The user's terminal, shared with QEMU's monitor.
    Terminal,
    /// Standard input and output, every byte the guest's.
    Pipe,
    /// A telnet server on this port of the local host.
    Telnet(u16),
}

/// One start of a machine.
#[derive(Clone, Debug)]
pub struct Launch<'a> {
    /// The flat image.
    pub image: &'a Path,
    /// The device tree, where QEMU makes none itself.
    pub tree: Option<&'a Tree>,
    /// Script that the shell runs.
    pub script: Option<&'a Path>,
    /// Where the console goes.
    pub console: Console,
    /// Stop before the first instruction and speak gdb's protocol on standard input and output.
    pub gdb: bool,
}

/// Why raspi4b may be left out.
pub const NO_RASPI4B: &str = "this QEMU has no raspi4b; it needs version 9 or newer";

/// Whether the installed QEMU has this machine.
pub fn has(machine: Machine) -> bool {
    let help = Command::new(PROGRAM).args(["-machine", "help"]).output();
    help.is_ok_and(|help| {
        String::from_utf8_lossy(&help.stdout).lines().any(|line| line.split(' ').next() == Some(machine.name()))
    })
}

/// QEMU's arguments, without the program.
///
/// # Errors
/// When the machine cannot be what the options ask for.
pub fn command_line(args: &MachineArgs, launch: &Launch<'_>) -> Result<Vec<String>> {
    let mut line = Vec::new();
    let mut push = |words: &[&str]| line.extend(words.iter().map(|word| (*word).to_owned()));
    push(&["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    for words in match args.machine {
        Machine::Virt => virt(args)?,
        Machine::Raspi4b => raspi4b(args, launch.tree)?,
    } {
        push(&[&words.0, &words.1]);
    }
    if args.icount {
        push(&["-icount", "shift=0,sleep=off"]);
    }
    for port in console(args.serial.or(launch.tree.map(|tree| tree.serial)).unwrap_or(0), launch.console) {
        push(&[&port.0, &port.1]);
    }
    if launch.gdb {
        push(&["-S", "-gdb", "stdio"]);
    }
    push(&["-semihosting-config", "enable=on,target=native", "-kernel", &launch.image.to_string_lossy()]);
    if let Some(tree) = launch.tree {
        push(&["-dtb", &tree.path.to_string_lossy()]);
    }
    if let Some(script) = launch.script {
        push(&["-initrd", &script.to_string_lossy()]);
    }
    push(&["-append", &bootargs(&args.append, launch.script.is_some())]);
    Ok(line)
}

/// QEMU's arguments for virt without QEMU's own loader, without the program: each file lies at its address, and the
/// processor starts with the first byte of the first one.
///
/// # Errors
/// When the machine cannot be what the options ask for.
pub fn bare_command_line(args: &MachineArgs, files: &[(&Path, u64)]) -> Result<Vec<String>> {
    let mut line = vec!["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"];
    line.extend(["-semihosting-config", "enable=on,target=native"]);
    let mut line: Vec<String> = line.into_iter().map(str::to_owned).collect();
    let start = [",cpu-num=0"].into_iter().chain(iter::repeat(""));
    let files = files.iter().zip(start).map(|((path, address), start)| {
        pair("-device", format!("loader,file={},addr={address:#x},force-raw=on{start}", path.display()))
    });
    for (option, value) in virt(args)?.into_iter().chain(console(0, Console::Pipe)).chain(files) {
        line.extend([option, value]);
    }
    Ok(line)
}

/// The user's boot arguments and ours.
fn bootargs(append: &str, script: bool) -> String {
    let ours = ["semihosting=on", "script=initrd"];
    let ours = &ours[..if script { 2 } else { 1 }];
    [append.trim()].iter().chain(ours).filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" ")
}

/// An option of QEMU and its value.
type Pair = (String, String);

/// An option and its value as owned strings.
fn pair(option: &str, value: impl Into<String>) -> Pair {
    (option.to_owned(), value.into())
}

/// The board virt.
fn virt(args: &MachineArgs) -> Result<Vec<Pair>> {
    let memory = memory_of_nodes(args)?.into_iter().sum();
    let cpus = args.smp.unwrap_or(1);
    ensure!(cpus >= 1, "--smp {cpus}: a machine has at least one processor");
    let gic = args.gic.unwrap_or(if cpus > GICV2_CPUS { Gic::V3 } else { Gic::V2 });
    if gic == Gic::V2 && cpus > GICV2_CPUS {
        bail!("--smp {cpus}: a GICv2 reaches {GICV2_CPUS} processors; use --gic 3");
    }
    let mut machine = String::from("virt,dtb-randomness=off,gic-version=");
    machine.push_str(if gic == Gic::V2 { "2" } else { "3" });
    for (on, property) in [(args.el2, ",virtualization=on"), (args.secure, ",secure=on")] {
        machine.push_str(if on { property } else { "" });
    }
    let (ram, backing) = virt_ram(args, memory, cpus)?;
    machine.push_str(backing);
    let mut pairs = vec![
        pair("-machine", machine),
        pair("-cpu", if args.icount { "max" } else { "cortex-a72" }),
        pair("-smp", cpus.to_string()),
        pair("-m", memory.to_string()),
    ];
    pairs.extend(ram);
    Ok(pairs)
}

/// RAM of each node of virt.
///
/// # Errors
/// When the options contradict each other.
pub fn memory_of_nodes(args: &MachineArgs) -> Result<Vec<Size>> {
    if args.numa.is_empty() {
        return Ok(vec![args.memory.unwrap_or(DEFAULT_MEMORY)]);
    }
    let total: Size = args.numa.iter().copied().sum();
    if let Some(memory) = args.memory.filter(|memory| *memory != total) {
        bail!("--memory {memory} is not the sum of --numa, {total}");
    }
    Ok(args.numa.clone())
}

/// What backs the RAM, and the machine property that goes with it.
fn virt_ram(args: &MachineArgs, memory: Size, cpus: u32) -> Result<(Vec<Pair>, &'static str)> {
    let reserve = if memory > UNRESERVED && cfg!(target_os = "linux") { ",reserve=off" } else { "" };
    let backend = |id: &str, size: Size| pair("-object", format!("memory-backend-ram,id={id},size={size}{reserve}"));
    if args.numa.is_empty() {
        return Ok((vec![backend("ram", memory)], ",memory-backend=ram"));
    }
    let nodes = u32::try_from(args.numa.len())?;
    let mut pairs = Vec::new();
    for (node, size) in (0..nodes).zip(&args.numa) {
        let id = format!("node{node}");
        pairs.push(backend(&id, *size));
        let mut numa = format!("node,nodeid={node},memdev={id}");
        for cpu in cpus_of_node(node, nodes, cpus) {
            write!(numa, ",cpus={cpu}")?;
        }
        pairs.push(pair("-numa", numa));
    }
    Ok((pairs, ""))
}

/// The processors of one node: even shares in order, the first nodes served first.
fn cpus_of_node(node: u32, nodes: u32, cpus: u32) -> impl Iterator<Item = u32> {
    let share = cpus.div_ceil(nodes);
    (0..cpus).filter(move |cpu| cpu / share == node)
}

/// The Raspberry Pi: QEMU accepts one size and four processors only.
fn raspi4b(args: &MachineArgs, tree: Option<&Tree>) -> Result<Vec<Pair>> {
    ensure!(tree.is_some(), "raspi4b needs a device tree");
    ensure!(args.numa.is_empty(), "--numa: raspi4b has one node; use --machine virt");
    ensure!(args.smp.unwrap_or(4) == 4, "--smp: QEMU's raspi4b has 4 processors; use --machine virt");
    ensure!(args.gic.is_none() && !args.el2 && !args.secure, "--gic, --el2 and --secure are for --machine virt");
    if args.memory.is_some_and(|memory| memory != RASPI4B_MEMORY) {
        bail!("--memory: QEMU's raspi4b has {RASPI4B_MEMORY}; use --append mem=SIZE to see less of it");
    }
    Ok(vec![pair("-machine", "raspi4b"), pair("-m", RASPI4B_MEMORY.to_string()), pair("-smp", "4")])
}

/// The serial ports up to the console's.
fn console(serial: usize, console: Console) -> Vec<Pair> {
    let mut ports = vec![pair("-serial", "null"); serial];
    match console {
        Console::Terminal => ports.extend([pair("-serial", "mon:stdio"), pair("-echr", ESCAPE.to_string())]),
        Console::Pipe => {
            ports.extend([pair("-chardev", "stdio,id=console,signal=off"), pair("-serial", "chardev:console")]);
        }
        Console::Telnet(port) => ports.push(pair("-serial", format!("telnet:localhost:{port},server=on,wait=off"))),
    }
    ports
}

#[cfg(test)]
mod tests;
