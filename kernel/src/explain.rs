//! Events in words.
//!
//! [`explain`] says in plain words what an event means, with the arithmetic where it has terms: it knows nothing but
//! the event's fields, so it never decides anything a second time. The shell's `explain` prints it below each event of a
//! command; tests of the kernel may, too. The words for each group of events stand in a file of their own.
//!
//! Linux does more: nothing of the kind; `Documentation/trace/events-*.rst` explain some of its tracepoints.

use core::fmt::{self, Formatter};

use crate::trace::{Event, Migrate, Pagemap, Writeback};

mod compaction;
mod decision;
mod kmem;
mod numa;
mod oom;
mod slowpath;
mod vmscan;

#[cfg(test)]
mod tests;

/// What `event` means: a sentence or two, without a line's end.
pub fn explain(event: &Event) -> impl fmt::Display {
    fmt::from_fn(move |f| match event {
        Event::Kmem(event) => kmem::words(event, f),
        Event::Vmscan(event) => vmscan::words(event, f),
        Event::Compaction(event) => compaction::words(event, f),
        Event::Migrate(event) => migrate(event, f),
        Event::Oom(event) => oom::words(event, f),
        Event::Pagemap(event) => pagemap(event, f),
        Event::Writeback(event) => writeback(event, f),
        Event::Decision(event) => decision::words(event, f),
        Event::Numa(event) => numa::words(event, f),
        Event::SlowPath(event) => slowpath::words(event, f),
    })
}

fn migrate(event: &Migrate, f: &mut Formatter<'_>) -> fmt::Result {
    let Migrate::MmMigratePages { nr_succeeded, nr_failed, mode: _ } = event;
    write!(f, "of {} pages {nr_succeeded} moved and {nr_failed} stay where they were", nr_succeeded + nr_failed)
}

fn pagemap(event: &Pagemap, f: &mut Formatter<'_>) -> fmt::Result {
    match event {
        Pagemap::MmLruInsertion { page, lru, flags: _ } => write!(f, "pfn {page} enters the list {lru}"),
        Pagemap::MmLruActivate { page } => write!(f, "pfn {page} was used again: it becomes active"),
    }
}

fn writeback(event: &Writeback, f: &mut Formatter<'_>) -> fmt::Result {
    match event {
        Writeback::WritebackCongestionWait { usec_timeout, usec_delayed } => {
            write!(f, "waited {usec_delayed} of at most {usec_timeout} us for a device to be less busy")
        }
        Writeback::WritebackWaitIffCongested { usec_timeout: _, usec_delayed: 0 } => {
            f.write_str("did not wait: no device is congested")
        }
        Writeback::WritebackWaitIffCongested { usec_timeout, usec_delayed } => {
            write!(f, "waited {usec_delayed} of at most {usec_timeout} us for a congested device")
        }
    }
}

/// `1 page`, `2 pages`.
fn pages(n: u64) -> impl fmt::Display {
    fmt::from_fn(move |f| write!(f, "{n} page{}", if n == 1 { "" } else { "s" }))
}

/// Whether something happened, as one of two texts.
const fn either(holds: bool, yes: &'static str, no: &'static str) -> &'static str {
    if holds { yes } else { no }
}
