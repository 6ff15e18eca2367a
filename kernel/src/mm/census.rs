//! What the lists and records of a zone say, read in one go: for the tables of /proc and for the audit.
//!
//! Nothing is decided or changed here. What is on a list is read under the list's lock; callbacks run under it too, so
//! they may count but not print. [`for_each_head`] walks records instead of lists, from block to block, and never reads
//! a record that was not written. Neighbours: `proc::pagetypeinfo` and `check`.

use super::memory::{Env, Memory};
use super::page::PageState;
use super::zone::Zone;
use crate::addr::{MAX_ORDER, Order, PAGEBLOCK_NR_PAGES, Pfn};
use crate::mmzone::MigrateType;

/// A block on a free list.
#[derive(Clone, Copy, Debug)]
pub struct FreeBlock {
    /// First page.
    pub pfn: Pfn,
    /// Order of the list.
    pub order: Order,
    /// Type of the list.
    pub list: MigrateType,
    /// What the first page's record says.
    pub state: PageState,
    /// Type of the first page's pageblock.
    pub pageblock: MigrateType,
    /// Type of the buddy's pageblock, if the buddy is free and of the same order.
    pub free_buddy: Option<MigrateType>,
}

/// A list whose links contradict each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BrokenList {
    /// Order of the list.
    pub order: Order,
    /// Type of the list.
    pub migratetype: MigrateType,
}

/// Blocks on the zone's free lists by migratetype and order.
pub fn free_blocks<E: Env>(memory: &Memory<'_, E>, zone: &Zone) -> [[u64; MAX_ORDER as usize]; MigrateType::COUNT] {
    let pin = memory.pin();
    let lists = zone.free.lock(&pin);
    MigrateType::ALL.map(|migratetype| {
        let mut blocks = [0; MAX_ORDER as usize];
        for order in Order::all() {
            blocks[order.index()] = lists.list(order, migratetype).iter(&memory.pages).count() as u64;
        }
        blocks
    })
}

/// Pageblocks of the zone by migratetype, told by every 512th page from the zone's first.
pub fn pageblocks<E: Env>(memory: &Memory<'_, E>, zone: &Zone) -> [u64; MigrateType::COUNT] {
    let mut blocks = [0; MigrateType::COUNT];
    for index in zone.indices(&memory.pages).step_by(PAGEBLOCK_NR_PAGES as usize) {
        blocks[memory.blocks.of(index).migratetype() as usize] += 1;
    }
    blocks
}

/// Pages of the machine in CMA pageblocks. Linux: `totalcma_pages`.
pub fn totalcma<E: Env>(memory: &Memory<'_, E>) -> u64 {
    let cma_blocks = |zone| pageblocks(memory, zone)[MigrateType::Cma as usize];
    memory.populated_zones().map(cma_blocks).sum::<u64>() * PAGEBLOCK_NR_PAGES
}

/// Calls `visit` for every block on the zone's free lists, and `broken` for every list that cannot be walked.
pub fn for_each_free<E: Env>(
    memory: &Memory<'_, E>,
    zone: &Zone,
    mut visit: impl FnMut(&FreeBlock),
    mut broken: impl FnMut(BrokenList),
) {
    let pin = memory.pin();
    let lists = zone.free.lock(&pin);
    for order in Order::all() {
        for migratetype in MigrateType::ALL {
            let list = lists.list(order, migratetype);
            if !list.is_consistent(&memory.pages, zone.span.nr_pages()) {
                broken(BrokenList { order, migratetype });
                continue;
            }
            for index in list.iter(&memory.pages) {
                visit(&free_block(memory, zone, index, order, migratetype));
            }
        }
    }
}

fn free_block<E: Env>(memory: &Memory<'_, E>, zone: &Zone, index: u32, order: Order, list: MigrateType) -> FreeBlock {
    let pfn = memory.pages.pfn(index);
    let free_buddy = memory.pages.checked_index(pfn.buddy(order)).and_then(|buddy| {
        let state = memory.blocks.state_of(&memory.pages, buddy);
        state.is_buddy(order, zone.id).then(|| memory.blocks.of(buddy).migratetype())
    });
    let pageblock = memory.blocks.of(index).migratetype();
    FreeBlock { pfn, order, list, state: memory.pages.at(index).state(), pageblock, free_buddy }
}

/// Calls `visit` for the first page of every block of the zone, free or not: each page of the zone lies in one of these
/// blocks, or in reserved memory, or in a hole.
pub fn for_each_head<E: Env>(memory: &Memory<'_, E>, zone: &Zone, mut visit: impl FnMut(Pfn, PageState)) {
    let range = zone.indices(&memory.pages);
    let mut at = range.start;
    while at < range.end {
        let state = memory.blocks.state_of(&memory.pages, at);
        if state != PageState::TAIL {
            visit(memory.pages.pfn(at), state);
            at += state.order().nr_pages() as u32;
        } else if memory.blocks.of(at).is_written() {
            at += 1;
        } else {
            at = (at | (Order::MAX.nr_pages() as u32 - 1)) + 1;
        }
    }
}

/// Calls `visit` for every page on the lists that this CPU has of the zone; whether the lists could be walked.
pub fn for_each_pcp<E: Env>(memory: &Memory<'_, E>, zone: &Zone, mut visit: impl FnMut(Pfn, PageState)) -> bool {
    let pin = memory.pin();
    let lists = zone.pcp.local(&pin);
    MigrateType::ALL[..MigrateType::PCPTYPES].iter().all(|&migratetype| {
        let list = lists.list(migratetype);
        if !list.is_consistent(&memory.pages, zone.span.nr_pages()) {
            return false;
        }
        for index in list.iter(&memory.pages) {
            visit(memory.pages.pfn(index), memory.pages.at(index).state());
        }
        true
    })
}
