//! Anonymous memory: pages of tasks with no file behind them, in memory or in the swap space.
//!
//! [`populate`] gives the acting task fresh pages, [`free`] and [`free_all`] give pages up; using and writing them is
//! told by `fault.rs`. Every page has a version, which its task counts up as it writes; [`check`] compares what is in
//! memory and in the slots with it, so that a page that was dropped or mixed up is found out.
//!
//! Neighbours: `swapfile` has the slots and the swap cache, `rmap` the one mapping. Linux: `mm/memory.c`,
//! `do_anonymous_page`, `zap_pte_range`. Linux does more: areas, copy on write, huge pages.

use crate::sync::atomic::Ordering::Relaxed;

use super::content::{self, Content};
use super::memory::{Env, Memory};
use super::page::{NIL, PageFlags};
use super::page_alloc;
use super::pc_error::PcError;
use super::rmap;
use super::sleep;
use super::sparse::{CHUNK_ENTRIES, Place};
use super::store;
use super::swap;
use super::swapfile;
use super::tables::MapFlags;
use super::users::{MAX_INDEX, PageUser, State, Users};
use super::verify::Verified;
use crate::gfp::Gfp;
use crate::task::{Current, MmFlags, Task};
use crate::vmstat::{LabEvent, VmEvent};

/// What became of [`populate`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Populated {
    /// Virtual page number of the first new page.
    pub first: u32,
    /// New pages.
    pub pages: u32,
    /// Why there are no more.
    pub refused: Option<PcError>,
}

/// The place of a task's page in the table.
pub(super) fn place_of(task: &Task, vpn: u32) -> Place {
    Place::new(u32::from(task.pid()) - 1, vpn)
}

/// The virtual page number behind the highest one that the task uses.
fn next_vpn(users: &Users<'_>, state: &State, task: &Task) -> u32 {
    let chunks = users.tables.anon_chunks;
    let Some(chunk) = state.anons.last_chunk(chunks, place_of(task, 0).object) else { return 0 };
    let is_used = |vpn: &u32| find(users, state, task, *vpn).is_some();
    (chunk.index..chunk.index + CHUNK_ENTRIES).rfind(is_used).map_or(chunk.index, |vpn| vpn + 1)
}

/// The virtual page numbers that `task` may use: those below this one.
pub fn span<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, task: &Task) -> u32 {
    users.locked(memory, |state| next_vpn(users, state, task))
}

/// Gives the acting task up to `count` more pages, which it has used once; they are active.
pub fn populate<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, users: &Users<'_>, count: u32) -> Populated {
    let first = users.locked(memory, |state| next_vpn(users, state, current.task));
    let mut populated = Populated { first, pages: 0, refused: None };
    while populated.pages < count && populated.refused.is_none() {
        match add_page(memory, current, users, first + populated.pages) {
            Ok(()) => populated.pages += 1,
            Err(error) => populated.refused = Some(error),
        }
        sleep::cond_resched(memory, current);
    }
    populated
}

/// A fresh page for a virtual page number that has none. Linux: `do_anonymous_page`.
fn add_page<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, users: &Users<'_>, vpn: u32) -> Result<(), PcError> {
    if vpn >= MAX_INDEX {
        return Err(PcError::Index(u64::from(vpn)));
    }
    if sleep::interrupted(memory) || current.task.is_dying() {
        return Err(PcError::Interrupted);
    }
    users.locked(memory, |state| make_entry(users, state, current.task, vpn))?;
    memory.count(VmEvent::Pgfault, 1);
    let index =
        memory.pages.index(page_alloc::alloc_page_vma(memory, current, Gfp::GFP_HIGHUSER_MOVABLE, u64::from(vpn))?);
    content::write(memory, index, Content::anon(current.task.pid(), vpn, 1));
    let added = users.locked(memory, |state| {
        // The task may have been killed and reaped while it waited for the page: its record is gone then, and must not
        // come back. Linux: `check_stable_address_space`.
        let anon = match current.task.mm.has(MmFlags::UNSTABLE) || current.task.mm.is_gone() {
            true => return Err(PcError::Interrupted),
            false => make_entry(users, state, current.task, vpn)?,
        };
        if !users.anon(anon).is_blank() {
            return Ok(false);
        }
        users.page(index).set_flags(PageFlags::SWAPBACKED | PageFlags::UPTODATE | PageFlags::ACTIVE);
        users.anon(anon).version.store(1, Relaxed);
        users.anon(anon).page.store(index, Relaxed);
        users.set_user(index, PageUser::Anon(anon));
        rmap::anon_present(memory, users, anon, index);
        current.task.mm.total_vm.fetch_add(1, Relaxed);
        Ok(true)
    });
    match added {
        Ok(true) => swap::lru_cache_add(memory, current, index),
        // Or somebody else who acts as the task was faster.
        Ok(false) | Err(_) => _ = swap::put_page(memory, current, index),
    }
    added.map(drop)
}

/// The record of a task's page. The caller has locked the tables.
fn make_entry(users: &Users<'_>, state: &mut State, task: &Task, vpn: u32) -> Result<u32, PcError> {
    let init = |entry| users.anon(entry).init();
    let made = state.anons.find_or_add(users.tables.anon_chunks, place_of(task, vpn), init);
    made.map_err(|_| PcError::TableFull("anonymous pages", users.tables.anons.len()))
}

/// Gives up a page of the acting task.
///
/// # Errors
///
/// When the task has no such page. Linux: `munmap`.
pub fn free<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, users: &Users<'_>, vpn: u32) -> Result<(), PcError> {
    free_page(memory, current, users, current.task, vpn).map(drop).ok_or(PcError::NoPage(vpn))
}

/// The record of a page that the task has. The caller has locked the tables.
pub(super) fn find(users: &Users<'_>, state: &State, task: &Task, vpn: u32) -> Option<u32> {
    let entry = state.anons.find(users.tables.anon_chunks, place_of(task, vpn));
    entry.filter(|&entry| !users.anon(entry).is_blank())
}

/// Gives up a page wherever it is; whether it was in memory. `None` if the task has none there. Linux: `zap_pte_range`,
/// `free_swap_and_cache`.
fn free_page<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    task: &Task,
    vpn: u32,
) -> Option<bool> {
    let page = users.locked(memory, |state| {
        let entry = find(users, state, task, vpn)?;
        let anon = users.anon(entry);
        let page = anon.page();
        if let Some(index) = page {
            users.page(index).get(1);
        }
        match page {
            Some(index) if anon.state.get().contains(MapFlags::MAPPED) => {
                rmap::anon_absent(memory, users, entry, index);
            }
            _ => _ = task.mm.swapents.fetch_sub(1, Relaxed),
        }
        if let Some(index) = page {
            swapfile::delete_from_swap_cache(memory, users, index);
        }
        swapfile::free_slot(users, entry);
        anon.page.store(NIL, Relaxed);
        anon.version.store(0, Relaxed);
        task.mm.total_vm.fetch_sub(1, Relaxed);
        Some(page)
    })?;
    Some(page.inspect(|&index| _ = swap::put_page(memory, current, index)).is_some())
}

/// Calls `each` with the virtual page number of every page of `task`.
fn for_each_page<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    task: &Task,
    mut each: impl FnMut(u32),
) {
    let mut from = place_of(task, 0);
    let next = |from| users.locked(memory, |state| state.anons.next_chunk(users.tables.anon_chunks, from));
    while let Some((chunk, first)) = next(from).filter(|(_, first)| first.object == from.object) {
        for nth in 0..CHUNK_ENTRIES {
            if !users.anon(chunk * CHUNK_ENTRIES + nth).is_blank() {
                each(first.index + nth);
            }
        }
        from.index = first.index + CHUNK_ENTRIES;
        sleep::cond_resched(memory, current);
    }
}

/// Gives up all pages of `task`; how many were in memory. Linux: `exit_mmap`, `__oom_reap_task_mm`.
pub fn free_all<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, users: &Users<'_>, task: &Task) -> u64 {
    let mut freed = 0;
    for_each_page(memory, current, users, task, |vpn| {
        freed += u64::from(free_page(memory, current, users, task, vpn) == Some(true));
    });
    users.locked(memory, |state| {
        let blank = |entry| users.anon(entry).is_blank();
        state.anons.remove_blank(users.tables.anon_chunks, place_of(task, 0).object, blank);
    });
    freed
}

/// Checks every page of `task`: in memory, byte for byte; in its slot, by what the slot remembers. What is lost is
/// counted and logged.
pub fn check<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, users: &Users<'_>, task: &Task) -> Verified {
    let mut verified = Verified::default();
    for_each_page(memory, current, users, task, |vpn| {
        verified.pages += 1;
        if !is_there(memory, current, users, task, vpn) {
            verified.lost += 1;
            memory.count_lab(LabEvent::PcLost);
            log::error!("anon: LOST task={} vpn={vpn}", task.pid());
        }
    });
    verified
}

/// Whether what the task wrote last is in memory or, without a page there, in its slot.
fn is_there<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, users: &Users<'_>, task: &Task, vpn: u32) -> bool {
    let found = users.locked(memory, |state| {
        let anon = users.anon(find(users, state, task, vpn)?);
        let page = anon.page().filter(|&index| users.page(index).flags().contains(PageFlags::UPTODATE));
        if let Some(index) = page {
            users.page(index).get(1);
        }
        Some((page, anon.slot().map(|slot| store::read_slot(users, slot)), anon.version.load(Relaxed)))
    });
    match found {
        // Given up meanwhile.
        None => true,
        Some((None, stored, version)) => stored.is_some_and(|stored| stored.version == version),
        Some((Some(index), _, version)) => {
            let holds = content::matches(memory, index, Content::anon(task.pid(), vpn, version));
            swap::put_page(memory, current, index);
            holds
        }
    }
}
