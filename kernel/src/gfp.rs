//! GFP masks: what a request may do, where its pages may lie, and what kind of pages they are.
//!
//! [`Gfp`] is the mask with Linux v5.0's bit values, [`ZoneTable`] answers `gfp_zone` for one set of configured zones,
//! [`GfpWarning`] names the combinations that Linux warns of. The names live in one table, [`NAMES`], which prints masks
//! (`Display`), parses them ([`Gfp::parse`]), completes and explains them. Neighbours: `mmzone` has the zones and
//! migratetypes that a mask selects; `task` narrows a mask by the task's scopes.
//!
//! Linux does more: `__GFP_NOLOCKDEP` (0x800000) exists in builds with lockdep; here it is no bit of the mask.

use core::fmt;

use crate::mmzone::{MigrateType, ZoneType};

mod names;
mod parse;

pub use names::{GfpName, Mode, NAMES, NameKind, TraceNames};
pub use parse::{GfpError, GfpNote, ParsedGfp};

bitflags::bitflags! {
    /// The mask of a request. Bits without a name are kept until `gfp_allowed_mask` drops them, as in Linux.
    ///
    /// `Display` gives the names (`GFP_KERNEL|__GFP_ZERO`, nothing for zero), `{:#x}` the number, [`Gfp::mode`] both.
    #[doc(alias = "gfp_t")]
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Gfp: u32 {
        /// Zone selector: the lowest DMA zone.
        const __GFP_DMA = 0x1;
        /// Zone selector: highmem allowed.
        const __GFP_HIGHMEM = 0x2;
        /// Zone selector: DMA32.
        const __GFP_DMA32 = 0x4;
        /// Movable pages; with `__GFP_HIGHMEM` also the zone selector of Movable.
        const __GFP_MOVABLE = 0x8;
        /// Reclaimable pages.
        const __GFP_RECLAIMABLE = 0x10;
        /// May go to half of the min watermark.
        const __GFP_HIGH = 0x20;
        /// Reclaim may start I/O.
        const __GFP_IO = 0x40;
        /// Reclaim may call into filesystems; needed for an OOM kill.
        const __GFP_FS = 0x80;
        /// The caller will dirty the page: respect the node's dirty limit.
        const __GFP_WRITE = 0x100;
        /// No failure report.
        const __GFP_NOWARN = 0x200;
        /// Retry hard, but fail rather than kill.
        const __GFP_RETRY_MAYFAIL = 0x400;
        /// Never fail.
        const __GFP_NOFAIL = 0x800;
        /// One light round of reclaim or compaction, no OOM kill.
        const __GFP_NORETRY = 0x1000;
        /// Ignore the watermarks (slow path).
        const __GFP_MEMALLOC = 0x2000;
        /// Build a compound page.
        const __GFP_COMP = 0x4000;
        /// Zero the pages.
        const __GFP_ZERO = 0x8000;
        /// Keep off the reserves, whatever else asks for them.
        const __GFP_NOMEMALLOC = 0x1_0000;
        /// Enforce the cpuset.
        const __GFP_HARDWALL = 0x2_0000;
        /// The preferred node only.
        const __GFP_THISNODE = 0x4_0000;
        /// Cannot sleep: may go further below the min watermark (slow path).
        const __GFP_ATOMIC = 0x8_0000;
        /// Charge the memory cgroup.
        const __GFP_ACCOUNT = 0x10_0000;
        /// May sleep and reclaim itself.
        const __GFP_DIRECT_RECLAIM = 0x20_0000;
        /// May wake kswapd.
        const __GFP_KSWAPD_RECLAIM = 0x40_0000;
    }
}

/// The composite masks that callers use.
impl Gfp {
    /// Both kinds of reclaim.
    pub const __GFP_RECLAIM: Gfp = Gfp::__GFP_DIRECT_RECLAIM.union(Gfp::__GFP_KSWAPD_RECLAIM);
    /// Cannot sleep and matters: 0x480020.
    pub const GFP_ATOMIC: Gfp = Gfp::__GFP_HIGH.union(Gfp::__GFP_ATOMIC).union(Gfp::__GFP_KSWAPD_RECLAIM);
    /// An ordinary request of the kernel: 0x6000c0.
    pub const GFP_KERNEL: Gfp = Gfp::GFP_NOFS.union(Gfp::__GFP_FS);
    /// The same, charged to the memory cgroup: 0x7000c0.
    pub const GFP_KERNEL_ACCOUNT: Gfp = Gfp::GFP_KERNEL.union(Gfp::__GFP_ACCOUNT);
    /// Cannot sleep and may fail: 0x400000.
    pub const GFP_NOWAIT: Gfp = Gfp::__GFP_KSWAPD_RECLAIM;
    /// May sleep, starts no I/O: 0x600000.
    pub const GFP_NOIO: Gfp = Gfp::__GFP_RECLAIM;
    /// May sleep and do I/O, calls no filesystem: 0x600040.
    pub const GFP_NOFS: Gfp = Gfp::GFP_NOIO.union(Gfp::__GFP_IO);
    /// For user space, mapped by the kernel or hardware: 0x6200c0.
    pub const GFP_USER: Gfp = Gfp::GFP_KERNEL.union(Gfp::__GFP_HARDWALL);
    /// The lowest DMA zone: 0x1.
    pub const GFP_DMA: Gfp = Gfp::__GFP_DMA;
    /// Below 4 GiB: 0x4.
    pub const GFP_DMA32: Gfp = Gfp::__GFP_DMA32;
    /// For user space, not mapped by the kernel, stays where it is: 0x6200c2.
    pub const GFP_HIGHUSER: Gfp = Gfp::GFP_USER.union(Gfp::__GFP_HIGHMEM);
    /// For user space, may move: 0x6200ca.
    pub const GFP_HIGHUSER_MOVABLE: Gfp = Gfp::GFP_HIGHUSER.union(Gfp::__GFP_MOVABLE);
    /// A transparent huge page without reclaim: 0x342ca.
    pub const GFP_TRANSHUGE_LIGHT: Gfp = Gfp::GFP_HIGHUSER_MOVABLE
        .union(Gfp::__GFP_COMP)
        .union(Gfp::__GFP_NOMEMALLOC)
        .union(Gfp::__GFP_NOWARN)
        .difference(Gfp::__GFP_RECLAIM);
    /// A transparent huge page with direct reclaim: 0x2342ca.
    pub const GFP_TRANSHUGE: Gfp = Gfp::GFP_TRANSHUGE_LIGHT.union(Gfp::__GFP_DIRECT_RECLAIM);
}

/// The masks that the allocator itself uses.
impl Gfp {
    /// Every bit with a meaning: 0x7fffff. `gfp_allowed_mask` after boot.
    #[doc(alias = "__GFP_BITS_MASK")]
    pub const BITS_MASK: Gfp = Gfp::all();
    /// The zone selector: 0xf.
    #[doc(alias = "GFP_ZONEMASK")]
    pub const ZONE_MASK: Gfp =
        Gfp::__GFP_DMA.union(Gfp::__GFP_HIGHMEM).union(Gfp::__GFP_DMA32).union(Gfp::__GFP_MOVABLE);
    /// The bits that select the migratetype: 0x18.
    #[doc(alias = "GFP_MOVABLE_MASK")]
    pub const MOVABLE_MASK: Gfp = Gfp::__GFP_RECLAIMABLE.union(Gfp::__GFP_MOVABLE);
    /// How hard to try: 0x693ee0.
    #[doc(alias = "GFP_RECLAIM_MASK")]
    pub const RECLAIM_MASK: Gfp = Gfp::__GFP_RECLAIM
        .union(Gfp::__GFP_HIGH)
        .union(Gfp::__GFP_IO)
        .union(Gfp::__GFP_FS)
        .union(Gfp::__GFP_NOWARN)
        .union(Gfp::__GFP_RETRY_MAYFAIL)
        .union(Gfp::__GFP_NOFAIL)
        .union(Gfp::__GFP_NORETRY)
        .union(Gfp::__GFP_MEMALLOC)
        .union(Gfp::__GFP_NOMEMALLOC)
        .union(Gfp::__GFP_ATOMIC);
    /// Where the caller confines the request: 0x60000.
    #[doc(alias = "GFP_CONSTRAINT_MASK")]
    pub const CONSTRAINT_MASK: Gfp = Gfp::__GFP_HARDWALL.union(Gfp::__GFP_THISNODE);
    /// `gfp_allowed_mask` early in boot, when nothing may sleep: 0x1fff3f.
    #[doc(alias = "GFP_BOOT_MASK")]
    pub const BOOT_MASK: Gfp = Gfp::BITS_MASK.difference(Gfp::__GFP_RECLAIM.union(Gfp::__GFP_IO).union(Gfp::__GFP_FS));
    /// What a slab must not be asked with: 0xff800006.
    #[doc(alias = "GFP_SLAB_BUG_MASK")]
    pub const SLAB_BUG_MASK: Gfp =
        Gfp::__GFP_DMA32.union(Gfp::__GFP_HIGHMEM).union(Gfp::from_bits_retain(!Gfp::BITS_MASK.bits()));
}

impl Gfp {
    /// The zone selector, 0 to 15.
    const fn selector(self) -> u32 {
        self.bits() & Gfp::ZONE_MASK.bits()
    }

    /// The migratetype of the pages; `None` when the mask asks for movable *and* reclaimable ones.
    #[doc(alias = "gfpflags_to_migratetype")]
    #[inline]
    pub const fn migratetype(self) -> Option<MigrateType> {
        match (self.bits() & Gfp::MOVABLE_MASK.bits()) >> 3 {
            0 => Some(MigrateType::Unmovable),
            1 => Some(MigrateType::Movable),
            2 => Some(MigrateType::Reclaimable),
            _ => None,
        }
    }

    /// The two mobility bits as a number: that of the migratetype, or 3 when both are set.
    #[inline]
    pub const fn mobility(self) -> usize {
        ((self.bits() & Gfp::MOVABLE_MASK.bits()) >> 3) as usize
    }

    /// Whether the zone selector contradicts itself; such a request gets zone index 0.
    #[doc(alias = "GFP_ZONE_BAD")]
    #[inline]
    pub const fn has_bad_zone(self) -> bool {
        BAD_SELECTORS >> self.selector() & 1 != 0
    }

    /// Whether the caller may sleep to reclaim.
    #[doc(alias = "gfpflags_allow_blocking")]
    #[inline]
    pub const fn may_sleep(self) -> bool {
        self.contains(Gfp::__GFP_DIRECT_RECLAIM)
    }

    /// What is suspicious about the mask itself, in the order of [`GfpWarning`]. Linux warns when, and only if, a
    /// request reaches the place that notices.
    pub fn warnings(self) -> impl Iterator<Item = GfpWarning> {
        let has = |both: Gfp| self.contains(both);
        let unknown = self.difference(Gfp::BITS_MASK);
        let sleeps = self.may_sleep();
        [
            self.has_bad_zone().then_some(GfpWarning::BadZoneBits(self.selector())),
            self.migratetype().is_none().then_some(GfpWarning::MovableReclaimable),
            (has(Gfp::__GFP_ATOMIC) && sleeps).then_some(GfpWarning::AtomicMaySleep),
            (has(Gfp::__GFP_NOFAIL) && !sleeps).then_some(GfpWarning::NofailCannotSleep),
            has(Gfp::__GFP_NOFAIL.union(Gfp::__GFP_NORETRY)).then_some(GfpWarning::NofailNoretry),
            has(Gfp::__GFP_MEMALLOC.union(Gfp::__GFP_NOMEMALLOC)).then_some(GfpWarning::MemallocNomemalloc),
            (!unknown.is_empty()).then_some(GfpWarning::UnknownBits(unknown)),
        ]
        .into_iter()
        .flatten()
    }
}

/// Selectors with two of DMA, DMA32 and HIGHMEM: bit n stands for selector n.
const BAD_SELECTORS: u16 = 0xe8e8;

/// The zone index of each of the 16 zone selectors, four bits each, for one set of configured zones.
///
/// Linux packs as tightly as the number of zones allows; four bits suit every profile and make the shift a constant.
#[doc(alias = "GFP_ZONE_TABLE")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZoneTable(u64);

impl ZoneTable {
    /// The table for `zones`, the configured zone types by index. A type that is not configured falls to Normal.
    pub const fn new(zones: &[ZoneType]) -> ZoneTable {
        let mut table = 0;
        let mut selector = 0;
        while selector < 16 {
            if BAD_SELECTORS >> selector & 1 == 0 {
                table |= (zone_index(zones, selected(selector)) as u64) << (4 * selector);
            }
            selector += 1;
        }
        ZoneTable(table)
    }

    /// The index of the highest zone that `gfp` allows; 0 for a bad selector.
    #[doc(alias = "gfp_zone")]
    #[inline]
    pub const fn zone(self, gfp: Gfp) -> usize {
        (self.0 >> (4 * gfp.selector()) & 0xf) as usize
    }
}

/// The zone type that a good selector asks for.
const fn selected(selector: u32) -> ZoneType {
    let gfp = Gfp::from_bits_retain(selector);
    if gfp.contains(Gfp::__GFP_DMA) {
        ZoneType::Dma
    } else if gfp.contains(Gfp::__GFP_DMA32) {
        ZoneType::Dma32
    } else if gfp.contains(Gfp::__GFP_HIGHMEM.union(Gfp::__GFP_MOVABLE)) {
        ZoneType::Movable
    } else if gfp.contains(Gfp::__GFP_HIGHMEM) {
        ZoneType::HighMem
    } else {
        ZoneType::Normal
    }
}

/// Where `wanted` stands in `zones`, or else Normal; every profile has Normal.
const fn zone_index(zones: &[ZoneType], wanted: ZoneType) -> usize {
    let mut normal = 0;
    let mut index = 0;
    while index < zones.len() {
        if zones[index] as u8 == wanted as u8 {
            return index;
        }
        if matches!(zones[index], ZoneType::Normal) {
            normal = index;
        }
        index += 1;
    }
    normal
}

/// A combination of bits that can be told to be odd from the mask alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GfpWarning {
    /// Two of DMA, DMA32 and HIGHMEM; holds the selector. The request gets zone index 0.
    BadZoneBits(u32),
    /// Movable and reclaimable: there is no such migratetype, the request is refused.
    MovableReclaimable,
    /// `__GFP_ATOMIC` of a caller that may sleep: the slow path warns once and clears it.
    AtomicMaySleep,
    /// `__GFP_NOFAIL` of a caller that cannot sleep: the slow path warns once and fails.
    NofailCannotSleep,
    /// `__GFP_NOFAIL` with `__GFP_NORETRY`: loops, and never kills to get out.
    NofailNoretry,
    /// `__GFP_NOMEMALLOC` wins over `__GFP_MEMALLOC`.
    MemallocNomemalloc,
    /// Bits that v5.0 does not have; dropped before anything else is done.
    UnknownBits(Gfp),
}

impl fmt::Display for GfpWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GfpWarning::BadZoneBits(selector) => write!(f, "BUG: bad gfp zone bits {selector:#x}"),
            GfpWarning::MovableReclaimable => f.write_str("WARN: gfp MOVABLE|RECLAIMABLE"),
            GfpWarning::AtomicMaySleep => {
                f.write_str("WARN: __GFP_ATOMIC with __GFP_DIRECT_RECLAIM: the slow path clears __GFP_ATOMIC")
            }
            GfpWarning::NofailCannotSleep => {
                f.write_str("WARN: __GFP_NOFAIL without __GFP_DIRECT_RECLAIM: fails all the same")
            }
            GfpWarning::NofailNoretry => {
                f.write_str("note: __GFP_NOFAIL with __GFP_NORETRY: never fails and never kills")
            }
            GfpWarning::MemallocNomemalloc => f.write_str("note: __GFP_NOMEMALLOC wins over __GFP_MEMALLOC"),
            GfpWarning::UnknownBits(bits) => write!(f, "note: v5.0 has no bits {bits:#x}; they are dropped"),
        }
    }
}

#[cfg(test)]
mod tests;
