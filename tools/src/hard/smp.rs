//! Several CPUs at work at once: stuck ones are found, a flood of bytes does not stop them, interrupts take what they may
//! while others are short of memory, and each CPU's lists are seen and drained.

use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::{ANSWER_LIMIT, Action, BREAK, Check, FLOOD_BYTES, LIMIT, converse, random, script, virt};
use crate::build::Built;
use crate::qemu::{self, Console, Machine, MachineArgs};

/// Every check, with its name.
pub fn checks() -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    let mut add = |name: &str, action: Action| checks.push((name.to_owned(), action));
    add("a CPU that is stuck", Box::new(stuck));
    add("an interrupt that nobody serves", Box::new(unserved));
    add("lists of all CPUs are shown and drained", Box::new(drained));
    for (name, machine) in machines() {
        let (flooded, short, interrupted) = (machine.clone(), machine.clone(), machine);
        add(&format!("a flood while 4 CPUs of {name} allocate"), Box::new(move |built| flood(built, &flooded)));
        add(&format!("interrupts allocate under pressure on {name}"), Box::new(move |built| atomic(built, &short)));
        add(&format!("interrupts of 3 CPUs at a time on {name}"), Box::new(move |built| served(built, &interrupted)));
    }
    checks
}

/// Machines with 4 CPUs and little memory.
fn machines() -> Vec<(&'static str, MachineArgs)> {
    let small = virt("mem=64M");
    let raspi4b = MachineArgs { machine: Machine::Raspi4b, tree: Some("own".into()), ..small.clone() };
    let both = [("virt", MachineArgs { smp: Some(4), ..small }), ("raspi4b", raspi4b)];
    both.into_iter().filter(|(_, machine)| qemu::has(machine.machine)).collect()
}

fn four(append: &str) -> MachineArgs {
    MachineArgs { smp: Some(4), ..virt(append) }
}

/// The watchdog tells of a thread that keeps its CPU, with the way there, and of a CPU that takes no interrupt; both go on
/// afterwards, and nobody else is accused.
fn stuck(built: &Built) -> Result<()> {
    let (mut dialogue, _) = converse(built, &four("watchdog_thresh=1"), Console::Terminal)?;
    dialogue.say(&[BREAK, b"l"].concat())?;
    dialogue.want("watchdog: BUG: soft lockup - CPU#3 [looper:", LIMIT)?;
    dialogue.want("slowpath::sysrq::spin+0x", LIMIT)?;
    dialogue.want("slowpath::thread::begin+0x", LIMIT)?;
    dialogue.want("sysrq: looped\n", LIMIT)?;
    dialogue.say(&[BREAK, b"m"].concat())?;
    dialogue.want("watchdog: BUG: hard lockup - CPU#3 [masked:", LIMIT)?;
    dialogue.want("sysrq: looped\n", LIMIT)?;
    dialogue.say(b"dmesg\rpoweroff 7\r")?;
    let (status, text) = dialogue.end(LIMIT)?;
    ensure!(status == 7 && text.matches("BUG: ").count() == 2, "status {status}:\n{text}");
    Ok(())
}

/// It is counted, and nothing else happens.
fn unserved(built: &Built) -> Result<()> {
    let (mut dialogue, _) = converse(built, &four(""), Console::Terminal)?;
    for count in 0..2 {
        dialogue.say(b"cat /proc/interrupts\r")?;
        dialogue.want(&format!("Err: {count:10}\n"), LIMIT)?;
        dialogue.say(&[BREAK, b"u"].concat())?;
        dialogue.want("what nobody serves\n", LIMIT)?;
    }
    dialogue.say(b"poweroff 7\r")?;
    ensure!(dialogue.end(LIMIT)?.0 == 7);
    Ok(())
}

/// Fills the lists of two CPUs, looks at all of them, and has them drained.
const DRAIN: &str = "\
task new near --cpu 1
task new far --cpu 3
task run near alloc GFP_KERNEL -n 10
task run far alloc GFP_KERNEL -n 10
free all
cat /proc/zoneinfo
trace on mm_page_pcpu_drain
pcp off
trace show
cat /proc/zoneinfo
audit
";

/// The lists have what the CPUs did not use of their batches, each page is drained by its own CPU, and nothing is left.
fn drained(built: &Built) -> Result<()> {
    let (console, finished) = script(built, &four(""), DRAIN)?;
    ensure!(finished.status == 0, "status {}:\n{console}", finished.status);
    let (before, after) = console.split_once("slowpath> pcp off").context("the script ended early")?;
    let counts = |text: &str| -> Vec<u64> {
        let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix("count:"));
        lines.filter_map(|count| count.trim().parse().ok()).collect()
    };
    let full = counts(before);
    ensure!(full.len() == 4 && full[1] > 0 && full[3] > 0, "counts {full:?}:\n{console}");
    ensure!(counts(after) == [0; 4], "not drained:\n{after}");
    for (cpu, pages) in full.into_iter().enumerate() {
        let event = format!("[00{cpu}]");
        let drains =
            after.lines().filter(|line| line.contains(&event) && line.contains("mm_page_pcpu_drain: ")).count();
        ensure!(drains as u64 == pages, "CPU {cpu} drained {drains} of {pages} pages:\n{console}");
    }
    Ok(())
}

/// Work for every CPU but the shell's: more pages of files than there is memory, so that kswapd works, too.
const WORK: &str = "\
task new w1 --cpu 1; task new w2 --cpu 2; task new w3 --cpu 3; alloc GFP_KERNEL -n 9000
task run w1 repeat 1000000 pc stream 1 8000 & task run w2 repeat 1000000 pc stream 2 8000 & \
task run w3 repeat 1000000 pc stream 3 8000 &
";

/// Ends it.
const REST: &str = "kill %1; kill %2; kill %3; wait; free all; pc verify; audit";
/// A line that is typed often enough to be broken if lines could be.
const LONG: &str = "eight-by-eight-by-eight-by-eight-by-eight-by-eight-by-eight";

/// Random bytes at full speed while the other CPUs allocate and reclaim: the prompt answers, lines stay whole, and no
/// page is lost.
fn flood(built: &Built, machine: &MachineArgs) -> Result<()> {
    let (mut dialogue, _) = converse(built, machine, Console::Pipe)?;
    WORK.lines().try_for_each(|line| dialogue.say(format!("{line}\r").as_bytes()))?;
    dialogue.want("[3] task run w3", LIMIT)?;
    dialogue.say(&random(FLOOD_BYTES))?;
    // QEMU's pipe still holds some of it.
    dialogue.say(b"\x03\recho over\r")?;
    dialogue.want("\nover\n", LIMIT * 4)?;
    let asked = Instant::now();
    dialogue.say(b"echo and done\r")?;
    dialogue.want("\nand done\n", LIMIT)?;
    ensure!(asked.elapsed() <= ANSWER_LIMIT, "the answer took {:?}", asked.elapsed());
    dialogue.say(format!("repeat 500 echo {LONG}\recho end of lines\r").as_bytes())?;
    let text = dialogue.want("\nend of lines\n", LIMIT)?;
    let whole = text.lines().filter(|line| *line == LONG).count();
    ensure!(whole == 500, "{whole} whole lines of 500:\n{text}");
    dialogue.say(format!("{REST} && echo clean\rpoweroff 0\r").as_bytes())?;
    let (_, end) = dialogue.end(LIMIT * 2)?;
    let clean = ["\naudit passed: ", " pages: 0 lost\n", "\nclean\n"].iter().all(|sign| end.contains(sign));
    ensure!(clean, "{end}");
    Ok(())
}

/// What interrupts may take: first while a bound task holds all that GFP_KERNEL gives it, then while two of them work.
const ATOMIC: &str = "\
kswapd freeze; pcp off; sysctl vm.watermark_boost_factor=0
task new near --cpu 1; task new far --cpu 2
free to 400
task run near alloc GFP_KERNEL|__GFP_NORETRY|__GFP_NOWARN -n max & wait
ctx hardirq alloc GFP_ATOMIC|__GFP_NOWARN -n max
free all; pcp on; kswapd thaw
alloc GFP_KERNEL -n 9000
task run near repeat 1000000 pc stream 1 8000 & task run far repeat 1000000 pc stream 2 8000 & tick 50
repeat 200 ctx hardirq alloc GFP_ATOMIC|__GFP_NOWARN -n 5
repeat 200 ctx softirq alloc GFP_ATOMIC|__GFP_NOWARN -n 5
jobs
kill %1; kill %2; wait
free all
audit && echo clean
";

/// GFP_ATOMIC in a real interrupt stops at its floor, a quarter below a half of min; and never waits for those that it
/// interrupted.
fn atomic(built: &Built, machine: &MachineArgs) -> Result<()> {
    let (console, finished) = script(built, machine, ATOMIC)?;
    let whole = console.contains("\nclean\n") && console.contains("[2] runs as far: ");
    ensure!(finished.status <= 1 && whole, "status {}:\n{console}", finished.status);
    let (_, refused) = console.split_once("mode:0x480220(GFP_ATOMIC|__GFP_NOWARN)\n").context("nothing was refused")?;
    let number = |what: &str| -> Result<u64> {
        let (_, rest) = refused.split_once(what).with_context(|| format!("no{what}"))?;
        Ok(rest.split(' ').next().unwrap_or_default().parse()?)
    };
    let (free, min) = (number(" free ")?, number(" min ")?);
    let half = min - min / 2;
    ensure!(free == half - half / 4, "GFP_ATOMIC left {free} pages of min {min}:\n{console}");
    Ok(())
}

/// Interrupts on three CPUs at a time, each of which takes a page: the jobs begin when all have been started.
const SERVED: &str = "\
task new w1 --cpu 1; task new w2 --cpu 2; task new w3 --cpu 3
sleep 1 && task run w1 ctx hardirq alloc GFP_ATOMIC -n 3000 & sleep 1 && task run w2 ctx softirq alloc GFP_ATOMIC -n 3000 & \
sleep 1 && task run w3 ctx hardirq alloc GFP_ATOMIC -n 3000 &
wait
free all
audit && echo clean
";

/// Each CPU serves its own interrupts, and each interrupt once: as many blocks come back as were asked for.
fn served(built: &Built, machine: &MachineArgs) -> Result<()> {
    let (console, finished) = script(built, machine, SERVED)?;
    let whole =
        console.contains("\nfreed 9000 blocks, 9000 pages\n") && console.contains(" 0 allocated, 0 bad\nclean\n");
    ensure!(finished.status == 0 && whole, "status {}:\n{console}", finished.status);
    Ok(())
}
