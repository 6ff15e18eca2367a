//! Our tables as other people's programs read them: the `procfs` crate's parsers, and the splitting of words that scripts
//! do. Whatever file a number is taken from, it must be the same number.

use std::collections::HashMap;

use kernel::gfp::Gfp;
use kernel::host::{HostEnv, HostMachine};
use kernel::memblock::Resource;
use kernel::mm::memory::Memory;
use kernel::mm::page_alloc::alloc_pages;
use kernel::proc::{Form, World, find, iomem};
use kernel::task::{Current, TaskTable};
use procfs_core::{FromRead, Iomem, Meminfo, VmStat};

const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;
/// Blocks and their order that are allocated before the tables are read.
const BLOCKS: [(u64, u32); 3] = [(40, 0), (3, 3), (1, 9)];

/// What `cat` would print, once a few blocks are taken.
struct Tables<'a> {
    memory: &'a Memory<'a, HostEnv<'a>>,
    resources: Vec<Resource>,
}

impl<'a> Tables<'a> {
    fn new(machine: &'a HostMachine, memory: &'a Memory<'a, HostEnv<'a>>) -> Tables<'a> {
        let tasks = TaskTable::new("sh");
        for (count, order) in BLOCKS {
            for _ in 0..count {
                alloc_pages(memory, &Current::new(tasks.init()), Gfp::GFP_KERNEL, order).unwrap();
            }
        }
        Tables { memory, resources: iomem::ram(machine.memblock(), &[]).collect() }
    }

    fn cat(&self, name: &str) -> String {
        let world =
            World { memory: self.memory, resources: &self.resources, nr_cpus: 1, interrupts: |_| None, cmdline: "" };
        let mut text = String::new();
        (find(&format!("/proc/{name}")).unwrap().write)(&world, Form::Text, &mut text).unwrap();
        text
    }

    fn parsed<T: FromRead>(&self, name: &str) -> T {
        T::from_read(self.cat(name).as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Free pages by (node, zone), by the columns of buddyinfo: `Node 0, zone DMA32 1 0 ...`.
    fn buddyinfo(&self) -> HashMap<(String, String), u64> {
        let text = self.cat("buddyinfo");
        let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.map(|row| {
            let blocks = row[4..].iter().enumerate();
            let pages = blocks.map(|(order, blocks)| blocks.parse::<u64>().unwrap() << order).sum();
            ((row[1].trim_end_matches(',').to_owned(), row[3].to_owned()), pages)
        })
        .collect()
    }

    /// The same by pagetypeinfo: `Node 0, zone DMA32, type Movable 1 0 ...`.
    fn pagetypeinfo(&self) -> HashMap<(String, String), u64> {
        let mut sums = HashMap::new();
        for line in self.cat("pagetypeinfo").lines().filter(|line| line.contains(", type ")) {
            let row: Vec<&str> = line.split_whitespace().collect();
            let blocks = row[6..].iter().enumerate();
            let pages: u64 = blocks.map(|(order, blocks)| blocks.parse::<u64>().unwrap() << order).sum();
            let zone = (row[1].trim_end_matches(',').to_owned(), row[3].trim_end_matches(',').to_owned());
            *sums.entry(zone).or_default() += pages;
        }
        sums
    }

    /// What zoneinfo says in the lines that start with `label`, by (node, zone).
    fn zoneinfo(&self, label: &str) -> HashMap<(String, String), u64> {
        let (mut zone, mut values) = (None, HashMap::new());
        for line in self.cat("zoneinfo").lines() {
            let row: Vec<&str> = line.split_whitespace().collect();
            if row[0] == "Node" {
                zone = Some((row[1].trim_end_matches(',').to_owned(), row[3].to_owned()));
            } else if let Some(value) = line.trim_start().strip_prefix(label) {
                values.insert(zone.clone().unwrap(), value.trim().parse().unwrap());
            }
        }
        values
    }
}

/// All tables of a machine, held against each other.
#[track_caller]
fn check(args: &str, banks: &[(u64, u64, u8)], zones: usize) {
    let machine = HostMachine::new(args, banks, &[(banks[0].0, 4 * MIB)]);
    let memory = machine.memory();
    let tables = Tables::new(&machine, &memory);
    let (meminfo, vmstat): (Meminfo, VmStat) = (tables.parsed("meminfo"), tables.parsed("vmstat"));
    let ram: u64 = banks.iter().map(|(_, size, _)| size).sum();
    assert_eq!(meminfo.mem_total, ram - 4 * MIB);
    assert_eq!(meminfo.mem_free, vmstat.0["nr_free_pages"] as u64 * PAGE);
    assert!(meminfo.mem_available.unwrap() < meminfo.mem_free);
    assert_eq!(meminfo.high_total.is_some(), args.contains("full"));

    let buddyinfo = tables.buddyinfo();
    assert_eq!(buddyinfo.len(), zones);
    assert_eq!(buddyinfo, tables.pagetypeinfo());
    assert_eq!(buddyinfo.values().sum::<u64>() * PAGE, meminfo.mem_free);
    let managed = tables.zoneinfo("managed");
    assert_eq!(managed.values().sum::<u64>() * PAGE, meminfo.mem_total);
    let mut free = tables.zoneinfo("pages free");
    free.retain(|zone, _| managed[zone] > 0);
    assert_eq!(free, buddyinfo);

    let on_lists: u64 = tables.zoneinfo("count:").values().sum();
    let taken: u64 = BLOCKS.iter().map(|(count, order)| count << order).sum();
    assert_eq!(meminfo.mem_free / PAGE + on_lists + taken, meminfo.mem_total / PAGE);
    let Iomem(lines) = tables.parsed("iomem");
    let ram_lines = lines.iter().filter(|(level, map)| *level == 0 && map.name == "System RAM");
    assert_eq!(ram_lines.map(|(_, map)| map.address.1 - map.address.0 + 1).sum::<u64>(), ram);
}

#[test]
fn tables_of_one_node_agree() {
    check("", &[(0x4000_0000, 256 * MIB, 0)], 1);
    check("", &[(0x4000_0000, 4096 * MIB, 0)], 2);
    check("zones=full:dma=16M,dma32=64M highmem=64M", &[(0x4000_0000, 256 * MIB, 0)], 4);
}

#[test]
fn tables_of_two_nodes_agree() {
    let banks = [(0x4000_0000, 256 * MIB, 0), (0x5000_0000, 256 * MIB, 1)];
    check("", &banks, 2);
    check("movablecore=128M", &banks, 4);
}
