//! What Linux itself computed: watermarks, protection and per-CPU limits after writes to /proc/sys/vm.
//!
//! Measured on Linux 5.10 on arm64, whose rules are those of v5.0 here. A line is `min_free_kbytes
//! watermark_scale_factor lowmem_reserve_ratio: zone min/low/high (protection) high/batch, ...`.

use super::{HostEnv, HostMachine, MIB, Memory, write};
use crate::mm::zone::Zone;
use crate::mmzone::Watermark;

/// 256 MiB, of which 59,771 pages are managed.
const LINUX_256M: &str = "\
1946 10 256,32,0: DMA32 486/607/728 (0,0,0) 90/15
1946 10 0,0,0: DMA32 486/607/728 (0,0,0) 90/15
1946 10 1,1,1: DMA32 486/607/728 (0,0,0) 90/15
1946 10 1000,1000,1000: DMA32 486/607/728 (0,0,0) 90/15
1946 10 256,256,256: DMA32 486/607/728 (0,0,0) 90/15
1946 10 32,32,32: DMA32 486/607/728 (0,0,0) 90/15
1946 10 8,8,8: DMA32 486/607/728 (0,0,0) 90/15
1024 10 256,32,0: DMA32 256/320/384 (0,0,0) 90/15
128 10 256,32,0: DMA32 32/91/150 (0,0,0) 90/15
16384 10 256,32,0: DMA32 4096/5120/6144 (0,0,0) 90/15
4096 10 256,32,0: DMA32 1024/1280/1536 (0,0,0) 90/15
65536 10 256,32,0: DMA32 16384/20480/24576 (0,0,0) 90/15
1946 1 256,32,0: DMA32 486/607/728 (0,0,0) 90/15
1946 100 256,32,0: DMA32 486/1083/1680 (0,0,0) 90/15
1946 1000 256,32,0: DMA32 486/6463/12440 (0,0,0) 90/15
1946 50 256,32,0: DMA32 486/784/1082 (0,0,0) 90/15
";

/// 512 MiB, of which 125,211 pages are managed.
const LINUX_512M: &str = "\
2824 10 256,32,0: DMA32 706/882/1058 (0,0,0) 186/31
2824 10 0,0,0: DMA32 706/882/1058 (0,0,0) 186/31
2824 10 1,1,1: DMA32 706/882/1058 (0,0,0) 186/31
2824 10 1000,1000,1000: DMA32 706/882/1058 (0,0,0) 186/31
2824 10 256,256,256: DMA32 706/882/1058 (0,0,0) 186/31
2824 10 32,32,32: DMA32 706/882/1058 (0,0,0) 186/31
2824 10 8,8,8: DMA32 706/882/1058 (0,0,0) 186/31
1024 10 256,32,0: DMA32 256/381/506 (0,0,0) 186/31
128 10 256,32,0: DMA32 32/157/282 (0,0,0) 186/31
16384 10 256,32,0: DMA32 4096/5120/6144 (0,0,0) 186/31
4096 10 256,32,0: DMA32 1024/1280/1536 (0,0,0) 186/31
65536 10 256,32,0: DMA32 16384/20480/24576 (0,0,0) 186/31
2824 1 256,32,0: DMA32 706/882/1058 (0,0,0) 186/31
2824 100 256,32,0: DMA32 706/1958/3210 (0,0,0) 186/31
2824 1000 256,32,0: DMA32 706/13227/25748 (0,0,0) 186/31
2824 50 256,32,0: DMA32 706/1332/1958 (0,0,0) 186/31
";

/// 4 GiB, of which 768,530 and 244,073 pages are managed.
const LINUX_4G: &str = "\
90112 10 256,32,0: DMA32 17097/21371/25645 (0,953,953) 378/63, Normal 5430/6787/8144 (0,0,0) 378/63
90112 10 0,0,0: DMA32 17097/21371/25645 (0,0,0) 378/63, Normal 5430/6787/8144 (0,0,0) 378/63
90112 10 1,1,1: DMA32 17097/21371/25645 (0,244073,244073) 378/63, Normal 5430/6787/8144 (0,0,0) 378/63
90112 10 1000,1000,1000: DMA32 17097/21371/25645 (0,244,244) 378/63, Normal 5430/6787/8144 (0,0,0) 378/63
90112 10 256,256,256: DMA32 17097/21371/25645 (0,953,953) 378/63, Normal 5430/6787/8144 (0,0,0) 378/63
90112 10 32,32,32: DMA32 17097/21371/25645 (0,7627,7627) 378/63, Normal 5430/6787/8144 (0,0,0) 378/63
90112 10 8,8,8: DMA32 17097/21371/25645 (0,30509,30509) 378/63, Normal 5430/6787/8144 (0,0,0) 378/63
1024 10 256,32,0: DMA32 194/962/1730 (0,953,953) 378/63, Normal 61/305/549 (0,0,0) 378/63
128 10 256,32,0: DMA32 24/792/1560 (0,953,953) 378/63, Normal 7/251/495 (0,0,0) 378/63
16384 10 256,32,0: DMA32 3108/3885/4662 (0,953,953) 378/63, Normal 987/1233/1479 (0,0,0) 378/63
4096 10 256,32,0: DMA32 777/1545/2313 (0,953,953) 378/63, Normal 246/490/734 (0,0,0) 378/63
65536 10 256,32,0: DMA32 12434/15542/18650 (0,953,953) 378/63, Normal 3949/4936/5923 (0,0,0) 378/63
90112 1 256,32,0: DMA32 17097/21371/25645 (0,953,953) 378/63, Normal 5430/6787/8144 (0,0,0) 378/63
90112 100 256,32,0: DMA32 17097/24782/32467 (0,953,953) 378/63, Normal 5430/7870/10310 (0,0,0) 378/63
90112 1000 256,32,0: DMA32 17097/93950/170803 (0,953,953) 378/63, Normal 5430/29837/54244 (0,0,0) 378/63
90112 50 256,32,0: DMA32 17097/21371/25645 (0,953,953) 378/63, Normal 5430/6787/8144 (0,0,0) 378/63
";

fn zone(zone: &Zone) -> String {
    let [min, low, high] = [Watermark::Min, Watermark::Low, Watermark::High].map(|mark| zone.watermark(mark));
    let protection = [0, 1, 2].map(|index| zone.lowmem_reserve(index).to_string()).join(",");
    let limits = zone.pcp_limits();
    format!("{} {min}/{low}/{high} ({protection}) {}/{}", zone.zone_type, limits.high, limits.batch)
}

/// Writes the settings of a line; prints the line with what they led to.
fn carry_out(memory: &Memory<'_, HostEnv<'_>>, line: &str) -> String {
    let settings = line.split(':').next().unwrap_or_default();
    let [min_free, scale, ratios] = settings.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
    assert_eq!(write(memory, "min_free_kbytes", min_free), "");
    assert_eq!(write(memory, "watermark_scale_factor", scale), "");
    assert_eq!(write(memory, "lowmem_reserve_ratio", &ratios.replace(',', "\t")), "");
    let zones: Vec<String> = memory.populated_zones().map(zone).collect();
    format!("{settings}: {}", zones.join(", "))
}

/// A machine of `mib` MiB with `reserved` (start, pages) in use, against what Linux computed.
fn check(mib: u64, reserved: &[(u64, u64)], linux: &str) {
    let reserved: Vec<(u64, u64)> = reserved.iter().map(|&(start, pages)| (start, pages * 4096)).collect();
    let machine = HostMachine::new("", &[(0x4000_0000, mib * MIB, 0)], &reserved);
    let memory = machine.memory();
    for line in linux.lines() {
        assert_eq!(carry_out(&memory, line), line);
    }
}

#[test]
fn writes_lead_to_what_linux_computed() {
    check(256, &[(0x4000_0000, 65536 - 59771)], LINUX_256M);
    check(512, &[(0x4000_0000, 131_072 - 125_211)], LINUX_512M);
    check(4096, &[(0x4000_0000, 786_432 - 768_530), (0x1_0000_0000, 262_144 - 244_073)], LINUX_4G);
}
