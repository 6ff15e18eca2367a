//! Pages in use: their lock, and their way to the store, between who writes, who writes back and who reclaims.

use kernel::check;
use kernel::mm::filemap;
use kernel::mm::memory::owner::PageOwner;
use kernel::mm::memory::{Env, Memory};
use kernel::mm::page_io;
use kernel::mm::pagecache;
use kernel::mm::swap;
use kernel::mm::verify;
use kernel::mm::vmscan::{self, ScanControl};
use kernel::mm::writeback;
use kernel::sync::atomic::{AtomicU32, Ordering::Relaxed};
use kernel::task::Current;

use crate::schedules::{explore, random};
use crate::threads::together;
use crate::world::{World, machine};

#[test]
fn a_page_lock_excludes_and_wakes() {
    explore("a page lock, three threads", 5, || {
        let machine = machine();
        let memory = World::memory(&machine);
        let page = memory.pages.at(1);
        let inside = AtomicU32::new(0);
        together(memory.env.threads(), 3, |_| {
            let mut locked = false;
            // No limit, so that a wake-up must come.
            memory.page_wait.wait(memory.env.sched(), None, || {
                locked = locked || page.try_lock();
                locked
            });
            assert_eq!(inside.fetch_add(1, Relaxed), 0);
            inside.fetch_sub(1, Relaxed);
            swap::unlock_page(&memory, 1);
        });
    });
}

/// A machine whose file 0 has `pages` dirty pages in the cache.
fn dirty(memory: &Memory<'_, World<'_>>, pages: u64) {
    let current = Current::new(memory.env.tasks().init());
    for index in 0..pages {
        let place = pagecache::check_place(0, index).unwrap();
        filemap::write_unthrottled(memory, &current, memory.env.owner(), place, 1).unwrap();
    }
}

/// Scans the node as kswapd does when it is in trouble.
fn reclaim(memory: &Memory<'_, World<'_>>) {
    let current = Current::new(memory.env.tasks().init());
    let node = memory.online_nodes().next().unwrap();
    let mut sc = ScanControl::kswapd(0, memory.zone_types().len() - 1);
    sc.priority = 0;
    sc.may_writepage = true;
    sc.nr_to_reclaim = 4;
    vmscan::shrink_node(memory, &current, node, &mut sc);
}

#[test]
fn nothing_is_lost_between_writing_and_reclaim() {
    explore("write, write back, reclaim", 10, || {
        let machine = machine();
        let memory = World::memory(&machine);
        dirty(&memory, 4);
        let users = memory.env.owner();
        together(memory.env.threads(), 4, |number| {
            let current = Current::new(memory.env.tasks().init());
            match number {
                0 => {
                    for version in 2..4 {
                        let place = pagecache::check_place(0, random(4)).unwrap();
                        filemap::write_unthrottled(&memory, &current, users, place, version).unwrap();
                    }
                }
                1 => {
                    users.wake_flusher(&memory);
                    writeback::writeback_some(&memory, &current, users);
                }
                2 => (0..3).for_each(|_| _ = page_io::complete_due(&memory, &current, users)),
                _ => (0..2).for_each(|_| reclaim(&memory)),
            }
        });
        let current = Current::new(memory.env.tasks().init());
        assert_eq!(verify::verify(&memory, &current, users).unwrap().lost, 0);
        assert_eq!(check::audit(&memory).findings().count(), 0);
    });
}
