//! A node: memory that is equally far from a CPU, with its zonelists, its LRU lists and the state of its daemons.
//!
//! Linux: `struct pglist_data`. Its zones are kept with all others in [`super::memory::Memory`], so that a page record
//! can name its zone by one number.

use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use bitflags::bitflags;

use super::lru::Lruvec;
use super::zonelist::Zonelist;
use crate::addr::PfnRange;
use crate::daemon::Daemon;
use crate::mmzone::{MAX_NUMNODES, NodeId};
use crate::sched::WaitQueue;
use crate::sync::{Class, LocalIrq, Pin, SpinLock};
use crate::vmstat::{self, NodeStat};

/// Distance of a node to itself.
pub const LOCAL_DISTANCE: u8 = 10;
/// Distance of two nodes that no table mentions.
pub const REMOTE_DISTANCE: u8 = 20;
/// Nodes farther apart than this are not reclaimed from before the next zone is tried. Linux: `RECLAIM_DISTANCE`.
pub const RECLAIM_DISTANCE: u8 = 30;

/// A node of the machine.
pub struct Node {
    /// The node's number.
    pub id: NodeId,
    /// Whether the machine has the node: memory, or a CPU.
    pub online: bool,
    /// First and last page with everything in between.
    pub span: PfnRange,
    /// Distances to all nodes, 10 for itself.
    pub distance: [u8; MAX_NUMNODES],
    /// The zones of all nodes, nearest first.
    pub fallback: Zonelist,
    /// The node's own zones. Linux: `ZONELIST_NOFALLBACK`.
    pub thisnode: Zonelist,
    /// Pages that the node keeps from ordinary use.
    pub(super) totalreserve: AtomicU64,
    stats: [AtomicU64; NodeStat::COUNT],
    /// The reclaimable pages.
    pub(super) lru: SpinLock<Lruvec>,
    /// Evictions and activations of file pages so far: the clock by which refaults are measured. Linux: `inactive_age`.
    pub(super) inactive_age: AtomicU64,
    /// `workingset_activate` when reclaim last ended. Linux: `refaults` of `struct lruvec`.
    pub(super) refaults: AtomicU64,
    /// What the node's kswapd is asked for, and how it fares.
    pub kswapd: Kswapd,
    /// What the node's kcompactd is asked for.
    pub kcompactd: Kcompactd,
    /// Tasks that wait until kswapd has made room. Linux: `pfmemalloc_wait`.
    pub pfmemalloc_wait: WaitQueue,
    /// What reclaim found out: [`NodeFlags`].
    flags: AtomicU32,
}

bitflags! {
    /// What kswapd found at the tail of the LRU lists, and a lock. Linux: `enum pgdat_flags`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct NodeFlags: u32 {
        /// Dirty pages of a congested device.
        const CONGESTED = 1 << 0;
        /// Many dirty file pages.
        const DIRTY = 1 << 1;
        /// Many pages under writeback.
        const WRITEBACK = 1 << 2;
        /// Somebody reclaims from the node for a request that would else go to another one.
        const RECLAIM_LOCKED = 1 << 3;
    }
}

/// `kswapd_failures` from which kswapd is hopeless. Linux: `MAX_RECLAIM_RETRIES`.
pub const MAX_RECLAIM_RETRIES: u32 = 16;

/// The state of a node's kswapd: requests are merged into it, and it is woken. Linux: `kswapd_*` of `pg_data_t`.
#[derive(Debug, Default)]
pub struct Kswapd {
    /// Whether it sleeps, and the way to wake it.
    pub daemon: Daemon,
    /// The highest order asked for.
    pub order: AtomicU32,
    /// One more than the highest zone index asked for; 0 for none.
    classzone: AtomicU32,
    /// Runs in a row that reclaimed nothing.
    pub failures: AtomicU32,
}

impl Kswapd {
    /// The highest zone index asked for since kswapd last looked. Linux: `kswapd_classzone_idx`, whose
    /// `MAX_NR_ZONES` is our `None`.
    pub fn classzone(&self) -> Option<usize> {
        self.classzone.load(Relaxed).checked_sub(1).map(|index| index as usize)
    }

    /// Sets what [`Kswapd::classzone`] returns.
    pub fn set_classzone(&self, index: Option<usize>) {
        self.classzone.store(index.map_or(0, |index| index as u32 + 1), Relaxed);
    }

    /// Whether it has failed so often that nobody should wait for it.
    pub fn is_hopeless(&self) -> bool {
        self.failures.load(Relaxed) >= MAX_RECLAIM_RETRIES
    }
}

/// The state of a node's kcompactd. Linux: `kcompactd_*` of `pg_data_t`.
#[derive(Debug, Default)]
pub struct Kcompactd {
    /// Whether it sleeps, and the way to wake it.
    pub daemon: Daemon,
    /// The highest order asked for; 0 for nothing to do.
    pub max_order: AtomicU32,
    /// Up to which zone index.
    pub classzone: AtomicU32,
}

impl Node {
    /// A node that is not online.
    pub fn new(id: NodeId) -> Node {
        let distance = core::array::from_fn(|other| if other == id.index() { LOCAL_DISTANCE } else { REMOTE_DISTANCE });
        Node {
            id,
            online: false,
            span: PfnRange::default(),
            distance,
            fallback: Zonelist::default(),
            thisnode: Zonelist::default(),
            totalreserve: AtomicU64::new(0),
            stats: Default::default(),
            lru: SpinLock::new(Class::Lru, Lruvec::EMPTY),
            inactive_age: AtomicU64::new(0),
            refaults: AtomicU64::new(0),
            kswapd: Kswapd::default(),
            kcompactd: Kcompactd::default(),
            pfmemalloc_wait: WaitQueue::new(),
            flags: AtomicU32::new(0),
        }
    }

    /// A counter of the node. Linux: `node_page_state`.
    pub fn stat(&self, stat: NodeStat) -> u64 {
        vmstat::at_least_0(self.raw_stat(stat))
    }

    /// [`Node::stat`] as it is; below 0, wrapped round, only if somebody miscounts: for the audit.
    pub fn raw_stat(&self, stat: NodeStat) -> u64 {
        self.stats[stat.index()].load(Relaxed)
    }

    /// Shows the LRU lists to `look`, with nobody changing them.
    pub fn with_lru<I: LocalIrq + ?Sized, R>(&self, pin: &Pin<'_, I>, look: impl FnOnce(&Lruvec) -> R) -> R {
        look(&self.lru.lock(pin))
    }

    /// Changes a counter of the node. Linux: `mod_node_page_state`.
    pub fn add_stat(&self, stat: NodeStat, delta: i64) {
        self.stats[stat.index()].fetch_add(delta as u64, Relaxed);
    }

    /// Whether all of `flags` are set.
    pub fn has(&self, flags: NodeFlags) -> bool {
        NodeFlags::from_bits_retain(self.flags.load(Relaxed)).contains(flags)
    }

    /// Sets `flags`.
    pub fn set_flags(&self, flags: NodeFlags) {
        self.flags.fetch_or(flags.bits(), Relaxed);
    }

    /// Sets `flags`; whether one of them was not set before. Linux: `test_and_set_bit`, the other way round.
    pub fn try_set(&self, flags: NodeFlags) -> bool {
        !NodeFlags::from_bits_retain(self.flags.fetch_or(flags.bits(), Acquire)).contains(flags)
    }

    /// Clears `flags`.
    pub fn clear_flags(&self, flags: NodeFlags) {
        self.flags.fetch_and(!flags.bits(), Release);
    }

    /// Pages that the node keeps from ordinary use. Linux: `totalreserve_pages` of `pg_data_t`.
    pub fn totalreserve(&self) -> u64 {
        self.totalreserve.load(Relaxed)
    }
}
