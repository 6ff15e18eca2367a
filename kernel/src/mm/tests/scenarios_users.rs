//! Scenarios T42 to T50 as far as they are about those who use memory: dirty pages, swap, refaults, limits, the detector
//! of losses. The machine has Min 256, Low 320, High 384.

use crate::sync::atomic::Ordering::Relaxed;

use crate::gfp::Gfp;
use crate::mm::anon;
use crate::mm::dirty_limits::{self, DirtyLimits};
use crate::mm::fault::{self, Fault};
use crate::mm::filemap::{self, Lookup};
use crate::mm::memory::Env;
use crate::mm::owner::PageOwner;
use crate::mm::page::PageFlags;
use crate::mm::page_io;
use crate::mm::swap;
use crate::mm::swapfile;
use crate::mm::testing::{Lab, VmstatDiff, board_m64, context, logged};
use crate::mm::tests::users::{evict, flags, place, users, verify};
use crate::mm::vmscan;
use crate::mm::writeback;
use crate::mmzone::NodeId;
use crate::sched::JIFFY_NS;
use crate::task::{Current, TaskKind};
use crate::vmstat::{LabEvent, NodeStat};

/// What `reclaim direct` does: pages freed.
fn reclaim(lab: &Lab<'_>, gfp: Gfp) -> u64 {
    vmscan::try_to_free_pages(&lab.memory, &lab.current(), &context(&lab.memory, NodeId(0), gfp, 0))
}

/// Writes version 7 into `count` pages of file 1, however many are dirty, and leaves `free` pages free.
fn dirty(lab: &Lab<'_>, count: u64, free: u64) {
    for index in 0..count {
        filemap::write_unthrottled(&lab.memory, &lab.current(), users(lab), place(1, index), 7).unwrap();
    }
    lab.set_free(free);
}

/// The machine after T42.
fn t42(lab: &Lab<'_>) -> (u64, VmstatDiff) {
    dirty(lab, 12000, 256);
    let mut freed = 0;
    let diff = lab.vmstat_diff(|| freed = reclaim(lab, Gfp::GFP_KERNEL));
    (freed, diff)
}

#[test]
fn t42_direct_reclaim_writes_no_file_page() {
    let machine = board_m64();
    let lab = Lab::scenario(&machine, 16384);
    let (freed, diff) = t42(&lab);
    assert_eq!(freed, 0);
    let names = ["nr_vmscan_immediate_reclaim", "pgactivate", "pgdeactivate", "nr_vmscan_write", "nr_dirty"];
    assert_eq!(diff.all(names), [13604, 13604, 7620, 0, 0]);
    assert!(users(&lab).flush_requests() > 0);
    assert_eq!(verify(&lab), 0);
    lab.assert_sound();
}

#[test]
fn t43_once_the_flusher_works_there_is_memory() {
    let machine = board_m64();
    let lab = Lab::scenario(&machine, 16384);
    t42(&lab);
    let task = lab.tasks().spawn("flusher", TaskKind::Daemon).unwrap();
    let (memory, threads) = (&lab.memory, lab.memory.env.threads());
    let mut got = None;
    let diff = lab.vmstat_diff(|| {
        std::thread::scope(|scope| {
            threads.spawn(scope, || writeback::flusher(memory, &Current::new(task), memory.env.owner()));
            got = lab.alloc(Gfp::GFP_KERNEL, 0).ok();
            threads.stop();
        });
    });
    assert!(got.is_some());
    assert!(diff.of("pgrotated") > 0 && diff.of("nr_dirty") < 0 && diff.of("nr_written") > 0);
    assert_eq!((verify(&lab), lab.memory.lab_event(LabEvent::PcLost)), (0, 0));
    lab.assert_sound();
}

/// 8,000 inactive anonymous pages that nobody used since, 256 free pages, 4,096 slots.
fn t45_base(lab: &Lab<'_>) {
    let (memory, current) = (&lab.memory, lab.current());
    swapfile::swapon(memory, users(lab), 4096).unwrap();
    users(lab).disk.write_latency.store(50, Relaxed);
    assert_eq!(anon::populate(memory, &current, users(lab), 8000).pages, 8000);
    let pages = memory.pages;
    for index in (0..16384).filter(|&index| pages.at(index).flags().contains(PageFlags::SWAPBACKED)) {
        assert!(swap::isolate_lru_page(memory, index));
        pages.at(index).clear_flags(PageFlags::ACTIVE);
        users(lab).referenced(index);
        swap::putback_lru_page(memory, &current, index);
    }
    lab.set_free(256);
}

#[test]
fn t45_without_io_nothing_is_swapped() {
    let machine = board_m64();
    let lab = Lab::scenario(&machine, 16384);
    t45_base(&lab);
    let diff = lab.vmstat_diff(|| assert_eq!(reclaim(&lab, Gfp::GFP_NOIO), 0));
    assert_eq!(diff.all(["pswpout", "pgsteal_direct", "nr_free_pages"]), [0, 0, 0]);
    lab.assert_sound();
}

#[test]
fn t45_without_fs_every_slot_is_filled_and_pages_come_back_as_they_were() {
    let machine = board_m64();
    let lab = Lab::scenario(&machine, 16384);
    t45_base(&lab);
    let diff = lab.vmstat_diff(|| _ = reclaim(&lab, Gfp::GFP_NOFS));
    assert_eq!(diff.all(["pswpout", "nr_vmscan_write", "nr_writeback"]), [4096, 4096, 4096]);
    assert_eq!(users(&lab).swap_space().free, 0);

    lab.memory.env.advance(51 * JIFFY_NS);
    let diff = lab.vmstat_diff(|| {
        assert_eq!(page_io::complete_due(&lab.memory, &lab.current(), users(&lab)), 4096);
        // The scenario has the pages freed now. But while no slot is free, v5.0 looks at no anonymous page at all (the
        // first rule of get_scan_count), not even at those that are clean and have a slot.
        assert_eq!(reclaim(&lab, Gfp::GFP_NOFS), 0);
    });
    assert_eq!(diff.all(["nr_writeback", "pgrotated", "pgscan_direct"]), [-4096, 4096, 0]);
    // A page that is used again gives its slot back, for more than half of them are in use.
    let touch = |vpn| fault::touch(&lab.memory, &lab.current(), users(&lab), vpn).unwrap();
    (0..8000).map(touch).find(|&fault| fault == Fault::Minor).expect("a page in the swap cache");
    assert_eq!(users(&lab).swap_space().free, 1);
    let diff = lab.vmstat_diff(|| assert!(reclaim(&lab, Gfp::GFP_NOFS) > 0));
    assert!(diff.of("pgsteal_direct") >= 32 && diff.of("nr_free_pages") == diff.of("pgsteal_direct"), "{diff:?}");

    let mut faults = Vec::new();
    let diff = lab.vmstat_diff(|| {
        faults.extend((0..8000).map(touch));
    });
    let major = faults.iter().filter(|&&fault| fault == Fault::Major).count() as i64;
    assert!(major > 0);
    assert_eq!(diff.all(["pswpin", "pgmajfault"]), [major, major]);
    assert_eq!(anon::check(&lab.memory, &lab.current(), users(&lab), lab.tasks().init()).lost, 0);
    assert_eq!(lab.memory.lab_event(LabEvent::PcCorrupt), 0);
    lab.assert_sound();
}

/// Nine active pages; page 0 of file 2 is evicted, then `others` more, and it is read again. What changed: refaults,
/// activations, restorations; and the page's flags.
fn t46(others: u64, workingset: bool) -> ([i64; 3], PageFlags) {
    let machine = board_m64();
    let lab = Lab::scenario(&machine, 16384);
    let read = |file, index| filemap::read(&lab.memory, &lab.current(), users(&lab), place(file, index)).unwrap();
    for index in 0..9 {
        read(1, index);
        read(1, index);
    }
    let node = lab.memory.node(NodeId(0));
    assert_eq!(node.stat(NodeStat::NrActiveFile), 9);
    (0..=others).for_each(|index| assert_eq!(read(2, index), Lookup::Miss));
    if workingset {
        let (_, index) = crate::mm::pagecache::find_get_page(&lab.memory, users(&lab), place(2, 0)).unwrap();
        lab.memory.pages.at(index).set_flags(PageFlags::WORKINGSET);
        swap::put_page(&lab.memory, &lab.current(), index);
    }
    (0..=others).for_each(|index| evict(&lab, place(2, index)));
    let diff = lab.vmstat_diff(|| assert_eq!(read(2, 0), Lookup::Miss));
    (diff.all(["workingset_refault", "workingset_activate", "workingset_restore"]), flags(&lab, place(2, 0)))
}

#[test]
fn t46_a_page_that_comes_back_soon_enough_is_active() {
    let (changes, flags) = t46(9, false);
    assert_eq!(changes, [1, 1, 0]);
    assert!(flags.contains(PageFlags::ACTIVE));
    let (changes, flags) = t46(10, false);
    assert_eq!(changes, [1, 0, 0]);
    assert!(!flags.contains(PageFlags::ACTIVE));
    assert_eq!(t46(9, true).0, [1, 1, 1]);
}

#[test]
fn t47_readahead_is_no_use_and_two_reads_are_enough() {
    const LOOK: PageFlags = PageFlags::REFERENCED.union(PageFlags::ACTIVE);
    let machine = board_m64();
    let lab = Lab::scenario(&machine, 16384);
    let read = || filemap::read(&lab.memory, &lab.current(), users(&lab), place(0, 0));
    filemap::readahead(&lab.memory, &lab.current(), users(&lab), place(0, 0), 1).unwrap();
    assert_eq!(flags(&lab, place(0, 0)) & LOOK, PageFlags::empty());
    assert_eq!(read(), Ok(Lookup::Hit));
    assert_eq!(flags(&lab, place(0, 0)) & LOOK, PageFlags::REFERENCED);
    let diff = lab.vmstat_diff(|| _ = read());
    assert_eq!((diff.of("pgactivate"), flags(&lab, place(0, 0)) & LOOK), (1, PageFlags::ACTIVE));
}

#[test]
fn t49_the_limits_of_dirty_pages() {
    let machine = board_m64();
    let lab = Lab::scenario(&machine, 16384);
    filemap::readahead(&lab.memory, &lab.current(), users(&lab), place(0, 0), 1000).unwrap();
    lab.set_free(15000);
    assert_eq!((lab.memory.totalreserve(), dirty_limits::dirtyable(&lab.memory)), (384, 15617));
    let limits = dirty_limits::dirty_limits(&lab.memory);
    assert_eq!(limits, DirtyLimits { threshold: 3122, background: 1559 });
    lab.memory.sysctl.dirty_ratio.store(50, Relaxed);
    lab.memory.sysctl.dirty_background_ratio.store(60, Relaxed);
    let limits = dirty_limits::dirty_limits(&lab.memory);
    // Half of 15617, and as the background must be lower, half of that.
    assert_eq!(limits, DirtyLimits { threshold: 7808, background: 3904 });
}

#[test]
fn t50_a_dirty_page_that_reclaim_drops_is_found_out() {
    let machine = board_m64();
    let lab = Lab::scenario(&machine, 16384);
    t42(&lab);
    assert_eq!(verify(&lab), 0);
    let (_, index) = crate::mm::pagecache::find_get_page(&lab.memory, users(&lab), place(1, 4711)).unwrap();
    swap::put_page(&lab.memory, &lab.current(), index);
    lab.memory.pages.at(index).clear_flags(PageFlags::DIRTY);
    evict(&lab, place(1, 4711));
    let log = logged(|| assert_eq!(verify(&lab), 1));
    assert!(log.contains("pc: LOST f=1 i=4711 ledger=7 store=0"), "{log}");
    assert_eq!(lab.memory.lab_event(LabEvent::PcLost), 1);
}
