//! From device-tree source to memblock: a machine and its boot arguments in; log, memory and reservations out as text.

#[path = "devicetree/dts.rs"]
mod dts;

use std::cell::RefCell;
use std::fmt::Write;

use kernel::addr::PhysAddr;
use kernel::bootargs::BootArgs;
use kernel::devicetree::DeviceTree;
use kernel::early::{self, EarlyError, Loaded};
use kernel::memblock::{AddrRange, Memblock, Region};
use kernel::mmzone::NodeId;
use kernel::numa;

thread_local! {
    /// What this test has logged, from `info` up.
    static LOG: RefCell<String> = const { RefCell::new(String::new()) };
}

struct Capture;

impl log::Log for Capture {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Info
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LOG.with_borrow_mut(|text| writeln!(text, "{}", record.args())).unwrap();
        }
    }

    fn flush(&self) {}
}

/// Where the image and the blob are, on every machine here.
const LOADED: Loaded = Loaded { image: range(0x4020_0000, 0x4040_0000), tree: range(0x4800_0000, 0x4800_2000) };

const fn range(start: u64, end: u64) -> AddrRange {
    AddrRange::new(PhysAddr(start), PhysAddr(end))
}

const BANK: &str = "memory@40000000 { device_type = \"memory\"; reg = <0 0x40000000 0 0x40000000>; };";

/// A tree with two address and two size cells.
fn tree_with(nodes: &str) -> Vec<u8> {
    dts::compile(&format!("/ {{ #address-cells = <2>; #size-cells = <2>; {nodes} }};"))
}

fn run(blob: &[u8], args: &str) -> Result<String, EarlyError> {
    // Fails when an earlier test has set it.
    let _ = log::set_logger(&Capture);
    log::set_max_level(log::LevelFilter::Info);
    LOG.take();
    let mut copy = vec![0; DeviceTree::copy_size(blob).unwrap()];
    let tree = DeviceTree::load(blob, &mut copy).unwrap();
    let args = BootArgs::parse(args);
    let mut memblock = Memblock::new();
    let early = early::init(&mut memblock, &tree, &args, LOADED)?;
    let mut text = LOG.take();
    for region in early.reserved.regions() {
        let cma = if region.cma { " cma" } else { "" };
        writeln!(text, "{} {:x?}{cma}", region.node.name, bounds(region.range)).unwrap();
    }
    if let Some(cma) = early.cma {
        writeln!(text, "default cma {:x?}", bounds(cma)).unwrap();
    }
    let numa = numa::init(&mut memblock, &tree, args.numa_off).unwrap();
    text += &LOG.take();
    for from in (0..4).map(NodeId).filter(|node| numa.online.contains(*node)) {
        let distances = [0, 1, 2, 3].map(|to| numa.distance(from, NodeId(to)));
        writeln!(text, "node {from} distances {distances:?}").unwrap();
    }
    memblock.memory().iter().for_each(|region| writeln!(text, "memory {}", describe(region)).unwrap());
    memblock.reserved().iter().for_each(|region| writeln!(text, "reserved {}", describe(region)).unwrap());
    Ok(text)
}

fn bounds(range: AddrRange) -> std::ops::Range<u64> {
    range.start.0..range.end.0
}

fn describe(region: &Region) -> String {
    let mut text = format!("{:x?}", bounds(region.range));
    match region.node {
        None | Some(NodeId(0)) => {}
        Some(node) => write!(text, " node {node}").unwrap(),
    }
    for (name, _) in region.flags.iter_names() {
        write!(text, " {name}").unwrap();
    }
    text
}

const ONE_NODE: &str = "No NUMA configuration found
Faking a node at [mem 0x0000000040000000-0x000000007fffffff]
node 0 distances [10, 20, 20, 20]
";

#[test]
fn plain_machine() {
    let memory = "memory 40000000..80000000\nreserved 40200000..40400000\nreserved 48000000..48002000\n";
    assert_eq!(run(&tree_with(BANK), "").unwrap(), format!("{ONE_NODE}{memory}"));
}

/// `want` leaves out what the plain machine has: the reserved image and blob, and the lines about its only node.
#[track_caller]
fn check(nodes: &str, args: &str, want: &str) {
    let text = run(&tree_with(nodes), args).unwrap();
    let lines = text.split_inclusive('\n').collect::<Vec<_>>();
    let one_node = lines.iter().position(|line| ONE_NODE.starts_with(line)).map_or(0..0, |i| i..i + 3);
    let loaded = ["reserved 40200000..40400000\n", "reserved 48000000..48002000\n"];
    let rest = lines.iter().enumerate().filter(|(i, line)| !one_node.contains(i) && !loaded.contains(line));
    let text: String = rest.map(|(_, line)| *line).collect();
    let want: String = want.trim().lines().flat_map(|line| [line.trim(), "\n"]).collect();
    assert_eq!(text, want);
}

#[test]
fn banks_are_cut_to_pages_and_merged() {
    let banks = "
        memory@40000000 { device_type = \"memory\"; reg = <0 0x40000000 0 0x8000800>, <0 0x48000800 0 0x1000000>; };
        memory@50000800 { device_type = \"memory\"; reg = <0 0x50000800 0 0x3000>; };
        memory@60000000 { device_type = \"memory\"; reg = <0 0x60000000 0 0x800>, <0 0x60000800 0 0x1900>; };
        memory@44000000 { device_type = \"memory\"; reg = <0 0x44000000 0 0x8000000>; };
    ";
    check(
        banks,
        "",
        "Ignoring memory block 0x60000000 - 0x60000800
         memory 40000000..4c000000
         memory 50001000..50003000
         memory 60001000..60002000",
    );
}

#[test]
fn unpluggable_banks_are_marked() {
    let more = "memory@80000000 { device_type = \"memory\"; reg = <0 0x80000000 0 0x40000000>; hotpluggable; };";
    check(&format!("{BANK} {more}"), "", "memory 40000000..80000000\nmemory 80000000..c0000000 HOTPLUG");
}

#[test]
fn initrd_is_reserved_in_whole_pages() {
    let chosen = "chosen { linux,initrd-start = <0x50000100>; linux,initrd-end = <0x50000200>; };";
    check(&format!("{chosen} {BANK}"), "", "memory 40000000..80000000\nreserved 50000000..50001000");
    let outside = "chosen { linux,initrd-start = <0x30000000>; linux,initrd-end = <0x30001000>; };";
    check(
        &format!("{outside} {BANK}"),
        "",
        "initrd not fully accessible via the linear mapping -- please check your bootloader ...
         memory 40000000..80000000",
    );
}

#[test]
fn mem_keeps_the_lowest_bytes_and_what_was_loaded() {
    let chosen = "chosen { linux,initrd-start = <0x50000000>; linux,initrd-end = <0x50001000>; };";
    check(
        &format!("{chosen} {BANK}"),
        "mem=128M",
        "Memory limited to 128MB
         memory 40000000..48000000
         memory 50000000..50001000
         reserved 50000000..50001000",
    );
    check(BANK, "mem=0x100fff", "Memory limited to 1MB\nmemory 40000000..40100000\nmemory 40200000..40400000");
    check(BANK, "mem=4G", "Memory limited to 4096MB\nmemory 40000000..80000000");
}

#[test]
fn usable_memory_range_is_a_window() {
    let chosen = "chosen { linux,usable-memory-range = <0 0x40100000 0 0x10000000>; };";
    check(&format!("{chosen} {BANK}"), "", "memory 40100000..50100000");
}

#[test]
fn reserved_memory_with_a_place() {
    let reserved = "reserved-memory { #address-cells = <2>; #size-cells = <2>; ranges;
        fw@50000000 { reg = <0 0x50000000 0 0x100000>, <0 0x52000000 0 0x1000>; };
        hole@54000000 { reg = <0 0x54000000 0 0x100000>; no-map; };
        off@56000000 { reg = <0 0x56000000 0 0x100000>; status = \"disabled\"; };
        empty@0 { reg = <0 0 0 0>; };
        odd@58000000 { reg = <0 0x58000000 0>; };
        outside@f0000000 { reg = <0 0xf0000000 0 0x1000>; };
    };";
    let log =
        "OF: fdt: Reserved memory: failed to reserve memory for node 'empty@0': base 0x0000000000000000, size 0 MiB
         OF: fdt: Reserved memory: invalid reg property in 'odd@58000000', skipping node.";
    let table = "empty@0 0..0\nfw@50000000 50000000..50100000\nhole@54000000 54000000..54100000
         outside@f0000000 f0000000..f0001000";
    let taken = "reserved 50000000..50100000\nreserved 52000000..52001000\nreserved f0000000..f0001000";
    let nodes = format!("{reserved} {BANK}");
    check(&nodes, "", &format!("{log}\n{table}\nmemory 40000000..54000000\nmemory 54100000..80000000\n{taken}"));
    check(
        &nodes,
        "quirk.nomap=mark",
        &format!(
            "{log}\n{table}
             memory 40000000..54000000\nmemory 54000000..54100000 NOMAP\nmemory 54100000..80000000\n{taken}"
        ),
    );
}

#[test]
fn reserved_memory_of_another_format_is_ignored() {
    let reserved = "reserved-memory { #address-cells = <2>; #size-cells = <2>;
        fw@50000000 { reg = <0 0x50000000 0 0x100000>; };
    };";
    check(
        &format!("{reserved} {BANK}"),
        "",
        "OF: fdt: Reserved memory: unsupported node format, ignoring\nmemory 40000000..80000000",
    );
}

#[test]
fn overlaps_are_told_and_merged() {
    let reserved = "reserved-memory { #address-cells = <2>; #size-cells = <2>; ranges;
        b@50080000 { reg = <0 0x50080000 0 0x100000>; };
        a@50000000 { reg = <0 0x50000000 0 0x100000>; };
    };";
    check(
        &format!("{reserved} {BANK}"),
        "",
        "OF: reserved mem: OVERLAP DETECTED!
         a@50000000 (0x0000000050000000--0x0000000050100000) overlaps with \
         b@50080000 (0x0000000050080000--0x0000000050180000)
         a@50000000 50000000..50100000
         b@50080000 50080000..50180000
         memory 40000000..80000000
         reserved 50000000..50180000",
    );
}

#[test]
fn reserved_memory_without_a_place_comes_after_those_with_one() {
    let reserved = "reserved-memory { #address-cells = <2>; #size-cells = <2>; ranges;
        any { size = <0 0x1100>; };
        aligned { size = <0 0x100000>; alignment = <0 0x1000000>; };
        ranged { size = <0 0x100000>; alloc-ranges = <0 0x30000000 0 0x10000000>, <0 0x60000000 0 0x10000000>; };
        hole { size = <0 0x100000>; alignment = <0 0x100000>; no-map; };
        huge { size = <1 0>; };
        odd { size = <0x1000>; };
        odd-alignment { size = <0 0x1000>; alignment = <0 0x1001>; };
        top@7ff00000 { reg = <0 0x7ff00000 0 0x100000>; };
    };";
    check(
        &format!("{reserved} {BANK}"),
        "",
        "OF: reserved mem: failed to allocate memory for node 'huge'
         OF: reserved mem: invalid size property in 'odd' node.
         OF: reserved mem: invalid alignment property in 'odd-alignment' node.
         any 7fefef00..7ff00000
         aligned 7f000000..7f100000
         ranged 6ff00000..70000000
         hole 7fd00000..7fe00000
         huge 0..0
         odd 0..0
         odd-alignment 0..0
         top@7ff00000 7ff00000..80000000
         memory 40000000..7fd00000
         memory 7fe00000..80000000
         reserved 6ff00000..70000000
         reserved 7f000000..7f100000
         reserved 7fd00000..7fe00000
         reserved 7fefef00..80000000",
    );
}

#[test]
fn contiguous_areas() {
    let reserved = "reserved-memory { #address-cells = <2>; #size-cells = <2>; ranges;
        linux,cma { compatible = \"shared-dma-pool\"; size = <0 0x4000000>; reusable; linux,cma-default; };
        top@7fffe000 { reg = <0 0x7fffe000 0 0x1000>; };
        last@7ffff000 { reg = <0 0x7ffff000 0 0x1000>; };
        pool@50000000 { compatible = \"shared-dma-pool\"; reg = <0 0x50000000 0 0x100000>; reusable; };
        mine@54000000 { compatible = \"shared-dma-pool\"; reg = <0 0x54000000 0 0x400000>; };
    };";
    let table = "Reserved memory: created CMA memory pool at 0x000000007bc00000, size 64 MiB
         Reserved memory: incorrect alignment of CMA region
         linux,cma 7bc00000..7fc00000 cma
         pool@50000000 50000000..50100000
         mine@54000000 54000000..54400000
         top@7fffe000 7fffe000..7ffff000
         last@7ffff000 7ffff000..80000000
         default cma 7bc00000..7fc00000
         memory 40000000..80000000
         reserved 50000000..50100000
         reserved 54000000..54400000
         reserved 7bc00000..7fc00000
         reserved 7fffe000..80000000";
    let nodes = format!("{reserved} {BANK}");
    check(&nodes, "", table);
    check(&nodes, "cma=8M", table);
}

#[test]
fn contiguous_area_of_the_boot_argument() {
    let with = |args, log: &str, area: &str| {
        let want = format!("{log}\ndefault cma {area}\nmemory 40000000..80000000\nreserved {area}");
        check(BANK, args, &want);
    };
    with("cma=5M", "cma: Reserved 8 MiB at 0x000000007f800000", "7f800000..80000000");
    with("cma=4M@0x50000000", "cma: Reserved 4 MiB at 0x0000000050000000", "50000000..50400000");
    with("cma=4M@0x50000000-0x60000000", "cma: Reserved 4 MiB at 0x000000005fc00000", "5fc00000..60000000");
    check(BANK, "cma=2G", "cma: Failed to reserve 2048 MiB\nmemory 40000000..80000000");
    check(BANK, "cma=0", "memory 40000000..80000000");
}

#[test]
fn memreserve_entries_may_overlap_and_lie_anywhere() {
    let root = format!("/ {{ #address-cells = <2>; #size-cells = <2>; {BANK} }};");
    let blob = dts::compile(&format!(
        "/memreserve/ 0x0 0x1000; /memreserve/ 0x50000000 0x2000; /memreserve/ 0x50001000 0x2000; {root}"
    ));
    let text = run(&blob, "").unwrap();
    assert!(text.contains("reserved 0..1000\n") && text.ends_with("reserved 50000000..50003000\n"), "{text}");
}

#[test]
fn the_page_that_a_parked_processor_polls_is_kept() {
    let cpu = |number: u32, release: &str| {
        format!(
            "cpu@{number} {{ device_type = \"cpu\"; reg = <{number}>; enable-method = \"spin-table\";
               cpu-release-addr = <0 {release}>; }};"
        )
    };
    // The first two share a page; the third's lies in no RAM, the fourth's in the image.
    let words = ["0x400000d8", "0x400000e0", "0x1000", "0x40200008"];
    let cpus: String = (0..).zip(words).map(|(number, release)| cpu(number, release)).collect();
    let nodes = format!("cpus {{ #address-cells = <1>; #size-cells = <0>; {cpus} }}; {BANK}");
    check(
        &nodes,
        "",
        "CPU 0x0 polls 0x00000000400000d8, which no /memreserve/ keeps: reserving its page
         memory 40000000..80000000
         reserved 40000000..40001000",
    );
    // A tree that keeps it is believed: nothing is said, and no more reserved than it says.
    let tree = format!("/memreserve/ 0x40000000 0x100; / {{ #address-cells = <2>; #size-cells = <2>; {nodes} }};");
    let text = run(&dts::compile(&tree), "").unwrap();
    assert!(text.contains("reserved 40000000..40000100\n") && !text.contains("polls"), "{text}");
}

#[test]
fn more_nodes_than_the_table_holds() {
    let nodes: String = (0..33).map(|i| format!("n{i} {{ size = <0 0x1000>; }}; ")).collect();
    let reserved = format!("reserved-memory {{ #address-cells = <2>; #size-cells = <2>; ranges; {nodes} }};");
    let text = run(&tree_with(&format!("{reserved} {BANK}")), "").unwrap();
    assert!(text.starts_with("OF: reserved mem: not enough space all defined regions.\nn0 7ffff000..80000000\n"));
    assert!(text.contains("\nn31 7ffe0000..7ffe1000\nNo NUMA"), "{text}");
}

#[test]
fn refusals() {
    let refused = |nodes: &str| run(&tree_with(nodes), "").unwrap_err().to_string();
    assert_eq!(
        refused("memory@40000000 { device_type = \"memory\"; reg = <0 0x40000000 0 0x800>; };"),
        "device tree: no memory bank is as large as a page"
    );
    let outside =
        "device tree: the image [mem 0x0000000040200000-0x00000000403fffff] lies outside the memory that may be used";
    assert_eq!(refused("memory@80000000 { device_type = \"memory\"; reg = <0 0x80000000 0 0x40000000>; };"), outside);
    assert_eq!(refused(&format!("chosen {{ linux,usable-memory-range = <0 0x50000000 0 0x1000>; }}; {BANK}")), outside);
    let hole = "reserved-memory { #address-cells = <2>; #size-cells = <2>; ranges;
        hole@40300000 { reg = <0 0x40300000 0 0x1000>; no-map; };
    };";
    assert_eq!(refused(&format!("{hole} {BANK}")), outside);
    let banks: String = (0..129).map(|i| format!("<0 {:#x} 0 0x1000>,", 0x4000_0000 + 0x2000 * i)).collect();
    assert_eq!(
        refused(&format!("memory@40000000 {{ device_type = \"memory\"; reg = {banks}; }};")),
        "memblock: [mem 0x0000000040100000-0x0000000040100fff] does not fit into the list of 128 memory regions"
    );
}

const TWO_BANKS: &str = "
    memory@40000000 { device_type = \"memory\"; reg = <0 0x40000000 0 0x20000000>; numa-node-id = <0>; };
    memory@60000000 { device_type = \"memory\"; reg = <0 0x60000000 0 0x20000000>; numa-node-id = <1>; };";

#[test]
fn nodes_of_memory_and_processors() {
    let cpus = "cpus { #address-cells = <1>; #size-cells = <0>;
        cpu@0 { device_type = \"cpu\"; reg = <0>; numa-node-id = <0>; };
        cpu@1 { device_type = \"cpu\"; reg = <1>; numa-node-id = <3>; };
        cpu@2 { device_type = \"cpu\"; reg = <2>; numa-node-id = <4>; };
    };";
    let map = "distance-map { compatible = \"numa-distance-map-v1\";
        distance-matrix = <0 0 10>, <0 1 30>, <1 0 40>, <1 1 10>, <0 3 25>; };";
    check(
        &format!("{cpus} {TWO_BANKS} {map}"),
        "",
        "OF: NUMA: Node id 4 exceeds maximum value
         node 0 distances [10, 30, 20, 25]
         node 1 distances [40, 10, 20, 20]
         node 3 distances [25, 20, 20, 10]
         memory 40000000..60000000
         memory 60000000..80000000 node 1",
    );
}

/// Everything falls back to one node, with its reason.
#[test]
fn nodes_that_cannot_be_used() {
    let faked = |nodes: &str, args: &str, log: &str| {
        let fake = "Faking a node at [mem 0x0000000040000000-0x000000007fffffff]";
        check(nodes, args, &format!("{log}\n{fake}\nnode 0 distances [10, 20, 20, 20]\nmemory 40000000..80000000"));
    };
    faked(TWO_BANKS, "numa=off", "NUMA disabled");
    let third = TWO_BANKS.replace("<1>", "<4>");
    faked(&third, "", "OF: NUMA: Node id 4 exceeds maximum value\nOF: NUMA: bad property in memory node");
    let half = TWO_BANKS.replace("numa-node-id = <1>;", "");
    faked(&half, "", "NUMA: Warning: invalid memblk node 4 [mem 0x60000000-0x7fffffff]");
    for (triple, log) in [("<0 0 11>", "node0 -> node0] = 11"), ("<0 1 10>", "node0 -> node1] = 10")] {
        let map = format!("map {{ compatible = \"numa-distance-map-v1\"; distance-matrix = {triple}; }};");
        faked(&format!("{TWO_BANKS} {map}"), "", &format!("OF: NUMA: Invalid distance[{log}"));
    }
}

/// QEMU's own trees: one node, and two nodes with two processors each.
#[test]
fn machines_of_qemu() {
    let virt = run(include_bytes!("fixtures/virt.dtb"), "").unwrap();
    assert!(virt.starts_with("No NUMA configuration found\n") && virt.contains("memory 40000000.."), "{virt}");
    let numa = run(include_bytes!("fixtures/virt-numa.dtb"), "").unwrap();
    assert!(numa.starts_with("node 0 distances") && numa.contains(" node 1\n"), "{numa}");
}
