//! One CPU: who it is, its interrupt mask, its counter, its sleep.
//!
//! [`Cpu`] is the CPU's own block; TPIDR_EL1 points to it, and only this file and the vectors know so.
//!
//! Linux does more: per-CPU sections that are copied for each CPU; we have one struct.

use aarch64_cpu::asm;
use aarch64_cpu::registers::{CNTFRQ_EL0, CNTVCT_EL0, DAIF, Readable, TPIDR_EL1};

/// What belongs to one CPU. The vectors read `emergency_stack` by its offset.
#[repr(C)]
pub struct Cpu {
    /// The emergency stack ([`super::stack`]).
    pub emergency_stack: &'static super::stack::Stack<{ super::stack::EMERGENCY_STACK_BYTES }>,
    /// The CPU's number, 0 for the one that booted.
    pub number: usize,
}

/// The CPU that the loader started.
pub static BOOT_CPU: Cpu = Cpu { emergency_stack: &super::stack::EMERGENCY_STACK, number: 0 };

/// The CPU that executes this. The answer holds only as long as the thread stays: mask interrupts first.
#[inline(always)]
pub fn this_cpu() -> &'static Cpu {
    // SAFETY: entry code put the address of a static into TPIDR_EL1, and nothing else writes the register.
    unsafe { &*(TPIDR_EL1.get() as *const Cpu) }
}

/// Runs `work` with interrupts masked on this CPU, then restores the mask as it was.
pub fn masked<R>(work: impl FnOnce() -> R) -> R {
    let before = mask();
    let result = work();
    restore(before);
    result
}

/// Masks interrupts; returns the mask for [`restore`].
#[inline(always)]
pub fn mask() -> u64 {
    let before = DAIF.get();
    // SAFETY: masking interrupts breaks no promise of anyone's.
    unsafe { core::arch::asm!("msr DAIFSet, #2") };
    before
}

/// Puts back the mask that [`mask`] returned.
#[inline(always)]
pub fn restore(before: u64) {
    // SAFETY: the mask was this before. No `nomem`: what was done under the mask stays before this.
    unsafe { core::arch::asm!("msr DAIF, {}", in(reg) before) };
}

/// Whether interrupts are masked on this CPU.
pub fn is_masked() -> bool {
    DAIF.is_set(DAIF::I)
}

/// Lets interrupts, debug and system errors through. Once, when their handlers are ready.
pub fn unmask() {
    // SAFETY: the vectors and their handlers are in place, says the caller.
    unsafe { core::arch::asm!("msr DAIFClr, #0xe") };
}

/// Waits for an interrupt. Returns at once when one is pending, even a masked one.
pub fn wait() {
    asm::barrier::dsb(asm::barrier::SY);
    asm::wfi();
}

/// Waits for nothing, for good.
pub fn park() -> ! {
    masked(|| {
        loop {
            asm::wfi();
        }
    })
}

/// The virtual counter: ticks of [`frequency`] since reset, nearly.
pub fn ticks() -> u64 {
    asm::barrier::isb(asm::barrier::SY);
    CNTVCT_EL0.get()
}

/// Ticks of [`ticks`] in a second.
pub fn frequency() -> u64 {
    CNTFRQ_EL0.get()
}
