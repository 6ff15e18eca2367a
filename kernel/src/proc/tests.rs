//! The tables of whole machines, and what writes to /proc/sys/vm change.

use super::*;
use crate::gfp::Gfp;
use crate::host::{HostEnv, HostMachine};
use crate::mm::page_alloc::alloc_pages;
use crate::task::{Current, TaskTable};

mod golden;

const MIB: u64 = 1 << 20;

/// 64 MiB at 1 GiB, the first 131 pages in use.
fn small() -> HostMachine {
    HostMachine::new("", &[(0x4000_0000, 64 * MIB, 0)], &[(0x4000_0000, 0x83000)])
}

/// 4 GiB at 1 GiB: DMA32 and Normal have memory, Movable has none.
fn large() -> HostMachine {
    HostMachine::new("", &[(0x4000_0000, 4096 * MIB, 0)], &[(0x4000_0000, 0x83000)])
}

fn cat(memory: &Memory<'_, HostEnv<'_>>, path: &str, form: Form) -> String {
    let world = World { memory, resources: &[], nr_cpus: 1, interrupts: |_| None, cmdline: "mem=64M" };
    let mut text = String::new();
    (find(path).unwrap().write)(&world, form, &mut text).unwrap();
    text
}

fn alloc(memory: &Memory<'_, HostEnv<'_>>, gfp: Gfp, order: u32) {
    let tasks = TaskTable::new("sh");
    alloc_pages(memory, &Current::new(tasks.init()), gfp, order).unwrap();
}

#[test]
fn files_stand_by_path() {
    let files = files::<HostEnv>();
    assert!(files.is_sorted_by(|one, other| one.path < other.path));
    assert!(find::<HostEnv>("/proc/slab").is_none());
}

#[test]
fn buddyinfo_skips_empty_zones() {
    let machine = large();
    let memory = machine.memory();
    assert_eq!(
        cat(&memory, "/proc/buddyinfo", Form::Text),
        "Node 0, zone    DMA32      1      0      1      1      1      1      1      0      1      1    767 \n\
         Node 0, zone   Normal      0      0      0      0      0      0      0      0      0      0    256 \n"
    );
}

#[test]
fn pagetypeinfo_follows_a_steal() {
    let machine = small();
    let memory = machine.memory();
    alloc(&memory, Gfp::GFP_KERNEL, 1);
    let text = cat(&memory, "/proc/pagetypeinfo", Form::Text);
    let unmovable = "Node    0, zone    DMA32, type    Unmovable      0      1      1      1      1      1      1      1      1      1      0 \n";
    assert!(text.contains(unmovable), "{text}");
    assert!(text.ends_with(
        "Node 0, zone    DMA32            2           30            0            0            0            0 \n"
    ));
    let json = cat(&memory, "/proc/pagetypeinfo", Form::Json);
    let unmovable =
        "{\"node\":0,\"zone\":\"DMA32\",\"type\":\"Unmovable\",\"nr_free\":[0,1,1,1,1,1,1,1,1,1,0],\"pageblocks\":2}";
    assert_eq!(json.lines().next(), Some(unmovable));
    assert_eq!(json.lines().count(), 6);
}

#[test]
fn zoneinfo_lists_empty_zones_too() {
    let machine = large();
    let memory = machine.memory();
    let text = cat(&memory, "/proc/zoneinfo", Form::Text);
    let zones: Vec<&str> = text.lines().filter(|line| line.starts_with("Node")).collect();
    assert_eq!(zones, ["Node 0, zone    DMA32", "Node 0, zone   Normal", "Node 0, zone  Movable"]);
    assert_eq!(text.matches("  per-node stats\n").count(), 1);
    assert!(text.contains("        managed  786301\n        protection: (0, 1024, 1024)\n"), "{text}");
    assert!(text.contains("  start_pfn:           1048576\nNode 0, zone  Movable\n"));
    assert!(text.ends_with("        managed  0\n        protection: (0, 0, 0)\n"));
}

/// Spec part 1, 3.1 to 3.5, on two nodes of unequal size and different zones.
///
/// Below Movable there are 12288 + 12288 pages = 98304 kB, and isqrt(98304 * 16) = 1254 kB = 313 pages are to stay free.
/// A zone's Min is its part of them among all 32768 pages (313 * 4096 / 32768 = 39), Low and High are a quarter of Min
/// above, which is more than a thousandth of the zone. A zone is protected by the pages above it **on its own node**,
/// divided by its ratio, 256 or, for Normal, 32; so the empty DMA zones of node 1 have other figures than those of node 0:
/// 12288 / 256 = 48, (12288 + 8192) / 256 = 80, and Normal 8192 / 32 = 256.
#[test]
fn each_node_has_watermarks_and_protection_of_its_own() {
    let args = "zones=full:dma=16M,dma32=16M movablecore=32M";
    let machine = HostMachine::new(args, &[(0x4000_0000, 48 * MIB, 0), (0x4300_0000, 80 * MIB, 1)], &[]);
    let memory = machine.memory();
    assert_eq!(memory.sysctl.min_free_kbytes.load(crate::sync::atomic::Ordering::Relaxed), 1254);
    let text = cat(&memory, "/proc/zoneinfo", Form::Text);
    let wanted = ["Node", "min", "low", "high", "managed", "protection:"];
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines = text.lines().map(words).filter(|words| wanted.contains(&words[0].as_str()));
    let zones = lines.map(|words| words.join(" ")).collect::<Vec<_>>().join(" ").replace(" Node", "\nNode");
    let expected = "\
        Node 0, zone DMA min 39 low 48 high 57 managed 4096 protection: (0, 16, 32, 32, 32)\n\
        Node 0, zone DMA32 min 39 low 48 high 57 managed 4096 protection: (0, 0, 16, 16, 16)\n\
        Node 0, zone Normal min 39 low 48 high 57 managed 4096 protection: (0, 0, 0, 0, 0)\n\
        Node 0, zone HighMem min 32 low 32 high 32 managed 0 protection: (0, 0, 0, 0, 0)\n\
        Node 0, zone Movable min 0 low 0 high 0 managed 0 protection: (0, 0, 0, 0, 0)\n\
        Node 1, zone DMA min 0 low 0 high 0 managed 0 protection: (0, 0, 48, 48, 80)\n\
        Node 1, zone DMA32 min 0 low 0 high 0 managed 0 protection: (0, 0, 48, 48, 80)\n\
        Node 1, zone Normal min 117 low 146 high 175 managed 12288 protection: (0, 0, 0, 0, 256)\n\
        Node 1, zone HighMem min 32 low 32 high 32 managed 0 protection: (0, 0, 0, 0, 0)\n\
        Node 1, zone Movable min 78 low 97 high 116 managed 8192 protection: (0, 0, 0, 0, 0)";
    assert_eq!(zones, expected, "{text}");
    // What is kept of a zone: its largest protection and High, but no more than it has.
    let kept = [(32 + 57) + (16 + 57) + 57, (256 + 175) + 116];
    assert_eq!(memory.online_nodes().map(|node| node.totalreserve()).collect::<Vec<_>>(), kept);
    assert_eq!(memory.totalreserve(), kept[0] + kept[1]);
}

#[test]
fn meminfo_counts_what_was_allocated() {
    let machine = small();
    let memory = machine.memory();
    alloc(&memory, Gfp::GFP_KERNEL, 9);
    let text = cat(&memory, "/proc/meminfo", Form::Text);
    let free = 16384 - 131 - 512;
    assert!(text.starts_with(&format!("MemTotal:          65012 kB\nMemFree:           {} kB\n", free * 4)), "{text}");
    let high = memory.totalreserve();
    assert!(text.contains(&format!("MemAvailable:      {} kB\n", (free - high) * 4)), "{text}");
    assert!(!text.contains("HighTotal"));
    let machine = HostMachine::new("zones=full", &[(0x4000_0000, 64 * MIB, 0)], &[]);
    assert!(cat(&machine.memory(), "/proc/meminfo", Form::Text).contains("\nHighTotal:             0 kB\n"));
}

#[test]
fn page_owner_lists_what_is_in_use() {
    let machine = HostMachine::new("page_owner=on", &[(0x4000_0000, 64 * MIB, 0)], &[(0x4000_0000, 0x83000)]);
    let memory = machine.memory();
    assert_eq!(cat(&memory, "/proc/page_owner", Form::Text), "");
    alloc(&memory, Gfp::GFP_KERNEL, 3);
    let tasks = TaskTable::new("sh");
    let current = Current::new(tasks.init());
    crate::mm::page_alloc::alloc_pages_exact(&memory, &current, 3 * 4096, Gfp::GFP_USER).unwrap();
    let zone = memory.populated_zones().next().unwrap();
    crate::mm::raw::take_pages(&memory, &current, zone, 1).unwrap();
    let text = cat(&memory, "/proc/page_owner", Form::Text);
    let mut requests: Vec<&str> = text.lines().filter(|line| line.starts_with("Page allocated via ")).collect();
    let user = "Page allocated via order 0, mask 0x6200c0(GFP_USER)";
    let kernel = "Page allocated via order 3, mask 0x6000c0(GFP_KERNEL)";
    requests.sort_unstable();
    let expected = ["Page allocated via order 0, mask 0x0()", user, user, user, kernel];
    assert_eq!(requests, expected, "{text}");
    assert_eq!(text.matches("\n pid 1 (sh), 0.00").count(), 5, "{text}");
    assert_eq!(cat(&memory, "/proc/page_owner", Form::Json).lines().count(), 5);
}

#[test]
fn a_table_that_needs_a_boot_argument_says_so() {
    let machine = small();
    let file = find::<HostEnv>("/proc/page_owner").unwrap();
    assert!(file.refusal(&machine.memory()).unwrap().ends_with("page_owner=on"));
    assert!(find("/proc/meminfo").unwrap().refusal(&machine.memory()).is_none());
}

#[test]
fn extfrag_looks_at_every_zone() {
    let machine = large();
    let memory = machine.memory();
    let text = cat(&memory, "/sys/kernel/debug/extfrag/unusable_index", Form::Text);
    assert!(
        text.ends_with("Node 0, zone   Normal 0.000 0.000 0.000 0.000 0.000 0.000 0.000 0.000 0.000 0.000 0.000 \n")
    );
    let json = cat(&memory, "/sys/kernel/debug/extfrag/extfrag_index", Form::Json);
    let line = "{\"node\":0,\"zone\":\"DMA32\",\"thousandths\":[-1000,-1000,-1000,-1000,-1000,-1000,-1000,-1000,-1000,-1000,-1000]}";
    assert_eq!(json.lines().next(), Some(line));
}

#[test]
fn vmstat_counts_requests() {
    let machine = small();
    let memory = machine.memory();
    alloc(&memory, Gfp::GFP_KERNEL, 3);
    let text = cat(&memory, "/proc/vmstat", Form::Text);
    for line in
        ["nr_free_pages 16245", "numa_hit 1", "numa_local 1", "pgalloc_dma32 8", "pgalloc_normal 0", "pgfree 16253"]
    {
        assert!(text.lines().any(|known| known == line), "{line} in\n{text}");
    }
    let limit = (16245 - memory.totalreserve() + 1) * 819 / 4096;
    assert!(text.contains(&format!("\nnr_dirty_threshold {limit}\n")), "{text}");
    assert!(cat(&memory, "/proc/vmstat", Form::Json).starts_with("{\"name\":\"nr_free_pages\",\"value\":16245}\n"));
}

fn read(memory: &Memory<'_, HostEnv<'_>>, name: &str) -> String {
    let mut text = String::new();
    sysctl::find(name).unwrap().read(memory, &mut text).unwrap();
    text
}

/// What the write answers: nothing, or the error.
fn write(memory: &Memory<'_, HostEnv<'_>>, name: &str, text: &str) -> String {
    let current = Current::new(memory.env.tasks().init());
    match sysctl::find(name).unwrap().write(memory, &current, text) {
        Ok(()) => String::new(),
        Err(error) => error.to_string(),
    }
}

fn watermarks(memory: &Memory<'_, HostEnv<'_>>) -> [u64; 3] {
    use crate::mmzone::Watermark::{High, Low, Min};
    let zone = memory.populated_zones().next().unwrap();
    [Min, Low, High].map(|mark| zone.watermark(mark))
}

#[test]
fn a_write_recomputes_the_watermarks_at_once() {
    let machine = small();
    let memory = machine.memory();
    assert_eq!((read(&memory, "min_free_kbytes").as_str(), watermarks(&memory)), ("1019\n", [254, 317, 380]));
    assert_eq!(write(&memory, "min_free_kbytes", "4000\n"), "");
    assert_eq!(watermarks(&memory), [1000, 1250, 1500]);
    assert_eq!(memory.totalreserve(), 1500);
    assert_eq!(write(&memory, "watermark_scale_factor", "1000"), "");
    assert_eq!(watermarks(&memory), [1000, 2625, 4250]);
    assert_eq!(write(&memory, "min_free_kbytes", "0"), "");
    assert_eq!(watermarks(&memory), [0, 1625, 3250]);
}

#[test]
fn values_outside_their_limits_change_nothing() {
    let machine = small();
    let memory = machine.memory();
    for (name, text, error) in [
        ("watermark_scale_factor", "0", "watermark_scale_factor must be 1 to 1000"),
        ("watermark_scale_factor", "1001", "watermark_scale_factor must be 1 to 1000"),
        ("min_free_kbytes", "-1", "min_free_kbytes must be 0 to 2147483647"),
        ("min_free_kbytes", "2147483648", "min_free_kbytes must be 0 to 2147483647"),
        ("min_free_kbytes", "", "min_free_kbytes must be 0 to 2147483647"),
        ("min_free_kbytes", "1 2", "min_free_kbytes must be 0 to 2147483647"),
        ("percpu_pagelist_fraction", "7", "percpu_pagelist_fraction must be 0 or at least 8"),
        ("min_slab_ratio", "101", "min_slab_ratio must be 0 to 100"),
        ("numa_stat", "2", "numa_stat must be 0 to 1"),
        ("numa_zonelist_order", "zone", "numa_zonelist_order must be Node or Default"),
    ] {
        let before = read(&memory, name);
        assert_eq!(write(&memory, name, text), format!("write error: Invalid argument: {error}"));
        assert_eq!(read(&memory, name), before);
    }
    assert_eq!(watermarks(&memory), [254, 317, 380]);
}

#[test]
fn ratios_take_what_is_there_and_never_fail() {
    let machine = large();
    let memory = machine.memory();
    let reserve = || memory.zones().next().unwrap().lowmem_reserve(1);
    assert_eq!((read(&memory, "lowmem_reserve_ratio").as_str(), reserve()), ("256\t32\t0\n", 1024));
    assert_eq!(write(&memory, "lowmem_reserve_ratio", "512"), "");
    assert_eq!((read(&memory, "lowmem_reserve_ratio").as_str(), reserve()), ("512\t32\t0\n", 512));
    assert_eq!(write(&memory, "lowmem_reserve_ratio", "-3 many 7"), "");
    assert_eq!((read(&memory, "lowmem_reserve_ratio").as_str(), reserve()), ("0\t32\t0\n", 0));
}

#[test]
fn reading_the_ratios_recomputes_the_reserve() {
    use crate::sync::atomic::Ordering::Relaxed;
    let machine = large();
    let memory = machine.memory();
    memory.sysctl.lowmem_reserve_ratio[0].store(1024, Relaxed);
    assert_eq!(memory.zones().next().unwrap().lowmem_reserve(1), 1024);
    read(&memory, "lowmem_reserve_ratio");
    assert_eq!(memory.zones().next().unwrap().lowmem_reserve(1), 256);
}

#[test]
fn per_cpu_lists_follow_their_fraction() {
    let machine = small();
    let memory = machine.memory();
    let limits = || {
        let limits = memory.populated_zones().next().unwrap().pcp_limits();
        (limits.high, limits.batch)
    };
    assert_eq!(limits(), (18, 3));
    assert_eq!(write(&memory, "percpu_pagelist_fraction", "8"), "");
    assert_eq!(limits(), (16253 / 8, 96));
    assert_eq!(write(&memory, "percpu_pagelist_fraction", "0"), "");
    assert_eq!(limits(), (18, 3));
}

#[test]
fn switching_numa_counters_off_forgets_them() {
    let machine = small();
    let memory = machine.memory();
    alloc(&memory, Gfp::GFP_KERNEL, 0);
    assert!(cat(&memory, "/proc/vmstat", Form::Text).contains("\nnuma_hit 1\n"));
    assert_eq!(write(&memory, "numa_stat", "0"), "");
    alloc(&memory, Gfp::GFP_KERNEL, 0);
    assert!(cat(&memory, "/proc/vmstat", Form::Text).contains("\nnuma_hit 0\n"));
    assert_eq!(write(&memory, "numa_stat", "1"), "");
    alloc(&memory, Gfp::GFP_KERNEL, 0);
    assert!(cat(&memory, "/proc/vmstat", Form::Text).contains("\nnuma_hit 1\n"));
}
