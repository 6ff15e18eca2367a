//! Areas of vmalloc.

use kernel::addr::{PAGE_SIZE, VirtAddr};
use kernel::gfp::Gfp;
use kernel::mm::memory::Env;
use kernel::mm::pgtable;
use kernel::mm::vmalloc::{self, BadVfree};

use crate::shadow::{At, Held, Region};
use crate::world::World;

/// Areas at a time.
const AREAS: usize = 24;

/// What somebody has.
pub struct Area {
    start: VirtAddr,
    nr_pages: u64,
    held: Held,
}

impl World<'_, '_> {
    pub fn work_on_areas(&mut self) {
        match self.any(self.areas.len()) {
            Some(number) if self.areas.len() == AREAS || !self.takes() => self.vfree(number),
            _ => self.vmalloc(),
        }
    }

    fn vmalloc(&mut self) {
        let (memory, current) = (self.memory, self.current());
        let bytes = match self.random.below(64) {
            0 => PAGE_SIZE * (513 + self.random.below(30)),
            1..10 => 1 + self.random.below(PAGE_SIZE * 40),
            _ => 1 + self.random.below(PAGE_SIZE * 4),
        };
        let masks = [Gfp::GFP_KERNEL, Gfp::GFP_KERNEL | Gfp::__GFP_ZERO, Gfp::GFP_USER, Gfp::GFP_NOFS, Gfp::GFP_DMA32];
        let gfp = self.random.pick(&masks) | Gfp::__GFP_NORETRY | Gfp::__GFP_NOWARN;
        let Ok(start) = vmalloc::vmalloc_gfp(memory, &current, bytes, gfp) else { return };
        let nr_pages = bytes.div_ceil(PAGE_SIZE);
        let mmu = memory.env.mmu().expect("tables");
        let mapped = |n: u64| pgtable::mapped(&memory.env, mmu, start.add(n * PAGE_SIZE));
        let ranges = (0..nr_pages).map(|n| {
            let first = mapped(n).expect("a page").addr().0;
            first..first + PAGE_SIZE
        });
        assert_eq!(mapped(nr_pages), None, "the guard page");
        let region = Region { at: At::Virt(start), bytes: nr_pages * PAGE_SIZE };
        if gfp.contains(Gfp::__GFP_ZERO) {
            region.check_zero(memory, region.bytes);
        }
        let held = self.shadow.hold(memory, ranges.collect(), vec![region]);
        self.areas.push(Area { start, nr_pages, held });
    }

    pub fn vfree(&mut self, number: usize) {
        let (memory, current) = (self.memory, self.current());
        let Area { start, nr_pages, held } = self.areas.swap_remove(number);
        self.shadow.release(memory, &held);
        let misuses = self.random.one_in(16);
        if misuses {
            let inside = start.add(nr_pages * PAGE_SIZE);
            assert_eq!(vmalloc::vfree(memory, &current, inside), Err(BadVfree::Inside(inside, start)));
        }
        assert_eq!(vmalloc::vfree(memory, &current, start), Ok(nr_pages));
        assert!(!misuses || vmalloc::vfree(memory, &current, start).is_err(), "{start:?} twice");
    }
}
