//! When a walk is over: the scanners met, a block of the order is free, or others come first.
//!
//! Linux: `__compact_finished`, `compact_finished`.

use super::super::fallback;
use super::super::memory::{Env, Memory};
use super::super::zone::Zone;
use super::control::CompactControl;
use super::{is_called_off, mobility_is_off};
use crate::addr::Order;
use crate::mmzone::MigrateType;
use crate::reclaim_types::CompactResult;
use crate::task::Current;
use crate::trace::compaction::Compaction;

/// Whether the walk is over, and how; `Continue` if it is not. Linux: `compact_finished`.
pub(super) fn compact_finished<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    zone: &Zone,
    cc: &mut CompactControl,
) -> CompactResult {
    let ret = state_of_walk(memory, current, zone, cc);
    let order = cc.order.map_or(-1, |order| order.get() as i32);
    memory.trace(current, || Compaction::MmCompactionFinished { zone: zone.zone_ref(), order, ret });
    if ret == CompactResult::NoSuitablePage { CompactResult::Continue } else { ret }
}

/// Linux: `__compact_finished`.
fn state_of_walk<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    zone: &Zone,
    cc: &mut CompactControl,
) -> CompactResult {
    if cc.contended || is_called_off(memory, current) {
        return CompactResult::Contended;
    }
    if cc.scanners_met() {
        zone.compact.reset_scanners(zone.span);
        if cc.direct {
            zone.compact.set_flush(true);
        }
        return if cc.whole_zone { CompactResult::Complete } else { CompactResult::PartialSkipped };
    }
    let Some(order) = cc.order else { return CompactResult::Continue };
    let at_boundary = cc.migrate_pfn.is_aligned(Order::PAGEBLOCK);
    if cc.finishing_block && !at_boundary {
        return CompactResult::Continue;
    }
    cc.finishing_block = false;
    match order.and_above().find_map(|order| offer(memory, zone, cc, order)) {
        None => CompactResult::NoSuitablePage,
        // What is taken from another type's pageblock should leave that as free as can be: one theft, not many.
        Some(Offer::Stolen) if !cc.is_async() && !at_boundary => {
            cc.finishing_block = true;
            CompactResult::Continue
        }
        Some(_) => CompactResult::Success,
    }
}

/// A free block for the request.
enum Offer {
    /// On a list that it takes from.
    Own,
    /// On another type's list; the pageblock would be taken over for pages that cannot move.
    Stolen,
}

/// What the lists of just `order` have for the request.
fn offer<E: Env>(memory: &Memory<'_, E>, zone: &Zone, cc: &CompactControl, order: Order) -> Option<Offer> {
    let is_listed = |migratetype| zone.counts.orders(migratetype) >> order.get() & 1 != 0;
    let movable = cc.migratetype == MigrateType::Movable;
    if is_listed(cc.migratetype) || (movable && is_listed(MigrateType::Cma)) {
        return Some(Offer::Own);
    }
    let stealable = fallback::has_stealable(zone, mobility_is_off(memory), order, cc.migratetype);
    stealable.then_some(if movable { Offer::Own } else { Offer::Stolen })
}
