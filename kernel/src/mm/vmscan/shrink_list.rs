//! The scan of a node's LRU lists: portions of 32 pages from each list in turn, as planned.
//!
//! Pages of an inactive list are taken off it, decided upon one by one ([`super::shrink_page_list`]), and freed or put
//! back. Active lists are shortened only while they are too long. Linux: `shrink_node_memcg`, `shrink_list`,
//! `shrink_inactive_list`.

use super::isolate::{Isolated, PutBack, isolate_lru_pages};
use super::scan_balance::{EVICTABLE, get_scan_count, inactive_list_is_low};
use super::shrink_active::shrink_active_list;
use super::shrink_page_list::{Shrunk, shrink_page_list};
use super::{DEF_PRIORITY, SWAP_CLUSTER_MAX, ScanControl, is_kswapd, sleep};
use crate::gfp::Gfp;
use crate::mm::lru::kind_of;
use crate::mm::memory::{Env, Memory};
use crate::mm::node::Node;
use crate::mm::owner::PageOwner;
use crate::reclaim_types::{LruList, ReclaimStat};
use crate::sched::HZ;
use crate::task::Current;
use crate::trace::vmscan::{LruShrinkInactive, Vmscan};
use crate::vmstat::{NodeStat, VmEvent};

/// Scans the lists of a node at the control's priority. Linux: `shrink_node_memcg`.
pub(super) fn shrink_lruvec<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, node: &Node, sc: &mut ScanControl) {
    let mut plan = get_scan_count(memory, current, node, sc);
    // At its first priority a request scans all that is planned, so that the pressure on all lists is even.
    let mut adjusted = !is_kswapd(current) && sc.priority == DEF_PRIORITY;
    let mut nr_reclaimed = 0;
    while plan.has_work() && !sleep::interrupted(memory) {
        for lru in EVICTABLE {
            if let Some(nr) = plan.take(lru) {
                nr_reclaimed += shrink_list(memory, current, node, sc, lru, nr);
            }
        }
        sleep::cond_resched(memory, current);
        if nr_reclaimed < sc.nr_to_reclaim || adjusted {
            continue;
        }
        if !plan.drop_smaller_kind() {
            break;
        }
        adjusted = true;
    }
    sc.nr_reclaimed += nr_reclaimed;
    age_anon(memory, current, node, sc);
}

/// Lets some anonymous pages come down if there are too few candidates. Linux: the end of `shrink_node_memcg`.
pub(super) fn age_anon<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, node: &Node, sc: &ScanControl) {
    if inactive_list_is_low(memory, current, node, sc, false, true) {
        shrink_active_list(memory, current, node, sc, LruList::ActiveAnon, SWAP_CLUSTER_MAX);
    }
}

/// Scans `nr_to_scan` pages of a list; how many are free now. Linux: `shrink_list`.
fn shrink_list<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    node: &Node,
    sc: &mut ScanControl,
    lru: LruList,
    nr_to_scan: u64,
) -> u64 {
    if !lru.is_active() {
        return shrink_inactive_list(memory, current, node, sc, lru, nr_to_scan);
    }
    if inactive_list_is_low(memory, current, node, sc, lru.is_file(), true) {
        shrink_active_list(memory, current, node, sc, lru, nr_to_scan);
    }
    0
}

/// Takes up to `nr_to_scan` pages off an inactive list and frees those that may be; how many. Linux:
/// `shrink_inactive_list`.
fn shrink_inactive_list<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    node: &Node,
    sc: &mut ScanControl,
    lru: LruList,
    nr_to_scan: u64,
) -> u64 {
    if too_many_isolated(current, node, sc, lru) {
        // Others are at it; scanning what they leave would find only what is in use.
        sleep::schedule_timeout(memory, current, HZ / 10);
        if current.task.is_dying() {
            return SWAP_CLUSTER_MAX;
        }
        if too_many_isolated(current, node, sc, lru) {
            return 0;
        }
    }
    let Isolated { pages, nr_taken, nr_scanned } = isolate_lru_pages(memory, current, node, sc, lru, nr_to_scan);
    memory.count(if is_kswapd(current) { VmEvent::PgscanKswapd } else { VmEvent::PgscanDirect }, nr_scanned);
    if nr_taken == 0 {
        return 0;
    }
    let Shrunk { kept, nr_reclaimed, stat } = shrink_page_list(memory, current, node, sc, pages);
    memory.count(if is_kswapd(current) { VmEvent::PgstealKswapd } else { VmEvent::PgstealDirect }, nr_reclaimed);
    let mut back = PutBack::new();
    {
        let pin = memory.pin();
        let mut lruvec = node.lru.lock(&pin);
        back.add(memory, &mut lruvec, kept);
        lruvec.recent_rotated[kind_of(lru)] += back.active;
    }
    back.finish(memory, current, node, lru, nr_taken);
    if u64::from(stat.nr_unqueued_dirty) == nr_taken {
        // Nothing but dirty pages, and nobody writes them.
        memory.env.owner().wake_flusher(memory);
    }
    note(sc, &stat, lru, nr_taken);
    memory.trace(current, || {
        Vmscan::MmVmscanLruShrinkInactive(LruShrinkInactive {
            nid: node.id,
            nr_scanned,
            nr_reclaimed,
            stat,
            priority: sc.priority as i32,
            file: lru.is_file(),
        })
    });
    nr_reclaimed
}

/// Whether so many pages are in the hands of others who reclaim that the caller should wait. Who may not do everything is
/// let through more easily, for others may wait for it. Linux: `too_many_isolated`.
fn too_many_isolated(current: &Current<'_>, node: &Node, sc: &ScanControl, lru: LruList) -> bool {
    const ANYTHING: Gfp = Gfp::__GFP_IO.union(Gfp::__GFP_FS);
    let (inactive, isolated) = match lru.is_file() {
        true => (NodeStat::NrInactiveFile, NodeStat::NrIsolatedFile),
        false => (NodeStat::NrInactiveAnon, NodeStat::NrIsolatedAnon),
    };
    let shift = if sc.gfp.contains(ANYTHING) { 3 } else { 0 };
    !is_kswapd(current) && node.stat(isolated) > node.stat(inactive) >> shift
}

/// Adds what was found among `nr_taken` pages to what this round found.
fn note(sc: &mut ScanControl, stat: &ReclaimStat, lru: LruList, nr_taken: u64) {
    let found = &mut sc.nr.stat;
    found.nr_dirty += stat.nr_dirty;
    found.nr_unqueued_dirty += stat.nr_unqueued_dirty;
    found.nr_congested += stat.nr_congested;
    found.nr_writeback += stat.nr_writeback;
    found.nr_immediate += stat.nr_immediate;
    sc.nr.taken += nr_taken;
    if lru.is_file() {
        sc.nr.file_taken += nr_taken;
    }
}
