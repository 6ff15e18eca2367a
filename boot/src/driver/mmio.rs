//! A block of 32-bit device registers.
//!
//! Linux does more: `readl` and `writel` with barriers for every architecture's weak spots.

/// Registers from one base address on.
#[derive(Clone, Copy)]
pub struct Mmio {
    base: u64,
}

impl Mmio {
    /// # Safety
    ///
    /// The registers that the caller will name must exist at `base`, be mapped as device memory, and belong to it.
    pub const unsafe fn new(base: u64) -> Mmio {
        Mmio { base }
    }

    /// Reads the register at byte `offset`.
    pub fn read(self, offset: u64) -> u32 {
        // SAFETY: `new`'s caller promised the registers.
        unsafe { ((self.base + offset) as *const u32).read_volatile() }
    }

    /// Reads the 64-bit register at byte `offset`.
    pub fn read64(self, offset: u64) -> u64 {
        // SAFETY: as in `read`.
        unsafe { ((self.base + offset) as *const u64).read_volatile() }
    }

    /// Writes the register at byte `offset`.
    pub fn write(self, offset: u64, value: u32) {
        // SAFETY: as in `read`.
        unsafe { ((self.base + offset) as *mut u32).write_volatile(value) }
    }

    /// Writes the 64-bit register at byte `offset`.
    pub fn write64(self, offset: u64, value: u64) {
        // SAFETY: as in `read`.
        unsafe { ((self.base + offset) as *mut u64).write_volatile(value) }
    }

    /// Waits until `ready` holds for the register at `offset`; `false` if it did not within many tries.
    ///
    /// The bound keeps a machine without that device from waiting for good; at 115,200 baud a character takes some
    /// 90 microseconds, and a register read at least 10 nanoseconds.
    pub fn wait_until(self, offset: u64, ready: impl Fn(u32) -> bool) -> bool {
        (0..1_000_000).any(|_| ready(self.read(offset)))
    }
}
