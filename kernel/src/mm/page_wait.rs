//! Waiting for a page: for its lock, and for the end of its writeback.
//!
//! All waiters share one queue, which [`super::swap::unlock_page`] and the end of a write wake. Writes end only when
//! somebody looks at the clock; so whoever waits looks at every tick, and ends the writes that are due. Linux:
//! `wait_on_page_bit`. Linux does more: a hash table of queues, and it hands the lock on.

use super::memory::{Env, Memory};
use super::page::PageFlags;
use super::page_io;
use super::pc_error::PcError;
use super::sleep;
use super::users::Users;
use crate::task::Current;

/// Sleeps until `ready`.
///
/// # Errors
///
/// When the caller's work is called off, or it must not sleep.
pub(super) fn wait_until<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    mut ready: impl FnMut() -> bool,
) -> Result<(), PcError> {
    while !ready() {
        if sleep::interrupted(memory) || current.context().in_atomic() {
            return Err(PcError::Interrupted);
        }
        sleep::wait_event(memory, current, &memory.page_wait, Some(1), &mut ready);
        page_io::complete_due(memory, current, users);
    }
    Ok(())
}

/// Locks a page to which the caller has a reference. Linux: `lock_page_killable`.
///
/// # Errors
///
/// When the wait was called off; the page is not locked then.
pub(super) fn lock_page<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    index: u32,
) -> Result<(), PcError> {
    let page = users.page(index);
    if page.try_lock() {
        return Ok(());
    }
    let mut locked = false;
    wait_until(memory, current, users, || {
        locked = locked || page.try_lock();
        locked
    })
}

/// Sleeps until the page is written. Linux: `wait_on_page_writeback`.
///
/// # Errors
///
/// When the wait was called off.
pub(super) fn wait_on_page_writeback<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    index: u32,
) -> Result<(), PcError> {
    wait_until(memory, current, users, || !users.page(index).flags().contains(PageFlags::WRITEBACK))
}
