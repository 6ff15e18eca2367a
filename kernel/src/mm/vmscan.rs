//! Reclaim: takes pages from those who use them least, for a request that found none, or for kswapd.
//!
//! [`try_to_free_pages`] is what a request calls: it may be told to wait for kswapd first ([`throttle`]), then it scans
//! every node that it may use, harder and harder, from a 4,096th of each list (priority 12) to all of it (priority 0),
//! until 32 pages are free. [`shrink_node`] is one such step, and kswapd's too: the LRU lists, then the shrinkers. What a
//! scan may do, and what it found, travels in a [`ScanControl`]. [`make_room`] does so for a near node alone, before a
//! request goes on to the next one.
//!
//! ```text
//!   try_to_free_pages -> shrink_zones -> shrink_node -+- shrink_lruvec       scan_balance: how much of which list
//!   kswapd, make_room --------------------^           |    shrink_inactive_list -> shrink_page_list -> references
//!                                                     |    shrink_active_list
//!                                                     +- shrink_slab         shrinker
//! ```
//!
//! Neighbours: [`super::swap`] keeps the lists, [`super::owner`] knows who uses a page and how to write it,
//! `super::kswapd` is the daemon. Linux: `mm/vmscan.c`.
//!
//! Linux does more: memory cgroups, each with lists and targets of its own.

use crate::sync::atomic::Ordering::Relaxed;

use super::alloc_context::AllocContext;
use super::compaction;
use super::cpuset;
use super::memory::{Env, Hook, Memory};
use super::node::{Node, NodeFlags};
use super::owner::PageOwner;
use super::sleep;
use super::workingset;
use super::zone::{AllocFlags, Zone};
use crate::addr::Order;
use crate::gfp::Gfp;
use crate::mmzone::{NodeId, NodeMask, Watermark};
use crate::reclaim_types::CompactResult;
use crate::task::{Current, TaskFlags};
use crate::trace::vmscan::Vmscan;
use crate::vmstat::{NodeStat, ZoneEvent};

mod control;
mod isolate;
mod node_reclaim;
mod pageout;
mod references;
mod scan_balance;
mod shrink_active;
mod shrink_list;
mod shrink_page_list;
mod shrinker;
mod throttle;

pub use control::{DEF_PRIORITY, Found, SWAP_CLUSTER_MAX, ScanControl};
pub use node_reclaim::make_room;
pub use scan_balance::{inactive_list_is_low, zone_reclaimable_pages};
pub use shrinker::shrink_slab;
pub use throttle::allow_direct_reclaim;

use control::{COSTLY_ORDER, is_kswapd};

/// Reclaims on behalf of a request; pages freed, or 1 when there is another reason to try again: compaction can go on,
/// or the caller was killed while it waited.
///
/// Linux: `try_to_free_pages`.
pub fn try_to_free_pages<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, ac: &AllocContext<'_>) -> u64 {
    let mut sc = ScanControl::direct(current, ac);
    if throttle::throttle_direct_reclaim(memory, current, ac, sc.gfp) {
        return 1;
    }
    memory.trace(current, || Vmscan::MmVmscanDirectReclaimBegin {
        order: ac.order,
        may_writepage: sc.may_writepage,
        gfp: sc.gfp,
        classzone_idx: sc.reclaim_idx,
    });
    let nr_reclaimed = do_try_to_free_pages(memory, current, ac, &mut sc);
    memory.trace(current, || Vmscan::MmVmscanDirectReclaimEnd { nr_reclaimed });
    nr_reclaimed
}

/// Scans harder and harder until there is enough. Linux: `do_try_to_free_pages`.
fn do_try_to_free_pages<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    sc: &mut ScanControl,
) -> u64 {
    memory.count_zone(ZoneEvent::Allocstall, sc.reclaim_idx, 1);
    for priority in (0..=DEF_PRIORITY).rev() {
        sc.priority = priority;
        sc.nr_scanned = 0;
        shrink_zones(memory, current, ac, sc);
        if sc.nr_reclaimed >= sc.nr_to_reclaim || sc.compaction_ready || sleep::interrupted(memory) {
            break;
        }
        if priority < DEF_PRIORITY - 2 {
            sc.may_writepage = true;
        }
    }
    for_each_node(memory, ac, sc.nodemask, |zone| workingset::snapshot_refaults(memory.node(zone.node)));
    match sc.nr_reclaimed {
        0 => u64::from(sc.compaction_ready),
        nr_reclaimed => nr_reclaimed,
    }
}

/// Calls `act` with the request's first zone of each node in turn.
fn for_each_node<E: Env>(
    memory: &Memory<'_, E>,
    ac: &AllocContext<'_>,
    nodemask: Option<NodeMask>,
    mut act: impl FnMut(&Zone),
) {
    let mut last: Option<NodeId> = None;
    for zoneref in ac.zonelist.eligible(ac.highest, nodemask) {
        let zone = memory.zone(usize::from(zoneref.zone));
        if last.replace(zone.node) != Some(zone.node) {
            act(zone);
        }
    }
}

/// Shrinks every node of the request once, but for what its cpuset forbids and what compaction can do. Linux:
/// `shrink_zones`.
fn shrink_zones<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, ac: &AllocContext<'_>, sc: &mut ScanControl) {
    const CPUSET_MASK: Gfp = Gfp::GFP_KERNEL.union(Gfp::__GFP_HARDWALL);
    let mut last: Option<NodeId> = None;
    for zoneref in ac.zonelist.eligible(sc.reclaim_idx, sc.nodemask) {
        let zone = memory.zone(usize::from(zoneref.zone));
        if memory.has(Hook::Cpusets) && !cpuset::cpuset_allows(memory, current, zone, CPUSET_MASK) {
            continue;
        }
        if sc.order > COSTLY_ORDER && compaction_ready(memory, current, zone, sc) {
            sc.compaction_ready = true;
            continue;
        }
        if last.replace(zone.node) != Some(zone.node) {
            shrink_node(memory, current, memory.node(zone.node), sc);
        }
    }
}

/// Whether the zone has enough for compaction, so that reclaim is not what the request needs. Linux: `compaction_ready`.
fn compaction_ready<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, zone: &Zone, sc: &ScanControl) -> bool {
    let none = AllocFlags::empty();
    match compaction::compaction_suitable(memory, current, zone, sc.traced_order(), none, sc.reclaim_idx) {
        CompactResult::Success => true,
        CompactResult::Skipped => false,
        _ => {
            let mark = zone.watermark(Watermark::High) + compaction::compact_gap(sc.order);
            zone.watermark_ok(Order::ZERO, mark, sc.reclaim_idx, none)
        }
    }
}

/// Scans the LRU lists of a node and asks the shrinkers, at the control's priority; repeated while compaction would need
/// more and something comes. Whether anything was freed. Linux: `shrink_node`.
pub fn shrink_node<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, node: &Node, sc: &mut ScanControl) -> bool {
    let mut reclaimable = false;
    loop {
        sc.nr = Found::default();
        let (reclaimed, scanned) = (sc.nr_reclaimed, sc.nr_scanned);
        shrink_list::shrink_lruvec(memory, current, node, sc);
        if sc.may_shrinkslab {
            shrink_slab(memory, current, node.id, sc.gfp, sc.priority);
        }
        sc.nr_reclaimed += current.task.take_reclaimed_slab();
        reclaimable |= sc.nr_reclaimed > reclaimed;
        wait_for_the_disk(memory, current, node, sc);
        let (reclaimed, scanned) = (sc.nr_reclaimed - reclaimed, sc.nr_scanned - scanned);
        if !should_continue_reclaim(memory, current, node, reclaimed, scanned, sc) {
            break;
        }
    }
    if reclaimable {
        node.kswapd.failures.store(0, Relaxed);
    }
    reclaimable
}

/// kswapd notes what the tails of the lists are full of, and waits when pages come round faster than the disk writes
/// them; others wait when kswapd found the disk congested.
fn wait_for_the_disk<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, node: &Node, sc: &ScanControl) {
    if !is_kswapd(current) {
        if node.has(NodeFlags::CONGESTED) && may_throttle(current) {
            sleep::wait_iff_congested(memory, current, memory.env.owner().any_congested());
        }
        return;
    }
    let Found { stat, taken, file_taken } = sc.nr;
    if stat.nr_writeback > 0 && u64::from(stat.nr_writeback) == taken {
        node.set_flags(NodeFlags::WRITEBACK);
    }
    if stat.nr_dirty > 0 && stat.nr_dirty == stat.nr_congested {
        node.set_flags(NodeFlags::CONGESTED);
    }
    // As in v5.0 also when both are 0.
    if u64::from(stat.nr_unqueued_dirty) == file_taken {
        node.set_flags(NodeFlags::DIRTY);
    }
    if stat.nr_immediate > 0 {
        sleep::congestion_wait(memory, current);
    }
}

/// Whether the caller may be made to wait for a congested disk: not the one who cleans. Linux: `current_may_throttle`.
fn may_throttle(current: &Current<'_>) -> bool {
    !current.flags().contains(TaskFlags::PF_LESS_THROTTLE)
}

/// Whether another round may bring what compaction needs for a block of the order; `reclaimed` and `scanned` are the
/// last round's. Linux: `should_continue_reclaim`.
fn should_continue_reclaim<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    node: &Node,
    reclaimed: u64,
    scanned: u64,
    sc: &ScanControl,
) -> bool {
    let for_compaction = sc.order > 0 && (sc.order > COSTLY_ORDER || sc.priority < DEF_PRIORITY - 2);
    let tries_hard = sc.gfp.contains(Gfp::__GFP_RETRY_MAYFAIL);
    let in_vain = reclaimed == 0 && !(tries_hard && scanned > 0);
    if !for_compaction || in_vain || sleep::interrupted(memory) {
        return false;
    }
    let gap = compaction::compact_gap(sc.order);
    let mut inactive = node.stat(NodeStat::NrInactiveFile);
    if memory.env.owner().swap_space().free > 0 {
        inactive += node.stat(NodeStat::NrInactiveAnon);
    }
    if sc.nr_reclaimed < gap && inactive > gap {
        return true;
    }
    let (order, flags) = (sc.traced_order(), AllocFlags::empty());
    let mut zones = memory.zones_of(node.id).iter().take(sc.reclaim_idx + 1).filter(|zone| zone.managed() > 0);
    !zones.any(|zone| {
        let suitable = compaction::compaction_suitable(memory, current, zone, order, flags, sc.reclaim_idx);
        matches!(suitable, CompactResult::Success | CompactResult::Continue)
    })
}

/// Keeps the active list of anonymous pages from growing old while only files are reclaimed. Linux: `age_active_anon`.
pub fn age_active_anon<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, node: &Node, sc: &mut ScanControl) {
    if memory.env.owner().swap_space().total > 0 {
        shrink_list::age_anon(memory, current, node, sc);
    }
}
