//! The Raspberry Pi's watchdog (`brcm,bcm2711-pm` and its elders), the one way to stop that machine.
//!
//! A reset with partition 63 is the firmware's sign for halt; QEMU exits for it. Linux: `bcm2835_wdt`.
//!
//! Linux does more: it feeds the dog.

use super::mmio::Mmio;

const RSTC: u64 = 0x1c;
const RSTS: u64 = 0x20;
const WDOG: u64 = 0x24;
/// Every write carries it in the top byte.
const PASSWORD: u32 = 0x5a00_0000;
/// The partition's six bits stand in every other bit.
const RSTS_HALT: u32 = 0x555;
const RSTC_CONFIG: u32 = 0x30;
const RSTC_FULL_RESET: u32 = 0x20;
/// Units of 16 microseconds until the reset.
const SOON: u32 = 10;

/// The watchdog's registers.
pub struct Watchdog(Mmio);

impl Watchdog {
    /// # Safety
    ///
    /// The power management block must be at `base`, mapped, and used by nobody else.
    pub const unsafe fn new(base: u64) -> Watchdog {
        // SAFETY: the caller's promise, passed on.
        Watchdog(unsafe { Mmio::new(base) })
    }

    /// Halts the machine in a moment.
    pub fn halt(&self) {
        self.0.write(RSTS, PASSWORD | self.0.read(RSTS) & 0x00ff_ffff | RSTS_HALT);
        self.0.write(WDOG, PASSWORD | SOON);
        self.0.write(RSTC, PASSWORD | self.0.read(RSTC) & 0x00ff_ffff & !RSTC_CONFIG | RSTC_FULL_RESET);
    }
}
