//! Holding pages of the cache by hand: what drivers and file systems do to them, at a person's command.
//!
//! A pin is a reference more, as I/O in progress or a driver has: the page can neither be evicted nor moved. The page
//! lock is what whoever works on a page's content holds. Neither has an end of its own. Linux: `get_user_pages`,
//! `lock_page`.

use crate::sync::atomic::Ordering::Relaxed;

use super::memory::{Env, Memory};
use super::pagecache::{entry_of, find_get_page, make_entry};
use super::pc_error::PcError;
use super::sparse::Place;
use super::swap;
use super::tables::FileFlags;
use super::users::Users;
use crate::task::Current;

/// Takes a reference of a cached page.
///
/// # Errors
///
/// When the page is not cached.
pub fn pin<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, place: Place) -> Result<(), PcError> {
    // Together, so that nobody cuts the page off between the two.
    let pinned = users.locked(memory, |state| {
        let file = users.file(state.files.find(users.tables.file_chunks, place)?);
        users.page(file.page()?).get(1);
        file.pins.fetch_add(1, Relaxed);
        Some(())
    });
    pinned.ok_or(PcError::NotCached(place))
}

/// Drops a reference that [`pin`] took.
///
/// # Errors
///
/// When nobody did.
pub fn unpin<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    place: Place,
) -> Result<(), PcError> {
    let entry = entry_of(memory, users, place).ok_or(PcError::NotPinned)?;
    let file = users.file(entry);
    // A pinned page can neither leave the cache nor move, so that it is the same one.
    let index = file.page().ok_or(PcError::NotPinned)?;
    let one_less = |pins: u32| pins.checked_sub(1);
    file.pins.fetch_update(Relaxed, Relaxed, one_less).map_err(|_| PcError::NotPinned)?;
    swap::put_page(memory, current, index);
    Ok(())
}

/// Locks a cached page.
///
/// # Errors
///
/// When the page is not cached, or somebody has locked it.
pub fn lock<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    place: Place,
) -> Result<(), PcError> {
    let (entry, index) = find_get_page(memory, users, place).ok_or(PcError::NotCached(place))?;
    let locked = users.page(index).try_lock();
    if locked {
        users.file(entry).set_flag(FileFlags::LOCKED, true);
    }
    swap::put_page(memory, current, index);
    if locked { Ok(()) } else { Err(PcError::Locked(place)) }
}

/// Unlocks a page that [`lock`] locked.
///
/// # Errors
///
/// When nobody did.
pub fn unlock<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, place: Place) -> Result<(), PcError> {
    let entry = entry_of(memory, users, place).ok_or(PcError::NotLocked(place))?;
    let file = users.file(entry);
    // A locked page can neither leave the cache nor move.
    let index = file.page().filter(|_| file.has(FileFlags::LOCKED)).ok_or(PcError::NotLocked(place))?;
    file.set_flag(FileFlags::LOCKED, false);
    swap::unlock_page(memory, index);
    Ok(())
}

/// Has the store fail from now on when it writes the page at `place`, or not any more.
///
/// # Errors
///
/// When the table of file pages is full.
pub fn set_failing<E: Env>(
    memory: &Memory<'_, E>,
    users: &Users<'_>,
    place: Place,
    failing: bool,
) -> Result<(), PcError> {
    let entry = make_entry(memory, users, place)?;
    users.file(entry).set_flag(FileFlags::FAIL, failing);
    Ok(())
}
