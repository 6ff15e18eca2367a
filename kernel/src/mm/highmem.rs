//! Pages outside the linear map, and how their content is reached.
//!
//! [`kmap`] maps such a page for as long as somebody likes, in one of [`LAST_PKMAP`] slots that all CPUs share;
//! [`kmap_atomic`] for a moment, in one of [`KM_TYPE_NR`] slots of the CPU, the last mapped first unmapped. Filling,
//! copying and comparing pages, which [`Env`] does where they are in the linear map, goes through atomic slots here.
//! Neighbour: [`super::kmap_slots`] keeps the books. Linux: `mm/highmem.c`, `include/linux/highmem.h`.
//!
//! When all slots have users, [`kmap`] sleeps until a [`kunmap`] leaves one; [`kmap_atomic`] must not, and is refused.
//!
//! Linux does more: `kmap_to_page`, debugging of what an atomic slot still maps, and zeroing of parts of pages.

use core::fmt;

use super::kmap_slots::NotMapped;
use super::memory::{Env, LinearMap, Memory};
use super::mmu::{FIXMAP_START, KM_TYPE_NR, LAST_PKMAP, Mmu, PKMAP_START};
use super::pgtable;
use super::sleep;
use crate::addr::{PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use crate::sched::Wait;
use crate::task::Current;

/// Words of a page.
const PAGE_WORDS: u64 = PAGE_SIZE / 8;
/// Atomic slots that are kept for this file's own work, which cannot be refused, in an interrupt handler too.
const KEPT_SLOTS: usize = 4;

/// Why a page was not mapped or unmapped. Nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KmapError {
    /// `kmap` may sleep, so no interrupt handler may call it.
    InInterrupt,
    /// Every slot of `kmap` has users, and nobody may wait in the caller's context.
    Atomic,
    /// Every slot of `kmap` has users, and the caller's work was called off while it waited.
    Interrupted,
    /// The CPU with this number has no atomic slot left.
    AtomicFull(usize),
    /// The page is in no slot of `kmap` that has users.
    NotMapped(Pfn),
    /// The CPU with this number has no atomic slot in use.
    NoneAtomic(usize),
    /// The first page is not in the atomic slot that was used last; the second is.
    OutOfOrder(Pfn, Pfn),
}

impl fmt::Display for KmapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KmapError::InInterrupt => f.write_str("kmap may sleep: in an interrupt only kmap_atomic will do"),
            KmapError::Atomic => {
                write!(f, "all {LAST_PKMAP} slots of kmap are in use, and one cannot wait in this context")
            }
            KmapError::Interrupted => {
                write!(f, "interrupted while all {LAST_PKMAP} slots of kmap were in use, waiting for a kunmap")
            }
            KmapError::AtomicFull(cpu) => write!(
                f,
                "CPU {cpu} has {} of its {KM_TYPE_NR} atomic slots in use, the others are for the kernel itself",
                KM_TYPE_NR - KEPT_SLOTS
            ),
            KmapError::NotMapped(pfn) => write!(f, "pfn {pfn} is not mapped by kmap; was it unmapped before?"),
            KmapError::NoneAtomic(cpu) => write!(f, "CPU {cpu} has no page mapped by kmap_atomic"),
            KmapError::OutOfOrder(pfn, last) => {
                write!(f, "pfn {pfn} was not mapped last on this CPU: pfn {last} goes first")
            }
        }
    }
}

/// Whether a page is outside the linear map. Linux: `PageHighMem`.
#[inline(always)]
pub fn is_high<E: Env>(memory: &Memory<'_, E>, pfn: Pfn) -> bool {
    pfn >= memory.highmem.start
}

/// The address of slot `slot` of `kmap`. Linux: `PKMAP_ADDR`.
const fn pkmap_addr(slot: usize) -> VirtAddr {
    PKMAP_START.add(slot as u64 * PAGE_SIZE)
}

/// The address of an atomic slot of a CPU. Linux: `__fix_to_virt`.
const fn atomic_addr(cpu: usize, slot: usize) -> VirtAddr {
    FIXMAP_START.add((cpu * KM_TYPE_NR + slot) as u64 * PAGE_SIZE)
}

/// The tables, which every machine with such pages has.
fn mmu_of<'a, E: Env>(memory: &'a Memory<'_, E>) -> &'a dyn Mmu {
    memory.env.mmu().expect("high memory begins only where a machine can map it")
}

/// Writes the entry of a slot; the machine brought the tables of slots along.
fn set_slot<E: Env>(memory: &Memory<'_, E>, at: VirtAddr, pfn: Option<Pfn>) {
    if let Ok(place) = pgtable::entry(memory.env.linear(), mmu_of(memory), at) {
        match pfn {
            Some(pfn) => pgtable::set_pte(memory.env.linear(), place, pfn),
            None => pgtable::clear_pte(memory.env.linear(), place),
        }
    }
}

/// Maps a page until [`kunmap`]; where it is. Every call is to be undone by one. Sleeps while all slots are in use.
/// Linux: `kmap`, `kmap_high`.
///
/// # Errors
///
/// In an interrupt; and when all slots are in use and the caller must not sleep, or its work is called off. Linux sleeps
/// for good.
pub fn kmap<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, pfn: Pfn) -> Result<VirtAddr, KmapError> {
    if current.context().in_interrupt() {
        return Err(KmapError::InInterrupt);
    }
    if current.context().in_atomic() {
        sleep::report_might_sleep(memory, current, "kmap");
    }
    if !is_high(memory, pfn) {
        return Ok(VirtAddr::linear(pfn.addr()));
    }
    let mut at = None;
    let is_mapped = || {
        at = map_shared(memory, pfn);
        at.is_some()
    };
    let waited = sleep::wait_event(memory, current, &memory.highmem.pkmap_wait, None, is_mapped);
    at.ok_or(if waited == Wait::Interrupted { KmapError::Interrupted } else { KmapError::Atomic })
}

/// Maps a page in the slot that it has, or in an unused one; `None` when all have users. Linux: `map_new_virtual`.
fn map_shared<E: Env>(memory: &Memory<'_, E>, pfn: Pfn) -> Option<VirtAddr> {
    let mmu = mmu_of(memory);
    let page = memory.pages.index(pfn);
    let pin = memory.pin();
    let mut table = memory.highmem.pkmaps.lock(&pin);
    if let Some(slot) = table.find(page) {
        table.get(slot);
        return Some(pkmap_addr(slot));
    }
    let forget = || {
        mmu.publish();
        mmu.flush_tlb(PKMAP_START, LAST_PKMAP as u64);
    };
    let slot = table.map(page, |slot| set_slot(memory, pkmap_addr(slot), None), forget)?;
    set_slot(memory, pkmap_addr(slot), Some(pfn));
    mmu.publish();
    Some(pkmap_addr(slot))
}

/// Undoes one [`kmap`], and wakes those who wait for a slot if nobody uses this one any more. The page stays mapped until
/// all slots were used. Linux: `kunmap`, `kunmap_high`.
///
/// # Errors
///
/// When nobody has the page mapped; Linux stops the machine then.
pub fn kunmap<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, pfn: Pfn) -> Result<(), KmapError> {
    if current.context().in_interrupt() {
        return Err(KmapError::InInterrupt);
    }
    if !is_high(memory, pfn) {
        return Ok(());
    }
    let unmapped = {
        let pin = memory.pin();
        memory.highmem.pkmaps.lock(&pin).put(memory.pages.index(pfn))
    };
    if unmapped.map_err(|NotMapped| KmapError::NotMapped(pfn))? == 0 {
        memory.highmem.pkmap_wait.wake_all(memory.env.sched());
    }
    Ok(())
}

/// Where a page's content is, if it is in the linear map or somebody has it mapped by [`kmap`]. Linux: `page_address`.
pub fn page_address<E: Env>(memory: &Memory<'_, E>, pfn: Pfn) -> Option<VirtAddr> {
    if !is_high(memory, pfn) {
        return Some(VirtAddr::linear(pfn.addr()));
    }
    let pin = memory.pin();
    let table = memory.highmem.pkmaps.lock(&pin);
    table.find(memory.pages.index(pfn)).filter(|slot| table.used(*slot).is_some()).map(pkmap_addr)
}

/// Maps a page in the next atomic slot of this CPU, until [`kunmap_atomic`]; where it is. The caller stays on the CPU.
/// Linux: `kmap_atomic`.
///
/// # Errors
///
/// When the CPU has no slot left; Linux stops the machine then.
pub fn kmap_atomic<E: Env>(memory: &Memory<'_, E>, pfn: Pfn) -> Result<VirtAddr, KmapError> {
    map_atomic(memory, pfn, KEPT_SLOTS)
}

fn map_atomic<E: Env>(memory: &Memory<'_, E>, pfn: Pfn, kept: usize) -> Result<VirtAddr, KmapError> {
    if !is_high(memory, pfn) {
        return Ok(VirtAddr::linear(pfn.addr()));
    }
    let pin = memory.pin();
    let cpu = pin.cpu();
    let slot =
        memory.highmem.atomics.local(&pin).push(memory.pages.index(pfn), kept).ok_or(KmapError::AtomicFull(cpu))?;
    let at = atomic_addr(cpu, slot);
    set_slot(memory, at, Some(pfn));
    mmu_of(memory).publish();
    Ok(at)
}

/// Unmaps the page that was mapped last by [`kmap_atomic`] on this CPU, which must be `pfn`. Linux: `kunmap_atomic`.
///
/// # Errors
///
/// When it is another one.
pub fn kunmap_atomic<E: Env>(memory: &Memory<'_, E>, pfn: Pfn) -> Result<(), KmapError> {
    if !is_high(memory, pfn) {
        return Ok(());
    }
    let pin = memory.pin();
    let cpu = pin.cpu();
    let mut slots = memory.highmem.atomics.local(&pin);
    match slots.pages().last().map(|&page| memory.pages.pfn(page)) {
        None => return Err(KmapError::NoneAtomic(cpu)),
        Some(last) if last != pfn => return Err(KmapError::OutOfOrder(pfn, last)),
        Some(_) => {}
    }
    let slot = slots.pop().ok_or(KmapError::NoneAtomic(cpu))?;
    pgtable::unmap(memory.env.linear(), mmu_of(memory), atomic_addr(cpu, slot), 1);
    Ok(())
}

/// Calls `with` with the address of each of `nr_pages` pages at `pfn`, one after the other, and its number among
/// them, until it has an answer.
fn through_slots<E: Env, R>(
    memory: &Memory<'_, E>,
    pfn: Pfn,
    nr_pages: u64,
    mut with: impl FnMut(VirtAddr, u64) -> Option<R>,
) -> Option<R> {
    (0..nr_pages).find_map(|page| {
        let _pin = memory.pin();
        let at = map_atomic(memory, pfn.add(page), 0).expect("slots are kept for this");
        let answer = with(at, page);
        kunmap_atomic(memory, pfn.add(page)).expect("it was mapped just now");
        answer
    })
}

/// Fills `nr_pages` pages at `pfn` with `byte`. Linux: `clear_highpage`.
pub fn fill_pages<E: Env>(memory: &Memory<'_, E>, pfn: Pfn, nr_pages: u64, byte: u8) {
    let low = memory.highmem.start.0.saturating_sub(pfn.0).min(nr_pages);
    if low > 0 {
        memory.env.linear().fill_pages(pfn, low, byte);
    }
    let word = u64::from_le_bytes([byte; 8]);
    through_slots(memory, pfn.add(low), nr_pages - low, |at, _| -> Option<()> {
        (0..PAGE_WORDS).for_each(|n| pgtable::write_word(memory, at.add(n * 8), word));
        None
    });
}

/// The first byte of `nr_pages` pages at `pfn` that differs from `byte`: its offset and what it is.
pub fn first_other<E: Env>(memory: &Memory<'_, E>, pfn: Pfn, nr_pages: u64, byte: u8) -> Option<(u64, u8)> {
    if !is_high(memory, pfn) {
        return memory.env.linear().first_other(pfn, nr_pages, byte);
    }
    let expected = u64::from_le_bytes([byte; 8]);
    through_slots(memory, pfn, nr_pages, |at, page| {
        (0..PAGE_WORDS).find_map(|n| {
            let word = pgtable::read_word(memory, at.add(n * 8));
            let other = (word ^ expected).trailing_zeros() / 8;
            (other < 8).then(|| (page * PAGE_SIZE + n * 8 + u64::from(other), (word >> (8 * other)) as u8))
        })
    })
}

/// Copies the page `from` to the page `to`. Linux: `copy_highpage`.
pub fn copy_page<E: Env>(memory: &Memory<'_, E>, from: Pfn, to: Pfn) {
    if !is_high(memory, from) && !is_high(memory, to) {
        return memory.env.linear().copy_page(from, to);
    }
    let _pin = memory.pin();
    let [source, target] = [from, to].map(|pfn| map_atomic(memory, pfn, 0).expect("slots are kept for this"));
    for at in (0..PAGE_SIZE).step_by(8) {
        pgtable::write_word(memory, target.add(at), pgtable::read_word(memory, source.add(at)));
    }
    for pfn in [to, from] {
        kunmap_atomic(memory, pfn).expect("it was mapped just now");
    }
}

/// Writes the page `pfn`, as [`LinearMap::write_page`].
pub fn write_page<E: Env>(memory: &Memory<'_, E>, pfn: Pfn, mut word: impl FnMut(usize) -> u64) {
    if !is_high(memory, pfn) {
        return memory.env.linear().write_page(pfn, word);
    }
    through_slots(memory, pfn, 1, |at, _| -> Option<()> {
        (0..PAGE_WORDS).for_each(|n| pgtable::write_word(memory, at.add(n * 8), word(n as usize)));
        None
    });
}

/// Reads the page `pfn`, as [`LinearMap::read_page`].
pub fn read_page<E: Env>(memory: &Memory<'_, E>, pfn: Pfn, mut word: impl FnMut(usize, u64)) {
    if !is_high(memory, pfn) {
        return memory.env.linear().read_page(pfn, word);
    }
    through_slots(memory, pfn, 1, |at, _| -> Option<()> {
        (0..PAGE_WORDS).for_each(|n| word(n as usize, pgtable::read_word(memory, at.add(n * 8))));
        None
    });
}

/// The word of 8 bytes at `addr`, a multiple of 8 in a page that the caller owns, wherever that is.
pub fn read_word<E: Env>(memory: &Memory<'_, E>, addr: PhysAddr) -> u64 {
    let word =
        through_slots(memory, addr.pfn(), 1, |at, _| Some(pgtable::read_word(memory, at.add(addr.0 % PAGE_SIZE))));
    word.unwrap_or_default()
}

/// Writes what [`read_word`] reads.
pub fn write_word<E: Env>(memory: &Memory<'_, E>, addr: PhysAddr, word: u64) {
    through_slots(memory, addr.pfn(), 1, |at, _| {
        pgtable::write_word(memory, at.add(addr.0 % PAGE_SIZE), word);
        Some(())
    });
}

/// A page in a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// The slot's address.
    pub at: VirtAddr,
    /// The page.
    pub pfn: Pfn,
    /// Users, in a slot of `kmap`; `None` in an atomic one.
    pub users: Option<u32>,
}

/// Calls `each` with every slot of `kmap` that has users; how often all unused ones were emptied so far.
pub fn for_each_kmap<E: Env>(memory: &Memory<'_, E>, mut each: impl FnMut(Mapping)) -> u64 {
    let slots = if memory.highmem.start < memory.span().end { LAST_PKMAP } else { 0 };
    for slot in 0..slots {
        let used = {
            let pin = memory.pin();
            memory.highmem.pkmaps.lock(&pin).used(slot)
        };
        if let Some((page, users)) = used {
            each(Mapping { at: pkmap_addr(slot), pfn: memory.pages.pfn(page), users: Some(users) });
        }
    }
    let pin = memory.pin();
    memory.highmem.pkmaps.lock(&pin).flushes()
}

/// Calls `each` with every atomic slot of this CPU that is in use, the last used last.
pub fn for_each_atomic<E: Env>(memory: &Memory<'_, E>, mut each: impl FnMut(Mapping)) {
    let (cpu, slots) = {
        let pin = memory.pin();
        (pin.cpu(), *memory.highmem.atomics.local(&pin))
    };
    for (slot, &page) in slots.pages().iter().enumerate() {
        each(Mapping { at: atomic_addr(cpu, slot), pfn: memory.pages.pfn(page), users: None });
    }
}

#[cfg(test)]
mod tests;
