//! The last N events.
//!
//! [`Ring`] is a [`Tracer`] that interrupt handlers may use: a writer claims a place with one atomic addition and locks
//! only the place, and if that is taken it gives the event up rather than wait. Neighbour: `explain` remembers
//! [`Ring::next_seq`], runs a command, and reads [`Ring::since`].

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use spin::mutex::SpinMutex;

use super::{Entry, Event, Stamp, Tracer};

/// Keeps the last `N` events and counts the ones that it lost. `N` is above 0.
#[derive(Debug)]
pub struct Ring<const N: usize> {
    enabled: AtomicBool,
    next_seq: AtomicU64,
    places: [SpinMutex<Option<Entry>>; N],
}

impl<const N: usize> Ring<N> {
    /// Empty, and switched off.
    pub const fn new() -> Ring<N> {
        const { assert!(N > 0) };
        Ring {
            enabled: AtomicBool::new(false),
            next_seq: AtomicU64::new(0),
            places: [const { SpinMutex::new(None) }; N],
        }
    }

    /// Switches recording on or off; gives the former state.
    pub fn set_enabled(&self, enabled: bool) -> bool {
        self.enabled.swap(enabled, Ordering::Relaxed)
    }

    /// The number that the next event gets; events recorded from now on have it or a higher one.
    pub fn next_seq(&self) -> u64 {
        self.next_seq.load(Ordering::Acquire)
    }

    /// The events with number `seq` and above that are still here, oldest first.
    ///
    /// Events recorded during the walk may come too. What is missing between two numbers was lost.
    pub fn since(&self, seq: u64) -> impl Iterator<Item = Entry> {
        let end = self.next_seq();
        (seq.max(end.saturating_sub(N as u64))..end).filter_map(|seq| {
            let entry = *self.place(seq).lock();
            entry.filter(|entry| entry.seq == seq)
        })
    }

    /// How many events with number `seq` and above are gone, overwritten or given up.
    pub fn lost_since(&self, seq: u64) -> u64 {
        self.next_seq().saturating_sub(seq) - self.since(seq).count() as u64
    }

    /// Forgets every event. Numbers go on.
    pub fn clear(&self) {
        for place in &self.places {
            *place.lock() = None;
        }
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
    #[inline]
    fn enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    fn record(&self, stamp: Stamp, event: Event) {
        let seq = self.next_seq.fetch_add(1, Ordering::AcqRel);
        if let Some(mut place) = self.place(seq).try_lock() {
            *place = Some(Entry { seq, stamp, event });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Order, Pfn};
    use crate::trace::{Kmem, NoTrace};

    fn free(page: u64) -> Event {
        Kmem::MmPageFree { page: Pfn(page), order: Order::ZERO }.into()
    }

    fn pages(ring: &Ring<4>, seq: u64) -> Vec<(u64, Event)> {
        ring.since(seq).map(|entry| (entry.seq, entry.event)).collect()
    }

    #[test]
    fn keeps_the_last_and_counts_the_lost() {
        let ring: Ring<4> = Ring::new();
        for page in 0..3 {
            ring.record(Stamp::default(), free(page));
        }
        assert_eq!(pages(&ring, 1), [(1, free(1)), (2, free(2))]);
        assert_eq!(ring.lost_since(0), 0);
        for page in 3..7 {
            ring.record(Stamp { time: 9, cpu: 1, pid: 42 }, free(page));
        }
        assert_eq!(pages(&ring, 0), [(3, free(3)), (4, free(4)), (5, free(5)), (6, free(6))]);
        assert_eq!((ring.lost_since(0), ring.lost_since(5), ring.lost_since(99)), (3, 0, 0));
        assert_eq!(ring.since(6).next().unwrap().stamp, Stamp { time: 9, cpu: 1, pid: 42 });
    }

    #[test]
    fn clearing_keeps_the_numbers() {
        let ring: Ring<4> = Ring::new();
        ring.record(Stamp::default(), free(0));
        ring.clear();
        assert_eq!((pages(&ring, 0), ring.next_seq()), (vec![], 1));
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
        assert_eq!((pages(&ring, 0), ring.lost_since(0)), (vec![(1, free(1))], 1));
    }

    #[test]
    fn tracers_are_off_until_switched_on() {
        let ring: Ring<4> = Ring::new();
        assert!(!ring.enabled() && !NoTrace.enabled());
        assert!(!ring.set_enabled(true));
        assert!(ring.enabled());
    }
}
