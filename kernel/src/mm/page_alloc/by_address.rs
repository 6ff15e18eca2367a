//! Pages by their address in the linear map, and as many as bytes need.
//!
//! A page of highmem has no such address, so none of these takes one. Linux: `__get_free_pages` and its kin,
//! `alloc_pages_exact`.

use super::{AllocError, alloc_pages, alloc_pages_node, free_page, free_pages, split_page};
use crate::addr::{Order, PAGE_SIZE, Pfn, PhysAddr, get_order};
use crate::gfp::Gfp;
use crate::mm::memory::{Env, Memory};
use crate::mm::prep::FreeError;
use crate::mmzone::NodeId;
use crate::task::Current;

/// 2^`order` pages by their address in the linear map, so never highmem. Linux: `__get_free_pages`.
///
/// # Errors
///
/// As [`alloc_pages`].
pub fn get_free_pages<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    gfp: Gfp,
    order: u32,
) -> Result<PhysAddr, AllocError> {
    alloc_pages(memory, current, gfp - Gfp::__GFP_HIGHMEM, order).map(Pfn::addr)
}

/// One page by its address. Linux: `__get_free_page`.
///
/// # Errors
///
/// As [`alloc_pages`].
pub fn get_free_page<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, gfp: Gfp) -> Result<PhysAddr, AllocError> {
    get_free_pages(memory, current, gfp, 0)
}

/// One page full of zeros by its address. Linux: `get_zeroed_page`.
///
/// # Errors
///
/// As [`alloc_pages`].
pub fn get_zeroed_page<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    gfp: Gfp,
) -> Result<PhysAddr, AllocError> {
    get_free_pages(memory, current, gfp | Gfp::__GFP_ZERO, 0)
}

/// 2^`order` pages for devices with few address bits, by their address. Linux: `__get_dma_pages`.
///
/// # Errors
///
/// As [`alloc_pages`].
pub fn get_dma_pages<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    gfp: Gfp,
    order: u32,
) -> Result<PhysAddr, AllocError> {
    get_free_pages(memory, current, gfp | Gfp::GFP_DMA, order)
}

/// Gives back what [`get_free_pages`] gave. Linux: `free_pages`.
///
/// # Errors
///
/// As [`free_pages`].
pub fn free_pages_at<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    addr: PhysAddr,
    order: u32,
) -> Result<bool, FreeError> {
    free_pages(memory, current, addr.pfn(), order)
}

/// `bytes` rounded up to pages, in a row; what the power of two has beyond that goes back at once.
///
/// # Errors
///
/// As [`alloc_pages`], and for a size above 4 MiB. Linux: `alloc_pages_exact`.
pub fn alloc_pages_exact<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    bytes: u64,
    gfp: Gfp,
) -> Result<PhysAddr, AllocError> {
    alloc_pages_exact_nid(memory, current, memory.near_node(), bytes, gfp)
}

/// [`alloc_pages_exact`] near `node`. Linux: `alloc_pages_exact_nid`.
///
/// # Errors
///
/// As [`alloc_pages_exact`].
pub fn alloc_pages_exact_nid<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    node: NodeId,
    bytes: u64,
    gfp: Gfp,
) -> Result<PhysAddr, AllocError> {
    let order = Order::for_bytes(bytes).ok_or(AllocError::OrderTooHigh(get_order(bytes)))?;
    let gfp = gfp - Gfp::__GFP_HIGHMEM - Gfp::__GFP_COMP;
    let pfn = alloc_pages_node(memory, current, Some(node), gfp, order.get())?;
    split_page(memory, pfn, order);
    for page in bytes.div_ceil(PAGE_SIZE)..order.nr_pages() {
        free_page(memory, current, pfn.add(page)).expect("a page that was just split off");
    }
    Ok(pfn.addr())
}

/// Gives back what [`alloc_pages_exact`] gave for `bytes`, page by page; how many pages became free.
///
/// # Errors
///
/// As [`free_pages`], at the first page that is not allocated.
pub fn free_pages_exact<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    addr: PhysAddr,
    bytes: u64,
) -> Result<u64, FreeError> {
    let mut freed = 0;
    for page in 0..bytes.div_ceil(PAGE_SIZE) {
        freed += u64::from(free_page(memory, current, addr.pfn().add(page))?);
    }
    Ok(freed)
}
