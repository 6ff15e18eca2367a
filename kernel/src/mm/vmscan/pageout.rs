//! Dirty pages under reclaim: who may write them, and when.
//!
//! File pages are the flusher's business, which writes whole stretches; only kswapd writes them, when it meets one again
//! while the node is full of them. Anonymous pages have nobody else. Linux: the dirty part of `shrink_page_list`,
//! `pageout`.

use super::is_kswapd;
use super::references::PageReferences;
use super::shrink_page_list::{Candidate, Outcome, Rung};
use crate::mm::memory::Env;
use crate::mm::node::NodeFlags;
use crate::mm::owner::{PageOwner, Pageout};
use crate::mm::page::PageFlags;
use crate::task::TaskFlags;
use crate::trace::vmscan::Vmscan;
use crate::vmstat::NodeStat;

impl<E: Env> Candidate<'_, '_, '_, E> {
    /// A dirty page is written first, if that is allowed here and now.
    pub(super) fn is_clean(&mut self, unused: PageReferences) -> Rung {
        if !self.has(PageFlags::DIRTY) {
            return Ok(());
        }
        if self.is_file() && !self.is_for_kswapd_to_write() {
            self.node.add_stat(NodeStat::NrVmscanImmediateReclaim, 1);
            self.page.set_flags(PageFlags::RECLAIM);
            return Err(Outcome::Activate);
        }
        if unused == PageReferences::ReclaimClean || !self.fs_ok || !self.sc.may_writepage {
            return Err(Outcome::Keep);
        }
        self.pageout()
    }

    /// Whether kswapd met the page before, and the node is full of its kind.
    fn is_for_kswapd_to_write(&self) -> bool {
        is_kswapd(self.current) && self.has(PageFlags::RECLAIM) && self.node.has(NodeFlags::DIRTY)
    }

    /// Writes a dirty page. Linux: `pageout`.
    fn pageout(&mut self) -> Rung {
        let (memory, owner) = (self.memory, self.memory.env.owner());
        if !self.is_only_cached() || (owner.is_congested(self.index) && !self.may_swap_write()) {
            return Err(Outcome::Keep);
        }
        let file = self.is_file();
        self.page.set_flags(PageFlags::RECLAIM);
        let written = owner.writepage(memory, self.current, self.index);
        if written != Pageout::Submitted {
            self.page.clear_flags(PageFlags::RECLAIM);
        }
        if matches!(written, Pageout::Submitted | Pageout::Clean) {
            memory.trace(self.current, || Vmscan::MmVmscanWritepage { page: memory.pages.pfn(self.index), file });
            self.node.add_stat(NodeStat::NrVmscanWrite, 1);
        }
        match written {
            Pageout::Keep => Err(Outcome::Keep),
            Pageout::Activate => Err(Outcome::Activate),
            Pageout::Submitted => Err(Outcome::Submitted),
            Pageout::Clean if self.page.flags().intersects(PageFlags::DIRTY | PageFlags::WRITEBACK) => {
                Err(Outcome::Keep)
            }
            Pageout::Clean => Ok(()),
        }
    }

    fn may_swap_write(&self) -> bool {
        self.current.flags().contains(TaskFlags::PF_SWAPWRITE)
    }
}
