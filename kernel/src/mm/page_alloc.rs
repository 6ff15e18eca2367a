//! The entry: requests for pages, and giving them back.
//!
//! [`alloc_pages`] and its kin answer the names that Linux drivers use; all end in [`alloc_pages_nodemask`], which
//! decodes the mask into an [`AllocContext`] and tries the fast path. A page is named by its number; the calls that give
//! an address (`__get_free_pages` and its kin) give the one in the linear map and so never take highmem.
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
use super::warn;
use super::zone::AllocFlags;
use super::zonelist::Zonelist;
use crate::addr::{Order, PAGE_SIZE, Pfn, PhysAddr};
use crate::gfp::Gfp;
use crate::mmzone::{MigrateType, NodeId, NodeMask, ZoneType};
use crate::quirks::Quirk;
use crate::task::Current;
use crate::trace::kmem::Kmem;

mod policy;

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
    let best = memory.best_of_cpu(current.cpu);
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
            Err(AllocError::NoMemory { gfp: current.task.scoped(gfp), order: Order::new(order).unwrap_or_default() })
        }
        None if memory.has(Hook::Mempolicy) => policy::alloc_pages_current(memory, current, gfp, order, Turn::Next),
        None => alloc_pages_carefully(memory, current, gfp, order, memory.cpu_node[current.cpu], None),
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
    let node = node.unwrap_or(memory.cpu_node[current.cpu]);
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
    let mut ac = AllocContext {
        gfp,
        order,
        highest: memory.zone_table.zone(gfp),
        migratetype: if memory.has(Hook::MobilityOff) { MigrateType::Unmovable } else { migratetype },
        zonelist: zonelist_of(memory, node, gfp),
        nodemask: nodes,
        preferred_node: node,
        preferred_zone: 0,
        classzone: 0,
    };
    let cpuset = match memory.has(Hook::Cpusets) {
        true => policy::narrow_to_cpuset(current, &mut ac),
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

/// Reclaims once, as a request with this mask and order would that found nothing; pages freed, or 1 if it may try again
/// for another reason. Of a bad mask nothing comes.
///
/// Linux: `__perform_reclaim`, which only requests call.
pub fn reclaim<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, gfp: Gfp, order: Order) -> u64 {
    let gfp = current.task.scoped(gfp & memory.gfp_allowed());
    let node = memory.cpu_node[current.cpu];
    let mut ac = AllocContext {
        gfp,
        order,
        highest: memory.zone_table.zone(gfp),
        migratetype: gfp.migratetype().unwrap_or(MigrateType::Unmovable),
        zonelist: zonelist_of(memory, node, gfp),
        nodemask: None,
        preferred_node: node,
        preferred_zone: 0,
        classzone: 0,
    };
    if ac.prefer(memory).is_none() {
        return 0;
    }
    slowpath::perform_reclaim(memory, current, &ac)
}

/// The fast path: no reserve below Low is touched, nothing waits. Linux: `prepare_alloc_pages`, `finalise_ac`.
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
    if memory.quirks.switched(Quirk::Nofragment) {
        flags |= nofragment(memory, ac);
    }
    freelist::get_page_from_freelist(memory, current, ac, flags)
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

/// 2^`order` pages by their address in the linear map, so never highmem. Linux: `__get_free_pages`.
///
/// # Errors
///
/// As [`alloc_pages`].
pub fn get_free_pages<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    gfp: Gfp,
    order: u32,
) -> Result<PhysAddr, AllocError> {
    alloc_pages(memory, current, gfp - Gfp::__GFP_HIGHMEM, order).map(Pfn::addr)
}

/// One page by its address. Linux: `__get_free_page`.
///
/// # Errors
///
/// As [`alloc_pages`].
pub fn get_free_page<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, gfp: Gfp) -> Result<PhysAddr, AllocError> {
    get_free_pages(memory, current, gfp, 0)
}

/// One page full of zeros by its address. Linux: `get_zeroed_page`.
///
/// # Errors
///
/// As [`alloc_pages`].
pub fn get_zeroed_page<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    gfp: Gfp,
) -> Result<PhysAddr, AllocError> {
    get_free_pages(memory, current, gfp | Gfp::__GFP_ZERO, 0)
}

/// 2^`order` pages for devices with few address bits, by their address. Linux: `__get_dma_pages`.
///
/// # Errors
///
/// As [`alloc_pages`].
pub fn get_dma_pages<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    gfp: Gfp,
    order: u32,
) -> Result<PhysAddr, AllocError> {
    get_free_pages(memory, current, gfp | Gfp::GFP_DMA, order)
}

/// Gives back what [`get_free_pages`] gave. Linux: `free_pages`.
///
/// # Errors
///
/// As [`free_pages`].
pub fn free_pages_at<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    addr: PhysAddr,
    order: u32,
) -> Result<bool, FreeError> {
    free_pages(memory, current, addr.pfn(), order)
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

/// `bytes` rounded up to pages, in a row; what the power of two has beyond that goes back at once.
///
/// # Errors
///
/// As [`alloc_pages`], and for a size above 4 MiB. Linux: `alloc_pages_exact`.
pub fn alloc_pages_exact<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    bytes: u64,
    gfp: Gfp,
) -> Result<PhysAddr, AllocError> {
    alloc_pages_exact_nid(memory, current, memory.cpu_node[current.cpu], bytes, gfp)
}

/// [`alloc_pages_exact`] near `node`. Linux: `alloc_pages_exact_nid`.
///
/// # Errors
///
/// As [`alloc_pages_exact`].
pub fn alloc_pages_exact_nid<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    node: NodeId,
    bytes: u64,
    gfp: Gfp,
) -> Result<PhysAddr, AllocError> {
    let order = Order::for_bytes(bytes).ok_or(AllocError::OrderTooHigh(crate::addr::get_order(bytes)))?;
    let gfp = gfp - Gfp::__GFP_HIGHMEM - Gfp::__GFP_COMP;
    let pfn = alloc_pages_node(memory, current, Some(node), gfp, order.get())?;
    split_page(memory, pfn, order);
    for page in bytes.div_ceil(PAGE_SIZE)..order.nr_pages() {
        free_page(memory, current, pfn.add(page)).expect("a page that was just split off");
    }
    Ok(pfn.addr())
}

/// Gives back what [`alloc_pages_exact`] gave for `bytes`, page by page; how many pages became free.
///
/// # Errors
///
/// As [`free_pages`], at the first page that is not allocated.
pub fn free_pages_exact<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    addr: PhysAddr,
    bytes: u64,
) -> Result<u64, FreeError> {
    let mut freed = 0;
    for page in 0..bytes.div_ceil(PAGE_SIZE) {
        freed += u64::from(free_page(memory, current, addr.pfn().add(page))?);
    }
    Ok(freed)
}
