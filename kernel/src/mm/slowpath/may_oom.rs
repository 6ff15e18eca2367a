//! The last resort: somebody is killed for the request, unless that would not help or is not wanted.
//!
//! The order of the exclusions is v5.0's. That the mask lacks `__GFP_FS` is none: the killer itself then spares everybody
//! and calls that progress, so that such a request goes round for ever. Linux: `__alloc_pages_may_oom`.

use super::{COSTLY_ORDER, Outcome, SlowPath};
use crate::gfp::Gfp;
use crate::mm::memory::Env;
use crate::mm::oom_kill::{self, OomControl};
use crate::mm::printed::WarnOnce;
use crate::mm::sleep;
use crate::mm::zone::AllocFlags;
use crate::mmzone::ZoneType;
use crate::task::TaskFlags;
use crate::trace::reasons::{FlagsOrigin, OomExclusion};
use crate::trace::slowpath::SlowPath as Step;

impl<E: Env> SlowPath<'_, '_, '_, '_, E> {
    /// S15: kills somebody, if that is allowed; whether there is progress is left in `progress`.
    pub(super) fn may_oom(&mut self) -> Outcome {
        self.progress = false;
        let Some(lock) = self.memory.oom.try_lock() else {
            self.progress = true;
            self.excluded(OomExclusion::LockTaken);
            sleep::schedule_timeout(self.memory, self.current, 1);
            return Ok(());
        };
        // Victims that cannot run leave now, before the reaper's word counts, after which they are not waited for.
        if self.current.let_dying_end() {
            self.progress = true;
            return Ok(());
        }
        self.last_try()?;
        if let Some(reason) = self.exclusion() {
            self.excluded(reason);
            return Ok(());
        }
        let mut oc = OomControl::for_request(self.ac);
        let killed = oom_kill::out_of_memory(self.memory, self.current, &mut oc);
        let nofail = self.has(Gfp::__GFP_NOFAIL);
        if !killed && nofail {
            self.warn_once(WarnOnce::NoFailNoVictim);
        }
        self.progress = killed || nofail;
        if self.progress && nofail {
            self.take_with(AllocFlags::NO_WATERMARKS | AllocFlags::CPUSET, FlagsOrigin::OomNoFail)?;
            self.take_with(AllocFlags::NO_WATERMARKS, FlagsOrigin::OomNoFail)?;
        }
        drop(lock);
        Ok(())
    }

    /// Somebody may have made a lot of room while the request waited its turn.
    fn last_try(&mut self) -> Outcome {
        let gfp = self.ac.gfp;
        self.ac.gfp = (gfp | Gfp::__GFP_HARDWALL) - Gfp::__GFP_DIRECT_RECLAIM;
        let outcome = self.take_with(AllocFlags::WMARK_HIGH | AllocFlags::CPUSET, FlagsOrigin::OomLastTry);
        self.ac.gfp = gfp;
        outcome
    }

    /// Why nobody is to be killed for the request.
    fn exclusion(&self) -> Option<OomExclusion> {
        let highest = self.memory.zone_types()[self.ac.highest];
        if self.current.flags().contains(TaskFlags::PF_DUMPCORE) {
            Some(OomExclusion::DumpCore)
        } else if self.ac.order.get() > COSTLY_ORDER {
            Some(OomExclusion::Costly)
        } else if self.has(Gfp::__GFP_RETRY_MAYFAIL) {
            Some(OomExclusion::RetryMayFail)
        } else if highest < ZoneType::Normal {
            Some(OomExclusion::LowZone)
        } else if self.memory.oom.storage_suspended() {
            Some(OomExclusion::StorageSuspended)
        } else if self.has(Gfp::__GFP_THISNODE) {
            Some(OomExclusion::ThisNode)
        } else {
            None
        }
    }

    fn excluded(&self, reason: OomExclusion) {
        self.memory.trace(self.current, || Step::OomExcluded { reason });
    }
}
