//! The figures of a cache, as /proc/slabinfo and the OOM killer's report have them.
//!
//! Linux: `get_slabinfo`, `struct slabinfo`.

use super::kmem_cache::{KmemCache, Layout};
use super::memory::{Env, Memory};
use super::slab_object::Slab;
use crate::mmzone::NodeId;

/// What a cache has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlabInfo {
    /// Objects that are not free in a partial slab of a node; those of a CPU's slab all count as in use.
    pub active_objs: u64,
    /// Objects of all slabs.
    pub num_objs: u64,
    /// Slabs.
    pub num_slabs: u64,
    /// How they are laid out.
    pub layout: Layout,
}

/// Free objects in the partial slabs of `node`. Linux: `count_partial`.
pub fn free_objects<E: Env>(memory: &Memory<'_, E>, cache: &KmemCache, node: NodeId) -> u64 {
    let pin = memory.pin();
    let partial = cache.node(node).partial.lock(&pin);
    let slabs = partial.list.iter(&memory.pages).filter_map(|index| Slab::at(memory, index));
    slabs.map(|slab| u64::from(slab.chain(memory).len)).sum()
}

/// The figures of `cache`.
pub fn slabinfo<E: Env>(memory: &Memory<'_, E>, cache: &KmemCache) -> SlabInfo {
    let (mut num_objs, mut num_slabs, mut free) = (0, 0, 0);
    for node in memory.online_nodes() {
        num_objs += cache.node(node.id).nr_objects();
        num_slabs += cache.node(node.id).nr_slabs();
        free += free_objects(memory, cache, node.id);
    }
    SlabInfo { active_objs: num_objs - free, num_objs, num_slabs, layout: cache.layout() }
}
