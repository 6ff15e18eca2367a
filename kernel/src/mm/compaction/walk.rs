//! One zone compacted: the two scanners take turns until the walk is over. Linux: `compact_zone`.

use super::super::compact_state::last_pageblock;
use super::super::freelist;
use super::super::memory::{Env, Memory};
use super::super::migrate::{self, Migrated};
use super::super::suitable::{compaction_suitable, trace_suitable};
use super::super::zone::Zone;
use super::control::{CompactControl, block_end};
use super::finished::compact_finished;
use super::forget_hints;
use super::scanner_free::{FreePages, release_freepages};
use super::scanner_migrate::{IsolateMigrate, isolate_migratepages};
use crate::addr::Order;
use crate::reclaim_types::CompactResult;
use crate::task::Current;
use crate::trace::compaction::{Compaction, Scanners};
use crate::vmstat::VmEvent;

/// Compacts the zone as `cc` wants; how that ended. Linux: `compact_zone`.
pub fn compact_zone<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    zone: &Zone,
    cc: &mut CompactControl,
) -> CompactResult {
    let worth = is_worth_it(memory, current, zone, cc);
    if worth != CompactResult::Continue {
        return worth;
    }
    if cc.order.is_some_and(|order| zone.compact.is_restarting(order)) {
        forget_hints(memory, zone);
    }
    place_scanners(zone, cc);
    memory.trace(current, || Compaction::MmCompactionBegin(scanners(zone, cc)));
    let status = loop {
        match compact_finished(memory, current, zone, cc) {
            CompactResult::Continue => {}
            finished => break finished,
        }
        if one_turn(memory, current, zone, cc) == Turn::Contended {
            break CompactResult::Contended;
        }
    };
    release_freepages(memory, current, zone, cc);
    memory.count(VmEvent::CompactMigrateScanned, cc.migrate_scanned);
    memory.count(VmEvent::CompactFreeScanned, cc.free_scanned);
    memory.trace(current, || Compaction::MmCompactionEnd { scanners: scanners(zone, cc), status });
    status
}

/// Compacting everything is always worth it.
fn is_worth_it<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    zone: &Zone,
    cc: &CompactControl,
) -> CompactResult {
    let Some(order) = cc.order else {
        trace_suitable(memory, current, zone, -1, CompactResult::Continue);
        return CompactResult::Continue;
    };
    compaction_suitable(memory, current, zone, order, cc.flags, cc.classzone)
}

/// Puts the scanners at the ends of the zone, or where the last walk left them.
fn place_scanners(zone: &Zone, cc: &mut CompactControl) {
    let state = &zone.compact;
    if cc.whole_zone {
        cc.migrate_pfn = zone.span.start;
        cc.free_pfn = last_pageblock(zone.span);
    } else {
        if !zone.span.contains(state.free_pfn()) {
            state.set_free_pfn(last_pageblock(zone.span));
        }
        let sync = !cc.is_async();
        if !zone.span.contains(state.migrate_pfn(sync)) {
            state.set_migrate_pfn(zone.span.start);
        }
        cc.free_pfn = state.free_pfn();
        cc.migrate_pfn = state.migrate_pfn(sync);
        cc.whole_zone = cc.migrate_pfn == zone.span.start;
    }
    cc.last_migrated = None;
}

fn scanners(zone: &Zone, cc: &CompactControl) -> Scanners {
    Scanners { zone: zone.span, migrate_pfn: cc.migrate_pfn, free_pfn: cc.free_pfn, sync: !cc.is_async() }
}

/// Whether the walk goes on.
#[derive(PartialEq, Eq)]
enum Turn {
    GoOn,
    Contended,
}

/// Both scanners' turn: pages are taken, and moved.
fn one_turn<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, zone: &Zone, cc: &mut CompactControl) -> Turn {
    match isolate_migratepages(memory, current, zone, cc) {
        IsolateMigrate::Abort => {
            cc.migratepages.put_back(memory, current);
            return Turn::Contended;
        }
        IsolateMigrate::None => {}
        IsolateMigrate::Success => {
            let moved = migrate(memory, current, zone, cc);
            if moved.out_of_targets && !cc.scanners_met() {
                return Turn::Contended;
            }
            if moved.failed > 0 {
                leave_block(cc);
            }
        }
    }
    bring_together(memory, current, zone, cc);
    Turn::GoOn
}

/// Moves the pages that were taken, and puts back what cannot move now.
fn migrate<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, zone: &Zone, cc: &mut CompactControl) -> Migrated {
    let mut list = core::mem::take(&mut cc.migratepages);
    let (nr_pages, mode) = (list.len(), cc.mode);
    cc.nr_migratepages = nr_pages;
    let moved = migrate::migrate_pages(memory, current, &mut list, &mut FreePages { memory, current, zone, cc }, mode);
    cc.nr_migratepages = 0;
    let nr_failed = if moved.out_of_targets { list.len() as u64 } else { moved.failed };
    let nr_migrated = nr_pages as u64 - nr_failed;
    memory.trace(current, || Compaction::MmCompactionMigratepages { nr_migrated, nr_failed });
    list.put_back(memory, current);
    moved
}

/// A page of the block stays: a picky request goes on behind the block of its order.
fn leave_block(cc: &mut CompactControl) {
    if let Some(order) = cc.picky_order() {
        cc.migrate_pfn = block_end(crate::addr::Pfn(cc.migrate_pfn.0 - 1), order);
        cc.last_migrated = None;
    }
}

/// When the scanner has left the block of the wanted order from which pages moved, the freed pages go from the per-CPU
/// list to their zone, so that they merge and the walk may be over.
fn bring_together<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, zone: &Zone, cc: &mut CompactControl) {
    let (Some(order), Some(last)) = (cc.order.filter(|&order| order > Order::ZERO), cc.last_migrated) else { return };
    if last < cc.migrate_pfn.align_down(order) {
        freelist::drain_local_pages(memory, current, Some(zone));
        cc.last_migrated = None;
    }
}
