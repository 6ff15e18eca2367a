//! A cache looked at: every free object of it, and the lists of its slabs.
//!
//! [`kmem_cache_validate`] finds what somebody wrote to a free object before that object's next owner does, and answers
//! with the first [`Invalid`] thing. Linux: `validate_slab_cache`, which `/sys/kernel/slab/NAME/validate` calls.
//!
//! Linux does more: it checks objects in use, and repairs what it finds.

use core::fmt;

use super::debug::{self, Area, Corruption};
use super::shrink::flush_all;
use crate::addr::{Pfn, PhysAddr};
use crate::mm::kmem_cache::KmemCache;
use crate::mm::memory::{Env, Memory};
use crate::mm::slab_object::Slab;
use crate::task::Current;

/// What is wrong with a cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Invalid {
    /// The chain of free objects was overwritten where the link of one lies.
    Chain(PhysAddr),
    /// The bytes of one, or around it, were overwritten.
    Bytes(Corruption),
    /// The slab at this page is on its node's list, and some CPU's.
    Frozen(Pfn),
    /// The first number of slabs is on a node's list, which counts the second.
    Miscounted(u64, u64),
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Invalid::Chain(at) => write!(f, "the link of a free object at {:#x} was overwritten", at.0),
            Invalid::Bytes(Corruption { area, at, found, expected }) => {
                let whose = if *area == Area::Poison { "in" } else { "beside" };
                write!(f, "{:#x}, {whose} a free object, is {found:#04x} instead of {expected:#04x}", at.0)
            }
            Invalid::Frozen(pfn) => write!(f, "the slab at pfn {pfn} is on its node's list and some CPU's"),
            Invalid::Miscounted(listed, nr) => write!(f, "{listed} partial slabs counted but counter={nr}"),
        }
    }
}

/// Free objects that are as they were left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Valid {
    /// How many.
    pub objects: u64,
    /// Slabs that have them.
    pub slabs: u64,
}

/// Takes the cache's slabs away from all CPUs, and looks at every free object in them.
///
/// # Errors
///
/// The first thing that is not as it should be. Linux: `validate_slab_cache`.
pub fn kmem_cache_validate<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    cache: &KmemCache,
) -> Result<Valid, Invalid> {
    flush_all(memory, current, cache);
    let mut valid = Valid::default();
    for node in memory.online_nodes() {
        let pin = memory.pin();
        let partial = cache.node(node.id).partial.lock(&pin);
        let before = valid.slabs;
        for slab in partial.list.iter(&memory.pages).filter_map(|index| Slab::at(memory, index)) {
            valid.objects += validate_slab(memory, &slab)?;
            valid.slabs += 1;
        }
        let (listed, nr) = (valid.slabs - before, u64::from(partial.nr));
        if listed != nr {
            return Err(Invalid::Miscounted(listed, nr));
        }
    }
    Ok(valid)
}

/// Free objects of a listed slab. Linux: `validate_slab`.
fn validate_slab<E: Env>(memory: &Memory<'_, E>, slab: &Slab<'_>) -> Result<u64, Invalid> {
    if slab.is_frozen(memory) {
        return Err(Invalid::Frozen(memory.pages.pfn(slab.index)));
    }
    let (mut chain, mut objects) = (slab.chain(memory), 0);
    slab.cache.take_broken().map_or(Ok(()), |at| Err(Invalid::Chain(at)))?;
    while let Some((n, rest)) = slab.peek(memory, chain).map_err(Invalid::Chain)? {
        debug::check_free(memory, slab, n).map_err(Invalid::Bytes)?;
        (chain, objects) = (rest, objects + 1);
    }
    Ok(objects)
}
