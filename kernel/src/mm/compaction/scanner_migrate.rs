//! The migrate scanner: upwards through the zone, for pages that can move.
//!
//! It takes up to 32 pages from one pageblock at a time. A request that cannot wait is picky: it looks only at pageblocks
//! of its own type, and at the first page that cannot move gives up on the block of its order around it, for that block
//! will not become free. A pageblock that gave nothing is marked to be skipped next time.
//!
//! Linux: `isolate_migratepages`, `isolate_migratepages_block`.
//! Linux does more: it skips holes inside a pageblock without counting them as scanned.

use super::super::memory::{Env, Memory};
use super::super::migrate::Isolated;
use super::super::owner::PageOwner;
use super::super::page::{Kind, PageFlags, PageState};
use super::super::sleep;
use super::super::zone::Zone;
use super::control::{CLUSTER, CompactControl, block_end};
use super::{is_called_off, may_move_unevictable};
use crate::addr::{Order, PAGEBLOCK_NR_PAGES, Pfn, PfnRange};
use crate::gfp::Gfp;
use crate::mmzone::MigrateType;
use crate::reclaim_types::MigrateMode;
use crate::task::Current;
use crate::trace::compaction::Compaction;
use crate::vmstat::{NodeStat, VmEvent};

/// What the migrate scanner came to. Linux: `isolate_migrate_t`.
pub(super) enum IsolateMigrate {
    /// The walk must end.
    Abort,
    /// No page, but the scanner went on.
    None,
    /// There are pages to move.
    Success,
}

/// Pageblocks, in pages, after which a scanner that finds none worth scanning lets others run.
pub(super) const BREATH: u64 = CLUSTER * PAGEBLOCK_NR_PAGES;

/// Takes pages from the first pageblock from the migrate scanner on that is worth scanning. Linux:
/// `isolate_migratepages`.
pub(super) fn isolate_migratepages<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    zone: &Zone,
    cc: &mut CompactControl,
) -> IsolateMigrate {
    let mut pfn = cc.migrate_pfn;
    let mut end = block_end(pfn, Order::PAGEBLOCK);
    while end <= cc.free_pfn {
        if pfn.0.is_multiple_of(BREATH) && cc.should_abort(memory, current) {
            break;
        }
        if is_worth_scanning(memory, cc, pfn) && is_source(memory, cc, pfn) {
            match isolate_block(memory, current, zone, cc, PfnRange::new(pfn, end)) {
                Some(reached) if !cc.contended => pfn = reached,
                _ => return IsolateMigrate::Abort,
            }
            break;
        }
        (pfn, end) = (end, end.add(PAGEBLOCK_NR_PAGES));
    }
    cc.migrate_pfn = pfn;
    if cc.migratepages.is_empty() { IsolateMigrate::None } else { IsolateMigrate::Success }
}

/// Whether the pageblock of `pfn` has memory, and gave something the last time. Linux: `pageblock_pfn_to_page`,
/// `isolation_suitable`.
pub(super) fn is_worth_scanning<E: Env>(memory: &Memory<'_, E>, cc: &CompactControl, pfn: Pfn) -> bool {
    let index = memory.pages.index(pfn);
    let block = memory.blocks.of(index);
    let is_hole = !block.is_written() && memory.blocks.head_of(&memory.pages, index).is_none();
    !is_hole && (cc.ignore_skip_hint || !block.skip())
}

/// Whether pages may be taken out of the pageblock of `pfn`: a request that cannot wait wants a block of its own type.
/// Linux: `suitable_migration_source`.
fn is_source<E: Env>(memory: &Memory<'_, E>, cc: &CompactControl, pfn: Pfn) -> bool {
    if cc.picky_order().is_none() {
        return true;
    }
    let migratetype = memory.blocks.of(memory.pages.index(pfn)).migratetype();
    migratetype == cc.migratetype || (cc.migratetype == MigrateType::Movable && migratetype == MigrateType::Cma)
}

/// Where the scan of a pageblock is, and what it came to.
struct BlockScan {
    pfn: Pfn,
    /// Up to here a picky request wants all pages or none.
    want_until: Option<Pfn>,
    nr_scanned: u64,
    nr_isolated: u64,
}

/// Takes up to 32 pages from the pages of `range`, which lie in one pageblock; where the scan ended, `None` when the walk
/// must end before it began. Linux: `isolate_migratepages_block`.
fn isolate_block<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    zone: &Zone,
    cc: &mut CompactControl,
    range: PfnRange,
) -> Option<Pfn> {
    if !await_isolated(memory, current, zone, cc) || cc.should_abort(memory, current) {
        return None;
    }
    let want_until = cc.picky_order().map(|order| block_end(range.start, order));
    let mut scan = BlockScan { pfn: range.start, want_until, nr_scanned: 0, nr_isolated: 0 };
    scan_block(memory, current, zone, cc, range.end, &mut scan);
    let reached = scan.pfn.min(range.end);
    if reached == range.end && scan.nr_isolated == 0 {
        note_barren(memory, zone, cc, range.start);
    }
    let (range, nr_scanned, nr_taken) = (PfnRange::new(range.start, reached), scan.nr_scanned, scan.nr_isolated);
    memory.trace(current, || Compaction::MmCompactionIsolateMigratepages { range, nr_scanned, nr_taken });
    cc.migrate_scanned += nr_scanned;
    memory.count(VmEvent::CompactIsolated, nr_taken);
    Some(reached)
}

fn scan_block<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    zone: &Zone,
    cc: &mut CompactControl,
    end: Pfn,
    scan: &mut BlockScan,
) {
    while scan.pfn < end {
        if scan.want_until.is_some_and(|until| scan.pfn >= until) {
            if scan.nr_isolated > 0 {
                return;
            }
            scan.want_until = cc.picky_order().map(|order| block_end(scan.pfn, order));
        }
        if scan.pfn.0.is_multiple_of(CLUSTER) && cc.should_abort(memory, current) {
            return;
        }
        scan.nr_scanned += 1;
        match examine(memory, current, zone, cc, scan.pfn) {
            Seen::Free(pages) => scan.pfn = scan.pfn.add(pages),
            Seen::Fixed(pages) => {
                scan.pfn = scan.pfn.add(pages);
                give_up_block(memory, current, cc, scan);
            }
            Seen::Taken(page) => {
                cc.migratepages.push(page);
                cc.last_migrated.get_or_insert(scan.pfn);
                scan.nr_isolated += 1;
                scan.pfn = scan.pfn.add(1);
                if cc.migratepages.is_full() {
                    return;
                }
            }
        }
    }
}

/// A page just before the scanner cannot move: a picky request gives back what it took, and goes on behind the block of its
/// order.
fn give_up_block<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, cc: &mut CompactControl, scan: &mut BlockScan) {
    let (Some(until), Some(order)) = (scan.want_until, cc.picky_order()) else { return };
    if scan.nr_isolated > 0 {
        cc.migratepages.put_back(memory, current);
        cc.last_migrated = None;
        scan.nr_isolated = 0;
    }
    if scan.pfn <= until {
        scan.pfn = until;
        scan.want_until = Some(until.add(order.nr_pages()));
    }
}

/// What the scanner sees at a page.
enum Seen {
    /// A free block of so many pages.
    Free(u64),
    /// So many pages that cannot move.
    Fixed(u64),
    /// A page that could be taken.
    Taken(Isolated),
}

fn examine<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, zone: &Zone, cc: &CompactControl, pfn: Pfn) -> Seen {
    let index = memory.pages.index(pfn);
    let state = memory.blocks.state_of(&memory.pages, index);
    let (flags, is_ours) = (state.flags(), state.zone() == usize::from(zone.id));
    if state.is(Kind::Buddy) && is_ours {
        return Seen::Free(state.order().nr_pages());
    }
    if !state.is(Kind::Allocated) || !is_ours {
        return Seen::Fixed(1);
    }
    if flags.contains(PageFlags::HEAD) {
        return Seen::Fixed(state.order().nr_pages());
    }
    let taken = if flags.contains(PageFlags::LRU) {
        if may_isolate_lru(memory, cc, index, state) { Isolated::from_lru(memory, index) } else { None }
    } else if flags.contains(PageFlags::MOVABLE) {
        Isolated::from_owner(memory, current, index)
    } else {
        None
    };
    taken.map_or(Seen::Fixed(1), Seen::Taken)
}

/// Whether a page of an LRU list is likely to move, and its migration allowed. Linux: the checks before
/// `__isolate_lru_page`, and its `isolate_mode`.
fn may_isolate_lru<E: Env>(memory: &Memory<'_, E>, cc: &CompactControl, index: u32, state: PageState) -> bool {
    let flags = state.flags();
    let has_mapping = !flags.contains(PageFlags::SWAPBACKED) || flags.contains(PageFlags::SWAPCACHE);
    let is_pinned = !has_mapping && u32::from(state.count()) > memory.env.owner().mapcount(index);
    // Moving a page of a file may need locks of the file system, which a GFP_NOFS request may hold.
    let needs_fs = has_mapping && !cc.gfp.contains(Gfp::__GFP_FS);
    let is_kept = flags.contains(PageFlags::UNEVICTABLE) && !may_move_unevictable(memory);
    let must_wait = flags.contains(PageFlags::WRITEBACK) && cc.mode != MigrateMode::Sync;
    !is_pinned && !needs_fs && !is_kept && !must_wait
}

/// Waits while too many pages are isolated already; `false` when the walk must end instead.
fn await_isolated<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, zone: &Zone, cc: &CompactControl) -> bool {
    while too_many_isolated(memory, zone) {
        if cc.is_async() {
            return false;
        }
        sleep::congestion_wait(memory, current);
        if is_called_off(memory, current) {
            return false;
        }
    }
    true
}

/// Whether more than half as many pages are isolated as are on the LRU lists. Linux: `too_many_isolated`.
fn too_many_isolated<E: Env>(memory: &Memory<'_, E>, zone: &Zone) -> bool {
    use NodeStat::{NrActiveAnon, NrActiveFile, NrInactiveAnon, NrInactiveFile, NrIsolatedAnon, NrIsolatedFile};
    let node = memory.node(zone.node);
    let sum = |stats: &[NodeStat]| stats.iter().map(|&stat| node.stat(stat)).sum::<u64>();
    let listed = sum(&[NrInactiveFile, NrInactiveAnon, NrActiveFile, NrActiveAnon]);
    sum(&[NrIsolatedFile, NrIsolatedAnon]) > listed / 2
}

/// The whole pageblock from `pfn` on gave nothing: it is skipped from now on. Linux: `update_pageblock_skip`.
fn note_barren<E: Env>(memory: &Memory<'_, E>, zone: &Zone, cc: &CompactControl, pfn: Pfn) {
    memory.blocks.set_skip(memory.pages.index(pfn), true);
    zone.compact.advance_migrate(pfn, !cc.is_async());
}
