//! `abuse`: who takes reserves and gives nothing back, as drivers did until 2009.

use core::fmt::Write as _;

use kernel::addr::{Order, Pfn};
use kernel::gfp::Gfp;
use kernel::mm::memory::{Env, Memory};
use kernel::mm::mempool::{self, Mempool, Source};
use kernel::mm::page_alloc;
use kernel::task::{Current, Task, TaskFlags};
use kernel::vmstat::{VmEvent, ZoneEvent};

use super::task;
use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::count::Count;
use crate::handles::Held;
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value;

/// Pages that the pool of `--mode mempool` sets aside.
const POOL: u32 = 16;

const MODES: &[&str] = &["pf_memalloc", "gfp_high", "mempool"];

/// `abuse TASK PAGES [--mode pf_memalloc|gfp_high|mempool]`
pub const fn abuse<M: Machine>() -> Command<M> {
    Command {
        name: "abuse",
        summary: "take pages and free none, with PF_MEMALLOC or by its cures",
        help: "\
The task takes PAGES single pages, or fewer if it is refused before. The flag
is a promise to free more than one takes: by default the task breaks it. With
--mode gfp_high it asks with __GFP_HIGH, and may reclaim for itself; with
mempool it takes from a pool of 16 pages. After each page somebody innocent
asks for one with GFP_ATOMIC, and gives it back. The pages get handles.
Study note 0 tells the story; lab abuse runs it.",
        args: &[
            Arg::One("TASK", Kind::Task),
            Arg::One("PAGES", Kind::Count),
            Arg::Opt("--mode", "pf_memalloc|gfp_high|mempool", Kind::Choice(MODES)),
        ],
        examples: &["task new a; abuse a 100; task kill a", "abuse sh 100 --mode gfp_high; free all"],
        run,
    }
}

/// How the task comes by its pages.
enum Way {
    /// With a mask, and flags while it asks.
    Ask(Gfp, TaskFlags),
    /// From a pool of its own.
    Pool(Mempool<'static>),
}

/// What is done, and what comes of it.
struct AbuseControl {
    task: &'static Task,
    wanted: u64,
    taken: u64,
    /// Fewest pages that were free.
    lowest: u64,
    /// How often the innocent was refused, and what was free the first time.
    refused: u64,
    refused_at: Option<u64>,
}

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let task = task::find(call, call.args.must(0))?;
    let wanted = value::count(call.args.must(1))?.unwrap_or(u64::MAX);
    let way = way(call, call.args.option("--mode").unwrap_or(MODES[0]))?;
    let memory = call.shell.machine.memory();
    let lowest = free_pages(memory);
    let mut control = AbuseControl { task, wanted, taken: 0, lowest, refused: 0, refused_at: None };
    let before = (stalls(memory), memory.event(VmEvent::PgscanDirectThrottle));
    let end = take_all(call, &way, &mut control);
    if let Way::Pool(pool) = way {
        call.kernel(|memory, current| mempool::destroy(memory, current, pool));
    }
    end?;
    report(call, &control, before)?;
    Ok(Status::done_if(control.taken == control.wanted))
}

fn way<'a, M: Machine>(call: &mut Call<'_, 'a, M>, mode: &'a str) -> Result<Way, Trouble<'a>> {
    let quiet = Gfp::GFP_KERNEL | Gfp::__GFP_NORETRY | Gfp::__GFP_NOWARN;
    match mode {
        "pf_memalloc" => Ok(Way::Ask(Gfp::GFP_KERNEL | Gfp::__GFP_NOWARN, TaskFlags::PF_MEMALLOC)),
        "gfp_high" => Ok(Way::Ask(quiet | Gfp::__GFP_HIGH, TaskFlags::empty())),
        "mempool" => {
            let pool = call.kernel(|memory, current| mempool::create(memory, current, POOL, Source::Pages(0)));
            pool.map(Way::Pool).map_err(|_| Trouble::Refused("there is no memory for the pool"))
        }
        _ => Err(value::unknown("mode", mode, MODES.iter().copied()).into()),
    }
}

fn take_all<M: Machine>(
    call: &mut Call<'_, '_, M>,
    way: &Way,
    control: &mut AbuseControl,
) -> Result<(), Trouble<'static>> {
    while control.taken < control.wanted {
        call.check_interrupt()?;
        call.shell.session.handles.reserve().map_err(|_| Trouble::OutOfHeap)?;
        let task = control.task;
        let page = call.kernel(|memory, _| take(memory, &Current::new(task), way));
        let Some(pfn) = page else { return Ok(()) };
        call.shell.session.handles.push(Held { pfn, order: Order::ZERO, pid: task.pid() });
        control.taken += 1;
        ask_innocently(call, control);
    }
    Ok(())
}

/// A page for the abuser.
fn take<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, way: &Way) -> Option<Pfn> {
    match way {
        Way::Ask(gfp, flags) => page_alloc::alloc_page(memory, &current.with(*flags), *gfp).ok(),
        Way::Pool(pool) => {
            mempool::alloc(memory, current, pool, Gfp::GFP_NOWAIT | Gfp::__GFP_NOWARN).ok().map(|addr| addr.pfn())
        }
    }
}

/// A page for somebody in a hurry, given back at once; the figures.
fn ask_innocently<M: Machine>(call: &mut Call<'_, '_, M>, control: &mut AbuseControl) {
    let (free, answered) = call.kernel(|memory, _| {
        let free = free_pages(memory);
        let innocent = Current::new(memory.env.tasks().init());
        let page = page_alloc::alloc_page(memory, &innocent, Gfp::GFP_ATOMIC | Gfp::__GFP_NOWARN);
        (free, page.is_ok_and(|pfn| page_alloc::free_pages(memory, &innocent, pfn, 0).is_ok()))
    });
    control.lowest = control.lowest.min(free);
    if !answered {
        control.refused += 1;
        control.refused_at.get_or_insert(free);
    }
}

fn report<M: Machine>(
    call: &mut Call<'_, '_, M>,
    control: &AbuseControl,
    (stalls_before, throttled_before): (u64, u64),
) -> Result<(), Trouble<'static>> {
    let memory = call.shell.machine.memory();
    let stalls = stalls(memory) - stalls_before;
    let throttled = memory.event(VmEvent::PgscanDirectThrottle) - throttled_before;
    let AbuseControl { task, taken, lowest, refused, .. } = control;
    writeln!(call, "{} took {}; fewest free: {lowest}", task.comm(), Count::pages(*taken))?;
    writeln!(call, "it reclaimed {stalls} times by itself, and waited {throttled} times for kswapd")?;
    match control.refused_at {
        Some(free) => writeln!(call, "GFP_ATOMIC of others: refused {refused} times, first with {free} pages free")?,
        None => writeln!(call, "GFP_ATOMIC of others: never refused")?,
    }
    Ok(())
}

fn free_pages<E: Env>(memory: &Memory<'_, E>) -> u64 {
    memory.populated_zones().map(|zone| zone.counts.free_pages()).sum()
}

/// How often requests reclaimed by themselves.
fn stalls<E: Env>(memory: &Memory<'_, E>) -> u64 {
    (0..memory.zone_types().len()).map(|index| memory.zone_event(ZoneEvent::Allocstall, index)).sum()
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_prints, check, run, shell};

    /// The machine of the scenarios but for its size: Min 256, all pages counted at once, 5000 clean ones, 400 free.
    const SCENE: &str = "pcp off; kswapd freeze; sysctl vm.min_free_kbytes=1024; sysctl vm.watermark_boost_factor=0\n\
                         pc ra 0 0 5000; free to 400; task new a";

    #[test]
    fn the_flag_empties_the_machine() {
        let mut shell = shell();
        run(&mut shell, SCENE);
        let expected = "a took 400 pages; fewest free: 0\n\
                        it reclaimed 0 times by itself, and waited 0 times for kswapd\n\
                        GFP_ATOMIC of others: refused 97 times, first with 96 pages free\n1";
        assert_prints(&run(&mut shell, "abuse a max; echo $?"), expected);
        assert_prints(&run(&mut shell, "task kill a"), "killed a: freed 400 blocks, 400 pages");
    }

    #[test]
    fn its_cures_leave_something() {
        let mut shell = shell();
        run(&mut shell, SCENE);
        run(&mut shell, "kswapd thaw");
        let printed = run(&mut shell, "abuse a 1000 --mode gfp_high; echo $?");
        assert!(
            printed.starts_with("a took 1000 pages; fewest free: 1") && printed.contains("never refused"),
            "{printed}"
        );
        assert!(printed.ends_with("\n0\n") && !printed.contains("reclaimed 0 times"), "{printed}");
        run(&mut shell, "kswapd freeze; task kill a; task new a; free to 400");
        // The pool takes its 16 pages and one for the list of them; down to Min there are 127 then, and the pool's.
        let printed = run(&mut shell, "abuse a max --mode mempool");
        assert!(printed.starts_with("a took 143 pages; fewest free: 256\n"), "{printed}");
    }

    #[test]
    fn bad_words_change_nothing() {
        check("abuse sh 5 --mode x", "abuse: no mode `x`[..]");
        check("abuse nobody 5", "abuse: no task `nobody`[..]");
    }
}
