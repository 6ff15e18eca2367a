//! Events: what the allocator decided, as typed values that leave through a [`Tracer`].
//!
//! An [`Event`] is a small `Copy` value; `Display` prints it as Linux's trace file does after the line's prefix
//! (`mm_page_free: page=0x48a50000 pfn=297552 order=0`). Events are grouped by the header that defines them in Linux,
//! each group a file: [`kmem`], [`vmscan`], [`compaction`], [`migrate`], [`oom`], [`pagemap`], [`writeback`]; beside them
//! [`decision`], [`numa`] and [`slowpath`] for the steps that Linux does not trace and `explain` needs. [`Ring`] keeps the last
//! ones. Neighbours: `Env` hands a tracer to the allocator; `explain` reads a ring.
//!
//! Linux does more: one switch and one filter per event, a ring per CPU, and triggers.

use core::fmt;

mod fields;
pub mod reasons;

pub mod alloc_flags;
pub mod compaction;
pub mod decision;
pub mod kmem;
pub mod migrate;
pub mod names;
pub mod numa;
pub mod oom;
pub mod pagemap;
mod ring;
pub mod slowpath;
pub mod vmscan;
pub mod walk;
pub mod writeback;

pub use compaction::Compaction;
pub use decision::Decision;
pub use fields::ZoneRef;
pub use kmem::Kmem;
pub use migrate::Migrate;
pub use names::EventSet;
pub use numa::Numa;
pub use oom::Oom;
pub use pagemap::Pagemap;
pub use ring::Ring;
pub use slowpath::SlowPath;
pub use vmscan::Vmscan;
pub use writeback::Writeback;

/// Declares [`Event`] over its groups; each group has `name()` and prints its fields.
macro_rules! groups {
    ($($(#[$doc:meta])* $group:ident)*) => {
        /// Something that happened.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Event {
            $($(#[$doc])* $group($group),)*
        }

        impl Event {
            /// The tracepoint's name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Event::$group(event) => event.name(),)*
                }
            }

            /// The event's fields, without its name.
            fn fields(&self) -> &dyn fmt::Display {
                match self {
                    $(Event::$group(event) => event,)*
                }
            }
        }

        $(impl From<$group> for Event {
            fn from(event: $group) -> Event {
                Event::$group(event)
            }
        })*
    };
}

groups! {
    /// A tracepoint of `include/trace/events/kmem.h`.
    Kmem
    /// A tracepoint of `include/trace/events/vmscan.h`.
    Vmscan
    /// A tracepoint of `include/trace/events/compaction.h`.
    Compaction
    /// A tracepoint of `include/trace/events/migrate.h`.
    Migrate
    /// A tracepoint of `include/trace/events/oom.h`.
    Oom
    /// A tracepoint of `include/trace/events/pagemap.h`.
    Pagemap
    /// A tracepoint of `include/trace/events/writeback.h`.
    Writeback
    /// A step of our own on the way to a page, for `explain`.
    Decision
    /// A step of our own that decides which nodes a request may use, for `explain`.
    Numa
    /// A step of our own when the fast path failed, for `explain`.
    SlowPath
}

/// A ring has thousands of places, and recording copies one event.
const _: () = assert!(size_of::<Event>() <= 72);

/// The name, a colon, and the event's fields.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self.fields())
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

/// Where events go, and where they are read.
///
/// Whether events are made at all is `mm::memory::Hook::Trace`; they are recorded outside of every lock.
pub trait Tracer {
    /// Takes an event, if it is wanted. Never waits, so an interrupt handler may call it.
    fn record(&self, stamp: Stamp, event: Event);

    /// Takes only `wanted` events from now on; what it took before.
    fn set_filter(&self, wanted: EventSet) -> EventSet;

    /// The number of the first event since the last [`Tracer::clear`].
    fn first_seq(&self) -> u64;

    /// The number that the next event gets; events recorded from now on have it or a higher one.
    fn next_seq(&self) -> u64;

    /// The oldest event with number `seq` or above that is still here.
    fn entry_from(&self, seq: u64) -> Option<Entry>;

    /// Forgets every event. Numbers go on.
    fn clear(&self);
}

/// Checks what events print, name and fields.
#[cfg(test)]
fn assert_texts<T: Copy + Into<Event>>(table: &[(T, &str)]) {
    for &(event, text) in table {
        assert_eq!(event.into().to_string(), text);
    }
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
