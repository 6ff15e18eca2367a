//! The allocator against a naive model: random operations from a seed, on machines of many shapes.
//!
//! The model is a map of the blocks in use. After every step nothing may be lost or handed out twice, a page must lie
//! where its mask allows, and a request may fail only when every zone refuses it; the audit looks at the whole machine
//! after every step of a small machine and now and then on a larger one. When all is given back, the free blocks must be
//! those of the start.
//!
//! `SLOWPATH_MODEL_OPS` is the number of operations on all machines together, `SLOWPATH_MODEL_SEED` where they start. A
//! failure prints the machine, the seed and the step; the same seed does the same again.

mod shapes;

use std::collections::BTreeMap;
use std::fmt::Write;

use kernel::addr::{Order, Pfn, PfnRange};
use kernel::check;
use kernel::gfp::{Gfp, ZoneTable};
use kernel::host::{HostEnv, HostMachine};
use kernel::mm::alloc_context::AllocContext;
use kernel::mm::census;
use kernel::mm::freelist;
use kernel::mm::highmem;
use kernel::mm::memory::{Hook, Memory};
use kernel::mm::page_alloc;
use kernel::mm::zone::{AllocFlags, Zone};
use kernel::mmzone::{MigrateType, NodeId, NodeMask, ZoneType};
use kernel::proc::sysctl;
use kernel::task::{Context, Current, TaskTable};

use shapes::{SHAPES, Shape};

const CPUS: u64 = 3;

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// A block in use.
#[derive(Clone, Copy, Debug)]
struct Block {
    order: u32,
    references: u16,
    compound: bool,
    /// What its user wrote into its first byte.
    mark: u8,
}

/// A request, as the caller knows it.
#[derive(Clone, Copy, Debug)]
struct Request {
    gfp: Gfp,
    order: u32,
    node: NodeId,
    nodes: Option<NodeMask>,
    /// The flags, for a request that comes as from the slow path.
    flags: Option<AllocFlags>,
}

struct Model<'m> {
    memory: Memory<'m, HostEnv<'m>>,
    machine: &'m HostMachine,
    tasks: TaskTable,
    random: Random,
    /// Blocks in use by first page.
    used: BTreeMap<u64, Block>,
    /// Their first pages, to choose from.
    held: Vec<u64>,
    /// Pages in use.
    used_pages: u64,
    /// Of 100 steps, how many allocate.
    eagerness: u64,
    /// What was done last.
    story: String,
}

impl<'m> Model<'m> {
    fn new(machine: &'m HostMachine, seed: u64) -> Model<'m> {
        Model {
            memory: machine.memory(),
            machine,
            tasks: TaskTable::new("model"),
            random: Random(seed | 1),
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

    fn step(&mut self) {
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

    fn request(&mut self) -> Request {
        let masks = [
            Gfp::GFP_KERNEL,
            Gfp::GFP_ATOMIC,
            Gfp::GFP_NOWAIT,
            Gfp::GFP_HIGHUSER,
            Gfp::GFP_HIGHUSER_MOVABLE,
            Gfp::GFP_HIGHUSER_MOVABLE,
            Gfp::GFP_TRANSHUGE_LIGHT,
            Gfp::GFP_KERNEL | Gfp::__GFP_RECLAIMABLE,
            Gfp::GFP_USER | Gfp::__GFP_MOVABLE,
            Gfp::GFP_DMA,
            Gfp::GFP_DMA32,
            Gfp::GFP_NOFS,
        ];
        let mut gfp = self.random.pick(&masks);
        for extra in [Gfp::__GFP_ZERO, Gfp::__GFP_COMP, Gfp::__GFP_THISNODE, Gfp::__GFP_DMA, Gfp::__GFP_RECLAIMABLE] {
            if self.random.one_in(12) {
                gfp |= extra;
            }
        }
        let order = match self.random.below(8) {
            0..5 => 0,
            5 => self.random.below(4),
            6 => self.random.below(7),
            _ => self.random.below(11),
        };
        let flags = [0x201, 0x240, 0x260, 0x230, 0x210, 0x250, 0x8, 0x4, 0x42, 0x2c0];
        let flags = self.random.one_in(8).then(|| AllocFlags::from_bits(self.random.pick(&flags)).unwrap());
        let nodes = self.random.one_in(10).then(|| NodeMask(self.random.below(4) as u8));
        let node = NodeId(self.random.below(self.memory.nr_online_nodes() as u64) as u8);
        Request { gfp, order: order as u32, node, nodes, flags: flags.filter(|_| nodes.is_none()) }
    }

    fn alloc(&mut self) {
        let request = self.request();
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

    /// The page is where the request wants it, nobody else's, and as it must be.
    fn check_page(&self, request: &Request, pfn: Pfn) {
        let Request { gfp, order, node, nodes, .. } = *request;
        let (order, state) = (Order::new(order).unwrap(), self.memory.pages.at(self.memory.pages.index(pfn)).state());
        self.check_range(pfn, order.nr_pages());
        assert!(pfn.is_aligned(order));
        assert_eq!((state.order(), state.count(), state.owner()), (order, 1, 1));
        let zone = self.memory.zone(state.zone());
        assert!(zone.span.contains(pfn) && zone.span.contains(pfn.add(order.nr_pages() - 1)));
        assert!(zone.index <= highest_index(&self.memory, gfp), "{gfp} got {}", zone.zone_type);
        assert!(nodes.is_none_or(|nodes| nodes.contains(zone.node)));
        assert!(!gfp.contains(Gfp::__GFP_THISNODE) || zone.node == node);
        if gfp.contains(Gfp::__GFP_ZERO) {
            assert_eq!(highmem::first_other(&self.memory, pfn, order.nr_pages(), 0), None);
        }
    }

    /// The pages are RAM, not reserved, and in nobody's use.
    fn check_range(&self, pfn: Pfn, nr_pages: u64) {
        let pages = PfnRange::new(pfn, pfn.add(nr_pages));
        let inside = |region: &kernel::memblock::Region| region.range.pages_inside().intersect(pages) == pages;
        assert!(self.machine.memblock().free_ranges().any(|region| inside(&region)), "{pfn:?} is not free RAM");
        let below = self.used.range(..pages.end.0).next_back();
        let end = below.map_or(0, |(start, block)| start + (1 << block.order));
        assert!(end <= pfn.0, "{pfn:?} overlaps {below:?}");
    }

    fn take_over(&mut self, pfn: Pfn, order: u32, gfp: Gfp) {
        let mark = self.random.below(256) as u8;
        self.memory.env.write(pfn.addr(), mark);
        let compound = order > 0 && gfp.contains(Gfp::__GFP_COMP);
        self.used.insert(pfn.0, Block { order, references: 1, compound, mark });
        self.held.push(pfn.0);
        self.used_pages += 1 << order;
    }

    /// No zone that the request may use would have given the block.
    fn check_refused(&self, request: &Request) {
        let Some(ac) = context_of(&self.memory, request) else { return };
        let flags = request.flags.unwrap_or(AllocFlags::WMARK_LOW);
        for zoneref in ac.zonelist.eligible(ac.highest, ac.nodemask) {
            let zone = self.memory.zone(usize::from(zoneref.zone));
            let own = MigrateType::ALL[..3].iter().any(|own| zone.counts.orders(*own) >> request.order != 0);
            let classzone = if self.memory.quirks.switched(kernel::quirks::Quirk::Classzone) && request.flags.is_none()
            {
                ac.highest
            } else {
                ac.classzone
            };
            let mark = zone.watermark(flags.watermark());
            let passes =
                flags.contains(AllocFlags::NO_WATERMARKS) || zone.watermark_ok(ac.order, mark, classzone, flags);
            assert!(!(own && passes), "{} could have given the block", zone.zone_type);
        }
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

    /// Every page is free, on a per-CPU list, or in use.
    fn check_conservation(&self) {
        let sum = |count: fn(&Zone) -> u64| self.memory.populated_zones().map(count).sum::<u64>();
        let (free, waiting) = (sum(|zone| zone.counts.free_pages()), sum(Zone::pcp_pages));
        assert_eq!(free + waiting + self.used_pages, self.memory.totalram(), "pages are lost");
        assert_eq!(self.memory.leaked(), 0);
    }

    fn check_audit(&self) {
        let audit = check::audit(&self.memory);
        let findings: Vec<String> = audit.findings().filter(|f| !f.is_warning).map(ToString::to_string).collect();
        assert!(findings.is_empty(), "{findings:#?}");
        assert_eq!(audit.totals.allocated, self.used_pages);
    }

    /// Gives everything back and empties the lists of all CPUs.
    fn give_back(&mut self) {
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

    /// Page and order of every free block.
    fn free_blocks(&self) -> Vec<(u64, u32)> {
        let mut blocks = Vec::new();
        for zone in self.memory.populated_zones() {
            let visit = |block: &census::FreeBlock| blocks.push((block.pfn.0, block.order.get()));
            census::for_each_free(&self.memory, zone, visit, |broken| panic!("{broken:?}"));
        }
        blocks.sort_unstable();
        blocks
    }
}

/// Index of the highest zone that the mask allows, told by the names of zones.
fn highest_index(memory: &Memory<'_, HostEnv<'_>>, gfp: Gfp) -> usize {
    let index = |wanted| memory.zone_types().iter().position(|zone_type| *zone_type == wanted);
    let has = |bits: Gfp| gfp.contains(bits);
    let kinds = [Gfp::__GFP_DMA, Gfp::__GFP_DMA32, Gfp::__GFP_HIGHMEM].into_iter().filter(|kind| has(*kind)).count();
    let wanted = match () {
        () if kinds > 1 => return 0,
        () if has(Gfp::__GFP_DMA) => ZoneType::Dma,
        () if has(Gfp::__GFP_DMA32) => ZoneType::Dma32,
        () if has(Gfp::__GFP_HIGHMEM | Gfp::__GFP_MOVABLE) => ZoneType::Movable,
        () if has(Gfp::__GFP_HIGHMEM) => ZoneType::HighMem,
        () => ZoneType::Normal,
    };
    index(wanted).or(index(ZoneType::Normal)).unwrap()
}

/// What the allocator makes of the request; `None` when no zone may serve it at all.
fn context_of<'a>(memory: &'a Memory<'_, HostEnv<'_>>, request: &Request) -> Option<AllocContext<'a>> {
    let (gfp, node) = (request.gfp, memory.node(request.node));
    let zonelist = if gfp.contains(Gfp::__GFP_THISNODE) { &node.thisnode } else { &node.fallback };
    let highest = ZoneTable::new(memory.zone_types()).zone(gfp);
    let preferred = zonelist.first_eligible(highest, request.nodes)?;
    let grouped = !memory.has(Hook::MobilityOff);
    Some(AllocContext {
        gfp,
        order: Order::new(request.order)?,
        highest,
        migratetype: gfp.migratetype().map(|own| if grouped { own } else { MigrateType::Unmovable })?,
        zonelist,
        nodemask: request.nodes,
        preferred_node: memory.zone(usize::from(preferred.zone)).node,
        preferred_zone: preferred.zone,
        classzone: usize::from(preferred.index),
    })
}

/// Says where a failing run was.
struct Witness<'a> {
    shape: &'a str,
    seed: u64,
    step: u64,
}

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Witness { shape, seed, step } = self;
            eprintln!("machine '{shape}', SLOWPATH_MODEL_SEED={seed}, step {step}");
        }
    }
}

/// Steps of a run after which it may audit less often.
const LONG_RUN: u64 = 100_000;

fn run(shape: &Shape, seed: u64, steps: u64) {
    let audit_every = if steps > LONG_RUN { 16 * shape.audit_every } else { shape.audit_every };
    let machine = HostMachine::new(shape.args, shape.banks, shape.reserved);
    let mut model = Model::new(&machine, seed);
    let mut witness = Witness { shape: shape.name, seed, step: 0 };
    let at_start = model.free_blocks();
    for step in 1..=steps {
        witness.step = step;
        model.step();
        if step % audit_every == 0 {
            model.check_audit();
        }
        if step % 20_000 == 0 || step == steps {
            model.give_back();
            assert_eq!(model.free_blocks(), at_start, "free blocks after everything came back");
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn random_operations_keep_the_promises() {
    let operations = setting("SLOWPATH_MODEL_OPS", if cfg!(miri) { 450 } else { 90_000 });
    let seed = setting("SLOWPATH_MODEL_SEED", 1);
    for shape in &SHAPES {
        run(shape, seed, operations / SHAPES.len() as u64);
    }
}
