//! An object, when the CPU's chain has none to give: the ladder of places to look.
//!
//! Linux: `slab_alloc_node`, `___slab_alloc`, `new_slab_objects`, `get_partial`, `get_any_partial`.

use super::debug::{self, Corruption};
use super::{NoObject, Request, bytes, pages, partial};
use crate::addr::PhysAddr;
use crate::gfp::Gfp;
use crate::mm::fault_inject;
use crate::mm::kmem_cache::{Chain, CpuSlab, KmemCache};
use crate::mm::list::List;
use crate::mm::memory::{Env, Hook, Memory};
use crate::mm::page::NIL;
use crate::mm::reserve::pfmemalloc_allowed;
use crate::mm::slab_object::Slab;
use crate::mm::sleep;
use crate::mmzone::{MAX_NR_ZONES, NodeId};
use crate::sync::Pin;
use crate::task::Current;
use crate::trace::kmem::Kmem;

/// Where an object may come from.
#[derive(Clone, Copy)]
struct Wanted {
    gfp: Gfp,
    /// This node, or any.
    node: Option<NodeId>,
    /// Slabs of the reserves are open to the request.
    entitled: bool,
}

/// What a look at the slabs at hand came to.
enum Look {
    /// An object.
    Object(PhysAddr),
    /// No slab at hand has a free object for the request.
    Nothing,
    /// A free object was written to; its slab is out of use now.
    Corrupt(Corruption),
}

/// An allocation with every check, hook and report.
#[inline(never)]
pub fn alloc_carefully<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    cache: &KmemCache,
    request: Request,
) -> Result<PhysAddr, NoObject> {
    let gfp = request.gfp & memory.gfp_allowed();
    if gfp.intersects(current.forbidden()) {
        sleep::report_might_sleep(memory, current, "mm/slab.h:421");
    }
    if memory.has(Hook::FailNth) && fault_inject::should_failslab(memory, current, gfp, cache.name().as_str()) {
        return Err(NoObject::NoMemory(gfp));
    }
    let wanted = Wanted { gfp, node: request.node, entitled: pfmemalloc_allowed(current, gfp) };
    let object = if cache.is_alive() { get_object(memory, current, cache, wanted) } else { Err(NoObject::NoCache) };
    debug::report_broken(cache);
    if let (Ok(object), true) = (object, gfp.contains(Gfp::__GFP_ZERO)) {
        bytes::fill(memory.env.linear(), object, cache.layout().object_size.into(), 0);
    }
    memory.trace(current, || {
        let (ptr, layout) = (object.ok(), cache.layout());
        let (bytes_req, bytes_alloc) = (request.kmalloc.unwrap_or(layout.object_size.into()), layout.size.into());
        let (is_kmalloc, node) = (request.kmalloc.is_some(), request.node);
        Kmem::SlabAlloc { is_kmalloc, ptr, bytes_req, bytes_alloc, gfp, node }
    });
    object
}

/// Looks at the slabs at hand, and gets another one when they have nothing.
fn get_object<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    cache: &KmemCache,
    wanted: Wanted,
) -> Result<PhysAddr, NoObject> {
    loop {
        match look(memory, current, cache, wanted, NIL) {
            Look::Object(object) => return Ok(object),
            Look::Corrupt(corruption) => debug::report_slab(cache, corruption),
            Look::Nothing => {
                let Some(slab) = pages::new_slab(memory, current, cache, wanted.gfp, wanted.node) else {
                    pages::report_out_of_memory(memory, cache, wanted.gfp, wanted.node);
                    return Err(NoObject::NoMemory(wanted.gfp));
                };
                if let Look::Object(object) = look(memory, current, cache, wanted, slab) {
                    return Ok(object);
                }
            }
        }
    }
}

/// Looks for an object in the slabs at hand, or in the new slab `new`, in place of which the CPU gives its own up.
fn look<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, cache: &KmemCache, wanted: Wanted, new: u32) -> Look {
    let mut empty = List::EMPTY;
    let found = {
        let pin = memory.pin();
        let mut cpu = cache.cpus.local(&pin);
        if new == NIL {
            look_around(memory, &pin, cache, &mut cpu, wanted, &mut empty)
        } else {
            look_into(memory, &pin, &mut cpu, wanted, new, &mut empty)
        }
    };
    pages::free_slabs(memory, current, empty);
    found
}

/// The rungs of the ladder, from the CPU's own slab to those of other nodes.
fn look_around<E: Env>(
    memory: &Memory<'_, E>,
    pin: &Pin<'_, E::Irq>,
    cache: &KmemCache,
    cpu: &mut CpuSlab,
    wanted: Wanted,
    empty: &mut List,
) -> Look {
    loop {
        let at_hand = cpu.page != NIL
            || partial::load_spare(memory, pin, cpu)
            || partial::load_partial(memory, pin, cache, cpu, near(memory, pin, wanted), wanted.entitled)
            || wanted.node.is_none() && load_from_afar(memory, pin, cache, cpu, wanted);
        let Some(slab) = at_hand.then(|| Slab::at(memory, cpu.page)).flatten() else { return Look::Nothing };
        if !suits(memory, &slab, wanted) {
            partial::deactivate(memory, pin, cpu, empty);
        } else if cpu.chain.is_empty() {
            partial::refill(memory, pin, cpu);
        } else if let Some(found) = take(memory, pin, cpu, &slab, empty) {
            return found;
        }
    }
}

/// Takes the first object of a slab that was made for the request. Even one that does not suit the request, because it
/// came from the reserves, gives that object; then the CPU puts it away.
fn look_into<E: Env>(
    memory: &Memory<'_, E>,
    pin: &Pin<'_, E::Irq>,
    cpu: &mut CpuSlab,
    wanted: Wanted,
    new: u32,
    empty: &mut List,
) -> Look {
    if cpu.page != NIL {
        partial::deactivate(memory, pin, cpu, empty);
    }
    let Some(slab) = Slab::at(memory, new) else { return Look::Nothing };
    let chain = slab.chain(memory);
    partial::load(memory, cpu, &slab, chain);
    let found = take(memory, pin, cpu, &slab, empty).unwrap_or(Look::Nothing);
    if cpu.page != NIL && slab.is_pfmemalloc(memory) && !wanted.entitled {
        partial::deactivate(memory, pin, cpu, empty);
    }
    found
}

/// Whether the request may have objects of the slab. Linux: `node_match`, `pfmemalloc_match`.
fn suits<E: Env>(memory: &Memory<'_, E>, slab: &Slab<'_>, wanted: Wanted) -> bool {
    wanted.node.is_none_or(|node| node == slab.node) && (wanted.entitled || !slab.is_pfmemalloc(memory))
}

/// Takes the first object of the CPU's chain; of a debugging cache, the slab goes back to its node at once. `None` when
/// the chain turned out to be overwritten.
fn take<E: Env>(
    memory: &Memory<'_, E>,
    pin: &Pin<'_, E::Irq>,
    cpu: &mut CpuSlab,
    slab: &Slab<'_>,
    empty: &mut List,
) -> Option<Look> {
    let Some((n, rest)) = slab.pop(memory, cpu.chain) else {
        cpu.chain = Chain::EMPTY;
        return None;
    };
    cpu.chain = rest;
    if !slab.layout.is_debug() {
        return Some(Look::Object(slab.object(n)));
    }
    let check = debug::hand_out(memory, slab, n);
    if check.is_err() {
        cpu.chain = Chain::EMPTY;
    }
    partial::deactivate(memory, pin, cpu, empty);
    Some(check.map_or_else(Look::Corrupt, |()| Look::Object(slab.object(n))))
}

/// The node to look at first.
fn near<E: Env>(memory: &Memory<'_, E>, pin: &Pin<'_, E::Irq>, wanted: Wanted) -> NodeId {
    wanted.node.unwrap_or(memory.cpu_node[pin.cpu()])
}

/// Takes a partial slab of another node that has some to spare, the nearest first. Linux: `get_any_partial`.
fn load_from_afar<E: Env>(
    memory: &Memory<'_, E>,
    pin: &Pin<'_, E::Irq>,
    cache: &KmemCache,
    cpu: &mut CpuSlab,
    wanted: Wanted,
) -> bool {
    let (own, min_partial) = (near(memory, pin, wanted), cache.layout().min_partial());
    let zones = memory.node(own).fallback.eligible(memory.zone_table.zone(wanted.gfp), None);
    let nodes = zones.map(|zone| NodeId(zone.zone / MAX_NR_ZONES as u8)).filter(|node| *node != own);
    for node in nodes {
        let has_plenty = cache.node(node).partial.lock(pin).nr > min_partial;
        if has_plenty && partial::load_partial(memory, pin, cache, cpu, node, wanted.entitled) {
            return true;
        }
    }
    false
}
