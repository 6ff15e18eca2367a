//! How a victim's memory comes back: by the reaper, or by its exit.

use super::*;
use crate::mm::page_alloc;
use crate::mm::pcp::PcpLimits;
use crate::mm::testing::lower_to;

/// The whole way: the slow path kills, the reaper reaps, the request that ran out gets its page.
#[test]
fn t19_a_request_waits_for_its_victims_memory() {
    let machine = machine();
    let memory = machine.memory_with(anon::env(SwapSpace::default()));
    memory.populated_zones().for_each(|zone| zone.set_pcp_limits(PcpLimits::BOOT));
    memory.sysctl.watermark_boost_factor.store(0, Relaxed);
    let [victim, asker] = ["V", "U"].map(|comm| memory.env.tasks().spawn(comm, TaskKind::User).unwrap());
    let reaper = memory.env.tasks().spawn("oom_reaper", TaskKind::Daemon).unwrap();
    anon::fault_in(&memory, victim, 6000);
    victim.mm.pgtables_bytes.store(81920, Relaxed);
    let (zone, current) = (memory.populated_zones().next().unwrap(), Current::new(asker));
    lower_to(&memory, &current, zone, 256);
    let threads = memory.env.sched();
    let log = std::thread::scope(|scope| {
        threads.spawn(scope, || oom_reaper(&memory, &Current::new(reaper)));
        threads.settle();
        let log = logged(|| page_alloc::alloc_page(&memory, &current, Gfp::GFP_KERNEL).unwrap());
        threads.stop();
        log
    });
    assert!(
        log.contains("\nOut of memory: Kill process 2 (V) score 367 or sacrifice child\nKilled process 2 (V) "),
        "{log}"
    );
    assert_eq!((memory.event(VmEvent::OomKill), victim.is_dying(), victim.mm.rss()), (1, true, 0));
    exit_task(&memory, &current, victim);
    assert_eq!((zone.counts.free_pages(), memory.oom.victims()), (6255, 0));
}

#[test]
fn the_reaper_takes_the_last_first_and_only_once() {
    let machine = machine();
    let lab = Lab::new(&machine);
    let (memory, current) = (&lab.memory, &lab.current());
    let tasks = ["a", "b"].map(|comm| process(&lab, comm, 10, 0, 0));
    for task in tasks.into_iter().chain(tasks) {
        wake_oom_reaper(memory, current, task);
    }
    // b exits before the reaper comes: nothing is left to take, and its number is not used again until then.
    tasks[1].mm.set_flags(MmFlags::OOM_VICTIM);
    exit_task(memory, current, tasks[1]);
    lab.tasks().remove(tasks[1]).unwrap();
    assert_eq!(process(&lab, "c", 0, 0, 0).pid(), 4);
    let mut trace = Vec::new();
    let log = logged(|| trace = lab.traced(|| while reap_one(memory, current) {}));
    assert_eq!(trace, ["skip_task_reaping: pid=3", "start_task_reaping: pid=2", "finish_task_reaping: pid=2"]);
    assert_eq!(log, "oom_reaper: reaped process 2 (a), now anon-rss:40kB, file-rss:0kB, shmem-rss:0kB\n");
    assert!(tasks[0].mm.has(MmFlags::OOM_SKIP | MmFlags::UNSTABLE));
    assert_eq!(process(&lab, "d", 0, 0, 0).pid(), 3);
}

#[test]
fn the_reaper_gives_up_after_a_second_of_trying() {
    let machine = machine();
    let lab = Lab::new(&machine);
    let victim = process(&lab, "V", 10, 0, 0);
    wake_oom_reaper(&lab.memory, &lab.current(), victim);
    let writing = victim.mm.mmap_write().unwrap();
    let start = lab.memory.env.now_ns();
    let mut trace = Vec::new();
    let log = logged(|| trace = lab.traced(|| assert!(reap_one(&lab.memory, &lab.current()))));
    assert_eq!(log, "oom_reaper: unable to reap pid:2 (V)\n");
    assert_eq!(trace, ["skip_task_reaping: pid=2"; 10]);
    assert_eq!((lab.memory.env.now_ns() - start) / 100_000_000, 9);
    drop(writing);
    assert!(victim.mm.has(MmFlags::OOM_SKIP) && !victim.mm.has(MmFlags::UNSTABLE));
}

#[test]
fn the_daemon_reaps_whom_the_killer_chose() {
    let machine = machine();
    let lab = Lab::new(&machine);
    let reaper = lab.tasks().spawn("oom_reaper", TaskKind::Daemon).unwrap();
    let victim = process(&lab, "V", 10, 0, 0);
    let threads = lab.memory.env.threads();
    std::thread::scope(|scope| {
        threads.spawn(scope, || oom_reaper(&lab.memory, &lab.acting_as(reaper)));
        threads.settle();
        let trace = lab.traced(|| logged(|| oom(&lab)));
        assert_eq!(trace, ["mark_victim: pid=2", "wake_reaper: pid=2"]);
        assert!(!victim.mm.has(MmFlags::OOM_SKIP));
        threads.settle();
        assert!(victim.mm.has(MmFlags::OOM_SKIP));
        threads.stop();
    });
}

#[test]
fn an_exited_task_has_nothing_and_is_nobody() {
    let machine = machine();
    let lab = Lab::new(&machine);
    let task = process(&lab, "V", 1000, 3, 0);
    logged(|| oom(&lab));
    exit_task(&lab.memory, &lab.current(), task);
    assert!(task.flags().contains(TaskFlags::PF_EXITING) && task.mm.has(MmFlags::OOM_SKIP));
    assert_eq!((task.mm.rss(), task.has_mm(), lab.memory.oom.victims()), (0, false, 0));
    assert_eq!(oom_badness(&lab.current(), task, None, 16384), 0);
    exit_task(&lab.memory, &lab.current(), task);
    assert_eq!(lab.memory.oom.victims(), 0);
}

#[test]
fn a_victims_pages_come_back_by_the_reaper_or_by_its_exit() {
    let machine = machine();
    let memory = machine.memory_with(anon::env(SWAP));
    let current = Current::new(memory.env.tasks().init());
    let [reaped, exits] = ["reaped", "exits"].map(|comm| memory.env.tasks().spawn(comm, TaskKind::User).unwrap());
    let free = || memory.populated_zones().map(|zone| zone.counts.free_pages() + zone.pcp_pages()).sum::<u64>();
    let before = free();
    anon::fault_in(&memory, reaped, 300);
    anon::fault_in(&memory, exits, 200);
    assert_eq!((before - free(), oom_badness(&current, reaped, None, 16384)), (500, 300));
    let log = logged(|| {
        pagefault_out_of_memory(&memory, &current);
        assert!(reap_one(&memory, &current));
    });
    let end = "Killed process 2 (reaped) total-vm:0kB, anon-rss:1200kB, file-rss:0kB, shmem-rss:0kB\n\
               oom_reaper: reaped process 2 (reaped), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB\n";
    assert!(log.ends_with(end), "{log}");
    // Measured by memory and swap space: 300 * 1000 / (16384 + 512).
    assert!(log.contains(" score 17 or"), "{log}");
    assert_eq!((before - free(), reaped.mm.rss()), (200, 0));
    exit_task(&memory, &current, exits);
    assert_eq!(free(), before);
}
