//! The kernel log of a host machine: what its thread logged, one log for each thread.

use std::cell::RefCell;
use std::format;
use std::string::String;
use std::vec::Vec;

use log::{Level, LevelFilter, Log, Metadata, Record};

std::thread_local! {
    static RECORDS: RefCell<Vec<(u8, String)>> = const { RefCell::new(Vec::new()) };
}

struct Dmesg;

impl Log for Dmesg {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // No time passes on the host, as far as the log can tell: transcripts stay the same.
        let text = format!("[{:5}.{:06}] {}", 0, 0, record.args());
        RECORDS.with_borrow_mut(|records| records.push((linux_level(record.level()), text)));
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

/// Starts this thread's log anew.
pub fn init() {
    // Fails when another machine of this process set it before.
    let _ = log::set_logger(&Dmesg);
    log::set_max_level(LevelFilter::Debug);
    RECORDS.with_borrow_mut(Vec::clear);
}

/// Shows `f` the level and the text of the record at `position`.
pub fn record<R>(position: usize, f: impl FnOnce(u8, &str) -> R) -> Option<R> {
    RECORDS.with_borrow(|records| records.get(position).map(|(level, text)| f(*level, text)))
}
