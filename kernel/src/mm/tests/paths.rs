//! The fast path and the careful path are one policy: the same operations on two machines, one of which has a hook set
//! and so never takes the fast path, give the same pages, lists and counters at every step.

use fastrand::Rng;

use crate::addr::Pfn;
use crate::gfp::Gfp;
use crate::mm::memory::Hook;
use crate::mm::page_alloc;
use crate::mm::testing::{HostMachine, Lab, MIB, logged};
use crate::mm::zone::AllocFlags;
use crate::mmzone::NodeId;
use crate::task::Context;

/// One step, chosen before it is done, so that both machines do the same.
#[derive(Clone, Copy, Debug)]
enum Step {
    Alloc { gfp: Gfp, order: u32, node: Option<NodeId>, context: Context },
    Reserve { order: u32 },
    Free { nth: usize },
    FreeWrongly { nth: usize, order: u32 },
    Share { nth: usize },
    Cpu { cpu: usize },
    Drain,
    MinFree { kbytes: u64 },
}

const MASKS: [Gfp; 12] = [
    Gfp::GFP_KERNEL,
    Gfp::GFP_KERNEL,
    Gfp::GFP_ATOMIC,
    Gfp::GFP_NOWAIT,
    Gfp::GFP_HIGHUSER,
    Gfp::GFP_HIGHUSER_MOVABLE,
    Gfp::GFP_DMA,
    Gfp::GFP_DMA32,
    Gfp::GFP_KERNEL.union(Gfp::__GFP_RECLAIMABLE),
    Gfp::GFP_KERNEL.union(Gfp::__GFP_COMP),
    Gfp::GFP_KERNEL.union(Gfp::__GFP_ZERO),
    Gfp::GFP_USER.union(Gfp::__GFP_THISNODE),
];

fn next_step(random: &mut Rng, nodes: usize) -> Step {
    let nth = random.usize(..1 << 20);
    match random.usize(..100) {
        0..50 => Step::Alloc {
            gfp: MASKS[random.usize(..MASKS.len())],
            order: [0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 6, 9][random.usize(..12)],
            node: (random.usize(..4) == 0).then(|| NodeId(random.usize(..nodes) as u8)),
            context: if random.usize(..10) == 0 { Context::SoftIrq } else { Context::Task },
        },
        50..51 => Step::Reserve { order: random.usize(..4) as u32 },
        51..92 => Step::Free { nth },
        92..94 => Step::FreeWrongly { nth, order: random.usize(..12) as u32 },
        94..96 => Step::Share { nth },
        96..98 => Step::Cpu { cpu: random.usize(..3) },
        98..99 => Step::Drain,
        _ => Step::MinFree { kbytes: 200 + random.usize(..2000) as u64 },
    }
}

/// Does the step; `held` are the blocks in use. What came of it.
fn act(lab: &Lab<'_>, held: &mut Vec<(Pfn, u32)>, step: Step) -> String {
    let at = |nth: usize| nth % held.len().max(1);
    match step {
        Step::Alloc { gfp, order, node, context } => {
            // Once round the slow path is enough, and nobody is killed.
            let gfp = gfp | Gfp::__GFP_NORETRY | Gfp::__GFP_NOWARN;
            let current = lab.current().in_context(context);
            let page = match node {
                None => page_alloc::alloc_pages(&lab.memory, &current, gfp, order),
                node => page_alloc::alloc_pages_node(&lab.memory, &current, node, gfp, order),
            };
            held.extend(page.ok().map(|pfn| (pfn, order)));
            format!("{page:?}")
        }
        Step::Reserve { order } => {
            let page = lab.take(Gfp::GFP_ATOMIC, order, AllocFlags::HARDER | AllocFlags::HIGH | AllocFlags::KSWAPD);
            held.extend(page.map(|pfn| (pfn, order)));
            format!("{page:?}")
        }
        Step::Free { nth } if !held.is_empty() => {
            let (pfn, order) = held[at(nth)];
            let freed = lab.free(pfn, order);
            if freed == Ok(true) {
                held.swap_remove(nth % held.len());
            }
            format!("{freed:?}")
        }
        Step::FreeWrongly { nth, order } => {
            let pfn = Pfn(0x40000 + nth as u64 % 0x5000);
            let owned = held.contains(&(pfn, order));
            if owned { String::new() } else { format!("{:?}", lab.free(pfn, order)) }
        }
        Step::Share { nth } if !held.is_empty() => {
            lab.memory.pages.at(lab.memory.pages.index(held[at(nth)].0)).get(1);
            String::new()
        }
        Step::Cpu { cpu } => {
            lab.memory.env.cpu().set_cpu(cpu);
            String::new()
        }
        Step::Drain => {
            lab.drain();
            String::new()
        }
        Step::MinFree { kbytes } => {
            let sysctl = crate::proc::sysctl::find("min_free_kbytes").unwrap();
            sysctl.write(&lab.memory, &lab.current(), &kbytes.to_string()).unwrap();
            String::new()
        }
        Step::Free { .. } | Step::Share { .. } => String::new(),
    }
}

/// Whether the records of all pages in use are the same.
fn records(lab: &Lab<'_>, held: &[(Pfn, u32)]) -> Vec<String> {
    held.iter().map(|(pfn, _)| format!("{:?}", lab.memory.pages.at(lab.memory.pages.index(*pfn)).state())).collect()
}

fn check(args: &str, banks: &[(u64, u64, u8)], seed: u64) {
    let machines = [0, 1].map(|_| HostMachine::new(args, banks, &[(banks[0].0, 0x83000)]));
    let [fast, careful] = [0, 1].map(|n: usize| Lab::new(&machines[n]));
    careful.memory.set_hook(Hook::Trace, true);
    let (steps, nodes) = (if cfg!(miri) { 30 } else { 6000 }, fast.memory.nr_online_nodes());
    let (mut random, mut held) = (Rng::with_seed(seed), (Vec::new(), Vec::new()));
    for n in 0..steps {
        let step = next_step(&mut random, nodes);
        let said = logged(|| {
            let (one, other) = (act(&fast, &mut held.0, step), act(&careful, &mut held.1, step));
            assert_eq!(one, other, "{args} seed {seed} step {n}: {step:?}");
        });
        // Both report misuse and sleeping in the same words; the rate limits of both are as old.
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[..lines.len() / 2], lines[lines.len() / 2..], "{args} seed {seed} step {n}: {step:?}");
        if n % 16 == 0 || n + 1 == steps {
            assert_eq!(fast.state(), careful.state(), "{args} seed {seed} step {n}: {step:?}");
            assert_eq!(records(&fast, &held.0), records(&careful, &held.1), "{args} seed {seed} step {n}");
        }
    }
    assert!(!held.0.is_empty() || cfg!(miri), "{args}: the machine was used");
}

#[test]
fn one_zone() {
    check("", &[(0x4000_0000, 16 * MIB, 0)], 1);
    check("", &[(0x4000_0000, 64 * MIB, 0)], 2);
}

#[test]
fn several_zones() {
    check("zones=full:dma=16M,dma32=16M", &[(0x4000_0000, 64 * MIB, 0)], 3);
    check("zones=arm64-5.0:dma32=32M movablecore=16M", &[(0x4000_0000, 64 * MIB, 0)], 4);
}

#[test]
fn two_nodes() {
    check("", &[(0x4000_0000, 16 * MIB, 0), (0x4100_0000, 48 * MIB, 1)], 5);
}

#[test]
fn little_memory() {
    check("", &[(0x4000_0000, 10 * MIB, 0)], 6);
}
