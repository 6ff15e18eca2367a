//! Scenarios T16 and T19 to T30d: requests that go round, that must not fail, and that somebody dies for.
//!
//! The machine has Min 256, Low 320, High 384. Where a scenario has other tasks or daemons, they are threads. T30 to T30c
//! are told beside the OOM killer.

use crate::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::addr::Pfn;
use crate::gfp::Gfp;
use crate::mm::oom_kill::{self, OomControl};
use crate::mm::page_alloc::{self, AllocError};
use crate::mm::testing::{Lab, board_m64, context, logged};
use crate::mmzone::NodeId;
use crate::sched::{HZ, JIFFY_NS};
use crate::task::{Context, MmFlags, Task, TaskFlags, TaskKind};
use crate::vmstat::{LabEvent, ZoneEvent};

use super::scenes::{
    FLUSHER, Life, REAPER, add_clean, add_dirty, add_pinned, add_process, ask, beside, call_off_when, empty, sleep,
    stalls_and_kills,
};
use super::users::{users, verify};

const KERNEL: Gfp = Gfp::GFP_KERNEL;
const NOFAIL: Gfp = KERNEL.union(Gfp::__GFP_NOFAIL);

/// The machine with a victim of 6000 pages and `free` pages free.
fn with_victim<'m>(machine: &'m crate::host::HostMachine, free: u64) -> (Lab<'m>, u16) {
    let lab = empty(machine);
    let victim = add_process(&lab, "V", 6000).pid();
    lab.set_free(free);
    (lab, victim)
}

fn task<'l>(lab: &'l Lab<'_>, pid: u16) -> &'l Task {
    lab.tasks().by_pid(pid).unwrap()
}

#[test]
fn t16_an_atomic_section_is_told_off_and_reclaims_without_sleeping() {
    let machine = board_m64();
    let lab = empty(&machine);
    add_clean(&lab, 1000);
    lab.set_free(256);
    let (current, other_ran) = (lab.current().in_context(Context::Atomic), AtomicBool::new(false));
    let (mut page, mut ran) = (None, true);
    let log = beside(&lab, &[], |scope| {
        let threads = lab.memory.env.threads();
        threads.spawn(scope, || other_ran.store(true, Relaxed));
        threads.advance(10 * JIFFY_NS);
        let log = logged(|| page = ask(&lab, &current, KERNEL).ok());
        ran = other_ran.load(Relaxed);
        log
    });
    assert!(page.is_some() && !ran);
    assert_eq!(stalls_and_kills(&lab), (1, 0));
    assert_eq!(log.matches("BUG: sleeping function called from invalid context").count(), 1, "{log}");
    assert_eq!(log.matches("scheduling while atomic").count(), 0, "{log}");
    lab.assert_sound();
}

#[test]
fn t19_somebody_is_killed_for_a_page() {
    let machine = board_m64();
    let (lab, victim) = with_victim(&machine, 256);
    let (mut page, mut events) = (None, Vec::new());
    let log = beside(&lab, &[REAPER], |_| {
        logged(|| {
            events = lab.traced_only(&["reclaim_retry_zone", "mark_victim"], || {
                page = ask(&lab, &lab.current(), KERNEL).ok();
            });
        })
    });
    assert!(page.is_some() && task(&lab, victim).is_dying());
    assert_eq!(stalls_and_kills(&lab).1, 1);
    let words = format!("Out of memory: Kill process {victim} (V) score 367 or sacrifice child");
    assert!(log.contains(&words), "{log}");
    let first = "reclaim_retry_zone: node=0 zone=DMA32    order=0 reclaimable=0 available=256 min_wmark=256 \
                 no_progress_loops=1 wmark_check=0";
    assert_eq!(events[..2], [first, &format!("mark_victim: pid={victim}")]);
    lab.assert_sound();
}

#[test]
fn t20_without_gfp_fs_nobody_is_killed_and_the_request_goes_on() {
    let machine = board_m64();
    let (lab, victim) = with_victim(&machine, 256);
    let answer = beside(&lab, &[], |scope| {
        call_off_when(&lab, scope, || stalls_and_kills(&lab).0 >= 50);
        ask(&lab, &lab.current(), Gfp::GFP_NOFS)
    });
    lab.memory.env.threads().set_interrupted(false);
    assert!(matches!(answer, Err(AllocError::Interrupted { .. })), "{answer:?}");
    let (rounds, kills) = stalls_and_kills(&lab);
    // One reclaim in each round, and none made progress: it was the killer that let them go on.
    assert!(rounds >= 50 && rounds.abs_diff(lab.memory.lab_event(LabEvent::Retry)) <= 1, "{rounds}");
    assert_eq!((kills, task(&lab, victim).is_dying()), (0, false));
}

#[test]
fn t20_pages_that_another_task_frees_end_the_rounds() {
    let machine = board_m64();
    let lab = empty(&machine);
    let pages: Vec<Pfn> = (0..10).map(|_| lab.alloc(KERNEL, 0).unwrap()).collect();
    lab.set_free(256);
    let answer = beside(&lab, &[], |scope| {
        lab.memory.env.threads().spawn(scope, || {
            sleep(&lab, 20);
            pages.iter().for_each(|pfn| _ = lab.free(*pfn, 0).unwrap());
        });
        ask(&lab, &lab.current(), Gfp::GFP_NOFS)
    });
    assert!(answer.is_ok());
    assert_eq!((lab.nr_free(), stalls_and_kills(&lab).1), (265, 0));
    assert!(stalls_and_kills(&lab).0 > 50, "it went on for 20 ticks");
    lab.assert_sound();
}

/// One request of a task with `flags` beside a victim: it fails, nobody dies; reclaims by index of the zone.
fn refused(flags: TaskFlags, gfp: Gfp, order: u32) -> [u64; 3] {
    let machine = board_m64();
    let (lab, _) = with_victim(&machine, 256);
    lab.tasks().init().change_flags(flags, TaskFlags::empty());
    assert!(matches!(lab.alloc(gfp, order), Err(AllocError::NoMemory { .. })));
    assert_eq!((stalls_and_kills(&lab).1, lab.nr_free()), (0, 256));
    [0, 1, 2].map(|index| lab.memory.zone_event(ZoneEvent::Allocstall, index))
}

#[test]
fn t21_requests_for_which_nobody_is_killed() {
    let none = TaskFlags::empty();
    assert_eq!(refused(none, KERNEL | Gfp::__GFP_RETRY_MAYFAIL, 0), [0, 1, 0]);
    assert_eq!(refused(none, KERNEL | Gfp::__GFP_THISNODE, 0), [0, 1, 0]);
    assert_eq!(refused(none, KERNEL | Gfp::__GFP_DMA32, 0), [1, 0, 0]);
    assert_eq!(refused(TaskFlags::PF_DUMPCORE, KERNEL, 0), [0, 1, 0]);
    assert_eq!(refused(none, KERNEL, 4), [0, 1, 0]);
}

#[test]
fn t22_a_request_that_must_not_fail_kills_and_helps_itself() {
    let machine = board_m64();
    let (lab, victim) = with_victim(&machine, 256);
    let page = lab.alloc(NOFAIL, 0).unwrap();
    assert_eq!((stalls_and_kills(&lab), lab.nr_free()), ((1, 1), 255));
    assert!(lab.is_pfmemalloc(page) && task(&lab, victim).is_dying());
    lab.assert_sound();
}

#[test]
fn t23_noretry_and_nofail_together_take_a_quarter_of_min() {
    let machine = board_m64();
    let (lab, _) = with_victim(&machine, 256);
    let page = lab.alloc(NOFAIL | Gfp::__GFP_NORETRY, 0).unwrap();
    assert_eq!((stalls_and_kills(&lab), lab.nr_free()), ((1, 0), 255));
    assert!(!lab.is_pfmemalloc(page));
}

#[test]
fn t23_at_that_floor_they_wait_for_ever() {
    let machine = board_m64();
    let (lab, _) = with_victim(&machine, 192);
    let answer = beside(&lab, &[], |scope| {
        call_off_when(&lab, scope, || stalls_and_kills(&lab).0 >= 50);
        ask(&lab, &lab.current(), NOFAIL | Gfp::__GFP_NORETRY)
    });
    assert!(matches!(answer, Err(AllocError::Interrupted { .. })), "{answer:?}");
    assert!(stalls_and_kills(&lab).0 >= 50);
    assert_eq!((stalls_and_kills(&lab).1, lab.nr_free()), (0, 192));
}

#[test]
fn t24_who_must_not_sleep_may_fail_all_the_same() {
    let machine = board_m64();
    let lab = Lab::scenario(&machine, 256);
    let log = logged(|| {
        let answer = lab.alloc(Gfp::GFP_NOWAIT | Gfp::__GFP_NOFAIL, 0);
        assert!(matches!(answer, Err(AllocError::NoMemory { .. })));
    });
    assert_eq!(log.matches("at mm/page_alloc.c:4427 ").count(), 1, "{log}");
    assert_eq!((stalls_and_kills(&lab), lab.nr_free()), ((0, 0), 256));
}

#[test]
fn t25_pf_memalloc_that_must_not_fail_goes_round_without_reclaim() {
    let machine = board_m64();
    let lab = empty(&machine);
    let page = lab.alloc(KERNEL, 0).unwrap();
    lab.set_free(0);
    lab.tasks().init().change_flags(TaskFlags::PF_MEMALLOC, TaskFlags::empty());
    let (mut answer, start) = (None, lab.memory.env.threads().advance(0));
    let log = beside(&lab, &[], |scope| {
        lab.memory.env.threads().spawn(scope, || {
            sleep(&lab, 10);
            lab.free(page, 0).unwrap();
        });
        logged(|| answer = ask(&lab, &lab.current(), NOFAIL).ok())
    });
    assert_eq!((answer, lab.nr_free(), stalls_and_kills(&lab)), (Some(page), 0, (0, 0)));
    assert!(lab.memory.env.threads().advance(0) - start >= 10 * JIFFY_NS);
    assert_eq!(log.matches("at mm/page_alloc.c:4435 ").count(), 1, "{log}");
}

/// The `no_progress_loops` of events, up to the first victim's mark.
fn loops_before_the_kill(events: &[String]) -> Vec<u32> {
    let before = events.iter().take_while(|event| !event.starts_with("mark_victim"));
    let loops = before.filter_map(|event| event.split_once("no_progress_loops=")?.1.split(' ').next());
    loops.map(|number| number.parse().unwrap()).collect()
}

fn count(events: &[String], name: &str) -> usize {
    let before = events.iter().take_while(|event| !event.starts_with("mark_victim"));
    before.filter(|event| event.split(':').next() == Some(name)).count()
}

const ROUNDS: [&str; 4] =
    ["reclaim_retry_zone", "mm_vmscan_direct_reclaim_begin", "writeback_congestion_wait", "mark_victim"];

#[test]
fn t26_pages_that_only_look_reclaimable_are_tried_seventeen_times() {
    let machine = board_m64();
    let lab = empty(&machine);
    add_pinned(&lab, 1000);
    let victim = add_process(&lab, "V", 6000);
    lab.set_free(256);
    let (mut page, mut events) = (None, Vec::new());
    beside(&lab, &[REAPER], |_| {
        logged(|| events = lab.traced_only(&ROUNDS, || page = ask(&lab, &lab.current(), KERNEL).ok()))
    });
    assert!(page.is_some() && victim.is_dying());
    assert_eq!(loops_before_the_kill(&events), (1..=16).collect::<Vec<_>>());
    assert_eq!((count(&events, ROUNDS[1]), count(&events, ROUNDS[2])), (17, 0));
    assert_eq!((stalls_and_kills(&lab).1, verify(&lab)), (1, 0));
    lab.assert_sound();
}

/// 12000 dirty pages, a victim, and a flusher that is thawed once the request has waited `waits` times: the events of
/// the request, and how many were killed for it.
fn behind_dirty_pages(daemons: &[Life], waits: u64) -> (Vec<String>, u64) {
    let machine = board_m64();
    let lab = empty(&machine);
    add_dirty(&lab, 12_000);
    let victim = add_process(&lab, "V", 1000);
    lab.set_free(256);
    let flusher = &users(&lab).flusher;
    flusher.freeze();
    let (mut page, mut events) = (None, Vec::new());
    beside(&lab, daemons, |scope| {
        let lab = &lab;
        lab.memory.env.threads().spawn(scope, move || {
            while stalls_and_kills(lab).0 < waits && !victim.is_dying() {
                sleep(lab, 1);
            }
            flusher.thaw(lab.memory.env.threads());
        });
        logged(|| events = lab.traced_only(&ROUNDS, || page = ask(lab, &lab.current(), KERNEL).ok()));
    });
    assert!(page.is_some());
    assert_eq!(verify(&lab), 0);
    lab.assert_sound();
    (events, stalls_and_kills(&lab).1)
}

/// Milliseconds slept for the disk before the kill.
fn ms_waited(events: &[String]) -> u64 {
    let before = events.iter().take_while(|event| !event.starts_with("mark_victim"));
    before.filter_map(|event| event.split_once("usec_delayed=")?.1.parse::<u64>().ok()).map(|usec| usec / 1000).sum()
}

/// The waits come to 400 jiffies, as the specification has it; the 17 scans of 12000 pages take time, too.
#[test]
fn t27_dirty_pages_are_waited_for_sixteen_times() {
    let (events, kills) = behind_dirty_pages(&[REAPER], 99);
    assert_eq!((count(&events, ROUNDS[1]), count(&events, ROUNDS[2]), kills), (17, 16, 1));
    assert_eq!(loops_before_the_kill(&events), (1..=16).collect::<Vec<_>>());
    assert_eq!(ms_waited(&events), 400 * 1000 / HZ);
}

#[test]
fn t27_a_flusher_that_writes_in_time_saves_the_victim() {
    let (events, kills) = behind_dirty_pages(&[REAPER, FLUSHER], 15);
    assert!((14..=16).contains(&count(&events, ROUNDS[2])), "{events:#?}");
    assert_eq!(kills, 0);
}

#[test]
fn t28_of_two_who_want_to_kill_one_waits() {
    let machine = board_m64();
    let (lab, _) = with_victim(&machine, 256);
    let mut answers = [None, None];
    let mut events = Vec::new();
    beside(&lab, &[REAPER], |scope| {
        let lab = &lab;
        // The first holds the right to kill while it prints its report, which takes three ticks.
        lab.memory.env.threads().spawn(scope, move || {
            let ac = context(&lab.memory, NodeId(0), KERNEL, 0);
            let _lock = lab.memory.oom.try_lock().unwrap();
            sleep(lab, 3);
            assert!(oom_kill::out_of_memory(&lab.memory, &lab.current(), &mut OomControl::for_request(&ac)));
        });
        lab.memory.env.threads().settle();
        answers[0] = Some(lab.memory.oom.try_lock().is_none());
        events = lab.traced_only(&["oom_excluded", "mark_victim", "slowpath_retry"], || {
            answers[1] = Some(ask(lab, &lab.current(), KERNEL).is_ok());
        });
    });
    assert_eq!(answers, [Some(true); 2]);
    let killed = events.iter().position(|event| event.starts_with("mark_victim")).unwrap();
    let one_tick = ["oom_excluded: reason=lock_taken", "slowpath_retry: reason=oom_progress"];
    assert_eq!(events[..2], one_tick);
    let waits = events[..killed].iter().filter(|event| *event == one_tick[0]).count();
    assert!((2..=3).contains(&waits), "{events:#?}");
    assert_eq!(stalls_and_kills(&lab).1, 1);
}

#[test]
fn t29_nobody_else_is_killed_until_the_victim_is_given_up() {
    let machine = board_m64();
    let lab = empty(&machine);
    let [first, second] = [("V1", 6000), ("V2", 3000)].map(|(comm, rss)| add_process(&lab, comm, rss));
    lab.set_free(256);
    let mut kills = [0; 2];
    let answer = beside(&lab, &[], |scope| {
        let lab = &lab;
        let [first_kills, second_kills] = &mut kills;
        call_off_when(lab, scope, || second.is_dying());
        lab.memory.env.threads().spawn(scope, move || {
            sleep(lab, 20);
            *first_kills = stalls_and_kills(lab).1;
            first.mm.set_flags(MmFlags::OOM_SKIP);
            sleep(lab, 20);
            *second_kills = stalls_and_kills(lab).1;
        });
        let mut answer = None;
        logged(|| answer = Some(ask(lab, &lab.current(), KERNEL)));
        lab.memory.env.threads().set_interrupted(false);
        sleep(lab, 40);
        answer.unwrap()
    });
    assert!(matches!(answer, Err(AllocError::Interrupted { .. })), "{answer:?}");
    assert!(stalls_and_kills(&lab).0 > 40);
    assert_eq!((kills, first.is_dying(), second.is_dying()), ([1, 2], true, true));
}

#[test]
fn t30d_a_victim_may_take_half_of_min_and_then_gets_on_with_dying() {
    let machine = board_m64();
    let lab = empty(&machine);
    let victim = lab.tasks().spawn("U", TaskKind::User).unwrap();
    add_process(&lab, "V", 6000);
    lab.set_free(200);
    victim.kill();
    victim.set_oom_victim(true);
    let mut got = Vec::new();
    let events = lab.traced_only(&["slowpath_refused", "mark_victim"], || {
        logged(|| got = lab.loop_until_null(&lab.acting_as(victim), KERNEL, 0))
    });
    assert_eq!((got.len(), lab.nr_free(), stalls_and_kills(&lab)), (72, 128, (1, 0)));
    assert_eq!(events.last().unwrap(), "slowpath_refused: reason=oom_victim_gives_up");
    assert!(page_alloc::alloc_page(&lab.memory, &lab.current(), Gfp::GFP_NOWAIT).is_err());
}
