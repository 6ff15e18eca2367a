//! A machine inside a host program: the [`Env`] of tests and of the shell's host runner.
//!
//! A [`HostMachine`] owns what a board would have: RAM, page records full of garbage as real RAM is, threads that take
//! turns, and a clock that moves when it is read. [`HostMachine::memory`] builds the allocator in them exactly as the
//! machine does at boot. Pages that nobody wrote cost nothing but their records. Only with the feature `host`.

use crate::sync::atomic::{AtomicU8, AtomicU64};
use std::sync::{Mutex, OnceLock};

use crate::addr::{Order, PfnRange, PhysAddr};
use crate::bootargs::BootArgs;
use crate::memblock::{AddrRange, Memblock};
use crate::mm::kmem_cache::{KmemCache, MAX_CACHES, SlabCaches, SlabConfig};
use crate::mm::memory::{Env, Memory};
use crate::mm::mm_init::{self, MetadataSize};
use crate::mm::mmu::Mmu;
use crate::mm::page::{Kind, Page, PageFlags, PageState, Pages};
use crate::mm::page_owner::{OwnerRecord, PageOwners};
use crate::mm::pageblock::Pageblocks;
use crate::mm::tables::{UsersSize, UsersTables};
use crate::mm::users::Users;
use crate::mm::zone_sizes::ZoneLayout;
use crate::mmzone::{MigrateType, NR_CPUS, NodeId, NodeMask, ZoneType};
use crate::numa::{self, Numa};
use crate::sync::{HostCpu, LocalIrq};
use crate::task::TaskTable;
use crate::trace::Ring;

#[cfg(shuttle)]
pub mod explore;
mod linear;
mod mmu;
mod ram;
mod tables;
mod threads;

use mmu::Tlb;
use ram::Ram;
use tables::Tables;
pub use threads::HostThreads;

/// Name of the first task.
const FIRST_TASK: &str = "sh";

/// Events that a host machine keeps.
pub const RING_EVENTS: usize = 1024;

/// What RAM holds before anybody wrote to it.
pub const GARBAGE: u8 = 0x5a;

/// The world of a host program.
pub struct HostEnv<'m> {
    cpu: HostCpu,
    ring: Box<Ring<RING_EVENTS>>,
    threads: HostThreads,
    ram: Mutex<Ram>,
    tlb: Mutex<Tlb>,
    /// The first page number that is not in the linear map.
    linear_end: AtomicU64,
    users: Box<Users<'m>>,
    tasks: Box<TaskTable>,
}

impl Default for HostEnv<'_> {
    /// The world of a machine on which nobody can use reclaimable memory.
    fn default() -> Self {
        HostEnv::new(Users::new(Pages::new(&[], PfnRange::default()), UsersTables::default()))
    }
}

impl<'m> HostEnv<'m> {
    /// The world of a machine with these users of reclaimable memory.
    pub fn new(users: Users<'m>) -> HostEnv<'m> {
        HostEnv {
            cpu: HostCpu::default(),
            ring: Box::new(Ring::new()),
            threads: HostThreads::default(),
            ram: Mutex::new(mmu::with_tables()),
            tlb: Mutex::default(),
            linear_end: AtomicU64::new(u64::MAX),
            users: Box::new(users),
            tasks: Box::new(TaskTable::new(FIRST_TASK)),
        }
    }

    /// The CPU that runs the program.
    pub fn cpu(&self) -> &HostCpu {
        &self.cpu
    }

    /// The last events.
    pub fn ring(&self) -> &Ring<RING_EVENTS> {
        &self.ring
    }

    /// The threads that share the CPU.
    pub fn threads(&self) -> &HostThreads {
        &self.threads
    }

    /// Lets `ns` nanoseconds pass.
    pub fn advance(&self, ns: u64) {
        self.threads.advance(ns);
    }
}

impl<'m> Env for HostEnv<'m> {
    type Irq = HostCpu;
    type Tracer = Ring<RING_EVENTS>;
    type Linear = HostEnv<'m>;
    type Sched = HostThreads;
    type Owner = Users<'m>;

    fn irq(&self) -> &HostCpu {
        &self.cpu
    }

    /// One CPU after the other, whether anybody ever used it or not.
    fn on_each_cpu(&self, work: &(dyn Fn(usize) + Sync)) {
        let here = self.cpu.number();
        for cpu in 0..NR_CPUS {
            self.cpu.set_cpu(cpu);
            let _pin = self.cpu.pin();
            work(cpu);
        }
        self.cpu.set_cpu(here);
    }

    fn tracer(&self) -> &Ring<RING_EVENTS> {
        &self.ring
    }

    fn now_ns(&self) -> u64 {
        self.threads.advance(1000)
    }

    fn linear(&self) -> &HostEnv<'m> {
        self
    }

    fn mmu(&self) -> Option<&dyn Mmu> {
        Some(self)
    }

    fn sched(&self) -> &HostThreads {
        &self.threads
    }

    fn owner(&self) -> &Users<'m> {
        &self.users
    }

    fn tasks(&self) -> &TaskTable {
        &self.tasks
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
    tables: Tables,
    slabs: Places,
}

/// Places for slab caches, fresh ones for each time that the allocator is built.
#[derive(Default)]
struct Places(OnceLock<Box<(Vec<KmemCache>, Places)>>);

impl Places {
    fn next(&self) -> &[KmemCache] {
        let mut last = self;
        while let Some(used) = last.0.get() {
            last = &used.1;
        }
        &last.0.get_or_init(|| Box::new(((0..MAX_CACHES).map(KmemCache::new).collect(), Places::default()))).0
    }
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
            tables: Tables::new(UsersSize::for_records(size.records)),
            slabs: Places::default(),
            memblock,
            layout,
        }
    }

    /// What is RAM and what is in use.
    pub fn memblock(&self) -> &Memblock {
        &self.memblock
    }

    /// The allocator, booted.
    pub fn memory(&self) -> Memory<'_, HostEnv<'_>> {
        self.memory_with(HostEnv::new(self.users()))
    }

    /// The allocator, booted in the world `env`.
    pub fn memory_with<E: Env>(&self, env: E) -> Memory<'_, E> {
        let memory = self.memory_at_boot_with(env);
        mm_init::init_late(&memory);
        memory
    }

    /// The allocator with every free page in its lists, but without watermarks and per-CPU lists.
    pub fn memory_at_boot(&self) -> Memory<'_, HostEnv<'_>> {
        self.memory_at_boot_with(HostEnv::new(self.users()))
    }

    /// Those who use reclaimable memory; they use none yet.
    pub fn users(&self) -> Users<'_> {
        Users::new(self.pages(), self.tables.borrow())
    }

    fn pages(&self) -> Pages<'_> {
        Pages::new(&self.records, self.memblock.dram().pages_touched())
    }

    fn memory_at_boot_with<E: Env>(&self, env: E) -> Memory<'_, E> {
        let args = BootArgs::parse(&self.args);
        let blocks = Pageblocks::new(&self.pageblocks);
        let mut memory = Memory::new(env, self.pages(), blocks, self.layout.types(), args.quirks);
        memory.page_owners = PageOwners::new(&self.owners);
        let config = SlabConfig::new(&args, 1, self.layout.types().contains(&ZoneType::Dma));
        memory.slabs = SlabCaches::new(self.slabs.next(), config);
        let nodes: Vec<NodeId> = self.layout.online().map(|(node, _)| node).collect();
        memory.set_nodes_of_cpus(nodes.iter().copied().cycle());
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
    fn boot_arguments_shape_the_board() {
        let board = |args| HostMachine::new(args, &[(0x4000_0000, 16 << 20, 0), (0x4100_0000, 16 << 20, 1)], &[]);
        let nodes = |machine: &HostMachine| machine.memory().online_nodes().count();
        assert_eq!(nodes(&board("")), 2);
        assert_eq!(nodes(&board("numa=off")), 1);
        assert_eq!(board("mem=20M").memory().totalram(), 5 * 1024);
        let machine = board("");
        assert_eq!([0, 1, 2].map(|cpu| machine.memory().node_of_cpu(cpu)), [NodeId(0), NodeId(1), NodeId(0)]);
    }
}
