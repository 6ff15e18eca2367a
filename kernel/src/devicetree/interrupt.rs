//! Interrupts of devices, as the GIC numbers them.
//!
//! The way from a device to its controller goes up through `interrupt-parent`. Linux: `of_irq_parse_one`,
//! `of_irq_find_parent`, `gic_irq_domain_translate`.
//!
//! Linux does more: controllers behind controllers, and `interrupt-map`.

use super::DeviceTree;
use super::cells::{be32, word};
use super::device;
use super::structure::Blocks;
use super::walk::{Lineage, Node, Walk};

/// `compatible` of every GIC whose interrupts are written (kind, number, flags).
pub const GIC: [&str; 7] = [
    "arm,gic-v3",
    "arm,gic-400",
    "arm,cortex-a15-gic",
    "arm,cortex-a9-gic",
    "arm,cortex-a7-gic",
    "arm,pl390",
    "qcom,msm-qgic2",
];

/// Which interrupts a number counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InterruptKind {
    /// Shared by all processors.
    Spi,
    /// Private to each processor.
    Ppi,
}

/// An interrupt at the GIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interrupt {
    /// What `number` counts.
    pub kind: InterruptKind,
    /// The number in its kind: a shared one below 988, a private one below 16.
    pub number: u32,
    /// 1 rising edge, 2 falling edge, 4 high level, 8 low level; a GICv2's private ones carry a CPU mask in bits 8-15.
    pub flags: u32,
}

impl Interrupt {
    /// The number by which the GIC knows it.
    pub const fn intid(&self) -> u32 {
        match self.kind {
            InterruptKind::Spi => 32 + self.number,
            InterruptKind::Ppi => 16 + self.number,
        }
    }

    /// Whether an edge raises it, not a level.
    pub const fn is_edge(&self) -> bool {
        self.flags & 0b11 != 0
    }
}

/// Interrupt `n` of the device at the end of `lineage`.
pub(super) fn interrupt(lineage: &Lineage<'_>, n: usize) -> Option<Interrupt> {
    let device = lineage.node()?;
    if let Some(list) = device.property("interrupts-extended") {
        return extended(lineage.blocks(), list, n);
    }
    let controller = controller(lineage)?.node()?;
    let entry = interrupt_bytes(controller)?;
    decode(controller, device.property("interrupts")?.chunks_exact(entry).nth(n)?)
}

/// Interrupt `n` of a list in which each entry names its own controller.
fn extended(blocks: Blocks<'_>, mut list: &[u8], n: usize) -> Option<Interrupt> {
    for _ in 0..n {
        let (_, _, rest) = split_extended(blocks, list)?;
        list = rest;
    }
    let (controller, entry, _) = split_extended(blocks, list)?;
    decode(controller, entry)
}

/// The first entry of such a list: its controller, its bytes, and the rest of the list.
fn split_extended<'a, 'l>(blocks: Blocks<'a>, list: &'l [u8]) -> Option<(Node<'a>, &'l [u8], &'l [u8])> {
    let controller = find_phandle(blocks, be32(list, 0)?)?.node()?;
    let (entry, rest) = list.get(4..)?.split_at_checked(interrupt_bytes(controller)?)?;
    Some((controller, entry, rest))
}

/// Bytes of one interrupt at `controller`; `None` when there are none, or more than any controller uses.
fn interrupt_bytes(controller: Node<'_>) -> Option<usize> {
    let cells = controller.word("#interrupt-cells").filter(|cells| (1..=16).contains(cells))?;
    Some(4 * cells as usize)
}

/// The controller of a device: the nearest node upwards, by `interrupt-parent` or else by parentage, that counts cells
/// for interrupts. The steps are bounded because phandles may lead in a circle.
fn controller<'a>(lineage: &Lineage<'a>) -> Option<Lineage<'a>> {
    let mut at = *lineage;
    for _ in 0..DeviceTree::MAX_DEPTH {
        at = match at.node()?.word("interrupt-parent") {
            Some(phandle) => find_phandle(at.blocks(), phandle)?,
            None => at.parent()?,
        };
        if at.node()?.property("#interrupt-cells").is_some() {
            return Some(at);
        }
    }
    None
}

/// The node with this phandle.
fn find_phandle(blocks: Blocks<'_>, phandle: u32) -> Option<Lineage<'_>> {
    ["phandle", "linux,phandle"].into_iter().find_map(|name| {
        let mut walk = Walk::new(blocks);
        while let Some(value) = walk.next_value(name) {
            if word(value) == Some(phandle) {
                return Some(*walk.lineage());
            }
        }
        None
    })
}

/// One entry of three words or more, if `controller` is a GIC and the number is one that it has.
fn decode(controller: Node<'_>, entry: &[u8]) -> Option<Interrupt> {
    device::best_entry(controller.property("compatible")?, &GIC)?;
    let (kind, limit) = match be32(entry, 0)? {
        0 => (InterruptKind::Spi, 988),
        1 => (InterruptKind::Ppi, 16),
        _ => return None,
    };
    let number = be32(entry, 4).filter(|number| *number < limit)?;
    Some(Interrupt { kind, number, flags: be32(entry, 8)? })
}
