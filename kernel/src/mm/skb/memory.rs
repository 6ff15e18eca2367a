//! Memory for a packet that comes in, and its way back.
//!
//! Small packets are cut off a page, large ones and those of callers who may sleep come from `kmalloc`; which it is, and
//! from which cache, depends on the [`RxModel`]. Linux: `__netdev_alloc_skb`, `__napi_alloc_skb`, `__alloc_skb`,
//! `kmalloc_reserve`, `kfree_skb`.

use super::buff::{HEAD_FRAG, MAX_SKB_FRAGS, PAD, PFMEMALLOC, SHARED_INFO, SkBuff};
use super::{FragCaches, Net, NoSkb, RxModel};
use crate::addr::{PAGE_SIZE, Pfn, PhysAddr};
use crate::gfp::Gfp;
use crate::mm::memory::{Env, Memory};
use crate::mm::page::PageFlags;
use crate::mm::page_alloc;
use crate::mm::page_frag::{PageFragCache, page_frag_alloc, page_frag_free};
use crate::mm::reserve::pfmemalloc_allowed;
use crate::mm::slab::{self, NoObject};
use crate::mmzone::NR_CPUS;
use crate::task::{Context, Current};

/// Bytes of a cache line. Linux: `SMP_CACHE_BYTES`.
const CACHE_LINE: u64 = 64;

/// What is left of `bytes` for a packet. Linux: `SKB_WITH_OVERHEAD`.
const fn with_overhead(bytes: u64) -> u64 {
    bytes - SHARED_INFO
}

/// Linux: `SKB_DATA_ALIGN`.
const fn data_align(bytes: u64) -> u64 {
    bytes.next_multiple_of(CACHE_LINE)
}

/// A packet with room for `len` bytes behind the headroom, for a driver that is no NAPI driver. Linux:
/// `__netdev_alloc_skb`.
///
/// # Errors
///
/// When there is no memory for it.
pub fn netdev_alloc_skb<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    net: &mut Net<'_>,
    len: u32,
    gfp: Gfp,
) -> Result<SkBuff, NoSkb> {
    let pick: Pick = match (net.model, current.context()) {
        // The newer kernel disables bottom halves where it need not disable interrupts.
        (RxModel::Seed, context) if context != Context::HardIrq => |caches| &mut caches.napi,
        _ => |caches| &mut caches.netdev,
    };
    alloc_rx(memory, current, net, len, gfp, pick)
}

/// The same for a NAPI driver, which is in a softirq. Linux: `__napi_alloc_skb`.
///
/// # Errors
///
/// As [`netdev_alloc_skb`].
pub fn napi_alloc_skb<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    net: &mut Net<'_>,
    len: u32,
    gfp: Gfp,
) -> Result<SkBuff, NoSkb> {
    alloc_rx(memory, current, net, len, gfp, |caches| &mut caches.napi)
}

/// Chooses one of a CPU's caches.
type Pick = fn(&mut FragCaches) -> &mut PageFragCache;

fn alloc_rx<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    net: &mut Net<'_>,
    len: u32,
    gfp: Gfp,
    pick: Pick,
) -> Result<SkBuff, NoSkb> {
    let len = u64::from(len) + PAD;
    if needs_kmalloc(net.model, len, gfp) {
        return alloc_skb(memory, current, net, len, gfp);
    }
    let bytes = data_align(len + SHARED_INFO);
    let cache = pick(&mut net.caches[memory.cpu() % NR_CPUS]);
    let gfp = rx_gfp(net.socks.iter().flatten().any(|sock| sock.is_memalloc()), gfp);
    let head = page_frag_alloc(memory, current, cache, bytes, gfp).map_err(NoSkb::Frag)?;
    let marks = if cache.is_pfmemalloc() { HEAD_FRAG | PFMEMALLOC } else { HEAD_FRAG };
    // Not the caller's mask: the head of a packet of the reserves does not come from them.
    match slab::kmem_cache_alloc(memory, current, net.head_cache, Gfp::GFP_ATOMIC) {
        Ok(skb) => {
            SkBuff(skb).build(memory, head, bytes, marks);
            Ok(SkBuff(skb))
        }
        Err(error) => {
            free_frag(memory, current, head);
            Err(NoSkb::Head(error))
        }
    }
}

/// Whether the bytes do not come from a page's fragments. `len` includes the headroom.
fn needs_kmalloc(model: RxModel, len: u64, gfp: Gfp) -> bool {
    let is_small = model == RxModel::Seed && len <= with_overhead(1024);
    is_small || len > with_overhead(PAGE_SIZE) || gfp.intersects(Gfp::__GFP_DIRECT_RECLAIM | Gfp::__GFP_DMA)
}

/// The mask of a packet that comes in: with access to the reserves if some socket makes room.
fn rx_gfp(memalloc_socks: bool, gfp: Gfp) -> Gfp {
    if memalloc_socks { gfp | Gfp::__GFP_MEMALLOC } else { gfp }
}

/// A packet that comes in, with room for `size` bytes with the headroom, all of it from slabs. Linux: `__alloc_skb` with
/// `SKB_ALLOC_RX`.
///
/// # Errors
///
/// As [`netdev_alloc_skb`].
pub fn alloc_skb<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    net: &Net<'_>,
    size: u64,
    gfp: Gfp,
) -> Result<SkBuff, NoSkb> {
    let gfp = rx_gfp(net.memalloc_socks(), gfp);
    let head = slab::kmem_cache_alloc(memory, current, net.head_cache, gfp - Gfp::__GFP_DMA).map_err(NoSkb::Head)?;
    let (data, marks) = match kmalloc_reserve(memory, current, data_align(size) + SHARED_INFO, gfp) {
        Ok(data) => data,
        Err(error) => {
            free_head(memory, current, net, SkBuff(head));
            return Err(NoSkb::Data(error));
        }
    };
    let bytes = slab::ksize(memory, data).expect("an object that was just made");
    SkBuff(head).build(memory, data, bytes, marks);
    Ok(SkBuff(head))
}

/// Bytes from outside of the reserves, else from these, with the mark of that. Linux: `kmalloc_reserve`.
fn kmalloc_reserve<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    bytes: u64,
    gfp: Gfp,
) -> Result<(PhysAddr, u64), NoObject> {
    let quiet = gfp | Gfp::__GFP_NOMEMALLOC | Gfp::__GFP_NOWARN;
    match slab::kmalloc(memory, current, bytes, quiet) {
        Err(_) if pfmemalloc_allowed(current, gfp) => {
            slab::kmalloc(memory, current, bytes, gfp).map(|data| (data, PFMEMALLOC))
        }
        first => first.map(|data| (data, 0)),
    }
}

/// Gives the packet another page, of which it uses `len` bytes; the reference of the page is the packet's from now on.
/// `false` if it has as many as it may have. Linux: `skb_add_rx_frag`, `__skb_fill_page_desc`.
pub fn add_rx_frag<E: Env>(memory: &Memory<'_, E>, skb: SkBuff, pfn: Pfn, len: u64) -> bool {
    if skb.nr_frags(memory) == MAX_SKB_FRAGS {
        return false;
    }
    if memory.pages.at(memory.pages.index(pfn)).flags().contains(PageFlags::PFMEMALLOC) {
        skb.mark_pfmemalloc(memory);
    }
    skb.push_frag(memory, pfn);
    skb.grow(memory, len, PAGE_SIZE);
    true
}

/// Frees a packet with its bytes and pages. Linux: `kfree_skb`.
pub fn kfree_skb<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, net: &Net<'_>, skb: SkBuff) {
    for n in 0..skb.nr_frags(memory) {
        let pfn = skb.frag(memory, n);
        if let Err(error) = page_alloc::free_page(memory, current, pfn) {
            log::error!("skb_release_data: {error}");
        }
    }
    let head = skb.head(memory);
    if skb.is_head_frag(memory) {
        free_frag(memory, current, head);
    } else if let Err(error) = slab::kfree(memory, current, head) {
        log::error!("skb_free_head: {error}");
    }
    free_head(memory, current, net, skb);
}

/// Somebody who frees pages by their numbers may have been here before; that is told, and does no more harm.
fn free_frag<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, head: PhysAddr) {
    if let Err(error) = page_frag_free(memory, current, head) {
        log::error!("skb_free_frag: {error}");
    }
}

/// Linux: `kfree_skbmem`.
fn free_head<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, net: &Net<'_>, skb: SkBuff) {
    if let Err(error) = slab::kmem_cache_free(memory, current, net.head_cache, skb.0) {
        log::error!("kfree_skbmem: {error}");
    }
}
