//! What the tests of this folder share: a [`Lab`], which is a machine with somebody who asks, and its state as text.

use crate::sync::atomic::Ordering::Relaxed;
use core::cell::RefCell;
use core::fmt::Write;
use std::collections::BTreeMap;

mod owned_env;

pub use owned_env::OwnedEnv;

pub use crate::host::{HostEnv, HostMachine, garbage_records};

use crate::addr::{Order, Pfn};
use crate::check;
use crate::gfp::Gfp;
use crate::mm::alloc_context::AllocContext;
use crate::mm::census;
use crate::mm::fallback::{FallbackControl, Range32};
use crate::mm::freelist;
use crate::mm::memory::{Env, Hook, Memory};
use crate::mm::node::Node;
use crate::mm::page::PageFlags;
use crate::mm::page_alloc::{self, AllocError};
use crate::mm::pcp::PcpLimits;
use crate::mm::prep::FreeError;
use crate::mm::raw;
use crate::mm::zone::{AllocFlags, Zone};
use crate::mmzone::{MigrateType, NodeId, Watermark, ZoneType};
use crate::proc::vmstat;
use crate::task::{Current, Task, TaskTable};
use crate::trace::walk::{LostEvents, Step, walk};
use crate::trace::{EventSet, Tracer};
use crate::vmstat::NumaStat;

/// Bytes of a MiB.
pub const MIB: u64 = 1 << 20;

/// The board of the golden traces: 16 MiB at 1 GiB, of which the first 0x83 pages are in use.
pub fn board_16m(args: &str) -> HostMachine {
    HostMachine::new(args, &[(0x4000_0000, 16 * MIB, 0)], &[(0x4000_0000, 0x83000)])
}

/// The same with 64 MiB, whose per-CPU lists hold 18 pages and move 3 at a time.
pub fn board_64m(args: &str) -> HostMachine {
    HostMachine::new(args, &[(0x4000_0000, 64 * MIB, 0)], &[(0x4000_0000, 0x83000)])
}

/// The machine of the slow path's scenarios: 64 MiB, all of it free, in one zone with Min 256, Low 320, High 384.
pub fn board_m64() -> HostMachine {
    HostMachine::new("", &[(0x4000_0000, 64 * MIB, 0)], &[])
}

/// Two nodes of 16 MiB, all free.
pub fn board_2_nodes(args: &str) -> HostMachine {
    HostMachine::new(args, &[(0x4000_0000, 16 * MIB, 0), (0x4100_0000, 16 * MIB, 1)], &[])
}

/// Takes single pages of `zone` until `free` are left; they belong to nobody.
pub fn lower_to<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, zone: &Zone, free: u64) {
    while let surplus @ 1.. = zone.counts.free_pages().saturating_sub(free) {
        raw::take_pages(memory, current, zone, surplus as u32).expect("pages that are free");
    }
}

/// A machine and the tasks that use it.
pub struct Lab<'m> {
    pub memory: Memory<'m, HostEnv<'m>>,
}

impl<'m> Lab<'m> {
    /// The machine, booted.
    pub fn new(machine: &'m HostMachine) -> Lab<'m> {
        Lab { memory: machine.memory() }
    }

    /// The machine without per-CPU lists: what is freed goes to the buddy lists at once, a page at a time comes back.
    pub fn without_pcp(machine: &'m HostMachine) -> Lab<'m> {
        let lab = Lab::new(machine);
        lab.memory.populated_zones().for_each(|zone| zone.set_pcp_limits(PcpLimits::BOOT));
        lab
    }

    /// The machine as the scenarios have it: no per-CPU lists, no boost, `free` pages free, the rest in nobody's hands.
    pub fn scenario(machine: &'m HostMachine, free: u64) -> Lab<'m> {
        let lab = Lab::without_pcp(machine);
        lab.memory.sysctl.watermark_boost_factor.store(0, Relaxed);
        lab.set_free(free);
        lab
    }

    /// Takes single pages, unmovable, until `free` are left; they belong to nobody.
    pub fn set_free(&self, free: u64) {
        lower_to(&self.memory, &self.current(), self.zone(), free);
    }

    /// Free pages of the lowest zone.
    pub fn nr_free(&self) -> u64 {
        self.zone().counts.free_pages()
    }

    /// Asks as `current` until the answer is no; what came before.
    pub fn loop_until_null(&self, current: &Current<'_>, gfp: Gfp, order: u32) -> Vec<Pfn> {
        core::iter::from_fn(|| page_alloc::alloc_pages(&self.memory, current, gfp, order).ok()).collect()
    }

    /// Whether a page was taken past the watermarks.
    pub fn is_pfmemalloc(&self, pfn: Pfn) -> bool {
        self.memory.pages.at(self.memory.pages.index(pfn)).flags().contains(PageFlags::PFMEMALLOC)
    }

    /// What `act` changed in /proc/vmstat.
    pub fn vmstat_diff(&self, act: impl FnOnce()) -> VmstatDiff {
        let values = || vmstat::values(&self.memory).map(|(stat, value)| (stat.to_string(), value as i64));
        let before: Vec<(String, i64)> = values().collect();
        act();
        VmstatDiff(before.into_iter().zip(values()).map(|((name, old), (_, new))| (name, new - old)).collect())
    }

    /// The first task on the CPU that acts.
    pub fn current(&self) -> Current<'_> {
        self.acting_as(self.tasks().init())
    }

    /// `task` on the CPU that acts.
    pub fn acting_as<'t>(&self, task: &'t Task) -> Current<'t> {
        Current::new(task)
    }

    /// Every task.
    pub fn tasks(&self) -> &TaskTable {
        self.memory.env.tasks()
    }

    pub fn alloc(&self, gfp: Gfp, order: u32) -> Result<Pfn, AllocError> {
        page_alloc::alloc_pages(&self.memory, &self.current(), gfp, order)
    }

    pub fn free(&self, pfn: Pfn, order: u32) -> Result<bool, FreeError> {
        page_alloc::free_pages(&self.memory, &self.current(), pfn, order)
    }

    /// Asks near `node` with the flags of the slow path, or of whom the test pleases to be.
    pub fn take_near(&self, node: u8, gfp: Gfp, order: u32, flags: AllocFlags) -> Option<Pfn> {
        let ac = context(&self.memory, NodeId(node), gfp, order);
        let index = freelist::get_page_from_freelist(&self.memory, &self.current(), &ac, flags)?;
        Some(self.memory.pages.pfn(index))
    }

    pub fn take(&self, gfp: Gfp, order: u32, flags: AllocFlags) -> Option<Pfn> {
        self.take_near(0, gfp, order, flags)
    }

    /// Takes blocks until there are no more; all of them.
    pub fn take_all(&self, gfp: Gfp, order: u32, flags: AllocFlags) -> Vec<Pfn> {
        core::iter::from_fn(|| self.take(gfp, order, flags)).collect()
    }

    /// Takes single pages until there are no more, after larger blocks, which get there faster.
    pub fn exhaust(&self, gfp: Gfp, flags: AllocFlags) {
        for order in [10, 6, 3] {
            self.take_all(gfp, order, flags - AllocFlags::HARDER);
        }
        self.take_all(gfp, 0, flags);
    }

    pub fn drain(&self) {
        freelist::drain_local_pages(&self.memory, &self.current(), None);
    }

    /// The zone of this type on `node`.
    pub fn zone_on(&self, node: u8, zone_type: ZoneType) -> &Zone {
        self.memory.zones_of(NodeId(node)).iter().find(|zone| zone.zone_type == zone_type).unwrap()
    }

    /// The first node.
    pub fn node(&self) -> &Node {
        self.memory.node(NodeId(0))
    }

    /// The lowest populated zone of the machine.
    pub fn zone(&self) -> &Zone {
        self.memory.populated_zones().next().unwrap()
    }

    pub fn control(&self, zone: &Zone) -> FallbackControl {
        let indices = zone.indices(&self.memory.pages);
        FallbackControl {
            limits: Range32 { start: indices.start, end: indices.end },
            boost_factor: self.memory.sysctl.watermark_boost_factor.load(Relaxed),
            mobility_disabled: self.memory.has(Hook::MobilityOff),
            boost_small_zones: true,
        }
    }

    /// The type of the pageblock of `pfn`.
    pub fn pageblock(&self, pfn: u64) -> MigrateType {
        self.memory.blocks.of(self.memory.pages.index(Pfn(pfn))).migratetype()
    }

    /// What /proc/buddyinfo says of the zone.
    pub fn buddyinfo(&self) -> String {
        let counts: Vec<String> = Order::all().map(|order| self.zone().counts.nr_free(order).to_string()).collect();
        counts.join(" ")
    }

    /// First pages of the blocks on a free list, head first.
    pub fn list(&self, order: u32, migratetype: MigrateType) -> Vec<u64> {
        let pin = self.memory.pin();
        let guard = self.zone().free.lock(&pin);
        let list = guard.list(Order::new(order).unwrap(), migratetype);
        list.iter(&self.memory.pages).map(|index| self.memory.pages.pfn(index).0).collect()
    }

    /// Pages on this CPU's list, head first.
    pub fn pcp(&self, migratetype: MigrateType) -> Vec<u64> {
        let pin = self.memory.pin();
        let lists = self.zone().pcp.local(&pin);
        lists.list(migratetype).iter(&self.memory.pages).map(|index| self.memory.pages.pfn(index).0).collect()
    }

    /// The events that `act` causes, as trace lines without their prefix.
    pub fn traced<R>(&self, act: impl FnOnce() -> R) -> Vec<String> {
        let seq = self.memory.env.ring().next_seq();
        self.memory.set_hook(Hook::Trace, true);
        let _ = act();
        self.memory.set_hook(Hook::Trace, false);
        let ring = self.memory.env.ring();
        let event = |step| match step {
            Step::Entry(entry) => entry.event.to_string(),
            Step::Lost(events) => LostEvents(events).to_string(),
        };
        walk(ring, seq..ring.next_seq()).map(event).collect()
    }

    /// Those of the events of [`Lab::traced`] that have one of `names`; of these more may come than of all.
    pub fn traced_only<R>(&self, names: &[&str], act: impl FnOnce() -> R) -> Vec<String> {
        let named = |name: &&str| EventSet::named(name).unwrap_or_else(|| panic!("no event {name}"));
        let before = self.memory.env.ring().set_filter(names.iter().map(named).fold(EventSet::NONE, EventSet::with));
        let events = self.traced(act);
        self.memory.env.ring().set_filter(before);
        events
    }

    /// Nothing is wrong, nor even a warning.
    #[track_caller]
    pub fn assert_sound(&self) {
        let audit = check::audit(&self.memory);
        let findings: Vec<String> = audit.findings().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "{findings:#?}");
    }

    /// All that a request can change: every list in its order, every counter.
    pub fn state(&self) -> String {
        let mut text = String::new();
        for zone in self.memory.populated_zones() {
            zone_state(&self.memory, zone, &mut text);
        }
        text
    }
}

/// By how much each counter of /proc/vmstat changed.
#[derive(Debug)]
pub struct VmstatDiff(BTreeMap<String, i64>);

impl VmstatDiff {
    /// The change of one counter.
    pub fn of(&self, name: &str) -> i64 {
        *self.0.get(name).unwrap_or_else(|| panic!("no counter {name}"))
    }

    /// The change of several counters.
    pub fn all<const N: usize>(&self, names: [&str; N]) -> [i64; N] {
        names.map(|name| self.of(name))
    }

    /// Nothing moved whose name begins with one of `prefixes`.
    #[track_caller]
    pub fn assert_still(&self, prefixes: &[&str]) {
        let moved: Vec<_> = self.0.iter().filter(|(_, change)| **change != 0).collect();
        let moved: Vec<_> =
            moved.iter().filter(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix))).collect();
        assert!(moved.is_empty(), "{moved:?}");
    }
}

/// What `prepare_alloc_pages` makes of a request.
pub fn context<'a, E: Env>(memory: &'a Memory<'_, E>, node: NodeId, gfp: Gfp, order: u32) -> AllocContext<'a> {
    let near = memory.node(node);
    let zonelist = if gfp.contains(Gfp::__GFP_THISNODE) { &near.thisnode } else { &near.fallback };
    let highest = memory.zone_table.zone(gfp);
    let preferred = zonelist.first_eligible(highest, None).unwrap();
    AllocContext {
        gfp,
        order: Order::new(order).unwrap(),
        highest,
        migratetype: gfp.migratetype().unwrap(),
        zonelist,
        nodemask: None,
        preferred_node: memory.zone(usize::from(preferred.zone)).node,
        preferred_zone: preferred.zone,
        classzone: usize::from(preferred.index),
    }
}

fn zone_state(memory: &Memory<'_, HostEnv<'_>>, zone: &Zone, text: &mut String) {
    let marks = [Watermark::Min, Watermark::Low, Watermark::High].map(|mark| zone.stored_watermark(mark));
    write!(
        text,
        "node {} {} free {} cma {}",
        zone.node,
        zone.zone_type,
        zone.counts.free_pages(),
        zone.counts.free_cma()
    )
    .unwrap();
    write!(text, " marks {marks:?} boost {} {}", zone.boost(), zone.is_boosted()).unwrap();
    write!(text, " highatomic {} alloc {}", zone.nr_reserved_highatomic(), zone.pgalloc()).unwrap();
    write!(text, " free {} numa", zone.pgfree()).unwrap();
    NumaStat::ALL.iter().for_each(|stat| write!(text, " {}", zone.numa(*stat)).unwrap());
    writeln!(text).unwrap();
    census::for_each_free(
        memory,
        zone,
        |block| writeln!(text, " {} {} {} in {}", block.list, block.order, block.pfn, block.pageblock).unwrap(),
        |broken| panic!("{broken:?}"),
    );
    census::for_each_pcp(memory, zone, |pfn, state| writeln!(text, " pcp {} {pfn}", state.migratetype()).unwrap());
}

thread_local! {
    /// What this thread has logged since [`logged`] began.
    static LOG: RefCell<String> = const { RefCell::new(String::new()) };
}

struct Capture;

impl log::Log for Capture {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Info
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LOG.with_borrow_mut(|text| writeln!(text, "{}", record.args())).unwrap();
        }
    }

    fn flush(&self) {}
}

/// What `act` logs, from info up.
pub fn logged<R>(act: impl FnOnce() -> R) -> String {
    // Fails when another test has set it.
    let _ = log::set_logger(&Capture);
    log::set_max_level(log::LevelFilter::Info);
    LOG.take();
    let _ = act();
    LOG.take()
}
