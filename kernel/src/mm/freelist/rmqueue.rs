//! A block out of one zone: from the list of the CPU, filled a batch at a time, or from the zone's buddy lists, with
//! another type's memory when the own lists are empty. Linux: `rmqueue`, `rmqueue_bulk`, `__rmqueue`.

use crate::addr::Order;
use crate::gfp::Gfp;
use crate::mm::alloc_context::AllocContext;
use crate::mm::buddy::Buddy;
use crate::mm::fallback::{self, FallbackControl, Range32};
use crate::mm::memory::{Env, Hook, Memory};
use crate::mm::pcp::PcpLists;
use crate::mm::prep;
use crate::mm::printed::WarnOnce;
use crate::mm::wakeup;
use crate::mm::warn;
use crate::mm::zone::{AllocFlags, Zone};
use crate::mmzone::MigrateType;
use crate::quirks::Quirk;
use crate::sync::Pin;
use crate::sync::atomic::Ordering::Relaxed;
use crate::task::Current;
use crate::trace::kmem::Kmem;
use crate::vmstat::NumaStat;

/// Takes one page from the list of this CPU, filling it first if it is empty. Linux: `rmqueue_pcplist`.
#[inline(always)]
pub(super) fn rmqueue_pcplist<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    zone: &Zone,
    flags: AllocFlags,
) -> Option<u32> {
    let pin = memory.pin();
    let index = loop {
        let mut lists = zone.pcp.local(&pin);
        let pageset = lists.shared();
        if lists.list(ac.migratetype).is_empty() {
            refill(memory, current, &pin, zone, ac.migratetype, flags, &mut lists);
        }
        match lists.take(&memory.pages, pageset, ac.migratetype) {
            Some(index) if !prep::check_new_page(memory, index) => continue,
            taken => break taken,
        }
    };
    if index.is_some() {
        count_alloc(memory, &pin, ac, zone, Order::ZERO);
    }
    drop(pin);
    wake_for_boost(memory, current, zone);
    index
}

/// Moves a batch of pages from the zone's lists to a per-CPU list. Linux: `rmqueue_bulk`.
#[inline(never)]
pub(in crate::mm) fn refill<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    pin: &Pin<'_, E::Irq>,
    zone: &Zone,
    migratetype: MigrateType,
    flags: AllocFlags,
    lists: &mut PcpLists,
) {
    let mut guard = zone.free.lock(pin);
    let mut buddy = zone.buddy(&mut guard, memory.pages, memory.blocks);
    let (mut left, mut lent) = (zone.pcp_limits().batch, 0);
    let batch = left;
    while left > 0 {
        let run = match buddy.take_pages(left, migratetype) {
            Some(run) => run,
            None => match fall_back(memory, current, zone, buddy.reborrow(), Order::ZERO, migratetype, flags) {
                Fallen::Moved => continue,
                Fallen::Lent(index) => {
                    lent += 1;
                    index..index + 1
                }
                Fallen::Empty => break,
            },
        };
        if memory.has(Hook::Trace) {
            run.clone().for_each(|index| trace_zone_locked(memory, current, index, Order::ZERO, migratetype));
        }
        left -= run.len() as u32;
        lists.refill(&memory.pages, zone.pageset(pin.cpu()), migratetype, run);
    }
    zone.counts.count(migratetype, lent - i64::from(batch - left));
    zone.counts.count(MigrateType::Cma, -lent);
}

#[cold]
fn trace_zone_locked<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    index: u32,
    order: Order,
    migratetype: MigrateType,
) {
    let page = memory.pages.pfn(index);
    memory.trace(current, || Kmem::MmPageAllocZoneLocked { page, order, migratetype });
}

/// Takes a block of order 1 or more from the zone's lists. Linux: the second half of `rmqueue`.
#[inline(never)]
pub(super) fn rmqueue_buddy<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    zone: &Zone,
    flags: AllocFlags,
) -> Option<u32> {
    if ac.gfp.contains(Gfp::__GFP_NOFAIL) && ac.order.get() > 1 {
        // It was never meant for more than two pages.
        warn::warn_on_once(memory, current, WarnOnce::NoFailOrder);
    }
    let pin = memory.pin();
    let mut guard = zone.free.lock(&pin);
    let mut buddy = zone.buddy(&mut guard, memory.pages, memory.blocks);
    let reserved =
        if flags.contains(AllocFlags::HARDER) { buddy.take(ac.order, MigrateType::HighAtomic) } else { None };
    let index = match reserved {
        Some(index) => index,
        None => rmqueue_locked(memory, current, zone, &mut buddy, ac.order, ac.migratetype, flags)?,
    };
    let nr_pages = ac.order.nr_pages() as i64;
    buddy.counts.count(memory.pages.at(index).state().migratetype(), -nr_pages);
    if flags.contains(AllocFlags::HARDER) {
        fallback::reserve_highatomic(zone, &mut buddy, &fallback_control(memory, zone), index);
    }
    drop(guard);
    count_alloc(memory, &pin, ac, zone, ac.order);
    drop(pin);
    wake_for_boost(memory, current, zone);
    Some(index)
}

/// Takes a block off the lists of `migratetype`, of CMA for movable requests, or of whom it may fall back on.
///
/// Does not change the count of free pages. Linux: `__rmqueue`.
#[inline(always)]
fn rmqueue_locked<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    zone: &Zone,
    buddy: &mut Buddy<'_, '_>,
    order: Order,
    migratetype: MigrateType,
    flags: AllocFlags,
) -> Option<u32> {
    loop {
        if let Some(index) = buddy.take(order, migratetype) {
            if memory.has(Hook::Trace) {
                trace_zone_locked(memory, current, index, order, migratetype);
            }
            return Some(index);
        }
        match fall_back(memory, current, zone, buddy.reborrow(), order, migratetype, flags) {
            Fallen::Moved => {}
            Fallen::Lent(index) => return Some(index),
            Fallen::Empty => return None,
        }
    }
}

/// What there is when the lists of a migratetype are empty.
enum Fallen {
    /// A block of CMA, lent to a movable request.
    Lent(u32),
    /// Blocks that came over from another type.
    Moved,
    /// Nothing.
    Empty,
}

/// Takes a block from CMA, for a movable request, or moves memory of another type to the lists of `migratetype`.
///
/// Linux: `__rmqueue_cma_fallback`, `__rmqueue_fallback`.
#[cold]
#[inline(never)]
fn fall_back<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    zone: &Zone,
    mut buddy: Buddy<'_, '_>,
    order: Order,
    migratetype: MigrateType,
    flags: AllocFlags,
) -> Fallen {
    if migratetype == MigrateType::Movable
        && let Some(index) = buddy.take(order, MigrateType::Cma)
    {
        trace_zone_locked(memory, current, index, order, migratetype);
        return Fallen::Lent(index);
    }
    let control = fallback_control(memory, zone);
    let Some(fallback) = fallback::rmqueue_fallback(zone, buddy, &control, order, migratetype, flags) else {
        return Fallen::Empty;
    };
    memory.trace(current, || Kmem::MmPageAllocExtfrag {
        page: memory.pages.pfn(fallback.index),
        alloc_order: order,
        fallback_order: fallback.order,
        alloc_migratetype: migratetype,
        fallback_migratetype: fallback.from,
        change_ownership: fallback.change_ownership,
    });
    Fallen::Moved
}

pub(in crate::mm) fn fallback_control<E: Env>(memory: &Memory<'_, E>, zone: &Zone) -> FallbackControl {
    let indices = zone.indices(&memory.pages);
    FallbackControl {
        limits: Range32 { start: indices.start, end: indices.end },
        boost_factor: memory.sysctl.watermark_boost_factor.load(Relaxed),
        mobility_disabled: memory.has(Hook::MobilityOff),
        boost_small_zones: !memory.quirks.switched(Quirk::SmallBoost),
    }
}

/// Counts pages that left the zone for a caller. Linux: `__count_zid_vm_events`, `zone_statistics`.
#[inline(always)]
fn count_alloc<E: Env>(
    memory: &Memory<'_, E>,
    pin: &Pin<'_, E::Irq>,
    ac: &AllocContext<'_>,
    zone: &Zone,
    order: Order,
) {
    let cpu = pin.cpu();
    let pageset = zone.pageset(cpu);
    pageset.count_alloc(order.nr_pages());
    if memory.has(Hook::NumaStatOff) {
        return;
    }
    if zone.node == ac.preferred_node {
        pageset.count_numa(NumaStat::NumaHit, 1);
    } else {
        pageset.count_numa(NumaStat::NumaMiss, 1);
        memory.zone(usize::from(ac.preferred_zone)).pageset(cpu).count_numa(NumaStat::NumaForeign, 1);
    }
    let local = zone.node == memory.cpu_node[cpu];
    pageset.count_numa(if local { NumaStat::NumaLocal } else { NumaStat::NumaOther }, 1);
}

/// Tells kswapd of a boost of the zone's watermarks, once. Linux: the end of `rmqueue`.
#[inline(always)]
pub(in crate::mm) fn wake_for_boost<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, zone: &Zone) {
    if zone.is_boosted() {
        wakeup::wakeup_for_boost(memory, current, zone);
    }
}
