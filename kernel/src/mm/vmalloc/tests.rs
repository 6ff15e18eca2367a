//! T72, and what areas owe to those who use them.

use super::*;
use crate::host::HostMachine;
use crate::mm::highmem;
use crate::mm::memory::LinearMap;
use crate::mm::mmu::{VMALLOC_END, VMALLOC_START, WINDOW_START};
use crate::mm::testing::{Lab, MIB, board_16m, board_64m, board_m64, logged};
use crate::task::Context;

/// Bytes of so many pages.
const fn pages(nr_pages: u64) -> u64 {
    nr_pages * PAGE_SIZE
}

/// Every area, by its start.
fn areas(lab: &Lab<'_>) -> Vec<(u64, u64)> {
    let mut from = VMALLOC_START;
    let infos = core::iter::from_fn(|| {
        let info = next_area(&lab.memory, from)?;
        from = info.area.end();
        Some((info.area.start.0 - VMALLOC_START.0, info.area.nr_pages))
    });
    infos.collect()
}

/// The spec counts the arrays' objects, 2 KiB and 512 bytes, as cached; the record of an area, 128 bytes here as Linux's two
/// records are, is one object more.
#[test]
fn t72_vmalloc_gives_all_pages_back_when_it_fails() {
    let machine = board_m64();
    let lab = Lab::scenario(&machine, 400);
    let current = lab.current();
    for bytes in [RECORD_BYTES, 1600, 512] {
        let object = slab::kmalloc(&lab.memory, &current, bytes, Gfp::GFP_KERNEL).unwrap();
        slab::kfree(&lab.memory, &current, object).unwrap();
    }
    lab.set_free(300);
    lab.memory.oom.set_disabled(true);
    for (wanted, text) in [(200, "180224 of 823296"), (64, "180224 of 266240")] {
        let mut answer = Ok(VirtAddr(0));
        let log = logged(|| answer = vmalloc(&lab.memory, &current, pages(wanted)));
        assert_eq!(answer, Err(NoArea::NoPages(44, wanted)));
        let first = format!("sh: vmalloc: allocation failure, allocated {text} bytes, mode:0x6000c0(GFP_KERNEL), ");
        assert!(log.lines().any(|line| line.starts_with(&first)), "{log}");
        assert_eq!((lab.nr_free(), areas(&lab)), (300, vec![]));
        lab.memory.env.advance(6_000_000_000);
    }
    lab.assert_sound();
}

#[test]
fn content_is_reached_through_the_mapping() {
    let machine = board_64m("");
    let lab = Lab::new(&machine);
    // Every other page is taken, so that no two of the area's lie side by side.
    let held: Vec<Pfn> = (0..64).map(|_| lab.alloc(Gfp::GFP_KERNEL, 0).unwrap()).collect();
    held.iter().step_by(2).for_each(|&pfn| _ = lab.free(pfn, 0).unwrap());
    let at = vzalloc(&lab.memory, &lab.current(), pages(20)).unwrap();
    for word in (0..pages(20)).step_by(8) {
        assert_eq!(pgtable::read_word(&lab.memory, at.add(word)), 0);
        pgtable::write_word(&lab.memory, at.add(word), !word);
    }
    let mmu = lab.memory.env.mmu().unwrap();
    let frames: Vec<Pfn> = (0..20).map(|n| pgtable::mapped(&lab.memory.env, mmu, at.add(pages(n))).unwrap()).collect();
    assert!(frames.windows(2).any(|pair| pair[1].0 != pair[0].0 + 1), "{frames:?}");
    for (n, pfn) in (0..).zip(&frames) {
        lab.memory.env.linear().read_page(*pfn, |word, found| assert_eq!(found, !(pages(n) + word as u64 * 8)));
    }
    assert_eq!(pgtable::mapped(&lab.memory.env, mmu, at.add(pages(20))), None, "the guard page");
    vfree(&lab.memory, &lab.current(), at).unwrap();
    assert_eq!(pgtable::mapped(&lab.memory.env, mmu, at), None);
}

#[test]
fn areas_are_first_fit_with_a_guard_page() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let current = lab.current();
    let [a, b, c] = [1, 4, 2].map(|nr| vmalloc(&lab.memory, &current, pages(nr)).unwrap());
    assert_eq!(areas(&lab), [(0, 1), (0x2000, 4), (0x7000, 2)]);
    assert_eq!(vfree(&lab.memory, &current, b), Ok(4));
    let fits = [vmalloc(&lab.memory, &current, 1).unwrap(), vmalloc(&lab.memory, &current, pages(2)).unwrap()];
    assert_eq!(areas(&lab), [(0, 1), (0x2000, 1), (0x4000, 2), (0x7000, 2)]);
    let large = vmalloc(&lab.memory, &current, pages(1) + 1).unwrap();
    assert_eq!(large, VMALLOC_START.add(0xa000));
    for at in [a, c, large, fits[0], fits[1]] {
        vfree(&lab.memory, &current, at).unwrap();
    }
    assert_eq!(areas(&lab), []);
}

#[test]
fn all_memory_comes_back_but_for_the_tables() {
    let machine = board_16m("");
    let lab = Lab::without_pcp(&machine);
    let current = lab.current();
    let round = |nr_pages| {
        let at = vmalloc(&lab.memory, &current, pages(nr_pages)).unwrap();
        vfree(&lab.memory, &current, at).unwrap();
        lab.memory.slabs.iter().for_each(|cache| _ = slab::kmem_cache_shrink(&lab.memory, &current, cache));
        lab.nr_free()
    };
    let before = lab.nr_free();
    assert_eq!(
        round(700),
        before - 1 - 2,
        "700 pages and the array of 2 are under one table of level 2, two of level 3"
    );
    assert_eq!(round(700), before - 3, "and those serve again");
}

#[test]
fn what_cannot_be_is_named_and_changes_nothing() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let current = lab.current();
    let at = vmalloc(&lab.memory, &current, pages(3)).unwrap();
    let before = (lab.nr_free(), areas(&lab));
    let ram = lab.memory.totalram() << PAGE_SHIFT;
    let log = logged(|| {
        assert_eq!(vmalloc(&lab.memory, &current, 0), Err(NoArea::Zero));
        assert_eq!(vmalloc(&lab.memory, &current, ram + 1), Err(NoArea::TooLarge(ram + 1, ram)));
        assert_eq!(vmalloc(&lab.memory, &current, u64::MAX), Err(NoArea::TooLarge(u64::MAX, ram)));
    });
    let text =
        |bytes| format!("sh: vmalloc: allocation failure: {bytes} bytes, mode:0x6000c0(GFP_KERNEL), nodemask=(null)");
    for bytes in [0, ram + 1, u64::MAX] {
        assert!(log.contains(&text(bytes)), "{log}");
    }
    let handler = current.in_context(Context::HardIrq);
    assert_eq!(vmalloc(&lab.memory, &handler, 1), Err(NoArea::InInterrupt));
    assert_eq!(vfree(&lab.memory, &handler, at), Err(BadVfree::InInterrupt));
    let log = logged(|| {
        assert_eq!(vfree(&lab.memory, &current, at.add(8)), Err(BadVfree::NotAligned(at.add(8))));
        assert_eq!(vfree(&lab.memory, &current, at.add(pages(2))), Err(BadVfree::Inside(at.add(pages(2)), at)));
        assert_eq!(vfree(&lab.memory, &current, at.add(pages(3))), Err(BadVfree::Inside(at.add(pages(3)), at)));
        assert_eq!(vfree(&lab.memory, &current, VMALLOC_END), Err(BadVfree::NoArea(VMALLOC_END)));
    });
    assert!(log.contains("Trying to vfree() bad address (0x0000f00000000008)"), "{log}");
    assert!(log.contains("Trying to vfree() nonexistent vm area (0x0000f07fc0000000)"), "{log}");
    assert_eq!((vfree(&lab.memory, &current, VirtAddr(0)), before), (Ok(0), (lab.nr_free(), areas(&lab))));
    assert_eq!(vfree(&lab.memory, &current, at), Ok(3));
    assert_eq!(vfree(&lab.memory, &current, at), Err(BadVfree::NoArea(at)));
}

#[test]
fn high_pages_come_first_and_need_no_other_mapping() {
    let machine = HostMachine::new("zones=full highmem=64M", &[(0x4000_0000, 192 * MIB, 0)], &[]);
    let lab = Lab::new(&machine);
    let at = vzalloc(&lab.memory, &lab.current(), pages(8)).unwrap();
    let mmu = lab.memory.env.mmu().unwrap();
    for n in 0..8 {
        let pfn = pgtable::mapped(&lab.memory.env, mmu, at.add(pages(n))).unwrap();
        assert!(highmem::is_high(&lab.memory, pfn), "{pfn}");
        assert_eq!(pgtable::read_word(&lab.memory, at.add(pages(n))), 0);
    }
    let low = vmalloc_gfp(&lab.memory, &lab.current(), pages(1), Gfp::GFP_KERNEL | Gfp::__GFP_DMA32).unwrap();
    assert!(!highmem::is_high(&lab.memory, pgtable::mapped(&lab.memory.env, mmu, low).unwrap()));
}

#[test]
#[should_panic(expected = "is not mapped")]
fn the_guard_page_stops_who_runs_over_the_end() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let at = vmalloc(&lab.memory, &lab.current(), 10).unwrap();
    assert_eq!(at, WINDOW_START);
    pgtable::write_word(&lab.memory, at.add(pages(1)), 0);
}
