//! The whole way of a request that may not sleep, written for its cost: interrupt handlers come here.
//!
//! Such a request does S0 to S7 of the slow path and no more, and unless a reserve is open to it, S5 and S6 would only
//! repeat S2 and S3: it has not slept, and its flags are the same. A zone that is below the request's own mark is below
//! Low, too, so one look at each zone answers for the fast path and for the slow one. Whatever is unusual about a
//! request takes the long way instead, so that nothing of it goes untold; a test replays the same requests on both ways
//! and compares.

use super::{Refusal, report_failure, wake_all_kswapds};
use crate::addr::Order;
use crate::gfp::Gfp;
use crate::mm::alloc_context::AllocContext;
use crate::mm::fastpath;
use crate::mm::freelist;
use crate::mm::memory::{BestZones, Env, Memory};
use crate::mm::reserve;
use crate::mm::zone::{AllocFlags, Zone};
use crate::mmzone::Watermark;
use crate::task::Current;
use crate::vmstat::LabEvent;

/// Masks with one of these take the long way.
const UNHURRIED: Gfp =
    Gfp::__GFP_DIRECT_RECLAIM.union(Gfp::__GFP_NOFAIL).union(Gfp::__GFP_THISNODE).union(Gfp::__GFP_WRITE);

/// Serves a request without a nodemask that may not sleep; `None` when the long way has to look at it.
#[inline(always)]
pub fn alloc_pages<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    gfp: Gfp,
    order: u32,
    best: &BestZones,
) -> Option<Result<u32, Refusal>> {
    if memory.hooks() | (gfp & UNHURRIED).bits() != 0 {
        return None;
    }
    let preferred = memory.best_zone(best, gfp)?;
    let ac = AllocContext {
        gfp: current.scoped(gfp),
        order: Order::new(order)?,
        highest: memory.zone_table.zone(gfp),
        migratetype: gfp.migratetype()?,
        zonelist: &memory.node(memory.near_node()).fallback,
        nodemask: None,
        preferred_node: preferred.node,
        preferred_zone: preferred.id,
        classzone: preferred.index,
    };
    let flags = reserve::gfp_to_alloc_flags(current, ac.gfp);
    match look(memory, &ac, flags) {
        Look::AboveLow => None,
        Look::AboveOwn(zone) => {
            wake(memory, current, &ac, flags);
            memory.count_labs([LabEvent::Slowpath]);
            // When the zone has no block after all, others may have.
            take(memory, current, &ac, zone, flags).map(Ok)
        }
        Look::Below => {
            wake(memory, current, &ac, flags);
            Some(from_reserve(memory, current, &ac))
        }
    }
}

/// What a look at all zones says.
enum Look<'a> {
    /// Some zone is above Low: nothing slow about the request.
    AboveLow,
    /// None is, but this one is above the request's own mark.
    AboveOwn(&'a Zone),
    /// All are below that.
    Below,
}

#[inline(always)]
fn look<'a, E: Env>(memory: &'a Memory<'_, E>, ac: &AllocContext<'_>, flags: AllocFlags) -> Look<'a> {
    let (mut position, mut look) = (ac.zonelist.start(ac.highest), Look::Below);
    let above = |zone: &Zone, mark, flags| zone.watermark_fast(ac.order, zone.watermark(mark), ac.classzone, flags);
    while let Some(entry) = ac.zonelist.at(position) {
        position += 1;
        let Some(zone) = memory.zones.get(usize::from(entry.zone)) else { continue };
        if usize::from(entry.index) > ac.highest || !above(zone, Watermark::Min, flags) {
            continue;
        }
        if above(zone, Watermark::Low, flags & AllocFlags::CMA) {
            return Look::AboveLow;
        }
        if matches!(look, Look::Below) {
            look = Look::AboveOwn(zone);
        }
    }
    look
}

/// S3: a plain page as the fast path takes it, if it can.
#[inline(always)]
fn take<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    zone: &Zone,
    flags: AllocFlags,
) -> Option<u32> {
    let plain = ac.order == Order::ZERO && zone.id == ac.preferred_zone && !ac.gfp.contains(Gfp::__GFP_ZERO);
    let page = if plain { fastpath::take_page(memory, current, zone, ac.gfp) } else { None };
    page.or_else(|| freelist::take_from_zone(memory, current, ac, zone, flags))
}

/// S2.
#[inline(always)]
fn wake<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, ac: &AllocContext<'_>, flags: AllocFlags) {
    if flags.contains(AllocFlags::KSWAPD) {
        wake_all_kswapds(memory, current, ac);
    }
}

/// S6 and S25: what a reserve has for the request, if one is open to it.
#[inline(always)]
fn from_reserve<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, ac: &AllocContext<'_>) -> Result<u32, Refusal> {
    let reserve = reserve::reserve_flags(reserve::reserve_rule(current, ac.gfp));
    if !reserve.is_empty()
        && let Some(index) = freelist::get_page_from_freelist(memory, current, ac, reserve)
    {
        memory.count_lab(LabEvent::Slowpath);
        return Ok(index);
    }
    memory.count_labs([LabEvent::Slowpath, LabEvent::AllocFail]);
    report_failure(memory, current, ac);
    Err(Refusal::NoMemory)
}
