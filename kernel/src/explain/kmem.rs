//! Events of the page allocator in words.

use core::fmt::{self, Formatter};

use super::pages;
use crate::addr::Order;
use crate::trace::Kmem;

pub fn words(event: &Kmem, f: &mut Formatter<'_>) -> fmt::Result {
    match *event {
        Kmem::MmPageAlloc { page: Some(page), order, gfp, .. } => {
            write!(f, "the request with {} is served: {} from pfn {page}", gfp.mode(), pages(order.nr_pages()))
        }
        Kmem::MmPageAlloc { page: None, order, gfp, .. } => {
            write!(f, "the request with {} for {} fails", gfp.mode(), pages(order.nr_pages()))
        }
        Kmem::MmPageFree { page, order } => write!(f, "{} from pfn {page} are given back", pages(order.nr_pages())),
        Kmem::MmPageFreeBatched { page } => write!(f, "pfn {page} is given back as one of many"),
        Kmem::MmPageAllocZoneLocked { page, order: Order::ZERO, migratetype } => {
            write!(f, "pfn {page} leaves the zone's {migratetype} list for a list of this CPU")
        }
        Kmem::MmPageAllocZoneLocked { page, order, migratetype } => {
            let size = pages(order.nr_pages());
            write!(f, "a block of {size} at pfn {page} leaves the zone's {migratetype} list")
        }
        Kmem::MmPagePcpuDrain { page, migratetype } => {
            write!(f, "pfn {page} goes back from this CPU's list to the zone's {migratetype} list")
        }
        Kmem::MmPageAllocExtfrag {
            alloc_migratetype, fallback_migratetype, fallback_order, change_ownership, ..
        } => {
            write!(f, "no {alloc_migratetype} block was free: one of order {fallback_order} that was ")?;
            write!(f, "{fallback_migratetype} is used; ")?;
            f.write_str(if change_ownership {
                "its pageblock changes its type with it"
            } else {
                "its pageblock keeps its type and is mixed from now on"
            })
        }
        Kmem::SlabAlloc { ptr: Some(ptr), bytes_req, bytes_alloc, .. } => {
            write!(f, "an object of {bytes_alloc} bytes at {:#x} serves a request for {bytes_req}", ptr.0)
        }
        Kmem::SlabAlloc { ptr: None, bytes_req, gfp, .. } => {
            write!(f, "there is no object for a request with {} for {bytes_req} bytes", gfp.mode())
        }
        Kmem::SlabFree { ptr, .. } => write!(f, "the object at {:#x} is given back", ptr.0),
    }
}
