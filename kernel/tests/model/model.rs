//! [`Model`]: the allocator beside a map of the blocks in use, and the operations on both. Neighbours: `checks` compares
//! them, `request` makes up what is asked for.

use std::collections::BTreeMap;
use std::fmt::Write;

use kernel::addr::{Order, Pfn};
use kernel::gfp::Gfp;
use kernel::host::{HostEnv, HostMachine};
use kernel::mm::freelist;
use kernel::mm::memory::{Hook, Memory};
use kernel::mm::page_alloc;
use kernel::proc::sysctl;
use kernel::random::Random;
use kernel::task::{Context, Current, TaskTable};

use crate::request::{Request, context_of};

const CPUS: u64 = 3;

/// A block in use.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    pub order: u32,
    pub references: u16,
    pub compound: bool,
    /// What its user wrote into its first byte.
    pub mark: u8,
}

/// The allocator, and what should be true of it.
pub struct Model<'m> {
    pub memory: Memory<'m, HostEnv<'m>>,
    pub machine: &'m HostMachine,
    pub tasks: TaskTable,
    pub random: Random,
    /// Blocks in use by first page.
    pub used: BTreeMap<u64, Block>,
    /// Their first pages, to choose from.
    pub held: Vec<u64>,
    /// Pages in use.
    pub used_pages: u64,
    /// Of 100 steps, how many allocate.
    pub eagerness: u64,
    /// What was done last.
    pub story: String,
}

impl<'m> Model<'m> {
    /// A machine that gave nothing yet, and what `seed` wants of it.
    pub fn new(machine: &'m HostMachine, seed: u64) -> Model<'m> {
        Model {
            memory: machine.memory(),
            machine,
            tasks: TaskTable::new("model"),
            random: Random::new(seed),
            used: BTreeMap::new(),
            held: Vec::new(),
            used_pages: 0,
            eagerness: 50,
            story: String::new(),
        }
    }

    fn current(&self) -> Current<'_> {
        Current::new(self.tasks.init())
    }

    /// One operation, after which nothing may be lost.
    pub fn step(&mut self) {
        self.story.clear();
        if self.random.one_in(500) {
            self.eagerness = self.random.pick(&[20, 40, 48, 60, 75]);
        }
        if self.random.one_in(16) {
            self.step_aside();
        } else if self.held.is_empty() || self.random.below(100) < self.eagerness {
            self.alloc();
        } else {
            self.free();
        }
        self.check_conservation();
    }

    /// What neither allocates nor frees.
    fn step_aside(&mut self) {
        match self.random.below(20) {
            0 => self.memory.env.cpu().set_cpu(self.random.below(CPUS) as usize),
            1 => freelist::drain_local_pages(&self.memory, &self.current(), None),
            2 => self.write_sysctl(),
            3 => self.memory.set_hook(Hook::Trace, self.random.one_in(2)),
            4..8 => self.share(),
            8..11 => self.split(),
            11..15 => self.alloc_exact(),
            _ => self.free_wrongly(),
        }
    }

    fn alloc(&mut self) {
        let request = Request::random(&mut self.random, self.memory.nr_online_nodes());
        write!(self.story, "{request:?}").unwrap();
        let page = self.ask(&request);
        write!(self.story, " -> {page:?}").unwrap();
        match page {
            Some(pfn) => {
                self.check_page(&request, pfn);
                self.take_over(pfn, request.order, request.gfp);
            }
            None if request.gfp.migratetype().is_some() => self.check_refused(&request),
            None => {}
        }
    }

    fn ask(&mut self, request: &Request) -> Option<Pfn> {
        let context = if self.random.one_in(10) { Context::HardIrq } else { Context::Task };
        let Request { gfp, order, node, nodes, flags } = *request;
        let current = self.current().in_context(context);
        let Some(flags) = flags else {
            // Once round the slow path is enough: nobody makes room here.
            let gfp = gfp | Gfp::__GFP_NORETRY | Gfp::__GFP_NOWARN;
            return page_alloc::alloc_pages_nodemask(&self.memory, &current, gfp, order, node, nodes).ok();
        };
        let ac = context_of(&self.memory, request)?;
        let index = freelist::get_page_from_freelist(&self.memory, &current, &ac, flags)?;
        Some(self.memory.pages.pfn(index))
    }

    fn take_over(&mut self, pfn: Pfn, order: u32, gfp: Gfp) {
        let mark = self.random.below(256) as u8;
        self.memory.env.write(pfn.addr(), mark);
        let compound = order > 0 && gfp.contains(Gfp::__GFP_COMP);
        self.used.insert(pfn.0, Block { order, references: 1, compound, mark });
        self.held.push(pfn.0);
        self.used_pages += 1 << order;
    }

    fn free(&mut self) {
        let nth = self.random.below(self.held.len() as u64) as usize;
        let (start, block) = (self.held[nth], self.used[&self.held[nth]]);
        write!(self.story, "free {start:#x} {block:?}").unwrap();
        assert_eq!(self.memory.env.read(Pfn(start).addr()), block.mark, "somebody wrote to {start:#x}");
        let freed = page_alloc::free_pages(&self.memory, &self.current(), Pfn(start), block.order);
        assert_eq!(freed, Ok(block.references == 1));
        if block.references > 1 {
            self.used.get_mut(&start).unwrap().references -= 1;
        } else {
            self.forget(nth);
        }
    }

    fn forget(&mut self, nth: usize) {
        let start = self.held.swap_remove(nth);
        self.used_pages -= 1 << self.used.remove(&start).unwrap().order;
    }

    fn share(&mut self) {
        if let Some(nth) = self.random.below(self.held.len().max(1) as u64).checked_rem(self.held.len() as u64) {
            let start = self.held[nth as usize];
            self.used.get_mut(&start).unwrap().references += 1;
            self.memory.pages.at(self.memory.pages.index(Pfn(start))).get(1);
        }
    }

    /// Makes single pages of a block, each of which is then freed by itself.
    fn split(&mut self) {
        let splits = |block: &Block| block.references == 1 && !block.compound && block.order > 0;
        let Some(nth) = self.held.iter().position(|start| splits(&self.used[start])) else { return };
        let (start, block) = (self.held[nth], self.used[&self.held[nth]]);
        write!(self.story, "split {start:#x} {block:?}").unwrap();
        page_alloc::split_page(&self.memory, Pfn(start), Order::new(block.order).unwrap());
        self.forget(nth);
        for page in 0..1 << block.order {
            self.take_over(Pfn(start + page), 0, Gfp::empty());
        }
    }

    fn alloc_exact(&mut self) {
        let bytes = 1 + self.random.below(40 << 12);
        write!(self.story, "{bytes} bytes").unwrap();
        let Ok(addr) = page_alloc::alloc_pages_exact(&self.memory, &self.current(), bytes, Gfp::GFP_NOWAIT) else {
            return;
        };
        self.check_range(addr.pfn(), bytes.div_ceil(4096));
        for page in 0..bytes.div_ceil(4096) {
            self.take_over(addr.pfn().add(page), 0, Gfp::empty());
        }
    }

    /// Frees something that is not in use, or not so; it must be refused.
    fn free_wrongly(&mut self) {
        let span = self.memory.span();
        let pfn = Pfn((span.start.0 + self.random.below(span.nr_pages() + 64)).saturating_sub(32));
        let order = self.random.below(12) as u32;
        if self.used.get(&pfn.0).is_some_and(|block| block.order == order) {
            return;
        }
        write!(self.story, "wrongly free {pfn:?} order {order}").unwrap();
        assert!(page_alloc::free_pages(&self.memory, &self.current(), pfn, order).is_err());
    }

    fn write_sysctl(&mut self) {
        let (name, value) = match self.random.below(7) {
            0 => ("min_free_kbytes", self.random.below(3000)),
            1 => ("watermark_scale_factor", 1 + self.random.below(300)),
            2 => ("watermark_boost_factor", self.random.pick(&[0, 15000, 15000, 60000])),
            3 => ("percpu_pagelist_fraction", self.random.pick(&[0, 0, 8, 100, 1000])),
            4 => ("lowmem_reserve_ratio", self.random.pick(&[0, 8, 256, 256])),
            _ => ("numa_stat", self.random.below(2)),
        };
        write!(self.story, "{name} = {value}").unwrap();
        sysctl::find(name).unwrap().write(&self.memory, &self.current(), &value.to_string()).unwrap();
    }

    /// Gives everything back and empties the lists of all CPUs.
    pub fn give_back(&mut self) {
        self.story = "giving everything back".to_owned();
        while !self.held.is_empty() {
            self.free();
        }
        for cpu in 0..CPUS {
            self.memory.env.cpu().set_cpu(cpu as usize);
            freelist::drain_local_pages(&self.memory, &self.current(), None);
        }
        self.check_conservation();
        self.check_audit();
    }
}
