//! `free`: give pages back, or take them until only so many are free.

use core::fmt::{self, Write as _};

use kernel::addr::{Order, Pfn};
use kernel::mm::{page_alloc, raw, zone::Zone};
use kernel::mmzone::{MAX_NUMNODES, NodeId, Watermark};

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::count::Count;
use crate::handles::Held;
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value::{self, HandleRange};

/// `free HANDLE...`, `free all`, `free to N [ZONE]`, `free pfn PFN [-o ORDER]`
pub const fn free<M: Machine>() -> Command<M> {
    Command {
        name: "free",
        summary: "give pages back",
        help: "\
free #7, free #8..#51, free all: by handle.
free to N ZONE: the other way round; takes single unmovable pages past all
watermarks until only N are free in the zone, and gives them handles.
free pfn PFN -o ORDER: by page number, as a driver with a bug might; the
handle of the block, if it had one, is left without a block.",
        args: &[
            Arg::One("HANDLE|all|to|pfn", Kind::Handle),
            Arg::Many("HANDLE|N|ZONE|PFN", Kind::Zone),
            Arg::Opt("-o", "ORDER", Kind::Order),
            Arg::Opt("--node", "N", Kind::Node),
        ],
        examples: &["alloc GFP_KERNEL -n 3; free #1; free #2..#3", "free to 5000 DMA32; free all"],
        run,
    }
}

/// What was given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Freed {
    blocks: u64,
    pages: u64,
}

impl fmt::Display for Freed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "freed {}, {}", Count(self.blocks, "block"), Count::pages(self.pages))
    }
}

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    match call.args.must(0) {
        "all" if call.args.word(1).is_none() => free_all(call),
        "to" => free_to(call),
        "pfn" => free_pfn(call),
        _ => free_handles(call),
    }
}

fn free_all<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let mut freed = Freed::default();
    let end = free_matching(call, |_| true, &mut freed);
    call.shell.say(format_args!("{freed}\n"));
    end
}

/// Frees every block held that `wanted` picks, and counts what became `freed` before it ended, perhaps by ^C.
///
/// What the kernel does not take back is reported, forgotten, and the status 1.
pub fn free_matching<M: Machine>(
    call: &mut Call<'_, '_, M>,
    wanted: impl Fn(&Held) -> bool,
    freed: &mut Freed,
) -> Outcome<'static> {
    let (mut next, mut status) = (1, Status::DONE);
    while let Some((number, held)) = call.shell.session.handles.next_from(next) {
        next = number.saturating_add(1);
        if wanted(&held) && free_one(call, number, freed)? != Status::DONE {
            status = Status::REFUSED;
        }
    }
    Ok(status)
}

/// Frees the block behind a handle that has one, unless ^C was pressed.
fn free_one<M: Machine>(
    call: &mut Call<'_, '_, M>,
    number: u32,
    freed: &mut Freed,
) -> Result<Status, Trouble<'static>> {
    call.check_interrupt()?;
    // A victim's may have been freed meanwhile.
    let Some(held) = call.shell.session.handles.take(number) else { return Ok(Status::DONE) };
    match call.kernel(|memory, current| page_alloc::free_pages(memory, current, held.pfn, held.order.get())) {
        Ok(_) => {
            freed.blocks += 1;
            freed.pages += held.order.nr_pages();
            Ok(Status::DONE)
        }
        Err(error) => {
            writeln!(call, "free: #{number}: {error}")?;
            Ok(Status::REFUSED)
        }
    }
}

fn free_handles<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let args = call.args;
    // All of them are read before the first is freed.
    args.words().try_for_each(|word| value::handles(word).map(|_| ()))?;
    let mut freed = Freed::default();
    let mut status = Status::DONE;
    for range in args.words().map(value::handles) {
        if free_range(call, range?, &mut freed)? != Status::DONE {
            status = Status::REFUSED;
        }
    }
    if freed.blocks > 0 {
        writeln!(call, "{freed}")?;
    }
    Ok(status)
}

fn free_range<'a, M: Machine>(call: &mut Call<'_, 'a, M>, range: HandleRange, freed: &mut Freed) -> Outcome<'a> {
    let last_given = call.shell.session.handles.last();
    if range.first > last_given {
        writeln!(call, "free: there is no #{} yet", range.first)?;
        return Ok(Status::REFUSED);
    }
    if range.first == range.last && call.shell.session.handles.get(range.first).is_none() {
        match call.shell.session.freed_by(range.first) {
            Some(command) => writeln!(call, "free: #{} is no block of pages; `{command}` frees it", range.first)?,
            None => writeln!(call, "free: #{} was freed already", range.first)?,
        }
        return Ok(Status::REFUSED);
    }
    let (before, mut next, mut status) = (freed.blocks, range.first, Status::DONE);
    while let Some((number, _)) = call.shell.session.handles.next_from(next).filter(|&(n, _)| n <= range.last) {
        if free_one(call, number, freed)? != Status::DONE {
            status = Status::REFUSED;
        }
        next = number.saturating_add(1);
    }
    let wanted = u64::from(range.last - range.first) + 1;
    let without = wanted - (freed.blocks - before);
    if without > 0 {
        writeln!(call, "free: {without} of #{}..#{} had no block", range.first, range.last)?;
        status = Status::REFUSED;
    }
    Ok(status)
}

/// Frees a page by its number, whoever holds it.
fn free_pfn<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let Some(word) = call.args.word(1) else { return Err(Trouble::Usage("which page? free pfn 0x48a50 -o 3")) };
    let pfn = Pfn(value::number(word)?);
    let order = call.args.option("-o").map_or(Ok(Order::ZERO), value::order)?;
    match call.kernel(|memory, current| page_alloc::free_pages(memory, current, pfn, order.get())) {
        Ok(true) => writeln!(call, "{}", Freed { blocks: 1, pages: order.nr_pages() })?,
        Ok(false) => writeln!(call, "pfn {pfn} has one reference less, and others still")?,
        Err(error) => {
            writeln!(call, "free: {error}")?;
            return Ok(Status::REFUSED);
        }
    }
    Ok(Status::DONE)
}

/// Takes pages until only so many are free in a zone.
fn free_to<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let Some(word) = call.args.word(1) else { return Err(Trouble::Usage("to how many? free to 100 DMA32")) };
    let target = value::number(word)?;
    let zone = named_zone(call)?;
    let pid = call.current().task.pid();
    let first = call.shell.session.handles.last() + 1;
    while let surplus @ 1.. = zone.counts.free_pages().saturating_sub(target) {
        call.check_interrupt()?;
        let room = call.shell.session.handles.reserve().map_err(|_| Trouble::OutOfHeap)?;
        let max = surplus.min(room.into()) as u32;
        let Some(run) = call.kernel(|memory, current| raw::take_pages(memory, current, zone, max)) else { break };
        for pfn in (run.start.0..run.end.0).map(Pfn) {
            call.shell.session.handles.push(Held { pfn, order: Order::ZERO, pid });
        }
    }
    let last = call.shell.session.handles.last();
    if last >= first {
        writeln!(call, "took {} pages, handles #{first}..#{last}", last - first + 1)?;
    }
    zones_free(call)?;
    Ok(Status::done_if(zone.counts.free_pages() == target))
}

/// The zone that `free to` means: the one that is named, or else the only one that has memory.
fn named_zone<'a, M: Machine>(call: &Call<'_, 'a, M>) -> Result<&'static Zone, Trouble<'a>> {
    let memory = call.shell.machine.memory();
    let node = call
        .args
        .option("--node")
        .map_or(Ok(0), |word| value::number_in("the node", word, 0, MAX_NUMNODES as i64 - 1))?;
    let mut zones = memory.populated_zones().filter(|zone| zone.node == NodeId(node as u8));
    let Some(word) = call.args.word(2) else {
        return match (zones.next(), zones.next()) {
            (Some(zone), None) => Ok(zone),
            _ => Err(Trouble::Usage("of which zone? free to 100 DMA32")),
        };
    };
    let found = zones.find(|zone| zone.zone_type.name().eq_ignore_ascii_case(word));
    let names = memory.populated_zones().map(|zone| zone.zone_type.name());
    found.ok_or_else(|| value::unknown("zone with memory", word, names).into())
}

/// One line for each zone: what is free, and the watermarks that it is held against.
pub fn zones_free<M: Machine>(call: &mut Call<'_, '_, M>) -> Result<(), Trouble<'static>> {
    let memory = call.shell.machine.memory();
    for zone in memory.populated_zones() {
        let (node, name, free) = (zone.node, zone.zone_type.name(), zone.counts.free_pages());
        let [min, low, high] = [Watermark::Min, Watermark::Low, Watermark::High].map(|mark| zone.watermark(mark));
        if call.json() {
            write!(call, r#"{{"node":{node},"zone":"{name}","free":{free},"#)?;
            writeln!(call, r#""min":{min},"low":{low},"high":{high}}}"#)?;
        } else {
            writeln!(call, "Node {node}, zone {name:>8} free {free} min {min} low {low} high {high}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, run, shell};

    #[test]
    fn blocks_go_back_by_handle() {
        check("alloc GFP_KERNEL -o 3; free #1", "#1 order 3 [..]\nfreed 1 block, 8 pages");
        let mut shell = shell();
        run(&mut shell, "alloc GFP_KERNEL -n 9");
        assert_eq!(run(&mut shell, "free #1 #3..#5 #7..8"), "freed 6 blocks, 6 pages\n");
        assert_eq!(run(&mut shell, "free all; free all"), "freed 3 blocks, 3 pages\nfreed 0 blocks, 0 pages\n");
    }

    #[test]
    fn handles_without_a_block_are_said() {
        check("free #1; echo $?", "free: there is no #1 yet\n1");
        check(
            "alloc GFP_KERNEL; free #1; free #1; echo $?",
            "#1 [..]\nfreed 1 block, 1 page\nfree: #1 was freed already\n1",
        );
        let mut shell = shell();
        run(&mut shell, "alloc GFP_KERNEL -n 4; free #2");
        assert_eq!(
            run(&mut shell, "free #1..#9; echo $?"),
            "free: 6 of #1..#9 had no block\nfreed 3 blocks, 3 pages\n1\n"
        );
    }

    #[test]
    fn a_bad_word_frees_nothing() {
        check("free 7; echo $?", "free: `7` is not a handle, as #7 and #8..#51 are\n2");
        let mut shell = shell();
        run(&mut shell, "alloc GFP_KERNEL");
        assert_eq!(run(&mut shell, "free #1 nonsense"), "free: `nonsense` is not a handle, as #7 and #8..#51 are\n");
        assert_eq!(run(&mut shell, "free #1"), "freed 1 block, 1 page\n");
    }

    #[test]
    fn misuse_by_page_number_is_reported_and_changes_nothing() {
        let mut shell = shell();
        let line = run(&mut shell, "alloc GFP_KERNEL -o 2");
        let pfn = line.split(' ').nth(4).unwrap();
        let wrong = run(&mut shell, &format!("free pfn {pfn} -o 1; echo $?"));
        assert!(wrong.ends_with(&format!("free: pfn {pfn} was allocated with order 2, not 1\n1\n")), "{wrong}");
        assert!(run(&mut shell, "free pfn 0x1").ends_with("free: pfn 0x1 is not memory of this machine\n"));
        assert_eq!(run(&mut shell, &format!("free pfn {pfn} -o 2")), "freed 1 block, 4 pages\n");
        assert!(run(&mut shell, "free #1").contains(&format!("free: #1: pfn {pfn} is free already")));
        assert!(run(&mut shell, "audit").starts_with("audit passed"));
    }

    #[test]
    fn free_to_stops_at_the_exact_number() {
        let mut shell = shell();
        let output = run(&mut shell, "free to 100 DMA32; echo $?");
        assert!(
            output.starts_with("took 15260 pages, handles #1..#15260\nNode 0, zone    DMA32 free 100 min "),
            "{output}"
        );
        assert!(output.ends_with("\n0\n"));
        assert!(run(&mut shell, "alloc GFP_NOWAIT|__GFP_NOWARN").starts_with("page allocation failure"));
        assert!(run(&mut shell, "audit").starts_with("audit passed: 15360 pages: 100 free, 0 per-CPU, 15260 alloc"));
        assert_eq!(run(&mut shell, "free all"), "freed 15260 blocks, 15260 pages\n");
        assert!(run(&mut shell, "free to 99999; echo $?").ends_with("\n1\n"));
        check("free to 10 Normal", "free: no zone with memory `Normal`");
    }
}
