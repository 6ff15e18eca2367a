//! Operations of the whole allocation family, each of whose requests fails once: nothing may be lost then.
//!
//! An [`Operation`] asks for what it needs and gives back what it got, whether it went through or not. Two tests run each
//! of them until it goes through: with its first request failing, then its second, and so on (`fail_nth`); and with no
//! page left, then one, and so on, none of them beside another (`short`), so that everything from some request on fails,
//! and what comes in high orders if possible comes in low ones. After each run [`Holdings`] must be what they were. How
//! many requests an operation makes and how many pages it needs stand in the table, so that no run can be idle.

mod fail_nth;
mod operations;
mod short;

use crate::addr::PhysAddr;
use crate::check;
use crate::mm::highmem;
use crate::mm::memory::{Env, LinearMap};
use crate::mm::mmu::VMALLOC_START;
use crate::mm::owner::PageOwner;
use crate::mm::slab;
use crate::mm::slabinfo::{SlabInfo, slabinfo};
use crate::mm::testing::{HostMachine, Lab, MIB};
use crate::mm::vmalloc;
use crate::vmstat::NodeStat;

/// What somebody does who asks for memory.
struct Operation {
    name: &'static str,
    /// Requests for pages and objects that it makes on a machine that has nothing cached.
    points: u32,
    /// Single pages with which it goes through; `None` if it needs several in a row, or more than anybody would count.
    pages: Option<u32>,
    /// Does it; whether it went through. What comes before it calls the second argument is preparation.
    run: fn(&Lab<'_>, &dyn Fn()) -> bool,
}

/// All that an operation could leave behind.
#[derive(PartialEq, Eq, Debug)]
struct Holdings {
    /// Free pages, and those that became translation tables, which stay for the next area.
    free: u64,
    /// Objects in use, all objects and slabs, of all caches.
    slabs: [u64; 3],
    /// Areas of vmalloc.
    areas: usize,
    /// Slots of kmap in use.
    kmaps: usize,
    /// Pages of files, of tasks, and of both that are on LRU lists.
    pages: [u64; 4],
    /// Free swap slots.
    swap: u64,
}

impl Holdings {
    /// What a machine has whose caches were told to give everything back.
    fn of(lab: &Lab<'_>) -> Holdings {
        let (memory, current) = (&lab.memory, lab.current());
        memory.slabs.iter().for_each(|cache| _ = slab::kmem_cache_shrink(memory, &current, cache));
        lab.drain();
        let free: u64 = memory.populated_zones().map(|zone| zone.counts.free_pages() + zone.pcp_pages()).sum();
        let slabs = memory.slabs.iter().map(|cache| slabinfo(memory, cache)).fold([0; 3], |sum, info| {
            let SlabInfo { active_objs, num_objs, num_slabs, .. } = info;
            [sum[0] + active_objs, sum[1] + num_objs, sum[2] + num_slabs]
        });
        let mut kmaps = 0;
        highmem::for_each_kmap(memory, |_| kmaps += 1);
        let stats = [NodeStat::NrFilePages, NodeStat::NrAnonPages, NodeStat::NrActiveAnon, NodeStat::NrInactiveFile];
        Holdings {
            free: free + tables(lab),
            slabs,
            areas: areas(lab),
            kmaps,
            pages: stats.map(|stat| memory.online_nodes().map(|node| node.stat(stat)).sum()),
            swap: memory.env.owner().swap_space().free,
        }
    }
}

/// A board of 4 MiB, of which the first 0x83 pages are in use. Many a machine is built on it, and Miri takes a
/// millisecond for each page of each of them.
fn board_4m(args: &str) -> HostMachine {
    HostMachine::new(args, &[(0x4000_0000, 4 * MIB, 0)], &[(0x4000_0000, 0x83000)])
}

/// Areas of vmalloc.
fn areas(lab: &Lab<'_>) -> usize {
    let first = vmalloc::next_area(&lab.memory, VMALLOC_START);
    core::iter::successors(first, |info| vmalloc::next_area(&lab.memory, info.area.end())).count()
}

/// Pages of the machine that are translation tables: of level 2, and of level 3 below these.
fn tables(lab: &Lab<'_>) -> u64 {
    let below = |table: PhysAddr| {
        let mut of_ram = Vec::new();
        lab.memory.env.linear().read_page(table.pfn(), |_, word| {
            let table = PhysAddr(word & 0x0000_ffff_ffff_f000);
            if word & 1 == 1 && lab.memory.pages.checked_index(table.pfn()).is_some() {
                of_ram.push(table);
            }
        });
        of_ram
    };
    let level_2 = below(lab.memory.env.mmu().expect("tables").window_table());
    level_2.iter().map(|&table| 1 + below(table).len() as u64).sum()
}

/// Nothing is wrong, or worse than v5.0 may be itself.
#[track_caller]
fn assert_clean(lab: &Lab<'_>, what: &str) {
    let audit = check::audit(&lab.memory);
    let findings: Vec<String> = audit.findings().filter(|f| !f.is_warning).map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{what}: {findings:#?}");
}
