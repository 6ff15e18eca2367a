//! An object on its way back, when it does not belong to the CPU's slab, or something may be wrong with it.
//!
//! Every misuse is found before anything changes. Linux: `kfree`, `cache_from_obj`, `__slab_free`.

use super::debug::{self, Corruption};
use super::{BadFree, block_of, pages, partial};
use crate::addr::PhysAddr;
use crate::mm::kmem_cache::{CpuSlab, KmemCache};
use crate::mm::list::List;
use crate::mm::memory::{Env, Memory};
use crate::mm::slab_object::{Slab, is_slab};
use crate::sync::Pin;
use crate::task::Current;
use crate::trace::kmem::Kmem;

/// [`super::kmem_cache_free`] with every check, hook and report.
#[inline(never)]
pub fn kmem_cache_free_carefully<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    cache: &KmemCache,
    addr: PhysAddr,
) -> Result<(), BadFree> {
    memory.trace(current, || Kmem::SlabFree { is_kmalloc: false, ptr: addr });
    let slab = slab_of(memory, addr)?;
    if slab.cache.number() != cache.number() {
        let (has, given) = (slab.cache, cache);
        log::error!("cache_from_obj: Wrong slab cache. {} but object is from {}", given.name(), has.name());
        return Err(BadFree::WrongCache(addr, has.number(), given.number()));
    }
    free_object(memory, current, &slab, addr)
}

/// The slab in which `addr` lies.
pub fn slab_of<'m, E: Env>(memory: &Memory<'m, E>, addr: PhysAddr) -> Result<Slab<'m>, BadFree> {
    let Some((index, state)) = block_of(memory, addr) else {
        let known = memory.pages.checked_index(addr.pfn()).is_some();
        return Err(if known { BadFree::Foreign(addr) } else { BadFree::NotMemory(addr) });
    };
    let slab = is_slab(state).then(|| Slab::at(memory, index)).flatten();
    slab.ok_or(BadFree::Foreign(addr))
}

/// The slab of the object in use that starts at `addr`.
pub fn in_use<'m, E: Env>(memory: &Memory<'m, E>, addr: PhysAddr) -> Result<Slab<'m>, BadFree> {
    let slab = slab_of(memory, addr)?;
    let n = object_of(&slab, addr)?;
    if slab.looks_free(memory, n) { Err(BadFree::AlreadyFree(addr)) } else { Ok(slab) }
}

/// Whether `addr` is an object of `cache` that is in use.
///
/// # Errors
///
/// When it is not: why [`super::kmem_cache_free`] would not free it, as far as that can be told without doing it.
pub fn check_in_use<E: Env>(memory: &Memory<'_, E>, cache: &KmemCache, addr: PhysAddr) -> Result<(), BadFree> {
    let has = in_use(memory, addr)?.cache.number();
    if has == cache.number() { Ok(()) } else { Err(BadFree::WrongCache(addr, has, cache.number())) }
}

/// Which object of the slab starts at `addr`.
fn object_of(slab: &Slab<'_>, addr: PhysAddr) -> Result<u16, BadFree> {
    slab.object_at(addr).ok_or_else(|| {
        let around = slab.object_around(addr).map(|n| slab.object(n)).filter(|object| *object < addr);
        around.map_or(BadFree::NoObject(addr), |object| BadFree::Inside(addr, object))
    })
}

/// Gives the object at `addr` back to its slab.
pub fn free_object<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    slab: &Slab<'_>,
    addr: PhysAddr,
) -> Result<(), BadFree> {
    let n = object_of(slab, addr)?;
    let mut empty = List::EMPTY;
    let done = {
        let pin = memory.pin();
        let mut cpu = slab.cache.cpus.local(&pin);
        put_back(memory, &pin, &mut cpu, slab, n, &mut empty)
    };
    pages::free_slabs(memory, current, empty);
    debug::report_broken(slab.cache);
    done.map_err(|refusal| {
        debug::report_free(slab.cache, addr, refusal);
        match refusal {
            Refusal::AlreadyFree => BadFree::AlreadyFree(addr),
            Refusal::Overrun(corruption) => BadFree::Overrun(addr, corruption.at, corruption.found),
        }
    })
}

/// Why a slab does not take an object back.
#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    /// It has it already.
    AlreadyFree,
    /// What surrounds it was overwritten.
    Overrun(Corruption),
}

/// Puts object `n` where the CPU's slab, or else the record, has its free ones. Linux: `do_slab_free`, `__slab_free`.
fn put_back<E: Env>(
    memory: &Memory<'_, E>,
    pin: &Pin<'_, E::Irq>,
    cpu: &mut CpuSlab,
    slab: &Slab<'_>,
    n: u16,
    empty: &mut List,
) -> Result<(), Refusal> {
    let mut partial = slab.cache.node(slab.node).partial.lock(pin);
    if slab.looks_free(memory, n) {
        return Err(Refusal::AlreadyFree);
    }
    debug::take_back(memory, slab, n).map_err(Refusal::Overrun)?;
    if cpu.page == slab.index {
        cpu.chain = slab.push(memory, cpu.chain, n);
        return Ok(());
    }
    let (is_frozen, is_listed) = (slab.is_frozen(memory), slab.is_listed(memory));
    let before = slab.chain(memory);
    let after = slab.push(memory, before, n);
    if is_listed && before.is_empty() {
        // The free objects were overwritten; but for this one, the slab is full from now on.
        partial.remove(memory, slab.index);
    }
    let becomes_spare = before.is_empty() && !is_frozen && !slab.layout.is_debug();
    slab.set_chain(memory, after, is_frozen || becomes_spare);
    if is_frozen {
        return Ok(());
    }
    if becomes_spare {
        drop(partial);
        partial::keep_spare(memory, pin, cpu, slab, empty);
    } else if slab.is_empty(after) && partial.nr >= slab.layout.min_partial() {
        if !before.is_empty() {
            partial.remove(memory, slab.index);
        }
        empty.push_back(&memory.pages, slab.index);
    } else if before.is_empty() {
        partial.add(memory, slab.index, false);
    }
    Ok(())
}
