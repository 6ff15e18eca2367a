//! Files, tasks and handles whose pages come, go, move and are written: nothing is lost, and what is lost is found out.

use crate::sync::atomic::Ordering::Relaxed;

use crate::mm::filemap::{self, Lookup};
use crate::mm::memory::Env;
use crate::mm::mmap;
use crate::mm::owner::PageOwner;
use crate::mm::page::PageFlags;
use crate::mm::page_io;
use crate::mm::pagecache::{self, find_get_page};
use crate::mm::pc_error::PcError;
use crate::mm::pins;
use crate::mm::sparse::Place;
use crate::mm::swap;
use crate::mm::swapfile;
use crate::mm::testing::{HostMachine, Lab, board_16m, board_m64, logged};
use crate::mm::truncate;
use crate::mm::users::Users;
use crate::mm::verify as ledger;
use crate::mm::workingset;
use crate::mm::writeback;
use crate::mmzone::NodeId;
use crate::sched::{HZ, JIFFY_NS};
use crate::task::{Current, TaskKind};
use crate::vmstat::{LabEvent, NodeStat, VmEvent, ZoneStat};

pub mod anonymous;
mod moving;

pub fn users<'l>(lab: &'l Lab<'_>) -> &'l Users<'l> {
    lab.memory.env.owner()
}

pub fn place(file: u32, index: u64) -> Place {
    pagecache::check_place(file, index).unwrap()
}

/// Pages that are lost.
pub fn verify(lab: &Lab<'_>) -> u64 {
    ledger::verify(&lab.memory, &lab.current(), users(lab)).unwrap().lost
}

/// The record index of a cached page.
fn page(lab: &Lab<'_>, place: Place) -> u32 {
    let (_, index) = find_get_page(&lab.memory, users(lab), place).expect("a cached page");
    swap::put_page(&lab.memory, &lab.current(), index);
    index
}

pub fn flags(lab: &Lab<'_>, place: Place) -> PageFlags {
    lab.memory.pages.at(page(lab, place)).flags()
}

/// Evicts a clean page as reclaim does.
pub fn evict(lab: &Lab<'_>, place: Place) {
    let (memory, index) = (&lab.memory, page(lab, place));
    assert!(swap::isolate_lru_page(memory, index) && memory.pages.at(index).try_lock());
    let shadow = workingset::eviction(memory, index);
    assert!(users(lab).remove_mapping(memory, &lab.current(), index, Some(shadow)));
    swap::unlock_page(memory, index);
    memory.pages.at(index).clear_flags(PageFlags::ACTIVE);
    assert!(swap::put_page(memory, &lab.current(), index));
}

/// Lets time pass, and writes end.
fn pass(lab: &Lab<'_>, ticks: u64) -> u32 {
    lab.memory.env.advance(ticks * JIFFY_NS);
    page_io::complete_due(&lab.memory, &lab.current(), users(lab))
}

fn read(lab: &Lab<'_>, place: Place) -> Lookup {
    filemap::read(&lab.memory, &lab.current(), users(lab), place).unwrap()
}

fn write(lab: &Lab<'_>, place: Place, version: u32) {
    filemap::write(&lab.memory, &lab.current(), users(lab), place, version).unwrap();
}

fn node(lab: &Lab<'_>, stat: NodeStat) -> u64 {
    lab.memory.node(NodeId(0)).stat(stat)
}

/// The record index of the only anonymous page of memory whose task wrote it at `vpn`.
fn anon_page(lab: &Lab<'_>, vpn: u32) -> u32 {
    let owner = users(lab);
    let is_it = |index: &u32| matches!(owner.anon_of(*index), Some((_, at)) if at == vpn);
    let is_anon =
        |index: &u32| lab.memory.blocks.state_of(&lab.memory.pages, *index).flags().contains(PageFlags::SWAPBACKED);
    (0..lab.memory.span().nr_pages() as u32).filter(is_anon).find(is_it).expect("a page in memory")
}

#[test]
fn a_page_is_read_once_and_then_found() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let start = lab.memory.env.threads().advance(0);
    assert_eq!(read(&lab, place(3, 1000)), Lookup::Miss);
    assert!(lab.memory.env.threads().advance(0) - start >= JIFFY_NS, "the device takes its time");
    assert_eq!(read(&lab, place(3, 1000)), Lookup::Hit);
    assert_eq!((node(&lab, NodeStat::NrFilePages), lab.memory.event(VmEvent::Pgpgin)), (1, 4));
    assert_eq!(verify(&lab), 0);
    assert_eq!(truncate::drop_pagecache(&lab.memory, &lab.current(), users(&lab)), Ok(1));
    assert_eq!(node(&lab, NodeStat::NrFilePages), 0);
    lab.assert_sound();
}

#[test]
fn what_was_written_is_read_back_after_writeback() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    write(&lab, place(0, 5), 3);
    assert_eq!((node(&lab, NodeStat::NrDirty), lab.zone().stat(ZoneStat::NrZoneWritePending)), (1, 1));
    assert_eq!(truncate::drop_pagecache(&lab.memory, &lab.current(), users(&lab)), Ok(0), "dirty pages stay");
    assert_eq!(writeback::sync(&lab.memory, &lab.current(), users(&lab)), Ok(1));
    let counts = [NodeStat::NrDirty, NodeStat::NrWriteback, NodeStat::NrDirtied, NodeStat::NrWritten];
    assert_eq!(counts.map(|stat| node(&lab, stat)), [0, 0, 1, 1]);
    assert_eq!(lab.zone().stat(ZoneStat::NrZoneWritePending), 0);
    assert_eq!(truncate::drop_pagecache(&lab.memory, &lab.current(), users(&lab)), Ok(1));
    assert_eq!(read(&lab, place(0, 5)), Lookup::Miss);
    assert_eq!((verify(&lab), lab.memory.lab_event(LabEvent::PcCorrupt)), (0, 0));
}

#[test]
fn a_page_may_be_dirtied_again_while_it_is_written() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let at = place(0, 0);
    write(&lab, at, 1);
    writeback::write_dirty(&lab.memory, &lab.current(), users(&lab), writeback::Reason::All);
    assert!(flags(&lab, at).contains(PageFlags::WRITEBACK));
    write(&lab, at, 2);
    assert_eq!((pass(&lab, 4), pass(&lab, 2)), (0, 1), "a write takes five ticks");
    assert!(flags(&lab, at).contains(PageFlags::DIRTY), "version 2 is not in the store yet");
    writeback::sync(&lab.memory, &lab.current(), users(&lab)).unwrap();
    evict(&lab, at);
    assert_eq!((read(&lab, at), verify(&lab)), (Lookup::Miss, 0));
}

#[test]
fn bytes_that_change_behind_the_cache_are_found_out() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let spoil = |at| {
        let addr = lab.memory.pages.pfn(page(&lab, at)).addr();
        lab.memory.env.write(addr, !lab.memory.env.read(addr));
    };
    // In the cache: the ledger knows better.
    read(&lab, place(1, 0));
    spoil(place(1, 0));
    assert_eq!(verify(&lab), 1);
    // On the way to the store: the sum is of the bytes that were there.
    write(&lab, place(1, 1), 9);
    spoil(place(1, 1));
    writeback::sync(&lab.memory, &lab.current(), users(&lab)).unwrap();
    let log = logged(|| evict(&lab, place(1, 1)));
    assert!(log.contains("pc: CORRUPT f=1 i=1"), "{log}");
    let log = logged(|| read(&lab, place(1, 1)));
    assert!(log.contains("pc: CORRUPT f=1 i=1"), "{log}");
    assert_eq!(lab.memory.lab_event(LabEvent::PcCorrupt), 2);
}

#[test]
fn a_failed_write_is_counted_and_the_page_lost_when_it_is_evicted() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    write(&lab, place(2, 2), 1);
    pins::set_failing(&lab.memory, users(&lab), place(2, 2), true).unwrap();
    writeback::sync(&lab.memory, &lab.current(), users(&lab)).unwrap();
    assert_eq!((lab.memory.lab_event(LabEvent::PcIoError), verify(&lab)), (1, 0));
    assert!(!flags(&lab, place(2, 2)).contains(PageFlags::DIRTY), "clean all the same, as in v5.0");
    evict(&lab, place(2, 2));
    assert_eq!(verify(&lab), 1);
}

#[test]
fn the_flusher_writes_what_is_old_and_what_is_too_much() {
    let machine = board_m64();
    let lab = Lab::new(&machine);
    let (memory, threads) = (&lab.memory, lab.memory.env.threads());
    let task = lab.tasks().spawn("flusher", TaskKind::Daemon).unwrap();
    std::thread::scope(|scope| {
        threads.spawn(scope, || writeback::flusher(memory, &Current::new(task), memory.env.owner()));
        threads.settle();
        write(&lab, place(0, 0), 1);
        let sleep = |ticks| crate::mm::sleep::schedule_timeout(memory, &lab.current(), ticks);
        sleep(30 * HZ);
        assert_eq!(node(&lab, NodeStat::NrDirty), 1, "not old enough");
        sleep(6 * HZ);
        assert_eq!((node(&lab, NodeStat::NrDirty), node(&lab, NodeStat::NrWritten)), (0, 1));

        let limits = crate::mm::dirty_limits::dirty_limits(memory);
        (0..limits.threshold * 2).for_each(|index| write(&lab, place(1, index), 1));
        let dirty = node(&lab, NodeStat::NrDirty) + node(&lab, NodeStat::NrWriteback);
        assert!(dirty <= limits.threshold + 1, "{dirty} dirty pages of {limits:?}");
        sleep(HZ);
        assert!(node(&lab, NodeStat::NrDirty) <= limits.background, "{limits:?}");
        assert!(node(&lab, NodeStat::NrWriteback) == 0);
        threads.stop();
    });
    assert_eq!(verify(&lab), 0);
    lab.assert_sound();
}

#[test]
fn when_the_flusher_writes_is_a_setting() {
    let machine = board_m64();
    let lab = Lab::new(&machine);
    let (memory, threads) = (&lab.memory, lab.memory.env.threads());
    let task = lab.tasks().spawn("flusher", TaskKind::Daemon).unwrap();
    let set = |name: &str, value: &str| {
        crate::proc::sysctl::find(name).unwrap().write(memory, &lab.current(), value).unwrap();
    };
    std::thread::scope(|scope| {
        threads.spawn(scope, || writeback::flusher(memory, &Current::new(task), memory.env.owner()));
        threads.settle();
        let sleep = |ticks| crate::mm::sleep::schedule_timeout(memory, &lab.current(), ticks);
        set("dirty_expire_centisecs", "100");
        set("dirty_writeback_centisecs", "0");
        write(&lab, place(0, 0), 1);
        sleep(60 * HZ);
        assert_eq!(node(&lab, NodeStat::NrDirty), 1, "nobody looks");
        set("dirty_writeback_centisecs", "50");
        sleep(HZ);
        assert_eq!((node(&lab, NodeStat::NrDirty), node(&lab, NodeStat::NrWritten)), (0, 1));
        write(&lab, place(0, 1), 1);
        sleep(3 * HZ / 4);
        assert_eq!(node(&lab, NodeStat::NrDirty), 1, "not old enough");
        sleep(HZ);
        assert_eq!(node(&lab, NodeStat::NrDirty), 0);
        threads.stop();
    });
    lab.assert_sound();
}

#[test]
fn a_frozen_disk_ends_no_write_and_a_full_one_is_congested() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let disk = &users(&lab).disk;
    disk.frozen.store(true, Relaxed);
    disk.may_congest.store(true, Relaxed);
    disk.depth.store(16, Relaxed);
    (0..15).for_each(|index| write(&lab, place(0, index), 1));
    writeback::write_dirty(&lab.memory, &lab.current(), users(&lab), writeback::Reason::All);
    assert_eq!((pass(&lab, 100), disk.in_flight(), disk.is_congested()), (0, 15, true));
    disk.frozen.store(false, Relaxed);
    assert_eq!((pass(&lab, 0), disk.in_flight(), disk.is_congested()), (15, 0, false));
}

#[test]
fn mappings_hold_pages_and_reclaim_can_take_them_away() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let (memory, at) = (&lab.memory, place(0, 0));
    let other = lab.tasks().spawn("other", TaskKind::User).unwrap();
    let [first, second] = [lab.current(), lab.acting_as(other)];
    assert_eq!(mmap::map(memory, &first, users(&lab), at, false), Ok(Lookup::Miss));
    assert_eq!(mmap::map(memory, &second, users(&lab), at, true), Ok(Lookup::Hit));
    let index = page(&lab, at);
    assert_eq!((users(&lab).mapcount(index), memory.pages.at(index).state().count()), (2, 3));
    assert_eq!((node(&lab, NodeStat::NrMapped), other.mm.file_rss.load(Relaxed)), (1, 1));
    let seen = users(&lab).referenced(index);
    assert_eq!((seen.young, seen.executable), (2, true));
    mmap::touch(memory, &first, users(&lab), at).unwrap();
    let seen = users(&lab).referenced(index);
    assert_eq!((seen.young, seen.executable), (1, false));

    assert!(memory.pages.at(index).try_lock() && memory.pages.at(index).get_unless_zero());
    assert!(users(&lab).unmap(memory, &first, index));
    swap::unlock_page(memory, index);
    swap::put_page(memory, &first, index);
    assert_eq!((memory.pages.at(index).state().count(), node(&lab, NodeStat::NrMapped)), (1, 0));
    evict(&lab, at);
    assert_eq!(mmap::touch(memory, &second, users(&lab), at), Ok(Lookup::Miss), "a fault brings it back");
    assert_eq!(memory.event(VmEvent::Pgmajfault), 2);
    mmap::unmap(memory, &first, users(&lab), at).unwrap();
    assert_eq!(mmap::touch(memory, &first, users(&lab), at), Err(PcError::NotMapped(at)));
    assert_eq!(users(&lab).exit_mmap(memory, &second, other), 0);
    assert_eq!((node(&lab, NodeStat::NrMapped), other.mm.rss(), other.mm.total_vm.load(Relaxed)), (0, 0, 0));
    lab.assert_sound();
}

#[test]
fn a_page_that_is_locked_into_memory_is_no_candidate() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let (memory, current, at) = (&lab.memory, lab.current(), place(0, 0));
    mmap::map(memory, &current, users(&lab), at, false).unwrap();
    mmap::mlock(memory, &current, users(&lab), at).unwrap();
    let counts = || (node(&lab, NodeStat::NrUnevictable), lab.zone().stat(ZoneStat::NrMlock));
    assert_eq!(counts(), (1, 1));
    let index = page(&lab, at);
    assert!(users(&lab).referenced(index).mlocked && !users(&lab).unmap(memory, &current, index));
    mmap::munlock(memory, &current, users(&lab), at).unwrap();
    assert_eq!((counts(), node(&lab, NodeStat::NrInactiveFile)), ((0, 0), 1));
    mmap::mlock(memory, &current, users(&lab), at).unwrap();
    mmap::unmap(memory, &current, users(&lab), at).unwrap();
    assert_eq!((counts(), node(&lab, NodeStat::NrInactiveFile)), ((0, 0), 1));
    let events = [VmEvent::UnevictablePgsCulled, VmEvent::UnevictablePgsRescued, VmEvent::UnevictablePgsMunlocked];
    assert_eq!(events.map(|event| memory.event(event)), [2, 2, 1]);
}

#[test]
fn pinned_and_locked_pages_stay() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let (memory, current) = (&lab.memory, lab.current());
    let [a, b, c] = [place(0, 0), place(0, 1), place(0, 2)];
    [a, b, c].iter().for_each(|&at| _ = read(&lab, at));
    pins::pin(memory, users(&lab), a).unwrap();
    pins::lock(memory, &current, users(&lab), b).unwrap();
    assert_eq!(pins::lock(memory, &current, users(&lab), b), Err(PcError::Locked(b)));
    assert_eq!(truncate::drop_pagecache(memory, &current, users(&lab)), Ok(1));
    assert_eq!(verify(&lab), 0);
    assert_eq!(truncate::truncate(memory, &current, users(&lab), 0), Err(PcError::Pinned));
    pins::unpin(memory, &current, users(&lab), a).unwrap();
    assert_eq!(pins::unpin(memory, &current, users(&lab), a), Err(PcError::NotPinned));
    pins::unlock(memory, users(&lab), b).unwrap();
    assert_eq!(pins::unlock(memory, users(&lab), b), Err(PcError::NotLocked(b)));
    assert_eq!(truncate::drop_pagecache(memory, &current, users(&lab)), Ok(2));
    assert_eq!(pins::pin(memory, users(&lab), c), Err(PcError::NotCached(c)));
    lab.assert_sound();
}

#[test]
fn a_truncated_file_is_as_new() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let (memory, current) = (&lab.memory, lab.current());
    write(&lab, place(1, 3), 8);
    writeback::sync(memory, &current, users(&lab)).unwrap();
    write(&lab, place(1, 3), 9);
    write(&lab, place(1, 400), 1);
    mmap::map(memory, &current, users(&lab), place(1, 3), false).unwrap();
    read(&lab, place(2, 3));
    truncate::truncate(memory, &current, users(&lab), 1).unwrap();
    let counts = [NodeStat::NrDirty, NodeStat::NrMapped, NodeStat::NrFilePages].map(|stat| node(&lab, stat));
    assert_eq!((counts, lab.zone().stat(ZoneStat::NrZoneWritePending)), ([0, 0, 1], 0));
    assert_eq!(read(&lab, place(1, 3)), Lookup::Miss);
    assert_eq!((verify(&lab), lab.memory.lab_event(LabEvent::PcCorrupt)), (0, 0));
    lab.assert_sound();
}

#[test]
fn full_tables_say_which_and_how_large() {
    let machine = HostMachine::new("", &[(0x4000_0000, 16 << 20, 0)], &[]);
    let lab = Lab::new(&machine);
    let sparse = |index: u64| filemap::read(&lab.memory, &lab.current(), users(&lab), place(0, index * 64));
    assert!((0..64).all(|index| sparse(index) == Ok(Lookup::Miss)));
    let full = sparse(64).unwrap_err();
    assert_eq!(full.to_string(), "the table of file pages is full: it has 4096 entries");
    assert_eq!(pagecache::check_place(64, 0).unwrap_err().to_string(), "files are numbered 0 to 63, there is no 64");
    let slots = swapfile::swapon(&lab.memory, users(&lab), 5000).unwrap_err();
    assert_eq!(slots.to_string(), "the table of swap slots is full: it has 4096 entries");
    lab.assert_sound();
}
