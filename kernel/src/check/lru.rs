//! The invariants of reclaimable memory: LRU lists, isolated pages, and what the owners of pages know.

use super::invariants::differs;
use super::{Fault, Place, Totals, place_of};
use crate::mm::census;
use crate::mm::lru::{lru_of, node_stat, zone_stat};
use crate::mm::memory::{Env, Memory};
use crate::mm::node::Node;
use crate::mm::owner::{Mismatch, PageOwner};
use crate::mm::page::{Kind, PageFlags};
use crate::mmzone::MAX_NR_ZONES;
use crate::reclaim_types::LruList;
use crate::vmstat::NodeStat;

/// Every list can be walked, holds pages that belong there, and is as long as its node and its zones count.
pub(super) fn lists_are_counted<E: Env>(memory: &Memory<'_, E>, _: &Totals) -> Option<Fault> {
    memory.online_nodes().find_map(|node| LruList::ALL.into_iter().find_map(|lru| list_is_counted(memory, node, lru)))
}

fn list_is_counted<E: Env>(memory: &Memory<'_, E>, node: &Node, lru: LruList) -> Option<Fault> {
    let (place, mut of_zones, mut stranger) = (Place::Node(node.id), [0; MAX_NR_ZONES], None);
    let is_whole = node.with_lru(&memory.pin(), |lruvec| {
        let list = lruvec.list(lru);
        let is_whole = list.is_consistent(&memory.pages, memory.totalram());
        for index in list.iter(&memory.pages).take_while(|_| is_whole) {
            let state = memory.pages.at(index).state();
            let zone = memory.zone(state.zone());
            let belongs = state.is(Kind::Allocated)
                && state.count() > 0
                && state.flags().contains(PageFlags::LRU)
                && lru_of(state.flags()) == lru
                && zone.node == node.id;
            of_zones[zone.index] += 1;
            stranger = stranger.or((!belongs).then_some(memory.pages.pfn(index)));
        }
        is_whole
    });
    let counted = memory.zones_of(node.id).iter().find_map(|zone| {
        let found = zone.raw_stat(zone_stat(lru));
        differs(place_of(zone), lru.name(), found, of_zones[zone.index])
    });
    differs(place, "number of LRU lists that can be walked", u64::from(is_whole), 1)
        .or_else(|| stranger.map(|pfn| Fault { place: Place::Page(pfn), what: "list", found: 1, expected: 0 }))
        .or(counted)
        .or_else(|| differs(place, lru.name(), node.raw_stat(node_stat(lru)), of_zones.iter().sum()))
}

/// A page that is marked as being on a list is on one, and nothing is on its way.
pub(super) fn nothing_is_isolated<E: Env>(memory: &Memory<'_, E>, _: &Totals) -> Option<Fault> {
    memory.online_nodes().find_map(|node| {
        let (place, mut marked) = (Place::Node(node.id), 0);
        for zone in memory.zones_of(node.id).iter().filter(|zone| zone.is_populated()) {
            census::for_each_head(memory, zone, |_, state| {
                marked += u64::from(state.is(Kind::Allocated) && state.flags().contains(PageFlags::LRU));
            });
        }
        let listed = LruList::ALL.iter().fold(0, |sum: u64, &lru| sum.wrapping_add(node.raw_stat(node_stat(lru))));
        let isolated = |stat| move || differs(place, "number of isolated pages", node.raw_stat(stat), 0);
        differs(place, "number of pages marked as listed", marked, listed)
            .or_else(isolated(NodeStat::NrIsolatedAnon))
            .or_else(isolated(NodeStat::NrIsolatedFile))
    })
}

/// Those who own pages find that their tables agree with the pages and with the counters.
pub(super) fn owners_agree<E: Env>(memory: &Memory<'_, E>, _: &Totals) -> Option<Fault> {
    let mut first = None;
    memory.env.owner().audit(memory, &mut |Mismatch { page, what, found, expected }| {
        let place = page.map_or(Place::Machine, |index| Place::Page(memory.pages.pfn(index)));
        first.get_or_insert(Fault { place, what, found, expected });
    });
    first
}
