//! /sys/kernel/debug/extfrag: how far each zone's free memory is from serving each order.
//!
//! Two tables of one shape, a number for each order. Neighbours: [`fragmentation`] computes, `buddyinfo` shows the
//! blocks it computes from. Linux: `unusable_show`, `extfrag_show`.

use core::fmt;

use super::buddyinfo::Row;
use super::{Form, json};
use crate::addr::Order;
use crate::mm::fragmentation::{self, NrFree};
use crate::mm::memory::{Env, Memory};

/// An index of one zone and order, in thousandths.
type Index = fn(&NrFree, Order) -> i64;

/// Writes how likely the pieces are to blame for a failure: -1.000 where none is to be feared.
pub fn write_extfrag<E: Env>(memory: &Memory<'_, E>, form: Form, out: &mut dyn fmt::Write) -> fmt::Result {
    write(memory, fragmentation::extfrag_index, form, out)
}

/// Writes which part of the free memory is of no use to the order.
pub fn write_unusable<E: Env>(memory: &Memory<'_, E>, form: Form, out: &mut dyn fmt::Write) -> fmt::Result {
    write(memory, fragmentation::unusable_index, form, out)
}

fn write<E: Env>(memory: &Memory<'_, E>, index: Index, form: Form, out: &mut dyn fmt::Write) -> fmt::Result {
    for row in memory.populated_zones().map(Row::of) {
        match form {
            Form::Text => write_text(&row, index, out)?,
            Form::Json => {
                let values = Order::all().map(|order| index(&row.nr_free, order));
                let mut object = json::Object::new(out);
                object.field("node", row.node)?.word("zone", row.zone)?.array("thousandths", values)?.end()?;
            }
        }
    }
    Ok(())
}

/// The line with its trailing space. As in C, both parts of a negative number have its sign.
fn write_text(row: &Row, index: Index, out: &mut dyn fmt::Write) -> fmt::Result {
    write!(out, "Node {}, zone {:>8} ", row.node, row.zone)?;
    for order in Order::all() {
        let value = index(&row.nr_free, order);
        write!(out, "{}.{:03} ", value / 1000, value % 1000)?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mmzone::{NodeId, ZoneType};

    fn line(nr_free: NrFree, index: Index) -> String {
        let mut text = String::new();
        write_text(&Row { node: NodeId(0), zone: ZoneType::Dma32, nr_free }, index, &mut text).unwrap();
        text
    }

    #[test]
    fn a_row_is_byte_for_byte_that_of_linux() {
        let nr_free = [4, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            line(nr_free, fragmentation::unusable_index),
            "Node 0, zone    DMA32 0.000 0.166 0.333 0.333 1.000 1.000 1.000 1.000 1.000 1.000 1.000 \n"
        );
        assert_eq!(
            line(nr_free, fragmentation::extfrag_index),
            "Node 0, zone    DMA32 -1.000 -1.000 -1.000 -1.000 0.688 0.782 0.829 0.852 0.864 0.870 0.873 \n"
        );
        assert!(line([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], fragmentation::extfrag_index).contains(" -1.000 0.-500 "));
    }
}
