//! The LRU lists: where a page stands after each event of its life, and what is counted.

use crate::gfp::Gfp;
use crate::mm::lru::{ANON, FILE};
use crate::mm::page::PageFlags;
use crate::mm::swap;
use crate::mm::testing::{HostMachine, Lab, MIB, logged};
use crate::mm::workingset;
use crate::mmzone::NodeId;
use crate::reclaim_types::LruList;
use crate::vmstat::{NodeStat, VmEvent, ZoneStat};

fn machine() -> HostMachine {
    HostMachine::new("", &[(0x4000_0000, 64 * MIB, 0)], &[])
}

/// A page with these marks at the head of its list.
fn add(lab: &Lab<'_>, marks: PageFlags) -> u32 {
    let index = lab.memory.pages.index(lab.alloc(Gfp::GFP_KERNEL, 0).unwrap());
    lab.memory.pages.at(index).set_flags(marks);
    swap::lru_cache_add(&lab.memory, &lab.current(), index);
    index
}

fn flags(lab: &Lab<'_>, index: u32) -> PageFlags {
    lab.memory.pages.at(index).flags()
}

/// Checks the order of a list, head first, and that node and zone count it.
#[track_caller]
fn check(lab: &Lab<'_>, lru: LruList, expected: &[u32]) {
    let node = lab.memory.node(NodeId(0));
    let pin = lab.memory.pin();
    let pages: Vec<u32> = node.lru.lock(&pin).list(lru).iter(&lab.memory.pages).collect();
    assert_eq!(pages, expected, "{}", lru.name());
    let counted = (node.stat(NodeStat::ALL[lru as usize]), lab.zone().stat(ZoneStat::ALL[1 + lru as usize]));
    assert_eq!(counted, (expected.len() as u64, expected.len() as u64), "{}", lru.name());
}

/// What reclaim knows of recent use: (scanned, rotated) by kind.
fn recent(lab: &Lab<'_>) -> [(u64, u64); 2] {
    let pin = lab.memory.pin();
    let lruvec = lab.memory.node(NodeId(0)).lru.lock(&pin);
    [ANON, FILE].map(|kind| (lruvec.recent_scanned[kind], lruvec.recent_rotated[kind]))
}

#[test]
fn marks_name_the_list_and_new_pages_come_to_its_head() {
    let machine = machine();
    let lab = Lab::new(&machine);
    let (a, b) = (add(&lab, PageFlags::empty()), add(&lab, PageFlags::empty()));
    let active = add(&lab, PageFlags::ACTIVE);
    let anon = add(&lab, PageFlags::SWAPBACKED);
    let active_anon = add(&lab, PageFlags::SWAPBACKED | PageFlags::ACTIVE);
    check(&lab, LruList::InactiveFile, &[b, a]);
    check(&lab, LruList::ActiveFile, &[active]);
    check(&lab, LruList::InactiveAnon, &[anon]);
    check(&lab, LruList::ActiveAnon, &[active_anon]);
    assert_eq!(recent(&lab), [(2, 1), (3, 1)]);
}

#[test]
fn the_second_use_activates_a_page() {
    let machine = machine();
    let lab = Lab::new(&machine);
    let (page, other) = (add(&lab, PageFlags::empty()), add(&lab, PageFlags::empty()));
    let states: Vec<PageFlags> = (0..4)
        .map(|_| {
            swap::mark_page_accessed(&lab.memory, &lab.current(), page);
            flags(&lab, page) - PageFlags::LRU
        })
        .collect();
    let (referenced, active) = (PageFlags::REFERENCED, PageFlags::ACTIVE);
    assert_eq!(states, [referenced, active, active | referenced, active | referenced]);
    check(&lab, LruList::ActiveFile, &[page]);
    check(&lab, LruList::InactiveFile, &[other]);
    assert_eq!(lab.memory.event(VmEvent::Pgactivate), 1);
    assert_eq!(recent(&lab), [(0, 0), (3, 1)]);
}

#[test]
fn a_page_that_reclaim_waits_for_goes_to_the_tail() {
    let machine = machine();
    let lab = Lab::new(&machine);
    let active = add(&lab, PageFlags::ACTIVE);
    let (old, young) = (add(&lab, PageFlags::empty()), add(&lab, PageFlags::empty()));
    let dirty = add(&lab, PageFlags::DIRTY);
    for page in [active, young, dirty] {
        swap::rotate_reclaimable_page(&lab.memory, &lab.current(), page);
    }
    check(&lab, LruList::InactiveFile, &[dirty, old, active, young]);
    check(&lab, LruList::ActiveFile, &[]);
    assert_eq!(lab.memory.event(VmEvent::Pgrotated), 2);
}

#[test]
fn an_isolated_page_goes_where_its_marks_say_when_it_comes_back() {
    let machine = machine();
    let lab = Lab::new(&machine);
    let (page, other) = (add(&lab, PageFlags::empty()), add(&lab, PageFlags::empty()));
    assert!(swap::isolate_lru_page(&lab.memory, page));
    assert!(!swap::isolate_lru_page(&lab.memory, page));
    assert_eq!(lab.memory.pages.at(page).state().count(), 2);
    check(&lab, LruList::InactiveFile, &[other]);
    lab.memory.pages.at(page).set_flags(PageFlags::ACTIVE);
    swap::putback_lru_page(&lab.memory, &lab.current(), page);
    check(&lab, LruList::ActiveFile, &[page]);
    assert_eq!(lab.memory.pages.at(page).state().count(), 1);
    // Nobody has locked it into memory.
    assert!(swap::isolate_lru_page(&lab.memory, page));
    lab.memory.pages.at(page).set_flags(PageFlags::UNEVICTABLE);
    swap::putback_lru_page(&lab.memory, &lab.current(), page);
    check(&lab, LruList::ActiveFile, &[page]);
}

#[test]
fn the_last_reference_takes_a_page_off_its_list_and_frees_it() {
    let machine = machine();
    let lab = Lab::without_pcp(&machine);
    let free = lab.zone().counts.free_pages();
    let page = add(&lab, PageFlags::ACTIVE | PageFlags::SWAPBACKED | PageFlags::REFERENCED);
    lab.memory.pages.at(page).get(1);
    assert!(!swap::put_page(&lab.memory, &lab.current(), page));
    check(&lab, LruList::ActiveAnon, &[page]);
    assert!(swap::put_page(&lab.memory, &lab.current(), page));
    check(&lab, LruList::ActiveAnon, &[]);
    assert_eq!(lab.zone().counts.free_pages(), free);
    lab.assert_sound();
}

#[test]
fn a_page_that_somebody_works_on_is_not_freed() {
    let machine = machine();
    let lab = Lab::without_pcp(&machine);
    let page = add(&lab, PageFlags::LOCKED);
    let log = logged(|| swap::put_page(&lab.memory, &lab.current(), page));
    assert!(log.contains("BUG: Bad page state in process sh"), "{log}");
    assert_eq!(lab.memory.leaked(), 1);
    check(&lab, LruList::InactiveFile, &[]);
}

/// Evicts a page with `marks`, then `others`; whether the page is active when it is read again with `active` file pages
/// around, and what was counted: refaults, activations, restored.
fn refault(marks: PageFlags, others: usize, active: usize) -> (bool, [u64; 3]) {
    let machine = machine();
    let lab = Lab::new(&machine);
    (0..active).for_each(|_| _ = add(&lab, PageFlags::ACTIVE));
    let page = add(&lab, marks);
    let shadow = workingset::eviction(&lab.memory, page);
    (0..others).for_each(|_| _ = workingset::eviction(&lab.memory, page));
    let again = lab.memory.pages.index(lab.alloc(Gfp::GFP_KERNEL, 0).unwrap());
    workingset::refault(&lab.memory, &lab.current(), again, shadow);
    let node = lab.memory.node(NodeId(0));
    let counted = [NodeStat::WorkingsetRefault, NodeStat::WorkingsetActivate, NodeStat::WorkingsetRestore];
    assert_eq!(flags(&lab, again).contains(PageFlags::WORKINGSET), counted.map(|stat| node.stat(stat))[2] == 1);
    (flags(&lab, again).contains(PageFlags::ACTIVE), counted.map(|stat| node.stat(stat)))
}

#[test]
fn t46_a_page_that_comes_back_soon_enough_is_active() {
    assert_eq!(refault(PageFlags::empty(), 9, 9), (true, [1, 1, 0]));
    assert_eq!(refault(PageFlags::empty(), 10, 9), (false, [1, 0, 0]));
    assert_eq!(refault(PageFlags::WORKINGSET, 9, 9), (true, [1, 1, 1]));
    assert_eq!(refault(PageFlags::WORKINGSET, 10, 9), (false, [1, 0, 0]));
}
