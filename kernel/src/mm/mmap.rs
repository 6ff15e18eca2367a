//! File pages in tasks' memory: mapping, using and unmapping them, and locking them there.
//!
//! [`map`] makes a page of a file part of the acting task's memory and brings it in; [`touch`] uses it, which brings it
//! in again if reclaim took it. [`mlock`] keeps it in, on the list of pages that cannot be reclaimed. Everything is done
//! by the acting task to itself, as a fault or a system call is.
//!
//! Linux: `mm/mmap.c`, `mm/memory.c`, `mm/mlock.c`. Linux does more: areas of many pages, writing through mappings.

use crate::sync::atomic::{
    Ordering::{Relaxed, SeqCst},
    fence,
};

use super::filemap::{Lookup, get_page};
use super::memory::{Env, Memory};
use super::page::{NIL, PageFlags};
use super::pagecache::entry_locked;
use super::pc_error::PcError;
use super::rmap;
use super::sparse::Place;
use super::swap;
use super::tables::MapFlags;
use super::users::{State, Users, add_zone_stat};
use crate::task::{Current, Task};
use crate::vmstat::{VmEvent, ZoneStat};

/// Maps the page at `place` into the acting task's memory, and uses it.
///
/// # Errors
///
/// When a table is full, or there is no memory for the page; the mapping is there then, but not the page. Linux: `mmap`.
pub fn map<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    place: Place,
    exec: bool,
) -> Result<Lookup, PcError> {
    let flags = if exec { MapFlags::EXEC } else { MapFlags::empty() };
    users.locked(memory, |state| {
        let entry = entry_locked(users, state, place)?;
        match rmap::find(users, entry, current.task) {
            Some(number) => {
                users.mapping(number).state.set(flags);
                Ok(())
            }
            None => {
                let added = rmap::add(users, state, entry, current.task, flags);
                added.map(drop).ok_or(PcError::TableFull("mappings", users.tables.mappings.len()))
            }
        }
    })?;
    touch(memory, current, users, place)
}

/// Uses a page through the acting task's mapping; whether it was there.
///
/// # Errors
///
/// When the task did not map it, or there is no memory for it. Linux: `handle_mm_fault`.
pub fn touch<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    place: Place,
) -> Result<Lookup, PcError> {
    if use_present(memory, users, place, current.task).ok_or(PcError::NotMapped(place))? {
        return Ok(Lookup::Hit);
    }
    memory.count(VmEvent::Pgfault, 1);
    loop {
        let (lookup, _, index) = get_page(memory, current, users, place)?;
        if lookup == Lookup::Miss {
            memory.count(VmEvent::Pgmajfault, 1);
        }
        let mapped = users.locked(memory, |state| {
            // Perhaps the file was cut off meanwhile, and another one has the record.
            let (entry, number) = find(users, state, place, current.task)?;
            let still_cached = users.file(entry).page() == Some(index);
            if still_cached {
                rmap::set_present(memory, users, number, index);
            }
            Some(still_cached)
        });
        swap::put_page(memory, current, index);
        if mapped.ok_or(PcError::NotMapped(place))? {
            return Ok(lookup);
        }
        // Evicted at once.
    }
}

/// The record of the page at `place`, and the task's mapping of it.
fn find(users: &Users<'_>, state: &State, place: Place, task: &Task) -> Option<(u32, u32)> {
    let entry = state.files.find(users.tables.file_chunks, place)?;
    Some((entry, rmap::find(users, entry, task)?))
}

/// Marks a mapping young if it is present; whether it is. `None` if there is no mapping.
fn use_present<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, place: Place, task: &Task) -> Option<bool> {
    users.locked(memory, |state| {
        let (_, number) = find(users, state, place, task)?;
        let state = &users.mapping(number).state;
        let present = state.get().contains(MapFlags::MAPPED);
        if present {
            state.set(MapFlags::YOUNG);
        }
        Some(present)
    })
}

/// Ends the acting task's mapping of the page at `place`.
///
/// # Errors
///
/// When there is none. Linux: `munmap`.
pub fn unmap<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    place: Place,
) -> Result<(), PcError> {
    let choose = |state: &State| find(users, state, place, current.task).map(|(_, number)| number);
    if unmap_chosen(memory, current, users, choose) { Ok(()) } else { Err(PcError::NotMapped(place)) }
}

/// Ends the mapping that `choose` chooses, under the tables' lock; whether it chose one.
fn unmap_chosen<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    choose: impl FnOnce(&State) -> Option<u32>,
) -> bool {
    let unmapped = users.locked(memory, |state| {
        let number = choose(state)?;
        let page = users.file(users.mapping(number).page.load(Relaxed)).page();
        if let Some(index) = page {
            users.page(index).get(1);
            rmap::set_absent(memory, users, number, index);
        }
        rmap::remove(memory, users, state, number);
        Some(page)
    });
    if let Some(Some(index)) = unmapped {
        rescue(memory, current, users, index);
        swap::put_page(memory, current, index);
    }
    unmapped.is_some()
}

/// Ends all mappings of files in the memory of `task`, which exits. Linux: `exit_mmap`.
pub fn unmap_all<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, users: &Users<'_>, task: &Task) {
    let ever_used = users.locked(memory, |state| state.mappings.ever_used());
    let is_its = |number: u32| {
        let mapping = users.mapping(number);
        mapping.page.load(Relaxed) != NIL && mapping.task.load(Relaxed) == u32::from(task.pid())
    };
    for number in (0..ever_used).filter(|number| is_its(*number)) {
        // It may have gone by itself, and another task have the record.
        unmap_chosen(memory, current, users, |_| Some(number).filter(|number| is_its(*number)));
    }
}

/// Locks the page at `place` into memory for the acting task, which maps it.
///
/// # Errors
///
/// As [`touch`]. Linux: `mlock`, `mlock_vma_page`.
pub fn mlock<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    place: Place,
) -> Result<(), PcError> {
    touch(memory, current, users, place)?;
    let locked = users.locked(memory, |state| {
        let (entry, number) = present(users, state, place, current.task)?;
        let index = users.file(entry).page()?;
        users.page(index).get(1);
        let first = !rmap::is_mlocked(users, entry);
        users.mapping(number).state.set(MapFlags::MLOCKED);
        Some((index, first))
    });
    let (index, first) = locked.ok_or(PcError::NotMapped(place))?;
    if first {
        add_zone_stat(memory, index, ZoneStat::NrMlock, 1);
        memory.count(VmEvent::UnevictablePgsMlocked, 1);
        // A page that reclaim has in its hands goes there when it is put back.
        if swap::isolate_lru_page(memory, index) {
            swap::cull(memory, users.page(index));
            swap::putback_lru_page(memory, current, index);
        }
    }
    swap::put_page(memory, current, index);
    Ok(())
}

/// The record and the mapping of the page, if the task's mapping is present.
fn present(users: &Users<'_>, state: &State, place: Place, task: &Task) -> Option<(u32, u32)> {
    let (entry, number) = find(users, state, place, task)?;
    users.mapping(number).state.get().contains(MapFlags::MAPPED).then_some((entry, number))
}

/// Undoes [`mlock`].
///
/// # Errors
///
/// When the acting task has not locked the page. Linux: `munlock`, `munlock_vma_page`.
pub fn munlock<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    place: Place,
) -> Result<(), PcError> {
    let unlocked = users.locked(memory, |state| {
        let (entry, number) = present(users, state, place, current.task)?;
        let was = users.mapping(number).state.clear(MapFlags::MLOCKED);
        let index = users.file(entry).page().filter(|_| !was.is_empty())?;
        users.page(index).get(1);
        Some((index, !rmap::is_mlocked(users, entry)))
    });
    let (index, last) = unlocked.ok_or(PcError::NotLocked(place))?;
    if last {
        add_zone_stat(memory, index, ZoneStat::NrMlock, -1);
        let is_stranded = !rescue(memory, current, users, index);
        memory.count(if is_stranded { VmEvent::UnevictablePgsStranded } else { VmEvent::UnevictablePgsMunlocked }, 1);
    }
    swap::put_page(memory, current, index);
    Ok(())
}

/// Brings a page that nobody keeps in memory any more back to the lists that reclaim looks at; false if somebody else has
/// it in their hands, who does it then. Linux: `__munlock_isolated_page`, `__munlock_isolation_failed`.
fn rescue<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, users: &Users<'_>, index: u32) -> bool {
    let page = users.page(index);
    // Who puts it back on a list finds that nobody keeps it any more, or is seen.
    fence(SeqCst);
    if !page.flags().contains(PageFlags::UNEVICTABLE) || rmap::is_page_mlocked(users, index) {
        return true;
    }
    let is_isolated = swap::isolate_lru_page(memory, index);
    if is_isolated {
        swap::putback_lru_page(memory, current, index);
    }
    is_isolated
}
