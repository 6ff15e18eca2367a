//! Files: read, read ahead, written, mapped, kept in memory, dropped, cut off, written back.

use crate::sync::atomic::Ordering::Relaxed;

use super::{Stress, may_map};
use crate::gfp::Gfp;
use crate::mm::filemap;
use crate::mm::memory::{Env, Memory};
use crate::mm::mmap;
use crate::mm::pagecache;
use crate::mm::pins;
use crate::mm::sparse::Place;
use crate::mm::truncate;
use crate::mm::users::Users;
use crate::mm::writeback;
use crate::task::Current;

impl Stress {
    pub(super) fn read<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>) {
        let place = self.place();
        let pages = if self.random.one_in(8) { 1 + self.random.below(32) as u32 } else { 1 };
        for index in place.index..place.index + pages {
            let _ = filemap::read(memory, current, memory.env.owner(), Place::new(place.object, index));
        }
    }

    pub(super) fn readahead<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>) {
        let (place, pages) = (self.place(), 1 + self.random.below(64) as u32);
        let _ = filemap::readahead(memory, current, memory.env.owner(), place, pages);
    }

    pub(super) fn write<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>) {
        let users = memory.env.owner();
        let (place, version) = (self.place(), 1 + self.random.below(1 << 30) as u32);
        if self.random.one_in(64) {
            let gfp = self.random.pick(&[Gfp::GFP_HIGHUSER_MOVABLE, Gfp::GFP_USER | Gfp::__GFP_NORETRY]);
            let _ = pagecache::set_file_gfp(memory, users, place.object, gfp);
        }
        let _ = filemap::write(memory, current, users, place, version);
    }

    pub(super) fn map<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>) {
        let (users, place) = (memory.env.owner(), self.place());
        if !may_map(current.task) {
            return;
        }
        match self.random.below(5) {
            0 | 1 => _ = mmap::map(memory, current, users, place, self.random.one_in(4)),
            2 | 3 => _ = mmap::touch(memory, current, users, place),
            _ => _ = mmap::unmap(memory, current, users, place),
        }
    }

    pub(super) fn mlock<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>) {
        let (users, place, pid) = (memory.env.owner(), self.place(), current.task.pid());
        if self.takes() && !self.mlocks.is_full() && may_map(current.task) {
            let _ = mmap::map(memory, current, users, place, false);
            if mmap::mlock(memory, current, users, place).is_ok() {
                self.mlocks.push((pid, place));
            }
            return;
        }
        let own = self.mlocks.iter().find(|(by, _)| *by == pid);
        if let Some((_, place)) = own {
            // Cut off meanwhile, perhaps.
            let _ = mmap::munlock(memory, current, users, place);
            self.mlocks.retain(|mlock| mlock != (pid, place));
        }
    }

    pub(super) fn pin<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>) {
        let place = self.place();
        if self.takes() && !self.pins.is_full() {
            if pins::pin(memory, memory.env.owner(), place).is_ok() {
                self.pins.push(place);
            }
        } else if let Some(place) = self.pins.draw(&mut self.random) {
            self.unpin(memory, current, place);
        }
    }

    pub(super) fn unpin<'u, E: Env<Owner = Users<'u>>>(
        &mut self,
        memory: &Memory<'_, E>,
        current: &Current<'_>,
        place: Place,
    ) {
        assert_eq!(pins::unpin(memory, current, memory.env.owner(), place), Ok(()));
    }

    pub(super) fn lock<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>) {
        let place = self.place();
        if self.takes() && !self.locks.is_full() {
            if pins::lock(memory, current, memory.env.owner(), place).is_ok() {
                self.locks.push(place);
            }
        } else if let Some(place) = self.locks.draw(&mut self.random) {
            self.unlock(memory, place);
        }
    }

    pub(super) fn unlock<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>, place: Place) {
        assert_eq!(pins::unlock(memory, memory.env.owner(), place), Ok(()));
    }

    pub(super) fn truncate<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>) {
        let file = self.place().object;
        // Fails when somebody has pinned or locked a page, with part of the file gone.
        let _ = truncate::truncate(memory, current, memory.env.owner(), file);
    }

    pub(super) fn drop_caches<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>) {
        if self.random.one_in(8) {
            let _ = truncate::drop_pagecache(memory, current, memory.env.owner());
        }
    }

    pub(super) fn sync<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>) {
        let users = memory.env.owner();
        if !users.disk.frozen.load(Relaxed) && self.random.one_in(4) {
            let _ = writeback::sync(memory, current, users);
        } else {
            writeback::write_dirty(memory, current, users, writeback::Reason::Old);
        }
    }
}
