//! The settings, a row each: what they are called, what they may be, where they are stored, and what a write recomputes.
//!
//! How a row is read and written is told by [`super`]. Linux: `vm_table` of `kernel/sysctl.c`.

use super::{Action, INT_MAX, Limits, Recompute, Store, Sysctl};
use crate::mm::sysctl::Sysctls;
use crate::sync::atomic::AtomicU64;

const fn number(
    name: &'static str,
    limits: Limits,
    field: fn(&Sysctls) -> &AtomicU64,
    recompute: Recompute,
    about: &'static str,
) -> Sysctl {
    Sysctl { name, about, limits, store: Store::Number(field), recompute }
}

/// Every setting by name.
#[doc(alias = "vm_table")]
pub const SYSCTLS: &[Sysctl] = &[
    Sysctl {
        name: "compact_memory",
        about: "write 1 to compact all memory; cannot be read",
        limits: Limits::Range(0, INT_MAX),
        store: Store::Action(Action::CompactMemory),
        recompute: Recompute::Nothing,
    },
    number(
        "compact_unevictable_allowed",
        Limits::Range(0, 1),
        |values| &values.compact_unevictable_allowed,
        Recompute::Nothing,
        "whether compaction moves pages locked into memory",
    ),
    number(
        "dirty_background_ratio",
        Limits::Range(0, 100),
        |values| &values.dirty_background_ratio,
        Recompute::Nothing,
        "% of memory that may be dirty before it is written",
    ),
    number(
        "dirty_expire_centisecs",
        Limits::Range(0, INT_MAX),
        |values| &values.dirty_expire_centisecs,
        Recompute::Nothing,
        "age at which dirty pages are written, 1/100 s",
    ),
    number(
        "dirty_ratio",
        Limits::Range(0, 100),
        |values| &values.dirty_ratio,
        Recompute::Nothing,
        "% of memory that may be dirty before writers wait",
    ),
    number(
        "dirty_writeback_centisecs",
        Limits::Range(0, INT_MAX),
        |values| &values.dirty_writeback_centisecs,
        Recompute::Flusher,
        "how often old dirty pages are looked for, 1/100 s",
    ),
    number(
        "drop_caches",
        Limits::Range(1, 4),
        |values| &values.drop_caches,
        Recompute::DropCaches,
        "drops, as written: 1 file pages, 2 slab, 3 both",
    ),
    number(
        "extfrag_threshold",
        Limits::Range(0, 1000),
        |values| &values.extfrag_threshold,
        Recompute::Nothing,
        "fragmentation index above which a zone is compacted",
    ),
    Sysctl {
        name: "lowmem_reserve_ratio",
        about: "what a zone keeps from those that could go higher",
        limits: Limits::Ratios,
        store: Store::Ratios,
        recompute: Recompute::Nothing,
    },
    number(
        "min_free_kbytes",
        Limits::Range(0, INT_MAX),
        |values| &values.min_free_kbytes,
        Recompute::MinFree,
        "KiB that the min watermarks of all zones share",
    ),
    number(
        "min_slab_ratio",
        Limits::Range(0, 100),
        |values| &values.min_slab_ratio,
        Recompute::Nothing,
        "% of slab in a node above which it reclaims slab",
    ),
    number(
        "min_unmapped_ratio",
        Limits::Range(0, 100),
        |values| &values.min_unmapped_ratio,
        Recompute::Nothing,
        "% of unmapped cache above which a node reclaims",
    ),
    number(
        "numa_stat",
        Limits::Range(0, 1),
        |values| &values.numa_stat,
        Recompute::NumaCounters,
        "whether NUMA hits and misses are counted",
    ),
    Sysctl {
        name: "numa_zonelist_order",
        about: "always Node: the zones of the nearest node first",
        limits: Limits::Word("dn"),
        store: Store::Fixed("Node"),
        recompute: Recompute::Nothing,
    },
    number(
        "oom_dump_tasks",
        Limits::Range(0, INT_MAX),
        |values| &values.oom_dump_tasks,
        Recompute::Nothing,
        "whether the report of an OOM kill lists the tasks",
    ),
    number(
        "oom_kill_allocating_task",
        Limits::Range(0, INT_MAX),
        |values| &values.oom_kill_allocating_task,
        Recompute::Nothing,
        "whether the OOM killer kills who asks for memory",
    ),
    number(
        "panic_on_oom",
        Limits::Range(0, 2),
        |values| &values.panic_on_oom,
        Recompute::Nothing,
        "stop instead of killing: 1, even in a cpuset: 2",
    ),
    number(
        "percpu_pagelist_fraction",
        Limits::ZeroOr(8),
        |values| &values.percpu_pagelist_fraction,
        Recompute::Pagesets,
        "1/N of a zone may wait on a CPU's lists; 0: default",
    ),
    number(
        "stat_interval",
        Limits::Range(0, INT_MAX),
        |values| &values.stat_interval,
        Recompute::Nothing,
        "seconds between counter updates; ours are exact",
    ),
    number(
        "swappiness",
        Limits::Range(0, 100),
        |values| &values.swappiness,
        Recompute::Nothing,
        "how readily anonymous pages go to swap; 0: hardly",
    ),
    number(
        "watermark_boost_factor",
        Limits::Range(0, INT_MAX),
        |values| &values.watermark_boost_factor,
        Recompute::Nothing,
        "limit of a boost, 1/10000 of High; 0 for none",
    ),
    number(
        "watermark_scale_factor",
        Limits::Range(1, 1000),
        |values| &values.watermark_scale_factor,
        Recompute::Watermarks,
        "distance of the watermarks, 1/10000 of the zone",
    ),
    number(
        "zone_reclaim_mode",
        Limits::Range(0, INT_MAX),
        |values| &values.zone_reclaim_mode,
        Recompute::NodeReclaim,
        "reclaim before the next node: 1, 2 write, 4 unmap",
    ),
];
