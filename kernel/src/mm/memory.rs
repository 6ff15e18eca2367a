//! All memory of a machine: page records, zones, nodes, settings; and [`Env`] (`memory/env.rs`), through which the world
//! enters.
//!
//! There is no static: a [`Memory`] borrows its records from whoever made it, and many can live in one test process. The
//! allocator never touches the pages that it manages; filling and comparing their content goes through `Env`. Settings
//! that a user may change while the machine runs are in [`super::sysctl`]; how a `Memory` comes into being at boot is
//! told by [`super::mm_init`].
//!
//! Linux: `contig_page_data`, `node_data`, and the statics of `mm/page_alloc.c`.

use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use core::fmt;

use super::cpuset_state::CpusetTable;
use super::kmap_slots::HighMemory;
use super::kmem_cache::SlabCaches;
use super::node::Node;
use super::oom_state::OomState;
use super::page::Pages;
use super::page_owner::PageOwners;
use super::pageblock::Pageblocks;
use super::printed::Printed;
use super::sysctl::Sysctls;
use super::zone::Zone;
use crate::addr::{Pfn, PfnRange, PhysAddr};
use crate::gfp::{Gfp, ZoneTable};
use crate::mmzone::{MAX_NR_ZONES, MAX_NUMNODES, NR_CPUS, NodeId, NodeMask, ZoneType};
use crate::quirks::{Quirk, Quirks};
use crate::sched::{ReschedKnob, WaitQueue};
use crate::sync::{Class, LocalIrq, Pin, SpinLock};
use crate::task::Current;
use crate::trace::{Event, Stamp, Tracer};
use crate::vmstat::EventCounters;

mod counters;
mod env;
mod linear;
pub mod owner;

pub use env::Env;
pub use linear::LinearMap;

/// Why a request needs more than the plain fast path; none applies as a rule, which one load tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Hook {
    /// Events are recorded.
    Trace = 1 << 0,
    /// Freed pages are filled with 0xaa and checked when they are allocated: `page_poison=1`.
    Poison = 1 << 1,
    /// Who allocated a page is recorded: `page_owner=on`.
    PageOwner = 1 << 2,
    /// There is another cpuset than the root. Linux: `cpusets_enabled`.
    Cpusets = 1 << 3,
    /// The machine boots: requests may not sleep yet. Linux: `gfp_allowed_mask`.
    Boot = 1 << 4,
    /// Too little memory was found to keep migratetypes apart. Linux: `page_group_by_mobility_disabled`.
    MobilityOff = 1 << 5,
    /// A quirk of the fast path is switched away from v5.0.
    Quirk = 1 << 6,
    /// NUMA hits and misses are not counted.
    NumaStatOff = 1 << 7,
    /// A request of some task is to fail.
    FailNth = 1 << 8,
    /// Some task has a memory policy.
    Mempolicy = 1 << 9,
    /// A node is reclaimed from before the next one is asked. Linux: `node_reclaim_mode`.
    NodeReclaim = 1 << 10,
}

/// Slots for all zones of all nodes: node times [`MAX_NR_ZONES`] plus index.
pub const ZONE_SLOTS: usize = MAX_NUMNODES * MAX_NR_ZONES;

/// For each zone selector of a mask, the number of the zone that is tried first.
pub(super) type BestZones = [u8; 16];

/// The number of no zone.
const NO_ZONE: u8 = u8::MAX;

/// All memory of a machine.
pub struct Memory<'m, E> {
    /// The world.
    pub env: E,
    /// All page records.
    pub pages: Pages<'m>,
    /// All pageblocks.
    pub blocks: Pageblocks<'m>,
    pub(super) zone_table: ZoneTable,
    hooks: AtomicU32,
    best_of_cpu: [BestZones; NR_CPUS],
    best_of_node: [BestZones; MAX_NUMNODES],
    nr_online: usize,
    zone_types: &'static [ZoneType],
    /// Every zone by its number, configured or not.
    pub(super) zones: [Zone; ZONE_SLOTS],
    pub(super) nodes: [Node; MAX_NUMNODES],
    /// The node of each CPU.
    pub(super) cpu_node: [NodeId; NR_CPUS],
    /// The nodes that have CPUs. Linux: `node_states[N_CPU]`.
    pub(super) nodes_with_cpus: NodeMask,
    pub(super) events: [EventCounters; NR_CPUS],
    /// What the user may set.
    pub sysctl: Sysctls,
    /// Where v5.0 surprises, and what to do about it.
    pub quirks: Quirks,
    /// Who allocated which page, if that is recorded.
    pub page_owners: PageOwners<'m>,
    /// Caches of objects smaller than pages; none until whoever makes the machine hands them over.
    pub slabs: SlabCaches<'m>,
    /// The pages outside the linear map, and where they are mapped now.
    pub highmem: HighMemory,
    /// The record of the lowest area of vmalloc, by its address. Linux: `vmap_area_list`.
    pub(super) vmap_areas: SpinLock<Option<PhysAddr>>,
    pub(super) totalram: AtomicU64,
    pub(super) totalreserve: AtomicU64,
    /// Pages that were found bad and are kept out of use.
    pub(super) leaked: AtomicU64,
    /// Zone selectors that contradict each other.
    pub bad_zone_requests: AtomicU64,
    /// Named sets of nodes that tasks are confined to.
    pub cpusets: CpusetTable,
    /// What was reported so far.
    pub printed: Printed,
    /// The OOM killer's state.
    pub oom: OomState,
    /// Where those wait who want a page that is locked, or under writeback. Linux: `page_waitqueue`.
    pub page_wait: WaitQueue,
    /// Rounds of the slow path after which a request is called off; 0 for never. A person sets it to look at a request
    /// that would go round for ever; Linux has nothing like it.
    pub round_limit: AtomicU32,
    /// When who offers the CPU gives it away.
    pub resched: ReschedKnob,
}

impl<'m, E: Env> Memory<'m, E> {
    /// Memory with the configured `zone_types`, none of which has a page yet.
    pub fn new(
        env: E,
        pages: Pages<'m>,
        blocks: Pageblocks<'m>,
        zone_types: &'static [ZoneType],
        quirks: Quirks,
    ) -> Self {
        let quirky = quirks.switched(Quirk::Classzone) || quirks.switched(Quirk::Nofragment);
        let hooks = Hook::Boot as u32 | if quirky { Hook::Quirk as u32 } else { 0 };
        Memory {
            env,
            pages,
            blocks,
            zone_table: ZoneTable::new(zone_types),
            best_of_cpu: [[NO_ZONE; 16]; NR_CPUS],
            best_of_node: [[NO_ZONE; 16]; MAX_NUMNODES],
            nr_online: 0,
            hooks: AtomicU32::new(hooks),
            zone_types,
            zones: core::array::from_fn(|id| {
                let (node, index) = (id / MAX_NR_ZONES, id % MAX_NR_ZONES);
                let zone_type = zone_types.get(index).copied().unwrap_or(ZoneType::Movable);
                Zone::new(id as u8, NodeId(node as u8), index, zone_type)
            }),
            nodes: core::array::from_fn(|id| Node::new(NodeId(id as u8))),
            cpu_node: [NodeId(0); NR_CPUS],
            nodes_with_cpus: NodeMask::default(),
            events: [const { EventCounters::new() }; NR_CPUS],
            sysctl: Sysctls::new(zone_types),
            quirks,
            page_owners: PageOwners::default(),
            slabs: SlabCaches::default(),
            highmem: HighMemory::default(),
            vmap_areas: SpinLock::new(Class::Leaf, None),
            totalram: AtomicU64::new(0),
            totalreserve: AtomicU64::new(0),
            leaked: AtomicU64::new(0),
            bad_zone_requests: AtomicU64::new(0),
            cpusets: CpusetTable::default(),
            printed: Printed::default(),
            oom: OomState::default(),
            page_wait: WaitQueue::new(),
            round_limit: AtomicU32::new(0),
            resched: ReschedKnob::default(),
        }
    }

    /// Masks interrupts on this CPU until the pin is dropped.
    #[inline(always)]
    pub fn pin(&self) -> Pin<'_, E::Irq> {
        self.env.irq().pin()
    }

    /// The CPU that runs the caller now; after a sleep, or without a pin, it may be another one. So nobody keeps the
    /// number: who needs it asks. Linux: `raw_smp_processor_id`.
    #[inline(always)]
    pub fn cpu(&self) -> usize {
        self.env.irq().cpu()
    }

    /// The node of the CPU that runs the caller now. Linux: `numa_node_id`.
    #[inline(always)]
    pub fn near_node(&self) -> NodeId {
        self.cpu_node[self.cpu() % NR_CPUS]
    }

    /// Runs `work` on every CPU with that CPU's number, and returns when all have. Who must not sleep must not wait for
    /// others either: there, on his own CPU alone. Linux: `on_each_cpu`, which warns of a caller with interrupts masked.
    pub fn on_each_cpu(&self, current: &Current<'_>, work: &(dyn Fn(usize) + Sync)) {
        if current.context().in_atomic() {
            let pin = self.pin();
            return work(pin.cpu());
        }
        self.env.on_each_cpu(work);
    }

    /// The configured zone types by index.
    pub fn zone_types(&self) -> &'static [ZoneType] {
        self.zone_types
    }

    /// The node with number `id`.
    #[inline(always)]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The nodes that the machine has.
    pub fn online_nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.online)
    }

    /// The configured zones of a node by index, empty ones included.
    pub fn zones_of(&self, node: NodeId) -> &[Zone] {
        let first = node.index() * MAX_NR_ZONES;
        &self.zones[first..first + self.zone_types.len()]
    }

    /// The configured zones of all online nodes, empty ones included, node by node.
    pub fn zones(&self) -> impl Iterator<Item = &Zone> {
        self.online_nodes().flat_map(|node| self.zones_of(node.id))
    }

    /// The zones that have memory, node by node.
    pub fn populated_zones(&self) -> impl Iterator<Item = &Zone> {
        self.zones().filter(|zone| zone.is_populated())
    }

    /// The nodes that have memory. Linux: `node_states[N_MEMORY]`.
    pub fn nodes_with_memory(&self) -> NodeMask {
        self.populated_zones().fold(NodeMask::default(), |nodes, zone| nodes.with(zone.node))
    }

    /// The zone with number `id`, as page records have it.
    #[inline(always)]
    pub fn zone(&self, id: usize) -> &Zone {
        &self.zones[id]
    }

    /// The zone whose span contains `pfn`.
    pub fn zone_of(&self, pfn: Pfn) -> Option<&Zone> {
        self.populated_zones().find(|zone| zone.span.contains(pfn))
    }

    /// Pages from the lowest to the highest.
    pub fn span(&self) -> PfnRange {
        self.pages.span()
    }

    /// Pages handed to the allocator at boot and after. Linux: `totalram_pages`.
    pub fn totalram(&self) -> u64 {
        self.totalram.load(Relaxed)
    }

    /// Pages kept from ordinary use. Linux: `totalreserve_pages`.
    pub fn totalreserve(&self) -> u64 {
        self.totalreserve.load(Relaxed)
    }

    /// Pages found bad and kept out of use since boot.
    pub fn leaked(&self) -> u64 {
        self.leaked.load(Relaxed)
    }

    /// The bits that requests may have now. Linux: `gfp_allowed_mask`.
    #[inline(always)]
    pub fn gfp_allowed(&self) -> Gfp {
        if self.has(Hook::Boot) { Gfp::BOOT_MASK } else { Gfp::all() }
    }

    /// Says on which node each CPU is, the first one first; once, before zonelists are built. Linux: `set_cpu_numa_node`.
    pub fn set_nodes_of_cpus(&mut self, nodes: impl Iterator<Item = NodeId>) {
        for (cpu, node) in self.cpu_node.iter_mut().zip(nodes) {
            *cpu = node;
            self.nodes_with_cpus = self.nodes_with_cpus.with(node);
        }
    }

    /// The node of a CPU. Linux: `cpu_to_node`.
    pub fn node_of_cpu(&self, cpu: usize) -> NodeId {
        self.cpu_node[cpu]
    }

    /// Notes which zone each node and CPU tries first, after zonelists or the nodes of CPUs changed.
    pub(super) fn zonelists_changed(&mut self) {
        self.nr_online = self.online_nodes().count();
        for node in 0..MAX_NUMNODES {
            self.best_of_node[node] = core::array::from_fn(|selector| {
                let gfp = Gfp::from_bits_retain(selector as u32);
                let first = self.nodes[node].fallback.first_eligible(self.zone_table.zone(gfp), None);
                first.filter(|_| !gfp.has_bad_zone()).map_or(NO_ZONE, |zone| zone.zone)
            });
        }
        for (cpu, node) in self.cpu_node.iter().enumerate() {
            self.best_of_cpu[cpu] = self.best_of_node[node.index()];
            self.zones.iter().for_each(|zone| zone.pageset(cpu).set_local(zone.node == *node));
        }
    }

    /// Which zone a request from the caller's CPU tries first.
    #[inline(always)]
    pub(super) fn best_of_cpu(&self) -> &BestZones {
        &self.best_of_cpu[self.cpu() % NR_CPUS]
    }

    /// Which zone a request near `node` tries first.
    #[inline(always)]
    pub(super) fn best_of_node(&self, node: NodeId) -> &BestZones {
        &self.best_of_node[node.index()]
    }

    /// The zone that `best` names for `gfp`; `None` when there is none, or the mask is bad.
    #[inline(always)]
    pub(super) fn best_zone(&self, best: &BestZones, gfp: Gfp) -> Option<&Zone> {
        self.zones.get(usize::from(best[(gfp.bits() & 0xf) as usize]))
    }

    /// How many nodes the machine has.
    pub fn nr_online_nodes(&self) -> usize {
        self.nr_online
    }

    /// Whether any hook is on; one load.
    #[inline(always)]
    pub fn hooks(&self) -> u32 {
        self.hooks.load(Relaxed)
    }

    /// Whether `hook` is on.
    #[inline(always)]
    pub fn has(&self, hook: Hook) -> bool {
        self.hooks() & hook as u32 != 0
    }

    /// Switches `hook`.
    pub fn set_hook(&self, hook: Hook, on: bool) {
        if on {
            self.hooks.fetch_or(hook as u32, Relaxed);
        } else {
            self.hooks.fetch_and(!(hook as u32), Relaxed);
        }
    }

    /// Records `event` if tracing is on.
    #[inline(always)]
    pub fn trace<T: Into<Event>>(&self, current: &Current<'_>, event: impl FnOnce() -> T) {
        if self.has(Hook::Trace) {
            self.trace_now(current, event().into());
        }
    }

    #[cold]
    fn trace_now(&self, current: &Current<'_>, event: Event) {
        let stamp = Stamp { time: self.env.now_ns(), cpu: self.cpu() as u8, pid: u32::from(current.task.pid()) };
        self.env.tracer().record(stamp, event);
    }
}

impl<E> fmt::Debug for Memory<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory of {:?}", self.pages.span())
    }
}
