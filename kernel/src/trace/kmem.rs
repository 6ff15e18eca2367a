//! Events of the page allocator, as `include/trace/events/kmem.h` has them.
//!
//! Key type: [`Kmem`].

use core::fmt;

use super::fields::Page;
use crate::addr::{Order, PAGEBLOCK_ORDER, Pfn, PhysAddr};
use crate::gfp::{Gfp, TraceNames};
use crate::mmzone::{MigrateType, NodeId};

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
    /// An object was asked for; also when there was none.
    SlabAlloc {
        /// By size, not by cache.
        is_kmalloc: bool,
        /// The object.
        ptr: Option<PhysAddr>,
        /// Bytes that the caller wants.
        bytes_req: u64,
        /// Bytes that it takes.
        bytes_alloc: u64,
        /// The mask.
        gfp: Gfp,
        /// The node that the caller names.
        node: Option<NodeId>,
    },
    /// An object is being given back.
    SlabFree {
        /// By its address alone, without its cache.
        is_kmalloc: bool,
        /// The object.
        ptr: PhysAddr,
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
            Kmem::SlabAlloc { is_kmalloc: true, node: None, .. } => "kmalloc",
            Kmem::SlabAlloc { is_kmalloc: true, node: Some(_), .. } => "kmalloc_node",
            Kmem::SlabAlloc { is_kmalloc: false, node: None, .. } => "kmem_cache_alloc",
            Kmem::SlabAlloc { is_kmalloc: false, node: Some(_), .. } => "kmem_cache_alloc_node",
            Kmem::SlabFree { is_kmalloc: true, .. } => "kfree",
            Kmem::SlabFree { is_kmalloc: false, .. } => "kmem_cache_free",
        }
    }
}

/// An object's address.
struct Ptr(Option<PhysAddr>);

impl fmt::Display for Ptr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(addr) => write!(f, "{:#x}", addr.0),
            None => f.write_str("(null)"),
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
            // Nobody knows here which instruction called.
            Kmem::SlabAlloc { ptr, bytes_req, bytes_alloc, gfp, node, .. } => {
                write!(f, "call_site=0 ptr={}", Ptr(ptr))?;
                write!(f, " bytes_req={bytes_req} bytes_alloc={bytes_alloc} gfp_flags={}", TraceNames(gfp))?;
                node.map_or(Ok(()), |node| write!(f, " node={node}"))
            }
            Kmem::SlabFree { ptr, .. } => write!(f, "call_site=0 ptr={}", Ptr(Some(ptr))),
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
    fn objects_come_and_go() {
        let alloc = |is_kmalloc, ptr, node| {
            let (gfp, node) = (Gfp::GFP_ATOMIC, node);
            Kmem::SlabAlloc { is_kmalloc, ptr, bytes_req: 200, bytes_alloc: 256, gfp, node }
        };
        let ptr = PhysAddr(0x4000_0100);
        check(
            alloc(true, Some(ptr), None),
            "kmalloc: call_site=0 ptr=0x40000100 bytes_req=200 bytes_alloc=256 gfp_flags=GFP_ATOMIC",
        );
        check(
            alloc(false, None, Some(NodeId(1))),
            "kmem_cache_alloc_node: call_site=0 ptr=(null) bytes_req=200 bytes_alloc=256 gfp_flags=GFP_ATOMIC node=1",
        );
        assert_eq!(alloc(true, None, Some(NodeId(0))).name(), "kmalloc_node");
        assert_eq!(alloc(false, None, None).name(), "kmem_cache_alloc");
        check(Kmem::SlabFree { is_kmalloc: true, ptr }, "kfree: call_site=0 ptr=0x40000100");
        check(Kmem::SlabFree { is_kmalloc: false, ptr }, "kmem_cache_free: call_site=0 ptr=0x40000100");
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
