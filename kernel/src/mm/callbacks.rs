//! What reclaim, compaction and the OOM killer may ask: [`PageOwner`] answered by [`Users`].
//!
//! Nothing is decided here; each question goes to the file that knows. Linux: `struct address_space_operations` of a
//! filesystem and of swap.

use crate::sync::atomic::Ordering::Relaxed;

use super::accounts;
use super::anon;
use super::handles;
use super::memory::{Env, Memory};
use super::mmap;
use super::owner::{MigrateError, Mismatch, PageOwner, Pageout, References, Shrinker, Shrunk, SwapCache, SwapSpace};
use super::page_io::{self, Started};
use super::relocate;
use super::rmap;
use super::shadows;
use super::swap;
use super::swapfile;
use super::truncate;
use super::users::Users;
use super::writeback;
use crate::gfp::Gfp;
use crate::reclaim_types::MigrateMode;
use crate::task::{Current, Task};

impl PageOwner for Users<'_> {
    fn referenced(&self, index: u32) -> References {
        rmap::referenced(self, index)
    }

    fn mapcount(&self, index: u32) -> u32 {
        rmap::mapcount(self, index)
    }

    fn is_mlocked(&self, index: u32) -> bool {
        rmap::is_page_mlocked(self, index)
    }

    fn unmap<E: Env>(&self, memory: &Memory<'_, E>, _: &Current<'_>, index: u32) -> bool {
        rmap::try_to_unmap(memory, self, index)
    }

    fn swap_space(&self) -> SwapSpace {
        swapfile::swap_space(self)
    }

    fn swap_cache(&self) -> SwapCache {
        swapfile::swap_cache(self)
    }

    fn add_to_swap<E: Env>(&self, memory: &Memory<'_, E>, _: &Current<'_>, index: u32) -> bool {
        swapfile::add_to_swap(memory, self, index)
    }

    fn free_swap<E: Env>(&self, memory: &Memory<'_, E>, _: &Current<'_>, index: u32) -> bool {
        swapfile::try_to_free_swap(memory, self, index)
    }

    fn writepage<E: Env>(&self, memory: &Memory<'_, E>, current: &Current<'_>, index: u32) -> Pageout {
        match page_io::start(memory, current, self, index) {
            Started::QueueFull => Pageout::Keep,
            Started::Done => Pageout::Clean,
            Started::Submitted => {
                swap::unlock_page(memory, index);
                Pageout::Submitted
            }
        }
    }

    fn is_congested(&self, _: u32) -> bool {
        self.disk.is_congested()
    }

    fn any_congested(&self) -> bool {
        self.disk.is_congested()
    }

    fn remove_mapping<E: Env>(&self, memory: &Memory<'_, E>, _: &Current<'_>, index: u32, shadow: Option<u64>) -> bool {
        truncate::remove_mapping(memory, self, index, shadow)
    }

    fn wake_flusher<E: Env>(&self, memory: &Memory<'_, E>) {
        writeback::wake_flusher(memory, self);
    }

    fn writeback_interval_changed<E: Env>(&self, memory: &Memory<'_, E>) {
        writeback::interval_changed(memory, self);
    }

    fn drop_pagecache<E: Env>(&self, memory: &Memory<'_, E>, current: &Current<'_>) {
        // Who called it off has what was dropped until then.
        let _ = truncate::drop_pagecache(memory, current, self);
    }

    fn isolate_movable(&self, index: u32) -> bool {
        handles::isolate(self, index)
    }

    fn putback_movable(&self, index: u32) {
        handles::put_back(self, index);
    }

    fn migrate<E: Env>(
        &self,
        memory: &Memory<'_, E>,
        current: &Current<'_>,
        from: u32,
        to: u32,
        mode: MigrateMode,
    ) -> Result<(), MigrateError> {
        relocate::migrate(memory, current, self, from, to, mode)
    }

    fn reap<E: Env>(&self, memory: &Memory<'_, E>, current: &Current<'_>, victim: &Task) -> u64 {
        anon::free_all(memory, current, self, victim)
    }

    fn exit_mmap<E: Env>(&self, memory: &Memory<'_, E>, current: &Current<'_>, task: &Task) -> u64 {
        mmap::unmap_all(memory, current, self, task);
        anon::free_all(memory, current, self, task)
    }

    fn shrinkers(&self) -> &[Shrinker] {
        &[shadows::SHRINKER]
    }

    fn count_objects(&self, _: usize) -> u64 {
        shadows::count(self)
    }

    fn scan_objects<E: Env>(&self, memory: &Memory<'_, E>, _: &Current<'_>, _: usize, nr: u64, _: Gfp) -> Shrunk {
        shadows::scan(memory, self, nr)
    }

    fn audit<E: Env>(&self, memory: &Memory<'_, E>, report: &mut dyn FnMut(Mismatch)) {
        accounts::audit(memory, self, report);
    }

    fn take_deferred(&self, _: usize) -> u64 {
        self.deferred.swap(0, Relaxed)
    }

    fn add_deferred(&self, _: usize, nr: u64) -> u64 {
        self.deferred.fetch_add(nr, Relaxed) + nr
    }
}
