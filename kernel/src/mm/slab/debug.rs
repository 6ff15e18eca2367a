//! What a debugging cache does more: bytes around and in its objects that nobody should touch, looked at when an object
//! comes and goes; and the reports of everything that is wrong with an object.
//!
//! An object that is handed out must be as it was left; if not, somebody used it after it was freed, and no object of its
//! slab is handed out any more. An object that comes back must be surrounded by what it was surrounded with; if not,
//! somebody wrote past its end, and it stays with its user. Linux: `check_object`, `init_object`,
//! `alloc_debug_processing`, `free_debug_processing`.
//!
//! Linux does more: it repairs the bytes, prints them, and says who allocated and freed the object.

use super::bytes;
use super::free::Refusal;
use crate::addr::PhysAddr;
use crate::mm::kmem_cache::layout::{POISON_END, POISON_FREE, POISON_PADDING, RED_ACTIVE, RED_INACTIVE};
use crate::mm::kmem_cache::{CacheFlags, KmemCache};
use crate::mm::memory::{Env, LinearMap, Memory};
use crate::mm::slab_object::Slab;

/// Which bytes were overwritten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Area {
    /// Those around the object.
    Redzone,
    /// The free object itself.
    Poison,
    /// Those that make the object whole words.
    Padding,
}

/// Bytes that are not what they must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Corruption {
    /// Which ones.
    pub area: Area,
    /// The first of them.
    pub at: PhysAddr,
    /// What it is.
    pub found: u8,
    /// What it should be.
    pub expected: u8,
}

/// Prepares the bytes of a new slab of a debugging cache; all its objects are free.
pub fn set_up_slab<E: Env>(memory: &Memory<'_, E>, slab: &Slab<'_>) {
    if !slab.layout.is_debug() {
        return;
    }
    if slab.layout.flags.contains(CacheFlags::POISON) {
        let order = memory.pages.at(slab.index).state().order();
        memory.env.linear().fill_pages(slab.slots.base.pfn(), order.nr_pages(), POISON_PADDING);
    }
    (0..slab.objects).for_each(|n| surround(memory, slab, n, RED_INACTIVE));
}

/// Checks a free object that is about to be handed out, and prepares its bytes for that.
pub fn hand_out<E: Env>(memory: &Memory<'_, E>, slab: &Slab<'_>, n: u16) -> Result<(), Corruption> {
    check_free(memory, slab, n)?;
    surround(memory, slab, n, RED_ACTIVE);
    Ok(())
}

/// Checks an object that comes back, and prepares its bytes for that.
pub fn take_back<E: Env>(memory: &Memory<'_, E>, slab: &Slab<'_>, n: u16) -> Result<(), Corruption> {
    if slab.layout.is_debug() {
        check_around(memory, slab, n, RED_ACTIVE)?;
        surround(memory, slab, n, RED_INACTIVE);
    }
    Ok(())
}

/// Whether a free object is as it was left.
pub fn check_free<E: Env>(memory: &Memory<'_, E>, slab: &Slab<'_>, n: u16) -> Result<(), Corruption> {
    check_around(memory, slab, n, RED_INACTIVE)?;
    if slab.layout.flags.contains(CacheFlags::POISON) {
        let (object, last) = (slab.object(n), u64::from(slab.layout.object_size) - 1);
        check(memory, Area::Poison, object, last, POISON_FREE)?;
        check(memory, Area::Poison, PhysAddr(object.0 + last), 1, POISON_END)?;
    }
    Ok(())
}

/// The bytes before and behind an object: first, and how many.
fn around(slab: &Slab<'_>, n: u16) -> [(PhysAddr, u64); 2] {
    let (object, layout) = (slab.object(n), &slab.layout);
    let before = (slab.slots.at(n), u64::from(layout.red_left));
    [before, (PhysAddr(object.0 + u64::from(layout.object_size)), u64::from(layout.inuse - layout.object_size))]
}

/// Linux: `check_object`.
fn check_around<E: Env>(memory: &Memory<'_, E>, slab: &Slab<'_>, n: u16, red: u8) -> Result<(), Corruption> {
    let (area, byte) = match slab.layout.flags {
        flags if flags.contains(CacheFlags::RED_ZONE) => (Area::Redzone, red),
        flags if flags.contains(CacheFlags::POISON) => (Area::Padding, POISON_PADDING),
        _ => return Ok(()),
    };
    around(slab, n).into_iter().try_for_each(|(at, bytes)| check(memory, area, at, bytes, byte))
}

/// Writes the bytes around an object, and in it. Linux: `init_object`.
fn surround<E: Env>(memory: &Memory<'_, E>, slab: &Slab<'_>, n: u16, red: u8) {
    if slab.layout.flags.contains(CacheFlags::RED_ZONE) {
        around(slab, n).into_iter().for_each(|(at, bytes)| bytes::fill(memory.env.linear(), at, bytes, red));
    }
    if slab.layout.flags.contains(CacheFlags::POISON) {
        let (object, last) = (slab.object(n), u64::from(slab.layout.object_size) - 1);
        bytes::fill(memory.env.linear(), object, last, POISON_FREE);
        bytes::fill(memory.env.linear(), PhysAddr(object.0 + last), 1, POISON_END);
    }
}

/// Whether `bytes` bytes at `at` are all `expected`. Linux: `check_bytes_and_report`.
fn check<E: Env>(memory: &Memory<'_, E>, area: Area, at: PhysAddr, bytes: u64, expected: u8) -> Result<(), Corruption> {
    match bytes::first_other(memory.env.linear(), at, bytes, expected) {
        Some((at, found)) => Err(Corruption { area, at, found, expected }),
        None => Ok(()),
    }
}

/// Linux: `slab_bug`, `print_trailer`.
fn report(cache: &KmemCache, what: &str) {
    log::error!("BUG {} (Not tainted): {what}", cache.name());
}

fn report_bytes(cache: &KmemCache, corruption: Corruption) {
    let Corruption { area, at, found, expected } = corruption;
    report(
        cache,
        match area {
            Area::Redzone => "Redzone overwritten",
            Area::Poison => "Poison overwritten",
            Area::Padding => "Object padding overwritten",
        },
    );
    log::error!("INFO: {:#x}. First byte {found:#x} instead of {expected:#x}", at.0);
}

/// Says that no object of a slab will be handed out any more.
#[cold]
pub fn report_slab(cache: &KmemCache, corruption: Corruption) {
    report_bytes(cache, corruption);
    log::error!("FIX {}: Marking all objects used", cache.name());
}

/// Says why the object at `addr` was not freed.
#[cold]
pub fn report_free(cache: &KmemCache, addr: PhysAddr, refusal: Refusal) {
    match refusal {
        Refusal::AlreadyFree => report(cache, "Object already free"),
        Refusal::Overrun(corruption) => report_bytes(cache, corruption),
    }
    log::error!("FIX {}: Object at {:#x} not freed", cache.name(), addr.0);
}

/// Says that a chain of free objects was overwritten, if that was noted.
pub fn report_broken(cache: &KmemCache) {
    if let Some(at) = cache.take_broken() {
        report(cache, "Freechain corrupt");
        log::error!("INFO: {:#x}. A free object was written to", at.0);
        log::error!("FIX {}: Freelist cleared", cache.name());
    }
}
