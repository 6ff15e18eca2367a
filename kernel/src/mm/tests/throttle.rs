//! Who waits for kswapd before reclaiming: T37 of the specification, and the way out of the wait.

use crate::sync::atomic::Ordering::Relaxed;

use super::test_env::{Mapped, ReclaimLab, m64};
use crate::gfp::Gfp;
use crate::mm::memory::Env;
use crate::mm::page::PageFlags;
use crate::mm::vmscan;
use crate::sched::{HZ, Scheduler};
use crate::task::{Current, TaskKind};
use crate::vmstat::VmEvent::{PgscanDirectThrottle, PgstealDirect};

/// Reclaims with 100 pages free, less than half of Min, as `task`; whether that was throttled, ticks that it took.
fn reclaim(pages: u64, kind: TaskKind, gfp: Gfp, set: impl FnOnce(&ReclaimLab<'_>, &Current<'_>)) -> (bool, u64) {
    let machine = m64();
    let lab = ReclaimLab::new(&machine);
    lab.pages(pages, PageFlags::empty(), Mapped::NOT);
    lab.free_to(100);
    let current = Current::new(lab.task("u", kind));
    set(&lab, &current);
    let start = lab.memory.env.sched().jiffies();
    let result = lab.reclaim_as(&current, gfp);
    let [throttled, stolen] = lab.events([PgscanDirectThrottle, PgstealDirect]);
    assert_eq!(result, if current.task.is_dying() && throttled > 0 { 1 } else { stolen });
    (throttled > 0, lab.memory.env.sched().jiffies() - start)
}

#[test]
fn t37_who_must_not_wait_long_or_at_all() {
    let nothing = |_: &ReclaimLab<'_>, _: &Current<'_>| {};
    let (throttled, ticks) = reclaim(1000, TaskKind::User, Gfp::GFP_NOFS, nothing);
    assert!(throttled && (HZ..HZ + 2).contains(&ticks), "{ticks}");
    let kernel = Gfp::GFP_KERNEL;
    assert!(!reclaim(1000, TaskKind::Kernel, kernel, nothing).0);
    assert!(!reclaim(1000, TaskKind::User, kernel, |lab, _| lab.node().kswapd.failures.store(16, Relaxed)).0);
    assert!(!reclaim(0, TaskKind::User, kernel, nothing).0);
    assert!(!reclaim(1000, TaskKind::User, kernel, |_, current| current.task.kill()).0);
}

#[test]
fn kswapd_is_woken_for_the_kernels_zones() {
    let machine = m64();
    let lab = ReclaimLab::new(&machine);
    lab.pages(1000, PageFlags::empty(), Mapped::NOT);
    lab.free_to(129);
    assert!(vmscan::allow_direct_reclaim(&lab.memory, lab.node()));
    assert_eq!((lab.node().kswapd.classzone(), lab.node().kswapd.daemon.is_asleep()), (None, true));
    lab.free_to(128);
    assert!(!vmscan::allow_direct_reclaim(&lab.memory, lab.node()));
    let normal = 1;
    assert_eq!((lab.node().kswapd.classzone(), lab.node().kswapd.daemon.is_asleep()), (Some(normal), false));
}

#[test]
fn a_throttled_task_goes_on_when_there_is_room() {
    let machine = m64();
    let lab = ReclaimLab::new(&machine);
    lab.pages(1000, PageFlags::empty(), Mapped::NOT);
    lab.free_to(100);
    let current = lab.current();
    std::thread::scope(|scope| {
        let kswapd = || {
            assert!(lab.node().pfmemalloc_wait.is_active());
            let mut sc = vmscan::ScanControl { nr_to_reclaim: 384, priority: 0, ..vmscan::ScanControl::kswapd(0, 0) };
            vmscan::shrink_node(&lab.memory, &lab.current(), lab.node(), &mut sc);
            lab.node().pfmemalloc_wait.wake_all(lab.memory.env.sched());
        };
        lab.memory.env.sched().spawn(scope, kswapd);
        assert!(lab.reclaim_as(&current, Gfp::GFP_KERNEL) >= 32, "the throttle over, it reclaims");
    });
    assert_eq!(lab.events([PgscanDirectThrottle]), [1]);
}
