//! Pages out of the free lists and back into them, without ever waiting.
//!
//! [`get_page_from_freelist`] walks the zonelist, checks each zone's watermark, and takes a block from the first zone
//! that may give one, as `freelist/rmqueue.rs` tells. [`free_unref_page`] and [`free_block`] are the way back, in
//! `freelist/free.rs`. What a request is, is told by its [`AllocContext`].
//!
//! The order of the checks is v5.0's, because it can be observed. Linux: `mm/page_alloc.c`, `get_page_from_freelist`,
//! `rmqueue`, `free_unref_page`.
//!
//! Linux does more: deferred initialisation of page records, and a dirty limit for each node.

use super::alloc_context::AllocContext;
use super::cpuset;
use super::memory::{Env, Hook, Memory};
use super::prep;
use super::zone::{AllocFlags, Zone};
use crate::addr::Order;
use crate::task::Current;
use crate::trace::decision::{Decision, Verdict, WatermarkCheck};

mod free;
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
    if closely || flags.intersects(AllocFlags::NO_WATERMARKS | AllocFlags::NOFRAGMENT) {
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
    for entry in ac.zonelist.eligible(ac.highest, None) {
        let zone = memory.zone(usize::from(entry.zone));
        if let Some(nodes) = ac.nodemask.filter(|nodes| !entry.is_in(*nodes)) {
            trace_zone(memory, current, ac, zone, None, Verdict::Nodemask(nodes));
            continue;
        }
        if !look_closer(memory, current, ac, zone, flags) {
            continue;
        }
        if flags.contains(AllocFlags::NOFRAGMENT) && is_remote(memory, ac, zone) {
            return Walk::Remote;
        }
        let mark = zone.watermark(flags.watermark());
        let enough = zone.watermark_fast(ac.order, mark, ac.classzone, flags);
        if !enough && !flags.contains(AllocFlags::NO_WATERMARKS) {
            if !make_room(memory, current, ac, zone) {
                continue;
            }
            trace_check(memory, current, ac, zone, flags);
            if !zone.watermark_ok(ac.order, zone.watermark(flags.watermark()), ac.classzone, flags) {
                continue;
            }
        }
        if let Some(index) = take_from_zone(memory, current, ac, zone, flags) {
            return Walk::Found(index);
        }
        memory.trace(current, || Decision::ZoneTried { zone: zone.zone_ref(), source: None });
    }
    Walk::Refused
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

/// Whether the cpuset lets the request use the zone; records what its watermark says.
#[cold]
#[inline(never)]
fn look_closer<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    zone: &Zone,
    flags: AllocFlags,
) -> bool {
    let is_asked = memory.has(Hook::Cpusets) && flags.contains(AllocFlags::CPUSET);
    if let Some(verdict) = is_asked.then(|| cpuset::barred(memory, current, zone, ac.gfp)).flatten() {
        trace_zone(memory, current, ac, zone, None, verdict);
        return false;
    }
    trace_check(memory, current, ac, zone, flags);
    true
}

/// Records what the zone's watermark says to the request.
fn trace_check<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    zone: &Zone,
    flags: AllocFlags,
) {
    let mark = zone.watermark(flags.watermark());
    let terms = zone.watermark_terms(ac.order, mark, ac.classzone, flags);
    let verdict = if zone.watermark_fast(ac.order, mark, ac.classzone, flags) {
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
