//! The slab allocator: objects smaller than pages, in slabs of pages.
//!
//! An object comes from the free chain of the slab that the CPU takes from, and goes back there; that is the fast path,
//! with no lock and no atomic read-modify-write: interrupts masked, one word read, one written. Everything else is a
//! slow path. Key type: [`KmemCache`] (the structures, and where a slab's book-keeping is, are in [`super::kmem_cache`]).
//!
//! ```text
//!   kmem_cache_alloc   the CPU's chain            here
//!     get_object       else, rung by rung         ladder
//!                        what others freed of the CPU's slab
//!                        the CPU's spare slabs    partial
//!                        the node's partial slabs, then other nodes'
//!                        a new slab               pages
//!   kmem_cache_free    the CPU's slab             here
//!     free_object      else the slab's record     free
//! ```
//!
//! [`kmalloc()`] chooses a cache by size. What a debugging cache adds is in [`debug`]. Every misuse is refused with its own
//! error and changes nothing. Linux: `mm/slub.c` of v5.0, whose decisions and numbers these are.
//!
//! Locks: a CPU's own cell, then a node's list; both with interrupts masked. Pages are asked for and given back, and
//! reports printed, when neither is held.
//!
//! Linux does more: it takes no lock to free to another CPU's slab, frees in bulk, and merges similar caches.

use core::fmt;

use super::kmem_cache::{CpuSlab, KmemCache, link, number_of};
use super::memory::{Env, Hook, LinearMap, Memory};
use super::page::PageState;
use crate::addr::PhysAddr;
use crate::gfp::Gfp;
use crate::mmzone::NodeId;
use crate::task::Current;

mod bytes;
mod debug;
mod free;
pub mod kmalloc;
mod ladder;
mod pages;
mod partial;
mod shrink;
mod validate;

pub use free::check_in_use;
pub use kmalloc::{ZERO_SIZE_PTR, kfree, kmalloc, kmalloc_node, krealloc, ksize, kzalloc};
pub use shrink::{kmem_cache_destroy, kmem_cache_shrink};
pub use validate::{Valid, kmem_cache_validate};

/// Why there is no object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoObject {
    /// No slab could be had with this mask.
    NoMemory(Gfp),
    /// No block of this order could be had with this mask, for what is no object of a slab.
    NoBlock(u32, Gfp),
    /// Nobody can have so many bytes in a row.
    TooLarge(u64),
    /// The cache was destroyed, or never made.
    NoCache,
}

impl fmt::Display for NoObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoObject::NoMemory(gfp) => write!(f, "no page for another slab, mode:{}", gfp.mode()),
            NoObject::NoBlock(order, gfp) => write!(f, "no block of order {order}, mode:{}", gfp.mode()),
            NoObject::TooLarge(bytes) => write!(f, "at most 4 MiB come in a row, not {bytes} bytes"),
            NoObject::NoCache => f.write_str("there is no such cache"),
        }
    }
}

/// Why an object was not freed. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadFree {
    /// No memory of this machine.
    NotMemory(PhysAddr),
    /// In a page that no slab cache and no large `kmalloc` has.
    Foreign(PhysAddr),
    /// Inside the object, or the large block, that starts at the second address.
    Inside(PhysAddr, PhysAddr),
    /// In a slab, but in no object of it.
    NoObject(PhysAddr),
    /// An object of the second cache, not of the third.
    WrongCache(PhysAddr, u8, u8),
    /// Free already.
    AlreadyFree(PhysAddr),
    /// Somebody wrote the byte at the second address, which lies beside the object.
    Overrun(PhysAddr, PhysAddr, u8),
}

impl fmt::Display for BadFree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadFree::NotMemory(addr) => write!(f, "{:#x} is not memory of this machine", addr.0),
            BadFree::Foreign(addr) => write!(f, "{:#x} was not allocated by kmalloc or from a cache", addr.0),
            BadFree::Inside(addr, start) => {
                write!(f, "{:#x} is inside the object that starts at {:#x}", addr.0, start.0)
            }
            BadFree::NoObject(addr) => write!(f, "{:#x} is in a slab, but in none of its objects", addr.0),
            BadFree::WrongCache(addr, has, given) => {
                write!(f, "{:#x} is an object of cache {has}, not of cache {given}", addr.0)
            }
            BadFree::AlreadyFree(addr) => write!(f, "{:#x} is free already", addr.0),
            BadFree::Overrun(object, at, byte) => {
                write!(f, "{:#x}, beside the object at {:#x}, was overwritten with {byte:#04x}", at.0, object.0)
            }
        }
    }
}

impl BadFree {
    /// What is wrong, with caches by their names, as long as they live.
    pub fn named<E: Env>(self, memory: &Memory<'_, E>) -> impl fmt::Display {
        let names = match self {
            BadFree::WrongCache(_, has, given) => {
                let alive = |number| memory.slabs.get(usize::from(number)).filter(|cache| cache.is_alive());
                [has, given].map(|number| alive(number).map(KmemCache::name))
            }
            _ => [None; 2],
        };
        fmt::from_fn(move |f| match (self, names) {
            (BadFree::WrongCache(addr, ..), [Some(has), Some(given)]) => {
                write!(f, "{:#x} is an object of cache {has}, not of cache {given}", addr.0)
            }
            _ => write!(f, "{self}"),
        })
    }
}

/// A request for an object.
#[derive(Clone, Copy, Debug)]
struct Request {
    gfp: Gfp,
    /// From this node only.
    node: Option<NodeId>,
    /// The bytes that a caller of `kmalloc` wants.
    kmalloc: Option<u64>,
}

/// An object of `cache`. Linux: `kmem_cache_alloc`.
///
/// # Errors
///
/// When the CPU has none and no page can be had for more.
#[inline(always)]
pub fn kmem_cache_alloc<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    cache: &KmemCache,
    gfp: Gfp,
) -> Result<PhysAddr, NoObject> {
    alloc_object(memory, current, cache, gfp, None)
}

/// An object of `cache` in memory of `node`. Linux: `kmem_cache_alloc_node`.
///
/// # Errors
///
/// As [`kmem_cache_alloc`]; with `__GFP_THISNODE`, when the node has no memory for more.
pub fn kmem_cache_alloc_node<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    cache: &KmemCache,
    gfp: Gfp,
    node: Option<NodeId>,
) -> Result<PhysAddr, NoObject> {
    ladder::alloc_carefully(memory, current, cache, Request { gfp, node, kmalloc: None })
}

/// The fast path of an allocation, else the others.
#[inline(always)]
fn alloc_object<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    cache: &KmemCache,
    gfp: Gfp,
    kmalloc: Option<u64>,
) -> Result<PhysAddr, NoObject> {
    let watched = memory.hooks() & (Hook::Trace as u32 | Hook::FailNth as u32) != 0;
    let plain = !gfp.intersects(current.forbidden() | Gfp::__GFP_ZERO) && !watched;
    if plain && let Some(object) = take_from_cpu(memory, cache) {
        return Ok(object);
    }
    ladder::alloc_carefully(memory, current, cache, Request { gfp, node: None, kmalloc })
}

/// Takes the first object of the CPU's chain, if the CPU may give it to anybody and nobody wrote to it.
#[inline(always)]
fn take_from_cpu<E: Env>(memory: &Memory<'_, E>, cache: &KmemCache) -> Option<PhysAddr> {
    let pin = memory.pin();
    let mut cpu = cache.cpus.local(&pin);
    if cpu.is_held {
        return None;
    }
    pop(memory, &mut cpu)
}

/// Takes the first object of a chain whose links are at the start of their slots.
#[inline(always)]
fn pop<E: Env>(memory: &Memory<'_, E>, cpu: &mut CpuSlab) -> Option<PhysAddr> {
    let chain = cpu.chain;
    if chain.is_empty() {
        return None;
    }
    let object = cpu.slots.at(chain.head);
    let word = memory.env.linear().read_word(object);
    if word >> 16 != chain.expected(object) {
        return None;
    }
    memory.env.linear().write_word(object, 0);
    cpu.chain.head = word as u16;
    cpu.chain.len -= 1;
    Some(object)
}

/// Gives an object back to its cache. Linux: `kmem_cache_free`.
///
/// # Errors
///
/// When `addr` is no object of this cache that is in use; nothing changed then.
#[inline(always)]
pub fn kmem_cache_free<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    cache: &KmemCache,
    addr: PhysAddr,
) -> Result<(), BadFree> {
    if !memory.has(Hook::Trace) && give_to_cpu(memory, cache, addr) {
        return Ok(());
    }
    free::kmem_cache_free_carefully(memory, current, cache, addr)
}

/// Puts an object of the CPU's slab on its chain; `false`, with nothing done, if it is not one or looks free already.
#[inline(always)]
fn give_to_cpu<E: Env>(memory: &Memory<'_, E>, cache: &KmemCache, addr: PhysAddr) -> bool {
    let pin = memory.pin();
    let mut cpu = cache.cpus.local(&pin);
    match cpu.slots.starting_at(addr) {
        Some(slot) if !cpu.is_held => push(memory, &mut cpu, slot, addr),
        _ => false,
    }
}

/// Puts object `slot`, at `addr`, on a chain whose links are at the start of their slots, if it does not look free.
#[inline(always)]
fn push<E: Env>(memory: &Memory<'_, E>, cpu: &mut CpuSlab, slot: u16, addr: PhysAddr) -> bool {
    if link::is_marked(addr, memory.env.linear().read_word(addr)) {
        return false;
    }
    memory.env.linear().write_word(addr, link::word(addr, cpu.chain));
    cpu.chain.head = slot;
    cpu.chain.len += 1;
    true
}

/// The cache that the record of `addr`'s page names, if that is the first page of a slab. Otherwise the record may say
/// anything, or nobody has ever written it: whoever asks has to see whether `addr` lies in a slab of that cache.
#[inline(always)]
fn cache_hint<'m, E: Env>(memory: &Memory<'m, E>, addr: PhysAddr) -> Option<&'m KmemCache> {
    let index = memory.pages.checked_index(addr.pfn())?;
    memory.slabs.get(number_of(memory.pages.at(index).state().owner()))
}

/// The record of the block's first page that contains `addr`, with what it says.
fn block_of<E: Env>(memory: &Memory<'_, E>, addr: PhysAddr) -> Option<(u32, PageState)> {
    let index = memory.pages.checked_index(addr.pfn())?;
    memory.blocks.head_of(&memory.pages, index).map(|(head, page)| (head, page.state()))
}

#[cfg(test)]
mod tests;
