//! Why there is no area, or an area was not freed.

use core::fmt;

use crate::addr::{PAGE_SHIFT, VirtAddr};
use crate::gfp::Gfp;

/// Why there is no area. Nothing is left of the attempt, but perhaps translation tables, which stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoArea {
    /// A request for no byte.
    Zero,
    /// More bytes than the second number, which is all of RAM.
    TooLarge(u64, u64),
    /// An interrupt handler must not ask.
    InInterrupt,
    /// The machine has no translation tables for that.
    NoMmu,
    /// No gap between the areas is large enough for so many bytes.
    NoAddresses(u64),
    /// No memory for the area's record, or the numbers of its pages, with this mask.
    NoRecord(Gfp),
    /// Only so many of so many pages.
    NoPages(u64, u64),
    /// No page for a translation table.
    NoTable,
}

impl fmt::Display for NoArea {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoArea::Zero => f.write_str("an area has one byte at least, not 0"),
            NoArea::TooLarge(bytes, ram) => write!(f, "all of RAM is {ram} bytes, too few for {bytes}"),
            NoArea::InInterrupt => f.write_str("vmalloc may sleep, whatever the mask: not in an interrupt"),
            NoArea::NoMmu => f.write_str("this machine maps nothing outside the linear map"),
            NoArea::NoAddresses(bytes) => write!(f, "no gap between the areas has room for {bytes} bytes"),
            NoArea::NoRecord(gfp) => write!(f, "no memory for the area's record or array, mode:{}", gfp.mode()),
            NoArea::NoPages(got, wanted) => {
                write!(f, "{got} of {wanted} pages could be had; they were freed again")
            }
            NoArea::NoTable => f.write_str("no page for a translation table"),
        }
    }
}

/// Why an area was not freed. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadVfree {
    /// An interrupt handler asks.
    InInterrupt,
    /// No page starts there.
    NotAligned(VirtAddr),
    /// No area has this address: never, or no more.
    NoArea(VirtAddr),
    /// Inside the area that starts at the second address.
    Inside(VirtAddr, VirtAddr),
    /// The area is on its way in or out.
    Busy(VirtAddr),
}

impl fmt::Display for BadVfree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadVfree::InInterrupt => f.write_str("vfree waits for every CPU: not in an interrupt"),
            BadVfree::NotAligned(at) => write!(f, "{:#x} is not the start of a page, hence of no area", at.0),
            BadVfree::NoArea(at) => write!(f, "no area of vmalloc has {:#x}; was it freed before?", at.0),
            BadVfree::Inside(at, start) => {
                let pages = (at.0 - start.0) >> PAGE_SHIFT;
                write!(f, "{:#x} is page {pages} of the area that starts at {:#x}", at.0, start.0)
            }
            BadVfree::Busy(at) => write!(f, "the area at {:#x} is being made or freed right now", at.0),
        }
    }
}
