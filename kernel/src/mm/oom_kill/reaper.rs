//! The reaper: a daemon that takes a victim's anonymous memory, since the victim may be waiting for memory itself.
//!
//! Victims come onto a list by [`wake_oom_reaper`], the last one first; [`reap_one`] sees to one of them, [`oom_reaper`] is
//! its life. Whatever comes of it, the victim is not waited for any longer afterwards: `MMF_OOM_SKIP`.
//! Linux: `oom_reaper`, `oom_reap_task`, `oom_reap_task_mm`.
//!
//! Linux does more: it spares areas that are locked or huge, and gives up when a device maps the pages.

use crate::sync::atomic::Ordering::Relaxed;

use super::rss;
use crate::mm::memory::{Env, Memory};
use crate::mm::owner::PageOwner;
use crate::mm::sleep;
use crate::sched::HZ;
use crate::task::{Current, MmFlags, Task};
use crate::trace::oom::Oom;

/// How often the reaper tries to read what a victim has mapped.
const MAX_OOM_REAP_RETRIES: u32 = 10;

/// Puts a victim onto the reaper's list, unless it was there before, and wakes the reaper. The caller has the task in
/// hand, or acts as it.
pub fn wake_oom_reaper<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, victim: &Task) {
    if victim.mm.set_flags(MmFlags::OOM_REAP_QUEUED) != MmFlags::empty() {
        return;
    }
    victim.oom.pin();
    let pin = memory.pin();
    let mut first = memory.oom.reaper_list.lock(&pin);
    victim.oom.reaper_next.store(*first, Relaxed);
    *first = victim.pid();
    drop(first);
    drop(pin);
    memory.trace(current, || Oom::WakeReaper { pid: u32::from(victim.pid()) });
    memory.oom.reaper.wake(memory.env.sched());
}

/// Takes the victim that came last off the list.
fn next_victim<'m, E: Env>(memory: &'m Memory<'_, E>) -> Option<&'m Task> {
    let pin = memory.pin();
    let mut first = memory.oom.reaper_list.lock(&pin);
    let victim = memory.env.tasks().pinned(*first)?;
    *first = victim.oom.reaper_next.load(Relaxed);
    Some(victim)
}

/// The daemon's whole life. Linux: `oom_reaper`.
pub fn oom_reaper<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>) {
    let daemon = &memory.oom.reaper;
    while daemon.wait_for_work(memory.env.sched(), None) {
        while reap_one(memory, current) {}
        daemon.work_done(memory.env.sched());
    }
}

/// Sees to the victim that came last; whether there was one. Linux: `oom_reap_task`.
pub fn reap_one<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>) -> bool {
    let Some(victim) = next_victim(memory) else { return false };
    let mut tries = 1;
    while !reap(memory, current, victim) {
        if tries == MAX_OOM_REAP_RETRIES {
            log::info!("oom_reaper: unable to reap pid:{} ({})", victim.pid(), victim.comm());
            break;
        }
        tries += 1;
        sleep::schedule_timeout(memory, current, HZ / 10);
    }
    victim.mm.set_flags(MmFlags::OOM_SKIP);
    victim.oom.unpin();
    true
}

/// Takes the victim's memory, unless it is gone; `false` while its mappings cannot be read. Linux: `oom_reap_task_mm`.
fn reap<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, victim: &Task) -> bool {
    let (pid, is_locked) = (u32::from(victim.pid()), victim.mm.is_mmap_locked());
    if is_locked || victim.mm.has(MmFlags::OOM_SKIP) {
        memory.trace(current, || Oom::SkipTaskReaping { pid });
        return !is_locked;
    }
    memory.trace(current, || Oom::StartTaskReaping { pid });
    victim.mm.set_flags(MmFlags::UNSTABLE);
    memory.env.owner().reap(memory, current, victim);
    log::info!("oom_reaper: reaped process {pid} ({}), now {}", victim.comm(), rss(victim));
    memory.trace(current, || Oom::FinishTaskReaping { pid });
    true
}
