//! Steps of the slow path that Linux does not trace and that `explain` tells.
//!
//! Key type: [`SlowPath`]. The reasons are words of [`super::reasons`]. What Linux traces itself (kswapd woken, reclaim, compaction, the retries' arithmetic) is in the
//! groups named after its headers. Neighbours: `mm::page_alloc`, `mm::vmscan`, `mm::compaction`, `mm::oom_kill` and
//! `mm::kswapd` emit these events.

use core::fmt;

use super::ZoneRef;
use super::alloc_flags::AllocFlagNames;
use super::decision::WatermarkCheck;
use super::reasons::{
    CompactionSkip, FlagsOrigin, HarderBy, OomExclusion, OomSpared, RefuseReason, ReserveRule, RetryReason,
};
use crate::addr::Order;
use crate::gfp::{Gfp, TraceNames};
use crate::mmzone::NodeId;

/// A step of the slow path. `Display` prints its fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlowPath {
    /// The fast path failed.
    SlowpathEntered {
        /// Order of the request.
        order: Order,
        /// The mask that the slow path works with: less what the task's scopes take away, and without `__GFP_ATOMIC` if
        /// the request may sleep.
        gfp: Gfp,
        /// The mask as the caller gave it.
        asked: Gfp,
    },
    /// How far into the reserves the next attempts may go.
    AllocFlagsChosen {
        /// The bits of `AllocFlags`.
        flags: u32,
        /// What they were made from.
        origin: FlagsOrigin,
        /// What gave it `ALLOC_HARDER`, if it has that.
        harder: HarderBy,
    },
    /// Whether the reserves are open to the request.
    ReservesChecked {
        /// The first rule that holds.
        rule: ReserveRule,
        /// The bits of `AllocFlags` that replace the request's own; 0 when the reserves are closed.
        flags: u32,
    },
    /// The request does not turn to compaction.
    CompactionSkipped {
        /// Order of the request.
        order: Order,
        /// Why not.
        reason: CompactionSkip,
    },
    /// A zone is not worth compacting.
    ZoneNotCompacted {
        /// The zone.
        zone: ZoneRef,
        /// The order wanted.
        order: Order,
        /// Why not.
        reason: NotCompacted,
    },
    /// The request goes round again.
    SlowpathRetry {
        /// Why.
        reason: RetryReason,
    },
    /// The request gives up; one with `__GFP_NOFAIL` may still go round again.
    SlowpathRefused {
        /// Why.
        reason: RefuseReason,
    },
    /// The OOM killer is not called.
    OomExcluded {
        /// Why not.
        reason: OomExclusion,
    },
    /// The OOM killer was called and killed nobody.
    OomWithoutKill {
        /// Why not.
        reason: OomSpared,
    },
    /// A task waits for kswapd before it reclaims itself. Linux: `throttle_direct_reclaim`.
    ThrottleBegin {
        /// The node.
        nid: NodeId,
        /// Sum of the node's min watermarks, in pages; half of it must be free.
        reserve: u64,
        /// What is free in the same zones, in pages.
        free: u64,
        /// Whether it waits until it is woken or killed; else at most a second.
        killable: bool,
    },
    /// The wait is over.
    ThrottleEnd {
        /// The node.
        nid: NodeId,
        /// Whether the task was killed meanwhile.
        killed: bool,
    },
    /// kswapd looked at a zone to see whether its node is balanced. Linux: `pgdat_balanced`.
    KswapdZoneChecked {
        /// The zone.
        zone: ZoneRef,
        /// The order to balance for.
        order: Order,
        /// The terms of the check against the high watermark.
        check: WatermarkCheck,
        /// Whether it passed; one zone is enough.
        balanced: bool,
    },
    /// Whether kswapd's node is balanced.
    KswapdNodeChecked {
        /// The node.
        nid: NodeId,
        /// The highest zone that counts, as an index.
        classzone_idx: usize,
        /// The order to balance for.
        order: Order,
        /// Whether some zone passed, or none has memory.
        balanced: bool,
    },
}

/// Why a zone is not worth compacting. Linux: `__compaction_suitable`, `compaction_suitable`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotCompacted {
    /// The request can be served as it is.
    Enough,
    /// Too few free pages to work with: `free <= needed`.
    TooFewPages {
        /// Free pages, or what reclaim could bring them to.
        free: u64,
        /// Watermark, twice the block, and `lowmem_reserve`.
        needed: u64,
    },
    /// The zone lacks memory rather than order: `0 <= index <= threshold`.
    Fragmentation {
        /// The fragmentation index, -1000 to 1000.
        index: i32,
        /// `vm.extfrag_threshold`.
        threshold: i32,
    },
}

impl SlowPath {
    /// The event's name.
    pub const fn name(self) -> &'static str {
        match self {
            SlowPath::SlowpathEntered { .. } => "slowpath_entered",
            SlowPath::AllocFlagsChosen { .. } => "alloc_flags_chosen",
            SlowPath::ReservesChecked { .. } => "reserves_checked",
            SlowPath::CompactionSkipped { .. } => "compaction_skipped",
            SlowPath::ZoneNotCompacted { .. } => "zone_not_compacted",
            SlowPath::SlowpathRetry { .. } => "slowpath_retry",
            SlowPath::SlowpathRefused { .. } => "slowpath_refused",
            SlowPath::OomExcluded { .. } => "oom_excluded",
            SlowPath::OomWithoutKill { .. } => "oom_without_kill",
            SlowPath::ThrottleBegin { .. } => "throttle_begin",
            SlowPath::ThrottleEnd { .. } => "throttle_end",
            SlowPath::KswapdZoneChecked { .. } => "kswapd_zone_checked",
            SlowPath::KswapdNodeChecked { .. } => "kswapd_node_checked",
        }
    }
}

impl fmt::Display for NotCompacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotCompacted::Enough => f.write_str("reason=enough"),
            NotCompacted::TooFewPages { free, needed } => write!(f, "reason=too_few_pages free={free} needed={needed}"),
            NotCompacted::Fragmentation { index, threshold } => {
                write!(f, "reason=fragmentation index={index} threshold={threshold}")
            }
        }
    }
}

impl fmt::Display for SlowPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            SlowPath::SlowpathEntered { order, gfp, asked } => {
                write!(f, "order={order} gfp_flags={} asked={}", TraceNames(gfp), TraceNames(asked))
            }
            SlowPath::AllocFlagsChosen { flags, origin, harder: HarderBy::Nothing } => {
                write!(f, "alloc_flags={} origin={origin}", AllocFlagNames(flags))
            }
            SlowPath::AllocFlagsChosen { flags, origin, harder } => {
                write!(f, "alloc_flags={} origin={origin} harder_by={harder}", AllocFlagNames(flags))
            }
            SlowPath::ReservesChecked { rule, flags: 0 } => write!(f, "rule={rule} alloc_flags=none"),
            SlowPath::ReservesChecked { rule, flags } => write!(f, "rule={rule} alloc_flags={}", AllocFlagNames(flags)),
            SlowPath::CompactionSkipped { order, reason } => write!(f, "order={order} reason={reason}"),
            SlowPath::ZoneNotCompacted { zone, order, reason } => write!(f, "{zone} order={order} {reason}"),
            SlowPath::SlowpathRetry { reason } => write!(f, "reason={reason}"),
            SlowPath::SlowpathRefused { reason } => write!(f, "reason={reason}"),
            SlowPath::OomExcluded { reason } => write!(f, "reason={reason}"),
            SlowPath::OomWithoutKill { reason } => write!(f, "reason={reason}"),
            SlowPath::ThrottleBegin { nid, reserve, free, killable } => {
                write!(f, "nid={nid} reserve={reserve} free={free} killable={}", u8::from(killable))
            }
            SlowPath::ThrottleEnd { nid, killed } => write!(f, "nid={nid} killed={}", u8::from(killed)),
            SlowPath::KswapdZoneChecked { zone, order, check, balanced } => {
                write!(f, "{zone} order={order} {check} balanced={}", u8::from(balanced))
            }
            SlowPath::KswapdNodeChecked { nid, classzone_idx, order, balanced } => {
                let balanced = u8::from(balanced);
                write!(f, "nid={nid} classzone_idx={classzone_idx} order={order} balanced={balanced}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::alloc_flags::Opened;
    use super::*;
    use crate::mm::zone::AllocFlags;
    use crate::mmzone::{Watermark, ZoneType};
    use crate::trace::assert_texts;

    const NID: NodeId = NodeId(0);
    const DMA32: ZoneRef = ZoneRef { node: NID, zone: ZoneType::Dma32 };

    #[test]
    fn flags_and_reserves() {
        let atomic = (AllocFlags::HIGH | AllocFlags::HARDER | AllocFlags::KSWAPD).bits();
        assert_texts(&[
            (
                SlowPath::SlowpathEntered { order: Order::ONE, gfp: Gfp::GFP_NOFS, asked: Gfp::GFP_KERNEL },
                "slowpath_entered: order=1 gfp_flags=GFP_NOFS asked=GFP_KERNEL",
            ),
            (
                SlowPath::AllocFlagsChosen { flags: atomic, origin: FlagsOrigin::Mask, harder: HarderBy::Atomic },
                "alloc_flags_chosen: alloc_flags=WMARK_MIN|HARDER|HIGH|KSWAPD origin=mask harder_by=gfp_atomic",
            ),
            (
                SlowPath::AllocFlagsChosen {
                    flags: (AllocFlags::WMARK_HIGH | AllocFlags::CPUSET).bits(),
                    origin: FlagsOrigin::OomLastTry,
                    harder: HarderBy::Nothing,
                },
                "alloc_flags_chosen: alloc_flags=WMARK_HIGH|CPUSET origin=oom_last_try",
            ),
            (
                SlowPath::ReservesChecked { rule: ReserveRule::NoMemalloc, flags: 0 },
                "reserves_checked: rule=gfp_nomemalloc alloc_flags=none",
            ),
            (
                SlowPath::ReservesChecked { rule: ReserveRule::TaskMemalloc, flags: AllocFlags::NO_WATERMARKS.bits() },
                "reserves_checked: rule=pf_memalloc alloc_flags=NO_WATERMARKS",
            ),
            (
                SlowPath::ReservesChecked { rule: ReserveRule::OomVictim, flags: AllocFlags::OOM.bits() },
                "reserves_checked: rule=oom_victim alloc_flags=WMARK_MIN|OOM",
            ),
        ]);
    }

    #[test]
    fn why_not() {
        let order = Order::new(4).unwrap();
        let zone = |reason| SlowPath::ZoneNotCompacted { zone: DMA32, order, reason };
        assert_texts(&[
            (
                SlowPath::CompactionSkipped { order, reason: CompactionSkip::NoIo },
                "compaction_skipped: order=4 reason=no_io",
            ),
            (zone(NotCompacted::Enough), "zone_not_compacted: node=0 zone=DMA32    order=4 reason=enough"),
            (
                zone(NotCompacted::TooFewPages { free: 300, needed: 352 }),
                "zone_not_compacted: node=0 zone=DMA32    order=4 reason=too_few_pages free=300 needed=352",
            ),
            (
                zone(NotCompacted::Fragmentation { index: 417, threshold: 500 }),
                "zone_not_compacted: node=0 zone=DMA32    order=4 reason=fragmentation index=417 threshold=500",
            ),
            (SlowPath::SlowpathRetry { reason: RetryReason::OomProgress }, "slowpath_retry: reason=oom_progress"),
            (SlowPath::SlowpathRefused { reason: RefuseReason::CannotSleep }, "slowpath_refused: reason=cannot_sleep"),
            (SlowPath::OomExcluded { reason: OomExclusion::ThisNode }, "oom_excluded: reason=this_node"),
            (SlowPath::OomWithoutKill { reason: OomSpared::NoFs }, "oom_without_kill: reason=no_fs"),
        ]);
    }

    #[test]
    fn throttling_and_balance() {
        let check = WatermarkCheck {
            mark: Watermark::High,
            opened: Opened::default(),
            watermark: 384,
            threshold: 384,
            reserve: 10,
            free: 390,
            cma: 0,
            highatomic: 0,
        };
        assert_texts(&[
            (
                SlowPath::ThrottleBegin { nid: NID, reserve: 256, free: 100, killable: true },
                "throttle_begin: nid=0 reserve=256 free=100 killable=1",
            ),
            (SlowPath::ThrottleEnd { nid: NID, killed: false }, "throttle_end: nid=0 killed=0"),
            (
                SlowPath::KswapdZoneChecked { zone: DMA32, order: Order::ZERO, check, balanced: false },
                "kswapd_zone_checked: node=0 zone=DMA32    order=0 mark=high threshold=384 reserve=10 free=390 cma=0 \
                 highatomic=0 balanced=0",
            ),
            (
                SlowPath::KswapdNodeChecked { nid: NID, classzone_idx: 1, order: Order::ZERO, balanced: true },
                "kswapd_node_checked: nid=0 classzone_idx=1 order=0 balanced=1",
            ),
        ]);
    }
}
