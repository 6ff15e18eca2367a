//! What is printed before somebody dies: who asked, all memory, all tasks, and whom it hits.
//!
//! Linux: `dump_header`, `dump_tasks`, `dump_oom_summary`, `dump_unreclaimable_slab`.

use crate::sync::atomic::Ordering::Relaxed;

use super::{OomControl, is_unkillable};
use crate::mm::kmem_cache::CacheFlags;
use crate::mm::memory::{Env, Memory};
use crate::mm::slabinfo::{SlabInfo, slabinfo};
use crate::mm::warn;
use crate::mm::warn_alloc::{allowed, cpuset, nodemask};
use crate::show_mem::ShowMem;
use crate::task::{Current, Task};
use crate::vmstat::NodeStat;

/// Prints everything that led to the kill of `chosen`, or to a panic.
pub(super) fn dump_header<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    oc: &OomControl<'_>,
    chosen: Option<&Task>,
) {
    log::warn!(
        "{} invoked oom-killer: gfp_mask={}, order={}, oom_score_adj={}",
        current.task.comm(),
        oc.gfp.mode(),
        oc.order,
        current.task.oom_score_adj()
    );
    warn::dump_stack(memory, current);
    ShowMem { memory, nodes: allowed(current, oc.nodemask), cpu: memory.cpu() }.log();
    if slab_outweighs_lru(memory) {
        dump_slabs(memory);
    }
    if memory.sysctl.oom_dump_tasks.load(Relaxed) != 0 {
        dump_tasks(memory, current, oc);
    }
    if let Some(task) = chosen {
        // v5.0 never stores the constraint that it found where this line takes it from.
        log::info!(
            "oom-kill:constraint=CONSTRAINT_NONE,nodemask={}{},task={},pid={},uid={}",
            nodemask(oc.nodemask),
            cpuset(memory, current),
            task.comm(),
            task.pid(),
            task.uid()
        );
    }
}

/// Whether the kernel itself holds more than it could reclaim. Linux: `is_dump_unreclaim_slabs`.
fn slab_outweighs_lru<E: Env>(memory: &Memory<'_, E>) -> bool {
    use NodeStat::{
        NrActiveAnon, NrActiveFile, NrInactiveAnon, NrInactiveFile, NrIsolatedAnon, NrIsolatedFile, NrUnevictable,
    };
    let sum = |stats: &[NodeStat]| -> u64 {
        memory.online_nodes().flat_map(|node| stats.iter().map(|stat| node.stat(*stat))).sum()
    };
    let lists = [NrActiveAnon, NrInactiveAnon, NrActiveFile, NrInactiveFile, NrUnevictable];
    sum(&[NodeStat::NrSlabUnreclaimable]) > sum(&lists) + sum(&[NrIsolatedAnon, NrIsolatedFile])
}

/// Lists the slab caches that have objects and cannot be reclaimed, newest first. Linux: `dump_unreclaimable_slab`.
fn dump_slabs<E: Env>(memory: &Memory<'_, E>) {
    log::info!("Unreclaimable slab info:");
    log::info!("Name                      Used          Total");
    for cache in memory.slabs.iter().filter(|cache| !cache.layout().flags.contains(CacheFlags::RECLAIM_ACCOUNT)) {
        let SlabInfo { active_objs, num_objs, layout, .. } = slabinfo(memory, cache);
        let kib = |objects: u64| objects * u64::from(layout.size) / 1024;
        if num_objs > 0 {
            log::info!("{:<17} {:10}KB {:10}KB", cache.name(), kib(active_objs), kib(num_objs));
        }
    }
}

/// Lists the tasks that might be killed.
fn dump_tasks<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, oc: &OomControl<'_>) {
    log::info!("Tasks state (memory values in pages):");
    log::info!("[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name");
    let tasks = memory.env.tasks().by_age();
    for task in tasks.filter(|task| task.has_mm() && !is_unkillable(current, task, oc.nodemask)) {
        log::info!(
            "[{:7}] {:5} {:5} {:8} {:8} {:8} {:8}         {:5} {}",
            task.pid(),
            task.uid(),
            task.tgid(),
            task.mm.total_vm.load(Relaxed),
            task.mm.rss(),
            task.mm.pgtables_bytes.load(Relaxed),
            task.mm.swapents.load(Relaxed),
            task.oom_score_adj(),
            task.comm()
        );
    }
}
