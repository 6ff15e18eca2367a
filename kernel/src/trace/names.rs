//! Every event by name, in groups, and sets of them.
//!
//! [`GROUPS`] is the one table: the shell reads, completes and lists names by it, and an [`EventSet`] is a bit for each of
//! its rows. A group has the name of the header that defines it in Linux; our own groups have their file's.
//!
//! Linux does more: `/sys/kernel/debug/tracing/events`, with a filter expression and a trigger for each event.

use super::Event;

/// Events that belong together.
#[derive(Debug)]
pub struct Group {
    /// The group's name.
    pub name: &'static str,
    /// Its events.
    pub events: &'static [&'static str],
}

/// Every event.
pub const GROUPS: &[Group] = &[
    Group {
        name: "kmem",
        events: &[
            "mm_page_alloc",
            "mm_page_free",
            "mm_page_free_batched",
            "mm_page_alloc_zone_locked",
            "mm_page_pcpu_drain",
            "mm_page_alloc_extfrag",
            "kmalloc",
            "kmalloc_node",
            "kmem_cache_alloc",
            "kmem_cache_alloc_node",
            "kfree",
            "kmem_cache_free",
        ],
    },
    Group {
        name: "vmscan",
        events: &[
            "mm_vmscan_kswapd_sleep",
            "mm_vmscan_kswapd_wake",
            "mm_vmscan_wakeup_kswapd",
            "mm_vmscan_direct_reclaim_begin",
            "mm_vmscan_direct_reclaim_end",
            "mm_shrink_slab_start",
            "mm_shrink_slab_end",
            "mm_vmscan_lru_isolate",
            "mm_vmscan_writepage",
            "mm_vmscan_lru_shrink_inactive",
            "mm_vmscan_lru_shrink_active",
            "mm_vmscan_inactive_list_is_low",
        ],
    },
    Group {
        name: "compaction",
        events: &[
            "mm_compaction_isolate_migratepages",
            "mm_compaction_isolate_freepages",
            "mm_compaction_migratepages",
            "mm_compaction_begin",
            "mm_compaction_end",
            "mm_compaction_try_to_compact_pages",
            "mm_compaction_finished",
            "mm_compaction_suitable",
            "mm_compaction_deferred",
            "mm_compaction_defer_compaction",
            "mm_compaction_defer_reset",
            "mm_compaction_kcompactd_sleep",
            "mm_compaction_wakeup_kcompactd",
            "mm_compaction_kcompactd_wake",
        ],
    },
    Group { name: "migrate", events: &["mm_migrate_pages"] },
    Group {
        name: "oom",
        events: &[
            "reclaim_retry_zone",
            "compact_retry",
            "mark_victim",
            "wake_reaper",
            "start_task_reaping",
            "finish_task_reaping",
            "skip_task_reaping",
            "oom_score_adj_update",
        ],
    },
    Group { name: "pagemap", events: &["mm_lru_insertion", "mm_lru_activate"] },
    Group { name: "writeback", events: &["writeback_congestion_wait", "writeback_wait_iff_congested"] },
    Group {
        name: "decision",
        events: &[
            "request_decoded",
            "zone_considered",
            "zone_tried",
            "pcp_refill",
            "block_split",
            "block_merged",
            "pageblock_retyped",
            "watermark_boosted",
        ],
    },
    Group { name: "numa", events: &["policy_asked", "cpuset_narrowed", "nodemask_dropped", "node_reclaimed"] },
    Group {
        name: "slowpath",
        events: &[
            "slowpath_entered",
            "alloc_flags_chosen",
            "reserves_checked",
            "compaction_skipped",
            "zone_not_compacted",
            "slowpath_retry",
            "slowpath_refused",
            "oom_excluded",
            "oom_without_kill",
            "throttle_begin",
            "throttle_end",
            "kswapd_zone_checked",
            "kswapd_node_checked",
        ],
    },
];

/// Every event's name, in the order of the table.
fn names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().flat_map(|group| group.events.iter().copied())
}

/// Some of the events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventSet(pub(super) u128);

impl EventSet {
    /// None.
    pub const NONE: EventSet = EventSet(0);
    /// All.
    pub const ALL: EventSet = EventSet(u128::MAX);

    /// The event called `name`, or all of the group called that; `None` when nothing is.
    pub fn named(name: &str) -> Option<EventSet> {
        let (mut set, mut bit) = (0, 1);
        for group in GROUPS {
            for event in group.events {
                set |= if group.name == name || *event == name { bit } else { 0 };
                bit <<= 1;
            }
        }
        (set != 0).then_some(EventSet(set))
    }

    /// Whether `event` is one of them.
    pub fn contains(self, event: Event) -> bool {
        self == EventSet::ALL || names().position(|name| name == event.name()).is_some_and(|bit| self.0 >> bit & 1 != 0)
    }

    /// These, and those of `other`.
    #[must_use]
    pub const fn with(self, other: EventSet) -> EventSet {
        EventSet(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Order, Pfn};
    use crate::trace::Kmem;

    /// The names that the sources of the groups give to their events.
    fn named_in_sources() -> Vec<&'static str> {
        let sources = [
            include_str!("kmem.rs"),
            include_str!("vmscan.rs"),
            include_str!("compaction.rs"),
            include_str!("migrate.rs"),
            include_str!("oom.rs"),
            include_str!("pagemap.rs"),
            include_str!("writeback.rs"),
            include_str!("decision.rs"),
            include_str!("numa.rs"),
            include_str!("slowpath.rs"),
        ];
        let functions =
            sources.map(|source| source.split_once("'s name.\n    pub const fn name(self)").expect("a group").1);
        let bodies = functions.map(|text| text.split_once("\n    }").expect("its end").0);
        bodies.iter().flat_map(|body| body.split('"').skip(1).step_by(2)).collect()
    }

    #[test]
    fn the_table_has_every_event_once() {
        assert_eq!(names().collect::<Vec<_>>(), named_in_sources());
        assert!(names().count() < u128::BITS as usize);
    }

    #[test]
    fn a_set_is_named_by_event_or_group() {
        let free: Event = Kmem::MmPageFree { page: Pfn(0x48a50), order: Order::ZERO }.into();
        let contains = |name| EventSet::named(name).map(|set| set.contains(free));
        assert_eq!(contains("mm_page_free"), Some(true));
        assert_eq!(contains("kmem"), Some(true));
        assert_eq!(contains("mm_page_alloc"), Some(false));
        assert_eq!(contains("decision"), Some(false));
        assert_eq!(contains("mm_page"), None);
        assert!(EventSet::ALL.contains(free) && !EventSet::NONE.contains(free));
        let both = EventSet::named("decision").unwrap().with(EventSet::named("mm_page_free").unwrap());
        assert!(both.contains(free));
    }
}
