//! Several CPUs at work at once: stuck ones are found, a flood of bytes does not stop them, interrupts take what they may
//! while others are short of memory, and each CPU's lists are seen and drained.

use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::{ANSWER_LIMIT, Action, BREAK, Check, FLOOD_BYTES, LIMIT, converse, random, script, virt};
use crate::build::{self, BuildArgs, Built};
use crate::guest;
use crate::qemu::{self, Console, Gic, Machine, MachineArgs};

/// Every check, with its name.
pub fn checks() -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    let mut add = |name: &str, action: Action| checks.push((name.to_owned(), action));
    add("locks in the wrong order", Box::new(|_| lock_order()));
    add("a CPU that works for long", Box::new(busy));
    add("an interrupt that nobody serves", Box::new(unserved));
    add("lists of all CPUs are shown and drained", Box::new(drained));
    for (name, machine) in watched() {
        add(&format!("a CPU of {name} that is stuck"), Box::new(move |built| stuck(built, &machine)));
    }
    for (name, machine) in machines() {
        let (shrunk, flooded, short) = (machine.clone(), machine.clone(), machine.clone());
        let (shared, interrupted) = (machine.clone(), machine);
        add(
            &format!("slabs of another CPU of {name} are given back"),
            Box::new(move |built| given_back(built, &shrunk)),
        );
        add(&format!("a flood while 4 CPUs of {name} allocate"), Box::new(move |built| flood(built, &flooded)));
        add(&format!("a network that 3 CPUs of {name} share"), Box::new(move |built| networked(built, &shared)));
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

/// Machines with 4 CPUs, and every way to interrupt them, that notice soon who is stuck.
fn watched() -> Vec<(&'static str, MachineArgs)> {
    let own = || Some("own".to_owned());
    let with = |gic| MachineArgs { gic: Some(gic), ..four("watchdog_thresh=2") };
    let raspi4b = MachineArgs { machine: Machine::Raspi4b, smp: None, tree: own(), ..four("watchdog_thresh=2") };
    let secure = MachineArgs { secure: true, ..with(Gic::V3) };
    let all = [
        ("virt with GICv2", with(Gic::V2)),
        ("virt with GICv3", with(Gic::V3)),
        ("virt with a secure world", secure),
        ("raspi4b", raspi4b),
    ];
    all.into_iter().filter(|(_, machine)| qemu::has(machine.machine)).collect()
}

fn four(append: &str) -> MachineArgs {
    MachineArgs { smp: Some(4), ..virt(append) }
}

/// A way to keep the last CPU busy: the key behind a BREAK, what the watchdog says of it and of its thread, and what it
/// prints of the way.
const STUCK: [(u8, &str, &str, &[&str]); 3] = [
    (b'l', "soft lockup - CPU#3", "looper", &[" slowpath::sysrq::spin+0x", " slowpath::thread::begin+0x"]),
    (b'm', "hard lockup - CPU#3", "masked", &[" slowpath::sysrq::spin+0x", " slowpath::thread::begin+0x"]),
    (
        b'n',
        "hard lockup - CPU#3",
        "handling",
        &[" slowpath::sysrq::spin+0x", " slowpath::arch::exception::dispatch+0x", " slowpath::irq::run_as+0x"],
    ),
];

/// The watchdog tells of a thread that keeps its CPU, and of a CPU that takes no interrupt, with the way there; all go on
/// afterwards, and nobody else is accused.
fn stuck(built: &Built, machine: &MachineArgs) -> Result<()> {
    let (mut dialogue, _) = converse(built, machine, Console::Terminal)?;
    for (key, says, thread, way) in STUCK {
        dialogue.say(&[BREAK, &[key]].concat())?;
        dialogue.want(&format!("watchdog: BUG: {says} stuck for "), LIMIT)?;
        dialogue.want(&format!("s! [{thread}:"), LIMIT)?;
        for function in way {
            dialogue.want(function, LIMIT)?;
        }
        dialogue.want("sysrq: looped\n", LIMIT)?;
    }
    dialogue.say(b"dmesg\rpoweroff 7\r")?;
    let (status, text) = dialogue.end(LIMIT)?;
    ensure!(status == 7 && text.matches("BUG: ").count() == STUCK.len(), "status {status}:\n{text}");
    Ok(())
}

/// A build that checks the order of locks does the work of all others without a word about it, and names both locks that
/// are taken in the wrong order.
fn lock_order() -> Result<()> {
    let built = build::build(BuildArgs { checked: true, ..BuildArgs::default() })?;
    for text in [DRAIN, SHRINK, SERVED] {
        let (console, finished) = script(&built, &four("mem=64M"), text)?;
        ensure!(finished.status == 0, "status {}:\n{console}", finished.status);
    }
    let (mut dialogue, _) = converse(&built, &four(""), Console::Terminal)?;
    dialogue.say(&[BREAK, b"d"].concat())?;
    let (status, text) = dialogue.end(LIMIT)?;
    let taken = ": lock order: the lock of the run queues is taken at boot/src/sysrq.rs:";
    let held = " while the heap's lock is held, which was taken at boot/src/sysrq.rs:";
    let head = text.lines().find(|line| line.contains("slowpath: kernel panic on CPU 0")).unwrap_or_default();
    ensure!(status == guest::PANICKED && head.contains(taken) && head.contains(held), "status {status}:\n{text}");
    Ok(())
}

/// A command of some seconds, which keeps its CPU all the time, is nothing that the watchdog tells of.
fn busy(built: &Built) -> Result<()> {
    let machine = MachineArgs { memory: Some("8G".parse()?), ..virt("watchdog_thresh=1") };
    let (console, finished) = script(built, &machine, "alloc GFP_KERNEL -n 1900000\nfree all\ndmesg\n")?;
    ensure!(finished.status == 0 && !console.contains("BUG: "), "status {}:\n{console}", finished.status);
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

/// Objects come and go on CPU 2, whose slabs they leave behind; the shell, on CPU 0, shrinks one cache and destroys another.
const SHRINK: &str = "\
task new far --cpu 2
cache new conn 1000; cache new sock 1000
task run far cache alloc conn -n 40; task run far cache alloc sock -n 40
task run far kfree all
cache ls conn; cache ls sock
trace on mm_page_free
cache shrink conn && cache destroy sock && echo destroyed
trace show
audit
";

/// Only a CPU itself can let go of its slabs: it was asked to, all of them are free, and both caches can go.
fn given_back(built: &Built, machine: &MachineArgs) -> Result<()> {
    let (console, finished) = script(built, machine, SHRINK)?;
    ensure!(finished.status == 0, "status {}:\n{console}", finished.status);
    let (before, after) = console.split_once("slowpath> trace on").context("the script ended early")?;
    let row = |line: &&str| line.split_whitespace().skip(1).eq(["48", "48", "1000", "16", "4", "3"]);
    ensure!(before.lines().filter(row).count() == 2, "not 3 slabs in each cache:\n{console}");
    let gone = after.contains("\nconn: 0 slabs left\ndestroyed\n") && after.contains(" 0 allocated, 0 bad\n");
    let freed = after.lines().filter(|line| line.contains(": mm_page_free: ") && line.ends_with(" order=2")).count();
    ensure!(gone && freed == 6, "{freed} slabs of 6 given back:\n{console}");
    Ok(())
}

/// Packets of both kinds come in on two CPUs for one socket, which a third one reads until they are done; what is left, the
/// shell reads.
const PACKETS: &str = "\
task new one --cpu 1; task new two --cpu 2; task new reader --cpu 3
net sock 0 --rcvbuf 100M
task run one repeat 300 net rx 0 1500 20 & task run two repeat 300 net rx 0 100 20 & \
task run reader repeat 900 net consume 0 &
sleep 1; wait; net consume 0; net stat
net drain; cache shrink skbuff_head_cache; net sock 0 close
audit
";

/// Every packet arrives once, as it was sent, and leaves nothing behind.
fn networked(built: &Built, machine: &MachineArgs) -> Result<()> {
    let (console, finished) = script(built, machine, PACKETS)?;
    ensure!(finished.status == 0, "status {}:\n{console}", finished.status);
    for job in ["[1] done: ", "[2] done: ", "[3] done: "] {
        ensure!(console.lines().any(|line| line.starts_with(job)), "no line {job:?}:\n{console}");
    }
    let counter = |name: &str| {
        let row = console.lines().map(|line| line.split_whitespace()).find(|row| row.clone().next() == Some(name));
        row.and_then(|mut row| row.nth(1)).and_then(|count| count.parse::<u64>().ok())
    };
    let counts = ["rx", "delivered", "queued", "rcvbuf_drop", "rx_nomem"].map(counter);
    ensure!(counts == [12_000, 12_000, 0, 0, 0].map(Some), "counted {counts:?}:\n{console}");
    let gone = console.contains("skbuff_head_cache: 0 slabs left") && console.contains(" 0 allocated, 0 bad\n");
    ensure!(gone, "something stayed:\n{console}");
    Ok(())
}

/// Work for every CPU but the shell's: more pages of files than there is memory, so that kswapd works, too; and on two of
/// them somebody whom the log tells of.
const WORK: &str = "\
task new w1 --cpu 1; task new w2 --cpu 2; task new w3 --cpu 3; alloc GFP_KERNEL -n 9000
task run w1 repeat 1000000 pc stream 1 8000 & task run w2 repeat 1000000 pc stream 2 8000 & \
task run w3 repeat 1000000 pc stream 3 8000 &
task new loud --cpu 2; task new clear --cpu 3
";
/// What these do in one second of many: as much as leaves the console time for others.
const LOUD: [&str; 2] = [
    "sleep 1 && task run loud repeat 50 echo 1 > /proc/sys/vm/drop_caches",
    "sleep 1 && task run clear repeat 50 echo 3 > /proc/sys/vm/drop_caches",
];
const LOUD_SECONDS: usize = 12;
/// What the log says of them.
const TOLD: [&str; 2] = ["loud (5): drop_caches: 1", "clear (6): drop_caches: 3"];
/// Pieces of that which nobody types; a cut leaves one of them whole.
const PIECES: [&str; 3] = ["loud (5)", "clear (6)", ": drop_caches: "];
/// How often each must have been told of during a flood.
const TOLD_AT_LEAST: usize = 20;

/// Ends it.
const REST: &str = "kill %1; kill %2; kill %3; wait; free all; pc verify; audit";
/// A line that is typed often enough to be broken if lines could be.
const LONG: &str = "eight-by-eight-by-eight-by-eight-by-eight-by-eight-by-eight";

/// What is typed, without TAB: that makes `dmesg` of a d, which shows again what was told of.
fn noise() -> Vec<u8> {
    random(FLOOD_BYTES).into_iter().filter(|byte| *byte != b'\t').collect()
}

/// Random bytes at full speed while the other CPUs allocate, reclaim and log: the prompt answers, lines stay whole, and
/// no page is lost.
fn flood(built: &Built, machine: &MachineArgs) -> Result<()> {
    let (mut dialogue, _) = converse(built, machine, Console::Pipe)?;
    WORK.lines().try_for_each(|line| dialogue.say(format!("{line}\r").as_bytes()))?;
    for second in LOUD {
        dialogue.say(format!("sleep 2 && {} &\r", [second; LOUD_SECONDS].join(" && ")).as_bytes())?;
    }
    dialogue.want("\n[5] sleep 2", LIMIT)?;
    dialogue.say(&noise())?;
    // QEMU's pipe still holds some of it.
    dialogue.say(b"\x03\recho over\r")?;
    unmingled(&dialogue.want("\nover\n", LIMIT * 4)?, TOLD_AT_LEAST)?;
    let asked = Instant::now();
    dialogue.say(b"echo and done\r")?;
    dialogue.want("\nand done\n", LIMIT)?;
    ensure!(asked.elapsed() <= ANSWER_LIMIT, "the answer took {:?}", asked.elapsed());
    dialogue.say(format!("repeat 500 echo {LONG}\recho end of lines\r").as_bytes())?;
    let text = dialogue.want("\nend of lines\n", LIMIT)?;
    unmingled(&text, 0)?;
    let whole = text.lines().filter(|line| *line == LONG).count();
    ensure!(whole == 500, "{whole} whole lines of 500:\n{text}");
    dialogue.say(format!("{REST} && echo clean\rpoweroff 0\r").as_bytes())?;
    let (_, end) = dialogue.end(LIMIT * 2)?;
    let clean = ["\naudit passed: ", " pages: 0 lost\n", "\nclean\n"].iter().all(|sign| end.contains(sign));
    ensure!(clean, "{end}");
    Ok(())
}

/// Whatever has a piece of the log has a line of its own, and all of it; each of [`TOLD`] is there `at_least` so often.
fn unmingled(text: &str, at_least: usize) -> Result<()> {
    let mut counts = [0; TOLD.len()];
    // The first line has lost its start, the last one its end, to what was waited for.
    let lines = || text.split('\n').skip(1);
    for line in lines().filter(|line| PIECES.iter().any(|piece| line.contains(piece))) {
        let told = record(line).and_then(|told| TOLD.iter().position(|known| *known == told));
        let Some(who) = told else { anyhow::bail!("not a line of the log: {line:?}") };
        counts[who] += 1;
    }
    let strange = lines().find(|line| record(line).is_some_and(|told| !TOLD.contains(&told)));
    ensure!(strange.is_none(), "the log says {strange:?}");
    ensure!(counts.iter().all(|count| *count >= at_least), "told {counts:?} times");
    Ok(())
}

/// What a line of the log says behind its time; `None` if it is none.
fn record(line: &str) -> Option<&str> {
    let (time, told) = line.strip_prefix('[')?.split_once("] ")?;
    let (seconds, micros) = time.trim_start().split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(seconds) && micros.len() == 6 && digits(micros)).then_some(told)
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
