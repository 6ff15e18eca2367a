//! /proc/vmstat: every counter of the machine, a line each.
//!
//! Neighbour: [`crate::vmstat`] has the names and their order. Linux: `vmstat_show`.

use core::fmt;

use super::meminfo::SystemInfo;
use super::{Form, json};
use crate::mm::memory::{Env, Memory};
use crate::vmstat::{NodeStat, VmStat, WritebackStat, ZoneStat};

/// Writes the table.
pub fn write<E: Env>(memory: &Memory<'_, E>, form: Form, out: &mut dyn fmt::Write) -> fmt::Result {
    for (stat, value) in values(memory) {
        match form {
            Form::Text => writeln!(out, "{stat} {value}")?,
            Form::Json => json::Object::new(out).word("name", stat)?.field("value", value)?.end()?,
        }
    }
    Ok(())
}

/// Every counter with its value, in the order of the file.
pub fn values<E: Env>(memory: &Memory<'_, E>) -> impl Iterator<Item = (VmStat, u64)> {
    VmStat::all(memory.zone_types()).map(|stat| (stat, value(memory, stat)))
}

fn value<E: Env>(memory: &Memory<'_, E>, stat: VmStat) -> u64 {
    match stat {
        VmStat::Zone(stat) => memory.zones().map(|zone| zone.stat(stat)).sum(),
        VmStat::Numa(stat) => memory.zones().map(|zone| zone.numa(stat)).sum(),
        VmStat::Node(stat) => memory.online_nodes().map(|node| node.stat(stat)).sum(),
        VmStat::Writeback(stat) => dirty_limit(memory, stat),
        VmStat::Event(event) => memory.event(event),
        VmStat::ZoneEvent(event, index, _) => memory.zone_event(event, index),
    }
}

/// Dirty pages above which a writer is throttled, or writing starts in the background: 20 and 10 per cent of the pages
/// that could be dirty. Linux: `global_dirty_limits`.
fn dirty_limit<E: Env>(memory: &Memory<'_, E>, stat: WritebackStat) -> u64 {
    const PER_4096: [u64; WritebackStat::COUNT] = [4096 * 20 / 100, 4096 * 10 / 100];
    let info = SystemInfo::of(memory);
    let free = info.zone[ZoneStat::NrFreePages.index()].saturating_sub(info.totalreserve);
    let cache = info.node[NodeStat::NrInactiveFile.index()] + info.node[NodeStat::NrActiveFile.index()];
    (free + cache + 1) * PER_4096[stat.index()] / 4096
}
