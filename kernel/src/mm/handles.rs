//! Movable pages that a user knows by a number, so that compaction can move them.
//!
//! A raw page's number is its user's to keep, and the page can never move. A handle's page can: the table is the only
//! place that knows it. Such a page is on no LRU list but marked `MOVABLE`; it is taken out of the table's hands by
//! [`isolate`] and moved by `relocate.rs`. Its content follows from the handle, and [`check`] looks whether it is there.
//!
//! Linux: `__SetPageMovable`, as the balloon and `zsmalloc` use it.

use crate::sync::atomic::Ordering::{AcqRel, Relaxed};

use super::content::{self, Content};
use super::memory::{Env, Memory};
use super::page::PageFlags;
use super::page_alloc;
use super::pc_error::PcError;
use super::sleep;
use super::swap;
use super::users::{PageUser, Users};
use super::verify::Verified;
use crate::addr::Pfn;
use crate::gfp::Gfp;
use crate::task::Current;
use crate::vmstat::LabEvent;

/// The handle is in use.
const LIVE: u32 = 1 << 0;
/// Somebody has taken the page, to move it or to put it back.
const ISOLATED: u32 = 1 << 1;
/// A pin; there may be many.
const PIN: u32 = 1 << 2;

/// A fresh page, and the number of its handle.
///
/// # Errors
///
/// When the mask does not say movable, there is no memory, or no handle.
pub fn alloc<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    gfp: Gfp,
) -> Result<u32, PcError> {
    if !gfp.contains(Gfp::__GFP_MOVABLE) {
        return Err(PcError::NotMovable(gfp));
    }
    let index = memory.pages.index(page_alloc::alloc_page(memory, current, gfp)?);
    let number = users.locked(memory, |state| {
        let next = |free| users.handle(free).page.load(Relaxed);
        let number = state.handles.take(users.tables.handles.len(), next)?;
        content::write(memory, index, Content::handle(number));
        let handle = users.handle(number);
        handle.page.store(index, Relaxed);
        handle.state.store(LIVE, Relaxed);
        users.set_user(index, PageUser::Handle(number));
        users.page(index).set_flags(PageFlags::MOVABLE | PageFlags::UPTODATE);
        Some(number)
    });
    number.ok_or_else(|| {
        swap::put_page(memory, current, index);
        PcError::TableFull("handles", users.tables.handles.len())
    })
}

/// The page of the handle, if there is such a handle. The caller has locked the tables.
fn page_of(users: &Users<'_>, ever_used: u32, number: u32) -> Result<u32, PcError> {
    let page = (number < ever_used).then(|| users.handle(number).page()).flatten();
    page.ok_or(PcError::NoHandle(number))
}

/// Gives up a handle and its page; whether the page is free now, which it is not while somebody else refers to it.
///
/// # Errors
///
/// When there is no such handle, or it is pinned.
pub fn free<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    number: u32,
) -> Result<bool, PcError> {
    let index = users.locked(memory, |state| {
        let index = page_of(users, state.handles.ever_used(), number)?;
        let handle = users.handle(number);
        if handle.state.load(Relaxed) >= PIN {
            return Err(PcError::Pinned);
        }
        users.page(index).clear_flags(PageFlags::MOVABLE);
        handle.state.store(0, Relaxed);
        handle.page.store(state.handles.give_back(number), Relaxed);
        Ok(index)
    })?;
    Ok(swap::put_page(memory, current, index))
}

/// Where the handle's page is now.
///
/// # Errors
///
/// When there is no such handle.
pub fn frame<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, number: u32) -> Result<Pfn, PcError> {
    let index = users.locked(memory, |state| page_of(users, state.handles.ever_used(), number))?;
    Ok(memory.pages.pfn(index))
}

/// How often the handle's page is pinned.
///
/// # Errors
///
/// When there is no such handle.
pub fn pins<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, number: u32) -> Result<u32, PcError> {
    users.locked(memory, |state| {
        page_of(users, state.handles.ever_used(), number)?;
        Ok(users.handle(number).state.load(Relaxed) / PIN)
    })
}

/// The number behind the highest that a handle has or had.
pub fn end<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>) -> u32 {
    users.locked(memory, |state| state.handles.ever_used())
}

/// Keeps the handle's page from being moved, with a reference.
///
/// # Errors
///
/// When there is no such handle.
pub fn pin<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, number: u32) -> Result<(), PcError> {
    users.locked(memory, |state| {
        let index = page_of(users, state.handles.ever_used(), number)?;
        users.page(index).get(1);
        users.handle(number).state.fetch_add(PIN, AcqRel);
        Ok(())
    })
}

/// Undoes [`pin`].
///
/// # Errors
///
/// When there is no such handle, or it is not pinned.
pub fn unpin<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    number: u32,
) -> Result<(), PcError> {
    let index = users.locked(memory, |state| {
        let index = page_of(users, state.handles.ever_used(), number)?;
        let state = &users.handle(number).state;
        if state.load(Relaxed) < PIN {
            return Err(PcError::NotPinned);
        }
        state.fetch_sub(PIN, AcqRel);
        Ok(index)
    })?;
    swap::put_page(memory, current, index);
    Ok(())
}

/// Whether the handle's page holds what was written into it, wherever it has moved; if not, that is counted and logged.
///
/// # Errors
///
/// When there is no such handle.
pub fn check<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    number: u32,
) -> Result<bool, PcError> {
    let index = users.locked(memory, |state| {
        let index = page_of(users, state.handles.ever_used(), number)?;
        users.page(index).get(1);
        Ok::<u32, PcError>(index)
    })?;
    let holds = content::matches(memory, index, Content::handle(number));
    swap::put_page(memory, current, index);
    if !holds {
        memory.count_lab(LabEvent::PcCorrupt);
        log::error!("handle: CORRUPT h={number}");
    }
    Ok(holds)
}

/// References that the handle's owner and whoever pinned it have.
pub(super) fn references(users: &Users<'_>, number: u32) -> u64 {
    1 + u64::from(users.handle(number).state.load(Relaxed) / PIN)
}

/// [`check`] of every handle.
pub fn check_all<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, users: &Users<'_>) -> Verified {
    let mut verified = Verified::default();
    for number in 0..end(memory, users) {
        if let Ok(holds) = check(memory, current, users, number) {
            verified.pages += 1;
            verified.lost += u64::from(!holds);
        }
        sleep::cond_resched(memory, current);
    }
    verified
}

/// Takes a page out of the table's hands; whether it was there. The caller has a reference.
pub(super) fn isolate(users: &Users<'_>, index: u32) -> bool {
    if !users.page(index).flags().contains(PageFlags::MOVABLE) {
        return false;
    }
    let Some(PageUser::Handle(number)) = users.user_of(index) else { return false };
    let add = |state: u32| (state & (LIVE | ISOLATED) == LIVE).then_some(state | ISOLATED);
    users.handle(number).state.fetch_update(AcqRel, Relaxed, add).is_ok()
}

/// Gives a page back that was isolated, if its handle is still there.
pub(super) fn put_back(users: &Users<'_>, index: u32) {
    if let Some(PageUser::Handle(number)) = users.user_of(index) {
        users.handle(number).state.fetch_and(!ISOLATED, AcqRel);
    }
}
