//! The tables of those who use reclaimable memory: what is known of file pages, anonymous pages, mappings, swap slots,
//! writes under way and handles.
//!
//! All of it lies in memory that is reserved at boot and that nobody clears ([`UsersSize`] says how much,
//! [`UsersTables`] borrows it): a record is written when it is first used, and how far a table is used is kept elsewhere
//! ([`super::users::Users`]). Fields are atomics with relaxed order, for the tables are shared; what makes a sequence of
//! accesses exclusive is the tables' lock. Records name each other by number, pages by record index.
//!
//! Linux: `struct address_space`, `struct vm_area_struct`, page tables, `swap_map`, `struct bio`.
//! Linux does more: it takes all of this from the slab allocator, so it knows no limits and can run out anywhere.

use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Relaxed},
};

use bitflags::bitflags;

use super::page::NIL;
use super::sparse::{CHUNK_ENTRIES, Chunk};

#[cfg(any(test, feature = "host"))]
mod garbage;

/// A page of a file, cached or not.
#[derive(Debug, Default)]
pub struct FilePage {
    slot: AtomicU64,
    /// The store: sum of the bytes that it was given.
    pub(super) sum: AtomicU64,
    /// The store: version that it was given; 0 for never.
    pub(super) stored: AtomicU32,
    /// Version that the cached page holds.
    pub(super) version: AtomicU32,
    /// First of its mappings.
    pub(super) mappings: AtomicU32,
    /// When the cached page became dirty, in ticks.
    pub(super) dirtied: AtomicU32,
    /// References that a user took by hand.
    pub(super) pins: AtomicU32,
    flags: AtomicU32,
}

/// What the cache has in a page's place. Linux: an entry of `i_pages`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slot {
    /// Nothing.
    Empty,
    /// The page.
    Page(u32),
    /// What an evicted page left behind.
    Shadow(u64),
}

bitflags! {
    /// What a user does to a file's page by hand.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct FileFlags: u32 {
        /// Holds the page lock.
        const LOCKED = 1 << 0;
        /// Has the store fail when the page is written.
        const FAIL = 1 << 1;
    }
}

impl FilePage {
    /// A page that nobody touched yet: not cached, never written.
    pub(super) fn init(&self) {
        self.set_slot(Slot::Empty);
        self.sum.store(0, Relaxed);
        for zero in [&self.stored, &self.version, &self.dirtied, &self.pins, &self.flags] {
            zero.store(0, Relaxed);
        }
        self.mappings.store(NIL, Relaxed);
    }

    /// What the cache has.
    pub(super) fn slot(&self) -> Slot {
        let bits = self.slot.load(Relaxed);
        match bits & 3 {
            1 => Slot::Page((bits >> 2) as u32),
            2 => Slot::Shadow(bits >> 2),
            _ => Slot::Empty,
        }
    }

    /// Whether the record says nothing that a fresh one would not say.
    pub(super) fn is_blank(&self) -> bool {
        self.slot() == Slot::Empty
            && self.mappings.load(Relaxed) == NIL
            && [&self.stored, &self.pins, &self.flags].iter().all(|field| field.load(Relaxed) == 0)
    }

    pub(super) fn set_slot(&self, slot: Slot) {
        let bits = match slot {
            Slot::Empty => 0,
            Slot::Page(page) => u64::from(page) << 2 | 1,
            Slot::Shadow(shadow) => shadow << 2 | 2,
        };
        self.slot.store(bits, Relaxed);
    }

    /// The cached page.
    pub(super) fn page(&self) -> Option<u32> {
        if let Slot::Page(page) = self.slot() { Some(page) } else { None }
    }

    pub(super) fn has(&self, flags: FileFlags) -> bool {
        FileFlags::from_bits_retain(self.flags.load(Relaxed)).contains(flags)
    }

    pub(super) fn set_flag(&self, flags: FileFlags, on: bool) {
        let others = self.flags.load(Relaxed) & !flags.bits();
        self.flags.store(others | if on { flags.bits() } else { 0 }, Relaxed);
    }
}

bitflags! {
    /// What is known of a mapping. Linux: bits of a page table entry and of its area.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MapFlags: u32 {
        /// Used since reclaim last looked.
        const YOUNG = 1 << 0;
        /// May be executed.
        const EXEC = 1 << 1;
        /// Locked into memory.
        const MLOCKED = 1 << 2;
        /// Present; only for anonymous pages, whose one mapping is always there.
        const MAPPED = 1 << 3;
    }
}

/// Flags that one may change without the tables' lock.
#[derive(Debug, Default)]
pub struct MapState(AtomicU32);

impl MapState {
    pub(super) fn get(&self) -> MapFlags {
        MapFlags::from_bits_retain(self.0.load(Relaxed))
    }

    pub(super) fn reset(&self, flags: MapFlags) {
        self.0.store(flags.bits(), Relaxed);
    }

    pub(super) fn set(&self, flags: MapFlags) {
        self.0.fetch_or(flags.bits(), AcqRel);
    }

    /// Clears `flags`; those that were set before.
    pub(super) fn clear(&self, flags: MapFlags) -> MapFlags {
        MapFlags::from_bits_retain(self.0.fetch_and(!flags.bits(), AcqRel)) & flags
    }
}

/// A file's page in a task's memory.
#[derive(Debug, Default)]
pub struct Mapping {
    /// Next mapping of the page, or next free record.
    pub(super) next: AtomicU32,
    /// The page: number of its [`FilePage`]; [`NIL`] while the record is free.
    pub(super) page: AtomicU32,
    /// The task's number.
    pub(super) task: AtomicU32,
    pub(super) state: MapState,
}

/// A page of a task's anonymous memory, wherever it is.
#[derive(Debug, Default)]
pub struct AnonPage {
    /// The page in memory, or [`NIL`].
    pub(super) page: AtomicU32,
    /// Its swap slot, or [`NIL`].
    pub(super) slot: AtomicU32,
    /// The version that the task wrote last; 0 if the task does not have the page.
    pub(super) version: AtomicU32,
    pub(super) state: MapState,
}

impl AnonPage {
    /// A page that its task does not have.
    pub(super) fn init(&self) {
        self.page.store(NIL, Relaxed);
        self.slot.store(NIL, Relaxed);
        self.version.store(0, Relaxed);
        self.state.reset(MapFlags::empty());
    }

    /// Whether its task does not have the page.
    pub(super) fn is_blank(&self) -> bool {
        self.version.load(Relaxed) == 0
    }

    /// The page in memory.
    pub(super) fn page(&self) -> Option<u32> {
        Some(self.page.load(Relaxed)).filter(|&page| page != NIL)
    }

    /// The swap slot.
    pub(super) fn slot(&self) -> Option<u32> {
        Some(self.slot.load(Relaxed)).filter(|&slot| slot != NIL)
    }
}

/// Room for one anonymous page outside memory.
#[derive(Debug, Default)]
pub struct SwapSlot {
    /// The page that it is for: number of its [`AnonPage`]; [`NIL`] if nobody uses it.
    pub(super) owner: AtomicU32,
    /// The version that was written into it; 0 for none.
    pub(super) version: AtomicU32,
    /// Sum of the bytes that were.
    pub(super) sum: AtomicU64,
}

/// A write on its way to the store. Linux: `struct bio`.
#[derive(Debug, Default)]
pub struct Request {
    /// Where to: a [`FilePage`] or, with the highest bit, a [`SwapSlot`].
    pub(super) target: AtomicU32,
    /// The page that is written.
    pub(super) page: AtomicU32,
    /// Its version at submission.
    pub(super) version: AtomicU32,
    /// Sum of its bytes at submission.
    pub(super) sum: AtomicU64,
    /// When it will be done, in ticks.
    pub(super) due: AtomicU64,
}

/// A page that a user knows by a number only, so that it can move.
#[derive(Debug, Default)]
pub struct Handle {
    /// The page, or the next free record.
    pub(super) page: AtomicU32,
    /// 0 while the record is free; see `handles.rs`.
    pub(super) state: AtomicU32,
}

impl Handle {
    /// The page.
    pub(super) fn page(&self) -> Option<u32> {
        (self.state.load(Relaxed) != 0).then(|| self.page.load(Relaxed))
    }
}

/// How many records the tables of a machine have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UsersSize {
    /// Page records: each has a way back to who uses the page.
    pub records: usize,
    /// Chunks of file pages, and as many of anonymous ones.
    pub chunks: usize,
    /// Mappings of file pages.
    pub mappings: usize,
    /// Swap slots.
    pub slots: usize,
    /// Writes under way.
    pub requests: usize,
    /// Handles.
    pub handles: usize,
}

impl UsersSize {
    /// The tables for `records` page records: no larger than all of them could fill, and no larger than a person can.
    pub const fn for_records(records: usize) -> UsersSize {
        UsersSize {
            records,
            chunks: at_most(records, 262_144).div_ceil(CHUNK_ENTRIES as usize),
            mappings: at_most(records, 65_536),
            slots: at_most(records, 65_536),
            requests: at_most(records, 8_192),
            handles: at_most(records, 65_536),
        }
    }

    /// File pages, and as many anonymous ones.
    pub const fn pages(&self) -> usize {
        self.chunks * CHUNK_ENTRIES as usize
    }
}

const fn at_most(records: usize, limit: usize) -> usize {
    if records < limit { records } else { limit }
}

/// The tables. They need not be initialised in any way.
#[derive(Clone, Copy, Debug, Default)]
pub struct UsersTables<'m> {
    /// Who uses each page of memory; means something while the page says so.
    pub owners: &'m [AtomicU32],
    /// Heads of the chunks of file pages.
    pub file_chunks: &'m [Chunk],
    /// File pages.
    pub files: &'m [FilePage],
    /// For each file page the version that was written last: what must be in the store or in the cache.
    pub ledger: &'m [AtomicU32],
    /// Heads of the chunks of anonymous pages.
    pub anon_chunks: &'m [Chunk],
    /// Anonymous pages.
    pub anons: &'m [AnonPage],
    /// Mappings of file pages.
    pub mappings: &'m [Mapping],
    /// Swap slots.
    pub slots: &'m [SwapSlot],
    /// Writes under way.
    pub requests: &'m [Request],
    /// Handles.
    pub handles: &'m [Handle],
}

impl UsersTables<'_> {
    /// The room that there is.
    ///
    /// # Panics
    ///
    /// When tables that belong together differ in length.
    pub fn size(&self) -> UsersSize {
        let size = UsersSize {
            records: self.owners.len(),
            chunks: self.file_chunks.len(),
            mappings: self.mappings.len(),
            slots: self.slots.len(),
            requests: self.requests.len(),
            handles: self.handles.len(),
        };
        assert_eq!([self.files.len(), self.ledger.len(), self.anons.len()], [size.pages(); 3], "tables of pages");
        assert_eq!(self.anon_chunks.len(), size.chunks, "chunks of anonymous pages");
        size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_grow_with_the_machine_up_to_a_limit() {
        let small = UsersSize::for_records(16384);
        assert_eq!((small.chunks, small.pages(), small.mappings, small.requests), (256, 16384, 16384, 8192));
        let large = UsersSize::for_records(16 << 20);
        assert_eq!((large.pages(), large.mappings, large.handles), (262_144, 65_536, 65_536));
        assert_eq!(large.records, 16 << 20);
    }

    #[test]
    fn a_slot_holds_a_page_or_a_shadow() {
        let page = FilePage::default();
        page.init();
        for slot in [Slot::Page(0), Slot::Page(NIL - 1), Slot::Shadow(0), Slot::Shadow((1 << 51) - 1), Slot::Empty] {
            page.set_slot(slot);
            assert_eq!(page.slot(), slot);
        }
    }
}
