//! Events of reclaim and kswapd, as `include/trace/events/vmscan.h` has them.
//!
//! Key type: [`Vmscan`]; the longer payloads are structs of their own. `zid`, `classzone` and `reclaim_idx` are zone
//! indices of the machine's profile. Neighbours: `mm::vmscan` and `mm::kswapd` emit them.
//!
//! Linux does more: events of memory cgroups and of node reclaim, neither of which exists here.

use core::fmt;

use super::fields::Page;
use crate::addr::{Order, Pfn};
use crate::gfp::{Gfp, TraceNames};
use crate::mmzone::NodeId;
use crate::reclaim_types::{LruList, ReclaimStat};

/// A tracepoint of `vmscan.h`. `Display` prints its fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vmscan {
    /// kswapd goes to sleep until somebody wakes it.
    MmVmscanKswapdSleep {
        /// Its node.
        nid: NodeId,
    },
    /// kswapd begins to balance its node.
    MmVmscanKswapdWake {
        /// Its node.
        nid: NodeId,
        /// The highest zone to balance.
        zid: usize,
        /// The order to balance for.
        order: Order,
    },
    /// A request wakes kswapd.
    MmVmscanWakeupKswapd {
        /// The node.
        nid: NodeId,
        /// The highest zone that the request may use.
        zid: usize,
        /// Order of the request.
        order: Order,
        /// Mask of the request; empty when a watermark boost wakes it.
        gfp: Gfp,
    },
    /// A task begins to reclaim for its own request.
    MmVmscanDirectReclaimBegin {
        /// Order of the request.
        order: Order,
        /// Whether it may write pages out from the start.
        may_writepage: bool,
        /// The mask after the task's scopes.
        gfp: Gfp,
        /// The highest zone to reclaim from.
        classzone_idx: usize,
    },
    /// A task has reclaimed for its own request.
    MmVmscanDirectReclaimEnd {
        /// Pages; 1 also when compaction could go on instead.
        nr_reclaimed: u64,
    },
    /// A shrinker is about to be asked.
    MmShrinkSlabStart(ShrinkSlabStart),
    /// A shrinker was asked.
    MmShrinkSlabEnd(ShrinkSlabEnd),
    /// Pages were taken off an LRU list.
    MmVmscanLruIsolate(LruIsolate),
    /// A page is being written out.
    MmVmscanWritepage {
        /// The page.
        page: Pfn,
        /// Whether it belongs to a file.
        file: bool,
    },
    /// Pages from an inactive list were dealt with.
    MmVmscanLruShrinkInactive(LruShrinkInactive),
    /// Pages from an active list were dealt with.
    MmVmscanLruShrinkActive(LruShrinkActive),
    /// The sizes of an active and an inactive list were compared.
    MmVmscanInactiveListIsLow(InactiveListIsLow),
}

/// What a shrinker is called, where Linux prints a function and an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShrinkerName {
    /// The function that frees.
    pub scan: &'static str,
    /// The shrinker.
    pub shrinker: &'static str,
}

/// Payload of `mm_shrink_slab_start`. Counts are in objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShrinkSlabStart {
    /// The shrinker.
    pub shrinker: &'static ShrinkerName,
    /// The node.
    pub nid: NodeId,
    /// Left over from earlier rounds.
    pub deferred: i64,
    /// The request's mask.
    pub gfp: Gfp,
    /// What the shrinker could free.
    pub freeable: u64,
    /// This round's share.
    pub delta: u64,
    /// What is to be scanned.
    pub total_scan: i64,
    /// The priority, 12 to 0.
    pub priority: i32,
}

/// Payload of `mm_shrink_slab_end`. Counts are in objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShrinkSlabEnd {
    /// The shrinker.
    pub shrinker: &'static ShrinkerName,
    /// The node.
    pub nid: NodeId,
    /// Left over from earlier rounds.
    pub deferred_before: i64,
    /// Left over for later rounds.
    pub deferred_after: i64,
    /// Not scanned of what was to be.
    pub total_scan: i64,
    /// Freed.
    pub freed: u64,
}

/// Payload of `mm_vmscan_lru_isolate`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LruIsolate {
    /// 0, or 2 (`ISOLATE_UNMAPPED`) when mapped pages must stay.
    pub isolate_mode: u32,
    /// The highest zone to take from.
    pub classzone: usize,
    /// The order to reclaim for.
    pub order: Order,
    /// Pages wanted.
    pub nr_requested: u64,
    /// Pages looked at, skipped ones included.
    pub nr_scanned: u64,
    /// Pages of higher zones.
    pub nr_skipped: u64,
    /// Pages taken.
    pub nr_taken: u64,
    /// The list.
    pub lru: LruList,
}

/// Payload of `mm_vmscan_lru_shrink_inactive`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LruShrinkInactive {
    /// The node.
    pub nid: NodeId,
    /// Pages looked at.
    pub nr_scanned: u64,
    /// Pages freed.
    pub nr_reclaimed: u64,
    /// What became of the others.
    pub stat: ReclaimStat,
    /// The priority, 12 to 0.
    pub priority: i32,
    /// Whether the pages belong to files.
    pub file: bool,
}

/// Payload of `mm_vmscan_lru_shrink_active`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LruShrinkActive {
    /// The node.
    pub nid: NodeId,
    /// Pages taken off the list.
    pub nr_taken: u64,
    /// Pages put back on it.
    pub nr_active: u64,
    /// Pages moved to the inactive list.
    pub nr_deactivated: u64,
    /// Pages that a mapping had used.
    pub nr_referenced: u64,
    /// The priority, 12 to 0.
    pub priority: i32,
    /// Whether the pages belong to files.
    pub file: bool,
}

/// Payload of `mm_vmscan_inactive_list_is_low`. Sizes are in pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InactiveListIsLow {
    /// The node.
    pub nid: NodeId,
    /// The highest zone whose pages count.
    pub reclaim_idx: usize,
    /// The inactive list in all zones.
    pub total_inactive: u64,
    /// The inactive list in the zones that count.
    pub inactive: u64,
    /// The active list in all zones.
    pub total_active: u64,
    /// The active list in the zones that count.
    pub active: u64,
    /// How many times larger than the inactive list the active one may be; 0 while pages come back too soon.
    pub ratio: u64,
    /// Whether the lists are those of files.
    pub file: bool,
}

impl Vmscan {
    /// The tracepoint's name.
    pub const fn name(self) -> &'static str {
        match self {
            Vmscan::MmVmscanKswapdSleep { .. } => "mm_vmscan_kswapd_sleep",
            Vmscan::MmVmscanKswapdWake { .. } => "mm_vmscan_kswapd_wake",
            Vmscan::MmVmscanWakeupKswapd { .. } => "mm_vmscan_wakeup_kswapd",
            Vmscan::MmVmscanDirectReclaimBegin { .. } => "mm_vmscan_direct_reclaim_begin",
            Vmscan::MmVmscanDirectReclaimEnd { .. } => "mm_vmscan_direct_reclaim_end",
            Vmscan::MmShrinkSlabStart(_) => "mm_shrink_slab_start",
            Vmscan::MmShrinkSlabEnd(_) => "mm_shrink_slab_end",
            Vmscan::MmVmscanLruIsolate(_) => "mm_vmscan_lru_isolate",
            Vmscan::MmVmscanWritepage { .. } => "mm_vmscan_writepage",
            Vmscan::MmVmscanLruShrinkInactive(_) => "mm_vmscan_lru_shrink_inactive",
            Vmscan::MmVmscanLruShrinkActive(_) => "mm_vmscan_lru_shrink_active",
            Vmscan::MmVmscanInactiveListIsLow(_) => "mm_vmscan_inactive_list_is_low",
        }
    }
}

/// The type of pages. Linux: `show_reclaim_flags`.
const fn reclaim_lru(file: bool) -> &'static str {
    if file { "RECLAIM_WB_FILE" } else { "RECLAIM_WB_ANON" }
}

/// The type of pages, and that nobody waits for their writeback.
struct ReclaimFlags(bool);

impl fmt::Display for ReclaimFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|RECLAIM_WB_ASYNC", reclaim_lru(self.0))
    }
}

impl fmt::Display for Vmscan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Vmscan::MmVmscanKswapdSleep { nid } => write!(f, "nid={nid}"),
            Vmscan::MmVmscanKswapdWake { nid, zid, order } => write!(f, "nid={nid} zid={zid} order={order}"),
            Vmscan::MmVmscanWakeupKswapd { nid, zid, order, gfp } => {
                write!(f, "nid={nid} zid={zid} order={order} gfp_flags={}", TraceNames(gfp))
            }
            Vmscan::MmVmscanDirectReclaimBegin { order, may_writepage, gfp, classzone_idx } => {
                let (may_writepage, names) = (u8::from(may_writepage), TraceNames(gfp));
                write!(f, "order={order} may_writepage={may_writepage} gfp_flags={names} classzone_idx={classzone_idx}")
            }
            Vmscan::MmVmscanDirectReclaimEnd { nr_reclaimed } => write!(f, "nr_reclaimed={nr_reclaimed}"),
            Vmscan::MmShrinkSlabStart(payload) => payload.fmt(f),
            Vmscan::MmShrinkSlabEnd(payload) => payload.fmt(f),
            Vmscan::MmVmscanLruIsolate(payload) => payload.fmt(f),
            Vmscan::MmVmscanWritepage { page, file } => {
                write!(f, "{} flags={}", Page(Some(page)), ReclaimFlags(file))
            }
            Vmscan::MmVmscanLruShrinkInactive(payload) => payload.fmt(f),
            Vmscan::MmVmscanLruShrinkActive(payload) => payload.fmt(f),
            Vmscan::MmVmscanInactiveListIsLow(payload) => payload.fmt(f),
        }
    }
}

impl fmt::Display for ShrinkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.scan, self.shrinker)
    }
}

impl fmt::Display for ShrinkSlabStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ShrinkSlabStart { shrinker, nid, deferred, gfp, freeable, delta, total_scan, priority } = *self;
        write!(f, "{shrinker}: nid: {nid} objects to shrink {deferred} gfp_flags {} ", TraceNames(gfp))?;
        write!(f, "cache items {freeable} delta {delta} total_scan {total_scan} priority {priority}")
    }
}

impl fmt::Display for ShrinkSlabEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ShrinkSlabEnd { shrinker, nid, deferred_before, deferred_after, total_scan, freed } = *self;
        write!(f, "{shrinker}: nid: {nid} unused scan count {deferred_before} new scan count {deferred_after} ")?;
        write!(f, "total_scan {total_scan} last shrinker return val {freed}")
    }
}

impl fmt::Display for LruIsolate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LruIsolate { isolate_mode, classzone, order, nr_requested, nr_scanned, nr_skipped, nr_taken, lru } = *self;
        write!(f, "isolate_mode={isolate_mode} classzone={classzone} order={order} nr_requested={nr_requested} ")?;
        write!(f, "nr_scanned={nr_scanned} nr_skipped={nr_skipped} nr_taken={nr_taken} lru={lru}")
    }
}

impl fmt::Display for LruShrinkInactive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LruShrinkInactive { nid, nr_scanned, nr_reclaimed, stat, priority, file } = *self;
        write!(f, "nid={nid} nr_scanned={nr_scanned} nr_reclaimed={nr_reclaimed} nr_dirty={} ", stat.nr_dirty)?;
        write!(f, "nr_writeback={} nr_congested={} ", stat.nr_writeback, stat.nr_congested)?;
        write!(f, "nr_immediate={} nr_activate={} ", stat.nr_immediate, stat.nr_activate)?;
        write!(f, "nr_ref_keep={} nr_unmap_fail={} ", stat.nr_ref_keep, stat.nr_unmap_fail)?;
        write!(f, "priority={priority} flags={}", ReclaimFlags(file))
    }
}

impl fmt::Display for LruShrinkActive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LruShrinkActive { nid, nr_taken, nr_active, nr_deactivated, nr_referenced, priority, file } = *self;
        write!(f, "nid={nid} nr_taken={nr_taken} nr_active={nr_active} nr_deactivated={nr_deactivated} ")?;
        write!(f, "nr_referenced={nr_referenced} priority={priority} flags={}", ReclaimFlags(file))
    }
}

impl fmt::Display for InactiveListIsLow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InactiveListIsLow { nid, reclaim_idx, total_inactive, inactive, total_active, active, ratio, file } = *self;
        write!(f, "nid={nid} reclaim_idx={reclaim_idx} total_inactive={total_inactive} inactive={inactive} ")?;
        write!(f, "total_active={total_active} active={active} ratio={ratio} flags={}", reclaim_lru(file))
    }
}

#[cfg(test)]
mod tests;
