//! What the stress test found: somebody comes while somebody else is not done with a page or a task.

use super::users::{place, users, verify};
use crate::mm::filemap;
use crate::mm::memory::Env;
use crate::mm::mmap;
use crate::mm::page::PageFlags;
use crate::mm::pagecache::find_get_page;
use crate::mm::pc_error::PcError;
use crate::mm::pins;
use crate::mm::sparse::Place;
use crate::mm::swap;
use crate::mm::testing::{Lab, board_16m};
use crate::mm::truncate;
use crate::mm::writeback;
use crate::mmzone::NodeId;
use crate::vmstat::{NodeStat, VmEvent};

/// Maps and locks a page of a file into memory; its record index.
fn mlocked(lab: &Lab<'_>, at: Place) -> u32 {
    let (memory, current) = (&lab.memory, lab.current());
    mmap::map(memory, &current, users(lab), at, false).unwrap();
    mmap::mlock(memory, &current, users(lab), at).unwrap();
    let (_, index) = find_get_page(memory, users(lab), at).unwrap();
    swap::put_page(memory, &current, index);
    index
}

#[test]
fn a_page_let_go_while_it_is_isolated_comes_back_to_a_list_that_reclaim_looks_at() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let (memory, current) = (&lab.memory, lab.current());
    let unevictable = || memory.node(NodeId(0)).stat(NodeStat::NrUnevictable);
    let index = mlocked(&lab, place(0, 0));
    assert!(swap::isolate_lru_page(memory, index));
    swap::putback_lru_page(memory, &current, index);
    assert_eq!(unevictable(), 1, "still locked into memory");
    assert!(swap::isolate_lru_page(memory, index));
    mmap::munlock(memory, &current, users(&lab), place(0, 0)).unwrap();
    swap::putback_lru_page(memory, &current, index);
    let events = [VmEvent::UnevictablePgsRescued, VmEvent::UnevictablePgsStranded, VmEvent::UnevictablePgsMunlocked];
    assert_eq!((unevictable(), events.map(|event| memory.event(event))), (0, [1, 1, 0]));
    lab.assert_sound();
}

#[test]
fn a_page_that_somebody_else_cut_off_meanwhile_is_unlocked() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let (memory, threads, current) = (&lab.memory, lab.memory.env.threads(), lab.current());
    let free = lab.zone().counts.free_pages() + lab.zone().pcp_pages();
    filemap::write(memory, &current, users(&lab), place(1, 0), 7).unwrap();
    std::thread::scope(|scope| {
        writeback::write_dirty(memory, &current, users(&lab), writeback::Reason::All);
        let (_, index) = find_get_page(memory, users(&lab), place(1, 0)).unwrap();
        assert!(memory.pages.at(index).flags().contains(PageFlags::WRITEBACK));
        swap::put_page(memory, &current, index);
        // One waits for the disk, with the page locked, the other for the lock.
        for _ in 0..2 {
            let tasks = memory.env.tasks();
            threads.spawn(scope, || {
                let current = crate::task::Current::new(tasks.init());
                assert_eq!(truncate::truncate(memory, &current, users(&lab), 1), Ok(()));
            });
        }
        threads.settle();
        threads.stop();
    });
    assert_eq!((memory.leaked(), lab.zone().counts.free_pages() + lab.zone().pcp_pages()), (0, free));
    lab.assert_sound();
}

#[test]
fn a_page_that_is_pinned_while_its_file_waits_to_be_cut_off_stays() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let (memory, threads, current) = (&lab.memory, lab.memory.env.threads(), lab.current());
    let at = place(1, 0);
    filemap::write(memory, &current, users(&lab), at, 7).unwrap();
    std::thread::scope(|scope| {
        writeback::write_dirty(memory, &current, users(&lab), writeback::Reason::All);
        threads.spawn(scope, || {
            let current = crate::task::Current::new(memory.env.tasks().init());
            assert_eq!(truncate::truncate(memory, &current, users(&lab), 1), Err(PcError::Pinned));
        });
        threads.settle();
        // It waits for the disk.
        pins::pin(memory, users(&lab), at).unwrap();
        threads.stop();
    });
    assert_eq!(verify(&lab), 0);
    assert_eq!(pins::unpin(memory, &current, users(&lab), at), Ok(()));
    assert_eq!(truncate::truncate(memory, &current, users(&lab), 1), Ok(()));
    lab.assert_sound();
}
