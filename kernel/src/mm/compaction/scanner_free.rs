//! The free scanner: downwards through the zone, for free pages that others can move to.
//!
//! It looks into movable pageblocks only, so that what moves does not end up among what cannot, and leaves large free
//! blocks alone. It takes as many pages as wait to be moved, block by block, each only if the zone stays above its Min
//! watermark. Within a pageblock it goes up, so the lowest free pages of the highest pageblocks go first.
//!
//! Linux: `isolate_freepages`, `isolate_freepages_block`, `__isolate_free_page`, `compaction_alloc`.

use super::super::buddy::Buddy;
use super::super::fallback;
use super::super::memory::{Env, Hook, Memory};
use super::super::migrate::MigrateTargets;
use super::super::page::{Kind, PageFlags, PageState};
use super::super::swap;
use super::super::zone::{AllocFlags, Zone};
use super::control::{CLUSTER, CompactControl, block_end};
use super::mobility_is_off;
use super::scanner_migrate::{BREATH, is_worth_scanning};
use crate::addr::{Order, PAGEBLOCK_NR_PAGES, Pfn, PfnRange};
use crate::gfp::Gfp;
use crate::mmzone::{MigrateType, Watermark};
use crate::task::Current;
use crate::trace::compaction::Compaction;
use crate::vmstat::VmEvent;

/// Free pages of a walk as targets of migration: more are looked for when they run out.
pub(super) struct FreePages<'a, 'm, E: Env> {
    pub memory: &'a Memory<'m, E>,
    pub current: &'a Current<'a>,
    pub zone: &'a Zone,
    pub cc: &'a mut CompactControl,
}

impl<E: Env> MigrateTargets for FreePages<'_, '_, E> {
    /// Linux: `compaction_alloc`.
    fn take(&mut self) -> Option<u32> {
        if self.cc.nr_freepages == 0 && !self.cc.contended {
            isolate_freepages(self.memory, self.current, self.zone, self.cc);
        }
        self.cc.pop_free(&self.memory.pages)
    }

    /// Linux: `compaction_free`.
    fn put_back(&mut self, index: u32) {
        self.cc.push_free(&self.memory.pages, index);
    }
}

/// Takes free pages until there are as many as wait to be moved, or the scanners meet. Linux: `isolate_freepages`.
fn isolate_freepages<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, zone: &Zone, cc: &mut CompactControl) {
    let lowest = block_end(cc.migrate_pfn, Order::PAGEBLOCK);
    let mut block = cc.free_pfn.align_down(Order::PAGEBLOCK);
    let mut pfn = cc.free_pfn;
    while block >= lowest {
        if block.0.is_multiple_of(BREATH) && cc.should_abort(memory, current) {
            break;
        }
        let end = block.add(PAGEBLOCK_NR_PAGES).min(zone.span.end);
        if is_target(memory, cc, block) && is_worth_scanning(memory, cc, block) {
            pfn = isolate_block(memory, current, zone, cc, PfnRange::new(pfn, end));
            if cc.nr_freepages >= cc.nr_migratepages || cc.contended {
                if pfn >= end {
                    pfn = below(block);
                }
                break;
            }
            if pfn < end {
                break;
            }
        }
        block = below(block);
        pfn = block;
    }
    cc.free_pfn = pfn;
}

/// The pageblock below, or page 0 when there is none: a scanner there has met the other one in any case.
fn below(block: Pfn) -> Pfn {
    Pfn(block.0.saturating_sub(PAGEBLOCK_NR_PAGES))
}

/// Whether pages may move into the pageblock: it is not one large free block, and movable if that matters.
///
/// Linux: `suitable_migration_target`.
fn is_target<E: Env>(memory: &Memory<'_, E>, cc: &CompactControl, block: Pfn) -> bool {
    let index = memory.pages.index(block);
    let state = memory.blocks.state_of(&memory.pages, index);
    if state.is(Kind::Buddy) && state.order() >= Order::PAGEBLOCK {
        return false;
    }
    let migratetype = memory.blocks.of(index).migratetype();
    cc.ignore_block_suitable || matches!(migratetype, MigrateType::Movable | MigrateType::Cma)
}

/// Takes free blocks of `range`, which lies in one pageblock; where the scan ended. Linux: `isolate_freepages_block`.
fn isolate_block<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    zone: &Zone,
    cc: &mut CompactControl,
    range: PfnRange,
) -> Pfn {
    let mut scan = FreeScan { pfn: range.start, nr_scanned: 0, nr_isolated: 0, is_over: false };
    while scan.pfn < range.end && !scan.is_over {
        if scan.pfn.0.is_multiple_of(CLUSTER) && cc.should_abort(memory, current) {
            break;
        }
        let end = Pfn((scan.pfn.0 / CLUSTER + 1) * CLUSTER).min(range.end);
        scan_cluster(memory, current, zone, cc, end, &mut scan);
    }
    let reached = scan.pfn.min(range.end);
    let (scanned, nr_scanned, nr_taken) = (PfnRange::new(range.start, reached), scan.nr_scanned, scan.nr_isolated);
    memory.trace(current, || Compaction::MmCompactionIsolateFreepages { range: scanned, nr_scanned, nr_taken });
    if reached == range.end && nr_taken == 0 {
        memory.blocks.set_skip(memory.pages.index(range.start), true);
        zone.compact.lower_free(range.start);
    }
    cc.free_scanned += nr_scanned;
    memory.count(VmEvent::CompactIsolated, nr_taken);
    reached
}

/// Where the scan of a pageblock is, and what it came to.
struct FreeScan {
    pfn: Pfn,
    nr_scanned: u64,
    nr_isolated: u64,
    /// There are enough pages, or the zone may lose no more.
    is_over: bool,
}

/// Scans up to `end` with the zone locked.
fn scan_cluster<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    zone: &Zone,
    cc: &mut CompactControl,
    end: Pfn,
    scan: &mut FreeScan,
) {
    let pin = memory.pin();
    let mut guard = zone.free.lock(&pin);
    let mut buddy = zone.buddy(&mut guard, memory.pages, memory.blocks);
    while scan.pfn < end && !scan.is_over {
        scan.nr_scanned += 1;
        let index = memory.pages.index(scan.pfn);
        let state = memory.blocks.state_of(&memory.pages, index);
        let is_free = state.is(Kind::Buddy) && state.zone() == usize::from(zone.id);
        if !is_free {
            let is_compound = state.flags().contains(PageFlags::HEAD);
            scan.pfn = scan.pfn.add(if is_compound { state.order().nr_pages() } else { 1 });
        } else if isolate_free_page(memory, current, zone, &mut buddy, index, state) {
            let taken = state.order().nr_pages();
            (index..index + taken as u32).for_each(|page| cc.push_free(&memory.pages, page));
            scan.nr_isolated += taken;
            scan.pfn = scan.pfn.add(taken);
            scan.is_over = cc.nr_migratepages <= cc.nr_freepages;
        } else {
            scan.is_over = true;
        }
    }
}

/// Takes the free block at `index` apart if the zone may lose it; whether it may. Linux: `__isolate_free_page`.
fn isolate_free_page<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    zone: &Zone,
    buddy: &mut Buddy<'_, '_>,
    index: u32,
    state: PageState,
) -> bool {
    let order = state.order();
    let mark = zone.watermark(Watermark::Min) + order.nr_pages();
    if !zone.watermark_ok(Order::ZERO, mark, 0, AllocFlags::CMA) {
        return false;
    }
    buddy.take_apart(index, state, PageFlags::LOCKED, current.task.pid());
    zone.compact.count_taken(order.nr_pages());
    if order.get() + 1 >= Order::PAGEBLOCK.get() {
        make_movable(memory, buddy, index, order);
    }
    if memory.has(Hook::PageOwner) {
        let now = memory.env.now_ns();
        let pages = index..index + order.nr_pages() as u32;
        pages.for_each(|page| memory.page_owners.set(page, current.task, Gfp::__GFP_MOVABLE, now));
    }
    true
}

/// What is at least half of a pageblock makes it movable, unless it is set aside.
fn make_movable<E: Env>(memory: &Memory<'_, E>, buddy: &Buddy<'_, '_>, index: u32, order: Order) {
    let movable = fallback::pageblock_type(mobility_is_off(memory), MigrateType::Movable);
    for block in (index..index + order.nr_pages() as u32).step_by(PAGEBLOCK_NR_PAGES as usize) {
        let own = buddy.blocks.of(block).migratetype();
        if !matches!(own, MigrateType::Isolate | MigrateType::Cma | MigrateType::HighAtomic) {
            buddy.blocks.set_migratetype(block, movable);
        }
    }
}

/// Frees what is left of the free pages, and has the next free scanner look there. Linux: `release_freepages`.
pub(super) fn release_freepages<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    zone: &Zone,
    cc: &mut CompactControl,
) {
    let mut highest = None;
    while let Some(index) = cc.pop_free(&memory.pages) {
        highest = highest.max(Some(memory.pages.pfn(index)));
        memory.pages.at(index).clear_flags(PageFlags::LOCKED);
        swap::put_page(memory, current, index);
    }
    if let Some(highest) = highest {
        zone.compact.raise_free(highest.align_down(Order::PAGEBLOCK));
    }
}
