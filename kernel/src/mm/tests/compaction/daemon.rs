//! kcompactd: woken when there is something to do, put off when it was in vain, patient with locks.

use crate::sync::atomic::Ordering::Relaxed;

use crate::addr::Order;
use crate::host::HostThreads;
use crate::mm::compaction;
use crate::mm::memory::Env;
use crate::mm::page::PageFlags;
use crate::mmzone::NodeId;
use crate::task::{Current, TaskKind};
use crate::vmstat::VmEvent;

use super::movable::{FIRST_HANDLE, MovableLab, PAGES, machine};

/// Runs `act` beside the daemon.
fn with_kcompactd(lab: &MovableLab<'_>, act: impl FnOnce()) {
    let task = lab.memory.env.tasks().spawn("kcompactd0", TaskKind::Daemon).unwrap();
    std::thread::scope(|scope| {
        let threads = lab.memory.env.sched();
        threads.spawn(scope, || {
            compaction::kcompactd(&lab.memory, &Current::new(task), lab.memory.node(NodeId(0)));
        });
        threads.settle();
        let _stop = Stop(threads);
        act();
    });
}

/// Ends the daemon even when an assertion fails beside it, which would wait for it otherwise.
struct Stop<'t>(&'t HostThreads);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn wake(lab: &MovableLab<'_>, order: u32) {
    compaction::wakeup_kcompactd(&lab.memory, &lab.current(), lab.memory.node(NodeId(0)), order, 0);
    lab.memory.env.sched().settle();
}

#[test]
fn it_makes_a_block_of_the_order() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    with_kcompactd(&lab, || {
        wake(&lab, 0);
        assert_eq!(lab.count(VmEvent::CompactDaemonWake), 0);
        wake(&lab, 9);
        assert_eq!(lab.count(VmEvent::CompactDaemonWake), 1);
        assert_eq!(lab.zone().counts.nr_free(Order::PAGEBLOCK), 1);
        assert_eq!(lab.count(VmEvent::CompactDaemonMigrateScanned), lab.count(VmEvent::CompactMigrateScanned));
        assert_eq!(lab.count(VmEvent::CompactDaemonFreeScanned), lab.count(VmEvent::CompactFreeScanned));
        assert_eq!(lab.memory.node(NodeId(0)).kcompactd.max_order.load(Relaxed), 0);
        // It is there already.
        wake(&lab, 9);
        assert_eq!(lab.count(VmEvent::CompactDaemonWake), 1);
    });
    lab.assert_intact();
}

#[test]
fn it_is_put_off_when_it_fails() {
    let machine = machine();
    let lab = MovableLab::full_of_raw_pages(&machine);
    with_kcompactd(&lab, || {
        let scanned = |_| {
            let before = lab.count(VmEvent::CompactMigrateScanned);
            wake(&lab, 4);
            (0..PAGES as u32).step_by(512).for_each(|index| lab.memory.blocks.set_skip(index, false));
            lab.count(VmEvent::CompactMigrateScanned) > before
        };
        assert_eq!([1, 2, 3, 4].map(scanned), [true, false, true, false]);
        assert_eq!(lab.count(VmEvent::CompactDaemonWake), 4);
    });
}

/// Unlike a request, it waits for the lock of a page.
#[test]
fn it_waits_for_a_locked_page() {
    let machine = machine();
    let lab = MovableLab::with_lru_pages(&machine, |_| (PageFlags::empty(), 0));
    lab.page(FIRST_HANDLE).set_flags(PageFlags::LOCKED);
    with_kcompactd(&lab, || {
        wake(&lab, 9);
        assert_eq!(lab.owner().frame_of(0), FIRST_HANDLE);
        crate::mm::sleep::schedule_timeout(&lab.memory, &lab.current(), 10);
        assert_eq!(lab.owner().frame_of(0), FIRST_HANDLE);
        lab.page(FIRST_HANDLE).clear_flags(PageFlags::LOCKED);
        crate::mm::sleep::schedule_timeout(&lab.memory, &lab.current(), 10);
        assert_ne!(lab.owner().frame_of(0), FIRST_HANDLE);
    });
    lab.assert_intact();
}

#[test]
fn frozen_it_works_when_it_is_told_to() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    let daemon = &lab.memory.node(NodeId(0)).kcompactd.daemon;
    with_kcompactd(&lab, || {
        daemon.freeze();
        wake(&lab, 4);
        assert_eq!(lab.count(VmEvent::CompactDaemonWake), 0);
        assert!(daemon.run(lab.memory.env.sched()));
        assert_eq!(lab.count(VmEvent::CompactDaemonWake), 1);
        assert!(daemon.run(lab.memory.env.sched()));
        assert_eq!(lab.count(VmEvent::CompactDaemonWake), 1);
    });
    lab.assert_intact();
}
