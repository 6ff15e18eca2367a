//! Whose memory a task may use: the nodes of its cpuset.
//!
//! Only asked while some task may not use every node ([`super::memory::Hook::Cpusets`]). Linux: `kernel/cgroup/cpuset.c`.
//!
//! Linux does more: cpusets form a tree, and a request without `__GFP_HARDWALL` may go up in it.

use super::zone::Zone;
use crate::gfp::Gfp;
use crate::task::{Current, TaskFlags};

/// Whether the cpuset of `current` lets it use the zone's node. Linux: `__cpuset_zone_allowed`.
pub(super) fn cpuset_allows(current: &Current<'_>, zone: &Zone, gfp: Gfp) -> bool {
    current.context().in_interrupt()
        || current.task.mems_allowed().contains(zone.node)
        || current.task.is_oom_victim()
        || (!gfp.contains(Gfp::__GFP_HARDWALL) && current.flags().contains(TaskFlags::PF_EXITING))
}
