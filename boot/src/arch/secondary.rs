//! Entry of the other CPUs: from wherever the firmware lets them go to [`crate::smp::secondary_main`], with the MMU and the
//! caches on.
//!
//! A CPU comes with nothing but its MPIDR_EL1, by which it finds its [`Letter`]: what it needs before it can see the caches
//! of the others. The letter is cleaned to memory before the CPU is started, and stays as it is: a CPU that comes late
//! finds its own stacks, and nobody else's. No stack is used before the MMU is on. Linux: `secondary_entry`,
//! `secondary_data`.
//!
//! Linux does more: it lets CPUs go and come back, and enables what each one's features and errata need.

use super::cpu::{CPUS, Cpu};
use super::entry::{clean_data_cache, drop_to_el1};
use super::vectors;
use crate::stacks::CpuStacks;
use aarch64_cpu::registers::{MAIR_EL1, MPIDR_EL1, Readable, SCTLR_EL1, TCR_EL1, TTBR0_EL1};
use core::arch::naked_asm;
use core::sync::atomic::{AtomicU64, Ordering};
use kernel::mmzone::NR_CPUS;

/// Bits of MPIDR_EL1 that name a CPU: Aff3 and Aff2 to Aff0.
const AFFINITY: u64 = 0xff_00ff_ffff;
/// Set in the name of a letter that was written.
const WRITTEN: u64 = 1 << 63;

/// What a CPU gets to know before its MMU is on: a cache line of words.
#[repr(C, align(64))]
struct Letter {
    /// The CPU's affinity and [`WRITTEN`].
    name: AtomicU64,
    /// The boot CPU's translation: TTBR0_EL1, MAIR_EL1, TCR_EL1, SCTLR_EL1.
    translation: [AtomicU64; 4],
    /// Its stack pointers: SP_EL1, SP_EL0.
    stacks: [AtomicU64; 2],
    /// The address of its [`Cpu`].
    cpu: AtomicU64,
}

static LETTERS: [Letter; NR_CPUS] = [const {
    Letter {
        name: AtomicU64::new(0),
        translation: [const { AtomicU64::new(0) }; 4],
        stacks: [const { AtomicU64::new(0) }; 2],
        cpu: AtomicU64::new(0),
    }
}; NR_CPUS];

/// The affinity of the CPU that executes this, as device trees name CPUs.
pub fn affinity() -> u64 {
    MPIDR_EL1.get() & AFFINITY
}

/// Writes the letter of CPU `number`, whose affinity is `affinity`; the address at which the CPU has to start.
pub fn prepare(number: usize, affinity: u64, stacks: CpuStacks) -> u64 {
    let (letter, cpu): (&Letter, &'static Cpu) = (&LETTERS[number], &CPUS[number]);
    cpu.set_emergency_stack(stacks.emergency);
    let translation = [TTBR0_EL1.get(), MAIR_EL1.get(), TCR_EL1.get(), SCTLR_EL1.get()];
    letter.translation.iter().zip(translation).for_each(|(word, value)| word.store(value, Ordering::Relaxed));
    letter.stacks[0].store(stacks.interrupt_end, Ordering::Relaxed);
    letter.stacks[1].store(stacks.idle_end, Ordering::Relaxed);
    letter.cpu.store(&raw const *cpu as u64, Ordering::Relaxed);
    letter.name.store(affinity | WRITTEN, Ordering::Release);
    let start = &raw const *letter as u64;
    // SAFETY: cleaning changes no memory.
    unsafe { clean_data_cache(start, start + size_of::<Letter>() as u64) };
    secondary_entry as *const () as u64
}

/// Where the firmware lets a CPU go, at any exception level, MMU off.
///
/// # Safety
///
/// For the firmware only.
#[unsafe(naked)]
unsafe extern "C" fn secondary_entry() -> ! {
    naked_asm!(
        "msr   DAIFSet, #0xf",
        "bl    {drop_to_el1}",

        // The letter with our name.
        "mrs   x0, MPIDR_EL1",
        "ldr   x1, ={affinity}",
        "and   x0, x0, x1",
        "orr   x0, x0, {written}",
        "adrp  x1, {letters}",
        "add   x1, x1, :lo12:{letters}",
        "mov   x2, {nr_cpus}",
        "2:",
        "ldr   x3, [x1]",
        "cmp   x3, x0",
        "b.eq  4f",
        "add   x1, x1, {letter_bytes}",
        "subs  x2, x2, #1",
        "b.ne  2b",
        "3:", // Nobody wrote to us: somebody else started us.
        "wfi",
        "b     3b",

        // The boot CPU's translation.
        "4:",
        "ldp   x4, x5, [x1, #8]",
        "ldp   x6, x7, [x1, #24]",
        "msr   TTBR0_EL1, x4",
        "msr   TTBR1_EL1, xzr",
        "msr   MAIR_EL1, x5",
        "msr   TCR_EL1, x6",
        "ldp   x8, x9, [x1, #40]",
        "ldr   x10, [x1, #56]",
        "isb",
        "tlbi  vmalle1",
        "ic    iallu",
        "dsb   nsh",
        "isb",
        "msr   SCTLR_EL1, x7",
        "isb",

        // Stacks, vectors, who we are; then Rust for good. The zeros end backtraces.
        "msr   SPSel, #1",
        "mov   sp, x8",
        "msr   SPSel, #0",
        "mov   sp, x9",
        "adrp  x1, {vectors}",
        "add   x1, x1, :lo12:{vectors}",
        "msr   VBAR_EL1, x1",
        "msr   TPIDR_EL1, x10",
        "isb",
        "mov   x29, xzr",
        "mov   x30, xzr",
        "bl    {main}",
        "brk   #1",
        drop_to_el1 = sym drop_to_el1,
        affinity = const AFFINITY,
        written = const WRITTEN,
        letters = sym LETTERS,
        nr_cpus = const NR_CPUS,
        letter_bytes = const size_of::<Letter>(),
        vectors = sym vectors::exception_vectors,
        main = sym crate::smp::secondary_main,
    )
}
