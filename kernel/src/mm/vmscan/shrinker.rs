//! Shrinkers: caches of objects that are asked to give memory back, in proportion to what the LRU lists are scanned.
//!
//! A shrinker is asked in batches. What is too little for a batch is put off, and adds to the next round, so that a small
//! cache gets its turn too. Linux: `shrink_slab`, `do_shrink_slab`.

use super::sleep;
use crate::gfp::Gfp;
use crate::mm::memory::{Env, Memory};
use crate::mm::owner::{PageOwner, Shrinker, Shrunk};
use crate::mmzone::NodeId;
use crate::task::Current;
use crate::trace::vmscan::{ShrinkSlabEnd, ShrinkSlabStart, Vmscan};
use crate::vmstat::VmEvent;

/// Objects asked for at a time, when the shrinker does not say. Linux: `SHRINK_BATCH`.
const SHRINK_BATCH: u64 = 128;

/// How much a shrinker is asked for, in objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Work {
    /// This round's share.
    delta: u64,
    /// What is to be scanned now.
    total: u64,
    /// What is to be scanned in the end: the rest is put off.
    owed: u64,
}

impl Work {
    /// For a shrinker that could free `freeable` objects and owes `deferred` from before.
    fn new(freeable: u64, deferred: u64, seeks: u32, priority: u32) -> Work {
        let delta = match seeks {
            0 => freeable / 2,
            seeks => (freeable >> priority) * 4 / u64::from(seeks),
        };
        // What Linux counts in signed words overflows into the negative; then the cache is scanned once.
        let (mut total, owed) = match deferred.checked_add(delta).filter(|&sum| sum <= i64::MAX as u64) {
            Some(sum) => (sum, sum),
            None => (freeable, deferred),
        };
        if delta < freeable / 4 {
            // A heap of old debts is no reason to empty the cache.
            total = total.min(freeable / 2);
        }
        Work { delta, total: total.min(freeable.saturating_mul(2)), owed }
    }
}

/// Asks every shrinker for its share at `priority`; objects freed. Linux: `shrink_slab`.
pub fn shrink_slab<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, nid: NodeId, gfp: Gfp, priority: u32) -> u64 {
    let shrinkers = memory.env.owner().shrinkers();
    let ask = |(which, shrinker)| do_shrink_slab(memory, current, nid, gfp, priority, which, shrinker);
    shrinkers.iter().enumerate().map(ask).sum()
}

/// Linux: `do_shrink_slab`.
fn do_shrink_slab<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    nid: NodeId,
    gfp: Gfp,
    priority: u32,
    which: usize,
    shrinker: &Shrinker,
) -> u64 {
    let owner = memory.env.owner();
    let freeable = owner.count_objects(which);
    if freeable == 0 {
        return 0;
    }
    let deferred = owner.take_deferred(which);
    let mut work = Work::new(freeable, deferred, shrinker.seeks, priority);
    memory.trace(current, || {
        Vmscan::MmShrinkSlabStart(ShrinkSlabStart {
            shrinker: shrinker.name,
            nid,
            deferred: deferred as i64,
            gfp,
            freeable,
            delta: work.delta,
            total_scan: work.total as i64,
            priority: priority as i32,
        })
    });
    let batch = if shrinker.batch == 0 { SHRINK_BATCH } else { shrinker.batch };
    let freed = scan_in_batches(memory, current, which, gfp, batch.min(freeable), batch, &mut work);
    let deferred_after = owner.add_deferred(which, work.owed);
    memory.trace(current, || {
        Vmscan::MmShrinkSlabEnd(ShrinkSlabEnd {
            shrinker: shrinker.name,
            nid,
            deferred_before: deferred as i64,
            deferred_after: deferred_after as i64,
            total_scan: work.total as i64,
            freed,
        })
    });
    freed
}

/// Has the shrinker at `which` look at `batch` objects at a time, while there is work for at least `least`; objects freed.
fn scan_in_batches<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    which: usize,
    gfp: Gfp,
    least: u64,
    batch: u64,
    work: &mut Work,
) -> u64 {
    let mut freed = 0;
    while work.total >= least {
        let nr = work.total.min(batch);
        let Shrunk::Freed(objects) = memory.env.owner().scan_objects(memory, current, which, nr, gfp) else { break };
        freed += objects;
        memory.count(VmEvent::SlabsScanned, nr);
        work.total -= nr;
        work.owed = work.owed.saturating_sub(nr);
        sleep::cond_resched(memory, current);
    }
    freed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debts_are_paid_within_limits() {
        let work = |freeable, deferred, seeks, priority| Work::new(freeable, deferred, seeks, priority);
        assert_eq!(work(1000, 0, 2, 5), Work { delta: 62, total: 62, owed: 62 });
        // Little pressure: half the cache at most, whatever is owed.
        assert_eq!(work(1000, 9000, 2, 5), Work { delta: 62, total: 500, owed: 9062 });
        // Much pressure: twice the cache at most.
        assert_eq!(work(1000, 9000, 2, 0), Work { delta: 2000, total: 2000, owed: 11000 });
        assert_eq!(work(1000, 0, 0, 12), Work { delta: 500, total: 500, owed: 500 });
        assert_eq!(work(1000, i64::MAX as u64, 2, 0), Work { delta: 2000, total: 1000, owed: i64::MAX as u64 });
    }
}
