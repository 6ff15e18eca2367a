//! The console: one writer, so that lines never mingle, and a ring of received bytes.
//!
//! Who writes holds the console for the whole call. The log's records are printed by whoever has the console: a record
//! that comes while it is taken, from an interrupt handler or another CPU, waits in the log, and the owner prints it
//! before it lets go; one that comes in the middle of a line waits for the line's end, or for the reader to wait. So
//! logging never waits and never deadlocks. Interrupt handlers log; they do not write here.
//!
//! The receive interrupt fills the ring and one thread empties it. A full ring masks the receive interrupt: bytes wait
//! in the UART, and QEMU waits for us. Linux: `console_unlock`, `tty_flip`.
//!
//! Linux does more: several consoles, terminals with line disciplines.

use crate::dmesg;
use crate::driver::uart::{Received, Uart};
use crate::lock::{Guard, Lock};
use crate::ring::Ring;
use crate::sysrq;
use crate::thread::Threads;
use core::convert::Infallible;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use embedded_io::{ErrorType, Read, Write};
use kernel::sched::{Scheduler, ThreadId, WaitQueue};
use kernel::sync::Class;
use spin::Once;

static UART: Once<Uart> = Once::new();
static OUTPUT: Lock<Output> = Lock::new(Class::Console, Output { at_line_start: true, log_next: 0 });
static INPUT: Ring = Ring::new();
/// Where the reader waits for [`wait`] to have something to tell.
static READER: WaitQueue = WaitQueue::new();
/// Whether the reader waits for a byte, so that an unfinished line (the prompt's) may be left as it is.
static WAITING: AtomicBool = AtomicBool::new(false);
/// Whether the log broke into the unfinished line while the reader waited.
static BROKEN: AtomicBool = AtomicBool::new(false);
/// Whether the last thing received was a BREAK.
static BREAK: AtomicBool = AtomicBool::new(false);
/// Whether the receive interrupt is masked because the ring was full.
static THROTTLED: AtomicBool = AtomicBool::new(false);
/// Linux prints what is more important than debugging.
pub const DEFAULT_LOGLEVEL: u8 = 7;
/// Records whose level is not below this one stay in the log. Linux: `console_loglevel`.
static LOGLEVEL: AtomicU8 = AtomicU8::new(DEFAULT_LOGLEVEL);

/// What the owner of the console may touch.
struct Output {
    /// Whether the next byte starts a line.
    at_line_start: bool,
    /// Number of the log's first record that has not been printed.
    log_next: u64,
}

impl Output {
    fn put_all(&mut self, bytes: &[u8]) {
        let Some(uart) = UART.get() else { return };
        uart.put_text(bytes);
        if let Some(last) = bytes.last() {
            self.at_line_start = *last == b'\n';
        }
    }

    /// Whether the log may print: between lines, or while nobody is about to end the one that stands there.
    fn is_free(&self) -> bool {
        self.at_line_start || WAITING.load(Ordering::Relaxed)
    }

    /// Prints the log's records that are still to be printed, each on a line of its own.
    fn print_log(&mut self) {
        while let Some(entry) = dmesg::read(self.log_next) {
            self.log_next = entry.number + 1;
            if entry.level < LOGLEVEL.load(Ordering::Relaxed) {
                if !self.at_line_start {
                    BROKEN.store(true, Ordering::Relaxed);
                    READER.wake_all(&Threads);
                }
                self.start_line();
                // Never fails: `put_all` does not.
                let _ = fmt::Write::write_fmt(self, format_args!("{entry}\n"));
            }
        }
    }

    fn start_line(&mut self) {
        if !self.at_line_start {
            self.put_all(b"\n");
        }
    }
}

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put_all(text.as_bytes());
        Ok(())
    }
}

/// Makes `uart` the console. Once. Prints what the log has so far.
pub fn attach(uart: Uart) {
    UART.call_once(|| {
        uart.init();
        uart
    });
    print_log();
}

/// Whether there is a console.
pub fn is_attached() -> bool {
    UART.get().is_some()
}

/// Prints log records below `level` from now on.
pub fn set_loglevel(level: u8) {
    LOGLEVEL.store(level, Ordering::Relaxed);
}

/// Prints the log's new records, now or, if the console is taken, when its owner lets go.
pub fn print_log() {
    if is_attached()
        && let Some(output) = OUTPUT.try_lock()
    {
        release(output);
    }
}

/// Prints what has been logged meanwhile, and lets go of the console.
fn release(mut output: Guard<'_, Output>) {
    loop {
        if !output.is_free() {
            return;
        }
        output.print_log();
        let printed = output.log_next;
        drop(output);
        // A record may have come between the last look and the release, when nobody else could print it.
        if dmesg::next() <= printed {
            return;
        }
        match OUTPUT.try_lock() {
            Some(again) => output = again,
            None => return,
        }
    }
}

/// Runs `write` on the console even if its owner died with it. For reports after which the machine stops.
pub fn emergency(write: impl FnOnce(&mut dyn fmt::Write)) {
    let taken = (0..1_000_000).find_map(|_| OUTPUT.try_lock());
    let mut last = Output { at_line_start: false, log_next: 0 };
    match taken {
        Some(mut output) => {
            output.print_log();
            output.start_line();
            write(&mut *output);
        }
        None => {
            last.start_line();
            write(&mut last);
        }
    }
}

/// Output of the console; every value writes to the same one.
pub struct Out;

impl ErrorType for Out {
    type Error = Infallible;
}

impl Write for Out {
    /// Writes all of `bytes`, nothing of anybody else's between them.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let mut output = OUTPUT.lock();
        output.put_all(bytes);
        release(output);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Input of the console, for one reader.
pub struct In;

impl ErrorType for In {
    type Error = Infallible;
}

impl Read for In {
    /// Waits for a byte, then takes what there is.
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Infallible> {
        if bytes.is_empty() {
            return Ok(0);
        }
        while wait() != Wake::Input {}
        let taken = bytes.iter_mut().map_while(|byte| INPUT.pop().map(|received| *byte = received)).count();
        resume_receiving();
        Ok(taken)
    }
}

/// What the reader waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// A byte can be read.
    Input,
    /// The log broke into the unfinished line, which has to be shown again.
    Broken,
}

/// Waits for a byte, or for the log to break into the line that is being typed. For the reader.
pub fn wait() -> Wake {
    loop {
        resume_receiving();
        if BROKEN.swap(false, Ordering::Relaxed) {
            return Wake::Broken;
        }
        if !INPUT.is_empty() {
            return Wake::Input;
        }
        WAITING.store(true, Ordering::Relaxed);
        print_log();
        sleep();
        WAITING.store(false, Ordering::Relaxed);
    }
}

/// Whether an unread ^C has come. If so, it and what was typed before it are thrown away.
pub fn take_interrupt() -> bool {
    let pressed = INPUT.discard_to_interrupt();
    if pressed {
        resume_receiving();
    }
    pressed
}

/// Whether an unread ^C has come; it stays unread.
pub fn has_interrupt() -> bool {
    INPUT.has_interrupt()
}

/// Lets other threads run until there is something to do for [`wait`].
fn sleep() {
    let busy = || [&BROKEN, &THROTTLED].iter().any(|busy| busy.load(Ordering::Relaxed)) || !INPUT.is_empty();
    READER.wait(&Threads, None, busy);
}

/// Lets the UART interrupt again when a full ring had stopped it.
fn resume_receiving() {
    if THROTTLED.load(Ordering::Relaxed) && INPUT.len() <= Ring::BYTES / 2 {
        THROTTLED.store(false, Ordering::Relaxed);
        start_receiving();
    }
}

/// Lets the UART interrupt.
pub fn start_receiving() {
    if let Some(uart) = UART.get() {
        uart.set_receive_interrupt(true);
    }
}

/// The receive interrupt's handler: moves what has come into the ring. The byte behind a BREAK is a key for
/// [`crate::sysrq`].
pub fn receive() {
    let Some(uart) = UART.get() else { return };
    drain(uart);
    READER.wake_all(&Threads);
    if has_interrupt() {
        // Whatever its command sleeps for.
        Threads.wake(ThreadId::BOOT);
    }
}

/// Moves what the UART has into the ring; what does not fit stays there.
fn drain(uart: &Uart) {
    while !INPUT.is_full() {
        match uart.get() {
            None => return,
            Some(Received::Break) => BREAK.store(true, Ordering::Relaxed),
            Some(Received::Byte(key)) if BREAK.swap(false, Ordering::Relaxed) => sysrq::press(key),
            Some(Received::Byte(byte)) => INPUT.push(byte),
        }
    }
    THROTTLED.store(true, Ordering::Relaxed);
    uart.set_receive_interrupt(false);
}
