//! Tests of zone sizes: a machine and its boot arguments in, page frame numbers out.

use super::*;
use crate::addr::PhysAddr;
use crate::memblock::AddrRange;
use crate::mmzone::Profile;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// RAM of a machine: (node, base, size).
type Banks<'a> = &'a [(u8, u64, u64)];

const VIRT_1G: Banks<'static> = &[(0, GIB, GIB)];
const VIRT_4G: Banks<'static> = &[(0, GIB, 4 * GIB)];
const TWO_NODES: Banks<'static> = &[(0, GIB, 512 * MIB), (1, GIB + 512 * MIB, 512 * MIB)];

fn machine(banks: Banks<'_>) -> (Memblock, NodeMask) {
    let (mut memblock, mut online) = (Memblock::new(), NodeMask::default());
    for (node, base, size) in banks {
        memblock.add_node(AddrRange::sized(PhysAddr(*base), *size), NodeId(*node)).unwrap();
        online = online.with(NodeId(*node));
    }
    (memblock, online)
}

fn layout(banks: Banks<'_>, args: &str) -> ZoneLayout {
    let args = BootArgs::parse(args);
    assert_eq!(args.warnings().next(), None);
    let (memblock, online) = machine(banks);
    let layout = ZoneLayout::new(&memblock, online, &args);
    check_identities(&layout, &memblock);
    layout
}

/// What holds on every machine: zones are disjoint, every present page is in one of them.
fn check_identities(layout: &ZoneLayout, memblock: &Memblock) {
    let total: u64 = memblock.page_ranges().map(|(pages, _)| pages.nr_pages()).sum();
    assert_eq!(layout.nodes.iter().map(|node| node.present).sum::<u64>(), total);
    for (_, node) in layout.online() {
        assert_eq!(node.zones().len(), layout.types().len());
        assert_eq!(node.zones().iter().map(|zone| zone.present).sum::<u64>(), node.present);
        let mut end = node.span.start;
        for (zone, kind) in node.zones().iter().zip(layout.types()).filter(|(zone, _)| zone.spanned != 0) {
            assert_eq!(zone.kind, *kind);
            assert!(end <= zone.start_pfn && zone.present <= zone.spanned && zone.managed_estimate <= zone.present);
            end = zone.span().end;
        }
        assert!(end <= node.span.end);
    }
}

/// One line per zone that spans something: `node zone start-end present`, the end exclusive.
#[track_caller]
fn check(banks: Banks<'_>, args: &str, want: &[&str]) {
    let layout = layout(banks, args);
    let mut lines = Vec::new();
    for (id, node) in layout.online() {
        for zone in node.zones().iter().filter(|zone| zone.spanned != 0) {
            let span = zone.span();
            lines.push(format!("{id} {} {}-{} {}", zone.kind, span.start, span.end, zone.present));
        }
    }
    assert_eq!(lines, want, "{args}");
}

#[test]
fn arm64_5_0() {
    check(VIRT_1G, "", &["0 DMA32 0x40000-0x80000 262144"]);
    check(VIRT_4G, "", &["0 DMA32 0x40000-0x100000 786432", "0 Normal 0x100000-0x140000 262144"]);
    // RAM that starts above 4 GiB: DMA32 is the window of 4 GiB in which it starts.
    let high = [(0, 0x8_0000_0000, 8 * GIB)];
    check(&high, "", &["0 DMA32 0x800000-0x900000 1048576", "0 Normal 0x900000-0xa00000 1048576"]);
    let odd = [(0, 0x8_4000_0000, 4 * GIB)];
    check(&odd, "", &["0 DMA32 0x840000-0x900000 786432", "0 Normal 0x900000-0x940000 262144"]);
}

#[test]
fn arm64_5_5() {
    let args = "zones=arm64-5.5";
    let pi4_4g = [(0, 0, 0xfc00_0000)];
    check(&pi4_4g, args, &["0 DMA 0x0-0x40000 262144", "0 DMA32 0x40000-0xfc000 770048"]);
    let pi4_8g = [(0, 0, 0xfc00_0000), (0, 4 * GIB, 4 * GIB)];
    check(
        &pi4_8g,
        args,
        &["0 DMA 0x0-0x40000 262144", "0 DMA32 0x40000-0x100000 770048", "0 Normal 0x100000-0x200000 1048576"],
    );
    let virt_2g = [(0, GIB, 2 * GIB)];
    check(&virt_2g, args, &["0 DMA 0x40000-0x80000 262144", "0 DMA32 0x80000-0xc0000 262144"]);
}

#[test]
fn x86_32() {
    let pc = [(0, 0, GIB)];
    check(
        &pc,
        "zones=x86-32",
        &["0 DMA 0x0-0x1000 4096", "0 Normal 0x1000-0x38000 225280", "0 HighMem 0x38000-0x40000 32768"],
    );
    check(&[(0, 0, 512 * MIB)], "zones=x86-32", &["0 DMA 0x0-0x1000 4096", "0 Normal 0x1000-0x20000 126976"]);
    // The same windows, counted from where RAM starts.
    check(
        VIRT_1G,
        "zones=x86-32",
        &["0 DMA 0x40000-0x41000 4096", "0 Normal 0x41000-0x78000 225280", "0 HighMem 0x78000-0x80000 32768"],
    );
}

#[test]
fn highmem_is_taken_from_the_top() {
    check(VIRT_1G, "highmem=128M", &["0 DMA32 0x40000-0x78000 229376", "0 HighMem 0x78000-0x80000 32768"]);
    check(VIRT_1G, "highmem=127M", &["0 DMA32 0x40000-0x78000 229376", "0 HighMem 0x78000-0x80000 32768"]);
    check(
        VIRT_4G,
        "highmem=512M",
        &["0 DMA32 0x40000-0x100000 786432", "0 Normal 0x100000-0x120000 131072", "0 HighMem 0x120000-0x140000 131072"],
    );
    check(
        VIRT_1G,
        "zones=x86-32 highmem=256M",
        &["0 DMA 0x40000-0x41000 4096", "0 Normal 0x41000-0x70000 192512", "0 HighMem 0x70000-0x80000 65536"],
    );
    // Less than lies above the lowmem window changes nothing.
    assert_eq!(layout(VIRT_1G, "zones=x86-32 highmem=64M"), layout(VIRT_1G, "zones=x86-32"));
    let types = layout(VIRT_1G, "highmem=128M").types().to_vec();
    assert_eq!(types, [ZoneType::Dma32, ZoneType::Normal, ZoneType::HighMem, ZoneType::Movable]);
}

#[test]
fn impossible_highmem_is_ignored_in_linux_words() {
    let error = |bytes| limits::highmem_pages(bytes, GIB / PAGE_SIZE).unwrap_err().to_string();
    assert_eq!(error(GIB), "highmem size (1024MB) is bigger than pages available (1024MB)!");
    assert_eq!(error(2 * GIB), "highmem size (2048MB) is bigger than pages available (1024MB)!");
    assert_eq!(error(1000 * MIB), "highmem size (1000MB) results in <64MB lowmem, ignoring it!");
    assert_eq!(limits::highmem_pages(960 * MIB, GIB / PAGE_SIZE), Ok(245760));
    for args in ["highmem=1G", "highmem=1000M", "highmem=0"] {
        assert_eq!(layout(VIRT_1G, args), layout(VIRT_1G, ""), "{args}");
    }
    // So a small board never has any, whatever its zones: pages for GFP_HIGHUSER come from Normal there.
    let low = ["0 DMA 0x40000-0x40800 2048", "0 DMA32 0x40800-0x41800 4096", "0 Normal 0x41800-0x44000 10240"];
    let args = "zones=full:dma=8M,dma32=16M highmem=16M";
    check(&[(0, GIB, 64 * MIB)], args, &low);
    check(&[(0, GIB, 80 * MIB)], args, &[low[0], low[1], low[2], "0 HighMem 0x44000-0x45000 4096"]);
}

#[test]
fn sizes_of_the_full_profile() {
    check(VIRT_1G, "zones=full", &["0 DMA 0x40000-0x80000 262144"]);
    check(
        VIRT_1G,
        "zones=full:dma=64M,dma32=256M,highmem=128M",
        &[
            "0 DMA 0x40000-0x44000 16384",
            "0 DMA32 0x44000-0x54000 65536",
            "0 Normal 0x54000-0x78000 147456",
            "0 HighMem 0x78000-0x80000 32768",
        ],
    );
    check(VIRT_1G, "zones=full:dma=1M", &["0 DMA 0x40000-0x40400 1024", "0 DMA32 0x40400-0x80000 261120"]);
    // DMA ends above the window of DMA32, which is empty then.
    check(VIRT_4G, "zones=full:dma=3584M", &["0 DMA 0x40000-0x120000 917504", "0 Normal 0x120000-0x140000 131072"]);
    check(VIRT_1G, "zones=arm64-5.0:dma32=15E", &["0 DMA32 0x40000-0x80000 262144"]);
}

#[test]
fn nodes_may_interleave_and_have_holes() {
    let banks = [(0, GIB, 256 * MIB), (1, GIB + 256 * MIB, 256 * MIB), (0, 2 * GIB, 256 * MIB)];
    check(&banks, "", &["0 DMA32 0x40000-0x90000 131072", "1 DMA32 0x50000-0x60000 65536"]);
}

#[test]
fn a_node_without_memory_has_empty_zones() {
    let (memblock, online) = machine(VIRT_1G);
    let layout = ZoneLayout::new(&memblock, online.with(NodeId(2)), &BootArgs::default());
    check_identities(&layout, &memblock);
    assert_eq!(layout.online().map(|(id, _)| id.0).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(layout.with_memory(), NodeMask(1));
    assert!(layout.nodes[2].zones().iter().all(|zone| zone.spanned == 0 && zone.start_pfn == Pfn(0)));
}

#[track_caller]
fn check_movable(banks: Banks<'_>, args: &str, want: &[u64]) {
    let layout = layout(banks, args);
    let starts: Vec<u64> = layout.online().map(|(_, node)| node.movable_start.map_or(0, |pfn| pfn.0)).collect();
    assert_eq!(starts, want, "{args}");
}

#[test]
fn kernelcore_and_movablecore_spread_over_the_nodes() {
    check_movable(VIRT_4G, "kernelcore=1G", &[0x100000]);
    check_movable(VIRT_4G, "kernelcore=3584M", &[0x120000]);
    check_movable(VIRT_4G, "movablecore=512M", &[0x120000]);
    check_movable(VIRT_1G, "movablecore=256M", &[0x70000]);
    check_movable(VIRT_1G, "kernelcore=700M", &[0x6bc00]);
    check_movable(TWO_NODES, "movablecore=256M", &[0x58000, 0x78000]);
    let uneven = [(0, GIB, 256 * MIB), (1, GIB + 256 * MIB, 768 * MIB)];
    check_movable(&uneven, "kernelcore=640M", &[0x50000, 0x68000]);
    // Node 0's DMA32 is more than its share, so the rest is shared anew: 512 MiB for each.
    let low_and_high = [(0, GIB, 4 * GIB), (1, 5 * GIB, 4 * GIB)];
    check_movable(&low_and_high, "kernelcore=4G", &[0x120000, 0x160000]);
}

#[test]
fn kernelcore_in_percent_and_at_the_edges() {
    check_movable(VIRT_1G, "kernelcore=75%", &[0x70000]);
    check_movable(VIRT_1G, "movablecore=25%", &[0x70000]);
    check_movable(VIRT_1G, "kernelcore=0% movablecore=0%", &[0]);
    check_movable(VIRT_1G, "kernelcore=100%", &[0]);
    check_movable(VIRT_1G, "kernelcore=1G", &[0]);
    check_movable(VIRT_1G, "movablecore=1G", &[0]);
    check_movable(VIRT_1G, "movablecore=2G kernelcore=512M", &[0x60000]);
    // Both: the larger core wins. A size that is no whole number of blocks is rounded up.
    check_movable(VIRT_1G, "kernelcore=512M movablecore=256M", &[0x70000]);
    check_movable(VIRT_1G, "movablecore=253M", &[0x70000]);
    check_movable(VIRT_1G, "kernelcore=769M", &[0x70400]);
}

#[test]
fn movable_is_cut_from_the_highest_zone() {
    check(VIRT_4G, "kernelcore=1G", &["0 DMA32 0x40000-0x100000 786432", "0 Movable 0x100000-0x140000 262144"]);
    check(
        VIRT_4G,
        "movablecore=512M",
        &["0 DMA32 0x40000-0x100000 786432", "0 Normal 0x100000-0x120000 131072", "0 Movable 0x120000-0x140000 131072"],
    );
    check(
        TWO_NODES,
        "movablecore=256M",
        &[
            "0 DMA32 0x40000-0x58000 98304",
            "0 Movable 0x58000-0x60000 32768",
            "1 DMA32 0x60000-0x78000 98304",
            "1 Movable 0x78000-0x80000 32768",
        ],
    );
    // In the table's last row node 0 has no Movable: its start is the node's end.
    let uneven = [(0, GIB, 256 * MIB), (1, GIB + 256 * MIB, 768 * MIB)];
    check(
        &uneven,
        "kernelcore=640M",
        &["0 DMA32 0x40000-0x50000 65536", "1 DMA32 0x50000-0x68000 98304", "1 Movable 0x68000-0x80000 98304"],
    );
}

#[test]
fn movable_cut_from_highmem_is_highmem() {
    let highmem = layout(VIRT_1G, "highmem=256M movablecore=128M");
    assert_eq!(highmem.nodes[0].movable_start, Some(Pfn(0x78000)));
    assert!(highmem.limits().is_highmem(ZoneType::Movable) && highmem.limits().is_highmem(ZoneType::HighMem));
    let lowmem = layout(VIRT_1G, "movablecore=128M");
    assert!(!lowmem.limits().is_highmem(ZoneType::Movable));
}

#[test]
fn movable_node_takes_what_can_be_unplugged() {
    let (mut memblock, online) = machine(TWO_NODES);
    let unpluggable = AddrRange::new(PhysAddr(GIB + 513 * MIB), PhysAddr(2 * GIB));
    memblock.mark_hotplug(unpluggable).unwrap();
    let starts = |args| {
        let layout = ZoneLayout::new(&memblock, online, &BootArgs::parse(args));
        layout.nodes.map(|node| node.movable_start)
    };
    assert_eq!(starts("movable_node movablecore=256M"), [None, Some(Pfn(0x60400)), None, None]);
    assert_eq!(starts(""), [None; 4]);
}

/// A boot log of a real machine, Linux 5.5 or later: RAM 0x80000000-0xfbdfffff and 0x2080000000-0x20ffffffff.
#[test]
fn real_log_with_a_sparse_zone() {
    let banks = [(0, 0x8000_0000, 0x7be0_0000), (0, 0x20_8000_0000, 0x8000_0000)];
    let layout = layout(&banks, "zones=arm64-5.5");
    let zones = layout.nodes[0].zones();
    let lines: Vec<_> = zones.iter().map(|z| (z.span().end.0, z.present, z.memmap_pages())).collect();
    let dma_and_dma32 = [(0xc0000, 262144, 4096), (0x100000, 245248, 3832)];
    assert_eq!(lines[..2], dma_and_dma32);
    assert_eq!(lines[2..], [(0x2100000, 524288, 8192), (0, 0, 0)]);
    assert_eq!(layout.nodes[0].present, 1031680);
    assert_eq!(layout.total_pages(), 1015560);
}

/// A boot log of a Raspberry Pi 4: a small hole, so the spanned pages count.
#[test]
fn real_log_with_a_small_hole() {
    let banks = [(0, 0, 0x3e60_0000), (0, 0x4000_0000, 0x4000_0000)];
    let layout = layout(&banks, "zones=arm64-5.5");
    let dma = layout.nodes[0].zones()[0];
    assert_eq!((dma.present, dma.spanned, dma.memmap_pages()), (255488, 262144, 4096));
    assert_eq!((layout.nodes[0].present, layout.total_pages()), (517632, 509440));
    assert_eq!(layout.types(), Profile::Arm64V55.zones(false));
}

#[test]
fn mobility_is_grouped_from_six_pageblocks_on() {
    // 3,072 pages must be left when 64 bytes a page are paid for.
    assert!(!layout(&[(0, GIB, 12 * MIB)], "").groups_by_mobility());
    assert!(!layout(&[(0, GIB, 3120 * PAGE_SIZE)], "").groups_by_mobility());
    assert!(layout(&[(0, GIB, 3121 * PAGE_SIZE)], "").groups_by_mobility());
}

#[track_caller]
fn check_report(banks: Banks<'_>, args: &str, want: &str) {
    let layout = layout(banks, args);
    let mut text = String::new();
    layout.report(&machine(banks).0, |line| text += &format!("{line}\n"));
    layout.report_zonelists(|line| text += &format!("{line}\n"));
    assert_eq!(text, want);
}

#[test]
fn report_of_virt_with_movable() {
    check_report(
        VIRT_1G,
        "movablecore=256M",
        "\
Zone ranges:
  DMA32    [mem 0x0000000040000000-0x000000007fffffff]
  Normal   empty
Movable zone start for each node
  Node 0: 0x0000000070000000
Early memory node ranges
  node   0: [mem 0x0000000040000000-0x000000007fffffff]
Initmem setup node 0 [mem 0x0000000040000000-0x000000007fffffff]
On node 0 totalpages: 262144
  DMA32 zone: 3072 pages used for memmap
  DMA32 zone: 0 pages reserved
  DMA32 zone: 196608 pages, LIFO batch:63
  Movable zone: 1024 pages used for memmap
  Movable zone: 65536 pages, LIFO batch:15
Built 1 zonelists, mobility grouping on.  Total pages: 258048
Policy zone: DMA32
",
    );
}

#[test]
fn report_of_two_nodes_and_a_tiny_machine() {
    check_report(
        &[(0, GIB, 2 * MIB), (1, GIB + 2 * MIB, 2 * MIB)],
        "zones=full:highmem=64M",
        "\
Zone ranges:
  DMA      [mem 0x0000000040000000-0x00000000403fffff]
  DMA32    empty
  Normal   empty
  HighMem  empty
Movable zone start for each node
Early memory node ranges
  node   0: [mem 0x0000000040000000-0x00000000401fffff]
  node   1: [mem 0x0000000040200000-0x00000000403fffff]
Initmem setup node 0 [mem 0x0000000040000000-0x00000000401fffff]
On node 0 totalpages: 512
  DMA zone: 8 pages used for memmap
  DMA zone: 0 pages reserved
  DMA zone: 512 pages, LIFO batch:0
Initmem setup node 1 [mem 0x0000000040200000-0x00000000403fffff]
On node 1 totalpages: 512
  DMA zone: 8 pages used for memmap
  DMA zone: 0 pages reserved
  DMA zone: 512 pages, LIFO batch:0
Built 2 zonelists, mobility grouping off.  Total pages: 1008
Policy zone: DMA
",
    );
}
