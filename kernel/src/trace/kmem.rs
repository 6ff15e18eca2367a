//! Events of the page allocator, as `include/trace/events/kmem.h` has them.
//!
//! Key type: [`Kmem`]. A page prints as the physical address of its frame, where Linux has the address of its record.

use core::fmt;

use crate::addr::{Order, PAGEBLOCK_ORDER, Pfn};
use crate::gfp::{Gfp, TraceNames};
use crate::mmzone::MigrateType;

/// A tracepoint of `kmem.h`. `Display` prints its fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kmem {
    /// A request ended; once per request, also when it failed.
    MmPageAlloc {
        /// The first page; `None` when the request failed.
        page: Option<Pfn>,
        /// Order of the request.
        order: Order,
        /// Migratetype of the request.
        migratetype: MigrateType,
        /// The mask as it was used.
        gfp: Gfp,
    },
    /// A block is being freed.
    MmPageFree {
        /// First page.
        page: Pfn,
        /// Order of the block.
        order: Order,
    },
    /// A page is being freed as one of many.
    MmPageFreeBatched {
        /// The page.
        page: Pfn,
    },
    /// A block left a free list of the zone.
    MmPageAllocZoneLocked {
        /// First page.
        page: Pfn,
        /// Order of the request.
        order: Order,
        /// The list.
        migratetype: MigrateType,
    },
    /// A page went from a per-CPU list back to the zone.
    MmPagePcpuDrain {
        /// The page.
        page: Pfn,
        /// The list to which it goes.
        migratetype: MigrateType,
    },
    /// A block of another type served the request.
    MmPageAllocExtfrag {
        /// First page of the block.
        page: Pfn,
        /// Order of the request.
        alloc_order: Order,
        /// Order of the block.
        fallback_order: Order,
        /// Type of the request.
        alloc_migratetype: MigrateType,
        /// List from which the block came.
        fallback_migratetype: MigrateType,
        /// Whether the pageblock now has the request's type.
        change_ownership: bool,
    },
}

impl Kmem {
    /// The tracepoint's name.
    pub const fn name(self) -> &'static str {
        match self {
            Kmem::MmPageAlloc { .. } => "mm_page_alloc",
            Kmem::MmPageFree { .. } => "mm_page_free",
            Kmem::MmPageFreeBatched { .. } => "mm_page_free_batched",
            Kmem::MmPageAllocZoneLocked { .. } => "mm_page_alloc_zone_locked",
            Kmem::MmPagePcpuDrain { .. } => "mm_page_pcpu_drain",
            Kmem::MmPageAllocExtfrag { .. } => "mm_page_alloc_extfrag",
        }
    }
}

/// A page as `page=` and `pfn=`.
struct Page(Option<Pfn>);

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pfn) => write!(f, "page={:#x} pfn={}", pfn.addr().0, pfn.0),
            None => f.write_str("page=(null) pfn=0"),
        }
    }
}

impl fmt::Display for Kmem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Kmem::MmPageAlloc { page, order, migratetype, gfp } => {
                let (page, names) = (Page(page), TraceNames(gfp));
                write!(f, "{page} order={order} migratetype={} gfp_flags={names}", migratetype as u8)
            }
            Kmem::MmPageFree { page, order } => write!(f, "{} order={order}", Page(Some(page))),
            Kmem::MmPageFreeBatched { page } => write!(f, "{} order=0", Page(Some(page))),
            Kmem::MmPageAllocZoneLocked { page, order, migratetype } => {
                let (page, refill) = (Page(Some(page)), u8::from(order == Order::ZERO));
                write!(f, "{page} order={order} migratetype={} percpu_refill={refill}", migratetype as u8)
            }
            Kmem::MmPagePcpuDrain { page, migratetype } => {
                write!(f, "{} order=0 migratetype={}", Page(Some(page)), migratetype as u8)
            }
            Kmem::MmPageAllocExtfrag {
                page,
                alloc_order,
                fallback_order,
                alloc_migratetype,
                fallback_migratetype,
                change_ownership,
            } => {
                let fragmenting = u8::from(fallback_order < Order::PAGEBLOCK);
                write!(
                    f,
                    "{} alloc_order={alloc_order} fallback_order={fallback_order} pageblock_order={PAGEBLOCK_ORDER} \
                     alloc_migratetype={} fallback_migratetype={} fragmenting={fragmenting} change_ownership={}",
                    Page(Some(page)),
                    alloc_migratetype as u8,
                    fallback_migratetype as u8,
                    u8::from(change_ownership),
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Event;

    fn check(event: Kmem, text: &str) {
        assert_eq!(Event::from(event).to_string(), text);
    }

    #[test]
    fn a_request() {
        let (order, migratetype) = (Order::new(2).unwrap(), MigrateType::Unmovable);
        let gfp = Gfp::GFP_KERNEL_ACCOUNT | Gfp::__GFP_ZERO;
        check(
            Kmem::MmPageAlloc { page: Some(Pfn(289676)), order, migratetype, gfp },
            "mm_page_alloc: page=0x46b8c000 pfn=289676 order=2 migratetype=0 gfp_flags=GFP_KERNEL_ACCOUNT|__GFP_ZERO",
        );
        check(
            Kmem::MmPageAlloc { page: None, order, migratetype, gfp: Gfp::empty() },
            "mm_page_alloc: page=(null) pfn=0 order=2 migratetype=0 gfp_flags=none",
        );
    }

    #[test]
    fn frees_and_lists() {
        let (page, migratetype) = (Pfn(0x40c08), MigrateType::Reclaimable);
        let order = Order::new(3).unwrap();
        check(Kmem::MmPageFree { page, order }, "mm_page_free: page=0x40c08000 pfn=265224 order=3");
        check(Kmem::MmPageFreeBatched { page }, "mm_page_free_batched: page=0x40c08000 pfn=265224 order=0");
        check(
            Kmem::MmPageAllocZoneLocked { page, order, migratetype },
            "mm_page_alloc_zone_locked: page=0x40c08000 pfn=265224 order=3 migratetype=2 percpu_refill=0",
        );
        check(
            Kmem::MmPageAllocZoneLocked { page, order: Order::ZERO, migratetype },
            "mm_page_alloc_zone_locked: page=0x40c08000 pfn=265224 order=0 migratetype=2 percpu_refill=1",
        );
        check(
            Kmem::MmPagePcpuDrain { page, migratetype },
            "mm_page_pcpu_drain: page=0x40c08000 pfn=265224 order=0 migratetype=2",
        );
    }

    #[test]
    fn a_fallback() {
        let event = |fallback_order, change_ownership| Kmem::MmPageAllocExtfrag {
            page: Pfn(283392),
            alloc_order: Order::ZERO,
            fallback_order: Order::new(fallback_order).unwrap(),
            alloc_migratetype: MigrateType::Unmovable,
            fallback_migratetype: MigrateType::Movable,
            change_ownership,
        };
        check(
            event(8, false),
            "mm_page_alloc_extfrag: page=0x45300000 pfn=283392 alloc_order=0 fallback_order=8 pageblock_order=9 \
             alloc_migratetype=0 fallback_migratetype=1 fragmenting=1 change_ownership=0",
        );
        check(
            event(9, true),
            "mm_page_alloc_extfrag: page=0x45300000 pfn=283392 alloc_order=0 fallback_order=9 pageblock_order=9 \
             alloc_migratetype=0 fallback_migratetype=1 fragmenting=0 change_ownership=1",
        );
    }
}
