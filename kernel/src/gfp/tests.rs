//! Spec part 1, section 1, table by table.

use super::*;
use crate::mmzone::Profile;

fn gfp(bits: u32) -> Gfp {
    Gfp::from_bits_retain(bits)
}

/// Parses and prints the mask, its notes and errors, each on a line.
fn parsed(text: &str) -> String {
    match Gfp::parse(text) {
        Ok(parsed) => {
            let notes: String = parsed.notes().map(|note| format!("\n{note}")).collect();
            format!("{}{notes}", parsed.mask.mode())
        }
        Err(error) => format!("{}: {error}", error.at()),
    }
}

#[test]
fn bits_have_the_values_of_v5_0() {
    let bits = "DMA HIGHMEM DMA32 MOVABLE RECLAIMABLE HIGH IO FS WRITE NOWARN RETRY_MAYFAIL NOFAIL NORETRY MEMALLOC \
                COMP ZERO NOMEMALLOC HARDWALL THISNODE ATOMIC ACCOUNT DIRECT_RECLAIM KSWAPD_RECLAIM";
    for (bit, name) in bits.split_whitespace().enumerate() {
        let mask = Gfp::parse(&format!("__GFP_{name}")).unwrap().mask;
        assert_eq!(mask.bits(), 1 << bit, "{name}");
    }
    assert_eq!(Gfp::__GFP_RECLAIM.bits(), 0x60_0000);
}

#[test]
fn composites_have_the_values_of_v5_0_and_print_as_themselves() {
    let table = [
        ("GFP_ATOMIC", 0x48_0020),
        ("GFP_KERNEL", 0x60_00c0),
        ("GFP_KERNEL_ACCOUNT", 0x70_00c0),
        ("GFP_NOWAIT", 0x40_0000),
        ("GFP_NOIO", 0x60_0000),
        ("GFP_NOFS", 0x60_0040),
        ("GFP_USER", 0x62_00c0),
        ("GFP_DMA", 0x1),
        ("GFP_DMA32", 0x4),
        ("GFP_HIGHUSER", 0x62_00c2),
        ("GFP_HIGHUSER_MOVABLE", 0x62_00ca),
        ("GFP_TRANSHUGE_LIGHT", 0x3_42ca),
        ("GFP_TRANSHUGE", 0x23_42ca),
    ];
    for (name, value) in table {
        assert_eq!(Gfp::parse(name).unwrap().mask, gfp(value), "{name}");
        assert_eq!(gfp(value).to_string(), name);
    }
}

#[test]
fn internal_masks() {
    assert_eq!(Gfp::BITS_MASK.bits(), 0x7f_ffff);
    assert_eq!(Gfp::RECLAIM_MASK.bits(), 0x69_3ee0);
    assert_eq!(Gfp::CONSTRAINT_MASK.bits(), 0x6_0000);
    assert_eq!(Gfp::BOOT_MASK.bits(), 0x1f_ff3f);
    assert_eq!(Gfp::SLAB_BUG_MASK.bits(), 0xff80_0006);
    assert_eq!((Gfp::ZONE_MASK.bits(), Gfp::MOVABLE_MASK.bits()), (0xf, 0x18));
}

#[test]
fn masks_print_as_in_linux_and_parse_back() {
    let table = [
        (0x60_80c0, "GFP_KERNEL|__GFP_ZERO"),
        (0x48_4020, "GFP_ATOMIC|__GFP_COMP"),
        (0x60_12c0, "GFP_KERNEL|__GFP_NOWARN|__GFP_NORETRY"),
        (0x60_20c0, "GFP_KERNEL|__GFP_MEMALLOC"),
        (0x68_0020, "GFP_ATOMIC|__GFP_DIRECT_RECLAIM"),
        (0x62_00c4, "GFP_USER|GFP_DMA32"),
        (0x60_00e0, "GFP_KERNEL|__GFP_HIGH"),
        (0x68_00c0, "GFP_KERNEL|__GFP_ATOMIC"),
        (0x60_0080, "GFP_NOIO|__GFP_FS"),
        (0x60_00d0, "GFP_KERNEL|__GFP_RECLAIMABLE"),
        (0x62_00c8, "GFP_USER|__GFP_MOVABLE"),
        (0x60_0048, "GFP_NOFS|__GFP_MOVABLE"),
        (0x4_1200, "__GFP_NOWARN|__GFP_NORETRY|__GFP_THISNODE"),
        (0x20_00c0, "__GFP_IO|__GFP_FS|__GFP_DIRECT_RECLAIM"),
        (0x66_00ca, "GFP_HIGHUSER_MOVABLE|__GFP_THISNODE"),
        (0x61_0000, "GFP_NOIO|__GFP_NOMEMALLOC"),
        (0xe0_00c0, "GFP_KERNEL|0x800000"),
        (0x20, "__GFP_HIGH"),
        (0x23_52ca, "GFP_TRANSHUGE|__GFP_NORETRY"),
    ];
    assert_eq!(table.len(), 19);
    for (value, text) in table {
        assert_eq!(gfp(value).to_string(), text);
        assert_eq!(Gfp::parse(text).unwrap().mask, gfp(value));
    }
}

#[test]
fn zero_prints_differently_in_reports_and_traces() {
    assert_eq!(gfp(0).mode().to_string(), "0x0()");
    assert_eq!(TraceNames(gfp(0)).to_string(), "none");
    assert_eq!(TraceNames(gfp(0x40_0000)).to_string(), "GFP_NOWAIT");
    assert_eq!(format!("{:?}", Gfp::GFP_KERNEL), "0x6000c0(GFP_KERNEL)");
}

#[test]
fn every_mask_of_one_or_two_bits_parses_back() {
    for one in 0..32 {
        for other in (one..32).step_by(if cfg!(miri) { 8 } else { 1 }) {
            let mask = gfp(1 << one | 1 << other);
            assert_eq!(Gfp::parse(&mask.to_string()).unwrap().mask, mask);
        }
    }
}

#[test]
fn names_are_unique_and_documented() {
    assert_eq!(NAMES.iter().filter(|row| row.kind == NameKind::Printed).count(), 35);
    for (index, row) in NAMES.iter().enumerate() {
        assert!(NAMES[..index].iter().all(|other| other.name != row.name), "{}", row.name);
        assert!(!row.about.is_empty());
        let known = Gfp::parse(&row.name.to_lowercase()).unwrap();
        assert_eq!(known.notes().count(), usize::from(row.is_old()), "{}", row.name);
    }
}

#[test]
fn old_names_mean_what_became_of_them() {
    let table = [
        ("__GFP_WAIT", 0x60_0000),
        ("__GFP_REPEAT", 0x400),
        ("__GFP_COLD", 0),
        ("GFP_KERNEL|__GFP_NO_KSWAPD", 0x20_00c0),
        ("__GFP_NO_KSWAPD|GFP_KERNEL", 0x20_00c0),
        ("__GFP_NOTRACK", 0),
        ("__GFP_OTHER_NODE", 0),
        ("__GFP_KMEMCG", 0x10_0000),
        ("GFP_TEMPORARY", 0x60_00d0),
        ("GFP_NOFS_PAGECACHE", 0x60_0048),
        ("GFP_USER_PAGECACHE", 0x62_00c8),
        ("GFP_HIGHUSER_PAGECACHE", 0x62_00ca),
        ("GFP_THISNODE", 0x4_1200),
        ("GFP_IOFS", 0xc0),
    ];
    for (text, value) in table {
        let known = Gfp::parse(text).unwrap();
        assert_eq!((known.mask, known.notes().count()), (gfp(value), 1), "{text}");
    }
    assert_eq!(parsed("kernel|cold|COLD"), "0x6000c0(GFP_KERNEL)\nnote: __GFP_COLD ignored (removed in 4.15)");
}

#[test]
fn numbers_of_2_6_translate() {
    let table = [
        (0xd0, Gfp::GFP_KERNEL),
        (0x10, Gfp::GFP_NOIO),
        (0x50, Gfp::GFP_NOFS),
        (0x2_00d0, Gfp::GFP_USER),
        (0x2_00d2, Gfp::GFP_HIGHUSER),
        (0x12_00d2, Gfp::GFP_HIGHUSER_MOVABLE),
        (0x10_0050, gfp(0x60_0048)),
        (0x12_00d0, gfp(0x62_00c8)),
        (0x8_00d0, gfp(0x60_00d0)),
        (0x20, Gfp::GFP_ATOMIC),
        (0x0, Gfp::GFP_NOWAIT),
    ];
    for (old, mask) in table {
        assert_eq!(Gfp::parse(&format!("gfp26:{old:#x}")).unwrap().mask, mask, "{old:#x}");
    }
    assert_eq!(
        parsed("GFP26:0x1d0|zero"),
        "0x6080c0(GFP_KERNEL|__GFP_ZERO)\n\
         note: 2.6's 0x1d0 is 0x6000c0(GFP_KERNEL)\n\
         note: __GFP_COLD ignored (removed in 4.15)"
    );
    assert_eq!(parsed("0|gfp26:0x2008"), "2: Linux 2.6 had no GFP bits 0x2008");
}

#[test]
fn the_grammar() {
    assert_eq!(parsed("gfp_kernel"), "0x6000c0(GFP_KERNEL)");
    assert_eq!(parsed("Kernel | zero"), "0x6080c0(GFP_KERNEL|__GFP_ZERO)");
    assert_eq!(parsed("GFP_KERNEL&~__GFP_FS"), "0x600040(GFP_NOFS)");
    assert_eq!(parsed("kernel-fs-IO|0x20|4"), "0x600024(GFP_NOIO|GFP_DMA32|__GFP_HIGH)");
    assert_eq!(parsed("kernel-no_kswapd|no_kswapd-no_kswapd").lines().next(), Some("0x6000c0(GFP_KERNEL)"));
    assert_eq!(parsed("dma|thisnode"), "0x40001(GFP_DMA|__GFP_THISNODE)");
    assert_eq!(parsed("4294967295").split('(').next(), Some("0xffffffff"));
}

#[test]
fn errors_name_the_word_and_the_place() {
    assert_eq!(parsed(""), "0: expected a GFP name or a number at column 1");
    assert_eq!(parsed("kernel|"), "7: expected a GFP name or a number at column 8");
    assert_eq!(parsed("-fs"), "0: expected a GFP name or a number at column 1");
    assert_eq!(parsed("kernel|zreo"), "7: no GFP flag is called zreo");
    assert_eq!(parsed("atomic"), "0: atomic may be GFP_ATOMIC or __GFP_ATOMIC: give its prefix");
    assert_eq!(parsed("0x100000000"), "0: 0x100000000 is not a number of 32 bits");
    assert_eq!(parsed("12k"), "0: 12k is not a number of 32 bits");
    assert_eq!(parsed("0x+1"), "0: 0x is not a number of 32 bits");
    assert_eq!(parsed("gfp26:"), "0: gfp26: is not a number of 32 bits");
    assert_eq!(parsed("kernel & fs"), "7: expected |, &~ or - at column 8, not &");
    assert_eq!(parsed("kernel fs"), "7: expected |, &~ or - at column 8, not f");
    assert_eq!(parsed("kernel\u{e9}"), "6: expected |, &~ or - at column 7, not \\u{e9}");
}

/// Linux's packing of the same table, `width` bits an entry.
fn packed(profile: Profile, width: u32) -> u64 {
    let table = ZoneTable::new(profile.zones(false));
    (0..16).map(|selector| (table.zone(gfp(selector)) as u64) << (selector * width)).sum()
}

#[test]
fn zone_tables_are_those_of_linux() {
    assert_eq!(packed(Profile::Arm64V50, 2), 0x25_0015);
    assert_eq!(packed(Profile::Arm64V55, 2), 0x132_0122);
    assert_eq!(packed(Profile::X86_32, 2), 0x131_0121);
    assert_eq!(packed(Profile::Full, 3), 0x11_0200_10c2);
}

#[test]
fn zone_selection_by_name() {
    use ZoneType::{Dma, Dma32, HighMem, Movable, Normal};
    let table = [
        (Profile::Arm64V50, [Normal, Normal, Normal, Dma32, Normal, Normal, Movable, Dma32]),
        (Profile::Arm64V55, [Normal, Dma, Normal, Dma32, Normal, Dma, Movable, Dma32]),
        (Profile::X86_32, [Normal, Dma, HighMem, Normal, Normal, Dma, Movable, Normal]),
        (Profile::Full, [Normal, Dma, HighMem, Dma32, Normal, Dma, Movable, Dma32]),
    ];
    for (profile, expected) in table {
        let zones = profile.zones(false);
        let good = [0x0, 0x1, 0x2, 0x4, 0x8, 0x9, 0xa, 0xc];
        for (selector, zone) in good.into_iter().zip(expected) {
            assert_eq!(zones[ZoneTable::new(zones).zone(gfp(selector))], zone, "{profile:?} {selector:#x}");
            assert!(!gfp(selector).has_bad_zone());
        }
        for selector in [0x3, 0x5, 0x6, 0x7, 0xb, 0xd, 0xe, 0xf] {
            assert_eq!(ZoneTable::new(zones).zone(gfp(selector)), 0);
            assert!(gfp(selector).has_bad_zone());
        }
    }
    let with_highmem = Profile::Arm64V50.zones(true);
    assert_eq!(with_highmem[ZoneTable::new(with_highmem).zone(Gfp::GFP_HIGHUSER)], HighMem);
}

#[test]
fn migratetypes() {
    assert_eq!(Gfp::GFP_KERNEL.migratetype(), Some(MigrateType::Unmovable));
    assert_eq!(Gfp::GFP_HIGHUSER_MOVABLE.migratetype(), Some(MigrateType::Movable));
    assert_eq!(gfp(0x60_00d0).migratetype(), Some(MigrateType::Reclaimable));
    assert_eq!(gfp(0x18).migratetype(), None);
}

#[test]
fn suspicious_masks_are_told() {
    let check = |text: &str, expected: &[&str]| {
        let warnings: Vec<String> = Gfp::parse(text).unwrap().mask.warnings().map(|w| w.to_string()).collect();
        assert_eq!(warnings, expected, "{text}");
    };
    check("GFP_KERNEL", &[]);
    check("GFP_ATOMIC", &[]);
    check("dma|dma32", &["BUG: bad gfp zone bits 0x5"]);
    check("kernel|movable|reclaimable", &["WARN: gfp MOVABLE|RECLAIMABLE"]);
    check(
        "GFP_ATOMIC|direct_reclaim",
        &["WARN: __GFP_ATOMIC with __GFP_DIRECT_RECLAIM: the slow path clears __GFP_ATOMIC"],
    );
    check("nowait|nofail", &["WARN: __GFP_NOFAIL without __GFP_DIRECT_RECLAIM: fails all the same"]);
    check("kernel|nofail|noretry", &["note: __GFP_NOFAIL with __GFP_NORETRY: never fails and never kills"]);
    check("memalloc|nomemalloc", &["note: __GFP_NOMEMALLOC wins over __GFP_MEMALLOC"]);
    check("0x1800000", &["note: v5.0 has no bits 0x1800000; they are dropped"]);
}
