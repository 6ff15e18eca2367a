//! The kernel's log: a ring of records, which `dmesg` prints and the console follows.
//!
//! The `log` crate's macros write here from any context, interrupt handlers included; the console prints what its level
//! lets through when it is free ([`crate::console`]). When the ring is full the oldest records go. Linux:
//! `kernel/printk/`.
//!
//! Linux does more: facilities, continuation lines, rate limits, and readers that are told what they missed.

use crate::arch::{cpu, timer};
use crate::lock::Lock;
use core::fmt::{self, Write};
use kernel::sync::Class;
use log::{Level, LevelFilter, Log, Metadata, Record};

/// Bytes of the ring. Linux: `CONFIG_LOG_BUF_SHIFT`.
const RING_BYTES: usize = 64 << 10;
/// Bytes of one record's text; what is longer is cut and marked.
pub const TEXT_BYTES: usize = 512;
/// A record's length (2 bytes), level (1) and time (8) precede its text.
const HEADER_BYTES: usize = 11;

/// Records that are kept at most.
const RECORDS: usize = 1024;

static RING: Lock<Ring> =
    Lock::new(Class::Log, Ring { bytes: [0; RING_BYTES], starts: [0; RECORDS], end: 0, first: 0, next: 0 });
/// Records end to end. They are numbered from 0 on; places count bytes ever written, each modulo the ring's size.
struct Ring {
    bytes: [u8; RING_BYTES],
    /// Where each record starts, by its number modulo the array's length.
    starts: [u64; RECORDS],
    /// Where the next record will start.
    end: u64,
    /// Number of the oldest record.
    first: u64,
    /// Number of the next record.
    next: u64,
}

/// One line of the log.
pub struct Entry {
    /// Its number.
    pub number: u64,
    /// How important, as a number of Linux's: 3 error, 4 warning, 6 information, 7 debugging.
    pub level: u8,
    /// Nanoseconds since entry.
    pub time: u64,
    text: Text,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let microseconds = self.time / 1000;
        write!(f, "[{:5}.{:06}] {}", microseconds / 1_000_000, microseconds % 1_000_000, self.text.as_str())
    }
}

impl Ring {
    fn append(&mut self, level: u8, time: u64, text: &[u8]) {
        let end = self.end + (HEADER_BYTES + text.len()) as u64;
        while self.first < self.next && (end - self.start(self.first) > RING_BYTES as u64 || self.is_full()) {
            self.first += 1;
        }
        self.starts[self.next as usize % RECORDS] = self.end;
        self.next += 1;
        self.put(&(text.len() as u16).to_le_bytes());
        self.put(&[level]);
        self.put(&time.to_le_bytes());
        self.put(text);
    }

    fn is_full(&self) -> bool {
        self.next - self.first == RECORDS as u64
    }

    fn start(&self, number: u64) -> u64 {
        self.starts[number as usize % RECORDS]
    }

    fn put(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.bytes[self.end as usize % RING_BYTES] = *byte;
            self.end += 1;
        }
    }

    fn copy(&self, at: u64, to: &mut [u8]) {
        for (i, byte) in to.iter_mut().enumerate() {
            *byte = self.bytes[(at as usize + i) % RING_BYTES];
        }
    }

    fn get<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.copy(at, &mut bytes);
        bytes
    }

    fn read(&self, number: u64) -> Option<Entry> {
        let number = number.max(self.first);
        if number >= self.next {
            return None;
        }
        let at = self.start(number);
        let mut text = Text::new();
        text.len = usize::from(u16::from_le_bytes(self.get(at)));
        self.copy(at + HEADER_BYTES as u64, &mut text.bytes[..text.len]);
        let [level] = self.get(at + 2);
        Some(Entry { number, level, time: u64::from_le_bytes(self.get(at + 3)), text })
    }
}

/// Text of a record while it is written or printed.
struct Text {
    bytes: [u8; TEXT_BYTES],
    len: usize,
}

impl Text {
    const fn new() -> Text {
        Text { bytes: [0; TEXT_BYTES], len: 0 }
    }

    fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.len]).unwrap_or("(a log record that is not text)")
    }
}

impl Write for Text {
    /// Takes what fits; a text that does not ends in `...`.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = TEXT_BYTES - self.len;
        let fits = text.floor_char_boundary(room);
        self.bytes[self.len..self.len + fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.len += fits;
        if fits == text.len() {
            return Ok(());
        }
        self.len = TEXT_BYTES - 3;
        self.bytes[self.len..].copy_from_slice(b"...");
        self.len = TEXT_BYTES;
        Err(fmt::Error)
    }
}

/// The log as the `log` crate sees it.
struct Dmesg;

impl Log for Dmesg {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut text = Text::new();
        // Fails only when the text was cut, and then says so itself.
        let _ = text.write_fmt(*record.args());
        let time = timer::uptime_ns();
        cpu::masked(|| RING.lock().append(linux_level(record.level()), time, &text.bytes[..text.len]));
        crate::console::print_log();
    }

    fn flush(&self) {}
}

const fn linux_level(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Starts the log.
pub fn init() {
    // Fails only when a logger was set before, and there is one `init` in `kernel_main`.
    let _ = log::set_logger(&Dmesg);
    log::set_max_level(LevelFilter::Debug);
}

/// The oldest record whose number is `number` or above.
pub fn read(number: u64) -> Option<Entry> {
    cpu::masked(|| RING.lock().read(number))
}

/// The number that the next record gets.
pub fn next() -> u64 {
    cpu::masked(|| RING.lock().next)
}
