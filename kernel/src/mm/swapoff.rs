//! Giving the swap space up: whatever is in it comes back to memory first.
//!
//! [`swapoff`] closes the space, so that nobody gets a slot any more and reclaim takes it for full; brings every page in
//! whose slot is in use, as a fault of its task would, and frees the slot; then forgets the space. If it is called off,
//! or there is no memory, the space is open again, with the slots that are left. Meanwhile the caller is the first whom
//! the OOM killer would kill: it is the one who fills memory.
//!
//! Linux: `sys_swapoff`, `try_to_unuse`, `__vm_enough_memory` of `mm/util.c`.
//! Linux does more: it goes through the memory of the tasks, not through the slots, and brings in pages of shared memory.

use super::fault::{self, At};
use super::memory::{Env, Memory};
use super::page_wait::{lock_page, wait_on_page_writeback};
use super::pc_error::PcError;
use super::sleep;
use super::swap;
use super::swapfile::{self, swap_space};
use super::users::Users;
use crate::task::Current;
use crate::vmstat::NodeStat;

/// Brings all pages of the swap space back and gives the space up; nothing happens without one.
///
/// # Errors
///
/// When there is no room for them in memory, somebody else gives the space up already, or the work is called off: some
/// pages may be back then, and the others still have their slots. Linux: `swapoff`.
pub fn swapoff<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, users: &Users<'_>) -> Result<(), PcError> {
    let (slots, room) = (swap_space(users).total, room(memory, users));
    if slots > 0 && room <= slots {
        return Err(PcError::NoRoomToUnuse(slots, room));
    }
    let slots = users.locked(memory, |state| swapfile::close(users, state))?;
    current.task.oom.set_origin(true);
    let unused = (0..slots).try_for_each(|slot| unuse(memory, current, users, slot));
    current.task.oom.set_origin(false);
    users.locked(memory, |state| swapfile::end_close(users, state, unused.is_ok()));
    unused
}

/// Pages that may be promised to somebody: what is free, cached, reclaimable, or swapped to free slots, beyond the
/// reserves. Linux: `__vm_enough_memory` with `OVERCOMMIT_GUESS`.
fn room<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>) -> u64 {
    const MAY_GO: [NodeStat; 3] =
        [NodeStat::NrFilePages, NodeStat::NrSlabReclaimable, NodeStat::NrKernelMiscReclaimable];
    let free: u64 = memory.populated_zones().map(|zone| zone.counts.free_pages()).sum();
    let of_node = |stat| memory.online_nodes().map(|node| node.stat(stat)).sum::<u64>();
    let reserve: u64 = memory.online_nodes().map(|node| node.totalreserve()).sum();
    (free + swap_space(users).free + MAY_GO.map(of_node).iter().sum::<u64>()).saturating_sub(reserve)
}

/// Has a slot's page in memory, and nobody in the slot. Linux: the loop of `try_to_unuse`.
fn unuse<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, users: &Users<'_>, slot: u32) -> Result<(), PcError> {
    while let Some((pid, vpn)) = users.locked(memory, |_| swapfile::owner(users, slot)) {
        if sleep::interrupted(memory) || current.task.is_dying() {
            return Err(PcError::Interrupted);
        }
        // Without a task, whoever buried it is about to free the slot.
        if let Some(task) = memory.env.tasks().by_pid(pid) {
            let at = At { task, vpn };
            match fault::bring_in(memory, current, users, at) {
                Ok(_) => leave_slot(memory, current, users, slot)?,
                Err(PcError::NoPage(_)) => {}
                Err(error) => return Err(error),
            }
        }
        sleep::cond_resched(memory, current);
    }
    Ok(())
}

/// Waits until a slot's page, if it is in memory, is not being written, and takes the slot from it.
fn leave_slot<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    slot: u32,
) -> Result<(), PcError> {
    let held = users.locked(memory, |_| {
        let index = users.anon(swapfile::entry_of(users, slot)?).page()?;
        users.page(index).get(1);
        Some(index)
    });
    let Some(index) = held else { return Ok(()) };
    let left = lock_page(memory, current, users, index).and_then(|()| {
        let written = wait_on_page_writeback(memory, current, users, index);
        if written.is_ok() {
            swapfile::try_to_free_swap(memory, users, index);
        }
        swap::unlock_page(memory, index);
        written
    });
    swap::put_page(memory, current, index);
    left
}
