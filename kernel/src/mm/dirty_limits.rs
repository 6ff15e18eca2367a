//! How many pages may be dirty: the limits above which writing starts, and those who dirty pages wait.
//!
//! Of the pages that could be dirty (free ones and file pages) `vm.dirty_background_ratio` per cent may be before the
//! flusher starts, `vm.dirty_ratio` before a writer has to wait; half-way between nobody minds. [`balance_dirty_pages`] is
//! what a writer calls after each page.
//!
//! Linux: `global_dirtyable_memory`, `domain_dirty_limits`, `balance_dirty_pages` of `mm/page-writeback.c`.
//! Linux does more: it measures each device and lets writers pause just as long as it needs; limits in bytes, and for each
//! device, memory cgroup and highmem.

use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::memory::{Env, Memory};
use super::page_io;
use super::sleep;
use super::users::Users;
use crate::sched::HZ;
use crate::task::{Current, Task, TaskFlags};
use crate::vmstat::NodeStat;

/// Parts into which Linux divides ratios. Linux: `PAGE_SIZE` in `domain_dirty_limits`.
const PARTS: u64 = 4096;
/// How long a writer pauses before it looks again.
const PAUSE: u64 = HZ / 5;

/// Limits of dirty pages, in pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirtyLimits {
    /// Above it writers wait. Linux: `nr_dirty_threshold`.
    pub threshold: u64,
    /// Above it the flusher writes. Linux: `nr_dirty_background_threshold`.
    pub background: u64,
}

impl DirtyLimits {
    /// Up to here a writer goes on. Linux: `dirty_freerun_ceiling`.
    pub const fn freerun(self) -> u64 {
        self.threshold.midpoint(self.background)
    }

    /// A task that cleans memory, or is in a hurry, may have more.
    #[must_use]
    pub const fn raised(self) -> DirtyLimits {
        let extra = self.threshold / 32;
        DirtyLimits {
            threshold: self.threshold + self.threshold / 4 + extra,
            background: self.background + self.background / 4 + extra,
        }
    }
}

/// Pages that could be dirty. Linux: `global_dirtyable_memory`.
pub fn dirtyable<E: Env>(memory: &Memory<'_, E>) -> u64 {
    let free: u64 = memory.zones().map(|zone| zone.counts.free_pages()).sum();
    let file = |stat| memory.online_nodes().map(|node| node.stat(stat)).sum::<u64>();
    let cached = file(NodeStat::NrInactiveFile) + file(NodeStat::NrActiveFile);
    free.saturating_sub(memory.totalreserve()) + cached + 1
}

/// The limits of the machine now. Linux: `global_dirty_limits`.
pub fn dirty_limits<E: Env>(memory: &Memory<'_, E>) -> DirtyLimits {
    let dirtyable = dirtyable(memory);
    let part = |ratio: &AtomicU64| PARTS * ratio.load(Relaxed) / 100 * dirtyable / PARTS;
    let (threshold, background) = (part(&memory.sysctl.dirty_ratio), part(&memory.sysctl.dirty_background_ratio));
    DirtyLimits { threshold, background: if background >= threshold { threshold / 2 } else { background } }
}

/// The limits for `task`.
fn limits_for<E: Env>(memory: &Memory<'_, E>, task: &Task) -> DirtyLimits {
    let limits = dirty_limits(memory);
    let may_have_more = task.flags().contains(TaskFlags::PF_LESS_THROTTLE) || task.is_realtime();
    if may_have_more { limits.raised() } else { limits }
}

/// Pages of files that are dirty or being written.
pub(super) fn nr_dirty<E: Env>(memory: &Memory<'_, E>) -> u64 {
    let dirty = |node: &super::node::Node| node.stat(NodeStat::NrDirty) + node.stat(NodeStat::NrWriteback);
    memory.online_nodes().map(dirty).sum()
}

/// Has whoever made a page dirty wait while there are too many of them. A task that is told to die does not wait on.
///
/// Linux: `balance_dirty_pages`, whose pauses are shorter.
pub fn balance_dirty_pages<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, users: &Users<'_>) {
    loop {
        let (limits, dirty) = (limits_for(memory, current.task), nr_dirty(memory));
        if dirty <= limits.freerun() {
            return;
        }
        if users.flusher.is_asleep() {
            users.flusher.wake(memory.env.sched());
        }
        let gives_up = current.task.is_dying() || current.context().in_atomic() || sleep::interrupted(memory);
        if dirty <= limits.threshold || gives_up {
            return;
        }
        sleep::schedule_timeout(memory, current, PAUSE);
        page_io::complete_due(memory, current, users);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cleans_memory_may_have_a_quarter_and_a_bit_more() {
        let limits = DirtyLimits { threshold: 3200, background: 1600 };
        assert_eq!(limits.freerun(), 2400);
        assert_eq!(limits.raised(), DirtyLimits { threshold: 4100, background: 2100 });
    }
}
