//! Reports that are no failure of a request: warnings that come once, who ran, and the end.
//!
//! [`warn_on_once`] prints what Linux's `WARN_ON_ONCE` does, [`dump_stack`] says who ran, [`ratelimited`] keeps a report from
//! filling the log, [`panic()`] stops the machine. Neighbour: [`super::printed`] remembers what came before.
//! Linux: `__warn`, `dump_stack_print_info`, `___ratelimit`, `panic`.
//!
//! Linux does more: registers and loaded modules.

use core::fmt;

use super::memory::{Env, Memory};
use super::printed::{RateLimit, WarnOnce};
use crate::sched::JIFFY_NS;
use crate::task::Current;
use crate::vmstat::LabEvent;

/// What the kernel calls itself in reports. Linux: `init_utsname()->release`.
pub const RELEASE: &str = "5.0.0-uk";

/// Letters of the taint flags, in Linux's order, when something happened that should not have: `TAINT_WARN`.
const TAINTED: &str = "Tainted: G        W        ";

/// Who runs, where and on what. Linux: `dump_stack`.
#[cold]
pub fn dump_stack<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>) {
    let taint = if memory.printed.is_tainted() { TAINTED } else { "Not tainted" };
    let (cpu, pid, comm) = (memory.cpu(), current.task.pid(), current.task.comm());
    log::warn!("CPU: {cpu} PID: {pid} Comm: {comm} {taint} {RELEASE} {}", env!("CARGO_PKG_VERSION"));
    if let Some(name) = memory.env.hardware_name() {
        log::warn!("Hardware name: {name} (DT)");
    }
    memory.env.log_call_trace();
}

/// Prints the warning if it comes up for the first time since boot. Linux: `WARN_ON_ONCE`.
#[cold]
pub fn warn_on_once<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, warning: WarnOnce) {
    let Some(number) = memory.printed.first(warning) else { return };
    memory.count_lab(LabEvent::WarnOnce);
    let (line, function) = warning.place();
    log::warn!("------------[ cut here ]------------");
    let (cpu, pid) = (memory.cpu(), current.task.pid());
    log::warn!("WARNING: CPU: {cpu} PID: {pid} at mm/page_alloc.c:{line} {function}");
    dump_stack(memory, current);
    log::warn!("---[ end trace {number:016x} ]---");
    memory.printed.add_taint();
}

/// Whether `function` may report once more, `burst` times within `interval` ticks; says how many reports it left out.
///
/// Linux: `__ratelimit`.
pub(super) fn ratelimited<E: Env>(
    memory: &Memory<'_, E>,
    limit: &RateLimit,
    interval: u64,
    burst: u32,
    function: &str,
) -> bool {
    let admitted = limit.admit(memory.env.now_ns(), interval * JIFFY_NS, burst);
    if let Some(suppressed @ 1..) = admitted {
        log::warn!("{function}: {suppressed} callbacks suppressed");
    }
    admitted.is_some()
}

/// Stops the machine for good, because going on makes no sense. Linux: `panic`.
///
/// # Panics
///
/// Always.
#[cold]
#[track_caller]
pub fn panic(reason: fmt::Arguments<'_>) -> ! {
    log::error!("Kernel panic - not syncing: {reason}");
    panic!("{reason}")
}
