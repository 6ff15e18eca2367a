//! The AArch64 core: everything that is instructions and system registers, and no board.
//!
//! `entry` is where the loader jumps to, `secondary` where the other CPUs come in, `mmu` and `window` map, `mem` copies, `cpu` and
//! `stack` are what each CPU owns, `vectors` and `exception` catch, `switch` goes from thread to thread, `timer` rings,
//! `pmu` counts. Nothing here knows a device; `crate::driver` does.
//!
//! Linux does more: `arch/arm64` patches itself for each CPU's features and errata; we use what every ARMv8.0 core has.

pub mod cpu;
pub mod entry;
pub mod exception;
mod mem;
pub mod mmu;
pub mod pmu;
pub mod secondary;
pub mod stack;
pub mod switch;
pub mod timer;
mod vectors;
pub mod window;
