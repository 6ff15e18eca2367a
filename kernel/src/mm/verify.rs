//! Whether nothing was lost: every page of every file against the ledger of what users wrote.
//!
//! A page in the cache must hold the version that was written last, byte for byte; of one that is not there the store must
//! have that version. Reclaim that drops a dirty page, a migration that copies badly, a write that never came to its end:
//! all of them are found here. Nothing like it is in Linux.

use crate::sync::atomic::Ordering::Relaxed;

use super::content::{self, Content};
use super::memory::{Env, Memory};
use super::page::PageFlags;
use super::page_wait::lock_page;
use super::pagecache::{entry_of, find_get_page, for_each_place};
use super::pc_error::PcError;
use super::sparse::Place;
use super::store;
use super::swap;
use super::tables::FileFlags;
use super::users::Users;
use crate::task::Current;
use crate::vmstat::LabEvent;

/// What came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Verified {
    /// Pages that were looked at.
    pub pages: u64,
    /// Pages that are not what was written last.
    pub lost: u64,
}

/// Checks every page that was ever used; each one that is lost is counted and logged.
///
/// # Errors
///
/// When the work was called off.
pub fn verify<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, users: &Users<'_>) -> Result<Verified, PcError> {
    let mut verified = Verified::default();
    for_each_place(memory, current, users, None, |place| {
        let Some(entry) = entry_of(memory, users, place) else { return Ok(()) };
        verified.pages += 1;
        if !is_there(memory, current, users, place, entry)? {
            verified.lost += 1;
            report_lost(memory, users, place, entry);
        }
        Ok(())
    })?;
    Ok(verified)
}

/// Whether what was written last is in the cache or, without a page there, in the store.
fn is_there<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    place: Place,
    entry: u32,
) -> Result<bool, PcError> {
    let written = || users.ledger(entry).load(Relaxed);
    let stored = || users.locked(memory, |_| store::read_file(users, entry)).version == written();
    let Some((_, index)) = find_get_page(memory, users, place) else { return Ok(stored()) };
    // Whoever locked the page by hand does not write to it.
    let by_hand = users.file(entry).has(FileFlags::LOCKED);
    let locked = if by_hand { Ok(()) } else { lock_page(memory, current, users, index) };
    // Cut off or evicted meanwhile: nothing to compare with.
    let is_gone = users.file(entry).page() != Some(index);
    let holds = match users.page(index).flags().contains(PageFlags::UPTODATE) {
        true => content::matches(memory, index, Content::file(place.object, place.index, written())),
        false => stored(),
    };
    if !by_hand && locked.is_ok() {
        swap::unlock_page(memory, index);
    }
    swap::put_page(memory, current, index);
    locked.map(|()| holds || is_gone)
}

#[cold]
fn report_lost<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, place: Place, entry: u32) {
    memory.count_lab(LabEvent::PcLost);
    let (ledger, stored) = (users.ledger(entry).load(Relaxed), users.file(entry).stored.load(Relaxed));
    log::error!("pc: LOST f={} i={} ledger={ledger} store={stored}", place.object, place.index);
}
