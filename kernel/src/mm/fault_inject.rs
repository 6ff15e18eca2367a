//! Requests that fail because a person said so, to see whether whoever asks can live with it.
//!
//! A task's `fail-nth` counts its requests down, those for pages and those for objects of slab caches alike, and the one
//! that makes it 0 fails as if there were no memory: at once, with nothing tried and no report of its own. So a test can
//! let the first request of an operation fail, then the second, and so on until the operation gets through. Interrupts
//! and requests with `__GFP_NOFAIL` do not count. The number is `/proc/PID/fail-nth`.
//!
//! Linux: `lib/fault-inject.c`, `mm/failslab.c`, `should_fail_alloc_page`.
//! Linux does more: failures at random, at an interval, for callers within a range of addresses; and by default it spares
//! requests for single pages, those that may wait, and those for highmem.

use super::memory::{Env, Hook, Memory};
use crate::addr::Order;
use crate::gfp::Gfp;
use crate::task::{Current, Task};

/// Lets the `nth` request of `task` from now on fail; 0 for none.
pub fn set_fail_nth<E: Env>(memory: &Memory<'_, E>, task: &Task, nth: u32) {
    task.set_fail_nth(nth);
    memory.set_hook(Hook::FailNth, memory.env.tasks().iter().any(|task| task.fail_nth() > 0));
}

/// Whether this request for pages has to fail. Linux: `should_fail_alloc_page`.
#[cold]
pub(super) fn should_fail_alloc_page<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    gfp: Gfp,
    order: Order,
) -> bool {
    let fails = should_fail(memory, current, gfp);
    if fails {
        log::info!("FAULT_INJECTION: forcing a failure: fail_page_alloc, order:{order}, mode:{}", gfp.mode());
    }
    fails
}

/// Whether this request for an object of the cache called `name` has to fail. Linux: `should_failslab`.
#[cold]
pub(super) fn should_failslab<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, gfp: Gfp, name: &str) -> bool {
    let fails = should_fail(memory, current, gfp);
    if fails {
        log::info!("FAULT_INJECTION: forcing a failure: failslab, cache {name}, mode:{}", gfp.mode());
    }
    fails
}

/// Linux: `should_fail`.
fn should_fail<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, gfp: Gfp) -> bool {
    let context = current.context();
    let in_task = !context.in_irq() && !context.in_serving_softirq();
    let counts = in_task && !gfp.contains(Gfp::__GFP_NOFAIL);
    let fails = counts && current.task.count_down_fail_nth();
    if fails {
        // Nobody may be left who counts.
        set_fail_nth(memory, current.task, 0);
    }
    fails
}
