//! The event of migration, as `include/trace/events/migrate.h` has it.
//!
//! Key type: [`Migrate`]. Neighbour: `mm::migrate` emits it.
//!
//! Linux does more: it migrates for other reasons than compaction (hotplug, NUMA policy, CMA), and names them here.

use core::fmt;

use crate::reclaim_types::MigrateMode;

/// A tracepoint of `migrate.h`. `Display` prints its fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Migrate {
    /// A list of pages was migrated.
    MmMigratePages {
        /// Pages moved.
        nr_succeeded: u64,
        /// Pages that stay where they were.
        nr_failed: u64,
        /// How long it was allowed to wait.
        mode: MigrateMode,
    },
}

impl Migrate {
    /// The tracepoint's name.
    pub const fn name(self) -> &'static str {
        match self {
            Migrate::MmMigratePages { .. } => "mm_migrate_pages",
        }
    }
}

impl fmt::Display for Migrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Migrate::MmMigratePages { nr_succeeded, nr_failed, mode } => {
                write!(f, "nr_succeeded={nr_succeeded} nr_failed={nr_failed} mode={} reason=compaction", mode.name())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::assert_texts;

    #[test]
    fn each_mode() {
        let event = |mode| Migrate::MmMigratePages { nr_succeeded: 30, nr_failed: 2, mode };
        assert_texts(&[
            (
                event(MigrateMode::Async),
                "mm_migrate_pages: nr_succeeded=30 nr_failed=2 mode=MIGRATE_ASYNC reason=compaction",
            ),
            (
                event(MigrateMode::SyncLight),
                "mm_migrate_pages: nr_succeeded=30 nr_failed=2 mode=MIGRATE_SYNC_LIGHT reason=compaction",
            ),
            (
                event(MigrateMode::Sync),
                "mm_migrate_pages: nr_succeeded=30 nr_failed=2 mode=MIGRATE_SYNC reason=compaction",
            ),
        ]);
    }
}
