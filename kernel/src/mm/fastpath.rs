//! The common case, written for its cost: a block from the zone that is tried first, with nothing unusual about it.
//!
//! [`alloc_page`] and [`alloc_block`] make the same checks in the same order as [`super::freelist`] does for that zone,
//! and give up, without a trace, as soon as anything else is needed: a hook, a second zone, a fallback, zeroing, a
//! report. The careful path then does the request from the start. Both must agree on every page; a test replays the same
//! operations with and without hooks and compares. What is rare is in functions of its own, called last, so that the
//! common case saves no registers.
//!
//! Costs are counted in instructions by the shell's `bench`; the page allocator's figure of merit is the order-0 pair.

use super::buddy::Buddy;
use super::freelist;
use super::memory::{BestZones, Env, Memory};
use super::page::PageFlags;
use super::zone::{AllocFlags, Zone};
use crate::addr::{Order, Pfn};
use crate::gfp::Gfp;
use crate::mmzone::MigrateType;
use crate::task::Current;

/// Masks with one of these take the careful path.
const UNUSUAL: Gfp = Gfp::__GFP_ZERO.union(Gfp::__GFP_THISNODE).union(Gfp::__GFP_NOFAIL).union(Gfp::__GFP_WRITE);

/// Whether the careful path has to look at the request.
#[inline(always)]
fn is_unusual<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, gfp: Gfp) -> bool {
    memory.hooks() | (gfp & (UNUSUAL | current.forbidden())).bits() != 0
}

/// Takes one page for a request that has no nodemask; `None` when the careful path has to look at it.
#[inline(always)]
pub(super) fn alloc_page<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    gfp: Gfp,
    best: &BestZones,
) -> Option<u32> {
    if is_unusual(memory, current, gfp) {
        return None;
    }
    let zone = memory.best_zone(best, gfp)?;
    if !zone.fast_ok(Order::ZERO) {
        return None;
    }
    match take_page(memory, current, zone, gfp) {
        Some(index) => Some(index),
        None => refill_and_take(memory, current, zone, gfp),
    }
}

/// Takes the first page of this CPU's list, if it has one that is as it must be.
#[inline(always)]
pub(super) fn take_page<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, zone: &Zone, gfp: Gfp) -> Option<u32> {
    let (pages, pin) = (memory.pages, memory.pin());
    let mut lists = zone.pcp.local(&pin);
    let pageset = lists.shared();
    let index = lists.take_from(&pages, pageset, gfp.mobility())?;
    let page = pages.at(index);
    let state = page.state();
    if !state.is_clean_pcp() {
        lists.put_on(&pages, pageset, index, gfp.mobility());
        return None;
    }
    page.set_state(state.to_allocated(PageFlags::empty(), current.task.pid()));
    pageset.count_plain_page();
    Some(index)
}

/// Fills the list of this CPU, if it is empty, and takes its first page.
#[inline(never)]
fn refill_and_take<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, zone: &Zone, gfp: Gfp) -> Option<u32> {
    let migratetype = gfp.migratetype()?;
    let kswapd = if gfp.contains(Gfp::__GFP_KSWAPD_RECLAIM) { AllocFlags::KSWAPD } else { AllocFlags::empty() };
    let pin = memory.pin();
    let mut lists = zone.pcp.local(&pin);
    if lists.list(migratetype).is_empty() {
        freelist::refill(memory, current, &pin, zone, migratetype, AllocFlags::WMARK_LOW | kswapd, &mut lists);
    }
    drop(lists);
    drop(pin);
    let index = take_page(memory, current, zone, gfp)?;
    freelist::wake_for_boost(memory, current, zone);
    Some(index)
}

/// Takes a block of order 1 or more; `None` when the careful path has to look at the request.
#[inline(always)]
pub(super) fn alloc_block<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    gfp: Gfp,
    order: u32,
    best: &BestZones,
) -> Option<u32> {
    if is_unusual(memory, current, gfp) {
        return None;
    }
    let (order, migratetype) = (Order::new(order)?, MigrateType::from_u8(gfp.mobility() as u8)?);
    let zone = memory.best_zone(best, gfp)?;
    if migratetype == MigrateType::HighAtomic || !zone.fast_ok(order) {
        return None;
    }
    match take_block(memory, current, zone, gfp, order, migratetype, |buddy| buddy.take_exact(order, migratetype)) {
        Some(index) => Some(index),
        None => split_and_take(memory, current, zone, gfp, order, migratetype),
    }
}

/// Cuts the block out of a larger one.
#[inline(never)]
fn split_and_take<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    zone: &Zone,
    gfp: Gfp,
    order: Order,
    migratetype: MigrateType,
) -> Option<u32> {
    take_block(memory, current, zone, gfp, order, migratetype, |buddy| buddy.take_unwritten(order, migratetype))
}

/// Hands out the block that `take` finds on the zone's lists.
#[inline(always)]
fn take_block<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    zone: &Zone,
    gfp: Gfp,
    order: Order,
    migratetype: MigrateType,
    take: impl FnOnce(&mut Buddy<'_, '_>) -> Option<u32>,
) -> Option<u32> {
    let (pages, pin) = (memory.pages, memory.pin());
    let mut guard = zone.free.lock(&pin);
    let mut buddy = zone.buddy(&mut guard, pages, memory.blocks);
    let index = take(&mut buddy)?;
    zone.counts.count(migratetype, -(order.nr_pages() as i64));
    let state = buddy.taken(order, migratetype).to_allocated(compound(gfp), current.task.pid());
    drop(guard);
    pages.at(index).set_state(state);
    zone.pageset(pin.cpu()).count_plain_block(order.nr_pages());
    Some(index)
}

/// The mark of a compound page, if the request wants one.
#[inline(always)]
fn compound(gfp: Gfp) -> PageFlags {
    if gfp.contains(Gfp::__GFP_COMP) { PageFlags::HEAD } else { PageFlags::empty() }
}

/// Puts a page back on the list of this CPU; `false`, with nothing done, when the careful path has to look at it.
#[inline(always)]
pub(super) fn free_page<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, pfn: Pfn) -> bool {
    let pages = memory.pages;
    let Some(index) = pages.checked_index(pfn) else { return false };
    let block = memory.blocks.of(index);
    if memory.hooks() != 0 || !block.is_written() {
        return false;
    }
    let page = pages.at(index);
    let state = page.state();
    let (Some(list), true) = (block.pcp_list(), state.is_freeable(0, 1)) else { return false };
    let zone = memory.zone(state.zone());
    page.set_state(state.to_free_pcp(list));
    let pin = memory.pin();
    let mut lists = zone.pcp.local(&pin);
    let pageset = lists.shared();
    pageset.count_free(1);
    let count = lists.put_on(&pages, pageset, index, list);
    drop(lists);
    drop(pin);
    if count >= zone.pcp_high() {
        freelist::drain_batch(memory, current, zone);
    }
    true
}

/// Puts a block of order 1 or more back; `false`, with nothing done, when the careful path has to look at it.
#[inline(always)]
pub(super) fn free_block<E: Env>(memory: &Memory<'_, E>, pfn: Pfn, order: u32) -> bool {
    let pages = memory.pages;
    let (Some(index), Some(order)) = (pages.checked_index(pfn), Order::new(order)) else { return false };
    let block = memory.blocks.of(index);
    if memory.hooks() != 0 || !(block.is_written() || order == Order::MAX && pfn.is_aligned(order)) {
        return false;
    }
    let state = pages.at(index).state();
    let (Some(list), true) = (block.pcp_list(), state.is_freeable(order.get(), 1)) else { return false };
    let Some(migratetype) = MigrateType::from_u8(list as u8) else { return false };
    let zone = memory.zone(state.zone());
    let pin = memory.pin();
    let mut guard = zone.free.lock(&pin);
    if !zone.buddy(&mut guard, pages, memory.blocks).free_alone(index, order, migratetype) {
        drop(guard);
        drop(pin);
        freelist::free_block(memory, index, state);
        return true;
    }
    drop(guard);
    zone.pageset(pin.cpu()).count_free(order.nr_pages());
    true
}
