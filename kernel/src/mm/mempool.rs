//! Memory pools: objects set aside, so that whoever cleans memory does not have to wait for memory.
//!
//! A [`Mempool`] has at least `min_nr` objects to give, one after the other as they come back. A request tries its
//! [`Source`] first, without making an effort, then the objects set aside, then the source with all the effort that the
//! mask allows; then it waits until an object comes back. It never touches the reserves of the page allocator: it has its
//! own. The pool's addresses lie in memory of [`super::slab`], which it reads and writes through [`LinearMap`]. Linux:
//! `mm/mempool.c`.
//!
//! Linux does more: any pair of functions can be a source, and it wakes one of those who wait, not all.

use core::fmt;

use super::kmem_cache::KmemCache;
use super::memory::{Env, LinearMap, Memory};
use super::page::Kind;
use super::page_alloc;
use super::slab::{self, BadFree, NoObject};
use super::sleep;
use crate::addr::PhysAddr;
use crate::gfp::Gfp;
use crate::sched::{HZ, Wait, WaitQueue};
use crate::sync::{Class, SpinLock};
use crate::task::Current;

/// Bytes of an address in the pool's array.
const WORD: u64 = 8;

/// Where a pool's objects come from, and go when there are enough.
#[derive(Clone, Copy, Debug)]
pub enum Source<'m> {
    /// A slab cache. Linux: `mempool_create_slab_pool`.
    Cache(&'m KmemCache),
    /// So many bytes. Linux: `mempool_create_kmalloc_pool`.
    Kmalloc(u64),
    /// Blocks of this order. Linux: `mempool_create_page_pool`.
    Pages(u32),
}

/// Why a pool gives nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoElement {
    /// The source has nothing, no object is left, and the mask says not to wait.
    Empty(Gfp),
    /// Objects that come back are not cleared, so nobody can have one that is.
    Zero(Gfp),
    /// One has to wait, and cannot in this context.
    Atomic,
    /// The caller's work was called off while it waited.
    Interrupted,
}

impl fmt::Display for NoElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoElement::Empty(gfp) => write!(f, "the pool is empty, and {gfp} does not wait"),
            NoElement::Zero(gfp) => write!(f, "a pool does not clear objects; leave __GFP_ZERO out of {gfp}"),
            NoElement::Atomic => f.write_str("the pool is empty, and one cannot wait in this context"),
            NoElement::Interrupted => f.write_str("interrupted while waiting for an object to come back"),
        }
    }
}

/// The objects set aside.
#[derive(Debug)]
struct Elements {
    /// Where their addresses are.
    array: PhysAddr,
    /// How many there should be.
    min_nr: u32,
    /// How many there are.
    curr_nr: u32,
}

impl Elements {
    fn slot(&self, n: u32) -> PhysAddr {
        PhysAddr(self.array.0 + u64::from(n) * WORD)
    }

    fn contains<L: LinearMap>(&self, linear: &L, element: PhysAddr) -> bool {
        (0..self.curr_nr).any(|n| linear.read_word(self.slot(n)) == element.0)
    }

    /// Linux: `add_element`.
    fn add<L: LinearMap>(&mut self, linear: &L, element: PhysAddr) {
        linear.write_word(self.slot(self.curr_nr), element.0);
        self.curr_nr += 1;
    }

    /// Linux: `remove_element`.
    fn remove<L: LinearMap>(&mut self, linear: &L) -> Option<PhysAddr> {
        self.curr_nr = self.curr_nr.checked_sub(1)?;
        Some(PhysAddr(linear.read_word(self.slot(self.curr_nr))))
    }
}

/// A memory pool. Linux: `mempool_t`.
pub struct Mempool<'m> {
    source: Source<'m>,
    elements: SpinLock<Elements>,
    wait: WaitQueue,
}

impl<'m> Mempool<'m> {
    /// Where the objects come from.
    pub fn source(&self) -> Source<'m> {
        self.source
    }

    /// How many objects are set aside now, and how many should be.
    pub fn level<E: Env>(&self, memory: &Memory<'_, E>) -> (u32, u32) {
        let pin = memory.pin();
        let elements = self.elements.lock(&pin);
        (elements.curr_nr, elements.min_nr)
    }
}

/// A pool with `min_nr` objects from `source` set aside. Linux: `mempool_create`.
///
/// # Errors
///
/// When there is no memory for them, or for the list of them; nothing is kept then.
pub fn create<'m, E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    min_nr: u32,
    source: Source<'m>,
) -> Result<Mempool<'m>, NoObject> {
    let array = slab::kmalloc(memory, current, u64::from(min_nr) * WORD, Gfp::GFP_KERNEL)?;
    let elements = SpinLock::new(Class::Leaf, Elements { array, min_nr, curr_nr: 0 });
    let pool = Mempool { source, elements, wait: WaitQueue::new() };
    for _ in 0..min_nr {
        match take(memory, current, source, Gfp::GFP_KERNEL) {
            Ok(element) => pool.elements.lock(&memory.pin()).add(memory.env.linear(), element),
            Err(error) => {
                destroy(memory, current, pool);
                return Err(error);
            }
        }
    }
    Ok(pool)
}

/// Gives the objects set aside back to the source; objects in use go there when they are freed. Linux:
/// `mempool_destroy`.
pub fn destroy<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, mut pool: Mempool<'_>) {
    while let Some(element) = pool.elements.get_mut().remove(memory.env.linear()) {
        give(memory, current, pool.source, element).expect("an object of the pool");
    }
    let array = pool.elements.get_mut().array;
    slab::kfree(memory, current, array).expect("the pool's array");
}

/// An object. In a task that may sleep this does not fail, but for being called off. Linux: `mempool_alloc`.
///
/// # Errors
///
/// When there is none and the mask or the context does not let the caller wait.
pub fn alloc<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    pool: &Mempool<'_>,
    gfp: Gfp,
) -> Result<PhysAddr, NoElement> {
    if gfp.contains(Gfp::__GFP_ZERO) {
        return Err(NoElement::Zero(gfp));
    }
    if gfp.intersects(current.forbidden()) {
        sleep::report_might_sleep(memory, current, "mm/mempool.c");
    }
    let full = gfp | Gfp::__GFP_NOMEMALLOC | Gfp::__GFP_NORETRY | Gfp::__GFP_NOWARN;
    let mut mask = full - (Gfp::__GFP_DIRECT_RECLAIM | Gfp::__GFP_IO);
    loop {
        if let Ok(element) = take(memory, current, pool.source, mask) {
            return Ok(element);
        }
        if let Some(element) = pool.elements.lock(&memory.pin()).remove(memory.env.linear()) {
            return Ok(element);
        }
        if mask != full {
            mask = full;
        } else if !gfp.may_sleep() {
            return Err(NoElement::Empty(gfp));
        } else {
            wait(memory, current, pool)?;
        }
    }
}

/// Waits until an object comes back, or long enough to ask the source again.
fn wait<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, pool: &Mempool<'_>) -> Result<(), NoElement> {
    let has_some = || pool.elements.lock(&memory.pin()).curr_nr > 0;
    match sleep::wait_event(memory, current, &pool.wait, Some(5 * HZ), has_some) {
        Wait::Interrupted => Err(NoElement::Interrupted),
        Wait::TimedOut if current.context().in_atomic() => Err(NoElement::Atomic),
        Wait::Ready(_) | Wait::TimedOut => Ok(()),
    }
}

/// Gives an object back: to those set aside while there are too few, else to the source. Linux: `mempool_free`.
///
/// # Errors
///
/// When it is no such object in use; nothing changed then.
pub fn free<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    pool: &Mempool<'_>,
    element: PhysAddr,
) -> Result<(), BadFree> {
    check(memory, pool.source, element)?;
    let is_kept = {
        let pin = memory.pin();
        let mut elements = pool.elements.lock(&pin);
        if elements.contains(memory.env.linear(), element) {
            return Err(BadFree::AlreadyFree(element));
        }
        let is_wanted = elements.curr_nr < elements.min_nr;
        if is_wanted {
            elements.add(memory.env.linear(), element);
        }
        is_wanted
    };
    if is_kept {
        pool.wait.wake_all(memory.env.sched());
        return Ok(());
    }
    give(memory, current, pool.source, element)
}

/// Sets another number of objects aside: those that are too many go back to the source, those that are missing come from
/// it, as far as they can be had; how many there are then. Linux: `mempool_resize`.
///
/// # Errors
///
/// When there should be more, and there is no memory for the list of them; nothing changed then.
pub fn resize<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    pool: &Mempool<'_>,
    min_nr: u32,
) -> Result<u32, NoObject> {
    loop {
        match excess(memory, pool, min_nr) {
            Excess::Element(element) => give(memory, current, pool.source, element).expect("an object of the pool"),
            Excess::None(curr_nr) => return Ok(curr_nr),
            Excess::TooFew => break,
        }
    }
    let array = slab::kmalloc(memory, current, u64::from(min_nr) * WORD, Gfp::GFP_KERNEL)?;
    let unused = exchange(memory, pool, array, min_nr);
    slab::kfree(memory, current, unused).expect("the pool's array");
    loop {
        let (curr_nr, min_nr) = pool.level(memory);
        let missing = (curr_nr < min_nr).then(|| take(memory, current, pool.source, Gfp::GFP_KERNEL).ok()).flatten();
        let Some(element) = missing else { return Ok(curr_nr) };
        free(memory, current, pool, element).expect("an object that was just made");
    }
}

/// What a pool has besides the objects that should be set aside.
enum Excess {
    /// One that is too many, which the pool does not have any more.
    Element(PhysAddr),
    /// None: so many are set aside, and no more will be.
    None(u32),
    /// The pool should have more than before.
    TooFew,
}

/// What the pool has in excess of `min_nr` objects. Its list stays, and has room for all that it has at any time.
fn excess<E: Env>(memory: &Memory<'_, E>, pool: &Mempool<'_>, min_nr: u32) -> Excess {
    let pin = memory.pin();
    let mut elements = pool.elements.lock(&pin);
    if min_nr > elements.min_nr {
        return Excess::TooFew;
    }
    if elements.curr_nr <= min_nr {
        elements.min_nr = min_nr;
        return Excess::None(elements.curr_nr);
    }
    elements.remove(memory.env.linear()).map_or(Excess::None(0), Excess::Element)
}

/// Moves the addresses to `array`, which has room for `min_nr`; the array that is not used any more, which is the new one
/// if somebody else has made the pool as large meanwhile.
fn exchange<E: Env>(memory: &Memory<'_, E>, pool: &Mempool<'_>, array: PhysAddr, min_nr: u32) -> PhysAddr {
    let pin = memory.pin();
    let mut elements = pool.elements.lock(&pin);
    if min_nr <= elements.min_nr {
        return array;
    }
    for n in 0..elements.curr_nr {
        let element = memory.env.linear().read_word(elements.slot(n));
        memory.env.linear().write_word(PhysAddr(array.0 + u64::from(n) * WORD), element);
    }
    elements.min_nr = min_nr;
    core::mem::replace(&mut elements.array, array)
}

/// An object from the source.
fn take<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    source: Source<'_>,
    gfp: Gfp,
) -> Result<PhysAddr, NoObject> {
    match source {
        Source::Cache(cache) => slab::kmem_cache_alloc(memory, current, cache, gfp),
        Source::Kmalloc(bytes) => slab::kmalloc(memory, current, bytes, gfp),
        Source::Pages(order) => page_alloc::alloc_pages(memory, current, gfp, order)
            .map(|pfn| pfn.addr())
            .map_err(|_| NoObject::NoBlock(order, gfp)),
    }
}

/// Whether `element` is an object of the source that is in use.
fn check<E: Env>(memory: &Memory<'_, E>, source: Source<'_>, element: PhysAddr) -> Result<(), BadFree> {
    match source {
        Source::Cache(cache) => slab::check_in_use(memory, cache, element),
        Source::Kmalloc(_) => slab::ksize(memory, element).map(|_| ()),
        Source::Pages(order) => {
            let index = memory.pages.checked_index(element.pfn()).ok_or(BadFree::NotMemory(element))?;
            let state = memory.blocks.state_of(&memory.pages, index);
            let is_block = state.is(Kind::Allocated) && state.order().get() == order && element == element.pfn().addr();
            if is_block { Ok(()) } else { Err(BadFree::Foreign(element)) }
        }
    }
}

/// Gives an object back to the source.
fn give<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    source: Source<'_>,
    element: PhysAddr,
) -> Result<(), BadFree> {
    match source {
        Source::Cache(cache) => slab::kmem_cache_free(memory, current, cache, element),
        Source::Kmalloc(_) => slab::kfree(memory, current, element),
        Source::Pages(order) => {
            let freed = page_alloc::free_pages(memory, current, element.pfn(), order);
            freed.map(|_| ()).map_err(|_| BadFree::Foreign(element))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::kmem_cache::CacheFlags;
    use crate::mm::testing::{Lab, board_m64};
    use crate::task::Context;

    fn nothing_left<'m>(lab: &Lab<'m>, source: Source<'m>) -> Mempool<'m> {
        let pool = create(&lab.memory, &lab.current(), 4, source).unwrap();
        lab.set_free(0);
        pool
    }

    #[test]
    fn t70_the_pool_gives_what_it_set_aside_and_then_one_waits() {
        let machine = board_m64();
        let lab = Lab::scenario(&machine, 400);
        let pool = nothing_left(&lab, Source::Pages(0));
        let (memory, current) = (&lab.memory, lab.current());
        let elements: Vec<_> = (0..4).map(|_| alloc(memory, &current, &pool, Gfp::GFP_NOIO).unwrap()).collect();
        assert!(elements.iter().all(|element| !lab.is_pfmemalloc(element.pfn())));
        assert_eq!(pool.level(memory), (0, 4));
        assert_eq!(alloc(memory, &current, &pool, Gfp::GFP_NOWAIT), Err(NoElement::Empty(Gfp::GFP_NOWAIT)));
        let mask = Gfp::GFP_NOWAIT | Gfp::__GFP_MEMALLOC;
        lab.free(elements[3].pfn(), 0).unwrap();
        assert_eq!(alloc(memory, &current, &pool, mask), Err(NoElement::Empty(mask)), "the reserves stay closed");
        lab.set_free(0);

        let fifth = std::sync::Mutex::new(None);
        std::thread::scope(|scope| {
            let threads = memory.env.threads();
            threads.spawn(scope, || *fifth.lock().unwrap() = alloc(memory, &current, &pool, Gfp::GFP_NOIO).ok());
            threads.yield_now();
            assert!(fifth.lock().unwrap().is_none() && pool.wait.is_active());
            free(memory, &current, &pool, elements[0]).unwrap();
            threads.settle();
        });
        assert_eq!(fifth.into_inner().unwrap(), Some(elements[0]));
        assert_eq!((pool.level(memory), lab.nr_free()), ((0, 4), 0));
    }

    #[test]
    fn what_comes_back_is_set_aside_first_and_then_freed() {
        let machine = board_m64();
        let lab = Lab::without_pcp(&machine);
        let (memory, current) = (&lab.memory, lab.current());
        let cache = memory.slabs.create("bios", 200, 0, CacheFlags::empty()).unwrap();
        let pool = create(memory, &current, 3, Source::Cache(cache)).unwrap();
        let element = alloc(memory, &current, &pool, Gfp::GFP_NOIO).unwrap();
        assert_eq!(pool.level(memory), (3, 3), "the source is asked first");
        assert_eq!(free(memory, &current, &pool, element), Ok(()));
        assert_eq!(free(memory, &current, &pool, element), Err(BadFree::AlreadyFree(element)));
        assert_eq!(alloc(memory, &current, &pool, Gfp::__GFP_ZERO), Err(NoElement::Zero(Gfp::__GFP_ZERO)));
        assert_eq!((resize(memory, &current, &pool, 10), pool.level(memory)), (Ok(10), (10, 10)));
        assert_eq!((resize(memory, &current, &pool, 2), pool.level(memory)), (Ok(2), (2, 2)));
        destroy(memory, &current, pool);
        memory.slabs.iter().for_each(|cache| assert_eq!(slab::kmem_cache_shrink(memory, &current, cache), 0));
        assert_eq!(lab.nr_free(), 16384);
    }

    #[test]
    fn a_pool_gets_smaller_without_memory() {
        let machine = board_m64();
        let lab = Lab::scenario(&machine, 400);
        let pool = nothing_left(&lab, Source::Pages(0));
        let (memory, current) = (&lab.memory, lab.current());
        lab.memory.oom.set_disabled(true);
        assert_eq!((resize(memory, &current, &pool, 1), pool.level(memory)), (Ok(1), (1, 1)));
        assert_eq!(lab.nr_free(), 3);
        let element = alloc(memory, &current, &pool, Gfp::GFP_NOWAIT).unwrap();
        assert_eq!((resize(memory, &current, &pool, 0), pool.level(memory)), (Ok(0), (0, 0)));
        free(memory, &current, &pool, element).unwrap();
        destroy(memory, &current, pool);
        assert_eq!(lab.nr_free(), 4);
    }

    #[test]
    fn an_element_is_not_set_aside_twice() {
        let machine = board_m64();
        let lab = Lab::scenario(&machine, 400);
        let pool = nothing_left(&lab, Source::Pages(0));
        let (memory, current) = (&lab.memory, lab.current());
        let element = alloc(memory, &current, &pool, Gfp::GFP_NOWAIT).unwrap();
        assert_eq!(free(memory, &current, &pool, element), Ok(()));
        assert_eq!(free(memory, &current, &pool, element), Err(BadFree::AlreadyFree(element)));
        let inside = PhysAddr(element.0 + 8);
        assert_eq!(free(memory, &current, &pool, inside), Err(BadFree::Foreign(inside)));
        assert_eq!(pool.level(memory), (4, 4));
    }

    #[test]
    fn nobody_waits_where_sleeping_is_forbidden_or_when_called_off() {
        let machine = board_m64();
        let lab = Lab::scenario(&machine, 400);
        let pool = nothing_left(&lab, Source::Pages(0));
        let (memory, current) = (&lab.memory, lab.current());
        (0..4).for_each(|_| _ = alloc(memory, &current, &pool, Gfp::GFP_NOIO).unwrap());
        let atomic = current.in_context(Context::Atomic);
        assert_eq!(alloc(memory, &atomic, &pool, Gfp::GFP_NOIO), Err(NoElement::Atomic));
        memory.env.threads().set_interrupted(true);
        assert_eq!(alloc(memory, &current, &pool, Gfp::GFP_NOIO), Err(NoElement::Interrupted));
    }

    #[test]
    fn a_pool_that_cannot_be_filled_leaves_nothing_behind() {
        let machine = board_m64();
        let lab = Lab::scenario(&machine, 330);
        lab.memory.oom.set_disabled(true);
        let failed = create(&lab.memory, &lab.current(), 4000, Source::Pages(0)).map(|_| ());
        assert!(matches!(failed, Err(NoObject::NoBlock(0, _))), "{failed:?}");
        lab.memory.slabs.iter().for_each(|cache| _ = slab::kmem_cache_shrink(&lab.memory, &lab.current(), cache));
        assert_eq!(lab.nr_free(), 330);
    }
}
