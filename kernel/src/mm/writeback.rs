//! The flusher: who writes dirty file pages in the background, in the order of files and pages.
//!
//! [`flusher`] is a daemon's life. It works when reclaim asked for it (all dirty pages), when more pages are dirty than
//! should be (until they are not), and every five seconds (those dirty for thirty); both times are settings. It keeps a
//! limited number of writes under way and ends those whose time has come. [`sync`] does the same for somebody who waits.
//!
//! Linux: `fs/fs-writeback.c`, `wb_workfn`.
//! Linux does more: a flusher for each device, inodes by age, and a share of time for each.

use crate::sync::atomic::Ordering::Relaxed;

use super::dirty_limits::{dirty_limits, nr_dirty};
use super::memory::{Env, Memory};
use super::page::PageFlags;
use super::page_io::{self, Started};
use super::page_wait::wait_until;
use super::pc_error::PcError;
use super::sleep;
use super::sparse::{CHUNK_ENTRIES, Place};
use super::swap;
use super::users::Users;
use crate::sched::{HZ, Scheduler};
use crate::task::Current;

/// Ticks of so many hundredths of a second.
const fn ticks(centisecs: u64) -> u64 {
    centisecs * HZ / 100
}

/// How often the flusher looks for old dirty pages, in ticks; `None` for never. Linux: `dirty_writeback_interval`.
fn interval<E: Env>(memory: &Memory<'_, E>) -> Option<u64> {
    Some(ticks(memory.sysctl.dirty_writeback_centisecs.load(Relaxed))).filter(|&ticks| ticks > 0)
}

/// Why dirty pages are written, and so which. Linux: `enum wb_reason`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Reclaim met many of them, or somebody wants them written: all. Linux: `WB_REASON_VMSCAN`, `WB_REASON_SYNC`.
    All,
    /// There are too many: until there are not. Linux: `WB_REASON_BACKGROUND`.
    Background,
    /// They have been dirty for long. Linux: `WB_REASON_PERIODIC`.
    Old,
}

/// Has the flusher take note of a new `dirty_writeback_centisecs`. Linux: `dirty_writeback_centisecs_handler`.
pub(super) fn interval_changed<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>) {
    users.flusher.wake(memory.env.sched());
}

/// Asks the flusher to write all dirty pages. Linux: `wakeup_flusher_threads`.
pub(super) fn wake_flusher<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>) {
    users.flush_requests.fetch_add(1, Relaxed);
    users.flush_all.store(true, Relaxed);
    users.flusher.wake(memory.env.sched());
}

/// The flusher's life. Linux: `wb_workfn`.
pub fn flusher<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, users: &Users<'_>) {
    let jiffies = || memory.env.sched().jiffies();
    let mut last_look = jiffies();
    loop {
        let to_look = interval(memory).map(|interval| (last_look + interval).saturating_sub(jiffies()));
        let rest = [to_look, page_io::ticks_to_completion(memory, users)].into_iter().flatten().min();
        if !users.flusher.wait_for_work(memory.env.sched(), rest.map(|ticks| ticks.max(1))) {
            return;
        }
        page_io::complete_due(memory, current, users);
        writeback_some(memory, current, users);
        if interval(memory).is_some_and(|interval| jiffies() >= last_look + interval) {
            write_dirty(memory, current, users, Reason::Old);
            last_look = jiffies();
        }
        users.flusher.work_done(memory.env.sched());
    }
}

/// One piece of the flusher's work: what was asked for, and what is too much. How many writes were started.
///
/// Linux: `wb_do_writeback`.
pub fn writeback_some<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, users: &Users<'_>) -> u64 {
    let mut started = 0;
    if users.flush_all.swap(false, Relaxed) {
        started += write_dirty(memory, current, users, Reason::All);
    }
    if is_over_background(memory) {
        started += write_dirty(memory, current, users, Reason::Background);
    }
    started
}

/// Linux: `wb_over_bg_thresh`.
fn is_over_background<E: Env>(memory: &Memory<'_, E>) -> bool {
    nr_dirty(memory) > dirty_limits(memory).background
}

/// Starts to write dirty pages, file by file and page by page; how many. Pages that somebody works on are left alone.
///
/// Linux: `writeback_sb_inodes`, `write_cache_pages`.
pub fn write_dirty<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, users: &Users<'_>, reason: Reason) -> u64 {
    let (chunks, mut from, mut started) = (users.tables.file_chunks, Place::new(0, 0), 0);
    while let Some((chunk, place)) = users.locked(memory, |state| state.files.next_chunk(chunks, from)) {
        from = Place::new(place.object, place.index + CHUNK_ENTRIES);
        sleep::cond_resched(memory, current);
        if chunks[chunk as usize].pages() == 0 {
            continue;
        }
        for entry in chunk * CHUNK_ENTRIES..(chunk + 1) * CHUNK_ENTRIES {
            if reason == Reason::Background && !is_over_background(memory) {
                return started;
            }
            let Some(page) = find_dirty(memory, users, entry, reason) else { continue };
            let go_on = wait_for_room(memory, current, users).is_ok();
            started += u64::from(go_on && write_page(memory, current, users, page));
            swap::put_page(memory, current, page);
            if !go_on {
                return started;
            }
        }
    }
    started
}

/// The page of a file if it is to be written for `reason`, with a reference.
fn find_dirty<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, entry: u32, reason: Reason) -> Option<u32> {
    let age = |now: u64| (now as u32).wrapping_sub(users.file(entry).dirtied.load(Relaxed));
    users.locked(memory, |_| {
        let index = users.file(entry).page().filter(|&index| is_writable(users, index))?;
        let expire = ticks(memory.sysctl.dirty_expire_centisecs.load(Relaxed));
        if reason == Reason::Old && u64::from(age(memory.env.sched().jiffies())) <= expire {
            return None;
        }
        users.page(index).get(1);
        Some(index)
    })
}

/// Whether a page is dirty and not being written already.
fn is_writable(users: &Users<'_>, index: u32) -> bool {
    users.page(index).flags() & (PageFlags::DIRTY | PageFlags::WRITEBACK) == PageFlags::DIRTY
}

/// Starts to write a page to which the caller has a reference; whether it was still to be done.
fn write_page<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, users: &Users<'_>, index: u32) -> bool {
    if !users.page(index).try_lock() {
        return false;
    }
    let started = is_writable(users, index) && page_io::start(memory, current, users, index) != Started::QueueFull;
    swap::unlock_page(memory, index);
    started
}

/// Sleeps until fewer writes are under way than the disk takes at a time. Linux: `get_request`.
fn wait_for_room<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, users: &Users<'_>) -> Result<(), PcError> {
    let has_room = || users.disk.in_flight() < users.disk.depth.load(Relaxed).max(1);
    if !has_room() {
        page_io::complete_due(memory, current, users);
    }
    wait_until(memory, current, users, || has_room() || memory.env.sched().should_stop())
}

/// Writes all dirty pages and waits until they are written; how many. Linux: `sync`.
///
/// # Errors
///
/// When the wait was called off.
pub fn sync<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, users: &Users<'_>) -> Result<u64, PcError> {
    let started = write_dirty(memory, current, users, Reason::All);
    wait_until(memory, current, users, || users.disk.in_flight() == 0)?;
    Ok(started)
}
