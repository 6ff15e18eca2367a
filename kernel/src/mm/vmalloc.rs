//! Memory that is contiguous by virtual address only: single pages, mapped one behind the other.
//!
//! An area's pages come one at a time, so no block of a high order is needed; behind them lies a page that is never mapped.
//! The areas are first fit in [`VMALLOC_START`](super::mmu::VMALLOC_START)`..`[`VMALLOC_END`](super::mmu::VMALLOC_END).
//! `vmalloc/area.rs` keeps the list of areas, [`super::pgtable`] writes the tables. Linux: `mm/vmalloc.c`.
//!
//! As in Linux, translation tables of areas that are gone stay for those that come.
//! Linux does more: it unmaps lazily, many areas at once, frees areas for interrupt handlers later, and maps pages and
//! devices that others bring.

use super::memory::{Env, Memory};
use super::mmu::Mmu;
use super::page_alloc;
use super::pgtable;
use super::slab;
use super::sleep;
use super::warn_alloc::warn_alloc;
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use crate::gfp::Gfp;
use crate::mmzone::MAX_NUMNODES;
use crate::task::Current;

mod area;
mod error;

pub use area::Area;
use area::{RECORD_BYTES, State};
pub use error::{BadVfree, NoArea};

/// Bytes of a page's number in an area's array.
const WORD: u64 = 8;

/// `bytes` bytes, rounded up to whole pages; where they start. Linux: `vmalloc`.
///
/// # Errors
///
/// When there are no such addresses, or no memory.
pub fn vmalloc<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, bytes: u64) -> Result<VirtAddr, NoArea> {
    vmalloc_gfp(memory, current, bytes, Gfp::GFP_KERNEL)
}

/// The same, filled with zeros. Linux: `vzalloc`.
///
/// # Errors
///
/// As [`vmalloc`].
pub fn vzalloc<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, bytes: u64) -> Result<VirtAddr, NoArea> {
    vmalloc_gfp(memory, current, bytes, Gfp::GFP_KERNEL | Gfp::__GFP_ZERO)
}

/// [`vmalloc`] with pages of this mask. Translation tables are allocated with `GFP_KERNEL` whatever it says. Linux:
/// `__vmalloc`.
///
/// # Errors
///
/// As [`vmalloc`].
pub fn vmalloc_gfp<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    bytes: u64,
    gfp: Gfp,
) -> Result<VirtAddr, NoArea> {
    let mmu = memory.env.mmu().ok_or(NoArea::NoMmu)?;
    if current.context().in_interrupt() {
        return Err(NoArea::InInterrupt);
    }
    let (record, area) = get_vm_area(memory, current, bytes, gfp).inspect_err(|_| {
        warn_alloc(memory, current, gfp, None, format_args!("vmalloc: allocation failure: {bytes} bytes"));
    })?;
    let made = fill(memory, current, gfp, record, area).and_then(|()| map(memory, current, mmu, record));
    if let Err(error) = made {
        let reached = Area::load(memory.env.linear(), record);
        // Who could not even have the array has said so.
        if let NoArea::NoPages(..) | NoArea::NoTable = error {
            let (got, of) = (reached.nr_pages * PAGE_SIZE, reached.bytes);
            let text = format_args!("vmalloc: allocation failure, allocated {got} of {of} bytes");
            warn_alloc(memory, current, gfp, None, text);
        }
        tear_down(memory, current, mmu, record);
        return Err(error);
    }
    set_state(memory, record, State::Live);
    Ok(area.start)
}

/// A new area without pages, and its record. Linux: `__get_vm_area_node`.
fn get_vm_area<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    bytes: u64,
    gfp: Gfp,
) -> Result<(PhysAddr, Area), NoArea> {
    let nr_pages = bytes.div_ceil(PAGE_SIZE);
    if nr_pages == 0 {
        return Err(NoArea::Zero);
    }
    if nr_pages > memory.totalram() {
        return Err(NoArea::TooLarge(bytes, memory.totalram() << PAGE_SHIFT));
    }
    let with_guard = (nr_pages + 1) * PAGE_SIZE;
    let record = slab::kmalloc(memory, current, RECORD_BYTES, gfp & Gfp::RECLAIM_MASK);
    let record = record.map_err(|_| NoArea::NoRecord(gfp))?;
    let linked = {
        let pin = memory.pin();
        let mut first = memory.vmap_areas.lock(&pin);
        area::place(memory.env.linear(), *first, with_guard).map(|(start, before)| {
            let area = Area { start, bytes: with_guard, comm: current.task.comm(), ..Area::default() };
            area::link(memory.env.linear(), &mut first, before, record, area);
            area
        })
    };
    linked.map(|area| (record, area)).ok_or_else(|| {
        free_object(memory, current, record);
        log::warn!("vmap allocation for size {with_guard} failed: use vmalloc=<size> to increase size");
        NoArea::NoAddresses(with_guard)
    })
}

/// Gives an area its pages; it has those that could be had. Linux: `__vmalloc_area_node`.
fn fill<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    gfp: Gfp,
    record: PhysAddr,
    mut area: Area,
) -> Result<(), NoArea> {
    let wanted = area.usable() >> PAGE_SHIFT;
    let nested = gfp & Gfp::RECLAIM_MASK | Gfp::__GFP_ZERO;
    area.pages = alloc_array(memory, current, wanted * WORD, nested).ok_or(NoArea::NoRecord(nested))?;
    update(memory, record, |kept| kept.pages = area.pages);
    let anywhere = if gfp.intersects(Gfp::__GFP_DMA | Gfp::__GFP_DMA32) { Gfp::empty() } else { Gfp::__GFP_HIGHMEM };
    for n in 0..wanted {
        let page = page_alloc::alloc_pages(memory, current, gfp | Gfp::__GFP_NOWARN | anywhere, 0);
        let Ok(pfn) = page else { return Err(NoArea::NoPages(n, wanted)) };
        pgtable::write_word(memory, area.pages.add(n * WORD), pfn.0);
        update(memory, record, |kept| kept.nr_pages = n + 1);
        if gfp.may_sleep() {
            sleep::cond_resched(memory, current);
        }
    }
    Ok(())
}

/// Room for the numbers of an area's pages: a page at most from kmalloc, more from another area.
fn alloc_array<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, bytes: u64, gfp: Gfp) -> Option<VirtAddr> {
    if bytes > PAGE_SIZE {
        return vmalloc_gfp(memory, current, bytes, gfp | Gfp::__GFP_HIGHMEM).ok();
    }
    slab::kmalloc(memory, current, bytes, gfp).ok().map(VirtAddr::linear)
}

/// Maps an area's pages. Linux: `map_vm_area`.
fn map<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, mmu: &dyn Mmu, record: PhysAddr) -> Result<(), NoArea> {
    let area = Area::load(memory.env.linear(), record);
    for n in 0..area.nr_pages {
        let place = entry_with_tables(memory, current, mmu, area.start.add(n * PAGE_SIZE))?;
        pgtable::set_pte(memory.env.linear(), place, page_of(memory, &area, n));
    }
    mmu.publish();
    Ok(())
}

/// The place of the entry for `at`; adds the tables that lead there. Linux: `pud_alloc`, `pte_alloc_kernel`.
fn entry_with_tables<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    mmu: &dyn Mmu,
    at: VirtAddr,
) -> Result<PhysAddr, NoArea> {
    while let Err(_missing) = pgtable::entry(memory.env.linear(), mmu, at) {
        let table = page_alloc::alloc_pages(memory, current, Gfp::GFP_KERNEL | Gfp::__GFP_ZERO, 0);
        let table = table.map_err(|_| NoArea::NoTable)?;
        // Somebody else may have added one meanwhile, for a neighbour.
        let added = {
            let pin = memory.pin();
            let _areas = memory.vmap_areas.lock(&pin);
            let place = pgtable::entry(memory.env.linear(), mmu, at).err();
            place.map(|place| pgtable::add_table(memory.env.linear(), place, table)).is_some()
        };
        if !added {
            free_page(memory, current, table);
        }
    }
    pgtable::entry(memory.env.linear(), mmu, at).map_err(|_| NoArea::NoTable)
}

/// Frees the area that starts at `addr`, with its pages; how many there were. Nothing happens for 0. Linux: `vfree`.
///
/// # Errors
///
/// When no area starts there; nothing changed then.
pub fn vfree<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, addr: VirtAddr) -> Result<u64, BadVfree> {
    let (Some(mmu), true) = (memory.env.mmu(), addr.0 != 0) else { return Ok(0) };
    if current.context().in_interrupt() {
        return Err(BadVfree::InInterrupt);
    }
    if current.context().in_atomic() {
        sleep::report_might_sleep(memory, current, "vfree");
    }
    if !addr.is_page_aligned() {
        log::warn!("Trying to vfree() bad address ({addr})");
        return Err(BadVfree::NotAligned(addr));
    }
    let claimed = claim(memory, addr);
    if let Err(BadVfree::NoArea(_)) = claimed {
        log::warn!("Trying to vfree() nonexistent vm area ({addr})");
    }
    Ok(tear_down(memory, current, mmu, claimed?))
}

/// Makes the area at `addr` the caller's to tear down; its record.
fn claim<E: Env>(memory: &Memory<'_, E>, addr: VirtAddr) -> Result<PhysAddr, BadVfree> {
    let pin = memory.pin();
    let first = memory.vmap_areas.lock(&pin);
    let found = area::areas(memory.env.linear(), *first).find(|(_, area)| area.contains(addr));
    let (record, area) = found.ok_or(BadVfree::NoArea(addr))?;
    if area.start != addr {
        return Err(BadVfree::Inside(addr, area.start));
    }
    if area.state != State::Live {
        return Err(BadVfree::Busy(addr));
    }
    Area { state: State::Going, ..area }.store(memory.env.linear(), record);
    Ok(record)
}

/// Unmaps an area, frees what it has, and its addresses; how many pages it had. Linux: `__vunmap`.
fn tear_down<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, mmu: &dyn Mmu, record: PhysAddr) -> u64 {
    let area = Area::load(memory.env.linear(), record);
    pgtable::unmap(memory.env.linear(), mmu, area.start, area.nr_pages);
    for n in 0..area.nr_pages {
        free_page(memory, current, page_of(memory, &area, n));
    }
    if pgtable::in_window(area.pages) {
        let freed = vfree(memory, current, area.pages);
        debug_assert!(freed.is_ok(), "the array is an area of its own");
    } else if area.pages.0 != 0 {
        free_object(memory, current, PhysAddr(area.pages.0));
    }
    {
        let pin = memory.pin();
        area::unlink(memory.env.linear(), &mut memory.vmap_areas.lock(&pin), record);
    }
    free_object(memory, current, record);
    area.nr_pages
}

fn free_page<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, pfn: Pfn) {
    let freed = page_alloc::free_page(memory, current, pfn);
    debug_assert_eq!(freed, Ok(true), "a page of an area has one reference");
}

fn free_object<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, object: PhysAddr) {
    let freed = slab::kfree(memory, current, object);
    debug_assert_eq!(freed, Ok(()), "an object of kmalloc");
}

/// Page `n` of an area.
fn page_of<E: Env>(memory: &Memory<'_, E>, area: &Area, n: u64) -> Pfn {
    Pfn(pgtable::read_word(memory, area.pages.add(n * WORD)))
}

/// Changes the record of an area, whose links others may change meanwhile.
fn update<E: Env>(memory: &Memory<'_, E>, record: PhysAddr, change: impl FnOnce(&mut Area)) {
    let pin = memory.pin();
    let _areas = memory.vmap_areas.lock(&pin);
    let mut area = Area::load(memory.env.linear(), record);
    change(&mut area);
    area.store(memory.env.linear(), record);
}

fn set_state<E: Env>(memory: &Memory<'_, E>, record: PhysAddr, state: State) {
    update(memory, record, |area| area.state = state);
}

/// An area as others may see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AreaInfo {
    /// The area.
    pub area: Area,
    /// How many of its pages each node has.
    pub node_pages: [u64; MAX_NUMNODES],
    /// Whether its array is an area too. Linux: `vpages`.
    pub has_large_array: bool,
}

/// The first area that ends above `from`. Linux: `find_vm_area`.
pub fn next_area<E: Env>(memory: &Memory<'_, E>, from: VirtAddr) -> Option<AreaInfo> {
    let pin = memory.pin();
    let first = memory.vmap_areas.lock(&pin);
    let (_, area) = area::areas(memory.env.linear(), *first).find(|(_, area)| area.end() > from)?;
    let mut node_pages = [0; MAX_NUMNODES];
    if area.state == State::Live {
        for n in 0..area.nr_pages {
            let zone = memory.zone_of(page_of(memory, &area, n));
            node_pages[zone.map_or(0, |zone| zone.node.index())] += 1;
        }
    }
    Some(AreaInfo { area, node_pages, has_large_array: pgtable::in_window(area.pages) })
}

#[cfg(test)]
mod tests;
