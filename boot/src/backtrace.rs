//! Backtraces: the way to some code, by the frame records that every function leaves on its stack.
//!
//! The image is built with frame pointers, and the vectors leave a record for exceptions, so the way leads through
//! interrupts to what they interrupted. [`write()`] prints it for a panic's report, [`log()`] logs it for a machine that
//! lives on. A CPU that cannot say where it is has no innermost record; [`crate::stackscan`] looks for one. Linux:
//! `arch/arm64/kernel/stacktrace.c`, `dump_backtrace`.
//!
//! Linux does more: it knows which stack it is on, and checks that each record lies above the last one.

use crate::arch::exception::Registers;
use crate::arch::mmu;
use crate::arch::stack::BOOT_STACK_BYTES;
use crate::symbols;
use core::fmt::{self, Write};

/// Lines that a backtrace has at most.
const MAX_LINES: usize = 32;
/// Bytes of a line in the log at most.
const LINE_BYTES: usize = 160;
/// Frame records that it follows at most: what fits a stack, were all of them empty.
const MAX_RECORDS: usize = BOOT_STACK_BYTES / 16;

/// Prints `pc`, then the callers from the frame record at `record` on, up to the record of zeros. Recursion is counted,
/// not repeated.
pub fn write(out: &mut dyn Write, pc: u64, record: u64) -> fmt::Result {
    writeln!(out, "backtrace, innermost first:")?;
    write_way(out, pc, record)
}

/// The lines of [`write()`] without the head.
pub fn write_way(out: &mut dyn Write, pc: u64, record: u64) -> fmt::Result {
    frame_line(out, "", pc, pc)?;
    let mut callers = callers(record).skip_while(|caller| *caller == pc).peekable();
    for _ in 0..MAX_LINES {
        let Some(caller) = callers.next() else { return Ok(()) };
        // A call that never returns is the last instruction of its function: look the call up, not what follows it.
        frame_line(out, "", caller, caller - 4)?;
        let again = core::iter::from_fn(|| callers.next_if_eq(&caller)).count();
        if again > 0 {
            writeln!(out, "  ... and {again} times more")?;
        }
    }
    writeln!(out, "  ...")
}

/// Logs what [`write()`] prints, as errors.
pub fn log(pc: u64, record: u64) {
    // Never fails: `Lines` takes everything.
    let _ = write(&mut Lines::new(), pc, record);
}

/// Logs the calls that led to this one, as reports have them. Linux: `dump_backtrace`.
///
/// Linux does more: it tells how large each function is.
pub fn log_calls() {
    log::warn!("Call trace:");
    for caller in callers(Registers::capture().x[29]).take(MAX_LINES) {
        match symbols::lookup(caller - 4) {
            Some((name, offset)) => log::warn!(" {name}+{:#x}", offset + 4),
            None => log::warn!(" {caller:#x}"),
        }
    }
}

/// Makes a record of the log out of each line; what does not fit is cut.
pub struct Lines {
    text: [u8; LINE_BYTES],
    len: usize,
}

impl Lines {
    /// Nothing yet.
    pub const fn new() -> Lines {
        Lines { text: [0; LINE_BYTES], len: 0 }
    }
}

impl Write for Lines {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                log::error!("{}", str::from_utf8(&self.text[..self.len]).unwrap_or("(a name that is not text)"));
                self.len = 0;
            } else if let Some(place) = self.text.get_mut(self.len) {
                *place = byte;
                self.len += 1;
            }
        }
        Ok(())
    }
}

/// Prints `address` with the function that contains `inside`, behind `mark`.
pub fn frame_line(out: &mut dyn Write, mark: &str, address: u64, inside: u64) -> fmt::Result {
    match symbols::lookup(inside) {
        Some((name, offset)) => writeln!(out, "  {mark}{address:#x} {name}+{:#x}", offset + address - inside),
        None => writeln!(out, "  {mark}{address:#x}"),
    }
}

/// The return addresses of the frame records from `record` on, until one of zeros or one that cannot be read. Bounded,
/// because a stack that was overwritten may lead in a circle.
fn callers(mut record: u64) -> impl Iterator<Item = u64> {
    core::iter::from_fn(move || {
        if record == 0 || !record.is_multiple_of(8) || !mmu::is_readable(record) || !mmu::is_readable(record + 8) {
            return None;
        }
        // SAFETY: aligned, and the MMU says that both words can be read.
        let [outer, address] = unsafe { (record as *const [u64; 2]).read_volatile() };
        record = outer;
        (address >= 4).then_some(address)
    })
    .take(MAX_RECORDS)
}
