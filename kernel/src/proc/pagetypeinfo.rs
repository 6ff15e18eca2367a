//! /proc/pagetypeinfo: free blocks by migratetype and order, and pageblocks by migratetype.
//!
//! Key type: [`FreeBlocks`], the numbers of one zone. Neighbour: [`census`] counts them. Linux: `pagetypeinfo_show`.
//!
//! Linux does more: with `page_owner` it also counts the pageblocks that hold pages of another type.

use core::fmt;

use super::{Form, json};
use crate::addr::{MAX_ORDER, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER};
use crate::mm::census;
use crate::mm::memory::{Env, Memory};
use crate::mmzone::{MigrateType, NodeId, ZoneType};

/// Free blocks by migratetype and order.
pub type FreeBlocks = [[u64; MAX_ORDER as usize]; MigrateType::COUNT];

/// Writes both tables; as JSON one object for each zone and type.
pub fn write<E: Env>(memory: &Memory<'_, E>, form: Form, out: &mut dyn fmt::Write) -> fmt::Result {
    match form {
        Form::Text => write_text(memory, out),
        Form::Json => write_json(memory, out),
    }
}

fn write_text<E: Env>(memory: &Memory<'_, E>, out: &mut dyn fmt::Write) -> fmt::Result {
    write_header(out)?;
    for zone in memory.populated_zones() {
        write_free(out, zone.node, zone.zone_type, &census::free_blocks(memory, zone))?;
    }
    write_blocks_header(out)?;
    for zone in memory.populated_zones() {
        write_blocks(out, zone.node, zone.zone_type, &census::pageblocks(memory, zone))?;
    }
    Ok(())
}

fn write_json<E: Env>(memory: &Memory<'_, E>, out: &mut dyn fmt::Write) -> fmt::Result {
    for zone in memory.populated_zones() {
        let (free, blocks) = (census::free_blocks(memory, zone), census::pageblocks(memory, zone));
        for migratetype in MigrateType::ALL {
            let mut row = json::Object::new(out);
            row.field("node", zone.node)?.word("zone", zone.zone_type)?.word("type", migratetype)?;
            row.array("nr_free", free[migratetype as usize])?;
            row.field("pageblocks", blocks[migratetype as usize])?.end()?;
        }
    }
    Ok(())
}

fn write_header(out: &mut dyn fmt::Write) -> fmt::Result {
    writeln!(out, "Page block order: {PAGEBLOCK_ORDER}")?;
    writeln!(out, "Pages per block:  {PAGEBLOCK_NR_PAGES}\n")?;
    write!(out, "{:<43} ", "Free pages count per migrate type at order")?;
    (0..MAX_ORDER).try_for_each(|order| write!(out, "{order:>6} "))?;
    writeln!(out)
}

fn write_free(out: &mut dyn fmt::Write, node: NodeId, zone: ZoneType, free: &FreeBlocks) -> fmt::Result {
    for migratetype in MigrateType::ALL {
        write!(out, "Node {node:>4}, zone {zone:>8}, type {migratetype:>12} ")?;
        free[migratetype as usize].iter().try_for_each(|blocks| write!(out, "{blocks:>6} "))?;
        writeln!(out)?;
    }
    Ok(())
}

fn write_blocks_header(out: &mut dyn fmt::Write) -> fmt::Result {
    write!(out, "\n{:<23}", "Number of blocks type ")?;
    MigrateType::ALL.iter().try_for_each(|migratetype| write!(out, "{migratetype:>12} "))?;
    writeln!(out)
}

fn write_blocks(
    out: &mut dyn fmt::Write,
    node: NodeId,
    zone: ZoneType,
    blocks: &[u64; MigrateType::COUNT],
) -> fmt::Result {
    write!(out, "Node {node}, zone {zone:>8} ")?;
    blocks.iter().try_for_each(|blocks| write!(out, "{blocks:>12} "))?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Linux printed on arm64 with 256 MiB, with the columns of CMA and Isolate that its build lacked, and our
    /// pageblock order.
    const LINUX: &str = "\
Page block order: 9
Pages per block:  512

Free pages count per migrate type at order       0      1      2      3      4      5      6      7      8      9     10 \n\
Node    0, zone    DMA32, type    Unmovable      1      1      1      0      0      1      0      1      1      1      0 \n\
Node    0, zone    DMA32, type      Movable      0      1      1      1      2      0      1      2      2      2     51 \n\
Node    0, zone    DMA32, type  Reclaimable      1      0      1      0      1      1      0      0      0      1      0 \n\
Node    0, zone    DMA32, type   HighAtomic      0      0      0      0      0      0      0      0      0      0      0 \n\
Node    0, zone    DMA32, type          CMA      0      0      0      0      0      0      0      0      0      0      0 \n\
Node    0, zone    DMA32, type      Isolate      0      0      0      0      0      0      0      0      0      0      0 \n\
\n\
Number of blocks type     Unmovable      Movable  Reclaimable   HighAtomic          CMA      Isolate \n\
Node 0, zone    DMA32            4           59            1            0            0            0 \n";

    #[test]
    fn the_table_is_byte_for_byte_that_of_linux() {
        let mut free = FreeBlocks::default();
        free[0] = [1, 1, 1, 0, 0, 1, 0, 1, 1, 1, 0];
        free[1] = [0, 1, 1, 1, 2, 0, 1, 2, 2, 2, 51];
        free[2] = [1, 0, 1, 0, 1, 1, 0, 0, 0, 1, 0];
        let mut text = String::new();
        write_header(&mut text).unwrap();
        write_free(&mut text, NodeId(0), ZoneType::Dma32, &free).unwrap();
        write_blocks_header(&mut text).unwrap();
        write_blocks(&mut text, NodeId(0), ZoneType::Dma32, &[4, 59, 1, 0, 0, 0]).unwrap();
        assert_eq!(text, LINUX);
    }
}
