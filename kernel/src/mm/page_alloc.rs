//! The entry: requests for pages, and giving them back.
//!
//! [`alloc_pages`] and its kin answer the names that Linux drivers use; all end in [`alloc_pages_nodemask`], which
//! decodes the mask into an [`AllocContext`], tries the fast path, and goes into the slow one ([`super::slowpath`]) when
//! that fails. A page is named by its number; the calls that give an address are in `page_alloc/by_address.rs`, those that
//! follow a memory policy in `page_alloc/policy.rs`.
//!
//! Linux: `mm/page_alloc.c`, `__alloc_pages_nodemask`, `include/linux/gfp.h`.
//! Linux does more: memory cgroups are charged for `__GFP_ACCOUNT`.

use crate::sync::atomic::Ordering::Relaxed;
use core::fmt;

use super::alloc_context::AllocContext;
use super::fastpath;
use super::fault_inject;
use super::freelist;
use super::memory::{BestZones, Env, Hook, Memory};
use super::mempolicy::Turn;
use super::page::{PageFlags, PageState};
use super::prep::{self, FreeError};
use super::printed::WarnOnce;
use super::sleep;
use super::slowpath::{self, Refusal, hurried};
use super::vmscan;
use super::warn;
use super::zone::AllocFlags;
use super::zonelist::Zonelist;
use crate::addr::{Order, Pfn};
use crate::gfp::Gfp;
use crate::mmzone::{MigrateType, NodeId, NodeMask, ZoneType};
use crate::quirks::Quirk;
use crate::task::Current;
use crate::trace::kmem::Kmem;

mod by_address;
mod policy;

pub use by_address::{
    alloc_pages_exact, alloc_pages_exact_nid, free_pages_at, free_pages_exact, get_dma_pages, get_free_page,
    get_free_pages, get_zeroed_page,
};
pub use policy::alloc_page_vma;

/// Why there are no pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AllocError {
    /// No zone that the request may use is above its watermark with a block of this order.
    NoMemory {
        /// The mask.
        gfp: Gfp,
        /// The order.
        order: Order,
    },
    /// The caller called the request off while it waited.
    Interrupted {
        /// The mask.
        gfp: Gfp,
        /// The order.
        order: Order,
    },
    /// The request went round the slow path as often as a person allows.
    RoundLimit {
        /// The mask.
        gfp: Gfp,
        /// The order.
        order: Order,
        /// How often.
        rounds: u32,
    },
    /// Orders end at 10.
    OrderTooHigh(u32),
    /// The mask says movable and reclaimable at once.
    TwoMobilities(Gfp),
}

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AllocError::NoMemory { gfp, order } => {
                write!(f, "page allocation failure: order:{order}, mode:{}", gfp.mode())
            }
            AllocError::Interrupted { gfp, order } => {
                write!(f, "interrupted: order:{order}, mode:{}", gfp.mode())
            }
            AllocError::RoundLimit { gfp, order, rounds } => {
                let s = if *rounds == 1 { "" } else { "s" };
                write!(f, "called off after {rounds} round{s} (limit rounds): order:{order}, mode:{}", gfp.mode())
            }
            AllocError::OrderTooHigh(order) => write!(f, "order must be 0..10 (MAX_ORDER is 11), not {order}"),
            AllocError::TwoMobilities(gfp) => {
                write!(f, "{gfp} is movable and reclaimable at once; a page has one migratetype")
            }
        }
    }
}

/// 2^`order` pages in a row, near the CPU that asks; the first one.
///
/// # Errors
///
/// When no zone that the mask allows can give them, or the mask or order is impossible. Linux: `alloc_pages`.
#[inline(always)]
pub fn alloc_pages<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    gfp: Gfp,
    order: u32,
) -> Result<Pfn, AllocError> {
    let best = memory.best_of_cpu();
    let fast = match order {
        0 => fastpath::alloc_page(memory, current, gfp, best),
        _ => fastpath::alloc_block(memory, current, gfp, order, best),
    };
    match fast {
        Some(index) => Ok(memory.pages.pfn(index)),
        None => alloc_pages_slowly(memory, current, gfp, order, best),
    }
}

/// [`alloc_pages`] when the preferred zone could not serve it at once.
#[inline(never)]
fn alloc_pages_slowly<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    gfp: Gfp,
    order: u32,
    best: &BestZones,
) -> Result<Pfn, AllocError> {
    match hurried::alloc_pages(memory, current, gfp, order, best) {
        Some(Ok(index)) => Ok(memory.pages.pfn(index)),
        Some(Err(_)) => {
            Err(AllocError::NoMemory { gfp: current.scoped(gfp), order: Order::new(order).unwrap_or_default() })
        }
        None if memory.hooks() & (Hook::Mempolicy as u32 | Hook::Trace as u32) != 0 => {
            policy::alloc_pages_current(memory, current, gfp, order, Turn::Next)
        }
        None => alloc_pages_carefully(memory, current, gfp, order, memory.near_node(), None),
    }
}

/// One page. Linux: `alloc_page`.
///
/// # Errors
///
/// As [`alloc_pages`].
#[inline(always)]
pub fn alloc_page<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, gfp: Gfp) -> Result<Pfn, AllocError> {
    alloc_pages(memory, current, gfp, 0)
}

/// 2^`order` pages, near `node` if given, else near the CPU. Linux: `alloc_pages_node`.
///
/// # Errors
///
/// As [`alloc_pages`].
pub fn alloc_pages_node<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    node: Option<NodeId>,
    gfp: Gfp,
    order: u32,
) -> Result<Pfn, AllocError> {
    let node = node.unwrap_or_else(|| memory.near_node());
    alloc_pages_nodemask(memory, current, gfp, order, node, None)
}

/// The common engine: 2^`order` pages from the zones of `nodes`, those near `node` first.
///
/// # Errors
///
/// As [`alloc_pages`]. Linux: `__alloc_pages_nodemask`.
#[inline(never)]
pub fn alloc_pages_nodemask<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    gfp: Gfp,
    order: u32,
    node: NodeId,
    nodes: Option<NodeMask>,
) -> Result<Pfn, AllocError> {
    let best = memory.best_of_node(node);
    let fast = match (nodes, order) {
        (Some(_), _) => None,
        (None, 0) => fastpath::alloc_page(memory, current, gfp, best),
        (None, _) => fastpath::alloc_block(memory, current, gfp, order, best),
    };
    match fast {
        Some(index) => Ok(memory.pages.pfn(index)),
        None => alloc_pages_carefully(memory, current, gfp, order, node, nodes),
    }
}

/// [`alloc_pages_nodemask`] with every check, hook and report.
#[inline(never)]
fn alloc_pages_carefully<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    gfp: Gfp,
    order: u32,
    node: NodeId,
    nodes: Option<NodeMask>,
) -> Result<Pfn, AllocError> {
    let Some(order) = Order::new(order) else { return Err(order_too_high(memory, current, gfp, order)) };
    let gfp = gfp & memory.gfp_allowed();
    let Some(migratetype) = gfp.migratetype() else {
        log::warn!("WARN: gfp MOVABLE|RECLAIMABLE");
        return Err(AllocError::TwoMobilities(gfp));
    };
    if gfp.has_bad_zone() {
        report_bad_zone(memory, gfp);
    }
    let migratetype = if memory.has(Hook::MobilityOff) { MigrateType::Unmovable } else { migratetype };
    let mut ac = AllocContext { nodemask: nodes, ..context(memory, node, gfp, order, migratetype) };
    let cpuset = match memory.has(Hook::Cpusets) {
        true => policy::narrow_to_cpuset(memory, current, &mut ac),
        false => AllocFlags::empty(),
    };
    if gfp.intersects(current.forbidden()) {
        sleep::report_might_sleep(memory, current, "mm/page_alloc.c:4486");
    }
    if memory.has(Hook::FailNth) && fault_inject::should_fail_alloc_page(memory, current, gfp, order) {
        return Err(AllocError::NoMemory { gfp, order });
    }
    let found = match first_attempt(memory, current, &mut ac, cpuset) {
        Some(index) => Ok(index),
        None => {
            ac.gfp = gfp;
            ac.nodemask = nodes;
            slowpath::alloc_pages_slowpath(memory, current, &mut ac)
        }
    };
    let page = found.map(|index| memory.pages.pfn(index));
    let AllocContext { migratetype, gfp, .. } = ac;
    memory.trace(current, || Kmem::MmPageAlloc { page: page.ok(), order, migratetype, gfp });
    page.map_err(|refusal| match refusal {
        Refusal::NoMemory => AllocError::NoMemory { gfp, order },
        Refusal::Interrupted => AllocError::Interrupted { gfp, order },
        Refusal::RoundLimit(rounds) => AllocError::RoundLimit { gfp, order, rounds },
    })
}

/// What a request near `node` is, before it has chosen the zone that it likes best. Linux: `prepare_alloc_pages`.
#[inline(always)]
fn context<'a, E: Env>(
    memory: &'a Memory<'_, E>,
    node: NodeId,
    gfp: Gfp,
    order: Order,
    migratetype: MigrateType,
) -> AllocContext<'a> {
    AllocContext {
        gfp,
        order,
        highest: memory.zone_table.zone(gfp),
        migratetype,
        zonelist: zonelist_of(memory, node, gfp),
        nodemask: None,
        preferred_node: node,
        preferred_zone: 0,
        classzone: 0,
    }
}

/// Reclaims once, as a request with this mask and order would that found nothing; pages freed, or 1 if it may try again
/// for another reason. Of a bad mask nothing comes.
///
/// Linux: `__perform_reclaim`, which only requests call.
pub fn reclaim<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, gfp: Gfp, order: Order) -> u64 {
    let gfp = current.scoped(gfp & memory.gfp_allowed());
    let node = memory.near_node();
    let mut ac = context(memory, node, gfp, order, gfp.migratetype().unwrap_or(MigrateType::Unmovable));
    if ac.prefer(memory).is_none() {
        return 0;
    }
    slowpath::perform_reclaim(memory, current, &ac)
}

/// The fast path: no reserve below Low is touched, nothing waits. Linux: `finalise_ac`, and the first attempt of
/// `__alloc_pages_nodemask`.
#[inline(always)]
fn first_attempt<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &mut AllocContext<'_>,
    cpuset: AllocFlags,
) -> Option<u32> {
    ac.prefer(memory)?;
    let mut flags = AllocFlags::WMARK_LOW | cpuset;
    if ac.gfp.contains(Gfp::__GFP_KSWAPD_RECLAIM) {
        flags |= AllocFlags::KSWAPD;
    }
    if ac.gfp.contains(Gfp::__GFP_MOVABLE) {
        flags |= AllocFlags::CMA;
    }
    if ac.gfp.contains(Gfp::__GFP_WRITE) {
        flags |= AllocFlags::SPREAD_DIRTY;
    }
    if memory.quirks.switched(Quirk::Nofragment) {
        flags |= nofragment(memory, ac);
    }
    freelist::get_page_or_make_room(memory, current, ac, flags, vmscan::make_room)
}

/// Keeps types apart while a lower zone could serve instead. Linux since 5.1: `alloc_flags_nofragment`.
#[cold]
fn nofragment<E: Env>(memory: &Memory<'_, E>, ac: &AllocContext<'_>) -> AllocFlags {
    let zone = memory.zone(usize::from(ac.preferred_zone));
    let dma32 = memory.zones_of(zone.node).iter().find(|zone| zone.zone_type == ZoneType::Dma32);
    let single_node = memory.online_nodes().count() == 1;
    let lower = dma32.is_some_and(|dma32| single_node || dma32.is_populated());
    if zone.zone_type == ZoneType::Normal && lower { AllocFlags::NOFRAGMENT } else { AllocFlags::empty() }
}

/// The node's list of all zones, or with `__GFP_THISNODE` of its own. Linux: `node_zonelist`.
#[inline(always)]
fn zonelist_of<'a, E: Env>(memory: &'a Memory<'_, E>, node: NodeId, gfp: Gfp) -> &'a Zonelist {
    let node = memory.node(node);
    if gfp.contains(Gfp::__GFP_THISNODE) { &node.thisnode } else { &node.fallback }
}

#[cold]
fn order_too_high<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, gfp: Gfp, order: u32) -> AllocError {
    if !gfp.contains(Gfp::__GFP_NOWARN) {
        warn::warn_on_once(memory, current, WarnOnce::OrderTooHigh);
    }
    AllocError::OrderTooHigh(order)
}

#[cold]
fn report_bad_zone<E: Env>(memory: &Memory<'_, E>, gfp: Gfp) {
    memory.bad_zone_requests.fetch_add(1, Relaxed);
    log::error!("BUG: bad gfp zone bits {:#x}", gfp.bits() & 0xf);
}

/// Drops a reference of the block of 2^`order` pages at `pfn`; with the last one the block is free. Whether it is.
///
/// # Errors
///
/// When no such block is allocated; nothing changes then. Linux: `__free_pages`.
#[inline(always)]
pub fn free_pages<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    pfn: Pfn,
    order: u32,
) -> Result<bool, FreeError> {
    let done = match order {
        0 => fastpath::free_page(memory, current, pfn),
        _ => fastpath::free_block(memory, pfn, order),
    };
    if done { Ok(true) } else { free_pages_carefully(memory, current, pfn, order) }
}

/// [`free_pages`] with hooks, shared references, and misuse.
#[inline(never)]
fn free_pages_carefully<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    pfn: Pfn,
    order: u32,
) -> Result<bool, FreeError> {
    let Some((index, state)) = prep::free_pages_prepare(memory, current, pfn, order)? else { return Ok(false) };
    memory.trace(current, || Kmem::MmPageFree { page: pfn, order: state.order() });
    match state.order() {
        Order::ZERO => freelist::free_unref_page(memory, current, index, state),
        _ => freelist::free_block(memory, index, state),
    }
    Ok(true)
}

/// Drops a reference of one page. Linux: `__free_page`.
///
/// # Errors
///
/// As [`free_pages`].
#[inline(always)]
pub fn free_page<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, pfn: Pfn) -> Result<bool, FreeError> {
    free_pages(memory, current, pfn, 0)
}

/// Makes each page of an allocated block a page of its own, with one reference. Linux: `split_page`.
///
/// # Panics
///
/// When the block at `pfn` is compound or not allocated with `order`.
pub fn split_page<E: Env>(memory: &Memory<'_, E>, pfn: Pfn, order: Order) {
    let index = memory.pages.index(pfn);
    memory.blocks.write_records(memory.pages, index);
    let head = memory.pages.at(index).state();
    assert!(!head.flags().contains(PageFlags::HEAD) && head.order() == order, "split of {pfn:?}: {head:?}");
    let single: PageState = head.with_order(Order::ZERO);
    for page in 0..order.nr_pages() as u32 {
        memory.pages.at(index + page).set_state(single);
        memory.page_owners.copy(index, index + page);
    }
}
