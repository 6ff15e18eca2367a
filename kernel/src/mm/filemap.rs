//! The toy page cache: files whose pages are read, read ahead, written, and forgotten.
//!
//! A file is a number; it has every page from the start, with computed content (`content.rs`). [`read`] brings a page in
//! if it is not there and counts as a use of it; [`readahead`] brings pages in without a use; [`write()`] makes a page
//! dirty. A page that is being read is locked and not up to date. Which page is where is told by `pagecache.rs`.
//!
//! What a user wrote last is noted in a ledger that neither the cache nor the store ever looks at; `verify.rs` compares.
//!
//! Linux: `mm/filemap.c`, `mm/readahead.c`. Linux does more: partial pages, mappings that write, direct I/O.

use crate::sync::atomic::Ordering::Relaxed;

use super::content::{self, Content};
use super::dirty_limits::balance_dirty_pages;
use super::memory::{Env, Memory};
use super::page::{NIL, PageFlags};
use super::page_alloc;
use super::page_io::{self, PAGE_KIB};
use super::page_wait::{lock_page, wait_until};
use super::pagecache::{add_to_page_cache, file_gfp, find_get_page};
use super::pc_error::PcError;
use super::sleep;
use super::sparse::Place;
use super::store::{self, Stored};
use super::swap;
use super::users::{MAX_INDEX, Users};
use crate::gfp::Gfp;
use crate::task::Current;
use crate::vmstat::{LabEvent, VmEvent};

/// Pages that [`readahead`] has under way at a time. Linux: 128 KiB, the default of `read_ahead_kb`.
const WINDOW: usize = 32;

/// Where a page came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// It was in the cache.
    Hit,
    /// It was read, or made.
    Miss,
}

/// A fresh page in its place, locked, with a reference; `None` if somebody else was faster.
fn add_fresh<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    place: Place,
    gfp: Gfp,
    marks: PageFlags,
) -> Result<Option<(u32, u32)>, PcError> {
    let index = memory.pages.index(page_alloc::alloc_page(memory, current, gfp)?);
    let page = users.page(index);
    page.set_flags(PageFlags::LOCKED | marks);
    let added = add_to_page_cache(memory, current, users, place, index, gfp);
    if !matches!(added, Ok(Some(_))) {
        page.clear_flags(PageFlags::LOCKED);
        swap::put_page(memory, current, index);
    }
    Ok(added?.map(|entry| (entry, index)))
}

/// Fills a page with what the store has, and unlocks it; the device was waited for. Linux: `mpage_end_io`.
fn end_read<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, entry: u32, index: u32) {
    let Stored { version, sum } = users.locked(memory, |_| store::read_file(users, entry));
    let place = users.file_place(entry);
    content::write(memory, index, Content::file(place.object, place.index, version));
    if sum.is_some_and(|sum| sum != content::sum(memory, index)) {
        report_corrupt(memory, place);
    }
    users.file(entry).version.store(version, Relaxed);
    users.page(index).set_flags(PageFlags::UPTODATE);
    swap::unlock_page(memory, index);
}

/// A page does not hold what it must.
#[cold]
pub(super) fn report_corrupt<E: Env>(memory: &Memory<'_, E>, place: Place) {
    memory.count_lab(LabEvent::PcCorrupt);
    log::error!("pc: CORRUPT f={} i={}", place.object, place.index);
}

/// Sleeps for as long as the device takes to read.
pub(super) fn wait_for_read<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, users: &Users<'_>) {
    let ticks = users.disk.read_latency.load(Relaxed);
    if ticks > 0 {
        sleep::schedule_timeout(memory, current, ticks);
        page_io::complete_due(memory, current, users);
    }
}

/// The page at `place` with a reference: from the cache, or a fresh one, locked, with `marks`, allocated with `extra` beside
/// the file's own mask. Linux: `pagecache_get_page`.
fn find_or_add<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    place: Place,
    extra: Gfp,
    marks: PageFlags,
) -> Result<(Lookup, u32, u32), PcError> {
    loop {
        if let Some((entry, index)) = find_get_page(memory, users, place) {
            return Ok((Lookup::Hit, entry, index));
        }
        let gfp = file_gfp(memory, users, place.object) | extra;
        if let Some((entry, index)) = add_fresh(memory, current, users, place, gfp, marks)? {
            return Ok((Lookup::Miss, entry, index));
        }
    }
}

/// The page at `place`, up to date, with a reference: from the cache, or read. Linux: `filemap_fault`.
pub(super) fn get_page<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    place: Place,
) -> Result<(Lookup, u32, u32), PcError> {
    let (lookup, entry, index) = find_or_add(memory, current, users, place, Gfp::empty(), PageFlags::empty())?;
    if lookup == Lookup::Miss {
        memory.count(VmEvent::Pgpgin, PAGE_KIB);
        wait_for_read(memory, current, users);
        end_read(memory, users, entry, index);
    } else {
        let is_read = || users.page(index).flags().contains(PageFlags::UPTODATE);
        wait_until(memory, current, users, is_read).inspect_err(|_| _ = swap::put_page(memory, current, index))?;
    }
    Ok((lookup, entry, index))
}

/// Reads the page at `place`: a use of it.
///
/// # Errors
///
/// When there is no memory for it. Linux: `generic_file_read_iter`.
pub fn read<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    place: Place,
) -> Result<Lookup, PcError> {
    let (lookup, _, index) = get_page(memory, current, users, place)?;
    swap::mark_page_accessed(memory, current, index);
    swap::put_page(memory, current, index);
    Ok(lookup)
}

/// Reads up to `count` pages from `place` on that are not in the cache, without using them; how many. Stops silently
/// when there is no memory. Linux: `__do_page_cache_readahead`.
///
/// # Errors
///
/// When the table of file pages is full, or the work was called off.
pub fn readahead<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    place: Place,
    count: u32,
) -> Result<u64, PcError> {
    let gfp = file_gfp(memory, users, place.object) | Gfp::__GFP_NORETRY | Gfp::__GFP_NOWARN;
    let mut places = (place.index..place.index.saturating_add(count).min(MAX_INDEX)).peekable();
    let mut read = 0;
    let mut result = Ok(());
    while result.is_ok() && places.peek().is_some() && !sleep::interrupted(memory) {
        let (mut window, mut len) = ([(NIL, NIL); WINDOW], 0);
        for index in places.by_ref().take(WINDOW) {
            match add_fresh(memory, current, users, Place::new(place.object, index), gfp, PageFlags::empty()) {
                Ok(Some(added)) => {
                    window[len] = added;
                    len += 1;
                }
                Ok(None) => {}
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        read += finish_window(memory, current, users, &window[..len]);
        sleep::cond_resched(memory, current);
    }
    match result {
        Err(PcError::NoMemory(_)) | Ok(()) => Ok(read),
        Err(error) => Err(error),
    }
}

/// Waits for the device once and ends the reads; how many.
fn finish_window<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    window: &[(u32, u32)],
) -> u64 {
    if window.is_empty() {
        return 0;
    }
    memory.count(VmEvent::Pgpgin, PAGE_KIB * window.len() as u64);
    wait_for_read(memory, current, users);
    for &(entry, index) in window {
        end_read(memory, users, entry, index);
        swap::put_page(memory, current, index);
    }
    window.len() as u64
}

/// Writes `version` into the whole page at `place`, which is dirty then, and waits while too many pages are dirty.
///
/// # Errors
///
/// When there is no memory for it, or the wait for the page was called off. Linux: `generic_perform_write`.
pub fn write<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    place: Place,
    version: u32,
) -> Result<Lookup, PcError> {
    let lookup = write_unthrottled(memory, current, users, place, version)?;
    balance_dirty_pages(memory, current, users);
    Ok(lookup)
}

/// [`write()`] without the wait, however many pages are dirty.
///
/// # Errors
///
/// As [`write()`].
pub fn write_unthrottled<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    place: Place,
    version: u32,
) -> Result<Lookup, PcError> {
    let (lookup, entry, index) = grab_page_for_write(memory, current, users, place)?;
    content::write(memory, index, Content::file(place.object, place.index, version));
    users.ledger(entry).store(version, Relaxed);
    users.file(entry).version.store(version, Relaxed);
    users.page(index).set_flags(PageFlags::UPTODATE);
    page_io::set_page_dirty(memory, users, entry, index);
    swap::unlock_page(memory, index);
    if lookup == Lookup::Hit {
        swap::mark_page_accessed(memory, current, index);
    }
    swap::put_page(memory, current, index);
    Ok(lookup)
}

/// The page at `place`, locked, with a reference: from the cache, or a fresh one that counts as used.
///
/// Linux: `grab_cache_page_write_begin`.
fn grab_page_for_write<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    place: Place,
) -> Result<(Lookup, u32, u32), PcError> {
    loop {
        let found = find_or_add(memory, current, users, place, Gfp::__GFP_WRITE, PageFlags::REFERENCED)?;
        let (lookup, entry, index) = found;
        if lookup == Lookup::Miss {
            return Ok(found);
        }
        lock_page(memory, current, users, index).inspect_err(|_| _ = swap::put_page(memory, current, index))?;
        if users.file(entry).page() == Some(index) {
            return Ok(found);
        }
        // Evicted, moved or truncated while its lock was waited for.
        swap::unlock_page(memory, index);
        swap::put_page(memory, current, index);
    }
}
