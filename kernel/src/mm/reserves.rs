//! The watermarks and reserves of a whole machine, computed anew when a setting changes.
//!
//! The arithmetic is in [`super::wmark`]; here it is applied to the zones and settings of a [`Memory`], in the order of
//! v5.0, because what a write recomputes, and what it leaves, can be observed. Linux: `init_per_zone_wmark_min`,
//! `setup_per_zone_wmarks`, `setup_per_zone_lowmem_reserve`, `calculate_totalreserve_pages`.

use crate::sync::atomic::Ordering::Relaxed;

use super::memory::Memory;
use super::pcp::PcpLimits;
use super::wmark;
use super::zone::Zone;
use crate::mm::memory::Env;
use crate::mmzone::{NodeId, ZoneType};
use crate::quirks::Quirk;

/// Computes `min_free_kbytes` from the size of low memory, unless the user set a higher one, then everything that
/// follows from it. Linux: `init_per_zone_wmark_min`.
pub fn init_per_zone_wmark_min<E: Env>(memory: &Memory<'_, E>) {
    let lowmem_kb = wmark::pages_above_high(&memory.zones, is_low) * 4;
    let (value, unclamped) = wmark::default_min_free_kbytes(lowmem_kb);
    let user = memory.sysctl.user_min_free_kbytes.load(Relaxed);
    if unclamped as i64 > user {
        memory.sysctl.min_free_kbytes.store(value, Relaxed);
    } else {
        log::warn!("min_free_kbytes is not updated to {unclamped} because user defined value {user} is preferred");
    }
    setup_per_zone_wmarks(memory);
    setup_per_zone_lowmem_reserve(memory);
}

/// Whether a zone counts as low memory for `min_free_kbytes`: those up to Normal.
fn is_low(zone: &Zone) -> bool {
    zone.zone_type <= ZoneType::Normal
}

/// Computes every zone's watermarks from `min_free_kbytes`. Linux: `setup_per_zone_wmarks`.
pub fn setup_per_zone_wmarks<E: Env>(memory: &Memory<'_, E>) {
    let min_free_kbytes = memory.sysctl.min_free_kbytes.load(Relaxed);
    let scale_factor = memory.sysctl.watermark_scale_factor.load(Relaxed);
    let stale_boost = !memory.quirks.switched(Quirk::BoostReset);
    let lowmem = memory.zones().filter(|zone| !zone.is_highmem).map(Zone::managed).sum();
    for zone in memory.zones() {
        wmark::set_watermarks(zone, lowmem, min_free_kbytes, scale_factor, stale_boost);
    }
    calculate_totalreserve(memory);
}

/// Computes every zone's lowmem reserve from the ratios. Linux: `setup_per_zone_lowmem_reserve`.
pub fn setup_per_zone_lowmem_reserve<E: Env>(memory: &Memory<'_, E>) {
    for ratio in &memory.sysctl.lowmem_reserve_ratio {
        ratio.store(ratio.load(Relaxed).max(0), Relaxed);
    }
    let ratios = memory.sysctl.lowmem_ratios();
    for node in memory.online_nodes() {
        wmark::setup_lowmem_reserve(memory.zones_of(node.id), &ratios);
    }
    calculate_totalreserve(memory);
}

/// Sums what all zones keep from ordinary use. Linux: `calculate_totalreserve_pages`.
fn calculate_totalreserve<E: Env>(memory: &Memory<'_, E>) {
    let mut total = 0;
    for node in memory.online_nodes() {
        let reserve = memory.zones_of(node.id).iter().map(wmark::zone_reserve).sum();
        node.totalreserve.store(reserve, Relaxed);
        total += reserve;
    }
    memory.totalreserve.store(total, Relaxed);
}

/// Sizes the per-CPU lists of every zone. Linux: `setup_per_cpu_pageset`, `percpu_pagelist_fraction_sysctl_handler`.
pub fn setup_per_cpu_pagesets<E: Env>(memory: &Memory<'_, E>) {
    let fraction = memory.sysctl.percpu_pagelist_fraction.load(Relaxed);
    for zone in memory.populated_zones() {
        zone.set_pcp_limits(PcpLimits::for_zone(zone.managed(), fraction));
    }
}

/// Leaves the per-CPU lists without room, so that pages go to the buddy lists at once; what is on them stays until somebody
/// drains them. Linux since 5.12: `zone_pcp_disable`, for the time that memory goes offline.
pub fn disable_per_cpu_pagesets<E: Env>(memory: &Memory<'_, E>) {
    memory.populated_zones().for_each(|zone| zone.set_pcp_limits(PcpLimits::BOOT));
}

/// Raises `min_free_kbytes` as starting transparent huge pages does (quirk Q10).
///
/// Linux: `set_recommended_min_free_kbytes`.
pub fn set_recommended_min_free_kbytes<E: Env>(memory: &Memory<'_, E>) {
    let before = memory.sysctl.min_free_kbytes.load(Relaxed);
    if let Some(recommended) = wmark::thp_min_free_kbytes(&memory.zones, is_low, before) {
        if memory.sysctl.user_min_free_kbytes.load(Relaxed) >= 0 {
            log::info!(
                "raising min_free_kbytes from {before} to {recommended} to help transparent hugepage allocations"
            );
        }
        memory.sysctl.min_free_kbytes.store(recommended, Relaxed);
    }
    setup_per_zone_wmarks(memory);
}

/// Pages of a node that must be unmapped page cache before the node is reclaimed from first. Linux:
/// `pgdat->min_unmapped_pages`.
pub fn min_unmapped_pages<E: Env>(memory: &Memory<'_, E>, node: NodeId) -> u64 {
    ratio_of(memory, node, memory.sysctl.min_unmapped_ratio.load(Relaxed))
}

/// Pages of a node that must be reclaimable slab before the node is reclaimed from first. Linux:
/// `pgdat->min_slab_pages`.
pub fn min_slab_pages<E: Env>(memory: &Memory<'_, E>, node: NodeId) -> u64 {
    ratio_of(memory, node, memory.sysctl.min_slab_ratio.load(Relaxed))
}

fn ratio_of<E: Env>(memory: &Memory<'_, E>, node: NodeId, percent: u64) -> u64 {
    memory.zones_of(node).iter().map(|zone| zone.managed() * percent / 100).sum()
}

/// Forgets the NUMA counters; `numa_stat` was switched off. Linux: `zero_zones_numa_counters`.
pub fn clear_numa_counters<E: Env>(memory: &Memory<'_, E>) {
    for zone in memory.zones() {
        zone.pcp.iter().for_each(super::pcp::Pageset::clear_numa);
    }
}
