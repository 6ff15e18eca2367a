//! Our own steps on the way to a page in words, and the arithmetic of a watermark check.

use core::fmt::{self, Formatter};

use super::pages;
use crate::addr::Order;
use crate::trace::Decision;
use crate::trace::decision::{Source, Verdict, WatermarkCheck};

pub fn words(event: &Decision, f: &mut Formatter<'_>) -> fmt::Result {
    match *event {
        Decision::RequestDecoded { gfp, order, highest, preferred, migratetype } => {
            write!(
                f,
                "{} asks for {} of type {migratetype} from {highest} or below; ",
                gfp.mode(),
                pages(order.nr_pages())
            )?;
            match preferred {
                Some(zone) => write!(f, "{} of node {} is tried first", zone.zone, zone.node),
                None => f.write_str("no zone that it may use has memory"),
            }
        }
        Decision::ZoneConsidered { zone, order, check: Some(check), verdict } => {
            write!(f, "{}: ", zone.zone)?;
            considered(f, order, &check, verdict)
        }
        Decision::ZoneConsidered { zone, check: None, verdict, .. } => match verdict {
            Verdict::DirtyLimit => write!(f, "{}: too many dirty pages on node {}", zone.zone, zone.node),
            Verdict::Nodemask(nodes) => {
                write!(f, "{} of node {} is passed over: the request is limited to nodes {nodes}", zone.zone, zone.node)
            }
            Verdict::Hardwall => {
                write!(f, "{}: the task's cpuset does not have node {}, ", zone.zone, zone.node)?;
                f.write_str("and keeps the kernel's own memory in, too: it is a hardwall or exclusive")
            }
            _ => write!(f, "{}: the task's cpuset does not have node {}", zone.zone, zone.node),
        },
        Decision::ZoneTried { zone, source } => {
            let from = match source {
                Some(Source::PerCpu) => "gives a page from a list of this CPU",
                Some(Source::Buddy) => "gives a block from its free lists",
                Some(Source::HighAtomic) => "gives a block from its highatomic reserve",
                None => "has nothing to give after all: its free pages, if any, are in blocks too small or highatomic",
            };
            write!(f, "{} {from}", zone.zone)
        }
        Decision::PcpRefill { wanted, got, migratetype, .. } => {
            write!(f, "this CPU's {migratetype} list was empty: {got} of {wanted} pages come from the zone")
        }
        Decision::BlockSplit { from, to, .. } => {
            write!(f, "a block of order {from} is cut in half {} times, down to order {to}", from.get() - to.get())
        }
        Decision::BlockMerged { from, to, .. } => {
            write!(f, "the block of order {from} finds its buddies free and becomes one of order {to}")
        }
        Decision::PageblockRetyped { from, to, .. } => write!(f, "the pageblock is {to} from now on, no longer {from}"),
        Decision::WatermarkBoosted { boost, cap, .. } => {
            write!(f, "a fallback raises the zone's watermarks by {boost} of at most {cap}, so that kswapd makes room")
        }
    }
}

/// The sum that a check is about: its terms, and what they come to.
struct Sum<'c> {
    check: &'c WatermarkCheck,
    order: Order,
    /// Whether the pages of highatomic blocks are left out, as the quick check of a single page does.
    quick: bool,
}

impl Sum<'_> {
    /// Pages beyond those that must stay free; not above 0 when there are too few.
    fn slack(&self) -> i64 {
        let WatermarkCheck { threshold, reserve, .. } = *self.check;
        self.usable() - (threshold + reserve) as i64
    }

    fn usable(&self) -> i64 {
        let WatermarkCheck { free, cma, highatomic, .. } = *self.check;
        let highatomic = if self.quick { 0 } else { highatomic };
        free as i64 - (self.order.nr_pages() as i64 - 1) - (highatomic + cma) as i64
    }
}

impl fmt::Display for Sum<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let WatermarkCheck { reserve, free, cma, highatomic, .. } = *self.check;
        write!(f, "free {free}")?;
        if self.order != Order::ZERO {
            write!(f, " - {} (the block but for a page)", self.order.nr_pages() - 1)?;
        }
        if !self.quick {
            write!(f, " - {highatomic} highatomic")?;
        }
        let sign = if self.slack() > 0 { ">" } else { "<=" };
        write!(f, " - {cma} cma = {} {sign} {} + reserve {reserve}", self.usable(), Floor(self.check))
    }
}

/// What must stay free: a watermark, less what the request's flags let it use, each with its flag.
struct Floor<'c>(&'c WatermarkCheck);

impl fmt::Display for Floor<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let WatermarkCheck { mark, opened, watermark, threshold, .. } = *self.0;
        let mark = mark.name();
        if opened.is_empty() {
            return write!(f, "{mark} {threshold}");
        }
        write!(f, "({mark} {watermark}")?;
        let half = if opened.high() { watermark / 2 } else { 0 };
        if opened.high() {
            write!(f, " - {half} ALLOC_HIGH")?;
        }
        if let Some(name) = opened.rest() {
            write!(f, " - {} {name}", watermark - half - threshold)?;
        }
        write!(f, " = {threshold})")
    }
}

/// The flags that opened the reserve to a request that the whole watermark would have kept out.
fn opener(check: &WatermarkCheck, usable: i64) -> Option<&'static str> {
    if usable > (check.watermark + check.reserve) as i64 {
        return None;
    }
    match (check.opened.high(), check.opened.rest()) {
        (true, Some("ALLOC_OOM")) => Some("ALLOC_HIGH and ALLOC_OOM"),
        (true, Some(_)) => Some("ALLOC_HIGH and ALLOC_HARDER"),
        (true, None) => Some("ALLOC_HIGH"),
        (false, rest) => rest,
    }
}

/// The arithmetic of a zone that a request came to, and what became of it.
fn considered(f: &mut Formatter<'_>, order: Order, check: &WatermarkCheck, verdict: Verdict) -> fmt::Result {
    let mut sum = Sum { check, order, quick: false };
    // Linux looks at a single page's request without the highatomic blocks first: zone_watermark_fast.
    sum.quick = verdict == Verdict::Enough && sum.slack() <= 0;
    write!(f, "{sum}: ")?;
    match verdict {
        Verdict::Enough if sum.quick => {
            write!(f, "enough; the quick check for one page does not subtract {} highatomic", check.highatomic)
        }
        Verdict::Enough => match opener(check, sum.usable()) {
            Some(flags) => write!(f, "enough; {flags} opened the reserve"),
            None => f.write_str("enough"),
        },
        Verdict::TooFewPages => f.write_str("too few"),
        Verdict::NoBlock => write!(f, "enough pages, but no free block of order {order} or above that it may use"),
        Verdict::NoWatermarks if sum.slack() > 0 => {
            write!(f, "no free block of order {order} or above, even without watermarks")
        }
        Verdict::NoWatermarks => f.write_str("too few, but ALLOC_NO_WATERMARKS opened the whole reserve"),
        Verdict::Cpuset | Verdict::Hardwall => f.write_str("but the task's cpuset does not have the node"),
        Verdict::Nodemask(_) => f.write_str("but the request is limited to other nodes"),
        Verdict::DirtyLimit => f.write_str("but the node has too many dirty pages"),
    }
}

/// The arithmetic of a check without a verdict of its own, and how it ended.
pub fn balance(f: &mut Formatter<'_>, order: Order, check: &WatermarkCheck, balanced: bool) -> fmt::Result {
    let sum = Sum { check, order, quick: false };
    let ends = match (balanced, sum.slack() > 0) {
        (true, _) => "balanced",
        (false, true) => "enough pages, but no block of the order",
        (false, false) => "not balanced",
    };
    write!(f, "{sum}: {ends}")
}
