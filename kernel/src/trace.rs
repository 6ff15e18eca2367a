//! Events: what the allocator decided, as typed values that leave through a [`Tracer`].
//!
//! An [`Event`] is a small `Copy` value; `Display` prints it as Linux's trace file does after the line's prefix
//! (`mm_page_free: page=0x48a50000 pfn=297552 order=0`). Events are grouped by the header that defines them in Linux,
//! each group a file: [`kmem`] so far, and [`decision`] for the steps that Linux does not trace and `explain` needs.
//! [`Ring`] keeps the last ones. Neighbours: `Env` hands a tracer to the allocator; `explain` reads a ring.
//!
//! Linux does more: one switch and one filter per event, a ring per CPU, and triggers.

use core::fmt;

pub mod decision;
pub mod kmem;
mod ring;

pub use decision::Decision;
pub use kmem::Kmem;
pub use ring::Ring;

/// Something that happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A tracepoint of `include/trace/events/kmem.h`.
    Kmem(Kmem),
    /// A step of our own, for `explain`.
    Decision(Decision),
}

impl Event {
    /// The tracepoint's name.
    pub const fn name(self) -> &'static str {
        match self {
            Event::Kmem(event) => event.name(),
            Event::Decision(event) => event.name(),
        }
    }
}

impl From<Kmem> for Event {
    fn from(event: Kmem) -> Event {
        Event::Kmem(event)
    }
}

impl From<Decision> for Event {
    fn from(event: Decision) -> Event {
        Event::Decision(event)
    }
}

/// The name, a colon, and the event's fields.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name())?;
        match self {
            Event::Kmem(event) => event.fmt(f),
            Event::Decision(event) => event.fmt(f),
        }
    }
}

/// Who did it and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stamp {
    /// `Env`'s clock, in nanoseconds.
    pub time: u64,
    /// The processor.
    pub cpu: u8,
    /// The current task's number.
    pub pid: u32,
}

/// An event as a [`Ring`] keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Events recorded before this one.
    pub seq: u64,
    /// Who and when.
    pub stamp: Stamp,
    /// What.
    pub event: Event,
}

/// Nanoseconds of a jiffy: 250 of them make a second.
const JIFFY_NS: u64 = 1_000_000_000 / 250;

impl Entry {
    /// The line of the trace file, with the name of the task: `comm-pid [cpu] jiffies: event: fields`.
    pub fn line<'a>(&'a self, comm: &'a str) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| {
            let Stamp { time, cpu, pid } = self.stamp;
            write!(f, "{comm:>16}-{pid:<5} [{cpu:03}] {}: {}", time / JIFFY_NS, self.event)
        })
    }
}

/// Where events go.
///
/// A caller asks [`enabled`](Tracer::enabled) before it builds an event, and records outside of every lock.
pub trait Tracer {
    /// Whether events are wanted now. One load; `false` for ever in [`NoTrace`].
    fn enabled(&self) -> bool;

    /// Takes an event. Never waits, so an interrupt handler may call it.
    fn record(&self, stamp: Stamp, event: Event);
}

/// Wants no events; code that asks it compiles to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTrace;

impl Tracer for NoTrace {
    #[inline]
    fn enabled(&self) -> bool {
        false
    }

    #[inline]
    fn record(&self, _: Stamp, _: Event) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Order, Pfn};

    #[test]
    fn a_line_of_the_trace_file() {
        let event = Kmem::MmPageFree { page: Pfn(0x48a50), order: Order::ZERO }.into();
        let entry = Entry { seq: 0, stamp: Stamp { time: 1_579_557_000, cpu: 1, pid: 217 }, event };
        assert_eq!(
            entry.line("sh").to_string(),
            "              sh-217   [001] 394: mm_page_free: page=0x48a50000 pfn=297552 order=0"
        );
    }
}
