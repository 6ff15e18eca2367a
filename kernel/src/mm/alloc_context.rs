//! What a request for pages is, once its mask is decoded.
//!
//! [`AllocContext`] is made once for each request and passed, unchanged, to everything that tries to serve it. Linux:
//! `struct alloc_context` in `mm/internal.h`.

use super::memory::{Env, Memory};
use super::zonelist::Zonelist;
use crate::addr::Order;
use crate::gfp::Gfp;
use crate::mmzone::{MigrateType, NodeId, NodeMask};
use crate::quirks::Quirk;

/// What a request is, from its mask on: the same for every zone that is tried. Linux: `struct alloc_context`.
pub struct AllocContext<'z> {
    /// The mask, less what is not allowed now.
    pub gfp: Gfp,
    /// Size of the block.
    pub order: Order,
    /// Index of the highest zone that the mask allows.
    pub highest: usize,
    /// The lists to take from.
    pub migratetype: MigrateType,
    /// The zones to try, best first.
    pub zonelist: &'z Zonelist,
    /// The nodes to use; `None` for all.
    pub nodemask: Option<NodeMask>,
    /// Node of the zone that the request would like best.
    pub preferred_node: NodeId,
    /// Number of that zone.
    pub preferred_zone: u8,
    /// Index of that zone: what the lowmem reserve of the others is held against.
    pub classzone: usize,
}

impl AllocContext<'_> {
    /// Chooses the zone that the request likes best; `None` when it may use none. Linux: `finalise_ac`.
    #[inline(always)]
    pub(super) fn prefer<E: Env>(&mut self, memory: &Memory<'_, E>) -> Option<()> {
        let preferred = self.zonelist.first_eligible(self.highest, self.nodemask)?;
        self.preferred_zone = preferred.zone;
        self.preferred_node = memory.zone(usize::from(preferred.zone)).node;
        let by_highest = memory.quirks.switched(Quirk::Classzone);
        self.classzone = if by_highest { self.highest } else { usize::from(preferred.index) };
        Some(())
    }
}
