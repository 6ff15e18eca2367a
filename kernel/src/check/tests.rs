//! Machines that are sound, and machines that are broken in one place each.

use std::fmt::Write;

use super::*;
use crate::addr::Order;
use crate::gfp::Gfp;
use crate::host::{HostEnv, HostMachine};
use crate::mm::page::PageFlags;
use crate::mm::page_alloc::{alloc_pages, free_pages};
use crate::task::{Current, TaskTable};

const MIB: u64 = 1 << 20;

fn board() -> HostMachine {
    HostMachine::new("", &[(0x4000_0000, 64 * MIB, 0)], &[(0x4000_0000, 0x83000)])
}

fn findings(memory: &Memory<'_, HostEnv<'_>>) -> String {
    let mut text = String::new();
    audit(memory).findings().for_each(|finding| writeln!(text, "{finding}").unwrap());
    text
}

/// Takes blocks of many orders and gives some of them back.
fn churn(memory: &Memory<'_, HostEnv<'_>>) -> Vec<(Pfn, u32)> {
    let tasks = TaskTable::new("sh");
    let current = Current::new(tasks.init());
    let masks = [Gfp::GFP_KERNEL, Gfp::GFP_HIGHUSER_MOVABLE, Gfp::GFP_KERNEL | Gfp::__GFP_RECLAIMABLE];
    let mut held = Vec::new();
    for n in 0..if cfg!(miri) { 40 } else { 600 } {
        let order = [0, 0, 0, 1, 3, 0, 5, 0, 9, 0][n % 10];
        if n < 40 || order < 5 {
            held.push((alloc_pages(memory, &current, masks[n % 3], order).unwrap(), order));
        }
        if n % 4 == 3 {
            let (pfn, order) = held.swap_remove(n * 7 % held.len());
            free_pages(memory, &current, pfn, order).unwrap();
        }
    }
    held
}

#[test]
fn a_sound_machine_has_no_findings() {
    for banks in [
        &[(0x4000_0000, 64 * MIB, 0)][..],
        &[(0x4000_0000, 128 * MIB, 0), (0x4800_0000, 128 * MIB, 1)],
        &[(0x8000_0000, 64 * MIB + 0x5000, 0), (0x1_0000_3000, 64 * MIB, 0)],
    ]
    .into_iter()
    .take(if cfg!(miri) { 1 } else { 3 })
    {
        for args in ["", "zones=full", "movablecore=16M"] {
            let machine = HostMachine::new(args, banks, &[(banks[0].0 + 0x10_0000, 0x83000)]);
            let memory = machine.memory();
            assert_eq!(findings(&memory), "", "{args} {banks:?}");
            churn(&memory);
            assert_eq!(findings(&memory), "", "{args} {banks:?} after use");
        }
    }
}

#[test]
fn the_totals_add_up() {
    let machine = board();
    let memory = machine.memory();
    let held: u64 = churn(&memory).iter().map(|(_, order)| 1 << order).sum();
    let totals = audit(&memory).totals;
    assert_eq!(totals.allocated, held);
    assert_eq!(totals.managed, 16384 - 0x83);
    assert_eq!(totals.free + totals.pcp + totals.allocated + totals.bad, totals.managed);
    let text = totals.to_string();
    assert!(text.starts_with("16253 pages: ") && text.ends_with(" allocated, 0 bad"), "{text}");
}

/// Breaks a machine after some use; checks which invariants tell.
fn check_broken(expected: &[&str], break_it: impl FnOnce(&Memory<'_, HostEnv<'_>>, &[(Pfn, u32)])) -> String {
    let machine = board();
    let memory = machine.memory();
    let held = churn(&memory);
    break_it(&memory, &held);
    let audit = audit(&memory);
    let ids: Vec<&str> = audit.findings().map(|finding| finding.id).collect();
    assert_eq!(ids, expected, "{}", findings(&memory));
    findings(&memory)
}

/// A free block of the zone.
fn free_block(memory: &Memory<'_, HostEnv<'_>>, order: u32) -> Pfn {
    let mut found = None;
    let zone = memory.populated_zones().next().unwrap();
    census::for_each_free(
        memory,
        zone,
        |block| found = found.or((block.order.get() == order).then_some(block.pfn)),
        |_| panic!("a broken list"),
    );
    found.unwrap()
}

#[test]
fn a_free_block_that_says_it_is_in_use_is_found() {
    let text = check_broken(&["I3", "I4", "I6", "I18"], |memory, _| {
        let page = memory.pages.at(memory.pages.index(free_block(memory, 10)));
        page.set_state(page.state().to_allocated(PageFlags::empty(), 1));
    });
    assert!(text.contains("I3 a free block's record says so: pfn 0x"), "{text}");
    assert!(text.contains(": kind is 3, should be 1"), "{text}");
}

#[test]
fn a_lost_block_is_found() {
    check_broken(&["I6", "I18"], |memory, held| {
        let page = memory.pages.at(memory.pages.index(held[0].0));
        page.set_state(PageState::TAIL);
    });
}

#[test]
fn a_wrong_link_is_found_and_not_followed() {
    check_broken(&["I1", "I4", "I5", "I6", "I8"], |memory, held| {
        let page = memory.pages.at(memory.pages.index(free_block(memory, 10)));
        page.set_private(memory.pages.index(held[0].0));
    });
}

#[test]
fn an_unreferenced_block_is_found() {
    check_broken(&["I16"], |memory, held| {
        memory.pages.at(memory.pages.index(held[0].0)).put_testzero();
    });
}

#[test]
fn a_compound_single_page_is_found() {
    check_broken(&["I24"], |memory, held| {
        let (pfn, _) = held.iter().find(|(_, order)| *order == 0).unwrap();
        let page = memory.pages.at(memory.pages.index(*pfn));
        page.set_state(page.state().with_flags(PageFlags::HEAD));
    });
}

#[test]
fn a_page_with_a_wrong_order_is_found() {
    check_broken(&["I6", "I18"], |memory, held| {
        let (pfn, _) = held.iter().find(|(_, order)| *order == 9).unwrap();
        let page = memory.pages.at(memory.pages.index(*pfn));
        page.set_state(page.state().with_order(Order::new(8).unwrap()));
    });
}

#[test]
fn a_pageblock_of_another_kind_is_found() {
    check_broken(&["I11"], |memory, _| {
        let block = free_block(memory, 9);
        memory.blocks.set_migratetype(memory.pages.index(block), MigrateType::Cma);
    });
}

#[test]
fn a_pageblock_that_the_reserve_does_not_know_is_a_warning() {
    let machine = board();
    let memory = machine.memory();
    let (pfn, _) = churn(&memory)[0];
    memory.blocks.set_migratetype(memory.pages.index(pfn), MigrateType::HighAtomic);
    assert!(findings(&memory).starts_with("warning: I10 the highatomic reserve is its pageblocks: node 0 zone DMA32"));
    assert!(audit(&memory).is_clean());
}

#[test]
fn a_boost_beyond_its_factor_is_a_warning() {
    use crate::sync::atomic::Ordering::Relaxed;
    let machine = board();
    let memory = machine.memory();
    let tasks = TaskTable::new("sh");
    let current = Current::new(tasks.init());
    let take = |gfp| alloc_pages(&memory, &current, gfp | Gfp::__GFP_NORETRY, 3);
    let held: Vec<Pfn> = std::iter::from_fn(|| take(Gfp::GFP_HIGHUSER_MOVABLE).ok()).collect();
    held.iter().step_by(2).for_each(|&pfn| _ = free_pages(&memory, &current, pfn, 3).unwrap());
    (0..80).for_each(|_| _ = take(Gfp::GFP_KERNEL).unwrap());
    let boost = memory.populated_zones().next().unwrap().boost();
    assert!(boost > 512 && findings(&memory).is_empty(), "boost {boost}: {}", findings(&memory));
    memory.sysctl.watermark_boost_factor.store(1, Relaxed);
    let warning = "warning: I12 the boost keeps the limit that its factor sets now: node 0 zone DMA32: boost is ";
    assert!(findings(&memory).starts_with(warning), "{}", findings(&memory));
    assert!(audit(&memory).is_clean());
}

#[test]
fn settings_that_were_not_carried_out_are_found() {
    use crate::sync::atomic::Ordering::Relaxed;
    check_broken(&["I12"], |memory, _| memory.sysctl.min_free_kbytes.store(4, Relaxed));
    let machine = HostMachine::new("movablecore=16M", &[(0x4000_0000, 64 * MIB, 0)], &[]);
    let memory = machine.memory();
    memory.sysctl.lowmem_reserve_ratio[0].store(1, Relaxed);
    assert!(findings(&memory).starts_with("I13 "), "{}", findings(&memory));
}

#[test]
fn rows_have_ids_in_order() {
    let ids: Vec<u32> = table::<HostEnv>().iter().map(|row| row.id[1..].parse().unwrap()).collect();
    assert!(ids.is_sorted());
    assert_eq!((ids.first(), ids.last()), (Some(&1), Some(&28)));
}
