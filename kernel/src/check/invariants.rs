//! The invariants, a row each, and the functions that look.
//!
//! Every function answers with the first fault that it sees, or `None`. Neighbour: [`super::audit`] calls them.

use crate::sync::atomic::Ordering::Relaxed;

use super::{Fault, Invariant, Look, Place, ROWS, Totals, ZoneCount, lru, place_of};
use crate::addr::{Order, PAGEBLOCK_NR_PAGES, Pfn, PfnRange};
use crate::mm::census::FreeBlock;
use crate::mm::memory::{Env, Memory};
use crate::mm::node::Node;
use crate::mm::page::{Kind, PageFlags, PageState};
use crate::mm::wmark::mult_frac;
use crate::mm::zone::Zone;
use crate::mm::zonelist::Zonelist;
use crate::mmzone::{MAX_NR_ZONES, MAX_NUMNODES, MigrateType, Watermark};
use crate::vmstat::{VmEvent, ZoneEvent, ZoneStat};

/// Every invariant, in the order of the specification.
pub const fn table<E: Env>() -> [Invariant<E>; ROWS] {
    use Look::{Elsewhere, FreeBlock, Head, Machine, Zone};
    [
        row("I1", "nr_free is the number of blocks on the lists of an order", Zone(nr_free_is_listed)),
        row("I2", "a free block is aligned and inside its zone", FreeBlock(is_aligned_inside)),
        row("I3", "a free block's record says so", FreeBlock(record_says_free)),
        row("I4", "every page is in exactly one state", Zone(free_heads_are_listed)),
        row("I5", "NR_FREE_PAGES is what the lists hold", Zone(free_pages_are_listed)),
        row("I6", "managed pages are free, on per-CPU lists, allocated or bad", Zone(pages_add_up)),
        row("I7", "free buddies of one order are merged", FreeBlock(buddies_are_merged)),
        row("I8", "links of a list answer each other", Zone(lists_are_whole)),
        row("I9", "per-CPU lists hold what their counts say", Zone(pcp_counts_hold)),
        row("I10", "the highatomic reserve keeps its limit", Zone(reserve_is_limited)),
        warning("I10", "the highatomic reserve is its pageblocks", Zone(reserve_is_pageblocks)),
        row("I11", "Isolate and CMA blocks lie in such pageblocks", FreeBlock(lists_fit_pageblocks)),
        row("I12", "watermarks rise, and Min keeps within min_free_kbytes", Machine(watermarks_fit)),
        warning("I12", "the boost keeps the limit that its factor sets now", Machine(boosts_are_limited)),
        row("I13", "the lowmem reserve follows from its ratios", Machine(reserves_follow)),
        row("I14", "the total reserve is that of the nodes", Machine(totals_of_reserves)),
        row("I15", "spanned >= present >= managed; zones stand in order", Machine(zones_stand_in_order)),
        row("I16", "an allocated block is aligned, inside its zone, and referenced", Head(allocated_is_sane)),
        row(
            "I17",
            "freeing everything restores what was free",
            Elsewhere("I6, I7 and I18 when nothing is in use; tests: model"),
        ),
        row("I18", "allocated pages are those that were not given back", Machine(events_add_up)),
        row("I19", "no request goes below its threshold", Elsewhere("tests: reserve floors")),
        row("I20", "pfmemalloc marks come from NO_WATERMARKS", Elsewhere("tests: page preparation")),
        row("I21", "zonelists hold populated zones once each, own node first", Machine(zonelists_are_sound)),
        row("I22", "misuse of free is reported and changes nothing", Elsewhere("tests: misuse")),
        row("I23", "free pages keep their poison", Elsewhere("every allocation, when poisoning is on")),
        row("I24", "a compound head has an order", Head(compound_has_order)),
        row("I25", "no mask selects an unconfigured zone", Elsewhere("tests: zone tables")),
        row("I26", "LRU lists hold what their counters say", Machine(lru::lists_are_counted)),
        row("I27", "a page is on the LRU list that it names, and none is isolated", Machine(lru::nothing_is_isolated)),
        row("I28", "owners, pages and counters agree", Machine(lru::owners_agree)),
    ]
}

const fn row<E: Env>(id: &'static str, property: &'static str, look: Look<E>) -> Invariant<E> {
    Invariant { id, property, is_warning: false, look }
}

const fn warning<E: Env>(id: &'static str, property: &'static str, look: Look<E>) -> Invariant<E> {
    Invariant { id, property, is_warning: true, look }
}

pub(super) fn differs(place: Place, what: &'static str, found: u64, expected: u64) -> Option<Fault> {
    exceeds_or(found != expected, place, what, found, expected)
}

fn exceeds(place: Place, what: &'static str, found: u64, limit: u64) -> Option<Fault> {
    exceeds_or(found > limit, place, what, found, limit)
}

fn exceeds_or(is_wrong: bool, place: Place, what: &'static str, found: u64, expected: u64) -> Option<Fault> {
    is_wrong.then_some(Fault { place, what, found, expected })
}

fn nr_free_is_listed(count: &ZoneCount<'_>) -> Option<Fault> {
    Order::all().find_map(|order| {
        let listed = count.listed.iter().map(|blocks| blocks[order.index()]).sum();
        const WHAT: [&str; crate::addr::MAX_ORDER as usize] = [
            "nr_free of order 0",
            "nr_free of order 1",
            "nr_free of order 2",
            "nr_free of order 3",
            "nr_free of order 4",
            "nr_free of order 5",
            "nr_free of order 6",
            "nr_free of order 7",
            "nr_free of order 8",
            "nr_free of order 9",
            "nr_free of order 10",
        ];
        differs(count.place(), WHAT[order.index()], count.zone.counts.nr_free(order), listed)
    })
}

fn is_aligned_inside(zone: &Zone, block: &FreeBlock) -> Option<Fault> {
    let (place, last) = (Place::Page(block.pfn), block.pfn.add(block.order.nr_pages() - 1));
    differs(place, "first page", block.pfn.0, block.pfn.align_down(block.order).0)
        .or_else(|| differs(place, "first page inside", u64::from(zone.span.contains(block.pfn)), 1))
        .or_else(|| differs(place, "last page inside", u64::from(zone.span.contains(last)), 1))
}

fn record_says_free(zone: &Zone, block: &FreeBlock) -> Option<Fault> {
    let (place, state) = (Place::Page(block.pfn), block.state);
    differs(place, "kind", state.kind() as u64, Kind::Buddy as u64)
        .or_else(|| differs(place, "order", u64::from(state.order().get()), u64::from(block.order.get())))
        .or_else(|| differs(place, "list", state.migratetype() as u64, block.list as u64))
        .or_else(|| differs(place, "zone", state.zone() as u64, u64::from(zone.id)))
        .or_else(|| differs(place, "flags, owner or references", u64::from(!state.is_unused()), 0))
}

fn free_heads_are_listed(count: &ZoneCount<'_>) -> Option<Fault> {
    differs(count.place(), "number of free blocks by record", count.free_heads, count.listed_blocks())
}

fn free_pages_are_listed(count: &ZoneCount<'_>) -> Option<Fault> {
    let listed = count.free_pages() - count.listed_pages(MigrateType::Isolate);
    let cma = count.listed_pages(MigrateType::Cma);
    differs(count.place(), "nr_free_pages", count.zone.stat(ZoneStat::NrFreePages), listed)
        .or_else(|| differs(count.place(), "nr_free_cma", count.zone.stat(ZoneStat::NrFreeCma), cma))
}

fn pages_add_up(count: &ZoneCount<'_>) -> Option<Fault> {
    let sum = count.free_pages() + count.pcp_pages + count.allocated + count.bad;
    differs(count.place(), "sum of pages", sum, count.zone.managed())
}

fn buddies_are_merged(_: &Zone, block: &FreeBlock) -> Option<Fault> {
    let buddy = block.free_buddy?;
    let kept_apart = block.order >= Order::PAGEBLOCK
        && buddy != block.pageblock
        && (buddy == MigrateType::Isolate || block.pageblock == MigrateType::Isolate);
    let may_merge = block.order < Order::MAX && !kept_apart;
    differs(Place::Page(block.pfn), "number of free buddies", u64::from(may_merge), 0)
}

fn lists_are_whole(count: &ZoneCount<'_>) -> Option<Fault> {
    let pcp_broken = u64::from(count.own_pcp.1.is_none());
    differs(count.place(), "number of broken free lists", count.broken_lists, 0)
        .or_else(|| differs(count.place(), "number of broken per-CPU lists", pcp_broken, 0))
}

fn pcp_counts_hold(count: &ZoneCount<'_>) -> Option<Fault> {
    let (cpu, listed) = count.own_pcp;
    let own = u64::from(count.zone.pageset(cpu).count());
    differs(count.place(), "sum of per-CPU counts", count.zone.pcp_pages(), count.pcp_pages)
        .or_else(|| differs(count.place(), "count of this CPU", own, listed?))
        .or_else(|| differs(count.place(), "number of strange pages on this CPU's lists", count.strange_pcp, 0))
}

fn reserve_is_limited(count: &ZoneCount<'_>) -> Option<Fault> {
    let limit = count.zone.managed() / 100 + 2 * PAGEBLOCK_NR_PAGES - 1;
    exceeds(count.place(), "nr_reserved_highatomic", count.nr_reserved_highatomic, limit)
}

fn reserve_is_pageblocks(count: &ZoneCount<'_>) -> Option<Fault> {
    let pages = count.highatomic_blocks * PAGEBLOCK_NR_PAGES;
    differs(count.place(), "nr_reserved_highatomic", count.nr_reserved_highatomic, pages)
}

fn lists_fit_pageblocks(_: &Zone, block: &FreeBlock) -> Option<Fault> {
    let special = |migratetype| matches!(migratetype, MigrateType::Isolate | MigrateType::Cma);
    if block.order == Order::MAX || !(special(block.list) || special(block.pageblock)) {
        return None;
    }
    differs(Place::Page(block.pfn), "list", block.list as u64, block.pageblock as u64)
}

fn watermarks_fit<E: Env>(memory: &Memory<'_, E>, _: &Totals) -> Option<Fault> {
    let rising = memory.zones().find_map(|zone| {
        let [min, low, high] =
            [Watermark::Min, Watermark::Low, Watermark::High].map(|mark| zone.stored_watermark(mark));
        exceeds(place_of(zone), "watermark Min", min, low)
            .or_else(|| exceeds(place_of(zone), "watermark Low", low, high))
    });
    rising.or_else(|| {
        let lowmem = memory.zones().filter(|zone| !zone.is_highmem);
        let sum = lowmem.map(|zone| zone.stored_watermark(Watermark::Min)).sum();
        exceeds(Place::Machine, "sum of Min", sum, memory.sysctl.min_free_kbytes.load(Relaxed) / 4)
    })
}

/// By the factor as it is now: one that was lowered after the boost may be passed.
fn boosts_are_limited<E: Env>(memory: &Memory<'_, E>, _: &Totals) -> Option<Fault> {
    let factor = memory.sysctl.watermark_boost_factor.load(Relaxed);
    memory.zones().find_map(|zone| {
        let limit = mult_frac(zone.stored_watermark(Watermark::High), factor, 10_000);
        exceeds(place_of(zone), "boost", zone.boost(), limit.max(PAGEBLOCK_NR_PAGES))
    })
}

/// Equal to the sums, so 0 against the zone itself and those below, and never falling.
fn reserves_follow<E: Env>(memory: &Memory<'_, E>, _: &Totals) -> Option<Fault> {
    let ratios = memory.sysctl.lowmem_ratios();
    memory.online_nodes().find_map(|node| {
        let zones = memory.zones_of(node.id);
        zones.iter().zip(ratios).find_map(|(zone, ratio)| {
            (0..zones.len()).find_map(|above| {
                let upper = zones.get(zone.index + 1..=above).unwrap_or_default();
                let managed: u64 = upper.iter().map(Zone::managed).sum();
                let expected = managed.checked_div(u64::try_from(ratio).unwrap_or(0)).unwrap_or(0);
                differs(place_of(zone), "lowmem reserve", zone.lowmem_reserve(above), expected)
            })
        })
    })
}

fn totals_of_reserves<E: Env>(memory: &Memory<'_, E>, totals: &Totals) -> Option<Fault> {
    let sum = memory.online_nodes().map(Node::totalreserve).sum();
    differs(Place::Machine, "total reserve", memory.totalreserve(), sum)
        .or_else(|| exceeds(Place::Machine, "total reserve", sum, totals.managed))
}

fn zones_stand_in_order<E: Env>(memory: &Memory<'_, E>, _: &Totals) -> Option<Fault> {
    let sizes = memory.zones().find_map(|zone| {
        exceeds(place_of(zone), "number of present pages", zone.present, zone.span.nr_pages())
            .or_else(|| exceeds(place_of(zone), "number of managed pages", zone.managed(), zone.present))
    });
    sizes.or_else(|| {
        let zones = |node: &Node| memory.zones_of(node.id).iter().map(|zone| (place_of(zone), zone.span));
        memory.online_nodes().find_map(|node| spans_rise(zones(node)))
    })
}

fn spans_rise(zones: impl Iterator<Item = (Place, PfnRange)>) -> Option<Fault> {
    let mut end = Pfn(0);
    zones.filter(|(_, span)| !span.is_empty()).find_map(|(place, span)| {
        let below = core::mem::replace(&mut end, span.end);
        exceeds(place, "end of the zone below", below.0, span.start.0)
    })
}

fn allocated_is_sane(zone: &Zone, pfn: Pfn, state: PageState) -> Option<Fault> {
    let (place, last) = (Place::Page(pfn), pfn.add(state.order().nr_pages() - 1));
    let referenced = !state.is(Kind::Allocated) || state.count() > 0;
    differs(place, "first page", pfn.0, pfn.align_down(state.order()).0)
        .or_else(|| differs(place, "last page inside", u64::from(zone.span.contains(last)), 1))
        .or_else(|| differs(place, "zone", state.zone() as u64, u64::from(zone.id)))
        .or_else(|| differs(place, "kind of a head", u64::from(state.is(Kind::Tail)), 0))
        .or_else(|| differs(place, "being referenced", u64::from(referenced), 1))
}

fn compound_has_order(_: &Zone, pfn: Pfn, state: PageState) -> Option<Fault> {
    let single_head = state.flags().contains(PageFlags::HEAD) && state.order() == Order::ZERO;
    differs(Place::Page(pfn), "compound head of one page", u64::from(single_head), 0)
}

/// Everything managed was given to the allocator once at boot, and counted as freed. A page found bad while it was being
/// freed was neither; a page that compaction took off the free lists was not counted as allocated.
fn events_add_up<E: Env>(memory: &Memory<'_, E>, totals: &Totals) -> Option<Fault> {
    let zones = 0..memory.zone_types().len();
    let allocations: u64 = zones.map(|index| memory.zone_event(ZoneEvent::Pgalloc, index)).sum();
    let taken: u64 = memory.zones().map(|zone| zone.compact.taken()).sum();
    let held = (allocations + taken + memory.totalram()).wrapping_sub(memory.event(VmEvent::Pgfree));
    exceeds(Place::Machine, "number of allocated pages", totals.allocated, held)
        .or_else(|| exceeds(Place::Machine, "pgalloc less pgfree since boot", held, totals.allocated + memory.leaked()))
}

fn zonelists_are_sound<E: Env>(memory: &Memory<'_, E>, _: &Totals) -> Option<Fault> {
    memory.online_nodes().find_map(|node| {
        zonelist_is_sound(memory, node, &node.fallback).or_else(|| zonelist_is_sound(memory, node, &node.thisnode))
    })
}

fn zonelist_is_sound<E: Env>(memory: &Memory<'_, E>, node: &Node, list: &Zonelist) -> Option<Fault> {
    let place = Place::Node(node.id);
    let own_is_populated = memory.zones_of(node.id).iter().any(Zone::is_populated);
    let mut seen = [false; MAX_NUMNODES * MAX_NR_ZONES];
    let mut before: Option<&Zone> = None;
    for zoneref in list.all() {
        let zone = memory.zone(usize::from(zoneref.zone));
        let again = core::mem::replace(&mut seen[usize::from(zoneref.zone)], true);
        let same_node = before.filter(|before| before.node == zone.node);
        let is_sound = zone.is_populated()
            && !again
            && usize::from(zoneref.index) == zone.index
            && same_node.is_none_or(|before| before.index > zone.index)
            && (before.is_some() || !own_is_populated || zone.node == node.id);
        if !is_sound {
            return differs(place, "number of zones out of place in a zonelist", 1, 0);
        }
        before = Some(zone);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{HostEnv, HostMachine};

    fn order(order: u32) -> Order {
        Order::new(order).unwrap()
    }

    /// A machine with one zone.
    fn machine() -> HostMachine {
        HostMachine::new("", &[(0x4000_0000, 64 << 20, 0)], &[])
    }

    fn check_zone(is_found: bool, look: fn(&ZoneCount<'_>) -> Option<Fault>, change: impl FnOnce(&mut ZoneCount<'_>)) {
        let machine = machine();
        let memory = machine.memory();
        let mut count = ZoneCount::of(memory.populated_zones().next().unwrap());
        count.own_pcp = (0, Some(0));
        change(&mut count);
        assert_eq!(look(&count).is_some(), is_found);
    }

    #[test]
    fn per_cpu_pages_are_counted_twice() {
        check_zone(false, pcp_counts_hold, |_| ());
        check_zone(true, pcp_counts_hold, |count| count.pcp_pages = 1);
        check_zone(true, pcp_counts_hold, |count| count.own_pcp = (0, Some(1)));
        check_zone(true, pcp_counts_hold, |count| count.strange_pcp = 1);
        check_zone(true, lists_are_whole, |count| count.own_pcp = (0, None));
    }

    #[test]
    fn the_highatomic_reserve_ends_at_a_hundredth_and_two_pageblocks() {
        check_zone(false, reserve_is_limited, |count| count.nr_reserved_highatomic = 163 + 1023);
        check_zone(true, reserve_is_limited, |count| count.nr_reserved_highatomic = 163 + 1024);
        check_zone(false, reserve_is_pageblocks, |count| {
            (count.nr_reserved_highatomic, count.highatomic_blocks) = (1024, 2);
        });
    }

    fn check_buddies(is_found: bool, at: u32, pageblock: MigrateType, free_buddy: Option<MigrateType>) {
        let machine = machine();
        let memory = machine.memory();
        let zone = memory.populated_zones().next().unwrap();
        let state = PageState::new(Kind::Buddy, order(at), MigrateType::Movable, 0);
        let list = MigrateType::Movable;
        let block = FreeBlock { pfn: Pfn(0x40000), order: order(at), list, state, pageblock, free_buddy };
        assert_eq!(buddies_are_merged(zone, &block).is_some(), is_found);
    }

    #[test]
    fn only_isolation_and_the_largest_order_keep_buddies_apart() {
        use MigrateType::{Isolate, Movable, Unmovable};
        check_buddies(false, 3, Movable, None);
        check_buddies(true, 3, Movable, Some(Movable));
        check_buddies(true, 8, Movable, Some(Isolate));
        check_buddies(true, 9, Movable, Some(Unmovable));
        check_buddies(false, 9, Movable, Some(Isolate));
        check_buddies(false, 9, Isolate, Some(Movable));
        check_buddies(true, 9, Isolate, Some(Isolate));
        check_buddies(false, 10, Movable, Some(Movable));
    }

    #[test]
    fn zones_may_touch_but_not_overlap() {
        let check = |spans: &[(u64, u64)]| {
            let spans = spans.iter().map(|&(start, end)| (Place::Machine, PfnRange::new(Pfn(start), Pfn(end))));
            spans_rise(spans).map(|fault| (fault.found, fault.expected))
        };
        assert_eq!(check(&[(16, 32), (0, 0), (32, 64)]), None);
        assert_eq!(check(&[(16, 32), (0, 0), (31, 64)]), Some((32, 31)));
    }

    #[test]
    fn events_tell_how_much_is_allocated() {
        let machine = machine();
        let memory = machine.memory();
        let check = |allocated| events_add_up::<HostEnv>(&memory, &Totals { allocated, ..Totals::default() });
        assert!(check(0).is_none());
        assert!(check(1).is_some());
    }

    #[test]
    fn the_reserve_is_within_what_is_managed() {
        let machine = machine();
        let memory = machine.memory();
        let check = |managed| totals_of_reserves::<HostEnv>(&memory, &Totals { managed, ..Totals::default() });
        assert!(check(memory.totalreserve()).is_none());
        assert!(check(memory.totalreserve() - 1).is_some());
    }
}
