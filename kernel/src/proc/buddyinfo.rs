//! /proc/buddyinfo: how many free blocks of each order every zone has.
//!
//! Key type: [`Row`]. Neighbour: `pagetypeinfo` tells the same blocks apart by migratetype. Linux:
//! `frag_show_print`.

use core::fmt;

use super::{Form, json};
use crate::addr::{MAX_ORDER, Order};
use crate::mm::memory::{Env, Memory};
use crate::mm::zone::Zone;
use crate::mmzone::{NodeId, ZoneType};

/// The line of a populated zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// The node.
    pub node: NodeId,
    /// The zone.
    pub zone: ZoneType,
    /// Free blocks by order.
    pub nr_free: [u64; MAX_ORDER as usize],
}

impl Row {
    /// The zone's line as of now.
    pub fn of(zone: &Zone) -> Row {
        let mut nr_free = [0; MAX_ORDER as usize];
        for order in Order::all() {
            nr_free[order.index()] = zone.counts.nr_free(order);
        }
        Row { node: zone.node, zone: zone.zone_type, nr_free }
    }

    fn write_json(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let mut row = json::Object::new(out);
        row.field("node", self.node)?.word("zone", self.zone)?.array("nr_free", self.nr_free)?.end()
    }
}

/// The line with its trailing space, without the newline.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node {}, zone {:>8} ", self.node, self.zone)?;
        self.nr_free.iter().try_for_each(|blocks| write!(f, "{blocks:>6} "))
    }
}

/// Writes the table.
pub fn write<E: Env>(memory: &Memory<'_, E>, form: Form, out: &mut dyn fmt::Write) -> fmt::Result {
    for row in memory.populated_zones().map(Row::of) {
        match form {
            Form::Text => writeln!(out, "{row}")?,
            Form::Json => row.write_json(out)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_byte_for_byte_that_of_linux() {
        let row = |zone, nr_free| Row { node: NodeId(0), zone, nr_free }.to_string();
        // From Linux on arm64 with 256 MiB.
        assert_eq!(
            row(ZoneType::Dma32, [8, 6, 1, 2, 2, 1, 2, 3, 3, 4, 51]),
            "Node 0, zone    DMA32      8      6      1      2      2      1      2      3      3      4     51 "
        );
        assert_eq!(
            row(ZoneType::Normal, [1_234_567, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            "Node 0, zone   Normal 1234567      0      0      0      0      0      0      0      0      0      0 "
        );
    }

    #[test]
    fn a_row_as_json() {
        let mut text = String::new();
        let row = Row { node: NodeId(1), zone: ZoneType::HighMem, nr_free: [1, 0, 1, 1, 1, 1, 1, 0, 1, 1, 3] };
        row.write_json(&mut text).unwrap();
        assert_eq!(text, "{\"node\":1,\"zone\":\"HighMem\",\"nr_free\":[1,0,1,1,1,1,1,0,1,1,3]}\n");
    }
}
