//! `kmap`, `kunmap`: addresses for pages outside the linear map.
//!
//! A page is named by the number of its block, and its own in that. Neighbour: `content.rs` reads and writes what is
//! mapped. Linux: `include/linux/highmem.h`.

use core::fmt::Write as _;

use kernel::addr::{Pfn, PfnRange, VirtAddr};
use kernel::mm::highmem::{self, KmapError, Mapping};
use kernel::mm::memory::{Env, Memory};
use kernel::mm::mmu::{KM_TYPE_NR, LAST_PKMAP};
use kernel::mm::page::Kind as PageKind;

use super::kmalloc::refuse;
use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value::{self, ValueError};

const WHICH: &[Arg] = &[Arg::One("BLOCK", Kind::Handle), Arg::Maybe("PAGE|all", Kind::Text)];
/// What is mapped can also be named by its page number.
const MAPPED: &[Arg] = &[Arg::One("BLOCK|PFN", Kind::Handle), Arg::Maybe("PAGE|all", Kind::Text)];

/// `kmap BLOCK [PAGE|all]`
pub const fn kmap<M: Machine>() -> Command<M> {
    Command {
        name: "kmap",
        summary: "map a page of high memory until kunmap",
        help: "\
Where there is a zone HighMem, its pages have no address: peek, poke, fill and
verify need one. There are 512 slots; a page has one, whoever maps it. kunmap
leaves the slot as it is: slots that nobody uses are emptied all at once, when
the search for one comes round. Who finds all of them in use sleeps until a
kunmap leaves one, or until ^C. PAGE counts from 0 in a block of several.
Linux: kmap, whose sleep nothing ends but a kunmap. Seeds 002 to 004.",
        args: WHICH,
        examples: &[
            "alloc GFP_HIGHUSER; kmap #1; fill #1 7; kunmap #1",
            "alloc GFP_HIGHUSER -o 9; kmap #1 all; alloc GFP_HIGHUSER && kmap #2 &",
        ],
        run: |call| run_kmap(call, |memory, current, pfn| highmem::kmap(memory, current, pfn)),
    }
}

/// `kmap atomic BLOCK [PAGE|all]`
pub const fn atomic<M: Machine>() -> Command<M> {
    Command {
        name: "kmap atomic",
        summary: "map a page in a slot of this CPU",
        help: "\
Never sleeps, and works in an interrupt; each CPU has 20 slots, four of which
are kept for the kernel's own work. Who finds no slot is refused. What was
mapped last is unmapped first.
Linux: kmap_atomic.",
        args: WHICH,
        examples: &["alloc GFP_HIGHUSER; kmap atomic #1; kmap ls; kunmap atomic #1"],
        run: |call| run_kmap(call, |memory, _, pfn| highmem::kmap_atomic(memory, pfn)),
    }
}

/// `kmap ls`
pub const fn list<M: Machine>() -> Command<M> {
    Command {
        name: "kmap ls",
        summary: "list the pages that are mapped",
        help: "\
Every slot of kmap that has users, and every atomic slot of this CPU. A page
that was freed and is still mapped is a leak, and said to be; status 3 then.",
        args: &[Arg::Flag("--json")],
        examples: &["alloc GFP_HIGHUSER; kmap #1; kmap ls; kmap ls --json"],
        run: run_list,
    }
}

/// `kunmap BLOCK [PAGE|all]`
pub const fn kunmap<M: Machine>() -> Command<M> {
    Command {
        name: "kunmap",
        summary: "undo one kmap of a page",
        help: "\
Wakes those who wait for a slot, if it was the last one of its page. all: each
page of the block that is mapped, once; the others are refused and counted.
Status 1 if nobody has the page mapped; Linux stops with a BUG then.
By pfn 0x..., a page whose block was freed: that is how a leak is mended.
Linux: kunmap.",
        args: MAPPED,
        examples: &["alloc GFP_HIGHUSER; kmap #1; kunmap #1"],
        run: |call| run_kunmap(call, |memory, current, pfn| highmem::kunmap(memory, current, pfn)),
    }
}

/// `kunmap atomic BLOCK [PAGE|all]`
pub const fn unmap_atomic<M: Machine>() -> Command<M> {
    Command {
        name: "kunmap atomic",
        summary: "undo the last kmap atomic on this CPU",
        help: "\
Status 1 if it was another page that was mapped last. Linux: kunmap_atomic.",
        args: MAPPED,
        examples: &["alloc GFP_HIGHUSER; kmap atomic #1; kunmap atomic #1"],
        run: |call| run_kunmap(call, |memory, _, pfn| highmem::kunmap_atomic(memory, pfn)),
    }
}

/// The pages that the first two words name, of a block.
fn pages<'a, M: Machine>(call: &Call<'_, 'a, M>) -> Result<PfnRange, Trouble<'a>> {
    let word = call.args.must(0);
    let range = value::handles(word)?;
    if range.first != range.last {
        return Err(ValueError::Handle(word).into());
    }
    let held = call.shell.session.handles.get(range.first);
    let held = held.ok_or(Trouble::Refused("there is no such block of pages"))?;
    let nr_pages = held.order.nr_pages();
    let number = match call.args.word(1) {
        Some("all") => return Ok(PfnRange::new(held.pfn, held.pfn.add(nr_pages))),
        word => word.map_or(Ok(0), |word| value::number_in("the page", word, 0, nr_pages as i64 - 1))?,
    };
    Ok(one_page(held.pfn.add(number as u64)))
}

fn one_page(pfn: Pfn) -> PfnRange {
    PfnRange::new(pfn, pfn.add(1))
}

/// What maps a page, or undoes that.
type Act<E, R> = fn(&Memory<'static, E>, &kernel::task::Current<'_>, Pfn) -> Result<R, KmapError>;

/// Calls `act` with one page after the other, until one is refused: how many were not, and the last answer.
fn for_pages<M: Machine, R>(
    call: &mut Call<'_, '_, M>,
    pages: impl Iterator<Item = u64>,
    act: Act<M::Env, R>,
) -> Result<(u64, Option<Result<R, KmapError>>), Trouble<'static>> {
    let (mut done, mut last) = (0, None);
    for pfn in pages {
        call.check_interrupt()?;
        let answer = call.kernel(|memory, current| act(memory, current, Pfn(pfn)));
        done += u64::from(answer.is_ok());
        if last.insert(answer).is_err() {
            break;
        }
    }
    Ok((done, last))
}

/// Says why a page was not mapped or unmapped. ^C that ended a wait is spent.
fn refuse_page(call: &mut Call<'_, '_, impl Machine>, error: KmapError) -> Outcome<'static> {
    if error != KmapError::Interrupted {
        return refuse(call, error);
    }
    call.shell.machine.interrupted();
    refuse(call, error).map(|_| Status::INTERRUPTED)
}

fn run_kmap<'a, M: Machine>(call: &mut Call<'_, 'a, M>, act: Act<M::Env, VirtAddr>) -> Outcome<'a> {
    let pages = pages(call)?;
    let (done, last) = for_pages(call, pages.start.0..pages.end.0, act)?;
    if pages.nr_pages() > 1 {
        writeln!(call, "mapped {done} of {} pages", pages.nr_pages())?;
    }
    match last {
        Some(Ok(at)) if pages.nr_pages() == 1 => {
            let is_high = highmem::is_high(call.shell.machine.memory(), pages.start);
            writeln!(call, "pfn {} at {:#x}{}", pages.start, at.0, if is_high { "" } else { ", in the linear map" })?;
            Ok(Status::DONE)
        }
        Some(Err(error)) => refuse_page(call, error),
        Some(Ok(_)) | None => Ok(Status::DONE),
    }
}

fn run_kunmap<'a, M: Machine>(call: &mut Call<'_, 'a, M>, act: Act<M::Env, ()>) -> Outcome<'a> {
    let word = call.args.must(0);
    let pages = if word.starts_with("0x") { one_page(Pfn(value::number(word)?)) } else { pages(call)? };
    if !call.shell.machine.memory().span().contains(pages.start) {
        return Err(Trouble::Refused("the machine has no such page"));
    }
    if pages.nr_pages() > 1 {
        return unmap_all(call, pages, act);
    }
    match call.kernel(|memory, current| act(memory, current, pages.start)) {
        Err(error) => refuse(call, error),
        Ok(()) => Ok(Status::DONE),
    }
}

/// Unmaps those pages of a block that are mapped; says how many, and why the others were not if there were any.
fn unmap_all<'a, M: Machine>(call: &mut Call<'_, 'a, M>, pages: PfnRange, act: Act<M::Env, ()>) -> Outcome<'a> {
    let (mut done, mut refused) = (0, None);
    // What was mapped last goes first, as atomic slots want it.
    for pfn in (pages.start.0..pages.end.0).rev() {
        call.check_interrupt()?;
        match call.kernel(|memory, current| act(memory, current, Pfn(pfn))) {
            Ok(()) => done += 1,
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    writeln!(call, "unmapped {done} of {} pages", pages.nr_pages())?;
    refused.map_or(Ok(Status::DONE), |error| refuse(call, error))
}

/// Whether the page is of a block that is in use.
fn is_allocated<E: Env>(memory: &Memory<'_, E>, pfn: Pfn) -> bool {
    let head = memory.blocks.head_of(&memory.pages, memory.pages.index(pfn));
    head.is_some_and(|(_, page)| page.state().is(PageKind::Allocated))
}

fn run_list<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let memory = call.shell.machine.memory();
    let (mut result, mut leaks, mut used) = (Ok(()), 0, [0_u32; 2]);
    let mut show = |Mapping { at, pfn, users }: Mapping| {
        let leaked = !is_allocated(memory, pfn);
        leaks += u32::from(leaked);
        used[usize::from(users.is_none())] += 1;
        let users = users.unwrap_or(0);
        result = result.and_then(|()| match (call.json(), users) {
            (true, users) => {
                writeln!(call, r#"{{"at":{},"pfn":{},"users":{users},"leaked":{leaked}}}"#, at.0, pfn.0)
            }
            (false, 0) => writeln!(call, "{:#x} pfn {pfn} atomic{}", at.0, leak(leaked)),
            (false, 1) => writeln!(call, "{:#x} pfn {pfn} 1 user{}", at.0, leak(leaked)),
            (false, users) => writeln!(call, "{:#x} pfn {pfn} {users} users{}", at.0, leak(leaked)),
        });
    };
    let flushes = highmem::for_each_kmap(memory, &mut show);
    highmem::for_each_atomic(memory, &mut show);
    result?;
    if !call.json() {
        let [shared, atomic] = used;
        writeln!(call, "{shared} of {LAST_PKMAP} slots in use, unused ones emptied {flushes} times")?;
        writeln!(call, "{atomic} of this CPU's {KM_TYPE_NR} atomic slots in use, {leaks} pages leaked")?;
    }
    Ok(if leaks > 0 { Status::AUDIT } else { Status::DONE })
}

const fn leak(leaked: bool) -> &'static str {
    if leaked { ", leaked: the page is free" } else { "" }
}

#[cfg(test)]
mod tests {
    use crate::exec::Shell;
    use crate::host::HostMachine;
    use crate::testing::{assert_prints, check, run};

    fn shell() -> Shell<HostMachine> {
        Shell::new(HostMachine::new("zones=full highmem=16M", &[(0x4000_0000, 96 << 20, 0)], &[]))
    }

    #[track_caller]
    fn check_high(script: &str, expected: &str) {
        assert_prints(&run(&mut shell(), script), expected);
    }

    #[test]
    fn a_page_is_mapped_and_unmapped_once() {
        check_high(
            "alloc GFP_HIGHUSER -o 1; kmap #1 1; kmap #1 1; kmap ls; kunmap #1 1; kunmap #1 1; kunmap #1 1; echo $?",
            "#1 order 1 pfn 0x[..] HighMem Unmovable\npfn 0x[..] at 0xf07fffe01000\npfn 0x[..] at 0xf07fffe01000\n\
             0xf07fffe01000 pfn 0x[..] 2 users\n\
             1 of 512 slots in use, unused ones emptied 0 times\n\
             0 of this CPU's 20 atomic slots in use, 0 pages leaked\n\
             pfn 0x[..] is not mapped by kmap; was it unmapped before?\n1",
        );
        check("alloc GFP_KERNEL; kmap #1; kunmap #1; echo $?", "#1[..]\npfn 0x[..] at 0x[..], in the linear map\n0");
    }

    #[test]
    fn atomic_slots_run_out_and_come_back_in_order() {
        let mut shell = shell();
        run(&mut shell, "alloc GFP_HIGHUSER -n 2");
        let output =
            run(&mut shell, "repeat 15 kmap atomic #1; kmap atomic #2; kmap atomic #1; echo $?; kunmap atomic #1");
        let mapped = "pfn 0x[..] at 0xf07fffc[..]000\n".repeat(16);
        let full = "CPU 0 has 16 of its 20 atomic slots in use, the others are for the kernel itself\n1\n";
        let order = "pfn 0x[..] was not mapped last on this CPU: pfn 0x[..] goes first\n";
        assert_prints(&output, &[&mapped, full, order].concat());
        check_high("alloc GFP_HIGHUSER; kunmap atomic #1; echo $?", "[..]\nCPU 0 has no page mapped by kmap_atomic\n1");
        check_high(
            "alloc GFP_HIGHUSER; ctx hardirq kmap #1; ctx hardirq kmap atomic #1; kunmap atomic #1; echo $?",
            "[..]\nkmap may sleep: in an interrupt only kmap_atomic will do\npfn[..]\n0",
        );
    }

    #[test]
    fn a_job_waits_for_a_slot() {
        let mut shell = shell();
        let output = run(&mut shell, "alloc GFP_HIGHUSER -o 9; kmap #1 all; alloc GFP_HIGHUSER && kmap #2 &");
        assert_prints(&output, "#1 [..]\nmapped 512 of 512 pages\n[1] alloc GFP_HIGHUSER && kmap #2");
        let output = run(&mut shell, "jobs; kmap ls; kunmap #1 7; wait; kunmap #2; kunmap #1 all; echo $?");
        let all = "0x[..] pfn 0x[..] 1 user\n".repeat(512);
        assert_prints(
            &output,
            &[
                "[1] runs as sh: alloc GFP_HIGHUSER && kmap #2\n",
                &all,
                "512 of 512 slots in use, unused ones emptied 0 times\n0 of this CPU's 20[..]\n\
                 [1] #2 order 0 pfn 0x[..] HighMem Unmovable\n[1] pfn 0x[..] at 0xf07fffe0[..]000\n\
                 [1] done: alloc GFP_HIGHUSER && kmap #2\n\
                 unmapped 511 of 512 pages\npfn 0x[..] is not mapped by kmap; was it unmapped before?\n1",
            ]
            .concat(),
        );
    }

    #[test]
    fn a_wait_for_a_slot_is_called_off_and_never_begins_in_an_atomic_section() {
        let mut shell = shell();
        run(&mut shell, "alloc GFP_HIGHUSER -o 9; kmap #1 all; alloc GFP_HIGHUSER");
        shell.machine.interrupt_after(100);
        assert_prints(
            &run(&mut shell, "kmap #2; echo $?; kmap #2 & kill %1"),
            "interrupted while all 512 slots of kmap were in use, waiting for a kunmap\n",
        );
        let output = run(&mut shell, "echo $?; ctx atomic kmap #2; echo $?");
        assert!(output.starts_with("130\n") && output.contains("BUG: sleeping function called"), "{output}");
        let refusal = "\nall 512 slots of kmap are in use, and one cannot wait in this context\n1\n";
        assert!(output.contains("BUG: scheduling while atomic: sh/1/") && output.ends_with(refusal), "{output}");
    }

    #[test]
    fn a_wait_that_nobody_would_end_is_called_off_on_a_host() {
        let mut shell = shell();
        let called_off = "[..] the shell waits for what nobody here will ever do: called off, as by ^C\n\
                          interrupted while all 512 slots of kmap were in use, waiting for a kunmap\n130";
        let mapped = "0x[..] pfn 0x[..] 1 user\n".repeat(512);
        run(&mut shell, "alloc GFP_HIGHUSER -o 9; kmap #1 all; alloc GFP_HIGHUSER");
        assert_prints(&run(&mut shell, "kmap #2\necho $?"), called_off);
        // Not even the flusher runs by itself any more.
        run(&mut shell, "sysctl vm.dirty_writeback_centisecs=0");
        assert_prints(&run(&mut shell, "kmap #2\necho $?"), called_off);
        let rest = "512 of 512 slots in use, unused ones emptied 0 times\n0 of[..]\npfn 0x[..]\n0";
        assert_prints(&run(&mut shell, "kmap ls; kunmap #1 7; kmap #2; echo $?"), &[&mapped, rest].concat());
    }

    #[test]
    fn pages_that_are_mapped_are_unmapped_past_those_that_are_not() {
        check_high(
            "alloc GFP_HIGHUSER -o 2; kmap #1 all; kunmap #1 2; kunmap #1 all; echo $?; kmap ls; kunmap #1 all",
            "#1 [..]\nmapped 4 of 4 pages\nunmapped 3 of 4 pages\npfn 0x[..]2 is not mapped by kmap; [..]\n1\n\
             0 of 512 slots[..]\n0 of[..]\nunmapped 0 of 4 pages\npfn 0x[..] is not mapped by kmap; [..]",
        );
    }

    #[test]
    fn a_leak_is_reported_and_can_be_mended() {
        let mut shell = shell();
        let line = run(&mut shell, "alloc GFP_HIGHUSER");
        let pfn = line.split(' ').nth(4).unwrap();
        let output =
            run(&mut shell, &std::format!("kmap #1; free #1; kmap ls; echo $?; kunmap {pfn}; kmap ls; echo $?"));
        assert_prints(
            &output,
            "pfn[..]\nfreed[..]\n0xf07fffe01000 pfn 0x[..] 1 user, leaked: the page is free\n1 of 512[..]\n0 of[..], 1 pages leaked\n3\n\
             0 of 512[..]\n0 of[..], 0 pages leaked\n0",
        );
        check("kmap #1; echo $?", "kmap: there is no such block of pages\n1");
        check(
            "alloc GFP_KERNEL; kmap #1 1; kunmap 0xffffffff",
            "#1[..]\nkmap: the page must be 0..0, not 1\nkunmap: the machine has no such page",
        );
    }
}
