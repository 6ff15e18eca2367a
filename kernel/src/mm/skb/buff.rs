//! A packet: its head, its bytes, and the pages that it may have besides.
//!
//! ```text
//!   head object   next | head | data, len | truesize | marks, protocol | end | packet number     struct sk_buff
//!   head ->       64 bytes of headroom | the packet | free | shared info: pages besides          what `data` points into
//! ```
//!
//! Neighbour: [`super::memory`] makes and frees them. Linux: `struct sk_buff`, `struct skb_shared_info`.
//!
//! Linux does more: clones that share bytes, lists of packets, and a tail that moves.

use super::super::memory::{Env, LinearMap, Memory};
use crate::addr::{Pfn, PhysAddr};

/// Bytes of a head, before they are aligned to a cache line. Linux: `sizeof(struct sk_buff)`.
pub const HEAD_BYTES: u64 = 232;
/// Bytes of the same in its cache.
pub const HEAD_ALIGNED: u64 = 256;
/// Bytes in front of a packet that whoever forwards it may need. Linux: `NET_SKB_PAD`.
pub const PAD: u64 = 64;
/// Bytes behind every packet that name its other pages. Linux: `sizeof(struct skb_shared_info)`, aligned.
pub const SHARED_INFO: u64 = 320;
/// Pages that a packet may have besides. Linux: `MAX_SKB_FRAGS`.
pub const MAX_SKB_FRAGS: u64 = 17;

/// The head is in memory from the reserves, or one of the pages is. Linux: `skb->pfmemalloc`.
pub const PFMEMALLOC: u64 = 1;
/// The bytes are a fragment of a page. Linux: `skb->head_frag`.
pub const HEAD_FRAG: u64 = 2;
/// Where the protocol stands among the marks.
const PROTOCOL_SHIFT: u32 = 16;

/// The words of a head.
#[derive(Clone, Copy)]
enum Word {
    Next,
    Head,
    Data,
    Len,
    Truesize,
    Marks,
    End,
    Number,
}

/// A packet: where its head lies. Linux: `struct sk_buff *`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SkBuff(pub PhysAddr);

impl SkBuff {
    fn read<E: Env>(self, memory: &Memory<'_, E>, word: Word) -> u64 {
        memory.env.linear().read_word(PhysAddr(self.0.0 + 8 * word as u64))
    }

    fn write<E: Env>(self, memory: &Memory<'_, E>, word: Word, value: u64) {
        memory.env.linear().write_word(PhysAddr(self.0.0 + 8 * word as u64), value);
    }

    /// Makes a fresh head one of the `bytes` bytes at `head`. Linux: `__build_skb`.
    pub fn build<E: Env>(self, memory: &Memory<'_, E>, head: PhysAddr, bytes: u64, marks: u64) {
        let words = [0, head.0, head.0 + PAD, 0, bytes + HEAD_ALIGNED, marks, head.0 + bytes - SHARED_INFO, 0];
        for (n, word) in words.into_iter().enumerate() {
            memory.env.linear().write_word(PhysAddr(self.0.0 + 8 * n as u64), word);
        }
        memory.env.linear().write_word(self.end(memory), 0);
    }

    /// The first of the bytes that were allocated.
    pub fn head<E: Env>(self, memory: &Memory<'_, E>) -> PhysAddr {
        PhysAddr(self.read(memory, Word::Head))
    }

    /// The first byte of the packet: behind the headroom.
    pub fn data<E: Env>(self, memory: &Memory<'_, E>) -> PhysAddr {
        PhysAddr(self.read(memory, Word::Data))
    }

    /// Bytes of the packet.
    pub fn len<E: Env>(self, memory: &Memory<'_, E>) -> u64 {
        self.read(memory, Word::Len)
    }

    /// Whether there is no byte in it.
    pub fn is_empty<E: Env>(self, memory: &Memory<'_, E>) -> bool {
        self.len(memory) == 0
    }

    /// Bytes that the packet takes, head and all: what its socket is charged.
    pub fn truesize<E: Env>(self, memory: &Memory<'_, E>) -> u64 {
        self.read(memory, Word::Truesize)
    }

    /// Whether some of it is in memory from the reserves. Linux: `skb_pfmemalloc`.
    pub fn is_pfmemalloc<E: Env>(self, memory: &Memory<'_, E>) -> bool {
        self.read(memory, Word::Marks) & PFMEMALLOC != 0
    }

    /// Whether its bytes are a fragment of a page, not an object of `kmalloc`.
    pub fn is_head_frag<E: Env>(self, memory: &Memory<'_, E>) -> bool {
        self.read(memory, Word::Marks) & HEAD_FRAG != 0
    }

    /// The protocol that the Ethernet header names.
    pub fn protocol<E: Env>(self, memory: &Memory<'_, E>) -> u16 {
        (self.read(memory, Word::Marks) >> PROTOCOL_SHIFT) as u16
    }

    /// Sets what [`SkBuff::protocol`] returns.
    pub fn set_protocol<E: Env>(self, memory: &Memory<'_, E>, protocol: u16) {
        let marks = self.read(memory, Word::Marks) & ((1 << PROTOCOL_SHIFT) - 1);
        self.write(memory, Word::Marks, marks | u64::from(protocol) << PROTOCOL_SHIFT);
    }

    pub(super) fn mark_pfmemalloc<E: Env>(self, memory: &Memory<'_, E>) {
        self.write(memory, Word::Marks, self.read(memory, Word::Marks) | PFMEMALLOC);
    }

    /// Lets `len` bytes come in, which begin with the packet's number. Linux: `skb_put`.
    pub fn put<E: Env>(self, memory: &Memory<'_, E>, len: u32, number: u64) {
        self.write(memory, Word::Len, u64::from(len));
        self.write(memory, Word::Number, number);
        if len > 0 {
            memory.env.linear().write_word(self.data(memory), number);
        }
    }

    /// Whether the packet still begins with its number.
    pub fn is_intact<E: Env>(self, memory: &Memory<'_, E>) -> bool {
        self.is_empty(memory) || memory.env.linear().read_word(self.data(memory)) == self.read(memory, Word::Number)
    }

    /// The packet behind this one in a queue.
    pub(super) fn next<E: Env>(self, memory: &Memory<'_, E>) -> Option<SkBuff> {
        let next = self.read(memory, Word::Next);
        (next != 0).then_some(SkBuff(PhysAddr(next)))
    }

    pub(super) fn set_next<E: Env>(self, memory: &Memory<'_, E>, next: Option<SkBuff>) {
        self.write(memory, Word::Next, next.map_or(0, |skb| skb.0.0));
    }

    /// Where the shared info begins. Linux: `skb_shinfo`.
    fn end<E: Env>(self, memory: &Memory<'_, E>) -> PhysAddr {
        PhysAddr(self.read(memory, Word::End))
    }

    /// Pages that the packet has besides.
    pub fn nr_frags<E: Env>(self, memory: &Memory<'_, E>) -> u64 {
        memory.env.linear().read_word(self.end(memory))
    }

    /// The page at place `n` of these.
    pub fn frag<E: Env>(self, memory: &Memory<'_, E>, n: u64) -> Pfn {
        Pfn(memory.env.linear().read_word(PhysAddr(self.end(memory).0 + 8 * (n + 1))))
    }

    pub(super) fn push_frag<E: Env>(self, memory: &Memory<'_, E>, pfn: Pfn) {
        let nr = self.nr_frags(memory);
        memory.env.linear().write_word(PhysAddr(self.end(memory).0 + 8 * (nr + 1)), pfn.0);
        memory.env.linear().write_word(self.end(memory), nr + 1);
    }

    pub(super) fn grow<E: Env>(self, memory: &Memory<'_, E>, len: u64, truesize: u64) {
        self.write(memory, Word::Len, self.len(memory) + len);
        self.write(memory, Word::Truesize, self.truesize(memory) + truesize);
    }
}
