//! A machine inside a host program: the [`Env`] of tests and of the shell's host runner.
//!
//! A [`HostMachine`] owns what a board would have: RAM, page records full of garbage as real RAM is, and a clock that
//! moves when it is read. [`HostMachine::memory`] builds the allocator in them exactly as the machine does at boot. RAM
//! is kept as runs of equal bytes, so a board of any size costs its page records alone. Only with the feature `host`.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use crate::addr::{Order, Pfn, PhysAddr};
use crate::bootargs::BootArgs;
use crate::memblock::{AddrRange, Memblock};
use crate::mm::memory::{Env, Memory};
use crate::mm::mm_init::{self, MetadataSize};
use crate::mm::page::{Kind, Page, PageFlags, PageState, Pages};
use crate::mm::page_owner::{OwnerRecord, PageOwners};
use crate::mm::pageblock::Pageblocks;
use crate::mm::zone_sizes::ZoneLayout;
use crate::mmzone::{MigrateType, NodeId, NodeMask};
use crate::numa::{self, Numa};
use crate::sync::HostCpu;
use crate::trace::Ring;

/// Events that a host machine keeps.
pub const RING_EVENTS: usize = 1024;

/// What RAM holds before anybody wrote to it.
pub const GARBAGE: u8 = 0x5a;

/// The world of a host program.
pub struct HostEnv {
    cpu: HostCpu,
    ring: Box<Ring<RING_EVENTS>>,
    clock_ns: AtomicU64,
    ram: Mutex<Ram>,
}

impl Default for HostEnv {
    fn default() -> HostEnv {
        let ring = Box::new(Ring::new());
        ring.set_enabled(true);
        HostEnv { cpu: HostCpu::default(), ring, clock_ns: AtomicU64::new(0), ram: Mutex::default() }
    }
}

impl HostEnv {
    /// The CPU that runs the program.
    pub fn cpu(&self) -> &HostCpu {
        &self.cpu
    }

    /// The last events.
    pub fn ring(&self) -> &Ring<RING_EVENTS> {
        &self.ring
    }

    /// Lets `ns` nanoseconds pass.
    pub fn advance(&self, ns: u64) {
        self.clock_ns.fetch_add(ns, Relaxed);
    }

    /// The byte at `addr`.
    pub fn read(&self, addr: PhysAddr) -> u8 {
        self.ram(|ram| ram.at(addr.0))
    }

    /// Writes the byte at `addr`, as whoever owns the page may, and who does not should not.
    pub fn write(&self, addr: PhysAddr, byte: u8) {
        self.ram(|ram| ram.fill(addr.0, addr.0 + 1, byte));
    }

    fn ram<R>(&self, with: impl FnOnce(&mut Ram) -> R) -> R {
        with(&mut self.ram.lock().expect("no panic while RAM is accessed"))
    }
}

impl Env for HostEnv {
    type Irq = HostCpu;
    type Tracer = Ring<RING_EVENTS>;

    fn irq(&self) -> &HostCpu {
        &self.cpu
    }

    fn tracer(&self) -> &Ring<RING_EVENTS> {
        &self.ring
    }

    fn now_ns(&self) -> u64 {
        self.clock_ns.fetch_add(1000, Relaxed)
    }

    fn fill_pages(&self, pfn: Pfn, nr_pages: u64, byte: u8) {
        self.ram(|ram| ram.fill(pfn.addr().0, pfn.add(nr_pages).addr().0, byte));
    }

    fn first_other(&self, pfn: Pfn, nr_pages: u64, byte: u8) -> Option<(u64, u8)> {
        self.ram(|ram| ram.first_other(pfn.addr().0, pfn.add(nr_pages).addr().0, byte))
    }
}

/// The content of RAM: from each address up to the next, the same byte.
#[derive(Default)]
struct Ram(BTreeMap<u64, u8>);

impl Ram {
    fn at(&self, addr: u64) -> u8 {
        self.0.range(..=addr).next_back().map_or(GARBAGE, |(_, byte)| *byte)
    }

    fn fill(&mut self, start: u64, end: u64, byte: u8) {
        let behind = self.at(end);
        while let Some((&inside, _)) = self.0.range(start..end).next() {
            self.0.remove(&inside);
        }
        self.0.insert(start, byte);
        self.0.insert(end, behind);
    }

    /// The first byte of `start..end` that is not `byte`: how far from `start`, and what it is.
    fn first_other(&self, start: u64, end: u64, byte: u8) -> Option<(u64, u8)> {
        let runs = self.0.range(start + 1..end).map(|(at, found)| (*at, *found));
        let other = core::iter::once((start, self.at(start))).chain(runs).find(|(_, found)| *found != byte);
        other.map(|(at, found)| (at - start, found))
    }
}

/// A board of a host program.
pub struct HostMachine {
    args: String,
    memblock: Memblock,
    numa: Numa,
    layout: ZoneLayout,
    records: Vec<Page>,
    pageblocks: Vec<AtomicU8>,
    owners: Vec<OwnerRecord>,
}

impl HostMachine {
    /// A board with RAM at `banks` (start, bytes, node), of which `reserved` (start, bytes) is in use, booted with the
    /// arguments `args`. Its page records live outside of that RAM. CPUs belong to its nodes in turn.
    ///
    /// # Panics
    ///
    /// When the banks are no memory that memblock takes.
    pub fn new(args: &str, banks: &[(u64, u64, u8)], reserved: &[(u64, u64)]) -> HostMachine {
        let boot_args = BootArgs::parse(args);
        let (mut memblock, mut online) = (Memblock::new(), NodeMask::default());
        for &(base, size, node) in banks {
            let node = NodeId(if boot_args.numa_off { 0 } else { node });
            memblock.add_node(AddrRange::sized(PhysAddr(base), size), node).expect("a bank");
            online = online.with(node);
        }
        for &(base, size) in reserved {
            memblock.reserve(AddrRange::sized(PhysAddr(base), size)).expect("a reservation");
        }
        if let Some(bytes) = boot_args.mem {
            memblock.limit_memory(bytes).expect("less memory");
        }
        let layout = ZoneLayout::new(&memblock, online, &boot_args);
        let size = MetadataSize::for_span(memblock.dram().pages_touched());
        HostMachine {
            args: args.to_owned(),
            numa: Numa::new(online),
            records: garbage_records(size.records),
            pageblocks: (0..size.pageblock_bytes).map(|_| AtomicU8::new(GARBAGE)).collect(),
            owners: (0..if boot_args.page_owner { size.records } else { 0 }).map(|_| OwnerRecord::default()).collect(),
            memblock,
            layout,
        }
    }

    /// What is RAM and what is in use.
    pub fn memblock(&self) -> &Memblock {
        &self.memblock
    }

    /// The allocator, booted.
    pub fn memory(&self) -> Memory<'_, HostEnv> {
        let memory = self.memory_at_boot();
        mm_init::init_late(&memory);
        memory
    }

    /// The allocator with every free page in its lists, but without watermarks and per-CPU lists.
    pub fn memory_at_boot(&self) -> Memory<'_, HostEnv> {
        let args = BootArgs::parse(&self.args);
        let pages = Pages::new(&self.records, self.memblock.dram().pages_touched());
        let blocks = Pageblocks::new(&self.pageblocks);
        let mut memory = Memory::new(HostEnv::default(), pages, blocks, self.layout.types(), args.quirks);
        memory.page_owners = PageOwners::new(&self.owners);
        let nodes: Vec<NodeId> = self.layout.online().map(|(node, _)| node).collect();
        for (cpu, node) in memory.cpu_node.iter_mut().zip(nodes.iter().cycle()) {
            *cpu = *node;
        }
        let orders = numa::build_node_orders(&self.numa, self.layout.with_memory());
        let order = |node: NodeId| orders[node.index()];
        mm_init::free_area_init(&mut memory, &self.layout, &self.memblock, self.numa.distances(), order);
        if args.page_poison {
            mm_init::poison_free(&memory, &self.memblock);
        }
        mm_init::free_all(&memory, &self.memblock);
        memory
    }
}

/// Page records as real RAM has them: full of states and links that mean something, all of it wrong.
pub fn garbage_records(count: usize) -> Vec<Page> {
    const KINDS: [Kind; 4] = [Kind::Buddy, Kind::Allocated, Kind::Pcp, Kind::Bad];
    let mut records = Vec::with_capacity(count);
    if cfg!(miri) {
        // A record at a time would be most of the work of a test.
        const STATE: PageState = PageState::new(Kind::Pcp, Order::ZERO, MigrateType::Movable, 0);
        const TAKEN: PageState = STATE.to_allocated(PageFlags::empty(), 1);
        while records.len() < count {
            records.append(&mut Vec::from([const { Page::garbage(7, 9, TAKEN) }; 1024]));
        }
        records.truncate(count);
    }
    records.extend((records.len()..count).map(|n| {
        let order = Order::new(n as u32 % 11).unwrap_or_default();
        let state = PageState::new(KINDS[n % 4], order, MigrateType::ALL[n % 6], (n % 20) as u8);
        let state = if n % 5 == 0 { state.to_allocated(PageFlags::empty(), 1) } else { state };
        Page::garbage(n as u32 / 2, n as u32 + 1, state)
    }));
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ram_holds_what_was_written_last() {
        let env = HostEnv::default();
        let (one, two) = (Pfn(0x40000), Pfn(0x40001));
        assert_eq!((env.read(one.addr()), env.first_other(one, 2, GARBAGE)), (GARBAGE, None));
        assert_eq!(env.first_other(one, 2, 0), Some((0, GARBAGE)));
        env.fill_pages(one, 2, 0);
        assert_eq!(env.first_other(one, 2, 0), None);
        assert_eq!(env.first_other(one, 3, 0), Some((8192, GARBAGE)));
        env.write(PhysAddr(0x4000_1004), 7);
        assert_eq!(env.first_other(one, 2, 0), Some((4100, 7)));
        assert_eq!((env.read(PhysAddr(0x4000_1004)), env.read(PhysAddr(0x4000_1005))), (7, 0));
        env.fill_pages(two, 1, 0xaa);
        assert_eq!(env.first_other(two, 1, 0xaa), None);
        assert_eq!(env.first_other(one, 1, 0), None);
        assert_eq!(env.read(PhysAddr(0x4000_2000)), GARBAGE);
    }

    #[test]
    fn the_first_byte_may_be_the_only_equal_one() {
        let env = HostEnv::default();
        env.write(PhysAddr(0x4000_0000), 0xaa);
        assert_eq!(env.first_other(Pfn(0x40000), 1, 0xaa), Some((1, GARBAGE)));
    }

    #[test]
    fn boot_arguments_shape_the_board() {
        let board = |args| HostMachine::new(args, &[(0x4000_0000, 16 << 20, 0), (0x4100_0000, 16 << 20, 1)], &[]);
        let nodes = |machine: &HostMachine| machine.memory().online_nodes().count();
        assert_eq!(nodes(&board("")), 2);
        assert_eq!(nodes(&board("numa=off")), 1);
        assert_eq!(board("mem=20M").memory().totalram(), 5 * 1024);
        let machine = board("");
        assert_eq!(machine.memory().cpu_node[..3], [NodeId(0), NodeId(1), NodeId(0)]);
    }
}
