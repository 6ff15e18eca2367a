//! Pages back into the lists: single ones to those of the CPU, from which a batch goes back to the zone when they get
//! long, blocks to the zone at once. Linux: `free_unref_page`, `free_pcppages_bulk`, `__free_pages_ok`.

use crate::mm::buddy::Run;
use crate::mm::list::List;
use crate::mm::memory::{Env, Hook, Memory};
use crate::mm::page::{Kind, PageState};
use crate::mm::pcp::PcpLists;
use crate::mm::zone::Zone;
use crate::mmzone::MigrateType;
use crate::sync::Pin;
use crate::task::Current;
use crate::trace::kmem::Kmem;

/// Puts a single page, prepared for freeing, on the list of this CPU. Linux: `free_unref_page`.
#[inline(always)]
pub fn free_unref_page<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, index: u32, state: PageState) {
    let migratetype = memory.blocks.of(index).migratetype();
    if migratetype == MigrateType::Isolate {
        return free_block(memory, index, state);
    }
    let zone = memory.zone(state.zone());
    memory.pages.at(index).set_state(state.to_free(Kind::Pcp, migratetype));
    let pin = memory.pin();
    let mut lists = zone.pcp.local(&pin);
    let pageset = lists.shared();
    pageset.count_free(1);
    let count = lists.put(&memory.pages, pageset, index, migratetype);
    drop(lists);
    drop(pin);
    if count >= zone.pcp_high() {
        drain_batch(memory, current, zone);
    }
}

/// Puts single pages, prepared for freeing, on the lists of this CPU, all in one go. Linux: `free_unref_page_list`.
pub fn free_unref_page_list<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, mut pages: List) {
    let pin = memory.pin();
    while let Some((index, _)) = pages.pop_front(&memory.pages) {
        let state = memory.pages.at(index).state();
        let migratetype = memory.blocks.of(index).migratetype();
        if migratetype == MigrateType::Isolate {
            free_block(memory, index, state);
            continue;
        }
        let zone = memory.zone(state.zone());
        memory.pages.at(index).set_state(state.to_free(Kind::Pcp, migratetype));
        let mut lists = zone.pcp.local(&pin);
        let pageset = lists.shared();
        pageset.count_free(1);
        if lists.put(&memory.pages, pageset, index, migratetype) >= zone.pcp_high() {
            drain_lists(memory, current, &pin, zone, &mut lists, zone.pcp_limits().batch);
        }
    }
}

/// Gives a batch of pages of this CPU's list back to the zone.
#[inline(never)]
pub(in crate::mm) fn drain_batch<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, zone: &Zone) {
    let pin = memory.pin();
    let mut lists = zone.pcp.local(&pin);
    drain_lists(memory, current, &pin, zone, &mut lists, zone.pcp_limits().batch);
}

/// Gives `nr` pages of a per-CPU list back to the zone. Linux: `free_pcppages_bulk`.
#[inline(always)]
fn drain_lists<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    pin: &Pin<'_, E::Irq>,
    zone: &Zone,
    lists: &mut PcpLists,
    nr: u32,
) {
    let pageset = zone.pageset(pin.cpu());
    let mut guard = zone.free.lock(pin);
    let mut buddy = zone.buddy(&mut guard, memory.pages, memory.blocks);
    let isolated = buddy.lists.nr_isolated > 0;
    let mut run: Option<Run> = None;
    lists.drain(&memory.pages, pageset, nr, |index| {
        let own = memory.pages.at(index).state().migratetype();
        let migratetype = if isolated { memory.blocks.of(index).migratetype() } else { own };
        if memory.has(Hook::Trace) {
            trace_drain(memory, current, index, migratetype);
        }
        let extended = run.as_mut().is_some_and(|run| run.extend(index, migratetype));
        if !extended && let Some(complete) = run.replace(Run::of(index, migratetype)) {
            buddy.free_run(complete);
        }
    });
    if let Some(complete) = run {
        buddy.free_run(complete);
    }
}

#[cold]
fn trace_drain<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, index: u32, migratetype: MigrateType) {
    memory.trace(current, || Kmem::MmPagePcpuDrain { page: memory.pages.pfn(index), migratetype });
}

/// Gives the pages on this CPU's lists back to their zones: those of `only`, or of all. Linux: `drain_local_pages`.
pub fn drain_local_pages<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, only: Option<&Zone>) {
    for zone in memory.populated_zones().filter(|zone| only.is_none_or(|only| only.id == zone.id)) {
        let pin = memory.pin();
        let mut lists = zone.pcp.local(&pin);
        let count = lists.shared().count();
        if count > 0 {
            drain_lists(memory, current, &pin, zone, &mut lists, count);
        }
    }
}

/// Gives the pages on the per-CPU lists of every CPU back to their zones. Linux: `drain_all_pages`.
pub fn drain_all_pages<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>) {
    memory.on_each_cpu(current, &|_| drain_local_pages(memory, current, None));
}

/// Gives a block, prepared for freeing and in `state`, back to its zone. Linux: `__free_pages_ok`, `free_one_page`.
#[inline(never)]
pub fn free_block<E: Env>(memory: &Memory<'_, E>, index: u32, state: PageState) {
    let (zone, order) = (memory.zone(state.zone()), state.order());
    let pin = memory.pin();
    let mut guard = zone.free.lock(&pin);
    let migratetype = memory.blocks.of(index).migratetype();
    zone.buddy(&mut guard, memory.pages, memory.blocks).free(index, order, migratetype);
    zone.pageset(pin.cpu()).count_free(order.nr_pages());
}
