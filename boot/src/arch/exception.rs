//! What an exception was, in words; interrupts to [`crate::irq`], everything else to [`crate::panic`].
//!
//! One fault is repaired: the semihosting instruction on a machine without a debugger. So a stop that asks
//! semihosting first is safe everywhere ([`crate::power`]).
//!
//! Linux does more: page faults are its daily bread.

use super::cpu::this_cpu;
use crate::stacks::Overflow;
use core::fmt;

/// The general registers of some code.
#[repr(C)]
pub struct Registers {
    /// x0 to x30.
    pub x: [u64; 31],
    /// The stack pointer that the code used.
    pub sp: u64,
    /// Where it was.
    pub pc: u64,
    /// Its processor state (PSTATE).
    pub spsr: u64,
}

/// Everything the interrupted code had, as the vectors stored it.
#[repr(C, align(16))]
pub struct TrapFrame {
    /// The general registers.
    pub registers: Registers,
    /// Why the exception was taken.
    pub esr: u64,
    /// Address whose access failed, for aborts.
    pub far: u64,
    /// Status and control of the FP unit.
    pub fpsr: [u64; 2],
    /// Frame record: x29 and where it was, for the backtrace.
    pub record: [u64; 2],
    /// q0 to q31.
    pub q: [u128; 32],
}

/// `HLT #0xf000`, the instruction that calls a debugger's semihosting.
const HLT_SEMIHOSTING: u32 = 0xd45e_0000;

/// Called by the vectors; returns to the interrupted code, or never.
pub extern "C" fn dispatch(frame: &mut TrapFrame, vector: u64) {
    match vector {
        1 | 5 => this_cpu().interrupted_at(frame, crate::irq::handle),
        0 | 4 if is_unanswered_semihosting(frame) => frame.registers.pc += 4,
        _ => crate::panic::exception(
            frame,
            &Exception { vector, esr: frame.esr, far: frame.far, elr: frame.registers.pc },
        ),
    }
}

/// Whether the exception is a semihosting call that no debugger caught.
fn is_unanswered_semihosting(frame: &TrapFrame) -> bool {
    // SAFETY: the CPU fetched an instruction there just now, so the address is mapped and readable.
    class(frame.esr) == 0 && unsafe { (frame.registers.pc as *const u32).read() } == HLT_SEMIHOSTING
}

const fn class(esr: u64) -> u64 {
    esr >> 26 & 0x3f
}

/// An exception that nobody expected; prints as one sentence.
pub struct Exception {
    /// Number of the vector, 0 to 15.
    pub vector: u64,
    /// ESR_EL1, FAR_EL1 and ELR_EL1.
    pub esr: u64,
    /// See `esr`.
    pub far: u64,
    /// See `esr`.
    pub elr: u64,
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.vector % 4 {
            0 => self.synchronous(f),
            1 => f.write_str("unexpected interrupt"),
            2 => f.write_str("unexpected fast interrupt (FIQ)"),
            _ => write!(f, "system error (SError), syndrome {:#x}", self.esr & 0x1ff_ffff),
        }?;
        match self.vector / 4 {
            0 => Ok(()),
            1 => f.write_str(", in an exception handler"),
            _ => f.write_str(", from a lower exception level"),
        }
    }
}

impl Exception {
    fn synchronous(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let syndrome = self.esr & 0x1ff_ffff;
        match class(self.esr) {
            0x00 => write!(f, "undefined instruction at {:#x}", self.elr),
            0x07 => f.write_str("FP or SIMD instruction trapped"),
            0x0e => f.write_str("illegal execution state"),
            0x15 => write!(f, "SVC #{:#x}", syndrome & 0xffff),
            0x18 => write!(f, "system register access trapped, syndrome {syndrome:#x}"),
            0x20 | 0x21 => write!(f, "instruction fetch from {:#x}: {}", self.far, fault(syndrome)),
            0x22 => write!(f, "program counter {:#x} is not aligned", self.far),
            0x24 | 0x25 => self.data_abort(f, syndrome),
            0x26 => f.write_str("stack pointer is not aligned"),
            0x2c => f.write_str("FP exception"),
            0x3c => write!(f, "breakpoint (BRK #{:#x})", syndrome & 0xffff),
            other => write!(f, "exception class {other:#x}, syndrome {syndrome:#x}"),
        }
    }

    fn data_abort(&self, f: &mut fmt::Formatter<'_>, syndrome: u64) -> fmt::Result {
        let access = if syndrome & 1 << 6 != 0 { "write to" } else { "read from" };
        write!(f, "{access} {:#x}: {}", self.far, fault(syndrome))?;
        match Overflow::at(self.far) {
            Some(overflow) => write!(f, " (guard page: {overflow})"),
            None => Ok(()),
        }
    }
}

/// The fault status code of an abort in words.
const fn fault(syndrome: u64) -> &'static str {
    match syndrome & 0x3f {
        0x00..=0x03 => "address size fault",
        0x04..=0x07 => "not mapped",
        0x08..=0x0b => "access flag fault",
        0x0c..=0x0f => "not permitted",
        0x10 => "external abort: nothing answers there",
        0x14..=0x17 => "external abort on a table walk",
        0x18..=0x1f => "parity or ECC error",
        0x21 => "not aligned",
        0x30 => "TLB conflict",
        0x35 => "exclusive access to memory that does not support it",
        _ => "fault of an unknown kind",
    }
}

impl Registers {
    /// The registers of the caller. What its callee may change is as the compiler left it.
    #[inline(always)]
    pub fn capture() -> Registers {
        let mut registers = Registers { x: [0; 31], sp: 0, pc: 0, spsr: 0 };
        // SAFETY: stores into `registers` alone, whose layout is fixed.
        unsafe {
            core::arch::asm!(
                "stp x0, x1, [{r}, #16 * 0]", "stp x2, x3, [{r}, #16 * 1]", "stp x4, x5, [{r}, #16 * 2]",
                "stp x6, x7, [{r}, #16 * 3]", "stp x8, x9, [{r}, #16 * 4]", "stp x10, x11, [{r}, #16 * 5]",
                "stp x12, x13, [{r}, #16 * 6]", "stp x14, x15, [{r}, #16 * 7]", "stp x16, x17, [{r}, #16 * 8]",
                "stp x18, x19, [{r}, #16 * 9]", "stp x20, x21, [{r}, #16 * 10]", "stp x22, x23, [{r}, #16 * 11]",
                "stp x24, x25, [{r}, #16 * 12]", "stp x26, x27, [{r}, #16 * 13]", "stp x28, x29, [{r}, #16 * 14]",
                "mov {t}, sp", "stp x30, {t}, [{r}, #16 * 15]", "adr {t}, .", "str {t}, [{r}, #16 * 16]",
                r = in(reg) &raw mut registers, t = out(reg) _,
            );
        }
        registers
    }
}

impl fmt::Display for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pc  {:016x} sp  {:016x} spsr {:08x}", self.pc, self.sp, self.spsr)?;
        for (row, registers) in self.x.chunks(4).enumerate() {
            for (column, value) in registers.iter().enumerate() {
                let number = 4 * row + column;
                let gap = if column == 0 { "" } else { " " };
                let pad = if number < 10 { " " } else { "" };
                write!(f, "{gap}x{number}{pad} {value:016x}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
