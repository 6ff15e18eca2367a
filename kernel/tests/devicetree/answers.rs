//! What trees answer.

use kernel::devicetree::DeviceTree;

use crate::describe::{describe, describe_blob};
use crate::dts::compile;
use crate::{FIXTURES, RASPI4B};

/// A tree with some memory, the given source in it, and the given lines in its description.
#[track_caller]
fn check(source: &str, expected: &str) {
    let memory = "memory@0 { device_type = \"memory\"; reg = <0 0x1000>; };";
    let blob = compile(&format!("/ {{ {source} {memory} }};"));
    let described = describe_blob(&blob).expect("a sound tree");
    let without_memory = described.replace("memory 0x0+0x1000\n", "");
    let without_console = without_memory.replace(&no_uart(), "");
    assert_eq!(without_console.trim_end(), trim_lines(expected));
}

/// A whole tree and its whole description.
#[track_caller]
fn check_whole(source: &str, expected: &str) {
    let described = describe_blob(&compile(source)).expect("a sound tree").replace(&no_uart(), "");
    assert_eq!(described.trim_end(), trim_lines(expected));
}

fn no_uart() -> String {
    format!("console: {}\n", kernel::devicetree::ConsoleError::NoUart)
}

fn trim_lines(text: &str) -> String {
    text.lines().map(|line| line.trim_start_matches("            ")).collect::<Vec<_>>().join("\n").trim().to_string()
}

#[test]
fn fixtures() {
    for (name, blob, expected) in FIXTURES {
        let described = describe_blob(blob).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(described, expected, "{name}");
    }
}

#[test]
fn blob_may_be_longer_than_its_total_size() {
    let (_, blob, expected) = FIXTURES[0];
    let padded = [blob, &[0xff; 100]].concat();
    assert_eq!(DeviceTree::total_size(&padded[..DeviceTree::HEADER_BYTES]), Ok(blob.len()));
    assert_eq!(describe_blob(&padded).as_deref(), Ok(expected));
}

#[test]
fn copy_of_a_copy_says_the_same() {
    for (name, blob, expected) in FIXTURES {
        let mut copy = vec![0; DeviceTree::copy_size(blob).expect(name)];
        DeviceTree::load(blob, &mut copy).expect(name);
        assert_eq!(describe_blob(&copy).as_deref(), Ok(expected), "{name}");
    }
}

#[test]
fn almost_empty_tree() {
    check("", "");
}

#[test]
fn nops_anywhere_change_nothing() {
    let source = "/ {/nop/; model = \"m\"; /nop/; a {/nop/; x; /nop/; b { }; /nop/; c { }; /nop/; }; /nop/;
        memory { /nop/; device_type = \"memory\"; /nop/; reg = <1 2>; /nop/; }; /nop/; };";
    let with = compile(source);
    let without = compile(&source.replace("/nop/;", ""));
    assert!(with.len() > without.len());
    let mut copies = [vec![0; with.len()], vec![0; with.len()]];
    let [first, second] = &mut copies;
    let trees = [DeviceTree::load(&with, first).expect("with"), DeviceTree::load(&without, second).expect("without")];
    assert_eq!(describe(&trees[0]), describe(&trees[1]));
    assert_eq!(copies[0], copies[1]);
}

#[test]
fn memory_is_every_enabled_node_of_that_type() {
    check_whole(
        r#"/ {
            #address-cells = <2>; #size-cells = <1>;
            memory@high { device_type = "memory"; reg = <1 0 0x1000>, <2 0 0>, <3 0 0x3000>; numa-node-id = <1>; };
            soc { #address-cells = <1>;
                  ram { device_type = "memory"; reg = <0 0x5000 0x800>; hotpluggable; }; };
            memory@old { device_type = "memory"; reg = <9 9 9>; linux,usable-memory = <0 0x8000 0x100>; };
            memory@secure { device_type = "memory"; reg = <0 0xe000 0x100>; status = "disabled"; };
            memory@partial { device_type = "memory"; reg = <0 0x7000 0x10 0 0x9000>; status = "okay"; };
            memory@named { reg = <0 0x6000 0x10>; };
        };"#,
        "memory 0x100000000+0x1000 node 1
            memory 0x300000000+0x3000 node 1
            memory 0x5000+0x800 hotplug
            memory 0x8000+0x100
            memory 0x7000+0x10",
    );
}

#[test]
fn memory_does_not_run_past_the_last_address() {
    check_whole(
        r#"/ { #address-cells = <2>; #size-cells = <2>;
            memory { device_type = "memory"; reg = <0xffffffff 0xfffff000 0xffffffff 0xffffffff>; }; };"#,
        "memory 0xfffffffffffff000+0xfff",
    );
}

#[test]
fn memreserve_ends_at_the_first_empty_entry() {
    check_whole(
        r#"/memreserve/ 0 0x1000; /memreserve/ 0x100000000 0x10; /memreserve/ 0x5000 0; /memreserve/ 0x6000 1;
        / { memory { device_type = "memory"; reg = <0 1>; }; };"#,
        "memreserve 0x0+0x1000
            memreserve 0x100000000+0x10
            memory 0x0+0x1",
    );
}

#[test]
fn chosen() {
    check(
        r#"model = "A board";
        chosen { bootargs = "mem=1G quiet"; linux,initrd-start = <0x1000>; linux,initrd-end = <0 0x3000>;
                 linux,usable-memory-range = <0x2000 0x100>; };"#,
        r#"model "A board"
            bootargs "mem=1G quiet"
            initrd 0x1000-0x3000
            usable 0x2000+0x100"#,
    );
    check("chosen { bootargs; linux,initrd-start = <5>; linux,initrd-end = <5>; };", "");
    check("chosen { bootargs = [61 00 62 00]; linux,initrd-start = <5>; };", "bootargs \"a\"");
    check("deep { chosen { bootargs = \"not these\"; }; };", "");
}

#[test]
fn cpus_without_an_address_or_with_an_impossible_one_are_left_out() {
    check(
        r#"cpus { #address-cells = <2>;
            cpu@0 { reg = <0 0x100>; enable-method = "psci"; };
            cpu@1 { reg = <1 3>; enable-method = "spin-table"; cpu-release-addr = <0xd8>; numa-node-id = <2>; };
            cpu@2 { reg = <0 2>; enable-method = "spin-table"; };
            cpu@3 { enable-method = "psci"; };
            cpu@4 { reg = <0 0x1000000>; };
            cpu@5 { reg = <5>; };
            cpu-map { };
            odd { device_type = "cpu"; reg = <0 6>; enable-method = "psci"; };
        };"#,
        "cpu 0x100 psci
            cpu 0x100000003 node 2 spin-table 0xd8
            cpu 0x2
            cpu 0x6 psci",
    );
}

#[test]
fn psci_of_version_0_1_is_not_used() {
    check(r#"psci { compatible = "arm,psci-1.0", "arm,psci-0.2"; method = "smc"; };"#, "psci Smc");
    check(r#"firmware { psci { compatible = "arm,psci-0.2"; method = "hvc"; }; };"#, "psci Hvc");
    check(r#"psci { compatible = "arm,psci"; method = "smc"; };"#, "");
    check(r#"psci { compatible = "arm,psci-1.0"; method = "smc"; status = "disabled"; };"#, "");
    check(r#"psci { compatible = "arm,psci-1.0"; };"#, "");
}

#[test]
fn distances() {
    check(
        r#"map { compatible = "numa-distance-map-v1"; distance-matrix = <0 0 10 0 1 20 1 0>; };"#,
        "distance 0 0 10
            distance 0 1 20",
    );
}

#[test]
fn reserved_memory() {
    check(
        r#"reserved-memory { #address-cells = <1>; #size-cells = <1>; ranges;
            fixed@1000 { reg = <0x1000 0x10 0x3000 0x20>; no-map; };
            pool { compatible = "x", "shared-dma-pool"; size = <0x400000>; alignment = <0x2000>; reusable;
                   linux,cma-default; alloc-ranges = <0 0x30000000 0x50000000 1>; };
            off { reg = <0 1>; status = "disabled"; };
            odd@1 { reg = <1>; size = <1>; };
            odd@2 { size = <0 1>; alignment = <1 1>; };
            odd@3 { size = <1>; alignment = <>; };
            odd@4 { size = <1>; alloc-ranges = <1 2 3>; };
        };"#,
        "reserved-memory
              fixed@1000 reg 0x1000+0x10 0x3000+0x20 no-map
              pool size 0x400000 alignment 0x2000 alloc-ranges 0x0+0x30000000 0x50000000+0x1 reusable shared-dma-pool cma-default
              off reg 0x0+0x1 disabled
              odd@1 reg size 0x1 malformed reg
              odd@2 malformed size
              odd@3 size 0x1 malformed alignment
              odd@4 size 0x1 alloc-ranges malformed alloc-ranges",
    );
}

#[test]
fn reserved_memory_has_to_measure_as_the_root_does() {
    check("reserved-memory { #address-cells = <2>; #size-cells = <1>; ranges; };", "reserved-memory unsupported");
    check("reserved-memory { #address-cells = <1>; #size-cells = <1>; };", "reserved-memory unsupported");
    check("reserved-memory { ranges; };", "reserved-memory unsupported");
}

/// A GIC, and devices on two buses, one below the other.
fn machine(chosen: &str) -> String {
    let rest = r#"
        #address-cells = <2>; #size-cells = <1>; interrupt-parent = <1>;
        aliases { serial0 = "/outer/inner/uart@10"; bus = "/outer/inner"; nowhere = "/outer/none"; };
        outer { #address-cells = <1>; #size-cells = <1>; ranges = <0x1000 1 0 0x1000>, <0x8000 2 0 0x100>;
            inner { #address-cells = <1>; #size-cells = <1>; ranges = <0 0x1800 0x100>, <0x200 0x8000 0x200>;
                uart@5 { compatible = "arm,pl011"; reg = <5 1>; status = "disabled"; };
                uart@10 { compatible = "special", "arm,pl011"; reg = <0x10 0x10>, <0x2ff 1>, <0x300 1>, <0x400 1>;
                          interrupts = <0 33 4>, <1 7 0xf01>, <2 1 1>, <0 988 4>; clock-frequency = <48000000>; };
            };
        };
        gic@8000 { compatible = "arm,gic-400"; #interrupt-cells = <3>; phandle = <1>; reg = <0 0x8000 0x1000>; };
        memory { device_type = "memory"; reg = <0 0 1>; };"#;
    format!("/ {{ {rest} chosen {{ {chosen} }}; }};")
}

#[track_caller]
fn check_console(stdout_path: &str, expected: &str) {
    let blob = compile(&machine(&format!("stdout-path = \"{stdout_path}\";")));
    let described = describe_blob(&blob).expect("a sound tree");
    let console = described.lines().find(|line| line.starts_with("console")).expect("a line about the console");
    assert_eq!(console.split('"').next().expect("a first part").trim_end(), expected, "{stdout_path}");
}

#[test]
fn console_by_path_and_alias() {
    check_console("/outer/inner/uart@10", "console uart@10");
    check_console("/outer/inner/uart@10:115200n8", "console uart@10");
    check_console("serial0", "console uart@10");
    check_console("serial0:115200", "console uart@10");
    check_console("bus/uart@10:115200", "console uart@10");
    check_console("/gic", "console gic@8000");
    check_console("/gic@8000/", "console gic@8000");
}

#[test]
fn console_that_is_not_there() {
    let message = |path: &str| {
        let blob = compile(&machine(&format!("stdout-path = \"{path}\";")));
        let mut copy = vec![0; blob.len()];
        let tree = DeviceTree::load(&blob, &mut copy).expect("a sound tree");
        tree.console().expect_err(path).to_string()
    };
    assert_eq!(message("serial9:1"), "device tree: stdout-path \"serial9:1\" is no path and no alias");
    assert_eq!(message("/outer/uart@10"), "device tree: stdout-path \"/outer/uart@10\" leads to no node");
    assert_eq!(message("/inner"), "device tree: stdout-path \"/inner\" leads to no node");
    assert_eq!(message("/aliases/inner"), "device tree: stdout-path \"/aliases/inner\" leads to no node");
    assert_eq!(message("nowhere"), "device tree: stdout-path \"nowhere\" leads to no node");
    assert_eq!(message("bus/uart"), "device tree: stdout-path \"bus/uart\" leads to a disabled device");
}

#[test]
fn console_without_stdout_path_is_the_first_uart() {
    check_whole(
        &machine(""),
        r#"memory 0x0+0x1
            console uart@10 "arm,pl011" 0x100000810+0x10 0x2000000ff+0x1 intid 65 level intid 23 edge 48000000 Hz
            uart uart@10 "arm,pl011" 0x100000810+0x10 0x2000000ff+0x1 intid 65 level intid 23 edge 48000000 Hz
            gic gic@8000 "arm,gic-400" 0x8000+0x1000"#,
    );
}

/// The trees of the Raspberry Pi's makers say nothing about the console but which port is on the header.
#[test]
fn console_without_stdout_path_is_serial0_if_that_is_a_uart() {
    let tree = |alias: &str, status: &str| {
        format!(
            r#"aliases {{ serial0 = "{alias}"; }}; pl011 {{ compatible = "arm,pl011"; }};
               mini {{ compatible = "brcm,bcm2835-aux-uart"; status = "{status}"; }}; other {{ compatible = "x"; }};"#
        )
    };
    let console = |alias: &str, status: &str| {
        let blob = compile(&format!(
            "/ {{ {} memory {{ device_type = \"memory\"; reg = <0x1000 0x1000>; }}; }};",
            tree(alias, status)
        ));
        let described = describe_blob(&blob).expect("a sound tree");
        let line =
            described.lines().find(|line| line.trim_start().starts_with("console")).expect("a console").to_owned();
        line.trim().to_owned()
    };
    assert_eq!(console("/mini", "okay"), "console mini \"brcm,bcm2835-aux-uart\"");
    assert_eq!(console("/pl011", "okay"), "console pl011 \"arm,pl011\"");
    for (alias, status) in [("/mini", "disabled"), ("/other", "okay"), ("/nowhere", "okay"), ("mini", "disabled")] {
        assert_eq!(console(alias, status), "console pl011 \"arm,pl011\"", "{alias} {status}");
    }
}

#[test]
fn devices_below_a_disabled_bus_do_not_count() {
    check(
        r#"a { status = "disabled"; b { compatible = "test"; }; }; c { compatible = "test"; };"#,
        "device c \"test\"",
    );
    check(r#"a { status = "fail"; compatible = "test"; };"#, "");
    check(r#"a { status = "ok"; compatible = "test"; };"#, "device a \"test\"");
}

#[test]
fn first_of_two_properties_wins() {
    check(r#"a { compatible = "x"; compatible = "test"; }; b { compatible = "test"; };"#, "device b \"test\"");
}

#[test]
fn empty_names_do_not_count() {
    check(
        r#"chosen { stdout-path = "/a"; }; a { compatible = "", "test"; };"#,
        "console a \"test\"\n            device a \"test\"",
    );
}

#[test]
fn earlier_names_win() {
    check(
        r#"mini { compatible = "brcm,bcm2835-aux-uart"; }; pl011 { compatible = "x", "arm,pl011"; };"#,
        "console pl011 \"arm,pl011\"
            uart pl011 \"arm,pl011\"",
    );
}

#[test]
fn buses_without_ranges_do_not_translate() {
    check(r#"i2c { a@1 { compatible = "test"; reg = <1 1>; }; };"#, "device a@1 \"test\"");
    check(r#"bus { ranges; a@1 { compatible = "test"; reg = <1 1>; }; };"#, "device a@1 \"test\" 0x1+0x1");
    check(
        r#"cpus { #size-cells = <0>; ranges; a@1 { compatible = "test"; reg = <1 2>; }; };"#,
        "device a@1 \"test\" 0x1+0x0 0x2+0x0",
    );
    check(
        r#"pci { #address-cells = <3>; ranges = <0 0 0 0 1>; a { compatible = "test"; reg = <0 0 0 1>; }; };"#,
        "device a \"test\"",
    );
}

#[test]
fn buses_without_cell_counts_inherit_them() {
    check_whole(
        r#"/ { #address-cells = <2>; #size-cells = <1>; memory { device_type = "memory"; reg = <0 0 1>; };
            a { ranges; b { ranges = <0 0x100 3 0 0x100>; c { compatible = "test"; reg = <0 0x180 4>; }; }; }; };"#,
        "memory 0x0+0x1
            device c \"test\" 0x300000080+0x4",
    );
}

#[test]
fn interrupts_find_their_controller() {
    let gic =
        |rest: &str| format!(r#"gic {{ compatible = "arm,gic-v3"; #interrupt-cells = <3>; phandle = <7>; {rest} }};"#);
    let extended = "interrupts-extended = <8 1 7 0 5 4>;";
    let gpio = "gpio { #interrupt-cells = <1>; phandle = <8>; };";
    let line = "gic gic \"arm,gic-v3\"\n            device a \"test\"";
    check(&gic("a { compatible = \"test\"; interrupts = <0 9 1>; };"), &format!("{line} intid 41 edge"));
    let test = format!("a {{ compatible = \"test\"; {extended} interrupts = <9>; }};");
    check(&format!("{gpio} {} {test}", gic("")), &format!("{line} intid 37 level"));
    let test = "a { interrupt-parent = <8>; compatible = \"test\"; interrupts = <0 1 2>; };";
    check(&format!("{gpio} {} {test}", gic("")), line);
}

#[test]
fn interrupt_parents_in_a_circle_end() {
    check(
        r#"a { compatible = "test"; phandle = <1>; interrupt-parent = <2>; interrupts = <0 1 4>; };
        b { phandle = <2>; interrupt-parent = <1>; };"#,
        "device a \"test\"",
    );
}

#[test]
fn raspi4b_before_its_firmware_has_no_memory() {
    let error = describe_blob(RASPI4B).expect_err("the memory is filled in by the firmware");
    assert_eq!(error.to_string(), "device tree: no memory node with a size above 0");
}
