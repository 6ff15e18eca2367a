//! Watermarks and reserves of machines whose managed pages are given: the worked examples of the specification.

use crate::sync::atomic::Ordering::Relaxed;
use std::fmt::Write;

use crate::addr::PfnRange;
use crate::mm::memory::{Env, Memory};
use crate::mm::page::Pages;
use crate::mm::pageblock::Pageblocks;
use crate::mm::reserves;
use crate::mm::testing::{HostEnv, Lab, board_16m, board_64m, logged};
use crate::mm::zone::Zone;
use crate::mmzone::{NodeId, Profile, Watermark};
use crate::proc::sysctl;
use crate::quirks::Quirks;
use crate::task::Current;

/// A machine without pages: its zones only say how many they manage.
fn machine(profile: Profile, managed: &[u64], quirks: Quirks) -> Memory<'static, HostEnv<'static>> {
    let pages = Pages::new(&[], PfnRange::default());
    let mut memory = Memory::new(HostEnv::default(), pages, Pageblocks::new(&[]), profile.zones(false), quirks);
    memory.nodes[0].online = true;
    for (zone, managed) in memory.zones.iter_mut().zip(managed) {
        zone.present = *managed;
        zone.managed.store(*managed, Relaxed);
    }
    reserves::setup_per_cpu_pagesets(&memory);
    reserves::init_per_zone_wmark_min(&memory);
    memory
}

fn set(memory: &Memory<'_, HostEnv<'_>>, name: &str, value: &str) {
    sysctl::find(name).unwrap().write(memory, &Current::new(memory.env.tasks().init()), value).unwrap();
}

fn marks(zone: &Zone) -> [u64; 3] {
    [Watermark::Min, Watermark::Low, Watermark::High].map(|mark| zone.watermark(mark))
}

/// `min_free_kbytes totalreserve`, then for each populated zone its watermarks, its protection, and high/batch.
fn describe(memory: &Memory<'_, HostEnv<'_>>) -> String {
    let mut text = format!("{} {}\n", memory.sysctl.min_free_kbytes.load(Relaxed), memory.totalreserve());
    for zone in memory.populated_zones() {
        let [min, low, high] = marks(zone);
        let protection: Vec<u64> = (0..memory.zone_types().len()).map(|index| zone.lowmem_reserve(index)).collect();
        let pcp = zone.pcp_limits();
        let limits = format!("{}/{}", pcp.batch, pcp.high);
        writeln!(text, "{} {min}/{low}/{high} {protection:?} {limits}", zone.zone_type).unwrap();
    }
    text
}

fn check(profile: Profile, managed: &[u64], settings: &[(&str, &str)], expected: &str) {
    let memory = machine(profile, managed, Quirks::default());
    settings.iter().for_each(|(name, value)| set(&memory, name, value));
    assert_eq!(describe(&memory), expected);
    let sum: u64 = memory.online_nodes().map(|node| node.totalreserve()).sum();
    assert_eq!(sum, memory.totalreserve());
}

const A: [u64; 3] = [250_000, 0, 0];

#[test]
fn case_a_one_zone_of_1_gib() {
    check(Profile::Arm64V50, &A, &[], "4000 1500\nDMA32 1000/1250/1500 [0, 0, 0] 63/378\n");
}

#[test]
fn case_b_4_gib() {
    let expected = "8111 5089\nDMA32 1518/2288/3058 [0, 1007, 1007] 63/378\nNormal 508/766/1024 [0, 0, 0] 63/378\n";
    check(Profile::Arm64V50, &[770_000, 258_000, 0], &[], expected);
}

#[test]
fn case_b2_4_gib_with_movable() {
    let expected = "7581 9018\nDMA32 1419/2189/2959 [0, 500, 1007] 63/378\n\
                    Normal 235/363/491 [0, 0, 4062] 31/186\nMovable 239/369/499 [0, 0, 0] 31/186\n";
    check(Profile::Arm64V50, &[770_000, 128_000, 130_000], &[], expected);
}

#[test]
fn case_c_8_gib_in_three_zones() {
    let expected = "11398 17961\nDMA 336/576/816 [0, 2929, 6992, 6992] 63/378\n\
                    DMA32 1052/1802/2552 [0, 0, 4062, 4062] 63/378\n\
                    Normal 1459/2499/3539 [0, 0, 0, 0] 63/378\n";
    check(Profile::Arm64V55, &[240_000, 750_000, 1_040_000, 0], &[], expected);
}

#[test]
fn case_d_highmem() {
    let expected = "3769 3514\nDMA 16/20/24 [0, 851, 979, 979] 1/0\n\
                    Normal 925/1156/1387 [0, 0, 1024, 1024] 63/378\nHighMem 32/66/100 [0, 0, 0, 0] 7/42\n";
    check(Profile::X86_32, &[3976, 218_000, 32_768, 0], &[], expected);
}

#[test]
fn cases_e_and_f_small_machines() {
    check(Profile::Arm64V50, &[15_000, 0, 0], &[], "979 366\nDMA32 244/305/366 [0, 0, 0] 3/18\n");
    check(Profile::Arm64V50, &[62_000, 0, 0], &[], "1991 745\nDMA32 497/621/745 [0, 0, 0] 15/90\n");
}

#[test]
fn case_a_with_settings() {
    let scale = [("watermark_scale_factor", "200")];
    check(Profile::Arm64V50, &A, &scale, "4000 11000\nDMA32 1000/6000/11000 [0, 0, 0] 63/378\n");
    let min_free = [("min_free_kbytes", "16384")];
    check(Profile::Arm64V50, &A, &min_free, "16384 6144\nDMA32 4096/5120/6144 [0, 0, 0] 63/378\n");
    let fraction = [("percpu_pagelist_fraction", "1000")];
    check(Profile::Arm64V50, &A, &fraction, "4000 1500\nDMA32 1000/1250/1500 [0, 0, 0] 62/250\n");
}

#[test]
fn the_default_stays_within_128_kib_and_64_mib() {
    check(Profile::Arm64V50, &[200, 0, 0], &[], "128 48\nDMA32 32/40/48 [0, 0, 0] 1/0\n");
    let large = machine(Profile::Arm64V50, &[1 << 30, 0, 0], Quirks::default());
    assert_eq!(large.sysctl.min_free_kbytes.load(Relaxed), 65536);
}

#[test]
fn a_reserve_is_no_larger_than_its_zone() {
    // DMA keeps 3125 pages from the others but has only 1000.
    let expected = "7159 4386\nDMA 2/3/4 [0, 3125, 3125, 3125] 1/0\nNormal 1786/2586/3386 [0, 0, 0, 0] 63/378\n";
    check(Profile::X86_32, &[1000, 800_000, 0, 0], &[], expected);
}

#[test]
fn highmem_counts_for_the_gap_but_not_for_min() {
    let mut memory = machine(Profile::X86_32, &[3976, 218_000, 32_768, 200_000], Quirks::default());
    memory.zones[3].is_highmem = true;
    reserves::setup_per_zone_wmarks(&memory);
    // Its share of 942 pages is 848: the gap is a quarter of that, Min is clamped to 128.
    assert_eq!(marks(&memory.zones[3]), [128, 340, 552]);
}

#[test]
fn writing_min_free_leaves_the_lowmem_reserve_alone() {
    let memory = machine(Profile::Arm64V50, &[770_000, 258_000, 0], Quirks::default());
    memory.sysctl.lowmem_reserve_ratio[0].store(1, Relaxed);
    set(&memory, "min_free_kbytes", "8111");
    assert_eq!(memory.zones[0].lowmem_reserve(1), 1007);
    set(&memory, "lowmem_reserve_ratio", "129");
    assert_eq!(memory.zones[0].lowmem_reserve(1), 2000);
    assert_eq!(memory.totalreserve(), 3058 + 2000 + 1024);
}

#[test]
fn a_larger_value_of_the_user_wins_over_the_default() {
    let memory = machine(Profile::Arm64V50, &A, Quirks::default());
    set(&memory, "min_free_kbytes", "5000");
    let log = logged(|| reserves::init_per_zone_wmark_min(&memory));
    assert_eq!(log, "min_free_kbytes is not updated to 3984 because user defined value 5000 is preferred\n");
    assert_eq!(marks(&memory.zones[0]), [1250, 1562, 1874]);
    set(&memory, "min_free_kbytes", "3000");
    assert_eq!(logged(|| reserves::init_per_zone_wmark_min(&memory)), "");
    assert!(memory.sysctl.min_free_kbytes.load(Relaxed) > 3000);
}

#[test]
fn a_stale_boost_inflates_low_and_high_until_the_next_write() {
    let memory = machine(Profile::Arm64V50, &A, Quirks::default());
    let zone = &memory.zones[0];
    zone.set_boost(2250);
    assert_eq!(marks(zone), [3250, 3500, 3750]);
    set(&memory, "watermark_boost_factor", "0");
    assert_eq!(zone.boost(), 2250);
    set(&memory, "min_free_kbytes", "4000");
    assert_eq!((marks(zone), zone.boost()), ([1000, 3500, 3750], 0));
    set(&memory, "min_free_kbytes", "4000");
    assert_eq!(marks(zone), [1000, 1250, 1500]);

    let mut early = Quirks::default();
    early.set("boost_reset", "early").unwrap();
    let memory = machine(Profile::Arm64V50, &A, early);
    memory.zones[0].set_boost(2250);
    set(&memory, "watermark_scale_factor", "10");
    assert_eq!(marks(&memory.zones[0]), [1000, 1250, 1500]);
}

#[test]
fn transparent_huge_pages_recommend_more() {
    let check = |managed: &[u64], user: Option<&str>, expected: (u64, u64), said: &str| {
        let memory = machine(Profile::Arm64V50, managed, Quirks::default());
        user.into_iter().for_each(|value| set(&memory, "min_free_kbytes", value));
        assert_eq!(logged(|| reserves::set_recommended_min_free_kbytes(&memory)), said);
        let min = memory.zones().map(|zone| zone.watermark(Watermark::Min)).sum();
        assert_eq!((memory.sysctl.min_free_kbytes.load(Relaxed), min), expected);
    };
    check(&A, None, (22528, 5632), "");
    check(&[770_000, 258_000, 0], None, (45056, 11263), "");
    check(&[15_000, 0, 0], None, (2924, 731), "");
    check(&A, Some("30000"), (30000, 7500), "");
    let raised = "raising min_free_kbytes from 1000 to 22528 to help transparent hugepage allocations\n";
    check(&A, Some("1000"), (22528, 5632), raised);
}

#[test]
fn transparent_huge_pages_are_a_quirk_of_the_boot() {
    let min_free = |args| board_64m(args).memory().sysctl.min_free_kbytes.load(Relaxed);
    assert_eq!((min_free(""), min_free("quirk.thp_min_free=on")), (1019, (16253 - 380) / 20 * 4));
}

#[test]
fn nodes_are_reclaimed_from_by_ratio() {
    let memory = machine(Profile::Arm64V50, &[770_000, 258_000, 0], Quirks::default());
    let pages = || (reserves::min_unmapped_pages(&memory, NodeId(0)), reserves::min_slab_pages(&memory, NodeId(0)));
    assert_eq!(pages(), (7700 + 2580, 38_500 + 12_900));
    set(&memory, "min_unmapped_ratio", "100");
    set(&memory, "min_slab_ratio", "0");
    assert_eq!(pages(), (1_028_000, 0));
}

#[test]
fn nothing_is_reserved_before_the_late_initialisation() {
    let machine = board_16m("");
    let memory = machine.memory_at_boot();
    assert_eq!(describe(&memory), "1024 0\nDMA32 0/0/0 [0, 0, 0] 1/0\n");
    assert_eq!(describe(&Lab::new(&machine).memory), "503 187\nDMA32 125/156/187 [0, 0, 0] 1/0\n");
}
