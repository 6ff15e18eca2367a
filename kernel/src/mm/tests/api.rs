//! Every function of the entry: what it returns, how it fails, what the page is like.

use crate::sync::atomic::Ordering::Relaxed;

use crate::addr::{Order, PAGE_SIZE, Pfn, PhysAddr};
use crate::gfp::Gfp;
use crate::mm::memory::{Env, LinearMap};
use crate::mm::page::{PageFlags, PageState};
use crate::mm::page_alloc::{self, AllocError};
use crate::mm::testing::{HostMachine, Lab, MIB, board_2_nodes, board_16m, board_64m, logged};
use crate::mm::zone::AllocFlags;
use crate::mmzone::{NodeId, ZoneType};
use crate::task::{Context, TaskKind};

const ORDER_10: Order = Order::MAX;

fn state(lab: &Lab<'_>, pfn: Pfn) -> PageState {
    lab.memory.pages.at(lab.memory.pages.index(pfn)).state()
}

#[test]
fn a_block_of_every_order_is_aligned_and_comes_back() {
    let machine = board_64m("");
    let lab = Lab::new(&machine);
    let before = lab.buddyinfo();
    for order in 0..=10 {
        let pfn = lab.alloc(Gfp::GFP_KERNEL, order).unwrap();
        assert_eq!(pfn.0 % (1 << order), 0, "order {order}");
        assert_eq!(state(&lab, pfn).owner(), lab.tasks().init().pid());
        assert_eq!(lab.free(pfn, order), Ok(true));
    }
    lab.drain();
    assert_eq!(lab.buddyinfo(), before);
}

#[test]
fn orders_from_11_are_refused_with_a_warning_once() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let before = lab.state();
    let log = logged(|| {
        assert_eq!(lab.alloc(Gfp::GFP_KERNEL | Gfp::__GFP_NOWARN, 11), Err(AllocError::OrderTooHigh(11)));
    });
    assert_eq!(log, "");
    let log = logged(|| {
        for order in [11, 12, u32::MAX] {
            assert_eq!(lab.alloc(Gfp::GFP_KERNEL, order), Err(AllocError::OrderTooHigh(order)));
        }
    });
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0], "------------[ cut here ]------------");
    assert_eq!(lines[1], "WARNING: CPU: 0 PID: 1 at mm/page_alloc.c:4529 __alloc_pages_nodemask");
    assert!(lines[2].starts_with("CPU: 0 PID: 1 Comm: sh Not tainted 5.0.0-uk "));
    assert_eq!(lines[3], "---[ end trace 0000000000000001 ]---");
    assert_eq!(lab.traced(|| lab.alloc(Gfp::GFP_KERNEL, 11)), [""; 0]);
    assert_eq!(lab.state(), before);
    lab.memory.printed.clear_warn_once();
    assert_ne!(logged(|| lab.alloc(Gfp::GFP_KERNEL, 11)), "");
}

#[test]
fn a_page_has_one_mobility() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let gfp = Gfp::GFP_KERNEL | Gfp::MOVABLE_MASK;
    let before = lab.state();
    for order in [0, 3] {
        let error = lab.alloc(gfp, order).unwrap_err();
        assert_eq!(error, AllocError::TwoMobilities(gfp));
        assert!(error.to_string().ends_with("is movable and reclaimable at once; a page has one migratetype"));
    }
    assert_eq!(lab.state(), before);
}

#[test]
fn errors_say_what_was_asked_for() {
    let no_memory = AllocError::NoMemory { gfp: Gfp::GFP_KERNEL, order: Order::new(4).unwrap() };
    assert_eq!(no_memory.to_string(), "page allocation failure: order:4, mode:0x6000c0(GFP_KERNEL)");
    assert_eq!(AllocError::OrderTooHigh(12).to_string(), "order must be 0..10 (MAX_ORDER is 11), not 12");
}

#[test]
fn bad_zone_bits_are_told_counted_and_served_from_the_lowest_zone() {
    let machine = HostMachine::new("zones=full:dma=16M,dma32=16M", &[(0x4000_0000, 64 * MIB, 0)], &[]);
    let lab = Lab::new(&machine);
    for (nth, order) in [0, 1].into_iter().enumerate() {
        let log = logged(|| {
            let pfn = lab.alloc(Gfp::GFP_KERNEL | Gfp::GFP_DMA | Gfp::GFP_DMA32, order).unwrap();
            assert_eq!(lab.memory.zone_of(pfn).unwrap().zone_type, ZoneType::Dma);
        });
        assert_eq!(log, "BUG: bad gfp zone bits 0x5\n");
        assert_eq!(lab.memory.bad_zone_requests.load(Relaxed), nth as u64 + 1);
    }
}

#[test]
fn who_must_not_sleep_is_told_so_once_a_second() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let alloc = |context, gfp| {
        let current = lab.current().in_context(context);
        logged(|| page_alloc::alloc_pages(&lab.memory, &current, gfp, 0).unwrap())
    };
    for context in [Context::Atomic, Context::BhOff, Context::SoftIrq, Context::HardIrq] {
        assert_eq!(alloc(context, Gfp::GFP_ATOMIC), "");
        let irqs_disabled = u8::from(context == Context::HardIrq);
        let log = alloc(context, Gfp::GFP_KERNEL);
        let lines: Vec<_> = log.lines().collect();
        assert_eq!(lines[0], "BUG: sleeping function called from invalid context at mm/page_alloc.c:4486");
        assert_eq!(lines[1], format!("in_atomic(): 1, irqs_disabled(): {irqs_disabled}, pid: 1, name: sh"));
        // The first report leaves its mark on those that follow.
        let taint = if context == Context::Atomic { "Not tainted" } else { "Tainted: G        W        " };
        let stack = format!("CPU: 0 PID: 1 Comm: sh {taint} 5.0.0-uk {}", env!("CARGO_PKG_VERSION"));
        assert_eq!(lines[2..], [stack]);
        assert_eq!(alloc(context, Gfp::GFP_KERNEL), "");
        lab.memory.env.advance(1_000_000_000);
    }
    assert_eq!(alloc(Context::Task, Gfp::GFP_KERNEL), "");
}

#[test]
fn zeroed_pages_are_zero_to_their_last_byte() {
    let machine = board_64m("");
    let lab = Lab::new(&machine);
    for order in [10, 1, 0] {
        let pfn = lab.alloc(Gfp::GFP_KERNEL | Gfp::__GFP_ZERO, order).unwrap();
        assert_eq!(lab.memory.env.linear().first_other(pfn, 1 << order, 0), None);
        assert_ne!(lab.memory.env.read(PhysAddr(pfn.addr().0 + (PAGE_SIZE << order))), 0);
    }
    let plain = lab.alloc(Gfp::GFP_KERNEL, 0).unwrap();
    assert_ne!(lab.memory.env.linear().first_other(plain, 1, 0), None);
}

#[test]
fn compound_blocks_have_a_head_and_single_pages_have_none() {
    let machine = board_64m("");
    let lab = Lab::new(&machine);
    for (order, head) in [(0, false), (1, true), (10, true)] {
        let pfn = lab.alloc(Gfp::GFP_KERNEL | Gfp::__GFP_COMP, order).unwrap();
        assert_eq!(state(&lab, pfn).flags().contains(PageFlags::HEAD), head);
        assert_eq!(lab.free(pfn, order), Ok(true));
        let plain = lab.alloc(Gfp::GFP_KERNEL, order).unwrap();
        assert_eq!(state(&lab, plain).flags(), PageFlags::empty());
    }
    lab.assert_sound();
}

#[test]
fn pages_taken_without_watermarks_are_marked() {
    let machine = board_64m("");
    let lab = Lab::new(&machine);
    for order in [0, 2] {
        let pfn = lab.take(Gfp::GFP_KERNEL, order, AllocFlags::NO_WATERMARKS).unwrap();
        assert!(state(&lab, pfn).flags().contains(PageFlags::PFMEMALLOC));
        lab.free(pfn, order).unwrap();
        let again = lab.take(Gfp::GFP_KERNEL, order, AllocFlags::HARDER | AllocFlags::OOM).unwrap();
        assert!(!state(&lab, again).flags().contains(PageFlags::PFMEMALLOC));
    }
}

#[test]
fn poison_is_checked_when_a_page_is_allocated() {
    let machine = board_16m("page_poison=1");
    let lab = Lab::new(&machine);
    let env = &lab.memory.env;
    // Never used pages are poisoned too.
    let pfn = logged_alloc(&lab, 3, "");
    assert_eq!(env.linear().first_other(pfn, 8, 0xaa), None);
    env.linear().fill_pages(pfn, 8, 0);
    lab.free(pfn, 3).unwrap();
    assert_eq!(env.linear().first_other(pfn, 8, 0xaa), None);

    env.write(PhysAddr(pfn.addr().0 + 4100), 0xab);
    let at = pfn.addr().0 + 4100;
    let again = logged_alloc(&lab, 3, &format!("pagealloc: single bit error\n{at:#x}: ab instead of aa\n"));
    assert_eq!(again, pfn);
    lab.free(pfn, 3).unwrap();
    env.write(PhysAddr(at), 0);
    logged_alloc(&lab, 3, &format!("pagealloc: memory corruption\n{at:#x}: 00 instead of aa\n"));
}

fn logged_alloc(lab: &Lab<'_>, order: u32, expected: &str) -> Pfn {
    let mut pfn = None;
    assert_eq!(logged(|| pfn = Some(lab.alloc(Gfp::GFP_KERNEL, order).unwrap())), expected);
    pfn.unwrap()
}

#[test]
fn poison_goes_before_zeroing_and_is_reported_ten_times_in_five_seconds() {
    let machine = board_64m("page_poison=on");
    let lab = Lab::new(&machine);
    let zeroed = lab.alloc(Gfp::GFP_KERNEL | Gfp::__GFP_ZERO, 0).unwrap();
    assert_eq!(lab.memory.env.linear().first_other(zeroed, 1, 0), None);
    lab.free(zeroed, 0).unwrap();
    let mut reports = 0;
    for _ in 0..12 {
        lab.memory.env.write(zeroed.addr(), 1);
        let log = logged(|| assert_eq!(lab.alloc(Gfp::GFP_KERNEL, 0), Ok(zeroed)));
        reports += log.matches("pagealloc").count();
        lab.free(zeroed, 0).unwrap();
    }
    assert_eq!(reports, 10);
}

#[test]
fn owners_are_noted_when_the_boot_argument_asks_for_it() {
    let machine = board_16m("page_owner=on");
    let lab = Lab::new(&machine);
    let hog = lab.tasks().spawn("hog", TaskKind::User).unwrap();
    let current = crate::task::Current::new(hog);
    for order in [0, 4] {
        let pfn = page_alloc::alloc_pages(&lab.memory, &current, Gfp::GFP_NOFS, order).unwrap();
        let owner = lab.memory.page_owners.get(lab.memory.pages.index(pfn)).unwrap();
        assert_eq!((owner.pid, &owner.comm[..3], owner.gfp), (2, &b"hog"[..], Gfp::GFP_NOFS));
    }
    let machine = board_16m("");
    assert!(!Lab::new(&machine).memory.page_owners.is_on());
}

#[test]
fn a_block_is_free_when_its_last_reference_is_dropped() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    for order in [0, 5] {
        let pfn = lab.alloc(Gfp::GFP_KERNEL, order).unwrap();
        lab.memory.pages.at(lab.memory.pages.index(pfn)).get(2);
        assert_eq!(lab.free(pfn, order), Ok(false));
        assert_eq!(lab.free(pfn, order), Ok(false));
        assert_eq!(state(&lab, pfn).count(), 1);
        assert_eq!(lab.free(pfn, order), Ok(true));
    }
    lab.assert_sound();
}

#[test]
fn a_marked_page_may_lose_a_reference_that_is_not_its_last() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let pfn = lab.alloc(Gfp::GFP_HIGHUSER_MOVABLE, 0).unwrap();
    let page = lab.memory.pages.at(lab.memory.pages.index(pfn));
    page.set_state(page.state().with_flags(PageFlags::LRU | PageFlags::LOCKED));
    page.get(1);
    assert_eq!(lab.free(pfn, 0), Ok(false));
    assert_eq!((state(&lab, pfn).count(), lab.memory.leaked()), (1, 0));
    page.set_state(page.state().with_flags(PageFlags::empty()));
    assert_eq!(lab.free(pfn, 0), Ok(true));
}

#[test]
fn addresses_are_never_those_of_highmem() {
    let machine = HostMachine::new("zones=full:dma=16M,dma32=16M,highmem=16M", &[(0x4000_0000, 96 * MIB, 0)], &[]);
    let lab = Lab::new(&machine);
    let zone = |addr: PhysAddr| lab.memory.zone_of(addr.pfn()).unwrap().zone_type;
    let (memory, current) = (&lab.memory, &lab.current());
    let page = lab.alloc(Gfp::GFP_HIGHUSER, 2).unwrap();
    assert_eq!(lab.memory.zone_of(page).unwrap().zone_type, ZoneType::HighMem);
    let four = page_alloc::get_free_pages(memory, current, Gfp::GFP_HIGHUSER, 2).unwrap();
    let one = page_alloc::get_free_page(memory, current, Gfp::GFP_HIGHUSER_MOVABLE).unwrap();
    let zeroed = page_alloc::get_zeroed_page(memory, current, Gfp::GFP_HIGHUSER).unwrap();
    let dma = page_alloc::get_dma_pages(memory, current, Gfp::GFP_KERNEL, 1).unwrap();
    assert_eq!(
        [four, one, zeroed, dma].map(zone),
        [ZoneType::Normal, ZoneType::Normal, ZoneType::Normal, ZoneType::Dma]
    );
    assert_eq!(memory.env.linear().first_other(zeroed.pfn(), 1, 0), None);
    assert_ne!(memory.env.linear().first_other(one.pfn(), 1, 0), None);
    assert_eq!(page_alloc::free_pages_at(memory, current, four, 2), Ok(true));
    for addr in [one, zeroed] {
        assert_eq!(page_alloc::free_page(memory, current, addr.pfn()), Ok(true));
    }
    assert_eq!(page_alloc::free_pages_at(memory, current, dma, 1), Ok(true));
    lab.assert_sound();
}

#[test]
fn alloc_page_is_one_page() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let pfn = page_alloc::alloc_page(&lab.memory, &lab.current(), Gfp::GFP_KERNEL).unwrap();
    assert_eq!(state(&lab, pfn).order(), Order::ZERO);
}

#[test]
fn a_split_block_is_freed_page_by_page_in_any_order() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let before = lab.buddyinfo();
    for order in [0, 3, 10] {
        let pfn = lab.alloc(Gfp::GFP_KERNEL, order).unwrap();
        page_alloc::split_page(&lab.memory, pfn, Order::new(order).unwrap());
        lab.assert_sound();
        let pages = 1 << order;
        for page in 0..pages {
            assert_eq!(lab.free(pfn.add(page * 7 % pages), 0), Ok(true));
        }
    }
    assert_eq!(lab.buddyinfo(), before);
    lab.assert_sound();
}

#[test]
#[should_panic(expected = "split of")]
fn a_compound_block_cannot_be_split() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let pfn = lab.alloc(Gfp::GFP_KERNEL | Gfp::__GFP_COMP, 3).unwrap();
    page_alloc::split_page(&lab.memory, pfn, Order::new(3).unwrap());
}

#[test]
#[should_panic(expected = "split of")]
fn a_block_is_split_with_its_own_order() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let pfn = lab.alloc(Gfp::GFP_KERNEL, 3).unwrap();
    page_alloc::split_page(&lab.memory, pfn, Order::new(2).unwrap());
}

#[test]
fn an_exact_size_takes_no_page_more() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let (memory, current) = (&lab.memory, &lab.current());
    for (bytes, pages) in [(1, 1), (4096, 1), (4097, 2), (3 * 4096, 3), (5 * 4096 + 1, 6), (4 << 20, 1024)] {
        let free = lab.zone().counts.free_pages();
        let addr = page_alloc::alloc_pages_exact(memory, current, bytes, Gfp::GFP_KERNEL | Gfp::__GFP_COMP).unwrap();
        assert_eq!(lab.zone().counts.free_pages(), free - pages, "{bytes} bytes");
        lab.assert_sound();
        assert_eq!(page_alloc::free_pages_exact(memory, current, addr, bytes), Ok(pages));
        assert_eq!(lab.zone().counts.free_pages(), free);
    }
    for bytes in [0, (4 << 20) + 1, u64::MAX] {
        let error = page_alloc::alloc_pages_exact(memory, current, bytes, Gfp::GFP_KERNEL).unwrap_err();
        assert_eq!(error, AllocError::OrderTooHigh(crate::addr::get_order(bytes)));
    }
}

#[test]
fn an_exact_size_may_be_near_a_node() {
    let machine = board_2_nodes("");
    let lab = Lab::new(&machine);
    let (memory, current) = (&lab.memory, &lab.current());
    let addr = page_alloc::alloc_pages_exact_nid(memory, current, NodeId(1), 5000, Gfp::GFP_KERNEL).unwrap();
    assert_eq!(memory.zone_of(addr.pfn()).unwrap().node, NodeId(1));
    let addr = page_alloc::alloc_pages_exact(memory, current, 5000, Gfp::GFP_KERNEL).unwrap();
    assert_eq!(memory.zone_of(addr.pfn()).unwrap().node, NodeId(0));
}

#[test]
fn exact_frees_stop_at_the_first_page_that_is_not_allocated() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let (memory, current) = (&lab.memory, &lab.current());
    let addr = page_alloc::alloc_pages_exact(memory, current, 3 * 4096, Gfp::GFP_KERNEL).unwrap();
    page_alloc::free_page(memory, current, addr.pfn().add(1)).unwrap();
    logged(|| assert!(page_alloc::free_pages_exact(memory, current, addr, 3 * 4096).is_err()));
    assert_eq!(lab.free(addr.pfn().add(2), 0), Ok(true));
    lab.assert_sound();
}

#[test]
fn nofail_is_for_two_pages_at_most() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let alloc = |order| logged(|| lab.alloc(Gfp::GFP_KERNEL | Gfp::__GFP_NOFAIL, order).unwrap());
    assert_eq!((alloc(0).as_str(), alloc(1).as_str()), ("", ""));
    assert!(alloc(2).contains("\nWARNING: CPU: 0 PID: 1 at mm/page_alloc.c:3093 get_page_from_freelist\n"));
    assert_eq!(alloc(3), "");
}

#[test]
fn the_largest_block_is_of_order_10() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let blocks: Vec<Pfn> = core::iter::from_fn(|| lab.alloc(Gfp::GFP_NOWAIT, ORDER_10.get()).ok()).collect();
    assert_eq!(blocks.len(), 3); // the first 4 MiB are partly in use
    assert_eq!(lab.alloc(Gfp::GFP_NOWAIT, 10), Err(AllocError::NoMemory { gfp: Gfp::GFP_NOWAIT, order: ORDER_10 }));
}
