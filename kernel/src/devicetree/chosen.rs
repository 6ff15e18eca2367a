//! `/chosen`: what the firmware, or the person who started the machine, chose for us.
//!
//! Read once, when the tree is opened, with the `fdt` crate. Linux: `early_init_dt_scan_chosen`, `of_alias_scan`.
//!
//! Linux does more: it takes entropy (`rng-seed`, `kaslr-seed`) and crash-dump ranges from here.

use core::ops::Range;

use fdt::Fdt;
use fdt::node::FdtNode;

use super::cells::{CellSizes, Pairs, text, word_or_two};
use crate::addr::PhysAddr;

/// What `/chosen` says; the default is a tree without one.
#[derive(Clone, Debug, Default)]
pub(super) struct Chosen<'a> {
    /// The command line.
    pub bootargs: &'a str,
    /// The console.
    pub stdout: Option<Stdout<'a>>,
    /// Path of the first serial port, by the alias `serial0`.
    pub serial0: Option<&'a str>,
    /// Where the initial RAM disk was loaded.
    pub initrd: Option<Range<PhysAddr>>,
    /// The only memory that may be used.
    pub usable_memory_range: Option<(PhysAddr, u64)>,
}

/// `stdout-path`, a path, or an alias and perhaps a path below it, and after a `:` options: `serial1:115200n8`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stdout<'a> {
    /// All of it.
    pub property: &'a str,
    /// The path, or the one that the alias stands for; `None` when there is no such alias.
    pub head: Option<&'a str>,
    /// The path below the alias.
    pub tail: &'a str,
}

impl<'a> Chosen<'a> {
    /// Reads the node; `cells` are the root's cell sizes. Not with `Fdt::find_node`, which takes a path that leads
    /// nowhere for an alias, but in one pass over the root's children.
    pub(super) fn read(fdt: &Fdt<'a>, cells: CellSizes) -> Chosen<'a> {
        let (mut chosen, mut aliases) = (None, None);
        for node in fdt.find_node("/").into_iter().flat_map(FdtNode::children) {
            match node.name {
                "chosen" => chosen = chosen.or(Some(node)),
                "aliases" => aliases = aliases.or(Some(node)),
                _ => {}
            }
        }
        let value = |name| chosen.and_then(|node| value(node, name));
        let address = |name| value(name).and_then(word_or_two);
        let stdout = value("stdout-path").or_else(|| value("linux,stdout-path")).map(text);
        Chosen {
            bootargs: value("bootargs").map_or("", text),
            stdout: stdout.filter(|path| !path.is_empty()).map(|path| Stdout::read(path, aliases)),
            serial0: aliases.and_then(|aliases| self::value(aliases, "serial0")).map(text),
            initrd: address("linux,initrd-start")
                .zip(address("linux,initrd-end"))
                .filter(|(start, end)| start < end)
                .map(|(start, end)| PhysAddr(start)..PhysAddr(end)),
            usable_memory_range: value("linux,usable-memory-range")
                .and_then(|value| Pairs::new(value, cells).next())
                .map(|(base, size)| (PhysAddr(base), size)),
        }
    }
}

impl<'a> Stdout<'a> {
    fn read(property: &'a str, aliases: Option<FdtNode<'_, 'a>>) -> Stdout<'a> {
        let path = property.split(':').next().unwrap_or(property);
        if path.starts_with('/') {
            return Stdout { property, head: Some(path), tail: "" };
        }
        let (alias, tail) = path.split_once('/').unwrap_or((path, ""));
        Stdout { property, head: aliases.and_then(|aliases| value(aliases, alias)).map(text), tail }
    }
}

fn value<'a>(node: FdtNode<'_, 'a>, name: &str) -> Option<&'a [u8]> {
    node.property(name).map(|property| property.value)
}
