//! Putting compaction off where it failed lately: the arithmetic is [`CompactState`]'s, the events are told here.
//!
//! Linux: `defer_compaction`, `compaction_deferred`, `compaction_defer_reset`.
//!
//! [`CompactState`]: super::super::compact_state::CompactState

use super::super::memory::{Env, Memory};
use super::super::zone::Zone;
use crate::addr::Order;
use crate::task::Current;
use crate::trace::compaction::{Compaction, Deferral};

/// Compacting the zone for `order` failed: later attempts are put off. Linux: `defer_compaction`.
pub fn defer_compaction<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, zone: &Zone, order: Order) {
    zone.compact.defer(order);
    memory.trace(current, || Compaction::MmCompactionDeferCompaction(deferral(zone, order)));
}

/// Counts an attempt to compact the zone for `order`; whether it is put off. Linux: `compaction_deferred`.
pub fn compaction_deferred<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, zone: &Zone, order: Order) -> bool {
    let deferred = zone.compact.consider(order);
    if deferred {
        memory.trace(current, || Compaction::MmCompactionDeferred(deferral(zone, order)));
    }
    deferred
}

/// The zone has a block of `order`; and `success` tells that the request could take it, so that nothing is put off any
/// more. Linux: `compaction_defer_reset`.
pub fn compaction_defer_reset<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    zone: &Zone,
    order: Order,
    success: bool,
) {
    zone.compact.reset(order, success);
    memory.trace(current, || Compaction::MmCompactionDeferReset(deferral(zone, order)));
}

fn deferral(zone: &Zone, order: Order) -> Deferral {
    Deferral {
        zone: zone.zone_ref(),
        order,
        order_failed: zone.compact.order_failed(),
        considered: zone.compact.considered(),
        defer_shift: zone.compact.shift(),
    }
}
