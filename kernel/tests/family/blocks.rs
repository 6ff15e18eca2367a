//! Blocks of pages, and the slots through which those outside the linear map are reached.

use kernel::addr::{PAGE_SIZE, Pfn};
use kernel::gfp::Gfp;
use kernel::mm::highmem::{self, KmapError};
use kernel::mm::mmu::LAST_PKMAP;
use kernel::mm::page_alloc;

use crate::shadow::{At, Held, Region};
use crate::world::World;

/// Blocks at a time: fewer than slots of kmap, for which nobody should wait here.
const BLOCKS: usize = 400;
const _: () = assert!(BLOCKS < LAST_PKMAP);

/// What somebody has.
pub struct Block {
    pfn: Pfn,
    order: u32,
    /// How often it is mapped by kmap.
    maps: u32,
    held: Held,
}

impl World<'_, '_> {
    pub fn work_on_blocks(&mut self) {
        match self.any(self.blocks.len()) {
            Some(number) if self.blocks.len() == BLOCKS || !self.takes() => self.free_block(number),
            _ => self.take_block(),
        }
    }

    fn take_block(&mut self) {
        let (memory, current) = (self.memory, self.current());
        let order = if self.random.one_in(4) { self.random.below(5) as u32 } else { 0 };
        let high = Gfp::GFP_HIGHUSER | Gfp::__GFP_NORETRY | Gfp::__GFP_NOWARN;
        let movable = high | Gfp::__GFP_MOVABLE;
        let usual = self.gfp();
        let mut gfp = self.random.pick(&[usual, high, high, movable]);
        let node = self.node();
        if matches!(node, Some((_, true))) {
            gfp |= Gfp::__GFP_THISNODE;
        }
        let pages = page_alloc::alloc_pages_node(memory, &current, node.map(|(node, _)| node), gfp, order);
        let Ok(pfn) = pages else { return };
        self.check_node(pfn, node);
        assert!(!highmem::is_high(memory, pfn) || gfp.contains(Gfp::__GFP_HIGHMEM), "{gfp} got {pfn}");
        let held = self.shadow.hold_at(memory, pfn.addr(), PAGE_SIZE << order);
        self.blocks.push(Block { pfn, order, maps: 0, held });
    }

    pub fn free_block(&mut self, number: usize) {
        while self.blocks[number].maps > 0 {
            self.kunmap(number);
        }
        let (memory, current) = (self.memory, self.current());
        let Block { pfn, order, held, .. } = self.blocks.swap_remove(number);
        self.shadow.release(memory, &held);
        assert_eq!(page_alloc::free_pages(memory, &current, pfn, order), Ok(true));
        assert!(!self.random.one_in(16) || page_alloc::free_pages(memory, &current, pfn, order).is_err());
    }

    pub fn work_on_maps(&mut self) {
        let len = self.blocks.len();
        let (Some(one), Some(other)) = (self.any(len), self.any(len)) else { return };
        match self.random.below(3) {
            0 => self.kmap(one),
            1 => self.kunmap(one),
            _ => self.map_for_a_moment(one, other),
        }
    }

    /// The block's first page is what was written, seen at `at`.
    fn check_mapped(&self, number: usize, at: kernel::addr::VirtAddr) {
        let Block { order, held, .. } = &self.blocks[number];
        Region { at: At::Virt(at), bytes: PAGE_SIZE << order }.check(self.memory, held.mark, PAGE_SIZE);
    }

    fn kmap(&mut self, number: usize) {
        let at = highmem::kmap(self.memory, &self.current(), self.blocks[number].pfn).expect("more slots than blocks");
        self.blocks[number].maps += 1;
        self.check_mapped(number, at);
    }

    fn kunmap(&mut self, number: usize) {
        let current = self.current();
        let Block { pfn, maps, .. } = &mut self.blocks[number];
        let unmapped = highmem::kunmap(self.memory, &current, *pfn);
        if *maps == 0 && highmem::is_high(self.memory, *pfn) {
            assert_eq!(unmapped, Err(KmapError::NotMapped(*pfn)));
        } else {
            assert_eq!(unmapped, Ok(()));
            *maps = maps.saturating_sub(1);
        }
    }

    /// Maps two blocks, one within the other's time.
    fn map_for_a_moment(&mut self, one: usize, other: usize) {
        let memory = self.memory;
        let pfns = [one, other].map(|number| self.blocks[number].pfn);
        let at = pfns.map(|pfn| highmem::kmap_atomic(memory, pfn).expect("a slot"));
        self.check_mapped(one, at[0]);
        self.check_mapped(other, at[1]);
        if pfns[0] != pfns[1] && pfns.iter().all(|&pfn| highmem::is_high(memory, pfn)) {
            assert_eq!(highmem::kunmap_atomic(memory, pfns[0]), Err(KmapError::OutOfOrder(pfns[0], pfns[1])));
        }
        assert_eq!([pfns[1], pfns[0]].map(|pfn| highmem::kunmap_atomic(memory, pfn)), [Ok(()); 2]);
    }
}
