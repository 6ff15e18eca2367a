//! What the policy and the cpuset of a task make of its requests, on their way in.
//!
//! Neighbours: [`crate::mm::mempolicy`] says where a request should go, [`crate::mm::cpuset`] where it may. Linux:
//! `alloc_pages_current`, `alloc_pages_vma`, and the part of `prepare_alloc_pages` about cpusets.

use super::{AllocError, alloc_page, alloc_pages_carefully};
use crate::addr::Pfn;
use crate::gfp::Gfp;
use crate::mm::alloc_context::AllocContext;
use crate::mm::memory::{Env, Hook, Memory};
use crate::mm::mempolicy::{self, Turn};
use crate::mm::zone::AllocFlags;
use crate::task::Current;
use crate::trace::Numa;

/// 2^`order` pages from where the task's memory policy says. Linux: `alloc_pages_current`.
pub(super) fn alloc_pages_current<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    gfp: Gfp,
    order: u32,
    turn: Turn,
) -> Result<Pfn, AllocError> {
    let place = mempolicy::place(memory, current, gfp, turn);
    mempolicy::trace_place(memory, current, place, turn);
    let page = alloc_pages_carefully(memory, current, gfp, order, place.node, place.nodes)?;
    mempolicy::count_interleaved(memory, place, page);
    Ok(page)
}

/// One page for a task's own use, at its virtual page number `vpn`: when policy has nodes take turns, they do so by place
/// and not by time, so that it does not matter in which order pages are touched.
///
/// # Errors
///
/// As [`super::alloc_pages`]. Linux: `alloc_page_vma`.
pub fn alloc_page_vma<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    gfp: Gfp,
    vpn: u64,
) -> Result<Pfn, AllocError> {
    match memory.has(Hook::Mempolicy) {
        true => alloc_pages_current(memory, current, gfp, 0, Turn::Place(vpn)),
        false => alloc_page(memory, current, gfp),
    }
}

/// With cpusets in use, a request without a nodemask gets its task's, which costs less than asking for each zone; another
/// is asked about each. What the flags of the first attempt need besides.
#[cold]
pub(super) fn narrow_to_cpuset<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &mut AllocContext<'_>,
) -> AllocFlags {
    ac.gfp |= Gfp::__GFP_HARDWALL;
    match ac.nodemask {
        Some(_) => AllocFlags::CPUSET,
        None => {
            let nodes = current.task.mems_allowed();
            ac.nodemask = Some(nodes);
            memory.trace(current, || Numa::CpusetNarrowed { nodes });
            AllocFlags::empty()
        }
    }
}
