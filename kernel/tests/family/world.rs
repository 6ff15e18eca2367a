//! Everybody who has memory, and what they do.

use kernel::addr::{Pfn, PhysAddr};
use kernel::check;
use kernel::gfp::Gfp;
use kernel::host::HostEnv;
use kernel::mm::anon;
use kernel::mm::fault;
use kernel::mm::fault_inject::set_fail_nth;
use kernel::mm::filemap;
use kernel::mm::freelist;
use kernel::mm::memory::{Env, LinearMap, Memory};
use kernel::mm::page_io;
use kernel::mm::pagecache;
use kernel::mm::slab;
use kernel::mm::swapfile;
use kernel::mm::truncate;
use kernel::mm::verify;
use kernel::mm::writeback;
use kernel::mm::zone::Zone;
use kernel::mmzone::NodeId;
use kernel::random::Random;
use kernel::task::{Current, Task, TaskFlags, TaskKind};
use kernel::vmstat::LabEvent;

use crate::areas::Area;
use crate::blocks::Block;
use crate::caches::Cache;
use crate::net::Network;
use crate::objects::Object;
use crate::pools::Pools;
use crate::shadow::Shadow;

const CPUS: u64 = 3;
/// Pages that a task may have, and a file.
const TASK_PAGES: u64 = 200;
const FILE_PAGES: u64 = 150;
const FILES: u64 = 3;

/// A machine and all that was taken from it.
pub struct World<'s, 'm> {
    pub memory: &'s Memory<'m, HostEnv<'m>>,
    pub random: Random,
    pub shadow: Shadow,
    pub objects: Vec<Object>,
    pub caches: Vec<Cache<'m>>,
    /// Caches made so far.
    pub nr_caches: u32,
    pub pools: Pools<'m>,
    pub areas: Vec<Area>,
    pub blocks: Vec<Block>,
    pub network: Network<'m>,
    tasks: [&'s Task; 3],
    task: &'s Task,
    /// Of 100 steps, how many take.
    eagerness: u64,
}

/// What may be done, and how often of 1000 times.
type Row<'s, 'm> = (u64, &'static str, fn(&mut World<'s, 'm>));

impl<'s, 'm> World<'s, 'm> {
    pub fn new(memory: &'s Memory<'m, HostEnv<'m>>, seed: u64) -> World<'s, 'm> {
        // Who finds no memory is told so; nobody is killed for it.
        memory.oom.set_disabled(true);
        let tasks = memory.env.tasks();
        let spawn = |name| tasks.spawn(name, TaskKind::User).expect("room for a task");
        World {
            memory,
            random: Random::new(seed),
            shadow: Shadow::default(),
            objects: Vec::new(),
            caches: Vec::new(),
            nr_caches: 0,
            pools: Pools::new(memory),
            areas: Vec::new(),
            blocks: Vec::new(),
            network: Network::new(memory),
            tasks: [tasks.init(), spawn("one"), spawn("two")],
            task: tasks.init(),
            eagerness: 50,
        }
    }

    /// The task that acts, on the CPU that runs.
    pub fn current(&self) -> Current<'s> {
        Current::new(self.task)
    }

    /// Does one random thing, which it names in `doing`.
    pub fn step(&mut self, doing: &mut &'static str) {
        let rows: [Row<'s, 'm>; 13] = [
            (240, "kmalloc", World::work_on_objects),
            (40, "krealloc", World::krealloc),
            (160, "caches", World::work_on_caches),
            (100, "pools", World::work_on_pools),
            (60, "areas", World::work_on_areas),
            (80, "blocks", World::work_on_blocks),
            (60, "kmap", World::work_on_maps),
            (80, "fragments", World::work_on_pieces),
            (80, "packets", World::work_on_packets),
            (30, "sockets", World::work_on_sockets),
            (30, "anonymous memory", World::work_on_anon),
            (35, "files", World::work_on_files),
            (5, "switches", World::turn_switches),
        ];
        if self.random.one_in(8) {
            let cpu = self.random.below(CPUS);
            self.run_on(cpu);
        }
        self.task = self.random.pick(&self.tasks);
        let mut drawn = self.random.below(1000);
        let row = rows.iter().find(|(weight, ..)| {
            let chosen = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            chosen
        });
        let (_, name, act) = row.expect("weights of 1000");
        *doing = name;
        if self.random.one_in(16) {
            set_fail_nth(self.memory, self.task, 1 + self.random.below(4) as u32);
        }
        let _entitled = self.random.one_in(24).then(|| self.task.scope(TaskFlags::PF_MEMALLOC));
        act(self);
        set_fail_nth(self.memory, self.task, 0);
    }

    fn run_on(&self, cpu: u64) {
        self.memory.env.cpu().set_cpu((cpu % CPUS) as usize);
    }

    /// Whether the next step takes something, rather than give it back; seldom when little is left.
    pub fn takes(&mut self) -> bool {
        let free: u64 = self.memory.populated_zones().map(|zone| zone.counts.free_pages()).sum();
        let is_short = free < self.memory.totalram() / 12 && !self.random.one_in(16);
        !is_short && self.random.below(100) < self.eagerness
    }

    /// A mask with which a request comes to an end.
    pub fn gfp(&mut self) -> Gfp {
        let patient = Gfp::GFP_KERNEL | Gfp::__GFP_NORETRY;
        let gfp = self.random.pick(&[patient, patient, patient, Gfp::GFP_NOWAIT, Gfp::GFP_ATOMIC, Gfp::GFP_NOIO]);
        let extra = self.random.pick(&[Gfp::empty(), Gfp::empty(), Gfp::__GFP_NOMEMALLOC, Gfp::__GFP_MEMALLOC]);
        gfp | extra | Gfp::__GFP_NOWARN
    }

    /// Some node now and then, and whether no other will do.
    pub fn node(&mut self) -> Option<(NodeId, bool)> {
        let node = NodeId(self.random.below(self.memory.nr_online_nodes() as u64) as u8);
        self.random.one_in(6).then(|| (node, self.random.one_in(2)))
    }

    /// Who insisted on a node got a page of that node.
    #[track_caller]
    pub fn check_node(&self, pfn: Pfn, node: Option<(NodeId, bool)>) {
        if let Some((node, true)) = node {
            assert_eq!(self.memory.zone_of(pfn).map(|zone| zone.node), Some(node), "{pfn}");
        }
    }

    /// One of `len` things; `None` without any.
    pub fn any(&mut self, len: usize) -> Option<usize> {
        (len > 0).then(|| self.random.below(len as u64) as usize)
    }

    fn turn_switches(&mut self) {
        let users = self.memory.env.owner();
        match self.random.below(3) {
            0 => self.eagerness = self.random.pick(&[20, 40, 50, 60, 80]),
            1 => freelist::drain_local_pages(self.memory, &self.current(), None),
            // Whoever uses swap space keeps it.
            _ => _ = swapfile::swapon(self.memory, users, self.random.below(2) * 300),
        }
    }

    fn work_on_anon(&mut self) {
        let (memory, current) = (self.memory, self.current());
        let users = memory.env.owner();
        let span = u64::from(anon::span(memory, users, current.task));
        let vpn = self.random.below(span.max(1)) as u32;
        // Some of these pages are gone, and some requests fail; what is lost is found out by the checks.
        match self.random.below(8) {
            0..3 if self.takes() && span < TASK_PAGES => {
                let wanted = 1 + self.random.below(8) as u32;
                assert!(anon::populate(memory, &current, users, wanted).pages <= wanted);
            }
            0..4 => _ = fault::touch(memory, &current, users, vpn),
            4..6 => _ = fault::write(memory, &current, users, vpn),
            6 => _ = anon::free(memory, &current, users, vpn),
            _ if self.random.one_in(20) => _ = anon::free_all(memory, &current, users, current.task),
            _ => assert_eq!(anon::check(memory, &current, users, current.task).lost, 0),
        }
    }

    fn work_on_files(&mut self) {
        let (memory, current) = (self.memory, self.current());
        let users = memory.env.owner();
        let file = self.random.below(FILES) as u32;
        let place = pagecache::check_place(file, self.random.below(FILE_PAGES)).expect("a place");
        match self.random.below(16) {
            0..5 => _ = filemap::read(memory, &current, users, place),
            5..8 => _ = filemap::readahead(memory, &current, users, place, 1 + self.random.below(40) as u32),
            8..13 => {
                let version = 1 + self.random.below(1 << 30) as u32;
                _ = filemap::write_unthrottled(memory, &current, users, place, version);
            }
            13 => _ = writeback::sync(memory, &current, users).expect("nobody calls it off"),
            14 if self.random.one_in(4) => truncate::truncate(memory, &current, users, file).expect("nobody has pins"),
            14 => _ = truncate::drop_pagecache(memory, &current, users).expect("nobody calls it off"),
            _ => assert_eq!(verify::verify(memory, &current, users).expect("nobody calls it off").lost, 0),
        }
    }

    /// The machine is as it must be.
    pub fn check(&self) {
        let audit = check::audit(self.memory);
        let findings: Vec<String> = audit.findings().filter(|f| !f.is_warning).map(ToString::to_string).collect();
        assert!(findings.is_empty(), "{findings:#?}");
        assert_eq!(self.memory.leaked(), 0);
        let lost = [LabEvent::PcLost, LabEvent::PcCorrupt].map(|event| self.memory.lab_event(event));
        assert_eq!(lost, [0, 0], "lost and corrupt pages");
    }

    /// Everybody gives everything back; only translation tables stay.
    pub fn give_back(&mut self) {
        let memory = self.memory;
        self.task = memory.env.tasks().init();
        while let Some(number) = self.any(self.objects.len()) {
            self.kfree(number);
        }
        while let Some(number) = self.any(self.areas.len()) {
            self.vfree(number);
        }
        while let Some(number) = self.any(self.blocks.len()) {
            self.free_block(number);
        }
        self.give_back_pools();
        self.give_back_network();
        self.give_back_pages();
        self.destroy_caches();
        assert!(self.shadow.is_empty());
        memory.slabs.iter().for_each(|cache| assert_eq!(slab::kmem_cache_shrink(memory, &self.current(), cache), 0));
        freelist::drain_all_pages(memory, &self.current());
        self.check();
        assert_eq!(check::audit(memory).totals.allocated, self.tables());
        assert_eq!(memory.populated_zones().map(Zone::pcp_pages).sum::<u64>(), 0);
    }

    /// The pages of tasks and files.
    fn give_back_pages(&self) {
        let (memory, current) = (self.memory, self.current());
        let users = memory.env.owner();
        writeback::sync(memory, &current, users).expect("nobody calls it off");
        (0..FILES as u32).for_each(|file| truncate::truncate(memory, &current, users, file).expect("no pins"));
        for task in self.tasks {
            assert_eq!(anon::check(memory, &current, users, task).lost, 0);
            anon::free_all(memory, &current, users, task);
        }
        while let Some(ticks) = page_io::ticks_to_completion(memory, users) {
            memory.env.advance((ticks + 1) * kernel::sched::JIFFY_NS);
            page_io::complete_due(memory, &current, users);
        }
        swapfile::swapon(memory, users, 0).expect("nobody has a slot");
    }

    /// Pages that are translation tables: of level 2, and of level 3 below these.
    fn tables(&self) -> u64 {
        let memory = self.memory;
        let below = |table: PhysAddr| {
            let words = (0..512).map(move |n| memory.env.linear().read_word(PhysAddr(table.0 + n * 8)));
            let tables = words.filter(|word| word & 1 == 1).map(|word| PhysAddr(word & 0x0000_ffff_ffff_f000));
            tables.filter(|table| memory.pages.checked_index(table.pfn()).is_some())
        };
        let window = memory.env.mmu().expect("tables").window_table();
        below(window).map(|table| 1 + below(table).count() as u64).sum()
    }
}
