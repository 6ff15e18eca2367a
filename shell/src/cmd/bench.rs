//! `bench`: what requests cost, in instructions.
//!
//! Each row of [`ROWS`] is one way to use the allocator, measured with interrupts masked and the cost of reading the
//! counter subtracted, beside what Linux takes for it. The counter counts instructions only when the machine runs with
//! `--icount`; elsewhere the numbers are ticks of a clock, and nothing is concluded from them.

use core::fmt::Write as _;
use core::sync::atomic::Ordering::Relaxed;

use kernel::addr::{Order, Pfn};
use kernel::gfp::Gfp;
use kernel::mm::memory::{Env, Memory};
use kernel::mm::page_alloc::{self, AllocError};
use kernel::mm::reserves;
use kernel::mm::slab;
use kernel::mm::zone::Zone;
use kernel::mmzone::Watermark;
use kernel::task::{Context, Current};

use crate::arg::Arg;
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};

pub mod slow;

/// Why nothing is measured.
const TOO_LITTLE: Trouble<'static> = Trouble::Refused("too little memory is free to measure; free some first");

/// How often each measurement is repeated; the least counts.
const ROUNDS: usize = 16;
/// Pages of the bulk measurements.
const BULK: usize = 512;

/// `bench`
pub const fn bench<M: Machine>() -> Command<M> {
    Command {
        name: "bench",
        summary: "count what requests cost, in instructions",
        help: "\
alloc and free of one block again and again, of 512 pages in a row, and of a
request that fails, beside Linux 6.1 (Debian) and 5.10 (lean) on the same
machine. Means something only with --icount. Status 3: over the limit. What
requests cost that find nothing is told by bench slow.",
        args: &[Arg::Flag("--json")],
        examples: &["bench"],
        run,
    }
}

/// Blocks that are held while two of them are buddies.
const HELD: usize = 6;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// One page, allocated and freed, with the mask and the order known where the call stands.
    Page,
    /// One block of order 3, 9 or 10, allocated and freed, whose buddy stays in use.
    Pair3,
    Pair9,
    Pair10,
    /// One block of order 3, cut out of larger ones and merged with them again.
    Cut3,
    /// [`BULK`] pages allocated, then freed in order; per page.
    Bulk,
    /// 256 bytes, allocated and freed.
    Kmalloc,
    /// A request that no zone can serve.
    Failure,
}

/// A line of the table: costs of alloc and free.
struct Row<S> {
    name: &'static str,
    subject: S,
    /// Linux 6.1 and Linux 5.10.
    linux: [Option<[u64; 2]>; 2],
    /// What alloc and free may cost; together, unless they have a limit each.
    limit: [Option<u64>; 2],
}

const ROWS: [Row<Subject>; 8] = [
    Row {
        name: "order 0",
        subject: Subject::Page,
        linux: [Some([520, 253]), Some([344, 126])],
        limit: [Some(150), None],
    },
    Row {
        name: "order 0, 512 in a row",
        subject: Subject::Bulk,
        linux: [Some([747, 624]), Some([446, 570])],
        limit: [Some(180), Some(150)],
    },
    Row {
        name: "order 3",
        subject: Subject::Pair3,
        linux: [Some([578, 413]), Some([590, 561])],
        limit: [Some(250), None],
    },
    Row { name: "order 3, cut and merged", subject: Subject::Cut3, linux: [None, None], limit: [None, None] },
    Row {
        name: "order 9",
        subject: Subject::Pair9,
        linux: [Some([577, 9991]), Some([7708, 9047])],
        limit: [Some(300), None],
    },
    Row {
        name: "order 10",
        subject: Subject::Pair10,
        linux: [Some([17079, 19807]), Some([14833, 17648])],
        limit: [Some(300), None],
    },
    Row { name: "kmalloc-256", subject: Subject::Kmalloc, linux: [None, None], limit: [Some(120), None] },
    Row {
        name: "failing GFP_NOWAIT",
        subject: Subject::Failure,
        linux: [None, Some([797, 0])],
        limit: [Some(400), None],
    },
];

impl<S> Row<S> {
    /// Whether costs are within the limit.
    fn admits(&self, [alloc, free]: [u64; 2]) -> bool {
        match self.limit {
            [Some(most), None] => alloc + free <= most,
            [most_alloc, most_free] => {
                most_alloc.is_none_or(|most| alloc <= most) && most_free.is_none_or(|most| free <= most)
            }
        }
    }
}

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let exact = call.shell.machine.counts_instructions();
    if !call.json() {
        heading(call, exact)?;
    }
    if !call.shell.machine.memory().populated_zones().any(has_room) {
        return Err(TOO_LITTLE);
    }
    measure_rows(call, &ROWS, |call, subject| measure(call, subject).map_err(|_| TOO_LITTLE))
}

/// Measures and prints row by row; the status tells whether all are within their limits.
fn measure_rows<'a, M: Machine, S: Copy>(
    call: &mut Call<'_, 'a, M>,
    rows: &[Row<S>],
    mut measure: impl FnMut(&mut Call<'_, 'a, M>, S) -> Result<[u64; 2], Trouble<'static>>,
) -> Outcome<'a> {
    let mut within = true;
    for row in rows {
        call.check_interrupt()?;
        let cost = measure(call, row.subject)?;
        within &= row.admits(cost);
        if call.json() { json(call, row, cost)? } else { print(call, row, cost)? }
    }
    let exact = call.shell.machine.counts_instructions();
    Ok(if exact && !within { Status::AUDIT } else { Status::DONE })
}

/// Whether the fast path can serve everything from the zone: with interrupts masked nobody may wait for room.
fn has_room(zone: &Zone) -> bool {
    let blocks = HELD as u64 + 2;
    let above = zone.counts.free_pages().saturating_sub(zone.watermark(Watermark::High));
    zone.counts.nr_free(Order::MAX) >= blocks && above >= blocks * Order::MAX.nr_pages()
}

fn heading<M: Machine>(call: &mut Call<'_, '_, M>, exact: bool) -> Result<(), Trouble<'static>> {
    if exact {
        writeln!(call, "instructions, interrupts masked, the reading of the counter subtracted")?;
    } else {
        writeln!(call, "no instruction counter here (run with --icount): these are ticks of the clock")?;
    }
    Ok(writeln!(
        call,
        "{:<23} {:>7} {:>7} {:>9}   {:>13} {:>13}",
        "", "alloc", "free", "limit", "Linux 6.1", "Linux 5.10"
    )?)
}

fn print<M: Machine, S>(
    call: &mut Call<'_, '_, M>,
    row: &Row<S>,
    [alloc, free]: [u64; 2],
) -> Result<(), Trouble<'static>> {
    write!(call, "{:<23} {alloc:>7} {free:>7} ", row.name)?;
    match row.limit {
        [Some(alloc), Some(free)] => write!(call, "{alloc:>5}/{free:<3}")?,
        [Some(limit), None] => write!(call, "{limit:>9}")?,
        [None, _] => write!(call, "{:>9}", "-")?,
    }
    write!(call, " {} ", if row.admits([alloc, free]) { ' ' } else { '!' })?;
    for linux in row.linux {
        match linux {
            Some([alloc, 0]) => write!(call, " {alloc:>13}")?,
            Some([alloc, free]) => write!(call, " {alloc:>7}+{free:>5}")?,
            None => write!(call, " {:>13}", "-")?,
        }
    }
    Ok(writeln!(call)?)
}

fn json<M: Machine, S>(
    call: &mut Call<'_, '_, M>,
    row: &Row<S>,
    [alloc, free]: [u64; 2],
) -> Result<(), Trouble<'static>> {
    let (exact, within) = (call.shell.machine.counts_instructions(), row.admits([alloc, free]));
    write!(call, r#"{{"name":"{}","alloc":{alloc},"free":{free},"#, row.name)?;
    Ok(writeln!(call, r#""instructions":{exact},"within_limit":{within}}}"#)?)
}

/// Costs of alloc and of free.
fn measure<M: Machine>(call: &mut Call<'_, '_, M>, subject: Subject) -> Result<[u64; 2], AllocError> {
    let (memory, current) = (call.shell.machine.memory(), call.current());
    let machine = &call.shell.machine;
    let counter = || machine.counter();
    let reading = (0..ROUNDS).map(|_| cost(&counter, || ()).0).min().unwrap_or(0);
    // No interrupt may come between two readings.
    let _pin = memory.pin();
    let mut least = [u64::MAX; 2];
    for _ in 0..ROUNDS {
        let costs = match subject {
            Subject::Page => measure_page(memory, &current, &counter)?,
            Subject::Pair3 => measure_alone::<_, 3>(memory, &current, &counter)?,
            Subject::Pair9 => measure_alone::<_, 9>(memory, &current, &counter)?,
            Subject::Pair10 => measure_alone::<_, 10>(memory, &current, &counter)?,
            Subject::Cut3 => measure_pair::<_, 3>(memory, &current, &counter)?,
            Subject::Bulk => measure_bulk(memory, &current, &counter)?.map(|sum| sum / BULK as u64),
            Subject::Kmalloc => measure_kmalloc(memory, &current, &counter)?,
            Subject::Failure => [measure_failure(memory, &current, &counter), reading],
        };
        least = core::array::from_fn(|i| least[i].min(costs[i].saturating_sub(reading)));
    }
    Ok(least)
}

/// Ticks of `counter` that `f` takes, one reading among them.
fn cost<R>(counter: &impl Fn() -> u64, f: impl FnOnce() -> R) -> (u64, R) {
    let start = counter();
    let result = f();
    (counter() - start, result)
}

fn measure_page<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    counter: &impl Fn() -> u64,
) -> Result<[u64; 2], AllocError> {
    let (alloc, page) = cost(counter, || page_alloc::alloc_page(memory, current, Gfp::GFP_KERNEL));
    let pfn = page?;
    let (free, freed) = cost(counter, || page_alloc::free_page(memory, current, pfn));
    freed.expect("a page just allocated");
    Ok([alloc, free])
}

/// A pair of an object that the CPU has at hand; it has none of this size afterwards.
fn measure_kmalloc<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    counter: &impl Fn() -> u64,
) -> Result<[u64; 2], AllocError> {
    let refused = |_| AllocError::NoMemory { gfp: Gfp::GFP_KERNEL, order: Order::ZERO };
    let held = slab::kmalloc(memory, current, 256, Gfp::GFP_KERNEL).map_err(refused)?;
    let (alloc, object) = cost(counter, || slab::kmalloc(memory, current, 256, Gfp::GFP_KERNEL));
    let object = object.map_err(refused)?;
    let (free, freed) = cost(counter, || slab::kfree(memory, current, object));
    freed.and_then(|()| slab::kfree(memory, current, held)).expect("objects just allocated");
    // With interrupts masked no other CPU can be asked.
    let atomic = current.in_context(Context::Atomic);
    memory.slabs.kmalloc(256, Gfp::GFP_KERNEL).map(|cache| slab::kmem_cache_shrink(memory, &atomic, cache));
    Ok([alloc, free])
}

/// A pair of a block whose buddy is in use, so that nothing is cut or merged.
fn measure_alone<E: Env, const ORDER: u32>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    counter: &impl Fn() -> u64,
) -> Result<[u64; 2], AllocError> {
    let held: [_; HELD] =
        core::array::from_fn(|_| page_alloc::alloc_pages(memory, current, Gfp::GFP_KERNEL, ORDER).ok());
    let free = |pfn: Pfn| page_alloc::free_pages(memory, current, pfn, ORDER).expect("a block just allocated");
    let order = Order::new(ORDER).unwrap_or_default();
    let has_no_free_buddy = |pfn: &Pfn| order == Order::MAX || held.contains(&Some(pfn.buddy(order)));
    let alone = held.into_iter().flatten().find(has_no_free_buddy);
    alone.map(free);
    let costs = measure_pair::<_, ORDER>(memory, current, counter);
    held.into_iter().flatten().filter(|pfn| Some(*pfn) != alone).for_each(|pfn| {
        free(pfn);
    });
    costs
}

fn measure_pair<E: Env, const ORDER: u32>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    counter: &impl Fn() -> u64,
) -> Result<[u64; 2], AllocError> {
    let (alloc, page) = cost(counter, || page_alloc::alloc_pages(memory, current, Gfp::GFP_KERNEL, ORDER));
    let pfn = page?;
    let (free, freed) = cost(counter, || page_alloc::free_pages(memory, current, pfn, ORDER));
    freed.expect("a block just allocated");
    Ok([alloc, free])
}

/// Sums over all pages, each reading among them.
fn measure_bulk<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    counter: &impl Fn() -> u64,
) -> Result<[u64; 2], AllocError> {
    let mut pages = [Pfn(0); BULK];
    let mut taken = 0;
    let (alloc, refused) = cost(counter, || {
        while taken < BULK {
            match page_alloc::alloc_page(memory, current, Gfp::GFP_KERNEL) {
                Ok(pfn) => pages[taken] = pfn,
                Err(error) => return Some(error),
            }
            taken += 1;
        }
        None
    });
    let (free, ()) = cost(counter, || {
        for &pfn in &pages[..taken] {
            page_alloc::free_page(memory, current, pfn).expect("a page just allocated");
        }
    });
    refused.map_or(Ok([alloc, free]), Err)
}

/// A request while the watermarks are above all that is free; the report about it is not counted.
fn measure_failure<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, counter: &impl Fn() -> u64) -> u64 {
    const MASK: Gfp = Gfp::GFP_NOWAIT.union(Gfp::__GFP_NOWARN);
    let setting = &memory.sysctl.min_free_kbytes;
    let kept = setting.swap(memory.totalram() * 8, Relaxed);
    reserves::setup_per_zone_wmarks(memory);
    let (failure, page) = cost(counter, || page_alloc::alloc_pages(memory, current, MASK, 0));
    setting.store(kept, Relaxed);
    reserves::setup_per_zone_wmarks(memory);
    if let Ok(pfn) = page {
        page_alloc::free_pages(memory, current, pfn, 0).expect("a page just allocated");
    }
    failure
}

#[cfg(test)]
mod tests {
    use crate::testing::{run, shell};

    #[test]
    fn measuring_leaves_no_trace() {
        let mut shell = shell();
        let marks = |output: &str| -> Vec<String> {
            let settings =
                output.lines().filter(|line| ["min ", "low ", "high ", "vm."].iter().any(|mark| line.contains(mark)));
            settings.map(String::from).collect()
        };
        let before = marks(&run(&mut shell, "cat /proc/zoneinfo; sysctl"));
        let table = run(&mut shell, "bench");
        assert!(table.starts_with("no instruction counter here"), "{table}");
        assert_eq!(table.lines().count(), super::ROWS.len() + 2);
        assert!(table.lines().all(|line| line.len() <= 80), "{table}");
        assert_eq!(before, marks(&run(&mut shell, "cat /proc/zoneinfo; sysctl")));
        assert!(run(&mut shell, "audit").contains(" 0 allocated"));
    }

    #[test]
    fn a_full_machine_is_refused() {
        let mut shell = shell();
        run(&mut shell, "free to 0");
        let refused = "bench: too little memory is free to measure; free some first\n1\n";
        assert!(run(&mut shell, "bench; echo $?").ends_with(refused));
    }

    #[test]
    fn limits_are_for_both_together_or_for_each() {
        let within = |row: usize, costs| super::ROWS[row].admits(costs);
        assert!(within(0, [100, 50]) && !within(0, [100, 51]));
        assert!(within(1, [180, 150]) && !within(1, [181, 0]) && !within(1, [0, 151]));
    }
}
