//! The watchdog: finds CPUs that got stuck, and says where.
//!
//! Every CPU's alarm rings four times within the threshold at least, its beat. On its own beat a CPU that still serves
//! interrupts finds out that its thread has neither slept nor offered the CPU for twice the threshold: a soft lockup. It
//! looks at the next CPU round, too: one that has not had a beat for the threshold is locked up hard, with interrupts
//! masked. Each is reported once, until it gets on. The threshold is `watchdog_thresh=` seconds, 10 if nothing is said; 0
//! switches the watchdog off. Linux: `kernel/watchdog.c`, `watchdog_hld.c`; who looks at whom is `watchdog_buddy.c`'s.
//!
//! A soft lockup's backtrace is that of the interrupted thread. A CPU that is stuck hard cannot be asked, for it takes no
//! interrupt: who notices looks for the way on its stack ([`stackscan`]). A machine with one CPU has nobody to notice that.
//!
//! Linux does more: NMIs where there are any, panics if told so, and detects tasks that sleep for too long.

use crate::arch::cpu::{self, CPUS, Cpu};
use crate::arch::timer;
use crate::thread;
use crate::{backtrace, stackscan};
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use kernel::mmzone::NR_CPUS;

/// Seconds until a CPU counts as stuck. Linux: `watchdog_thresh`.
const DEFAULT_THRESHOLD: u64 = 10;
const SECOND: u64 = 1_000_000_000;

/// Nanoseconds until a CPU counts as stuck; 0 while the watchdog is off.
static THRESHOLD: AtomicU64 = AtomicU64::new(0);

/// What is known about a CPU's progress. Times are nanoseconds since entry.
#[repr(align(64))]
struct Pulse {
    /// When it had its last beat; 0 before the first.
    beat: AtomicU64,
    /// When its thread was last seen to get on.
    alive: AtomicU64,
    /// Whether its thread has got on since.
    touched: AtomicBool,
    /// Whether its soft lockup was reported, and its hard one.
    soft_told: AtomicBool,
    hard_told: AtomicBool,
}

static PULSES: [Pulse; NR_CPUS] = [const {
    Pulse {
        beat: AtomicU64::new(0),
        alive: AtomicU64::new(0),
        touched: AtomicBool::new(false),
        soft_told: AtomicBool::new(false),
        hard_told: AtomicBool::new(false),
    }
}; NR_CPUS];

/// Switches the watchdog on, unless `threshold` is 0 seconds. Before the other CPUs are started.
pub fn init(threshold: Option<u64>) {
    THRESHOLD.store(threshold.unwrap_or(DEFAULT_THRESHOLD) * SECOND, Relaxed);
    start();
}

/// Lets this CPU be watched from now on.
pub fn start() {
    let pulse = &PULSES[cpu::this_cpu().number];
    let now = timer::uptime_ns();
    pulse.alive.store(now, Relaxed);
    pulse.beat.store(now, Relaxed);
}

/// Notes that this CPU's thread gets on: it runs from now on, or offers to let others run. Linux:
/// `touch_softlockup_watchdog`.
pub fn touch() {
    PULSES[cpu::this_cpu().number].touched.store(true, Relaxed);
}

/// When CPU `cpu` has to beat next; `None` while nobody watches it.
pub fn next_beat(cpu: usize) -> Option<u64> {
    let beat = PULSES[cpu].beat.load(Relaxed);
    let period = THRESHOLD.load(Relaxed) * 2 / 5;
    (beat != 0 && period != 0).then(|| beat + period)
}

/// At every interrupt of this CPU's timer. Linux: `watchdog_timer_fn`.
pub fn beat() {
    let (this, now) = (cpu::this_cpu(), timer::uptime_ns());
    if next_beat(this.number).is_none_or(|due| now < due) {
        return;
    }
    let pulse = &PULSES[this.number];
    pulse.beat.store(now, Relaxed);
    pulse.hard_told.store(false, Relaxed);
    check_self(this, pulse, now);
    if let Some(next) = next_online(this.number) {
        check_other(next, now);
    }
}

/// Reports this CPU if its thread does not get on.
fn check_self(this: &Cpu, pulse: &Pulse, now: u64) {
    if pulse.touched.swap(false, Relaxed) || this.running().is_none() {
        pulse.alive.store(now, Relaxed);
        pulse.soft_told.store(false, Relaxed);
        return;
    }
    let stuck = now.saturating_sub(pulse.alive.load(Relaxed));
    if stuck > 2 * THRESHOLD.load(Relaxed) && !pulse.soft_told.swap(true, Relaxed) {
        log::error!("watchdog: BUG: soft lockup - CPU#{} stuck for {}s! [{}]", this.number, stuck / SECOND, Who(this));
        if let Some((pc, record)) = this.interrupted() {
            backtrace::log(pc, record);
        }
    }
}

/// Reports another CPU if it has had no beat.
fn check_other(other: &Cpu, now: u64) {
    let pulse = &PULSES[other.number];
    let beat = pulse.beat.load(Relaxed);
    let silent = now.saturating_sub(beat);
    if beat != 0 && silent > THRESHOLD.load(Relaxed) && !pulse.hard_told.swap(true, Relaxed) {
        log::error!(
            "watchdog: BUG: hard lockup - CPU#{} stuck for {}s! [{}]",
            other.number,
            silent / SECOND,
            Who(other)
        );
        stackscan::log(other);
    }
}

/// The online CPU behind `number`, round again; `None` if there is no other.
fn next_online(number: usize) -> Option<&'static Cpu> {
    let others = (1..NR_CPUS).map(|step| &CPUS[(number + step) % NR_CPUS]);
    others.into_iter().find(|cpu| cpu.is_online())
}

/// What a CPU runs.
struct Who<'a>(&'a Cpu);

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.running() {
            Some(thread) => write!(f, "{}:{}", thread::name(thread), thread::pid(thread)),
            None => f.write_str("idle"),
        }
    }
}
