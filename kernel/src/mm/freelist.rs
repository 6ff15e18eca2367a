//! Pages out of the free lists and back into them, without waiting unless the caller has somebody who makes room.
//!
//! [`get_page_from_freelist`] walks the zonelist, checks each zone's watermark, and takes a block from the first zone
//! that may give one, as `freelist/rmqueue.rs` tells. [`free_unref_page`] and [`free_block`] are the way back, in
//! `freelist/free.rs`. What a request is, is told by its [`AllocContext`].
//!
//! The order of the checks is v5.0's, because it can be observed. Linux: `mm/page_alloc.c`, `get_page_from_freelist`,
//! `rmqueue`, `free_unref_page`.
//!
//! Linux does more: deferred initialisation of page records.

use super::alloc_context::AllocContext;
use super::cpuset;
use super::memory::{Env, Hook, Memory};
use super::prep;
use super::zone::{AllocFlags, Zone};
use crate::addr::Order;
use crate::mmzone::NodeId;
use crate::task::Current;
use crate::trace::decision::{Decision, Verdict, WatermarkCheck};

mod free;
mod node_dirty;
mod rmqueue;

pub(super) use free::drain_batch;
pub use free::{drain_all_pages, drain_local_pages, free_block, free_unref_page, free_unref_page_list};
pub(super) use rmqueue::{fallback_control, refill, wake_for_boost};

/// What may be done about a zone that has too little; whether it deserves another look then. It may sleep.
pub type MakeRoom<E> = fn(&Memory<'_, E>, &Current<'_>, &AllocContext<'_>, &Zone) -> bool;

/// [`get_page_or_make_room`] without anybody who makes room.
#[inline(always)]
pub fn get_page_from_freelist<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    flags: AllocFlags,
) -> Option<u32> {
    get_page_or_make_room(memory, current, ac, flags, |_, _, _, _| false)
}

/// Takes a block from the first zone that may give one; its record index, or `None` when every zone is too low. A zone
/// that is too low is passed over, unless `vm.zone_reclaim_mode` is set and `make_room` was of use.
///
/// Linux: `get_page_from_freelist`.
#[inline(always)]
pub fn get_page_or_make_room<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    flags: AllocFlags,
    make_room: MakeRoom<E>,
) -> Option<u32> {
    let closely = memory.hooks() & (Hook::Trace as u32 | Hook::Cpusets as u32 | Hook::NodeReclaim as u32) != 0;
    const CLOSELY: AllocFlags = AllocFlags::NO_WATERMARKS.union(AllocFlags::NOFRAGMENT).union(AllocFlags::SPREAD_DIRTY);
    if closely || flags.intersects(CLOSELY) {
        return walk_closely(memory, current, ac, flags, make_room);
    }
    let mut position = ac.zonelist.start(ac.highest);
    while let Some((zone, behind)) = first_above_mark(memory, ac, flags, position) {
        if let Some(index) = take_from_zone(memory, current, ac, zone, flags) {
            return Some(index);
        }
        position = behind;
    }
    None
}

/// The first zone from `position` on that the request may use and whose watermark lets it go, and the position behind it.
///
/// Calls nothing, so that a request that no zone can serve hears of it soon.
#[inline(never)]
fn first_above_mark<'a, E: Env>(
    memory: &'a Memory<'_, E>,
    ac: &AllocContext<'_>,
    flags: AllocFlags,
    mut position: usize,
) -> Option<(&'a Zone, usize)> {
    while let Some(entry) = ac.zonelist.at(position) {
        position += 1;
        if usize::from(entry.index) <= ac.highest && ac.nodemask.is_none_or(|nodes| entry.is_in(nodes)) {
            let zone = memory.zones.get(usize::from(entry.zone))?;
            let mark = zone.watermark(flags.watermark());
            if zone.watermark_fast(ac.order, mark, ac.classzone, flags) {
                return Some((zone, position));
            }
        }
    }
    None
}

/// [`get_page_from_freelist`] for who looks at more than watermarks, or is looked at.
#[cold]
#[inline(never)]
fn walk_closely<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    flags: AllocFlags,
    make_room: MakeRoom<E>,
) -> Option<u32> {
    match walk(memory, current, ac, flags, make_room) {
        Walk::Found(index) => Some(index),
        Walk::Refused if !flags.contains(AllocFlags::NOFRAGMENT) => None,
        Walk::Refused | Walk::Remote => match walk(memory, current, ac, flags - AllocFlags::NOFRAGMENT, make_room) {
            Walk::Found(index) => Some(index),
            _ => None,
        },
    }
}

/// How a walk of the zonelist ended.
enum Walk {
    /// With a block.
    Found(u32),
    /// Nowhere: every zone refused.
    Refused,
    /// At a remote zone, before which fragmentation of the local ones is the lesser evil.
    Remote,
}

fn walk<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    flags: AllocFlags,
    make_room: MakeRoom<E>,
) -> Walk {
    let mut too_dirty = None;
    for entry in ac.zonelist.eligible(ac.highest, None) {
        let zone = memory.zone(usize::from(entry.zone));
        let nodemask = ac.nodemask.filter(|nodes| !entry.is_in(*nodes)).map(Verdict::Nodemask);
        let verdict = nodemask.or_else(|| barred(memory, current, ac, zone, flags, &mut too_dirty));
        if let Some(verdict) = verdict {
            trace_zone(memory, current, ac, zone, None, verdict);
            continue;
        }
        let enough = zone.watermark_fast(ac.order, zone.watermark(flags.watermark()), ac.classzone, flags);
        trace_check(memory, current, ac, zone, flags, enough);
        if flags.contains(AllocFlags::NOFRAGMENT) && is_remote(memory, ac, zone) {
            return Walk::Remote;
        }
        if !may_take(memory, current, ac, zone, flags, make_room) {
            continue;
        }
        if let Some(index) = take_from_zone(memory, current, ac, zone, flags) {
            return Walk::Found(index);
        }
        memory.trace(current, || Decision::ZoneTried { zone: zone.zone_ref(), source: None });
    }
    Walk::Refused
}

/// Whether the zone's watermark lets the request go, perhaps after room was made.
fn may_take<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    zone: &Zone,
    flags: AllocFlags,
    make_room: MakeRoom<E>,
) -> bool {
    let mark = || zone.watermark(flags.watermark());
    if zone.watermark_fast(ac.order, mark(), ac.classzone, flags) || flags.contains(AllocFlags::NO_WATERMARKS) {
        return true;
    }
    if !make_room(memory, current, ac, zone) {
        return false;
    }
    let enough = zone.watermark_ok(ac.order, mark(), ac.classzone, flags);
    trace_check(memory, current, ac, zone, flags, enough);
    enough
}

/// Takes a block from the zone, which may give one, and prepares it.
#[inline(never)]
pub(super) fn take_from_zone<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    zone: &Zone,
    flags: AllocFlags,
) -> Option<u32> {
    let index = match ac.order {
        Order::ZERO => rmqueue::rmqueue_pcplist(memory, current, ac, zone, flags),
        _ => rmqueue::rmqueue_buddy(memory, current, ac, zone, flags),
    }?;
    Some(prep::prep_new_page(memory, current, ac, flags, index))
}

/// Whether the zone is on another node than the one that the request likes best.
fn is_remote<E: Env>(memory: &Memory<'_, E>, ac: &AllocContext<'_>, zone: &Zone) -> bool {
    memory.nr_online_nodes() > 1 && zone.node != ac.preferred_node && zone.id != ac.preferred_zone
}

/// Why the request may not use the zone whatever it has: its cpuset, or too many dirty pages on the node. The node for
/// which that was found is not counted again.
#[inline(never)]
fn barred<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    zone: &Zone,
    flags: AllocFlags,
    too_dirty: &mut Option<NodeId>,
) -> Option<Verdict> {
    if memory.has(Hook::Cpusets)
        && flags.contains(AllocFlags::CPUSET)
        && let Some(verdict) = cpuset::barred(memory, current, zone, ac.gfp)
    {
        return Some(verdict);
    }
    if !flags.contains(AllocFlags::SPREAD_DIRTY) {
        return None;
    }
    if *too_dirty != Some(zone.node) && !node_dirty::node_dirty_ok(memory, current, zone.node) {
        *too_dirty = Some(zone.node);
    }
    (*too_dirty == Some(zone.node)).then_some(Verdict::DirtyLimit)
}

/// Records what the zone's watermark says to the request.
fn trace_check<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    zone: &Zone,
    flags: AllocFlags,
    enough: bool,
) {
    let mark = zone.watermark(flags.watermark());
    let terms = zone.watermark_terms(ac.order, mark, ac.classzone, flags);
    let verdict = if enough {
        Verdict::Enough
    } else if flags.contains(AllocFlags::NO_WATERMARKS) {
        Verdict::NoWatermarks
    } else if terms.pass() {
        Verdict::NoBlock
    } else {
        Verdict::TooFewPages
    };
    trace_zone(
        memory,
        current,
        ac,
        zone,
        Some(zone.watermark_check(ac.order, flags.watermark(), ac.classzone, flags)),
        verdict,
    );
}

fn trace_zone<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    zone: &Zone,
    check: Option<WatermarkCheck>,
    verdict: Verdict,
) {
    memory.trace(current, || Decision::ZoneConsidered { zone: zone.zone_ref(), order: ac.order, check, verdict });
}
