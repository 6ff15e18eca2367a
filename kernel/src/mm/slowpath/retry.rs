//! Whether to go round again.
//!
//! The answer is yes as long as all that is reclaimable would be enough if it were free, for at most 16 rounds without
//! progress; or as long as compaction has not tried its hardest. Linux: `should_reclaim_retry`, `should_compact_retry`,
//! `check_retry_cpuset`.
//!
//! Linux did more before v4.12: it believed less of what is reclaimable with every round without progress.

use super::{COSTLY_ORDER, End, Outcome, SlowPath};
use crate::addr::Order;
use crate::mm::compaction;
use crate::mm::memory::{Env, Hook};
use crate::mm::node::MAX_RECLAIM_RETRIES;
use crate::mm::owner::PageOwner;
use crate::mm::sleep;
use crate::mm::zone::Zone;
use crate::mmzone::Watermark;
use crate::reclaim_types::{CompactPriority, CompactResult};
use crate::task::TaskFlags;
use crate::trace::oom::Oom;
use crate::trace::reasons::RetryReason;
use crate::vmstat::ZoneStat;

/// Successful compactions without a block before the next priority. Linux: `MAX_COMPACT_RETRIES`.
const MAX_COMPACT_RETRIES: u32 = 16;

/// What a zone says about another round of reclaim.
enum Hope {
    /// Reclaiming everything would not help.
    None,
    /// It would.
    Enough,
    /// It would, but most of it is on its way to the disk.
    AfterWriteback,
}

impl<E: Env> SlowPath<'_, '_, '_, '_, E> {
    /// S12: whether reclaim may still make enough room. Linux: `should_reclaim_retry`.
    pub(super) fn should_reclaim_retry(&mut self) -> bool {
        if self.progress && self.ac.order.get() <= COSTLY_ORDER {
            self.no_progress_loops = 0;
        } else {
            self.no_progress_loops += 1;
        }
        if self.no_progress_loops > MAX_RECLAIM_RETRIES {
            // The last reserve before somebody is killed.
            return self.unreserve_highatomic(true);
        }
        let mut retry = false;
        for zoneref in self.ac.zonelist.eligible(self.ac.highest, self.ac.nodemask) {
            match self.hope_in(self.memory.zone(usize::from(zoneref.zone))) {
                Hope::None => {}
                Hope::Enough => {
                    retry = true;
                    break;
                }
                Hope::AfterWriteback => {
                    sleep::congestion_wait(self.memory, self.current);
                    return true;
                }
            }
        }
        // A worker keeps others of its queue from running as long as it does not sleep.
        if self.current.flags().contains(TaskFlags::PF_WQ_WORKER) {
            sleep::schedule_timeout(self.memory, self.current, 1);
        } else {
            sleep::cond_resched(self.memory, self.current);
        }
        retry
    }

    /// Whether the request could be served by the zone if everything reclaimable in it were reclaimed.
    fn hope_in(&self, zone: &Zone) -> Hope {
        let reclaimable = reclaimable_pages(zone, self.memory.env.owner().swap_space().free > 0);
        let available = reclaimable + zone.counts.free_pages();
        let min_wmark = zone.watermark(Watermark::Min);
        let enough = zone.watermark_ok_with(self.ac.order, min_wmark, self.ac.classzone, self.flags, available);
        self.memory.trace(self.current, || Oom::ReclaimRetryZone {
            zone: zone.zone_ref(),
            order: self.ac.order,
            reclaimable,
            available,
            min_wmark,
            no_progress_loops: self.no_progress_loops,
            wmark_check: enough,
        });
        let being_written = zone.stat(ZoneStat::NrZoneWritePending);
        match enough {
            false => Hope::None,
            true if !self.progress && 2 * being_written > reclaimable => Hope::AfterWriteback,
            true => Hope::Enough,
        }
    }

    /// S13: whether compaction has not tried its hardest yet. Linux: `should_compact_retry`.
    pub(super) fn should_compact_retry(&mut self) -> bool {
        if self.ac.order == Order::ZERO {
            return false;
        }
        let (result, priority, retries) = (self.compact_result, self.compact_priority, self.compact_retries);
        if result.made_progress() {
            self.compact_retries += 1;
        }
        let costly = self.ac.order.get() > COSTLY_ORDER;
        // A failure, or too many successes that did not help, calls for more effort.
        let mut max_retries = MAX_COMPACT_RETRIES;
        let retry = if result.failed() {
            self.compact_harder(costly)
        } else if result.withdrawn() {
            self.any_zone_suitable()
        } else {
            max_retries = if costly { MAX_COMPACT_RETRIES / 4 } else { MAX_COMPACT_RETRIES };
            self.compact_retries <= max_retries || self.compact_harder(costly)
        };
        self.memory.trace(self.current, || Oom::CompactRetry {
            order: self.ac.order,
            priority,
            result,
            retries,
            max_retries,
            should_retry: retry,
        });
        retry
    }

    /// Raises the effort, if there is a step left.
    fn compact_harder(&mut self, costly: bool) -> bool {
        let hardest = if costly { CompactPriority::MIN_COSTLY } else { CompactPriority::MIN };
        match self.compact_priority.harder() {
            Some(harder) if self.compact_priority > hardest => {
                self.compact_priority = harder;
                self.compact_retries = 0;
                true
            }
            _ => false,
        }
    }

    /// Whether some zone would have enough to compact into if a part of what is reclaimable in it were free; the part is
    /// v5.0's, one `order`th. Linux: `compaction_zonelist_suitable`.
    fn any_zone_suitable(&self) -> bool {
        let (memory, ac) = (self.memory, &self.ac);
        let swap = memory.env.owner().swap_space().free > 0;
        ac.zonelist.eligible(ac.highest, ac.nodemask).any(|zoneref| {
            let zone = memory.zone(usize::from(zoneref.zone));
            let part = reclaimable_pages(zone, swap) / u64::from(ac.order.get());
            let available = part + zone.counts.free_pages();
            compaction::suitable_with(zone, ac.order, self.flags, ac.classzone, available) != CompactResult::Skipped
        })
    }

    /// S14, S20: begins again if the nodes that the task may use have changed meanwhile, or are not those of its
    /// nodemask. Linux: `check_retry_cpuset`.
    #[inline(always)]
    pub(super) fn check_retry_cpuset(&mut self) -> Outcome {
        if !self.memory.has(Hook::Cpusets) {
            return Ok(());
        }
        let allowed = self.current.task.mems_allowed();
        if self.ac.nodemask.is_some_and(|nodes| !nodes.intersects(allowed)) {
            self.ac.nodemask = None;
            return Err(End::RetryCpuset(RetryReason::NodemaskOutsideCpuset));
        }
        let is_changed = self.current.task.placement.mems_cookie() != self.mems_cookie;
        if is_changed { Err(End::RetryCpuset(RetryReason::CpusetChanged)) } else { Ok(()) }
    }
}

/// Pages of the zone that reclaim could free. Linux: `zone_reclaimable_pages`.
fn reclaimable_pages(zone: &Zone, swap: bool) -> u64 {
    let file = zone.stat(ZoneStat::NrZoneInactiveFile) + zone.stat(ZoneStat::NrZoneActiveFile);
    let anon = zone.stat(ZoneStat::NrZoneInactiveAnon) + zone.stat(ZoneStat::NrZoneActiveAnon);
    if swap { file + anon } else { file }
}
