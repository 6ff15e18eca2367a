//! What becomes of each page that reclaim took off an inactive list.
//!
//! [`shrink_page_list`] locks each page, asks [`Candidate::judge`], and does what it says. The judgement is a ladder: each
//! rung either lets the page pass, or tells its [`Outcome`]. A page that passes them all is free.
//!
//! ```text
//!   evictable?         no: active (the unevictable list takes it)    mapped, and must stay so?   yes: keep
//!   under writeback?   yes: active, to be rotated when it ends       used lately?                yes: active or keep
//!   anonymous?         needs a swap slot, else keep or active        mapped?                     unmap, else active
//!   dirty?             write it, if allowed, else keep or active     somebody else uses it?      yes: keep
//! ```
//!
//! So direct reclaim never writes file pages, kswapd does when it meets them a second time while the node is full of
//! them, both may write anonymous pages, and a clean file page goes whatever the mask allows. Linux: `shrink_page_list`.
//!
//! Linux does more: pages freed lazily, huge pages, private data of filesystems, and memory cgroups that wait for
//! writeback.

use super::references::{PageReferences, page_check_references};
use super::{ScanControl, is_kswapd, sleep};
use crate::gfp::Gfp;
use crate::mm::list::List;
use crate::mm::memory::{Env, Memory};
use crate::mm::node::{Node, NodeFlags};
use crate::mm::owner::PageOwner;
use crate::mm::page::{Page, PageFlags};
use crate::mm::swap;
use crate::mm::workingset;
use crate::reclaim_types::ReclaimStat;
use crate::task::Current;
use crate::vmstat::VmEvent;

/// What is done with a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// Its owner let go of it: free.
    Free,
    /// Back to the head of its list.
    Keep,
    /// To the head of the active list.
    Activate,
    /// As [`Outcome::Keep`]; the write that was begun has the page's lock.
    Submitted,
}

/// A rung of the ladder: the page passes, or something is done with it.
pub(super) type Rung = Result<(), Outcome>;

/// What became of a list of isolated pages.
pub(super) struct Shrunk {
    /// The pages that were not freed, in their order, with marks that tell where they go.
    pub kept: List,
    /// Pages freed.
    pub nr_reclaimed: u64,
    /// What was found.
    pub stat: ReclaimStat,
}

/// Decides upon isolated pages one by one, and frees those that may be, all in one go.
pub(super) fn shrink_page_list<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    node: &Node,
    sc: &mut ScanControl,
    mut pages: List,
) -> Shrunk {
    let mut shrunk = Shrunk { kept: List::EMPTY, nr_reclaimed: 0, stat: ReclaimStat::default() };
    let mut free = List::EMPTY;
    while let Some((index, _)) = pages.pop_front(&memory.pages) {
        sleep::cond_resched(memory, current);
        let page = memory.pages.at(index);
        if !page.try_lock() {
            shrunk.kept.push_back(&memory.pages, index);
            continue;
        }
        let stat = &mut shrunk.stat;
        let outcome = Candidate { memory, current, node, sc, stat, index, page, fs_ok: false }.shrink();
        if outcome == Outcome::Free {
            shrunk.nr_reclaimed += 1;
            if page.put_testzero() {
                free.push_front(&memory.pages, index);
            }
        } else {
            shrunk.kept.push_back(&memory.pages, index);
        }
    }
    if shrunk.stat.nr_activate > 0 {
        memory.count(VmEvent::Pgactivate, shrunk.stat.nr_activate.into());
    }
    swap::free_unreferenced_list(memory, current, free);
    shrunk
}

/// A locked, isolated page before its judge.
pub(super) struct Candidate<'a, 'm, 't, E: Env> {
    pub(super) memory: &'a Memory<'m, E>,
    pub(super) current: &'a Current<'t>,
    pub(super) node: &'a Node,
    pub(super) sc: &'a mut ScanControl,
    stat: &'a mut ReclaimStat,
    pub(super) index: u32,
    pub(super) page: &'a Page,
    /// Whether the filesystem, or for swap the disk, may be entered. Linux: `may_enter_fs`.
    pub(super) fs_ok: bool,
}

impl<E: Env> Candidate<'_, '_, '_, E> {
    /// Judges the page, marks it accordingly and unlocks it.
    fn shrink(mut self) -> Outcome {
        let outcome = self.judge().err().unwrap_or(Outcome::Free);
        match outcome {
            // Nobody is left who could wait for the lock.
            Outcome::Free => drop(self.page.clear_flags(PageFlags::LOCKED)),
            Outcome::Submitted => {}
            Outcome::Keep => swap::unlock_page(self.memory, self.index),
            Outcome::Activate => {
                self.activate();
                swap::unlock_page(self.memory, self.index);
            }
        }
        outcome
    }

    /// The ladder. What it asks and in which order is v5.0's.
    fn judge(&mut self) -> Rung {
        let mapped = self.memory.env.owner().mapcount(self.index) > 0;
        self.may_go(mapped)?;
        self.is_written_already()?;
        let unused = self.is_unused()?;
        self.has_a_place_to_go()?;
        self.unmap()?;
        self.is_clean(unused)?;
        self.remove_mapping()
    }

    pub(super) fn has(&self, flags: PageFlags) -> bool {
        self.page.flags().contains(flags)
    }

    pub(super) fn is_file(&self) -> bool {
        !self.has(PageFlags::SWAPBACKED)
    }

    /// Counts the page, and turns away what must stay.
    fn may_go(&mut self, mapped: bool) -> Rung {
        self.sc.nr_scanned += 1;
        if self.has(PageFlags::UNEVICTABLE) {
            return Err(Outcome::Activate);
        }
        if !self.sc.may_unmap && mapped {
            return Err(Outcome::Keep);
        }
        // Twice the pressure on the shrinkers for pages that are dear to somebody.
        self.sc.nr_scanned += u64::from(mapped || self.has(PageFlags::SWAPCACHE));
        let (fs, io) = (self.sc.gfp.contains(Gfp::__GFP_FS), self.sc.gfp.contains(Gfp::__GFP_IO));
        self.fs_ok = fs || (self.has(PageFlags::SWAPCACHE) && io);
        Ok(())
    }

    /// Counts what the disk has to do with the page; a page under writeback comes back when that ends.
    fn is_written_already(&mut self) -> Rung {
        let flags = self.page.flags();
        let (dirty, writeback) = (flags.contains(PageFlags::DIRTY), flags.contains(PageFlags::WRITEBACK));
        if !dirty && !writeback {
            return Ok(());
        }
        let came_round = writeback && flags.contains(PageFlags::RECLAIM);
        if self.is_file() {
            self.stat.nr_dirty += 1;
            self.stat.nr_unqueued_dirty += u32::from(!writeback);
            let congested = came_round || self.memory.env.owner().is_congested(self.index);
            self.stat.nr_congested += u32::from(congested);
        }
        if !writeback {
            return Ok(());
        }
        if is_kswapd(self.current) && came_round && self.node.has(NodeFlags::WRITEBACK) {
            // The list is shorter than the disk is slow: kswapd has to wait.
            self.stat.nr_immediate += 1;
        } else {
            self.page.set_flags(PageFlags::RECLAIM);
            self.stat.nr_writeback += 1;
        }
        Err(Outcome::Activate)
    }

    /// The second chance; for a page that had none, whether it may be written.
    fn is_unused(&mut self) -> Result<PageReferences, Outcome> {
        match page_check_references(self.memory, self.page, self.index) {
            PageReferences::Activate => Err(Outcome::Activate),
            PageReferences::Keep => {
                self.stat.nr_ref_keep += 1;
                Err(Outcome::Keep)
            }
            unused @ (PageReferences::Reclaim | PageReferences::ReclaimClean) => Ok(unused),
        }
    }

    /// An anonymous page needs a slot of the swap space.
    fn has_a_place_to_go(&mut self) -> Rung {
        if self.is_file() || self.has(PageFlags::SWAPCACHE) {
            return Ok(());
        }
        if !self.sc.gfp.contains(Gfp::__GFP_IO) {
            return Err(Outcome::Keep);
        }
        if !self.memory.env.owner().add_to_swap(self.memory, self.current, self.index) {
            return Err(Outcome::Activate);
        }
        self.fs_ok = true;
        Ok(())
    }

    /// Takes the page from those who map it.
    fn unmap(&mut self) -> Rung {
        let owner = self.memory.env.owner();
        if owner.mapcount(self.index) == 0 || owner.unmap(self.memory, self.current, self.index) {
            return Ok(());
        }
        self.stat.nr_unmap_fail += 1;
        Err(Outcome::Activate)
    }

    /// Whether nobody refers to the page but its cache and the caller. Linux: `is_page_cache_freeable`.
    pub(super) fn is_only_cached(&self) -> bool {
        self.page.state().count() == 2
    }

    /// Has the owner forget the page, if it is clean and nobody else refers to it. Linux: `remove_mapping`.
    fn remove_mapping(&mut self) -> Rung {
        let busy = self.page.flags().intersects(PageFlags::DIRTY | PageFlags::WRITEBACK);
        if busy || !self.is_only_cached() {
            return Err(Outcome::Keep);
        }
        let shadow = if self.is_file() { Some(workingset::eviction(self.memory, self.index)) } else { None };
        let removed = self.memory.env.owner().remove_mapping(self.memory, self.current, self.index, shadow);
        if removed { Ok(()) } else { Err(Outcome::Keep) }
    }

    /// The page stays for a while: it is marked active, and gives its slot back if slots are scarce.
    fn activate(&mut self) {
        let owner = self.memory.env.owner();
        let unevictable = self.has(PageFlags::UNEVICTABLE);
        if self.has(PageFlags::SWAPCACHE) {
            let space = owner.swap_space();
            if unevictable || space.free * 2 < space.total {
                owner.free_swap(self.memory, self.current, self.index);
            }
        }
        if !unevictable {
            self.page.set_flags(PageFlags::ACTIVE);
            self.stat.nr_activate += 1;
        }
    }
}
