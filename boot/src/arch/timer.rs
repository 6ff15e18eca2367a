//! The tick: the CPU's own virtual timer, 100 times a second while there is work, silent while the CPU waits.
//!
//! Time itself is the counter ([`super::cpu::ticks`]) and never the number of ticks, so a missed tick loses nothing and
//! a stopped one costs nothing. Linux: `arm_arch_timer`, `CONFIG_HZ=100`, `NO_HZ_IDLE`.
//!
//! Linux does more: high-resolution timers, clock sources that are compared with each other.

use super::cpu;
use aarch64_cpu::registers::{CNTV_CTL_EL0, CNTV_TVAL_EL0, Writeable};
use core::sync::atomic::{AtomicU64, Ordering};

/// Ticks a second.
pub const HZ: u64 = 100;

/// The counter's value at entry.
static EPOCH: AtomicU64 = AtomicU64::new(0);

/// Starts this CPU's tick; the first comes in 1 / [`HZ`] seconds.
pub fn start() {
    CNTV_TVAL_EL0.set(cpu::frequency() / HZ);
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET);
}

/// Stops this CPU's tick.
pub fn stop() {
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::CLEAR);
}

/// The timer's interrupt handler: arms the next tick.
pub fn tick() {
    start();
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
