//! The index of the toy page cache: which page is at which place of which file.
//!
//! The cache holds one reference to each of its pages; [`find_get_page`] gives another, under the tables' lock, under
//! which alone pages come ([`add_to_page_cache`]) and go ([`delete_from_page_cache`]). What an evicted page leaves behind
//! is kept in its place. Records of pages are made when a place is first needed, and stay.
//!
//! Neighbours: `filemap` reads and writes through it. Linux: the first half of `mm/filemap.c`, `mm/workingset.c`.

use crate::sync::atomic::Ordering::Relaxed;

use super::memory::{Env, Memory};
use super::pc_error::PcError;
use super::sleep;
use super::sparse::{CHUNK_ENTRIES, Place, Sparse};
use super::swap;
use super::tables::Slot;
use super::users::{MAX_FILES, MAX_INDEX, PageUser, State, Users, add_node_stat};
use super::workingset;
use crate::gfp::Gfp;
use crate::mmzone::NodeId;
use crate::task::Current;
use crate::vmstat::NodeStat;

/// The place, if files have it.
///
/// # Errors
///
/// When there is no such file or page.
pub fn check_place(file: u32, index: u64) -> Result<Place, PcError> {
    match u32::try_from(index) {
        _ if file >= MAX_FILES => Err(PcError::FileNumber(file)),
        Ok(index) if index < MAX_INDEX => Ok(Place::new(file, index)),
        _ => Err(PcError::Index(index)),
    }
}

/// The mask with which pages of `file` are allocated. Linux: `mapping_gfp_mask`.
pub fn file_gfp<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, file: u32) -> Gfp {
    users.locked(memory, |state| state.file_gfp[file as usize % MAX_FILES as usize])
}

/// Sets [`file_gfp`]. Linux: `mapping_set_gfp_mask`.
///
/// # Errors
///
/// When there is no such file.
pub fn set_file_gfp<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, file: u32, gfp: Gfp) -> Result<(), PcError> {
    let Place { object, .. } = check_place(file, 0)?;
    users.locked(memory, |state| state.file_gfp[object as usize] = gfp);
    Ok(())
}

/// The record of a file's page, if one was ever needed.
pub(super) fn entry_of<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, place: Place) -> Option<u32> {
    users.locked(memory, |state| state.files.find(users.tables.file_chunks, place))
}

/// The record of a file's page.
pub(super) fn make_entry<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, place: Place) -> Result<u32, PcError> {
    users.locked(memory, |state| entry_locked(users, state, place))
}

/// [`make_entry`] for a caller who has locked the tables.
pub(super) fn entry_locked(users: &Users<'_>, state: &mut State, place: Place) -> Result<u32, PcError> {
    let init = |entry| {
        users.file(entry).init();
        users.ledger(entry).store(0, Relaxed);
    };
    let found = state.files.find_or_add(users.tables.file_chunks, place, init);
    found.map_err(|_| PcError::TableFull("file pages", users.tables.files.len()))
}

/// The cached page at `place`, with a reference; the record of the page. Linux: `find_get_page`.
pub(super) fn find_get_page<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, place: Place) -> Option<(u32, u32)> {
    users.locked(memory, |state| {
        let entry = state.files.find(users.tables.file_chunks, place)?;
        let index = users.file(entry).page()?;
        users.page(index).get(1);
        Some((entry, index))
    })
}

/// Changes what a record's chunk has. Linux: `workingset_update_node`.
fn count_chunk<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, entry: u32, pages: i32, shadows: i32) {
    let chunk = Sparse::chunk_of(users.tables.file_chunks, entry);
    let before = chunk.is_only_shadows();
    chunk.count(pages, shadows);
    let delta = i64::from(chunk.is_only_shadows()) - i64::from(before);
    // The tables are the machine's; they count for its first node.
    memory.node(NodeId(0)).add_stat(NodeStat::WorkingsetNodes, delta);
    users.shadow_chunks.fetch_add(delta as u64, Relaxed);
}

/// Puts a fresh page, locked, in its place, and onto the LRU; the record of the page. `None` if there is one already.
///
/// Linux: `add_to_page_cache_lru`.
pub(super) fn add_to_page_cache<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    place: Place,
    index: u32,
    gfp: Gfp,
) -> Result<Option<u32>, PcError> {
    let added = users.locked(memory, |state| {
        let entry = entry_locked(users, state, place)?;
        let before = users.file(entry).slot();
        if let Slot::Page(_) = before {
            return Ok(None);
        }
        users.file(entry).set_slot(Slot::Page(index));
        users.set_user(index, PageUser::File(entry));
        users.page(index).get(1);
        count_chunk(memory, users, entry, 1, if before == Slot::Empty { 0 } else { -1 });
        Ok::<_, PcError>(Some((entry, before)))
    });
    let Some((entry, before)) = added? else { return Ok(None) };
    add_node_stat(memory, index, NodeStat::NrFilePages, 1);
    if let (Slot::Shadow(shadow), false) = (before, gfp.contains(Gfp::__GFP_WRITE)) {
        workingset::refault(memory, current, index, shadow);
    }
    swap::lru_cache_add(memory, current, index);
    Ok(Some(entry))
}

/// Takes a page out of its place, in which `shadow` is left; the cache's reference is the caller's to drop.
///
/// Linux: `__delete_from_page_cache`.
pub(super) fn delete_from_page_cache<E: Env>(
    memory: &Memory<'_, E>,
    users: &Users<'_>,
    entry: u32,
    index: u32,
    shadow: Option<u64>,
) {
    users.file(entry).set_slot(shadow.map_or(Slot::Empty, Slot::Shadow));
    count_chunk(memory, users, entry, -1, i32::from(shadow.is_some()));
    add_node_stat(memory, index, NodeStat::NrFilePages, -1);
}

/// Forgets what an evicted page left behind; whether it left anything. Linux: `shadow_lru_isolate`.
pub(super) fn forget_shadow<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, entry: u32) -> bool {
    let file = users.file(entry);
    let is_shadow = matches!(file.slot(), Slot::Shadow(_));
    if is_shadow {
        file.set_slot(Slot::Empty);
        count_chunk(memory, users, entry, 0, -1);
    }
    is_shadow
}

/// Chunks of file pages from the first to the last: calls `each` with the place of every page that has a record, until
/// one fails or the work is called off.
pub(super) fn for_each_place<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    file: Option<u32>,
    mut each: impl FnMut(Place) -> Result<(), PcError>,
) -> Result<(), PcError> {
    let mut from = Place::new(file.unwrap_or(0), 0);
    let next = |from| users.locked(memory, |state| state.files.next_chunk(users.tables.file_chunks, from));
    while let Some((_, first)) = next(from) {
        if file.is_some_and(|file| file != first.object) {
            break;
        }
        if sleep::interrupted(memory) {
            return Err(PcError::Interrupted);
        }
        (first.index..first.index + CHUNK_ENTRIES).try_for_each(|index| each(Place::new(first.object, index)))?;
        from = Place::new(first.object, first.index + CHUNK_ENTRIES);
        sleep::cond_resched(memory, current);
    }
    Ok(())
}
