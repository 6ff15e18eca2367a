//! Events of pages that enter the LRU or become active, as `include/trace/events/pagemap.h` has them.
//!
//! Key types: [`Pagemap`], and [`PagemapFlags`], a page's properties as the event prints them. Neighbour: `mm::lru` and
//! its users emit them.

use core::fmt;

use bitflags::bitflags;

use super::fields::Page;
use crate::addr::Pfn;
use crate::reclaim_types::LruList;

bitflags! {
    /// Properties of a page, one column each. Linux: `PAGEMAP_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct PagemapFlags: u8 {
        /// `M`: some task maps it.
        const MAPPED = 0x01;
        /// `a`: belongs to a task; without it `f`, to a file.
        const ANONYMOUS = 0x02;
        /// `s`: has a place in swap.
        const SWAPCACHE = 0x08;
        /// `b`: would go to swap.
        const SWAPBACKED = 0x10;
        /// `d`: has blocks on disk.
        const MAPPEDDISK = 0x20;
        /// `B`: has private data.
        const BUFFERS = 0x40;
    }
}

/// A tracepoint of `pagemap.h`. `Display` prints its fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pagemap {
    /// A page enters an LRU list.
    MmLruInsertion {
        /// The page.
        page: Pfn,
        /// The list.
        lru: LruList,
        /// What kind of page it is.
        flags: PagemapFlags,
    },
    /// A page becomes active.
    MmLruActivate {
        /// The page.
        page: Pfn,
    },
}

impl Pagemap {
    /// The tracepoint's name.
    pub const fn name(self) -> &'static str {
        match self {
            Pagemap::MmLruInsertion { .. } => "mm_lru_insertion",
            Pagemap::MmLruActivate { .. } => "mm_lru_activate",
        }
    }
}

/// The columns; a blank for what the page is not.
impl fmt::Display for PagemapFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            (PagemapFlags::MAPPED, "M", " "),
            (PagemapFlags::ANONYMOUS, "a", "f"),
            (PagemapFlags::SWAPCACHE, "s", " "),
            (PagemapFlags::SWAPBACKED, "b", " "),
            (PagemapFlags::MAPPEDDISK, "d", " "),
            (PagemapFlags::BUFFERS, "B", " "),
        ];
        columns.iter().try_for_each(|&(flag, set, clear)| f.write_str(if self.contains(flag) { set } else { clear }))
    }
}

impl fmt::Display for Pagemap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Pagemap::MmLruInsertion { page, lru, flags } => {
                write!(f, "{} lru={} flags={flags}", Page(Some(page)), lru as u8)
            }
            Pagemap::MmLruActivate { page } => Page(Some(page)).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::assert_texts;

    #[test]
    fn insertion_and_activation() {
        let page = Pfn(297552);
        let insertion = |lru, flags| Pagemap::MmLruInsertion { page, lru, flags };
        let anon = PagemapFlags::MAPPED | PagemapFlags::ANONYMOUS | PagemapFlags::SWAPBACKED;
        assert_texts(&[
            (
                insertion(LruList::InactiveFile, PagemapFlags::empty()),
                "mm_lru_insertion: page=0x48a50000 pfn=297552 lru=2 flags= f    ",
            ),
            (insertion(LruList::ActiveAnon, anon), "mm_lru_insertion: page=0x48a50000 pfn=297552 lru=1 flags=Ma b  "),
            (
                insertion(LruList::Unevictable, PagemapFlags::all()),
                "mm_lru_insertion: page=0x48a50000 pfn=297552 lru=4 flags=MasbdB",
            ),
            (Pagemap::MmLruActivate { page }, "mm_lru_activate: page=0x48a50000 pfn=297552"),
        ]);
    }
}
