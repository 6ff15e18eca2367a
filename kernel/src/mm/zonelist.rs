//! Zonelists: in which order a node's requests try the zones of the machine.
//!
//! A list goes node by node, the near ones first, and within a node from the zone with the highest addresses down, so
//! that scarce low memory is used last. A node has two: one with all nodes, one with its own zones only for
//! `__GFP_THISNODE`. Linux: `struct zonelist`, `build_zonelists`.

use crate::mmzone::{MAX_NR_ZONES, MAX_NUMNODES, NodeMask};

/// One zone of a list: its number and its index in its node.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct ZoneRef {
    /// Number of the zone in the machine.
    pub zone: u8,
    /// Its index among the configured zones.
    pub index: u8,
}

impl ZoneRef {
    /// Whether the zone belongs to a node of `nodes`.
    #[inline(always)]
    pub fn is_in(self, nodes: NodeMask) -> bool {
        nodes.0 >> (usize::from(self.zone) / MAX_NR_ZONES) & 1 != 0
    }
}

/// The zones that a request may use, best first.
#[derive(Default)]
pub struct Zonelist {
    zones: [ZoneRef; MAX_NUMNODES * MAX_NR_ZONES],
    len: u8,
    /// For each zone index, where the first zone of at most that index stands.
    first: [u8; MAX_NR_ZONES],
}

impl Zonelist {
    /// The list of `zones`, best first.
    pub fn new(zones: impl Iterator<Item = ZoneRef>) -> Zonelist {
        let mut list = Zonelist::default();
        for zone in zones {
            list.zones[usize::from(list.len)] = zone;
            list.len += 1;
        }
        for index in 0..MAX_NR_ZONES {
            let position = list.all().iter().position(|zone| usize::from(zone.index) <= index);
            list.first[index] = position.map_or(list.len, |position| position as u8);
        }
        list
    }

    /// All zones of the list, best first.
    pub fn all(&self) -> &[ZoneRef] {
        &self.zones[..usize::from(self.len)]
    }

    /// Where the first zone with at most index `highest` stands; those behind it may have a higher index again.
    #[inline(always)]
    pub fn start(&self, highest: usize) -> usize {
        self.first.get(highest).map_or(0, |first| usize::from(*first))
    }

    /// The zone that stands at `position`; none behind the last.
    #[inline(always)]
    pub fn at(&self, position: usize) -> Option<ZoneRef> {
        if position < usize::from(self.len) { self.zones.get(position).copied() } else { None }
    }

    /// The zones from the first with at most index `highest` on.
    #[inline(always)]
    fn zones_from(&self, highest: usize) -> &[ZoneRef] {
        self.zones.get(self.start(highest)..usize::from(self.len)).unwrap_or_default()
    }

    /// The first zone of at most index `highest` on a node of `nodes`. Linux: `first_zones_zonelist`.
    #[inline(always)]
    pub fn first_eligible(&self, highest: usize, nodes: Option<NodeMask>) -> Option<ZoneRef> {
        match nodes {
            None => self.at(self.start(highest)),
            Some(_) => self.eligible(highest, nodes).next(),
        }
    }

    /// The zones of at most index `highest` on nodes of `nodes`, best first. Linux: `for_each_zone_zonelist_nodemask`.
    #[inline(always)]
    pub fn eligible(&self, highest: usize, nodes: Option<NodeMask>) -> impl Iterator<Item = ZoneRef> + '_ {
        let usable =
            move |zone: &ZoneRef| usize::from(zone.index) <= highest && nodes.is_none_or(|nodes| zone.is_in(nodes));
        self.zones_from(highest).iter().copied().filter(usable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mmzone::NodeId;

    /// Two nodes with three zones each; node 1's first zone has number 5.
    fn two_nodes() -> Zonelist {
        let zones = [(2, 2), (1, 1), (0, 0), (7, 2), (6, 1), (5, 0)];
        Zonelist::new(zones.into_iter().map(|(zone, index)| ZoneRef { zone, index }))
    }

    fn check(highest: usize, nodes: Option<NodeMask>, expected: &[u8]) {
        let list = two_nodes();
        assert_eq!(list.eligible(highest, nodes).map(|zone| zone.zone).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn higher_zones_are_skipped_on_every_node() {
        check(2, None, &[2, 1, 0, 7, 6, 5]);
        check(1, None, &[1, 0, 6, 5]);
        check(0, None, &[0, 5]);
    }

    #[test]
    fn nodemasks_choose_nodes() {
        check(1, Some(NodeMask::default().with(NodeId(1))), &[6, 5]);
        check(2, Some(NodeMask::default()), &[]);
    }

    #[test]
    fn an_empty_list_has_no_zone() {
        assert_eq!(Zonelist::new([].into_iter()).eligible(4, None).count(), 0);
    }
}
