//! A page on its way to the store: dirty, submitted, under writeback, written.
//!
//! ```text
//!   set_page_dirty        a file's page differs from the store's
//!   start                 not dirty any more but under writeback; a request is in the store's queue
//!   complete_due          requests whose time has come end, in order
//!   end_page_writeback    a page that reclaim waits for goes where it looks next
//! ```
//!
//! Nobody is called when a write ends: whoever waits, or has an eye on the clock (the flusher, the shell), calls
//! [`complete_due`]. A page under writeback has a reference more. Linux: `mm/page-writeback.c`, `mm/page_io.c`,
//! `end_page_writeback` of `mm/filemap.c`.

use crate::sync::atomic::Ordering::Relaxed;

use super::content;
use super::memory::{Env, Memory};
use super::page::PageFlags;
use super::store::{self, Ended, Target, Write};
use super::swap;
use super::users::{PageUser, Users, add_node_stat, add_zone_stat};
use crate::sched::Scheduler;
use crate::task::Current;
use crate::vmstat::{LabEvent, NodeStat, VmEvent, ZoneStat};

/// KiB of a page, in which traffic is counted.
pub(super) const PAGE_KIB: u64 = 4;

/// How an attempt to write a page went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Started {
    /// The request is under way.
    Submitted,
    /// Written already.
    Done,
    /// The store's queue has no room; the page is still dirty.
    QueueFull,
}

/// A file's page, locked, differs from the store's from now on. Linux: `set_page_dirty`, `account_page_dirtied`.
pub(super) fn set_page_dirty<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, entry: u32, index: u32) {
    if users.page(index).set_flags(PageFlags::DIRTY).is_empty() {
        users.file(entry).dirtied.store(memory.env.sched().jiffies() as u32, Relaxed);
        count_dirty(memory, index, 1);
        add_node_stat(memory, index, NodeStat::NrDirtied, 1);
    }
}

/// The page is not dirty any more, for it is written now or its content is not wanted. Pages of the swap cache are not
/// counted as dirty. Linux: `clear_page_dirty_for_io`, `cancel_dirty_page`.
pub(super) fn clear_page_dirty<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, index: u32) {
    let page = users.page(index);
    if !page.clear_flags(PageFlags::DIRTY).is_empty() && !page.flags().contains(PageFlags::SWAPBACKED) {
        count_dirty(memory, index, -1);
    }
}

fn count_dirty<E: Env>(memory: &Memory<'_, E>, index: u32, delta: i64) {
    add_node_stat(memory, index, NodeStat::NrDirty, delta);
    add_zone_stat(memory, index, ZoneStat::NrZoneWritePending, delta);
}

fn count_writeback<E: Env>(memory: &Memory<'_, E>, index: u32, delta: i64) {
    add_node_stat(memory, index, NodeStat::NrWriteback, delta);
    add_zone_stat(memory, index, ZoneStat::NrZoneWritePending, delta);
}

/// Starts to write a dirty page that the caller has locked and that has a place in the store. Linux: `swap_writepage`,
/// `set_page_writeback`, `submit_bio`.
pub(super) fn start<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, users: &Users<'_>, index: u32) -> Started {
    let (sum, now) = (content::sum(memory, index), memory.env.sched().jiffies());
    let page = users.page(index);
    let was_idle = users.disk.in_flight() == 0;
    let submitted = users.locked(memory, |state| {
        let (target, version) = place_in_store(users, index)?;
        store::submit(users, state, Write { target, page: index, version, sum }, now).then(|| {
            clear_page_dirty(memory, users, index);
            page.set_flags(PageFlags::WRITEBACK);
            page.get(1);
            count_writeback(memory, index, 1);
            target
        })
    });
    let Some(target) = submitted else { return Started::QueueFull };
    memory.count(VmEvent::Pgpgout, PAGE_KIB);
    if matches!(target, Target::Slot(_)) {
        memory.count(VmEvent::Pswpout, 1);
    }
    if users.disk.write_latency.load(Relaxed) == 0 {
        complete_due(memory, current, users);
    } else if was_idle {
        users.flusher.wake(memory.env.sched());
    }
    if page.flags().contains(PageFlags::WRITEBACK) { Started::Submitted } else { Started::Done }
}

/// Where the page is written, and in which version.
fn place_in_store(users: &Users<'_>, index: u32) -> Option<(Target, u32)> {
    match users.user_of(index) {
        Some(PageUser::File(entry)) => Some((Target::File(entry), users.file(entry).version.load(Relaxed))),
        Some(PageUser::Anon(entry)) => {
            let anon = users.anon(entry);
            Some((Target::Slot(anon.slot()?), anon.version.load(Relaxed)))
        }
        Some(PageUser::Handle(_)) | None => None,
    }
}

/// Ends all writes whose time has come; how many.
pub fn complete_due<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, users: &Users<'_>) -> u32 {
    let mut ended = 0;
    while users.disk.in_flight() > 0 {
        let now = memory.env.sched().jiffies();
        let Some(Ended { write, stored }) = users.locked(memory, |state| store::end_first(users, state, now)) else {
            break;
        };
        if !stored {
            report_io_error(memory, users, write.target);
        }
        end_page_writeback(memory, current, users, write.page);
        ended += 1;
    }
    if ended > 0 {
        memory.page_wait.wake_all(memory.env.sched());
    }
    ended
}

/// Ticks until the next write ends; `None` if none is under way, or none ever ends.
pub fn ticks_to_completion<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>) -> Option<u64> {
    let due = users.locked(memory, |state| store::next_due(users, state))?;
    Some(due.saturating_sub(memory.env.sched().jiffies()))
}

/// The page stays clean, as in v5.0, although the store does not have it. Linux: `mapping_set_error`.
#[cold]
fn report_io_error<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, target: Target) {
    memory.count_lab(LabEvent::PcIoError);
    if let Target::File(entry) = target {
        let place = users.file_place(entry);
        log::error!("pc: I/O error, dropping dirty page f={} i={}", place.object, place.index);
    }
}

/// The page is written. Linux: `end_page_writeback`.
fn end_page_writeback<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, users: &Users<'_>, index: u32) {
    let page = users.page(index);
    if !page.clear_flags(PageFlags::RECLAIM).is_empty() {
        swap::rotate_reclaimable_page(memory, current, index);
    }
    page.clear_flags(PageFlags::WRITEBACK);
    count_writeback(memory, index, -1);
    add_node_stat(memory, index, NodeStat::NrWritten, 1);
    swap::put_page(memory, current, index);
}
