//! The last words: what happened, registers, the way there, the interrupts, the end of the log.
//!
//! Both ways to die end here: a Rust panic (a broken invariant) and an exception that nobody expected. The run's status
//! is then [`power::PANICKED`]. Linux: `panic`, `die`, `show_regs`, `dump_backtrace`.
//!
//! Linux does more: it can boot a second kernel to take a dump.

use crate::arch::cpu;
use crate::arch::exception::{Exception, Registers, TrapFrame};
use crate::backtrace;
use crate::boot_error::BootError;
use crate::{devices, dmesg, irq, lock, power, thread};
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Lines of the log that a report repeats.
const LOG_LINES: u64 = 10;

/// Reports that have started: a fault in a report makes the next one shorter.
static REPORTS: AtomicUsize = AtomicUsize::new(0);

/// The CPU that reports: one is enough.
static REPORTER: AtomicUsize = AtomicUsize::new(NOBODY);
/// In [`REPORTER`]: none.
const NOBODY: usize = usize::MAX;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let registers = Registers::capture();
    let record = registers.x[29];
    match info.location() {
        Some(at) => report(&Report {
            what: &format_args!("{} ({}:{})", info.message(), at.file(), at.line()),
            registers: &registers,
            syndrome: None,
            record,
        }),
        None => report(&Report { what: &info.message(), registers: &registers, syndrome: None, record }),
    }
}

/// Reports an exception that nobody expected.
pub fn exception(frame: &TrapFrame, what: &Exception) -> ! {
    let record = &raw const frame.record as u64;
    report(&Report { what, registers: &frame.registers, syndrome: Some((frame.esr, frame.far)), record })
}

/// Says why the machine cannot start, and stops it.
pub fn refuse(error: &BootError) -> ! {
    devices::last_console(|out| {
        // A console that fails leaves nobody to tell.
        let _ = writeln!(out, "slowpath: cannot start: {error}");
    });
    // The boot arguments may be what we could not read: ask the debugger anyway.
    power::exit_by_semihosting(power::PANICKED);
    power::exit(power::PANICKED)
}

/// What is known about the end.
struct Report<'a> {
    what: &'a dyn fmt::Display,
    registers: &'a Registers,
    /// ESR_EL1 and FAR_EL1 of an exception.
    syndrome: Option<(u64, u64)>,
    /// The innermost frame record.
    record: u64,
}

fn report(report: &Report<'_>) -> ! {
    cpu::mask();
    let this = cpu::this_cpu().number;
    if REPORTER.compare_exchange(NOBODY, this, Ordering::Relaxed, Ordering::Relaxed).is_err_and(|other| other != this) {
        cpu::park();
    }
    irq::stop_others();
    lock::stop_checking();
    match REPORTS.fetch_add(1, Ordering::Relaxed) {
        0 => devices::last_console(|out| {
            // A console that fails leaves nobody to tell.
            let _ = report.write(out);
        }),
        1 => devices::last_console(|out| {
            let _ = writeln!(out, "slowpath: panic while reporting a panic: {}", report.what);
        }),
        _ => {}
    }
    power::exit(power::PANICKED)
}

impl Report<'_> {
    fn write(&self, out: &mut dyn Write) -> fmt::Result {
        let cpu = cpu::this_cpu();
        writeln!(out, "slowpath: kernel panic on CPU {}: {}", cpu.number, self.what)?;
        match cpu.running() {
            Some(thread) => writeln!(out, "it ran thread {}, {}", thread.0, thread::name(thread))?,
            None => writeln!(out, "it ran no thread")?,
        }
        write!(out, "{}", self.registers)?;
        if let Some((esr, far)) = self.syndrome {
            writeln!(out, "esr {esr:016x} far {far:016x}")?;
        }
        backtrace::write(out, self.registers.pc, self.record)?;
        writeln!(out, "interrupts: {}", irq::Counts)?;
        writeln!(out, "the log's last lines:")?;
        let mut number = dmesg::next().saturating_sub(LOG_LINES);
        while let Some(entry) = dmesg::read(number) {
            writeln!(out, "  {entry}")?;
            number = entry.number + 1;
        }
        writeln!(out, "slowpath: stopped, status {}", power::PANICKED)
    }
}
