//! Where a CPU is that cannot be asked: the way to it, read off its stack from outside.
//!
//! A CPU that keeps interrupts masked has its frame pointer to itself, but not its stack. The outermost frame record is
//! known: the one that ends the thread's chain, or, in an interrupt handler, the one in the frame that the vectors saved.
//! From there [`log()`] goes inwards. A record inside of another is one that points to it and whose return address lies
//! behind a call; and if that other record's own call names its callee, the return address lies in that callee.
//!
//! Calls that are over leave records, too: deeper than those that last, never above them. Saved registers lie next to
//! their function's record, towards the caller, so the record of the last call of a frame overwrites whatever was left
//! between the two, and the highest record of a frame is the one that was written last. Whether that call is over cannot
//! be told: every line of this kind has the `?` with which Linux marks what it has found on a stack and not by following
//! records. The function that wrote the innermost record has no line by that; the call instruction before the return
//! address tells its name, unless it took the address from a register. What was interrupted is certain, and has no mark.
//!
//! Linux does more: it sends such a CPU an interrupt that masking does not stop (`nmi_trigger_cpumask_backtrace`).
//! A Raspberry Pi's firmware keeps those (FIQ) for itself.

use crate::arch::cpu::Cpu;
use crate::arch::entry::{data_start, image_base};
use crate::backtrace::{self, Lines, frame_line};
use crate::{stacks, symbols};
use core::fmt::{self, Write};
use core::ops::Range;

/// Records that are followed at most.
const MAX_RECORDS: usize = 32;
/// What marks a line that is not certain.
const MARK: &str = "? ";

/// A frame record that was found: it lies at `at`, inside the one at `outer`, and its function returns to `back`.
#[derive(Clone, Copy)]
struct Record {
    at: u64,
    outer: u64,
    back: u64,
}

/// Logs where `cpu` seems to be, and what its interrupt handler, if it is in one, interrupted.
pub fn log(cpu: &Cpu) {
    // Never fails: `Lines` takes everything.
    let _ = write(&mut Lines::new(), cpu);
}

fn write(out: &mut dyn Write, cpu: &Cpu) -> fmt::Result {
    writeln!(out, "backtrace from its stack, innermost first; ? marks calls that may be over:")?;
    let interrupted = cpu.interrupted_record();
    let Some(stack) = stacks::in_use(cpu.number, cpu.running(), interrupted.is_some()) else { return Ok(()) };
    let stack = Stack(stack);
    stack.write_inwards(out, interrupted)?;
    match interrupted.and_then(|record| Some((record, stack.word(record + 8)?))) {
        Some((record, pc)) => backtrace::write_way(out, pc, record),
        None => Ok(()),
    }
}

/// A stack, which its CPU goes on using while we look at it.
struct Stack(Range<u64>);

impl Stack {
    /// Prints what lies inside the record at `outermost`, or inside the one that ends the chain, the innermost first.
    fn write_inwards(&self, out: &mut dyn Write, outermost: Option<u64>) -> fmt::Result {
        let mut found = [None; MAX_RECORDS];
        let mut inner = match outermost {
            Some(at) => self.inside(at, None),
            None => self.records(self.0.end).find(|record| self.word(record.outer) == Some(0)),
        };
        for place in &mut found {
            *place = inner;
            inner = inner.and_then(|record| self.inside(record.at, Some(record.back)));
        }
        let mut callers = found.iter().flatten().rev().peekable();
        match callers.peek().map(|record| callee(record.back)) {
            Some(Some(entered)) => frame_line(out, MARK, entered, entered)?,
            Some(None) => writeln!(out, "  {MARK}a function that was called by its address")?,
            None => {}
        }
        // A call that never returns is the last instruction of its function: look the call up, not what follows it.
        callers.try_for_each(|record| frame_line(out, MARK, record.back, record.back - 4))
    }

    /// The highest record inside the one at `outer`, of the function whose call returns to `back` if any is.
    fn inside(&self, outer: u64, back: Option<u64>) -> Option<Record> {
        let inner = || self.records(outer).filter(|record| record.outer == outer);
        let called = back.and_then(callee);
        let fits = |record: &Record| called.is_none_or(|entry| function(record.back - 4) == Some(entry));
        // A function may end in a jump to another: then the call does not tell whose record this is.
        inner().find(fits).or_else(|| inner().next())
    }

    /// Whatever may be a record below `end`, the highest first.
    fn records(&self, end: u64) -> impl Iterator<Item = Record> {
        let places = end.min(self.0.end).saturating_sub(self.0.start) / 8;
        let record = |place| {
            let at = self.0.start + place * 8;
            Some(Record { at, outer: self.word(at)?, back: self.word(at + 8)? })
        };
        let may_be = |record: &Record| record.outer > record.at && is_behind_call(record.back);
        (0..places).rev().filter_map(record).filter(may_be)
    }

    /// The word at `address`; `None` outside of the stack.
    fn word(&self, address: u64) -> Option<u64> {
        let inside = address.is_multiple_of(8) && self.0.contains(&address);
        // SAFETY: aligned, and the stack is mapped without its guard; it ends with whole words.
        inside.then(|| unsafe { (address as *const u64).read_volatile() })
    }
}

/// The instruction before `address`; `None` outside of the image.
fn instruction_before(address: u64) -> Option<u32> {
    let inside = (image_base() + 4..data_start()).contains(&address) && address.is_multiple_of(4);
    // SAFETY: what the image has before its data can be read, and nobody writes there.
    inside.then(|| unsafe { ((address - 4) as *const u32).read() })
}

/// Whether a call returns to `address`: behind BL or BLR.
fn is_behind_call(address: u64) -> bool {
    instruction_before(address)
        .is_some_and(|call| call & 0xfc00_0000 == 0x9400_0000 || call & 0xffff_fc1f == 0xd63f_0000)
}

/// The function that the call before `back` enters; `None` if that was in a register.
fn callee(back: u64) -> Option<u64> {
    let call = instruction_before(back).filter(|call| call & 0xfc00_0000 == 0x9400_0000)?;
    // 26 bits with a sign, in instructions.
    let distance = i64::from((call << 6) as i32 >> 6) * 4;
    function((back - 4).wrapping_add_signed(distance))
}

/// Where the function that contains `address` starts.
fn function(address: u64) -> Option<u64> {
    symbols::lookup(address).map(|(_, offset)| address - offset)
}
