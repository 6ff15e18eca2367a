//! Events of the last steps before a request fails, as `include/trace/events/oom.h` has them.
//!
//! Key type: [`Oom`]. Neighbours: the slow path emits the retries, `mm::oom_kill` what happens to victims.
//!
//! Linux does more: kernels after v5.0 tell a victim's name and sizes in `mark_victim`.

use core::fmt;

use super::ZoneRef;
use crate::addr::Order;
use crate::comm::Comm;
use crate::reclaim_types::{CompactPriority, CompactResult};

/// A tracepoint of `oom.h`. `Display` prints its fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Oom {
    /// Whether a zone could serve the request if everything reclaimable in it were reclaimed.
    ReclaimRetryZone {
        /// The zone.
        zone: ZoneRef,
        /// Order of the request.
        order: Order,
        /// Pages that reclaim could free.
        reclaimable: u64,
        /// Those, and the free ones.
        available: u64,
        /// The min watermark with its boost.
        min_wmark: u64,
        /// Rounds without progress.
        no_progress_loops: u32,
        /// Whether the watermark check passes.
        wmark_check: bool,
    },
    /// Whether compaction is tried once more.
    CompactRetry {
        /// Order of the request.
        order: Order,
        /// The priority of the last attempt.
        priority: CompactPriority,
        /// How the last attempt ended.
        result: CompactResult,
        /// Successful attempts that did not help.
        retries: u32,
        /// So many are allowed.
        max_retries: u32,
        /// The answer.
        should_retry: bool,
    },
    /// A task became a victim.
    MarkVictim {
        /// The task.
        pid: u32,
    },
    /// The reaper is to take a victim's memory.
    WakeReaper {
        /// The victim.
        pid: u32,
    },
    /// The reaper begins to take a victim's memory.
    StartTaskReaping {
        /// The victim.
        pid: u32,
    },
    /// The reaper has taken a victim's memory.
    FinishTaskReaping {
        /// The victim.
        pid: u32,
    },
    /// The reaper leaves a victim alone, whose memory is gone already.
    SkipTaskReaping {
        /// The victim.
        pid: u32,
    },
    /// Somebody wrote a task's `oom_score_adj`.
    OomScoreAdjUpdate {
        /// The task.
        pid: u32,
        /// Its name.
        comm: Comm,
        /// The new value, -1000 to 1000.
        oom_score_adj: i16,
    },
}

impl Oom {
    /// The tracepoint's name.
    pub const fn name(self) -> &'static str {
        match self {
            Oom::ReclaimRetryZone { .. } => "reclaim_retry_zone",
            Oom::CompactRetry { .. } => "compact_retry",
            Oom::MarkVictim { .. } => "mark_victim",
            Oom::WakeReaper { .. } => "wake_reaper",
            Oom::StartTaskReaping { .. } => "start_task_reaping",
            Oom::FinishTaskReaping { .. } => "finish_task_reaping",
            Oom::SkipTaskReaping { .. } => "skip_task_reaping",
            Oom::OomScoreAdjUpdate { .. } => "oom_score_adj_update",
        }
    }
}

/// What `result` tells the one who asks for more. Linux: `COMPACTION_FEEDBACK`.
const fn feedback(result: CompactResult) -> &'static str {
    if result.failed() {
        "failed"
    } else if result.withdrawn() {
        "withdrawn"
    } else {
        "progress"
    }
}

impl fmt::Display for Oom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Oom::ReclaimRetryZone {
                zone,
                order,
                reclaimable,
                available,
                min_wmark,
                no_progress_loops,
                wmark_check,
            } => {
                write!(f, "{zone} order={order} reclaimable={reclaimable} available={available} ")?;
                write!(f, "min_wmark={min_wmark} no_progress_loops={no_progress_loops} ")?;
                write!(f, "wmark_check={}", u8::from(wmark_check))
            }
            Oom::CompactRetry { order, priority, result, retries, max_retries, should_retry } => {
                write!(f, "order={order} priority={} compaction_result={} ", priority.name(), feedback(result))?;
                write!(f, "retries={retries} max_retries={max_retries} should_retry={}", u8::from(should_retry))
            }
            Oom::MarkVictim { pid }
            | Oom::WakeReaper { pid }
            | Oom::StartTaskReaping { pid }
            | Oom::FinishTaskReaping { pid }
            | Oom::SkipTaskReaping { pid } => write!(f, "pid={pid}"),
            Oom::OomScoreAdjUpdate { pid, comm, oom_score_adj } => {
                write!(f, "pid={pid} comm={comm} oom_score_adj={oom_score_adj}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mmzone::{NodeId, ZoneType};
    use crate::trace::assert_texts;

    /// The first text is of a real trace.
    #[test]
    fn retries() {
        let retry = |result, should_retry| Oom::CompactRetry {
            order: Order::ONE,
            priority: CompactPriority::SyncFull,
            result,
            retries: 3,
            max_retries: 16,
            should_retry,
        };
        assert_texts(&[
            (
                Oom::ReclaimRetryZone {
                    zone: ZoneRef { node: NodeId(0), zone: ZoneType::Dma32 },
                    order: Order::ZERO,
                    reclaimable: 8010,
                    available: 9279,
                    min_wmark: 1396,
                    no_progress_loops: 0,
                    wmark_check: true,
                },
                "reclaim_retry_zone: node=0 zone=DMA32    order=0 reclaimable=8010 available=9279 min_wmark=1396 \
                 no_progress_loops=0 wmark_check=1",
            ),
            (
                retry(CompactResult::Complete, false),
                "compact_retry: order=1 priority=COMPACT_PRIO_SYNC_FULL compaction_result=failed retries=3 \
                 max_retries=16 should_retry=0",
            ),
            (
                retry(CompactResult::Deferred, true),
                "compact_retry: order=1 priority=COMPACT_PRIO_SYNC_FULL compaction_result=withdrawn retries=3 \
                 max_retries=16 should_retry=1",
            ),
            (
                retry(CompactResult::Continue, true),
                "compact_retry: order=1 priority=COMPACT_PRIO_SYNC_FULL compaction_result=progress retries=3 \
                 max_retries=16 should_retry=1",
            ),
        ]);
    }

    #[test]
    fn victims() {
        let comm = Comm::from_bytes(*b"hog\0\0\0\0\0\0\0\0\0\0\0\0\0");
        assert_texts(&[
            (Oom::MarkVictim { pid: 7 }, "mark_victim: pid=7"),
            (Oom::WakeReaper { pid: 7 }, "wake_reaper: pid=7"),
            (Oom::StartTaskReaping { pid: 7 }, "start_task_reaping: pid=7"),
            (Oom::FinishTaskReaping { pid: 7 }, "finish_task_reaping: pid=7"),
            (Oom::SkipTaskReaping { pid: 7 }, "skip_task_reaping: pid=7"),
            (
                Oom::OomScoreAdjUpdate { pid: 7, comm, oom_score_adj: -1000 },
                "oom_score_adj_update: pid=7 comm=hog oom_score_adj=-1000",
            ),
        ]);
    }
}
