//! What a scan is for, what it may do, and what it has come to: [`ScanControl`], which every step of reclaim is handed.
//!
//! Linux: `struct scan_control`.

use super::node_reclaim::ReclaimMode;
use crate::addr::Order;
use crate::gfp::Gfp;
use crate::mm::alloc_context::AllocContext;
use crate::mmzone::NodeMask;
use crate::reclaim_types::ReclaimStat;
use crate::task::{Current, TaskFlags};

/// Where every reclaim begins: a scan looks at a 2^priority-th of each list. Linux: `DEF_PRIORITY`.
pub const DEF_PRIORITY: u32 = 12;
/// Pages that a request wants to see freed, and that are taken off a list at a time. Linux: `SWAP_CLUSTER_MAX`.
pub const SWAP_CLUSTER_MAX: u64 = 32;
/// Blocks of a higher order are not worth much reclaim. Linux: `PAGE_ALLOC_COSTLY_ORDER`.
pub(super) const COSTLY_ORDER: u32 = 3;

/// What a scan is for, what it may do, and what it has come to. Linux: `struct scan_control`.
#[derive(Clone, Debug)]
pub struct ScanControl {
    /// Pages after which it is enough.
    pub nr_to_reclaim: u64,
    /// The request's mask, after its task's scopes.
    pub gfp: Gfp,
    /// The highest zone, by index, whose pages help.
    pub reclaim_idx: usize,
    /// Order of the request; 0 also when the order is compaction's business by now.
    pub order: u32,
    /// The nodes to reclaim from; `None` for all.
    pub nodemask: Option<NodeMask>,
    /// From [`DEF_PRIORITY`] down to 0.
    pub priority: u32,
    /// Whether pages may be written.
    pub may_writepage: bool,
    /// Whether pages may be taken from those who map them.
    pub may_unmap: bool,
    /// Whether anonymous pages may go to swap.
    pub may_swap: bool,
    /// Whether the shrinkers are asked.
    pub may_shrinkslab: bool,
    /// Pages looked at; those that somebody maps count twice.
    pub nr_scanned: u64,
    /// Pages freed.
    pub nr_reclaimed: u64,
    /// A zone has enough for compaction to make a block of the order.
    pub compaction_ready: bool,
    /// What this round of [`shrink_node`](super::shrink_node) found on the inactive lists.
    pub nr: Found,
}

/// What reclaim found at the tails of a node's inactive lists, in pages. Linux: `nr` of `struct scan_control`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// What became of them.
    pub stat: ReclaimStat,
    /// All.
    pub taken: u64,
    /// Those of files.
    pub file_taken: u64,
}

impl ScanControl {
    /// For a request that found no page. Linux: the initialiser in `try_to_free_pages`.
    pub(super) fn direct(current: &Current<'_>, ac: &AllocContext<'_>) -> ScanControl {
        ScanControl {
            nr_to_reclaim: SWAP_CLUSTER_MAX,
            gfp: current.scoped(ac.gfp),
            reclaim_idx: ac.highest,
            nodemask: ac.nodemask,
            ..ScanControl::kswapd(ac.order.get(), ac.highest)
        }
    }

    /// For a request that would go to another node; the mode says what may be done. Linux: the initialiser in
    /// `__node_reclaim`.
    pub(super) fn near(current: &Current<'_>, ac: &AllocContext<'_>, mode: ReclaimMode) -> ScanControl {
        ScanControl {
            nr_to_reclaim: ac.order.nr_pages().max(SWAP_CLUSTER_MAX),
            may_writepage: mode.contains(ReclaimMode::WRITE),
            may_unmap: mode.contains(ReclaimMode::UNMAP),
            nodemask: None,
            ..ScanControl::direct(current, ac)
        }
    }

    /// For kswapd, which balances the zones up to index `classzone`. Linux: the initialiser in `balance_pgdat`.
    pub fn kswapd(order: u32, classzone: usize) -> ScanControl {
        ScanControl {
            nr_to_reclaim: 0,
            gfp: Gfp::GFP_KERNEL,
            reclaim_idx: classzone,
            order,
            nodemask: None,
            priority: DEF_PRIORITY,
            may_writepage: true,
            may_unmap: true,
            may_swap: true,
            may_shrinkslab: true,
            nr_scanned: 0,
            nr_reclaimed: 0,
            compaction_ready: false,
            nr: Found::default(),
        }
    }

    /// The order as events have it.
    pub(super) fn traced_order(&self) -> Order {
        Order::new(self.order).unwrap_or(Order::MAX)
    }
}

/// Whether it is kswapd that reclaims. Linux: `current_is_kswapd`.
pub(super) fn is_kswapd(current: &Current<'_>) -> bool {
    current.flags().contains(TaskFlags::PF_KSWAPD)
}
