//! `vmalloc`, `vzalloc`, `vfree`: memory that is contiguous by virtual address only.
//!
//! Neighbour: `content.rs` reads and writes it. Linux: `include/linux/vmalloc.h`.

use core::fmt::Write as _;

use kernel::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr};
use kernel::gfp::Gfp;
use kernel::mm::vmalloc::{self, BadVfree};

use super::kmalloc::{gfp_or_kernel, refuse};
use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::count::Count;
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value;

/// `vmalloc SIZE [GFP]`
pub const fn vmalloc<M: Machine>() -> Command<M> {
    Command {
        name: "vmalloc",
        summary: "allocate pages that are contiguous by virtual address",
        help: "\
Single pages, mapped one behind the other, then a guard page that is not:
cat /proc/vmallocinfo. GFP, for the pages, is GFP_KERNEL unless you say
otherwise; tables are made with GFP_KERNEL always, so it may sleep. fill,
verify, peek and poke reach the content. Status 1: there was not enough, and
all was given back.
Linux: __vmalloc. Seed 002 compares it with kmalloc.",
        args: &[Arg::One("SIZE", Kind::Number), Arg::Maybe("GFP", Kind::Gfp)],
        examples: &[
            "vmalloc 64K; cat /proc/vmallocinfo; vfree #1",
            "vmalloc 10000 GFP_NOIO; fill #1 0x5a; verify #1 0x5a",
        ],
        run: |call| run_vmalloc(call, Gfp::empty()),
    }
}

/// `vzalloc SIZE [GFP]`
pub const fn vzalloc<M: Machine>() -> Command<M> {
    Command {
        name: "vzalloc",
        summary: "allocate zeroed pages, contiguous by virtual address",
        help: "\
vmalloc with __GFP_ZERO. Linux: vzalloc. See seed 002.",
        args: &[Arg::One("SIZE", Kind::Number), Arg::Maybe("GFP", Kind::Gfp)],
        examples: &["vzalloc 1M; verify #1 0; vfree all"],
        run: |call| run_vmalloc(call, Gfp::__GFP_ZERO),
    }
}

/// `vfree AREA...`
pub const fn vfree<M: Machine>() -> Command<M> {
    Command {
        name: "vfree",
        summary: "give areas of vmalloc back",
        help: "\
By number (#3, #3..#9), by address (0x...), or all of them. What cannot be
freed is told: an address inside an area, of none, or of one that was freed;
nothing is changed then, and the status is 1. Linux: vfree.",
        args: &[Arg::One("AREA|ADDRESS|all", Kind::Text), Arg::Many("AREA|ADDRESS", Kind::Text)],
        examples: &["vmalloc 8K; vmalloc 8K; vfree #1 #2", "vmalloc 8K; vfree 0xf00000001000; vfree all"],
        run: run_vfree,
    }
}

fn run_vmalloc<'a, M: Machine>(call: &mut Call<'_, 'a, M>, also: Gfp) -> Outcome<'a> {
    let bytes = value::size(call.args.must(0))?;
    let gfp = gfp_or_kernel(call, 1)? | also;
    call.shell.session.areas.reserve()?;
    call.shell.session.reserve_number()?;
    match call.kernel(|memory, current| vmalloc::vmalloc_gfp(memory, current, bytes, gfp)) {
        Ok(start) => {
            let (number, pages) = (call.shell.session.next_number(), bytes.div_ceil(PAGE_SIZE));
            call.shell.session.areas.push(number, start, pages << PAGE_SHIFT);
            writeln!(call, "#{number} {} at {:#x}", Count::pages(pages), start.0)?;
            Ok(Status::DONE)
        }
        Err(error) => refuse(call, format_args!("NULL: {error}")),
    }
}

/// A line for each word whose areas cannot all be freed, then one for the others.
fn run_vfree<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let args = call.args;
    // All of them are read before the first is freed.
    for word in args.words().filter(|word| *word != "all") {
        if word.starts_with("0x") { value::number(word).map(|_| ()) } else { value::handles(word).map(|_| ()) }?;
    }
    let (mut pages, mut status) = (0, Status::DONE);
    for word in args.words() {
        let done = match word {
            "all" => free_all(call, &mut pages)?,
            _ if word.starts_with("0x") => free_address(call, VirtAddr(value::number(word)?), &mut pages)?,
            _ => {
                let range = value::handles(word)?;
                (range.first..=range.last).try_fold(Status::DONE, |status, number| {
                    let done = free_number(call, number, &mut pages)?;
                    Ok::<_, Trouble<'_>>(if done == Status::DONE { status } else { done })
                })?
            }
        };
        status = if done == Status::DONE { status } else { done };
    }
    if pages > 0 || status == Status::DONE {
        writeln!(call, "freed {}", Count::pages(pages))?;
    }
    Ok(status)
}

fn free_all<M: Machine>(call: &mut Call<'_, '_, M>, pages: &mut u64) -> Outcome<'static> {
    let (mut next, mut status) = (1, Status::DONE);
    while let Some(area) = call.shell.session.areas.next_live(next) {
        next = area.number + 1;
        if free_at(call, area.start, pages)? != Status::DONE {
            status = Status::REFUSED;
        }
    }
    Ok(status)
}

fn free_number<M: Machine>(call: &mut Call<'_, '_, M>, number: u32, pages: &mut u64) -> Outcome<'static> {
    call.check_interrupt()?;
    match call.shell.session.areas.get(number) {
        None => refuse(call, format_args!("#{number} is no area of vmalloc")),
        Some(area) if !area.is_live => refuse(call, format_args!("#{number} was freed already")),
        Some(area) => free_at(call, area.start, pages),
    }
}

/// Frees the area at an address, unless it is somebody else's, as the array of a large area is.
fn free_address<M: Machine>(call: &mut Call<'_, '_, M>, start: VirtAddr, pages: &mut u64) -> Outcome<'static> {
    let found = vmalloc::next_area(call.shell.machine.memory(), start).filter(|info| info.area.start == start);
    if found.is_some() && !call.shell.session.areas.has(start) {
        return refuse(call, format_args!("the area at {:#x} is in use, but it is none of yours", start.0));
    }
    free_at(call, start, pages)
}

/// Frees the area at `start`; the kernel says what is wrong with that.
fn free_at<M: Machine>(call: &mut Call<'_, '_, M>, start: VirtAddr, pages: &mut u64) -> Outcome<'static> {
    let freed: Result<u64, BadVfree> = call.kernel(|memory, current| vmalloc::vfree(memory, current, start));
    match freed {
        Ok(nr_pages) => {
            call.shell.session.areas.bury(start);
            *pages += nr_pages;
            Ok(Status::DONE)
        }
        Err(error) => refuse(call, error),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, run, shell};

    #[test]
    fn areas_have_numbers_and_lines() {
        check(
            "vmalloc 10000; vzalloc 4K GFP_NOIO; cat /proc/vmallocinfo; vfree #1..#2; vfree all",
            "#1 3 pages at 0xf00000000000\n#2 1 page at 0xf00000004000\n\
             0x0000f00000000000-0x0000f00000004000   16384 sh pages=3 vmalloc N0=3\n\
             0x0000f00000004000-0x0000f00000006000    8192 sh pages=1 vmalloc N0=1\n\
             freed 4 pages\nfreed 0 pages",
        );
    }

    #[test]
    fn what_is_no_area_is_named() {
        check("vmalloc 8K; vfree #1; vfree #1; echo $?", "#1[..]\nfreed 2 pages\n#1 was freed already\n1");
        check("alloc GFP_KERNEL; vfree #1; free #1", "#1[..]\n#1 is no area of vmalloc\nfreed 1 block, 1 page");
        check(
            "vmalloc 8K; free #1; kfree #1",
            "#1[..]\nfree: #1 is no block of pages; `vfree` frees it\nthere is no object #1",
        );
        check(
            "vmalloc 8K; vfree 0xf00000001000; echo $?; vfree #1",
            "#1[..]\n0xf00000001000 is page 1 of the area that starts at 0xf00000000000\n1\nfreed 2 pages",
        );
        check(
            "vmalloc 3M; vfree 0xf00000301000; echo $?; vfree #1",
            "#1[..]\nthe area at 0xf00000301000 is in use, but it is none of yours\n1\nfreed 768 pages",
        );
        let output = run(&mut shell(), "vfree 0xf00000000000; vfree 0xf00000000001; vfree 0x0; vfree 7; echo $?");
        let ends = [
            "no area of vmalloc has 0xf00000000000; was it freed before?\n",
            "0xf00000000001 is not the start of a page, hence of no area\n",
            "freed 0 pages\nvfree: `7` is not a handle, as #7 and #8..#51 are\n2\n",
        ];
        assert!(ends.iter().all(|end| output.contains(end)), "{output}");
    }

    #[test]
    fn sizes_without_sense_are_refused() {
        let output = run(&mut shell(), "vmalloc 0; vmalloc 1G; vmalloc x; echo $?; cat /proc/vmallocinfo");
        assert!(output.contains("NULL: an area has one byte at least, not 0\n"), "{output}");
        assert!(output.contains("NULL: all of RAM is 62914560 bytes, too few for 1073741824\n"), "{output}");
        assert!(output.ends_with("vmalloc: `x` is not a size, as 4096, 0x1000, 64K and 2M are\n2\n"), "{output}");
        check("ctx hardirq vmalloc 4K; echo $?", "NULL: vmalloc may sleep, whatever the mask: not in an interrupt\n1");
    }
}
