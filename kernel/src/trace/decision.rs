//! Decisions of the allocator that Linux does not trace and that `explain` tells.
//!
//! Key types: [`Decision`], and [`WatermarkCheck`] with every term of one watermark check. Printed like tracepoints, so
//! that the trace reads as one.

use core::fmt;

use super::ZoneRef;
use super::alloc_flags::Opened;
use crate::addr::{Order, Pfn};
use crate::gfp::{Gfp, TraceNames};
use crate::mmzone::{MigrateType, NodeMask, Watermark, ZoneType};

/// The terms of one watermark check: `free - unusable > mark + reserve`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WatermarkCheck {
    /// Which watermark the request must keep to.
    pub mark: Watermark,
    /// The flags that let the request below it.
    pub opened: Opened,
    /// The watermark with its boost.
    pub watermark: u64,
    /// The pages that must stay free: the watermark, less what `opened` lets the request use.
    pub threshold: u64,
    /// `lowmem_reserve` against requests that could have gone higher.
    pub reserve: u64,
    /// Free pages of the zone.
    pub free: u64,
    /// Free CMA pages, if the request may not use them.
    pub cma: u64,
    /// Pages of highatomic blocks, if the request may not use them.
    pub highatomic: u64,
}

/// What became of a zone that a request came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Free pages suffice, and a block is listed.
    Enough,
    /// Too few free pages.
    TooFewPages,
    /// Enough free pages, but no block that is large enough and of a usable type.
    NoBlock,
    /// Too few free pages, but the request ignores watermarks.
    NoWatermarks,
    /// The task's cpuset does not have the node, and the mask asks for memory of the cpuset.
    Cpuset,
    /// The task's cpuset does not have the node, and confines the kernel's own memory, too.
    Hardwall,
    /// The request is limited to these nodes.
    Nodemask(NodeMask),
    /// The node is over its dirty limit.
    DirtyLimit,
}

impl Verdict {
    /// Whether the zone is tried.
    pub const fn is_tried(self) -> bool {
        matches!(self, Verdict::Enough | Verdict::NoWatermarks)
    }

    /// The word in the event.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Enough => "enough",
            Verdict::TooFewPages => "too_few_pages",
            Verdict::NoBlock => "no_block",
            Verdict::NoWatermarks => "no_watermarks",
            Verdict::Cpuset => "cpuset",
            Verdict::Hardwall => "hardwall",
            Verdict::Nodemask(_) => "nodemask",
            Verdict::DirtyLimit => "dirty_limit",
        }
    }
}

/// Where the pages of a request came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// A list of this CPU.
    PerCpu,
    /// The zone's free lists.
    Buddy,
    /// The zone's highatomic reserve.
    HighAtomic,
}

impl Source {
    /// The word in the event.
    pub const fn name(self) -> &'static str {
        match self {
            Source::PerCpu => "per_cpu",
            Source::Buddy => "buddy",
            Source::HighAtomic => "high_atomic",
        }
    }
}

/// A step towards the answer. `Display` prints its fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// The request, decoded.
    RequestDecoded {
        /// The mask after `gfp_allowed_mask`.
        gfp: Gfp,
        /// The order.
        order: Order,
        /// The highest zone type that the mask allows.
        highest: ZoneType,
        /// The first zone that the request may use; `None` when there is none.
        preferred: Option<ZoneRef>,
        /// The migratetype.
        migratetype: MigrateType,
    },
    /// The walk came to a zone.
    ZoneConsidered {
        /// The zone.
        zone: ZoneRef,
        /// The order.
        order: Order,
        /// The watermark check's terms; `None` if it did not come to that.
        check: Option<WatermarkCheck>,
        /// What became of it.
        verdict: Verdict,
    },
    /// A zone gave pages, or had none to give after all.
    ZoneTried {
        /// The zone.
        zone: ZoneRef,
        /// Where the pages came from; `None` when none came.
        source: Option<Source>,
    },
    /// A per-CPU list was filled.
    PcpRefill {
        /// The zone.
        zone: ZoneRef,
        /// The list.
        migratetype: MigrateType,
        /// Pages wanted: the batch.
        wanted: u32,
        /// Pages that came.
        got: u32,
    },
    /// A free block was cut down to a request's order.
    BlockSplit {
        /// First page.
        page: Pfn,
        /// The block's order.
        from: Order,
        /// The request's order.
        to: Order,
    },
    /// A freed block found its buddies.
    BlockMerged {
        /// First page of the result.
        page: Pfn,
        /// Order that was freed.
        from: Order,
        /// Order of the result.
        to: Order,
    },
    /// A pageblock changed its migratetype.
    PageblockRetyped {
        /// First page.
        page: Pfn,
        /// The old type.
        from: MigrateType,
        /// The new type.
        to: MigrateType,
    },
    /// A fallback raised the zone's watermarks.
    WatermarkBoosted {
        /// The zone.
        zone: ZoneRef,
        /// The boost in pages, after raising.
        boost: u64,
        /// It never exceeds this.
        cap: u64,
    },
}

impl Decision {
    /// The event's name.
    pub const fn name(self) -> &'static str {
        match self {
            Decision::RequestDecoded { .. } => "request_decoded",
            Decision::ZoneConsidered { .. } => "zone_considered",
            Decision::ZoneTried { .. } => "zone_tried",
            Decision::PcpRefill { .. } => "pcp_refill",
            Decision::BlockSplit { .. } => "block_split",
            Decision::BlockMerged { .. } => "block_merged",
            Decision::PageblockRetyped { .. } => "pageblock_retyped",
            Decision::WatermarkBoosted { .. } => "watermark_boosted",
        }
    }
}

impl fmt::Display for WatermarkCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WatermarkCheck { mark, opened, watermark, threshold, reserve, free, cma, highatomic } = *self;
        write!(f, "mark={} threshold={threshold} ", mark.name())?;
        if !opened.is_empty() {
            write!(f, "of={watermark} opened={opened} ")?;
        }
        write!(f, "reserve={reserve} free={free} cma={cma} highatomic={highatomic}")
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Decision::RequestDecoded { gfp, order, highest, preferred, migratetype } => {
                write!(f, "order={order} migratetype={} highest={highest} ", migratetype as u8)?;
                match preferred {
                    Some(zone) => write!(f, "{zone} gfp_flags={}", TraceNames(gfp)),
                    None => write!(f, "node=none zone=none     gfp_flags={}", TraceNames(gfp)),
                }
            }
            Decision::ZoneConsidered { zone, order, check: Some(check), verdict } => {
                write!(f, "{zone} order={order} {check} verdict={}", verdict.name())
            }
            Decision::ZoneConsidered { zone, order, check: None, verdict } => {
                write!(f, "{zone} order={order} verdict={}", verdict.name())?;
                if let Verdict::Nodemask(nodes) = verdict { write!(f, " nodes={nodes}") } else { Ok(()) }
            }
            Decision::ZoneTried { zone, source } => {
                write!(f, "{zone} source={}", source.map_or("none", Source::name))
            }
            Decision::PcpRefill { zone, migratetype, wanted, got } => {
                write!(f, "{zone} migratetype={} wanted={wanted} got={got}", migratetype as u8)
            }
            Decision::BlockSplit { page, from, to } | Decision::BlockMerged { page, from, to } => {
                write!(f, "pfn={} from_order={from} to_order={to}", page.0)
            }
            Decision::PageblockRetyped { page, from, to } => {
                write!(f, "pfn={} from_migratetype={} to_migratetype={}", page.0, from as u8, to as u8)
            }
            Decision::WatermarkBoosted { zone, boost, cap } => write!(f, "{zone} boost={boost} cap={cap}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mmzone::NodeId;
    use crate::trace::Event;

    const DMA32: ZoneRef = ZoneRef { node: NodeId(0), zone: ZoneType::Dma32 };

    fn check(event: Decision, text: &str) {
        assert_eq!(Event::from(event).to_string(), text);
    }

    #[test]
    fn a_request_and_its_walk() {
        let request = |preferred| Decision::RequestDecoded {
            gfp: Gfp::GFP_KERNEL,
            order: Order::ZERO,
            highest: ZoneType::Normal,
            preferred,
            migratetype: MigrateType::Unmovable,
        };
        check(
            request(Some(DMA32)),
            "request_decoded: order=0 migratetype=0 highest=Normal node=0 zone=DMA32    gfp_flags=GFP_KERNEL",
        );
        check(
            request(None),
            "request_decoded: order=0 migratetype=0 highest=Normal node=none zone=none     gfp_flags=GFP_KERNEL",
        );
        let terms = WatermarkCheck {
            mark: Watermark::Low,
            opened: Opened::default(),
            watermark: 1250,
            threshold: 1250,
            reserve: 1007,
            free: 2257,
            cma: 0,
            highatomic: 512,
        };
        let considered = |check, verdict| Decision::ZoneConsidered { zone: DMA32, order: Order::ZERO, check, verdict };
        check(
            considered(Some(terms), Verdict::TooFewPages),
            "zone_considered: node=0 zone=DMA32    order=0 mark=low threshold=1250 reserve=1007 free=2257 cma=0 \
             highatomic=512 verdict=too_few_pages",
        );
        let opened = Opened::among(0x30);
        let lowered = WatermarkCheck { mark: Watermark::Min, opened, watermark: 256, threshold: 96, ..terms };
        check(
            considered(Some(lowered), Verdict::Enough),
            "zone_considered: node=0 zone=DMA32    order=0 mark=min threshold=96 of=256 opened=HARDER|HIGH reserve=1007 \
             free=2257 cma=0 highatomic=512 verdict=enough",
        );
        check(considered(None, Verdict::Cpuset), "zone_considered: node=0 zone=DMA32    order=0 verdict=cpuset");
        check(
            Decision::ZoneTried { zone: DMA32, source: Some(Source::PerCpu) },
            "zone_tried: node=0 zone=DMA32    source=per_cpu",
        );
        check(Decision::ZoneTried { zone: DMA32, source: None }, "zone_tried: node=0 zone=DMA32    source=none");
    }

    #[test]
    fn steps_inside_a_zone() {
        let (page, from, to) = (Pfn(0x40c00), Order::MAX, Order::ZERO);
        check(Decision::BlockSplit { page, from, to }, "block_split: pfn=265216 from_order=10 to_order=0");
        check(Decision::BlockMerged { page, from: to, to: from }, "block_merged: pfn=265216 from_order=0 to_order=10");
        check(
            Decision::PageblockRetyped { page, from: MigrateType::Movable, to: MigrateType::Unmovable },
            "pageblock_retyped: pfn=265216 from_migratetype=1 to_migratetype=0",
        );
        check(
            Decision::PcpRefill { zone: DMA32, migratetype: MigrateType::Movable, wanted: 63, got: 60 },
            "pcp_refill: node=0 zone=DMA32    migratetype=1 wanted=63 got=60",
        );
        check(
            Decision::WatermarkBoosted { zone: DMA32, boost: 512, cap: 2250 },
            "watermark_boosted: node=0 zone=DMA32    boost=512 cap=2250",
        );
    }
}
