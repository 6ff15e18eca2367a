//! Caches that come and go, and their objects.

use kernel::addr::PhysAddr;
use kernel::gfp::Gfp;
use kernel::mm::kmem_cache::{CacheError, CacheFlags, KmemCache};
use kernel::mm::slab;

use crate::shadow::{Held, Region};
use crate::world::World;

/// Caches at a time.
const CACHES: usize = 8;

/// A cache, and the objects of it that somebody has.
pub struct Cache<'m> {
    cache: &'m KmemCache,
    objects: Vec<(PhysAddr, Held)>,
}

impl World<'_, '_> {
    pub fn work_on_caches(&mut self) {
        match (self.any(self.caches.len()), self.random.below(40)) {
            (Some(cache), 0) => self.destroy(cache),
            (_, 1) => self.shrink(),
            (Some(cache), _) if !self.takes() => self.free_object(cache),
            (Some(cache), 3..) => self.take_object(cache),
            (None, _) | (_, 2) if self.caches.len() < CACHES => self.create(),
            _ => {}
        }
    }

    fn create(&mut self) {
        let size = if self.random.one_in(8) { 8 + self.random.below(20_000) } else { 8 + self.random.below(1500) };
        let align = self.random.pick(&[0, 0, 16, 64, 256]);
        let (none, debug) = (CacheFlags::empty(), CacheFlags::DEBUG);
        let flags = self.random.pick(&[none, none, CacheFlags::HWCACHE_ALIGN, CacheFlags::RECLAIM_ACCOUNT, debug]);
        let name = format!("cache-{}", self.nr_caches);
        self.nr_caches += 1;
        let cache = self.memory.slabs.create(&name, size, align, flags).expect("a place for it");
        assert!(self.memory.slabs.create(&name, size, align, flags).is_err());
        self.caches.push(Cache { cache, objects: Vec::new() });
    }

    fn take_object(&mut self, number: usize) {
        let (memory, current, cache) = (self.memory, self.current(), self.caches[number].cache);
        let (node, zero) = (self.node(), if self.random.one_in(8) { Gfp::__GFP_ZERO } else { Gfp::empty() });
        let gfp = self.gfp() | zero;
        let object = match node {
            Some((node, false)) => slab::kmem_cache_alloc_node(memory, &current, cache, gfp, Some(node)),
            Some((node, true)) => {
                slab::kmem_cache_alloc_node(memory, &current, cache, gfp | Gfp::__GFP_THISNODE, Some(node))
            }
            None => slab::kmem_cache_alloc(memory, &current, cache, gfp),
        };
        let Ok(addr) = object else { return };
        self.check_node(addr.pfn(), node);
        let (layout, bytes) = (cache.layout(), u64::from(cache.layout().usable()));
        assert!(addr.0.is_multiple_of(u64::from(layout.align)), "{addr:?} of {layout:?}");
        if !zero.is_empty() {
            Region::phys(addr, bytes).check_zero(memory, layout.object_size.into());
        }
        let held = self.shadow.hold_at(memory, addr, bytes);
        self.caches[number].objects.push((addr, held));
    }

    fn free_object(&mut self, number: usize) {
        let (memory, current, cache) = (self.memory, self.current(), self.caches[number].cache);
        let Some(object) = self.any(self.caches[number].objects.len()) else { return };
        let (addr, held) = self.caches[number].objects.swap_remove(object);
        self.shadow.release(memory, &held);
        let misuses = self.random.one_in(16);
        if misuses {
            let other = memory.slabs.find("kmalloc-128").expect("a cache of kmalloc");
            assert!(slab::kmem_cache_free(memory, &current, other, addr).is_err(), "{addr:?} to another cache");
        }
        slab::kmem_cache_free(memory, &current, cache, addr).expect("an object in use");
        assert!(!misuses || slab::kmem_cache_free(memory, &current, cache, addr).is_err(), "{addr:?} twice");
    }

    fn shrink(&mut self) {
        let caches: Vec<_> = self.memory.slabs.iter().collect();
        let cache = self.random.pick(&caches);
        let slabs = slab::kmem_cache_shrink(self.memory, &self.current(), cache);
        assert_eq!(slabs, cache.nr_slabs());
        slab::kmem_cache_validate(self.memory, &self.current(), cache).expect("nobody writes to free objects");
    }

    /// Destroys a cache; one that is in use stays.
    fn destroy(&mut self, number: usize) {
        let (memory, cache) = (self.memory, self.caches[number].cache);
        if !self.caches[number].objects.is_empty() {
            let refused = slab::kmem_cache_destroy(memory, &self.current(), cache);
            assert!(matches!(refused, Err(CacheError::Busy(1..))), "{refused:?}");
            return;
        }
        slab::kmem_cache_destroy(memory, &self.current(), cache).expect("a cache without objects");
        self.caches.swap_remove(number);
    }

    /// Gives all objects back, and the caches with them.
    pub fn destroy_caches(&mut self) {
        while let Some(number) = self.any(self.caches.len()) {
            while !self.caches[number].objects.is_empty() {
                self.free_object(number);
            }
            self.destroy(number);
        }
    }
}
