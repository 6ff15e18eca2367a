//! A cache as a whole: its empty slabs given back, or all of it destroyed.
//!
//! Linux: `kmem_cache_shrink`, `kmem_cache_destroy`.
//! Linux does more: it interrupts only those CPUs that have a slab to give up.

use super::{debug, pages, partial};
use crate::mm::kmem_cache::{CacheError, Chain, KmemCache, Partial};
use crate::mm::list::List;
use crate::mm::memory::{Env, Memory};
use crate::mm::page::NIL;
use crate::mm::slab_object::Slab;
use crate::task::Current;

/// Slabs with at most so many free objects are sorted. Linux: `SHRINK_PROMOTE_MAX`.
const PROMOTED: usize = 32;

/// Gives every slab of the cache without an object in use back, and puts the fullest ones where they are taken first;
/// how many slabs are left. Linux: `kmem_cache_shrink`, which says 0 when there is none.
pub fn kmem_cache_shrink<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, cache: &KmemCache) -> u64 {
    flush_all(memory, current, cache);
    for node in memory.online_nodes() {
        let mut empty = List::EMPTY;
        {
            let pin = memory.pin();
            let mut partial = cache.node(node.id).partial.lock(&pin);
            sort(memory, &mut partial, &mut empty);
        }
        pages::free_slabs(memory, current, empty);
    }
    debug::report_broken(cache);
    cache.nr_slabs()
}

/// Puts the slabs of every CPU where they belong. Linux: `flush_all`.
pub(super) fn flush_all<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, cache: &KmemCache) {
    memory.on_each_cpu(current, &|_| flush_cpu_slab(memory, current, cache));
}

/// Linux: `flush_cpu_slab`.
fn flush_cpu_slab<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, cache: &KmemCache) {
    let mut empty = List::EMPTY;
    {
        let pin = memory.pin();
        let mut cpu = cache.cpus.local(&pin);
        if cpu.page != NIL {
            partial::deactivate(memory, &pin, &mut cpu, &mut empty);
        }
        partial::give_up_spares(memory, &pin, &mut cpu, &mut empty);
    }
    pages::free_slabs(memory, current, empty);
}

/// Moves the slabs without an object in use to `empty`, and the others into the order of their free objects, as far as
/// these are [`PROMOTED`] at most. Linux: the loop of `__kmem_cache_shrink`.
fn sort<E: Env>(memory: &Memory<'_, E>, partial: &mut Partial, empty: &mut List) {
    let mut by_free = [List::EMPTY; PROMOTED];
    let mut others = List::EMPTY;
    let mut kept = 0;
    while let Some((index, _)) = partial.list.pop_front(&memory.pages) {
        let Some(slab) = Slab::at(memory, index) else { continue };
        let chain = slab.chain(memory);
        match usize::from(chain.len) {
            _ if slab.is_empty(chain) => empty.push_back(&memory.pages, index),
            0 => slab.set_chain(memory, Chain::EMPTY, false),
            free => {
                kept += 1;
                match by_free.get_mut(free - 1) {
                    Some(list) => list.push_front(&memory.pages, index),
                    None => others.push_back(&memory.pages, index),
                }
            }
        }
    }
    for list in by_free.iter_mut().chain([&mut others]) {
        while let Some((index, _)) = list.pop_front(&memory.pages) {
            partial.list.push_back(&memory.pages, index);
        }
    }
    partial.nr = kept;
}

/// Gives all slabs of the cache back, and its place in the table.
///
/// # Errors
///
/// When it is a cache of `kmalloc`, or an object is in use; the cache stays then. Linux: `kmem_cache_destroy`.
pub fn kmem_cache_destroy<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    cache: &KmemCache,
) -> Result<(), CacheError> {
    if !cache.is_alive() {
        return Err(CacheError::Destroyed);
    }
    if memory.slabs.is_kmalloc(cache) {
        return Err(CacheError::Kmalloc(cache.name()));
    }
    match kmem_cache_shrink(memory, current, cache) {
        0 => {
            cache.bury();
            Ok(())
        }
        slabs => {
            log::error!("BUG {} (Not tainted): Objects remaining in {0} on __kmem_cache_shutdown()", cache.name());
            log::error!("kmem_cache_destroy {}: Slab cache still has objects", cache.name());
            Err(CacheError::Busy(slabs))
        }
    }
}
