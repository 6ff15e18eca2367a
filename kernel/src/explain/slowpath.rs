//! Steps of the slow path in words.

use core::fmt::{self, Formatter};

use super::{decision, either, pages};
use crate::gfp::Gfp;
use crate::mm::zone::AllocFlags;
use crate::trace::SlowPath;
use crate::trace::reasons::{
    CompactionSkip, FlagsOrigin, HarderBy, OomExclusion, OomSpared, RefuseReason, ReserveRule, RetryReason,
};
use crate::trace::slowpath::NotCompacted;

pub fn words(event: &SlowPath, f: &mut Formatter<'_>) -> fmt::Result {
    match *event {
        SlowPath::SlowpathEntered { order, gfp, asked } => entered(f, pages(order.nr_pages()), gfp, asked),
        SlowPath::AllocFlagsChosen { flags, origin, harder } => {
            write!(f, "the next attempts may go down to {}: {}", Depth(flags, harder), origin_words(origin))
        }
        SlowPath::ReservesChecked { rule, .. } => f.write_str(rule_words(rule)),
        SlowPath::CompactionSkipped { reason, .. } => write!(f, "no compaction: {}", skip_words(reason)),
        SlowPath::ZoneNotCompacted { zone, order, reason } => {
            write!(f, "{}: ", zone.zone)?;
            match reason {
                NotCompacted::Enough => write!(f, "a block of order {order} is free already"),
                NotCompacted::TooFewPages { free, needed } => {
                    write!(f, "free {free} <= {needed} needed to copy to: too few to compact")
                }
                NotCompacted::Fragmentation { index, threshold } => {
                    write!(f, "index {index} <= threshold {threshold}: memory is short rather than in pieces")
                }
            }
        }
        SlowPath::SlowpathRetry { reason } => write!(f, "once more: {}", retry_words(reason)),
        SlowPath::SlowpathRefused { reason } => write!(f, "gives up: {}", refuse_words(reason)),
        SlowPath::OomExcluded { reason } => write!(f, "the OOM killer is not called: {}", exclusion_words(reason)),
        SlowPath::OomWithoutKill { reason } => write!(f, "nobody is killed: {}", spared_words(reason)),
        SlowPath::ThrottleBegin { reserve, free, killable, .. } => {
            let sign = if free > reserve / 2 { ">" } else { "<=" };
            write!(f, "free {free} {sign} half of min {reserve} = {}: the task waits for kswapd, ", reserve / 2)?;
            f.write_str(either(killable, "until it is woken or killed", "at most a second"))
        }
        SlowPath::ThrottleEnd { killed, .. } => {
            f.write_str(either(killed, "the wait is over: the task was killed", "the wait is over"))
        }
        SlowPath::KswapdZoneChecked { zone, order, check, balanced } => {
            write!(f, "{}: ", zone.zone)?;
            decision::balance(f, order, &check, balanced)
        }
        SlowPath::KswapdNodeChecked { nid, balanced, .. } => {
            let why = either(balanced, "balanced: one zone is enough", "not balanced: no zone is");
            write!(f, "node {nid} is {why}")
        }
    }
}

fn entered(f: &mut Formatter<'_>, size: impl fmt::Display, gfp: Gfp, asked: Gfp) -> fmt::Result {
    write!(f, "no zone had {size} above its low watermark: the slow path begins")?;
    if gfp != asked {
        write!(f, ", with {} where {} was asked", gfp.mode(), asked.mode())?;
    }
    Ok(())
}

/// How deep into a zone the bits of `AllocFlags` let a request go, with the flag that opens each step and who gave it.
struct Depth(u32, HarderBy);

impl fmt::Display for Depth {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Depth(flags, harder) = *self;
        let flags = AllocFlags::from_bits_retain(flags);
        if flags.contains(AllocFlags::NO_WATERMARKS) {
            return f.write_str("the last page, past every watermark (ALLOC_NO_WATERMARKS)");
        }
        f.write_str(flags.watermark().name())?;
        if flags.contains(AllocFlags::HIGH) {
            f.write_str(", less half of it (ALLOC_HIGH by __GFP_HIGH)")?;
        }
        if flags.contains(AllocFlags::OOM) {
            f.write_str(", less half of that (ALLOC_OOM by the OOM killer's choice)")
        } else if flags.contains(AllocFlags::HARDER) {
            write!(f, ", less a quarter of that (ALLOC_HARDER by {})", harder_words(harder))
        } else {
            Ok(())
        }
    }
}

const fn harder_words(harder: HarderBy) -> &'static str {
    match harder {
        HarderBy::Atomic => "__GFP_ATOMIC",
        HarderBy::RealTime => "the task's real-time priority",
        HarderBy::NoFail => "__GFP_NOFAIL",
        HarderBy::Nothing => "nothing",
    }
}

const fn origin_words(origin: FlagsOrigin) -> &'static str {
    match origin {
        FlagsOrigin::Mask => "what the mask and the task are entitled to",
        FlagsOrigin::Reserves => "a reserve is open to the request",
        FlagsOrigin::OomLastTry => "a last look at the high watermark before a kill; somebody may have made room",
        FlagsOrigin::OomNoFail => "somebody was killed and the request may not fail: everything that is there",
        FlagsOrigin::NoFailHelp => "the request may not fail and found nothing: some help",
    }
}

const fn rule_words(rule: ReserveRule) -> &'static str {
    match rule {
        ReserveRule::NoMemalloc => "closed: __GFP_NOMEMALLOC beats whatever would open the reserves",
        ReserveRule::Memalloc => "open, all of it (ALLOC_NO_WATERMARKS): __GFP_MEMALLOC, in any context",
        ReserveRule::SoftirqMemalloc => "open, all of it (ALLOC_NO_WATERMARKS): a softirq that has set PF_MEMALLOC",
        ReserveRule::TaskMemalloc => {
            "open, all of it (ALLOC_NO_WATERMARKS): the task has PF_MEMALLOC and is not in an interrupt"
        }
        ReserveRule::OomVictim => "open, half of min (ALLOC_OOM): the task is a victim of the OOM killer",
        ReserveRule::None => "closed: neither __GFP_MEMALLOC, nor PF_MEMALLOC that counts here, nor an OOM victim",
    }
}

const fn retry_words(reason: RetryReason) -> &'static str {
    match reason {
        RetryReason::ReclaimGoesOn => "reclaim may still make enough room",
        RetryReason::CompactGoesOn => "compaction may still make a block",
        RetryReason::CpusetChanged => "the nodes that the task may use have changed",
        RetryReason::NodemaskOutsideCpuset => "without its nodemask, which has no node of the task's cpuset",
        RetryReason::OomProgress => "the OOM killer made progress, or somebody else is at it",
        RetryReason::NoFail => "__GFP_NOFAIL may not fail, whatever happened",
    }
}

const fn refuse_words(reason: RefuseReason) -> &'static str {
    match reason {
        RefuseReason::NoZone => "no zone that it may use has memory",
        RefuseReason::CompactDeferred => "costly, __GFP_NORETRY, and compaction failed recently",
        RefuseReason::CannotSleep => "without __GFP_DIRECT_RECLAIM it may not sleep, so it cannot make room",
        RefuseReason::TaskMemalloc => "PF_MEMALLOC: the task makes room already and must not do so inside of it",
        RefuseReason::NoRetry => "__GFP_NORETRY: one round was all",
        RefuseReason::Costly => "above order 3 and without __GFP_RETRY_MAYFAIL one round was all",
        RefuseReason::OomVictimGivesUp => "the task was killed and has used its share of the reserves",
        RefuseReason::NoProgress => "nothing is left to try",
        RefuseReason::NoFailCannotSleep => {
            "__GFP_NOFAIL without __GFP_DIRECT_RECLAIM cannot wait for what it must have"
        }
        RefuseReason::RoundLimit => "the person at the console allows no more rounds (limit rounds)",
    }
}

const fn skip_words(reason: CompactionSkip) -> &'static str {
    match reason {
        CompactionSkip::CannotSleep => "without __GFP_DIRECT_RECLAIM it may not sleep",
        CompactionSkip::OrderZero => "a single page needs none",
        CompactionSkip::Movable => "before the first round only costly and unmovable requests do",
        CompactionSkip::Reserves => "a reserve is open to the request, which comes first",
        CompactionSkip::NoIo => "without __GFP_IO pages cannot be moved",
    }
}

const fn exclusion_words(reason: OomExclusion) -> &'static str {
    match reason {
        OomExclusion::LockTaken => "somebody else is at it, which counts as progress",
        OomExclusion::DumpCore => "the task dumps core, and a kill would not help it",
        OomExclusion::Costly => "a kill would hardly make a block above order 3",
        OomExclusion::RetryMayFail => "__GFP_RETRY_MAYFAIL: the caller can do without",
        OomExclusion::LowZone => "only low zones would do, and tasks hold little there",
        OomExclusion::StorageSuspended => "storage is suspended, nothing can be written out",
        OomExclusion::ThisNode => "__GFP_THISNODE: other nodes may have plenty",
    }
}

const fn spared_words(reason: OomSpared) -> &'static str {
    match reason {
        OomSpared::Disabled => "the OOM killer is switched off",
        OomSpared::NotifierFreed => "somebody gave pages back when told of the need",
        OomSpared::CurrentDying => "the task that asks is dying anyway, and may use a victim's share now",
        OomSpared::NoFs => "without __GFP_FS too little was tried; it counts as progress all the same",
        OomSpared::VictimPending => "an earlier victim still has memory to give back",
        OomSpared::ChosenDying => "the one that was chosen is dying anyway",
        OomSpared::NoVictim => "there is nobody that may be killed",
    }
}
