//! Who may go how far into the reserves: from a mask and a task to [`AllocFlags`].
//!
//! ```text
//!   who                        flags              leaves free (Min = 256)
//!   GFP_KERNEL, GFP_NOWAIT     MIN                256
//!   a real-time task           MIN HARDER         192
//!   __GFP_HIGH, an OOM victim  MIN HIGH, or OOM   128
//!   GFP_ATOMIC                 MIN HIGH HARDER     96
//!   PF_MEMALLOC                NO_WATERMARKS        0
//! ```
//!
//! [`gfp_to_alloc_flags`] is what every request gets. The reserves that [`reserve_rule`] opens *replace* it: a victim's
//! `GFP_ATOMIC` goes down to 96 first and to 128 afterwards, and kswapd is not woken any more.
//!
//! Linux: `gfp_to_alloc_flags`, `__gfp_pfmemalloc_flags`, `gfp_pfmemalloc_allowed` in `mm/page_alloc.c`.

use super::zone::AllocFlags;
use crate::gfp::Gfp;
use crate::task::{Current, TaskFlags};
use crate::trace::reasons::{HarderBy, ReserveRule};

/// How far a request may go by its mask, and by its task's priority. Linux: `gfp_to_alloc_flags`.
#[inline(always)]
pub fn gfp_to_alloc_flags(current: &Current<'_>, gfp: Gfp) -> AllocFlags {
    let mut flags = AllocFlags::CPUSET;
    if gfp.contains(Gfp::__GFP_HIGH) {
        flags |= AllocFlags::HIGH;
    }
    if gfp.contains(Gfp::__GFP_ATOMIC) {
        // What cannot wait is not kept back by a cpuset either.
        flags -= AllocFlags::CPUSET;
        if harder_by(current, gfp) == HarderBy::Atomic {
            flags |= AllocFlags::HARDER;
        }
    } else if harder_by(current, gfp) == HarderBy::RealTime {
        flags |= AllocFlags::HARDER;
    }
    if gfp.contains(Gfp::__GFP_KSWAPD_RECLAIM) {
        flags |= AllocFlags::KSWAPD;
    }
    if gfp.contains(Gfp::__GFP_MOVABLE) {
        flags |= AllocFlags::CMA;
    }
    flags
}

/// What lets a request try harder, by its mask or its task's priority.
#[inline(always)]
pub fn harder_by(current: &Current<'_>, gfp: Gfp) -> HarderBy {
    if gfp.contains(Gfp::__GFP_ATOMIC) {
        if gfp.contains(Gfp::__GFP_NOMEMALLOC) { HarderBy::Nothing } else { HarderBy::Atomic }
    } else if current.task.is_realtime() && !current.context().in_interrupt() {
        HarderBy::RealTime
    } else {
        HarderBy::Nothing
    }
}

/// Which rule opens the reserves to a request, or keeps them closed; asked in exactly this order.
///
/// Linux: `__gfp_pfmemalloc_flags`.
#[inline(always)]
pub fn reserve_rule(current: &Current<'_>, gfp: Gfp) -> ReserveRule {
    let (context, memalloc) = (current.context(), current.flags().contains(TaskFlags::PF_MEMALLOC));
    if gfp.contains(Gfp::__GFP_NOMEMALLOC) {
        ReserveRule::NoMemalloc
    } else if gfp.contains(Gfp::__GFP_MEMALLOC) {
        ReserveRule::Memalloc
    } else if context.in_serving_softirq() && memalloc {
        ReserveRule::SoftirqMemalloc
    } else if context.in_interrupt() {
        ReserveRule::None
    } else if memalloc {
        ReserveRule::TaskMemalloc
    } else if current.task.is_oom_victim() {
        ReserveRule::OomVictim
    } else {
        ReserveRule::None
    }
}

/// The flags that a rule puts in the place of the request's own; empty when it opens nothing.
#[inline(always)]
pub fn reserve_flags(rule: ReserveRule) -> AllocFlags {
    match rule {
        ReserveRule::NoMemalloc | ReserveRule::None => AllocFlags::empty(),
        ReserveRule::Memalloc | ReserveRule::SoftirqMemalloc | ReserveRule::TaskMemalloc => AllocFlags::NO_WATERMARKS,
        ReserveRule::OomVictim => AllocFlags::OOM,
    }
}

/// Whether a request may use memory that was taken out of the reserves. Linux: `gfp_pfmemalloc_allowed`.
pub fn pfmemalloc_allowed(current: &Current<'_>, gfp: Gfp) -> bool {
    !reserve_flags(reserve_rule(current, gfp)).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Context, TaskKind, TaskTable};

    const MEMALLOC: TaskFlags = TaskFlags::PF_MEMALLOC;

    #[test]
    fn a_mask_says_how_far() {
        let tasks = TaskTable::new("sh");
        let realtime = Current::new(tasks.spawn("rt", TaskKind::RealTime).unwrap());
        let plain = Current::new(tasks.init());
        let check = |current: Current<'_>, gfp: Gfp, text: &str| {
            let names: Vec<&str> = gfp_to_alloc_flags(&current, gfp).iter_names().map(|(name, _)| name).collect();
            assert_eq!(names.join(" "), text, "{gfp}");
        };
        check(plain, Gfp::GFP_KERNEL, "CPUSET KSWAPD");
        check(plain, Gfp::GFP_ATOMIC, "HARDER HIGH KSWAPD");
        check(plain, Gfp::GFP_ATOMIC | Gfp::__GFP_NOMEMALLOC, "HIGH KSWAPD");
        check(plain, Gfp::__GFP_HIGH, "HIGH CPUSET");
        check(plain, Gfp::GFP_HIGHUSER_MOVABLE, "CPUSET CMA KSWAPD");
        check(realtime, Gfp::GFP_KERNEL, "HARDER CPUSET KSWAPD");
        check(realtime.in_context(Context::Atomic), Gfp::GFP_NOWAIT, "HARDER CPUSET KSWAPD");
        check(realtime.in_context(Context::HardIrq), Gfp::GFP_NOWAIT, "CPUSET KSWAPD");
        check(realtime, Gfp::GFP_ATOMIC | Gfp::__GFP_NOMEMALLOC, "HIGH KSWAPD");
    }

    #[test]
    fn the_rules_are_asked_in_order() {
        let tasks = TaskTable::new("sh");
        let check = |context, pf: TaskFlags, victim: bool, gfp: Gfp, rule| {
            tasks.init().change_flags(pf, MEMALLOC - pf);
            tasks.init().set_oom_victim(victim);
            let current = Current::new(tasks.init()).in_context(context);
            assert_eq!(reserve_rule(&current, gfp), rule, "{context:?} {pf:?} {gfp}");
            let open = !matches!(rule, ReserveRule::None | ReserveRule::NoMemalloc);
            assert_eq!(pfmemalloc_allowed(&current, gfp), open);
        };
        let (task, none) = (Context::Task, TaskFlags::empty());
        let both = Gfp::__GFP_MEMALLOC | Gfp::__GFP_NOMEMALLOC;
        check(task, MEMALLOC, true, both, ReserveRule::NoMemalloc);
        check(Context::HardIrq, none, false, Gfp::__GFP_MEMALLOC, ReserveRule::Memalloc);
        check(Context::SoftIrq, MEMALLOC, false, Gfp::GFP_ATOMIC, ReserveRule::SoftirqMemalloc);
        for interrupt in [Context::HardIrq, Context::BhOff] {
            check(interrupt, MEMALLOC, true, Gfp::GFP_ATOMIC, ReserveRule::None);
        }
        check(Context::SoftIrq, none, true, Gfp::GFP_ATOMIC, ReserveRule::None);
        check(Context::Atomic, MEMALLOC, true, Gfp::GFP_ATOMIC, ReserveRule::TaskMemalloc);
        check(task, none, true, Gfp::GFP_KERNEL, ReserveRule::OomVictim);
        check(task, none, false, Gfp::GFP_KERNEL, ReserveRule::None);
    }
}
