//! All slab caches of a machine, and which of them serves a size.
//!
//! [`SlabCaches`] borrows its places from whoever makes the machine. The caches of `kmalloc` are the first that it makes,
//! in Linux's order, so that /proc/slabinfo lists them as Linux does; others come and go by name. Making a cache takes no
//! page. Linux: `mm/slab_common.c`, `create_kmalloc_caches`, `kmalloc_slab`.
//!
//! Linux does more: a cache for the caches themselves, and one for what nodes have of them.

use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};
use core::fmt::{self, Write as _};

use super::{CacheFlags, CacheName, KmemCache, Layout, LayoutError, NAME_BYTES};
use crate::addr::Order;
use crate::bootargs::{BootArgs, KmallocProfile, SlubDebug};
use crate::gfp::Gfp;

/// Caches at most: pages name theirs with six bits.
pub const MAX_CACHES: usize = 64;
/// Sizes above this one come straight from the page allocator. Linux: `KMALLOC_MAX_CACHE_SIZE`.
pub const MAX_KMALLOC_SIZE: u64 = 8192;
/// log2 of the same.
const KMALLOC_SHIFT_HIGH: u32 = 13;
/// No cache.
const NONE: u8 = u8::MAX;

impl KmallocProfile {
    /// log2 of the smallest size. Linux: `KMALLOC_SHIFT_LOW`.
    const fn shift_low(self) -> u32 {
        match self {
            KmallocProfile::Arm64 => 7,
            KmallocProfile::Generic => 3,
        }
    }

    /// The sizes in the order in which their caches are made.
    fn sizes(self) -> impl Iterator<Item = u64> {
        (self.shift_low()..=KMALLOC_SHIFT_HIGH).flat_map(move |shift| {
            let between = match (self, shift) {
                (KmallocProfile::Generic, 6) => Some(96),
                (KmallocProfile::Generic, 7) => Some(192),
                _ => None,
            };
            core::iter::once(1 << shift).chain(between)
        })
    }
}

/// What decides which caches a machine has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlabConfig<'a> {
    /// The sizes of `kmalloc`.
    pub profile: KmallocProfile,
    /// CPUs that the machine may have; slabs grow with them. Linux: `nr_cpu_ids`.
    pub nr_cpus: u32,
    /// Whether there is a zone DMA, and so a set of caches for `__GFP_DMA`.
    pub has_dma: bool,
    /// What caches are like besides their own flags. Linux: the boot argument `slub_debug`.
    pub debug: SlubDebug<'a>,
}

impl Default for SlabConfig<'_> {
    fn default() -> Self {
        SlabConfig { profile: KmallocProfile::default(), nr_cpus: 1, has_dma: false, debug: SlubDebug::default() }
    }
}

impl<'a> SlabConfig<'a> {
    /// What the boot arguments say, on a machine of `nr_cpus` that has a zone DMA or not.
    pub fn new(args: &BootArgs<'a>, nr_cpus: u32, has_dma: bool) -> SlabConfig<'a> {
        SlabConfig { profile: args.kmalloc, nr_cpus, has_dma, debug: args.slub_debug }
    }

    /// The layout of the cache of this name, debugging included. Linux: `kmem_cache_open`.
    fn layout(&self, name: &str, size: u64, align: u64, flags: CacheFlags) -> Result<Layout, LayoutError> {
        let layout = |flags| Layout::new(size, align, flags, self.nr_cpus);
        if !self.debug.covers(name) {
            return layout(flags);
        }
        let flags = flags | self.debug_flags();
        let with_all = layout(flags)?;
        let larger = Order::for_bytes(with_all.size.into()) > Order::for_bytes(size);
        // Linux: DEBUG_METADATA_FLAGS.
        if self.debug.keep_order && larger {
            layout(flags - (CacheFlags::RED_ZONE | CacheFlags::POISON))
        } else {
            Ok(with_all)
        }
    }

    /// What debugging adds to a cache's flags.
    fn debug_flags(&self) -> CacheFlags {
        let SlubDebug { checks, red_zone, poison, .. } = self.debug;
        let [mut flags, none] = [CacheFlags::empty(); 2];
        for (on, flag) in
            [(checks, CacheFlags::CONSISTENCY_CHECKS), (red_zone, CacheFlags::RED_ZONE), (poison, CacheFlags::POISON)]
        {
            flags |= if on { flag } else { none };
        }
        flags
    }
}

/// Why there is no such cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CacheError {
    /// The name has this many bytes.
    NameLength(usize),
    /// The name has this byte, which is not printable.
    NameByte(u8),
    /// There is a cache of this name.
    NameTaken(CacheName),
    /// No objects of this size or alignment.
    Layout(LayoutError),
    /// There are [`MAX_CACHES`] caches.
    TableFull,
    /// There is no such cache any more.
    Destroyed,
    /// So many slabs of the cache still have objects that are in use.
    Busy(u64),
    /// The cache, of this name, is one of those of `kmalloc`.
    Kmalloc(CacheName),
}

impl fmt::Display for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CacheError::NameLength(bytes) => write!(f, "a cache's name has 1 to {NAME_BYTES} bytes, not {bytes}"),
            CacheError::NameByte(byte) => write!(f, "byte {byte:#04x} of the name is not printable ASCII"),
            CacheError::NameTaken(name) => write!(f, "there is a cache {name} already"),
            CacheError::Layout(error) => error.fmt(f),
            CacheError::TableFull => write!(f, "there are {MAX_CACHES} caches already; destroy one first"),
            CacheError::Destroyed => write!(f, "the cache was destroyed"),
            CacheError::Busy(1) => write!(f, "a slab of the cache still has objects in use"),
            CacheError::Busy(slabs) => write!(f, "{slabs} slabs of the cache still have objects in use"),
            CacheError::Kmalloc(name) => write!(f, "cache {name} belongs to kmalloc and stays"),
        }
    }
}

/// The three sets of `kmalloc`. Linux: `enum kmalloc_cache_type`.
#[derive(Clone, Copy)]
enum Kind {
    Normal,
    Reclaim,
    Dma,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Normal, Kind::Reclaim, Kind::Dma];

    const fn prefix(self) -> &'static str {
        ["kmalloc-", "kmalloc-rcl-", "dma-kmalloc-"][self as usize]
    }

    fn flags(self) -> CacheFlags {
        [CacheFlags::empty(), CacheFlags::RECLAIM_ACCOUNT, CacheFlags::CACHE_DMA][self as usize]
    }
}

/// Every cache of a machine.
#[derive(Default)]
pub struct SlabCaches<'m> {
    caches: &'m [KmemCache],
    config: SlabConfig<'m>,
    /// Caches that were made so far.
    born: AtomicU32,
    /// How many of the first are those of `kmalloc`.
    nr_kmalloc: u8,
    /// By kind and by log2 of the size, but 96 at 1 and 192 at 2. Linux: `kmalloc_caches`.
    kmalloc: [[u8; KMALLOC_SHIFT_HIGH as usize + 1]; 3],
    /// The same index for each multiple of 8 up to 192. Linux: `size_index`.
    small: [u8; 24],
}

impl<'m> SlabCaches<'m> {
    /// A machine's caches at `caches`, with those of `kmalloc` made.
    ///
    /// # Panics
    ///
    /// When there are more than [`MAX_CACHES`] places, or too few for `kmalloc`.
    pub fn new(caches: &'m [KmemCache], config: SlabConfig<'m>) -> SlabCaches<'m> {
        assert!(caches.len() <= MAX_CACHES, "{} caches of {MAX_CACHES}", caches.len());
        let mut table = SlabCaches { caches, config, ..SlabCaches::default() };
        let kinds = if config.has_dma { &Kind::ALL[..] } else { &Kind::ALL[..2] };
        for kind in kinds {
            for size in config.profile.sizes() {
                let made = table.create(kmalloc_name(*kind, size).as_str(), size, smallest(config), kind.flags());
                table.kmalloc[*kind as usize][index_of(size)] = made.expect("room for the caches of kmalloc").number();
                table.nr_kmalloc += 1;
            }
        }
        table.small = core::array::from_fn(|n| {
            let size = 8 * (n as u64 + 1);
            config.profile.sizes().filter(|has| size <= *has).min().map_or(NONE, |has| index_of(has) as u8)
        });
        table
    }

    /// How the machine's caches were made.
    pub fn config(&self) -> SlabConfig<'m> {
        self.config
    }

    /// The cache at place `number`, if there is one.
    #[inline(always)]
    pub fn get(&self, number: usize) -> Option<&'m KmemCache> {
        self.caches.get(number)
    }

    /// Every cache, newest first, as /proc/slabinfo lists them.
    pub fn iter(&self) -> impl Iterator<Item = &'m KmemCache> + '_ {
        let mut before = u32::MAX;
        core::iter::from_fn(move || {
            let older = self.caches.iter().filter(|cache| cache.is_alive() && cache.born.load(Relaxed) < before);
            let newest = older.max_by_key(|cache| cache.born.load(Relaxed))?;
            before = newest.born.load(Relaxed);
            Some(newest)
        })
    }

    /// The cache of this name.
    pub fn find(&self, name: &str) -> Option<&'m KmemCache> {
        self.caches.iter().find(|cache| cache.is_alive() && cache.name().as_str() == name)
    }

    /// Whether the cache is one of those that `kmalloc` takes from.
    pub fn is_kmalloc(&self, cache: &KmemCache) -> bool {
        cache.number() < self.nr_kmalloc
    }

    /// Makes a cache of objects of `size` bytes, aligned to `align` (0 for a word). Linux: `kmem_cache_create`.
    ///
    /// # Errors
    ///
    /// When the name is empty, too long, not printable or taken, the layout impossible, or the table full.
    pub fn create(&self, name: &str, size: u64, align: u64, flags: CacheFlags) -> Result<&'m KmemCache, CacheError> {
        if let Some(byte) = name.bytes().find(|byte| !byte.is_ascii_graphic()) {
            return Err(CacheError::NameByte(byte));
        }
        let cache_name = CacheName::new(name).ok_or(CacheError::NameLength(name.len()))?;
        if let Some(cache) = self.find(name) {
            return Err(CacheError::NameTaken(cache.name()));
        }
        let layout = self.config.layout(name, size, align, flags).map_err(CacheError::Layout)?;
        let place = self.caches.iter().find(|cache| cache.claim()).ok_or(CacheError::TableFull)?;
        place.bear(cache_name, &layout, self.born.fetch_add(1, Relaxed) + 1);
        Ok(place)
    }

    /// The cache that serves `size` bytes, which are at most [`MAX_KMALLOC_SIZE`] and not 0. Linux: `kmalloc_slab`.
    #[inline(always)]
    pub fn kmalloc(&self, size: u64, gfp: Gfp) -> Option<&'m KmemCache> {
        let index = match self.small.get((size as usize).wrapping_sub(1) / 8) {
            Some(index) => usize::from(*index),
            None => (u64::BITS - (size - 1).leading_zeros()) as usize,
        };
        let kind = match gfp.intersects(Gfp::__GFP_DMA | Gfp::__GFP_RECLAIMABLE) {
            false => Kind::Normal,
            true => self.kind_of(gfp),
        };
        self.caches.get(usize::from(*self.kmalloc[kind as usize].get(index)?))
    }

    /// Which set a mask asks for. Linux: `kmalloc_type`.
    #[cold]
    fn kind_of(&self, gfp: Gfp) -> Kind {
        match gfp.contains(Gfp::__GFP_RECLAIMABLE) {
            _ if self.config.has_dma && gfp.contains(Gfp::__GFP_DMA) => Kind::Dma,
            true => Kind::Reclaim,
            false => Kind::Normal,
        }
    }
}

/// What every object of `kmalloc` is aligned to. Linux: `ARCH_KMALLOC_MINALIGN`.
const fn smallest(config: SlabConfig<'_>) -> u64 {
    1 << config.profile.shift_low()
}

/// Where the cache for exactly `size` bytes stands.
fn index_of(size: u64) -> usize {
    match size {
        96 => 1,
        192 => 2,
        _ => size.ilog2() as usize,
    }
}

/// `kmalloc-96`, `kmalloc-rcl-8k`. Linux: `kmalloc_info`, `kmalloc_cache_name`.
fn kmalloc_name(kind: Kind, size: u64) -> Name {
    let (number, unit) = if size < 1024 { (size, "") } else { (size / 1024, "k") };
    let mut name = Name::default();
    write!(name, "{}{number}{unit}", kind.prefix()).expect("room for a short name");
    name
}

/// A text that is being written.
#[derive(Default)]
struct Name {
    bytes: [u8; NAME_BYTES],
    len: usize,
}

impl Name {
    fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.len]).unwrap_or("?")
    }
}

impl fmt::Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..self.len + text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(nr: usize) -> Vec<KmemCache> {
        (0..nr).map(KmemCache::new).collect()
    }

    fn names(table: &SlabCaches<'_>) -> Vec<String> {
        table.iter().map(|cache| cache.name().to_string()).collect()
    }

    #[test]
    fn the_newest_cache_stands_first() {
        let places = places(MAX_CACHES);
        let table = SlabCaches::new(&places, SlabConfig::default());
        table.create("mine", 40, 0, CacheFlags::empty()).unwrap();
        assert_eq!(
            names(&table).join(" "),
            "mine kmalloc-rcl-8k kmalloc-rcl-4k kmalloc-rcl-2k kmalloc-rcl-1k kmalloc-rcl-512 kmalloc-rcl-256 \
             kmalloc-rcl-128 kmalloc-8k kmalloc-4k kmalloc-2k kmalloc-1k kmalloc-512 kmalloc-256 kmalloc-128"
        );
    }

    #[test]
    fn each_size_has_its_cache() {
        let arm64 = places(MAX_CACHES);
        let arm64 = SlabCaches::new(&arm64, SlabConfig::default());
        let generic = places(MAX_CACHES);
        let config = SlabConfig { profile: KmallocProfile::Generic, has_dma: true, ..SlabConfig::default() };
        let generic = SlabCaches::new(&generic, config);
        let name = |table: &SlabCaches<'_>, size, gfp| table.kmalloc(size, gfp).unwrap().name().to_string();
        for size in (1..=MAX_KMALLOC_SIZE).step_by(if cfg!(miri) { 61 } else { 1 }) {
            let power = size.next_power_of_two();
            let smallest = |sizes: &[u64]| *sizes.iter().filter(|has| size <= **has).min().unwrap();
            let text = |size: u64| if size < 1024 { size.to_string() } else { format!("{}k", size / 1024) };
            assert_eq!(name(&arm64, size, Gfp::GFP_KERNEL), format!("kmalloc-{}", text(power.max(128))));
            let has = smallest(&[96, 192, power.max(8)]);
            assert_eq!(name(&generic, size, Gfp::GFP_KERNEL), format!("kmalloc-{}", text(has)));
        }
        assert_eq!(name(&arm64, 300, Gfp::GFP_KERNEL | Gfp::__GFP_RECLAIMABLE), "kmalloc-rcl-512");
        assert_eq!(name(&arm64, 300, Gfp::GFP_DMA), "kmalloc-512");
        assert_eq!(name(&generic, 90, Gfp::GFP_DMA | Gfp::__GFP_RECLAIMABLE), "dma-kmalloc-96");
        assert_eq!(names(&generic).len(), 39);
    }

    /// Flags, bytes of a slot and order of a cache when booted so.
    fn booted(args: &str, name: &str) -> (CacheFlags, u32, u32) {
        let places = places(MAX_CACHES);
        let table = SlabCaches::new(&places, SlabConfig::new(&BootArgs::parse(args), 1, false));
        let layout = table.find(name).unwrap().layout();
        (layout.flags, layout.size, layout.order.get())
    }

    #[test]
    fn boot_arguments_choose_sizes_and_debugging() {
        let all = CacheFlags::DEBUG;
        let zone = CacheFlags::RED_ZONE;
        let none = CacheFlags::empty();
        assert_eq!(booted("", "kmalloc-128"), (none, 128, 0));
        assert_eq!(booted("slub_debug=-", "kmalloc-128"), (none, 128, 0));
        // 128 and a word right of it, the link, a word to spare, and 128 left of it, since objects are aligned so.
        assert_eq!(booted("slub_debug", "kmalloc-128"), (all, 384, 0));
        assert_eq!(booted("slub_debug=Z,kmalloc-1*", "kmalloc-128"), (zone, 384, 0));
        assert_eq!(booted("slub_debug=Z,kmalloc-1*", "kmalloc-256"), (none, 256, 0));
        assert_eq!(booted("kmalloc=generic slub_debug=Z", "kmalloc-96"), (zone, 120, 0));
    }

    /// With a redzone, an object of 4 KiB would need a slab of two pages at least.
    #[test]
    fn debugging_can_leave_orders_alone() {
        let checks = CacheFlags::CONSISTENCY_CHECKS;
        assert_eq!(booted("slub_debug=FZP", "kmalloc-4k").1, 4096 + 2 * 128);
        assert_eq!(booted("slub_debug=FZPO", "kmalloc-4k"), (checks, 4096, 3));
        assert_eq!(booted("slub_debug=FZPO", "kmalloc-128").0, CacheFlags::DEBUG);
    }

    #[test]
    fn bad_caches_are_refused() {
        let places = places(16);
        let table = SlabCaches::new(&places, SlabConfig::default());
        let create = |name: &str, size| table.create(name, size, 0, CacheFlags::empty()).map(KmemCache::number);
        assert_eq!(create("", 64), Err(CacheError::NameLength(0)));
        assert_eq!(create(&"x".repeat(32), 64), Err(CacheError::NameLength(32)));
        assert_eq!(create("a b", 64), Err(CacheError::NameByte(b' ')));
        assert_eq!(create("kmalloc-1k", 64), Err(CacheError::NameTaken(CacheName::new("kmalloc-1k").unwrap())));
        assert_eq!(create("tiny", 4), Err(CacheError::Layout(LayoutError::Size(4))));
        assert_eq!((create(&"x".repeat(31), 64), create("two", 64)), (Ok(14), Ok(15)));
        assert_eq!(create("three", 64), Err(CacheError::TableFull));
        table.get(14).unwrap().bury();
        assert_eq!(create("three", 64), Ok(14));
        assert_eq!(names(&table)[..2], ["three", "two"]);
    }
}
