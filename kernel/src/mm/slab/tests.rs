//! Slabs at work on a machine of 64 MiB: where objects come from, where slabs go, and what misuse does not change.

use super::validate::Invalid;
use super::*;
use crate::mm::kmem_cache::{CacheFlags, FROZEN};
use crate::mm::slabinfo::{SlabInfo, slabinfo};
use crate::mm::testing::{Lab, MIB, board_m64 as board, logged};
use crate::vmstat::NodeStat;

mod ladder;
mod misuse;
mod model;
mod scenarios;

impl<'m> Lab<'m> {
    fn cache(&self, name: &str) -> &'m KmemCache {
        self.memory.slabs.find(name).unwrap()
    }

    fn make(&self, name: &str, size: u64, flags: CacheFlags) -> &'m KmemCache {
        self.memory.slabs.create(name, size, 0, flags).unwrap()
    }

    fn kmalloc(&self, size: u64, gfp: Gfp) -> Result<PhysAddr, NoObject> {
        kmalloc(&self.memory, &self.current(), size, gfp)
    }

    fn kfree(&self, addr: PhysAddr) -> Result<(), BadFree> {
        kfree(&self.memory, &self.current(), addr)
    }

    fn get(&self, cache: &KmemCache) -> PhysAddr {
        kmem_cache_alloc(&self.memory, &self.current(), cache, Gfp::GFP_KERNEL).unwrap()
    }

    fn put(&self, cache: &KmemCache, addr: PhysAddr) -> Result<(), BadFree> {
        kmem_cache_free(&self.memory, &self.current(), cache, addr)
    }

    fn shrink(&self, cache: &KmemCache) -> u64 {
        kmem_cache_shrink(&self.memory, &self.current(), cache)
    }

    /// Free objects in the cache's slabs, if nothing is wrong with it.
    fn validate(&self, cache: &KmemCache) -> Result<u64, Invalid> {
        kmem_cache_validate(&self.memory, &self.current(), cache).map(|valid| valid.objects)
    }

    fn info(&self, cache: &KmemCache) -> SlabInfo {
        slabinfo(&self.memory, cache)
    }

    /// Objects in use as /proc/slabinfo tells them, all objects, and slabs.
    fn figures(&self, cache: &KmemCache) -> [u64; 3] {
        let SlabInfo { active_objs, num_objs, num_slabs, .. } = self.info(cache);
        [active_objs, num_objs, num_slabs]
    }

    /// Pages of slabs: reclaimable, unreclaimable.
    fn slab_pages(&self) -> [u64; 2] {
        let stat = |stat| self.memory.online_nodes().map(|node| node.stat(stat)).sum();
        [stat(NodeStat::NrSlabReclaimable), stat(NodeStat::NrSlabUnreclaimable)]
    }

    /// Pages on free lists and per-CPU lists.
    fn free_pages(&self) -> u64 {
        self.memory.populated_zones().map(|zone| zone.counts.free_pages() + zone.pcp_pages()).sum()
    }

    /// The cache of kmalloc that the object came from.
    fn cache_of(&self, addr: PhysAddr) -> String {
        free::slab_of(&self.memory, addr).map_or_else(|_| String::new(), |slab| slab.cache.name().to_string())
    }
}
