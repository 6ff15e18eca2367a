//! Two nodes: what policies and cpusets make of requests, and what the OOM killer makes of both.

use std::collections::BTreeMap;

use crate::addr::Pfn;
use crate::gfp::Gfp;
use crate::host::HostMachine;
use crate::mm::cpuset::{self, CpusetError};
use crate::mm::memory::Hook;
use crate::mm::mempolicy::set_mempolicy;
use crate::mm::page_alloc::{self, AllocError, alloc_pages_node, alloc_pages_nodemask};
use crate::mm::testing::{Lab, MIB, board_2_nodes, logged};
use crate::mm::{anon, oom_kill};
use crate::mmzone::{NodeId, NodeMask, ZoneType};
use crate::sched::HZ;
use crate::task::{Context, Mempolicy, Task, TaskFlags, TaskKind};
use crate::vmstat::NumaStat;

use super::scenes::{add_pinned, beside, sleep};
use super::users::users;

const NODE: [NodeId; 2] = [NodeId(0), NodeId(1)];
const ONLY: [NodeMask; 2] = [NodeMask(0b01), NodeMask(0b10)];
const BOTH: NodeMask = NodeMask(0b11);
const NOWAIT: Gfp = Gfp::GFP_NOWAIT.union(Gfp::__GFP_NOWARN);
const USER_NOWAIT: Gfp = NOWAIT.union(Gfp::__GFP_HARDWALL);

fn node_of(lab: &Lab<'_>, pfn: Pfn) -> u8 {
    lab.memory.zone_of(pfn).unwrap().node.0
}

/// The node of a page for `task`.
fn ask(lab: &Lab<'_>, task: &Task, gfp: Gfp) -> Result<u8, AllocError> {
    page_alloc::alloc_page(&lab.memory, &lab.acting_as(task), gfp).map(|pfn| node_of(lab, pfn))
}

fn ask_in(lab: &Lab<'_>, task: &Task, context: Context, gfp: Gfp) -> Option<u8> {
    let current = lab.acting_as(task).in_context(context);
    page_alloc::alloc_page(&lab.memory, &current, gfp).ok().map(|pfn| node_of(lab, pfn))
}

/// Nodes of `count` pages in a row.
fn row(lab: &Lab<'_>, task: &Task, count: usize) -> Vec<u8> {
    (0..count).map(|_| ask(lab, task, NOWAIT).unwrap()).collect()
}

/// Takes everything that a node has.
fn use_up(lab: &Lab<'_>, node: NodeId) {
    let current = lab.current();
    let gfp = NOWAIT | Gfp::__GFP_THISNODE | Gfp::__GFP_MEMALLOC;
    let taken = |order| alloc_pages_node(&lab.memory, &current, Some(node), gfp, order);
    [10, 6, 3, 0].into_iter().for_each(|order| while taken(order).is_ok() {});
    lab.memory.zones_of(node).iter().for_each(|zone| zone.set_watermarks([1 << 20; 3]));
}

/// A machine whose node 0 has nothing left, and a task on its CPU.
fn low<'m, 'l>(machine: &'m HostMachine, lab: &'l mut Option<Lab<'m>>) -> (&'l Lab<'m>, &'l Task) {
    let lab: &Lab<'m> = lab.insert(Lab::without_pcp(machine));
    use_up(lab, NODE[0]);
    (lab, lab.tasks().spawn("T", TaskKind::User).unwrap())
}

#[test]
fn policies_choose_nodes() {
    let machine = board_2_nodes("");
    let lab = Lab::new(&machine);
    let task = lab.tasks().spawn("T", TaskKind::User).unwrap();
    let set = |policy| set_mempolicy(&lab.memory, task, policy).unwrap();
    assert_eq!(row(&lab, task, 3), [0, 0, 0]);
    set(Mempolicy::Preferred(NODE[1]));
    assert!(lab.memory.has(Hook::Mempolicy));
    assert_eq!(row(&lab, task, 3), [1, 1, 1]);
    set(Mempolicy::Bind(ONLY[1]));
    assert_eq!(row(&lab, task, 3), [1, 1, 1]);
    set(Mempolicy::Interleave(BOTH));
    assert_eq!(row(&lab, task, 5), [0, 1, 0, 1, 0]);
    // Others are not asked, nor are those who name a node, want just their own, or interrupt.
    assert_eq!(row(&lab, lab.tasks().init(), 2), [0, 0]);
    set(Mempolicy::Bind(ONLY[1]));
    assert_eq!(ask(&lab, task, NOWAIT | Gfp::__GFP_THISNODE), Ok(0));
    assert_eq!(ask_in(&lab, task, Context::SoftIrq, Gfp::GFP_ATOMIC), Some(0));
    assert_eq!(ask_in(&lab, task, Context::Atomic, Gfp::GFP_ATOMIC), Some(1));
    let named = alloc_pages_node(&lab.memory, &lab.acting_as(task), Some(NODE[0]), NOWAIT, 0).unwrap();
    assert_eq!(node_of(&lab, named), 0);
    set(Mempolicy::Default);
    assert!(!lab.memory.has(Hook::Mempolicy) && row(&lab, task, 1) == [0]);
    lab.assert_sound();
}

#[test]
fn a_policy_is_about_usable_nodes() {
    let machine = board_2_nodes("");
    let lab = Lab::new(&machine);
    let task = lab.tasks().spawn("T", TaskKind::User).unwrap();
    set_mempolicy(&lab.memory, task, Mempolicy::Interleave(NodeMask(0b1110))).unwrap();
    assert_eq!(task.placement.policy(), Mempolicy::Interleave(ONLY[1]));
    let error = set_mempolicy(&lab.memory, task, Mempolicy::Preferred(NodeId(2))).unwrap_err();
    assert_eq!(error.to_string(), "the task may use nodes 0-1, none of 2");
    assert_eq!(task.placement.policy(), Mempolicy::Interleave(ONLY[1]));
    let child = lab.tasks().spawn_child(task, "C").unwrap();
    assert_eq!(child.placement.policy(), Mempolicy::Interleave(ONLY[1]));
}

/// Numbers of node 0 and of node 1 in each of the six counters.
fn counters(lab: &Lab<'_>) -> BTreeMap<&'static str, [u64; 2]> {
    let of = |stat| [0, 1].map(|node| lab.zone_on(node, ZoneType::Dma32).numa(stat));
    NumaStat::ALL.iter().map(|stat| (stat.name(), of(*stat))).filter(|(_, counts)| *counts != [0, 0]).collect()
}

#[test]
fn an_interleaved_page_is_a_hit_where_its_turn_is() {
    let machine = board_2_nodes("");
    let lab = Lab::new(&machine);
    let task = lab.tasks().spawn("T", TaskKind::User).unwrap();
    set_mempolicy(&lab.memory, task, Mempolicy::Interleave(BOTH)).unwrap();
    assert_eq!(row(&lab, task, 4), [0, 1, 0, 1]);
    let counted = [("numa_hit", [2, 2]), ("numa_interleave", [2, 2]), ("numa_local", [2, 0]), ("numa_other", [0, 2])];
    assert_eq!(counters(&lab), BTreeMap::from(counted));
    // Node 1 is out: its turns are misses on node 0, for which it was meant to be elsewhere.
    lab.zone_on(1, ZoneType::Dma32).set_watermarks([1 << 20; 3]);
    assert_eq!(row(&lab, task, 4), [0; 4]);
    let counted = [
        ("numa_hit", [4, 2]),
        ("numa_miss", [2, 0]),
        ("numa_foreign", [0, 2]),
        ("numa_interleave", [4, 2]),
        ("numa_local", [6, 0]),
        ("numa_other", [0, 2]),
    ];
    assert_eq!(counters(&lab), BTreeMap::from(counted));
    lab.memory.set_hook(Hook::NumaStatOff, true);
    row(&lab, task, 2);
    assert_eq!(counters(&lab)["numa_interleave"], [4, 2]);
}

#[test]
fn memory_of_a_task_is_interleaved_by_its_place() {
    let machine = board_2_nodes("");
    let lab = Lab::new(&machine);
    set_mempolicy(&lab.memory, lab.tasks().init(), Mempolicy::Interleave(BOTH)).unwrap();
    let current = lab.current();
    let vpns = [3, 1, 0, 5, 2];
    let of = |vpn| page_alloc::alloc_page_vma(&lab.memory, &current, Gfp::GFP_HIGHUSER_MOVABLE, vpn).unwrap();
    assert_eq!(vpns.map(|vpn| node_of(&lab, of(vpn))), [1, 1, 0, 1, 0]);
    assert_eq!(anon::populate(&lab.memory, &current, users(&lab), 10).pages, 10);
    assert_eq!(counters(&lab)["numa_interleave"], [7, 8]);
}

#[test]
fn a_binding_holds_to_the_end_and_a_preference_does_not() {
    let (machine, mut lab) = (board_2_nodes(""), None);
    let (lab, task) = low(&machine, &mut lab);
    let set = |policy| set_mempolicy(&lab.memory, task, policy).unwrap();
    set(Mempolicy::Preferred(NODE[0]));
    assert_eq!(ask(lab, task, NOWAIT), Ok(1));
    set(Mempolicy::Bind(ONLY[0]));
    assert!(ask(lab, task, NOWAIT).is_err());
    // S6: who cannot wait is the system rather than the user.
    assert_eq!(ask(lab, task, Gfp::GFP_ATOMIC), Ok(1));
    set(Mempolicy::Interleave(ONLY[0]));
    assert_eq!(ask(lab, task, NOWAIT), Ok(1));
    let near = |gfp| alloc_pages_node(&lab.memory, &lab.acting_as(task), Some(NODE[0]), gfp, 0);
    assert_eq!(near(NOWAIT).map(|pfn| node_of(lab, pfn)), Ok(1));
    assert!(near(NOWAIT | Gfp::__GFP_THISNODE).is_err());
}

#[test]
fn a_binding_is_about_the_highest_zone_only() {
    // Node 0 has DMA32 alone, node 1 NORMAL alone.
    let banks = [(0x4000_0000, 64 * MIB, 0), (0x1_0000_0000, 64 * MIB, 1)];
    let machine = HostMachine::new("", &banks, &[]);
    let lab = Lab::new(&machine);
    let task = lab.tasks().spawn("T", TaskKind::User).unwrap();
    set_mempolicy(&lab.memory, task, Mempolicy::Bind(ONLY[1])).unwrap();
    assert_eq!(ask(&lab, task, NOWAIT), Ok(1));
    assert_eq!(ask(&lab, task, NOWAIT | Gfp::__GFP_DMA32), Ok(0), "node 1 has no such memory");
}

#[test]
fn a_binding_that_the_cpuset_excludes_is_none() {
    let machine = board_2_nodes("");
    let lab = Lab::new(&machine);
    let (memory, task) = (&lab.memory, lab.tasks().spawn("T", TaskKind::User).unwrap());
    let set = cpuset::create(memory, "one", ONLY[1]).unwrap();
    set_mempolicy(memory, task, Mempolicy::Bind(ONLY[0])).unwrap();
    cpuset::attach(memory, set, task);
    // It was moved along; one that was not, for the change is just happening, is not obeyed.
    assert_eq!(task.placement.policy(), Mempolicy::Bind(ONLY[1]));
    task.placement.set_policy(Mempolicy::Bind(ONLY[0]));
    assert_eq!(ask(&lab, task, USER_NOWAIT), Ok(1));
}

/// The rows of `__cpuset_node_allowed`: who gets memory of node 1 although only node 0 is in the cpuset.
#[test]
fn who_may_leave_a_cpuset() {
    let (machine, mut lab) = (board_2_nodes(""), None);
    let (lab, task) = low(&machine, &mut lab);
    let set = cpuset::create(&lab.memory, "one", ONLY[0]).unwrap();
    cpuset::attach(&lab.memory, set, task);
    let (kernel, user) = (NOWAIT, USER_NOWAIT);
    assert_eq!((ask(lab, task, kernel), ask(lab, task, user).is_err()), (Ok(1), true));
    // A hardwall, or a cpuset of its own, keeps the kernel's memory in, too.
    cpuset::set_hardwall(&lab.memory, set, true).unwrap();
    assert!(ask(lab, task, kernel).is_err());
    cpuset::set_hardwall(&lab.memory, set, false).unwrap();
    cpuset::set_exclusive(&lab.memory, set, true).unwrap();
    assert!(ask(lab, task, kernel).is_err());
    // Who exits may leave unless the mask says otherwise, a victim and an interrupt may anyway.
    task.change_flags(TaskFlags::PF_EXITING, TaskFlags::empty());
    assert_eq!((ask(lab, task, kernel), ask(lab, task, user).is_err()), (Ok(1), true));
    task.change_flags(TaskFlags::empty(), TaskFlags::PF_EXITING);
    let in_softirq = |gfp| ask_in(lab, task, Context::SoftIrq, gfp);
    assert_eq!(in_softirq(user), Some(1));
    task.set_oom_victim(true);
    assert_eq!(ask(lab, task, user), Ok(1));
    task.set_oom_victim(false);
    // GFP_ATOMIC does not ask at all, nor do reserves.
    assert_eq!(ask(lab, task, Gfp::GFP_ATOMIC | Gfp::__GFP_HARDWALL), Ok(1));
    let _scope = task.scope(TaskFlags::PF_MEMALLOC);
    assert_eq!(ask(lab, task, user), Ok(1));
}

/// v5.0's first attempt confines even interrupts; they leave in the slow path.
#[test]
fn the_first_attempt_stays_in_the_cpuset() {
    let machine = board_2_nodes("");
    let lab = Lab::new(&machine);
    let task = lab.tasks().spawn("T", TaskKind::User).unwrap();
    let set = cpuset::create(&lab.memory, "one", ONLY[1]).unwrap();
    cpuset::attach(&lab.memory, set, task);
    assert_eq!(row(&lab, task, 2), [1, 1]);
    assert_eq!(ask_in(&lab, task, Context::HardIrq, Gfp::GFP_ATOMIC), Some(1));
    // A caller's nodemask is asked about zone by zone instead.
    let current = lab.acting_as(task);
    let events = lab.traced(|| alloc_pages_nodemask(&lab.memory, &current, USER_NOWAIT, 0, NODE[0], Some(BOTH)));
    assert_eq!(events[0], "zone_considered: node=0 zone=DMA32    order=0 verdict=cpuset");
    assert!(events[1].starts_with("zone_considered: node=1 zone=DMA32"), "{events:#?}");
}

#[test]
fn cpusets_are_made_changed_and_removed() {
    let machine = board_2_nodes("");
    let lab = Lab::new(&machine);
    let (memory, task) = (&lab.memory, lab.tasks().spawn("T", TaskKind::User).unwrap());
    let nodes = |mems| CpusetError::Nodes { mems: NodeMask(mems), usable: BOTH };
    assert_eq!(cpuset::create(memory, "a", NodeMask(0)), Err(nodes(0)));
    assert_eq!(cpuset::create(memory, "a", NodeMask(0b101)), Err(nodes(0b101)));
    for name in ["", "0123456789abcdef", "a b", "a/b"] {
        assert_eq!(cpuset::create(memory, name, BOTH), Err(CpusetError::Name), "{name}");
    }
    assert!(!memory.has(Hook::Cpusets));
    let a = cpuset::create(memory, "a", ONLY[0]).unwrap();
    assert!(memory.has(Hook::Cpusets));
    assert_eq!(cpuset::create(memory, "a", ONLY[0]), Err(CpusetError::NameTaken));
    let b = cpuset::create(memory, "b", ONLY[0]).unwrap();
    let a_name = memory.cpusets.get(a).name();
    assert_eq!(cpuset::set_exclusive(memory, b, true), Err(CpusetError::Exclusive(a_name)));
    cpuset::set_mems(memory, b, ONLY[1]).unwrap();
    cpuset::set_exclusive(memory, b, true).unwrap();
    let b_name = memory.cpusets.get(b).name();
    assert_eq!(cpuset::set_mems(memory, a, BOTH), Err(CpusetError::Exclusive(b_name)));
    cpuset::attach(memory, a, task);
    assert_eq!((task.mems_allowed(), cpuset::remove(memory, a)), (ONLY[0], Err(CpusetError::Busy(1))));
    cpuset::attach(memory, 0, task);
    assert_eq!((task.mems_allowed().and(BOTH), cpuset::remove(memory, a)), (BOTH, Ok(())));
    assert!(memory.has(Hook::Cpusets));
    cpuset::remove(memory, b).unwrap();
    assert!(!memory.has(Hook::Cpusets));
    for refused in [cpuset::remove(memory, 0), cpuset::set_mems(memory, 0, BOTH), cpuset::set_hardwall(memory, 0, true)]
    {
        assert_eq!(refused, Err(CpusetError::Root));
    }
    (1..8).for_each(|n| _ = cpuset::create(memory, &n.to_string(), BOTH).unwrap());
    assert_eq!(cpuset::create(memory, "one-more", BOTH), Err(CpusetError::Full));
}

/// S20, the nodemask: one that shares no node with the cpuset is dropped, once.
#[test]
fn a_nodemask_outside_the_cpuset_is_dropped() {
    let machine = board_2_nodes("");
    let lab = Lab::new(&machine);
    let task = lab.tasks().spawn("T", TaskKind::User).unwrap();
    let set = cpuset::create(&lab.memory, "one", ONLY[1]).unwrap();
    cpuset::attach(&lab.memory, set, task);
    let current = lab.acting_as(task);
    let ask = || alloc_pages_nodemask(&lab.memory, &current, USER_NOWAIT, 0, NODE[0], Some(ONLY[0]));
    let mut page = None;
    let events = lab.traced_only(&["slowpath_retry"], || page = ask().ok());
    assert_eq!(events, ["slowpath_retry: reason=nodemask_outside_cpuset"]);
    assert_eq!(page.map(|pfn| node_of(&lab, pfn)), Some(1));
    use_up(&lab, NODE[1]);
    assert!(ask().is_err(), "and then the request fails, and does not go round for ever");
}

/// The nodes of a task, of which it asks for `nodes`, change from 0 to `mems` while it waits in the throttle: the node of
/// its page, and why it began again, each time.
fn changed_while_it_waits(gfp: Gfp, nodes: Option<NodeMask>, mems: Option<NodeMask>) -> (Option<u8>, String) {
    let machine = board_2_nodes("");
    let lab = &Lab::without_pcp(&machine);
    // Pages that look as if they could be reclaimed: kswapd is worth waiting for.
    add_pinned(lab, 64);
    use_up(lab, NODE[0]);
    let task = lab.tasks().spawn("T", TaskKind::User).unwrap();
    lab.memory.oom.set_disabled(true);
    let set = cpuset::create(&lab.memory, "one", ONLY[0]).unwrap();
    cpuset::attach(&lab.memory, set, task);
    let page = std::sync::Mutex::new(None);
    let events = lab.traced_only(&["slowpath_retry"], || {
        beside(lab, &[], |scope| {
            lab.memory.env.threads().spawn(scope, || {
                let answer = alloc_pages_nodemask(&lab.memory, &lab.acting_as(task), gfp, 0, NODE[0], nodes);
                *page.lock().unwrap() = answer.ok().map(|pfn| node_of(lab, pfn));
            });
            sleep(lab, HZ / 10);
            mems.map_or(Ok(()), |mems| cpuset::set_mems(&lab.memory, set, mems)).unwrap();
            sleep(lab, 3 * HZ);
            lab.memory.env.threads().settle();
        });
    });
    let reasons = events.iter().filter_map(|event| event.strip_prefix("slowpath_retry: reason="));
    (page.into_inner().unwrap(), reasons.filter(|reason| reason.contains("cpuset")).collect())
}

/// S14 and S20, the cookie.
#[test]
fn who_fails_after_its_nodes_changed_begins_again() {
    let user = Gfp::GFP_NOFS | Gfp::__GFP_HARDWALL | Gfp::__GFP_NOWARN;
    let (once, mayfail) = (user | Gfp::__GFP_NORETRY, user | Gfp::__GFP_RETRY_MAYFAIL);
    let (changed, dropped) = ("cpuset_changed", "nodemask_outside_cpuset");
    let check = |gfp, nodes, mems, page, reason: &str| {
        assert_eq!(changed_while_it_waits(gfp, nodes, mems), (page, reason.to_owned()));
    };
    check(once, None, Some(BOTH), Some(1), changed);
    check(once, None, None, None, "");
    // Who goes round again anyway finds the new node without beginning again.
    check(mayfail, None, Some(BOTH), Some(1), "");
    // A nodemask keeps it from the new node, until the two share none.
    check(mayfail, Some(ONLY[0]), Some(BOTH), None, changed);
    check(mayfail, Some(ONLY[0]), Some(ONLY[1]), Some(1), dropped);
}

/// A process with `rss` pages.
fn process<'l>(lab: &'l Lab<'_>, comm: &str, rss: u64) -> &'l Task {
    let task = lab.tasks().spawn(comm, TaskKind::User).unwrap();
    task.mm.anon_rss.store(rss, core::sync::atomic::Ordering::Relaxed);
    task
}

/// What a request says before somebody dies of it.
fn run_out(lab: &Lab<'_>, task: &Task, nodes: Option<NodeMask>) -> String {
    let current = lab.acting_as(task);
    logged(|| {
        let _ = lab.memory.round_limit.swap(40, core::sync::atomic::Ordering::Relaxed);
        let _ = alloc_pages_nodemask(&lab.memory, &current, Gfp::GFP_USER, 0, NODE[0], nodes);
    })
}

fn who(log: &str) -> &str {
    log.split("Kill process ").nth(1).and_then(|rest| rest.split(" or ").next()).unwrap_or(log)
}

#[test]
fn a_bound_request_kills_whose_memory_may_help() {
    let (machine, mut lab) = (board_2_nodes(""), None);
    let (lab, task) = low(&machine, &mut lab);
    let elsewhere = process(lab, "elsewhere", 3000);
    let turns = process(lab, "turns", 1000);
    set_mempolicy(&lab.memory, elsewhere, Mempolicy::Bind(ONLY[1])).unwrap();
    set_mempolicy(&lab.memory, turns, Mempolicy::Interleave(BOTH)).unwrap();
    let log = run_out(lab, task, Some(ONLY[0]));
    // Measured by the pages of node 0: 1000 of 4096.
    assert_eq!(who(&log), "4 (turns) score 244", "{log}");
    assert!(log.contains(",nodemask=0,cpuset=/,mems_allowed=0-1,task=turns,"), "{log}");
    assert!(!log.contains("\nNode 1 DMA32"), "{log}");
}

#[test]
fn a_cpuset_that_ran_out_kills_within() {
    let (machine, mut lab) = (board_2_nodes(""), None);
    let (lab, task) = low(&machine, &mut lab);
    let (memory, outside, inside) = (&lab.memory, process(lab, "outside", 3000), process(lab, "inside", 1000));
    let one = cpuset::create(memory, "one", ONLY[0]).unwrap();
    let two = cpuset::create(memory, "two", ONLY[1]).unwrap();
    for (set, task) in [(one, task), (one, inside), (two, outside)] {
        cpuset::attach(memory, set, task);
    }
    let log = run_out(lab, task, None);
    assert_eq!(who(&log), "4 (inside) score 244", "{log}");
    assert!(log.contains(",nodemask=(null),cpuset=one,mems_allowed=0,task=inside,"), "{log}");
}

/// Only when no node could help is it worth stopping the machine; and with `__GFP_THISNODE` nobody dies.
#[test]
fn a_constrained_request_does_not_stop_the_machine() {
    let (machine, mut lab) = (board_2_nodes(""), None);
    let (lab, task) = low(&machine, &mut lab);
    process(lab, "V", 1000);
    lab.memory.sysctl.panic_on_oom.store(1, core::sync::atomic::Ordering::Relaxed);
    let near = Gfp::GFP_KERNEL | Gfp::__GFP_THISNODE | Gfp::__GFP_NOWARN;
    let log = logged(|| assert!(ask(lab, task, near).is_err()));
    assert!(!log.contains("oom-killer"), "{log}");
    let set = cpuset::create(&lab.memory, "one", ONLY[0]).unwrap();
    cpuset::attach(&lab.memory, set, task);
    let log = run_out(lab, task, None);
    assert_eq!(who(&log), "3 (V) score 244", "{log}");
    assert!(oom_kill::totalpages(&lab.memory) > 8000);
}

/// Each node has a kswapd of its own, and a request wakes those of its nodes only.
#[test]
fn only_the_daemons_of_a_request_hear_of_it() {
    let machine = board_2_nodes("");
    let lab = Lab::without_pcp(&machine);
    lab.memory.populated_zones().for_each(|zone| zone.set_watermarks([0, 1 << 20, 1 << 20]));
    let heard = |nodes| {
        lab.memory.online_nodes().for_each(|node| node.kswapd.set_classzone(None));
        alloc_pages_nodemask(&lab.memory, &lab.current(), NOWAIT, 0, NODE[0], nodes).unwrap();
        NODE.map(|node| lab.memory.node(node).kswapd.classzone().is_some())
    };
    assert_eq!(heard(Some(ONLY[1])), [false, true]);
    assert_eq!(heard(None), [true, true]);
}
