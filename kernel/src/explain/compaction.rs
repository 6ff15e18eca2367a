//! Compaction and kcompactd in words.

use core::fmt::{self, Formatter};

use crate::reclaim_types::{CompactPriority, CompactResult};
use crate::trace::Compaction;
use crate::trace::compaction::{Deferral, Scanners};

pub fn words(event: &Compaction, f: &mut Formatter<'_>) -> fmt::Result {
    match *event {
        Compaction::MmCompactionIsolateMigratepages { nr_scanned, nr_taken, .. } => {
            write!(f, "the migrate scanner looked at {nr_scanned} pages and took {nr_taken} to move them up")
        }
        Compaction::MmCompactionIsolateFreepages { nr_scanned, nr_taken, .. } => {
            write!(f, "the free scanner looked at {nr_scanned} pages and took {nr_taken} to move others to")
        }
        Compaction::MmCompactionMigratepages { nr_migrated, nr_failed } => {
            write!(f, "{nr_migrated} pages moved, {nr_failed} stay where they were")
        }
        Compaction::MmCompactionBegin(scanners) => {
            f.write_str("compaction begins, ")?;
            between(&scanners, f)
        }
        Compaction::MmCompactionEnd { scanners, status } => {
            write!(f, "compaction ends: {}; ", result_words(status))?;
            between(&scanners, f)
        }
        Compaction::MmCompactionTryToCompactPages { order, gfp, priority } => {
            write!(f, "the request of order {order} with {} turns to compaction, {}", gfp.mode(), hard(priority))
        }
        Compaction::MmCompactionFinished { zone, ret, .. } => write!(f, "{}: {}", zone.zone, result_words(ret)),
        Compaction::MmCompactionSuitable { zone, ret, .. } => write!(f, "{}: {}", zone.zone, result_words(ret)),
        Compaction::MmCompactionDeferred(deferral) => {
            counted(&deferral, f)?;
            f.write_str("left alone this time, since it failed recently")
        }
        Compaction::MmCompactionDeferCompaction(deferral) => {
            let limit = 1u64 << deferral.defer_shift;
            write!(
                f,
                "{}: failed; order {} and above wait for {limit} attempts",
                deferral.zone.zone, deferral.order_failed
            )
        }
        Compaction::MmCompactionDeferReset(deferral) => {
            write!(f, "{}: succeeded; nothing below order {} is put off", deferral.zone.zone, deferral.order_failed)
        }
        Compaction::MmCompactionKcompactdSleep { nid } => write!(f, "kcompactd of node {nid} sleeps"),
        Compaction::MmCompactionWakeupKcompactd { nid, order, classzone_idx } => {
            write!(f, "kcompactd of node {nid} is asked for blocks of order {order} in {classzone_idx} or below")
        }
        Compaction::MmCompactionKcompactdWake { nid, order, classzone_idx } => {
            write!(f, "kcompactd of node {nid} works, for blocks of order {order} in {classzone_idx} or below")
        }
    }
}

/// Where the scanners are, and what is left between them.
fn between(scanners: &Scanners, f: &mut Formatter<'_>) -> fmt::Result {
    let Scanners { migrate_pfn, free_pfn, .. } = *scanners;
    let left = free_pfn.0.saturating_sub(migrate_pfn.0);
    write!(f, "{left} pages between the scanners at {migrate_pfn} and {free_pfn}")
}

fn counted(deferral: &Deferral, f: &mut Formatter<'_>) -> fmt::Result {
    let Deferral { zone, considered, defer_shift, .. } = *deferral;
    write!(f, "{}: attempt {considered} of {} that are put off: ", zone.zone, 1u64 << defer_shift)
}

const fn hard(priority: CompactPriority) -> &'static str {
    match priority {
        CompactPriority::Async => "without any waiting",
        CompactPriority::SyncLight => "waiting for locks if need be",
        CompactPriority::SyncFull => "as hard as it can: hints and deferral do not count",
    }
}

const fn result_words(result: CompactResult) -> &'static str {
    match result {
        CompactResult::NotSuitableZone => "memory is short rather than in pieces, so it is not worth it",
        CompactResult::Skipped => "too little is free to copy to",
        CompactResult::Deferred => "put off, since it failed recently",
        CompactResult::NoSuitablePage => "no block of the order yet, it goes on",
        CompactResult::Continue => "worth going on",
        CompactResult::Complete => "the scanners met, and there is no block of the order",
        CompactResult::PartialSkipped => "a part of the zone was scanned in vain",
        CompactResult::Contended => "broken off: others need the locks, or the task must die",
        CompactResult::Success => "a block of the order is free",
    }
}
