//! Objects of kmalloc, and blocks that are too large for it.

use kernel::addr::PhysAddr;
use kernel::gfp::Gfp;
use kernel::mm::slab::{self, ZERO_SIZE_PTR};

use crate::shadow::{Held, Region};
use crate::world::World;

/// What somebody has.
pub struct Object {
    pub addr: PhysAddr,
    /// How many of its bytes may be used.
    pub bytes: u64,
    pub held: Held,
}

impl World<'_, '_> {
    pub fn work_on_objects(&mut self) {
        match self.any(self.objects.len()) {
            Some(number) if !self.takes() => self.kfree(number),
            _ => self.kmalloc(),
        }
    }

    fn size(&mut self) -> u64 {
        match self.random.below(20) {
            0 => 8193 + self.random.below(20_000),
            1..4 => 1 + self.random.below(8192),
            4..8 => 1 + self.random.below(1024),
            _ => 1 + self.random.below(200),
        }
    }

    fn kmalloc(&mut self) {
        let (memory, current) = (self.memory, self.current());
        let (size, node) = (self.size(), self.node());
        let mut gfp = self.gfp();
        for kind in [Gfp::__GFP_ZERO, Gfp::__GFP_RECLAIMABLE, Gfp::__GFP_DMA] {
            if self.random.one_in(10) {
                gfp |= kind;
            }
        }
        let object = match node {
            Some((node, false)) => slab::kmalloc_node(memory, &current, size, gfp, Some(node)),
            Some((node, true)) => slab::kmalloc_node(memory, &current, size, gfp | Gfp::__GFP_THISNODE, Some(node)),
            None => slab::kmalloc(memory, &current, size, gfp),
        };
        let Ok(addr) = object else { return };
        self.check_node(addr.pfn(), node);
        let bytes = slab::ksize(memory, addr).expect("an object that was just made");
        assert!(bytes >= size, "{bytes} bytes for {size}");
        if gfp.contains(Gfp::__GFP_ZERO) {
            Region::phys(addr, bytes).check_zero(memory, size);
        }
        self.keep(addr, bytes);
    }

    fn keep(&mut self, addr: PhysAddr, bytes: u64) {
        let held = self.shadow.hold_at(self.memory, addr, bytes);
        self.objects.push(Object { addr, bytes, held });
    }

    pub fn krealloc(&mut self) {
        let Some(number) = self.any(self.objects.len()) else { return self.kmalloc() };
        let (memory, current, gfp) = (self.memory, self.current(), self.gfp());
        let size = if self.random.one_in(10) { 0 } else { self.size() };
        let Object { addr, bytes, held } = self.objects.swap_remove(number);
        // Here, since what is there may be gone afterwards; and again when it is given back, if it stays.
        self.shadow.release(memory, &held);
        match slab::krealloc(memory, &current, addr, size, gfp) {
            Ok(ZERO_SIZE_PTR) => assert!(size == 0 && slab::kfree(memory, &current, addr).is_err()),
            Ok(same) if same == addr => self.keep(addr, bytes),
            Ok(other) => {
                let has = slab::ksize(memory, other).expect("an object that was just made");
                assert!(has >= size && size > bytes, "{size} bytes in place of {bytes}");
                Region::phys(other, bytes).check(memory, held.mark, bytes);
                self.keep(other, has);
            }
            Err(_) => {
                Region::phys(addr, bytes).check(memory, held.mark, bytes);
                self.keep(addr, bytes);
            }
        }
    }

    pub fn kfree(&mut self, number: usize) {
        let (memory, current) = (self.memory, self.current());
        let Object { addr, held, .. } = self.objects.swap_remove(number);
        self.shadow.release(memory, &held);
        let misuses = self.random.one_in(16);
        assert!(!misuses || slab::kfree(memory, &current, PhysAddr(addr.0 + 4)).is_err(), "inside of {addr:?}");
        slab::kfree(memory, &current, addr).expect("an object in use");
        assert!(!misuses || slab::kfree(memory, &current, addr).is_err(), "{addr:?} twice");
    }
}
