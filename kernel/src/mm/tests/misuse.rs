//! Freeing what cannot be freed: every kind has its own error and report, and changes nothing.

use crate::addr::{Order, Pfn};
use crate::check;
use crate::gfp::Gfp;
use crate::mm::page::PageFlags;
use crate::mm::page_alloc;
use crate::mm::prep::FreeError;
use crate::mm::testing::{HostMachine, Lab, MIB, board_16m, board_64m, logged};
use crate::mmzone::MigrateType;

/// Frees, and checks the error, its text, the reason of the report, and that the machine is as before.
#[track_caller]
fn check(lab: &Lab<'_>, pfn: Pfn, order: u32, error: FreeError, text: &str, reason: &str) {
    let before = lab.state();
    let log = logged(|| assert_eq!(lab.free(pfn, order), Err(error)));
    assert_eq!(error.to_string(), text);
    let report = format!("BUG: Bad page state in process sh  pfn:{:05x}\npage dumped because: {reason}\n", pfn.0);
    assert_eq!(log, report);
    assert_eq!(lab.state(), before);
    lab.assert_sound();
}

const REFCOUNT: &str = "nonzero _refcount";

#[test]
fn twice_into_the_buddy_lists() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let pfn = lab.alloc(Gfp::GFP_KERNEL, 3).unwrap();
    lab.free(pfn, 3).unwrap();
    let merged = FreeError::AlreadyFree(pfn, Order::MAX);
    check(&lab, pfn, 3, merged, "pfn 0x40c00 is free already, in a block of order 10", REFCOUNT);
    let inner = pfn.add(5);
    let error = FreeError::AlreadyFree(inner, Order::MAX);
    check(&lab, inner, 0, error, "pfn 0x40c05 is free already, in a block of order 10", REFCOUNT);
}

#[test]
fn twice_onto_the_list_of_the_cpu() {
    let machine = board_64m("");
    let lab = Lab::new(&machine);
    let pfn = lab.alloc(Gfp::GFP_KERNEL, 0).unwrap();
    lab.free(pfn, 0).unwrap();
    let text = "pfn 0x43c00 is free already, on a per-CPU list";
    check(&lab, pfn, 0, FreeError::AlreadyOnPcp(pfn), text, REFCOUNT);
    check(&lab, pfn, 1, FreeError::AlreadyOnPcp(pfn), text, REFCOUNT);
}

#[test]
fn with_another_order() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    for (order, given) in [(0, 1), (1, 0), (3, 2), (3, 4), (10, 9), (10, 0), (0, 10), (2, 11), (2, u32::MAX)] {
        let pfn = lab.alloc(Gfp::GFP_KERNEL, order).unwrap();
        let error = FreeError::WrongOrder(pfn, Order::new(order).unwrap(), given);
        let text = format!("pfn {pfn} was allocated with order {order}, not {given}");
        check(&lab, pfn, given, error, &text, "wrong order");
        assert_eq!(lab.free(pfn, order), Ok(true));
    }
}

#[test]
fn an_impossible_order_is_no_bit_of_the_state() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let pfn = lab.alloc(Gfp::GFP_KERNEL, 0).unwrap();
    let page = lab.memory.pages.at(lab.memory.pages.index(pfn));
    page.set_state(page.state().with_flags(PageFlags::LOCKED));
    logged(|| assert!(lab.free(pfn, u32::from(PageFlags::LOCKED.bits()) << 12).is_err()));
    assert_eq!((page.state().count(), lab.memory.leaked()), (1, 0));
}

#[test]
fn in_the_middle() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    // The records inside a maximal block are never written; they may say anything.
    let maximal = (1..if cfg!(miri) { 3 } else { 60 }).chain([512, 1023]).map(|page| (10, page));
    for (order, page) in [(1, 1), (3, 5)].into_iter().chain(maximal) {
        let head = lab.alloc(Gfp::GFP_KERNEL, order).unwrap();
        let pfn = head.add(page);
        let text = format!("pfn {pfn} is inside the allocated block that starts at {head}");
        lab.memory.env.advance(61_000_000_000);
        check(&lab, pfn, 0, FreeError::Tail(pfn, head), &text, "tail page");
        lab.free(head, order).unwrap();
    }
}

#[test]
fn what_nobody_allocated() {
    let banks = [(0x4000_0000, 8 * MIB, 0), (0x40a0_3000, 6 * MIB, 0)];
    let machine = HostMachine::new("", &banks, &[(0x4000_0000, 0x83000)]);
    let lab = Lab::new(&machine);
    for pfn in [0x40000, 0x40082, 0x40800, 0x40a00, 0x40a02].map(Pfn) {
        let text = format!("pfn {pfn} was never allocated: it is reserved or in a hole");
        check(&lab, pfn, 0, FreeError::Reserved(pfn), &text, REFCOUNT);
    }
}

#[test]
fn what_is_no_memory() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    for pfn in [0, 0x3ffff, 0x41000, 0x1_0004_0c00, u64::MAX >> 12, u64::MAX].map(Pfn) {
        let text = format!("pfn {pfn} is not memory of this machine");
        check(&lab, pfn, 0, FreeError::NotMemory(pfn), &text, REFCOUNT);
    }
}

#[test]
fn a_page_in_use_by_someone_is_kept_out_of_use() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let flags = [
        PageFlags::LOCKED,
        PageFlags::LRU,
        PageFlags::ACTIVE,
        PageFlags::WRITEBACK,
        PageFlags::SLAB,
        PageFlags::UNEVICTABLE,
    ];
    for (order, flag) in [0, 1, 10, 0, 3, 0].into_iter().zip(flags) {
        let (pfn, leaked) = (lab.alloc(Gfp::GFP_KERNEL, order).unwrap(), lab.memory.leaked());
        let page = lab.memory.pages.at(lab.memory.pages.index(pfn));
        page.set_state(page.state().with_flags(flag | PageFlags::DIRTY));
        let text = format!("pfn {pfn} is still in use: {flag:?}");
        check(&lab, pfn, order, FreeError::Flags(pfn, flag), &text, "PAGE_FLAGS_CHECK_AT_FREE flag(s) set");
        assert_eq!(lab.memory.leaked() - leaked, 1 << order);
        let bad = format!("pfn {pfn} was found bad and is out of use");
        check(&lab, pfn, order, FreeError::Bad(pfn), &bad, REFCOUNT);
    }
    assert_eq!(check::audit(&lab.memory).totals.bad, lab.memory.leaked());
}

#[test]
fn harmless_marks_do_not_keep_a_page() {
    let machine = board_64m("");
    let lab = Lab::new(&machine);
    for order in [0, 2] {
        let pfn = lab.alloc(Gfp::GFP_KERNEL, order).unwrap();
        let page = lab.memory.pages.at(lab.memory.pages.index(pfn));
        page.set_state(page.state().with_flags(PageFlags::all() - PageFlags::CHECK_AT_FREE));
        assert_eq!(lab.free(pfn, order), Ok(true));
        assert!(page.state().is_unused());
    }
}

#[test]
fn a_page_spoiled_on_the_list_of_the_cpu_is_not_handed_out() {
    let machine = board_64m("");
    let lab = Lab::new(&machine);
    let pages = [0; 2].map(|_| lab.alloc(Gfp::GFP_KERNEL, 0).unwrap());
    pages.iter().for_each(|pfn| assert_eq!(lab.free(*pfn, 0), Ok(true)));
    let spoiled = lab.memory.pages.at(lab.memory.pages.index(pages[1]));
    spoiled.set_state(spoiled.state().with_flags(PageFlags::DIRTY));
    let log = logged(|| assert_eq!(lab.alloc(Gfp::GFP_KERNEL, 0), Ok(pages[0])));
    assert_eq!(
        log,
        "BUG: Bad page state in process swapper  pfn:43c01\npage dumped because: PAGE_FLAGS_CHECK_AT_PREP flag set\n"
    );
    assert_eq!(lab.memory.leaked(), 1);
    lab.assert_sound();
}

#[test]
fn reports_are_60_a_minute() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let reports = |times: usize| {
        let log = logged(|| assert!((0..times).all(|_| lab.free(Pfn(0x40000), 0).is_err())));
        (log.matches("BUG: Bad page state in process").count(), log.lines().next().unwrap_or("").to_owned())
    };
    assert_eq!(reports(70).0, 60);
    lab.memory.env.advance(61_000_000_000);
    assert_eq!(reports(1), (1, "BUG: Bad page state: 10 messages suppressed".to_owned()));
}

#[test]
fn misuse_with_hooks_is_the_same() {
    let machine = board_16m("page_owner=on page_poison=1");
    let lab = Lab::new(&machine);
    let pfn = lab.alloc(Gfp::GFP_KERNEL, 2).unwrap();
    let error = FreeError::WrongOrder(pfn, Order::new(2).unwrap(), 0);
    check(&lab, pfn, 0, error, &format!("pfn {pfn} was allocated with order 2, not 0"), "wrong order");
    page_alloc::free_pages(&lab.memory, &lab.current(), pfn, 2).unwrap();
    assert_eq!(lab.pageblock(pfn.0), MigrateType::Unmovable);
    check(
        &lab,
        pfn,
        2,
        FreeError::AlreadyFree(pfn, Order::MAX),
        &format!("pfn {pfn} is free already, in a block of order 10"),
        REFCOUNT,
    );
}
