//! The name of a task, as a value that tables, records and events copy.
//!
//! Key type: [`Comm`]. Neighbours: `task` holds names and says which are valid; events and page records carry them.
//! Linux: `task_struct::comm`.

use core::fmt;

/// Bytes of a task's name, as Linux has without the terminating zero.
pub const COMM_BYTES: usize = 15;

/// A task's name.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Comm([u8; COMM_BYTES + 1]);

impl Comm {
    /// The name in `bytes`, up to the first zero.
    pub const fn from_bytes(bytes: [u8; COMM_BYTES + 1]) -> Comm {
        Comm(bytes)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(self.0.len());
        str::from_utf8(&self.0[..end]).unwrap_or("?")
    }
}

impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}
