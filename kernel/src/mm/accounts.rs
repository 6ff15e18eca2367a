//! Whether the tables of those who use memory, the records of its pages, and the counters say the same.
//!
//! [`audit`] walks every page in use, asks whose it is, and holds its references and marks against what the tables know;
//! then the sums against the counters of nodes, zones, tasks and swap space. The machine must be at rest: nothing is
//! isolated, nobody waits for a page. Neighbour: `check` asks on behalf of a person. Linux: `check_mm`, `bad_page`.
//!
//! Linux does more: nothing compares all of this at once, for nobody could stop the machine for it.

use crate::sync::atomic::Ordering::Relaxed;

use super::census;
use super::handles;
use super::memory::{Env, Memory};
use super::owner::Mismatch;
use super::page::{Kind, NIL, PageFlags, PageState};
use super::rmap;
use super::swapfile::{swap_cache, swap_space};
use super::tables::{FileFlags, MapFlags};
use super::users::{PageUser, State, Users};
use crate::mmzone::{MAX_NR_ZONES, MAX_NUMNODES, NodeId};
use crate::task::MAX_TASKS;
use crate::vmstat::{NodeStat, ZoneStat};

/// Pages of a node, as counted one by one.
#[derive(Clone, Copy, Default)]
struct NodeSums {
    file: u64,
    anon: u64,
    mapped: u64,
    dirty: u64,
    writeback: u64,
}

/// Pages of a zone.
#[derive(Clone, Copy, Default)]
struct ZoneSums {
    mlocked: u64,
    pending: u64,
}

/// Pages of a task.
#[derive(Clone, Copy, Default)]
struct TaskSums {
    anon: u64,
    file: u64,
    swapped: u64,
    mapped: u64,
}

struct Sums {
    nodes: [NodeSums; MAX_NUMNODES],
    zones: [ZoneSums; MAX_NUMNODES * MAX_NR_ZONES],
    tasks: [TaskSums; MAX_TASKS],
    swap_cache: u64,
}

/// Calls `report` for everything that does not agree.
pub(super) fn audit<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, report: &mut dyn FnMut(Mismatch)) {
    let mut sums = Sums {
        nodes: Default::default(),
        zones: [ZoneSums::default(); MAX_NUMNODES * MAX_NR_ZONES],
        tasks: [TaskSums::default(); MAX_TASKS],
        swap_cache: 0,
    };
    for zone in memory.populated_zones() {
        census::for_each_head(memory, zone, |pfn, state| {
            if state.is(Kind::Allocated) && state.flags().intersects(PageFlags::LRU | PageFlags::MOVABLE) {
                check_page(users, memory.pages.index(pfn), state, zone.node, &mut sums, report);
            }
        });
    }
    users.locked(memory, |state| check_tables(users, state, &mut sums, report));
    check_counters(memory, users, &sums, report);
}

/// Reports a number that is not what it should be.
fn compare(report: &mut dyn FnMut(Mismatch), page: Option<u32>, what: &'static str, found: u64, expected: u64) {
    if found != expected {
        report(Mismatch { page, what, found, expected });
    }
}

/// References and marks of a page that is on an LRU list, or movable.
fn check_page(
    users: &Users<'_>,
    index: u32,
    state: PageState,
    node: NodeId,
    sums: &mut Sums,
    report: &mut dyn FnMut(Mismatch),
) {
    let (user, flags, mapped) = (users.user_of(index), state.flags(), rmap::mapcount(users, index));
    let has = |flag| u64::from(flags.contains(flag));
    let (nodes, zones) = (&mut sums.nodes[node.index()], &mut sums.zones[state.zone()]);
    let (swap_cache, is_file) = (has(PageFlags::SWAPCACHE), 1 - has(PageFlags::SWAPBACKED));
    let (mut others, mut mlocked, mut locked) = (swap_cache, false, 0);
    match user {
        Some(PageUser::File(entry)) => {
            let file = users.file(entry);
            others = 1 + u64::from(file.pins.load(Relaxed));
            mlocked = rmap::is_mlocked(users, entry);
            locked = u64::from(file.has(FileFlags::LOCKED));
            nodes.file += 1;
            nodes.mapped += u64::from(mapped > 0);
            zones.mlocked += u64::from(mlocked);
        }
        Some(PageUser::Anon(_)) => nodes.anon += u64::from(mapped > 0),
        Some(PageUser::Handle(number)) => others = handles::references(users, number),
        None => {}
    }
    sums.swap_cache += swap_cache;
    nodes.file += swap_cache;
    nodes.dirty += has(PageFlags::DIRTY) * is_file;
    nodes.writeback += has(PageFlags::WRITEBACK);
    zones.pending += has(PageFlags::DIRTY) * is_file + has(PageFlags::WRITEBACK);
    let expected = others + u64::from(mapped) + has(PageFlags::WRITEBACK);
    compare(report, Some(index), "number of references", state.count().into(), expected);
    compare(report, Some(index), "being locked", has(PageFlags::LOCKED), locked);
    // A page that is locked into memory may be where it was until reclaim meets it, but not the other way round.
    let stranded = flags.contains(PageFlags::UNEVICTABLE) && !mlocked;
    compare(report, Some(index), "being unevictable though nobody keeps it", u64::from(stranded), 0);
}

/// Each record that has a page or a slot is the one that these name.
fn check_tables(users: &Users<'_>, state: &State, sums: &mut Sums, report: &mut dyn FnMut(Mismatch)) {
    let is_on_list = |index| users.page(index).flags().contains(PageFlags::LRU);
    for entry in state.files.entries(users.tables.file_chunks) {
        if let Some(index) = users.file(entry).page() {
            let is_its = users.user_of(index) == Some(PageUser::File(entry)) && is_on_list(index);
            compare(report, Some(index), "being the file's that has it", u64::from(is_its), 1);
        }
    }
    for entry in state.anons.entries(users.tables.anon_chunks).filter(|&entry| !users.anon(entry).is_blank()) {
        let anon = users.anon(entry);
        let task = &mut sums.tasks[usize::from(users.anon_place(entry).0) - 1];
        let is_mapped = anon.state.get().contains(MapFlags::MAPPED);
        task.mapped += 1;
        *(if is_mapped { &mut task.anon } else { &mut task.swapped }) += 1;
        if let Some(index) = anon.page() {
            let is_its = users.user_of(index) == Some(PageUser::Anon(entry)) && is_on_list(index);
            compare(report, Some(index), "being the task's that has it", u64::from(is_its), 1);
        }
        if let Some(slot) = anon.slot() {
            let owner = users.slot(slot).owner.load(Relaxed);
            compare(report, anon.page(), "owner of a swap slot", owner.into(), entry.into());
        }
        let is_somewhere = anon.page().is_some() || anon.slot().is_some();
        compare(report, anon.page(), "being somewhere", u64::from(is_somewhere), 1);
    }
    for number in 0..state.mappings.ever_used() {
        let mapping = users.mapping(number);
        if mapping.page.load(Relaxed) != NIL {
            let task = &mut sums.tasks[mapping.task.load(Relaxed) as usize - 1];
            task.mapped += 1;
            task.file += u64::from(mapping.state.get().contains(MapFlags::MAPPED));
        }
    }
    let space = swap_space(users);
    let in_use = |slot: &&super::tables::SwapSlot| slot.owner.load(Relaxed) != NIL;
    let used = users.tables.slots[..space.total as usize].iter().filter(in_use).count() as u64;
    compare(report, None, "number of swap slots in use", space.total - space.free, used);
}

/// The counters of the machine are the sums.
fn check_counters<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, sums: &Sums, report: &mut dyn FnMut(Mismatch)) {
    for node in memory.online_nodes() {
        let NodeSums { file, anon, mapped, dirty, writeback } = sums.nodes[node.id.index()];
        compare(report, None, "nr_file_pages", node.raw_stat(NodeStat::NrFilePages), file);
        compare(report, None, "nr_anon_pages", node.raw_stat(NodeStat::NrAnonPages), anon);
        compare(report, None, "nr_mapped", node.raw_stat(NodeStat::NrMapped), mapped);
        compare(report, None, "nr_dirty", node.raw_stat(NodeStat::NrDirty), dirty);
        compare(report, None, "nr_writeback", node.raw_stat(NodeStat::NrWriteback), writeback);
    }
    for zone in memory.populated_zones() {
        let ZoneSums { mlocked, pending } = sums.zones[usize::from(zone.id)];
        compare(report, None, "nr_mlock", zone.raw_stat(ZoneStat::NrMlock), mlocked);
        compare(report, None, "nr_zone_write_pending", zone.raw_stat(ZoneStat::NrZoneWritePending), pending);
    }
    for task in memory.env.tasks().iter() {
        let TaskSums { anon, file, swapped, mapped } = sums.tasks[usize::from(task.pid()) - 1];
        compare(report, None, "anon_rss of a task", task.mm.anon_rss.load(Relaxed), anon);
        compare(report, None, "file_rss of a task", task.mm.file_rss.load(Relaxed), file);
        compare(report, None, "swapents of a task", task.mm.swapents.load(Relaxed), swapped);
        compare(report, None, "total_vm of a task", task.mm.total_vm.load(Relaxed), mapped);
    }
    let writeback = sums.nodes.iter().map(|node| node.writeback).sum();
    compare(report, None, "number of writes under way", users.disk.in_flight().into(), writeback);
    compare(report, None, "number of pages in the swap cache", swap_cache(users).pages, sums.swap_cache);
}
