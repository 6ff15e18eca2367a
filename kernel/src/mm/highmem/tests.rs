//! Slots on a machine whose upper 8 MiB are not in the linear map; the host stops whoever reaches there without one.

use super::*;
use crate::addr::PhysAddr;
use crate::gfp::Gfp;
use crate::host::HostMachine;
use crate::mm::memory::LinearMap;
use crate::mm::testing::{Lab, MIB};
use crate::mmzone::ZoneType;
use crate::task::Context;
use crate::vmstat::LabEvent;

/// 72 MiB with every zone; the upper 8 MiB are high. With less than 64 MiB below them, none would be.
fn board() -> HostMachine {
    HostMachine::new("zones=full:dma=16M,dma32=16M highmem=8M", &[(0x4000_0000, 72 * MIB, 0)], &[])
}

fn high_page(lab: &Lab<'_>) -> Pfn {
    let pfn = lab.alloc(Gfp::GFP_HIGHUSER, 0).unwrap();
    assert!(is_high(&lab.memory, pfn));
    pfn
}

#[test]
fn a_page_is_mapped_once_and_stays_until_the_slots_are_emptied() {
    let machine = board();
    let lab = Lab::new(&machine);
    let (current, pfn) = (lab.current(), high_page(&lab));
    assert_eq!(page_address(&lab.memory, pfn), None);
    let at = kmap(&lab.memory, &current, pfn).unwrap();
    assert_eq!((kmap(&lab.memory, &current, pfn), page_address(&lab.memory, pfn)), (Ok(at), Some(at)));
    pgtable::write_word(&lab.memory, at.add(8), 77);
    read_page(&lab.memory, pfn, |n, word| assert!(n != 1 || word == 77));
    assert_eq!([(); 3].map(|()| kunmap(&lab.memory, &current, pfn)), [Ok(()), Ok(()), Err(KmapError::NotMapped(pfn))]);
    assert_eq!(page_address(&lab.memory, pfn), None);
    assert_eq!(pgtable::read_word(&lab.memory, at.add(8)), 77, "mapped still, for whoever comes back");
    assert_eq!(kmap(&lab.memory, &current, pfn), Ok(at));
}

/// All slots in use, each by one user of a page of its own, and one page more.
fn nothing_unused(lab: &Lab<'_>) -> (Vec<Pfn>, Pfn) {
    let pages: Vec<Pfn> = (0..LAST_PKMAP).map(|_| high_page(lab)).collect();
    pages.iter().for_each(|&pfn| _ = kmap(&lab.memory, &lab.current(), pfn).unwrap());
    let mut used = 0;
    assert_eq!((for_each_kmap(&lab.memory, |_| used += 1), used), (0, LAST_PKMAP));
    (pages, high_page(lab))
}

#[test]
fn who_finds_all_slots_in_use_waits_until_one_is_not() {
    let machine = board();
    let lab = Lab::new(&machine);
    let (memory, current) = (&lab.memory, lab.current());
    let (pages, last) = nothing_unused(&lab);
    let wait = &memory.highmem.pkmap_wait;
    kmap(memory, &current, pages[100]).unwrap();
    let at = std::sync::Mutex::new([None; 2]);
    std::thread::scope(|scope| {
        let threads = memory.env.threads();
        for thread in 0..2 {
            let (at, current) = (&at, lab.current());
            threads.spawn(scope, move || at.lock().unwrap()[thread] = Some(kmap(memory, &current, last)));
        }
        threads.yield_now();
        kunmap(memory, &current, pages[100]).unwrap();
        threads.settle();
        assert!(*at.lock().unwrap() == [None; 2] && wait.is_active(), "the page has another user");
        kunmap(memory, &current, pages[100]).unwrap();
        threads.settle();
    });
    let [one, other] = at.into_inner().unwrap();
    let slot = one.unwrap().unwrap();
    assert_eq!((one, wait.is_active()), (other, false), "a page has one slot, whoever waited for it");
    assert_eq!(pgtable::mapped(&memory.env, mmu_of(memory), slot), Some(last));
    let mut users = None;
    let flushes = for_each_kmap(memory, |mapping| users = users.or((mapping.pfn == last).then_some(mapping.users)));
    assert_eq!((users, flushes), (Some(Some(2)), 1));
}

#[test]
fn nobody_waits_for_a_slot_where_sleeping_is_forbidden_or_when_called_off() {
    let machine = board();
    let lab = Lab::new(&machine);
    let (pages, last) = nothing_unused(&lab);
    let scheduled_while_atomic = || lab.memory.lab_event(LabEvent::SchedWhileAtomic);
    let atomic = lab.current().in_context(Context::Atomic);
    assert!(kmap(&lab.memory, &atomic, pages[0]).is_ok(), "there is no need to wait for what is mapped");
    assert_eq!(scheduled_while_atomic(), 0);
    assert_eq!(kmap(&lab.memory, &atomic, last), Err(KmapError::Atomic));
    assert_eq!(scheduled_while_atomic(), 1);
    lab.memory.env.threads().set_interrupted(true);
    assert_eq!(kmap(&lab.memory, &lab.current(), last), Err(KmapError::Interrupted));
    assert!(!lab.memory.highmem.pkmap_wait.is_active());
    assert_eq!(page_address(&lab.memory, last), None);
}

#[test]
fn atomic_slots_are_the_cpus_own_and_come_back_in_order() {
    let machine = board();
    let lab = Lab::new(&machine);
    let [a, b] = [high_page(&lab), high_page(&lab)];
    assert_eq!(kunmap_atomic(&lab.memory, a), Err(KmapError::NoneAtomic(0)));
    let at = [a, b].map(|pfn| kmap_atomic(&lab.memory, pfn).unwrap());
    assert_eq!(at, [FIXMAP_START, FIXMAP_START.add(PAGE_SIZE)]);
    assert_eq!(kunmap_atomic(&lab.memory, a), Err(KmapError::OutOfOrder(a, b)));
    lab.memory.env.cpu().set_cpu(3);
    assert_eq!(kunmap_atomic(&lab.memory, b), Err(KmapError::NoneAtomic(3)));
    assert_eq!(kmap_atomic(&lab.memory, a), Ok(FIXMAP_START.add(60 * PAGE_SIZE)));
    lab.memory.env.cpu().set_cpu(0);
    (2..16).for_each(|_| _ = kmap_atomic(&lab.memory, a).unwrap());
    assert_eq!(kmap_atomic(&lab.memory, a), Err(KmapError::AtomicFull(0)));
    fill_pages(&lab.memory, b, 1, 9);
    assert_eq!(pgtable::read_word(&lab.memory, at[1]), 0x0909_0909_0909_0909, "the kernel has slots of its own");
    (2..16).for_each(|_| kunmap_atomic(&lab.memory, a).unwrap());
    assert_eq!([b, a].map(|pfn| kunmap_atomic(&lab.memory, pfn)), [Ok(()); 2]);
    assert_eq!(pgtable::mapped(&lab.memory.env, mmu_of(&lab.memory), at[0]), None);
}

#[test]
fn a_page_of_the_linear_map_needs_no_slot() {
    let machine = board();
    let lab = Lab::new(&machine);
    let pfn = lab.alloc(Gfp::GFP_KERNEL, 0).unwrap();
    let at = VirtAddr(pfn.addr().0);
    assert_eq!((kmap(&lab.memory, &lab.current(), pfn), kmap_atomic(&lab.memory, pfn)), (Ok(at), Ok(at)));
    assert_eq!((kunmap_atomic(&lab.memory, pfn), kunmap(&lab.memory, &lab.current(), pfn)), (Ok(()), Ok(())));
    let handler = lab.current().in_context(Context::SoftIrq);
    assert_eq!(kmap(&lab.memory, &handler, high_page(&lab)), Err(KmapError::InInterrupt));
}

#[test]
#[should_panic(expected = "is not in the linear map")]
fn high_memory_has_no_address_of_its_own() {
    let machine = board();
    let lab = Lab::new(&machine);
    lab.memory.env.linear().read_word(high_page(&lab).addr());
}

#[test]
fn content_is_filled_copied_and_compared_across_the_border() {
    let machine = board();
    let lab = Lab::new(&machine);
    let border = lab.memory.highmem.start;
    let first = Pfn(border.0 - 2);
    fill_pages(&lab.memory, first, 4, 0x33);
    for page in 0..4 {
        assert_eq!(first_other(&lab.memory, first.add(page), 1, 0x33), None);
    }
    write_page(&lab.memory, border.add(1), |n| if n == 5 { 0x33_3334_3333_3333 } else { 0x3333_3333_3333_3333 });
    assert_eq!(first_other(&lab.memory, border, 2, 0x33), Some((4096 + 44, 0x34)));
    copy_page(&lab.memory, border.add(1), first);
    assert_eq!(lab.memory.env.read(PhysAddr(first.addr().0 + 44)), 0x34);
    write_page(&lab.memory, first, |n| n as u64);
    copy_page(&lab.memory, first, border);
    read_page(&lab.memory, border, |n, word| assert_eq!(word, n as u64));
    assert_eq!(lab.memory.env.irq().masked(), 0);
    let mut slots = 0;
    for_each_atomic(&lab.memory, |_| slots += 1);
    assert_eq!(slots, 0);
}

#[test]
fn zeroed_and_poisoned_pages_are_right_in_high_memory_too() {
    // All high pages but 64 are in use, and most of the others: each that is free is filled word by word.
    let in_use = [(0x4000_0000, 63 * MIB), (0x4404_0000, 4 * MIB - 0x4_0000)];
    let banks = [(0x4000_0000, 68 * MIB, 0)];
    let machine = HostMachine::new("zones=full highmem=4M page_poison=1", &banks, &in_use);
    let lab = Lab::new(&machine);
    let zeroed = lab.alloc(Gfp::GFP_HIGHUSER | Gfp::__GFP_ZERO, 2).unwrap();
    assert!(is_high(&lab.memory, zeroed));
    assert_eq!(first_other(&lab.memory, zeroed, 4, 0), None);
    lab.free(zeroed, 2).unwrap();
    assert_eq!(first_other(&lab.memory, zeroed, 4, 0xaa), None);
}

/// Seed 004, and part 1, 7.3: HighMem, Normal, (DMA32,) DMA.
#[test]
fn user_pages_fall_back_from_high_memory_and_kernel_pages_never_go_there() {
    let machine = board();
    let lab = Lab::without_pcp(&machine);
    // In the order in which each is used first: the slow path comes back to all of them.
    let zones = |pages: &[Pfn]| {
        let types = pages.iter().map(|&pfn| lab.memory.zone_of(pfn).unwrap().zone_type);
        types.fold(Vec::new(), |mut seen: Vec<ZoneType>, zone_type| {
            if !seen.contains(&zone_type) {
                seen.push(zone_type);
            }
            seen
        })
    };
    let noretry = Gfp::__GFP_NORETRY | Gfp::__GFP_NOWARN;
    // Larger blocks are fewer: for Miri.
    let order = if cfg!(miri) { 9 } else { 3 };
    let kernel = lab.loop_until_null(&lab.current(), Gfp::GFP_KERNEL | noretry, order);
    assert_eq!(zones(&kernel), [ZoneType::Normal, ZoneType::Dma32, ZoneType::Dma]);
    assert!(kernel.iter().all(|&pfn| !is_high(&lab.memory, pfn)));
    let high = lab.zone_on(0, ZoneType::HighMem);
    assert_eq!(high.counts.free_pages(), high.managed());
    kernel.iter().for_each(|&pfn| _ = lab.free(pfn, order).unwrap());
    let user = lab.loop_until_null(&lab.current(), Gfp::GFP_HIGHUSER | noretry, order);
    assert_eq!(zones(&user), [ZoneType::HighMem, ZoneType::Normal, ZoneType::Dma32, ZoneType::Dma]);
}
