//! kcompactd: a daemon for each node that compacts after kswapd has made room, so that requests need not.
//!
//! [`super::wakeup_kcompactd`] merges what is wanted into the node's [`super::super::node::Kcompactd`];
//! [`kcompactd_do_work`] is one piece of work, from being woken to falling asleep. Linux: `kcompactd`.

use crate::sync::atomic::Ordering::{Relaxed, SeqCst};

use super::super::freelist;
use super::super::memory::{Env, Memory};
use super::super::node::{Kcompactd, Node};
use super::super::suitable::compaction_suitable;
use super::super::wakeup::{populated_zones, zone_type};
use super::super::zone::{AllocFlags, Zone};
use super::control::CompactControl;
use super::deferral::{compaction_defer_reset, compaction_deferred, defer_compaction};
use super::walk::compact_zone;
use crate::addr::Order;
use crate::reclaim_types::CompactResult;
use crate::sched::Scheduler;
use crate::task::Current;
use crate::trace::compaction::Compaction;
use crate::vmstat::VmEvent;

/// The daemon's whole life. Linux: `kcompactd`.
pub fn kcompactd<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, node: &Node) {
    kcompactd_init(memory, node);
    loop {
        memory.trace(current, || Compaction::MmCompactionKcompactdSleep { nid: node.id });
        if !node.kcompactd.daemon.wait_for_work(memory.env.sched(), None) {
            return;
        }
        while finds_work(node) && !memory.env.sched().should_stop() {
            kcompactd_do_work(memory, current, node);
        }
        node.kcompactd.daemon.work_done(memory.env.sched());
    }
}

/// Whether something is wanted; if not, who wants something from now on wakes the daemon. Linux:
/// `kcompactd_work_requested`.
fn finds_work(node: &Node) -> bool {
    let Kcompactd { daemon, max_order, .. } = &node.kcompactd;
    daemon.prepare_to_sleep();
    let wanted = max_order.load(SeqCst) > 0;
    if wanted {
        daemon.stay_awake();
    }
    wanted
}

/// Nothing is wanted of the node's kcompactd; what is wanted first may be in any zone.
pub fn kcompactd_init<E: Env>(memory: &Memory<'_, E>, node: &Node) {
    node.kcompactd.max_order.store(0, Relaxed);
    node.kcompactd.classzone.store(highest_zone(memory, node), Relaxed);
}

/// Index of the highest zone with memory. Linux: `nr_zones - 1`.
fn highest_zone<E: Env>(memory: &Memory<'_, E>, node: &Node) -> u32 {
    memory.zones_of(node.id).iter().rposition(Zone::is_populated).unwrap_or(0) as u32
}

/// Compacts the node's zones for the order that is wanted, each at most once. Linux: `kcompactd_do_work`.
pub fn kcompactd_do_work<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, node: &Node) {
    let classzone = node.kcompactd.classzone.load(Relaxed);
    let order = Order::new(node.kcompactd.max_order.load(Relaxed)).unwrap_or(Order::MAX);
    let (nid, classzone_idx) = (node.id, zone_type(memory, classzone as usize));
    memory.trace(current, || Compaction::MmCompactionKcompactdWake { nid, order, classzone_idx });
    memory.count(VmEvent::CompactDaemonWake, 1);
    // As in v5.0, one walk that began at a zone's start makes those of the zones above it begin there too.
    let mut whole_zone = false;
    for zone in populated_zones(memory, node, classzone) {
        if memory.env.sched().should_stop() {
            return;
        }
        compact_one(memory, current, zone, order, classzone as usize, &mut whole_zone);
    }
    // A request that came meanwhile may want more, or less of the zones.
    let _ = node.kcompactd.max_order.fetch_update(Relaxed, Relaxed, |max| (max <= order.get()).then_some(0));
    let everything = highest_zone(memory, node);
    let _ = node
        .kcompactd
        .classzone
        .fetch_update(Relaxed, Relaxed, |tightest| (tightest >= classzone).then_some(everything));
}

/// Compacts one zone, if that was not put off and is worth it.
fn compact_one<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    zone: &Zone,
    order: Order,
    classzone: usize,
    whole_zone: &mut bool,
) {
    if compaction_deferred(memory, current, zone, order) {
        return;
    }
    let suitable = compaction_suitable(memory, current, zone, order, AllocFlags::empty(), zone.index);
    if suitable != CompactResult::Continue {
        return;
    }
    let mut cc = CompactControl { whole_zone: *whole_zone, ..CompactControl::daemon(order, classzone) };
    match compact_zone(memory, current, zone, &mut cc) {
        CompactResult::Success => compaction_defer_reset(memory, current, zone, order, false),
        CompactResult::PartialSkipped | CompactResult::Complete => {
            // Freed pages may be stranded on the per-CPU lists; the deferral sees to it that this is rare.
            freelist::drain_all_pages(memory, current);
            defer_compaction(memory, current, zone, order);
        }
        _ => {}
    }
    *whole_zone = cc.whole_zone;
    let [migrate_scanned, free_scanned] = cc.scanned();
    memory.count(VmEvent::CompactDaemonMigrateScanned, migrate_scanned);
    memory.count(VmEvent::CompactDaemonFreeScanned, free_scanned);
}
