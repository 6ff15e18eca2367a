//! What scenarios begin with: pages of files in every state, somebody to kill, and daemons that run beside the test.
//!
//! The machine is M64 of the specification: 16384 pages in one zone, Min 256, Low 320, High 384.

use crate::sync::atomic::Ordering::Relaxed;
use std::thread::Scope;

use crate::addr::{PAGE_SIZE, Pfn};
use crate::gfp::Gfp;
use crate::host::HostThreads;
use crate::mm::page_alloc::{self, AllocError};
use crate::mm::sparse::Place;
use crate::mm::testing::Lab;
use crate::mm::{anon, filemap, kswapd, oom_kill, pins, sleep, writeback};
use crate::task::{Current, Task, TaskKind};
use crate::vmstat::{VmEvent, ZoneEvent};

use super::users::users;

/// Index of the zone Normal, by which requests of the kernel are counted.
pub const NORMAL: usize = 1;

/// The file whose pages a scenario reads, and the one whose pages it writes.
const FILES: [u32; 2] = [0, 1];

/// The machine with everything free, no per-CPU lists and no boost; [`Lab::set_free`] comes when the scene is set.
pub fn empty<'m>(machine: &'m crate::host::HostMachine) -> Lab<'m> {
    Lab::scenario(machine, machine.memblock().dram().pages_touched().nr_pages())
}

/// Adds `nr` clean pages: inactive, mapped by nobody, never used.
pub fn add_clean(lab: &Lab<'_>, nr: u32) {
    let read = filemap::readahead(&lab.memory, &lab.current(), users(lab), Place::new(FILES[0], 0), nr);
    assert_eq!(read, Ok(u64::from(nr)));
}

/// Adds `nr` clean pages that somebody holds.
pub fn add_pinned(lab: &Lab<'_>, nr: u32) {
    add_clean(lab, nr);
    (0..nr).for_each(|index| pins::pin(&lab.memory, users(lab), Place::new(FILES[0], index)).unwrap());
}

/// Adds `nr` dirty pages, however many that is.
pub fn add_dirty(lab: &Lab<'_>, nr: u32) {
    for index in 0..nr {
        let place = Place::new(FILES[1], index);
        filemap::write_unthrottled(&lab.memory, &lab.current(), users(lab), place, 1).unwrap();
    }
}

/// A process with `rss` anonymous pages, and page tables of 80 KiB.
pub fn add_process<'l>(lab: &'l Lab<'_>, comm: &str, rss: u32) -> &'l Task {
    let task = lab.tasks().spawn(comm, TaskKind::User).unwrap();
    assert_eq!(anon::populate(&lab.memory, &lab.acting_as(task), users(lab), rss).pages, rss);
    task.mm.pgtables_bytes.store(20 * PAGE_SIZE, Relaxed);
    task
}

/// Asks for a page as `current`.
pub fn ask(lab: &Lab<'_>, current: &Current<'_>, gfp: Gfp) -> Result<Pfn, AllocError> {
    page_alloc::alloc_page(&lab.memory, current, gfp)
}

/// How often requests of the kernel reclaimed by themselves, and how many tasks were killed.
pub fn stalls_and_kills(lab: &Lab<'_>) -> (u64, u64) {
    (lab.memory.zone_event(ZoneEvent::Allocstall, NORMAL), lab.memory.event(VmEvent::OomKill))
}

/// Lets `ticks` pass.
pub fn sleep(lab: &Lab<'_>, ticks: u64) {
    sleep::schedule_timeout(&lab.memory, &lab.current(), ticks);
}

/// What a daemon does all its life.
pub type Life = fn(&Lab<'_>, &Current<'_>);

pub const KSWAPD: Life = |lab, current| kswapd::kswapd(&lab.memory, current, lab.node());
pub const REAPER: Life = |lab, current| oom_kill::oom_reaper(&lab.memory, current);
pub const FLUSHER: Life = |lab, current| writeback::flusher(&lab.memory, current, users(lab));

/// Runs `act` beside daemons, each of which has come to its first sleep, and beside those whom `act` starts.
pub fn beside<'env, R>(lab: &'env Lab<'_>, daemons: &[Life], act: impl for<'s> FnOnce(&'s Scope<'s, 'env>) -> R) -> R {
    let threads = lab.memory.env.threads();
    std::thread::scope(|scope| {
        for (name, &life) in ["first", "second", "third"].into_iter().zip(daemons) {
            let task = lab.tasks().spawn(name, TaskKind::Daemon).unwrap();
            threads.spawn(scope, move || life(lab, &lab.acting_as(task)));
        }
        threads.settle();
        let _stop = Stop(threads);
        act(scope)
    })
}

/// Ends the daemons even when an assertion fails beside them, which would wait for them otherwise.
struct Stop<'t>(&'t HostThreads);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Calls off what the first thread does as soon as that has gone on long enough; asked in every tick.
pub fn call_off_when<'s>(lab: &'s Lab<'_>, scope: &'s Scope<'s, '_>, enough: impl Fn() -> bool + Send + 's) {
    let threads = lab.memory.env.threads();
    threads.spawn(scope, move || {
        while !enough() {
            sleep(lab, 1);
        }
        threads.set_interrupted(true);
    });
}
