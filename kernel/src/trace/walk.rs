//! Reading what was recorded.
//!
//! [`walk`] goes over a stretch of events, oldest first, and says where some are missing. Neighbours: a [`Tracer`] keeps
//! the events; the shell's `trace show` and `explain` print them.
//!
//! Linux does more: `trace_pipe`, which takes away what it reads, and snapshots.

use core::fmt;
use core::ops::Range;

use super::{Entry, Tracer};

/// What a walk meets. `Display` is for lost ones, as Linux's trace file has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// An event.
    Entry(Entry),
    /// So many are gone: overwritten, or given up because their place was taken.
    Lost(u64),
}

/// A line in the place of `n` events that were lost.
pub struct LostEvents(pub u64);

impl fmt::Display for LostEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[LOST {} EVENTS]", self.0)
    }
}

/// The events whose numbers are in `seqs`, oldest first. Events that are recorded meanwhile may push out older ones.
pub fn walk<T: Tracer>(tracer: &T, seqs: Range<u64>) -> impl Iterator<Item = Step> {
    let Range { mut start, end } = seqs;
    let mut waiting: Option<Entry> = None;
    core::iter::from_fn(move || {
        if let Some(entry) = waiting.take() {
            return Some(Step::Entry(entry));
        }
        let next = tracer.entry_from(start).filter(|entry| entry.seq < end);
        let lost = next.map_or(end, |entry| entry.seq).saturating_sub(start);
        start = next.map_or(end, |entry| entry.seq + 1).max(start);
        if lost > 0 {
            waiting = next;
            return Some(Step::Lost(lost));
        }
        next.map(Step::Entry)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Order, Pfn};
    use crate::trace::{EventSet, Kmem, Ring, Stamp};

    fn steps(ring: &Ring<4>, seqs: Range<u64>) -> String {
        let step = |step| match step {
            Step::Entry(entry) => entry.seq.to_string(),
            Step::Lost(n) => format!("-{n}"),
        };
        walk(ring, seqs).map(step).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_missing_is_said_where_it_is_missing() {
        let ring: Ring<4> = Ring::new();
        let record = || ring.record(Stamp::default(), Kmem::MmPageFree { page: Pfn(1), order: Order::ZERO }.into());
        assert_eq!(steps(&ring, 0..0), "");
        (0..3).for_each(|_| record());
        assert_eq!(steps(&ring, 0..3), "0 1 2");
        assert_eq!(steps(&ring, 1..2), "1");
        (0..3).for_each(|_| record());
        assert_eq!(steps(&ring, 0..6), "-2 2 3 4 5");
        assert_eq!(steps(&ring, 0..1), "-1");
        ring.lose(4);
        assert_eq!(steps(&ring, 3..6), "3 -1 5");
        ring.lose(5);
        assert_eq!(steps(&ring, 3..6), "3 -2");
        ring.set_filter(EventSet::NONE);
        record();
        assert_eq!(ring.next_seq(), 6);
    }
}
