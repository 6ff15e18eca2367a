//! Stacks, each above a guard page that the MMU leaves unmapped.
//!
//! Threads run on theirs through SP_EL0. A CPU has three: one to idle on; the interrupt stack, SP_EL1, to which
//! exceptions switch; and the emergency stack, from which a fault on that one is reported. So an overflow of any of them
//! ends in a report, not in other people's memory. These are the boot CPU's stacks and the boot thread's, which are part
//! of the image; the others are [`crate::stacks`].
//!
//! Linux does more: it knows the size of a stack by its configuration, and the sanitizers' needs.

use core::cell::UnsafeCell;

/// Bytes of the guard page at the low end of each stack.
pub const GUARD_BYTES: u64 = 4096;
/// Boot thread's stack, guard included: the hand-over builds the 50 KiB of `Memory` on it. A power of two, as those of
/// the CPU: the entry code adds it in one instruction. Builds that check more move `Memory` once more.
pub const BOOT_STACK_BYTES: usize = if cfg!(debug_assertions) { 256 << 10 } else { 128 << 10 };
/// Stack to idle on, guard included.
pub const IDLE_STACK_BYTES: usize = 16 << 10;
/// Interrupt stack, guard included.
pub const INTERRUPT_STACK_BYTES: usize = 32 << 10;
/// Emergency stack, guard included.
pub const EMERGENCY_STACK_BYTES: usize = 16 << 10;

/// A stack of `BYTES` with its guard page at the bottom.
#[repr(C, align(4096))]
pub struct Stack<const BYTES: usize>(UnsafeCell<[u8; BYTES]>);

// SAFETY: only stack pointers ever point into it, and each of them belongs to one CPU.
unsafe impl<const BYTES: usize> Sync for Stack<BYTES> {}

impl<const BYTES: usize> Stack<BYTES> {
    const fn new() -> Self {
        Stack(UnsafeCell::new([0; BYTES]))
    }

    /// Address of the guard page.
    pub fn guard(&self) -> u64 {
        self.0.get() as u64
    }

    /// The stack pointer of the empty stack.
    pub fn end(&self) -> u64 {
        self.guard() + BYTES as u64
    }
}

/// Stack of the boot thread.
#[unsafe(link_section = ".noinit")]
pub static BOOT_STACK: Stack<BOOT_STACK_BYTES> = Stack::new();
/// Stack on which the boot CPU idles.
#[unsafe(link_section = ".noinit")]
pub static IDLE_STACK: Stack<IDLE_STACK_BYTES> = Stack::new();
/// Stack of the boot CPU's interrupts.
#[unsafe(link_section = ".noinit")]
pub static INTERRUPT_STACK: Stack<INTERRUPT_STACK_BYTES> = Stack::new();
/// Stack on which the boot CPU reports a fault in an interrupt handler.
#[unsafe(link_section = ".noinit")]
pub static EMERGENCY_STACK: Stack<EMERGENCY_STACK_BYTES> = Stack::new();

/// The guard pages of the image's stacks with their names.
pub fn guards() -> [(u64, &'static str); 4] {
    [
        (BOOT_STACK.guard(), "boot thread's stack"),
        (IDLE_STACK.guard(), "idle stack"),
        (INTERRUPT_STACK.guard(), "interrupt stack"),
        (EMERGENCY_STACK.guard(), "emergency stack"),
    ]
}
