//! `reclaim direct`, `shrinker ls`, `pcp`: reclaim by hand, those that it asks, and what stands in the way of exact numbers.

use core::fmt::Write as _;

use kernel::addr::Order;
use kernel::mm::owner::PageOwner;
use kernel::mm::{freelist, page_alloc, reserves};

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::count::Count;
use crate::machine::Machine;
use crate::status::{Outcome, Status};
use crate::value;

/// `reclaim direct GFP [ORDER]`
pub const fn direct<M: Machine>() -> Command<M> {
    Command {
        name: "reclaim direct",
        summary: "reclaim once, as a request that found nothing would",
        help: "\
One try_to_free_pages as the current task, with PF_MEMALLOC while it lasts:
from priority 12 on, until 32 pages are free or priority 0 is done. The mask
says what it may do: __GFP_IO swap, __GFP_FS enter the file system. Status 1:
nothing was freed.",
        args: &[Arg::One("GFP", Kind::Gfp), Arg::Maybe("ORDER", Kind::Order)],
        examples: &["pc ra 0 0 1000; reclaim direct GFP_KERNEL", "pc ra 0 0 100; explain reclaim direct GFP_NOFS"],
        run: run_direct,
    }
}

/// `shrinker ls`
pub const fn shrinkers<M: Machine>() -> Command<M> {
    Command {
        name: "shrinker ls",
        summary: "list the caches that are asked to shrink when memory is short",
        help: "\
OBJECTS is what the shrinker says that it could free, DEFERRED what was put
off so far, SEEKS what an object costs to make again.",
        args: &[Arg::Flag("--json")],
        examples: &["shrinker ls", "shrinker ls --json"],
        run: run_shrinkers,
    }
}

/// `pcp on|off`
pub const fn pcp<M: Machine>() -> Command<M> {
    Command {
        name: "pcp",
        summary: "let CPUs keep lists of free pages, or not",
        help: "\
off: every page goes to and comes from the buddy lists at once, so that the
number of free pages is exact at every moment; for labs. on: the limits are
those of Linux, or of vm.percpu_pagelist_fraction.",
        args: &[Arg::One("SWITCH", Kind::Choice(&["on", "off"]))],
        examples: &["pcp off; free to 300; pcp on; free all"],
        run: run_pcp,
    }
}

fn run_direct<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let parsed = value::gfp(call.args.must(0))?;
    let order = call.args.word(1).map_or(Ok(Order::ZERO), value::order)?;
    parsed.notes().try_for_each(|note| writeln!(call, "{note}"))?;
    let reclaimed = call.kernel(|memory, current| page_alloc::reclaim(memory, current, parsed.mask, order));
    writeln!(call, "reclaimed {}", Count::pages(reclaimed))?;
    call.check_interrupt()?;
    Ok(Status::done_if(reclaimed > 0))
}

fn run_shrinkers<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let users = call.users();
    if !call.json() {
        writeln!(call, "SHRINKER                        OBJECTS DEFERRED SEEKS BATCH")?;
    }
    for (which, shrinker) in users.shrinkers().iter().enumerate() {
        let (objects, deferred) = (users.count_objects(which), users.add_deferred(which, 0));
        let (name, seeks, batch) = (shrinker.name.shrinker, shrinker.seeks, shrinker.batch);
        if call.json() {
            write!(call, r#"{{"shrinker":"{name}","objects":{objects},"deferred":{deferred},"#)?;
            writeln!(call, r#""seeks":{seeks},"batch":{batch}}}"#)?;
        } else {
            writeln!(call, "{name:<30} {objects:>8} {deferred:>8} {seeks:>5} {batch:>5}")?;
        }
    }
    Ok(Status::DONE)
}

fn run_pcp<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let on = value::one_of("switch", call.args.must(0), [("on", true), ("off", false)].into_iter())?;
    call.kernel(|memory, current| {
        if on {
            reserves::setup_per_cpu_pagesets(memory);
        } else {
            reserves::disable_per_cpu_pagesets(memory);
            freelist::drain_all_pages(memory, current);
        }
    });
    Ok(Status::DONE)
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, run, shell};

    #[test]
    fn one_round_of_reclaim() {
        let mut shell = shell();
        assert_eq!(run(&mut shell, "reclaim direct GFP_KERNEL; echo $?"), "reclaimed 0 pages\n1\n");
        run(&mut shell, "kswapd freeze; pc ra 0 0 12000");
        // Priorities 12 to 9 of 12,000 pages: 2 + 5 + 11 + 23.
        assert_eq!(run(&mut shell, "reclaim direct GFP_KERNEL; echo $?"), "reclaimed 41 pages\n0\n");
        check("reclaim direct; echo $?", "reclaim direct: GFP is missing; usage: reclaim direct GFP [ORDER]\n2");
        check("reclaim direct GFP_KERNEL 11", "reclaim direct: order must be 0..10 (MAX_PAGE_ORDER), not 11");
    }

    #[test]
    fn shrinkers_are_listed() {
        let list = "SHRINKER                        OBJECTS DEFERRED SEEKS BATCH\n\
                    workingset_shadow_shrinker            0        0     0   128";
        let printed = run(&mut shell(), "shrinker ls");
        assert!(printed.starts_with(list), "{printed}");
        assert!(run(&mut shell(), "shrinker ls --json").starts_with(r#"{"shrinker":"workingset_shadow_shrinker","#));
    }

    #[test]
    fn without_lists_every_page_is_counted_at_once() {
        let mut shell = shell();
        run(&mut shell, "alloc GFP_KERNEL");
        assert!(!run(&mut shell, "audit").contains(" 0 per-CPU"));
        assert!(run(&mut shell, "pcp off; audit").contains(" 0 per-CPU"));
        assert!(run(&mut shell, "alloc GFP_KERNEL; free all; audit").contains(" 0 per-CPU"));
        assert!(!run(&mut shell, "pcp on; alloc GFP_KERNEL; audit").contains(" 0 per-CPU"));
        check("pcp maybe", "pcp: no switch `maybe`");
    }
}
