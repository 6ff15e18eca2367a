//! By how much a fallback raises the watermarks, and when kswapd hears of it.

use super::*;
use crate::mm::testing::board_16m;
use crate::sync::atomic::Ordering::Relaxed;

/// Boosts after each of `steals` fallbacks from blocks below a pageblock.
fn boosts(marks: [u64; 3], factor: u64, steals: usize) -> Vec<u64> {
    let machine = full_board();
    let lab = Lab::new(&machine);
    lab.zone().set_watermarks(marks);
    lab.memory.sysctl.watermark_boost_factor.store(factor, Relaxed);
    put(&lab, P, 5, Movable);
    let wanted = [Unmovable, Reclaimable].into_iter().cycle().take(steals);
    wanted.map(|wanted| fall_back(&lab, 0, wanted).map(|_| lab.zone().boost()).unwrap()).collect()
}

#[test]
fn a_boost_is_a_pageblock_up_to_the_cap() {
    assert_eq!(boosts([1000, 1250, 1500], 15000, 6), [512, 1024, 1536, 2048, 2250, 2250]);
    assert_eq!(boosts([244, 305, 366], 15000, 3), [512, 549, 549]);
    assert_eq!(boosts([100, 125, 150], 15000, 2), [512, 512]); // a pageblock at least
    assert_eq!(boosts([1000, 1250, 1500], 0, 2), [0, 0]);
    assert_eq!(boosts([0, 0, 0], 15000, 2), [0, 0]); // not set yet
    assert_eq!(boosts([1000, 1250, 1500], 20000, 6)[5], 3000);
}

#[test]
fn a_boosted_zone_reads_higher_marks() {
    use crate::mmzone::Watermark::{High, Low, Min};
    let machine = full_board();
    let lab = Lab::new(&machine);
    lab.zone().set_watermarks([1000, 1250, 1500]);
    put(&lab, P, 5, Movable);
    fall_back(&lab, 0, Unmovable).unwrap();
    assert_eq!([Min, Low, High].map(|mark| lab.zone().watermark(mark)), [1512, 1762, 2012]);
}

#[test]
fn small_zones_are_boosted_too_unless_the_quirk_is_off() {
    let boost = |mib: u64, args: &str| {
        let machine = HostMachine::new(args, &[(0x4000_0000, mib * MIB, 0)], &[(0x4010_0000, 0x1000)]);
        let lab = Lab::new(&machine);
        // The largest blocks first; what is left of the movable ones is smaller than a pageblock.
        lab.memory.set_hook(crate::mm::memory::Hook::MobilityOff, false);
        lab.take_all(Gfp::GFP_KERNEL, 9, AllocFlags::NO_WATERMARKS);
        while lab.zone().boost() == 0 && lab.take(Gfp::GFP_KERNEL, 0, AllocFlags::NO_WATERMARKS).is_some() {}
        lab.zone().boost()
    };
    assert_eq!((boost(6, ""), boost(6, "quirk.small_boost=off")), (512, 0));
    assert_eq!((boost(16, ""), boost(16, "quirk.small_boost=off")), (512, 512));
}

#[test]
fn kswapd_hears_of_a_boost_from_those_who_may_wake_it() {
    let machine = full_board();
    let lab = Lab::new(&machine);
    lab.zone().set_watermarks([1, 2, 3]);
    let control = lab.control(lab.zone());
    put(&lab, P, 5, Movable);
    fall_back_with(&lab, &control, 0, Unmovable, AllocFlags::empty()).unwrap();
    assert!(!lab.zone().is_boosted());
    fall_back_with(&lab, &control, 0, Reclaimable, AllocFlags::KSWAPD).unwrap();
    assert!(lab.zone().is_boosted());
}

/// Whether kswapd is still to hear of a boost after a request of `order` that `zone_has` a page for or not.
fn still_boosted(block: u32, zone_has_pages: bool) -> bool {
    let machine = board_16m("");
    let lab = Lab::without_pcp(&machine);
    if !zone_has_pages {
        lab.exhaust(Gfp::GFP_KERNEL, AllocFlags::NO_WATERMARKS);
    }
    lab.zone().set_boosted(true);
    assert_eq!(lab.take(Gfp::GFP_KERNEL, block, AllocFlags::NO_WATERMARKS).is_some(), zone_has_pages);
    lab.zone().is_boosted()
}

#[test]
fn a_single_page_tells_kswapd_in_any_case_and_a_block_when_it_succeeds() {
    assert!(!still_boosted(0, true));
    assert!(!still_boosted(1, true));
    assert!(!still_boosted(0, false));
    assert!(still_boosted(1, false));
}

#[test]
fn the_fast_path_leaves_telling_kswapd_to_the_careful_one() {
    let machine = board_64m("");
    let lab = Lab::new(&machine);
    for order in [0, 0, 1] {
        lab.alloc(Gfp::GFP_KERNEL, order).unwrap(); // from now on there is a page on the list
        lab.zone().set_boosted(true);
        lab.alloc(Gfp::GFP_KERNEL, order).unwrap();
        assert!(!lab.zone().is_boosted());
    }
}
