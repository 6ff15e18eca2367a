//! The shrinker of shadows: chunks of the cache's index that have no page but remember evicted ones.
//!
//! A file that was read once and evicted leaves a shadow for each page. Chunks kept for these alone are worth something
//! only as long as the distances that they measure are below the size of memory; what is more than that may go. Linux:
//! `shadow_nodes`, `count_shadow_nodes`, `shadow_lru_isolate` of `mm/workingset.c`.
//!
//! Linux does more: it frees the nodes, and takes those first that were emptied first.

use crate::sync::atomic::Ordering::Relaxed;

use super::memory::{Env, Memory};
use super::owner::{Shrinker, Shrunk};
use super::pagecache::forget_shadow;
use super::sparse::{CHUNK_ENTRIES, Place};
use super::users::Users;
use crate::mmzone::NodeId;
use crate::trace::vmscan::ShrinkerName;
use crate::vmstat::NodeStat;

/// The shrinker as reclaim knows it. It costs nothing to make a shadow again, for nobody can.
pub(super) const SHRINKER: Shrinker = Shrinker {
    name: &ShrinkerName { scan: "scan_shadow_nodes", shrinker: "workingset_shadow_shrinker" },
    seeks: 0,
    batch: 128,
};

/// Chunks beyond what is worth keeping: as many as would measure all of memory, were each an eighth full. Linux:
/// `count_shadow_nodes`.
pub(super) fn count(users: &Users<'_>) -> u64 {
    let enough = users.pages.span().nr_pages() >> (CHUNK_ENTRIES.ilog2() - 3);
    users.shadow_chunks.load(Relaxed).saturating_sub(enough)
}

/// Forgets the shadows of up to `nr` chunks; how many chunks.
pub(super) fn scan<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, nr: u64) -> Shrunk {
    let (chunks, mut from, mut freed) = (users.tables.file_chunks, Place::new(0, 0), 0);
    while freed < nr {
        let next = users.locked(memory, |state| {
            let (chunk, place) = state.files.next_chunk(chunks, from)?;
            let is_victim = chunks[chunk as usize].is_only_shadows();
            if is_victim {
                (chunk * CHUNK_ENTRIES..(chunk + 1) * CHUNK_ENTRIES).for_each(|entry| {
                    forget_shadow(memory, users, entry);
                });
            }
            Some((place, is_victim))
        });
        let Some((place, is_victim)) = next else { break };
        freed += u64::from(is_victim);
        from = Place::new(place.object, place.index + CHUNK_ENTRIES);
    }
    memory.node(NodeId(0)).add_stat(NodeStat::WorkingsetNodereclaim, freed as i64);
    Shrunk::Freed(freed)
}
