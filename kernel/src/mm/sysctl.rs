//! What a user may set while the machine runs: the values behind /proc/sys/vm.
//!
//! This is the storage; each value has the unit and the range that v5.0 gives it. Names, limits and what a write
//! recomputes are told by `crate::proc::sysctl`. Linux: `kernel/sysctl.c`, `vm_table`.

use crate::sync::atomic::{AtomicI32, AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::mmzone::{MAX_NR_ZONES, ZoneType};

/// The settings.
pub struct Sysctls {
    /// KiB that the Min watermarks of all zones share.
    pub min_free_kbytes: AtomicU64,
    /// What the user wrote there; -1 if nothing.
    pub user_min_free_kbytes: AtomicI64,
    /// Distance of the watermarks in 1/10,000 of a zone, 1 to 1000.
    pub watermark_scale_factor: AtomicU64,
    /// Limit of a boost in 1/10,000 of the High watermark; 0 switches boosting off.
    pub watermark_boost_factor: AtomicU64,
    /// For each zone index, the share of the zones above that is kept from their requests: one in so many pages.
    pub lowmem_reserve_ratio: [AtomicI32; MAX_NR_ZONES],
    /// Share of a zone that each CPU's lists may hold, one in so many pages; 0 for the default, else at least 8.
    pub percpu_pagelist_fraction: AtomicU64,
    /// How readily anonymous pages go to swap, against file pages: 0 to 100, 60 by default.
    pub swappiness: AtomicU64,
    /// Largest fragmentation index, in thousandths, at which a zone is held to lack memory, not order.
    pub extfrag_threshold: AtomicU64,
    /// Whether compaction moves pages that reclaim may not take.
    pub compact_unevictable_allowed: AtomicU64,
    /// Reclaim on the near node before trying the next: 1 reclaim, 2 write, 4 unmap.
    pub zone_reclaim_mode: AtomicU64,
    /// Per cent of a node's pages that must be unmapped page cache before it is reclaimed from first.
    pub min_unmapped_ratio: AtomicU64,
    /// Per cent of a node's pages that must be reclaimable slab before it is reclaimed from first.
    pub min_slab_ratio: AtomicU64,
    /// Whether NUMA hits and misses are counted.
    pub numa_stat: AtomicU64,
    /// Per cent of what could be dirty above which the flusher writes.
    pub dirty_background_ratio: AtomicU64,
    /// Per cent of what could be dirty above which writers wait.
    pub dirty_ratio: AtomicU64,
    /// Age from which the flusher writes dirty pages, in centiseconds.
    pub dirty_expire_centisecs: AtomicU64,
    /// How often the flusher looks for old dirty pages, in centiseconds; 0 for never.
    pub dirty_writeback_centisecs: AtomicU64,
    /// What was written to `drop_caches` last.
    pub drop_caches: AtomicU64,
    /// Whether the report of an OOM kill lists the tasks.
    pub oom_dump_tasks: AtomicU64,
    /// Whether the OOM killer kills who asks, instead of looking for a victim.
    pub oom_kill_allocating_task: AtomicU64,
    /// Whether the machine stops instead of killing: 1 unless only some nodes are short of memory, 2 always.
    pub panic_on_oom: AtomicU64,
    /// Seconds between two updates of the counters of Linux; ours are always exact.
    pub stat_interval: AtomicU64,
}

impl Sysctls {
    /// The defaults for the configured `zones`.
    pub fn new(zones: &[ZoneType]) -> Sysctls {
        Sysctls {
            min_free_kbytes: AtomicU64::new(1024),
            user_min_free_kbytes: AtomicI64::new(-1),
            watermark_scale_factor: AtomicU64::new(10),
            watermark_boost_factor: AtomicU64::new(15000),
            lowmem_reserve_ratio: core::array::from_fn(|index| {
                AtomicI32::new(match zones.get(index) {
                    Some(ZoneType::Dma | ZoneType::Dma32) => 256,
                    Some(ZoneType::Normal) => 32,
                    _ => 0,
                })
            }),
            percpu_pagelist_fraction: AtomicU64::new(0),
            swappiness: AtomicU64::new(60),
            extfrag_threshold: AtomicU64::new(500),
            compact_unevictable_allowed: AtomicU64::new(1),
            zone_reclaim_mode: AtomicU64::new(0),
            min_unmapped_ratio: AtomicU64::new(1),
            min_slab_ratio: AtomicU64::new(5),
            numa_stat: AtomicU64::new(1),
            dirty_background_ratio: AtomicU64::new(10),
            dirty_ratio: AtomicU64::new(20),
            dirty_expire_centisecs: AtomicU64::new(3000),
            dirty_writeback_centisecs: AtomicU64::new(500),
            drop_caches: AtomicU64::new(0),
            oom_dump_tasks: AtomicU64::new(1),
            oom_kill_allocating_task: AtomicU64::new(0),
            panic_on_oom: AtomicU64::new(0),
            stat_interval: AtomicU64::new(1),
        }
    }

    /// The ratios as numbers, by zone index.
    pub fn lowmem_ratios(&self) -> [i32; MAX_NR_ZONES] {
        core::array::from_fn(|index| self.lowmem_reserve_ratio[index].load(Relaxed))
    }
}
