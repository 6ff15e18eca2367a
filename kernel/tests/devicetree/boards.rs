//! A second parser, Google's `dtoolkit`, answers the same questions: on the fixtures, and on real boards.
//!
//! `SLOWPATH_BOARD_TREES=FOLDER cargo test -p kernel --test devicetree boards -- --nocapture` compares every `*.dtb`
//! below the folder, for example those of the distribution's arm64 kernel package.

use std::fmt::Write;
use std::path::Path;

use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::standard::{NodeStandard, Status};
use dtoolkit::{Node, Property, ToCellInt};
use kernel::devicetree::{DeviceTree, DeviceTreeError, EnableMethod};

use crate::dts::{assemble, compile};
use crate::{FIXTURES, RASPI4B};

/// What one parser says of a tree, in text.
type Answers = String;

/// What our parser says.
fn ours(blob: &[u8]) -> Result<Answers, DeviceTreeError> {
    let mut copy = vec![0; DeviceTree::copy_size(blob)?];
    let tree = DeviceTree::load(blob, &mut copy)?;
    let mut out = format!("model {:?}\nbootargs {:?}\n", tree.model(), tree.bootargs());
    for (base, size) in tree.memreserve() {
        line(&mut out, format_args!("memreserve {:#x}+{size:#x}", base.0));
    }
    for bank in tree.memory() {
        line(&mut out, format_args!("memory {:#x}+{:#x} node {:?}", bank.base.0, bank.size, bank.node));
    }
    for child in tree.reserved_memory().iter().flat_map(|reserved| reserved.children()) {
        let regs: Vec<_> = child.regs().map(|(base, size)| (base.0, size)).collect();
        line(
            &mut out,
            format_args!("reserved {} {regs:x?} size {:x?} no-map {}", child.name, child.size, child.no_map),
        );
    }
    for cpu in tree.cpus() {
        let release = if let EnableMethod::SpinTable { release } = cpu.enable { Some(release.0) } else { None };
        let is_psci = cpu.enable == EnableMethod::Psci;
        line(&mut out, format_args!("cpu {:#x} psci {is_psci} release {release:x?}", cpu.mpidr));
    }
    if tree.console().is_ok() || !matches!(tree.console(), Err(kernel::devicetree::ConsoleError::NoUart)) {
        let device = tree.console().ok();
        let base = device.and_then(|device| device.reg(0)).map(|region| region.base.0);
        line(&mut out, format_args!("console {:?} {base:x?}", device.map(|device| device.name)));
    }
    Ok(out)
}

/// What dtoolkit says.
fn theirs(fdt: Fdt<'_>) -> Answers {
    let root = fdt.root();
    let chosen = root.child("chosen");
    let [model, bootargs] = [text(Some(root), "model"), text(chosen, "bootargs")].map(Option::unwrap_or_default);
    let mut out = format!("model {model:?}\nbootargs {bootargs:?}\n");
    for entry in fdt.memory_reservations().take_while(|entry| entry.size() != 0) {
        line(&mut out, format_args!("memreserve {:#x}+{:#x}", entry.address(), entry.size()));
    }
    memory(&mut out, root, root);
    for child in root.child("reserved-memory").iter().flat_map(|node| node.children()) {
        let number =
            |name| child.property(name).map(|value| value.value().iter().fold(0, |n, b| n << 8 | u64::from(*b)));
        let (regs, no_map) = (regs(root, child, "reg"), child.property("no-map").is_some());
        line(&mut out, format_args!("reserved {} {regs:x?} size {:x?} no-map {no_map}", child.name(), number("size")));
    }
    for cpu in fdt.cpus().iter().flat_map(|cpus| cpus.cpus()) {
        let id: u64 = cpu.ids().expect("ids").next().expect("an id").to_int().expect("an id of 64 bits");
        let method = text(Some(*cpu), "enable-method").unwrap_or_default();
        let release = (method == "spin-table").then(|| cpu.cpu_release_addr().expect("8 bytes").expect("an address"));
        line(&mut out, format_args!("cpu {id:#x} psci {} release {release:x?}", method == "psci"));
    }
    console(&mut out, fdt, chosen);
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("writing to a String");
}

fn text<'a>(node: Option<FdtNode<'a>>, name: &str) -> Option<&'a str> {
    let property = node?.property(name)?;
    property.value_as::<&str>().ok()
}

fn is_enabled(node: FdtNode<'_>) -> bool {
    matches!(node.status(), Ok(Status::Okay))
}

/// The (address, size) pairs of a property, measured as `like` says.
fn regs(like: FdtNode<'_>, node: FdtNode<'_>, name: &str) -> Vec<(u64, u64)> {
    let cells = ["#address-cells", "#size-cells"]
        .map(|name| like.property(name).map_or(1, |cells| cells.value_as::<u32>().expect("one word") as usize));
    let Some(property) = node.property(name) else { return Vec::new() };
    let pairs = property.as_prop_encoded_array(cells).expect("whole pairs");
    pairs.map(|[address, size]| (address.to_int().expect("64 bits"), size.to_int().expect("64 bits"))).collect()
}

fn memory(out: &mut String, root: FdtNode<'_>, node: FdtNode<'_>) {
    if text(Some(node), "device_type") == Some("memory") && is_enabled(node) {
        let numa_node = node.property("numa-node-id").map(|id| id.value_as::<u32>().expect("one word"));
        for (base, size) in regs(root, node, "reg").into_iter().filter(|(_, size)| *size > 0) {
            line(out, format_args!("memory {base:#x}+{size:#x} node {numa_node:?}"));
        }
    }
    for child in node.children() {
        memory(out, root, child);
    }
}

/// The console of a tree with `stdout-path`: its name and its address behind every bus, if it is there and enabled.
fn console(out: &mut String, fdt: Fdt<'_>, chosen: Option<FdtNode<'_>>) {
    let Some(stdout) = text(chosen, "stdout-path").filter(|path| !path.is_empty()) else {
        let known = || kernel::devicetree::UARTS.iter().find_map(|uart| first_enabled(fdt, uart));
        if let Some(path) = serial0(fdt).or_else(known) {
            console_at(out, &path);
        }
        return;
    };
    let path = stdout.split(':').next().expect("a first part");
    let alias = fdt.root().child("aliases").and_then(|aliases| text(Some(aliases), path));
    let mut nodes = vec![fdt.root()];
    for name in alias.unwrap_or(path).split('/').filter(|name| !name.is_empty()) {
        match nodes.last().expect("the root").child(name) {
            Some(child) => nodes.push(child),
            None => return line(out, format_args!("console None None")),
        }
    }
    console_at(out, &nodes);
}

/// The way to the enabled UART that the alias names, if it is one that we drive.
fn serial0(fdt: Fdt<'_>) -> Option<Vec<FdtNode<'_>>> {
    let alias = text(fdt.root().child("aliases"), "serial0")?;
    let mut nodes = vec![fdt.root()];
    for name in alias.split('/').filter(|name| !name.is_empty()) {
        let node = nodes.last().expect("the root").child(name)?;
        nodes.push(node);
    }
    let mut names = nodes.last().expect("the root").compatible()?;
    let is_ours = names.any(|name| kernel::devicetree::UARTS.contains(&name));
    (is_ours && nodes.iter().all(|node| is_enabled(*node))).then_some(nodes)
}

fn console_at(out: &mut String, nodes: &[FdtNode<'_>]) {
    if !nodes.iter().all(|node| is_enabled(*node)) {
        return line(out, format_args!("console None None"));
    }
    let [.., bus, device] = nodes else { return line(out, format_args!("console None None")) };
    let address = regs(*bus, *device, "reg").first().map(|(address, _)| *address);
    let buses = nodes[1..nodes.len() - 1].iter().rev();
    let base = buses.fold(address, |address, bus| translate(*bus, address?));
    line(out, format_args!("console {:?} {base:x?}", Some(device.name())));
}

fn translate(bus: FdtNode<'_>, address: u64) -> Option<u64> {
    let mut ranges = bus.ranges().expect("ranges")?.peekable();
    if ranges.peek().is_none() {
        return Some(address);
    }
    ranges.find_map(|range| {
        let start: u64 = range.child_bus_address.to_int().ok()?;
        let len: u64 = range.length.to_int().ok()?;
        let above: u64 = range.parent_bus_address.to_int().ok()?;
        (start..start + len).contains(&address).then(|| above + (address - start))
    })
}

/// The way to the first node that lists `compatible` and is enabled with all above it.
fn first_enabled<'a>(fdt: Fdt<'a>, compatible: &str) -> Option<Vec<FdtNode<'a>>> {
    fn search<'a>(path: &mut Vec<FdtNode<'a>>, compatible: &str) -> bool {
        let node = *path.last().expect("a node");
        if !is_enabled(node) {
            return false;
        }
        let lists = |node: FdtNode<'_>| node.compatible().is_some_and(|mut list| list.any(|entry| entry == compatible));
        lists(node)
            || node.children().any(|child| {
                path.push(child);
                search(path, compatible) || path.pop().is_none()
            })
    }
    let mut path = vec![fdt.root()];
    search(&mut path, compatible).then_some(path)
}

/// The tree with a memory node at the end, for trees that leave memory to the firmware.
fn with_memory(blob: &[u8]) -> Vec<u8> {
    let word = |at: usize| u32::from_be_bytes(blob[at..at + 4].try_into().expect("four bytes")) as usize;
    let block = |start: usize, len: usize| &blob[word(start)..][..word(len)];
    let (structure, strings) = (block(8, 36), block(12, 32));
    let reservations: Vec<u8> = blob[word(16)..]
        .chunks_exact(16)
        .take_while(|entry| entry.iter().any(|byte| *byte != 0))
        .flatten()
        .copied()
        .collect();

    // Twelve cells are whole pairs whatever the root's cell sizes are.
    let reg = "0x1000 ".repeat(12);
    let donor = compile(&format!("/ {{ memory@0 {{ device_type = \"memory\"; reg = <{reg}>; }}; }};"));
    let at = |field: usize| u32::from_be_bytes(donor[field..field + 4].try_into().expect("four bytes")) as usize;
    let mut node = donor[at(8) + 8..][..at(36) - 16].to_vec();
    // Its two properties' names move behind the tree's own names.
    for (place, name) in [(4 + 12 + 8, 0), (4 + 12 + 12 + 8 + 8, "device_type\0".len())] {
        node[place..place + 4].copy_from_slice(&((strings.len() + name) as u32).to_be_bytes());
    }
    let (inside, end) = structure.split_at(structure.len() - 8);
    assemble(&reservations, &[inside, &node, end].concat(), &[strings, b"device_type\0reg\0"].concat())
}

/// How one tree was compared.
#[derive(Default, Debug)]
struct Tally {
    trees: usize,
    /// Without memory of its own.
    memory_added: usize,
    /// With names longer than the 31 characters that dtoolkit's own check allows.
    long_names: usize,
}

fn compare(name: &str, blob: &[u8], tally: &mut Tally) {
    let blob = match ours(blob) {
        Err(DeviceTreeError::NoMemory) => {
            tally.memory_added += 1;
            assert!(!theirs(Fdt::new_unchecked(blob)).contains("\nmemory "), "{name}: only they find memory");
            with_memory(blob)
        }
        _ => blob.to_vec(),
    };
    let ours = ours(&blob).unwrap_or_else(|error| panic!("{name}: {error}"));
    let fdt = Fdt::new(&blob).unwrap_or_else(|error| {
        let error = error.to_string();
        assert!(
            error.starts_with("Invalid property name") || error.starts_with("Invalid node name"),
            "{name}: {error}"
        );
        tally.long_names += 1;
        Fdt::new_unchecked(&blob)
    });
    assert_eq!(ours, theirs(fdt), "{name}: ours, theirs");
    tally.trees += 1;
}

#[test]
fn fixtures_agree() {
    let mut tally = Tally::default();
    for (name, blob, _) in FIXTURES {
        compare(name, blob, &mut tally);
    }
    compare("raspi4b", RASPI4B, &mut tally);
    assert_eq!((tally.trees, tally.memory_added), (5, 1));
}

#[test]
fn boards_agree() {
    let Some(folder) = std::env::var_os("SLOWPATH_BOARD_TREES") else {
        println!("skipped: SLOWPATH_BOARD_TREES names no folder with board trees (*.dtb)");
        return;
    };
    let mut tally = Tally::default();
    compare_folder(Path::new(&folder), &mut tally);
    assert!(tally.trees > 0, "no *.dtb below {}", folder.display());
    println!(
        "{} board trees agree; {} had no memory of their own, {} have names over 31 characters",
        tally.trees, tally.memory_added, tally.long_names
    );
}

fn compare_folder(folder: &Path, tally: &mut Tally) {
    for entry in std::fs::read_dir(folder).expect("a folder that can be read") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            compare_folder(&path, tally);
        } else if path.extension().is_some_and(|extension| extension == "dtb") {
            compare(&path.display().to_string(), &std::fs::read(&path).expect("a file that can be read"), tally);
        }
    }
}
