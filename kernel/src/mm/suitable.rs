//! Whether compaction is worth beginning: the request must need it, and there must be enough free pages to work with.
//!
//! Pages that move need somewhere to go, twice the size of the block; and when it is memory that is missing, not order,
//! reclaim is the better remedy, which the fragmentation index tells. Linux: `__compaction_suitable`,
//! `compaction_suitable` in `mm/compaction.c`.
//!
//! It stands below the free lists because whoever takes from them may have to wake kcompactd, which asks first.

use crate::sync::atomic::Ordering::Relaxed;

use super::fragmentation;
use super::memory::{Env, Memory};
use super::zone::{AllocFlags, Zone};
use crate::addr::{MAX_ORDER, Order, PAGE_ALLOC_COSTLY_ORDER};
use crate::mmzone::Watermark;
use crate::reclaim_types::CompactResult;
use crate::task::Current;
use crate::trace::compaction::Compaction;
use crate::trace::slowpath::{NotCompacted, SlowPath};

/// Free pages above the watermark that compaction for `order` needs. Linux: `compact_gap`.
pub const fn compact_gap(order: u32) -> u64 {
    2 << order
}

/// [`compaction_suitable`] as if `free` pages of the zone were free, and without the fragmentation index: `Success` when
/// the request needs no compaction, `Skipped` when there is too little to work with, else `Continue`. Linux:
/// `__compaction_suitable`.
pub fn suitable_with(zone: &Zone, order: Order, flags: AllocFlags, classzone: usize, free: u64) -> CompactResult {
    result_of(shortage(zone, order, flags, classzone, free))
}

/// Whether compacting the zone for `order` is worth beginning: `Success` when there is no need, `Skipped` when it would be
/// in vain, else `Continue`. `flags` and `classzone` are the request's. Linux: `compaction_suitable`.
pub fn compaction_suitable<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    zone: &Zone,
    order: Order,
    flags: AllocFlags,
    classzone: usize,
) -> CompactResult {
    let reason = shortage(zone, order, flags, classzone, zone.counts.free_pages())
        .or_else(|| lack_of_memory(memory, zone, order));
    let ret = result_of(reason);
    trace_suitable(memory, current, zone, order.get() as i32, ret);
    if let Some(reason) = reason {
        memory.trace(current, || SlowPath::ZoneNotCompacted { zone: zone.zone_ref(), order, reason });
    }
    if ret == CompactResult::NotSuitableZone { CompactResult::Skipped } else { ret }
}

/// Records how [`compaction_suitable`] came out; `order` is -1 for the compaction of everything.
pub(super) fn trace_suitable<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    zone: &Zone,
    order: i32,
    ret: CompactResult,
) {
    memory.trace(current, || Compaction::MmCompactionSuitable { zone: zone.zone_ref(), order, ret });
}

/// What a reason not to compact is called as a result.
fn result_of(reason: Option<NotCompacted>) -> CompactResult {
    match reason {
        None => CompactResult::Continue,
        Some(NotCompacted::Enough) => CompactResult::Success,
        Some(NotCompacted::TooFewPages { .. }) => CompactResult::Skipped,
        Some(NotCompacted::Fragmentation { .. }) => CompactResult::NotSuitableZone,
    }
}

/// Why free pages, `free` of them, say that the zone should not be compacted.
fn shortage(zone: &Zone, order: Order, flags: AllocFlags, classzone: usize, free: u64) -> Option<NotCompacted> {
    if zone.watermark_ok(order, zone.watermark(flags.watermark()), classzone, flags) {
        return Some(NotCompacted::Enough);
    }
    let mark = if is_costly(order) { Watermark::Low } else { Watermark::Min };
    let needed = zone.watermark(mark) + compact_gap(order.get());
    if zone.watermark_ok_with(Order::ZERO, needed, classzone, AllocFlags::CMA, free) {
        return None;
    }
    Some(NotCompacted::TooFewPages { free, needed: needed + zone.lowmem_reserve(classzone) })
}

/// Why the shape of the free memory says that the zone should not be compacted.
fn lack_of_memory<E: Env>(memory: &Memory<'_, E>, zone: &Zone, order: Order) -> Option<NotCompacted> {
    if !is_costly(order) {
        return None;
    }
    let mut nr_free = [0; MAX_ORDER as usize];
    Order::all().for_each(|order| nr_free[order.index()] = zone.counts.nr_free(order));
    let index = fragmentation::extfrag_index(&nr_free, order) as i32;
    let threshold = memory.sysctl.extfrag_threshold.load(Relaxed) as i32;
    (0..=threshold).contains(&index).then_some(NotCompacted::Fragmentation { index, threshold })
}

fn is_costly(order: Order) -> bool {
    order.get() > PAGE_ALLOC_COSTLY_ORDER
}
