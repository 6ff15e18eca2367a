//! The AArch64 core: everything that is instructions and system registers, and no board.
//!
//! `entry` is where the loader jumps to, `mmu` maps, `mem` copies, `cpu` and `stack` are what each CPU owns, `vectors`
//! and `exception` catch, `timer` ticks, `pmu` counts. Nothing here knows a device; `crate::driver` does.
//!
//! Linux does more: `arch/arm64` patches itself for each CPU's features and errata; we use what every ARMv8.0 core has.

pub mod cpu;
pub mod entry;
pub mod exception;
mod mem;
pub mod mmu;
pub mod pmu;
pub mod stack;
pub mod timer;
mod vectors;
