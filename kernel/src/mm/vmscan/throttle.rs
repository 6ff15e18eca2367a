//! Direct reclaim waits for kswapd while the reserves are so low that everybody's reclaim would use them up.
//!
//! Below half of Min the pages that are left are for kswapd, and for those who clean memory. Linux:
//! `throttle_direct_reclaim`, `allow_direct_reclaim`.

use super::zone_reclaimable_pages;
use crate::gfp::Gfp;
use crate::mm::alloc_context::AllocContext;
use crate::mm::memory::{Env, Memory};
use crate::mm::node::Node;
use crate::mm::sleep;
use crate::mm::zone::Zone;
use crate::mmzone::{Watermark, ZoneType};
use crate::sched::HZ;
use crate::task::{Current, TaskFlags};
use crate::trace::slowpath::SlowPath;
use crate::vmstat::VmEvent;

/// Waits until there is something left to reclaim with; whether the caller was told to die, or called off, meanwhile.
pub(super) fn throttle_direct_reclaim<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    gfp: Gfp,
) -> bool {
    // A kernel thread may be what others wait for, and the dying will free more than they use.
    if current.flags().contains(TaskFlags::PF_KTHREAD) || current.task.is_dying() {
        return false;
    }
    let Some(node) = node_in_charge(memory, ac) else { return false };
    if allow_direct_reclaim(memory, node) {
        return false;
    }
    memory.count(VmEvent::PgscanDirectThrottle, 1);
    let killable = gfp.contains(Gfp::__GFP_FS);
    let reserve = reserve_of(memory, node);
    memory.trace(current, || SlowPath::ThrottleBegin {
        nid: node.id,
        reserve: reserve.min,
        free: reserve.free,
        killable,
    });
    // Who may not enter the filesystem may hold a lock that kswapd waits for: that one waits a second at most.
    let timeout = if killable { None } else { Some(HZ) };
    let ready = || allow_direct_reclaim(memory, node) || current.task.is_dying();
    sleep::wait_event(memory, current, &node.pfmemalloc_wait, timeout, ready);
    let killed = current.task.is_dying() || sleep::interrupted(memory);
    memory.trace(current, || SlowPath::ThrottleEnd { nid: node.id, killed });
    killed
}

/// The node of the first zone of the request that the kernel itself could use.
fn node_in_charge<'a, E: Env>(memory: &'a Memory<'_, E>, ac: &AllocContext<'_>) -> Option<&'a Node> {
    let mut zones = ac.zonelist.eligible(ac.highest, ac.nodemask).map(|zone| memory.zone(usize::from(zone.zone)));
    zones.find(|zone| is_kernel_zone(zone)).map(|zone| memory.node(zone.node))
}

/// Whether the kernel's own data may live in the zone. Linux: `zone_idx(zone) <= ZONE_NORMAL`.
fn is_kernel_zone(zone: &Zone) -> bool {
    !matches!(zone.zone_type, ZoneType::HighMem | ZoneType::Movable)
}

/// What is left for those who reclaim, in pages.
struct Reserve {
    /// Min watermarks of the zones from which something can be reclaimed.
    min: u64,
    /// Free pages of these zones.
    free: u64,
}

fn reserve_of<E: Env>(memory: &Memory<'_, E>, node: &Node) -> Reserve {
    let zones = memory.zones_of(node.id).iter().filter(|zone| is_kernel_zone(zone) && zone.managed() > 0);
    let mut reserve = Reserve { min: 0, free: 0 };
    for zone in zones.filter(|zone| zone_reclaimable_pages(memory, zone) > 0) {
        reserve.min += zone.watermark(Watermark::Min);
        reserve.free += zone.counts.free_pages();
    }
    reserve
}

/// Whether a request may reclaim from the node by itself; else kswapd is woken, for all depends on it.
///
/// Linux: `allow_direct_reclaim`.
pub fn allow_direct_reclaim<E: Env>(memory: &Memory<'_, E>, node: &Node) -> bool {
    if node.kswapd.is_hopeless() {
        return true;
    }
    let reserve = reserve_of(memory, node);
    if reserve.min == 0 || reserve.free > reserve.min / 2 {
        return true;
    }
    if node.kswapd.daemon.is_asleep() {
        let normal = memory.zones_of(node.id).iter().filter(|zone| is_kernel_zone(zone)).map(|zone| zone.index).max();
        let asked = node.kswapd.classzone().into_iter().chain(normal).min();
        node.kswapd.set_classzone(asked);
        node.kswapd.daemon.wake(memory.env.sched());
    }
    false
}
