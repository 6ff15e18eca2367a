//! A tree as text: one line for everything that can be asked and has an answer.

use std::fmt::Write;

use kernel::devicetree::{Device, DeviceTree, DeviceTreeError, EnableMethod, GIC, ReservedNode, UARTS};

/// Loads `blob` and describes it, or says why it is refused.
pub fn describe_blob(blob: &[u8]) -> Result<String, DeviceTreeError> {
    let mut copy = vec![0; DeviceTree::copy_size(blob)?];
    DeviceTree::load(blob, &mut copy).map(|tree| describe(&tree))
}

/// Asks `tree` everything.
pub fn describe(tree: &DeviceTree<'_>) -> String {
    let mut out = String::new();
    write(&mut out, tree).expect("writing to a String");
    out
}

fn write(out: &mut String, tree: &DeviceTree<'_>) -> std::fmt::Result {
    if !tree.model().is_empty() {
        writeln!(out, "model \"{}\"", tree.model())?;
    }
    if !tree.bootargs().is_empty() {
        writeln!(out, "bootargs \"{}\"", tree.bootargs())?;
    }
    if let Some(initrd) = tree.initrd() {
        writeln!(out, "initrd {:?}-{:?}", initrd.start, initrd.end)?;
    }
    if let Some((base, size)) = tree.usable_memory_range() {
        writeln!(out, "usable {base:?}+{size:#x}")?;
    }
    for (base, size) in tree.memreserve() {
        writeln!(out, "memreserve {base:?}+{size:#x}")?;
    }
    for bank in tree.memory() {
        let node = bank.node.map_or(String::new(), |node| format!(" node {node}"));
        let hotplug = if bank.hotplug { " hotplug" } else { "" };
        writeln!(out, "memory {:?}+{:#x}{node}{hotplug}", bank.base, bank.size)?;
    }
    if let Some(reserved) = tree.reserved_memory() {
        writeln!(out, "reserved-memory{}", if reserved.supported_format { "" } else { " unsupported" })?;
        reserved.children().try_for_each(|child| write_reserved(out, &child))?;
    }
    write_cpus(out, tree)?;
    write_devices(out, tree)
}

fn write_reserved(out: &mut String, child: &ReservedNode<'_>) -> std::fmt::Result {
    write!(out, "  {}", child.name)?;
    if child.has_reg {
        write!(out, " reg")?;
    }
    child.regs().try_for_each(|(base, size)| write!(out, " {base:?}+{size:#x}"))?;
    if let Some(size) = child.size {
        write!(out, " size {size:#x}")?;
    }
    if let Some(alignment) = child.alignment {
        write!(out, " alignment {alignment:#x}")?;
    }
    if child.has_alloc_ranges {
        write!(out, " alloc-ranges")?;
    }
    child.alloc_ranges().try_for_each(|(start, len)| write!(out, " {start:?}+{len:#x}"))?;
    let flags = [
        (child.no_map, "no-map"),
        (child.reusable, "reusable"),
        (child.shared_dma_pool, "shared-dma-pool"),
        (child.linux_cma_default, "cma-default"),
        (!child.enabled, "disabled"),
    ];
    for (_, flag) in flags.iter().filter(|(is_set, _)| *is_set) {
        write!(out, " {flag}")?;
    }
    match child.malformed {
        Some(property) => writeln!(out, " malformed {property}"),
        None => writeln!(out),
    }
}

fn write_cpus(out: &mut String, tree: &DeviceTree<'_>) -> std::fmt::Result {
    for cpu in tree.cpus() {
        let node = cpu.node.map_or(String::new(), |node| format!(" node {node}"));
        let enable = match cpu.enable {
            EnableMethod::Psci => " psci".to_string(),
            EnableMethod::SpinTable { release } => format!(" spin-table {release:?}"),
            EnableMethod::None => String::new(),
        };
        writeln!(out, "cpu {:#x}{node}{enable}", cpu.mpidr)?;
    }
    if let Some(conduit) = tree.psci() {
        writeln!(out, "psci {conduit:?}")?;
    }
    for (from, to, distance) in tree.distances() {
        writeln!(out, "distance {from} {to} {distance}")?;
    }
    Ok(())
}

fn write_devices(out: &mut String, tree: &DeviceTree<'_>) -> std::fmt::Result {
    match tree.console() {
        Ok(device) => write_device(out, "console", &device)?,
        Err(error) => writeln!(out, "console: {error}")?,
    }
    for (role, wanted) in [("uart", &UARTS[..]), ("gic", &GIC), ("timer", &["arm,armv8-timer"]), ("device", &["test"])]
    {
        if let Some(device) = tree.device(wanted) {
            write_device(out, role, &device)?;
        }
    }
    Ok(())
}

fn write_device(out: &mut String, role: &str, device: &Device<'_>) -> std::fmt::Result {
    write!(out, "{role} {} \"{}\"", device.name, device.compatible)?;
    assert!(device.compatible.is_empty() || device.is_compatible(device.compatible));
    for region in (0..8).filter_map(|n| device.reg(n)) {
        write!(out, " {:?}+{:#x}", region.base, region.size)?;
    }
    for interrupt in (0..8).filter_map(|n| device.interrupt(n)) {
        let trigger = if interrupt.is_edge() { "edge" } else { "level" };
        write!(out, " intid {} {trigger}", interrupt.intid())?;
    }
    match device.property_u32("clock-frequency") {
        Some(hertz) => writeln!(out, " {hertz} Hz"),
        None => writeln!(out),
    }
}
