//! Slabs on their way in and out: from the page allocator, and back to it.
//!
//! A slab is first asked for in the order that suits its objects, without making any effort; then in the smallest order
//! that holds an object, with all the effort that the caller's mask allows. Linux: `new_slab`, `allocate_slab`,
//! `discard_slab`, `slab_out_of_memory`.

use crate::sync::atomic::Ordering::Relaxed;

use super::debug;
use crate::addr::Order;
use crate::gfp::Gfp;
use crate::mm::kmem_cache::{CacheFlags, Chain, KmemCache, Layout, link, owner_of};
use crate::mm::list::List;
use crate::mm::memory::{Env, Memory};
use crate::mm::page::PageFlags;
use crate::mm::page_alloc;
use crate::mm::slab_object::Slab;
use crate::mm::slabinfo;
use crate::mmzone::NodeId;
use crate::task::Current;
use crate::vmstat::NodeStat;

/// A new slab, all of whose objects are free, that nobody but the caller knows; its record's index. May sleep.
pub fn new_slab<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    cache: &KmemCache,
    gfp: Gfp,
    node: Option<NodeId>,
) -> Option<u32> {
    let layout = cache.layout();
    let gfp = without_bugs(gfp) & (Gfp::RECLAIM_MASK | Gfp::CONSTRAINT_MASK) | layout.gfp();
    let index = match pages(memory, current, without_effort(gfp, &layout), node, layout.order) {
        Some(index) => index,
        None => {
            let index = pages(memory, current, gfp, node, layout.min_order)?;
            cache.order_fallback.fetch_add(1, Relaxed);
            index
        }
    };
    set_up(memory, cache, index);
    Some(index)
}

fn pages<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    gfp: Gfp,
    node: Option<NodeId>,
    order: Order,
) -> Option<u32> {
    let page = match node {
        Some(_) => page_alloc::alloc_pages_node(memory, current, node, gfp, order.get()),
        None => page_alloc::alloc_pages(memory, current, gfp, order.get()),
    };
    Some(memory.pages.index(page.ok()?))
}

/// The mask without zones that a slab cannot be in; asking for one is reported.
fn without_bugs(gfp: Gfp) -> Gfp {
    let bugs = gfp & Gfp::SLAB_BUG_MASK;
    let fixed = gfp - bugs;
    if !bugs.is_empty() {
        log::warn!("Unexpected gfp: {}. Fixing up to gfp: {}. Fix your code!", bugs.mode(), fixed.mode());
    }
    fixed
}

/// The mask of the first attempt: a failure is no harm, so nobody reclaims, is woken, or touches a reserve for it.
fn without_effort(gfp: Gfp, layout: &Layout) -> Gfp {
    let gfp = (gfp | Gfp::__GFP_NOWARN | Gfp::__GFP_NORETRY) - Gfp::__GFP_NOFAIL;
    if gfp.may_sleep() && layout.order > layout.min_order {
        (gfp | Gfp::__GFP_NOMEMALLOC) - Gfp::__GFP_RECLAIM
    } else {
        gfp
    }
}

/// Makes the block at `index` a slab of `cache`: marks its record, and chains up its objects in the order of addresses.
fn set_up<E: Env>(memory: &Memory<'_, E>, cache: &KmemCache, index: u32) {
    let page = memory.pages.at(index);
    let state = page.state();
    page.set_state(state.with_flags(state.flags() | PageFlags::SLAB).with_owner(owner_of(cache.number(), link::NIL)));
    let Some(slab) = Slab::at(memory, index) else { return };
    debug::set_up_slab(memory, &slab);
    let chain = (0..slab.objects).rev().fold(Chain::EMPTY, |chain, n| slab.push(memory, chain, n));
    slab.set_chain(memory, chain, true);
    cache.node(slab.node).count_in(slab.objects);
    count_pages(memory, &slab, 1 << state.order().get());
}

/// Linux: `mod_lruvec_page_state` of `NR_SLAB_RECLAIMABLE` or `NR_SLAB_UNRECLAIMABLE`.
fn count_pages<E: Env>(memory: &Memory<'_, E>, slab: &Slab<'_>, change: i64) {
    let reclaimable = slab.layout.flags.contains(CacheFlags::RECLAIM_ACCOUNT);
    let stat = if reclaimable { NodeStat::NrSlabReclaimable } else { NodeStat::NrSlabUnreclaimable };
    memory.node(slab.node).add_stat(stat, change);
}

/// Gives superfluous slabs back to the page allocator. No lock is held. Linux: `discard_slab`, `__free_slab`.
pub fn free_slabs<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, mut slabs: List) {
    while let Some((index, _)) = slabs.pop_front(&memory.pages) {
        free_slab(memory, current, index);
    }
}

fn free_slab<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, index: u32) {
    let Some(slab) = Slab::at(memory, index) else { return };
    let page = memory.pages.at(index);
    let state = page.state();
    let nr_pages = state.order().nr_pages();
    slab.cache.node(slab.node).count_out(slab.objects);
    count_pages(memory, &slab, -(nr_pages as i64));
    page.set_state(state.with_flags(state.flags() - PageFlags::SLAB).with_owner(current.task.pid()));
    current.task.add_reclaimed_slab(nr_pages);
    let freed = page_alloc::free_pages(memory, current, memory.pages.pfn(index), state.order().get());
    debug_assert_eq!(freed, Ok(true), "a slab has one reference");
}

/// Says that no slab could be had. Linux: `slab_out_of_memory`.
#[cold]
pub fn report_out_of_memory<E: Env>(memory: &Memory<'_, E>, cache: &KmemCache, gfp: Gfp, node: Option<NodeId>) {
    if gfp.contains(Gfp::__GFP_NOWARN) || memory.printed.slab.admit(memory.env.now_ns(), 5_000_000_000, 10).is_none() {
        return;
    }
    let layout = cache.layout();
    let node = node.map_or(-1, |node| node.index() as i64);
    log::warn!("SLUB: Unable to allocate memory on node {node}, gfp={}", gfp.mode());
    log::warn!(
        "  cache: {}, object size: {}, buffer size: {}, default order: {}, min order: {}",
        cache.name(),
        layout.object_size,
        layout.size,
        layout.order,
        layout.min_order
    );
    if Order::for_bytes(layout.object_size.into()).is_some_and(|order| layout.min_order > order) {
        log::warn!("  {} debugging increased min order, use slub_debug=O to disable.", cache.name());
    }
    for node in memory.online_nodes() {
        let slabs = cache.node(node.id);
        let free = slabinfo::free_objects(memory, cache, node.id);
        log::warn!("  node {}: slabs: {}, objs: {}, free: {free}", node.id, slabs.nr_slabs(), slabs.nr_objects());
    }
}
