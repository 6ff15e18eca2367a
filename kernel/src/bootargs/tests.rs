//! Tests of the boot arguments: a line in, fields and warnings out.

use super::*;
use crate::quirks::Quirk;

#[track_caller]
fn check_words(line: &str, want: &[(&str, Option<&str>)]) {
    let got: Vec<_> = words(line).map(|word| (word.name, word.value)).collect();
    assert_eq!(got, want, "{line}");
}

#[test]
fn words_are_separated_by_blanks_outside_quotes() {
    check_words("", &[]);
    check_words("  a  b=1\tc=d=e\n", &[("a", None), ("b", Some("1")), ("c", Some("d=e"))]);
    check_words(r#"a="b c" d"#, &[("a", Some("b c")), ("d", None)]);
    check_words(r#""a=b c" d"#, &[("a", Some("b c")), ("d", None)]);
    check_words(r#"a=b" "c"#, &[("a", Some(r#"b" "c"#))]);
    check_words(r#"a="never closed b"#, &[("a", Some("never closed b"))]);
    check_words(r#"a= "" ="#, &[("a", Some("")), ("", None), ("=", None)]);
    check_words("a -- b", &[("a", None)]);
    check_words("a --=1 b", &[("a", None), ("--", Some("1")), ("b", None)]);
}

#[track_caller]
fn warnings(line: &str) -> Vec<String> {
    BootArgs::parse(line).warnings().map(|w| w.to_string()).collect()
}

#[track_caller]
fn parsed(line: &str) -> BootArgs<'_> {
    assert_eq!(warnings(line), [""; 0]);
    BootArgs::parse(line)
}

#[test]
fn an_empty_line_is_the_default() {
    assert_eq!(BootArgs::parse(""), BootArgs::default());
    assert_eq!(BootArgs::default().profile, Profile::Arm64V50);
}

#[test]
fn sizes_and_switches() {
    let args =
        parsed("mem=512M highmem=0x4000000 page_owner=on page_poison=1 numa=off movable_node loglevel=7 color=on");
    assert_eq!((args.mem, args.highmem, args.loglevel), (Some(512 << 20), Some(64 << 20), Some(7)));
    assert!(args.page_owner && args.page_poison && args.numa_off && args.movable_node && args.color);
    let args = parsed("page-owner=on page_owner=off semihosting=on script=initrd mem=1G mem=2G");
    assert!(!args.page_owner && args.semihosting);
    assert_eq!((args.script, args.mem), (Some("initrd"), Some(2 << 30)));
    let args = parsed("nr_cpus=4 maxcpus=2");
    assert_eq!((args.nr_cpus, args.max_cpus), (Some(4), Some(2)));
    assert_eq!(warnings("nr_cpus=0"), ["boot argument nr_cpus=0: '0' is not a number of processors, ignored"]);
}

#[test]
fn cores() {
    let args = parsed("kernelcore=30% movablecore=256M");
    assert_eq!((args.kernelcore, args.movablecore), (Some(CoreSize::Percent(30)), Some(CoreSize::Bytes(256 << 20))));
    let line = "kernelcore=mirror movablecore=101%";
    assert_eq!(
        warnings(line),
        [
            "boot argument kernelcore=mirror: mirrored memory is unsupported, ignored",
            "boot argument movablecore=101%: '101%' is not 0% to 100%, ignored",
        ]
    );
    assert_eq!((BootArgs::parse(line).kernelcore, BootArgs::parse(line).movablecore), (None, None));
}

#[test]
fn profiles_and_their_sizes() {
    for profile in Profile::ALL {
        assert_eq!(parsed(&format!("zones={}", profile.name())).profile, profile);
    }
    let args = parsed("zones=full:dma=16M,dma32=256M,highmem=128M");
    assert_eq!(args.profile, Profile::Full);
    assert_eq!((args.dma, args.dma32, args.highmem), (Some(16 << 20), Some(256 << 20), Some(128 << 20)));
    let args = parsed("zones=full:dma=16M zones=arm64-5.0:highmem=64M");
    assert_eq!((args.profile, args.dma, args.highmem), (Profile::Arm64V50, None, Some(64 << 20)));
}

#[test]
fn a_bad_profile_changes_nothing() {
    for line in ["zones=arm64", "zones=full:dma", "zones=full:dma=x", "zones=full:tiny=1M", "zones=arm64-5.0:dma=1M"] {
        let args = BootArgs::parse(line);
        assert_eq!(BootArgs { line: "", ..args }, BootArgs::default(), "{line}");
        assert_eq!(args.warnings().count(), 1, "{line}");
    }
    let warning = &warnings("zones=arm64-5.0:dma32=1G,dma=1M")[0];
    assert_eq!(warning, "boot argument zones=arm64-5.0:dma32=1G,dma=1M: arm64-5.0 has no zone DMA, ignored");
}

#[test]
fn contiguous_area() {
    let cma = |line| parsed(line).cma.unwrap();
    assert_eq!(cma("cma=64M"), CmaArg { size: 64 << 20, within: AddrRange::ALL });
    let within = |start, end| AddrRange::new(PhysAddr(start), PhysAddr(end));
    assert_eq!(cma("cma=64M@1G"), CmaArg { size: 64 << 20, within: within(1 << 30, (1 << 30) + (64 << 20)) });
    assert_eq!(cma("cma=64M@1G-2G"), CmaArg { size: 64 << 20, within: within(1 << 30, 2 << 30) });
}

#[test]
fn quirks_and_sysctls() {
    let args = parsed("quirk.nomap=mark sysctl.vm.min_free_kbytes=4096 sysctl.vm.lowmem_reserve_ratio=\"256 32\"");
    assert!(args.quirks.switched(Quirk::Nomap));
    let pairs: Vec<_> = args.sysctls().collect();
    assert_eq!(pairs, [("min_free_kbytes", "4096"), ("lowmem_reserve_ratio", "256 32")]);
    assert_eq!(
        warnings("quirk.nomap=x"),
        ["boot argument quirk.nomap=x: quirk nomap cannot be 'x'; it can be remove mark, ignored"]
    );
}

#[test]
fn what_is_not_understood_is_listed_and_ignored() {
    let line = "console=ttyAMA0 mem=lots mem quiet loglevel=9 numa=on page_owner=maybe memory=1G";
    assert_eq!(BootArgs { line: "", ..BootArgs::parse(line) }, BootArgs::default());
    assert_eq!(
        warnings(line),
        [
            "boot argument console=ttyAMA0: not known, ignored",
            "boot argument mem=lots: a size starts with a digit, as in 64K, 2M, 1G or 0x1000, ignored",
            "boot argument mem: needs a value, ignored",
            "boot argument quiet: not known, ignored",
            "boot argument loglevel=9: '9' is not one of 0 1 2 3 4 5 6 7 8, ignored",
            "boot argument numa=on: 'on' is not one of off, ignored",
            "boot argument page_owner=maybe: 'maybe' is not one of on off, ignored",
            "boot argument memory=1G: not known, ignored",
        ]
    );
}

#[test]
fn slabs() {
    let args = parsed("kmalloc=generic slub_debug=FZ,kmalloc-1k");
    assert_eq!(args.kmalloc, KmallocProfile::Generic);
    assert!(args.slub_debug.red_zone && !args.slub_debug.poison && !args.slub_debug.covers("kmalloc-2k"));
    assert!(parsed("slub_debug").slub_debug.poison);
    assert_eq!(warnings("slub_debug=FU"), ["boot argument slub_debug=FU: 'U' is not one of F Z P O, skipped"]);
    assert!(BootArgs::parse("slub_debug=FU").slub_debug.checks);
    assert_eq!(warnings("kmalloc=x86"), ["boot argument kmalloc=x86: 'x86' is not one of arm64 generic, ignored"]);
}

#[test]
fn order_of_zonelists() {
    assert_eq!(warnings("numa_zonelist_order=Node numa_zonelist_order=default"), [""; 0]);
    assert_eq!(warnings("numa_zonelist_order=zone"), ["Ignoring unsupported numa_zonelist_order value:  zone"]);
}

#[test]
fn the_table_is_sorted_and_says_what_it_means() {
    assert!(BOOT_ARGS.windows(2).all(|pair| pair[0].name < pair[1].name));
    assert!(BOOT_ARGS.iter().all(|arg| !arg.about.is_empty() && arg.about.is_ascii()));
}
