//! Using anonymous pages: where they are, and bringing them back.
//!
//! A page that its task uses is mapped, or in the swap cache and needs to be mapped again ([`Fault::Minor`]), or in its
//! slot only and needs to be read ([`Fault::Major`]). [`write()`] makes a new version of it, which its slot does not have.
//! [`bring_in`] is what a fault does, for any task's page: `swapoff` brings in everybody's.
//!
//! Linux: `mm/memory.c`, `handle_mm_fault`, `do_swap_page`, `do_wp_page`. Linux does more: it reads neighbours ahead.

use crate::sync::atomic::Ordering::Relaxed;

use super::anon;
use super::content::{self, Content};
use super::filemap::wait_for_read;
use super::memory::{Env, Memory};
use super::page::PageFlags;
use super::page_alloc;
use super::page_io::PAGE_KIB;
use super::page_wait::lock_page;
use super::pc_error::PcError;
use super::rmap;
use super::store::{self, Stored};
use super::swap;
use super::swapfile::{self, swap_space};
use super::tables::MapFlags;
use super::users::{PageUser, State, Users};
use crate::gfp::Gfp;
use crate::task::{Current, Task};
use crate::vmstat::{LabEvent, VmEvent};

/// How a page was found when it was used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Mapped: no fault.
    None,
    /// In the swap cache. Linux: `VM_FAULT_MINOR`.
    Minor,
    /// In its slot, from which it was read. Linux: `VM_FAULT_MAJOR`.
    Major,
}

/// A place in a task's memory.
#[derive(Clone, Copy)]
pub(super) struct At<'t> {
    pub task: &'t Task,
    /// The virtual page number.
    pub vpn: u32,
}

/// Where a task's page is.
enum Whereabouts {
    /// Mapped; it is young now.
    Mapped,
    /// In the swap cache only; the page, with a reference.
    SwapCache(u32),
    /// In this slot only.
    Slot(u32),
}

/// Where a task's page is, and its record. A page that is nowhere was lost.
fn look_up<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, at: At<'_>) -> Result<(u32, Whereabouts), PcError> {
    users.locked(memory, |state| {
        let entry = anon::find(users, state, at.task, at.vpn).ok_or(PcError::NoPage(at.vpn))?;
        let anon = users.anon(entry);
        let whereabouts = match (anon.page(), anon.slot()) {
            (Some(_), _) if anon.state.get().contains(MapFlags::MAPPED) => {
                anon.state.set(MapFlags::YOUNG);
                Whereabouts::Mapped
            }
            (Some(index), _) => {
                users.page(index).get(1);
                users.swap_cache.searched.fetch_add(1, Relaxed);
                users.swap_cache.found.fetch_add(1, Relaxed);
                Whereabouts::SwapCache(index)
            }
            (None, Some(slot)) => {
                users.swap_cache.searched.fetch_add(1, Relaxed);
                Whereabouts::Slot(slot)
            }
            (None, None) => return Err(PcError::NoPage(at.vpn)),
        };
        Ok((entry, whereabouts))
    })
}

/// Uses a page of the acting task, wherever it is.
///
/// # Errors
///
/// When the task has no such page, or there is no memory to read it into. Linux: `handle_mm_fault`, `do_swap_page`.
pub fn touch<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    vpn: u32,
) -> Result<Fault, PcError> {
    let fault = bring_in(memory, current, users, At { task: current.task, vpn })?;
    memory.count(VmEvent::Pgfault, u64::from(fault != Fault::None));
    memory.count(VmEvent::Pgmajfault, u64::from(fault == Fault::Major));
    Ok(fault)
}

/// Maps a task's page, wherever it is; how it was found.
///
/// # Errors
///
/// As [`touch`].
pub(super) fn bring_in<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    at: At<'_>,
) -> Result<Fault, PcError> {
    let mut fault = Fault::Minor;
    loop {
        match look_up(memory, users, at)? {
            (_, Whereabouts::Mapped) => return Ok(Fault::None),
            (entry, Whereabouts::Slot(slot)) => {
                fault = Fault::Major;
                swap_in(memory, current, users, at, (entry, slot))?;
            }
            (entry, Whereabouts::SwapCache(index)) => {
                let mapped = map_cached(memory, current, users, at.task, entry, index);
                swap::put_page(memory, current, index);
                if mapped? {
                    return Ok(fault);
                }
            }
        }
    }
}

/// Reads a page from its slot into the swap cache. Linux: `read_swap_cache_async`, `swap_readpage`.
fn swap_in<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    at: At<'_>,
    (entry, slot): (u32, u32),
) -> Result<(), PcError> {
    let place = u64::from(at.vpn);
    let index = memory.pages.index(page_alloc::alloc_page_vma(memory, current, Gfp::GFP_HIGHUSER_MOVABLE, place)?);
    let page = users.page(index);
    page.set_flags(PageFlags::LOCKED | PageFlags::SWAPBACKED);
    let added = users.locked(memory, |state| {
        // The task may have been reaped while it waited for the page.
        let wanted = is_in_slot(users, state, at, (entry, slot)) && users.anon(entry).page().is_none();
        if wanted {
            users.anon(entry).page.store(index, Relaxed);
            users.set_user(index, PageUser::Anon(entry));
            swapfile::add_to_swap_cache(memory, users, index);
        }
        wanted
    });
    if added {
        swap::lru_cache_add(memory, current, index);
        memory.count(VmEvent::Pgpgin, PAGE_KIB);
        memory.count(VmEvent::Pswpin, 1);
        wait_for_read(memory, current, users);
        end_swap_in(memory, users, at, (entry, slot), index);
    }
    swap::unlock_page(memory, index);
    swap::put_page(memory, current, index);
    Ok(())
}

/// Whether the task's page has this record and this slot. The caller has locked the tables.
fn is_in_slot(users: &Users<'_>, state: &State, at: At<'_>, (entry, slot): (u32, u32)) -> bool {
    anon::find(users, state, at.task, at.vpn) == Some(entry) && users.anon(entry).slot() == Some(slot)
}

/// Fills a page with what its slot has, which must be what its task wrote last; if the task still has it.
fn end_swap_in<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, at: At<'_>, place: (u32, u32), index: u32) {
    let stored =
        users.locked(memory, |state| is_in_slot(users, state, at, place).then(|| store::read_slot(users, place.1)));
    let Some(Stored { version, sum }) = stored else { return };
    let (pid, vpn) = (at.task.pid(), at.vpn);
    content::write(memory, index, Content::anon(pid, vpn, version));
    if sum != Some(content::sum(memory, index)) {
        memory.count_lab(LabEvent::PcCorrupt);
        log::error!("anon: CORRUPT task={pid} vpn={vpn}");
    }
    users.page(index).set_flags(PageFlags::UPTODATE);
}

/// Maps a page of the swap cache again; whether it is still there. Linux: the end of `do_swap_page`.
fn map_cached<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    task: &Task,
    entry: u32,
    index: u32,
) -> Result<bool, PcError> {
    lock_page(memory, current, users, index)?;
    let mapped = users.locked(memory, |_| {
        let anon = users.anon(entry);
        let absent = anon.page() == Some(index) && !anon.state.get().contains(MapFlags::MAPPED);
        if absent {
            users.page(index).get(1);
            rmap::anon_present(memory, users, entry, index);
            task.mm.swapents.fetch_sub(1, Relaxed);
        }
        absent
    });
    if mapped {
        swap::activate_page(memory, current, index);
        let space = swap_space(users);
        if space.free * 2 < space.total {
            swapfile::try_to_free_swap(memory, users, index);
        }
    }
    swap::unlock_page(memory, index);
    Ok(mapped)
}

/// Writes a page of the acting task: its version is one higher then, which is returned.
///
/// # Errors
///
/// As [`touch`]. Linux: a write fault, `do_wp_page`.
pub fn write<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    vpn: u32,
) -> Result<u32, PcError> {
    loop {
        touch(memory, current, users, vpn)?;
        let found = users.locked(memory, |state| {
            let entry = anon::find(users, state, current.task, vpn)?;
            let index = users.anon(entry).page()?;
            users.page(index).get(1);
            Some((entry, index))
        });
        let Some((entry, index)) = found else { continue };
        let written = lock_page(memory, current, users, index).map(|()| {
            let anon = users.anon(entry);
            let is_mapped = || anon.page() == Some(index) && anon.state.get().contains(MapFlags::MAPPED);
            let version = is_mapped().then(|| write_locked(memory, current, users, entry, vpn, index));
            swap::unlock_page(memory, index);
            version
        });
        swap::put_page(memory, current, index);
        if let Some(version) = written? {
            return Ok(version);
        }
    }
}

fn write_locked<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    entry: u32,
    vpn: u32,
    index: u32,
) -> u32 {
    let version = users.anon(entry).version.load(Relaxed) + 1;
    content::write(memory, index, Content::anon(current.task.pid(), vpn, version));
    users.locked(memory, |_| {
        // Unless the task is reaped right now.
        if users.anon(entry).page() == Some(index) {
            users.anon(entry).version.store(version, Relaxed);
        }
    });
    // The slot, if it has one, is out of date.
    users.page(index).set_flags(PageFlags::DIRTY);
    version
}
