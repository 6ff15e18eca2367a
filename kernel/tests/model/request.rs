//! [`Request`]: what is asked for at random, and what the allocator should make of it.

use kernel::addr::Order;
use kernel::gfp::{Gfp, ZoneTable};
use kernel::host::HostEnv;
use kernel::mm::alloc_context::AllocContext;
use kernel::mm::memory::{Hook, Memory};
use kernel::mm::zone::AllocFlags;
use kernel::mmzone::{MigrateType, NodeId, NodeMask, ZoneType};
use kernel::random::Random;

/// A request, as the caller knows it.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub gfp: Gfp,
    pub order: u32,
    pub node: NodeId,
    pub nodes: Option<NodeMask>,
    /// The flags, for a request that comes as from the slow path.
    pub flags: Option<AllocFlags>,
}

impl Request {
    /// A request on a machine with `nr_nodes` nodes.
    pub fn random(random: &mut Random, nr_nodes: usize) -> Request {
        let masks = [
            Gfp::GFP_KERNEL,
            Gfp::GFP_ATOMIC,
            Gfp::GFP_NOWAIT,
            Gfp::GFP_HIGHUSER,
            Gfp::GFP_HIGHUSER_MOVABLE,
            Gfp::GFP_HIGHUSER_MOVABLE,
            Gfp::GFP_TRANSHUGE_LIGHT,
            Gfp::GFP_KERNEL | Gfp::__GFP_RECLAIMABLE,
            Gfp::GFP_USER | Gfp::__GFP_MOVABLE,
            Gfp::GFP_DMA,
            Gfp::GFP_DMA32,
            Gfp::GFP_NOFS,
        ];
        let mut gfp = random.pick(&masks);
        for extra in [Gfp::__GFP_ZERO, Gfp::__GFP_COMP, Gfp::__GFP_THISNODE, Gfp::__GFP_DMA, Gfp::__GFP_RECLAIMABLE] {
            if random.one_in(12) {
                gfp |= extra;
            }
        }
        let order = match random.below(8) {
            0..5 => 0,
            5 => random.below(4),
            6 => random.below(7),
            _ => random.below(11),
        };
        let flags = [0x201, 0x240, 0x260, 0x230, 0x210, 0x250, 0x8, 0x4, 0x42, 0x2c0];
        let flags = random.one_in(8).then(|| AllocFlags::from_bits(random.pick(&flags)).unwrap());
        let nodes = random.one_in(10).then(|| NodeMask(random.below(4) as u8));
        let node = NodeId(random.below(nr_nodes as u64) as u8);
        Request { gfp, order: order as u32, node, nodes, flags: flags.filter(|_| nodes.is_none()) }
    }
}

/// Index of the highest zone that the mask allows, told by the names of zones.
pub fn highest_index(memory: &Memory<'_, HostEnv<'_>>, gfp: Gfp) -> usize {
    let index = |wanted| memory.zone_types().iter().position(|zone_type| *zone_type == wanted);
    let has = |bits: Gfp| gfp.contains(bits);
    let kinds = [Gfp::__GFP_DMA, Gfp::__GFP_DMA32, Gfp::__GFP_HIGHMEM].into_iter().filter(|kind| has(*kind)).count();
    let wanted = match () {
        () if kinds > 1 => return 0,
        () if has(Gfp::__GFP_DMA) => ZoneType::Dma,
        () if has(Gfp::__GFP_DMA32) => ZoneType::Dma32,
        () if has(Gfp::__GFP_HIGHMEM | Gfp::__GFP_MOVABLE) => ZoneType::Movable,
        () if has(Gfp::__GFP_HIGHMEM) => ZoneType::HighMem,
        () => ZoneType::Normal,
    };
    index(wanted).or(index(ZoneType::Normal)).unwrap()
}

/// What the allocator makes of the request; `None` when no zone may serve it at all.
pub fn context_of<'a>(memory: &'a Memory<'_, HostEnv<'_>>, request: &Request) -> Option<AllocContext<'a>> {
    let (gfp, node) = (request.gfp, memory.node(request.node));
    let zonelist = if gfp.contains(Gfp::__GFP_THISNODE) { &node.thisnode } else { &node.fallback };
    let highest = ZoneTable::new(memory.zone_types()).zone(gfp);
    let preferred = zonelist.first_eligible(highest, request.nodes)?;
    let grouped = !memory.has(Hook::MobilityOff);
    Some(AllocContext {
        gfp,
        order: Order::new(request.order)?,
        highest,
        migratetype: gfp.migratetype().map(|own| if grouped { own } else { MigrateType::Unmovable })?,
        zonelist,
        nodemask: request.nodes,
        preferred_node: memory.zone(usize::from(preferred.zone)).node,
        preferred_zone: preferred.zone,
        classzone: usize::from(preferred.index),
    })
}
