//! The golden traces T1 to T5: exact lists after exact steps, the per-CPU lists bypassed.

use crate::addr::{Order, Pfn};
use crate::mm::fallback::{FallbackControl, Range32, rmqueue_fallback};
use crate::mm::memory::Memory;
use crate::mm::testing::{HostEnv, HostMachine};
use crate::mm::zone::{AllocFlags, Zone};
use crate::mmzone::MigrateType::{self, Movable, Reclaimable, Unmovable};

/// 16 MiB at 0x40000000, of which the first 0x83 pages are in use.
fn machine() -> HostMachine {
    HostMachine::new("", &[(0x4000_0000, 0x100_0000, 0)], &[(0x4000_0000, 0x83000)])
}

fn zone<'a>(memory: &'a Memory<'_, HostEnv<'_>>) -> &'a Zone {
    memory.populated_zones().next().unwrap()
}

/// Takes a block as `rmqueue` does, without watermark check and per-CPU list.
fn take(memory: &Memory<'_, HostEnv<'_>>, order: u32, migratetype: MigrateType) -> Pfn {
    let (zone, pin) = (zone(memory), memory.pin());
    let indices = zone.indices(&memory.pages);
    let limits = Range32 { start: indices.start, end: indices.end };
    let control = FallbackControl { limits, boost_factor: 0, mobility_disabled: false, boost_small_zones: true };
    let order = Order::new(order).unwrap();
    let mut guard = zone.free.lock(&pin);
    let mut buddy = zone.buddy(&mut guard, memory.pages, memory.blocks);
    let index = loop {
        if let Some(index) = buddy.take(order, migratetype) {
            break index;
        }
        rmqueue_fallback(zone, buddy.reborrow(), &control, order, migratetype, AllocFlags::empty()).unwrap();
    };
    buddy.counts.count(migratetype, -(order.nr_pages() as i64));
    memory.pages.pfn(index)
}

/// Frees a block to the type of its pageblock.
fn free(memory: &Memory<'_, HostEnv<'_>>, pfn: u64, order: u32) {
    let (zone, pin, index) = (zone(memory), memory.pin(), memory.pages.index(Pfn(pfn)));
    let mut guard = zone.free.lock(&pin);
    let migratetype = memory.blocks.of(index).migratetype();
    zone.buddy(&mut guard, memory.pages, memory.blocks).free(index, Order::new(order).unwrap(), migratetype);
}

fn buddyinfo(memory: &Memory<'_, HostEnv<'_>>) -> String {
    let counts: Vec<String> = Order::all().map(|order| zone(memory).counts.nr_free(order).to_string()).collect();
    counts.join(" ")
}

fn list(memory: &Memory<'_, HostEnv<'_>>, order: u32, migratetype: MigrateType) -> Vec<u64> {
    let pin = memory.pin();
    let guard = zone(memory).free.lock(&pin);
    let list = guard.list(Order::new(order).unwrap(), migratetype);
    list.iter(&memory.pages).map(|index| memory.pages.pfn(index).0).collect()
}

fn pageblock(memory: &Memory<'_, HostEnv<'_>>, pfn: u64) -> MigrateType {
    memory.blocks.of(memory.pages.index(Pfn(pfn))).migratetype()
}

#[test]
fn t1_boot_fills_the_lists_from_below() {
    let machine = machine();
    let memory = machine.memory_at_boot();
    assert_eq!(buddyinfo(&memory), "1 0 1 1 1 1 1 0 1 1 3");
    assert_eq!(zone(&memory).counts.free_pages(), 3965);
    assert_eq!(zone(&memory).managed(), 3965);
    assert_eq!(list(&memory, 10, Movable), [0x40c00, 0x40800, 0x40400]);
}

#[test]
fn t2_the_first_unmovable_page_takes_a_whole_maximal_block() {
    let machine = machine();
    let memory = machine.memory_at_boot();
    assert_eq!(take(&memory, 0, Unmovable), Pfn(0x40c00));
    assert_eq!(pageblock(&memory, 0x40c00), Unmovable);
    assert_eq!(pageblock(&memory, 0x40e00), Unmovable);
    let heads = [0x40c01, 0x40c02, 0x40c04, 0x40c08, 0x40c10, 0x40c20, 0x40c40, 0x40c80, 0x40d00, 0x40e00];
    for (order, head) in heads.into_iter().enumerate() {
        assert_eq!(list(&memory, order as u32, Unmovable), [head], "order {order}");
    }
    assert_eq!(buddyinfo(&memory), "2 1 2 2 2 2 2 1 2 2 2");
}

#[test]
fn t3_and_t4_other_types_and_merging_back() {
    let machine = machine();
    let memory = machine.memory_at_boot();
    take(&memory, 0, Unmovable);
    assert_eq!(take(&memory, 3, Unmovable), Pfn(0x40c08));
    assert_eq!(take(&memory, 0, Movable), Pfn(0x40083));
    assert_eq!(take(&memory, 2, Reclaimable), Pfn(0x40800));
    assert_eq!((pageblock(&memory, 0x40800), pageblock(&memory, 0x40a00)), (Reclaimable, Reclaimable));
    assert_eq!(buddyinfo(&memory), "1 1 3 2 3 3 3 2 3 3 1");
    assert_eq!(zone(&memory).counts.free_pages(), 3951);

    free(&memory, 0x40c00, 0);
    assert_eq!(buddyinfo(&memory), "0 0 2 3 3 3 3 2 3 3 1");
    free(&memory, 0x40c08, 3);
    assert_eq!(buddyinfo(&memory), "0 0 2 2 2 2 2 1 2 2 2");
    assert_eq!(zone(&memory).counts.free_pages(), 3960);
    assert_eq!(list(&memory, 10, Unmovable), [0x40c00]);
}

#[test]
fn t5_one_block_is_cut_up_and_put_together_again() {
    let machine = HostMachine::new("", &[(0x4000_0000, 0x40_0000, 0)], &[]);
    let memory = machine.memory_at_boot();
    let taken: Vec<u64> = (0..6).map(|_| take(&memory, 0, Movable).0).collect();
    assert_eq!(taken, [0x40000, 0x40001, 0x40002, 0x40003, 0x40004, 0x40005]);
    assert_eq!(list(&memory, 1, Movable), [0x40006]);
    assert_eq!(list(&memory, 9, Movable), [0x40200]);
    let expected = ["1 1 0 1", "2 1 0 1", "1 2 0 1", "0 1 1 1", "1 1 1 1"];
    for (page, lists) in [0, 2, 1, 3, 5].into_iter().zip(expected) {
        free(&memory, 0x40000 + page, 0);
        assert!(buddyinfo(&memory).starts_with(lists), "after {page}: {}", buddyinfo(&memory));
    }
    free(&memory, 0x40004, 0);
    assert_eq!(buddyinfo(&memory), "0 0 0 0 0 0 0 0 0 0 1");
}
