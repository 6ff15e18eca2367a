//! All memory of a machine: page records, zones, nodes, settings; and [`Env`], through which the world enters.
//!
//! There is no static: a [`Memory`] borrows its records from whoever made it, and many can live in one test process. The
//! allocator never touches the pages that it manages; filling and comparing their content goes through `Env`. Settings
//! that a user may change while the machine runs are in [`super::sysctl`]; how a `Memory` comes into being at boot is
//! told by [`super::mm_init`].
//!
//! Linux: `contig_page_data`, `node_data`, and the statics of `mm/page_alloc.c`.

use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::node::Node;
use super::page::Pages;
use super::page_owner::PageOwners;
use super::pageblock::Pageblocks;
use super::sysctl::Sysctls;
use super::zone::Zone;
use crate::addr::{Pfn, PfnRange};
use crate::gfp::{Gfp, ZoneTable};
use crate::mmzone::{MAX_NR_ZONES, MAX_NUMNODES, NR_CPUS, NodeId, ZoneType};
use crate::quirks::{Quirk, Quirks};
use crate::sync::{LocalIrq, Pin};
use crate::task::Current;
use crate::trace::{Event, Stamp, Tracer};
use crate::vmstat::{EventCounters, VmEvent, ZoneEvent};

/// The machine as the allocator needs it. Host and target implement it; so may a test.
pub trait Env {
    /// The CPU that runs the caller.
    type Irq: LocalIrq;
    /// Where events go.
    type Tracer: Tracer;

    /// The CPU that runs the caller.
    fn irq(&self) -> &Self::Irq;

    /// Where events go.
    fn tracer(&self) -> &Self::Tracer;

    /// Time since the machine started, in nanoseconds.
    fn now_ns(&self) -> u64;

    /// Fills `nr_pages` pages at `pfn` with `byte`.
    fn fill_pages(&self, pfn: Pfn, nr_pages: u64, byte: u8);

    /// The first byte of `nr_pages` pages at `pfn` that differs from `byte`: its offset and what it is.
    fn first_other(&self, pfn: Pfn, nr_pages: u64, byte: u8) -> Option<(u64, u8)>;
}

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
    /// Some task may not use every node.
    Cpusets = 1 << 3,
    /// The machine boots: requests may not sleep yet. Linux: `gfp_allowed_mask`.
    Boot = 1 << 4,
    /// Too little memory was found to keep migratetypes apart. Linux: `page_group_by_mobility_disabled`.
    MobilityOff = 1 << 5,
    /// A quirk of the fast path is switched away from v5.0.
    Quirk = 1 << 6,
    /// NUMA hits and misses are not counted.
    NumaStatOff = 1 << 7,
}

/// Messages that are printed once per boot. Linux: `WARN_ONCE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum WarnOnce {
    /// An order of 11 or more was asked for.
    OrderTooHigh = 1 << 0,
    /// `__GFP_NOFAIL` with an order above 1.
    NoFailOrder = 1 << 1,
}

/// A message that is printed at most so often. Linux: `DEFINE_RATELIMIT_STATE`.
#[derive(Default)]
pub struct RateLimit {
    begin_ns: AtomicU64,
    printed: AtomicU32,
    missed: AtomicU32,
}

impl RateLimit {
    /// Whether one more may be printed, `burst` within `interval_ns`; with the number suppressed before it, once.
    pub fn admit(&self, now_ns: u64, interval_ns: u64, burst: u32) -> Option<u32> {
        let begin = self.begin_ns.load(Relaxed);
        let mut suppressed = 0;
        if begin == 0 || now_ns.saturating_sub(begin) > interval_ns {
            self.begin_ns.store(now_ns.max(1), Relaxed);
            suppressed = self.missed.swap(0, Relaxed);
            self.printed.store(0, Relaxed);
        }
        if self.printed.load(Relaxed) < burst {
            self.printed.fetch_add(1, Relaxed);
            Some(suppressed)
        } else {
            self.missed.fetch_add(1, Relaxed);
            None
        }
    }
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
    pub cpu_node: [NodeId; NR_CPUS],
    pub(super) events: [EventCounters; NR_CPUS],
    /// What the user may set.
    pub sysctl: Sysctls,
    /// Where v5.0 surprises, and what to do about it.
    pub quirks: Quirks,
    /// Who allocated which page, if that is recorded.
    pub page_owners: PageOwners<'m>,
    pub(super) totalram: AtomicU64,
    pub(super) totalreserve: AtomicU64,
    /// Pages that were found bad and are kept out of use.
    pub(super) leaked: AtomicU64,
    /// Zone selectors that contradict each other.
    pub bad_zone_requests: AtomicU64,
    warned: AtomicU32,
    /// Reports of bad pages: 60 a minute.
    pub(super) bad_page_limit: RateLimit,
    /// Reports of sleeping in atomic context: one a second.
    pub(super) sleep_limit: RateLimit,
    /// Reports of overwritten poison: 10 within 5 seconds.
    pub(super) poison_limit: RateLimit,
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
            events: [const { EventCounters::new() }; NR_CPUS],
            sysctl: Sysctls::new(zone_types),
            quirks,
            page_owners: PageOwners::default(),
            totalram: AtomicU64::new(0),
            totalreserve: AtomicU64::new(0),
            leaked: AtomicU64::new(0),
            bad_zone_requests: AtomicU64::new(0),
            warned: AtomicU32::new(0),
            bad_page_limit: RateLimit::default(),
            sleep_limit: RateLimit::default(),
            poison_limit: RateLimit::default(),
        }
    }

    /// Masks interrupts on this CPU until the pin is dropped.
    #[inline(always)]
    pub fn pin(&self) -> Pin<'_, E::Irq> {
        self.env.irq().pin()
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

    /// Which zone a request from CPU `cpu` tries first.
    #[inline(always)]
    pub(super) fn best_of_cpu(&self, cpu: usize) -> &BestZones {
        &self.best_of_cpu[cpu % NR_CPUS]
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
        let hooks = self.hooks();
        self.hooks.store(if on { hooks | hook as u32 } else { hooks & !(hook as u32) }, Relaxed);
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
        let stamp = Stamp { time: self.env.now_ns(), cpu: current.cpu as u8, pid: u32::from(current.task.pid()) };
        self.env.tracer().record(stamp, event);
    }

    /// Whether `warning` comes up for the first time.
    pub fn warn_once(&self, warning: WarnOnce) -> bool {
        self.warned.fetch_or(warning as u32, Relaxed) & warning as u32 == 0
    }

    /// Forgets which warnings came up. Linux: `/sys/kernel/debug/clear_warn_once`.
    pub fn clear_warn_once(&self) {
        self.warned.store(0, Relaxed);
    }

    /// What CPU `cpu` counted.
    #[inline(always)]
    pub fn events(&self, cpu: usize) -> &EventCounters {
        &self.events[cpu]
    }

    /// Sum over all CPUs of `event`. Linux: `all_vm_events`.
    pub fn event(&self, event: VmEvent) -> u64 {
        match event {
            VmEvent::Pgfree => self.zones.iter().map(Zone::pgfree).sum(),
            _ => self.events.iter().map(|cpu| cpu.get(event)).sum(),
        }
    }

    /// Sum over all CPUs of `event` in the zones of `index`.
    pub fn zone_event(&self, event: ZoneEvent, index: usize) -> u64 {
        match event {
            ZoneEvent::Pgalloc => self.zones.iter().filter(|zone| zone.index == index).map(Zone::pgalloc).sum(),
            _ => self.events.iter().map(|cpu| cpu.get_zone(event, index)).sum(),
        }
    }
}

impl<E> fmt::Debug for Memory<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory of {:?}", self.pages.span())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_limit_lets_a_burst_through_and_counts_the_rest() {
        let limit = RateLimit::default();
        let admitted: Vec<_> = (1..=4).map(|now| limit.admit(now, 100, 2)).collect();
        assert_eq!(admitted, [Some(0), Some(0), None, None]);
        assert_eq!(limit.admit(102, 100, 2), Some(2));
        assert_eq!(limit.admit(103, 100, 2), Some(0));
    }
}
