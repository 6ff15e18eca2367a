//! Where Movable starts on each node: `kernelcore=`, `movablecore=`, `movable_node`.

use crate::addr::{Order, PAGE_SHIFT, Pfn, PfnRange};
use crate::bootargs::{BootArgs, CoreSize};
use crate::memblock::{Memblock, RegionFlags};
use crate::mmzone::{MAX_NUMNODES, NodeId};

use super::{ZoneLimits, node_pages};

/// By node; 0 means that none was found, as in Linux.
type Starts = [Pfn; MAX_NUMNODES];

/// The first page of Movable by node, a multiple of a maximal block. Linux: `find_zone_movable_pfns_for_nodes`.
pub(super) fn starts(memblock: &Memblock, args: &BootArgs<'_>, limits: &ZoneLimits) -> [Option<Pfn>; MAX_NUMNODES] {
    let starts = if args.movable_node {
        unpluggable_starts(memblock)
    } else {
        let total = memblock.page_ranges().map(|(pages, _)| pages.nr_pages()).sum();
        match core_pages(args, total) {
            Some(core) => spread_core(memblock, core, limits.range(limits.movable_zone()).start),
            None => Starts::default(),
        }
    };
    starts.map(|start| Some(start.align_up(Order::MAX)).filter(|pfn| pfn.0 != 0))
}

/// With `movable_node`: the lowest memory of the node that can be unplugged.
fn unpluggable_starts(memblock: &Memblock) -> Starts {
    let mut starts = Starts::default();
    for region in memblock.memory().iter().filter(|r| r.flags.contains(RegionFlags::HOTPLUG)) {
        let start = &mut starts[region.node.unwrap_or_default().index()];
        if start.0 == 0 {
            *start = region.range.start.pfn();
        }
    }
    starts
}

/// Pages that must stay out of Movable; `None` when there is no Movable.
fn core_pages(args: &BootArgs<'_>, total: u64) -> Option<u64> {
    let pages = |size| match size {
        CoreSize::Bytes(bytes) => bytes >> PAGE_SHIFT,
        CoreSize::Percent(percent) => total * 100 * u64::from(percent) / 10000,
    };
    let mut core = args.kernelcore.map_or(0, pages);
    let movable = args.movablecore.map_or(0, pages);
    if movable != 0 {
        core = core.max(total - Pfn(movable).align_up(Order::MAX).0.min(total));
    }
    Some(core).filter(|core| (1..total).contains(core))
}

/// Spreads `core` pages as evenly over the nodes as they can hold them. What lies below `floor`, where the zone that
/// Movable is cut from starts, is core anyway.
fn spread_core(memblock: &Memblock, mut core: u64, floor: Pfn) -> Starts {
    let mut starts = Starts::default();
    let nodes = || (0..MAX_NUMNODES as u8).map(NodeId).filter(|n| node_pages(memblock, *n).next().is_some());
    let mut usable_nodes = nodes().count() as u64;
    loop {
        let mut share = core / usable_nodes;
        for node in nodes() {
            if core < share {
                share = core / usable_nodes;
            }
            let mut rest = Rest { node: share, all: core };
            starts[node.index()] = rest.take_from(node_pages(memblock, node), starts[node.index()], floor);
            core = rest.all;
        }
        // A node that was too small leaves some over: again, with larger shares for the others.
        usable_nodes -= 1;
        if usable_nodes == 0 || core <= usable_nodes {
            return starts;
        }
    }
}

/// Core pages still to be found.
struct Rest {
    /// On this node.
    node: u64,
    /// On all nodes.
    all: u64,
}

impl Rest {
    /// Takes pages of the node from `start` on; returns where its Movable then starts.
    fn take_from(&mut self, regions: impl Iterator<Item = PfnRange>, mut start: Pfn, floor: Pfn) -> Pfn {
        for region in regions {
            let free = PfnRange::new(region.start.max(start), region.end);
            if free.is_empty() {
                continue;
            }
            self.take(PfnRange::new(free.start, free.end.min(floor)).nr_pages());
            let above = PfnRange::new(free.start.max(floor), free.end);
            if above.is_empty() {
                start = free.end;
                continue;
            }
            let taken = above.nr_pages().min(self.node);
            self.take(taken);
            start = above.start.add(taken);
            if self.node == 0 {
                break;
            }
        }
        start
    }

    fn take(&mut self, pages: u64) {
        self.node = self.node.saturating_sub(pages);
        self.all = self.all.saturating_sub(pages);
    }
}
