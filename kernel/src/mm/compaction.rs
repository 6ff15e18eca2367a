//! Compaction: free memory that lies in pieces becomes large free blocks.
//!
//! Two scanners walk a zone towards each other. The *migrate scanner* goes up, pageblock by pageblock, and takes pages
//! that can move; the *free scanner* goes down and takes free pages for them to move to. Compaction is over when a block
//! of the wanted order is free, or when the scanners meet:
//!
//! ```text
//!     zone start                                                            zone end
//!     |  x.x. x... .x.x |  x..x ....  |        ...         |  .... .x.. | x.x. .... |
//!        migrate_pfn -->                                          <-- free_pfn
//! ```
//!
//! [`CompactControl`] is one such walk: what it is for and what it may do, where it is, what it came to. Requests come in
//! through [`try_to_compact_pages`], which asks [`super::suitable`] and [`deferral`] first; a person through [`compact_node`];
//! the daemon of each node is [`kcompactd()`]. Pageblocks that gave nothing are marked to be skipped, until
//! [`reset_isolation_suitable`]. What moves a page is [`super::migrate`].
//!
//! Linux: `mm/compaction.c`.
//! Linux does more: since 5.1 the request that compacted gets the block before anybody else can take it.

mod control;
mod deferral;
mod finished;
mod kcompactd;
mod scanner_free;
mod scanner_migrate;
mod walk;

use crate::sync::atomic::Ordering::Relaxed;

pub use super::suitable::{compact_gap, compaction_suitable, suitable_with};
pub use super::wakeup::wakeup_kcompactd;
pub use control::CompactControl;
pub use deferral::{compaction_defer_reset, compaction_deferred, defer_compaction};
pub use kcompactd::{kcompactd, kcompactd_do_work, kcompactd_init};
pub use walk::compact_zone;

use super::alloc_context::AllocContext;
use super::memory::{Env, Memory};
use super::node::Node;
use super::reserve;
use super::sleep;
use super::zone::{AllocFlags, Zone};
use crate::addr::{Order, PAGEBLOCK_NR_PAGES};
use crate::gfp::Gfp;
use crate::reclaim_types::{CompactPriority, CompactResult};
use crate::sched::Scheduler;
use crate::task::{Current, TaskFlags};
use crate::trace::compaction::Compaction;

/// Compacts the zones that a request may use, one after the other, until one has a block of its order; the best result.
///
/// The caller has `PF_MEMALLOC` set. Linux: `try_to_compact_pages`.
pub fn try_to_compact_pages<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    flags: AllocFlags,
    priority: CompactPriority,
) -> CompactResult {
    let mut best = CompactResult::Skipped;
    // Migration may have to wait for input and output.
    if !ac.gfp.contains(Gfp::__GFP_IO) {
        return best;
    }
    let (order, gfp) = (ac.order, ac.gfp);
    memory.trace(current, || Compaction::MmCompactionTryToCompactPages { order, gfp, priority });
    for zoneref in ac.zonelist.eligible(ac.highest, ac.nodemask) {
        let zone = memory.zone(usize::from(zoneref.zone));
        if priority > CompactPriority::MIN && compaction_deferred(memory, current, zone, order) {
            best = best.max(CompactResult::Deferred);
            continue;
        }
        let result = compact_zone(memory, current, zone, &mut CompactControl::direct(ac, flags, priority));
        best = best.max(result);
        match result {
            CompactResult::Success => {
                compaction_defer_reset(memory, current, zone, order, false);
                break;
            }
            CompactResult::Complete | CompactResult::PartialSkipped if priority != CompactPriority::Async => {
                defer_compaction(memory, current, zone, order);
            }
            _ => {}
        }
        let must_yield = priority == CompactPriority::Async && memory.env.sched().need_resched();
        if must_yield || is_called_off(memory, current) {
            break;
        }
    }
    best
}

/// [`try_to_compact_pages`] as a request with this mask and order would call it; `None` when no zone would serve it. How a
/// person tries one priority by itself.
pub fn compact_as_for<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    gfp: Gfp,
    order: Order,
    priority: CompactPriority,
) -> Option<CompactResult> {
    let node = memory.near_node();
    let mut ac = AllocContext {
        gfp,
        order,
        highest: memory.zone_table.zone(gfp),
        migratetype: gfp.migratetype()?,
        zonelist: &memory.node(node).fallback,
        nodemask: None,
        preferred_node: node,
        preferred_zone: 0,
        classzone: 0,
    };
    ac.prefer(memory)?;
    let flags = reserve::gfp_to_alloc_flags(current, gfp);
    let current = &current.with(TaskFlags::PF_MEMALLOC);
    Some(try_to_compact_pages(memory, current, &ac, flags, priority))
}

/// The request found a block of `order` in the zone after it compacted: it was worth it. Linux: the success branch of
/// `__alloc_pages_direct_compact`.
pub fn compacted_for<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, zone: &Zone, order: Order) {
    zone.compact.set_flush(false);
    compaction_defer_reset(memory, current, zone, order, true);
}

/// Compacts every zone of the node as far as it can be. Linux: `compact_node`, by `/proc/sys/vm/compact_memory`.
pub fn compact_node<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, node: &Node) {
    for zone in memory.zones_of(node.id).iter().filter(|zone| zone.is_populated()) {
        compact_zone(memory, current, zone, &mut CompactControl::whole_zone());
    }
}

/// Compacts all memory. Linux: `compact_nodes`.
pub fn compact_nodes<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>) {
    memory.online_nodes().for_each(|node| compact_node(memory, current, node));
}

/// Makes the scanners look everywhere again, in zones where they met on behalf of a request; called when kswapd is about
/// to sleep. Linux: `reset_isolation_suitable`.
pub fn reset_isolation_suitable<E: Env>(memory: &Memory<'_, E>, node: &Node) {
    let zones = memory.zones_of(node.id).iter().filter(|zone| zone.is_populated());
    zones.filter(|zone| zone.compact.wants_flush()).for_each(|zone| forget_hints(memory, zone));
}

/// Clears the skip marks of a zone, and starts both scanners at its ends. Linux: `__reset_isolation_suitable`.
fn forget_hints<E: Env>(memory: &Memory<'_, E>, zone: &Zone) {
    zone.compact.set_flush(false);
    for index in zone.indices(&memory.pages).step_by(PAGEBLOCK_NR_PAGES as usize) {
        memory.blocks.set_skip(index, false);
    }
    zone.compact.reset_scanners(zone.span);
}

/// Whether the task must die, or the person at the console does not want to wait any more.
fn is_called_off<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>) -> bool {
    current.task.is_dying() || sleep::interrupted(memory)
}

/// Whether mobility grouping is off, so that every pageblock is Unmovable.
fn mobility_is_off<E: Env>(memory: &Memory<'_, E>) -> bool {
    memory.has(super::memory::Hook::MobilityOff)
}

/// Whether pages that reclaim may not take may be moved. Linux: `sysctl_compact_unevictable_allowed`.
fn may_move_unevictable<E: Env>(memory: &Memory<'_, E>) -> bool {
    memory.sysctl.compact_unevictable_allowed.load(Relaxed) != 0
}
