//! The steps that make room: reclaim and compaction on behalf of the request.
//!
//! Both run with `PF_MEMALLOC`, so that what they allocate themselves may use the reserves and does not come back here.
//! Linux: `__alloc_pages_direct_reclaim`, `__perform_reclaim`, `__alloc_pages_direct_compact`.

use super::{End, Outcome, SlowPath};
use crate::addr::Order;
use crate::mm::alloc_context::AllocContext;
use crate::mm::compaction;
use crate::mm::fallback;
use crate::mm::freelist;
use crate::mm::memory::{Env, Memory};
use crate::mm::sleep;
use crate::mm::vmscan;
use crate::reclaim_types::{CompactPriority, CompactResult};
use crate::task::{Current, TaskFlags};
use crate::trace::reasons::FlagsOrigin;
use crate::vmstat::VmEvent;

/// Reclaims for the request of `ac`; what [`vmscan::try_to_free_pages`] says. Linux: `__perform_reclaim`.
pub fn perform_reclaim<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, ac: &AllocContext<'_>) -> u64 {
    sleep::cond_resched(memory, current);
    current.task.take_reclaimed_slab();
    let nr_reclaimed = vmscan::try_to_free_pages(memory, &current.with(TaskFlags::PF_MEMALLOC), ac);
    sleep::cond_resched(memory, current);
    nr_reclaimed
}

impl<E: Env> SlowPath<'_, '_, '_, '_, E> {
    /// S8: reclaims 32 pages or so, and looks again; once more after pages were taken back that only some may use.
    pub(super) fn reclaim(&mut self) -> Outcome {
        self.progress = perform_reclaim(self.memory, self.current, self.ac) > 0;
        if !self.progress {
            return Ok(());
        }
        self.take(self.origin())?;
        self.unreserve_highatomic(false);
        freelist::drain_all_pages(self.memory, self.current);
        self.take(self.origin())
    }

    /// S4, S9: makes a block of the order out of scattered pages, and looks again.
    pub(super) fn compact(&mut self, priority: CompactPriority) -> Outcome {
        if self.ac.order == Order::ZERO {
            return Ok(());
        }
        let current = &self.current.with(TaskFlags::PF_MEMALLOC);
        self.compact_result = compaction::try_to_compact_pages(self.memory, current, self.ac, self.flags, priority);
        if self.compact_result <= CompactResult::INACTIVE {
            return Ok(());
        }
        self.memory.count(VmEvent::CompactStall, 1);
        let taken = self.take(self.origin());
        if let Err(End::Page(index)) = taken {
            let zone = self.memory.zone(self.memory.pages.at(index).state().zone());
            compaction::compacted_for(self.memory, self.current, zone, self.ac.order);
            self.memory.count(VmEvent::CompactSuccess, 1);
            return taken;
        }
        self.memory.count(VmEvent::CompactFail, 1);
        sleep::cond_resched(self.memory, self.current);
        Ok(())
    }

    /// Gives a pageblock that was set aside for high-order atomic requests back; whether any free page came of it.
    ///
    /// Linux: `unreserve_highatomic_pageblock`.
    pub(super) fn unreserve_highatomic(&self, force: bool) -> bool {
        let (memory, ac) = (self.memory, &self.ac);
        ac.zonelist.eligible(ac.highest, ac.nodemask).any(|zoneref| {
            let zone = memory.zone(usize::from(zoneref.zone));
            let (pin, control) = (memory.pin(), freelist::fallback_control(memory, zone));
            let mut guard = zone.free.lock(&pin);
            let mut buddy = zone.buddy(&mut guard, memory.pages, memory.blocks);
            fallback::unreserve_highatomic(zone, &mut buddy, &control, ac.migratetype, force)
        })
    }

    fn origin(&self) -> FlagsOrigin {
        if self.reserve_is_open() { FlagsOrigin::Reserves } else { FlagsOrigin::Mask }
    }
}
