//! How pages leave the cache: reclaim evicts them, a user drops the clean ones, a file is cut off.
//!
//! [`remove_mapping`] is reclaim's: the page must be clean, and referred to by nobody but its cache and the caller.
//! [`drop_pagecache`] is `drop_caches`: it leaves what is dirty, mapped, locked or pinned. [`truncate`] takes everything
//! of a file, store and ledger included, as if it had never been. Linux: `mm/truncate.c`, `__remove_mapping` of
//! `mm/vmscan.c`, `fs/drop_caches.c`.

use crate::sync::atomic::Ordering::Relaxed;

use super::content::{self, Content};
use super::filemap::report_corrupt;
use super::memory::{Env, Memory};
use super::page::{NIL, PageFlags};
use super::page_io;
use super::page_wait::{lock_page, wait_on_page_writeback};
use super::pagecache::{delete_from_page_cache, find_get_page, for_each_place, forget_shadow};
use super::pc_error::PcError;
use super::rmap;
use super::sparse::Place;
use super::swap;
use super::swapfile;
use super::tables::FileFlags;
use super::users::{PageUser, State, Users};
use crate::task::Current;
use crate::vmstat::{LabEvent, VmEvent};

/// Forgets a clean page, locked, to which only its cache and the caller refer, leaving `shadow`; the cache's reference
/// is dropped. Whether nobody else came. Linux: `__remove_mapping`.
pub(super) fn remove_mapping<E: Env>(
    memory: &Memory<'_, E>,
    users: &Users<'_>,
    index: u32,
    shadow: Option<u64>,
) -> bool {
    if users.check_evicted.load(Relaxed) {
        check_content(memory, users, index);
    }
    users.locked(memory, |_| {
        let page = users.page(index);
        if !page.freeze(2) {
            return false;
        }
        let clean = !page.flags().contains(PageFlags::DIRTY);
        match users.user_of(index) {
            Some(PageUser::File(entry)) if clean => delete_from_page_cache(memory, users, entry, index, shadow),
            Some(PageUser::Anon(entry)) if clean => evict_anon(memory, users, entry, index),
            _ => {
                page.unfreeze(2);
                return false;
            }
        }
        page.unfreeze(1);
        true
    })
}

/// The page is in its slot only, from now on.
fn evict_anon<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, entry: u32, index: u32) {
    users.anon(entry).page.store(NIL, Relaxed);
    // For the cache's reference, which is dropped with it.
    users.page(index).get(1);
    swapfile::delete_from_swap_cache(memory, users, index);
}

/// A page that is about to be evicted must hold what its user wrote last.
fn check_content<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, index: u32) {
    if !users.page(index).flags().contains(PageFlags::UPTODATE) {
        return;
    }
    match users.user_of(index) {
        Some(PageUser::File(entry)) => {
            let (place, version) = (users.file_place(entry), users.ledger(entry).load(Relaxed));
            if !content::matches(memory, index, Content::file(place.object, place.index, version)) {
                report_corrupt(memory, place);
            }
        }
        Some(PageUser::Anon(entry)) => {
            let ((pid, vpn), version) = (users.anon_place(entry), users.anon(entry).version.load(Relaxed));
            if !content::matches(memory, index, Content::anon(pid, vpn, version)) {
                memory.count_lab(LabEvent::PcCorrupt);
                log::error!("anon: CORRUPT task={pid} vpn={vpn}");
            }
        }
        Some(PageUser::Handle(_)) | None => {}
    }
}

/// Drops every page that is clean, unmapped, and that nobody holds; how many.
///
/// # Errors
///
/// When the work was called off. Linux: `drop_pagecache_sb`, `invalidate_mapping_pages`.
pub fn drop_pagecache<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
) -> Result<u64, PcError> {
    let mut dropped = 0;
    memory.count(VmEvent::DropPagecache, 1);
    for_each_place(memory, current, users, None, |place| {
        let Some((_, index)) = find_get_page(memory, users, place) else { return Ok(()) };
        if users.page(index).try_lock() {
            dropped += u64::from(invalidate(memory, users, index));
            swap::unlock_page(memory, index);
        }
        swap::put_page(memory, current, index);
        Ok(())
    })?;
    Ok(dropped)
}

/// Removes a locked page from the cache if nothing speaks against it; whether that was so. Linux:
/// `invalidate_inode_page`.
fn invalidate<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, index: u32) -> bool {
    let busy = PageFlags::DIRTY | PageFlags::WRITEBACK;
    !users.page(index).flags().intersects(busy)
        && rmap::mapcount(users, index) == 0
        && remove_mapping(memory, users, index, None)
}

/// Cuts `file` off at its start: nothing of it is left, neither here nor in the store, but for what comes meanwhile.
///
/// # Errors
///
/// When somebody has pinned or locked a page of it by hand, or the wait for one was called off; the pages before that one
/// are gone then. Linux: `truncate_inode_pages`.
pub fn truncate<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    file: u32,
) -> Result<(), PcError> {
    for_each_place(memory, current, users, Some(file), |place| truncate_page(memory, current, users, place))?;
    users.locked(memory, |state| {
        let blank = |entry| users.file(entry).is_blank() && users.ledger(entry).load(Relaxed) == 0;
        state.files.remove_blank(users.tables.file_chunks, file, blank);
    });
    Ok(())
}

fn truncate_page<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    place: Place,
) -> Result<(), PcError> {
    while let Some((entry, index)) = find_get_page(memory, users, place) {
        let gone = if users.file(entry).has(FileFlags::LOCKED) {
            Err(PcError::Locked(place))
        } else {
            truncate_cached(memory, current, users, index)
        };
        swap::put_page(memory, current, index);
        gone?;
    }
    users.locked(memory, |state| {
        if let Some(entry) = state.files.find(users.tables.file_chunks, place)
            && users.file(entry).page().is_none()
        {
            forget_page(memory, users, state, entry);
        }
    });
    Ok(())
}

/// Makes the record of a page that is not cached as one that was never used.
fn forget_page<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, state: &mut State, entry: u32) {
    forget_shadow(memory, users, entry);
    rmap::remove_all(memory, users, state, entry);
    users.file(entry).init();
    users.ledger(entry).store(0, Relaxed);
}

/// Takes a page to which the caller has a reference out of the cache, whatever it holds. Linux: `truncate_inode_page`.
fn truncate_cached<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    index: u32,
) -> Result<(), PcError> {
    lock_page(memory, current, users, index)?;
    let written = wait_on_page_writeback(memory, current, users, index);
    // While we waited, somebody else may have taken it out.
    let entry = match users.user_of(index) {
        Some(PageUser::File(entry)) if users.file(entry).page() == Some(index) => Some(entry),
        _ => None,
    };
    let gone = written.and_then(|()| entry.map_or(Ok(false), |entry| cut_off(memory, users, entry, index)));
    if gone == Ok(true) {
        swap::put_page(memory, current, index);
    }
    swap::unlock_page(memory, index);
    gone.map(drop)
}

/// Takes a locked page that is not being written out of the cache; `true` when the cache's reference is to be dropped.
fn cut_off<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, entry: u32, index: u32) -> Result<bool, PcError> {
    users.locked(memory, |state| {
        if users.file(entry).pins.load(Relaxed) > 0 {
            return Err(PcError::Pinned);
        }
        rmap::unmap_file_always(memory, users, entry, index);
        page_io::clear_page_dirty(memory, users, index);
        delete_from_page_cache(memory, users, entry, index, None);
        forget_page(memory, users, state, entry);
        Ok(true)
    })
}
