//! The kill: the chosen task or a child of it gets SIGKILL, and the reserves to get out of the way.
//!
//! Linux: `oom_kill_process`, `__oom_kill_process`, `mark_oom_victim`.

use crate::sync::atomic::Ordering::{Relaxed, SeqCst};
use crate::sync::atomic::fence;

use super::{OomControl, exit, kib, oom_badness, reaper, report, rss, will_free_mem};
use crate::mm::memory::{Env, Memory};
use crate::mm::warn;
use crate::mm::warn_alloc::DEFAULT_RATELIMIT;
use crate::task::{Current, MmFlags, PinnedTask, Task};
use crate::trace::oom::Oom;
use crate::vmstat::VmEvent;

/// Kills `chosen`, or rather one of its children, and says so.
pub(super) fn oom_kill_process<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    oc: &OomControl<'_>,
    chosen: &Task,
    score: u32,
    message: &str,
) {
    if will_free_mem(chosen) {
        mark_oom_victim(memory, current, chosen);
        reaper::wake_oom_reaper(memory, current, chosen);
        return;
    }
    let (interval, burst) = DEFAULT_RATELIMIT;
    if warn::ratelimited(memory, &memory.printed.oom, interval, burst, "oom_kill_process") {
        report::dump_header(memory, current, oc, Some(chosen));
    }
    let (pid, comm) = (chosen.pid(), chosen.comm());
    log::error!("{message}: Kill process {pid} ({comm}) score {score} or sacrifice child");
    match sacrifice(memory, current, oc, chosen) {
        Some(child) => kill(memory, current, &child),
        None => kill(memory, current, chosen),
    }
}

/// The worst child of the task, the oldest of them, so that as little work as possible is lost.
fn sacrifice<'t, E: Env>(
    memory: &'t Memory<'_, E>,
    current: &Current<'_>,
    oc: &OomControl<'_>,
    task: &Task,
) -> Option<PinnedTask<'t>> {
    let children = memory.env.tasks().pinned_by_age().filter(|child| child.parent() == task.pid());
    let (mut victim, mut most) = (None, 0);
    for child in children {
        let points = oom_badness(current, &child, oc.nodemask, oc.totalpages);
        if points > most {
            (victim, most) = (Some(child), points);
        }
    }
    victim
}

/// Tells the victim to die, opens the reserves to it, and sets the reaper on it. Linux: `__oom_kill_process`.
fn kill<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, victim: &Task) {
    if !victim.has_mm() {
        return;
    }
    memory.count(VmEvent::OomKill, 1);
    victim.kill();
    mark_oom_victim(memory, current, victim);
    let (pid, comm) = (victim.pid(), victim.comm());
    log::error!("Killed process {pid} ({comm}) total-vm:{}kB, {}", kib(victim.mm.total_vm.load(Relaxed)), rss(victim));
    reaper::wake_oom_reaper(memory, current, victim);
}

/// Makes the task a victim: it may use the reserves, and nobody else is killed until it is gone. It must have memory of
/// its own.
pub fn mark_oom_victim<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, task: &Task) {
    // Counted in before it is marked, for who exits is counted out by its mark.
    memory.oom.add_victim();
    if task.oom.set_memdie() {
        exit::remove_victim(memory);
        return;
    }
    if !task.set_oom_victim(true) {
        task.mm.set_flags(MmFlags::OOM_VICTIM);
    }
    // Either the task exits later and finds the mark, or it is seen here to have gone.
    fence(SeqCst);
    if task.mm.is_gone() {
        exit::exit_oom_victim(memory, task);
    }
    memory.trace(current, || Oom::MarkVictim { pid: u32::from(task.pid()) });
}
