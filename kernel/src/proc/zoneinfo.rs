//! /proc/zoneinfo: every configured zone with its watermarks, sizes, counters and per-CPU lists.
//!
//! Key types: `ZoneInfo` (the numbers of one zone) and `Pageset` (one CPU's share of it). Empty zones stop after the
//! protection array. Linux: `zoneinfo_show_print`.
//!
//! Linux does more: `node_unreclaimable` tells that kswapd has given the node up, and the counters of each CPU may lag
//! behind by the threshold.

use core::fmt;

use super::{Form, json};
use crate::mm::memory::{Env, Memory};
use crate::mm::node::Node;
use crate::mm::zone::Zone;
use crate::mmzone::{MAX_NR_ZONES, NodeId, Watermark, ZoneType};
use crate::vmstat::{NodeStat, NumaStat, ZoneStat};

/// The numbers of a zone, in pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct ZoneInfo {
    node: NodeId,
    zone: ZoneType,
    /// Min, Low and High with the boost.
    watermarks: [u64; 3],
    spanned: u64,
    present: u64,
    managed: u64,
    protection: [u64; MAX_NR_ZONES],
    /// Configured zones: so many entries of `protection` count.
    nr_zones: usize,
    stats: [u64; ZoneStat::COUNT],
    numa: [u64; NumaStat::COUNT],
    start_pfn: u64,
}

/// One CPU's lists of a zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Pageset {
    cpu: usize,
    count: u32,
    high: u32,
    batch: u32,
}

impl ZoneInfo {
    fn of(zone: &Zone, nr_zones: usize) -> ZoneInfo {
        ZoneInfo {
            node: zone.node,
            zone: zone.zone_type,
            watermarks: [Watermark::Min, Watermark::Low, Watermark::High].map(|mark| zone.watermark(mark)),
            spanned: zone.span.nr_pages(),
            present: zone.present,
            managed: zone.managed(),
            protection: core::array::from_fn(|index| zone.lowmem_reserve(index)),
            nr_zones,
            stats: core::array::from_fn(|stat| zone.stat(ZoneStat::ALL[stat])),
            numa: core::array::from_fn(|stat| zone.numa(NumaStat::ALL[stat])),
            start_pfn: zone.span.start.0,
        }
    }

    /// By how much the counters of one CPU may lag behind in Linux. Linux: `calculate_normal_threshold`.
    fn stat_threshold(&self, cpus: usize) -> u64 {
        let fls = |n: u64| u64::from(64 - n.leading_zeros());
        (2 * fls(cpus as u64) * (1 + fls(self.managed >> 15))).min(125)
    }

    fn write_sizes(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let [min, low, high] = self.watermarks;
        writeln!(out, "  pages free     {}", self.stats[ZoneStat::NrFreePages.index()])?;
        for (label, pages) in [
            ("min", min),
            ("low", low),
            ("high", high),
            ("spanned", self.spanned),
            ("present", self.present),
            ("managed", self.managed),
        ] {
            writeln!(out, "        {label:<8} {pages}")?;
        }
        out.write_str("        protection: (")?;
        for (index, pages) in self.protection[..self.nr_zones].iter().enumerate() {
            write!(out, "{}{pages}", if index == 0 { "" } else { ", " })?;
        }
        out.write_str(")\n")
    }

    fn write_counters(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        for (stat, pages) in ZoneStat::ALL.iter().zip(self.stats) {
            write_counter(out, stat.name(), pages)?;
        }
        for (stat, requests) in NumaStat::ALL.iter().zip(self.numa) {
            write_counter(out, stat.name(), requests)?;
        }
        Ok(())
    }

    fn write_json(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let [min, low, high] = self.watermarks;
        let mut row = json::Object::new(out);
        row.word("table", "zone")?.field("node", self.node)?.word("zone", self.zone)?;
        row.field("min", min)?.field("low", low)?.field("high", high)?;
        row.field("spanned", self.spanned)?.field("present", self.present)?.field("managed", self.managed)?;
        row.array("protection", self.protection.into_iter().take(self.nr_zones))?;
        for (stat, pages) in ZoneStat::ALL.iter().zip(self.stats) {
            row.field(stat.name(), pages)?;
        }
        for (stat, requests) in NumaStat::ALL.iter().zip(self.numa) {
            row.field(stat.name(), requests)?;
        }
        row.field("start_pfn", self.start_pfn)?.end()
    }
}

impl Pageset {
    fn of(zone: &Zone, cpu: usize) -> Pageset {
        let limits = zone.pcp_limits();
        Pageset { cpu, count: zone.pageset(cpu).count(), high: limits.high, batch: limits.batch }
    }

    fn write_text(&self, threshold: u64, out: &mut dyn fmt::Write) -> fmt::Result {
        writeln!(out, "    cpu: {}", self.cpu)?;
        writeln!(out, "              count: {}", self.count)?;
        writeln!(out, "              high:  {}", self.high)?;
        writeln!(out, "              batch: {}", self.batch)?;
        writeln!(out, "  vm stats threshold: {threshold}")
    }

    fn write_json(&self, zone: &ZoneInfo, out: &mut dyn fmt::Write) -> fmt::Result {
        let mut row = json::Object::new(out);
        row.word("table", "pageset")?.field("node", zone.node)?.word("zone", zone.zone)?.field("cpu", self.cpu)?;
        row.field("count", self.count)?.field("high", self.high)?.field("batch", self.batch)?.end()
    }
}

fn write_counter(out: &mut dyn fmt::Write, name: &str, value: u64) -> fmt::Result {
    writeln!(out, "      {name:<12} {value}")
}

/// Writes the table for a machine that runs `nr_cpus` CPUs; as JSON one object for each node, zone and CPU's share of a
/// zone.
pub fn write<E: Env>(memory: &Memory<'_, E>, nr_cpus: usize, form: Form, out: &mut dyn fmt::Write) -> fmt::Result {
    for node in memory.online_nodes() {
        let zones = memory.zones_of(node.id);
        let first_populated = zones.iter().position(Zone::is_populated);
        for zone in zones {
            let node_stats = (first_populated == Some(zone.index)).then_some(node);
            let info = ZoneInfo::of(zone, zones.len());
            let pagesets = (0..nr_cpus).map(|cpu| Pageset::of(zone, cpu));
            match form {
                Form::Text => write_zone(&info, node_stats, pagesets, out)?,
                Form::Json => write_zone_json(&info, node_stats, pagesets, out)?,
            }
        }
    }
    Ok(())
}

fn write_zone(
    info: &ZoneInfo,
    node: Option<&Node>,
    pagesets: impl ExactSizeIterator<Item = Pageset>,
    out: &mut dyn fmt::Write,
) -> fmt::Result {
    writeln!(out, "Node {}, zone {:>8}", info.node, info.zone)?;
    if let Some(node) = node {
        writeln!(out, "  per-node stats")?;
        for &stat in NodeStat::ALL {
            write_counter(out, stat.name(), node.stat(stat))?;
        }
    }
    info.write_sizes(out)?;
    if info.present == 0 {
        return Ok(());
    }
    info.write_counters(out)?;
    writeln!(out, "  pagesets")?;
    let threshold = info.stat_threshold(pagesets.len());
    for pageset in pagesets {
        pageset.write_text(threshold, out)?;
    }
    writeln!(out, "  node_unreclaimable:  0")?;
    writeln!(out, "  start_pfn:           {}", info.start_pfn)
}

fn write_zone_json(
    info: &ZoneInfo,
    node: Option<&Node>,
    mut pagesets: impl Iterator<Item = Pageset>,
    out: &mut dyn fmt::Write,
) -> fmt::Result {
    if let Some(node) = node {
        let mut row = json::Object::new(out);
        row.word("table", "node")?.field("node", node.id)?;
        for &stat in NodeStat::ALL {
            row.field(stat.name(), node.stat(stat))?;
        }
        row.end()?;
    }
    info.write_json(out)?;
    if info.present == 0 {
        return Ok(());
    }
    pagesets.try_for_each(|pageset| pageset.write_json(info, out))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A populated and an empty zone of Linux on arm64 with 256 MiB, in v5.0's order of counters.
    const LINUX: &str = "\
Node 0, zone    DMA32
  per-node stats
      nr_inactive_anon 0
      nr_active_anon 0
      nr_inactive_file 0
      nr_active_file 0
      nr_unevictable 0
      nr_slab_reclaimable 0
      nr_slab_unreclaimable 0
      nr_isolated_anon 0
      nr_isolated_file 0
      workingset_nodes 0
      workingset_refault 0
      workingset_activate 0
      workingset_restore 0
      workingset_nodereclaim 0
      nr_anon_pages 0
      nr_mapped    0
      nr_file_pages 0
      nr_dirty     0
      nr_writeback 0
      nr_writeback_temp 0
      nr_shmem     0
      nr_shmem_hugepages 0
      nr_shmem_pmdmapped 0
      nr_anon_transparent_hugepages 0
      nr_unstable  0
      nr_vmscan_write 0
      nr_vmscan_immediate_reclaim 0
      nr_dirtied   0
      nr_written   0
      nr_kernel_misc_reclaimable 0
  pages free     55611
        min      486
        low      607
        high     728
        spanned  65536
        present  65536
        managed  59771
        protection: (0, 0, 0)
      nr_free_pages 55611
      nr_zone_inactive_anon 125
      nr_zone_active_anon 375
      nr_zone_inactive_file 0
      nr_zone_active_file 0
      nr_zone_unevictable 0
      nr_zone_write_pending 0
      nr_mlock     0
      nr_page_table_pages 21
      nr_kernel_stack 352
      nr_bounce    0
      nr_free_cma  0
      numa_hit     2061
      numa_miss    0
      numa_foreign 0
      numa_interleave 1207
      numa_local   2061
      numa_other   0
  pagesets
    cpu: 0
              count: 41
              high:  90
              batch: 15
  vm stats threshold: 4
  node_unreclaimable:  0
  start_pfn:           262144
Node 0, zone   Normal
  pages free     0
        min      0
        low      0
        high     0
        spanned  0
        present  0
        managed  0
        protection: (0, 0, 0)
";

    const PAGESET: Pageset = Pageset { cpu: 0, count: 41, high: 90, batch: 15 };

    fn empty(zone: ZoneType) -> ZoneInfo {
        ZoneInfo {
            node: NodeId(0),
            zone,
            watermarks: [0; 3],
            spanned: 0,
            present: 0,
            managed: 0,
            protection: [0; MAX_NR_ZONES],
            nr_zones: 3,
            stats: [0; ZoneStat::COUNT],
            numa: [0; NumaStat::COUNT],
            start_pfn: 0,
        }
    }

    fn golden() -> ZoneInfo {
        ZoneInfo {
            watermarks: [486, 607, 728],
            spanned: 65536,
            present: 65536,
            managed: 59771,
            stats: [55611, 125, 375, 0, 0, 0, 0, 0, 21, 352, 0, 0],
            numa: [2061, 0, 0, 1207, 2061, 0],
            start_pfn: 262_144,
            ..empty(ZoneType::Dma32)
        }
    }

    #[test]
    fn the_table_is_byte_for_byte_that_of_linux() {
        let mut text = String::new();
        write_zone(&golden(), Some(&Node::new(NodeId(0))), [PAGESET].into_iter(), &mut text).unwrap();
        write_zone(&empty(ZoneType::Normal), None, [PAGESET].into_iter(), &mut text).unwrap();
        assert_eq!(text, LINUX);
    }

    #[test]
    fn protection_has_an_entry_for_each_configured_zone() {
        let mut text = String::new();
        let info = ZoneInfo { protection: [0, 1007, 2014, 4028, 5035], nr_zones: 5, ..golden() };
        info.write_sizes(&mut text).unwrap();
        assert!(text.ends_with("        protection: (0, 1007, 2014, 4028, 5035)\n"));
    }

    #[test]
    fn thresholds_grow_with_cpus_and_memory() {
        let threshold = |managed, cpus| ZoneInfo { managed, ..golden() }.stat_threshold(cpus);
        assert_eq!(threshold(250_000, 1), 8);
        assert_eq!(threshold(250_000, 4), 24);
        assert_eq!(threshold(15_000, 1), 2);
        assert_eq!(threshold(768_530, 1), 12);
        assert_eq!(threshold(3976, 4), 6);
        assert_eq!(threshold(520_562, 8), 40);
        assert_eq!(threshold(u64::MAX >> 12, 8), 125);
    }

    #[test]
    fn json_has_a_line_for_node_zone_and_pageset() {
        let mut text = String::new();
        write_zone_json(&golden(), Some(&Node::new(NodeId(0))), [PAGESET].into_iter(), &mut text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("{\"table\":\"node\",\"node\":0,\"nr_inactive_anon\":0,"));
        assert!(lines[1].starts_with("{\"table\":\"zone\",\"node\":0,\"zone\":\"DMA32\",\"min\":486,\"low\":607,"));
        assert!(lines[1].contains("\"protection\":[0,0,0],\"nr_free_pages\":55611,"));
        assert_eq!(
            lines[2],
            "{\"table\":\"pageset\",\"node\":0,\"zone\":\"DMA32\",\"cpu\":0,\"count\":41,\"high\":90,\"batch\":15}"
        );
    }
}
