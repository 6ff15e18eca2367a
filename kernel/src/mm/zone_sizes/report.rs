//! What the boot log says about zones and nodes, in Linux's words.

use core::fmt;

use crate::addr::PfnRange;
use crate::memblock::{AddrRange, Memblock};
use crate::mm::pcp::PcpLimits;
use crate::mmzone::{NodeId, ZoneType};

use super::{NodeLayout, ZoneLayout, ZoneSize};

impl ZoneLayout {
    /// The lines from `Zone ranges:` to the sizes of the last zone; `line` gets each without its newline.
    pub fn report(&self, memblock: &Memblock, mut line: impl FnMut(fmt::Arguments<'_>)) {
        self.report_ranges(&mut line);
        line(format_args!("Movable zone start for each node"));
        for (id, start) in self.online().filter_map(|(id, node)| Some((id, node.movable_start?))) {
            line(format_args!("  Node {id}: {}", start.addr()));
        }
        line(format_args!("Early memory node ranges"));
        for (pages, node) in memblock.page_ranges() {
            line(format_args!("  node {:>3}: {}", node.unwrap_or_default().0, bytes_of(pages)));
        }
        for (id, node) in self.online() {
            self.report_node(id, node, &mut line);
        }
    }

    /// The lines about the zonelists.
    #[doc(alias = "build_all_zonelists")]
    pub fn report_zonelists(&self, mut line: impl FnMut(fmt::Arguments<'_>)) {
        let grouping = if self.groups_by_mobility() { "on" } else { "off" };
        let (nodes, pages) = (self.online().count(), self.total_pages());
        line(format_args!("Built {nodes} zonelists, mobility grouping {grouping}.  Total pages: {pages}"));
        line(format_args!("Policy zone: {}", self.policy_zone()));
    }

    fn report_ranges(&self, line: &mut impl FnMut(fmt::Arguments<'_>)) {
        line(format_args!("Zone ranges:"));
        for (i, kind) in self.types().iter().enumerate().filter(|(_, kind)| **kind != ZoneType::Movable) {
            let range = self.limits.range(i);
            if range.is_empty() {
                line(format_args!("  {kind:<8} empty"));
            } else {
                line(format_args!("  {kind:<8} {}", bytes_of(range)));
            }
        }
    }

    fn report_node(&self, id: NodeId, node: &NodeLayout, line: &mut impl FnMut(fmt::Arguments<'_>)) {
        if node.span.is_empty() {
            return line(format_args!("Initmem setup node {id} [<memory-less node>]"));
        }
        line(format_args!("Initmem setup node {id} {}", bytes_of(node.span)));
        line(format_args!("On node {id} totalpages: {}", node.present));
        for (i, zone) in node.zones().iter().enumerate() {
            self.report_zone(i, zone, line);
        }
    }

    /// Nothing is ever reserved for DMA on arm64, but the line is there.
    fn report_zone(&self, index: usize, zone: &ZoneSize, line: &mut impl FnMut(fmt::Arguments<'_>)) {
        let (kind, memmap) = (zone.kind, zone.memmap_pages());
        if !self.limits.is_highmem(kind) {
            if zone.present < memmap {
                line(format_args!("  {kind} zone: {memmap} pages exceeds freesize {}", zone.present));
            } else if memmap != 0 {
                line(format_args!("  {kind} zone: {memmap} pages used for memmap"));
            }
        }
        if index == 0 && zone.managed_estimate > 0 {
            line(format_args!("  {kind} zone: 0 pages reserved"));
        }
        if zone.present != 0 {
            // Linux prints the batch before it is raised to at least 1; high is six of them.
            let batch = PcpLimits::for_zone(zone.managed_estimate, 0).high / 6;
            line(format_args!("  {kind} zone: {} pages, LIFO batch:{batch}", zone.present));
        }
    }
}

fn bytes_of(pages: PfnRange) -> AddrRange {
    AddrRange::new(pages.start.addr(), pages.end.addr())
}
