//! Swap space: slots outside memory for anonymous pages, and the swap cache.
//!
//! [`swapon`] makes slots. [`add_to_swap`] gives a page one: it becomes a dirty page of the swap cache, which holds a
//! reference, and can be written and evicted as a file's page is. The slot stays the page's until its task writes it
//! anew and [`try_to_free_swap`] takes it back, or until the task gives the page up.
//!
//! Neighbours: `page_io` writes pages to their slots, `fault` reads them back, `swapoff` all of them. Linux:
//! `mm/swapfile.c`, `mm/swap_state.c`. Linux does more: several areas with priorities, clusters, readahead, and slots that
//! several tasks share.

use crate::sync::atomic::Ordering::Relaxed;

use super::memory::{Env, Memory};
use super::owner::{SwapCache, SwapSpace};
use super::page::{NIL, PageFlags};
use super::pc_error::PcError;
use super::tables::MapFlags;
use super::users::{PageUser, State, Users, add_node_stat};
use crate::vmstat::NodeStat;

/// Slots that there are, and that nobody uses.
pub fn swap_space(users: &Users<'_>) -> SwapSpace {
    SwapSpace { total: users.swap_total.load(Relaxed), free: users.swap_free.load(Relaxed) }
}

/// What of it is in memory, too.
pub(super) fn swap_cache(users: &Users<'_>) -> SwapCache {
    let info = &users.swap_cache;
    let (added, deleted) = (info.added.load(Relaxed), info.deleted.load(Relaxed));
    let (found, searched) = (info.found.load(Relaxed), info.searched.load(Relaxed));
    SwapCache { pages: added - deleted, added, deleted, found, searched }
}

/// Makes swap space of `slots` slots, none of them in use. Linux: `swapon`.
///
/// # Errors
///
/// When the present swap space is in use, or there is no room for so many slots.
pub fn swapon<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, slots: u64) -> Result<(), PcError> {
    let limit = users.tables.slots.len();
    if slots > limit as u64 {
        return Err(PcError::TableFull("swap slots", limit));
    }
    users.locked(memory, |state| {
        if state.closing > 0 {
            return Err(PcError::SwapClosing);
        }
        let space = swap_space(users);
        if space.free < space.total {
            return Err(PcError::SwapInUse(space.total - space.free));
        }
        for slot in &users.tables.slots[..slots as usize] {
            slot.owner.store(NIL, Relaxed);
        }
        state.next_slot = 0;
        users.swap_total.store(slots, Relaxed);
        users.swap_free.store(slots, Relaxed);
        Ok(())
    })
}

/// Begins to give the space up: it has no slot any more for those who want one. How many it has. Linux: the first part of
/// `sys_swapoff`.
pub(super) fn close(users: &Users<'_>, state: &mut State) -> Result<u32, PcError> {
    if state.closing > 0 {
        return Err(PcError::SwapClosing);
    }
    state.closing = users.swap_total.swap(0, Relaxed) as u32;
    users.swap_free.store(0, Relaxed);
    Ok(state.closing)
}

/// Ends what [`close`] began: the space is gone, or as before, with the slots in use that are left. Linux:
/// `reinsert_swap_info`.
pub(super) fn end_close(users: &Users<'_>, state: &mut State, is_gone: bool) {
    let slots = core::mem::take(&mut state.closing);
    if !is_gone {
        let free = (0..slots).filter(|&slot| entry_of(users, slot).is_none()).count();
        users.swap_total.store(slots.into(), Relaxed);
        users.swap_free.store(free as u64, Relaxed);
    }
}

/// The record of the page that has a slot.
pub(super) fn entry_of(users: &Users<'_>, slot: u32) -> Option<u32> {
    Some(users.slot(slot).owner.load(Relaxed)).filter(|&entry| entry != NIL)
}

/// Task number and virtual page number of the page that has a slot.
pub(super) fn owner(users: &Users<'_>, slot: u32) -> Option<(u16, u32)> {
    entry_of(users, slot).map(|entry| users.anon_place(entry))
}

/// Takes a slot for an anonymous page. Linux: `get_swap_page`.
fn take_slot(users: &Users<'_>, state: &mut State, entry: u32) -> Option<u32> {
    let SwapSpace { total, free } = swap_space(users);
    if free == 0 {
        return None;
    }
    let is_free = |slot: &u32| entry_of(users, *slot).is_none();
    let number = (state.next_slot..total as u32).chain(0..state.next_slot).find(is_free)?;
    let slot = users.slot(number);
    slot.owner.store(entry, Relaxed);
    slot.version.store(0, Relaxed);
    state.next_slot = number + 1;
    users.swap_free.fetch_sub(1, Relaxed);
    Some(number)
}

/// Takes an anonymous page's slot away from it. It is free then, unless the space is given up. Linux: `swap_free`.
pub(super) fn free_slot(users: &Users<'_>, entry: u32) {
    let anon = users.anon(entry);
    if let Some(slot) = anon.slot() {
        users.slot(slot).owner.store(NIL, Relaxed);
        anon.slot.store(NIL, Relaxed);
        users.swap_free.fetch_add(u64::from(users.swap_total.load(Relaxed) > 0), Relaxed);
    }
}

/// Makes a page of memory one of the swap cache. Linux: `add_to_swap_cache`.
pub(super) fn add_to_swap_cache<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, index: u32) {
    let page = users.page(index);
    page.get(1);
    page.set_flags(PageFlags::SWAPCACHE);
    users.swap_cache.added.fetch_add(1, Relaxed);
    add_node_stat(memory, index, NodeStat::NrFilePages, 1);
}

/// Drops a page from the swap cache, with the cache's reference, which must not be the last. Linux:
/// `delete_from_swap_cache`.
pub(super) fn delete_from_swap_cache<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, index: u32) {
    let page = users.page(index);
    if !page.clear_flags(PageFlags::SWAPCACHE).is_empty() {
        page.put_testzero();
        users.swap_cache.deleted.fetch_add(1, Relaxed);
        add_node_stat(memory, index, NodeStat::NrFilePages, -1);
    }
}

/// Gives an anonymous page a slot; whether there was one. Linux: `add_to_swap`.
pub(super) fn add_to_swap<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, index: u32) -> bool {
    users.locked(memory, |state| {
        let Some(PageUser::Anon(entry)) = users.user_of(index) else { return false };
        let Some(slot) = take_slot(users, state, entry) else { return false };
        users.anon(entry).slot.store(slot, Relaxed);
        add_to_swap_cache(memory, users, index);
        users.page(index).set_flags(PageFlags::DIRTY);
        true
    })
}

/// Takes the slot of a page back, if the page is mapped and not just being written; the page is dirty then. Whether it
/// was possible. Linux: `try_to_free_swap`.
pub(super) fn try_to_free_swap<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, index: u32) -> bool {
    users.locked(memory, |_| {
        let Some(PageUser::Anon(entry)) = users.user_of(index) else { return false };
        let page = users.page(index);
        let is_mapped = users.anon(entry).state.get().contains(MapFlags::MAPPED);
        if !is_mapped || page.flags() & (PageFlags::SWAPCACHE | PageFlags::WRITEBACK) != PageFlags::SWAPCACHE {
            return false;
        }
        delete_from_swap_cache(memory, users, index);
        free_slot(users, entry);
        page.set_flags(PageFlags::DIRTY);
        true
    })
}
