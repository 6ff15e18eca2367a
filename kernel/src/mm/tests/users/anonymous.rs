//! Anonymous pages that go to their slots and come back.

use super::*;
use crate::mm::anon;
use crate::mm::fault::{self, Fault};
use crate::mm::owner::Pageout;

/// Writes an anonymous page to its slot as reclaim does, and evicts it.
pub fn swap_out(lab: &Lab<'_>, vpn: u32) -> u32 {
    let (memory, current) = (&lab.memory, lab.current());
    let index = anon_page(lab, vpn);
    assert!(swap::isolate_lru_page(memory, index) && memory.pages.at(index).try_lock());
    let cached = memory.pages.at(index).flags().contains(PageFlags::SWAPCACHE);
    assert!(cached || users(lab).add_to_swap(memory, &current, index));
    assert!(users(lab).unmap(memory, &current, index));
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
