//! [`CompactControl`]: one walk of the two scanners through a zone.
//!
//! Linux: `struct compact_control` in `mm/internal.h`.

use super::super::alloc_context::AllocContext;
use super::super::list::List;
use super::super::memory::{Env, Memory};
use super::super::migrate::MigrateList;
use super::super::page::Pages;
use super::super::zone::AllocFlags;
use super::is_called_off;
use crate::addr::{Order, Pfn};
use crate::gfp::Gfp;
use crate::mmzone::MigrateType;
use crate::reclaim_types::{CompactPriority, MigrateMode};
use crate::sched::Scheduler;
use crate::task::Current;

/// Pages after which a scanner lets others have the zone lock. Linux: `SWAP_CLUSTER_MAX`.
pub(super) const CLUSTER: u64 = 32;

/// One walk of the two scanners through a zone: what it is for, where it is, what it came to.
pub struct CompactControl {
    /// The order wanted; `None` to compact everything. Linux: -1.
    pub(super) order: Option<Order>,
    /// The mask of the request.
    pub(super) gfp: Gfp,
    /// The lists that the request takes from.
    pub(super) migratetype: MigrateType,
    /// Flags and preferred zone of the request, for its watermark.
    pub(super) flags: AllocFlags,
    pub(super) classzone: usize,
    /// How long migration may wait.
    pub(super) mode: MigrateMode,
    /// Whether a request compacts for itself.
    pub(super) direct: bool,
    /// Whether the walk covers all of the zone.
    pub(super) whole_zone: bool,
    /// Whether pageblocks that gave nothing lately are scanned too.
    pub(super) ignore_skip_hint: bool,
    /// Whether pages may move into pageblocks of any type.
    pub(super) ignore_block_suitable: bool,

    /// Where the migrate scanner is; it goes up.
    pub(super) migrate_pfn: Pfn,
    /// Where the free scanner is; it goes down.
    pub(super) free_pfn: Pfn,
    /// The lowest page that was taken to be moved since freed pages were last brought together.
    pub(super) last_migrated: Option<Pfn>,
    /// There is a block, but the pageblock is to be finished first.
    pub(super) finishing_block: bool,
    /// Others need the CPU, or the caller must die.
    pub(super) contended: bool,
    /// Pages to move.
    pub(super) migratepages: MigrateList,
    /// How many there were when their migration began.
    pub(super) nr_migratepages: usize,
    /// Free pages to move them to.
    pub(super) freepages: List,
    pub(super) nr_freepages: usize,

    /// Pages that the migrate scanner looked at.
    pub(super) migrate_scanned: u64,
    /// Pages that the free scanner looked at.
    pub(super) free_scanned: u64,
}

impl CompactControl {
    /// A walk for a request itself. Linux: `compact_zone_order`.
    pub fn direct(ac: &AllocContext<'_>, flags: AllocFlags, priority: CompactPriority) -> CompactControl {
        let full = priority == CompactPriority::MIN;
        CompactControl {
            gfp: ac.gfp,
            migratetype: ac.migratetype,
            flags,
            classzone: ac.classzone,
            direct: true,
            whole_zone: full,
            ignore_skip_hint: full,
            ignore_block_suitable: full,
            ..CompactControl::new(
                Some(ac.order),
                if priority == CompactPriority::Async { MigrateMode::Async } else { MigrateMode::SyncLight },
            )
        }
    }

    /// The walk of a daemon. Linux: `kcompactd_do_work`.
    pub fn daemon(order: Order, classzone: usize) -> CompactControl {
        CompactControl { classzone, ..CompactControl::new(Some(order), MigrateMode::SyncLight) }
    }

    /// A walk at a person's request. Linux: `compact_node`.
    pub fn whole_zone() -> CompactControl {
        CompactControl { whole_zone: true, ignore_skip_hint: true, ..CompactControl::new(None, MigrateMode::Sync) }
    }

    fn new(order: Option<Order>, mode: MigrateMode) -> CompactControl {
        CompactControl {
            order,
            gfp: Gfp::GFP_KERNEL,
            migratetype: MigrateType::Unmovable,
            flags: AllocFlags::empty(),
            classzone: 0,
            mode,
            direct: false,
            whole_zone: false,
            ignore_skip_hint: false,
            ignore_block_suitable: false,
            migrate_pfn: Pfn(0),
            free_pfn: Pfn(0),
            last_migrated: None,
            finishing_block: false,
            contended: false,
            migratepages: MigrateList::default(),
            nr_migratepages: 0,
            freepages: List::EMPTY,
            nr_freepages: 0,
            migrate_scanned: 0,
            free_scanned: 0,
        }
    }

    /// Pages that the migrate scanner and the free scanner looked at.
    pub fn scanned(&self) -> [u64; 2] {
        [self.migrate_scanned, self.free_scanned]
    }

    /// Whether the walk never waits. Linux: `MIGRATE_ASYNC`.
    pub(super) fn is_async(&self) -> bool {
        self.mode == MigrateMode::Async
    }

    /// The order wanted of a request that cannot wait: it gives up on a block of this order at the first page in it that
    /// cannot move. Linux: `skip_on_failure`.
    pub(super) fn picky_order(&self) -> Option<Order> {
        self.order.filter(|_| self.direct && self.is_async())
    }

    /// Whether the scanners met. Linux: `compact_scanners_met`.
    pub(super) fn scanners_met(&self) -> bool {
        self.free_pfn.align_down(Order::PAGEBLOCK) <= self.migrate_pfn.align_down(Order::PAGEBLOCK)
    }

    /// Lets others run whose turn it is, if the walk may wait; whether it should end instead. Linux:
    /// `compact_should_abort`.
    pub(super) fn should_abort<E: Env>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>) -> bool {
        if is_called_off(memory, current) || (self.is_async() && memory.env.sched().need_resched()) {
            self.contended = true;
            return true;
        }
        super::super::sleep::cond_resched(memory, current);
        false
    }

    /// Adds a free page, to be used before the others.
    pub(super) fn push_free(&mut self, pages: &Pages<'_>, index: u32) {
        self.freepages.push_front(pages, index);
        self.nr_freepages += 1;
    }

    /// Takes the free page that was added last.
    pub(super) fn pop_free(&mut self, pages: &Pages<'_>) -> Option<u32> {
        let (index, _) = self.freepages.pop_front(pages)?;
        self.nr_freepages -= 1;
        Some(index)
    }
}

/// End of the block of `order` that contains `pfn`. Linux: `block_end_pfn`.
pub(super) fn block_end(pfn: Pfn, order: Order) -> Pfn {
    pfn.add(1).align_up(order)
}
