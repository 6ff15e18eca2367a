//! The last steps before a request fails, and victims, in words.

use core::fmt::{self, Formatter};

use super::either;
use crate::trace::Oom;

pub fn words(event: &Oom, f: &mut Formatter<'_>) -> fmt::Result {
    match *event {
        Oom::ReclaimRetryZone { zone, reclaimable, available, min_wmark, no_progress_loops, wmark_check, .. } => {
            let free = available.saturating_sub(reclaimable);
            write!(
                f,
                "{}: {reclaimable} reclaimable + {free} free = {available} against min {min_wmark}: ",
                zone.zone
            )?;
            f.write_str(either(wmark_check, "would be enough, so reclaim is worth it", "would not be enough"))?;
            write!(f, "; {no_progress_loops} of 16 rounds without progress")
        }
        Oom::CompactRetry { result, priority, retries, max_retries, should_retry, .. } => {
            write!(f, "compaction at {} ended {}; ", priority.name(), result.name())?;
            write!(f, "{retries} of {max_retries} successes that did not help: ")?;
            f.write_str(either(should_retry, "once more", "enough of it"))
        }
        Oom::MarkVictim { pid } => write!(f, "task {pid} must die; until then it may use half of min"),
        Oom::WakeReaper { pid } => write!(f, "the reaper is to take the memory of task {pid} at once"),
        Oom::StartTaskReaping { pid } => write!(f, "the reaper begins with task {pid}"),
        Oom::FinishTaskReaping { pid } => write!(f, "the reaper has taken the memory of task {pid}"),
        Oom::SkipTaskReaping { pid } => write!(f, "the memory of task {pid} is gone already"),
        Oom::OomScoreAdjUpdate { comm, oom_score_adj, .. } => {
            write!(f, "{comm} counts {oom_score_adj} thousandths of all memory more than it has")
        }
    }
}
