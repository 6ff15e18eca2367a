//! /proc/page_owner: who allocated each block that is in use, on machines booted with `page_owner=on`.
//!
//! Key type: [`Entry`], a block. Each has Linux's two lines and then, where Linux prints the stack, one of ours that
//! names the task and the time; a blank line ends it. Neighbour: [`crate::mm::page_owner`] keeps the records. Linux:
//! `read_page_owner`, `print_page_owner`; its file is /sys/kernel/debug/page_owner.
//!
//! Linux does more: it keeps stacks, says why a page was migrated, and prints zone and node among the flags.

use core::fmt;

use super::{Form, json};
use crate::addr::{Order, PAGEBLOCK_ORDER, Pfn};
use crate::mm::census;
use crate::mm::memory::{Env, Memory};
use crate::mm::page::{Kind, PageFlags, PageState};
use crate::mm::page_owner::Owner;
use crate::mmzone::MigrateType;

/// Marks by the names and bit numbers that Linux has for them, in the order in which it prints them. What Linux keeps
/// elsewhere than in `page->flags` is not among them.
const FLAGS: [(PageFlags, u32, &str); 11] = [
    (PageFlags::LOCKED, 0, "locked"),
    (PageFlags::REFERENCED, 2, "referenced"),
    (PageFlags::DIRTY, 4, "dirty"),
    (PageFlags::LRU, 5, "lru"),
    (PageFlags::ACTIVE, 6, "active"),
    (PageFlags::SLAB, 9, "slab"),
    (PageFlags::WRITEBACK, 15, "writeback"),
    (PageFlags::HEAD, 16, "head"),
    (PageFlags::RECLAIM, 18, "reclaim"),
    (PageFlags::SWAPBACKED, 19, "swapbacked"),
    (PageFlags::UNEVICTABLE, 20, "unevictable"),
];

/// A block in use.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// First page.
    pub pfn: Pfn,
    /// Order of the block.
    pub order: Order,
    /// Marks of the first page.
    pub flags: PageFlags,
    /// Type of the pageblock that it lies in.
    pub pageblock: MigrateType,
    /// Who allocated it.
    pub owner: Owner,
}

impl Entry {
    /// The block at `pfn`, if it is in use.
    fn of<E: Env>(memory: &Memory<'_, E>, pfn: Pfn, state: PageState) -> Option<Entry> {
        let index = memory.pages.checked_index(pfn).filter(|_| state.is(Kind::Allocated))?;
        let (order, flags) = (state.order(), state.flags());
        let (pageblock, owner) = (memory.blocks.of(index).migratetype(), memory.page_owners.get(index)?);
        Some(Entry { pfn, order, flags, pageblock, owner })
    }

    /// The type that the mask asked for.
    fn migratetype(&self) -> MigrateType {
        self.owner.gfp.migratetype().unwrap_or(MigrateType::Unmovable)
    }

    fn write_json(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let Owner { pid, gfp, time_ns, .. } = self.owner;
        let mut row = json::Object::new(out);
        row.field("pfn", self.pfn.0)?.field("order", self.order)?.field("mask", gfp.bits())?.word("gfp", gfp)?;
        row.word("type", self.migratetype())?.word("pageblock_type", self.pageblock)?;
        row.word("flags", Names(self.flags))?.field("pid", pid)?.text("comm", self.owner.comm())?;
        row.field("time_ns", time_ns)?.end()
    }
}

/// The three lines, without the blank one.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Owner { pid, gfp, time_ns, .. } = self.owner;
        let block = self.pfn.0 >> PAGEBLOCK_ORDER;
        writeln!(f, "Page allocated via order {}, mask {:#x}({gfp})", self.order, gfp.bits())?;
        write!(f, "PFN {} type {} Block {block} type {} ", self.pfn.0, self.migratetype(), self.pageblock)?;
        writeln!(f, "Flags {:#x}({})", linux_bits(self.flags), Names(self.flags))?;
        writeln!(
            f,
            " pid {pid} ({}), {}.{:06} s",
            self.owner.comm(),
            time_ns / 1_000_000_000,
            time_ns / 1000 % 1_000_000
        )
    }
}

/// The marks as `page->flags` has them.
fn linux_bits(flags: PageFlags) -> u64 {
    FLAGS.iter().filter(|(mark, ..)| flags.contains(*mark)).map(|(_, bit, _)| 1 << bit).sum()
}

/// The marks by Linux's names, with `|` between them.
struct Names(PageFlags);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (_, _, name) in FLAGS.iter().filter(|(mark, ..)| self.0.contains(*mark)) {
            write!(f, "{separator}{name}")?;
            separator = "|";
        }
        Ok(())
    }
}

/// Writes an entry for each block in use, by page number.
pub fn write<E: Env>(memory: &Memory<'_, E>, form: Form, out: &mut dyn fmt::Write) -> fmt::Result {
    let mut result = Ok(());
    for zone in memory.populated_zones() {
        census::for_each_head(memory, zone, |pfn, state| {
            let Some(entry) = Entry::of(memory, pfn, state).filter(|_| result.is_ok()) else { return };
            result = match form {
                Form::Text => writeln!(out, "{entry}"),
                Form::Json => entry.write_json(out),
            };
        });
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gfp::Gfp;

    fn entry() -> Entry {
        let owner = Owner { pid: 2, comm: *b"say\"hi\"\0", gfp: Gfp::GFP_HIGHUSER_MOVABLE, time_ns: 1_000_077_999 };
        let flags = PageFlags::HEAD | PageFlags::REFERENCED | PageFlags::PFMEMALLOC;
        Entry { pfn: Pfn(0x48208), order: Order::new(3).unwrap(), flags, pageblock: MigrateType::Unmovable, owner }
    }

    #[test]
    fn linux_lines_come_first() {
        let text = "Page allocated via order 3, mask 0x6200ca(GFP_HIGHUSER_MOVABLE)\n\
                    PFN 295432 type Movable Block 577 type Unmovable Flags 0x10004(referenced|head)\n \
                    pid 2 (say\"hi\"), 1.000077 s\n";
        assert_eq!(entry().to_string(), text);
        let bare = Entry { flags: PageFlags::empty(), ..entry() };
        assert!(bare.to_string().contains(" Flags 0x0()\n"));
    }

    #[test]
    fn an_entry_as_json() {
        let mut text = String::new();
        entry().write_json(&mut text).unwrap();
        assert_eq!(
            text,
            "{\"pfn\":295432,\"order\":3,\"mask\":6422730,\"gfp\":\"GFP_HIGHUSER_MOVABLE\",\"type\":\"Movable\",\
             \"pageblock_type\":\"Unmovable\",\"flags\":\"referenced|head\",\"pid\":2,\"comm\":\"say\\\"hi\\\"\",\
             \"time_ns\":1000077999}\n"
        );
    }
}
