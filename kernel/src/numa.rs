//! Nodes: which memory and which processors belong together, and how far apart the groups are.
//!
//! [`init`] reads the device tree, gives every region of memblock its node, and answers with a [`Numa`]: the nodes that
//! exist and their distances. A tree that describes no nodes, or describes them badly, gives one node with everything.
//! [`build_node_order`] says in which order a node's requests try the other nodes; `mm/zonelist.rs` holds the result.
//! Linux: `arch/arm64/mm/numa.c`, `drivers/of/of_numa.c`, and `build_zonelists` in `mm/page_alloc.c`.
//!
//! Linux does more: ACPI tables, nodes that come and go, per-node data of its own.

use crate::devicetree::{DeviceTree, MemoryBank};
use crate::memblock::{AddrRange, ListFull, Memblock};
use crate::mmzone::{MAX_NUMNODES, NodeId, NodeMask};

/// Distance of a node to itself.
pub const LOCAL_DISTANCE: u8 = 10;
/// Distance between nodes of which nothing is known.
pub const REMOTE_DISTANCE: u8 = 20;

/// The nodes of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Numa {
    /// The nodes that exist; one may have no memory, only processors.
    pub online: NodeMask,
    distances: [[u8; MAX_NUMNODES]; MAX_NUMNODES],
}

impl Numa {
    /// `online` nodes, each as far from the other as by default.
    pub fn new(online: NodeMask) -> Numa {
        let row = |from| core::array::from_fn(|to| if from == to { LOCAL_DISTANCE } else { REMOTE_DISTANCE });
        Numa { online, distances: core::array::from_fn(row) }
    }

    /// How far memory of `to` is from processors of `from`; 10 means local. Not always symmetric.
    #[doc(alias = "node_distance")]
    pub fn distance(&self, from: NodeId, to: NodeId) -> u8 {
        self.distances[from.index()][to.index()]
    }

    /// All distances, from the row's node to the column's.
    pub fn distances(&self) -> &[[u8; MAX_NUMNODES]; MAX_NUMNODES] {
        &self.distances
    }

    /// The node of a processor whose `numa-node-id` is `id`: node 0 when that is absent or no node.
    #[doc(alias = "early_map_cpu_to_node")]
    pub fn node_of_cpu(&self, id: Option<u32>) -> NodeId {
        id.and_then(node_id).filter(|node| self.online.contains(*node)).unwrap_or_default()
    }

    /// Linux: `numa_set_distance`.
    fn set_distance(&mut self, from: u32, to: u32, distance: u32) {
        match (node_id(from), node_id(to), u8::try_from(distance)) {
            (Some(from), Some(to), Ok(distance)) => self.distances[from.index()][to.index()] = distance,
            (Some(_), Some(_), Err(_)) => {
                log::warn!("NUMA: Invalid distance parameter, from={from} to={to} distance={distance}");
            }
            _ => log::warn!("NUMA: Node ids are out of bound, from={from} to={to} distance={distance}"),
        }
    }
}

fn node_id(id: u32) -> Option<NodeId> {
    if (id as usize) < MAX_NUMNODES { Some(NodeId(id as u8)) } else { None }
}

/// Gives every region of memory its node. `off` is the boot argument `numa=off`.
#[doc(alias = "arm64_numa_init")]
pub fn init(memblock: &mut Memblock, tree: &DeviceTree<'_>, off: bool) -> Result<Numa, ListFull> {
    if off {
        log::info!("NUMA disabled");
    } else if let Some(numa) = from_tree(memblock, tree) {
        return Ok(numa);
    }
    log::info!("Faking a node at {}", memblock.dram());
    memblock.set_node(AddrRange::ALL, NodeId(0))?;
    Ok(Numa::new(NodeMask::default().with(NodeId(0))))
}

/// The tree's nodes; `None`, and a message, when they cannot be used.
fn from_tree(memblock: &mut Memblock, tree: &DeviceTree<'_>) -> Option<Numa> {
    let mut online = NodeMask::default();
    for id in tree.cpus().filter_map(|cpu| cpu.node) {
        online = known_node(id).map_or(online, |node| online.with(node));
    }
    for bank in tree.memory() {
        // A bank without a node stays without; `all_assigned` notices.
        if let Some(id) = bank.node {
            online = online.with(assign(memblock, bank, id)?);
        }
    }
    if online == NodeMask::default() {
        log::info!("No NUMA configuration found");
        return None;
    }
    let mut numa = Numa::new(online);
    read_distances(&mut numa, tree.distances())?;
    all_assigned(memblock).then_some(numa)
}

fn known_node(id: u32) -> Option<NodeId> {
    let node = node_id(id);
    if node.is_none() {
        log::warn!("OF: NUMA: Node id {id} exceeds maximum value");
    }
    node
}

/// Linux: `of_numa_parse_memory_nodes`, `numa_add_memblk`.
fn assign(memblock: &mut Memblock, bank: MemoryBank, id: u32) -> Option<NodeId> {
    let range = AddrRange::sized(bank.base, bank.size);
    let node = known_node(id).filter(|node| match memblock.set_node(range, *node) {
        Ok(()) => true,
        Err(full) => {
            log::error!("NUMA: {full}");
            false
        }
    });
    if node.is_none() {
        log::error!("OF: NUMA: bad property in memory node");
    }
    node
}

/// Linux: `of_numa_parse_distance_map_v1`.
fn read_distances(numa: &mut Numa, triples: impl Iterator<Item = (u32, u32, u32)>) -> Option<()> {
    for (from, to, distance) in triples {
        let local = u32::from(LOCAL_DISTANCE);
        let sound = if from == to { distance == local } else { distance > local };
        if !sound {
            log::error!("OF: NUMA: Invalid distance[node{from} -> node{to}] = {distance}");
            return None;
        }
        numa.set_distance(from, to, distance);
        if to > from {
            // The way back is as long, unless a later triple says otherwise.
            numa.set_distance(to, from, distance);
        }
    }
    Some(())
}

/// Linux: `numa_register_nodes`.
fn all_assigned(memblock: &Memblock) -> bool {
    let orphan = memblock.memory().iter().find(|region| region.node.is_none());
    if let Some(region) = orphan {
        let (start, last) = (region.range.start.0, region.range.end.0 - 1);
        log::warn!("NUMA: Warning: invalid memblk node {MAX_NUMNODES} [mem {start:#010x}-{last:#010x}]");
    }
    orphan.is_none()
}

/// The nodes that a node's requests try, best first; `None` after the last.
pub type NodeOrder = [Option<NodeId>; MAX_NUMNODES];

/// How much the lists built so far burden each node. All zero before the first list of a rebuild.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[doc(alias = "node_load")]
pub struct NodeLoad([u32; MAX_NUMNODES]);

/// The order for requests of `local`: itself, even without memory, then the other nodes with `memory`, near ones first.
///
/// Of equally near nodes those above `local` come first, then those without processors (`cpus`, empty when Linux builds
/// the lists at boot), then those that fewer lists name first: `load`, handed from list to list, rotates them.
#[doc(alias = "build_zonelists")]
#[doc(alias = "find_next_best_node")]
pub fn build_node_order(
    local: NodeId,
    numa: &Numa,
    memory: NodeMask,
    cpus: NodeMask,
    load: &mut NodeLoad,
) -> NodeOrder {
    let online = numa.online.0.count_ones();
    let cost = |node: NodeId, load: &NodeLoad| {
        let penalty = u32::from(node < local) + u32::from(cpus.contains(node));
        (u32::from(numa.distance(local, node)) + penalty) * online * MAX_NUMNODES as u32 + load.0[node.index()]
    };
    let mut order = NodeOrder::default();
    order[0] = Some(local);
    let (mut previous, mut weight) = (local, online);
    for rank in 1..MAX_NUMNODES {
        let unused = all_nodes().filter(|node| memory.contains(*node) && !order.contains(&Some(*node)));
        let Some(best) = unused.min_by_key(|node| cost(*node, load)) else {
            break;
        };
        weight = weight.saturating_sub(1);
        if numa.distance(local, best) != numa.distance(local, previous) {
            load.0[best.index()] = weight;
        }
        order[rank] = Some(best);
        previous = best;
    }
    order
}

/// The orders of all nodes that exist, as Linux builds them at boot; nothing for the others.
#[doc(alias = "build_all_zonelists")]
pub fn build_node_orders(numa: &Numa, memory: NodeMask) -> [NodeOrder; MAX_NUMNODES] {
    let (mut orders, mut load) = ([NodeOrder::default(); MAX_NUMNODES], NodeLoad::default());
    for node in all_nodes().filter(|node| numa.online.contains(*node)) {
        orders[node.index()] = build_node_order(node, numa, memory, NodeMask::default(), &mut load);
    }
    orders
}

fn all_nodes() -> impl Iterator<Item = NodeId> {
    (0..MAX_NUMNODES as u8).map(NodeId)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Distances as a square of numbers; a node for each row.
    fn numa(rows: &[&[u8]]) -> Numa {
        let mut numa = Numa::new(NodeMask((1 << rows.len()) - 1));
        for (from, row) in rows.iter().enumerate() {
            for (to, distance) in row.iter().enumerate() {
                numa.set_distance(from as u32, to as u32, u32::from(*distance));
            }
        }
        numa
    }

    /// The order of every online node, as digits.
    #[track_caller]
    fn check(numa: &Numa, memory: u8, cpus: u8, want: &[&str]) {
        let mut load = NodeLoad::default();
        let online = all_nodes().filter(|node| numa.online.contains(*node));
        let orders: Vec<NodeOrder> =
            online.map(|node| build_node_order(node, numa, NodeMask(memory), NodeMask(cpus), &mut load)).collect();
        let digits = |order: &NodeOrder| order.iter().flatten().map(ToString::to_string).collect::<String>();
        assert_eq!(orders.iter().map(digits).collect::<Vec<_>>(), want);
        if cpus == 0 {
            let all = build_node_orders(numa, NodeMask(memory));
            assert_eq!(all.iter().filter(|order| order[0].is_some()).copied().collect::<Vec<_>>(), orders);
        }
    }

    #[test]
    fn one_node() {
        check(&Numa::new(NodeMask(1)), 1, 0, &["0"]);
    }

    #[test]
    fn equally_far_nodes_rotate() {
        check(&Numa::new(NodeMask(0b11)), 0b11, 0, &["01", "10"]);
        check(&Numa::new(NodeMask(0b1111)), 0b1111, 0, &["0123", "1230", "2301", "3012"]);
    }

    #[test]
    fn load_decides_where_the_number_does_not() {
        // All of node 3's peers are below it: node 1, first in node 0's list, and 2, first in node 1's, are burdened.
        let mut load = NodeLoad([0, 3, 1, 0]);
        let order = build_node_order(NodeId(3), &Numa::new(NodeMask(0b1111)), NodeMask(0b1111), NodeMask(0), &mut load);
        assert_eq!(order, [3, 0, 2, 1].map(|n| Some(NodeId(n))));
        assert_eq!(load, NodeLoad([3, 3, 1, 0]));
    }

    #[test]
    fn distance_comes_before_number() {
        let far_1 = numa(&[&[10, 40, 20], &[40, 10, 30], &[20, 30, 10]]);
        check(&far_1, 0b111, 0, &["021", "120", "201"]);
    }

    #[test]
    fn a_node_without_memory_has_a_list_but_is_in_no_other() {
        check(&Numa::new(NodeMask(0b111)), 0b101, 0, &["02", "120", "20"]);
    }

    #[test]
    fn processors_are_a_small_penalty() {
        check(&Numa::new(NodeMask(0b111)), 0b111, 0b010, &["021", "120", "201"]);
    }

    #[test]
    fn distances_are_local_and_remote_by_default() {
        let numa = Numa::new(NodeMask(0b11));
        assert_eq!(numa.distance(NodeId(1), NodeId(1)), 10);
        assert_eq!(numa.distance(NodeId(0), NodeId(3)), 20);
    }

    #[test]
    fn a_triple_sets_both_ways_until_the_way_back_is_told() {
        let distance = |triples: &[(u32, u32, u32)]| {
            let mut numa = Numa::new(NodeMask(0b11));
            read_distances(&mut numa, triples.iter().copied())?;
            Some((numa.distance(NodeId(0), NodeId(1)), numa.distance(NodeId(1), NodeId(0))))
        };
        assert_eq!(distance(&[(0, 1, 30)]), Some((30, 30)));
        assert_eq!(distance(&[(0, 1, 30), (1, 0, 40)]), Some((30, 40)));
        assert_eq!(distance(&[(1, 0, 40)]), Some((20, 40)));
        assert_eq!(distance(&[(1, 0, 40), (0, 1, 30)]), Some((30, 30)));
        assert_eq!(distance(&[(0, 0, 10), (0, 1, 256), (9, 1, 30)]), Some((20, 20)));
        assert_eq!(distance(&[(0, 0, 11)]), None);
        assert_eq!(distance(&[(0, 1, 10)]), None);
    }

    #[test]
    fn processors_without_a_node_are_on_node_0() {
        let numa = Numa::new(NodeMask(0b10));
        let nodes = [None, Some(1), Some(2), Some(99)].map(|id| numa.node_of_cpu(id).0);
        assert_eq!(nodes, [0, 1, 0, 0]);
    }
}
