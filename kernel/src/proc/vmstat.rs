//! /proc/vmstat: every counter of the machine, a line each.
//!
//! Neighbour: [`crate::vmstat`] has the names and their order. Linux: `vmstat_show`.

use core::fmt;

use super::{Form, json};
use crate::mm::dirty_limits::dirty_limits;
use crate::mm::memory::{Env, Memory};
use crate::vmstat::{VmStat, WritebackStat};

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

/// Dirty pages above which a writer is throttled, or writing starts in the background.
fn dirty_limit<E: Env>(memory: &Memory<'_, E>, stat: WritebackStat) -> u64 {
    let limits = dirty_limits(memory);
    match stat {
        WritebackStat::NrDirtyThreshold => limits.threshold,
        WritebackStat::NrDirtyBackgroundThreshold => limits.background,
    }
}
