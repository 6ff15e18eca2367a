//! Where a thread may be interrupted by another one, told to whoever explores that.
//!
//! Under `--cfg shuttle` every access to an atomic of this crate, every spin lock and every interrupt mask comes through
//! here. A test installs its [`Explorer`] for as long as it wants to decide who runs; without one these are ordinary
//! atomics, locks and masks. Neighbours: `sync` calls, the tests in `tests/concurrency` explore.

use std::cell::Cell;

/// Who decides which thread runs next; one for each thread of the host program, which runs all explored ones.
#[derive(Clone, Copy)]
pub struct Explorer {
    /// Another thread may run now.
    pub step: fn(),
    /// Lets others run until `ready`, which looks without any step, and may change what it looks at when it is.
    pub wait: fn(ready: &mut dyn FnMut() -> bool),
    /// Something changed that another thread may wait for.
    pub wake: fn(),
    /// Number of the thread that runs.
    pub me: fn() -> usize,
}

thread_local! {
    static EXPLORER: Cell<Option<Explorer>> = const { Cell::new(None) };
}

/// Lets `explorer` decide from now on, or nobody; who did before.
pub fn set_explorer(explorer: Option<Explorer>) -> Option<Explorer> {
    EXPLORER.replace(explorer)
}

/// Who decides; nobody while a panic unwinds.
fn explorer() -> Option<Explorer> {
    if std::thread::panicking() { None } else { EXPLORER.get() }
}

/// Another thread may run before what comes next.
pub(crate) fn step() {
    if let Some(explorer) = explorer() {
        (explorer.step)();
    }
}

/// Waits until `ready`.
pub(crate) fn wait(mut ready: impl FnMut() -> bool) {
    step();
    if ready() {
        return;
    }
    match explorer() {
        Some(explorer) => (explorer.wait)(&mut ready),
        None => {
            while !ready() {
                std::hint::spin_loop();
            }
        }
    }
}

/// Something changed that another thread may [`wait`] for.
pub(crate) fn wake() {
    if let Some(explorer) = explorer() {
        (explorer.wake)();
    }
}

/// Number of the thread that runs.
pub(crate) fn me() -> usize {
    explorer().map_or(0, |explorer| (explorer.me)())
}
