//! The kernel log of a host machine: what its threads logged.
//!
//! The program has one logger; each of its threads belongs to a machine, whose log it keeps.

use std::cell::RefCell;
use std::format;
use std::string::String;
use std::sync::{Arc, Mutex};
use std::vec::Vec;

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Level and text of each record.
type Records = Vec<(u8, String)>;

/// The log of one machine.
#[derive(Clone, Debug, Default)]
pub struct Dmesg(Arc<Mutex<Records>>);

std::thread_local! {
    /// The log of the machine that the thread belongs to.
    static CURRENT: RefCell<Dmesg> = RefCell::default();
}

struct Logger;

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // No time passes on the host, as far as the log can tell: transcripts stay the same.
        let text = format!("[{:5}.{:06}] {}", 0, 0, record.args());
        CURRENT.with_borrow(|log| log.records(|records| records.push((linux_level(record.level()), text))));
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

impl Dmesg {
    /// An empty log, and it is this thread's.
    pub fn start() -> Dmesg {
        // Fails when another machine of this process set it before.
        let _ = log::set_logger(&Logger);
        log::set_max_level(LevelFilter::Debug);
        let dmesg = Dmesg::default();
        dmesg.join();
        dmesg
    }

    /// From now on the log is this thread's.
    pub fn join(&self) {
        CURRENT.set(self.clone());
    }

    /// Shows `f` the level and the text of the record at `position`.
    pub fn record<R>(&self, position: usize, f: impl FnOnce(u8, &str) -> R) -> Option<R> {
        self.records(|records| records.get(position).map(|(level, text)| f(*level, text)))
    }

    fn records<R>(&self, f: impl FnOnce(&mut Records) -> R) -> R {
        f(&mut self.0.lock().expect("no panic while a record is written"))
    }
}
