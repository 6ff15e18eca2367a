//! `bench slow`: what requests cost that find no page above the watermarks, and what reclaim costs.
//!
//! The first rows are measured with the watermarks moved, as a request meets them when memory is short. For the others
//! a file is read ahead into an empty cache and reclaimed from, with kswapd frozen. Everything is put back.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use kernel::addr::Order;
use kernel::gfp::Gfp;
use kernel::mm::memory::{Env, Memory};
use kernel::mm::pagecache::check_place;
use kernel::mm::users::{MAX_FILES, Users};
use kernel::mm::zone::Zone;
use kernel::mm::{filemap, freelist, mincore, page_alloc, reserves, swapfile, truncate};
use kernel::mmzone::{MAX_NUMNODES, Watermark};
use kernel::task::Current;
use kernel::vmstat::NodeStat;

use super::{ROUNDS, Row, TOO_LITTLE, cost, heading, measure_failure, measure_rows};
use crate::arg::Arg;
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Trouble};

/// Pages of the file that is reclaimed from.
const PAGES: u32 = 4096;
/// That file: the last.
const FILE: u32 = MAX_FILES - 1;

/// `bench slow`
pub const fn slow<M: Machine>() -> Command<M> {
    Command {
        name: "bench slow",
        summary: "count what requests cost when memory is short, and reclaim",
        help: "\
A request that fails, one that lives on the reserve for GFP_ATOMIC, a page of
direct reclaim (the mean over clean inactive file pages), and a whole direct
reclaim. Wants an empty page cache, no swap space, and file 63 for itself.
Means something only with --icount. Status 3: over the limit.",
        args: &[Arg::Flag("--json")],
        examples: &["bench slow"],
        run,
    }
}

/// What is measured.
#[derive(Clone, Copy)]
enum Subject {
    /// A request that may not sleep and finds every zone below Min.
    Nowait,
    /// One that finds every zone below Min but may go lower.
    Atomic,
    /// Direct reclaim, by the page.
    CleanPage,
    /// Direct reclaim as a whole, which ends when 32 pages are free.
    Reclaim,
}

const ROWS: [Row<Subject>; 4] = [
    Row {
        name: "failing GFP_NOWAIT",
        subject: Subject::Nowait,
        linux: [None, Some([797, 0])],
        limit: [Some(400), None],
    },
    Row {
        name: "GFP_ATOMIC below min",
        subject: Subject::Atomic,
        linux: [None, Some([643, 0])],
        limit: [Some(350), None],
    },
    Row {
        name: "reclaim, a clean page",
        subject: Subject::CleanPage,
        linux: [None, Some([2200, 0])],
        limit: [Some(1000), None],
    },
    Row { name: "reclaim, a whole round", subject: Subject::Reclaim, linux: [None, None], limit: [None, None] },
];

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let exact = call.shell.machine.counts_instructions();
    check_room(call)?;
    if !call.json() {
        heading(call, exact)?;
    }
    let stage = Stage::set(call.shell.machine.memory());
    let outcome = fill(call).and_then(|()| measure_rows(call, &ROWS, measure));
    stage.clear(call.shell.machine.memory(), &call.current());
    outcome
}

/// Whether there is room for the file, and nothing else that reclaim would take.
fn check_room<M: Machine>(call: &mut Call<'_, '_, M>) -> Result<(), Trouble<'static>> {
    let (memory, users) = (call.shell.machine.memory(), call.users());
    let is_empty = |stat| memory.online_nodes().all(|node| node.stat(stat) == 0);
    if !is_empty(NodeStat::NrInactiveFile) || !is_empty(NodeStat::NrActiveFile) {
        return Err(Trouble::Refused("the page cache must be empty; pc sync, pc drop, pc truncate"));
    }
    if swapfile::swap_space(users).total > 0 {
        return Err(Trouble::Refused("there must be no swap space; swapon 0"));
    }
    let place = check_place(FILE, 0)?;
    if mincore::last_version(memory, users, place) > 0 {
        return Err(Trouble::Refused("file 63 is in use; pc truncate 63"));
    }
    let above = |zone: &Zone| zone.counts.free_pages().saturating_sub(zone.watermark(Watermark::High));
    let room: u64 = memory.populated_zones().map(above).sum();
    if room < 2 * u64::from(PAGES) { Err(TOO_LITTLE) } else { Ok(()) }
}

/// What was there before.
struct Stage {
    /// Whether content was checked before eviction.
    checks: bool,
    /// Whether kswapd was frozen, by node.
    frozen: [bool; MAX_NUMNODES],
}

impl Stage {
    /// Freezes kswapd, and leaves out what Linux does not do.
    fn set<E: Env<Owner = Users<'static>>>(memory: &Memory<'_, E>) -> Stage {
        let mut frozen = [true; MAX_NUMNODES];
        for node in memory.online_nodes() {
            frozen[node.id.index()] = node.kswapd.daemon.is_frozen();
            node.kswapd.daemon.freeze();
        }
        Stage { checks: memory.env.owner().check_evicted.swap(false, Relaxed), frozen }
    }

    /// Puts everything back.
    fn clear<E: Env<Owner = Users<'static>>>(self, memory: &Memory<'_, E>, current: &Current<'_>) {
        let users = memory.env.owner();
        // Nobody has pinned a page of the file, and nobody waits for one.
        let _ = truncate::truncate(memory, current, users, FILE);
        freelist::drain_all_pages(memory, current);
        users.check_evicted.store(self.checks, Relaxed);
        for node in memory.online_nodes().filter(|node| !self.frozen[node.id.index()]) {
            node.kswapd.daemon.thaw(memory.env.sched());
        }
    }
}

/// Reads the file ahead.
fn fill<M: Machine>(call: &mut Call<'_, '_, M>) -> Result<(), Trouble<'static>> {
    let place = check_place(FILE, 0)?;
    let read = call.pages(|memory, current, users| filemap::readahead(memory, current, users, place, PAGES))?;
    call.check_interrupt()?;
    if read < u64::from(PAGES) { Err(TOO_LITTLE) } else { Ok(()) }
}

fn measure<M: Machine>(call: &mut Call<'_, '_, M>, subject: Subject) -> Result<[u64; 2], Trouble<'static>> {
    let (memory, current) = (call.shell.machine.memory(), call.current());
    let machine = &call.shell.machine;
    let counter = || machine.counter();
    let reading = (0..ROUNDS).map(|_| cost(&counter, || ()).0).min().unwrap_or(0);
    let mut least = u64::MAX;
    for _ in 0..ROUNDS {
        let (ticks, parts) = match subject {
            Subject::Nowait => (pinned(memory, || measure_failure(memory, &current, &counter)), 1),
            Subject::Atomic => (pinned(memory, || measure_atomic(memory, &current, &counter))?, 1),
            Subject::CleanPage => measure_reclaim(memory, &current, &counter)?,
            Subject::Reclaim => (measure_reclaim(memory, &current, &counter)?.0, 1),
        };
        least = least.min(ticks.saturating_sub(reading) / parts);
    }
    Ok([least, 0])
}

/// Runs `f` so that no interrupt comes between two readings.
fn pinned<E: Env, R>(memory: &Memory<'_, E>, f: impl FnOnce() -> R) -> R {
    let _pin = memory.pin();
    f()
}

/// A request that gets its page from below Min: what is free is nine tenths of it, and 3/8 is as low as it may go.
fn measure_atomic<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    counter: &impl Fn() -> u64,
) -> Result<u64, Trouble<'static>> {
    let setting: &AtomicU64 = &memory.sysctl.min_free_kbytes;
    let kept = setting.swap(fullest(memory) * 4 * 10 / 9, Relaxed);
    reserves::setup_per_zone_wmarks(memory);
    let (ticks, page) = cost(counter, || page_alloc::alloc_page(memory, current, Gfp::GFP_ATOMIC));
    let below = memory.populated_zones().all(|zone| zone.counts.free_pages() < zone.watermark(Watermark::Min));
    setting.store(kept, Relaxed);
    reserves::setup_per_zone_wmarks(memory);
    let pfn = page.map_err(|_| TOO_LITTLE)?;
    page_alloc::free_page(memory, current, pfn).expect("a page just allocated");
    if below { Ok(ticks) } else { Err(Trouble::Refused("the zones are not equally full; free some first")) }
}

/// Pages that would be free if every zone had as much of itself free as the one that has most.
fn fullest<E: Env>(memory: &Memory<'_, E>) -> u64 {
    let scaled = |zone: &Zone| zone.counts.free_pages() * memory.totalram() / zone.managed().max(1);
    memory.populated_zones().map(scaled).max().unwrap_or(0)
}

/// Ticks of one direct reclaim, and the pages that it freed.
fn measure_reclaim<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    counter: &impl Fn() -> u64,
) -> Result<(u64, u64), Trouble<'static>> {
    let (ticks, freed) = cost(counter, || page_alloc::reclaim(memory, current, Gfp::GFP_KERNEL, Order::ZERO));
    match freed {
        0 | 1 => Err(Trouble::Refused("reclaim freed nothing; nothing was measured")),
        freed => Ok((ticks, freed)),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, run, shell};

    /// What measuring might change.
    const STATE: &str = "cat /proc/zoneinfo; sysctl; lru; pc ls; pc disk";

    #[test]
    fn measuring_leaves_no_trace() {
        let mut shell = shell();
        let marks = |output: String| -> Vec<String> {
            let kept = |line: &&str| !line.contains("count:") && !line.contains("numa_") && !line.contains("nr_");
            output.lines().filter(kept).map(String::from).collect()
        };
        let before = marks(run(&mut shell, STATE));
        let table = run(&mut shell, "bench slow");
        assert!(table.starts_with("no instruction counter here"), "{table}");
        assert_eq!(table.lines().count(), super::ROWS.len() + 2);
        assert!(table.lines().all(|line| line.len() <= 80), "{table}");
        assert_eq!(before, marks(run(&mut shell, STATE)));
        assert!(run(&mut shell, "kswapd status").starts_with("kswapd0: asleep, "));
        assert!(run(&mut shell, "audit").contains(" 0 allocated"));
        assert_eq!(run(&mut shell, "bench slow --json").lines().count(), super::ROWS.len());
    }

    #[test]
    fn what_it_would_disturb_stops_it() {
        check("pc read 0 0; bench slow; echo $?", "read [..]\nbench slow: the page cache must be empty; [..]\n1");
        check("swapon 10; bench slow", "swap [..]\nbench slow: there must be no swap space; swapon 0");
        check("free to 5000 DMA32; bench slow", "took [..]\n[..]\nbench slow: too little memory is free [..]");
    }
}
