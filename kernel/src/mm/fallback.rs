//! When the lists of a migratetype are empty: whose pages to take, and whether to take their pageblock too.
//!
//! Requests fall back on other types in a fixed order, largest block first, so that the mixing of types in one pageblock
//! stays rare. A request that will take many pages steals the whole pageblock; one that mixes all the same *boosts* the
//! zone's watermarks, so that kswapd makes room and the next mixing becomes less likely. Pageblocks set aside for
//! high-order atomic requests live here too, since reserving one is the same move.
//!
//! Linux: `mm/page_alloc.c`, `__rmqueue_fallback`, `steal_suitable_fallback`, `reserve_highatomic_pageblock`.

use crate::sync::atomic::Ordering::Relaxed;
use core::ops::Range;

use super::buddy::Buddy;
use super::page::{Kind, PageFlags, PageState};
use super::zone::{AllocFlags, Zone};
use crate::addr::{Order, PAGEBLOCK_NR_PAGES};
use crate::mmzone::{MigrateType, Watermark};

/// What a fallback did, for the trace event `mm_page_alloc_extfrag`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fallback {
    /// Record index of the block that was found.
    pub index: u32,
    /// Its order.
    pub order: Order,
    /// The type whose list it was on.
    pub from: MigrateType,
    /// Whether its pageblock has the request's type now.
    pub change_ownership: bool,
}

/// What decides about a fallback besides the lists.
#[derive(Clone, Copy)]
pub struct FallbackControl {
    /// Record indices of the zone.
    pub limits: Range32,
    /// The sysctl `watermark_boost_factor`.
    pub boost_factor: u64,
    /// Whether the machine has too little memory to keep types apart.
    pub mobility_disabled: bool,
    /// Quirk Q3: whether zones of fewer than four pageblocks are boosted too.
    pub boost_small_zones: bool,
}

/// A `Copy` range of record indices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range32 {
    /// First index.
    pub start: u32,
    /// One past the last index.
    pub end: u32,
}

impl From<Range32> for Range<u32> {
    fn from(range: Range32) -> Range<u32> {
        range.start..range.end
    }
}

/// The types a request may fall back on, in order. Linux: `fallbacks`.
pub const fn fallbacks(migratetype: MigrateType) -> [MigrateType; 2] {
    match migratetype {
        MigrateType::Movable => [MigrateType::Reclaimable, MigrateType::Unmovable],
        MigrateType::Reclaimable => [MigrateType::Unmovable, MigrateType::Movable],
        _ => [MigrateType::Reclaimable, MigrateType::Movable],
    }
}

/// Moves free memory of another type to the lists of `migratetype`, so that taking `order` from there succeeds.
///
/// Linux: `__rmqueue_fallback`.
pub fn rmqueue_fallback(
    zone: &Zone,
    mut buddy: Buddy<'_, '_>,
    control: &FallbackControl,
    order: Order,
    migratetype: MigrateType,
    flags: AllocFlags,
) -> Option<Fallback> {
    let (found, from) = find_block(zone, control, order, migratetype, flags)?;
    let index = buddy.lists.list(found, from).first()?;
    let steal = can_steal(control.mobility_disabled, found, migratetype);
    steal_suitable(zone, &mut buddy, control, index, migratetype, flags, steal);
    let change_ownership = buddy.blocks.of(index).migratetype() == migratetype;
    Some(Fallback { index, order: found, from, change_ownership })
}

/// The largest block to fall back on; or the smallest, for a movable request that would not own the pageblock anyway.
fn find_block(
    zone: &Zone,
    control: &FallbackControl,
    order: Order,
    migratetype: MigrateType,
    flags: AllocFlags,
) -> Option<(Order, MigrateType)> {
    let lowest = if flags.contains(AllocFlags::NOFRAGMENT) { Order::PAGEBLOCK } else { order };
    let at = |order: Order| {
        let listed = |&from: &MigrateType| zone.counts.orders(from) >> order.get() & 1 != 0;
        fallbacks(migratetype).into_iter().find(listed).map(|from| (order, from))
    };
    let largest = lowest.and_above().rev().find_map(at)?;
    if !can_steal(control.mobility_disabled, largest.0, migratetype)
        && migratetype == MigrateType::Movable
        && largest.0 > order
    {
        return order.and_above().find_map(at);
    }
    Some(largest)
}

/// Whether a request of `order` and `migratetype` could fall back on a free block of just that order and own its
/// pageblock afterwards. Linux: `find_suitable_fallback` with `only_stealable`.
pub fn has_stealable(zone: &Zone, mobility_disabled: bool, order: Order, migratetype: MigrateType) -> bool {
    let listed = |&from: &MigrateType| zone.counts.orders(from) >> order.get() & 1 != 0;
    can_steal(mobility_disabled, order, migratetype) && fallbacks(migratetype).iter().any(listed)
}

/// Whether a fallback on a block of `order` may take the rest of its pageblock too. Linux: `can_steal_fallback`.
fn can_steal(mobility_disabled: bool, order: Order, migratetype: MigrateType) -> bool {
    order >= Order::PAGEBLOCK
        || order.get() >= Order::PAGEBLOCK.get() / 2
        || matches!(migratetype, MigrateType::Unmovable | MigrateType::Reclaimable)
        || mobility_disabled
}

/// Takes the block at `index`, or its whole pageblock, for `migratetype`. Linux: `steal_suitable_fallback`.
fn steal_suitable(
    zone: &Zone,
    buddy: &mut Buddy<'_, '_>,
    control: &FallbackControl,
    index: u32,
    migratetype: MigrateType,
    flags: AllocFlags,
    steal: bool,
) {
    let state = buddy.pages.at(index).state();
    let old = buddy.blocks.of(index).migratetype();
    if old == MigrateType::HighAtomic {
        return buddy.relink(index, state, migratetype);
    }
    if state.order() >= Order::PAGEBLOCK {
        buddy.set_pageblocks(index, state.order(), pageblock_type(control.mobility_disabled, migratetype));
        return buddy.relink(index, state, migratetype);
    }
    boost_watermark(zone, control);
    if flags.contains(AllocFlags::KSWAPD) {
        zone.set_boosted(true);
    }
    if !steal {
        return buddy.relink(index, state, migratetype);
    }
    steal_pageblock(buddy, control, index, old, migratetype);
}

/// Moves the free pages of the pageblock, and retypes it when at least half of it is free or alike.
fn steal_pageblock(
    buddy: &mut Buddy<'_, '_>,
    control: &FallbackControl,
    index: u32,
    old: MigrateType,
    migratetype: MigrateType,
) {
    let mut movable = 0;
    let in_use = |state: PageState| movable += u64::from(is_movable(state));
    let free = buddy.move_pageblock(index, &control.limits.into(), migratetype, in_use);
    if free == 0 {
        let state = buddy.pages.at(index).state();
        return buddy.relink(index, state, migratetype);
    }
    let alike = match (migratetype, old) {
        (MigrateType::Movable, _) => movable,
        (_, MigrateType::Movable) => PAGEBLOCK_NR_PAGES.saturating_sub(free + movable),
        _ => 0,
    };
    if free + alike >= PAGEBLOCK_NR_PAGES / 2 || control.mobility_disabled {
        buddy.blocks.set_migratetype(index, pageblock_type(control.mobility_disabled, migratetype));
    }
}

/// Whether a page in use can be migrated: it is on an LRU list or says so itself.
fn is_movable(state: PageState) -> bool {
    state.is(Kind::Allocated) && state.flags().intersects(PageFlags::LRU | PageFlags::MOVABLE)
}

/// The type a pageblock gets: without mobility grouping every retyped block is Unmovable. Linux:
/// `set_pageblock_migratetype`.
pub(super) fn pageblock_type(mobility_disabled: bool, migratetype: MigrateType) -> MigrateType {
    if mobility_disabled && (migratetype as usize) < MigrateType::PCPTYPES {
        MigrateType::Unmovable
    } else {
        migratetype
    }
}

/// Raises the zone's watermarks by a pageblock, up to the factor's share of High. Linux: `boost_watermark`.
fn boost_watermark(zone: &Zone, control: &FallbackControl) {
    if control.boost_factor == 0 || (!control.boost_small_zones && zone.managed() < 4 * PAGEBLOCK_NR_PAGES) {
        return;
    }
    let high = zone.stored_watermark(Watermark::High);
    let cap = super::wmark::mult_frac(high, control.boost_factor, 10_000);
    if cap == 0 {
        return;
    }
    let cap = cap.max(PAGEBLOCK_NR_PAGES);
    zone.set_boost((zone.boost() + PAGEBLOCK_NR_PAGES).min(cap));
}

/// Sets the pageblock of a page just allocated aside for high-order atomic requests, up to a hundredth of the zone.
///
/// Linux: `reserve_highatomic_pageblock`.
pub fn reserve_highatomic(zone: &Zone, buddy: &mut Buddy<'_, '_>, control: &FallbackControl, index: u32) {
    let reserved = zone.nr_reserved_highatomic();
    if reserved >= zone.managed() / 100 + PAGEBLOCK_NR_PAGES {
        return;
    }
    let old = buddy.blocks.of(index).migratetype();
    if matches!(old, MigrateType::HighAtomic | MigrateType::Isolate | MigrateType::Cma) {
        return;
    }
    zone.nr_reserved_highatomic.store(reserved + PAGEBLOCK_NR_PAGES, Relaxed);
    buddy.blocks.set_migratetype(index, MigrateType::HighAtomic);
    buddy.move_pageblock(index, &control.limits.into(), MigrateType::HighAtomic, |_| ());
}

/// Gives one reserved pageblock of the zone back to `migratetype`; whether any free page came of it.
///
/// Without `force` the last reserved pageblock stays. Linux: `unreserve_highatomic_pageblock`.
pub fn unreserve_highatomic(
    zone: &Zone,
    buddy: &mut Buddy<'_, '_>,
    control: &FallbackControl,
    migratetype: MigrateType,
    force: bool,
) -> bool {
    if !force && zone.nr_reserved_highatomic() <= PAGEBLOCK_NR_PAGES {
        return false;
    }
    for order in Order::all() {
        let Some(index) = buddy.lists.list(order, MigrateType::HighAtomic).first() else { continue };
        if buddy.blocks.of(index).migratetype() == MigrateType::HighAtomic {
            let reserved = zone.nr_reserved_highatomic();
            zone.nr_reserved_highatomic.store(reserved - PAGEBLOCK_NR_PAGES.min(reserved), Relaxed);
        }
        buddy.blocks.set_migratetype(index, pageblock_type(control.mobility_disabled, migratetype));
        if buddy.move_pageblock(index, &control.limits.into(), migratetype, |_| ()) > 0 {
            return true;
        }
    }
    false
}
