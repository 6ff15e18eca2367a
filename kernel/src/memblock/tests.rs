//! Tests of memblock as pictures: one character is one page, `[` starts a region and the characters after it tell what
//! it is: `=` plain, `0`..`3` of that node, `h` can be unplugged, `x` outside the linear map; `.` is no region.

use super::*;

mod model;

fn page(n: usize) -> PhysAddr {
    PhysAddr(n as u64 * PAGE_SIZE)
}

/// Pages `start` up to, and without, `end`.
fn pages(start: usize, end: usize) -> AddrRange {
    AddrRange::new(page(start), page(end))
}

/// The regions of a picture. A region of one page is plain.
fn regions_of(picture: &str) -> Vec<Region> {
    let cells = picture.as_bytes();
    let starts = (0..cells.len()).filter(|&i| cells[i] == b'[');
    starts
        .map(|start| {
            let kind = cells.get(start + 1).copied().filter(|c| !b".[".contains(c)).unwrap_or(b'=');
            let len = 1 + cells[start + 1..].iter().take_while(|c| **c == kind).count();
            Region {
                range: pages(start, start + len),
                node: kind.is_ascii_digit().then(|| NodeId(kind - b'0')),
                flags: match kind {
                    b'h' => RegionFlags::HOTPLUG,
                    b'x' => RegionFlags::NOMAP,
                    _ => RegionFlags::empty(),
                },
            }
        })
        .collect()
}

fn picture_of(regions: &[Region], width: usize) -> String {
    let mut cells = vec![b'.'; width];
    for r in regions {
        let kind = match (r.node, r.flags) {
            (Some(node), _) => b'0' + node.0,
            (None, RegionFlags::HOTPLUG) => b'h',
            (None, RegionFlags::NOMAP) => b'x',
            _ => b'=',
        };
        let (start, end) = (r.range.start.pfn().0 as usize, r.range.end.pfn().0 as usize);
        cells[start..end].fill(kind);
        cells[start] = b'[';
    }
    String::from_utf8(cells).unwrap()
}

fn memblock(memory: &str, reserved: &str) -> Memblock {
    let mut memblock = Memblock::new();
    for (list, picture) in [(&mut memblock.memory, memory), (&mut memblock.reserved, reserved)] {
        for region in regions_of(picture) {
            list.insert(list.regions().len(), region);
        }
    }
    memblock
}

#[track_caller]
fn check_memory(before: &str, change: impl FnOnce(&mut Memblock) -> Result<(), ListFull>, after: &str) {
    let mut memblock = memblock(before, "");
    change(&mut memblock).unwrap();
    assert_eq!(picture_of(memblock.memory(), before.len()), after);
}

#[test]
fn add_to_nothing() {
    check_memory(
        "................", //
        |m| m.add(pages(2, 6)),
        "..[===..........",
    );
}

#[test]
fn add_keeps_the_order_of_addresses() {
    check_memory(
        "......[===......", //
        |m| m.add(pages(12, 14)),
        "......[===..[=..",
    );
    check_memory(
        "......[===......", //
        |m| m.add(pages(1, 3)),
        ".[=...[===......",
    );
}

#[test]
fn add_joins_what_touches_or_overlaps() {
    check_memory(
        "......[===......", //
        |m| m.add(pages(10, 12)),
        "......[=====....",
    );
    check_memory(
        "......[===......", //
        |m| m.add(pages(4, 6)),
        "....[=====......",
    );
    check_memory(
        "......[===......", //
        |m| m.add(pages(4, 8)),
        "....[=====......",
    );
    check_memory(
        "..[=..[===..[=..", //
        |m| m.add(pages(1, 15)),
        ".[=============.",
    );
    check_memory(
        "..[=..[===..[=..", //
        |m| m.add(pages(4, 6)),
        "..[=======..[=..",
    );
}

#[test]
fn add_inside_or_empty_changes_nothing() {
    check_memory("..[======.......", |m| m.add(pages(4, 6)), "..[======.......");
    check_memory("..[======.......", |m| m.add(pages(12, 12)), "..[======.......");
    check_memory("..[======.......", |m| m.add(pages(12, 10)), "..[======.......");
}

#[test]
fn add_joins_only_what_agrees_in_node_and_flags() {
    check_memory(
        "......[111......", //
        |m| m.add_node(pages(4, 6), NodeId(0)),
        "....[0[111......",
    );
    check_memory(
        "......[111......", //
        |m| m.add_node(pages(10, 12), NodeId(1)),
        "......[11111....",
    );
    check_memory(
        "......[hhh......", //
        |m| m.add(pages(10, 12)),
        "......[hhh[=....",
    );
}

#[test]
fn an_overlapping_addition_keeps_the_existing_part() {
    check_memory(
        "....[11..[00....", //
        |m| m.add_node(pages(2, 14), NodeId(0)),
        "..[0[11[000000..",
    );
    check_memory(
        "....[11..[00....", //
        |m| m.add_node(pages(2, 14), NodeId(2)),
        "..[2[11[2[00[2..",
    );
}

#[test]
fn remove_cuts() {
    check_memory("..[=======......", |m| m.remove(pages(0, 4)), "....[=====......");
    check_memory("..[=======......", |m| m.remove(pages(8, 12)), "..[=====........");
    check_memory("..[=======......", |m| m.remove(pages(4, 6)), "..[=..[===......");
    check_memory("..[=======......", |m| m.remove(pages(2, 10)), "................");
    check_memory("..[=======......", |m| m.remove(pages(10, 14)), "..[=======......");
    check_memory("..[=..[==..[==..", |m| m.remove(pages(3, 12)), "..[.........[=..");
    check_memory("..[=......[=....", |m| m.remove(pages(5, 8)), "..[=......[=....");
}

#[test]
fn reserve_joins_and_free_cuts() {
    let mut m = memblock("", "..[==...[==.....");
    m.reserve(pages(4, 8)).unwrap();
    assert_eq!(picture_of(m.reserved(), 16), "..[========.....");
    m.free(pages(5, 7)).unwrap();
    assert_eq!(picture_of(m.reserved(), 16), "..[==..[===.....");
}

#[test]
fn set_node_splits_and_joins() {
    check_memory("..[=========....", |m| m.set_node(pages(4, 8), NodeId(1)), "..[=[111[===....");
    check_memory("..[=[111[===....", |m| m.set_node(pages(0, 16), NodeId(1)), "..[111111111....");
}

#[test]
fn flags_split_and_join() {
    check_memory("..[=========....", |m| m.mark_nomap(pages(4, 8)), "..[=[xxx[===....");
    check_memory("..[=========....", |m| m.mark_hotplug(pages(8, 16)), "..[=====[hhh....");
    check_memory("..[=====[hhh....", |m| m.clear_hotplug(AddrRange::ALL), "..[=========....");
}

#[test]
fn cap_keeps_a_window_and_memory_outside_the_linear_map() {
    check_memory("[===..[=====[x.[=", |m| m.cap_memory_range(pages(2, 9)), "..[=..[==...[x...");
    check_memory("[===..[=====[x.[=", |m| m.cap_memory_range(pages(9, 9)), "[===..[=====[x.[=");
    let mut m = memblock("[===============", "[=..[==...[=...");
    m.cap_memory_range(pages(5, 11)).unwrap();
    assert_eq!(picture_of(m.reserved(), 16), ".....[=...[.....");
}

#[test]
fn limit_counts_over_the_regions() {
    check_memory("..[===..[===..[=", |m| m.limit_memory(6 * PAGE_SIZE), "..[===..[=......");
    check_memory("..[===..[===..[=", |m| m.limit_memory(4 * PAGE_SIZE), "..[===..........");
    check_memory("..[===..[===..[=", |m| m.limit_memory(10 * PAGE_SIZE), "..[===..[===..[=");
    check_memory("..[===..[===..[=", |m| m.limit_memory(99 * PAGE_SIZE), "..[===..[===..[=");
    check_memory("..[===..[===..[=", |m| m.limit_memory(0), "..[===..[===..[=");
    // A limit at the end of a region is that end, also for what is reserved outside RAM.
    for (limit, reserved) in [(4, "...[==.........."), (10, "...[===..[======"), (11, "...[===..[======.")] {
        let mut m = memblock("..[===..[===..[=", "...[===..[======.");
        m.limit_memory(limit * PAGE_SIZE).unwrap();
        assert_eq!(picture_of(m.reserved(), reserved.len()), reserved);
    }
}

#[track_caller]
fn check_free(memory: &str, reserved: &str, free: &str) {
    let memblock = memblock(memory, reserved);
    let ranges: Vec<Region> = memblock.free_ranges().collect();
    assert_eq!(picture_of(&ranges, memory.len()), free);
    let mut backwards: Vec<Region> = memblock.free_ranges().rev().collect();
    backwards.reverse();
    assert_eq!(backwards, ranges);
}

#[test]
fn free_is_memory_minus_reserved_region_by_region() {
    check_free(
        "..[=====..[=====", //
        "[==...[====[=...",
        "...[==.......[==",
    );
    check_free(
        "[=====[000[11111", //
        "[=...........[..",
        "..[===[000[11.[1",
    );
    check_free(
        "[==[xxx[==......", //
        "................",
        "[==....[==......",
    );
    check_free("................", "..[=..", "................");
    check_free("..[==...........", "[=======", "................");
}

#[track_caller]
fn check_find(memory: &str, reserved: &str, (size, align): (u64, u64), within: AddrRange, want: Option<usize>) {
    let found = memblock(memory, reserved).find(size * PAGE_SIZE, align * PAGE_SIZE, within, None);
    assert_eq!(found, want.map(page));
}

#[test]
fn find_searches_from_the_top() {
    let (memory, reserved) = ("..[=====..[=====", "............[==.");
    check_find(memory, reserved, (1, 1), AddrRange::ALL, Some(15));
    check_find(memory, reserved, (2, 1), AddrRange::ALL, Some(10));
    check_find(memory, reserved, (3, 1), AddrRange::ALL, Some(5));
    check_find(memory, reserved, (3, 4), AddrRange::ALL, Some(4));
    check_find(memory, reserved, (6, 1), AddrRange::ALL, Some(2));
    check_find(memory, reserved, (6, 4), AddrRange::ALL, None);
    check_find(memory, reserved, (7, 1), AddrRange::ALL, None);
    check_find(memory, reserved, (2, 1), pages(0, 11), Some(6));
    check_find(memory, reserved, (2, 1), pages(7, 11), None);
    check_find(memory, reserved, (0, 1), AddrRange::ALL, None);
}

#[test]
fn find_never_returns_page_zero() {
    check_find("[=======........", "........", (1, 1), pages(0, 1), None);
    check_find("[=......", "........", (2, 1), AddrRange::ALL, None);
    check_find("[=......", "........", (1, 1), AddrRange::ALL, Some(1));
}

#[test]
fn find_does_not_span_two_regions() {
    // The regions touch, but belong to different nodes.
    check_find("[000[111", "........", (4, 1), AddrRange::ALL, Some(4));
    check_find("[000[111", "........", (5, 1), AddrRange::ALL, None);
}

#[test]
fn find_heeds_node_and_unpluggable_memory() {
    let mut m = memblock("[000[111[hhh", "");
    let find = |m: &Memblock, node| m.find(PAGE_SIZE, PAGE_SIZE, AddrRange::ALL, node);
    assert_eq!(find(&m, Some(NodeId(0))), Some(page(3)));
    assert_eq!(find(&m, Some(NodeId(2))), None);
    assert_eq!(find(&m, None), Some(page(11)));
    m.set_movable_node(true);
    assert_eq!(find(&m, None), Some(page(7)));
}

#[test]
fn alloc_reserves_what_it_found() {
    let mut m = memblock("..[=====", "........");
    let got = m.alloc(2 * PAGE_SIZE, PAGE_SIZE, AddrRange::ALL, None).unwrap();
    assert_eq!(got, pages(6, 8));
    assert_eq!(picture_of(m.reserved(), 8), "......[=");
    let error = m.alloc(5 * PAGE_SIZE, PAGE_SIZE, pages(0, 8), None).unwrap_err();
    let text = "memblock: no 0x5000 free bytes aligned to 0x1000 in [mem 0x0000000000000000-0x0000000000007fff]";
    assert_eq!(error.to_string(), text);
}

#[test]
fn questions() {
    let m = memblock("..[===[000..[x..", "...[==..........");
    assert_eq!(m.dram(), pages(2, 14));
    assert_eq!(m.memory_size(), 10 * PAGE_SIZE);
    assert_eq!(m.reserved_size(), 3 * PAGE_SIZE);
    assert!(m.is_memory(pages(2, 6)) && m.is_memory(pages(12, 13)));
    assert!(!m.is_memory(pages(5, 7)) && !m.is_memory(pages(1, 3)) && !m.is_memory(pages(14, 15)));
    assert!(m.is_reserved(pages(0, 4)) && m.is_reserved(pages(5, 9)));
    assert!(!m.is_reserved(pages(0, 3)) && !m.is_reserved(pages(6, 9)));
    assert!(Memblock::new().dram().is_empty());
}

#[test]
fn page_ranges_are_whole_pages() {
    let mut m = Memblock::new();
    m.add(AddrRange::new(PhysAddr(0x1800), PhysAddr(0x4800))).unwrap();
    m.add(AddrRange::new(PhysAddr(0x6100), PhysAddr(0x6f00))).unwrap();
    let pages: Vec<_> = m.page_ranges().map(|(pages, _)| (pages.start.0, pages.end.0)).collect();
    assert_eq!(pages, [(2, 4)]);
}

#[test]
fn iomem_shows_memory_and_what_is_taken_of_it() {
    let mut m = memblock("..[=====[x..[===", "................");
    for (start, end) in [(0x0, 0x2800), (0x3100, 0x3200), (0x3f00, 0x5000), (0xb000, 0x10_0000)] {
        m.reserve(AddrRange::new(PhysAddr(start), PhysAddr(end))).unwrap();
    }
    let line = |r: Resource| format!("{}{} {}", " ".repeat(r.level as usize), r.range, r.name);
    let lines: Vec<String> = m.resources().map(line).collect();
    let want = [
        "[mem 0x0000000000002000-0x0000000000007fff] System RAM",
        " [mem 0x0000000000002000-0x0000000000002fff] reserved",
        " [mem 0x0000000000003000-0x0000000000003fff] reserved",
        " [mem 0x0000000000004000-0x0000000000004fff] reserved",
        "[mem 0x0000000000008000-0x0000000000009fff] reserved",
        "[mem 0x000000000000c000-0x000000000000ffff] System RAM",
        " [mem 0x000000000000c000-0x000000000000ffff] reserved",
    ];
    assert_eq!(lines, want);
}

#[test]
fn sizes_stop_at_the_end_of_the_address_space() {
    let mut m = Memblock::new();
    m.add(AddrRange::sized(PhysAddr(u64::MAX - 0xfff), u64::MAX)).unwrap();
    assert_eq!(m.dram(), AddrRange::new(PhysAddr(u64::MAX - 0xfff), PhysAddr(u64::MAX)));
    m.remove(AddrRange::ALL).unwrap();
    assert!(m.memory().is_empty());
}

#[test]
fn a_full_list_refuses_and_stays_as_it_was() {
    let mut m = Memblock::new();
    for i in 0..MAX_REGIONS {
        m.reserve(pages(4 * i, 4 * i + 2)).unwrap();
    }
    let before = m.clone();
    let another = m.reserve(pages(1000, 1001)).unwrap_err();
    let text =
        "memblock: [mem 0x00000000003e8000-0x00000000003e8fff] does not fit into the list of 128 reserved regions";
    assert_eq!(another.to_string(), text);
    assert_eq!(m.free(pages(4, 5)), Err(ListFull(ListName::Reserved, pages(4, 5))));
    assert_eq!(m.reserve(pages(0, 1001)), Err(ListFull(ListName::Reserved, pages(0, 1001))));
    assert_eq!(m.reserved(), before.reserved());
    m.free(pages(4, 6)).unwrap();
    m.reserve(pages(1000, 1001)).unwrap();
}
