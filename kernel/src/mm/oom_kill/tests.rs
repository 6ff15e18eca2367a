//! Who is killed, in what order, and what is printed.
//!
//! The machine is that of the scenarios: 64 MiB, all of it free, so that badness is measured by 16384 pages.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::host::HostEnv;
use crate::mm::owner::SwapSpace;
use crate::mm::pcp::PcpLimits;
use crate::mm::testing::{HostMachine, Lab, MIB, board_2_nodes, context, logged};
use crate::mm::{page_alloc, raw, slab};
use crate::task::TaskKind;
use crate::vmstat::{NodeStat, VmEvent};

mod anon;

use anon::AnonEnv;

/// Slots for anonymous pages, some of them free.
const SWAP: SwapSpace = SwapSpace { total: 512, free: 100 };

fn machine() -> HostMachine {
    HostMachine::new("", &[(0x4000_0000, 64 * MIB, 0)], &[])
}

/// A process with `anon` pages, `tables` pages of page tables, and `adj`.
fn process<'l>(lab: &'l Lab<'_>, comm: &str, anon: u64, tables: u64, adj: i64) -> &'l Task {
    let task = lab.tasks().spawn(comm, TaskKind::User).unwrap();
    task.mm.total_vm.store(anon, Relaxed);
    task.mm.anon_rss.store(anon, Relaxed);
    task.mm.pgtables_bytes.store(tables * PAGE_SIZE, Relaxed);
    task.set_oom_score_adj(adj).unwrap();
    task
}

/// `current` runs out of memory with `gfp`.
fn run_out(lab: &Lab<'_>, current: &Current<'_>, gfp: Gfp) -> bool {
    let ac = context(&lab.memory, NodeId(0), gfp, 0);
    let _lock = lab.memory.oom.try_lock().unwrap();
    out_of_memory(&lab.memory, current, &mut OomControl::for_request(&ac))
}

fn oom(lab: &Lab<'_>) -> bool {
    run_out(lab, &lab.current(), Gfp::GFP_KERNEL)
}

/// The panic that `act` ends in, and what it logged.
fn panicked(act: impl FnOnce() -> bool) -> (String, String) {
    let mut message = String::new();
    let log = logged(|| {
        let payload = catch_unwind(AssertUnwindSafe(act)).expect_err("a panic");
        message = payload.downcast_ref::<String>().cloned().unwrap_or_default();
    });
    (message, log)
}

fn kills(lab: &Lab<'_>) -> u64 {
    lab.memory.event(VmEvent::OomKill)
}

/// Names in the lines "Killed process N (NAME)" of a log.
fn killed(log: &str) -> Vec<&str> {
    let lines = log.lines().filter(|line| line.starts_with("Killed process"));
    lines.filter_map(|line| line.split(['(', ')']).nth(1)).collect()
}

#[test]
fn t30_the_worst_die_in_order_and_some_never() {
    let machine = machine();
    let lab = Lab::new(&machine);
    let tasks =
        [("a", 3000, 20, 0), ("b", 1500, 10, 500), ("c", 4500, 25, -200), ("d", 5000, 30, -1000), ("e", 100, 2, 1000)];
    let tasks = tasks.map(|(comm, anon, tables, adj)| process(&lab, comm, anon, tables, adj));
    lab.tasks().spawn("kthread", TaskKind::Kernel).unwrap();
    let total = totalpages(&lab.memory);
    let badness = tasks.map(|task| oom_badness(&lab.current(), task, None, total));
    assert_eq!(badness, [3020, 9510, 1325, 0, 16102]);
    assert_eq!(badness.map(|points| points * 1000 / total), [184, 580, 80, 0, 982]);
    let log = logged(|| {
        for kills_so_far in 1..=4 {
            assert!(oom(&lab));
            assert_eq!(kills(&lab), kills_so_far);
            assert!(reap_one(&lab.memory, &lab.current()));
        }
    });
    assert_eq!(killed(&log), ["e", "b", "a", "c"]);
    let scores = log.lines().filter_map(|line| line.strip_suffix(" or sacrifice child")?.rsplit(' ').next());
    assert_eq!(scores.collect::<Vec<_>>(), ["982", "580", "184", "80"]);
    let (panic, log) = panicked(|| oom(&lab));
    assert_eq!(panic, "System is deadlocked on memory");
    let end: Vec<_> = log.lines().rev().take(2).collect();
    let words = "Kernel panic - not syncing: System is deadlocked on memory";
    assert_eq!(end, [words, "Out of memory and no killable processes..."]);
    assert!(log.starts_with("sh invoked oom-killer: ") && !log.contains("oom-kill:constraint"), "{log}");
    assert_eq!(kills(&lab), 4);
}

#[test]
fn t30b_a_child_is_sacrificed() {
    let machine = machine();
    let lab = Lab::new(&machine);
    let parent = process(&lab, "P", 500, 0, 0);
    for (comm, anon) in [("C1", 300), ("C2", 400), ("C3", 400)] {
        lab.tasks().spawn_child(parent, comm).unwrap().mm.anon_rss.store(anon, Relaxed);
    }
    let log = logged(|| oom(&lab));
    assert!(
        log.contains(",mems_allowed=0,task=P,pid=2,uid=0\nOut of memory: Kill process 2 (P) score 30 or "),
        "{log}"
    );
    assert_eq!(killed(&log), ["C2"]);
    assert!(!parent.is_dying() && !parent.is_oom_victim());
}

#[test]
fn of_two_that_are_equally_bad_the_older_dies() {
    let machine = machine();
    let lab = Lab::new(&machine);
    let gap = process(&lab, "gap", 0, 0, 0);
    process(&lab, "older", 500, 0, 0);
    lab.tasks().remove(gap).unwrap();
    assert_eq!(process(&lab, "younger", 500, 0, 0).pid(), gap.pid());
    assert_eq!(killed(&logged(|| oom(&lab))), ["older"]);
}

#[test]
fn t30c_the_machine_stops_instead_if_told_so() {
    let machine = machine();
    let lab = Lab::new(&machine);
    process(&lab, "V", 6000, 0, 0);
    for (how, words) in [(1, "system-wide"), (2, "compulsory")] {
        lab.memory.sysctl.panic_on_oom.store(how, Relaxed);
        let (panic, log) = panicked(|| oom(&lab));
        assert_eq!(panic, format!("Out of memory: {words} panic_on_oom is enabled"));
        assert!(log.contains("\n[      2]     0     2     6000     6000        0        0             0 V\n"), "{log}");
    }
    assert_eq!(kills(&lab), 0);
    logged(|| assert!(sysrq_oom(&lab.memory, &lab.current())));
    assert_eq!(kills(&lab), 1);
}

#[test]
fn t29_nobody_else_dies_while_a_victim_is_about_to() {
    let machine = machine();
    let lab = Lab::new(&machine);
    let [first, second] = [process(&lab, "first", 900, 0, 0), process(&lab, "second", 800, 0, 0)];
    logged(|| assert!(oom(&lab)));
    let log = logged(|| assert!(oom(&lab)));
    assert_eq!((log.as_str(), kills(&lab), second.is_oom_victim()), ("", 1, false));
    logged(|| reap_one(&lab.memory, &lab.current()));
    assert!(first.mm.has(MmFlags::OOM_SKIP));
    logged(|| assert!(oom(&lab)));
    assert_eq!((kills(&lab), second.is_oom_victim()), (2, true));
}

/// The whole way: the slow path kills, the reaper reaps, the request that ran out gets its page.
#[test]
fn t19_a_request_waits_for_its_victims_memory() {
    let machine = machine();
    let memory = machine.memory_with(AnonEnv::new(HostEnv::default(), SwapSpace::default()));
    memory.populated_zones().for_each(|zone| zone.set_pcp_limits(PcpLimits::BOOT));
    memory.sysctl.watermark_boost_factor.store(0, Relaxed);
    let [victim, asker] = ["V", "U"].map(|comm| memory.env.tasks().spawn(comm, TaskKind::User).unwrap());
    let reaper = memory.env.tasks().spawn("oom_reaper", TaskKind::Daemon).unwrap();
    anon::fault_in(&memory, victim, 6000);
    victim.mm.pgtables_bytes.store(81920, Relaxed);
    let (zone, current) = (memory.populated_zones().next().unwrap(), Current::new(asker, 0));
    while zone.counts.free_pages() > 256 {
        raw::take_page(&memory, &current, zone).unwrap();
    }
    let threads = memory.env.sched();
    let log = std::thread::scope(|scope| {
        threads.spawn(scope, || oom_reaper(&memory, &Current::new(reaper, 0)));
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

/// The report of a v5.0 kernel on the machine of T19, line by line; the sizes of Mem-Info are the machine's.
#[test]
fn t19_the_report_is_that_of_linux() {
    let machine = machine();
    let lab = Lab::new(&machine);
    let victim = process(&lab, "V", 6000, 20, 0);
    victim.mm.file_rss.store(7, Relaxed);
    let asker = lab.tasks().spawn("U", TaskKind::User).unwrap();
    let log = logged(|| assert!(run_out(&lab, &lab.acting_as(asker), Gfp::GFP_KERNEL)));
    let lines: Vec<_> = log.lines().filter(|line| !line.starts_with("Node 0 ")).collect();
    let stack = format!("CPU: 0 PID: 3 Comm: U Not tainted 5.0.0-uk {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        lines[..3],
        ["U invoked oom-killer: gfp_mask=0x6000c0(GFP_KERNEL), order=0, oom_score_adj=0", &stack, "Mem-Info:"]
    );
    let after = lines.iter().position(|line| line.starts_with("Tasks state")).unwrap();
    assert_eq!(
        lines[after..],
        [
            "Tasks state (memory values in pages):",
            "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
            "[      2]     0     2     6000     6007    81920        0             0 V",
            "[      3]     0     3        0        0        0        0             0 U",
            "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,task=V,pid=2,uid=0",
            "Out of memory: Kill process 2 (V) score 367 or sacrifice child",
            "Killed process 2 (V) total-vm:24000kB, anon-rss:24000kB, file-rss:28kB, shmem-rss:0kB",
        ]
    );
    assert!(victim.is_dying() && victim.is_oom_victim() && victim.mm.has(MmFlags::OOM_VICTIM));
    assert_eq!((kills(&lab), lab.memory.oom.victims()), (1, 1));
}

/// The row, but for the name, is one that a real kernel printed.
#[test]
fn rows_of_the_task_list_are_those_of_linux() {
    let machine = machine();
    let lab = Lab::new(&machine);
    let fillers: Vec<_> = (2..43).map(|n| process(&lab, &format!("t{n}"), 0, 0, 0)).collect();
    let dd = process(&lab, "dd", 51921, 112, 0);
    fillers.into_iter().for_each(|task| lab.tasks().remove(task).unwrap());
    dd.mm.total_vm.store(77322, Relaxed);
    dd.mm.shmem_rss.store(261, Relaxed);
    let log = logged(|| oom(&lab));
    assert!(log.contains("\n[     43]     0    43    77322    52182   458752        0             0 dd\n"), "{log}");
    assert!(log.contains("(dd) total-vm:309288kB, anon-rss:207684kB, file-rss:0kB, shmem-rss:1044kB\n"), "{log}");
    let quiet = Lab::new(&machine);
    process(&quiet, "dd", 1, 0, 0);
    quiet.memory.sysctl.oom_dump_tasks.store(0, Relaxed);
    let log = logged(|| oom(&quiet));
    assert!(log.contains("oom-kill:constraint") && !log.contains("Tasks state"), "{log}");
}

#[test]
fn without_fs_nobody_dies_but_a_page_fault_kills() {
    let machine = machine();
    let lab = Lab::new(&machine);
    process(&lab, "V", 6000, 0, 0);
    let log = logged(|| assert!(run_out(&lab, &lab.current(), Gfp::GFP_NOFS)));
    assert_eq!((log.as_str(), kills(&lab)), ("", 0));
    let log = logged(|| pagefault_out_of_memory(&lab.memory, &lab.current()));
    assert!(log.starts_with("sh invoked oom-killer: gfp_mask=0x0(), order=0, oom_score_adj=0\n"), "{log}");
    assert_eq!(kills(&lab), 1);
}

#[test]
fn who_dies_anyway_is_only_helped_along() {
    let machine = machine();
    let lab = Lab::new(&machine);
    let [asker, other] = [process(&lab, "asker", 10, 0, 0), process(&lab, "other", 900, 0, 0)];
    asker.kill();
    assert!(run_out(&lab, &lab.acting_as(asker), Gfp::GFP_NOFS));
    assert!(asker.is_oom_victim());
    // The search finds a dying task, too: it is marked without a word.
    lab.memory.sysctl.oom_kill_allocating_task.store(0, Relaxed);
    asker.mm.set_flags(MmFlags::OOM_SKIP);
    other.change_flags(TaskFlags::PF_EXITING, TaskFlags::empty());
    let log = logged(|| assert!(oom(&lab)));
    assert_eq!((log.as_str(), other.is_oom_victim(), kills(&lab)), ("", true, 0));
}

#[test]
fn who_asks_may_be_killed_without_a_search() {
    let machine = machine();
    let lab = Lab::new(&machine);
    let [small, _] = [process(&lab, "small", 10, 0, 0), process(&lab, "large", 900, 0, 0)];
    lab.memory.sysctl.oom_kill_allocating_task.store(1, Relaxed);
    let log = logged(|| assert!(run_out(&lab, &lab.acting_as(small), Gfp::GFP_KERNEL)));
    assert!(log.contains("\nOut of memory (oom_kill_allocating_task): Kill process 2 (small) score 0 or "), "{log}");
    assert_eq!(killed(&log), ["small"]);
    logged(|| reap_one(&lab.memory, &lab.current()));
    // The first task cannot be killed: others are looked for.
    assert_eq!(killed(&logged(|| oom(&lab))), ["large"]);
}

#[test]
fn an_origin_comes_first() {
    let machine = machine();
    let lab = Lab::new(&machine);
    process(&lab, "large", 9000, 0, 1000);
    process(&lab, "swapoff", 1, 0, -1000).oom.set_origin(true);
    let log = logged(|| oom(&lab));
    // (2^64 - 1) * 1000 wraps to 2^64 - 1000; 2^64 / 2^14 is 2^50, so the quotient is 2^50 - 1, of which 32 bits remain.
    assert!(log.contains("Kill process 3 (swapoff) score 4294967295 or"), "{log}");
}

#[test]
fn a_person_may_kill_although_a_victim_is_about_to_die() {
    let machine = machine();
    let lab = Lab::new(&machine);
    let [_, second] = [("first", 900), ("second", 800)].map(|(comm, anon)| process(&lab, comm, anon, 0, 0));
    let sysrq = || sysrq_oom(&lab.memory, &lab.current());
    let log = logged(|| assert!(sysrq()));
    assert!(log.starts_with("sh invoked oom-killer: gfp_mask=0x6000c0(GFP_KERNEL), order=-1,"), "{log}");
    // The worst is dying already; but when somebody else becomes the worst, that one dies, too.
    assert_eq!(logged(|| assert!(sysrq())), "");
    second.mm.anon_rss.store(1000, Relaxed);
    assert_eq!(killed(&logged(|| assert!(sysrq()))), ["second"]);
    logged(|| while reap_one(&lab.memory, &lab.current()) {});
    let log = logged(|| assert!(!sysrq()));
    assert!(log.ends_with("no killable processes...\nOOM request ignored. No task eligible\n"), "{log}");
}

#[test]
fn a_nodemask_changes_the_measure_and_not_the_line() {
    let machine = board_2_nodes("");
    let lab = Lab::new(&machine);
    process(&lab, "V", 1000, 0, 0);
    let near = Some(NodeMask::default().with(NodeId(1)));
    let ac = AllocContext { nodemask: near, ..context(&lab.memory, NodeId(0), Gfp::GFP_KERNEL, 0) };
    lab.memory.sysctl.panic_on_oom.store(1, Relaxed);
    let log = logged(|| out_of_memory(&lab.memory, &lab.current(), &mut OomControl::for_request(&ac)));
    // A node has 4096 pages. Only all nodes together are worth stopping the machine for.
    assert!(log.contains("constraint=CONSTRAINT_NONE,nodemask=1,cpuset=/,mems_allowed=0-1,task=V,"), "{log}");
    assert!(log.contains(" score 244 or") && log.contains("\nNode 1 DMA32 ") && !log.contains("\nNode 0 "), "{log}");
}

#[test]
fn the_killer_is_switched_off_once_the_last_victim_is_gone() {
    let machine = machine();
    let lab = Lab::new(&machine);
    let (memory, current) = (&lab.memory, &lab.current());
    let victim = process(&lab, "V", 1000, 0, 0);
    logged(|| oom(&lab));
    assert!(!oom_killer_disable(memory, current, 10));
    assert!(!memory.oom.is_disabled());
    exit_task(memory, current, victim);
    assert!(oom_killer_disable(memory, current, 10));
    process(&lab, "W", 1000, 0, 0);
    assert!(!oom(&lab));
    assert_eq!(kills(&lab), 1);
}

#[test]
fn reports_are_limited_but_deaths_are_not() {
    let machine = machine();
    let lab = Lab::new(&machine);
    let log = logged(|| {
        for n in 0..12 {
            process(&lab, &format!("t{n}"), 10, 0, 0);
            assert!(oom(&lab));
            reap_one(&lab.memory, &lab.current());
        }
        lab.memory.env.advance(6_000_000_000);
        process(&lab, "last", 10, 0, 0);
        assert!(oom(&lab));
    });
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!((lines("invoked oom-killer"), lines("Killed process"), lines("sacrifice")), (11, 13, 13));
    assert_eq!(lines("oom_kill_process: 2 callbacks suppressed"), 1);
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
fn badness_counts_what_is_swapped_out_and_is_never_zero() {
    let machine = machine();
    let lab = Lab::new(&machine);
    let task = process(&lab, "V", 1000, 0, 0);
    let badness = || oom_badness(&lab.current(), task, None, 16384);
    task.mm.swapents.store(24, Relaxed);
    assert_eq!(badness(), 1024);
    task.set_oom_score_adj(-999).unwrap();
    assert_eq!(badness(), 1);
}

#[test]
fn a_victims_pages_come_back_by_the_reaper_or_by_its_exit() {
    let machine = machine();
    let memory = machine.memory_with(AnonEnv::new(HostEnv::default(), SWAP));
    let current = Current::new(memory.env.tasks().init(), 0);
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

#[test]
fn the_report_tells_swap_slab_and_the_machine() {
    let machine = machine();
    let memory = machine.memory_with(AnonEnv::new(HostEnv::default(), SWAP));
    let current = Current::new(memory.env.tasks().init(), 0);
    memory.env.tasks().spawn("V", TaskKind::User).unwrap();
    let log = logged(|| pagefault_out_of_memory(&memory, &current));
    assert!(log.contains("\nHardware name: linux,dummy-virt (DT)\nMem-Info:\n"), "{log}");
    let swap = "\n5 pages in swap cache\nSwap cache stats: add 9, delete 4, find 2/3\nFree swap  = 400kB\nTotal swap = 2048kB\n";
    assert!(log.contains(swap) && !log.contains("slab info"), "{log}");
    // Two slabs with 32 objects of 128 bytes each; 8 of the first are free, and shrinking puts it on the node's list, where
    // free objects are counted. The cache of 1 KiB was used and has no slab any more.
    let get = |size, gfp| slab::kmalloc(&memory, &current, size, gfp).unwrap();
    let shrink = |name| slab::kmem_cache_shrink(&memory, &current, memory.slabs.find(name).unwrap());
    let objects: Vec<_> = (0..64).map(|_| get(100, Gfp::GFP_KERNEL)).collect();
    objects[..8].iter().for_each(|object| slab::kfree(&memory, &current, *object).unwrap());
    assert_eq!(shrink("kmalloc-128"), 2);
    get(100, Gfp::GFP_KERNEL | Gfp::__GFP_RECLAIMABLE);
    slab::kfree(&memory, &current, get(1000, Gfp::GFP_KERNEL)).unwrap();
    assert_eq!(shrink("kmalloc-1k"), 0);
    let node = memory.node(NodeId(0));
    let unreclaimable = node.stat(NodeStat::NrSlabUnreclaimable) as i64;
    node.add_stat(NodeStat::NrInactiveFile, unreclaimable - 1);
    node.add_stat(NodeStat::NrIsolatedAnon, 1);
    let report = || logged(|| report::dump_header(&memory, &current, &OomControl::PAGE_FAULT, None));
    assert!(!report().contains("slab info"));
    node.add_stat(NodeStat::NrIsolatedAnon, -1);
    let slabs = "\nUnreclaimable slab info:\nName                      Used          Total\n\
                 kmalloc-128                7KB          8KB\nTasks state";
    assert!(report().contains(slabs), "{}", report());
}
