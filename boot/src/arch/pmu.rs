//! The cycle counter, which QEMU advances by one for each instruction when it counts instructions (`-icount`).
//!
//! Linux does more: events, sampling, counters for each task.

use super::cpu;
use aarch64_cpu::registers::{ID_AA64DFR0_EL1, Readable};
use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

/// Whether this CPU has the architecture's performance monitors.
static PRESENT: AtomicBool = AtomicBool::new(false);

/// Starts the counter, if there is one.
pub fn init() {
    let version = ID_AA64DFR0_EL1.read(ID_AA64DFR0_EL1::PMUVer);
    if version == 0 || version == 0xf {
        return;
    }
    // SAFETY: the registers exist, and nobody else counts.
    unsafe {
        asm!(
            "msr PMCCFILTR_EL0, xzr",       // cycles at EL1, too
            "msr PMCNTENSET_EL0, {cycles}",
            "msr PMCR_EL0, {on}",
            "isb",
            cycles = in(reg) 1u64 << 31,
            on = in(reg) 1u64 << 6 | 1,     // 64 bits wide, enabled
        );
    }
    PRESENT.store(true, Ordering::Relaxed);
}

/// The cycle counter; on a CPU without one, the ticks of the system counter.
#[inline(always)]
pub fn cycles() -> u64 {
    if !PRESENT.load(Ordering::Relaxed) {
        return cpu::ticks();
    }
    let cycles;
    // SAFETY: reads a register that `init` saw.
    unsafe { asm!("isb", "mrs {}, PMCCNTR_EL0", out(reg) cycles) };
    cycles
}

/// Whether [`cycles`] counts instructions: a thousand of them must take the same count, and that many, every time.
pub fn counts_instructions() -> bool {
    let first = cpu::masked(time_loop);
    (2 * LOOPS..2 * LOOPS + 20).contains(&first) && (0..4).all(|_| cpu::masked(time_loop) == first)
}

const LOOPS: u64 = 500;

/// What [`LOOPS`] loops of two instructions take. Not inlined: each copy would be compiled in its own way.
#[inline(never)]
fn time_loop() -> u64 {
    let start = cycles();
    // SAFETY: counts a register down.
    unsafe { asm!("2:", "subs {n}, {n}, #1", "b.ne 2b", n = inout(reg) LOOPS => _) };
    cycles() - start
}
