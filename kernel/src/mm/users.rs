//! Those who use reclaimable memory, as one value: their tables, their lock, and the switches a person may turn.
//!
//! [`Users`] is what a machine has one of: the toy page cache, anonymous memory with its swap space, and handles. It
//! holds data only; what happens to it is told by `rmap`, `swapfile`, `writeback`, `filemap`, `anon` and `handles`, and
//! what reclaim and compaction may ask by `callbacks`. One spin lock guards all tables ([`Users::locked`]); under it
//! nothing waits and no page is allocated or freed. Lock order: page lock, tables, LRU, zone.
//!
//! [`PageUser`] is the way back from a page to whose it is. It may be asked while the page is marked `LRU` or `MOVABLE`,
//! or while somebody holds it who took it from there.

use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use core::fmt;

use super::memory::{Env, Memory};
use super::page::{NIL, Page, Pages};
use super::sparse::{MAX_OBJECTS, Place, Sparse};
use super::tables::{AnonPage, FilePage, Handle, Mapping, SwapSlot, UsersTables};
use crate::daemon::Daemon;
use crate::gfp::Gfp;
use crate::sync::{Class, SpinLock};
use crate::vmstat::{NodeStat, ZoneStat};

/// Files at most; their numbers start at 0.
pub const MAX_FILES: u32 = MAX_OBJECTS as u32;
/// Pages that a file, or a task's anonymous memory, may span.
pub const MAX_INDEX: u32 = 1 << 30;

/// Whose a page is; the number is that of the record in its table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageUser {
    /// A file's.
    File(u32),
    /// A task's.
    Anon(u32),
    /// A handle's.
    Handle(u32),
}

/// Records of a table that are not in use: a list of those that were, and the rest that never was.
#[derive(Debug)]
pub(super) struct FreeList {
    first: u32,
    ever_used: u32,
}

impl FreeList {
    const EMPTY: FreeList = FreeList { first: NIL, ever_used: 0 };

    /// Takes a record; `next` is the link of each of the table's.
    pub(super) fn take(&mut self, len: usize, next: impl FnOnce(u32) -> u32) -> Option<u32> {
        let taken = self.first;
        if taken != NIL {
            self.first = next(taken);
            return Some(taken);
        }
        ((self.ever_used as usize) < len).then(|| {
            self.ever_used += 1;
            self.ever_used - 1
        })
    }

    /// Gives a record back; what its link must be.
    pub(super) fn give_back(&mut self, record: u32) -> u32 {
        core::mem::replace(&mut self.first, record)
    }

    /// Records that may be in use: the first so many.
    pub(super) fn ever_used(&self) -> u32 {
        self.ever_used
    }
}

/// What the lock of the tables guards besides them.
#[derive(Debug)]
pub(super) struct State {
    pub files: Sparse,
    pub anons: Sparse,
    pub mappings: FreeList,
    pub handles: FreeList,
    /// Writes under way: the first and how many, in a ring.
    pub first_request: u32,
    pub nr_requests: u32,
    /// Where the next search for a swap slot begins.
    pub next_slot: u32,
    /// Slots of the swap space that is being given up; 0 if none is.
    pub closing: u32,
    /// The mask with which each file's pages are allocated. Linux: `mapping_gfp_mask`.
    pub file_gfp: [Gfp; MAX_FILES as usize],
}

/// How the modelled device behaves, and what it is doing.
#[derive(Debug)]
pub struct Disk {
    /// Ticks that a write takes; 0 for none.
    pub write_latency: AtomicU64,
    /// Ticks that a read takes; 0 for none.
    pub read_latency: AtomicU64,
    /// Writes that the flusher keeps under way.
    pub depth: AtomicU32,
    /// Whether many writes make it congested. Off as in v5.0, where hardly a driver still says so.
    pub may_congest: AtomicBool,
    /// Whether no write ever ends.
    pub frozen: AtomicBool,
    pub(super) congested: AtomicBool,
    pub(super) in_flight: AtomicU32,
}

impl Disk {
    /// Whether more writes are under way than the device likes.
    pub fn is_congested(&self) -> bool {
        self.congested.load(Relaxed)
    }

    /// Writes under way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }
}

/// What happened in the swap cache so far. Linux: `swap_cache_info`.
#[derive(Debug, Default)]
pub(super) struct SwapCacheInfo {
    pub added: AtomicU64,
    pub deleted: AtomicU64,
    pub searched: AtomicU64,
    pub found: AtomicU64,
}

/// Whoever uses reclaimable memory on a machine.
pub struct Users<'m> {
    pub(super) pages: Pages<'m>,
    pub(super) tables: UsersTables<'m>,
    pub(super) state: SpinLock<State>,
    /// The device that holds files and swap space.
    pub disk: Disk,
    /// Who writes dirty pages in the background.
    pub flusher: Daemon,
    /// Somebody wants all dirty pages written.
    pub(super) flush_all: AtomicBool,
    /// Requests of reclaim to write dirty pages so far.
    pub(super) flush_requests: AtomicU64,
    pub(super) swap_total: AtomicU64,
    pub(super) swap_free: AtomicU64,
    /// Whether a page's content is checked before it is evicted.
    pub check_evicted: AtomicBool,
    /// Pages that came into the swap cache and left it, searches there, and those that found something.
    pub(super) swap_cache: SwapCacheInfo,
    /// Chunks of the cache's index that have no page but remember one.
    pub(super) shadow_chunks: AtomicU64,
    /// Work that the shrinker of shadows has put off.
    pub(super) deferred: AtomicU64,
}

impl<'m> Users<'m> {
    /// Nobody uses anything yet. Writes no table.
    pub fn new(pages: Pages<'m>, tables: UsersTables<'m>) -> Users<'m> {
        tables.size();
        Users {
            pages,
            tables,
            state: SpinLock::new(
                Class::Users,
                State {
                    files: Sparse::EMPTY,
                    anons: Sparse::EMPTY,
                    mappings: FreeList::EMPTY,
                    handles: FreeList::EMPTY,
                    first_request: 0,
                    nr_requests: 0,
                    next_slot: 0,
                    closing: 0,
                    file_gfp: [Gfp::GFP_HIGHUSER_MOVABLE; MAX_FILES as usize],
                },
            ),
            disk: Disk {
                write_latency: AtomicU64::new(5),
                read_latency: AtomicU64::new(1),
                depth: AtomicU32::new(128),
                may_congest: AtomicBool::new(false),
                frozen: AtomicBool::new(false),
                congested: AtomicBool::new(false),
                in_flight: AtomicU32::new(0),
            },
            flusher: Daemon::new(),
            flush_all: AtomicBool::new(false),
            flush_requests: AtomicU64::new(0),
            swap_total: AtomicU64::new(0),
            swap_free: AtomicU64::new(0),
            check_evicted: AtomicBool::new(true),
            swap_cache: SwapCacheInfo::default(),
            shadow_chunks: AtomicU64::new(0),
            deferred: AtomicU64::new(0),
        }
    }

    /// Runs `act` with the tables locked.
    pub(super) fn locked<E: Env, R>(&self, memory: &Memory<'_, E>, act: impl FnOnce(&mut State) -> R) -> R {
        let pin = memory.pin();
        let mut state = self.state.lock(&pin);
        act(&mut state)
    }

    /// Requests of reclaim to write dirty pages so far.
    pub fn flush_requests(&self) -> u64 {
        self.flush_requests.load(Relaxed)
    }

    pub(super) fn page(&self, index: u32) -> &'m Page {
        self.pages.at(index)
    }

    pub(super) fn file(&self, entry: u32) -> &'m FilePage {
        &self.tables.files[entry as usize]
    }

    pub(super) fn anon(&self, entry: u32) -> &'m AnonPage {
        &self.tables.anons[entry as usize]
    }

    pub(super) fn mapping(&self, number: u32) -> &'m Mapping {
        &self.tables.mappings[number as usize]
    }

    pub(super) fn slot(&self, number: u32) -> &'m SwapSlot {
        &self.tables.slots[number as usize]
    }

    pub(super) fn handle(&self, number: u32) -> &'m Handle {
        &self.tables.handles[number as usize]
    }

    /// Version of a file's page that was written last.
    pub(super) fn ledger(&self, entry: u32) -> &'m AtomicU32 {
        &self.tables.ledger[entry as usize]
    }

    /// File and index of a file's page.
    pub(super) fn file_place(&self, entry: u32) -> Place {
        Sparse::place_of(self.tables.file_chunks, entry)
    }

    /// Task number and virtual page number of an anonymous page.
    pub(super) fn anon_place(&self, entry: u32) -> (u16, u32) {
        let place = Sparse::place_of(self.tables.anon_chunks, entry);
        (place.object as u16 + 1, place.index)
    }

    /// Whose the page is; `None` if its user has let go of it.
    pub(super) fn user_of(&self, index: u32) -> Option<PageUser> {
        let bits = self.tables.owners[index as usize].load(Relaxed);
        let record = bits & !(3 << 30);
        let (user, page) = match bits >> 30 {
            0 => (PageUser::File(record), self.tables.files.get(record as usize)?.page()),
            1 => (PageUser::Anon(record), self.tables.anons.get(record as usize)?.page()),
            _ => (PageUser::Handle(record), self.tables.handles.get(record as usize)?.page()),
        };
        (page == Some(index)).then_some(user)
    }

    /// Task number and virtual page number of the anonymous page that the page of memory is, if it is one.
    pub fn anon_of(&self, index: u32) -> Option<(u16, u32)> {
        let Some(PageUser::Anon(entry)) = self.user_of(index) else { return None };
        Some(self.anon_place(entry))
    }

    /// File and index of the page of memory, if it is a file's.
    pub fn file_of(&self, index: u32) -> Option<Place> {
        let Some(PageUser::File(entry)) = self.user_of(index) else { return None };
        Some(self.file_place(entry))
    }

    /// Says whose the page is.
    pub(super) fn set_user(&self, index: u32, user: PageUser) {
        let bits = match user {
            PageUser::File(record) => record,
            PageUser::Anon(record) => 1 << 30 | record,
            PageUser::Handle(record) => 2 << 30 | record,
        };
        self.tables.owners[index as usize].store(bits, Relaxed);
    }
}

impl fmt::Debug for Users<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users of {:?}", self.pages.span())
    }
}

/// Changes a counter of the node that the page is on.
pub(super) fn add_node_stat<E: Env>(memory: &Memory<'_, E>, index: u32, stat: NodeStat, delta: i64) {
    let zone = memory.zone(memory.pages.at(index).state().zone());
    memory.node(zone.node).add_stat(stat, delta);
}

/// Changes a counter of the zone that the page is in.
pub(super) fn add_zone_stat<E: Env>(memory: &Memory<'_, E>, index: u32, stat: ZoneStat, delta: i64) {
    memory.zone(memory.pages.at(index).state().zone()).add_stat(stat, delta);
}
