//! The words of zones: zone types and profiles, migratetypes, watermarks, nodes.
//!
//! A [`Profile`] says which zone types are configured; a zone's *index* is its position in that list, and tables such
//! as `lowmem_reserve` are indexed by it. Linux: `include/linux/mmzone.h`, where the profile is the configuration.

use core::fmt;

/// Nodes at most (arm64's default `NODES_SHIFT` is 2).
pub const MAX_NUMNODES: usize = 4;
/// Zones of one node at most: those of the profile `full`.
pub const MAX_NR_ZONES: usize = 5;
/// Processors at most (a GICv2 reaches 8).
pub const NR_CPUS: usize = 8;

/// Kind of a zone, in the order of addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ZoneType {
    /// Reachable by devices with few address bits.
    Dma,
    /// Reachable by devices with 32 address bits.
    Dma32,
    /// Always in the linear map.
    Normal,
    /// Outside the linear map.
    HighMem,
    /// Only movable allocations.
    Movable,
}

impl ZoneType {
    /// Every type, lowest addresses first.
    pub const ALL: [ZoneType; MAX_NR_ZONES] =
        [ZoneType::Dma, ZoneType::Dma32, ZoneType::Normal, ZoneType::HighMem, ZoneType::Movable];

    /// The name in the /proc tables.
    pub const fn name(self) -> &'static str {
        match self {
            ZoneType::Dma => "DMA",
            ZoneType::Dma32 => "DMA32",
            ZoneType::Normal => "Normal",
            ZoneType::HighMem => "HighMem",
            ZoneType::Movable => "Movable",
        }
    }

    /// The suffix of per-zone counters in /proc/vmstat.
    pub const fn suffix(self) -> &'static str {
        match self {
            ZoneType::Dma => "dma",
            ZoneType::Dma32 => "dma32",
            ZoneType::Normal => "normal",
            ZoneType::HighMem => "high",
            ZoneType::Movable => "movable",
        }
    }
}

impl fmt::Display for ZoneType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which zone types a machine has, as if chosen when the kernel was configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Profile {
    /// Linux v5.0 on arm64, the reference: DMA32, Normal, Movable.
    #[default]
    Arm64V50,
    /// Linux 5.5 to 5.10 on arm64: DMA, DMA32, Normal, Movable.
    Arm64V55,
    /// 32-bit x86: DMA, Normal, HighMem, Movable.
    X86_32,
    /// Every type.
    Full,
}

impl Profile {
    /// Every profile, the reference first.
    pub const ALL: [Profile; 4] = [Profile::Arm64V50, Profile::Arm64V55, Profile::X86_32, Profile::Full];

    /// The name in the boot argument `zones=`.
    pub const fn name(self) -> &'static str {
        match self {
            Profile::Arm64V50 => "arm64-5.0",
            Profile::Arm64V55 => "arm64-5.5",
            Profile::X86_32 => "x86-32",
            Profile::Full => "full",
        }
    }

    /// The configured zone types by index. `highmem` adds HighMem to a profile that lacks it, as the boot argument
    /// `highmem=` does.
    pub const fn zones(self, highmem: bool) -> &'static [ZoneType] {
        use ZoneType::{Dma, Dma32, HighMem, Movable, Normal};
        match (self, highmem) {
            (Profile::Arm64V50, false) => &[Dma32, Normal, Movable],
            (Profile::Arm64V50, true) => &[Dma32, Normal, HighMem, Movable],
            (Profile::Arm64V55, false) => &[Dma, Dma32, Normal, Movable],
            (Profile::X86_32, _) => &[Dma, Normal, HighMem, Movable],
            (Profile::Arm64V55, true) | (Profile::Full, _) => &[Dma, Dma32, Normal, HighMem, Movable],
        }
    }
}

/// Mobility of the pages of a block, and of the pageblock that holds it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum MigrateType {
    /// Stays where it is.
    Unmovable = 0,
    /// Can be moved or reclaimed.
    Movable = 1,
    /// Can be reclaimed, not moved.
    Reclaimable = 2,
    /// Kept for high-order atomic requests.
    HighAtomic = 3,
    /// Kept for contiguous allocations, lent to movable ones.
    Cma = 4,
    /// Taken out of use.
    Isolate = 5,
}

impl MigrateType {
    /// Number of types.
    pub const COUNT: usize = 6;
    /// Number of types with a per-CPU list: Unmovable, Movable, Reclaimable.
    pub const PCPTYPES: usize = 3;
    /// Every type in the order of its number.
    pub const ALL: [MigrateType; MigrateType::COUNT] = [
        MigrateType::Unmovable,
        MigrateType::Movable,
        MigrateType::Reclaimable,
        MigrateType::HighAtomic,
        MigrateType::Cma,
        MigrateType::Isolate,
    ];

    /// The type with number `n`; `None` above 5.
    #[inline(always)]
    pub const fn from_u8(n: u8) -> Option<MigrateType> {
        Some(match n {
            0 => MigrateType::Unmovable,
            1 => MigrateType::Movable,
            2 => MigrateType::Reclaimable,
            3 => MigrateType::HighAtomic,
            4 => MigrateType::Cma,
            5 => MigrateType::Isolate,
            _ => return None,
        })
    }

    /// The name in /proc/pagetypeinfo.
    pub const fn name(self) -> &'static str {
        match self {
            MigrateType::Unmovable => "Unmovable",
            MigrateType::Movable => "Movable",
            MigrateType::Reclaimable => "Reclaimable",
            MigrateType::HighAtomic => "HighAtomic",
            MigrateType::Cma => "CMA",
            MigrateType::Isolate => "Isolate",
        }
    }

    /// The letter in the Mem-Info report.
    pub const fn letter(self) -> char {
        match self {
            MigrateType::Unmovable => 'U',
            MigrateType::Movable => 'M',
            MigrateType::Reclaimable => 'E',
            MigrateType::HighAtomic => 'H',
            MigrateType::Cma => 'C',
            MigrateType::Isolate => 'I',
        }
    }
}

impl fmt::Display for MigrateType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which watermark a check uses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Watermark {
    /// Below it only entitled requests go on.
    Min = 0,
    /// Below it kswapd is woken.
    Low = 1,
    /// Above it kswapd sleeps.
    High = 2,
}

impl Watermark {
    /// The name in events.
    pub const fn name(self) -> &'static str {
        match self {
            Watermark::Min => "min",
            Watermark::Low => "low",
            Watermark::High => "high",
        }
    }
}

/// Number of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct NodeId(pub u8);

impl NodeId {
    /// The node's array index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of nodes. Linux: `nodemask_t`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NodeMask(pub u8);

impl NodeMask {
    /// The set that has every node.
    pub const ALL: NodeMask = NodeMask((1 << MAX_NUMNODES) - 1);

    /// Whether `node` is in the set.
    pub const fn contains(self, node: NodeId) -> bool {
        self.0 >> node.0 & 1 != 0
    }

    /// The set with `node` added.
    #[must_use]
    pub const fn with(self, node: NodeId) -> NodeMask {
        NodeMask(self.0 | 1 << node.0)
    }

    /// The nodes that are in both.
    #[must_use]
    pub const fn and(self, other: NodeMask) -> NodeMask {
        NodeMask(self.0 & other.0)
    }

    /// How many nodes.
    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether a node is in both.
    pub const fn intersects(self, other: NodeMask) -> bool {
        self.0 & other.0 != 0
    }

    /// The nodes, lowest first.
    pub fn iter(self) -> impl Iterator<Item = NodeId> + Clone {
        (0..MAX_NUMNODES as u8).map(NodeId).filter(move |node| self.contains(*node))
    }

    /// The next node after `node`, and after the last the first. Linux: `next_node_in`.
    pub fn next_in(self, node: NodeId) -> Option<NodeId> {
        self.iter().find(|next| next.0 > node.0).or_else(|| self.iter().next())
    }

    /// The nodes that `text` lists as [`NodeMask`] prints them: `0-1,3`. Linux: `nodelist_parse`.
    pub fn parse(text: &str) -> Option<NodeMask> {
        let node = |word: &str| word.parse().ok().filter(|node| *node < MAX_NUMNODES as u8);
        text.split(',').try_fold(NodeMask(0), |nodes, part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (node(first)?, node(last)?);
            (first <= last).then(|| (first..=last).fold(nodes, |nodes, node| nodes.with(NodeId(node))))
        })
    }

    /// Whether every node of `other` is in the set.
    pub const fn contains_all(self, other: NodeMask) -> bool {
        other.0 & !self.0 == 0
    }
}

/// Nodes and ranges of nodes, `0-1,3`. Linux: `%*pbl`.
impl fmt::Display for NodeMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let has = |node: usize| node < MAX_NUMNODES && self.0 >> node & 1 != 0;
        for first in (0..MAX_NUMNODES).filter(|node| has(*node) && !(*node > 0 && has(*node - 1))) {
            let last = (first..MAX_NUMNODES).find(|node| !has(*node + 1)).unwrap_or(first);
            write!(f, "{separator}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_printed_as_ranges() {
        let text = |nodes| NodeMask(nodes).to_string();
        assert_eq!([0, 1, 0b11, 0b1011, 0b101].map(text), ["", "0", "0-1", "0-1,3", "0,2"]);
        assert_eq!(NodeMask::ALL.to_string(), format!("0-{}", MAX_NUMNODES - 1));
        assert!(NodeMask(3).contains_all(NodeMask(1)) && !NodeMask(1).contains_all(NodeMask(3)));
    }

    #[test]
    fn printed_nodes_are_parsed() {
        (1..16).map(NodeMask).for_each(|nodes| assert_eq!(NodeMask::parse(&nodes.to_string()), Some(nodes)));
        assert_eq!(NodeMask::parse("1-2,0,2"), Some(NodeMask(0b111)));
        for bad in ["", "4", "1-", "2-1", "0,", "a", "-1", "0-1-2"] {
            assert_eq!(NodeMask::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn after_the_last_node_comes_the_first() {
        let next = |nodes, node| NodeMask(nodes).next_in(NodeId(node)).map(|node| node.0);
        assert_eq!([next(0b1010, 0), next(0b1010, 1), next(0b1010, 3), next(0, 1)], [Some(1), Some(3), Some(1), None]);
    }
}
