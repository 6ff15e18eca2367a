//! `/reserved-memory`: ranges that somebody else owns, and wishes for ranges that somebody will own.
//!
//! Only read here; memblock acts on it. [`ReservedMemory`] is the node, [`ReservedNode`] one child.
//! Linux: `fdt_scan_reserved_mem` of `drivers/of/fdt.c` and `drivers/of/of_reserved_mem.c`.
//!
//! Linux does more: it hands the ranges to drivers (`memory-region`) and sets up coherent DMA pools in them.

use super::cells::{CellSizes, Pairs, entries, number};
use super::structure::Blocks;
use super::walk::Node;
use crate::addr::PhysAddr;

/// The node `/reserved-memory`.
#[derive(Clone, Copy, Debug)]
pub struct ReservedMemory<'a> {
    node: Node<'a>,
    root: CellSizes,
    /// Whether its cell sizes equal the root's and it has `ranges`. Linux ignores the whole node otherwise.
    pub supported_format: bool,
}

impl<'a> ReservedMemory<'a> {
    /// Reads the node, if there is one; `root` are the root's cell sizes.
    pub(super) fn read(blocks: Blocks<'a>, root: CellSizes) -> Option<ReservedMemory<'a>> {
        let node = Node::root(blocks)?.child("reserved-memory")?;
        let cells = |name| node.word(name).map(|cells| cells as usize);
        let same = cells("#address-cells") == Some(root.address) && cells("#size-cells") == Some(root.size);
        Some(ReservedMemory { node, root, supported_format: same && node.property("ranges").is_some() })
    }

    /// All children in the tree's order, disabled ones too.
    pub fn children(&self) -> impl Iterator<Item = ReservedNode<'a>> + use<'a> {
        let root = self.root;
        self.node.children().map(move |child| ReservedNode::read(child, root))
    }
}

/// One child of `/reserved-memory`.
#[derive(Clone, Copy, Debug)]
pub struct ReservedNode<'a> {
    /// The name with its unit address, as in `nvram@0`.
    pub name: &'a str,
    /// Whether there is a `reg`: the place is fixed.
    pub has_reg: bool,
    /// `size`: the bytes wanted at a place that is not fixed.
    pub size: Option<u64>,
    /// `alignment` of that place, in bytes.
    pub alignment: Option<u64>,
    /// Whether there is `alloc-ranges`: the place has to be in one of them.
    pub has_alloc_ranges: bool,
    /// The first of `reg`, `size`, `alignment`, `alloc-ranges` whose length is wrong; its value above is absent then.
    pub malformed: Option<&'static str>,
    /// `no-map`: nobody but the owner may map it.
    pub no_map: bool,
    /// `reusable`: the owner will cope with others using it meanwhile.
    pub reusable: bool,
    /// `compatible` has `shared-dma-pool`.
    pub shared_dma_pool: bool,
    /// `linux,cma-default`: the default area for contiguous allocations.
    pub linux_cma_default: bool,
    /// Whether `status` lets it count.
    pub enabled: bool,
    reg: Pairs<'a>,
    alloc_ranges: Pairs<'a>,
}

impl<'a> ReservedNode<'a> {
    fn read(node: Node<'a>, root: CellSizes) -> ReservedNode<'a> {
        let value = |name| node.property(name);
        let is_list = |value: &[u8]| value.len().is_multiple_of(root.pair_bytes());
        let (reg, alloc_ranges) = (value("reg"), value("alloc-ranges"));
        let (size, alignment) = (value("size"), value("alignment"));
        let faults = [
            ("reg", reg.is_some_and(|value| !is_list(value))),
            ("size", size.is_some_and(|value| value.len() != 4 * root.size)),
            ("alignment", alignment.is_some_and(|value| value.len() != 4 * root.address)),
            ("alloc-ranges", alloc_ranges.is_some_and(|value| !is_list(value))),
        ];
        let pairs = |value: Option<&'a [u8]>| Pairs::new(value.filter(|value| is_list(value)).unwrap_or(&[]), root);
        ReservedNode {
            name: node.name(),
            has_reg: reg.is_some(),
            size: size.filter(|value| value.len() == 4 * root.size).map(number),
            alignment: alignment.filter(|value| value.len() == 4 * root.address).map(number),
            has_alloc_ranges: alloc_ranges.is_some(),
            malformed: faults.iter().find(|(_, is_fault)| *is_fault).map(|(name, _)| *name),
            no_map: value("no-map").is_some(),
            reusable: value("reusable").is_some(),
            shared_dma_pool: value("compatible")
                .is_some_and(|list| entries(list).any(|entry| entry == b"shared-dma-pool")),
            linux_cma_default: value("linux,cma-default").is_some(),
            enabled: node.is_enabled(),
            reg: pairs(reg),
            alloc_ranges: pairs(alloc_ranges),
        }
    }

    /// The (base, size) pairs of `reg`, those of size 0 too; none when it is absent or malformed.
    pub fn regs(&self) -> impl Iterator<Item = (PhysAddr, u64)> + use<'a> {
        self.reg.map(|(base, size)| (PhysAddr(base), size))
    }

    /// The (start, length) pairs of `alloc-ranges`; none when it is absent or malformed.
    pub fn alloc_ranges(&self) -> impl Iterator<Item = (PhysAddr, u64)> + use<'a> {
        self.alloc_ranges.map(|(start, len)| (PhysAddr(start), len))
    }
}
