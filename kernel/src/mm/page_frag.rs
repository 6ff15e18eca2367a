//! Fragments of pages: how network drivers get memory for packets, many to a block.
//!
//! A [`PageFragCache`] cuts pieces off a block from its end downwards. Every piece holds a reference of the block, so the
//! block is free when the last piece is; the cache takes the references of all pieces that it may ever cut in advance,
//! and so changes none per piece. When the block is used up and all its pieces came back, it is used again. Linux:
//! `page_frag_alloc`, `__page_frag_cache_refill`, `page_frag_free` of `mm/page_alloc.c`.

use core::fmt;

use super::memory::{Env, Memory};
use super::page::PageFlags;
use super::page_alloc::{self, AllocError};
use super::prep::FreeError;
use crate::addr::{Order, PAGE_SIZE, Pfn, PhysAddr};
use crate::gfp::Gfp;
use crate::task::Current;

/// Order of the blocks, if there are any: 32 KiB. Linux: `PAGE_FRAG_CACHE_MAX_ORDER`.
const MAX_ORDER: u32 = 3;
/// Bytes of such a block: the largest piece.
pub const MAX_SIZE: u64 = PAGE_SIZE << MAX_ORDER;
/// References that are taken in advance, with the cache's own. Linux: `PAGE_FRAG_CACHE_MAX_SIZE + 1`.
const BIAS: u16 = MAX_SIZE as u16 + 1;

/// Why there is no piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoFrag {
    /// No block can be had.
    NoPage(AllocError),
    /// The piece does not fit into the block that could be had: so many bytes, of so many.
    TooLarge(u64, u64),
}

impl fmt::Display for NoFrag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoFrag::NoPage(error) => error.fmt(f),
            NoFrag::TooLarge(bytes, size) => write!(f, "a piece of {bytes} bytes does not fit into a block of {size}"),
        }
    }
}

/// The block that pieces are cut off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Block {
    pfn: Pfn,
    order: Order,
    /// Bytes in front of the last piece.
    offset: u64,
    /// References that belong to nobody yet, and the cache's own.
    bias: u16,
    is_pfmemalloc: bool,
}

impl Block {
    const fn size(&self) -> u64 {
        PAGE_SIZE << self.order.get()
    }
}

/// A block with what is left of it. Linux: `struct page_frag_cache`.
#[derive(Clone, Copy, Debug, Default)]
pub struct PageFragCache {
    block: Option<Block>,
}

impl PageFragCache {
    /// The cache without a block.
    pub const fn new() -> PageFragCache {
        PageFragCache { block: None }
    }

    /// Whether the block came from the reserves: only those who make room may use its pieces. It is so for good, even
    /// when the block is used again.
    pub fn is_pfmemalloc(&self) -> bool {
        self.block.is_some_and(|block| block.is_pfmemalloc)
    }

    /// First page of the block.
    pub fn pfn(&self) -> Option<Pfn> {
        self.block.map(|block| block.pfn)
    }
}

/// A piece of `bytes` bytes of the cache's block, or of a new one. Linux: `page_frag_alloc`.
///
/// # Errors
///
/// When a new block is needed and there is none, or the piece is larger than it. Linux corrupts memory then.
pub fn page_frag_alloc<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    cache: &mut PageFragCache,
    bytes: u64,
    gfp: Gfp,
) -> Result<PhysAddr, NoFrag> {
    let mut block = match cache.block {
        Some(block) => block,
        None => refill(memory, current, gfp)?,
    };
    cache.block = Some(block);
    if bytes > block.offset {
        block = match recycle(memory, block) {
            Some(block) => block,
            None => {
                cache.block = None;
                refill(memory, current, gfp)?
            }
        };
        cache.block = Some(block);
    }
    block.offset = block.offset.checked_sub(bytes).ok_or(NoFrag::TooLarge(bytes, block.size()))?;
    block.bias -= 1;
    cache.block = Some(block);
    Ok(PhysAddr(block.pfn.addr().0 + block.offset))
}

/// A new block: a large one if that makes no effort, else a page. Linux: `__page_frag_cache_refill`.
fn refill<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, gfp: Gfp) -> Result<Block, NoFrag> {
    let large = gfp | Gfp::__GFP_COMP | Gfp::__GFP_NOWARN | Gfp::__GFP_NORETRY | Gfp::__GFP_NOMEMALLOC;
    let pfn = page_alloc::alloc_pages(memory, current, large, MAX_ORDER)
        .or_else(|_| page_alloc::alloc_page(memory, current, gfp))
        .map_err(NoFrag::NoPage)?;
    let page = memory.pages.at(memory.pages.index(pfn));
    page.get(BIAS - 1);
    let (order, is_pfmemalloc) = (page.state().order(), page.flags().contains(PageFlags::PFMEMALLOC));
    Ok(Block { pfn, order, offset: PAGE_SIZE << order.get(), bias: BIAS, is_pfmemalloc })
}

/// Gives the references that belong to nobody back; with all pieces back too, the block can be used again.
fn recycle<E: Env>(memory: &Memory<'_, E>, block: Block) -> Option<Block> {
    let page = memory.pages.at(memory.pages.index(block.pfn));
    if !page.sub_and_test(block.bias) {
        return None;
    }
    page.unfreeze(BIAS);
    Some(Block { offset: block.size(), bias: BIAS, ..block })
}

/// Gives a piece back; whether the block is free now. Linux: `page_frag_free`.
///
/// # Errors
///
/// When the page that `addr` lies in is not in use.
pub fn page_frag_free<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    addr: PhysAddr,
) -> Result<bool, FreeError> {
    let index = memory.pages.checked_index(addr.pfn()).ok_or(FreeError::NotMemory(addr.pfn()))?;
    let (head, page) = memory.blocks.head_of(&memory.pages, index).ok_or(FreeError::Reserved(addr.pfn()))?;
    page_alloc::free_pages(memory, current, memory.pages.pfn(head), page.state().order().get())
}

/// Lets go of the cache's block, which is free when its last piece is. Linux: `__page_frag_cache_drain`.
pub fn page_frag_drain<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, cache: &mut PageFragCache) {
    let Some(block) = cache.block.take() else { return };
    // All but one at once, without freeing; the last one as anybody would drop it.
    memory.pages.at(memory.pages.index(block.pfn)).sub_and_test(block.bias - 1);
    let freed = page_alloc::free_pages(memory, current, block.pfn, block.order.get());
    debug_assert!(freed.is_ok(), "{freed:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::testing::{Lab, board_m64};
    use crate::task::TaskFlags;

    fn cut(lab: &Lab<'_>, cache: &mut PageFragCache, bytes: u64) -> Result<PhysAddr, NoFrag> {
        page_frag_alloc(&lab.memory, &lab.current(), cache, bytes, Gfp::GFP_ATOMIC)
    }

    fn count(lab: &Lab<'_>, pfn: Pfn) -> u16 {
        lab.memory.pages.at(lab.memory.pages.index(pfn)).state().count()
    }

    #[test]
    fn pieces_are_cut_from_the_end_and_seventeen_packets_fill_a_block() {
        let machine = board_m64();
        let lab = Lab::without_pcp(&machine);
        let mut cache = PageFragCache::new();
        let pieces: Vec<_> = (0..18).map(|_| cut(&lab, &mut cache, 1920).unwrap()).collect();
        let first = pieces[16].pfn().align_down(Order::new(3).unwrap());
        for (n, piece) in pieces[..17].iter().enumerate() {
            assert_eq!(piece.0, first.addr().0 + MAX_SIZE - 1920 * (n as u64 + 1));
        }
        assert_ne!(cache.pfn(), Some(first));
        assert_eq!((count(&lab, first), count(&lab, cache.pfn().unwrap())), (17, BIAS));
        let free = |addr| page_frag_free(&lab.memory, &lab.current(), addr).unwrap();
        assert!(pieces[..16].iter().all(|piece| !free(*piece)) && free(pieces[16]));
        page_frag_drain(&lab.memory, &lab.current(), &mut cache);
        assert_eq!(count(&lab, pieces[17].pfn().align_down(Order::new(3).unwrap())), 1);
        assert!(free(pieces[17]) && cache.pfn().is_none());
        assert_eq!(lab.nr_free(), 16384);
        lab.assert_sound();
    }

    #[test]
    fn a_block_whose_pieces_came_back_is_used_again() {
        let machine = board_m64();
        let lab = Lab::without_pcp(&machine);
        let mut cache = PageFragCache::new();
        let first = cut(&lab, &mut cache, MAX_SIZE).unwrap();
        assert!(!page_frag_free(&lab.memory, &lab.current(), first).unwrap());
        assert_eq!(cut(&lab, &mut cache, MAX_SIZE), Ok(first));
        assert_eq!(count(&lab, first.pfn()), BIAS);
        assert_eq!(cut(&lab, &mut cache, MAX_SIZE + 1), Err(NoFrag::TooLarge(MAX_SIZE + 1, MAX_SIZE)));
        page_frag_drain(&lab.memory, &lab.current(), &mut cache);
        assert!(page_frag_free(&lab.memory, &lab.current(), first).unwrap());
        assert_eq!(lab.nr_free(), 16384);
    }

    #[test]
    fn only_a_single_page_comes_from_the_reserves_and_stays_marked() {
        let machine = board_m64();
        let lab = Lab::scenario(&machine, 0);
        (0..16).for_each(|n| _ = lab.free(Pfn(0x40000 + n), 0).unwrap());
        lab.tasks().init().change_flags(TaskFlags::PF_MEMALLOC, TaskFlags::empty());
        let mut cache = PageFragCache::new();
        let piece = cut(&lab, &mut cache, 4096).unwrap();
        assert_eq!((cache.is_pfmemalloc(), lab.nr_free()), (true, 15));
        page_frag_free(&lab.memory, &lab.current(), piece).unwrap();
        assert_eq!((cut(&lab, &mut cache, 4096), cache.is_pfmemalloc()), (Ok(piece), true));
        page_frag_free(&lab.memory, &lab.current(), piece).unwrap();
        assert_eq!(cut(&lab, &mut cache, 5000), Err(NoFrag::TooLarge(5000, 4096)));
    }
}
