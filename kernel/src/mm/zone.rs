//! A zone: a range of pages of one node with its free lists, its per-CPU lists, its watermarks and its reserves.
//!
//! What the zone lock protects is behind [`Zone::free`]; everything else is read without it. The watermarks and the
//! lowmem reserve are computed for all zones together in [`super::wmark`]; here stand the values and the checks.
//!
//! Linux: `struct zone`, `__zone_watermark_ok`, `zone_watermark_fast`.
//! Linux does more: vmstat drift between CPUs; our counters are exact, so no check needs a safe variant.

use crate::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use core::ops::Range;

use bitflags::bitflags;

use super::buddy::{Buddy, FreeCounts, FreeLists};
use super::compact_state::CompactState;
use super::page::Pages;
use super::pageblock::Pageblocks;
use super::pcp::{Pageset, PcpLimits, PcpLists};
use crate::addr::{Order, PfnRange};
use crate::mmzone::{MAX_NR_ZONES, MigrateType, NodeId, Watermark, ZoneType};
use crate::sync::{Class, PerCpu, SpinLock};
use crate::trace::ZoneRef;
use crate::trace::alloc_flags::Opened;
use crate::trace::decision::WatermarkCheck;
use crate::vmstat::{self, NumaStat, ZoneStat};

bitflags! {
    /// How far into its reserves a zone lets a request go. The two lowest bits name the watermark. Linux: `ALLOC_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct AllocFlags: u32 {
        /// Watermark Low instead of Min.
        const WMARK_LOW = 0x1;
        /// Watermark High instead of Min.
        const WMARK_HIGH = 0x2;
        /// Do not check watermarks at all.
        const NO_WATERMARKS = 0x4;
        /// The share of a victim of the OOM killer.
        const OOM = 0x8;
        /// Try harder: a quarter below Min, and the HighAtomic blocks.
        const HARDER = 0x10;
        /// `__GFP_HIGH`: half of Min.
        const HIGH = 0x20;
        /// Obey the cpuset.
        const CPUSET = 0x40;
        /// CMA blocks count as usable.
        const CMA = 0x80;
        /// Do not mix migratetypes in a pageblock while another zone can serve.
        const NOFRAGMENT = 0x100;
        /// May wake kswapd.
        const KSWAPD = 0x200;
        /// Pass over nodes with too many dirty pages. Linux: `spread_dirty_pages` of the request's context.
        const SPREAD_DIRTY = 0x400;
    }
}

impl AllocFlags {
    /// The watermark that the flags name.
    #[inline(always)]
    pub const fn watermark(self) -> Watermark {
        match self.bits() & 3 {
            0 => Watermark::Min,
            1 => Watermark::Low,
            _ => Watermark::High,
        }
    }
}

/// A zone of a node.
pub struct Zone {
    /// Number of the zone: node times 5 plus index, as page records have it.
    pub id: u8,
    /// The node.
    pub node: NodeId,
    /// Position among the configured zone types.
    pub index: usize,
    /// The type.
    pub zone_type: ZoneType,
    /// Whether the pages are outside the linear map.
    pub is_highmem: bool,
    /// First and last page with everything in between.
    pub span: PfnRange,
    /// Pages of memory in the span.
    pub present: u64,
    pub(super) managed: AtomicU64,
    watermark: [AtomicU64; 3],
    boost: AtomicU64,
    /// What a plain request must leave free: the Low watermark with its boost; more than there is while kswapd is to
    /// hear of a boost, so that the careful path looks at it.
    fast_mark: AtomicI64,
    pub(super) lowmem_reserve: [AtomicU64; MAX_NR_ZONES],
    pub(super) nr_reserved_highatomic: AtomicU64,
    /// A watermark was boosted and kswapd is to hear of it. Linux: `ZONE_BOOSTED_WATERMARK`.
    boosted: AtomicBool,
    pcp_high: AtomicU32,
    pcp_batch: AtomicU32,
    stats: [AtomicU64; ZoneStat::COUNT],
    /// How much is free, readable without the lock.
    pub counts: FreeCounts,
    pub(super) free: SpinLock<FreeLists>,
    /// What compaction remembers.
    pub compact: CompactState,
    pub(super) pcp: PerCpu<PcpLists, Pageset>,
}

impl Zone {
    /// A zone of `node` with nothing in it yet.
    pub fn new(id: u8, node: NodeId, index: usize, zone_type: ZoneType) -> Zone {
        Zone {
            id,
            node,
            index,
            zone_type,
            is_highmem: zone_type == ZoneType::HighMem,
            span: PfnRange::default(),
            present: 0,
            managed: AtomicU64::new(0),
            watermark: Default::default(),
            boost: AtomicU64::new(0),
            fast_mark: AtomicI64::new(i64::MAX),
            lowmem_reserve: Default::default(),
            nr_reserved_highatomic: AtomicU64::new(0),
            boosted: AtomicBool::new(false),
            pcp_high: AtomicU32::new(PcpLimits::BOOT.high),
            pcp_batch: AtomicU32::new(PcpLimits::BOOT.batch),
            stats: Default::default(),
            counts: FreeCounts::default(),
            free: SpinLock::new(Class::Zone, FreeLists::EMPTY),
            compact: CompactState::default(),
            pcp: PerCpu::new(Class::CpuPages, |_| (PcpLists::default(), Pageset::default())),
        }
    }

    /// The zone as events name it.
    pub fn zone_ref(&self) -> ZoneRef {
        ZoneRef { node: self.node, zone: self.zone_type }
    }

    /// Whether the zone has memory. Linux: `populated_zone`.
    pub fn is_populated(&self) -> bool {
        self.present != 0
    }

    /// Pages that were handed to the allocator.
    #[inline(always)]
    pub fn managed(&self) -> u64 {
        self.managed.load(Relaxed)
    }

    /// The watermark, with the current boost added. Linux: `wmark_pages`.
    #[inline(always)]
    pub fn watermark(&self, mark: Watermark) -> u64 {
        self.stored_watermark(mark) + self.boost()
    }

    /// The watermark as it was computed, without boost.
    #[inline(always)]
    pub fn stored_watermark(&self, mark: Watermark) -> u64 {
        self.watermark[mark as usize].load(Relaxed)
    }

    /// By how much a recent mixing of migratetypes raised the watermarks.
    #[inline(always)]
    pub fn boost(&self) -> u64 {
        self.boost.load(Relaxed)
    }

    /// Sets Min, Low and High, and drops the boost.
    pub(super) fn set_watermarks(&self, marks: [u64; 3]) {
        for (stored, mark) in self.watermark.iter().zip(marks) {
            stored.store(mark, Relaxed);
        }
        self.set_boost(0);
    }

    /// Sets by how much the watermarks are raised.
    pub(super) fn set_boost(&self, boost: u64) {
        self.boost.store(boost, Relaxed);
        self.update_fast_mark();
    }

    /// Says whether kswapd is to hear of a boost.
    pub(super) fn set_boosted(&self, boosted: bool) {
        self.boosted.store(boosted, Relaxed);
        self.update_fast_mark();
    }

    /// Whether kswapd is to hear of a boost.
    pub(super) fn is_boosted(&self) -> bool {
        self.boosted.load(Relaxed)
    }

    fn update_fast_mark(&self) {
        let low = self.watermark(Watermark::Low) as i64;
        self.fast_mark.store(if self.is_boosted() { i64::MAX } else { low }, Relaxed);
    }

    /// Whether the fast path may take 2^`order` pages for a request that likes this zone best: what stays free is above
    /// Low, even without the pages that only some requests may use. The zone holds no lowmem reserve against itself.
    #[inline(always)]
    pub(super) fn fast_ok(&self, order: Order) -> bool {
        let lent = self.counts.free_cma() as i64;
        let kept = if order == Order::ZERO { 0 } else { self.nr_reserved_highatomic() as i64 };
        let left = self.counts.free_pages() as i64 - (order.nr_pages() as i64 - 1);
        left - lent - kept > self.fast_mark.load(Relaxed)
    }

    /// Pages kept from requests that could have been served by the zone with index `classzone`.
    #[inline(always)]
    pub fn lowmem_reserve(&self, classzone: usize) -> u64 {
        self.lowmem_reserve.get(classzone).map_or(0, |reserve| reserve.load(Relaxed))
    }

    /// Pages in pageblocks that were set aside for high-order atomic requests.
    pub fn nr_reserved_highatomic(&self) -> u64 {
        self.nr_reserved_highatomic.load(Relaxed)
    }

    /// Limits of the per-CPU lists.
    #[inline(always)]
    pub fn pcp_limits(&self) -> PcpLimits {
        PcpLimits { high: self.pcp_high.load(Relaxed), batch: self.pcp_batch.load(Relaxed) }
    }

    /// Pages on a CPU's lists at which a batch goes back.
    #[inline(always)]
    pub(super) fn pcp_high(&self) -> u32 {
        self.pcp_high.load(Relaxed)
    }

    /// Sets the limits of the per-CPU lists. Linux: `pageset_update`.
    pub(super) fn set_pcp_limits(&self, limits: PcpLimits) {
        self.pcp_high.store(limits.high, Relaxed);
        self.pcp_batch.store(limits.batch, Relaxed);
    }

    /// The share of CPU `cpu`.
    #[inline(always)]
    pub fn pageset(&self, cpu: usize) -> &Pageset {
        self.pcp.shared(cpu)
    }

    /// Pages on the lists of all CPUs.
    pub fn pcp_pages(&self) -> u64 {
        self.pcp.iter().map(|pageset| u64::from(pageset.count())).sum()
    }

    /// Pages that left the zone for a caller since boot.
    pub fn pgalloc(&self) -> u64 {
        self.pcp.iter().map(Pageset::pgalloc).sum()
    }

    /// Pages that came back to the zone since boot.
    pub fn pgfree(&self) -> u64 {
        self.pcp.iter().map(Pageset::pgfree).sum()
    }

    /// Sum over all CPUs of a NUMA counter.
    pub fn numa(&self, stat: NumaStat) -> u64 {
        self.pcp.iter().map(|pageset| pageset.numa(stat)).sum()
    }

    /// A counter of the zone. Linux: `zone_page_state`.
    pub fn stat(&self, stat: ZoneStat) -> u64 {
        match stat {
            ZoneStat::NrFreePages => self.counts.free_pages(),
            ZoneStat::NrFreeCma => self.counts.free_cma(),
            other => vmstat::at_least_0(self.raw_stat(other)),
        }
    }

    /// [`Zone::stat`] as it is; below 0, wrapped round, only if somebody miscounts: for the audit. Not of free pages.
    pub fn raw_stat(&self, stat: ZoneStat) -> u64 {
        self.stats[stat as usize].load(Relaxed)
    }

    /// Changes a counter of the zone. Linux: `mod_zone_page_state`.
    pub fn add_stat(&self, stat: ZoneStat, delta: i64) {
        self.stats[stat as usize].fetch_add(delta as u64, Relaxed);
    }

    /// The zone's free memory, from its locked lists.
    #[inline(always)]
    pub(super) fn buddy<'b, 'm>(
        &'b self,
        lists: &'b mut FreeLists,
        pages: Pages<'m>,
        blocks: Pageblocks<'m>,
    ) -> Buddy<'b, 'm> {
        Buddy { lists, counts: &self.counts, pages, blocks, zone: self.id }
    }

    /// The zone's pages as record indices.
    pub(super) fn indices(&self, pages: &Pages<'_>) -> Range<u32> {
        pages.index(self.span.start)..pages.index(self.span.end)
    }

    /// Whether the zone can give 2^order pages and stay above `mark` pages.
    ///
    /// `classzone` is the index of the zone that the request would have liked best. Linux: `__zone_watermark_ok`.
    pub fn watermark_ok(&self, order: Order, mark: u64, classzone: usize, flags: AllocFlags) -> bool {
        let terms = self.watermark_terms(order, mark, classzone, flags);
        terms.pass() && (order == Order::ZERO || self.has_block(order, flags))
    }

    /// [`Zone::watermark_ok`] as if `free` pages were free. Linux: `__zone_watermark_ok`.
    pub fn watermark_ok_with(&self, order: Order, mark: u64, classzone: usize, flags: AllocFlags, free: u64) -> bool {
        let terms = self.watermark_terms(order, mark, classzone, flags);
        let supposed = WatermarkTerms { free: free as i64 - (order.nr_pages() as i64 - 1), ..terms };
        supposed.pass() && (order == Order::ZERO || self.has_block(order, flags))
    }

    /// [`Zone::watermark_ok`] as the fast path has it: one page may also go when more than the whole mark would stay,
    /// pages of HighAtomic blocks included. Linux: `zone_watermark_fast`.
    #[inline(always)]
    pub fn watermark_fast(&self, order: Order, mark: u64, classzone: usize, flags: AllocFlags) -> bool {
        let WatermarkTerms { free, highatomic, cma, min, reserve } =
            self.watermark_terms(order, mark, classzone, flags);
        let keep = if order == Order::ZERO { (min + highatomic).min(mark as i64) } else { min + highatomic };
        free - cma - reserve > keep && (order == Order::ZERO || self.has_block(order, flags))
    }

    /// The terms of the watermark check.
    #[inline(always)]
    pub fn watermark_terms(&self, order: Order, mark: u64, classzone: usize, flags: AllocFlags) -> WatermarkTerms {
        let mut min = mark as i64;
        let mut highatomic = 0;
        if flags.contains(AllocFlags::HIGH) {
            min -= min / 2;
        }
        if flags.contains(AllocFlags::OOM) {
            min -= min / 2;
        } else if flags.contains(AllocFlags::HARDER) {
            min -= min / 4;
        } else {
            highatomic = self.nr_reserved_highatomic() as i64;
        }
        let cma = if flags.contains(AllocFlags::CMA) { 0 } else { self.counts.free_cma() as i64 };
        let free = self.counts.free_pages() as i64 - (order.nr_pages() as i64 - 1);
        WatermarkTerms { free, highatomic, cma, min, reserve: self.lowmem_reserve(classzone) as i64 }
    }

    /// The terms of [`Zone::watermark_ok`] against `mark`, as events have them.
    pub fn watermark_check(
        &self,
        order: Order,
        mark: Watermark,
        classzone: usize,
        flags: AllocFlags,
    ) -> WatermarkCheck {
        let watermark = self.watermark(mark);
        let terms = self.watermark_terms(order, watermark, classzone, flags);
        WatermarkCheck {
            mark,
            opened: Opened::among(flags.bits()),
            watermark,
            threshold: terms.min as u64,
            reserve: terms.reserve as u64,
            free: self.counts.free_pages(),
            cma: terms.cma as u64,
            highatomic: terms.highatomic as u64,
        }
    }

    /// Whether a block of at least `order` is on a list that a request with `flags` may use.
    #[inline(always)]
    fn has_block(&self, order: Order, flags: AllocFlags) -> bool {
        let orders = |migratetype| self.counts.orders(migratetype) >> order.get();
        let mut usable = MigrateType::ALL[..MigrateType::PCPTYPES].iter().fold(0, |set, &own| set | orders(own));
        if flags.contains(AllocFlags::CMA) {
            usable |= orders(MigrateType::Cma);
        }
        if flags.intersects(AllocFlags::HARDER | AllocFlags::OOM) {
            usable |= orders(MigrateType::HighAtomic);
        }
        usable != 0
    }
}

/// The terms of a watermark check, in pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WatermarkTerms {
    /// Free pages, less all but one of the block asked for.
    pub free: i64,
    /// Pages of HighAtomic blocks, if the request may not use them.
    pub highatomic: i64,
    /// Free CMA pages, if the request may not use them.
    pub cma: i64,
    /// The watermark, lowered by what the request is entitled to.
    pub min: i64,
    /// The lowmem reserve against the request's preferred zone.
    pub reserve: i64,
}

impl WatermarkTerms {
    /// Whether enough pages stay free.
    #[inline(always)]
    pub const fn pass(self) -> bool {
        self.free - self.highatomic - self.cma > self.min + self.reserve
    }
}
