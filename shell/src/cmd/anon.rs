//! `anon`, `swapon`: anonymous memory of tasks, and where it goes when reclaim takes it.

use core::fmt::Write as _;
use core::ops::Range;
use core::sync::atomic::Ordering::Relaxed;

use kernel::mm::anon::{self, Populated};
use kernel::mm::fault::{self, Fault};
use kernel::mm::owner::SwapSpace;
use kernel::mm::pc_error::PcError;
use kernel::mm::users::MAX_INDEX;
use kernel::mm::verify::Verified;
use kernel::mm::{swapfile, swapoff};
use kernel::proc::json::Quoted;

use super::pc::count;
use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::count::Count;
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value;

const TASK: Arg = Arg::Opt("--task", "NAME", Kind::Task);
/// A run of a task's pages; all of them if it is left out.
const RUN: &[Arg] = &[Arg::Maybe("VPN", Kind::Number), Arg::Maybe("N", Kind::Number), TASK];

/// `anon N [--task NAME]`
pub const fn anon<M: Machine>() -> Command<M> {
    Command {
        name: "anon",
        summary: "give a task anonymous pages, which it has used once",
        help: "\
They get the next virtual page numbers, are mapped, young and on the active
list, as in v5.0. The task is the current one, or that of --task. A page that
is refused ends it: status 1, and the task keeps what it got.",
        args: &[Arg::One("N", Kind::Number), TASK],
        examples: &["anon 100; anon ls; anon free", "task new hog; anon 500 --task hog; anon free --task hog"],
        run: run_anon,
    }
}

/// `anon touch [VPN [N]] [--task NAME]`
pub const fn touch<M: Machine>() -> Command<M> {
    Command {
        name: "anon touch",
        summary: "use anonymous pages, wherever they are",
        help: "\
From virtual page VPN on, or all. A mapped page becomes young; one that is in
the swap cache is mapped again, a minor fault; one that is in its slot only is
read, a major fault, and must be what was written.",
        args: RUN,
        examples: &["anon 100; anon touch; anon touch 5 10; anon free"],
        run: run_touch,
    }
}

/// `anon write [VPN [N]] [--task NAME]`
pub const fn write<M: Machine>() -> Command<M> {
    Command {
        name: "anon write",
        summary: "write anonymous pages: their slots are out of date then",
        help: "\
From virtual page VPN on, or all; each gets its next version.",
        args: RUN,
        examples: &["anon 100; anon write 0 10; anon check; anon free"],
        run: run_write,
    }
}

/// `anon free [VPN [N]] [--task NAME]`
pub const fn free<M: Machine>() -> Command<M> {
    Command {
        name: "anon free",
        summary: "give anonymous pages up, in memory or in swap",
        help: "\
From virtual page VPN on, or all.",
        args: RUN,
        examples: &["anon 100; anon free 0 10; anon free"],
        run: run_free,
    }
}

/// `anon check [--task NAME]`
pub const fn check<M: Machine>() -> Command<M> {
    Command {
        name: "anon check",
        summary: "compare a task's anonymous pages with what it wrote",
        help: "\
In memory byte for byte, in swap by what the slot remembers. Status 3 if
anything was lost.",
        args: &[TASK, Arg::Flag("--json")],
        examples: &["anon 100; anon check; anon free"],
        run: run_check,
    }
}

/// `anon ls`
pub const fn ls<M: Machine>() -> Command<M> {
    Command {
        name: "anon ls",
        summary: "list what tasks have in memory and in swap",
        help: "\
Pages: anonymous ones in memory, file pages mapped, anonymous ones in swap
only. Tasks without any are left out.",
        args: &[Arg::Flag("--json")],
        examples: &["anon 100; anon ls; anon free", "anon ls --json"],
        run: run_ls,
    }
}

/// `swapon [N]`
pub const fn swapon<M: Machine>() -> Command<M> {
    Command {
        name: "swapon",
        summary: "show the swap space, make one of N slots, or give it up",
        help: "\
A slot has room for one page. 0 is swapoff: every page in the swap space comes
back to memory first, if there is room for it; another number is refused while
slots are in use. Without swap space reclaim does not look at anonymous pages.
Linux: swapon, swapoff, try_to_unuse.",
        args: &[Arg::Maybe("N", Kind::Number), Arg::Flag("--json")],
        examples: &["swapon 4096; swapon; swapon 0"],
        run: run_swapon,
    }
}

fn run_anon<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let wanted = count(call.args.word(0))?;
    call.as_named_task(|call| {
        let Populated { first, pages, refused } =
            call.pages(|memory, current, users| Ok(anon::populate(memory, current, users, wanted)))?;
        if pages > 0 {
            let last = first + pages - 1;
            let name = call.current().task.comm();
            call.shell.say(format_args!("{name} has {} more: {first}..{last}\n", Count::pages(pages.into())));
        }
        refused.map_or(Ok(Status::DONE), |error| call.pages(|_, _, _| Err(error)))
    })
}

/// The virtual page numbers that are meant, and whether all of them must be there.
fn run_of<'a, M: Machine>(call: &Call<'_, 'a, M>) -> Result<(Range<u32>, bool), Trouble<'a>> {
    let Some(word) = call.args.word(0) else {
        let (memory, users) = (call.shell.machine.memory(), call.users());
        return Ok((0..anon::span(memory, users, call.current().task), false));
    };
    let first = value::number_in("the virtual page number", word, 0, i64::from(MAX_INDEX) - 1)? as u32;
    let count = count(call.args.word(1))?;
    Ok((first..first.saturating_add(count), true))
}

/// What came of a page that is there.
enum Done {
    Found(Fault),
    Written,
    Freed,
}

/// How many pages had which fate.
#[derive(Default)]
struct Fates {
    pages: u64,
    minor: u64,
    major: u64,
}

/// Does something to each page that is meant.
fn for_each<'a, M: Machine>(
    call: &mut Call<'_, 'a, M>,
    mut act: impl FnMut(&mut Call<'_, 'a, M>, u32) -> Result<Done, Trouble<'static>>,
    tell: impl FnOnce(&mut Call<'_, 'a, M>, &Fates),
) -> Outcome<'a> {
    call.as_named_task(|call| {
        let ((mut run, must_be_there), mut fates) = (run_of(call)?, Fates::default());
        let end = run.try_for_each(|vpn| {
            call.check_interrupt()?;
            match act(call, vpn) {
                Ok(done) => {
                    fates.pages += 1;
                    fates.minor += u64::from(matches!(done, Done::Found(Fault::Minor)));
                    fates.major += u64::from(matches!(done, Done::Found(Fault::Major)));
                    Ok(())
                }
                Err(Trouble::Pages(PcError::NoPage(_))) if !must_be_there => Ok(()),
                Err(trouble) => Err(trouble),
            }
        });
        if fates.pages > 0 || end.is_ok() {
            tell(call, &fates);
        }
        end.map(|()| Status::DONE)
    })
}

fn run_touch<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let act = |call: &mut Call<'_, 'a, M>, vpn| {
        call.pages(|memory, current, users| fault::touch(memory, current, users, vpn)).map(Done::Found)
    };
    for_each(call, act, |call, &Fates { pages, minor, major }| {
        let (mapped, pages) = (pages - minor - major, Count::pages(pages));
        let text =
            format_args!("touched {pages}: {mapped} mapped, {minor} in the swap cache, {major} read from swap\n");
        call.shell.say(text);
    })
}

fn run_write<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let act = |call: &mut Call<'_, 'a, M>, vpn| {
        call.pages(|memory, current, users| fault::write(memory, current, users, vpn)).map(|_| Done::Written)
    };
    for_each(call, act, |call, fates| call.shell.say(format_args!("wrote {}\n", Count::pages(fates.pages))))
}

fn run_free<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let act = |call: &mut Call<'_, 'a, M>, vpn| {
        call.pages(|memory, current, users| anon::free(memory, current, users, vpn)).map(|()| Done::Freed)
    };
    for_each(call, act, |call, fates| call.shell.say(format_args!("freed {}\n", Count::pages(fates.pages))))
}

fn run_check<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    call.as_named_task(|call| {
        let checked = call.pages(|memory, current, users| Ok(anon::check(memory, current, users, current.task)))?;
        let Verified { pages, lost } = checked;
        if call.json() {
            writeln!(call, r#"{{"pages":{pages},"lost":{lost}}}"#)?;
        } else {
            writeln!(call, "checked {}: {lost} lost", Count::pages(pages))?;
        }
        Ok(if lost == 0 { Status::DONE } else { Status::AUDIT })
    })
}

fn run_ls<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    if !call.json() {
        writeln!(call, "  PID NAME                ANON     FILE     SWAP")?;
    }
    for task in call.tasks().iter() {
        let [anon, file, swap] =
            [&task.mm.anon_rss, &task.mm.file_rss, &task.mm.swapents].map(|pages| pages.load(Relaxed));
        let (pid, name) = (task.pid(), task.comm());
        if anon == 0 && file == 0 && swap == 0 {
            continue;
        }
        if call.json() {
            let name = Quoted(name.as_str());
            writeln!(call, r#"{{"pid":{pid},"name":{name},"anon":{anon},"file":{file},"swap":{swap}}}"#)?;
        } else {
            writeln!(call, "{pid:>5} {name:<15} {anon:>8} {file:>8} {swap:>8}")?;
        }
    }
    Ok(Status::DONE)
}

fn run_swapon<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    if let Some(word) = call.args.word(0) {
        let slots = value::number(word)?;
        call.pages(|memory, current, users| match slots {
            0 => swapoff::swapoff(memory, current, users),
            slots => swapfile::swapon(memory, users, slots),
        })?;
    }
    let SwapSpace { total, free } = swapfile::swap_space(call.users());
    let used = total - free;
    if call.json() {
        writeln!(call, r#"{{"slots":{total},"used":{used}}}"#)?;
    } else {
        writeln!(call, "swap space: {total} slots, {used} in use")?;
    }
    Ok(Status::DONE)
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, run, shell};

    #[test]
    fn a_task_has_pages_until_it_frees_them() {
        let script = "anon 100; anon 20; anon ls; anon touch 5 10; anon write 118 2; anon check; anon free 0 20; \
                      anon touch 19; echo $?; anon free; anon check --json; anon ls --json";
        let output = "sh has 100 pages more: 0..99\nsh has 20 pages more: 100..119\n  PID NAME                ANON     FILE     SWAP\n\
                      \x20   1 sh                   120        0        0\n\
                      touched 10 pages: 10 mapped, 0 in the swap cache, 0 read from swap\nwrote 2 pages\n\
                      checked 120 pages: 0 lost\nfreed 20 pages\nanon touch: the task has no anonymous page 19\n1\n\
                      freed 100 pages\n{\"pages\":0,\"lost\":0}";
        check(script, output);
    }

    #[test]
    fn pages_belong_to_the_task_that_is_named() {
        let script =
            "task new hog; anon 5 --task hog; anon check; anon free --task hog; anon 1 --task nobody; task list";
        let output = "task 2 hog\nhog has 5 pages more: 0..4\nchecked 0 pages: 0 lost\nfreed 5 pages\n\
                      anon: no task `nobody`\n  PID [..]\n*   1 sh [..]\n    2 hog [..]";
        let printed = run(&mut shell(), script);
        assert!(printed.lines().count() > 8, "the daemons are listed, too: {printed}");
        let first: Vec<&str> = printed.lines().take(8).collect();
        crate::testing::assert_prints(&first.join("\n"), output);
    }

    #[test]
    fn pages_go_to_swap_and_come_back_as_they_were() {
        let mut shell = shell();
        run(&mut shell, "kswapd freeze; kcompactd freeze; free to 6000 DMA32; swapon 4096; anon 4000; anon touch");
        let reclaimed =
            run(&mut shell, "repeat 8 reclaim direct GFP_KERNEL; tick 10; repeat 4 reclaim direct GFP_KERNEL");
        assert!(reclaimed.contains("reclaimed "), "{reclaimed}");
        let listed = run(&mut shell, "anon ls --json");
        assert!(listed.contains(r#""swap":"#) && !listed.contains(r#""swap":0"#), "{listed}");
        let printed =
            run(&mut shell, "swapon 10; anon touch 0 1000; free all; swapon 0; anon check; anon free; swapon 0");
        assert!(
            printed.starts_with("swapon: ")
                && printed.contains(" slots of the swap space are in use; swapoff comes first"),
            "{printed}"
        );
        assert!(printed.contains(" read from swap\n") && !printed.contains(" 0 read from swap"), "{printed}");
        let given_up = "swap space: 0 slots, 0 in use\nchecked 4000 pages: 0 lost\nfreed 4000 pages\n";
        assert!(printed.contains(given_up), "{printed}");
        assert!(printed.ends_with("swap space: 0 slots, 0 in use\n"), "{printed}");
        assert!(run(&mut shell, "audit").starts_with("audit passed"));
    }

    #[test]
    fn bad_words_change_nothing() {
        check("anon 0; echo $?", "anon: the number of pages must be 1..1073741824, not 0\n2");
        check("anon touch 9 9; echo $?", "anon touch: the task has no anonymous page 9\n1");
        check("swapon 99999999; echo $?", "swapon: the table of swap slots is full: it has [..] entries\n1");
        check("swapon --json", r#"{"slots":0,"used":0}"#);
    }
}
