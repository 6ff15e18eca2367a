//! Received bytes on their way from the interrupt handler to the reader.
//!
//! One producer, one consumer, no lock: each writes one counter and reads the other's.
//!
//! Linux does more: `kfifo`, of any size and type.

use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// What ^C sends.
const CTRL_C: u8 = 3;

/// A ring of bytes between one producer and one consumer.
pub struct Ring {
    bytes: [AtomicU8; Ring::BYTES],
    /// Bytes ever taken; written by the consumer.
    taken: AtomicUsize,
    /// Bytes ever received; written by the producer.
    received: AtomicUsize,
    /// The value of `received` behind the last ^C; written by the producer.
    interrupt: AtomicUsize,
}

impl Ring {
    /// Bytes that fit.
    pub const BYTES: usize = 4096;

    /// An empty ring.
    pub const fn new() -> Ring {
        Ring {
            bytes: [const { AtomicU8::new(0) }; Ring::BYTES],
            taken: AtomicUsize::new(0),
            received: AtomicUsize::new(0),
            interrupt: AtomicUsize::new(0),
        }
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.received.load(Ordering::Acquire).wrapping_sub(self.taken.load(Ordering::Acquire))
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no more fits.
    pub fn is_full(&self) -> bool {
        self.len() == Ring::BYTES
    }

    /// Adds a byte. Producer only, and only when not full.
    pub fn push(&self, byte: u8) {
        let received = self.received.load(Ordering::Relaxed);
        self.bytes[received % Ring::BYTES].store(byte, Ordering::Relaxed);
        self.received.store(received.wrapping_add(1), Ordering::Release);
        if byte == CTRL_C {
            self.interrupt.store(received.wrapping_add(1), Ordering::Release);
        }
    }

    /// Whether a ^C waits; if so, throws it and what came before it away. Consumer only.
    pub fn discard_to_interrupt(&self) -> bool {
        let interrupt = self.interrupt.load(Ordering::Acquire);
        let pressed = self.is_unread(interrupt);
        if pressed {
            self.taken.store(interrupt, Ordering::Release);
        }
        pressed
    }

    /// Whether a ^C waits.
    pub fn has_interrupt(&self) -> bool {
        self.is_unread(self.interrupt.load(Ordering::Acquire))
    }

    /// Whether the byte before `place` was received and not taken.
    fn is_unread(&self, place: usize) -> bool {
        (1..=Ring::BYTES).contains(&place.wrapping_sub(self.taken.load(Ordering::Relaxed)))
    }

    /// Takes the oldest byte. Consumer only.
    pub fn pop(&self) -> Option<u8> {
        if self.is_empty() {
            return None;
        }
        let taken = self.taken.load(Ordering::Relaxed);
        let byte = self.bytes[taken % Ring::BYTES].load(Ordering::Relaxed);
        self.taken.store(taken.wrapping_add(1), Ordering::Release);
        Some(byte)
    }
}
