//! Watermarks and reserves of all zones: from `min_free_kbytes` to each zone's Min, Low and High, the lowmem reserve,
//! and the total of what is kept back.
//!
//! ```text
//!            free pages
//!   High  ---------------  kswapd stops here
//!   Low   ---------------  kswapd starts here; the fast path goes no lower
//!   Min   ---------------  GFP_KERNEL stops here; below, only the entitled
//!   0     ---------------  PF_MEMALLOC may come down to here
//! ```
//!
//! Everything is in pages of 4 KiB but for `min_free_kbytes`. Functions take all zones of the machine, populated or not,
//! because the shares are shares of their sum. Linux: `mm/page_alloc.c`, `init_per_zone_wmark_min`,
//! `setup_per_zone_wmarks`, `setup_per_zone_lowmem_reserve`, `calculate_totalreserve_pages`.

use crate::sync::atomic::Ordering::Relaxed;

use super::zone::Zone;
use crate::mmzone::{MAX_NR_ZONES, Watermark};

/// `x * numerator / denominator` without overflow on the way. Linux: `mult_frac`.
pub const fn mult_frac(x: u64, numerator: u64, denominator: u64) -> u64 {
    (x / denominator) * numerator + (x % denominator) * numerator / denominator
}

/// The `min_free_kbytes` that suits `lowmem_kb` KiB of low memory: the square root of 16 times that, within 128 KiB and
/// 64 MiB. The second value is without these limits.
///
/// Linux: `init_per_zone_wmark_min`.
pub fn default_min_free_kbytes(lowmem_kb: u64) -> (u64, u64) {
    let root = (lowmem_kb * 16).isqrt();
    (root.clamp(128, 65536), root)
}

/// Pages above the High watermark in zones that `include` names. Linux: `nr_free_zone_pages`.
pub fn pages_above_high(zones: &[Zone], include: impl Fn(&Zone) -> bool) -> u64 {
    let above = |zone: &Zone| zone.managed().saturating_sub(zone.watermark(Watermark::High));
    zones.iter().filter(|zone| include(zone)).map(above).sum()
}

/// Sets Min, Low and High of one zone: its share of `min_free_kbytes` among the `lowmem` pages of all zones outside
/// highmem. `stale_boost` is quirk Q2: Low and High still include the boost that is reset here.
///
/// Linux: `__setup_per_zone_wmarks`.
pub fn set_watermarks(zone: &Zone, lowmem: u64, min_free_kbytes: u64, scale_factor: u64, stale_boost: bool) {
    let managed = zone.managed();
    let share = (min_free_kbytes / 4 * managed).checked_div(lowmem).unwrap_or(0);
    let min = if zone.is_highmem { (managed / 1024).clamp(32, 128) } else { share };
    let gap = (share / 4).max(mult_frac(managed, scale_factor, 10_000));
    let base = if stale_boost { min + zone.boost() } else { min };
    zone.set_watermarks([min, base + gap, base + 2 * gap]);
}

/// Sets the lowmem reserve of each zone of one node against the zones above it.
///
/// `zones` are the configured zones of the node by index, `ratio` their ratios; a ratio below 1 reserves nothing. Linux:
/// `setup_per_zone_lowmem_reserve`.
pub fn setup_lowmem_reserve(zones: &[Zone], ratio: &[i32; MAX_NR_ZONES]) {
    for (i, zone) in zones.iter().enumerate() {
        let mut above = 0;
        for reserve in &zone.lowmem_reserve[..=i] {
            reserve.store(0, Relaxed);
        }
        for (j, upper) in zones.iter().enumerate().skip(i + 1) {
            above += upper.managed();
            let divisor = u64::try_from(ratio[i]).unwrap_or(0);
            zone.lowmem_reserve[j].store(above.checked_div(divisor).unwrap_or(0), Relaxed);
        }
    }
}

/// What `zone` keeps from ordinary use: its largest lowmem reserve and its High watermark, at most all of it.
///
/// Linux: `calculate_totalreserve_pages`.
pub fn zone_reserve(zone: &Zone) -> u64 {
    let largest = zone.lowmem_reserve.iter().map(|reserve| reserve.load(Relaxed)).max().unwrap_or(0);
    (largest + zone.watermark(Watermark::High)).min(zone.managed())
}

/// Pages that 2 MiB pages would like to have free, as `min_free_kbytes`: the recommendation of transparent huge pages
/// (quirk Q10) for the zones `is_low` names; `None` when the present value is enough.
///
/// Linux: `set_recommended_min_free_kbytes`.
pub fn thp_min_free_kbytes(zones: &[Zone], is_low: impl Fn(&Zone) -> bool, min_free_kbytes: u64) -> Option<u64> {
    let populated = zones.iter().filter(|zone| is_low(zone) && zone.is_populated()).count() as u64;
    let recommended = crate::addr::PAGEBLOCK_NR_PAGES * populated * (2 + 9);
    let capped = recommended.min(pages_above_high(zones, is_low) / 20) * 4;
    (capped > min_free_kbytes).then_some(capped)
}
