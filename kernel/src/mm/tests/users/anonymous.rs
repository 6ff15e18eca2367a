//! Anonymous pages that go to their slots and come back.

use std::sync::atomic::AtomicU64;

use super::super::scenes::{beside, call_off_when};
use super::*;
use crate::gfp::Gfp;
use crate::mm::anon;
use crate::mm::fault::{self, Fault};
use crate::mm::owner::{Pageout, SwapSpace};
use crate::mm::swapoff::swapoff;

/// Takes an anonymous page as reclaim does, locked, and gives it a slot if it has none.
fn isolate(lab: &Lab<'_>, vpn: u32) -> u32 {
    let (memory, current) = (&lab.memory, lab.current());
    let index = anon_page(lab, vpn);
    assert!(swap::isolate_lru_page(memory, index) && memory.pages.at(index).try_lock());
    let cached = memory.pages.at(index).flags().contains(PageFlags::SWAPCACHE);
    assert!(cached || users(lab).add_to_swap(memory, &current, index));
    assert!(users(lab).unmap(memory, &current, index));
    index
}

/// Starts to write an anonymous page to its slot as reclaim does.
fn begin_swap_out(lab: &Lab<'_>, vpn: u32) {
    let (memory, current, index) = (&lab.memory, lab.current(), isolate(lab, vpn));
    assert_eq!(users(lab).writepage(memory, &current, index), Pageout::Submitted);
    swap::putback_lru_page(memory, &current, index);
}

/// Writes an anonymous page to its slot as reclaim does, and evicts it.
pub fn swap_out(lab: &Lab<'_>, vpn: u32) -> u32 {
    let (memory, current, index) = (&lab.memory, lab.current(), isolate(lab, vpn));
    if memory.pages.at(index).flags().contains(PageFlags::DIRTY) {
        assert_eq!(users(lab).writepage(memory, &current, index), Pageout::Submitted);
        assert_eq!(pass(lab, 6), 1);
        assert!(memory.pages.at(index).try_lock());
    }
    assert!(users(lab).remove_mapping(memory, &current, index, None));
    swap::unlock_page(memory, index);
    memory.pages.at(index).clear_flags(PageFlags::ACTIVE);
    assert!(swap::put_page(memory, &current, index));
    index
}

#[test]
fn an_anonymous_page_comes_back_from_its_slot_as_it_was() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let (memory, current, task) = (&lab.memory, lab.current(), lab.tasks().init());
    swapfile::swapon(memory, users(&lab), 8).unwrap();
    assert_eq!(anon::populate(memory, &current, users(&lab), 3).first, 0);
    assert_eq!(anon::populate(memory, &current, users(&lab), 1).first, 3);
    assert_eq!(fault::write(memory, &current, users(&lab), 2), Ok(2));
    let rss = || [&task.mm.anon_rss, &task.mm.swapents, &task.mm.total_vm].map(|count| count.load(Relaxed));
    assert_eq!((rss(), node(&lab, NodeStat::NrActiveAnon)), ([4, 0, 4], 4));
    swap_out(&lab, 2);
    assert_eq!((rss(), node(&lab, NodeStat::NrAnonPages)), ([3, 1, 4], 3));
    assert_eq!(anon::check(memory, &current, users(&lab), task).lost, 0);
    assert_eq!(fault::touch(memory, &current, users(&lab), 2), Ok(Fault::Major));
    assert_eq!((rss(), fault::touch(memory, &current, users(&lab), 2)), ([4, 0, 4], Ok(Fault::None)));
    // Its slot is still good, until it is written again.
    let writes = memory.event(VmEvent::Pswpout);
    swap_out(&lab, 2);
    assert_eq!(memory.event(VmEvent::Pswpout), writes);
    assert_eq!(fault::write(memory, &current, users(&lab), 2), Ok(3));
    swap_out(&lab, 2);
    assert_eq!(memory.event(VmEvent::Pswpout), writes + 1);
    assert_eq!(anon::check(memory, &current, users(&lab), task).lost, 0);
    assert_eq!(users(&lab).swap_cache().pages, 0);

    assert_eq!(anon::free_all(memory, &current, users(&lab), task), 3);
    assert_eq!((rss(), users(&lab).swap_space().free), ([0, 0, 0], 8));
    assert_eq!([NodeStat::NrAnonPages, NodeStat::NrFilePages].map(|stat| node(&lab, stat)), [0, 0]);
    lab.assert_sound();
}

#[test]
fn an_anonymous_page_that_is_dropped_is_found_out() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let (memory, current, task) = (&lab.memory, lab.current(), lab.tasks().init());
    swapfile::swapon(memory, users(&lab), 8).unwrap();
    anon::populate(memory, &current, users(&lab), 1);
    swap_out(&lab, 0);
    fault::write(memory, &current, users(&lab), 0).unwrap();
    let index = anon_page(&lab, 0);
    memory.pages.at(index).clear_flags(PageFlags::DIRTY);
    swap_out(&lab, 0);
    assert_eq!(anon::check(memory, &current, users(&lab), task).lost, 1);
}

#[test]
fn swapoff_brings_the_pages_of_all_tasks_back() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let (memory, current, init) = (&lab.memory, lab.current(), lab.tasks().init());
    let other = lab.tasks().spawn("other", TaskKind::User).unwrap();
    swapfile::swapon(memory, users(&lab), 6).unwrap();
    // In their slots: 0 and 2 of one task, 3 and 4 of the other. 1 is mapped with a slot, 2 of the other on its way out.
    anon::populate(memory, &current, users(&lab), 3);
    (0..3).for_each(|vpn| _ = swap_out(&lab, vpn));
    assert_eq!(fault::touch(memory, &current, users(&lab), 1), Ok(Fault::Major));
    anon::populate(memory, &lab.acting_as(other), users(&lab), 5);
    [3, 4].iter().for_each(|&vpn| _ = swap_out(&lab, vpn));
    begin_swap_out(&lab, 2);
    assert_eq!(users(&lab).swap_space(), SwapSpace { total: 6, free: 0 });

    let diff = lab.vmstat_diff(|| assert_eq!(swapoff(memory, &current, users(&lab)), Ok(())));
    assert_eq!(diff.all(["pswpin", "pswpout", "pgfault", "pgmajfault", "nr_writeback"]), [4, 0, 0, 0, -1]);
    assert_eq!((users(&lab).swap_space(), init.oom.is_origin()), (SwapSpace { total: 0, free: 0 }, false));
    assert_eq!(users(&lab).swap_cache().pages, 0);
    for (task, pages) in [(init, 3), (other, 5)] {
        assert_eq!([&task.mm.anon_rss, &task.mm.swapents].map(|count| count.load(Relaxed)), [pages, 0]);
        assert_eq!(anon::check(memory, &current, users(&lab), task).lost, 0);
        let touch = |vpn| fault::touch(memory, &lab.acting_as(task), users(&lab), vpn);
        assert!((0..pages as u32).all(|vpn| touch(vpn) == Ok(Fault::None)));
    }
    lab.assert_sound();
    assert_eq!(swapoff(memory, &current, users(&lab)), Ok(()), "there is none");
}

#[test]
fn swapoff_that_is_called_off_leaves_the_slots_that_are_left() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let (memory, current, init) = (&lab.memory, lab.current(), lab.tasks().init());
    let other = lab.tasks().spawn("other", TaskKind::User).unwrap();
    swapfile::swapon(memory, users(&lab), 8).unwrap();
    anon::populate(memory, &current, users(&lab), 3);
    [0, 1].iter().for_each(|&vpn| _ = swap_out(&lab, vpn));
    begin_swap_out(&lab, 2);
    // The disk never writes the last one; whoever waits for it is called off.
    users(&lab).disk.frozen.store(true, Relaxed);
    let ticks = AtomicU64::new(0);
    beside(&lab, &[], |scope| {
        call_off_when(&lab, scope, || {
            assert!(init.oom.is_origin());
            assert_eq!(users(&lab).swap_space(), SwapSpace { total: 0, free: 0 });
            assert_eq!(swapfile::swapon(memory, users(&lab), 8), Err(PcError::SwapClosing));
            assert_eq!(swapoff(memory, &lab.acting_as(other), users(&lab)), Err(PcError::SwapClosing));
            ticks.fetch_add(1, Relaxed) == 10
        });
        assert_eq!(swapoff(memory, &current, users(&lab)), Err(PcError::Interrupted));
    });
    assert_eq!((users(&lab).swap_space(), init.oom.is_origin()), (SwapSpace { total: 8, free: 7 }, false));
    users(&lab).disk.frozen.store(false, Relaxed);
    assert_eq!(swapfile::swapon(memory, users(&lab), 8), Err(PcError::SwapInUse(1)));
    assert_eq!(anon::check(memory, &current, users(&lab), init).lost, 0);
    pass(&lab, 6);
    lab.assert_sound();
}

#[test]
fn swapoff_needs_room_in_memory() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let (memory, current) = (&lab.memory, lab.current());
    swapfile::swapon(memory, users(&lab), 8).unwrap();
    anon::populate(memory, &current, users(&lab), 1);
    swap_out(&lab, 0);
    let page = lab.alloc(Gfp::GFP_KERNEL, 0).unwrap();
    // With the 7 free slots there is room for as many pages as there are slots, and none beyond that and the reserve.
    lab.set_free(lab.node().totalreserve() + 1);
    assert_eq!(swapoff(memory, &current, users(&lab)), Err(PcError::NoRoomToUnuse(8, 8)));
    assert_eq!(users(&lab).swap_space(), SwapSpace { total: 8, free: 7 });
    lab.free(page, 0).unwrap();
    lab.drain();
    assert_eq!(swapoff(memory, &current, users(&lab)), Ok(()));
}
