//! Waking the daemons that make room: kswapd for pages, kcompactd for blocks.
//!
//! What is wanted is merged into the node's state ([`super::node::Kswapd`], [`super::node::Kcompactd`]) even while the
//! daemon works; it is woken only if it sleeps, and if it could do something: kswapd when the node is not balanced or its
//! watermarks are boosted, kcompactd when a zone is worth compacting. The daemons themselves are far above; this stands
//! below the free lists because taking from these may boost the watermarks, of which kswapd is to hear.
//! Linux: `wakeup_kswapd`, `pgdat_balanced` in `mm/vmscan.c`, `wakeup_kcompactd` in `mm/compaction.c`.

use crate::sync::atomic::Ordering::Relaxed;

use super::cpuset;
use super::memory::{Env, Hook, Memory};
use super::node::Node;
use super::suitable::compaction_suitable;
use super::zone::{AllocFlags, Zone};
use crate::addr::Order;
use crate::gfp::Gfp;
use crate::mmzone::{Watermark, ZoneType};
use crate::reclaim_types::CompactResult;
use crate::task::Current;
use crate::trace::compaction::Compaction;
use crate::trace::slowpath::SlowPath;
use crate::trace::vmscan::Vmscan;

/// Wakes the node's kswapd for a request of `order` that may use `zone` and the zones up to index `classzone`.
///
/// Linux: `wakeup_kswapd`.
#[inline(always)]
pub fn wakeup_kswapd<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    zone: &Zone,
    gfp: Gfp,
    order: Order,
    classzone: usize,
) {
    let forbidden = || memory.has(Hook::Cpusets) && !cpuset::cpuset_allows(memory, current, zone, gfp);
    if zone.managed() == 0 || forbidden() {
        return;
    }
    let node = memory.node(zone.node);
    let asked = node.kswapd.classzone().map_or(classzone, |asked| asked.max(classzone));
    node.kswapd.set_classzone(Some(asked));
    if order > Order::ZERO {
        node.kswapd.order.fetch_max(order.get(), Relaxed);
    }
    if node.kswapd.daemon.is_asleep() {
        wake_if_needed(memory, current, node, gfp, order, classzone);
    }
}

#[cold]
#[inline(never)]
fn wake_if_needed<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    node: &Node,
    gfp: Gfp,
    order: Order,
    classzone: usize,
) {
    let content = || is_balanced(memory, current, node, order, classzone) && boost(memory, node, classzone) == 0;
    if node.kswapd.is_hopeless() || content() {
        // There may be enough, only not in one piece; who can compact for itself will do so.
        if !gfp.contains(Gfp::__GFP_DIRECT_RECLAIM) {
            wakeup_kcompactd(memory, current, node, order.get(), classzone);
        }
        return;
    }
    memory.trace(current, || Vmscan::MmVmscanWakeupKswapd { nid: node.id, zid: classzone, order, gfp });
    node.kswapd.daemon.wake(memory.env.sched());
}

/// The zone's watermarks were boosted: kswapd should reclaim as much, and hear of it once. Linux: the end of `rmqueue`.
#[cold]
#[inline(never)]
pub(super) fn wakeup_for_boost<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, zone: &Zone) {
    zone.set_boosted(false);
    wakeup_kswapd(memory, current, zone, Gfp::empty(), Order::ZERO, zone.index);
}

/// The zones of the node that kswapd looks after when it is asked for index `classzone`, lowest first.
pub(super) fn managed_zones<'a, E: Env>(
    memory: &'a Memory<'_, E>,
    node: &Node,
    classzone: usize,
) -> impl Iterator<Item = &'a Zone> {
    memory.zones_of(node.id).iter().take(classzone + 1).filter(|zone| zone.managed() > 0)
}

/// Whether some zone has a block of `order` above its high watermark, or there is no zone at all. Linux:
/// `pgdat_balanced`.
pub(super) fn is_balanced<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    node: &Node,
    order: Order,
    classzone: usize,
) -> bool {
    let mut any = false;
    for zone in managed_zones(memory, node, classzone) {
        any = true;
        if zone_is_balanced(memory, current, zone, order, classzone) {
            return true;
        }
    }
    !any
}

fn zone_is_balanced<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    zone: &Zone,
    order: Order,
    classzone: usize,
) -> bool {
    let mark = zone.watermark(Watermark::High);
    let balanced = zone.watermark_ok(order, mark, classzone, AllocFlags::empty());
    memory.trace(current, || SlowPath::KswapdZoneChecked {
        zone: zone.zone_ref(),
        order,
        check: zone.watermark_check(order, Watermark::High, classzone, AllocFlags::empty()),
        balanced,
    });
    balanced
}

/// By how much the watermarks of the node's zones are raised together.
fn boost<E: Env>(memory: &Memory<'_, E>, node: &Node, classzone: usize) -> u64 {
    managed_zones(memory, node, classzone).map(Zone::boost).sum()
}

/// Asks the node's kcompactd for blocks of `order` in the zones up to index `classzone`, and wakes it if there is a zone
/// that it could compact. Order 0 is no reason. Linux: `wakeup_kcompactd`.
pub fn wakeup_kcompactd<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    node: &Node,
    order: u32,
    classzone: usize,
) {
    let Some(order) = Order::new(order).filter(|&order| order > Order::ZERO) else { return };
    let asked = &node.kcompactd;
    asked.max_order.fetch_max(order.get(), Relaxed);
    asked.classzone.fetch_min(classzone as u32, Relaxed);
    if !asked.daemon.is_asleep() || !is_suitable(memory, current, node) {
        return;
    }
    let classzone_idx = zone_type(memory, classzone);
    memory.trace(current, || Compaction::MmCompactionWakeupKcompactd { nid: node.id, order, classzone_idx });
    asked.daemon.wake(memory.env.sched());
}

/// The type of the zones with index `classzone`, for events.
pub(super) fn zone_type<E: Env>(memory: &Memory<'_, E>, index: usize) -> ZoneType {
    memory.zone_types().get(index).copied().unwrap_or(ZoneType::Movable)
}

/// The zones of the node with memory up to index `classzone`, lowest first.
pub(super) fn populated_zones<'a, E: Env>(
    memory: &'a Memory<'_, E>,
    node: &Node,
    classzone: u32,
) -> impl Iterator<Item = &'a Zone> {
    memory.zones_of(node.id).iter().take(classzone as usize + 1).filter(|zone| zone.is_populated())
}

/// Whether there is a zone worth compacting for what is wanted. Linux: `kcompactd_node_suitable`.
fn is_suitable<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, node: &Node) -> bool {
    let classzone = node.kcompactd.classzone.load(Relaxed);
    let order = Order::new(node.kcompactd.max_order.load(Relaxed)).unwrap_or(Order::MAX);
    populated_zones(memory, node, classzone).any(|zone| {
        let flags = AllocFlags::empty();
        compaction_suitable(memory, current, zone, order, flags, classzone as usize) == CompactResult::Continue
    })
}
