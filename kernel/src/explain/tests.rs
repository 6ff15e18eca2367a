//! Words under test: they must agree with what the event says happened.

use super::*;
use crate::addr::Order;
use crate::gfp::Gfp;
use crate::mm::memory::{Env, Hook};
use crate::mm::testing::{Lab, board_64m};
use crate::mm::zone::AllocFlags;
use crate::mmzone::{NodeId, Watermark, ZoneType};
use crate::trace::alloc_flags::Opened;
use crate::trace::decision::{Decision, Verdict, WatermarkCheck};
use crate::trace::walk::{Step, walk};
use crate::trace::{Tracer, ZoneRef};

const DMA32: ZoneRef = ZoneRef { node: NodeId(0), zone: ZoneType::Dma32 };

#[track_caller]
fn check(event: impl Into<Event>, words: &str) {
    assert_eq!(explain(&event.into()).to_string(), words);
}

fn considered(free: u64, highatomic: u64, order: u32, verdict: Verdict) -> Decision {
    opened(free, highatomic, order, verdict, AllocFlags::empty(), 256)
}

fn opened(free: u64, highatomic: u64, order: u32, verdict: Verdict, flags: AllocFlags, threshold: u64) -> Decision {
    let opened = Opened::among(flags.bits());
    let (mark, watermark, reserve, cma) = (Watermark::Min, 256, 10, 4);
    let check = WatermarkCheck { mark, opened, watermark, threshold, reserve, free, cma, highatomic };
    Decision::ZoneConsidered { zone: DMA32, order: Order::new(order).unwrap(), check: Some(check), verdict }
}

#[test]
fn a_watermark_check_is_told_with_its_sum() {
    check(
        considered(300, 0, 0, Verdict::Enough),
        "DMA32: free 300 - 0 highatomic - 4 cma = 296 > min 256 + reserve 10: enough",
    );
    check(
        considered(270, 0, 0, Verdict::TooFewPages),
        "DMA32: free 270 - 0 highatomic - 4 cma = 266 <= min 256 + reserve 10: too few",
    );
    check(
        considered(300, 100, 0, Verdict::Enough),
        "DMA32: free 300 - 4 cma = 296 > min 256 + reserve 10: enough; the quick check for one page does not subtract 100 \
         highatomic",
    );
    check(
        considered(300, 0, 3, Verdict::NoBlock),
        "DMA32: free 300 - 7 (the block but for a page) - 0 highatomic - 4 cma = 289 > min 256 + reserve 10: enough pages, \
         but no free block of order 3 or above that it may use",
    );
    check(
        considered(2, 0, 0, Verdict::NoWatermarks),
        "DMA32: free 2 - 0 highatomic - 4 cma = -2 <= min 256 + reserve 10: too few, but ALLOC_NO_WATERMARKS opened \
         the whole reserve",
    );
}

#[test]
fn flags_that_open_a_reserve_are_named_with_their_share() {
    let (high, harder, oom) = (AllocFlags::HIGH, AllocFlags::HARDER, AllocFlags::OOM);
    check(
        opened(110, 0, 0, Verdict::TooFewPages, high | harder, 96),
        "DMA32: free 110 - 0 highatomic - 4 cma = 106 <= (min 256 - 128 ALLOC_HIGH - 32 ALLOC_HARDER = 96) + reserve 10: \
         too few",
    );
    check(
        opened(111, 0, 0, Verdict::Enough, high | harder, 96),
        "DMA32: free 111 - 0 highatomic - 4 cma = 107 > (min 256 - 128 ALLOC_HIGH - 32 ALLOC_HARDER = 96) + reserve 10: \
         enough; ALLOC_HIGH and ALLOC_HARDER opened the reserve",
    );
    check(
        opened(300, 0, 0, Verdict::Enough, oom, 128),
        "DMA32: free 300 - 0 highatomic - 4 cma = 296 > (min 256 - 128 ALLOC_OOM = 128) + reserve 10: enough",
    );
}

/// The sum of every check that the allocator makes on its way down agrees with its verdict.
#[test]
fn sums_agree_with_verdicts_down_to_the_last_page() {
    let board = board_64m("");
    let lab = Lab::new(&board);
    lab.memory.set_hook(Hook::Trace, true);
    let ring = lab.memory.env.tracer();
    for (gfp, order) in
        [(Gfp::GFP_KERNEL | Gfp::__GFP_NORETRY, 3), (Gfp::GFP_NOWAIT, 0), (Gfp::GFP_ATOMIC, 2), (Gfp::GFP_ATOMIC, 0)]
    {
        let mut seen = 0;
        loop {
            let start = ring.next_seq();
            let refused = lab.alloc(gfp, order).is_err();
            for step in walk(ring, start..ring.next_seq()) {
                let Step::Entry(entry) = step else { panic!("{step:?}") };
                let words = explain(&entry.event).to_string();
                assert!(!words.is_empty() && words.is_ascii() && !words.contains('\n'), "{words}");
                let Event::Decision(Decision::ZoneConsidered { verdict, .. }) = entry.event else { continue };
                seen += 1;
                let (enough, few) = (words.contains(" > "), words.contains(" <= "));
                assert!(enough != few && enough == matches!(verdict, Verdict::Enough | Verdict::NoBlock), "{words}");
            }
            if refused {
                break;
            }
        }
        assert!(seen > 0, "{gfp:?}");
    }
}
