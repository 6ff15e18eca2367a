//! A page on its way out or in: checks, marks, zeroing, poison, and the reports of misuse.
//!
//! [`prep_new_page`] makes a block taken from the lists an allocated one; [`free_pages_prepare`] is the opposite. A page
//! that is not what it must be is reported in Linux's words and changes nothing, or, when its content can no longer be
//! trusted, is kept out of use for good. Linux: `check_new_page`, `prep_new_page`, `free_pages_prepare`, `bad_page`.
//!
//! Linux does more: KASAN, debug objects, and a dump of the page's words and of the stack.

use crate::sync::atomic::Ordering::Relaxed;
use core::fmt;

use super::alloc_context::AllocContext;
use super::highmem;
use super::memory::{Env, Hook, Memory};
use super::page::{Kind, PageFlags, PageState};
use super::zone::AllocFlags;
use crate::addr::{Order, Pfn};
use crate::gfp::Gfp;
use crate::task::Current;
use crate::vmstat::LabEvent;

/// What a free page is filled with when poisoning is on. Linux: `PAGE_POISON`.
pub const PAGE_POISON: u8 = 0xaa;

/// Marks of a page that is handed out under `flags`.
#[inline(always)]
fn page_flags(ac: &AllocContext<'_>, flags: AllocFlags) -> PageFlags {
    let mut marks = PageFlags::empty();
    if ac.gfp.contains(Gfp::__GFP_COMP) && ac.order > Order::ZERO {
        marks |= PageFlags::HEAD;
    }
    if flags.contains(AllocFlags::NO_WATERMARKS) {
        marks |= PageFlags::PFMEMALLOC;
    }
    marks
}

/// Makes the block at `index` an allocated one of the context's order. Linux: `prep_new_page`.
#[inline(always)]
pub(super) fn prep_new_page<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    ac: &AllocContext<'_>,
    flags: AllocFlags,
    index: u32,
) -> u32 {
    let page = memory.pages.at(index);
    page.set_state(page.state().to_allocated(page_flags(ac, flags), current.task.pid()));
    if flags.contains(AllocFlags::NO_WATERMARKS) {
        memory.count_lab(LabEvent::NowmarkAlloc);
    }
    let hooks = memory.hooks() & (Hook::Poison as u32 | Hook::PageOwner as u32);
    if hooks != 0 || ac.gfp.contains(Gfp::__GFP_ZERO) {
        prep_content(memory, current, ac, index);
    }
    index
}

/// Zeroes the block, checks its poison, and notes its owner, as asked.
#[cold]
fn prep_content<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, ac: &AllocContext<'_>, index: u32) {
    let (pfn, nr_pages) = (memory.pages.pfn(index), ac.order.nr_pages());
    if memory.has(Hook::Poison)
        && let Some((at, byte)) = highmem::first_other(memory, pfn, nr_pages, PAGE_POISON)
    {
        report_poison(memory, pfn, at, byte);
    }
    if ac.gfp.contains(Gfp::__GFP_ZERO) {
        highmem::fill_pages(memory, pfn, nr_pages, 0);
    }
    if memory.has(Hook::PageOwner) {
        memory.page_owners.set(index, current.task, ac.gfp, memory.env.now_ns());
    }
}

/// Linux: `check_poison_mem`.
fn report_poison<E: Env>(memory: &Memory<'_, E>, pfn: Pfn, at: u64, byte: u8) {
    if memory.printed.poison.admit(memory.env.now_ns(), 5_000_000_000, 10).is_none() {
        return;
    }
    let what = if (byte ^ PAGE_POISON).count_ones() == 1 { "single bit error" } else { "memory corruption" };
    log::error!("pagealloc: {what}");
    log::error!("{:#x}: {byte:02x} instead of {PAGE_POISON:02x}", pfn.addr().0 + at);
}

/// Whether the block just taken from a list is fit to be handed out; if not it is kept out of use.
///
/// Linux: `check_new_page`.
#[inline(always)]
pub(super) fn check_new_page<E: Env>(memory: &Memory<'_, E>, index: u32) -> bool {
    let state = memory.pages.at(index).state();
    if state.is_unused() && state.is(Kind::Pcp) {
        return true;
    }
    leak(memory, index, state.order());
    report_bad_page(memory, "swapper", memory.pages.pfn(index), "PAGE_FLAGS_CHECK_AT_PREP flag set");
    false
}

/// Keeps a block out of use for good.
#[cold]
fn leak<E: Env>(memory: &Memory<'_, E>, index: u32, order: Order) {
    let page = memory.pages.at(index);
    page.set_state(page.state().to_free(Kind::Bad, page.state().migratetype()));
    memory.leaked.fetch_add(order.nr_pages(), Relaxed);
}

/// At most 60 a minute. Linux: `bad_page`.
#[cold]
fn report_bad_page<E: Env>(memory: &Memory<'_, E>, comm: &str, pfn: Pfn, reason: &str) {
    let Some(suppressed) = memory.printed.bad_page.admit(memory.env.now_ns(), 60_000_000_000, 60) else { return };
    if suppressed > 0 {
        log::error!("BUG: Bad page state: {suppressed} messages suppressed");
    }
    log::error!("BUG: Bad page state in process {comm}  pfn:{:05x}", pfn.0);
    log::error!("page dumped because: {reason}");
}

/// Why a page was not freed. Nothing was changed, but for [`FreeError::Flags`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FreeError {
    /// No such page of memory.
    NotMemory(Pfn),
    /// The page is free already, in a block of this order.
    AlreadyFree(Pfn, Order),
    /// The page is free already, on a per-CPU list.
    AlreadyOnPcp(Pfn),
    /// The page is not the first of its allocated block, which starts at the second page.
    Tail(Pfn, Pfn),
    /// Nobody allocated the page: it is reserved or lies in a hole.
    Reserved(Pfn),
    /// The page was found bad and is kept out of use.
    Bad(Pfn),
    /// The block has the first order, not the second.
    WrongOrder(Pfn, Order, u32),
    /// The page is still in use by someone; it is kept out of use.
    Flags(Pfn, PageFlags),
}

impl fmt::Display for FreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FreeError::NotMemory(pfn) => write!(f, "pfn {pfn} is not memory of this machine"),
            FreeError::AlreadyFree(pfn, order) => write!(f, "pfn {pfn} is free already, in a block of order {order}"),
            FreeError::AlreadyOnPcp(pfn) => write!(f, "pfn {pfn} is free already, on a per-CPU list"),
            FreeError::Tail(pfn, head) => write!(f, "pfn {pfn} is inside the allocated block that starts at {head}"),
            FreeError::Reserved(pfn) => write!(f, "pfn {pfn} was never allocated: it is reserved or in a hole"),
            FreeError::Bad(pfn) => write!(f, "pfn {pfn} was found bad and is out of use"),
            FreeError::WrongOrder(pfn, order, given) => {
                write!(f, "pfn {pfn} was allocated with order {order}, not {given}")
            }
            FreeError::Flags(pfn, flags) => write!(f, "pfn {pfn} is still in use: {flags:?}"),
        }
    }
}

/// Drops a reference of the block of `order` at `pfn`; its record index and state when that was the last.
///
/// # Errors
///
/// When there is no such allocated block; the misuse is reported. Linux: `put_page_testzero`, `free_pages_check`.
pub(super) fn free_pages_prepare<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    pfn: Pfn,
    order: u32,
) -> Result<Option<(u32, PageState)>, FreeError> {
    let Some(index) = memory.pages.checked_index(pfn) else {
        return Err(refuse(memory, current, pfn, order));
    };
    let state = memory.blocks.state_of(&memory.pages, index);
    // Linux looks at the flags when the last reference goes; a page on an LRU list may lose others.
    let checked = if state.count() > 1 { state.with_flags(PageFlags::empty()) } else { state };
    if !checked.is_freeable(order, state.count()) {
        return Err(refuse(memory, current, pfn, order));
    }
    if !memory.pages.at(index).put_testzero() {
        return Ok(None);
    }
    if memory.has(Hook::Poison) {
        highmem::fill_pages(memory, pfn, state.order().nr_pages(), PAGE_POISON);
    }
    Ok(Some((index, state)))
}

/// The state of a block whose last reference is gone, when it may be freed; else that is reported, and the block is kept
/// out of use.
pub(super) fn free_unreferenced_prepare<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    index: u32,
) -> Option<PageState> {
    let (state, pfn) = (memory.pages.at(index).state(), memory.pages.pfn(index));
    if !state.is_freeable(state.order().get(), 0) {
        refuse(memory, current, pfn, state.order().get());
        return None;
    }
    if memory.has(Hook::Poison) {
        highmem::fill_pages(memory, pfn, state.order().nr_pages(), PAGE_POISON);
    }
    Some(state)
}

/// Says what is wrong with freeing the block, in a report and as an error.
#[cold]
fn refuse<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, pfn: Pfn, order: u32) -> FreeError {
    let error = misuse(memory, pfn, order);
    let reason = match error {
        FreeError::Flags(..) => "PAGE_FLAGS_CHECK_AT_FREE flag(s) set",
        FreeError::WrongOrder(..) => "wrong order",
        FreeError::Tail(..) => "tail page",
        _ => "nonzero _refcount",
    };
    if let (FreeError::Flags(..), Some(index)) = (error, memory.pages.checked_index(pfn)) {
        leak(memory, index, memory.pages.at(index).state().order());
    }
    report_bad_page(memory, current.task.comm().as_str(), pfn, reason);
    error
}

fn misuse<E: Env>(memory: &Memory<'_, E>, pfn: Pfn, order: u32) -> FreeError {
    let Some(index) = memory.pages.checked_index(pfn) else { return FreeError::NotMemory(pfn) };
    let Some((head, page)) = memory.blocks.head_of(&memory.pages, index) else { return FreeError::Reserved(pfn) };
    let state: PageState = page.state();
    match state.kind() {
        Kind::Buddy => FreeError::AlreadyFree(pfn, state.order()),
        Kind::Pcp => FreeError::AlreadyOnPcp(pfn),
        Kind::Bad => FreeError::Bad(pfn),
        Kind::Tail => FreeError::Reserved(pfn),
        Kind::Allocated if head != index => FreeError::Tail(pfn, memory.pages.pfn(head)),
        Kind::Allocated if state.order().get() != order => FreeError::WrongOrder(pfn, state.order(), order),
        Kind::Allocated => FreeError::Flags(pfn, state.flags() & PageFlags::CHECK_AT_FREE),
    }
}
