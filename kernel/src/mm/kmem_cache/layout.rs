//! How a cache lays out its objects, and how large its slabs are.
//!
//! [`Layout::new`] is the arithmetic of Linux's `calculate_sizes`, `slab_order` and `calculate_order`: the same sizes give
//! the same slabs, for the same number of CPUs. An object stands in a *slot*:
//!
//! ```text
//!   slot ->  | left redzone | object | right redzone, padding | link while free |  the next slot
//!            0          red_left   +object_size            +offset            size
//! ```
//!
//! In a plain cache there is nothing but the object, and the link lies in its first eight bytes while it is free.
//!
//! Linux does more: constructors, objects that outlive an RCU grace period, and records of who allocated each object.

use core::fmt;

use bitflags::bitflags;

use crate::addr::{MAX_ORDER, Order, PAGE_SHIFT, PAGE_SIZE, get_order};
use crate::gfp::Gfp;

/// What surrounds a free object.
pub const RED_INACTIVE: u8 = 0xbb;
/// What surrounds an object in use.
pub const RED_ACTIVE: u8 = 0xcc;
/// What is in a slab where no object is. Linux: `POISON_INUSE`.
pub const POISON_PADDING: u8 = 0x5a;
/// What a free object is full of.
pub const POISON_FREE: u8 = 0x6b;
/// The last byte of a free object.
pub const POISON_END: u8 = 0xa5;

/// Orders above this one are used only for objects that need them. Linux: `slub_max_order`.
const MAX_SLAB_ORDER: u32 = 3;
/// Bytes of a cache line. Linux: `cache_line_size`.
const CACHE_LINE: u64 = 64;
/// Bytes of a word: objects are whole words.
const WORD: u64 = 8;
/// Bytes of the largest object. Linux: `KMALLOC_MAX_SIZE`.
pub const MAX_OBJECT_SIZE: u64 = PAGE_SIZE << (MAX_ORDER - 1);
/// Objects of a slab at most: words in a page, since larger orders are used for larger objects alone.
pub const MAX_OBJECTS: u16 = (PAGE_SIZE / WORD) as u16;

bitflags! {
    /// What a cache is like. Linux: `SLAB_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct CacheFlags: u32 {
        /// Check each object when it comes and goes. Linux: `SLAB_CONSISTENCY_CHECKS`.
        const CONSISTENCY_CHECKS = 0x100;
        /// Surround each object with bytes that nobody should touch.
        const RED_ZONE = 0x400;
        /// Fill free objects with bytes that nobody should touch.
        const POISON = 0x800;
        /// Objects start with a cache line, or a part of one.
        const HWCACHE_ALIGN = 0x2000;
        /// Pages come from the zone DMA.
        const CACHE_DMA = 0x4000;
        /// Objects can be reclaimed: pages are of type Reclaimable.
        const RECLAIM_ACCOUNT = 0x2_0000;

        /// With any of these, every object is looked at when it comes and goes. Linux: `SLAB_DEBUG_FLAGS`.
        const DEBUG = Self::CONSISTENCY_CHECKS.bits() | Self::RED_ZONE.bits() | Self::POISON.bits();
    }
}

/// Why there can be no such layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LayoutError {
    /// Objects of so many bytes.
    Size(u64),
    /// An alignment of so many bytes.
    Align(u64),
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayoutError::Size(size) => write!(f, "an object has 8 to {MAX_OBJECT_SIZE} bytes, not {size}"),
            LayoutError::Align(align) => write!(f, "objects are aligned to a power of two up to 4096, not to {align}"),
        }
    }
}

/// Where the objects of a slab are. Sizes and offsets in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Layout {
    /// What users get.
    pub object_size: u32,
    /// From one slot to the next.
    pub size: u32,
    /// From the object's first byte to the end of its right redzone. Linux: `inuse`.
    pub inuse: u32,
    /// From the object's first byte to its link while it is free. Linux: `offset`.
    pub offset: u32,
    /// From the slot's first byte to the object's. Linux: `red_left_pad`.
    pub red_left: u32,
    /// Objects are aligned to this.
    pub align: u32,
    /// What the cache is like.
    pub flags: CacheFlags,
    /// Order of the slabs, if there is memory. Linux: `oo`.
    pub order: Order,
    /// Order of the slabs when there is not. Linux: `min`.
    pub min_order: Order,
}

impl Layout {
    /// The layout for objects of `object_size` bytes, aligned to `align` (0 for a word), on a machine of `nr_cpus`.
    ///
    /// # Errors
    ///
    /// When an object is smaller than a word or larger than a maximal block, or the alignment is no power of two.
    /// Linux: `calculate_sizes`.
    pub fn new(object_size: u64, align: u64, flags: CacheFlags, nr_cpus: u32) -> Result<Layout, LayoutError> {
        if !(WORD..=MAX_OBJECT_SIZE).contains(&object_size) {
            return Err(LayoutError::Size(object_size));
        }
        if align != 0 && (!align.is_power_of_two() || align > PAGE_SIZE) {
            return Err(LayoutError::Align(align));
        }
        let align = alignment(flags, align, object_size);
        let mut inuse = object_size.next_multiple_of(WORD);
        if flags.contains(CacheFlags::RED_ZONE) && inuse == object_size {
            inuse += WORD;
        }
        let (mut size, mut offset, mut red_left) = (inuse, 0, 0);
        if flags.contains(CacheFlags::POISON) {
            offset = size;
            size += WORD;
        }
        if flags.contains(CacheFlags::RED_ZONE) {
            red_left = WORD.next_multiple_of(align);
            size += WORD + red_left;
        }
        let size = size.next_multiple_of(align);
        let order = calculate_order(size, nr_cpus).ok_or(LayoutError::Size(object_size))?;
        let min_order = Order::for_bytes(size).ok_or(LayoutError::Size(object_size))?;
        let [object_size, size, inuse, offset, red_left, align] =
            [object_size, size, inuse, offset, red_left, align].map(|bytes| bytes as u32);
        Ok(Layout { object_size, size, inuse, offset, red_left, align, flags, order, min_order })
    }

    /// Objects of a slab of `order`. Linux: `order_objects`.
    pub const fn objects(&self, order: Order) -> u16 {
        ((PAGE_SIZE << order.get()) / self.size as u64) as u16
    }

    /// Whether every object is looked at when it comes and goes. Linux: `kmem_cache_debug`.
    pub const fn is_debug(&self) -> bool {
        self.flags.intersects(CacheFlags::DEBUG)
    }

    /// Bytes that the user of an object may use. Linux: `slab_ksize`.
    pub const fn usable(&self) -> u32 {
        let has_neighbours = self.flags.intersects(CacheFlags::RED_ZONE.union(CacheFlags::POISON));
        if has_neighbours { self.object_size } else { self.size }
    }

    /// Free objects that a CPU keeps beside those of its slab, about. Linux: `set_cpu_partial`.
    pub const fn cpu_partial(&self) -> u32 {
        match self.size {
            _ if self.is_debug() => 0,
            size if size as u64 >= PAGE_SIZE => 2,
            1024.. => 6,
            256.. => 13,
            _ => 30,
        }
    }

    /// Slabs that a node keeps although they are empty. Linux: `set_min_partial`.
    pub fn min_partial(&self) -> u32 {
        (self.size.ilog2() / 2).clamp(5, 10)
    }

    /// What the cache adds to the mask of a request for a slab. Linux: `allocflags`.
    pub fn gfp(&self) -> Gfp {
        let compound = if self.order > Order::ZERO { Gfp::__GFP_COMP } else { Gfp::empty() };
        let dma = if self.flags.contains(CacheFlags::CACHE_DMA) { Gfp::GFP_DMA } else { Gfp::empty() };
        let account = self.flags.contains(CacheFlags::RECLAIM_ACCOUNT);
        compound | dma | if account { Gfp::__GFP_RECLAIMABLE } else { Gfp::empty() }
    }
}

/// Linux: `calculate_alignment`.
fn alignment(flags: CacheFlags, align: u64, size: u64) -> u64 {
    let mut line = if flags.contains(CacheFlags::HWCACHE_ALIGN) { CACHE_LINE } else { WORD };
    while line > WORD && size <= line / 2 {
        line /= 2;
    }
    align.max(line).next_multiple_of(WORD)
}

/// The smallest order from which at least `min_objects` come with at most one part in `fraction` to spare, or the first
/// one above `max_order`. Linux: `slab_order`.
fn slab_order(size: u64, min_objects: u64, max_order: u32, fraction: u64) -> u32 {
    let first = get_order(min_objects * size);
    let fits = |order: &u32| {
        let bytes = PAGE_SIZE << order;
        bytes % size <= bytes / fraction
    };
    (first..=max_order).find(fits).unwrap_or(first.max(max_order + 1))
}

/// How large the slabs of objects of `size` bytes should be. Linux: `calculate_order`.
fn calculate_order(size: u64, nr_cpus: u32) -> Option<Order> {
    let wanted = u64::from(4 * (u32::BITS - nr_cpus.leading_zeros() + 1));
    let fitting = (1 << (PAGE_SHIFT + MAX_SLAB_ORDER)) / size;
    let attempts = (2..=wanted.min(fitting)).rev().flat_map(|objects| [16, 8, 4].map(|fraction| (objects, fraction)));
    attempts
        .map(|(objects, fraction)| slab_order(size, objects, MAX_SLAB_ORDER, fraction))
        .find(|order| *order <= MAX_SLAB_ORDER)
        .or_else(|| Some(slab_order(size, 1, MAX_SLAB_ORDER, 1)).filter(|order| *order <= MAX_SLAB_ORDER))
        .or_else(|| Some(slab_order(size, 1, MAX_ORDER - 1, 1)))
        .and_then(Order::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slabs(size: u64, nr_cpus: u32) -> (u32, u16) {
        let layout = Layout::new(size, 0, CacheFlags::empty(), nr_cpus).unwrap();
        (layout.order.get(), layout.objects(layout.order))
    }

    #[test]
    fn orders_follow_the_table() {
        for (size, one, four, eight) in [
            (8, (0, 512), (0, 512), (0, 512)),
            (64, (0, 64), (0, 64), (0, 64)),
            (96, (0, 42), (0, 42), (0, 42)),
            (128, (0, 32), (0, 32), (0, 32)),
            (192, (0, 21), (0, 21), (0, 21)),
            (256, (0, 16), (0, 16), (1, 32)),
            (512, (0, 8), (1, 16), (2, 32)),
            (1024, (1, 8), (2, 16), (3, 32)),
            (2048, (2, 8), (3, 16), (3, 16)),
            (4096, (3, 8), (3, 8), (3, 8)),
            (8192, (3, 4), (3, 4), (3, 4)),
        ] {
            assert_eq!((slabs(size, 1), slabs(size, 4), slabs(size, 8)), (one, four, eight), "{size} bytes");
            assert_eq!(slabs(size, 2), four, "{size} bytes");
        }
        assert_eq!(slabs(MAX_OBJECT_SIZE, 1), (10, 1));
        assert_eq!(slabs(40_000, 1), (4, 1));
    }

    #[test]
    fn no_slab_has_more_objects_than_a_link_can_name() {
        for size in (8..40_000).step_by(if cfg!(miri) { 808 } else { 8 }) {
            for nr_cpus in 1..=8 {
                let layout = Layout::new(size, 0, CacheFlags::empty(), nr_cpus).unwrap();
                assert!((1..=MAX_OBJECTS).contains(&layout.objects(layout.order)), "{layout:?}");
                assert!(layout.objects(layout.min_order) >= 1, "{layout:?}");
            }
        }
    }

    #[test]
    fn limits_follow_the_size() {
        let of = |size| Layout::new(size, 0, CacheFlags::empty(), 1).unwrap();
        let limits = [8, 255, 256, 1024, 4096].map(|size| of(size).cpu_partial());
        assert_eq!(limits, [30, 13, 13, 6, 2]);
        assert_eq!([8, 1024, 8192, MAX_OBJECT_SIZE].map(|size| of(size).min_partial()), [5, 5, 6, 10]);
    }

    #[test]
    fn debugging_makes_slots_longer() {
        let of = |size, align, flags| {
            let layout = Layout::new(size, align, flags, 1).unwrap();
            (layout.red_left, layout.inuse, layout.offset, layout.size)
        };
        let (zone, poison) = (CacheFlags::RED_ZONE, CacheFlags::POISON);
        assert_eq!(of(20, 0, CacheFlags::empty()), (0, 24, 0, 24));
        assert_eq!(of(20, 0, zone), (8, 24, 0, 40));
        assert_eq!(of(24, 0, zone), (8, 32, 0, 48));
        assert_eq!(of(24, 0, zone | poison), (8, 32, 32, 56));
        assert_eq!(of(24, 64, zone | poison), (64, 32, 32, 128));
        assert_eq!(of(24, 0, CacheFlags::HWCACHE_ALIGN), (0, 24, 0, 32));
    }

    #[test]
    fn impossible_objects_are_refused() {
        let error = |size, align| Layout::new(size, align, CacheFlags::empty(), 1).unwrap_err();
        assert_eq!(error(7, 0), LayoutError::Size(7));
        assert_eq!(error(MAX_OBJECT_SIZE + 1, 0), LayoutError::Size(MAX_OBJECT_SIZE + 1));
        assert_eq!(error(64, 48), LayoutError::Align(48));
        assert_eq!(error(64, 8192), LayoutError::Align(8192));
        let zone = Layout::new(MAX_OBJECT_SIZE, 0, CacheFlags::RED_ZONE, 1);
        assert_eq!(zone, Err(LayoutError::Size(MAX_OBJECT_SIZE)));
    }
}
