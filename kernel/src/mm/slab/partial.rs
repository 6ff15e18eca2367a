//! Where slabs go that a CPU does not take from: its own spare ones, and the node's partial ones.
//!
//! All these functions have the CPU's cell and take the lock of a node's list. Slabs that became superfluous are put on a
//! list `empty`, which the caller gives to [`super::pages::free_slabs`] when it has let go of both. Linux:
//! `deactivate_slab`, `put_cpu_partial`, `unfreeze_partials`, `get_partial_node`.

use crate::mm::kmem_cache::{Chain, CpuSlab, KmemCache, Partial};
use crate::mm::list::List;
use crate::mm::memory::{Env, Memory};
use crate::mm::page::NIL;
use crate::mm::slab_object::Slab;
use crate::mmzone::NodeId;
use crate::sync::Pin;

impl Partial {
    /// Linux: `add_partial`.
    pub(super) fn add<E: Env>(&mut self, memory: &Memory<'_, E>, index: u32, in_front: bool) {
        self.nr += 1;
        match in_front {
            true => self.list.push_front(&memory.pages, index),
            false => self.list.push_back(&memory.pages, index),
        }
    }

    /// Linux: `remove_partial`.
    pub(super) fn remove<E: Env>(&mut self, memory: &Memory<'_, E>, index: u32) {
        self.nr -= 1;
        self.list.remove(&memory.pages, index);
    }
}

/// Lets the CPU take from `slab`, whose objects in `chain` become its own.
pub fn load<E: Env>(memory: &Memory<'_, E>, cpu: &mut CpuSlab, slab: &Slab<'_>, chain: Chain) {
    slab.set_chain(memory, Chain::EMPTY, true);
    cpu.page = slab.index;
    cpu.slots = slab.slots;
    cpu.chain = chain;
    cpu.is_held = slab.layout.is_debug() || slab.is_pfmemalloc(memory);
}

/// Takes what others freed of the CPU's slab; without such objects the slab is full, and the CPU forgets it.
///
/// Linux: `get_freelist`.
pub fn refill<E: Env>(memory: &Memory<'_, E>, pin: &Pin<'_, E::Irq>, cpu: &mut CpuSlab) {
    let Some(slab) = Slab::at(memory, cpu.page) else { return cpu.forget() };
    let _guard = slab.cache.node(slab.node).partial.lock(pin);
    let chain = slab.chain(memory);
    slab.set_chain(memory, Chain::EMPTY, !chain.is_empty());
    if chain.is_empty() { cpu.forget() } else { cpu.chain = chain }
}

/// Takes the CPU's slab away from it. Linux: `deactivate_slab`.
pub fn deactivate<E: Env>(memory: &Memory<'_, E>, pin: &Pin<'_, E::Irq>, cpu: &mut CpuSlab, empty: &mut List) {
    let (index, own) = (cpu.page, cpu.chain);
    cpu.forget();
    let Some(slab) = Slab::at(memory, index) else { return };
    let mut partial = slab.cache.node(slab.node).partial.lock(pin);
    let freed_by_others = slab.chain(memory);
    let chain = slab.join(memory, own, freed_by_others);
    slab.set_chain(memory, chain, false);
    settle(memory, &mut partial, &slab, chain, freed_by_others.is_empty(), empty);
}

/// Puts a slab that no CPU has any more where it belongs: with so many free objects it is superfluous, partial or full.
fn settle<E: Env>(
    memory: &Memory<'_, E>,
    partial: &mut Partial,
    slab: &Slab<'_>,
    chain: Chain,
    in_front: bool,
    empty: &mut List,
) {
    if slab.is_empty(chain) && partial.nr >= slab.layout.min_partial() {
        empty.push_back(&memory.pages, slab.index);
    } else if !chain.is_empty() {
        partial.add(memory, slab.index, in_front);
    }
}

/// Gives the CPU a spare slab with `free` objects.
fn push_spare<E: Env>(memory: &Memory<'_, E>, cpu: &mut CpuSlab, index: u32, free: u16) {
    let before = spare_objects(memory, cpu);
    let page = memory.pages.at(index);
    page.set_next(cpu.spare);
    page.set_prev(before + u32::from(free));
    cpu.spare = index;
    cpu.nr_spare += 1;
}

/// Free objects of the CPU's spare slabs, when these came.
fn spare_objects<E: Env>(memory: &Memory<'_, E>, cpu: &CpuSlab) -> u32 {
    if cpu.spare == NIL { 0 } else { memory.pages.at(cpu.spare).prev() }
}

fn pop_spare<E: Env>(memory: &Memory<'_, E>, cpu: &mut CpuSlab) -> Option<u32> {
    let index = (cpu.spare != NIL).then_some(cpu.spare)?;
    cpu.spare = memory.pages.at(index).next();
    cpu.nr_spare -= 1;
    Some(index)
}

/// A slab that was full got a free object: it becomes a spare one of the CPU; if there are plenty, these go to their
/// nodes first. Linux: `put_cpu_partial`.
pub fn keep_spare<E: Env>(
    memory: &Memory<'_, E>,
    pin: &Pin<'_, E::Irq>,
    cpu: &mut CpuSlab,
    slab: &Slab<'_>,
    empty: &mut List,
) {
    if spare_objects(memory, cpu) > slab.layout.cpu_partial() {
        give_up_spares(memory, pin, cpu, empty);
    }
    push_spare(memory, cpu, slab.index, 1);
}

/// Gives the CPU's spare slabs to their nodes. Linux: `unfreeze_partials`.
pub fn give_up_spares<E: Env>(memory: &Memory<'_, E>, pin: &Pin<'_, E::Irq>, cpu: &mut CpuSlab, empty: &mut List) {
    while let Some(index) = pop_spare(memory, cpu) {
        let Some(slab) = Slab::at(memory, index) else { continue };
        let mut partial = slab.cache.node(slab.node).partial.lock(pin);
        let chain = slab.chain(memory);
        slab.set_chain(memory, chain, false);
        settle(memory, &mut partial, &slab, chain, false, empty);
    }
}

/// Lets the CPU, which takes from no slab, take from a spare one; whether there was one.
pub fn load_spare<E: Env>(memory: &Memory<'_, E>, pin: &Pin<'_, E::Irq>, cpu: &mut CpuSlab) -> bool {
    let Some(index) = pop_spare(memory, cpu) else { return false };
    if let Some(slab) = Slab::at(memory, index) {
        let _guard = slab.cache.node(slab.node).partial.lock(pin);
        let chain = slab.chain(memory);
        load(memory, cpu, &slab, chain);
    }
    true
}

/// Lets the CPU, which takes from no slab, take from a partial one of `node`, and gives it some more as spare ones, until
/// it has about half of what it may keep. Slabs of the reserves are passed over unless the caller is `entitled`.
///
/// Linux: `get_partial_node`, `acquire_slab`, `pfmemalloc_match`.
pub fn load_partial<E: Env>(
    memory: &Memory<'_, E>,
    pin: &Pin<'_, E::Irq>,
    cache: &KmemCache,
    cpu: &mut CpuSlab,
    node: NodeId,
    entitled: bool,
) -> bool {
    let mut partial = cache.node(node).partial.lock(pin);
    let (mut available, list) = (0, partial.list);
    for index in list.iter(&memory.pages) {
        let Some(slab) = Slab::at(memory, index) else { continue };
        if slab.is_pfmemalloc(memory) && !entitled {
            continue;
        }
        partial.remove(memory, index);
        let chain = slab.chain(memory);
        if chain.is_empty() {
            slab.set_chain(memory, Chain::EMPTY, false);
            continue;
        }
        available += u32::from(chain.len);
        if cpu.page == NIL {
            load(memory, cpu, &slab, chain);
        } else {
            slab.set_chain(memory, chain, true);
            push_spare(memory, cpu, index, chain.len);
        }
        let enough = slab.layout.cpu_partial() / 2;
        if slab.layout.is_debug() || available > enough {
            break;
        }
    }
    cpu.page != NIL
}
