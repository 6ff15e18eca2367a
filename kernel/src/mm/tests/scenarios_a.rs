//! Scenarios T01 to T18: reserves and flags. The machine has Min 256, Low 320, High 384.

use crate::sync::atomic::Ordering::Relaxed;

use crate::gfp::Gfp;
use crate::mm::page_alloc::{self, AllocError};
use crate::mm::testing::{Lab, board_m64, logged};
use crate::mm::zone::AllocFlags;
use crate::sched::{HZ, JIFFY_NS};
use crate::task::{Context, Current, TaskFlags, TaskKind};
use crate::vmstat::LabEvent;

const NORETRY: Gfp = Gfp::GFP_KERNEL.union(Gfp::__GFP_NORETRY);
const MEMALLOC: TaskFlags = TaskFlags::PF_MEMALLOC;

/// From 300 free pages, asks until the answer is no: pages got, pages left, changes of `names`.
fn until_null<const N: usize>(
    prepare: impl FnOnce(&Lab<'_>),
    gfp: Gfp,
    names: [&str; N],
) -> (usize, u64, [i64; N], String) {
    let machine = board_m64();
    let lab = Lab::scenario(&machine, 300);
    prepare(&lab);
    let (mut got, mut log) = (Vec::new(), String::new());
    let diff = lab.vmstat_diff(|| log = logged(|| got = lab.loop_until_null(&lab.current(), gfp, 0)));
    lab.assert_sound();
    (got.len(), lab.nr_free(), diff.all(names), log)
}

#[test]
fn t01_gfp_kernel_stops_at_min_after_one_reclaim() {
    let (got, left, changes, log) = until_null(|_| (), NORETRY, ["allocstall_normal", "oom_kill"]);
    assert_eq!((got, left, changes), (44, 256, [1, 0]));
    let text = "sh: page allocation failure: order:0, mode:0x6010c0(GFP_KERNEL|__GFP_NORETRY), nodemask=(null)";
    assert!(log.contains(text), "{log}");
}

#[test]
fn t02_gfp_nowait_stops_at_min_without_reclaim() {
    let stalls = ["allocstall_dma32", "allocstall_normal", "allocstall_movable", "compact_stall", "pgscan_direct"];
    let (got, left, changes, _) = until_null(|_| (), Gfp::GFP_NOWAIT, stalls);
    assert_eq!((got, left, changes), (44, 256, [0; 5]));
}

#[test]
fn t03_to_t06_each_mask_has_its_floor() {
    let stall = ["allocstall_normal"];
    let (got, left, changes, _) = until_null(|_| (), Gfp::GFP_ATOMIC, stall);
    assert_eq!((got, left, changes), (204, 96, [0]), "T03");
    let (got, left, ..) = until_null(|_| (), Gfp::GFP_ATOMIC | Gfp::__GFP_NOMEMALLOC, stall);
    assert_eq!((got, left), (172, 128), "T04");
    let (got, left, changes, _) = until_null(|_| (), NORETRY | Gfp::__GFP_HIGH, stall);
    assert_eq!((got, left, changes), (172, 128, [1]), "T05");
}

/// The stop of T20: a request that Linux would let go round for ever.
#[test]
fn a_request_ends_after_as_many_rounds_as_a_person_allows() {
    let machine = board_m64();
    let lab = Lab::scenario(&machine, 256);
    lab.memory.round_limit.store(50, Relaxed);
    let mut refused = None;
    let diff = lab.vmstat_diff(|| {
        refused = page_alloc::alloc_page(&lab.memory, &lab.current(), Gfp::GFP_NOFS).err();
    });
    assert_eq!(diff.all(["allocstall_normal", "oom_kill"]), [50, 0]);
    let text = "called off after 50 rounds (limit rounds): order:0, mode:0x600040(GFP_NOFS)";
    assert_eq!(refused.unwrap().to_string(), text);
    // One that ends by itself is told why, as ever.
    let refused = page_alloc::alloc_page(&lab.memory, &lab.current(), NORETRY).unwrap_err();
    assert!(refused.to_string().starts_with("page allocation failure"), "{refused}");
}

#[test]
fn t06_a_real_time_task_may_take_a_quarter_of_min() {
    let machine = board_m64();
    let lab = Lab::scenario(&machine, 300);
    let task = lab.tasks().spawn("rt", TaskKind::RealTime).unwrap();
    assert_eq!(lab.loop_until_null(&lab.acting_as(task), NORETRY, 0).len(), 108);
    assert_eq!(lab.nr_free(), 192);
}

/// A machine on which the first task has `PF_MEMALLOC` and took all there was.
fn t07_end(lab: &Lab<'_>) -> Vec<crate::addr::Pfn> {
    lab.tasks().init().change_flags(MEMALLOC, TaskFlags::empty());
    lab.loop_until_null(&lab.current(), Gfp::GFP_KERNEL, 0)
}

#[test]
fn t07_pf_memalloc_takes_the_last_page_and_fails_at_once() {
    let machine = board_m64();
    let lab = Lab::scenario(&machine, 300);
    let mut pages = Vec::new();
    let diff = lab.vmstat_diff(|| pages = t07_end(&lab));
    assert_eq!((pages.len(), lab.nr_free()), (300, 0));
    let marked: Vec<bool> = pages.iter().map(|pfn| lab.is_pfmemalloc(*pfn)).collect();
    assert!(marked[..44].iter().all(|marked| !marked) && marked[44..].iter().all(|marked| *marked));
    diff.assert_still(&["allocstall", "oom_kill", "pgscan_direct", "compact_stall"]);
    assert_eq!(lab.memory.lab_event(LabEvent::Retry), 0);
    assert_eq!(lab.memory.lab_event(LabEvent::NowmarkAlloc), 256);
    let looks = lab.traced(|| lab.alloc(Gfp::GFP_KERNEL, 0));
    assert_eq!(looks.iter().filter(|event| event.starts_with("zone_considered")).count(), 3, "{looks:#?}");
}

#[test]
fn t08_reports_of_failures_are_limited() {
    let machine = board_m64();
    let lab = Lab::scenario(&machine, 300);
    let log = logged(|| {
        t07_end(&lab);
        (0..25).for_each(|_| assert!(lab.alloc(Gfp::GFP_KERNEL, 0).is_err()));
    });
    assert_eq!(log.matches("page allocation failure").count(), 10);
    lab.memory.env.advance(5_000_000_001);
    let log = logged(|| lab.alloc(Gfp::GFP_KERNEL, 0));
    assert!(log.starts_with("warn_alloc: 16 callbacks suppressed\n"), "{log}");
}

#[test]
fn t09_nomemalloc_beats_pf_memalloc() {
    let (got, left, changes, _) = until_null(
        |lab| lab.tasks().init().change_flags(MEMALLOC, TaskFlags::empty()),
        Gfp::GFP_KERNEL | Gfp::__GFP_NOMEMALLOC,
        ["allocstall_normal"],
    );
    assert_eq!((got, left, changes), (44, 256, [0]));
}

#[test]
fn t10_gfp_memalloc_takes_all_unless_nomemalloc_forbids_it() {
    let memalloc = Gfp::GFP_NOWAIT | Gfp::__GFP_MEMALLOC;
    assert_eq!(until_null(|_| (), memalloc, []).0, 300);
    assert_eq!(until_null(|_| (), memalloc | Gfp::__GFP_NOMEMALLOC, []).0, 44);
}

#[test]
fn t11_interrupts_do_not_inherit_pf_memalloc() {
    let check = |act: &dyn Fn(&Lab<'_>, Current<'_>) -> usize, expected: usize| {
        let machine = board_m64();
        let lab = Lab::scenario(&machine, 300);
        lab.tasks().init().change_flags(MEMALLOC, TaskFlags::empty());
        assert_eq!(act(&lab, lab.current()), expected);
        assert!(lab.tasks().init().flags().contains(MEMALLOC));
    };
    let count = |lab: &Lab<'_>, current: &Current<'_>, gfp| lab.loop_until_null(current, gfp, 0).len();
    check(&|lab, task| count(lab, &task.in_context(Context::HardIrq), Gfp::GFP_ATOMIC), 204);
    check(&|lab, task| count(lab, &task.in_context(Context::BhOff), Gfp::GFP_NOWAIT), 44);
    check(&|lab, task| task.serve_softirq(|softirq| count(lab, &softirq, Gfp::GFP_NOWAIT)), 44);
    let sets_it = |lab: &Lab<'_>, softirq: Current<'_>| count(lab, &softirq.with(MEMALLOC), Gfp::GFP_NOWAIT);
    check(&|lab, task| task.serve_softirq(|softirq| sets_it(lab, softirq)), 300);
}

#[test]
fn t12_no_watermarks_does_not_open_highatomic_blocks() {
    let machine = board_m64();
    let lab = Lab::scenario(&machine, 16384);
    // A block of order 3 sets its pageblock aside; 100 of its pages stay free, and 200 others.
    lab.take(Gfp::GFP_ATOMIC, 3, AllocFlags::HARDER).unwrap();
    assert_eq!(lab.zone().nr_reserved_highatomic(), 512);
    let reserved: Vec<_> =
        (0..101).map_while(|_| lab.take(Gfp::GFP_ATOMIC, 2, AllocFlags::HARDER | AllocFlags::NO_WATERMARKS)).collect();
    assert_eq!(reserved.len(), 101);
    lab.exhaust(Gfp::GFP_NOWAIT, AllocFlags::NO_WATERMARKS);
    assert_eq!(lab.nr_free(), 512 - 8 - 404);
    lab.tasks().init().change_flags(MEMALLOC, TaskFlags::empty());
    assert_eq!(lab.loop_until_null(&lab.current(), Gfp::GFP_KERNEL, 0).len(), 0);
    assert_eq!(lab.nr_free(), 100);
}

#[test]
fn t13_atomic_that_may_sleep_is_warned_of_once() {
    let machine = board_m64();
    let lab = Lab::scenario(&machine, 200);
    let gfp = Gfp::GFP_ATOMIC | Gfp::__GFP_DIRECT_RECLAIM;
    let mut events = Vec::new();
    let log = logged(|| {
        events = lab.traced(|| lab.alloc(gfp, 0).unwrap());
        lab.alloc(gfp, 0).unwrap();
    });
    assert_eq!(log.matches("at mm/page_alloc.c:4235 ").count(), 1, "{log}");
    assert_eq!((lab.nr_free(), lab.memory.lab_event(LabEvent::WarnOnce)), (198, 1));
    // The event names the request as it came, less the task's scopes; only the slow path goes on without __GFP_ATOMIC.
    let event = events.last().unwrap();
    assert!(event.starts_with("mm_page_alloc: ") && event.contains("gfp_flags=GFP_ATOMIC|"), "{event}");
}

#[test]
fn t14_scopes_nest() {
    let machine = board_m64();
    let lab = Lab::scenario(&machine, 256);
    let mode = || {
        let log = logged(|| lab.alloc(NORETRY, 0));
        lab.memory.env.advance(5_000_000_001);
        let (_, mode) = log.split_once("mode:").unwrap();
        mode.split_once(", nodemask").unwrap().0.to_owned()
    };
    let outer = lab.tasks().init().scope(TaskFlags::PF_MEMALLOC_NOIO);
    let inner = lab.tasks().init().scope(TaskFlags::PF_MEMALLOC_NOFS);
    assert_eq!(mode(), "0x601000(GFP_NOIO|__GFP_NORETRY)");
    drop(inner);
    assert_eq!(mode(), "0x601000(GFP_NOIO|__GFP_NORETRY)");
    drop(outer);
    assert_eq!(mode(), "0x6010c0(GFP_KERNEL|__GFP_NORETRY)");
}

#[test]
fn t15_sleeping_in_atomic_context_is_reported_once_a_second() {
    let machine = board_m64();
    let lab = Lab::scenario(&machine, 5000);
    let current = lab.current().in_context(Context::Atomic);
    let reports = |gfp| {
        let log = logged(|| page_alloc::alloc_page(&lab.memory, &current, gfp).unwrap());
        log.matches("BUG: sleeping function called from invalid context at mm/page_alloc.c:4486").count()
    };
    assert_eq!((reports(Gfp::GFP_KERNEL), reports(Gfp::GFP_KERNEL)), (1, 0));
    lab.memory.env.advance((HZ + 1) * JIFFY_NS);
    assert_eq!((reports(Gfp::GFP_KERNEL), reports(Gfp::GFP_ATOMIC)), (1, 0));
}

#[test]
fn t17_an_order_beyond_the_largest_is_refused_without_a_trace() {
    let machine = board_m64();
    let lab = Lab::scenario(&machine, 5000);
    let (mut log, mut events) = (String::new(), Vec::new());
    let diff = lab.vmstat_diff(|| {
        let ask = |gfp| assert_eq!(lab.alloc(gfp, 11), Err(AllocError::OrderTooHigh(11)));
        log = logged(|| {
            events = lab.traced(|| [NORETRY, NORETRY, NORETRY | Gfp::__GFP_NOWARN].map(ask));
        });
    });
    assert_eq!(log.matches("at mm/page_alloc.c:4529 ").count(), 1, "{log}");
    diff.assert_still(&["nr_", "pg", "allocstall", "compact"]);
    assert!(events.is_empty(), "{events:?}");
}

#[test]
fn t18_without_a_block_there_is_nothing_to_count() {
    let machine = board_m64();
    let lab = Lab::scenario(&machine, 300);
    // Single pages only: the first of every two.
    let pages = lab.take_all(Gfp::GFP_NOWAIT, 0, AllocFlags::NO_WATERMARKS);
    let singles: Vec<_> = pages.into_iter().filter(|pfn| pfn.0 % 2 == 0).collect();
    singles.iter().for_each(|pfn| {
        lab.free(*pfn, 0).unwrap();
    });
    assert!(lab.buddyinfo().ends_with(" 0 0 0 0 0 0 0 0 0 0"), "{}", lab.buddyinfo());
    let diff = lab.vmstat_diff(|| assert!(lab.loop_until_null(&lab.current(), Gfp::GFP_NOWAIT, 1).is_empty()));
    diff.assert_still(&["allocstall", "compact", "pgscan", "pgalloc"]);
}
