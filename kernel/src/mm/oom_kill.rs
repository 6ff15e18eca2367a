//! The OOM killer: when nothing can be reclaimed any more, one task dies so that the others may go on.
//!
//! [`out_of_memory`] is the ladder: reasons to wait instead, reasons to stop the machine, and else a victim.
//! [`oom_badness`] weighs a task: the pages that its death would free, moved by its `oom_score_adj`. Then come [`kill`],
//! the [`reaper`], which takes a victim's memory before it notices, and the task's [`exit`]; what is printed is in
//! [`report`]. Whoever calls holds the [`OomLock`]. Neighbours: the slow path asks; [`PageOwner`] has the memory.
//! Linux: `mm/oom_kill.c`.
//!
//! Linux does more: memory cgroups run out on their own, drivers are asked for memory first (`oom_notify_list`), and
//! tasks may share their memory, by threads or by `vfork`.

use crate::sync::atomic::Ordering::Relaxed;
use core::fmt;

use super::alloc_context::AllocContext;
use super::cpuset;
use super::memory::{Env, Hook, Memory};
use super::mempolicy;
use super::oom_state::OomLock;
use super::owner::PageOwner;
use super::sleep;
use super::warn;
use super::zonelist::Zonelist;
use crate::addr::PAGE_SIZE;
use crate::gfp::Gfp;
use crate::mmzone::{NodeId, NodeMask};
use crate::sched::Wait;
use crate::task::{Current, MmFlags, OOM_SCORE_ADJ_MIN, PinnedTask, Task, TaskFlags};

mod exit;
mod kill;
mod reaper;
mod report;

pub use exit::{exit_oom_victim, exit_task};
pub use kill::mark_oom_victim;
pub use reaper::{oom_reaper, reap_one, wake_oom_reaper};

/// A call for a victim. Linux: `struct oom_control`.
pub struct OomControl<'a> {
    /// The mask of the request; empty for a page fault.
    pub gfp: Gfp,
    /// Its order; -1 when a person asks. Linux: `is_sysrq_oom`.
    pub order: i32,
    /// The zones that it may use, if it is known which.
    pub zonelist: Option<&'a Zonelist>,
    /// The highest zone index among them.
    pub highest: usize,
    /// The nodes that it may use; `None` for all.
    pub nodemask: Option<NodeMask>,
    /// Pages of which it could have had any, in memory or swapped out.
    totalpages: u64,
}

impl<'a> OomControl<'a> {
    /// A page fault that found no memory.
    pub const PAGE_FAULT: OomControl<'static> =
        OomControl { gfp: Gfp::empty(), order: 0, zonelist: None, highest: 0, nodemask: None, totalpages: 0 };

    /// A request that found no memory.
    pub fn for_request(ac: &AllocContext<'a>) -> OomControl<'a> {
        let AllocContext { gfp, order, zonelist, highest, nodemask, .. } = *ac;
        let order = order.get() as i32;
        OomControl { gfp, order, zonelist: Some(zonelist), highest, nodemask, totalpages: 0 }
    }

    /// A person who wants somebody killed.
    fn sysrq(zonelist: &'a Zonelist, highest: usize) -> OomControl<'a> {
        let gfp = Gfp::GFP_KERNEL;
        OomControl { gfp, order: -1, zonelist: Some(zonelist), highest, nodemask: None, totalpages: 0 }
    }

    /// Whether a person asked, who is not answered with a panic.
    fn is_sysrq(&self) -> bool {
        self.order == -1
    }
}

/// What keeps the request from memory that there is. Linux: `enum oom_constraint`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Constraint {
    None,
    /// The cpuset of the task.
    Cpuset,
    /// The nodes of the request.
    MemoryPolicy,
}

/// Whom the search found.
enum Chosen<'t> {
    Nobody,
    /// The task, and its badness.
    Victim(PinnedTask<'t>, u64),
    /// Somebody is about to die; wait for it.
    Aborted,
}

/// Makes room by killing, or finds that there is somebody to wait for; `false` when there is neither.
///
/// The caller holds the [`OomLock`]: two who run out at once must not both kill.
///
/// # Panics
///
/// When there is nobody left to kill, or `panic_on_oom` says so; the reports are out then. Linux: `out_of_memory`.
pub fn out_of_memory<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, oc: &mut OomControl<'_>) -> bool {
    if memory.oom.is_disabled() {
        return false;
    }
    if will_free_mem(current.task) {
        mark_oom_victim(memory, current, current.task);
        wake_oom_reaper(memory, current, current.task);
        return true;
    }
    // Without __GFP_FS reclaim could do little: somebody else will do more. A page fault has no mask at all.
    if !oc.gfp.is_empty() && !oc.gfp.contains(Gfp::__GFP_FS) {
        return true;
    }
    let constraint = constrained_alloc(memory, current, oc);
    if constraint != Constraint::MemoryPolicy {
        oc.nodemask = None;
    }
    check_panic_on_oom(memory, current, oc, constraint);
    if may_kill_asker(memory, current, oc) {
        kill::oom_kill_process(memory, current, oc, current.task, 0, "Out of memory (oom_kill_allocating_task)");
        return true;
    }
    match select_bad_process(memory, current, oc) {
        Chosen::Victim(task, points) => {
            // In 64 bits and then 32, as Linux computes it: the score of an oom_origin means nothing.
            let score = (points.wrapping_mul(1000) / oc.totalpages) as u32;
            kill::oom_kill_process(memory, current, oc, &task, score, "Out of memory");
            true
        }
        Chosen::Aborted => true,
        Chosen::Nobody => {
            report::dump_header(memory, current, oc, None);
            log::warn!("Out of memory and no killable processes...");
            if !oc.is_sysrq() {
                warn::panic(format_args!("System is deadlocked on memory"));
            }
            false
        }
    }
}

/// Whether the task gives its memory back soon, without being told. Linux: `task_will_free_mem`.
fn will_free_mem(task: &Task) -> bool {
    task.has_mm()
        && !task.flags().contains(TaskFlags::PF_DUMPCORE)
        && (task.is_dying() || task.flags().contains(TaskFlags::PF_EXITING))
        && !task.mm.has(MmFlags::OOM_SKIP)
}

/// What keeps the request from memory, and how many pages it could have had. Linux: `constrained_alloc`.
fn constrained_alloc<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, oc: &mut OomControl<'_>) -> Constraint {
    let swap = memory.env.owner().swap_space().total;
    let spanned = |nodes: NodeMask| -> u64 {
        let nodes = memory.online_nodes().filter(|node| nodes.contains(node.id));
        nodes.map(|node| node.span.nr_pages()).sum()
    };
    oc.totalpages = totalpages(memory);
    let Some(zonelist) = oc.zonelist.filter(|_| !oc.gfp.contains(Gfp::__GFP_THISNODE)) else {
        return Constraint::None;
    };
    if let Some(nodes) = oc.nodemask.filter(|nodes| !nodes.contains_all(memory.nodes_with_memory())) {
        oc.totalpages = swap + spanned(nodes);
        return Constraint::MemoryPolicy;
    }
    let mut zones = zonelist.eligible(oc.highest, oc.nodemask).map(|zone| memory.zone(usize::from(zone.zone)));
    if memory.has(Hook::Cpusets) && zones.any(|zone| !cpuset::cpuset_allows(memory, current, zone, oc.gfp)) {
        oc.totalpages = swap + spanned(current.task.mems_allowed());
        return Constraint::Cpuset;
    }
    Constraint::None
}

/// Pages of the machine, in memory or swapped out: what badness is measured by.
pub fn totalpages<E: Env>(memory: &Memory<'_, E>) -> u64 {
    memory.totalram() + memory.env.owner().swap_space().total
}

/// Stops the machine if the user wants that rather than a kill. Linux: `check_panic_on_oom`.
fn check_panic_on_oom<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    oc: &OomControl<'_>,
    constraint: Constraint,
) {
    let how = match memory.sysctl.panic_on_oom.load(Relaxed) {
        2 => "compulsory",
        1 if constraint == Constraint::None => "system-wide",
        _ => return,
    };
    if !oc.is_sysrq() {
        report::dump_header(memory, current, oc, None);
        warn::panic(format_args!("Out of memory: {how} panic_on_oom is enabled"));
    }
}

/// Whether the one who asks is to die, without a search.
fn may_kill_asker<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, oc: &OomControl<'_>) -> bool {
    memory.sysctl.oom_kill_allocating_task.load(Relaxed) != 0
        && current.task.has_mm()
        && !is_unkillable(current, current.task, oc.nodemask)
        && current.task.oom_score_adj() != OOM_SCORE_ADJ_MIN
}

/// Whether the task is out of the question: the first one, a kernel thread, or one whose memory would not help.
/// Linux: `oom_unkillable_task`.
fn is_unkillable(current: &Current<'_>, task: &Task, nodes: Option<NodeMask>) -> bool {
    let helps = || match nodes {
        Some(nodes) => mempolicy::may_have_memory_of(task, nodes),
        None => current.task.mems_allowed().intersects(task.mems_allowed()),
    };
    task.is_init() || task.flags().contains(TaskFlags::PF_KTHREAD) || !helps()
}

/// How bad the task is: the pages that its death would free, moved by `oom_score_adj` thousandths of `totalpages`; 0 for
/// never. Linux: `oom_badness`.
pub fn oom_badness(current: &Current<'_>, task: &Task, nodes: Option<NodeMask>, totalpages: u64) -> u64 {
    let adj = task.oom_score_adj();
    if is_unkillable(current, task, nodes)
        || !task.has_mm()
        || adj == OOM_SCORE_ADJ_MIN
        || task.mm.has(MmFlags::OOM_SKIP)
    {
        return 0;
    }
    let page_tables = task.mm.pgtables_bytes.load(Relaxed) / PAGE_SIZE;
    let points = task.mm.rss() + task.mm.swapents.load(Relaxed) + page_tables;
    // Never 0: who may be killed has a score.
    (points as i64 + i64::from(adj) * (totalpages / 1000) as i64).max(1) as u64
}

/// The worst task, the oldest of them; unless a victim is still about to die. Linux: `select_bad_process`.
fn select_bad_process<'m, E: Env>(memory: &'m Memory<'_, E>, current: &Current<'_>, oc: &OomControl<'_>) -> Chosen<'m> {
    let (mut chosen, mut most) = (Chosen::Nobody, 0);
    for task in memory.env.tasks().pinned_by_age() {
        if is_unkillable(current, &task, oc.nodemask) {
            continue;
        }
        if !oc.is_sysrq() && task.is_oom_victim() {
            if task.mm.has(MmFlags::OOM_SKIP) {
                continue;
            }
            return Chosen::Aborted;
        }
        let points = match task.oom.is_origin() {
            true => u64::MAX,
            false => oom_badness(current, &task, oc.nodemask, oc.totalpages),
        };
        // Of two origins the later is chosen, of two equals the older.
        if points > most || task.oom.is_origin() {
            (chosen, most) = (Chosen::Victim(task, points), points);
        }
    }
    chosen
}

/// Chooses and kills somebody because a page fault found no memory. Linux: `pagefault_out_of_memory`.
pub fn pagefault_out_of_memory<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>) {
    if let Some(_lock) = memory.oom.try_lock() {
        out_of_memory(memory, current, &mut OomControl { ..OomControl::PAGE_FAULT });
    }
}

/// Chooses and kills somebody because a person wants it, even if a victim is about to die; whether there was anybody.
///
/// Linux: `moom_callback`, sysrq `f`.
pub fn sysrq_oom<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>) -> bool {
    let Some(_lock) = wait_for_lock(memory, current) else { return false };
    let first = memory.populated_zones().next().map_or(NodeId(0), |zone| zone.node);
    let (zonelist, highest) = (&memory.node(first).fallback, memory.zone_table.zone(Gfp::GFP_KERNEL));
    let killed = out_of_memory(memory, current, &mut OomControl::sysrq(zonelist, highest));
    if !killed {
        log::info!("OOM request ignored. No task eligible");
    }
    killed
}

/// Lets nobody be killed from now on, once every victim has exited; `false` if they do not within `timeout` ticks.
///
/// Linux: `oom_killer_disable`.
pub fn oom_killer_disable<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, timeout: u64) -> bool {
    let Some(lock) = wait_for_lock(memory, current) else { return false };
    memory.oom.set_disabled(true);
    drop(lock);
    let none_left = || memory.oom.victims() == 0;
    let wait = sleep::wait_event(memory, current, &memory.oom.victims_wait, Some(timeout), none_left);
    let disabled = matches!(wait, Wait::Ready(_));
    memory.oom.set_disabled(disabled);
    disabled
}

/// Waits until nobody else kills; `None` when the caller's work is called off. Linux: `mutex_lock(&oom_lock)`.
pub fn wait_for_lock<'m, E: Env>(memory: &'m Memory<'_, E>, current: &Current<'_>) -> Option<OomLock<'m>> {
    loop {
        match memory.oom.try_lock() {
            Some(lock) => return Some(lock),
            None if sleep::interrupted(memory) => return None,
            None => sleep::schedule_timeout(memory, current, 1),
        }
    }
}

/// KiB of `pages`.
const fn kib(pages: u64) -> u64 {
    pages * (PAGE_SIZE / 1024)
}

/// A victim's memory in a message.
fn rss(task: &Task) -> impl fmt::Display {
    let [anon, file, shmem] =
        [&task.mm.anon_rss, &task.mm.file_rss, &task.mm.shmem_rss].map(|pages| kib(pages.load(Relaxed)));
    fmt::from_fn(move |f| write!(f, "anon-rss:{anon}kB, file-rss:{file}kB, shmem-rss:{shmem}kB"))
}

#[cfg(test)]
mod tests;
