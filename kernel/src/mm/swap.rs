//! Pages on their way to, within and off the LRU lists, and the end of a page: its last reference.
//!
//! [`lru_cache_add`] puts a fresh page on the list that its marks name. [`mark_page_accessed`] is the second chance: the
//! first use marks a page, the next one activates it. [`isolate_lru_page`] takes a page off its list for somebody who
//! works on it, [`putback_lru_page`] brings it back. [`put_page`] drops a reference; the last one frees the page, and
//! takes it off its list before.
//!
//! Every change of a list counts for the zone and the node of the page. Lock order: the LRU lock before the zone lock;
//! here neither is held while the other is taken. Linux: `mm/swap.c`, and `isolate_lru_page`, `putback_lru_page` of
//! `mm/vmscan.c`.
//!
//! Linux does more: it gathers 15 pages per CPU before it takes the LRU lock for them all.

use crate::sync::atomic::{Ordering::SeqCst, fence};

use super::freelist;
use super::list::List;
use super::lru::{self, Lruvec, lru_of};
use super::memory::{Env, Memory};
use super::node::Node;
use super::owner::PageOwner;
use super::page::{Page, PageFlags};
use super::prep;
use super::workingset;
use super::zone::Zone;
use crate::addr::Order;
use crate::reclaim_types::LruList;
use crate::sync::SpinGuard;
use crate::task::Current;
use crate::trace::kmem::Kmem;
use crate::trace::pagemap::{Pagemap, PagemapFlags};
use crate::vmstat::VmEvent;

/// Where a page lives: its zone and its node.
pub(super) fn home<'a, E: Env>(memory: &'a Memory<'_, E>, page: &Page) -> (&'a Zone, &'a Node) {
    let zone = memory.zone(page.state().zone());
    (zone, memory.node(zone.node))
}

/// `delta` pages of `zone` more on `lru`. Linux: `update_lru_size`.
pub(super) fn add_lru_size(node: &Node, zone: &Zone, lru: LruList, delta: i64) {
    node.add_stat(lru::node_stat(lru), delta);
    zone.add_stat(lru::zone_stat(lru), delta);
}

/// Runs `act` on the page's node's lists if the page is on one, then on no other CPU.
fn with_listed<E: Env, R>(
    memory: &Memory<'_, E>,
    index: u32,
    act: impl FnOnce(&mut SpinGuard<'_, Lruvec>, &Page, LruList) -> Option<R>,
) -> Option<R> {
    let page = memory.pages.at(index);
    if !page.flags().contains(PageFlags::LRU) {
        return None;
    }
    let (_, node) = home(memory, page);
    let pin = memory.pin();
    let mut lruvec = node.lru.lock(&pin);
    let flags = page.flags();
    if flags.contains(PageFlags::LRU) { act(&mut lruvec, page, lru_of(flags)) } else { None }
}

/// Marks a page as being on a list, and says on which it belongs. The caller holds the LRU lock.
///
/// A page that somebody kept in memory when it was taken off its list may be free to go by now: who let it go could not
/// move it then. Linux: `page_evictable`.
pub(super) fn choose_list<E: Env>(memory: &Memory<'_, E>, page: &Page, index: u32) -> LruList {
    page.set_flags(PageFlags::LRU);
    if page.flags().contains(PageFlags::UNEVICTABLE) {
        // Who lets it go finds it on a list from here on, or is seen.
        fence(SeqCst);
        if memory.env.owner().is_mlocked(index) {
            page.clear_flags(PageFlags::ACTIVE);
        } else {
            page.clear_flags(PageFlags::UNEVICTABLE);
            memory.count(VmEvent::UnevictablePgsRescued, 1);
        }
    }
    lru_of(page.flags())
}

/// Marks a page that is on no list as one that reclaim shall not look at. Linux: the end of `__pagevec_lru_add_fn`.
pub(super) fn cull<E: Env>(memory: &Memory<'_, E>, page: &Page) {
    if page.set_flags(PageFlags::UNEVICTABLE).is_empty() {
        memory.count(VmEvent::UnevictablePgsCulled, 1);
    }
}

/// Puts a page that is on no list at the head of the one where it belongs. The lists hold no reference.
///
/// Linux: `lru_cache_add`, `__pagevec_lru_add_fn`.
pub fn lru_cache_add<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, index: u32) {
    let page = memory.pages.at(index);
    let (zone, node) = home(memory, page);
    let pin = memory.pin();
    let mut lruvec = node.lru.lock(&pin);
    let lru = choose_list(memory, page, index);
    if lru != LruList::Unevictable {
        lruvec.note_arrival(lru);
    }
    lruvec.list_mut(lru).push_front(&memory.pages, index);
    add_lru_size(node, zone, lru, 1);
    drop(lruvec);
    drop(pin);
    memory.trace(current, || insertion(memory, page, index, lru));
}

/// The event of a page that came to a list.
fn insertion<E: Env>(memory: &Memory<'_, E>, page: &Page, index: u32, lru: LruList) -> Pagemap {
    let marks = page.flags();
    let mut flags = PagemapFlags::empty();
    flags.set(PagemapFlags::MAPPED, memory.env.owner().mapcount(index) > 0);
    flags.set(PagemapFlags::ANONYMOUS | PagemapFlags::SWAPBACKED, marks.contains(PageFlags::SWAPBACKED));
    flags.set(PagemapFlags::SWAPCACHE, marks.contains(PageFlags::SWAPCACHE));
    Pagemap::MmLruInsertion { page: memory.pages.pfn(index), lru, flags }
}

/// Takes a page off its list, if it is on one; whether it was. Its other marks stay. Linux: `del_page_from_lru_list`.
pub fn lru_del<E: Env>(memory: &Memory<'_, E>, index: u32) -> bool {
    take_off(memory, index, |_| true)
}

/// Takes a page off its list, with a reference, for somebody who works on it; whether it was on one and in use. Who
/// isolates counts it as isolated, if it should be. Linux: `isolate_lru_page`.
pub fn isolate_lru_page<E: Env>(memory: &Memory<'_, E>, index: u32) -> bool {
    take_off(memory, index, Page::get_unless_zero)
}

/// Takes a page off its list, if it is on one and `admit` agrees; whether that was so.
fn take_off<E: Env>(memory: &Memory<'_, E>, index: u32, admit: impl FnOnce(&Page) -> bool) -> bool {
    let taken = with_listed(memory, index, |lruvec, page, lru| {
        if !admit(page) {
            return None;
        }
        let (zone, node) = home(memory, page);
        lruvec.remove(&memory.pages, index);
        page.clear_flags(PageFlags::LRU);
        add_lru_size(node, zone, lru, -1);
        Some(())
    });
    taken.is_some()
}

/// Brings an isolated page back to the list where it belongs now, and drops the reference of the isolation.
///
/// Linux: `putback_lru_page`.
pub fn putback_lru_page<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, index: u32) {
    lru_cache_add(memory, current, index);
    put_page(memory, current, index);
}

/// The page was used: the first time it is marked, the second time it becomes active.
///
/// Linux: `mark_page_accessed`.
pub fn mark_page_accessed<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, index: u32) {
    let page = memory.pages.at(index);
    let flags = page.flags();
    if !flags.contains(PageFlags::REFERENCED) {
        page.set_flags(PageFlags::REFERENCED);
    } else if !flags.intersects(PageFlags::ACTIVE | PageFlags::UNEVICTABLE) {
        activate_page(memory, current, index);
        page.clear_flags(PageFlags::REFERENCED);
        if !flags.contains(PageFlags::SWAPBACKED) {
            workingset::activation(memory, index);
        }
    }
}

/// Moves a page from an inactive list to the head of the active one. Linux: `activate_page`.
pub fn activate_page<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, index: u32) {
    let activated = with_listed(memory, index, |lruvec, page, from| {
        if !matches!(from, LruList::InactiveAnon | LruList::InactiveFile) {
            return None;
        }
        lruvec.remove(&memory.pages, index);
        page.set_flags(PageFlags::ACTIVE);
        let to = lru_of(page.flags());
        lruvec.list_mut(to).push_front(&memory.pages, index);
        lruvec.note_arrival(to);
        count_move(memory, page, from, to);
        Some(())
    });
    if activated.is_some() {
        memory.count(VmEvent::Pgactivate, 1);
        memory.trace(current, || Pagemap::MmLruActivate { page: memory.pages.pfn(index) });
    }
}

/// Writeback of a page that reclaim wants ended: if nothing speaks against it, the page goes where reclaim looks next,
/// the tail of the inactive list. Linux: `rotate_reclaimable_page`.
pub fn rotate_reclaimable_page<E: Env>(memory: &Memory<'_, E>, _current: &Current<'_>, index: u32) {
    const BUSY: PageFlags = PageFlags::LOCKED.union(PageFlags::DIRTY).union(PageFlags::UNEVICTABLE);
    if memory.pages.at(index).flags().intersects(BUSY) {
        return;
    }
    let rotated = with_listed(memory, index, |lruvec, page, from| {
        if from == LruList::Unevictable {
            return None;
        }
        lruvec.remove(&memory.pages, index);
        page.clear_flags(PageFlags::ACTIVE);
        let to = lru_of(page.flags());
        lruvec.list_mut(to).push_back(&memory.pages, index);
        count_move(memory, page, from, to);
        Some(())
    });
    if rotated.is_some() {
        memory.count(VmEvent::Pgrotated, 1);
    }
}

/// Counts that a page went from one list to another.
fn count_move<E: Env>(memory: &Memory<'_, E>, page: &Page, from: LruList, to: LruList) {
    let (zone, node) = home(memory, page);
    add_lru_size(node, zone, from, -1);
    add_lru_size(node, zone, to, 1);
}

/// Unlocks a page, and wakes those who wait for it. Linux: `unlock_page`.
pub fn unlock_page<E: Env>(memory: &Memory<'_, E>, index: u32) {
    memory.pages.at(index).clear_flags(PageFlags::LOCKED);
    // Who is about to sleep has joined the queue and looks again, or is seen here.
    fence(SeqCst);
    if memory.page_wait.is_active() {
        memory.page_wait.wake_all(memory.env.sched());
    }
}

/// Drops a reference of a block; with the last one the block is off every list and free. Whether it is.
///
/// Linux: `put_page`, `__put_single_page`.
pub fn put_page<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, index: u32) -> bool {
    let page = memory.pages.at(index);
    if !page.put_testzero() {
        return false;
    }
    if lru_del(memory, index) {
        page.clear_flags(PageFlags::ACTIVE | PageFlags::UNEVICTABLE);
    }
    free_unreferenced(memory, current, index);
    true
}

/// Frees single pages that nobody refers to and that are on no LRU list, all in one go. Linux: `free_unref_page_list`.
pub(super) fn free_unreferenced_list<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, mut pages: List) {
    let mut prepared = List::EMPTY;
    while let Some((index, _)) = pages.pop_front(&memory.pages) {
        if prep::free_unreferenced_prepare(memory, current, index).is_some() {
            let page = memory.pages.pfn(index);
            memory.trace(current, || Kmem::MmPageFree { page, order: Order::ZERO });
            memory.trace(current, || Kmem::MmPageFreeBatched { page });
            prepared.push_back(&memory.pages, index);
        }
    }
    freelist::free_unref_page_list(memory, current, prepared);
}

/// Frees a block that nobody refers to and that is on no list.
fn free_unreferenced<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, index: u32) {
    let Some(state) = prep::free_unreferenced_prepare(memory, current, index) else { return };
    memory.trace(current, || Kmem::MmPageFree { page: memory.pages.pfn(index), order: state.order() });
    match state.order() {
        Order::ZERO => freelist::free_unref_page(memory, current, index, state),
        _ => freelist::free_block(memory, index, state),
    }
}
