//! kswapd: a daemon for each node that reclaims until some zone has its high watermark free again.
//!
//! Requests that find a zone below Low call [`super::wakeup::wakeup_kswapd`], which merges what they want into the node's
//! [`super::node::Kswapd`]. The daemon [`balance_pgdat`]s the node in falling priorities, naps a tenth of a second to see
//! whether that lasted, and sleeps. After a boost of the watermarks it reclaims the boost away, gently, and has kcompactd
//! clean up behind it. What it reclaims and how is [`super::vmscan`]'s business.
//!
//! One surprise of v5.0 is kept: a second run without a new request looks at the lowest zone only.
//!
//! Linux: `kswapd`, `kswapd_try_to_sleep`, `balance_pgdat` in `mm/vmscan.c`.

use crate::sync::atomic::Ordering::Relaxed;

use super::compaction;
use super::memory::{Env, Memory};
use super::node::{Node, NodeFlags};
use super::sleep;
use super::vmscan::{self, DEF_PRIORITY, SWAP_CLUSTER_MAX, ScanControl};
use super::wakeup::{is_balanced, managed_zones};
use super::workingset;
use crate::addr::{Order, PAGEBLOCK_ORDER};
use crate::mmzone::{MAX_NR_ZONES, Watermark};
use crate::sched::{HZ, Scheduler};
use crate::task::{Current, TaskFlags};
use crate::trace::vmscan::Vmscan;
use crate::vmstat::VmEvent;

/// What kswapd is while it lives.
pub const FLAGS: TaskFlags =
    TaskFlags::PF_MEMALLOC.union(TaskFlags::PF_SWAPWRITE).union(TaskFlags::PF_KSWAPD).union(TaskFlags::PF_KTHREAD);

/// Below this priority a boost of the watermarks is not worth the effort.
const BOOST_PRIORITY: u32 = DEF_PRIORITY - 2;

/// The daemon's whole life. Linux: `kswapd`.
pub fn kswapd<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, node: &Node) {
    current.task.change_flags(FLAGS, TaskFlags::empty());
    let mut kswapd = Turn::first(memory, node);
    while node.kswapd.daemon.wait_for_work(memory.env.sched(), None) {
        kswapd.take(memory, current, node);
        node.kswapd.daemon.work_done(memory.env.sched());
    }
}

/// What kswapd remembers from one run to the next: the locals of Linux's `kswapd`.
pub struct Turn {
    /// The order asked for.
    alloc_order: u32,
    /// The order that is still worth reclaiming for.
    reclaim_order: u32,
    classzone: usize,
}

/// Whether kswapd may sleep now.
#[derive(PartialEq, Eq)]
enum Rest {
    /// Until somebody wakes it.
    Sleep,
    /// Not at all: there is work.
    Work,
}

impl Turn {
    /// Before the first run.
    pub fn first<E: Env>(memory: &Memory<'_, E>, node: &Node) -> Turn {
        let highest = memory.zone_types().len() - 1;
        let order = node.kswapd.order.load(Relaxed);
        Turn { alloc_order: order, reclaim_order: order, classzone: node.kswapd.classzone().unwrap_or(highest) }
    }

    /// From being woken to falling asleep.
    pub fn take<E: Env>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>, node: &Node) {
        loop {
            self.collect(node);
            memory.trace(current, || Vmscan::MmVmscanKswapdWake {
                nid: node.id,
                zid: self.classzone,
                order: order_of(self.alloc_order),
            });
            self.reclaim_order = balance_pgdat(memory, current, node, self.alloc_order, self.classzone);
            if self.reclaim_order >= self.alloc_order {
                self.alloc_order = node.kswapd.order.load(Relaxed);
                self.reclaim_order = self.alloc_order;
                self.classzone = node.kswapd.classzone().map_or(self.classzone, |asked| asked.max(self.classzone));
            }
            let ended = || memory.env.sched().should_stop() || sleep::interrupted(memory);
            if self.try_to_sleep(memory, current, node) == Rest::Sleep || ended() {
                return;
            }
        }
    }

    /// Takes what was asked for since the last run.
    fn collect(&mut self, node: &Node) {
        self.alloc_order = node.kswapd.order.swap(0, Relaxed);
        self.reclaim_order = self.alloc_order;
        self.classzone = node.kswapd.classzone().unwrap_or(0);
        node.kswapd.set_classzone(None);
    }

    /// Naps, if the node is balanced, and says whether it still was afterwards. Linux: `kswapd_try_to_sleep`.
    fn try_to_sleep<E: Env>(&self, memory: &Memory<'_, E>, current: &Current<'_>, node: &Node) -> Rest {
        let mut remaining = 0;
        if self.may_sleep(memory, current, node) {
            compaction::reset_isolation_suitable(memory, node);
            compaction::wakeup_kcompactd(memory, current, node, self.alloc_order, self.classzone);
            remaining = node.kswapd.daemon.nap(memory.env.sched(), HZ / 10);
            if remaining > 0 {
                let asked = node.kswapd.classzone().map_or(self.classzone, |asked| asked.max(self.classzone));
                node.kswapd.set_classzone(Some(asked));
                node.kswapd.order.fetch_max(self.reclaim_order, Relaxed);
            }
        }
        if remaining == 0 {
            node.kswapd.daemon.prepare_to_sleep();
            if self.may_sleep(memory, current, node) {
                memory.trace(current, || Vmscan::MmVmscanKswapdSleep { nid: node.id });
                return Rest::Sleep;
            }
            node.kswapd.daemon.stay_awake();
        }
        let quickly =
            if remaining > 0 { VmEvent::KswapdLowWmarkHitQuickly } else { VmEvent::KswapdHighWmarkHitQuickly };
        memory.count(quickly, 1);
        Rest::Work
    }

    /// Lets those go on who wait for kswapd, and says whether it has nothing to do. Linux: `prepare_kswapd_sleep`.
    fn may_sleep<E: Env>(&self, memory: &Memory<'_, E>, current: &Current<'_>, node: &Node) -> bool {
        node.pfmemalloc_wait.wake_all(memory.env.sched());
        if node.kswapd.is_hopeless() {
            return true;
        }
        let balanced = is_balanced(memory, current, node, order_of(self.reclaim_order), self.classzone);
        if balanced {
            node.clear_flags(NodeFlags::all());
        }
        balanced
    }
}

/// An order that came in through [`Order`].
fn order_of(order: u32) -> Order {
    Order::new(order).unwrap_or(Order::MAX)
}

/// Reclaims until the node is balanced or nothing more comes; the order that it reclaimed for in the end.
///
/// Linux: `balance_pgdat`.
fn balance_pgdat<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    node: &Node,
    order: u32,
    classzone: usize,
) -> u32 {
    memory.count(VmEvent::Pageoutrun, 1);
    let mut boosts = [0; MAX_NR_ZONES];
    managed_zones(memory, node, classzone).for_each(|zone| boosts[zone.index] = zone.boost());
    let mut sc = ScanControl::kswapd(order, classzone);
    if !reclaim_in_rounds(memory, current, node, &mut sc, boosts.iter().sum()) && sc.nr_reclaimed == 0 {
        node.kswapd.failures.fetch_add(1, Relaxed);
    }
    if boosts.iter().any(|&boost| boost > 0) {
        for zone in managed_zones(memory, node, classzone) {
            // Under the lock, for whoever takes from the lists may boost again meanwhile.
            let (pin, boosted) = (memory.pin(), boosts[zone.index]);
            let _lists = zone.free.lock(&pin);
            zone.set_boost(zone.boost().saturating_sub(boosted));
        }
        compaction::wakeup_kcompactd(memory, current, node, PAGEBLOCK_ORDER, classzone);
    }
    workingset::snapshot_refaults(node);
    sc.order
}

/// Rounds of reclaim, harder and harder, the first ones for the sake of `boost` alone; whether the node is balanced.
fn reclaim_in_rounds<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    node: &Node,
    sc: &mut ScanControl,
    mut boost: u64,
) -> bool {
    let classzone = sc.reclaim_idx;
    sc.priority = DEF_PRIORITY;
    while sc.priority >= 1 {
        let balanced = is_balanced(memory, current, node, order_of(sc.order), classzone);
        if !balanced && boost > 0 {
            // Real need comes first.
            boost = 0;
            sc.priority = DEF_PRIORITY;
            continue;
        }
        if balanced && boost == 0 {
            return true;
        }
        let harder = boost == 0 || sc.priority != BOOST_PRIORITY;
        let got = one_round(memory, current, node, sc, boost > 0);
        let was_boosted = boost > 0;
        boost = boost.saturating_sub(got.pages);
        if was_boosted && got.pages == 0 {
            return false;
        }
        if (harder && !got.scanned_enough) || got.pages == 0 {
            sc.priority -= 1;
        }
    }
    false
}

/// What a round of reclaim came to.
struct Round {
    pages: u64,
    scanned_enough: bool,
}

/// Linux: the body of the loop of `balance_pgdat`, and `kswapd_shrink_node`.
fn one_round<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    node: &Node,
    sc: &mut ScanControl,
    for_boost: bool,
) -> Round {
    let before = sc.nr_reclaimed;
    sc.may_writepage = !for_boost || sc.priority < DEF_PRIORITY - 2;
    sc.may_swap = !for_boost;
    sc.may_shrinkslab = !for_boost;
    vmscan::age_active_anon(memory, current, node, sc);
    sc.nr_scanned = 0;
    sc.nr_to_reclaim = managed_zones(memory, node, sc.reclaim_idx)
        .map(|zone| zone.watermark(Watermark::High).max(SWAP_CLUSTER_MAX))
        .sum();
    vmscan::shrink_node(memory, current, node, sc);
    if sc.order > 0 && sc.nr_reclaimed >= compaction::compact_gap(sc.order) {
        // Compaction has enough to work with now.
        sc.order = 0;
    }
    if node.pfmemalloc_wait.is_active() && vmscan::allow_direct_reclaim(memory, node) {
        node.pfmemalloc_wait.wake_all(memory.env.sched());
    }
    Round { pages: sc.nr_reclaimed - before, scanned_enough: sc.nr_scanned >= sc.nr_to_reclaim }
}
