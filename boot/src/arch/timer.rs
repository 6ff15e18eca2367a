//! Time, and the CPU's own virtual timer: an alarm clock, set by [`crate::thread`] for the next thing that it awaits.
//!
//! Time itself is the counter ([`super::cpu::ticks`]) and never the number of alarms, so a late one loses nothing and
//! none costs nothing. Linux: `arm_arch_timer`, `NO_HZ_FULL`.
//!
//! Linux does more: high-resolution timers, clock sources that are compared with each other.

use super::cpu;
use aarch64_cpu::registers::{CNTV_CTL_EL0, CNTV_CVAL_EL0, Writeable};
use core::sync::atomic::{AtomicU64, Ordering};

/// The counter's value at entry.
static EPOCH: AtomicU64 = AtomicU64::new(0);

/// Lets this CPU's timer interrupt at `uptime_ns`, at once if that is over; not at all for `None`.
pub fn set_alarm(uptime_ns: Option<u64>) {
    let Some(uptime_ns) = uptime_ns else {
        return CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::CLEAR);
    };
    CNTV_CVAL_EL0.set(EPOCH.load(Ordering::Relaxed).saturating_add(ticks(uptime_ns)));
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET);
}

/// Ticks of the counter in which at least `ns` nanoseconds pass: [`nanoseconds`] of them is not less than `ns`.
fn ticks(ns: u64) -> u64 {
    let (seconds, rest, frequency) = (ns / 1_000_000_000, ns % 1_000_000_000, cpu::frequency());
    seconds.saturating_mul(frequency).saturating_add((rest * frequency).div_ceil(1_000_000_000))
}

/// Nanoseconds that `ticks` of the counter take.
fn nanoseconds(ticks: u64) -> u64 {
    let frequency = cpu::frequency().max(1);
    ticks / frequency * 1_000_000_000 + ticks % frequency * 1_000_000_000 / frequency
}

/// Nanoseconds since entry.
pub fn uptime_ns() -> u64 {
    nanoseconds(cpu::ticks() - EPOCH.load(Ordering::Relaxed))
}

/// Notes the counter's value at entry: time 0.
pub fn set_epoch(ticks: u64) {
    EPOCH.store(ticks, Ordering::Relaxed);
}
