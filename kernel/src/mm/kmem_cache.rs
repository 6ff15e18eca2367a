//! A slab cache: objects of one size, what a CPU keeps of them, and what a node does.
//!
//! A [`KmemCache`] is a place in a fixed table ([`SlabCaches`]) that whoever makes a machine reserves, as it does the page
//! records; objects live in pages of the page allocator. These are plain structures; what happens to them is told by
//! [`super::slab`].
//!
//! Where the book-keeping of a slab is, which Linux has in 24 bytes of its 64-byte page record:
//!
//! ```text
//!   the record of its first page     links: of a node's list or a CPU's; a slab is on one at most
//!                                    flags: SLAB, FROZEN while a CPU holds it, PFMEMALLOC
//!                                    owner: 6 bits of cache number, 10 bits that name the first free object
//!   the free objects                 the next one, and how many there are from here on (`link`)
//! ```
//!
//! So no byte of a slab is lost to it, and the table of orders stays Linux's. 10 bits are enough, because a slab has 512
//! objects at most; 6 bits are enough for [`MAX_CACHES`]. The number of free objects is one read of memory away, which
//! only slow paths and tables need. Measured (`bench`): 48 instructions to take an object that the CPU has, 66 to give it
//! back.
//!
//! A slab is in one of four places: with a CPU that takes from it ([`CpuSlab`]: its free objects belong to that CPU, and
//! what others free goes to the record), on a CPU's list of spare slabs (frozen, too), on a node's list of partial slabs,
//! or, when all its objects are in use, nowhere. Linux: `struct kmem_cache`, `struct kmem_cache_cpu`,
//! `struct kmem_cache_node`.
//!
//! Linux does more: it merges caches of similar sizes, charges memory cgroups, and shows each cache in /sys/kernel/slab.

use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use core::fmt;

use super::list::List;
use super::page::{NIL, PageFlags};
use crate::addr::{Order, PhysAddr};
use crate::mmzone::{MAX_NUMNODES, NodeId};
use crate::sync::{Class, PerCpu, SpinLock};

pub mod layout;
pub mod link;
mod table;

pub use crate::bootargs::KmallocProfile;
pub use layout::{CacheFlags, Layout, LayoutError};
pub use link::Chain;
pub use table::{CacheError, MAX_CACHES, MAX_KMALLOC_SIZE, SlabCaches, SlabConfig};

/// The slab belongs to a CPU. Linux has a bit beside the count; `PG_active`, of no use to a slab, it uses for another.
pub const FROZEN: PageFlags = PageFlags::ACTIVE;

/// Bytes of a cache's name.
pub const NAME_BYTES: usize = 31;

/// Bits of a slab's `owner` that name its first free object; those above name the cache.
const HEAD_BITS: u32 = 10;

/// What the record of a slab says in place of an owner.
pub const fn owner_of(number: u8, head: u16) -> u16 {
    (number as u16) << HEAD_BITS | head
}

/// The cache that the record of a slab names.
#[inline(always)]
pub const fn number_of(owner: u16) -> usize {
    (owner >> HEAD_BITS) as usize
}

/// The first free object that the record of a slab names.
pub const fn head_of(owner: u16) -> u16 {
    owner & ((1 << HEAD_BITS) - 1)
}

/// A cache's name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CacheName([u8; NAME_BYTES + 1]);

impl CacheName {
    /// `name`, if it is 1 to [`NAME_BYTES`] bytes long.
    pub fn new(name: &str) -> Option<CacheName> {
        let mut bytes = [0; NAME_BYTES + 1];
        bytes[..NAME_BYTES].get_mut(..name.len()).filter(|_| !name.is_empty())?.copy_from_slice(name.as_bytes());
        Some(CacheName(bytes))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(NAME_BYTES);
        str::from_utf8(&self.0[..end]).unwrap_or("?")
    }
}

impl fmt::Display for CacheName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for CacheName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// Where the objects of one slab are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slots {
    /// First byte of the slab.
    pub base: PhysAddr,
    /// Bytes from slot to slot.
    pub size: u32,
    /// Bytes from the first slot to the end of the last.
    pub bytes: u32,
}

impl Slots {
    /// No slot.
    pub const NONE: Slots = Slots { base: PhysAddr(0), size: 1, bytes: 0 };

    /// First byte of slot `n`.
    #[inline(always)]
    pub const fn at(&self, n: u16) -> PhysAddr {
        PhysAddr(self.base.0 + n as u64 * self.size as u64)
    }

    /// The slot that starts at `addr`.
    #[inline(always)]
    pub const fn starting_at(&self, addr: PhysAddr) -> Option<u16> {
        let from = addr.0.wrapping_sub(self.base.0);
        if from >= self.bytes as u64 {
            return None;
        }
        let n = from as u32 / self.size;
        if n * self.size == from as u32 { Some(n as u16) } else { None }
    }
}

/// What a CPU has of a cache: the slab that it takes from, and spare ones. Linux: `struct kmem_cache_cpu`.
pub struct CpuSlab {
    /// Where the slab's objects are.
    pub(super) slots: Slots,
    /// The free objects that this CPU alone may take.
    pub(super) chain: Chain,
    /// Record of the slab's first page, or [`NIL`].
    pub(super) page: u32,
    /// Not everybody may take from the slab, or every object is looked at: no fast path.
    pub(super) is_held: bool,
    /// Record of the first slab to take from next, or [`NIL`]; its forward link leads to the one after it. In place of
    /// a backward link each has the number of free objects from it on, when it came to the list. Linux: `pobjects`.
    pub(super) spare: u32,
    /// Slabs on that list.
    pub(super) nr_spare: u32,
}

impl CpuSlab {
    const EMPTY: CpuSlab =
        CpuSlab { slots: Slots::NONE, chain: Chain::EMPTY, page: NIL, is_held: false, spare: NIL, nr_spare: 0 };

    /// Forgets the slab, which went elsewhere.
    pub(super) fn forget(&mut self) {
        self.slots = Slots::NONE;
        self.chain = Chain::EMPTY;
        self.page = NIL;
    }
}

/// The slabs of a node that have free objects and belong to no CPU.
#[derive(Debug)]
pub struct Partial {
    /// The slabs, those to take from first in front.
    pub(super) list: List,
    /// How many.
    pub(super) nr: u32,
}

/// What a node has of a cache. Linux: `struct kmem_cache_node`.
pub struct NodeSlabs {
    /// Also protects what the records of all the node's slabs say of their objects.
    pub(super) partial: SpinLock<Partial>,
    nr_slabs: AtomicU64,
    nr_objects: AtomicU64,
}

impl NodeSlabs {
    /// Slabs, wherever they are. Linux: `node_nr_slabs`.
    pub fn nr_slabs(&self) -> u64 {
        self.nr_slabs.load(Relaxed)
    }

    /// Their objects, in use or not. Linux: `node_nr_objs`.
    pub fn nr_objects(&self) -> u64 {
        self.nr_objects.load(Relaxed)
    }

    /// Counts a slab with `objects` that came. Linux: `inc_slabs_node`.
    pub(super) fn count_in(&self, objects: u16) {
        self.nr_slabs.fetch_add(1, Relaxed);
        self.nr_objects.fetch_add(u64::from(objects), Relaxed);
    }

    /// Counts a slab with `objects` that went. Linux: `dec_slabs_node`.
    pub(super) fn count_out(&self, objects: u16) {
        self.nr_slabs.fetch_sub(1, Relaxed);
        self.nr_objects.fetch_sub(u64::from(objects), Relaxed);
    }
}

/// A slab cache.
pub struct KmemCache {
    number: u8,
    /// How many caches were made before it and one, or 0 for a free place, or [`UNBORN`].
    born: AtomicU32,
    name: [AtomicU64; (NAME_BYTES + 1) / 8],
    layout: [AtomicU32; 8],
    /// What each CPU has.
    pub(super) cpus: PerCpu<CpuSlab>,
    nodes: [NodeSlabs; MAX_NUMNODES],
    /// Slabs that had to be of the smaller order. Linux: `ORDER_FALLBACK`.
    pub(super) order_fallback: AtomicU64,
    /// A free object that was written to, to be reported when no lock is held; 0 for none.
    broken: AtomicU64,
}

/// The place is taken, but the cache is not ready.
const UNBORN: u32 = u32::MAX;

impl KmemCache {
    /// The free place with this number, below [`MAX_CACHES`].
    pub fn new(number: usize) -> KmemCache {
        KmemCache {
            number: number as u8,
            born: AtomicU32::new(0),
            name: Default::default(),
            layout: Default::default(),
            cpus: PerCpu::new(Class::CpuSlab, |_| (CpuSlab::EMPTY, ())),
            nodes: [const {
                NodeSlabs {
                    partial: SpinLock::new(Class::PartialSlabs, Partial { list: List::EMPTY, nr: 0 }),
                    nr_slabs: AtomicU64::new(0),
                    nr_objects: AtomicU64::new(0),
                }
            }; MAX_NUMNODES],
            order_fallback: AtomicU64::new(0),
            broken: AtomicU64::new(0),
        }
    }

    /// The place in the table; pages name their cache by it.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Whether there is such a cache.
    pub fn is_alive(&self) -> bool {
        !matches!(self.born.load(Acquire), 0 | UNBORN)
    }

    /// The name.
    pub fn name(&self) -> CacheName {
        let mut bytes = [0; NAME_BYTES + 1];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(&self.name) {
            chunk.copy_from_slice(&word.load(Relaxed).to_le_bytes());
        }
        CacheName(bytes)
    }

    /// How the objects lie.
    pub fn layout(&self) -> Layout {
        let [object_size, size, inuse, offset, red_left, align, flags, orders] =
            core::array::from_fn(|at| self.layout[at].load(Relaxed));
        Layout {
            object_size,
            size,
            inuse,
            offset,
            red_left,
            align,
            flags: CacheFlags::from_bits_retain(flags),
            order: Order::from_bits(orders),
            min_order: Order::from_bits(orders >> 4),
        }
    }

    /// What `node` has of the cache.
    pub fn node(&self, node: NodeId) -> &NodeSlabs {
        &self.nodes[node.index()]
    }

    /// Slabs of all nodes.
    pub fn nr_slabs(&self) -> u64 {
        self.nodes.iter().map(NodeSlabs::nr_slabs).sum()
    }

    /// Slabs that had to be of the smaller order since the cache was made. Linux: `ORDER_FALLBACK`.
    pub fn order_fallback(&self) -> u64 {
        self.order_fallback.load(Relaxed)
    }

    /// Notes that the free object whose link lies at `at` was written to.
    pub(super) fn note_broken(&self, at: PhysAddr) {
        self.broken.store(at.0, Relaxed);
    }

    /// Takes what [`KmemCache::note_broken`] noted last.
    pub(super) fn take_broken(&self) -> Option<PhysAddr> {
        match self.broken.load(Relaxed) {
            0 => None,
            _ => Some(PhysAddr(self.broken.swap(0, Relaxed))),
        }
    }

    /// Takes a free place; whether it was free.
    fn claim(&self) -> bool {
        self.born.compare_exchange(0, UNBORN, Acquire, Relaxed).is_ok()
    }

    /// Makes a claimed place the cache number `born`.
    fn bear(&self, name: CacheName, layout: &Layout, born: u32) {
        for (word, chunk) in self.name.iter().zip(name.0.chunks_exact(8)) {
            word.store(chunk.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)), Relaxed);
        }
        let Layout { object_size, size, inuse, offset, red_left, align, flags, order, min_order } = *layout;
        let orders = order.get() | min_order.get() << 4;
        let words = [object_size, size, inuse, offset, red_left, align, flags.bits(), orders];
        self.layout.iter().zip(words).for_each(|(word, value)| word.store(value, Relaxed));
        self.order_fallback.store(0, Relaxed);
        self.born.store(born, Release);
    }

    /// Makes the place of a cache without slabs free again.
    pub(super) fn bury(&self) {
        self.born.store(0, Release);
    }
}

impl fmt::Debug for KmemCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.name(), self.layout())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_names_cache_and_object() {
        for (number, head) in [(0, 0), (63, 511), (7, link::NIL)] {
            let owner = owner_of(number, head);
            assert_eq!((number_of(owner), head_of(owner)), (usize::from(number), head));
        }
    }

    #[test]
    fn slots_start_where_they_start() {
        let slots = Slots { base: PhysAddr(0x4000_0000), size: 96, bytes: 42 * 96 };
        let starts = |offset: u64| slots.starting_at(PhysAddr(0x4000_0000u64.wrapping_add(offset)));
        assert_eq!([starts(0), starts(96), starts(41 * 96)], [Some(0), Some(1), Some(41)]);
        assert_eq!([starts(1), starts(95), starts(42 * 96), starts(u64::MAX)], [None; 4]);
        assert_eq!(slots.at(41), PhysAddr(0x4000_0000 + 41 * 96));
        assert_eq!(Slots::NONE.starting_at(PhysAddr(0)), None);
    }
}
