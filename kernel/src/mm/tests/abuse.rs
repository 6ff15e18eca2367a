//! Scenarios T65 and T66: a task that takes reserves and frees nothing, and what the cure of 2009 changes.
//!
//! The machine has Min 256, Low 320, High 384; the floor of GFP_ATOMIC is 96, that of `__GFP_HIGH` 128.

use std::sync::Mutex;

use crate::gfp::Gfp;
use crate::mm::memory::Env;
use crate::mm::testing::{Lab, board_m64};
use crate::sched::HZ;
use crate::task::{Task, TaskFlags, TaskKind};
use crate::vmstat::VmEvent;

use super::scenes::{FLUSHER, KSWAPD, add_clean, ask, beside, empty, sleep, stalls_and_kills};

/// The abuser, on a machine with so many clean pages and 400 free ones.
fn scene<'l>(lab: &'l Lab<'_>, clean: u32) -> &'l Task {
    add_clean(lab, clean);
    lab.set_free(400);
    lab.tasks().spawn("A", TaskKind::Kernel).unwrap()
}

#[test]
fn t65_pf_memalloc_empties_the_reserve_and_the_innocent_pay() {
    let machine = board_m64();
    let lab = empty(&machine);
    let (abuser, innocent) = (scene(&lab, 5000), lab.tasks().spawn("U", TaskKind::User).unwrap());
    lab.node().kswapd.daemon.freeze();
    let atomic = || lab.alloc(Gfp::GFP_ATOMIC | Gfp::__GFP_NOWARN, 0);
    let scope = abuser.scope(TaskFlags::PF_MEMALLOC);
    let gfp = Gfp::GFP_KERNEL | Gfp::__GFP_NOWARN;
    assert_eq!(lab.loop_until_null(&lab.acting_as(abuser), gfp, 0).len(), 400);
    drop(scope);
    assert_eq!((lab.nr_free(), stalls_and_kills(&lab)), (0, (0, 0)), "there were clean pages, and nobody reclaimed");
    assert!(atomic().is_err());

    let answer = Mutex::new(None);
    let diff = lab.vmstat_diff(|| {
        beside(&lab, &[KSWAPD], |scope| {
            lab.memory.env.threads().spawn(scope, || {
                let page = ask(&lab, &lab.acting_as(innocent), Gfp::GFP_KERNEL);
                *answer.lock().unwrap() = Some(page.is_ok());
            });
            sleep(&lab, 10 * HZ);
            assert_eq!(lab.memory.event(VmEvent::PgscanDirectThrottle), 1);
            assert!(answer.lock().unwrap().is_none());
            assert!(lab.node().kswapd.daemon.run(lab.memory.env.sched()));
            lab.memory.env.threads().settle();
        });
    });
    assert_eq!(*answer.lock().unwrap(), Some(true));
    // kswapd alone would reclaim 593 (T34). But the user is awake as soon as more than half of Min is free, and reclaims
    // for itself; the list is that much shorter when kswapd comes to its last priority.
    assert_eq!(diff.all(["pgscan_direct_throttle", "oom_kill", "pgsteal_direct", "pgsteal_kswapd"]), [1, 0, 68, 589]);
    assert!(atomic().is_ok());
    lab.assert_sound();
}

#[test]
fn t66_gfp_high_reclaims_for_itself_and_leaves_half_of_min() {
    let machine = board_m64();
    let lab = empty(&machine);
    // What it takes is several times what is free; under Miri twice that, and there are fewer clean pages.
    let (wanted, clean) = if cfg!(miri) { (800, 1500) } else { (3000, 5000) };
    let abuser = scene(&lab, clean);
    let gfp = Gfp::GFP_KERNEL | Gfp::__GFP_HIGH | Gfp::__GFP_NORETRY | Gfp::__GFP_NOWARN;
    let (mut taken, mut lowest) = (0, u64::MAX);
    beside(&lab, &[KSWAPD, FLUSHER], |_| {
        while taken < wanted {
            taken += u32::from(ask(&lab, &lab.acting_as(abuser), gfp).is_ok());
            lowest = lowest.min(lab.nr_free());
            let page = lab.alloc(Gfp::GFP_ATOMIC, 0).expect("a page for the innocent at any moment");
            lab.free(page, 0).unwrap();
        }
    });
    assert!((128..256).contains(&lowest), "{lowest}");
    let (stalls, kills) = stalls_and_kills(&lab);
    assert!(stalls > 0 && kills == 0, "{stalls}");
    lab.assert_sound();
}
