//! One slab: where its objects are, and the chain of its free ones that the record names.
//!
//! What the record says is read and changed under the lock of the node's list ([`super::kmem_cache::NodeSlabs`]), or by
//! whoever made the slab and has shown it to nobody. It stands below the reports, which count objects; [`super::slab`]
//! hands them out. Linux: `struct page` of a slab.

use super::kmem_cache::{Chain, FROZEN, KmemCache, Layout, Slots, head_of, link, number_of, owner_of};
use super::memory::{Env, LinearMap, Memory};
use super::page::{Kind, PageFlags, PageState};
use crate::addr::{PAGE_SIZE, PhysAddr};
use crate::mmzone::NodeId;

/// Whether a record says that its page is the first of a slab.
#[inline(always)]
pub fn is_slab(state: PageState) -> bool {
    state.is(Kind::Allocated) && state.flags().contains(PageFlags::SLAB)
}

/// A slab.
#[derive(Clone, Copy, Debug)]
pub struct Slab<'m> {
    /// Record of the first page.
    pub index: u32,
    /// The cache.
    pub cache: &'m KmemCache,
    /// How its objects lie.
    pub layout: Layout,
    /// Where they are.
    pub slots: Slots,
    /// How many there are, free or not.
    pub objects: u16,
    /// The node of the pages.
    pub node: NodeId,
}

impl<'m> Slab<'m> {
    /// The slab whose first page has the record `index`.
    pub fn at<E: Env>(memory: &Memory<'m, E>, index: u32) -> Option<Slab<'m>> {
        let state = memory.pages.at(index).state();
        let cache = memory.slabs.get(number_of(state.owner())).filter(|_| is_slab(state))?;
        let layout = cache.layout();
        let bytes = (PAGE_SIZE << state.order().get()) as u32;
        let objects = layout.objects(state.order());
        let base = memory.pages.pfn(index).addr();
        let slots = Slots { base, size: layout.size, bytes: bytes - bytes % layout.size };
        Some(Slab { index, cache, layout, slots, objects, node: memory.zone(state.zone()).node })
    }

    /// Object `n`.
    pub fn object(&self, n: u16) -> PhysAddr {
        PhysAddr(self.slots.at(n).0 + u64::from(self.layout.red_left))
    }

    /// Where the link of object `n` lies while it is free.
    pub fn link(&self, n: u16) -> PhysAddr {
        PhysAddr(self.object(n).0 + u64::from(self.layout.offset))
    }

    /// The object that starts at `addr`.
    pub fn object_at(&self, addr: PhysAddr) -> Option<u16> {
        self.slots.starting_at(PhysAddr(addr.0.wrapping_sub(u64::from(self.layout.red_left))))
    }

    /// The object in whose slot `addr` lies.
    pub fn object_around(&self, addr: PhysAddr) -> Option<u16> {
        let from = addr.0.wrapping_sub(self.slots.base.0);
        (from < u64::from(self.slots.bytes)).then(|| (from / u64::from(self.slots.size)) as u16)
    }

    /// Whether all objects are free.
    pub fn is_empty(&self, chain: Chain) -> bool {
        chain.len == self.objects
    }

    /// Whether only those who are entitled to reserves may have objects of the slab.
    pub fn is_pfmemalloc<E: Env>(&self, memory: &Memory<'m, E>) -> bool {
        memory.pages.at(self.index).flags().contains(PageFlags::PFMEMALLOC)
    }

    /// Whether the slab belongs to a CPU.
    pub fn is_frozen<E: Env>(&self, memory: &Memory<'m, E>) -> bool {
        memory.pages.at(self.index).flags().contains(FROZEN)
    }

    /// Whether the slab is on its node's list.
    pub fn is_listed<E: Env>(&self, memory: &Memory<'m, E>) -> bool {
        let state = memory.pages.at(self.index).state();
        !state.flags().contains(FROZEN) && head_of(state.owner()) != link::NIL
    }

    /// The free objects that the record names. A chain that was overwritten is noted, and counts as empty: its objects
    /// stay out of use.
    pub fn chain<E: Env>(&self, memory: &Memory<'m, E>) -> Chain {
        let head = head_of(memory.pages.at(self.index).state().owner());
        if head == link::NIL {
            return Chain::EMPTY;
        }
        let at = self.link(head);
        link::chain(at, head, memory.env.linear().read_word(at)).unwrap_or_else(|| {
            self.cache.note_broken(at);
            Chain::EMPTY
        })
    }

    /// Makes the record name `chain`, and say whether a CPU has the slab.
    pub fn set_chain<E: Env>(&self, memory: &Memory<'m, E>, chain: Chain, is_frozen: bool) {
        let page = memory.pages.at(self.index);
        let state = page.state();
        let flags = if is_frozen { state.flags() | FROZEN } else { state.flags() - FROZEN };
        page.set_state(state.with_flags(flags).with_owner(owner_of(self.cache.number(), chain.head)));
    }

    /// Whether object `n` looks free: it bears the mark.
    pub fn looks_free<E: Env>(&self, memory: &Memory<'m, E>, n: u16) -> bool {
        let at = self.link(n);
        link::chain(at, n, memory.env.linear().read_word(at)).is_some()
    }

    /// `chain` with object `n` in front.
    pub fn push<E: Env>(&self, memory: &Memory<'m, E>, chain: Chain, n: u16) -> Chain {
        let at = self.link(n);
        memory.env.linear().write_word(at, link::word(at, chain));
        Chain { head: n, len: chain.len + 1 }
    }

    /// The first object of `chain`, and the others.
    ///
    /// # Errors
    ///
    /// Where the link of the first object lies, if somebody wrote to it.
    pub fn peek<E: Env>(&self, memory: &Memory<'m, E>, chain: Chain) -> Result<Option<(u16, Chain)>, PhysAddr> {
        if chain.is_empty() {
            return Ok(None);
        }
        let at = self.link(chain.head);
        let word = memory.env.linear().read_word(at);
        if word >> 16 != chain.expected(at) {
            return Err(at);
        }
        Ok(Some((chain.head, Chain { head: word as u16, len: chain.len - 1 })))
    }

    /// Takes the first object of `chain`; with it, the others. `None` if the chain is empty, or was overwritten, which is
    /// noted.
    pub fn pop<E: Env>(&self, memory: &Memory<'m, E>, chain: Chain) -> Option<(u16, Chain)> {
        match self.peek(memory, chain) {
            Ok(popped) => popped.inspect(|(n, _)| memory.env.linear().write_word(self.link(*n), 0)),
            Err(at) => {
                self.cache.note_broken(at);
                None
            }
        }
    }

    /// One chain of two, the objects of `front` first.
    pub fn join<E: Env>(&self, memory: &Memory<'m, E>, front: Chain, behind: Chain) -> Chain {
        if behind.is_empty() {
            return front;
        }
        let (mut rest, mut joined) = (front, behind);
        while let Some((n, others)) = self.pop(memory, rest) {
            joined = self.push(memory, joined, n);
            rest = others;
        }
        joined
    }
}
