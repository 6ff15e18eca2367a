//! Where the allocator waits: nowhere else.
//!
//! Sleeping is forbidden in interrupts and atomic sections. A request that may sleep is told so when it comes
//! ([`report_might_sleep`]); if it later really wants to, [`schedule_timeout`] and its kin report that and go on at once, as if
//! the time were over. A caller whose work is called off (^C) is woken, and everything that loops asks
//! [`interrupted`]. Linux: `___might_sleep`, `schedule_timeout`, `__schedule_bug`, `congestion_wait`.

use super::memory::{Env, Memory};
use super::warn;
use crate::sched::{HZ, Scheduler, Wait, WaitQueue};
use crate::task::Current;
use crate::trace::writeback::Writeback;
use crate::vmstat::LabEvent;

/// A request that may sleep came from where sleeping is forbidden; reported once a second. Linux: `___might_sleep`.
#[cold]
pub fn report_might_sleep<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, place: &str) {
    if memory.printed.sleep.admit(memory.env.now_ns(), 1_000_000_000, 1).is_none() {
        return;
    }
    let (in_atomic, irqs_disabled) = (current.context().in_atomic(), current.context().in_irq());
    log::error!("BUG: sleeping function called from invalid context at {place}");
    log::error!(
        "in_atomic(): {}, irqs_disabled(): {}, pid: {}, name: {}",
        u8::from(in_atomic),
        u8::from(irqs_disabled),
        current.task.pid(),
        current.task.comm()
    );
    warn::dump_stack(memory, current);
    memory.printed.add_taint();
}

/// Whether the caller may sleep here; if not, that is reported. Linux: `__schedule_bug`.
fn may_sleep<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>) -> bool {
    if !current.context().in_atomic() {
        return true;
    }
    memory.count_lab(LabEvent::SchedWhileAtomic);
    let count = current.context().preempt_count();
    log::error!("BUG: scheduling while atomic: {}/{}/{count:#010x}", current.task.comm(), current.task.pid());
    warn::dump_stack(memory, current);
    memory.printed.add_taint();
    false
}

/// Whether the caller's work was called off.
pub fn interrupted<E: Env>(memory: &Memory<'_, E>) -> bool {
    memory.env.sched().interrupted()
}

/// Sleeps for `ticks`, or until the caller's work is called off.
pub fn schedule_timeout<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, ticks: u64) {
    wait_event(memory, current, &WaitQueue::new(), Some(ticks), || false);
}

/// Sleeps until `ready`, for at most `timeout` ticks. Whoever makes the condition true wakes `queue` afterwards.
pub fn wait_event<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    queue: &WaitQueue,
    timeout: Option<u64>,
    mut ready: impl FnMut() -> bool,
) -> Wait {
    if ready() {
        return Wait::Ready(timeout.unwrap_or(u64::MAX));
    }
    if may_sleep(memory, current) { queue.wait(memory.env.sched(), timeout, ready) } else { Wait::TimedOut }
}

/// Lets others run, if the tick asked for it or [`Memory::resched`] says so.
pub fn cond_resched<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>) {
    if !current.context().in_atomic() {
        memory.env.sched().cond_resched(memory.resched.get());
    }
}

/// Sleeps for a tenth of a second, in the hope that the disk gets on with its writes. Linux: `congestion_wait(HZ/10)`.
pub fn congestion_wait<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>) {
    let start = memory.env.now_ns();
    schedule_timeout(memory, current, HZ / 10);
    let usec_delayed = usec_since(memory, start);
    memory.trace(current, || Writeback::WritebackCongestionWait { usec_timeout: 100_000, usec_delayed });
}

/// [`congestion_wait`] if a device is `congested`; else lets others run. Linux: `wait_iff_congested(HZ/10)`.
pub fn wait_iff_congested<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, congested: bool) {
    let start = memory.env.now_ns();
    match congested {
        true => schedule_timeout(memory, current, HZ / 10),
        false => cond_resched(memory, current),
    }
    let usec_delayed = usec_since(memory, start);
    memory.trace(current, || Writeback::WritebackWaitIffCongested { usec_timeout: 100_000, usec_delayed });
}

fn usec_since<E: Env>(memory: &Memory<'_, E>, start_ns: u64) -> u32 {
    ((memory.env.now_ns() - start_ns) / 1000) as u32
}
