//! Scenarios T31 to T37: kswapd, and who waits for it.
//!
//! The machine has Min 256, Low 320, High 384. kswapd is a thread; frozen, it works only when a person makes it.

use crate::sync::atomic::Ordering::Relaxed;
use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::addr::{PAGEBLOCK_ORDER, Pfn};
use crate::gfp::Gfp;
use crate::host::HostMachine;
use crate::mm::memory::Env;
use crate::mm::page_alloc::AllocError;
use crate::mm::testing::{Lab, MIB, VmstatDiff, board_m64};
use crate::mm::zone::AllocFlags;
use crate::mmzone::NodeMask;
use crate::sched::{HZ, JIFFY_NS};
use crate::show_mem::ShowMem;
use crate::task::{TaskFlags, TaskKind};
use crate::vmstat::VmEvent;

use super::scenes::{KSWAPD, NORMAL, add_clean, add_dirty, ask, beside, empty, sleep, stalls_and_kills};

const NORETRY: Gfp = Gfp::GFP_KERNEL.union(Gfp::__GFP_NORETRY);
const WAKES: [&str; 3] = ["mm_vmscan_wakeup_kswapd", "mm_vmscan_kswapd_wake", "mm_vmscan_kswapd_sleep"];

/// What one GFP_NOWAIT request on an empty machine sets off: the events of [`WAKES`], what changed, kswapd's failures.
fn hopeless(lab: &Lab<'_>) -> (Vec<String>, VmstatDiff, u32) {
    let mut events = Vec::new();
    let diff = lab.vmstat_diff(|| {
        events = lab.traced_only(&WAKES, || {
            assert!(lab.alloc(Gfp::GFP_NOWAIT, 0).is_err());
            sleep(lab, HZ);
        });
    });
    (events, diff, lab.node().kswapd.failures.load(Relaxed))
}

/// The report on all memory.
fn report(lab: &Lab<'_>) -> String {
    ShowMem { memory: &lab.memory, nodes: NodeMask::ALL, cpu: 0 }.to_string()
}

fn count(events: &[String], name: &str) -> usize {
    events.iter().filter(|event| event.split(':').next() == Some(name)).count()
}

#[test]
fn t31_kswapd_gives_up_after_sixteen_failures() {
    let machine = board_m64();
    let lab = Lab::scenario(&machine, 100);
    beside(&lab, &[KSWAPD], |_| {
        let (events, diff, failures) = hopeless(&lab);
        assert_eq!(failures, 16);
        assert_eq!(
            diff.all(["pageoutrun", "kswapd_high_wmark_hit_quickly", "kswapd_low_wmark_hit_quickly"]),
            [16, 15, 0]
        );
        assert_eq!(WAKES.map(|name| count(&events, name)), [1, 16, 1], "{events:#?}");
        assert!(report(&lab).contains(" all_unreclaimable? yes"));
        let (events, diff, _) = hopeless(&lab);
        assert_eq!((events.len(), diff.of("pageoutrun")), (0, 0), "nobody wakes it any more");
    });
}

/// The quirk of v5.0: the second run, for which nobody asked, looks at the lowest zone only; it has no memory.
#[test]
fn t31_where_the_lowest_zone_is_empty_kswapd_sleeps_after_one_failure() {
    let machine = HostMachine::new("zones=arm64-5.0:dma32=0", &[(0x4000_0000, 64 * MIB, 0)], &[]);
    let lab = Lab::scenario(&machine, 100);
    assert_eq!(lab.zone().index, NORMAL);
    beside(&lab, &[KSWAPD], |_| {
        let (events, diff, failures) = hopeless(&lab);
        assert_eq!((diff.of("pageoutrun"), failures), (2, 1));
        assert_eq!(WAKES.map(|name| count(&events, name)), [1, 2, 1], "{events:#?}");
        assert!(report(&lab).contains(" all_unreclaimable? no"));
    });
}

#[test]
fn t32_direct_reclaim_gives_kswapd_new_hope() {
    let machine = board_m64();
    let lab = empty(&machine);
    lab.set_free(200);
    beside(&lab, &[KSWAPD], |_| {
        assert_eq!(hopeless(&lab).2, 16);
        let reserves = lab.tasks().init().scope(TaskFlags::PF_MEMALLOC);
        add_clean(&lab, 100);
        drop(reserves);
        assert_eq!((lab.nr_free(), lab.node().kswapd.failures.load(Relaxed)), (100, 16));
        let diff = lab.vmstat_diff(|| _ = ask(&lab, &lab.current(), NORETRY));
        assert!(diff.of("pgsteal_direct") > 0);
        assert_eq!(
            (diff.all(["allocstall_normal", "pgscan_direct_throttle"]), lab.node().kswapd.failures.load(Relaxed)),
            ([1, 0], 0)
        );
        let events = lab.traced_only(&WAKES, || lab.alloc(Gfp::GFP_NOWAIT, 0));
        assert_eq!(WAKES.map(|name| count(&events, name)), [1, 0, 0], "{events:#?}");
    });
}

/// What kswapd does when a person makes it work: pages that each priority reclaimed, and what changed.
fn run_kswapd(lab: &Lab<'_>) -> (BTreeMap<u32, u64>, VmstatDiff) {
    let mut events = Vec::new();
    let diff = lab.vmstat_diff(|| {
        events = lab.traced_only(&["mm_vmscan_lru_shrink_inactive"], || {
            lab.node().kswapd.daemon.freeze();
            beside(lab, &[KSWAPD], |_| {
                assert!(lab.node().kswapd.daemon.run(lab.memory.env.sched()));
                lab.memory.env.sched().settle();
                assert!(lab.node().kswapd.daemon.is_asleep());
            });
        });
    });
    let mut by_priority = BTreeMap::new();
    for event in &events {
        let value = |name: &str| -> u64 {
            let (_, rest) = event.split_once(name).unwrap();
            rest.split(' ').next().unwrap().parse().unwrap()
        };
        *by_priority.entry(value(" priority=") as u32).or_default() += value("nr_reclaimed=");
    }
    (by_priority, diff)
}

#[test]
fn t33_kswapd_reclaims_up_to_high() {
    let machine = board_m64();
    let lab = empty(&machine);
    add_clean(&lab, 12_000);
    lab.set_free(256);
    let (by_priority, diff) = run_kswapd(&lab);
    assert_eq!(by_priority, BTreeMap::from([(12, 2), (11, 5), (10, 11), (9, 23), (8, 46), (7, 93)]));
    assert_eq!((diff.all(["pgsteal_kswapd", "pageoutrun"]), lab.nr_free()), ([180, 1], 436));
    lab.assert_sound();
}

#[test]
fn t34_it_ends_with_the_priority_that_was_enough() {
    for (clean, stolen) in [(12_000, 727), (5000, 593)] {
        let machine = board_m64();
        let lab = empty(&machine);
        add_clean(&lab, clean);
        lab.set_free(0);
        let (_, diff) = run_kswapd(&lab);
        assert_eq!((diff.of("pgsteal_kswapd"), lab.nr_free()), (stolen, stolen as u64));
    }
}

#[test]
fn t35_a_boost_is_reclaimed_gently() {
    let machine = board_m64();
    let lab = empty(&machine);
    add_clean(&lab, 12_000);
    add_dirty(&lab, 100);
    lab.set_free(2000);
    lab.zone().set_boost(512);
    let (by_priority, diff) = run_kswapd(&lab);
    assert_eq!(by_priority, BTreeMap::from([(12, 2), (11, 5), (10, 46 * 11)]));
    assert_eq!(diff.all(["pgsteal_kswapd", "nr_vmscan_write", "slabs_scanned"]), [513, 0, 0]);
    assert_eq!((lab.zone().boost(), lab.node().kcompactd.max_order.load(Relaxed)), (0, PAGEBLOCK_ORDER));
    lab.assert_sound();
}

/// The end of `rmqueue`: whoever mixes migratetypes tells kswapd, which would have slept on with so much free.
#[test]
fn t35_a_boost_wakes_kswapd() {
    let machine = board_m64();
    let lab = empty(&machine);
    add_clean(&lab, 8000);
    let pages = lab.take_all(Gfp::GFP_HIGHUSER_MOVABLE, 0, AllocFlags::NO_WATERMARKS);
    pages.iter().step_by(2).for_each(|pfn| _ = lab.free(*pfn, 0).unwrap());
    lab.memory.sysctl.watermark_boost_factor.store(15_000, Relaxed);
    beside(&lab, &[KSWAPD], |_| {
        let events = lab.traced_only(&WAKES, || {
            lab.alloc(Gfp::GFP_KERNEL, 0).unwrap();
            assert!(lab.zone().boost() == 512 && lab.nr_free() > 896, "above High with its boost");
            assert!(!lab.node().kswapd.daemon.is_asleep());
            sleep(&lab, HZ);
        });
        assert_eq!(events[0], "mm_vmscan_wakeup_kswapd: nid=0 zid=0 order=0 gfp_flags=none");
        assert_eq!(WAKES.map(|name| count(&events, name)), [1, 1, 1], "{events:#?}");
        assert_eq!((lab.zone().boost(), lab.memory.event(VmEvent::Pageoutrun)), (0, 1));
        assert!(lab.memory.event(VmEvent::PgstealKswapd) >= 512);
    });
}

/// A machine with 100 free pages, too few to reclaim with.
fn too_low<'m>(machine: &'m HostMachine, clean: u32) -> Lab<'m> {
    let lab = empty(machine);
    add_clean(&lab, clean);
    lab.set_free(100);
    lab.node().kswapd.daemon.freeze();
    lab
}

#[test]
fn t36_a_user_waits_for_kswapd_and_then_reclaims() {
    let machine = board_m64();
    let lab = too_low(&machine, 1000);
    let (answer, free) = (Mutex::new(None), Mutex::new(0));
    let throttled = || lab.memory.event(VmEvent::PgscanDirectThrottle);
    beside(&lab, &[KSWAPD], |scope| {
        let user = lab.tasks().spawn("U", TaskKind::User).unwrap();
        lab.memory.env.sched().spawn(scope, || {
            let page: Result<Pfn, AllocError> = ask(&lab, &lab.acting_as(user), Gfp::GFP_KERNEL);
            *free.lock().unwrap() = lab.nr_free();
            *answer.lock().unwrap() = Some(page.is_ok());
        });
        sleep(&lab, 10 * HZ);
        assert_eq!((throttled(), stalls_and_kills(&lab).0, lab.nr_free()), (1, 0, 100));
        assert!(answer.lock().unwrap().is_none() && lab.node().pfmemalloc_wait.is_active());
        assert!(lab.node().kswapd.daemon.run(lab.memory.env.sched()));
        lab.memory.env.sched().settle();
    });
    assert_eq!(*answer.lock().unwrap(), Some(true));
    assert!(*free.lock().unwrap() > 128);
    assert_eq!((throttled(), stalls_and_kills(&lab).0), (1, 1));
    lab.assert_sound();
}

/// Whether a request was throttled, ticks that it took, and whether it got a page.
fn request(clean: u32, kind: TaskKind, gfp: Gfp, failures: u32) -> (u64, u64, bool) {
    let machine = board_m64();
    let lab = too_low(&machine, clean);
    let task = lab.tasks().spawn("U", kind).unwrap();
    lab.node().kswapd.failures.store(failures, Relaxed);
    let start = lab.memory.env.sched().advance(0);
    let page = ask(&lab, &lab.acting_as(task), gfp);
    let ticks = (lab.memory.env.sched().advance(0) - start) / JIFFY_NS;
    assert_eq!(stalls_and_kills(&lab).1, 0);
    (lab.memory.event(VmEvent::PgscanDirectThrottle), ticks, page.is_ok())
}

/// Through the entry; the throttle alone is told in `throttle`. Each request reclaims 32 pages or so at a time until 256
/// are free; the first waits once, for it then has more than half of Min.
#[test]
fn t37_who_is_not_throttled_or_not_for_long() {
    let (throttled, ticks, ok) = request(1000, TaskKind::User, Gfp::GFP_NOFS, 0);
    assert!((HZ..HZ + 3).contains(&ticks) && ok, "{ticks}");
    assert_eq!(throttled, 1);
    assert_eq!(request(1000, TaskKind::Kernel, Gfp::GFP_KERNEL, 0), (0, 0, true));
    assert_eq!(request(1000, TaskKind::User, Gfp::GFP_KERNEL, 16), (0, 0, true));
    assert_eq!(request(0, TaskKind::User, NORETRY, 0), (0, 0, false));
}
