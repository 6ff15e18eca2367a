//! From one stack to another: all that a thread leaves behind when it gives its CPU away.
//!
//! A thread switches by calling a function, so the compiler has saved what a callee may change; [`switch`] saves the
//! rest (x19 to x30, d8 to d15) on the stack that it leaves, and the stack pointer where it is told. FP registers are in,
//! because Rust uses them anywhere. The interrupt mask is no part of it: both sides have interrupts masked. Linux:
//! `cpu_switch_to`, `ret_from_fork`.
//!
//! Linux does more: user registers, address spaces, and FP registers that stay behind until somebody wants them.

use core::arch::naked_asm;

/// Registers that [`switch`] keeps on the stack of a thread that does not run.
#[repr(C)]
struct Frame {
    /// x19 to x28.
    x: [u64; 10],
    /// x29 and x30: the frame record of [`switch`], and where it returns to.
    record: [u64; 2],
    /// d8 to d15.
    d: [u64; 8],
}

/// Makes an empty stack look as if `switch` had been called on it from the start of `entry`; its stack pointer.
///
/// # Safety
///
/// `top` must be the end of a mapped stack that nobody uses, a multiple of 16.
pub unsafe fn prepare(top: u64, entry: extern "C" fn() -> !) -> u64 {
    let frame = (top - size_of::<Frame>() as u64) as *mut Frame;
    let mut x = [0; 10];
    x[0] = entry as *const () as u64;
    // SAFETY: below the end of a stack that nobody uses, says the caller.
    unsafe { frame.write(Frame { x, record: [0, start as *const () as u64], d: [0; 8] }) };
    frame as u64
}

/// The first instructions of a thread: x19 is its entry. The zeros end backtraces.
///
/// # Safety
///
/// Only [`switch`] may come here.
#[unsafe(naked)]
unsafe extern "C" fn start() -> ! {
    naked_asm!("mov x29, xzr", "mov x30, xzr", "br x19")
}

/// Leaves this stack, noting its stack pointer at `from`, and goes on at the one whose stack pointer is `to`. Returns
/// when somebody switches back.
///
/// # Safety
///
/// Interrupts must be masked and threads run on SP_EL0. `to` must come from [`prepare`] or from a switch away, and is
/// used up by it.
#[unsafe(naked)]
pub unsafe extern "C" fn switch(from: *mut u64, to: u64) {
    naked_asm!(
        "sub   sp, sp, {frame}",
        "stp   x19, x20, [sp, #16 * 0]",
        "stp   x21, x22, [sp, #16 * 1]",
        "stp   x23, x24, [sp, #16 * 2]",
        "stp   x25, x26, [sp, #16 * 3]",
        "stp   x27, x28, [sp, #16 * 4]",
        "stp   x29, x30, [sp, #16 * 5]",
        "stp   d8, d9, [sp, #16 * 6]",
        "stp   d10, d11, [sp, #16 * 7]",
        "stp   d12, d13, [sp, #16 * 8]",
        "stp   d14, d15, [sp, #16 * 9]",
        "mov   x9, sp",
        "str   x9, [x0]",
        "mov   sp, x1",
        "ldp   x19, x20, [sp, #16 * 0]",
        "ldp   x21, x22, [sp, #16 * 1]",
        "ldp   x23, x24, [sp, #16 * 2]",
        "ldp   x25, x26, [sp, #16 * 3]",
        "ldp   x27, x28, [sp, #16 * 4]",
        "ldp   x29, x30, [sp, #16 * 5]",
        "ldp   d8, d9, [sp, #16 * 6]",
        "ldp   d10, d11, [sp, #16 * 7]",
        "ldp   d12, d13, [sp, #16 * 8]",
        "ldp   d14, d15, [sp, #16 * 9]",
        "add   sp, sp, {frame}",
        "ret",
        frame = const size_of::<Frame>(),
    )
}
