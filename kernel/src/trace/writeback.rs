//! Events of waiting for a device, as `include/trace/events/writeback.h` has them.
//!
//! Key type: [`Writeback`]. Neighbours: reclaim and the slow path emit them when they wait.
//!
//! Linux does more: events for each inode and each piece of work of the flusher threads.

use core::fmt;

/// A tracepoint of `writeback.h`. `Display` prints its fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writeback {
    /// A task waited for a device to be less busy.
    WritebackCongestionWait {
        /// The longest that it would have waited, in microseconds.
        usec_timeout: u32,
        /// How long it waited, in microseconds.
        usec_delayed: u32,
    },
    /// A task waited, or went on at once since no device was congested.
    WritebackWaitIffCongested {
        /// The longest that it would have waited, in microseconds.
        usec_timeout: u32,
        /// How long it waited, in microseconds.
        usec_delayed: u32,
    },
}

impl Writeback {
    /// The tracepoint's name.
    pub const fn name(self) -> &'static str {
        match self {
            Writeback::WritebackCongestionWait { .. } => "writeback_congestion_wait",
            Writeback::WritebackWaitIffCongested { .. } => "writeback_wait_iff_congested",
        }
    }
}

impl fmt::Display for Writeback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Writeback::WritebackCongestionWait { usec_timeout, usec_delayed }
            | Writeback::WritebackWaitIffCongested { usec_timeout, usec_delayed } => {
                write!(f, "usec_timeout={usec_timeout} usec_delayed={usec_delayed}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::assert_texts;

    #[test]
    fn both_waits() {
        assert_texts(&[
            (
                Writeback::WritebackCongestionWait { usec_timeout: 100_000, usec_delayed: 52_000 },
                "writeback_congestion_wait: usec_timeout=100000 usec_delayed=52000",
            ),
            (
                Writeback::WritebackWaitIffCongested { usec_timeout: 100_000, usec_delayed: 0 },
                "writeback_wait_iff_congested: usec_timeout=100000 usec_delayed=0",
            ),
        ]);
    }
}
