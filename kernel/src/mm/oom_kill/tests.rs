//! Who is killed, in what order, and what is printed.
//!
//! The machine is that of the scenarios: 64 MiB, all of it free, so that badness is measured by 16384 pages.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::mm::owner::SwapSpace;
use crate::mm::testing::{HostMachine, Lab, MIB, board_2_nodes, context, logged};
use crate::task::TaskKind;
use crate::vmstat::VmEvent;

mod anon;
mod reaping;
mod reports;

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
