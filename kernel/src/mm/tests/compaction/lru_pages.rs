//! Pages of LRU lists: which of them move, and that they come back to their list.

use std::thread::Scope;

use crate::addr::Pfn;
use crate::gfp::Gfp;
use crate::mm::compaction;
use crate::mm::memory::Env;
use crate::mm::page::PageFlags;
use crate::mm::sleep;
use crate::mmzone::NodeId;
use crate::reclaim_types::{CompactResult, LruList};
use crate::sched::JIFFY_NS;
use crate::task::TaskFlags;
use crate::vmstat::{NodeStat, VmEvent};

use super::LIGHT;
use super::movable::{FIRST_HANDLE, MovableLab, machine};

const FILE: PageFlags = PageFlags::UPTODATE;
const ANON: PageFlags = PageFlags::SWAPBACKED;

/// Whether the page with this number is where it was.
fn stayed(lab: &MovableLab<'_>, number: usize) -> bool {
    lab.owner().frame_of(number) == FIRST_HANDLE.add(2 * number as u64)
}

/// Starts a thread that clears a mark of the page at `pfn` after so many ticks. Assertions must wait until it ended.
fn clear_after<'s>(lab: &'s MovableLab<'_>, scope: &'s Scope<'s, '_>, pfn: Pfn, mark: PageFlags, ticks: u64) {
    lab.memory.env.sched().spawn(scope, move || {
        sleep::schedule_timeout(&lab.memory, &lab.current(), ticks);
        lab.page(pfn).clear_flags(mark);
    });
    lab.memory.env.sched().settle();
}

fn compact_all(lab: &MovableLab<'_>) {
    compaction::compact_nodes(&lab.memory, &lab.current());
}

#[test]
fn moved_pages_keep_their_marks_and_their_list() {
    let machine = machine();
    let marks = FILE | PageFlags::ACTIVE | PageFlags::REFERENCED | PageFlags::DIRTY | PageFlags::WORKINGSET;
    let lab = MovableLab::with_lru_pages(&machine, |number| (if number < 8 { marks } else { FILE }, 0));
    compact_all(&lab);
    assert!((0..8).all(|number| !stayed(&lab, number)));
    for number in 0..8 {
        assert_eq!(lab.page(lab.owner().frame_of(number)).flags(), marks | PageFlags::LRU);
    }
    let node = lab.memory.node(NodeId(0));
    assert_eq!(node.stat(NodeStat::NrActiveFile), 8);
    assert_eq!(node.stat(NodeStat::NrInactiveFile), 4096 - 8);
    let pin = lab.memory.pin();
    let lruvec = node.lru.lock(&pin);
    assert_eq!(lruvec.list(LruList::InactiveFile).iter(&lab.memory.pages).count(), 4096 - 8);
    drop(lruvec);
    lab.assert_intact();
}

/// A file system's locks may be held by who asks with GFP_NOFS.
#[test]
fn without_fs_only_anonymous_pages_move() {
    let machine = machine();
    let gfp = Gfp::GFP_NOFS | Gfp::__GFP_MOVABLE;
    let lab = MovableLab::with_lru_pages(&machine, |_| (FILE, 0));
    assert_eq!(lab.try_to_compact(gfp, 4, LIGHT), CompactResult::Complete);
    assert_eq!(lab.count(VmEvent::PgmigrateSuccess), 0);
    let lab = MovableLab::with_lru_pages(&machine, |_| (ANON, 1));
    assert_eq!(lab.try_to_compact(gfp, 4, LIGHT), CompactResult::Success);
    assert!(lab.count(VmEvent::PgmigrateSuccess) > 0);
    lab.assert_intact();
}

#[test]
fn a_pinned_anonymous_page_is_not_even_tried() {
    let machine = machine();
    let lab = MovableLab::with_lru_pages(&machine, |_| (ANON, 1));
    lab.page(FIRST_HANDLE).get(1);
    compact_all(&lab);
    assert!(stayed(&lab, 0) && !stayed(&lab, 1));
    assert_eq!(lab.count(VmEvent::PgmigrateFail), 0);
    assert!(!lab.page(FIRST_HANDLE).put_testzero());
    lab.assert_intact();
}

#[test]
fn pages_under_writeback_wait_for_who_may_wait() {
    let machine = machine();
    let marks = |number| (if number == 5 { FILE | PageFlags::WRITEBACK } else { FILE }, 0);
    let lab = MovableLab::with_lru_pages(&machine, marks);
    lab.try_to_compact(Gfp::GFP_HIGHUSER_MOVABLE, 5, LIGHT);
    assert!(stayed(&lab, 5) && !stayed(&lab, 4));
    // It was not even taken.
    assert_eq!(lab.count(VmEvent::PgmigrateFail), 0);
    let threads = lab.memory.env.sched();
    let start = threads.advance(0);
    std::thread::scope(|scope| {
        clear_after(&lab, scope, FIRST_HANDLE.add(10), PageFlags::WRITEBACK, 25);
        compact_all(&lab);
    });
    assert!(!stayed(&lab, 5));
    assert!(threads.advance(0) - start >= 25 * JIFFY_NS);
    lab.assert_intact();
}

/// A request that compacts has `PF_MEMALLOC`, and may hold the lock itself.
#[test]
fn a_request_does_not_wait_for_a_lock() {
    let machine = machine();
    let lab = MovableLab::with_lru_pages(&machine, |_| (FILE, 0));
    lab.page(FIRST_HANDLE).set_flags(PageFlags::LOCKED);
    let (first_stayed, still_locked) = std::thread::scope(|scope| {
        clear_after(&lab, scope, FIRST_HANDLE, PageFlags::LOCKED, 250);
        let memalloc = lab.current().task.scope(TaskFlags::PF_MEMALLOC);
        lab.try_to_compact(Gfp::GFP_HIGHUSER_MOVABLE, 9, LIGHT);
        drop(memalloc);
        let found = (stayed(&lab, 0), lab.page(FIRST_HANDLE).flags().contains(PageFlags::LOCKED));
        sleep::schedule_timeout(&lab.memory, &lab.current(), 250);
        found
    });
    assert!(first_stayed && still_locked && !stayed(&lab, 1));
    lab.assert_intact();
}

#[test]
fn locked_memory_moves_unless_that_is_switched_off() {
    let machine = machine();
    let marks = |number| (if number < 4 { FILE | PageFlags::UNEVICTABLE } else { FILE }, 0);
    let lab = MovableLab::with_lru_pages(&machine, marks);
    lab.memory.sysctl.compact_unevictable_allowed.store(0, crate::sync::atomic::Ordering::Relaxed);
    compact_all(&lab);
    assert!((0..4).all(|number| stayed(&lab, number)) && !stayed(&lab, 4));
    lab.memory.sysctl.compact_unevictable_allowed.store(1, crate::sync::atomic::Ordering::Relaxed);
    compact_all(&lab);
    assert!((0..4).all(|number| !stayed(&lab, number)));
    assert_eq!(lab.memory.node(NodeId(0)).stat(NodeStat::NrUnevictable), 4);
    lab.assert_intact();
}
