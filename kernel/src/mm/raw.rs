//! Pages taken straight from a zone's lists, past watermarks, reserves and per-CPU lists: how a lab sets the scene.
//!
//! The shell's `free to N` lowers a zone to an exact number of free pages with it, below every watermark if need be.
//! Pageblocks keep their types and nothing is boosted, so nothing but the count changes. Nothing in the allocator uses
//! this; there is no such function in Linux.

use super::memory::{Env, Hook, Memory};
use super::page::PageFlags;
use super::zone::Zone;
use crate::addr::{Order, Pfn, PfnRange};
use crate::gfp::Gfp;
use crate::mmzone::MigrateType;
use crate::task::Current;
use crate::vmstat::NumaStat;

/// Whose lists are used up first. Isolated pages are not free.
const ORDER_OF_TYPES: [MigrateType; 5] =
    [MigrateType::Unmovable, MigrateType::Reclaimable, MigrateType::Movable, MigrateType::HighAtomic, MigrateType::Cma];

/// Up to `max` single pages of `zone` in a row, for the task of `current`; `None` when the zone's lists are empty. One
/// after the other, these are the pages that as many requests for one page would get. Each is freed as any page is.
pub fn take_pages<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, zone: &Zone, max: u32) -> Option<PfnRange> {
    let pin = memory.pin();
    let mut guard = zone.free.lock(&pin);
    let mut buddy = zone.buddy(&mut guard, memory.pages, memory.blocks);
    let (run, migratetype) =
        ORDER_OF_TYPES.iter().find_map(|&migratetype| Some((buddy.take_pages(max, migratetype)?, migratetype)))?;
    let nr_pages = run.len() as u64;
    buddy.counts.count(migratetype, -(nr_pages as i64));
    let page = buddy.taken(Order::ZERO, migratetype).to_allocated(PageFlags::empty(), current.task.pid());
    run.clone().for_each(|index| memory.pages.at(index).set_state(page));
    count_alloc(memory, pin.cpu(), zone, nr_pages);
    if memory.has(Hook::PageOwner) {
        let now = memory.env.now_ns();
        run.clone().for_each(|index| memory.page_owners.set(index, current.task, Gfp::empty(), now));
    }
    let first = memory.pages.pfn(run.start);
    Some(PfnRange::new(first, Pfn(first.0 + nr_pages)))
}

/// Counts pages as asked of this zone one by one: they left it for a caller, and come back by the common way, which
/// counts `pgfree`. So what was allocated less what was freed stays what is in use, and `numa_hit` what was allocated.
fn count_alloc<E: Env>(memory: &Memory<'_, E>, cpu: usize, zone: &Zone, nr_pages: u64) {
    let pageset = zone.pageset(cpu);
    pageset.count_alloc(nr_pages);
    if !memory.has(Hook::NumaStatOff) {
        let local = zone.node == memory.cpu_node[cpu];
        pageset.count_numa(NumaStat::NumaHit, nr_pages);
        pageset.count_numa(if local { NumaStat::NumaLocal } else { NumaStat::NumaOther }, nr_pages);
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
        let runs: Vec<PfnRange> = core::iter::from_fn(|| take_pages(&memory, &current, zone, 1000)).collect();
        let pages: Vec<Pfn> = runs.iter().flat_map(|run| (run.start.0..run.end.0).map(Pfn)).collect();
        assert_eq!((pages.len(), zone.counts.free_pages()), (4096, 0));
        assert!(runs.iter().all(|run| run.nr_pages() <= 1000) && runs.len() > 4, "{runs:?}");
        assert_eq!((memory.blocks.of(0).migratetype(), zone.boost()), (pageblock, 0));
        assert_eq!(memory.zone_event(ZoneEvent::Pgalloc, zone.index), 4096);
        assert_eq!([NumaStat::NumaHit, NumaStat::NumaLocal].map(|stat| zone.numa(stat)), [4096; 2]);
        pages.iter().for_each(|&pfn| _ = page_alloc::free_page(&memory, &current, pfn).unwrap());
        assert_eq!(zone.counts.free_pages() + zone.pcp_pages(), 4096);
    }
}
