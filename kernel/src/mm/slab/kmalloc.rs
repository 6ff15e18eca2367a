//! Memory by size: from the cache of the next larger size, or, above 8 KiB, straight from the page allocator.
//!
//! Linux: `kmalloc`, `kmalloc_large`, `kfree`, `ksize`, `krealloc` of `mm/slub.c`, `mm/slab_common.c` and
//! `include/linux/slab.h`.
//! Linux does more: it clears what it frees on demand (`kzfree`), and copies strings.

use super::free::{self, slab_of};
use super::{BadFree, NoObject, Request, alloc_object, block_of, bytes, cache_hint, give_to_cpu, ladder};
use crate::addr::{PAGE_SIZE, PhysAddr, get_order};
use crate::gfp::Gfp;
use crate::mm::kmem_cache::MAX_KMALLOC_SIZE;
use crate::mm::memory::{Env, Hook, Memory};
use crate::mm::page::{Kind, PageFlags};
use crate::mm::page_alloc::{self, AllocError};
use crate::mm::slab_object::is_slab;
use crate::mmzone::NodeId;
use crate::task::Current;
use crate::trace::kmem::Kmem;

/// What a request for no byte gets: the address of nothing, which may be freed.
pub const ZERO_SIZE_PTR: PhysAddr = PhysAddr(16);

/// Whether an address is no object's: null, or that of a request for no byte. No slab lies in the first page of the
/// address space, where boards have RAM but firmware keeps it. Linux: `ZERO_OR_NULL_PTR`.
fn is_nothing(addr: PhysAddr) -> bool {
    addr <= ZERO_SIZE_PTR
}

/// `size` bytes; [`ZERO_SIZE_PTR`] for 0.
///
/// # Errors
///
/// When there is no memory for that, or never will be. Linux: `kmalloc`.
#[inline(always)]
pub fn kmalloc<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    size: u64,
    gfp: Gfp,
) -> Result<PhysAddr, NoObject> {
    if size.wrapping_sub(1) >= MAX_KMALLOC_SIZE {
        return kmalloc_apart(memory, current, size, gfp, None);
    }
    match memory.slabs.kmalloc(size, gfp) {
        Some(cache) => alloc_object(memory, current, cache, gfp, Some(size)),
        None => Err(NoObject::NoCache),
    }
}

/// `size` bytes in memory of `node`. Linux: `kmalloc_node`.
///
/// # Errors
///
/// As [`kmalloc`].
pub fn kmalloc_node<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    size: u64,
    gfp: Gfp,
    node: Option<NodeId>,
) -> Result<PhysAddr, NoObject> {
    if size.wrapping_sub(1) >= MAX_KMALLOC_SIZE {
        return kmalloc_apart(memory, current, size, gfp, node);
    }
    let cache = memory.slabs.kmalloc(size, gfp).ok_or(NoObject::NoCache)?;
    ladder::alloc_carefully(memory, current, cache, Request { gfp, node, kmalloc: Some(size) })
}

/// `size` bytes of zeros, and the object that they lie in. Linux: `kzalloc`.
///
/// # Errors
///
/// As [`kmalloc`].
pub fn kzalloc<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    size: u64,
    gfp: Gfp,
) -> Result<PhysAddr, NoObject> {
    kmalloc(memory, current, size, gfp | Gfp::__GFP_ZERO)
}

/// No byte, or so many that whole pages are better. Linux: `kmalloc_large`, `kmalloc_order`.
#[inline(never)]
fn kmalloc_apart<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    size: u64,
    gfp: Gfp,
    node: Option<NodeId>,
) -> Result<PhysAddr, NoObject> {
    if size == 0 {
        return Ok(ZERO_SIZE_PTR);
    }
    let order = get_order(size);
    let pages = page_alloc::alloc_pages_node(memory, current, node, gfp | Gfp::__GFP_COMP, order);
    let object = pages.map(|pfn| pfn.addr());
    let bytes_alloc = PAGE_SIZE.checked_shl(order).unwrap_or(0);
    memory.trace(current, || Kmem::SlabAlloc {
        is_kmalloc: true,
        ptr: object.ok(),
        bytes_req: size,
        bytes_alloc,
        gfp,
        node,
    });
    object.map_err(|error| match error {
        AllocError::OrderTooHigh(_) => NoObject::TooLarge(size),
        _ => NoObject::NoBlock(order, gfp),
    })
}

/// Gives back what [`kmalloc`] or a cache gave; nothing happens for null and [`ZERO_SIZE_PTR`].
///
/// # Errors
///
/// When nothing that starts at `addr` is in use; nothing changed then. Linux: `kfree`.
#[inline(always)]
pub fn kfree<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, addr: PhysAddr) -> Result<(), BadFree> {
    if !memory.has(Hook::Trace)
        && let Some(cache) = cache_hint(memory, addr)
        && give_to_cpu(memory, cache, addr)
    {
        return Ok(());
    }
    kfree_carefully(memory, current, addr)
}

#[inline(never)]
fn kfree_carefully<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, addr: PhysAddr) -> Result<(), BadFree> {
    memory.trace(current, || Kmem::SlabFree { is_kmalloc: true, ptr: addr });
    if is_nothing(addr) {
        return Ok(());
    }
    match large_block(memory, addr)? {
        Some(bytes) => {
            let freed = page_alloc::free_pages(memory, current, addr.pfn(), get_order(bytes));
            freed.map(|_| ()).map_err(|_| BadFree::Foreign(addr))
        }
        None => free::free_object(memory, current, &slab_of(memory, addr)?, addr),
    }
}

/// The bytes of the block of pages that starts at `addr`; `None` if `addr` is elsewhere than in one of those that
/// [`kmalloc`] takes for large sizes: compound, and of no slab.
fn large_block<E: Env>(memory: &Memory<'_, E>, addr: PhysAddr) -> Result<Option<u64>, BadFree> {
    let Some((head, state)) = block_of(memory, addr) else { return Ok(None) };
    let is_large = state.is(Kind::Allocated) && state.flags().contains(PageFlags::HEAD) && !is_slab(state);
    let start = memory.pages.pfn(head).addr();
    match is_large {
        true if start != addr => Err(BadFree::Inside(addr, start)),
        true => Ok(Some(PAGE_SIZE << state.order().get())),
        false => Ok(None),
    }
}

/// Bytes that the user of the object at `addr` may use; 0 for null and [`ZERO_SIZE_PTR`]. Linux: `ksize`.
///
/// # Errors
///
/// When nothing that starts at `addr` can be in use.
pub fn ksize<E: Env>(memory: &Memory<'_, E>, addr: PhysAddr) -> Result<u64, BadFree> {
    if is_nothing(addr) {
        return Ok(0);
    }
    if let Some(bytes) = large_block(memory, addr)? {
        return Ok(bytes);
    }
    let slab = free::in_use(memory, addr)?;
    Ok(slab.layout.usable().into())
}

/// Why memory did not get another size; what there was is still there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoResize {
    /// It is not in use.
    Bad(BadFree),
    /// There is no room for the new size.
    NoObject(NoObject),
}

/// Memory of `size` bytes that begins with what is at `addr`, which it replaces: the same if it is large enough.
///
/// # Errors
///
/// As [`kmalloc`] and [`kfree`]; what is at `addr` stays then. Linux: `krealloc`.
pub fn krealloc<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    addr: PhysAddr,
    size: u64,
    gfp: Gfp,
) -> Result<PhysAddr, NoResize> {
    let has = ksize(memory, addr).map_err(NoResize::Bad)?;
    let is_there = !is_nothing(addr);
    if size > 0 && is_there && size <= has {
        return Ok(addr);
    }
    let object = kmalloc(memory, current, size, gfp).map_err(NoResize::NoObject)?;
    if is_there {
        bytes::copy(memory.env.linear(), addr, object, if size == 0 { 0 } else { has });
        if let Err(bad) = kfree(memory, current, addr) {
            // Somebody wrote beside it, say: it stays, so what was to take its place goes.
            let freed = kfree(memory, current, object);
            debug_assert_eq!(freed, Ok(()), "an object that was just made");
            return Err(NoResize::Bad(bad));
        }
    }
    Ok(object)
}
