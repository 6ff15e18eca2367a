//! Events of compaction and kcompactd, as `include/trace/events/compaction.h` has them.
//!
//! Key type: [`Compaction`], and [`Deferral`] with the state of a zone's deferral. An order is a signed number where
//! Linux prints -1 for the compaction of a whole zone. Neighbour: `mm::compaction` emits them.

use core::fmt;

use super::ZoneRef;
use crate::addr::{Order, Pfn, PfnRange};
use crate::gfp::Gfp;
use crate::mmzone::{NodeId, ZoneType};
use crate::reclaim_types::{CompactPriority, CompactResult};

/// A tracepoint of `compaction.h`. `Display` prints its fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compaction {
    /// The migrate scanner took pages that are in use.
    MmCompactionIsolateMigratepages {
        /// What it scanned.
        range: PfnRange,
        /// Pages looked at.
        nr_scanned: u64,
        /// Pages taken.
        nr_taken: u64,
    },
    /// The free scanner took free pages.
    MmCompactionIsolateFreepages {
        /// What it scanned.
        range: PfnRange,
        /// Pages looked at.
        nr_scanned: u64,
        /// Pages taken.
        nr_taken: u64,
    },
    /// Taken pages were moved.
    MmCompactionMigratepages {
        /// Pages moved.
        nr_migrated: u64,
        /// Pages that stay where they were.
        nr_failed: u64,
    },
    /// The compaction of a zone begins.
    MmCompactionBegin(Scanners),
    /// The compaction of a zone has ended.
    MmCompactionEnd {
        /// Where the scanners are.
        scanners: Scanners,
        /// How it ended.
        status: CompactResult,
    },
    /// A request turns to compaction.
    MmCompactionTryToCompactPages {
        /// Order of the request.
        order: Order,
        /// Mask of the request.
        gfp: Gfp,
        /// How hard it tries.
        priority: CompactPriority,
    },
    /// Whether the compaction of a zone may stop.
    MmCompactionFinished {
        /// The zone.
        zone: ZoneRef,
        /// The order wanted; -1 to compact everything.
        order: i32,
        /// `Continue` or `NoSuitablePage` to go on.
        ret: CompactResult,
    },
    /// Whether the compaction of a zone is worth beginning.
    MmCompactionSuitable {
        /// The zone.
        zone: ZoneRef,
        /// The order wanted; -1 to compact everything.
        order: i32,
        /// `Continue` to begin.
        ret: CompactResult,
    },
    /// A zone is left alone, since compacting it failed recently.
    MmCompactionDeferred(Deferral),
    /// Compacting a zone failed: later attempts are put off.
    MmCompactionDeferCompaction(Deferral),
    /// Compacting a zone succeeded: attempts are put off no more.
    MmCompactionDeferReset(Deferral),
    /// kcompactd goes to sleep.
    MmCompactionKcompactdSleep {
        /// Its node.
        nid: NodeId,
    },
    /// kcompactd is woken.
    MmCompactionWakeupKcompactd {
        /// Its node.
        nid: NodeId,
        /// The order wanted.
        order: Order,
        /// The highest zone to compact.
        classzone_idx: ZoneType,
    },
    /// kcompactd begins to work.
    MmCompactionKcompactdWake {
        /// Its node.
        nid: NodeId,
        /// The order wanted.
        order: Order,
        /// The highest zone to compact.
        classzone_idx: ZoneType,
    },
}

/// A zone and where its scanners are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scanners {
    /// The zone's span.
    pub zone: PfnRange,
    /// The migrate scanner, which goes up.
    pub migrate_pfn: Pfn,
    /// The free scanner, which goes down.
    pub free_pfn: Pfn,
    /// Whether migration may wait.
    pub sync: bool,
}

/// How far attempts to compact a zone are put off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deferral {
    /// The zone.
    pub zone: ZoneRef,
    /// The order wanted.
    pub order: Order,
    /// The lowest order that is put off, 0 to 11.
    pub order_failed: u32,
    /// Attempts put off since the last failure.
    pub considered: u32,
    /// log2 of the attempts to put off.
    pub defer_shift: u32,
}

impl Compaction {
    /// The tracepoint's name.
    pub const fn name(self) -> &'static str {
        match self {
            Compaction::MmCompactionIsolateMigratepages { .. } => "mm_compaction_isolate_migratepages",
            Compaction::MmCompactionIsolateFreepages { .. } => "mm_compaction_isolate_freepages",
            Compaction::MmCompactionMigratepages { .. } => "mm_compaction_migratepages",
            Compaction::MmCompactionBegin(_) => "mm_compaction_begin",
            Compaction::MmCompactionEnd { .. } => "mm_compaction_end",
            Compaction::MmCompactionTryToCompactPages { .. } => "mm_compaction_try_to_compact_pages",
            Compaction::MmCompactionFinished { .. } => "mm_compaction_finished",
            Compaction::MmCompactionSuitable { .. } => "mm_compaction_suitable",
            Compaction::MmCompactionDeferred(_) => "mm_compaction_deferred",
            Compaction::MmCompactionDeferCompaction(_) => "mm_compaction_defer_compaction",
            Compaction::MmCompactionDeferReset(_) => "mm_compaction_defer_reset",
            Compaction::MmCompactionKcompactdSleep { .. } => "mm_compaction_kcompactd_sleep",
            Compaction::MmCompactionWakeupKcompactd { .. } => "mm_compaction_wakeup_kcompactd",
            Compaction::MmCompactionKcompactdWake { .. } => "mm_compaction_kcompactd_wake",
        }
    }
}

impl fmt::Display for Scanners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scanners { zone: PfnRange { start, end }, migrate_pfn, free_pfn, sync } = *self;
        let mode = if sync { "sync" } else { "async" };
        write!(f, "zone_start={start} migrate_pfn={migrate_pfn} free_pfn={free_pfn} zone_end={end}, mode={mode}")
    }
}

impl fmt::Display for Deferral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Deferral { zone, order, order_failed, considered, defer_shift } = *self;
        let limit = 1_u64 << defer_shift;
        write!(f, "{zone} order={order} order_failed={order_failed} consider={considered} limit={limit}")
    }
}

impl fmt::Display for Compaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Compaction::MmCompactionIsolateMigratepages { range, nr_scanned, nr_taken }
            | Compaction::MmCompactionIsolateFreepages { range, nr_scanned, nr_taken } => {
                write!(f, "range=({} ~ {}) nr_scanned={nr_scanned} nr_taken={nr_taken}", range.start, range.end)
            }
            Compaction::MmCompactionMigratepages { nr_migrated, nr_failed } => {
                write!(f, "nr_migrated={nr_migrated} nr_failed={nr_failed}")
            }
            Compaction::MmCompactionBegin(scanners) => scanners.fmt(f),
            Compaction::MmCompactionEnd { scanners, status } => write!(f, "{scanners} status={status}"),
            Compaction::MmCompactionTryToCompactPages { order, gfp, priority } => {
                write!(f, "order={order} gfp_mask={gfp:#x} priority={}", priority as u8)
            }
            Compaction::MmCompactionFinished { zone, order, ret }
            | Compaction::MmCompactionSuitable { zone, order, ret } => write!(f, "{zone} order={order} ret={ret}"),
            Compaction::MmCompactionDeferred(deferral)
            | Compaction::MmCompactionDeferCompaction(deferral)
            | Compaction::MmCompactionDeferReset(deferral) => deferral.fmt(f),
            Compaction::MmCompactionKcompactdSleep { nid } => write!(f, "nid={nid}"),
            Compaction::MmCompactionWakeupKcompactd { nid, order, classzone_idx }
            | Compaction::MmCompactionKcompactdWake { nid, order, classzone_idx } => {
                write!(f, "nid={nid} order={order} classzone_idx={classzone_idx:<8}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::assert_texts;

    const NID: NodeId = NodeId(0);
    const DMA32: ZoneRef = ZoneRef { node: NID, zone: ZoneType::Dma32 };

    const fn range(start: u64, end: u64) -> PfnRange {
        PfnRange::new(Pfn(start), Pfn(end))
    }

    /// Texts of a real trace, but for `async`, and for `try_to_compact_pages`, whose mask later kernels print by name.
    #[test]
    fn one_zone() {
        let scanners = |migrate_pfn, free_pfn, sync| Scanners {
            zone: range(0x40000, 0x4a000),
            migrate_pfn: Pfn(migrate_pfn),
            free_pfn: Pfn(free_pfn),
            sync,
        };
        assert_texts(&[
            (
                Compaction::MmCompactionTryToCompactPages {
                    order: Order::PAGEBLOCK,
                    gfp: Gfp::GFP_KERNEL,
                    priority: CompactPriority::SyncLight,
                },
                "mm_compaction_try_to_compact_pages: order=9 gfp_mask=0x6000c0 priority=1",
            ),
            (
                Compaction::MmCompactionSuitable { zone: DMA32, order: -1, ret: CompactResult::Continue },
                "mm_compaction_suitable: node=0 zone=DMA32    order=-1 ret=continue",
            ),
            (
                Compaction::MmCompactionBegin(scanners(0x40000, 0x49c00, true)),
                "mm_compaction_begin: zone_start=0x40000 migrate_pfn=0x40000 free_pfn=0x49c00 zone_end=0x4a000, \
                 mode=sync",
            ),
            (
                Compaction::MmCompactionIsolateMigratepages {
                    range: range(0x40400, 0x405f0),
                    nr_scanned: 496,
                    nr_taken: 32,
                },
                "mm_compaction_isolate_migratepages: range=(0x40400 ~ 0x405f0) nr_scanned=496 nr_taken=32",
            ),
            (
                Compaction::MmCompactionIsolateFreepages {
                    range: range(0x47400, 0x47638),
                    nr_scanned: 440,
                    nr_taken: 152,
                },
                "mm_compaction_isolate_freepages: range=(0x47400 ~ 0x47638) nr_scanned=440 nr_taken=152",
            ),
            (
                Compaction::MmCompactionMigratepages { nr_migrated: 30, nr_failed: 2 },
                "mm_compaction_migratepages: nr_migrated=30 nr_failed=2",
            ),
            (
                Compaction::MmCompactionFinished { zone: DMA32, order: 10, ret: CompactResult::NoSuitablePage },
                "mm_compaction_finished: node=0 zone=DMA32    order=10 ret=no_suitable_page",
            ),
            (
                Compaction::MmCompactionEnd {
                    scanners: scanners(0x47400, 0x47800, false),
                    status: CompactResult::PartialSkipped,
                },
                "mm_compaction_end: zone_start=0x40000 migrate_pfn=0x47400 free_pfn=0x47800 zone_end=0x4a000, \
                 mode=async status=partial_skipped",
            ),
        ]);
    }

    #[test]
    fn deferral_and_kcompactd() {
        let deferral = |order_failed, considered| Deferral {
            zone: DMA32,
            order: Order::MAX,
            order_failed,
            considered,
            defer_shift: 2,
        };
        assert_texts(&[
            (
                Compaction::MmCompactionDeferred(deferral(0, 1)),
                "mm_compaction_deferred: node=0 zone=DMA32    order=10 order_failed=0 consider=1 limit=4",
            ),
            (
                Compaction::MmCompactionDeferCompaction(deferral(0, 0)),
                "mm_compaction_defer_compaction: node=0 zone=DMA32    order=10 order_failed=0 consider=0 limit=4",
            ),
            (
                Compaction::MmCompactionDeferReset(deferral(11, 0)),
                "mm_compaction_defer_reset: node=0 zone=DMA32    order=10 order_failed=11 consider=0 limit=4",
            ),
            (Compaction::MmCompactionKcompactdSleep { nid: NID }, "mm_compaction_kcompactd_sleep: nid=0"),
            (
                Compaction::MmCompactionWakeupKcompactd {
                    nid: NID,
                    order: Order::MAX,
                    classzone_idx: ZoneType::Movable,
                },
                "mm_compaction_wakeup_kcompactd: nid=0 order=10 classzone_idx=Movable ",
            ),
            (
                Compaction::MmCompactionKcompactdWake { nid: NID, order: Order::MAX, classzone_idx: ZoneType::Dma32 },
                "mm_compaction_kcompactd_wake: nid=0 order=10 classzone_idx=DMA32   ",
            ),
        ]);
    }
}
