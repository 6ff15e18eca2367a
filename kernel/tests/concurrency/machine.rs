//! A whole machine that is short of memory: threads that allocate, free, drain, read files and reclaim, and kswapd.

use std::sync::Arc;

use kernel::addr::Pfn;
use kernel::check;
use kernel::gfp::Gfp;
use kernel::mm::filemap;
use kernel::mm::freelist;
use kernel::mm::kswapd;
use kernel::mm::memory::{Env, Memory};
use kernel::mm::page_alloc;
use kernel::mm::pagecache;
use kernel::mm::raw;
use kernel::mm::verify;
use kernel::mmzone::{NodeId, Watermark};
use kernel::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use kernel::task::{Current, TaskKind};
use kernel::vmstat::VmEvent;

use crate::schedules::{explore, random};
use crate::threads::together;
use crate::world::{CPUS, World, small_machine};

/// What each thread does before it ends.
const OPERATIONS: usize = 6;
/// Pages above the low watermark at the start.
const SPARE: u64 = 4;
/// Pages of the file in the cache at the start, and of the whole file.
const CACHED: u64 = 16;
const FILE: u64 = 24;

/// One block or none.
fn allocate(memory: &Memory<'_, World<'_>>, current: &Current<'_>) -> Option<(Pfn, u32)> {
    let masks = [Gfp::GFP_KERNEL, Gfp::GFP_HIGHUSER_MOVABLE, Gfp::GFP_ATOMIC];
    // Nobody here can be killed.
    let gfp = masks[random(3) as usize] | Gfp::__GFP_NORETRY | Gfp::__GFP_NOWARN;
    let order = [0, 0, 0, 1, 3][random(5) as usize];
    Some((page_alloc::alloc_pages(memory, current, gfp, order).ok()?, order))
}

fn operate(memory: &Memory<'_, World<'_>>, current: &Current<'_>, held: &mut Vec<(Pfn, u32)>) {
    let users = memory.env.owner();
    let place = |index| pagecache::check_place(0, index).unwrap();
    match random(12) {
        0..6 => held.extend(allocate(memory, current)),
        6..8 => {
            if let Some((pfn, order)) = held.pop() {
                page_alloc::free_pages(memory, current, pfn, order).unwrap();
            }
        }
        8 => freelist::drain_all_pages(memory, current),
        // Without memory for it a page is not read or written.
        9..11 => _ = filemap::read(memory, current, users, place(random(FILE))),
        _ => _ = filemap::write_unthrottled(memory, current, users, place(random(FILE)), 2),
    }
}

/// Fills the cache, and takes all other pages but a few.
fn prepare(memory: &Memory<'_, World<'_>>) -> Vec<Pfn> {
    let (current, users) = (Current::new(memory.env.tasks().init()), memory.env.owner());
    let gfp = Gfp::GFP_HIGHUSER_MOVABLE | Gfp::__GFP_NORETRY | Gfp::__GFP_NOWARN;
    pagecache::set_file_gfp(memory, users, 0, gfp).unwrap();
    for index in 0..CACHED {
        filemap::read(memory, &current, users, pagecache::check_place(0, index).unwrap()).unwrap();
    }
    let zone = memory.populated_zones().next().unwrap();
    let target = zone.watermark(Watermark::Low) + SPARE;
    let surplus = zone.counts.free_pages().saturating_sub(target);
    (0..surplus).map(|_| raw::take_pages(memory, &current, zone, 1).unwrap().start).collect()
}

/// What happened in all schedules together. Nothing is proved about what never did.
#[derive(Default)]
struct Seen([AtomicU64; SEEN.len()]);

const SEEN: [VmEvent; 4] = [VmEvent::Pageoutrun, VmEvent::PgstealKswapd, VmEvent::PgstealDirect, VmEvent::Pgpgout];

impl Seen {
    fn add(&self, memory: &Memory<'_, World<'_>>) {
        self.0.iter().zip(SEEN).for_each(|(sum, event)| _ = sum.fetch_add(memory.event(event), SeqCst));
    }

    fn assert_all(&self) {
        let never: Vec<_> = self.0.iter().zip(SEEN).filter(|(sum, _)| sum.load(SeqCst) == 0).collect();
        assert!(never.is_empty(), "never happened: {never:?}");
    }
}

#[test]
fn a_machine_short_of_memory_loses_nothing() {
    let seen = Arc::new(Seen::default());
    let counted = seen.clone();
    explore("alloc, free, drain, reclaim, kswapd", 100, move || {
        let machine = small_machine(2 << 20);
        let memory = World::memory(&machine);
        let taken = prepare(&memory);
        let tasks = ["kswapd0", "a", "b", "c"].map(|name| {
            let kind = if name == "kswapd0" { TaskKind::Daemon } else { TaskKind::User };
            memory.env.tasks().spawn(name, kind).unwrap()
        });
        let ended = AtomicU32::new(0);
        together(memory.env.threads(), 1 + CPUS, |number| {
            let current = Current::new(tasks[number]);
            if number == 0 {
                return kswapd::kswapd(&memory, &current, memory.node(NodeId(0)));
            }
            let mut held = Vec::new();
            (0..OPERATIONS).for_each(|_| operate(&memory, &current, &mut held));
            held.iter().for_each(|&(pfn, order)| _ = page_alloc::free_pages(&memory, &current, pfn, order).unwrap());
            if ended.fetch_add(1, SeqCst) + 1 == CPUS as u32 {
                memory.env.threads().stop();
            }
        });
        let current = Current::new(memory.env.tasks().init());
        taken.iter().for_each(|&pfn| _ = page_alloc::free_page(&memory, &current, pfn).unwrap());
        assert_eq!(verify::verify(&memory, &current, memory.env.owner()).unwrap().lost, 0);
        let findings: Vec<String> = check::audit(&memory).findings().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "{findings:#?}");
        counted.add(&memory);
    });
    seen.assert_all();
}
