//! What is printed when memory runs out.

use super::*;
use crate::mm::slab;
use crate::vmstat::NodeStat;

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
fn the_report_tells_swap_slab_and_the_machine() {
    let machine = machine();
    let memory = machine.memory_with(anon::env(SWAP));
    let current = Current::new(memory.env.tasks().init());
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
