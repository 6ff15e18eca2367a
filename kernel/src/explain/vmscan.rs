//! Reclaim and kswapd in words.

use core::fmt::{self, Formatter};

use super::{either, pages};
use crate::trace::Vmscan;
use crate::trace::vmscan::{
    InactiveListIsLow, LruIsolate, LruShrinkActive, LruShrinkInactive, ShrinkSlabEnd, ShrinkSlabStart,
};

pub fn words(event: &Vmscan, f: &mut Formatter<'_>) -> fmt::Result {
    match event {
        Vmscan::MmVmscanKswapdSleep { nid } => write!(f, "kswapd of node {nid} has nothing to do and sleeps"),
        Vmscan::MmVmscanKswapdWake { nid, zid, order } => {
            write!(f, "kswapd of node {nid} works, for blocks of order {order} in zones up to number {zid}")
        }
        Vmscan::MmVmscanWakeupKswapd { nid, gfp, .. } if gfp.is_empty() => {
            write!(f, "raised watermarks wake kswapd of node {nid}")
        }
        Vmscan::MmVmscanWakeupKswapd { nid, order, gfp, .. } => {
            write!(f, "a request of order {order} with {} wakes kswapd of node {nid}", gfp.mode())
        }
        Vmscan::MmVmscanDirectReclaimBegin { order, may_writepage, gfp, .. } => {
            let write = either(*may_writepage, "may write pages out", "leaves writing to the flusher for now");
            write!(f, "the task makes room itself for order {order}: {}; it {write}", gfp.mode())
        }
        Vmscan::MmVmscanDirectReclaimEnd { nr_reclaimed: 0 } => f.write_str("the task could reclaim nothing"),
        Vmscan::MmVmscanDirectReclaimEnd { nr_reclaimed } => write!(f, "the task reclaimed {}", pages(*nr_reclaimed)),
        Vmscan::MmShrinkSlabStart(payload) => shrink_slab_start(payload, f),
        Vmscan::MmShrinkSlabEnd(payload) => shrink_slab_end(payload, f),
        Vmscan::MmVmscanLruIsolate(payload) => lru_isolate(payload, f),
        Vmscan::MmVmscanWritepage { page, file } => {
            write!(f, "pfn {page} is dirty and goes to {}", either(*file, "its file", "swap"))
        }
        Vmscan::MmVmscanLruShrinkInactive(payload) => shrink_inactive(payload, f),
        Vmscan::MmVmscanLruShrinkActive(payload) => shrink_active(payload, f),
        Vmscan::MmVmscanInactiveListIsLow(payload) => inactive_list_is_low(payload, f),
    }
}

fn shrink_slab_start(payload: &ShrinkSlabStart, f: &mut Formatter<'_>) -> fmt::Result {
    let ShrinkSlabStart { shrinker, deferred, freeable, delta, total_scan, priority, .. } = payload;
    write!(f, "{}: of {freeable} objects {delta} are due at priority {priority}, ", shrinker.shrinker)?;
    write!(f, "{deferred} are left from before; {total_scan} will be looked at")
}

fn shrink_slab_end(payload: &ShrinkSlabEnd, f: &mut Formatter<'_>) -> fmt::Result {
    let ShrinkSlabEnd { shrinker, deferred_after, freed, .. } = payload;
    write!(f, "{}: {freed} objects freed, {deferred_after} left for later", shrinker.shrinker)
}

fn lru_isolate(payload: &LruIsolate, f: &mut Formatter<'_>) -> fmt::Result {
    let LruIsolate { nr_requested, nr_scanned, nr_skipped, nr_taken, lru, .. } = payload;
    write!(f, "{nr_requested} pages wanted from {lru}: {nr_scanned} looked at, {nr_taken} taken")?;
    if *nr_skipped > 0 {
        write!(f, ", {nr_skipped} skipped in zones that would not help")?;
    }
    Ok(())
}

fn shrink_inactive(payload: &LruShrinkInactive, f: &mut Formatter<'_>) -> fmt::Result {
    let LruShrinkInactive { nr_scanned, nr_reclaimed, stat, priority, file, .. } = payload;
    let kind = either(*file, "file", "anonymous");
    write!(f, "priority {priority}: of {nr_scanned} inactive {kind} pages {nr_reclaimed} are freed")?;
    for (n, what) in [
        (stat.nr_dirty, "dirty"),
        (stat.nr_writeback, "under writeback"),
        (stat.nr_immediate, "under writeback for the second time"),
        (stat.nr_congested, "of a congested device"),
        (stat.nr_activate, "activated"),
        (stat.nr_ref_keep, "kept as they were used"),
        (stat.nr_unmap_fail, "could not be unmapped"),
    ] {
        if n > 0 {
            write!(f, ", {n} {what}")?;
        }
    }
    Ok(())
}

fn shrink_active(payload: &LruShrinkActive, f: &mut Formatter<'_>) -> fmt::Result {
    let LruShrinkActive { nr_taken, nr_active, nr_deactivated, nr_referenced, priority, file, .. } = payload;
    let kind = either(*file, "file", "anonymous");
    write!(f, "priority {priority}: of {nr_taken} active {kind} pages {nr_deactivated} become inactive, ")?;
    write!(f, "{nr_active} stay; {nr_referenced} had been used")
}

fn inactive_list_is_low(payload: &InactiveListIsLow, f: &mut Formatter<'_>) -> fmt::Result {
    let InactiveListIsLow { inactive, active, ratio, file, .. } = *payload;
    let (product, kind) = (inactive * ratio, either(file, "file", "anonymous"));
    let sign = if product < active { "<" } else { ">=" };
    write!(f, "{kind} pages: inactive {inactive} * ratio {ratio} = {product} {sign} active {active}: ")?;
    f.write_str(either(product < active, "the inactive list is low, the active one is aged", "not low"))
}
