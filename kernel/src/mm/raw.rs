//! Pages taken straight from a zone's lists, past watermarks, reserves and per-CPU lists: how a lab sets the scene.
//!
//! The shell's `free to N` lowers a zone to an exact number of free pages with it, below every watermark if need be.
//! Pageblocks keep their types and nothing is boosted, so nothing but the count changes. Nothing in the allocator uses
//! this; there is no such function in Linux.

use super::memory::{Env, Hook, Memory};
use super::page::PageFlags;
use super::zone::Zone;
use crate::addr::{Order, Pfn};
use crate::gfp::Gfp;
use crate::mmzone::MigrateType;
use crate::task::Current;
use crate::vmstat::NumaStat;

/// Whose lists are used up first. Isolated pages are not free.
const ORDER_OF_TYPES: [MigrateType; 5] =
    [MigrateType::Unmovable, MigrateType::Reclaimable, MigrateType::Movable, MigrateType::HighAtomic, MigrateType::Cma];

/// One page of `zone` for the task of `current`, while the zone has one on its lists; freed as any other page is.
pub fn take_page<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, zone: &Zone) -> Option<Pfn> {
    let pin = memory.pin();
    let mut guard = zone.free.lock(&pin);
    let mut buddy = zone.buddy(&mut guard, memory.pages, memory.blocks);
    let index = ORDER_OF_TYPES.iter().find_map(|&migratetype| buddy.take(Order::ZERO, migratetype))?;
    let page = memory.pages.at(index);
    buddy.counts.count(page.state().migratetype(), -1);
    page.set_state(page.state().to_allocated(PageFlags::empty(), current.task.pid()));
    count_alloc(memory, pin.cpu(), zone);
    if memory.has(Hook::PageOwner) {
        memory.page_owners.set(index, current.task, Gfp::empty(), memory.env.now_ns());
    }
    Some(memory.pages.pfn(index))
}

/// Counts the page as one that was asked of this zone: it left it for a caller, and comes back by the common way, which
/// counts `pgfree`. So what was allocated less what was freed stays what is in use, and `numa_hit` what was allocated.
fn count_alloc<E: Env>(memory: &Memory<'_, E>, cpu: usize, zone: &Zone) {
    let pageset = zone.pageset(cpu);
    pageset.count_alloc(1);
    if !memory.has(Hook::NumaStatOff) {
        let local = zone.node == memory.cpu_node[cpu];
        pageset.count_numa(NumaStat::NumaHit);
        pageset.count_numa(if local { NumaStat::NumaLocal } else { NumaStat::NumaOther });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::page_alloc;
    use crate::mm::testing::HostMachine;
    use crate::task::TaskTable;
    use crate::vmstat::ZoneEvent;

    #[test]
    fn the_last_page_can_be_taken_and_given_back() {
        let machine = HostMachine::new("", &[(0x4000_0000, 16 << 20, 0)], &[]);
        let (memory, tasks) = (machine.memory(), TaskTable::new("sh"));
        let current = Current::new(tasks.init());
        let zone = memory.populated_zones().next().unwrap();
        let pageblock = memory.blocks.of(0).migratetype();
        let pages: Vec<Pfn> = core::iter::from_fn(|| take_page(&memory, &current, zone)).collect();
        assert_eq!((pages.len(), zone.counts.free_pages()), (4096, 0));
        assert_eq!((memory.blocks.of(0).migratetype(), zone.boost()), (pageblock, 0));
        assert_eq!(memory.zone_event(ZoneEvent::Pgalloc, zone.index), 4096);
        assert_eq!([NumaStat::NumaHit, NumaStat::NumaLocal].map(|stat| zone.numa(stat)), [4096; 2]);
        pages.iter().for_each(|&pfn| _ = page_alloc::free_page(&memory, &current, pfn).unwrap());
        assert_eq!(zone.counts.free_pages() + zone.pcp_pages(), 4096);
    }
}
