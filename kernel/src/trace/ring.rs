//! The last N events.
//!
//! [`Ring`] is a [`Tracer`] that interrupt handlers may use: a writer claims a place with one atomic addition and locks
//! only the place, and if that is taken it gives the event up rather than wait. Neighbour: [`super::walk`] reads it.

use crate::sync::atomic::{AtomicU64, Ordering};

use spin::mutex::SpinMutex;

use super::{Entry, Event, EventSet, Stamp, Tracer};

/// Keeps the last `N` of the events that are wanted: at first all. `N` is above 0.
#[derive(Debug)]
pub struct Ring<const N: usize> {
    /// The bits of an [`EventSet`], low half first.
    wanted: [AtomicU64; 2],
    first_seq: AtomicU64,
    next_seq: AtomicU64,
    places: [SpinMutex<Option<Entry>>; N],
}

impl<const N: usize> Ring<N> {
    /// Empty.
    pub const fn new() -> Ring<N> {
        const { assert!(N > 0) };
        Ring {
            wanted: [const { AtomicU64::new(u64::MAX) }; 2],
            first_seq: AtomicU64::new(0),
            next_seq: AtomicU64::new(0),
            places: [const { SpinMutex::new(None) }; N],
        }
    }

    fn wanted(&self) -> EventSet {
        let [low, high] = self.wanted.each_ref().map(|half| u128::from(half.load(Ordering::Relaxed)));
        EventSet(high << 64 | low)
    }

    fn place(&self, seq: u64) -> &SpinMutex<Option<Entry>> {
        &self.places[(seq % N as u64) as usize]
    }
}

impl<const N: usize> Default for Ring<N> {
    fn default() -> Ring<N> {
        Ring::new()
    }
}

impl<const N: usize> Tracer for Ring<N> {
    fn record(&self, stamp: Stamp, event: Event) {
        if !self.wanted().contains(event) {
            return;
        }
        let seq = self.next_seq.fetch_add(1, Ordering::AcqRel);
        if let Some(mut place) = self.place(seq).try_lock() {
            *place = Some(Entry { seq, stamp, event });
        }
    }

    fn set_filter(&self, wanted: EventSet) -> EventSet {
        let before = self.wanted();
        self.wanted[0].store(wanted.0 as u64, Ordering::Relaxed);
        self.wanted[1].store((wanted.0 >> 64) as u64, Ordering::Relaxed);
        before
    }

    fn first_seq(&self) -> u64 {
        self.first_seq.load(Ordering::Acquire)
    }

    fn next_seq(&self) -> u64 {
        self.next_seq.load(Ordering::Acquire)
    }

    fn entry_from(&self, seq: u64) -> Option<Entry> {
        let end = self.next_seq();
        (seq.max(end.saturating_sub(N as u64))..end).find_map(|seq| {
            let entry = *self.place(seq).lock();
            entry.filter(|entry| entry.seq == seq)
        })
    }

    fn clear(&self) {
        self.first_seq.store(self.next_seq(), Ordering::Release);
        for place in &self.places {
            *place.lock() = None;
        }
    }
}

#[cfg(test)]
impl<const N: usize> Ring<N> {
    /// Loses the event with number `seq`, as a writer does that finds its place taken.
    pub(super) fn lose(&self, seq: u64) {
        *self.place(seq).lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Order, Pfn};
    use crate::trace::Kmem;

    fn free(page: u64) -> Event {
        Kmem::MmPageFree { page: Pfn(page), order: Order::ZERO }.into()
    }

    fn pages(ring: &Ring<4>, seq: u64) -> Vec<(u64, Event)> {
        let next = |last: &Entry| ring.entry_from(last.seq + 1);
        core::iter::successors(ring.entry_from(seq), next).map(|entry| (entry.seq, entry.event)).collect()
    }

    #[test]
    fn keeps_the_last() {
        let ring: Ring<4> = Ring::new();
        for page in 0..3 {
            ring.record(Stamp::default(), free(page));
        }
        assert_eq!(pages(&ring, 1), [(1, free(1)), (2, free(2))]);
        for page in 3..7 {
            ring.record(Stamp { time: 9, cpu: 1, pid: 42 }, free(page));
        }
        assert_eq!(pages(&ring, 0), [(3, free(3)), (4, free(4)), (5, free(5)), (6, free(6))]);
        assert_eq!(ring.entry_from(99), None);
        assert_eq!(ring.entry_from(6).unwrap().stamp, Stamp { time: 9, cpu: 1, pid: 42 });
    }

    #[test]
    fn clearing_keeps_the_numbers() {
        let ring: Ring<4> = Ring::new();
        ring.record(Stamp::default(), free(0));
        ring.clear();
        assert_eq!((pages(&ring, 0), ring.first_seq(), ring.next_seq()), (vec![], 1, 1));
        ring.record(Stamp::default(), free(1));
        assert_eq!(pages(&ring, 1), [(1, free(1))]);
    }

    #[test]
    fn a_taken_place_costs_the_event_and_no_wait() {
        let ring: Ring<4> = Ring::new();
        let reader = ring.places[0].lock();
        ring.record(Stamp::default(), free(0));
        ring.record(Stamp::default(), free(1));
        drop(reader);
        assert_eq!(pages(&ring, 0), [(1, free(1))]);
    }

    #[test]
    fn only_wanted_events_take_a_place() {
        let ring: Ring<4> = Ring::new();
        assert_eq!(ring.set_filter(EventSet::named("mm_page_alloc").unwrap()), EventSet::ALL);
        ring.record(Stamp::default(), free(0));
        assert_eq!(ring.next_seq(), 0);
        ring.set_filter(EventSet::named("kmem").unwrap());
        ring.record(Stamp::default(), free(1));
        assert_eq!(pages(&ring, 0), [(0, free(1))]);
    }
}
