//! The counters of /proc/vmstat: their names, their order, and the per-CPU event counters.
//!
//! Each family is an enum whose discriminant is an array index: [`ZoneStat`], [`NumaStat`], [`NodeStat`],
//! [`WritebackStat`], [`VmEvent`], and [`ZoneEvent`] for the events that are counted per configured zone. [`VmStat::all`]
//! walks them in the order of the file. [`EventCounters`] is what one CPU counts. Neighbours: zones and nodes hold their
//! counters as arrays indexed by these enums; `proc` prints them.
//!
//! The list is that of v5.0 on arm64 with NUMA, compaction and swap. Linux does more: builds with NUMA balancing, huge
//! pages or a balloon list those features' events (`numa_pte_updates`, `htlb_*`, `thp_*`, `balloon_*`); none exists here.

use crate::sync::atomic::{AtomicU64, Ordering};
use core::fmt;

use crate::mmzone::{MAX_NR_ZONES, ZoneType};

/// Declares a family of counters: variants in the order of the file, each with its name.
macro_rules! counters {
    ($(#[$doc:meta])* $family:ident { $($counter:ident $name:literal)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum $family {
            $(#[doc = concat!("`", $name, "`")] $counter,)*
        }

        impl $family {
            /// Every counter in the order of the file.
            pub const ALL: &[$family] = &[$($family::$counter),*];
            /// Number of counters.
            pub const COUNT: usize = $family::ALL.len();

            /// The name in /proc/vmstat.
            pub const fn name(self) -> &'static str {
                match self {
                    $($family::$counter => $name,)*
                }
            }

            /// The counter's place in an array of `COUNT`.
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

counters! {
    /// Counters of a zone, in pages (`nr_kernel_stack` in KiB). Linux: `enum zone_stat_item`.
    #[doc(alias = "zone_stat_item")]
    ZoneStat {
        NrFreePages "nr_free_pages"
        NrZoneInactiveAnon "nr_zone_inactive_anon"
        NrZoneActiveAnon "nr_zone_active_anon"
        NrZoneInactiveFile "nr_zone_inactive_file"
        NrZoneActiveFile "nr_zone_active_file"
        NrZoneUnevictable "nr_zone_unevictable"
        NrZoneWritePending "nr_zone_write_pending"
        NrMlock "nr_mlock"
        NrPageTablePages "nr_page_table_pages"
        NrKernelStack "nr_kernel_stack"
        NrBounce "nr_bounce"
        NrFreeCma "nr_free_cma"
    }
}

counters! {
    /// Where the pages of a zone went, in requests. Linux: `enum numa_stat_item`.
    #[doc(alias = "numa_stat_item")]
    NumaStat {
        NumaHit "numa_hit"
        NumaMiss "numa_miss"
        NumaForeign "numa_foreign"
        NumaInterleave "numa_interleave"
        NumaLocal "numa_local"
        NumaOther "numa_other"
    }
}

counters! {
    /// Counters of a node, in pages. Linux: `enum node_stat_item`.
    #[doc(alias = "node_stat_item")]
    NodeStat {
        NrInactiveAnon "nr_inactive_anon"
        NrActiveAnon "nr_active_anon"
        NrInactiveFile "nr_inactive_file"
        NrActiveFile "nr_active_file"
        NrUnevictable "nr_unevictable"
        NrSlabReclaimable "nr_slab_reclaimable"
        NrSlabUnreclaimable "nr_slab_unreclaimable"
        NrIsolatedAnon "nr_isolated_anon"
        NrIsolatedFile "nr_isolated_file"
        WorkingsetNodes "workingset_nodes"
        WorkingsetRefault "workingset_refault"
        WorkingsetActivate "workingset_activate"
        WorkingsetRestore "workingset_restore"
        WorkingsetNodereclaim "workingset_nodereclaim"
        NrAnonPages "nr_anon_pages"
        NrMapped "nr_mapped"
        NrFilePages "nr_file_pages"
        NrDirty "nr_dirty"
        NrWriteback "nr_writeback"
        NrWritebackTemp "nr_writeback_temp"
        NrShmem "nr_shmem"
        NrShmemHugepages "nr_shmem_hugepages"
        NrShmemPmdmapped "nr_shmem_pmdmapped"
        NrAnonTransparentHugepages "nr_anon_transparent_hugepages"
        NrUnstable "nr_unstable"
        NrVmscanWrite "nr_vmscan_write"
        NrVmscanImmediateReclaim "nr_vmscan_immediate_reclaim"
        NrDirtied "nr_dirtied"
        NrWritten "nr_written"
        NrKernelMiscReclaimable "nr_kernel_misc_reclaimable"
    }
}

counters! {
    /// Limits of the page cache, in pages. Linux: `enum writeback_stat_item`.
    #[doc(alias = "writeback_stat_item")]
    WritebackStat {
        NrDirtyThreshold "nr_dirty_threshold"
        NrDirtyBackgroundThreshold "nr_dirty_background_threshold"
    }
}

counters! {
    /// Events of the whole machine; each only grows. Linux: `enum vm_event_item`, without the ones per zone.
    #[doc(alias = "vm_event_item")]
    VmEvent {
        Pgpgin "pgpgin"
        Pgpgout "pgpgout"
        Pswpin "pswpin"
        Pswpout "pswpout"
        Pgfree "pgfree"
        Pgactivate "pgactivate"
        Pgdeactivate "pgdeactivate"
        Pglazyfree "pglazyfree"
        Pgfault "pgfault"
        Pgmajfault "pgmajfault"
        Pglazyfreed "pglazyfreed"
        Pgrefill "pgrefill"
        PgstealKswapd "pgsteal_kswapd"
        PgstealDirect "pgsteal_direct"
        PgscanKswapd "pgscan_kswapd"
        PgscanDirect "pgscan_direct"
        PgscanDirectThrottle "pgscan_direct_throttle"
        ZoneReclaimFailed "zone_reclaim_failed"
        Pginodesteal "pginodesteal"
        SlabsScanned "slabs_scanned"
        KswapdInodesteal "kswapd_inodesteal"
        KswapdLowWmarkHitQuickly "kswapd_low_wmark_hit_quickly"
        KswapdHighWmarkHitQuickly "kswapd_high_wmark_hit_quickly"
        Pageoutrun "pageoutrun"
        Pgrotated "pgrotated"
        DropPagecache "drop_pagecache"
        DropSlab "drop_slab"
        OomKill "oom_kill"
        PgmigrateSuccess "pgmigrate_success"
        PgmigrateFail "pgmigrate_fail"
        CompactMigrateScanned "compact_migrate_scanned"
        CompactFreeScanned "compact_free_scanned"
        CompactIsolated "compact_isolated"
        CompactStall "compact_stall"
        CompactFail "compact_fail"
        CompactSuccess "compact_success"
        CompactDaemonWake "compact_daemon_wake"
        CompactDaemonMigrateScanned "compact_daemon_migrate_scanned"
        CompactDaemonFreeScanned "compact_daemon_free_scanned"
        UnevictablePgsCulled "unevictable_pgs_culled"
        UnevictablePgsScanned "unevictable_pgs_scanned"
        UnevictablePgsRescued "unevictable_pgs_rescued"
        UnevictablePgsMlocked "unevictable_pgs_mlocked"
        UnevictablePgsMunlocked "unevictable_pgs_munlocked"
        UnevictablePgsCleared "unevictable_pgs_cleared"
        UnevictablePgsStranded "unevictable_pgs_stranded"
        SwapRa "swap_ra"
        SwapRaHit "swap_ra_hit"
    }
}

counters! {
    /// Events counted for each configured zone; the zone's suffix follows the name.
    ZoneEvent {
        Pgalloc "pgalloc"
        Allocstall "allocstall"
        Pgskip "pgskip"
    }
}

counters! {
    /// Events that Linux does not count; printed apart from its own.
    LabEvent {
        AllocFail "uk_alloc_fail"
        Slowpath "uk_slowpath"
        Retry "uk_retry"
        NowmarkAlloc "uk_nowmark_alloc"
        WarnOnce "uk_warn_once"
        SchedWhileAtomic "uk_sched_while_atomic"
        PcLost "uk_pc_lost"
        PcCorrupt "uk_pc_corrupt"
        PcIoError "uk_pc_io_error"
    }
}

/// A line of /proc/vmstat. `Display` is its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VmStat {
    /// Summed over all zones.
    Zone(ZoneStat),
    /// Summed over all zones and CPUs.
    Numa(NumaStat),
    /// Summed over all nodes.
    Node(NodeStat),
    /// A limit of the page cache.
    Writeback(WritebackStat),
    /// Summed over all CPUs.
    Event(VmEvent),
    /// Summed over all CPUs, for the zones of this index and type.
    ZoneEvent(ZoneEvent, usize, ZoneType),
}

impl VmStat {
    /// The lines of /proc/vmstat, for the configured `zones`.
    pub fn all(zones: &[ZoneType]) -> impl Iterator<Item = VmStat> {
        let (first, last) = VmEvent::ALL.split_at(VmEvent::Pgfree.index());
        let of_zones = ZoneEvent::ALL
            .iter()
            .flat_map(|event| zones.iter().enumerate().map(|(index, zone)| VmStat::ZoneEvent(*event, index, *zone)));
        let counters = ZoneStat::ALL.iter().map(|stat| VmStat::Zone(*stat));
        counters
            .chain(NumaStat::ALL.iter().map(|stat| VmStat::Numa(*stat)))
            .chain(NodeStat::ALL.iter().map(|stat| VmStat::Node(*stat)))
            .chain(WritebackStat::ALL.iter().map(|stat| VmStat::Writeback(*stat)))
            .chain(first.iter().map(|event| VmStat::Event(*event)))
            .chain(of_zones)
            .chain(last.iter().map(|event| VmStat::Event(*event)))
    }
}

impl fmt::Display for VmStat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VmStat::Zone(stat) => f.write_str(stat.name()),
            VmStat::Numa(stat) => f.write_str(stat.name()),
            VmStat::Node(stat) => f.write_str(stat.name()),
            VmStat::Writeback(stat) => f.write_str(stat.name()),
            VmStat::Event(event) => f.write_str(event.name()),
            VmStat::ZoneEvent(event, _, zone) => write!(f, "{}_{}", event.name(), zone.suffix()),
        }
    }
}

/// The events that one CPU has counted.
///
/// Only the CPU that owns them adds, with interrupts masked, so adding needs no atomic read-modify-write; anyone may
/// read. A sum over CPUs is exact when they are quiet, as in Linux.
#[derive(Debug)]
pub struct EventCounters {
    events: [AtomicU64; VmEvent::COUNT],
    of_zones: [[AtomicU64; MAX_NR_ZONES]; ZoneEvent::COUNT],
    lab: [AtomicU64; LabEvent::COUNT],
}

impl EventCounters {
    /// All zero.
    pub const fn new() -> EventCounters {
        EventCounters {
            events: [const { AtomicU64::new(0) }; VmEvent::COUNT],
            of_zones: [const { [const { AtomicU64::new(0) }; MAX_NR_ZONES] }; ZoneEvent::COUNT],
            lab: [const { AtomicU64::new(0) }; LabEvent::COUNT],
        }
    }

    /// Counts `n` more of `event`. The caller runs on the owning CPU with interrupts masked.
    #[doc(alias = "__count_vm_events")]
    #[inline]
    pub fn add(&self, event: VmEvent, n: u64) {
        bump(&self.events[event.index()], n);
    }

    /// Counts `n` more of `event` for the zones of index `zone`. The caller runs on the owning CPU with interrupts
    /// masked.
    #[doc(alias = "__count_zid_vm_events")]
    #[inline]
    pub fn add_zone(&self, event: ZoneEvent, zone: usize, n: u64) {
        bump(&self.of_zones[event.index()][zone], n);
    }

    /// Counts `n` more of an event that Linux does not count. The caller runs on the owning CPU with interrupts masked.
    #[inline]
    pub fn add_lab(&self, event: LabEvent, n: u64) {
        bump(&self.lab[event.index()], n);
    }

    /// How many of an event that Linux does not count this CPU has counted.
    pub fn get_lab(&self, event: LabEvent) -> u64 {
        self.lab[event.index()].load(Ordering::Relaxed)
    }

    /// How many of `event` this CPU has counted.
    pub fn get(&self, event: VmEvent) -> u64 {
        self.events[event.index()].load(Ordering::Relaxed)
    }

    /// How many of `event` this CPU has counted for the zones of index `zone`.
    pub fn get_zone(&self, event: ZoneEvent, zone: usize) -> u64 {
        self.of_zones[event.index()][zone].load(Ordering::Relaxed)
    }
}

impl Default for EventCounters {
    fn default() -> EventCounters {
        EventCounters::new()
    }
}

#[inline]
fn bump(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

/// What a counter says that several CPUs change: one may have taken off what another is still about to add.
///
/// Linux: the end of `zone_page_state` and `node_page_state`.
pub(crate) fn at_least_0(count: u64) -> u64 {
    if count as i64 >= 0 { count } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mmzone::Profile;

    /// The names that Linux v5.0 prints on the reference machine, in its order.
    const ARM64_V5_0: &str = "
        nr_free_pages nr_zone_inactive_anon nr_zone_active_anon nr_zone_inactive_file nr_zone_active_file
        nr_zone_unevictable nr_zone_write_pending nr_mlock nr_page_table_pages nr_kernel_stack nr_bounce nr_free_cma
        numa_hit numa_miss numa_foreign numa_interleave numa_local numa_other
        nr_inactive_anon nr_active_anon nr_inactive_file nr_active_file nr_unevictable nr_slab_reclaimable
        nr_slab_unreclaimable nr_isolated_anon nr_isolated_file workingset_nodes workingset_refault
        workingset_activate workingset_restore workingset_nodereclaim nr_anon_pages nr_mapped nr_file_pages nr_dirty
        nr_writeback nr_writeback_temp nr_shmem nr_shmem_hugepages nr_shmem_pmdmapped nr_anon_transparent_hugepages
        nr_unstable nr_vmscan_write nr_vmscan_immediate_reclaim nr_dirtied nr_written nr_kernel_misc_reclaimable
        nr_dirty_threshold nr_dirty_background_threshold
        pgpgin pgpgout pswpin pswpout
        pgalloc_dma32 pgalloc_normal pgalloc_movable allocstall_dma32 allocstall_normal allocstall_movable
        pgskip_dma32 pgskip_normal pgskip_movable
        pgfree pgactivate pgdeactivate pglazyfree pgfault pgmajfault pglazyfreed pgrefill pgsteal_kswapd
        pgsteal_direct pgscan_kswapd pgscan_direct pgscan_direct_throttle zone_reclaim_failed pginodesteal
        slabs_scanned kswapd_inodesteal kswapd_low_wmark_hit_quickly kswapd_high_wmark_hit_quickly pageoutrun
        pgrotated drop_pagecache drop_slab oom_kill pgmigrate_success pgmigrate_fail compact_migrate_scanned
        compact_free_scanned compact_isolated compact_stall compact_fail compact_success compact_daemon_wake
        compact_daemon_migrate_scanned compact_daemon_free_scanned unevictable_pgs_culled unevictable_pgs_scanned
        unevictable_pgs_rescued unevictable_pgs_mlocked unevictable_pgs_munlocked unevictable_pgs_cleared
        unevictable_pgs_stranded swap_ra swap_ra_hit";

    #[test]
    fn names_stand_in_the_order_of_v5_0() {
        let ours: Vec<String> = VmStat::all(Profile::Arm64V50.zones(false)).map(|stat| stat.to_string()).collect();
        let linux: Vec<&str> = ARM64_V5_0.split_whitespace().collect();
        assert_eq!(ours, linux);
    }

    #[test]
    fn zone_events_follow_the_configured_zones() {
        let names = |profile: Profile| {
            let of_zones = VmStat::all(profile.zones(false)).filter(|stat| matches!(stat, VmStat::ZoneEvent(..)));
            of_zones.map(|stat| stat.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            names(Profile::X86_32),
            "pgalloc_dma pgalloc_normal pgalloc_high pgalloc_movable \
             allocstall_dma allocstall_normal allocstall_high allocstall_movable \
             pgskip_dma pgskip_normal pgskip_high pgskip_movable"
        );
    }

    #[test]
    fn counters_keep_apart() {
        let counters = EventCounters::new();
        counters.add(VmEvent::Pgfree, 8);
        counters.add(VmEvent::Pgfree, 1);
        counters.add(VmEvent::SwapRaHit, 3);
        counters.add_zone(ZoneEvent::Pgskip, MAX_NR_ZONES - 1, 5);
        assert_eq!((counters.get(VmEvent::Pgfree), counters.get(VmEvent::Pgactivate)), (9, 0));
        assert_eq!(counters.get(VmEvent::SwapRaHit), 3);
        assert_eq!(counters.get_zone(ZoneEvent::Pgskip, MAX_NR_ZONES - 1), 5);
        assert_eq!(counters.get_zone(ZoneEvent::Pgskip, 0), 0);
    }
}
