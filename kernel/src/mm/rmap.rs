//! From a page to whoever maps it: who used it, how many they are, and taking it away from them.
//!
//! A file's page has a list of [`Mapping`]s, one for each task that asked for it. A mapping
//! outlives the page, as an area of a task's memory does: `MAPPED` says whether the page is there now. An anonymous page
//! has one mapping, in its own record. Each mapping that is present holds a reference of the page.
//!
//! [`referenced`] and [`mapcount`] walk the list without the tables' lock: a mapping that comes or goes meanwhile may be
//! missed, nothing worse. Linux: `mm/rmap.c`. Linux does more: it finds mappings through trees of areas.

use crate::sync::atomic::Ordering::Relaxed;

use super::memory::{Env, Memory};
use super::owner::References;
use super::page::NIL;
use super::swap;
use super::tables::{MapFlags, MapState, Mapping};
use super::users::{PageUser, State, Users, add_node_stat, add_zone_stat};
use crate::task::Task;
use crate::vmstat::{NodeStat, VmEvent, ZoneStat};

/// The mappings of a file's page, present or not.
fn mappings<'u, 'm>(users: &'u Users<'m>, entry: u32) -> impl Iterator<Item = (u32, &'m Mapping)> + use<'u, 'm> {
    let step = move |number: u32| {
        let mapping = (number != NIL).then(|| users.mapping(number))?;
        // Else the record was taken away under a walk without the lock.
        (mapping.page.load(Relaxed) == entry).then_some((number, mapping))
    };
    let first = step(users.file(entry).mappings.load(Relaxed));
    let walk = core::iter::successors(first, move |(_, mapping)| step(mapping.next.load(Relaxed)));
    walk.take(users.tables.mappings.len())
}

/// Takes note of who used the page, and starts afresh. Linux: `page_referenced`.
pub(super) fn referenced(users: &Users<'_>, index: u32) -> References {
    let mut references = References::default();
    let mut note = |state: &MapState| {
        let flags = state.get();
        if flags.contains(MapFlags::MAPPED) {
            references.mlocked |= flags.contains(MapFlags::MLOCKED);
            if !state.clear(MapFlags::YOUNG).is_empty() {
                references.young += 1;
                references.executable |= flags.contains(MapFlags::EXEC);
            }
        }
    };
    match users.user_of(index) {
        Some(PageUser::File(entry)) => mappings(users, entry).for_each(|(_, mapping)| note(&mapping.state)),
        Some(PageUser::Anon(entry)) => note(&users.anon(entry).state),
        Some(PageUser::Handle(_)) | None => {}
    }
    references
}

/// Mappings that are present. Linux: `page_mapcount`.
pub(super) fn mapcount(users: &Users<'_>, index: u32) -> u32 {
    let is_mapped = |state: &MapState| state.get().contains(MapFlags::MAPPED);
    match users.user_of(index) {
        Some(PageUser::File(entry)) => {
            mappings(users, entry).filter(|(_, mapping)| is_mapped(&mapping.state)).count() as u32
        }
        Some(PageUser::Anon(entry)) => u32::from(is_mapped(&users.anon(entry).state)),
        Some(PageUser::Handle(_)) | None => 0,
    }
}

/// The mapping of a file's page in a task's memory.
pub(super) fn find(users: &Users<'_>, entry: u32, task: &Task) -> Option<u32> {
    let of_task = |(_, mapping): &(u32, &Mapping)| mapping.task.load(Relaxed) == u32::from(task.pid());
    mappings(users, entry).find(of_task).map(|(number, _)| number)
}

/// Makes a mapping, not present yet; `None` when there is no room for one.
pub(super) fn add(users: &Users<'_>, state: &mut State, entry: u32, task: &Task, flags: MapFlags) -> Option<u32> {
    let next = |free| users.mapping(free).next.load(Relaxed);
    let number = state.mappings.take(users.tables.mappings.len(), next)?;
    let mapping = users.mapping(number);
    mapping.task.store(u32::from(task.pid()), Relaxed);
    mapping.state.reset(flags);
    mapping.next.store(users.file(entry).mappings.load(Relaxed), Relaxed);
    mapping.page.store(entry, Relaxed);
    users.file(entry).mappings.store(number, Relaxed);
    task.mm.total_vm.fetch_add(1, Relaxed);
    Some(number)
}

/// Forgets a mapping, which is not present.
pub(super) fn remove<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, state: &mut State, number: u32) {
    let mapping = users.mapping(number);
    let next = mapping.next.load(Relaxed);
    let file = users.file(mapping.page.load(Relaxed));
    let mut before = file.mappings.load(Relaxed);
    if before == number {
        file.mappings.store(next, Relaxed);
    } else {
        while users.mapping(before).next.load(Relaxed) != number {
            before = users.mapping(before).next.load(Relaxed);
        }
        users.mapping(before).next.store(next, Relaxed);
    }
    mapping.page.store(NIL, Relaxed);
    mapping.next.store(state.mappings.give_back(number), Relaxed);
    with_task(memory, mapping, |task| _ = task.mm.total_vm.fetch_sub(1, Relaxed));
}

fn with_task<E: Env>(memory: &Memory<'_, E>, mapping: &Mapping, act: impl FnOnce(&Task)) {
    if let Some(task) = memory.env.tasks().by_pid(mapping.task.load(Relaxed) as u16) {
        act(task);
    }
}

/// Lets a mapping of a cached page be present, and young. Linux: `page_add_file_rmap`.
pub(super) fn set_present<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, number: u32, index: u32) {
    if users.mapping(number).state.get().contains(MapFlags::MAPPED) {
        // Somebody else who acts as the task was faster.
        return;
    }
    if mapcount(users, index) == 0 {
        add_node_stat(memory, index, NodeStat::NrMapped, 1);
    }
    let mapping = users.mapping(number);
    mapping.state.set(MapFlags::MAPPED | MapFlags::YOUNG);
    users.page(index).get(1);
    with_task(memory, mapping, |task| _ = task.mm.file_rss.fetch_add(1, Relaxed));
}

/// Lets a mapping not be present any more, nor locked; the caller holds a reference, too. Linux: `page_remove_rmap`,
/// `clear_page_mlock`.
pub(super) fn set_absent<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, number: u32, index: u32) {
    let mapping = users.mapping(number);
    let was = mapping.state.clear(MapFlags::MAPPED | MapFlags::YOUNG | MapFlags::MLOCKED);
    if !was.contains(MapFlags::MAPPED) {
        return;
    }
    users.page(index).put_testzero();
    with_task(memory, mapping, |task| _ = task.mm.file_rss.fetch_sub(1, Relaxed));
    if mapcount(users, index) == 0 {
        add_node_stat(memory, index, NodeStat::NrMapped, -1);
    }
    if was.contains(MapFlags::MLOCKED) && !is_mlocked(users, mapping.page.load(Relaxed)) {
        add_zone_stat(memory, index, ZoneStat::NrMlock, -1);
        memory.count(VmEvent::UnevictablePgsCleared, 1);
    }
}

/// Whether a mapping of the file's page that is present is locked into memory.
pub(super) fn is_mlocked(users: &Users<'_>, entry: u32) -> bool {
    const LOCKED: MapFlags = MapFlags::MAPPED.union(MapFlags::MLOCKED);
    mappings(users, entry).any(|(_, mapping)| mapping.state.get().contains(LOCKED))
}

/// Whether the page is a file's, and locked into memory.
pub(super) fn is_page_mlocked(users: &Users<'_>, index: u32) -> bool {
    matches!(users.user_of(index), Some(PageUser::File(entry)) if is_mlocked(users, entry))
}

/// Forgets all mappings of a page that is not cached.
pub(super) fn remove_all<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, state: &mut State, entry: u32) {
    let first = || Some(users.file(entry).mappings.load(Relaxed)).filter(|&number| number != NIL);
    while let Some(number) = first() {
        remove(memory, users, state, number);
    }
}

/// Takes the page away from everyone who maps it, with the references that this holds; whether that was possible. The
/// caller holds a reference. Linux: `try_to_unmap`.
pub(super) fn try_to_unmap<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, index: u32) -> bool {
    users.locked(memory, |_| match users.user_of(index) {
        Some(PageUser::File(entry)) => unmap_file(memory, users, entry, index),
        Some(PageUser::Anon(entry)) => unmap_anon(memory, users, entry, index),
        Some(PageUser::Handle(_)) | None => false,
    })
}

fn unmap_file<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, entry: u32, index: u32) -> bool {
    if is_mlocked(users, entry) {
        // It was on its way when it was locked into memory; now it goes where it belongs.
        swap::cull(memory, users.page(index));
        return false;
    }
    unmap_file_always(memory, users, entry, index);
    true
}

/// [`try_to_unmap`] of a file's page, be it locked into memory or not; the caller has locked the tables. Linux:
/// `unmap_mapping_range`.
pub(super) fn unmap_file_always<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, entry: u32, index: u32) {
    mappings(users, entry).for_each(|(number, _)| set_absent(memory, users, number, index));
}

/// An anonymous page can be taken away only when it is in the swap cache, where its task can find it again.
fn unmap_anon<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, entry: u32, index: u32) -> bool {
    let anon = users.anon(entry);
    let flags = anon.state.get();
    if !flags.contains(MapFlags::MAPPED) {
        return true;
    }
    if flags.contains(MapFlags::MLOCKED) || anon.slot().is_none() {
        return false;
    }
    anon_absent(memory, users, entry, index);
    if let Some(task) = memory.env.tasks().by_pid(users.anon_place(entry).0) {
        task.mm.swapents.fetch_add(1, Relaxed);
    }
    true
}

/// Lets an anonymous page be mapped, and young. Linux: `page_add_anon_rmap`.
pub(super) fn anon_present<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, entry: u32, index: u32) {
    users.anon(entry).state.set(MapFlags::MAPPED | MapFlags::YOUNG);
    add_node_stat(memory, index, NodeStat::NrAnonPages, 1);
    if let Some(task) = memory.env.tasks().by_pid(users.anon_place(entry).0) {
        task.mm.anon_rss.fetch_add(1, Relaxed);
    }
}

/// Lets a mapped anonymous page not be mapped any more; the mapping's reference goes, which must not be the last.
pub(super) fn anon_absent<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, entry: u32, index: u32) {
    users.anon(entry).state.clear(MapFlags::MAPPED | MapFlags::YOUNG);
    users.page(index).put_testzero();
    add_node_stat(memory, index, NodeStat::NrAnonPages, -1);
    if let Some(task) = memory.env.tasks().by_pid(users.anon_place(entry).0) {
        task.mm.anon_rss.fetch_sub(1, Relaxed);
    }
}
