//! Why a request went where it did, and why the slow path did what it did: the words of their events.
//!
//! Key types: [`NodeChoice`], [`FlagsOrigin`], [`HarderBy`], [`ReserveRule`], [`RetryReason`], [`RefuseReason`],
//! [`CompactionSkip`], [`OomExclusion`], [`OomSpared`]. The predicate that decides returns such a word and the caller records it in a
//! [`SlowPath`](super::SlowPath) event, so that nothing is decided twice.

/// Declares a vocabulary: variants with their meaning, each with its word in events.
macro_rules! words {
    ($(#[$doc:meta])* $kind:ident { $($(#[$meaning:meta])* $variant:ident $word:literal)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $kind {
            $($(#[$meaning])* $variant,)*
        }

        impl $kind {
            /// Every one, in the order in which the slow path comes to them.
            pub const ALL: &[$kind] = &[$($kind::$variant),*];

            /// The word in events.
            pub const fn name(self) -> &'static str {
                match self {
                    $($kind::$variant => $word,)*
                }
            }
        }

        impl core::fmt::Display for $kind {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

words! {
    /// What chose the node that a request is near to. Linux: `get_task_policy`, `policy_node`, `policy_nodemask`.
    NodeChoice {
        /// An interrupt, which has no policy: the CPU.
        Interrupt "interrupt"
        /// `__GFP_THISNODE`, for which no policy is asked: the CPU.
        ThisNode "gfp_thisnode"
        /// No policy: the CPU.
        Default "default"
        /// A policy that prefers a node.
        Preferred "preferred"
        /// A policy that binds to nodes, the CPU's nearest of them first.
        Bind "bind"
        /// The CPU: the binding is about higher zones than the mask's.
        BindLowZone "bind_low_zone"
        /// The CPU: the binding has no node of the task's cpuset.
        BindOutsideCpuset "bind_outside_cpuset"
        /// A policy that has nodes take turns.
        Interleave "interleave"
    }
}

words! {
    /// What the flags of an attempt were made from.
    FlagsOrigin {
        /// The mask and the task. Linux: `gfp_to_alloc_flags`.
        Mask "mask"
        /// A reserve that is open to the request; it replaces the mask's flags.
        Reserves "reserves"
        /// The last look before a kill: somebody else may have made room up to the high watermark.
        OomLastTry "oom_last_try"
        /// Out of everything that is there, after a kill for a request that may not fail.
        OomNoFail "oom_nofail"
        /// Help for a request that may not fail and found nothing.
        NoFailHelp "nofail_help"
    }
}

words! {
    /// What lets a request try harder: a quarter below its mark, and in HighAtomic blocks. Linux: `gfp_to_alloc_flags`.
    HarderBy {
        /// `__GFP_ATOMIC` without `__GFP_NOMEMALLOC`.
        Atomic "gfp_atomic"
        /// The task's real-time priority, outside of interrupts.
        RealTime "realtime"
        /// `__GFP_NOFAIL`, when nothing was found.
        NoFail "gfp_nofail"
        /// Nothing does.
        Nothing "nothing"
    }
}

words! {
    /// Which rule decided about the reserves, in the order in which they are asked. Linux: `__gfp_pfmemalloc_flags`.
    ReserveRule {
        /// Closed: `__GFP_NOMEMALLOC` beats everything that would open them.
        NoMemalloc "gfp_nomemalloc"
        /// Open: `__GFP_MEMALLOC`, in any context.
        Memalloc "gfp_memalloc"
        /// Open: a softirq that has set `PF_MEMALLOC` itself.
        SoftirqMemalloc "softirq_pf_memalloc"
        /// Open: a task with `PF_MEMALLOC`, outside of interrupts.
        TaskMemalloc "pf_memalloc"
        /// Half open: a victim of the OOM killer, outside of interrupts.
        OomVictim "oom_victim"
        /// Closed: nothing opens them.
        None "none"
    }
}

words! {
    /// Why the request goes round again.
    RetryReason {
        /// Reclaim may still make enough room. Linux: `should_reclaim_retry`.
        ReclaimGoesOn "reclaim_goes_on"
        /// Compaction may still make a block. Linux: `should_compact_retry`.
        CompactGoesOn "compact_goes_on"
        /// The nodes that the task may use have changed. Linux: `check_retry_cpuset`.
        CpusetChanged "cpuset_changed"
        /// Its nodemask has no node of the task's cpuset, and is dropped. Linux: `check_retry_cpuset`.
        NodemaskOutsideCpuset "nodemask_outside_cpuset"
        /// The OOM killer did something, or somebody else holds its lock.
        OomProgress "oom_progress"
        /// `__GFP_NOFAIL`: whatever happened.
        NoFail "nofail"
    }
}

words! {
    /// Why the request gives up.
    RefuseReason {
        /// No zone that it may use has memory.
        NoZone "no_zone"
        /// Costly with `__GFP_NORETRY`, and compaction failed recently.
        CompactDeferred "compact_deferred"
        /// No `__GFP_DIRECT_RECLAIM`: it may not sleep.
        CannotSleep "cannot_sleep"
        /// `PF_MEMALLOC`: the task makes room already and must not do so inside of it.
        TaskMemalloc "pf_memalloc"
        /// `__GFP_NORETRY`: one round was all.
        NoRetry "noretry"
        /// Costly without `__GFP_RETRY_MAYFAIL`: one round was all.
        Costly "costly"
        /// The task was killed and has used its share of the reserves.
        OomVictimGivesUp "oom_victim_gives_up"
        /// Nothing is left to try.
        NoProgress "no_progress"
        /// `__GFP_NOFAIL` without `__GFP_DIRECT_RECLAIM`: it cannot wait for what it must have.
        NoFailCannotSleep "nofail_cannot_sleep"
        /// A person allows no more rounds than it has gone. Not in Linux.
        RoundLimit "round_limit"
    }
}

words! {
    /// Why a request did not turn to compaction at all.
    CompactionSkip {
        /// `__GFP_DIRECT_RECLAIM` is missing: it may not sleep.
        CannotSleep "cannot_sleep"
        /// A single page needs no compaction.
        OrderZero "order_zero"
        /// Before the first round only costly and unmovable requests do.
        Movable "movable"
        /// A reserve is open to the request: take from there first.
        Reserves "reserves"
        /// No `__GFP_IO`: migration might need it.
        NoIo "no_io"
    }
}

words! {
    /// Why nobody is killed for a request, in the order in which it is asked. Linux: `__alloc_pages_may_oom`.
    OomExclusion {
        /// Somebody else is at it; counts as progress.
        LockTaken "lock_taken"
        /// The task dumps core: a kill would not help it.
        DumpCore "dumping_core"
        /// Costly: a kill would hardly make a block of that order.
        Costly "costly"
        /// `__GFP_RETRY_MAYFAIL`: the caller can do without.
        RetryMayFail "retry_mayfail"
        /// Only low zones would do, and tasks hold little there.
        LowZone "low_zone"
        /// Storage is suspended: nothing can be written out.
        StorageSuspended "storage_suspended"
        /// `__GFP_THISNODE`: other nodes may have plenty.
        ThisNode "this_node"
    }
}

words! {
    /// Why the OOM killer, once called, killed nobody. Linux: `out_of_memory`.
    OomSpared {
        /// It is switched off; the request fails.
        Disabled "disabled"
        /// Somebody gave pages back when told of the need.
        NotifierFreed "notifier_freed"
        /// The task that asks is dying anyway, and now may use the victims' share.
        CurrentDying "current_dying"
        /// No `__GFP_FS`: too little was tried; counts as progress all the same.
        NoFs "no_fs"
        /// An earlier victim still has memory to give back.
        VictimPending "victim_pending"
        /// The one that was chosen is dying anyway.
        ChosenDying "chosen_dying"
        /// Nobody may be killed.
        NoVictim "no_victim"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No two reasons of one kind share a word, and words look like words of a trace.
    #[test]
    fn reasons_are_told_apart() {
        let kinds: [Vec<&str>; 9] = [
            NodeChoice::ALL.iter().map(|word| word.name()).collect(),
            HarderBy::ALL.iter().map(|word| word.name()).collect(),
            FlagsOrigin::ALL.iter().map(|word| word.name()).collect(),
            ReserveRule::ALL.iter().map(|word| word.name()).collect(),
            RetryReason::ALL.iter().map(|word| word.name()).collect(),
            RefuseReason::ALL.iter().map(|word| word.name()).collect(),
            CompactionSkip::ALL.iter().map(|word| word.name()).collect(),
            OomExclusion::ALL.iter().map(|word| word.name()).collect(),
            OomSpared::ALL.iter().map(|word| word.name()).collect(),
        ];
        for words in kinds {
            for (place, word) in words.iter().enumerate() {
                assert!(word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{word}");
                assert!(!words[..place].contains(word), "{word}");
            }
        }
    }
}
