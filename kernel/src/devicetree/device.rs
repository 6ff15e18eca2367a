//! Devices: found by `compatible`, with their registers at addresses that a processor can use.
//!
//! A [`Device`] keeps its way from the root, so that `reg` can be translated through the `ranges` of every bus above
//! it. Linux: `of_find_matching_node`, `of_address_to_resource`, `of_translate_address`.
//!
//! Linux does more: PCI and ISA buses, `dma-ranges`, and cell counts that are wrong in known ways.

use super::cells::{CellSizes, Pairs, entries, number, text, word};
use super::interrupt::{self, Interrupt};
use super::structure::Blocks;
use super::walk::{Lineage, Walk};
use crate::addr::PhysAddr;

/// An enabled device.
#[derive(Clone, Copy, Debug)]
pub struct Device<'a> {
    /// The node's name with its unit address, as in `pl011@9000000`.
    pub name: &'a str,
    /// The entry of `compatible` that matched; of a device found by its path the first one, or "".
    pub compatible: &'a str,
    lineage: Lineage<'a>,
}

/// One register block of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// First byte, as the processor addresses it.
    pub base: PhysAddr,
    /// Bytes; 0 when the bus has no sizes.
    pub size: u64,
}

impl<'a> Device<'a> {
    /// The device at the end of `lineage`.
    pub(super) fn at(lineage: Lineage<'a>) -> Option<Device<'a>> {
        let node = lineage.node()?;
        let compatible = node.property("compatible").and_then(|list| entries(list).next()).map_or("", text);
        Some(Device { name: node.name(), compatible, lineage })
    }

    /// Whether `compatible` lists this entry.
    pub fn is_compatible(&self, compatible: &str) -> bool {
        self.property("compatible").is_some_and(|list| entries(list).any(|entry| entry == compatible.as_bytes()))
    }

    /// Register block `n`; `None` when there is no such block, or a bus above does not translate its address.
    pub fn reg(&self, n: usize) -> Option<Region> {
        let bus = self.lineage.parent()?;
        let sizes = cell_sizes(&bus);
        if sizes.address > 2 || sizes.size > 2 {
            return None;
        }
        let (address, size) = Pairs::new(self.property("reg")?, sizes).nth(n)?;
        Some(Region { base: PhysAddr(translate(address, bus)?), size })
    }

    /// Interrupt `n`; `None` when there is no such interrupt, or it does not go to the GIC.
    pub fn interrupt(&self, n: usize) -> Option<Interrupt> {
        interrupt::interrupt(&self.lineage, n)
    }

    /// The value of a property.
    pub fn property(&self, name: &str) -> Option<&'a [u8]> {
        self.lineage.node()?.property(name)
    }

    /// A property that is exactly one word.
    pub fn property_u32(&self, name: &str) -> Option<u32> {
        self.property(name).and_then(word)
    }
}

/// The first enabled device with an entry of `wanted`, earlier entries of `wanted` before later ones, and the entry.
pub(super) fn find<'a>(blocks: Blocks<'a>, wanted: &[&str]) -> Option<(Lineage<'a>, &'a str)> {
    let mut best: Option<(usize, Lineage<'a>, &'a str)> = None;
    let mut walk = Walk::new(blocks);
    while let Some(list) = walk.next_value("compatible") {
        let still_wanted = best.map_or(wanted.len(), |(rank, ..)| rank);
        let Some((rank, entry)) = best_entry(list, &wanted[..still_wanted]) else { continue };
        if is_reachable(walk.lineage()) {
            best = Some((rank, *walk.lineage(), entry));
        }
        if best.is_some_and(|(rank, ..)| rank == 0) {
            break;
        }
    }
    best.map(|(_, lineage, entry)| (lineage, entry))
}

/// The entry of a `compatible` list that stands first in `wanted`, and where it stands there.
pub(super) fn best_entry<'a>(list: &'a [u8], wanted: &[&str]) -> Option<(usize, &'a str)> {
    let rank = |entry: &[u8]| wanted.iter().position(|wanted| wanted.as_bytes() == entry);
    let (rank, entry) = entries(list).filter_map(|entry| Some((rank(entry)?, entry))).min_by_key(|(rank, _)| *rank)?;
    Some((rank, text(entry)))
}

/// The first enabled device of [`find`], as a device.
pub(super) fn device<'a>(blocks: Blocks<'a>, wanted: &[&str]) -> Option<Device<'a>> {
    let (lineage, compatible) = find(blocks, wanted)?;
    Some(Device { compatible, ..Device::at(lineage)? })
}

/// Whether the node and every bus above it are enabled.
pub(super) fn is_reachable(lineage: &Lineage<'_>) -> bool {
    lineage.upwards().all(|node| node.is_enabled())
}

/// How the children of `bus` write addresses and sizes. As in Linux, a bus that does not say it inherits its parent's
/// counts, and the root's default is 1.
fn cell_sizes(bus: &Lineage<'_>) -> CellSizes {
    let cells = |name| bus.upwards().find_map(|node| node.word(name)).unwrap_or(1) as usize;
    CellSizes { address: cells("#address-cells"), size: cells("#size-cells") }
}

/// `address` on `bus` as the processor sees it, through the `ranges` of `bus` and of every bus above it but the root.
fn translate(mut address: u64, mut bus: Lineage<'_>) -> Option<u64> {
    while let Some(above) = bus.parent() {
        let ranges = bus.node()?.property("ranges")?;
        if !ranges.is_empty() {
            address = translate_once(address, ranges, cell_sizes(&bus), cell_sizes(&above).address)?;
        }
        bus = above;
    }
    Some(address)
}

/// `address` on the bus above; an entry of `ranges` is (address here, address above, size).
fn translate_once(address: u64, ranges: &[u8], here: CellSizes, above: usize) -> Option<u64> {
    if here.address > 2 || here.size > 2 || above > 2 {
        return None;
    }
    let (above_at, size_at) = (4 * here.address, 4 * (here.address + above));
    ranges.chunks_exact(here.pair_bytes() + 4 * above).find_map(|entry| {
        let start = number(&entry[..above_at]);
        let offset = address.checked_sub(start).filter(|offset| *offset < number(&entry[size_at..]))?;
        number(&entry[above_at..size_at]).checked_add(offset)
    })
}
