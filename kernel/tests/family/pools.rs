//! Memory pools, and what was taken from them.

use kernel::addr::{PAGE_SIZE, PhysAddr};
use kernel::gfp::Gfp;
use kernel::host::HostEnv;
use kernel::mm::kmem_cache::{CacheFlags, KmemCache};
use kernel::mm::memory::Memory;
use kernel::mm::mempool::{self, Mempool, Source};
use kernel::mm::slab;

use crate::shadow::Held;
use crate::world::World;

/// Pools at a time.
const POOLS: usize = 6;

/// A pool, and what somebody has of it.
struct Pool<'m> {
    pool: Mempool<'m>,
    elements: Vec<(PhysAddr, Held)>,
}

/// All pools, and the cache that some of them have their objects from.
pub struct Pools<'m> {
    cache: &'m KmemCache,
    pools: Vec<Pool<'m>>,
}

impl<'m> Pools<'m> {
    pub fn new(memory: &Memory<'m, HostEnv<'m>>) -> Pools<'m> {
        let cache = memory.slabs.create("of-pools", 200, 0, CacheFlags::empty()).expect("a place for it");
        Pools { cache, pools: Vec::new() }
    }
}

impl World<'_, '_> {
    pub fn work_on_pools(&mut self) {
        match (self.any(self.pools.pools.len()), self.random.below(20)) {
            (Some(pool), 0) => self.resize_pool(pool),
            (Some(pool), 1) if self.pools.pools[pool].elements.is_empty() => self.destroy_pool(pool),
            (Some(pool), 3..) if self.takes() => self.take_element(pool),
            (Some(pool), 3..) => self.free_element(pool),
            (None, _) | (_, 2) if self.pools.pools.len() < POOLS => self.create_pool(),
            _ => {}
        }
    }

    fn create_pool(&mut self) {
        let source = match self.random.below(3) {
            0 => Source::Cache(self.pools.cache),
            1 => Source::Kmalloc(1 + self.random.below(3000)),
            _ => Source::Pages(self.random.below(3) as u32),
        };
        let min_nr = self.random.below(9) as u32;
        let Ok(pool) = mempool::create(self.memory, &self.current(), min_nr, source) else { return };
        assert_eq!(pool.level(self.memory), (min_nr, min_nr));
        self.pools.pools.push(Pool { pool, elements: Vec::new() });
    }

    fn take_element(&mut self, number: usize) {
        let (memory, current) = (self.memory, self.current());
        let pool = &self.pools.pools[number].pool;
        let (has, _) = pool.level(memory);
        // Without an object at hand one might wait for ever: nobody else is there who gives one back.
        let gfp = if has == 0 { Gfp::GFP_NOWAIT } else { self.random.pick(&[Gfp::GFP_NOIO, Gfp::GFP_NOWAIT]) };
        let element = mempool::alloc(memory, &current, pool, gfp);
        assert!(has == 0 || element.is_ok(), "{element:?} though {has} were set aside");
        let Ok(addr) = element else { return };
        let bytes = match pool.source() {
            Source::Cache(cache) => cache.layout().usable().into(),
            Source::Kmalloc(_) => slab::ksize(memory, addr).expect("an object in use"),
            Source::Pages(order) => PAGE_SIZE << order,
        };
        let held = self.shadow.hold_at(memory, addr, bytes);
        self.pools.pools[number].elements.push((addr, held));
    }

    fn free_element(&mut self, number: usize) {
        let (memory, current) = (self.memory, self.current());
        let Some(element) = self.any(self.pools.pools[number].elements.len()) else { return };
        let misuses = self.random.one_in(16);
        let Pool { pool, elements } = &mut self.pools.pools[number];
        let (addr, held) = elements.swap_remove(element);
        self.shadow.release(memory, &held);
        mempool::free(memory, &current, pool, addr).expect("an object of the pool");
        assert!(!misuses || mempool::free(memory, &current, pool, addr).is_err(), "{addr:?} twice");
    }

    fn resize_pool(&mut self, number: usize) {
        let (memory, current, wanted) = (self.memory, self.current(), self.random.below(13) as u32);
        let pool = &self.pools.pools[number].pool;
        let (had, should) = pool.level(memory);
        match mempool::resize(memory, &current, pool, wanted) {
            Ok(has) => assert!(has <= wanted && pool.level(memory) == (has, wanted), "{has} of {wanted}"),
            Err(_) => assert!(wanted > should && pool.level(memory) == (had, should)),
        }
    }

    fn destroy_pool(&mut self, number: usize) {
        let Pool { pool, .. } = self.pools.pools.swap_remove(number);
        mempool::destroy(self.memory, &self.current(), pool);
    }

    pub fn give_back_pools(&mut self) {
        while let Some(number) = self.any(self.pools.pools.len()) {
            while !self.pools.pools[number].elements.is_empty() {
                self.free_element(number);
            }
            self.destroy_pool(number);
        }
    }
}
