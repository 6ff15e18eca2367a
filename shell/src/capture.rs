//! Output that is kept, so that it can be shown later or beside another.
//!
//! `Shell::run_captured` puts a [`Capture`] in the console's place for one command. What the heap has no room for is
//! counted and left out; the command does not notice.

use alloc::string::String;
use core::fmt;

/// What a command printed.
#[derive(Debug)]
pub struct Capture {
    text: String,
    /// The most that is kept, in bytes.
    limit: usize,
    /// Bytes that there was no room for.
    lost: usize,
}

impl Default for Capture {
    fn default() -> Capture {
        Capture::with_limit(usize::MAX)
    }
}

impl Capture {
    /// Keeps no more than `limit` bytes.
    pub const fn with_limit(limit: usize) -> Capture {
        Capture { text: String::new(), limit, lost: 0 }
    }

    /// Adds `text`, as far as there is room. Nothing follows what was left out.
    pub fn push(&mut self, text: &str) {
        let fits = text.len() <= self.limit - self.text.len();
        if self.lost == 0 && fits && self.text.try_reserve(text.len()).is_ok() {
            self.text.push_str(text);
        } else {
            self.lost += text.len();
        }
    }

    /// What there was room for.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Bytes that were left out.
    pub const fn lost(&self) -> usize {
        self.lost
    }
}

impl fmt::Write for Capture {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text);
        Ok(())
    }
}
