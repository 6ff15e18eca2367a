//! `hard-starts`: machines and people that are not kind.
//!
//! Broken device trees (`trees`), several CPUs (`cpus`) that work at once (`smp`), too little RAM, bad boot arguments,
//! faults of the kernel's own, a flood of random bytes, messages in the middle of typing, memory that is out, and
//! switching off without semihosting. Each has one clear answer.

mod cpus;
mod smp;
mod trees;

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;

use crate::build::{self, BuildArgs, Built};
use crate::console::PROMPT;
use crate::dialogue::Dialogue;
use crate::guest::{self, Finished, Script};
use crate::qemu::{self, Console, Machine, MachineArgs};
use crate::run::{self, RunArgs};
use crate::size::Size;
use crate::tally::{self, Tally};

/// How long a guest may take to boot, or to stop.
const LIMIT: Duration = Duration::from_secs(30);
/// How long all commands together may take when no page is free.
const STARVED_LIMIT: Duration = Duration::from_secs(120);
/// What a person types for a BREAK on the serial line: QEMU's escape key and b.
const BREAK: &[u8] = b"\x1db";
/// Random bytes that are sent as fast as they are taken.
const FLOOD_BYTES: usize = 1 << 20;
/// How soon after a flood the prompt has to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// Boot arguments behind which ours are not the kernel's: without semihosting the machine has to stop itself.
const NO_SEMIHOSTING: &str = "--";

/// What a check does.
type Action = Box<dyn Fn(&Built) -> Result<()> + Sync>;
/// A check, and its name before it.
type Check = (String, Action);

/// Options of `hard-starts`.
#[derive(Args, Clone, Debug, Default)]
pub struct HardArgs {
    /// Only those whose name contains one of these
    pub names: Vec<String>,
}

/// Runs them and prints the result.
pub fn run(args: &HardArgs) -> Result<u8> {
    Ok(play(&build::build(BuildArgs::default())?, &args.names).finish())
}

/// Runs those whose names contain one of `names`, all if there is none.
pub fn play(built: &Built, names: &[String]) -> Tally {
    let mut checks = checks();
    checks.retain(|(name, _)| names.is_empty() || names.iter().any(|part| name.contains(part)));
    tally::parallel(&checks, |(name, _)| name.clone(), |(_, action)| action(built))
}

fn checks() -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    let mut add = |name: String, action: Action| checks.push((name, action));
    for start in trees::STARTS {
        add(format!("hard start: {}", start.name), Box::new(|built| trees::check(start, built)));
    }
    add("hard start: too little RAM".into(), Box::new(too_little_ram));
    add("hard start: bad boot arguments".into(), Box::new(bad_arguments));
    for fault in FAULTS {
        add(format!("report of a fault: {}", fault.what), Box::new(|built| report(fault, built)));
    }
    for board in cpus::BOARDS.iter().filter(|board| board.name != cpus::RASPI4B || qemu::has(Machine::Raspi4b)) {
        add(format!("all CPUs of {}", board.name), Box::new(|built| cpus::check(board, built)));
    }
    checks.extend(smp::checks());
    let mut add = |name: String, action: Action| checks.push((name, action));
    add("a message while a line is typed".into(), Box::new(message));
    add("a flood of random bytes".into(), Box::new(flood));
    for (machine, name) in boards() {
        let other = machine.clone();
        add(format!("out of memory with nobody to kill on {name}"), Box::new(move |built| deadlock(built, &machine)));
        add(format!("every command without a free page on {name}"), Box::new(move |built| starved(built, &other)));
    }
    for size in HANDLE_SIZES {
        add(format!("a handle to every page of {size}"), Box::new(move |built| all_pages(built, size)));
    }
    add("poweroff of virt without semihosting".into(), Box::new(|built| power_off(built, &virt(NO_SEMIHOSTING))));
    let tree = Some("own".to_owned());
    let raspi4b = MachineArgs { machine: Machine::Raspi4b, tree, ..virt(NO_SEMIHOSTING) };
    if qemu::has(Machine::Raspi4b) {
        add("poweroff of raspi4b without semihosting".into(), Box::new(move |built| power_off(built, &raspi4b)));
    } else {
        tally::skip("poweroff of raspi4b", qemu::NO_RASPI4B);
    }
    checks
}

fn virt(append: &str) -> MachineArgs {
    MachineArgs { append: append.to_owned(), ..MachineArgs::default() }
}

/// Starts a console and waits for its first prompt; also what was said before it.
fn converse(built: &Built, machine: &MachineArgs, console: Console) -> Result<(Dialogue, String)> {
    let args = RunArgs { machine: machine.clone(), script: None, timeout: None, build: BuildArgs::default() };
    let mut qemu: Command = run::command(&args, built, console)?;
    let mut dialogue = Dialogue::start(&mut qemu)?;
    let boot = dialogue.want(PROMPT, LIMIT)?;
    Ok((dialogue, boot))
}

/// Runs a script on virt; the console from the first prompt on, and how it ended.
fn script(built: &Built, machine: &MachineArgs, text: &str) -> Result<(String, Finished)> {
    let mut console = Vec::new();
    let finished = guest::run(&Script { machine, image: &built.image, text, limit: Some(LIMIT) }, &mut console)?;
    Ok((String::from_utf8_lossy(&console).into_owned(), finished))
}

/// A refused start says one line that holds `line`, last, and ends with the status of a panic.
fn check_refusal(finished: &Finished, line: &str) -> Result<()> {
    let last = finished.boot.trim_end().lines().last().unwrap_or_default();
    let refused = last.strip_prefix("slowpath: cannot start: ").is_some_and(|why| why.contains(line));
    ensure!(refused && !finished.prompted, "not refused with {line:?}:\n{}", finished.boot);
    ensure!(finished.status == guest::PANICKED, "status {}:\n{}", finished.status, finished.boot);
    Ok(())
}

fn too_little_ram(built: &Built) -> Result<()> {
    let (_, finished) = script(built, &virt("mem=1M"), "audit")?;
    check_refusal(&finished, "too little RAM: ")?;
    check_refusal(&finished, " needs ")
}

/// Each is named on the console, and nothing else happens.
fn bad_arguments(built: &Built) -> Result<()> {
    let machine = virt("mem=lots nonsense=1 sysctl.vm.nothing=1 sysctl.vm.numa_stat=7 sysctl.vm.min_free_kbytes=4321");
    let (console, finished) = script(built, &machine, "cat /proc/sys/vm/min_free_kbytes")?;
    for word in ["mem=lots", "nonsense=1", "sysctl.vm.nothing=1", "sysctl.vm.numa_stat=7"] {
        let lines = finished.boot.lines().filter(|line| line.contains(&format!("] boot argument {word}: "))).count();
        ensure!(lines == 1, "{lines} lines about {word}:\n{}", finished.boot);
    }
    ensure!(finished.status == 0 && console.contains("\n4321\n"), "a good argument is lost:\n{console}");
    Ok(())
}

/// A fault that a key behind a BREAK provokes.
struct Fault {
    what: &'static str,
    key: u8,
    /// What the report says of it.
    says: &'static str,
    /// The function that did it, and those that led there.
    way: &'static [&'static str],
}

const FAULTS: &[Fault] = &[
    fault("unmapped memory", b'c', ": not mapped", &["sysrq::read_nowhere+0x", HANDLER]),
    fault("write to text", b't', ": not permitted", &["sysrq::write_text+0x", HANDLER]),
    fault("stack overflow", b'o', "interrupt stack overflowed)", &["sysrq::descend+0x", HANDLER]),
    fault("thread's stack overflow", b's', "stack of thread overflow overflowed)", &["sysrq::descend+0x", THREAD]),
    fault("panic", b'p', "asked for it", &["sysrq::panic+0x", HANDLER]),
];
/// Who handles the console's interrupt.
const HANDLER: &str = "console::receive+0x";
/// Where threads begin.
const THREAD: &str = "slowpath::thread::begin+0x";

const fn fault(what: &'static str, key: u8, says: &'static str, way: &'static [&'static str]) -> Fault {
    Fault { what, key, says, way }
}

/// The report has the cause, registers, the way there by name, and the end; the status tells, too.
fn report(fault: &Fault, built: &Built) -> Result<()> {
    let (mut dialogue, _) = converse(built, &virt(""), Console::Terminal)?;
    dialogue.say(&[BREAK, &[fault.key]].concat())?;
    let (status, text) = dialogue.end(LIMIT)?;
    ensure!(status == guest::PANICKED, "status {status}:\n{text}");
    let mut rest = text.as_str();
    let head = ["slowpath: kernel panic on CPU 0: ", fault.says, "\nit ran "];
    let registers = ["\npc  00", "\nx28 00", "\nbacktrace, innermost first:\n"];
    let end = ["\nslowpath: stopped, status 125\n"];
    for part in [&head[..], &registers, fault.way, &end].into_iter().flatten().copied() {
        let Some((_, behind)) = rest.split_once(part) else { anyhow::bail!("no {part:?} in its place:\n{text}") };
        rest = behind;
    }
    Ok(())
}

/// A message from an interrupt handler, and the typed line is there again and goes on.
fn message(built: &Built) -> Result<()> {
    let (mut dialogue, _) = converse(built, &virt(""), Console::Terminal)?;
    dialogue.say(b"echo helo\x1b[D")?;
    dialogue.want("echo helo\x08", LIMIT)?;
    dialogue.say(&[BREAK, b"i"].concat())?;
    let message = dialogue.want("slowpath> echo helo\x08", LIMIT)?;
    ensure!(message.starts_with("\n[") && message.contains("sysrq: ") && message.ends_with('\n'), "{message:?}");
    ensure!(!message.contains('\x1b'), "escape codes: {message:?}");
    dialogue.say(b"l\rpoweroff 7\r")?;
    dialogue.want("\nhello\n", LIMIT)?;
    ensure!(dialogue.end(LIMIT)?.0 == 7);
    Ok(())
}

/// Random bytes at full speed: nothing breaks, and the prompt answers.
fn flood(built: &Built) -> Result<()> {
    let (mut dialogue, _) = converse(built, &virt(""), Console::Pipe)?;
    dialogue.say(&random(FLOOD_BYTES))?;
    // QEMU's pipe still holds some of it.
    dialogue.say(b"\x03\recho over\r")?;
    dialogue.want("\nover\n", LIMIT)?;
    let asked = Instant::now();
    dialogue.say(b"echo and done\r")?;
    dialogue.want("\nand done\n", LIMIT)?;
    ensure!(asked.elapsed() <= ANSWER_LIMIT, "the answer took {:?}", asked.elapsed());
    dialogue.say(b"audit\r")?;
    dialogue.want("\naudit passed: ", LIMIT)?;
    dialogue.say(b"poweroff 0\r")?;
    ensure!(dialogue.end(LIMIT)?.0 == 0);
    Ok(())
}

/// The same bytes each time.
fn random(bytes: usize) -> Vec<u8> {
    let mut random = vec![0; bytes];
    fastrand::Rng::with_seed(1).fill(&mut random);
    random
}

/// The boards that there are here.
fn boards() -> Vec<(MachineArgs, &'static str)> {
    let raspi4b = MachineArgs { machine: Machine::Raspi4b, tree: Some("own".to_owned()), ..virt("mem=64M maxcpus=1") };
    let mut boards = vec![(virt("mem=64M"), "virt"), (raspi4b, "raspi4b")];
    boards.retain(|(machine, _)| machine.machine == Machine::Virt || qemu::has(machine.machine));
    boards
}

/// Linux's last words, and the status of a panic.
fn deadlock(built: &Built, machine: &MachineArgs) -> Result<()> {
    let (console, finished) = script(built, machine, "free to 0\nalloc GFP_KERNEL\necho not reached")?;
    ensure!(finished.status == guest::PANICKED, "status {}:\n{console}", finished.status);
    let mut rest = console.as_str();
    for words in [
        "\nslowpath> alloc GFP_KERNEL\n",
        "sh invoked oom-killer: gfp_mask=0x6000c0(GFP_KERNEL), order=0, oom_score_adj=0\n",
        "Out of memory and no killable processes...\n",
        "Kernel panic - not syncing: System is deadlocked on memory\n",
        "slowpath: stopped, status 125\n",
    ] {
        let Some((_, behind)) = rest.split_once(words) else { anyhow::bail!("no {words:?} in its place:\n{console}") };
        rest = behind;
    }
    ensure!(!rest.contains("not reached"), "it went on:\n{console}");
    Ok(())
}

/// Each example of each command answers on a machine without a free page, on which nobody is killed: the next prompt comes,
/// and in the end nothing is lost.
fn starved(built: &Built, machine: &MachineArgs) -> Result<()> {
    let rows = shell::command::commands::<shell::host::HostMachine>();
    let lasting = |name: &str| matches!(name, "poweroff" | "source" | "stress" | "bench" | "bench slow" | "lab");
    let examples = rows.iter().filter(|row| !lasting(row.name)).flat_map(|row| row.examples);
    let line = |example: &&str| format!("oom disable; free to 0\n{example}\n");
    let text: String = examples.map(line).collect::<String>() + "audit && poweroff 7\n";
    let mut console = Vec::new();
    let script = Script { machine, image: &built.image, text: &text, limit: Some(STARVED_LIMIT) };
    let finished = guest::run(&script, &mut console)?;
    let console = String::from_utf8_lossy(&console);
    ensure!(finished.status == 7, "status {}:\n{console}", finished.status);
    Ok(())
}

/// Sizes at which the shell takes all pages there are: the heap holds a handle to each.
const HANDLE_SIZES: [Size; 3] = [Size(64 << 20), Size::gib(1), Size::gib(4)];

/// Takes every page and gives it back.
fn all_pages(built: &Built, memory: Size) -> Result<()> {
    let machine = MachineArgs { memory: Some(memory), ..MachineArgs::default() };
    let (console, finished) =
        script(built, &machine, "alloc GFP_KERNEL|__GFP_NORETRY -n max\naudit\nfree all && audit && echo whole")?;
    ensure!(console.contains("page allocation failure: order:0"), "memory did not end:\n{console}");
    ensure!(console.matches("\naudit passed: ").count() == 2 && console.contains("\nwhole\n"), "{console}");
    ensure!(finished.status == 1, "status {}:\n{console}", finished.status);
    Ok(())
}

/// The machine stops by its own means, which carry no status.
fn power_off(built: &Built, machine: &MachineArgs) -> Result<()> {
    let (mut dialogue, boot) = converse(built, machine, Console::Pipe)?;
    ensure!(boot.contains("'help' lists the commands\n"), "no greeting:\n{boot}");
    dialogue.say(b"poweroff 7\r")?;
    let (status, text) = dialogue.end(LIMIT)?;
    ensure!(status == 0, "status {status}:\n{text}");
    Ok(())
}
