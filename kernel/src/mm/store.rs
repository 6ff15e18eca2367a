//! The device behind files and swap space: a queue of writes that end when their time has come, and what it remembers.
//!
//! The device has no bytes. Of a page it knows the version that it was given and the sum of the bytes that really were
//! in the page when the write was submitted: a page that changed on its way, or was not what it said, is found out when
//! it is read back ([`read_file`], [`read_slot`]). Writes end in the order in which they were submitted, each after the
//! latency that the disk had then.
//!
//! Everything here is called with the tables locked; `page_io.rs` does what pages need around it. Linux: the block layer.
//! Linux does more: it merges and sorts requests, has several queues, and a pool of `struct bio` for hard times.

use crate::sync::atomic::Ordering::Relaxed;

use super::tables::{FileFlags, Request};
use super::users::{State, Users};

/// The bit of [`Request::target`] that says swap slot.
const SLOT: u32 = 1 << 31;

/// Where a write goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// The page of a file, by its record's number.
    File(u32),
    /// A swap slot.
    Slot(u32),
}

/// A write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Write {
    pub target: Target,
    /// The page, by record index.
    pub page: u32,
    pub version: u32,
    /// Sum of the bytes in the page.
    pub sum: u64,
}

/// A write that ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ended {
    pub write: Write,
    /// Whether the store has it; if not, it kept what it had.
    pub stored: bool,
}

/// What the store has of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stored {
    pub version: u32,
    /// The sum to expect; none for what was never written.
    pub sum: Option<u64>,
}

fn request_at<'m>(users: &Users<'m>, state: &State, nth: u32) -> &'m Request {
    let requests = users.tables.requests;
    &requests[(state.first_request as usize + nth as usize) % requests.len()]
}

/// Puts a write at the end of the queue at time `now`; whether there was room.
pub(super) fn submit(users: &Users<'_>, state: &mut State, write: Write, now: u64) -> bool {
    if state.nr_requests as usize == users.tables.requests.len() {
        return false;
    }
    let request = request_at(users, state, state.nr_requests);
    let target = match write.target {
        Target::File(entry) => entry,
        Target::Slot(slot) => SLOT | slot,
    };
    request.target.store(target, Relaxed);
    request.page.store(write.page, Relaxed);
    request.version.store(write.version, Relaxed);
    request.sum.store(write.sum, Relaxed);
    request.due.store(now + users.disk.write_latency.load(Relaxed), Relaxed);
    set_in_flight(users, state, state.nr_requests + 1);
    true
}

/// Ends the first write of the queue if its time has come.
pub(super) fn end_first(users: &Users<'_>, state: &mut State, now: u64) -> Option<Ended> {
    if next_due(users, state)? > now {
        return None;
    }
    let request = request_at(users, state, 0);
    let target = request.target.load(Relaxed);
    let write = Write {
        target: if target & SLOT == 0 { Target::File(target) } else { Target::Slot(target & !SLOT) },
        page: request.page.load(Relaxed),
        version: request.version.load(Relaxed),
        sum: request.sum.load(Relaxed),
    };
    state.first_request = (state.first_request + 1) % users.tables.requests.len() as u32;
    set_in_flight(users, state, state.nr_requests - 1);
    Some(Ended { write, stored: remember(users, write) })
}

/// When the first write of the queue ends; `None` if there is none, or the disk is frozen.
pub(super) fn next_due(users: &Users<'_>, state: &State) -> Option<u64> {
    let moves = state.nr_requests > 0 && !users.disk.frozen.load(Relaxed);
    moves.then(|| request_at(users, state, 0).due.load(Relaxed))
}

/// Notes version and sum; whether the device did not fail.
fn remember(users: &Users<'_>, write: Write) -> bool {
    match write.target {
        Target::File(entry) => {
            let file = users.file(entry);
            if file.has(FileFlags::FAIL) {
                return false;
            }
            file.stored.store(write.version, Relaxed);
            file.sum.store(write.sum, Relaxed);
        }
        Target::Slot(slot) => {
            let slot = users.slot(slot);
            slot.version.store(write.version, Relaxed);
            slot.sum.store(write.sum, Relaxed);
        }
    }
    true
}

/// Counts the writes under way. Linux: `queue_congestion_on_threshold`, `queue_congestion_off_threshold`.
fn set_in_flight(users: &Users<'_>, state: &mut State, count: u32) {
    let disk = &users.disk;
    state.nr_requests = count;
    disk.in_flight.store(count, Relaxed);
    let depth = disk.depth.load(Relaxed);
    if count > depth * 7 / 8 {
        disk.congested.store(disk.may_congest.load(Relaxed), Relaxed);
    } else if count < depth * 13 / 16 {
        disk.congested.store(false, Relaxed);
    }
}

/// What the store has of a file's page.
pub(super) fn read_file(users: &Users<'_>, entry: u32) -> Stored {
    let file = users.file(entry);
    let version = file.stored.load(Relaxed);
    Stored { version, sum: (version > 0).then(|| file.sum.load(Relaxed)) }
}

/// What a swap slot has.
pub(super) fn read_slot(users: &Users<'_>, slot: u32) -> Stored {
    let slot = users.slot(slot);
    Stored { version: slot.version.load(Relaxed), sum: Some(slot.sum.load(Relaxed)) }
}
