//! `handle`: movable pages, which compaction may move behind our back.

use core::fmt::Write as _;

use kernel::gfp::Gfp;
use kernel::mm::handles;
use kernel::mm::memory::{Env, Memory};
use kernel::mm::page_alloc::AllocError;
use kernel::mm::pc_error::PcError;
use kernel::mm::users::Users;
use kernel::task::Current;

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::count::Count;
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value::{self, MovableRange};

const WHICH: &[Arg] = &[Arg::One("PAGE|all", Kind::Movable), Arg::Many("PAGE", Kind::Movable)];

/// `handle ls [PAGE...]`
pub const fn ls<M: Machine>() -> Command<M> {
    Command {
        name: "handle ls",
        summary: "list movable pages and where they are now",
        help: "\
A movable page is known by its handle, h0 and up, for its place may change:
compaction moves it unless it is pinned. alloc --movable makes them.",
        args: &[Arg::Many("PAGE|all", Kind::Movable), Arg::Flag("--json")],
        examples: &["alloc GFP_HIGHUSER_MOVABLE --movable -n 3; handle ls", "handle ls --json"],
        run: run_ls,
    }
}

/// `handle check`
pub const fn check<M: Machine>() -> Command<M> {
    Command {
        name: "handle check",
        summary: "look whether every movable page has its content",
        help: "\
What a page holds follows from its handle, so a page that was moved badly is
found out. Status 3 if there is one.",
        args: &[Arg::Flag("--json")],
        examples: &["alloc GFP_HIGHUSER_MOVABLE --movable -n 3; compact all; handle check"],
        run: run_check,
    }
}

/// `handle pin PAGE...`
pub const fn pin<M: Machine>() -> Command<M> {
    Command {
        name: "handle pin",
        summary: "keep movable pages where they are",
        help: "\
A pin is one reference more, as a device has that writes to the page: then it
cannot be moved. Pages may be pinned several times.",
        args: WHICH,
        examples: &["alloc GFP_HIGHUSER_MOVABLE --movable -n 3; handle pin h0..h2; handle ls"],
        run: run_pin,
    }
}

/// `handle unpin PAGE...`
pub const fn unpin<M: Machine>() -> Command<M> {
    Command {
        name: "handle unpin",
        summary: "take a pin off movable pages",
        help: "\
One, if there are several.",
        args: WHICH,
        examples: &["alloc GFP_HIGHUSER_MOVABLE --movable; handle pin h0; handle unpin h0"],
        run: run_unpin,
    }
}

/// `handle free PAGE...`
pub const fn free<M: Machine>() -> Command<M> {
    Command {
        name: "handle free",
        summary: "give movable pages back",
        help: "\
h7; h0..h51; h1..h51/2, every second one, which leaves holes; or all. Numbers
are used again. A pinned page stays.",
        args: WHICH,
        examples: &["alloc GFP_HIGHUSER_MOVABLE --movable -n 10; handle free h1..h9/2"],
        run: run_free,
    }
}

/// Makes `wanted` movable pages, or as many as there are, and tells their handles.
pub fn alloc<'a, M: Machine>(call: &mut Call<'_, 'a, M>, gfp: Gfp, wanted: Option<u64>) -> Outcome<'a> {
    let (mut allocated, mut first, mut last, mut end) = (0, 0, 0, None);
    while wanted.is_none_or(|wanted| allocated < wanted) && end.is_none() {
        call.check_interrupt()?;
        match call.kernel(|memory, current| handles::alloc(memory, current, memory.env.owner(), gfp)) {
            Ok(number) => {
                first = if allocated == 0 { number } else { first };
                (last, allocated) = (number, allocated + 1);
            }
            Err(error) => end = Some(error),
        }
    }
    if call.json() {
        writeln!(call, r#"{{"allocated":{allocated},"first":{first},"last":{last}}}"#)?;
    } else {
        match wanted {
            Some(1) => {}
            Some(wanted) => writeln!(call, "allocated {allocated} of {wanted} movable pages")?,
            None => writeln!(call, "allocated {allocated} of max movable pages")?,
        }
        match allocated {
            0 => {}
            1 => show(call, first)?,
            _ => writeln!(call, "h{first}..h{last}")?,
        }
    }
    end.map_or(Ok(Status::DONE), |error| refuse(call, error))
}

/// Says why; what the kernel refused for lack of memory is no mistake of the person's.
fn refuse<'a, M: Machine>(call: &mut Call<'_, 'a, M>, error: PcError) -> Outcome<'a> {
    if let PcError::NoMemory(AllocError::Interrupted { .. }) | PcError::Interrupted = error {
        call.check_interrupt()?;
    }
    writeln!(call, "{error}")?;
    Ok(if let PcError::NotMovable(_) = error { Status::USAGE } else { Status::REFUSED })
}

/// Where the page is now.
fn show<M: Machine>(call: &mut Call<'_, '_, M>, number: u32) -> Result<(), Trouble<'static>> {
    let memory = call.shell.machine.memory();
    let users = memory.env.owner();
    let (Ok(pfn), Ok(pins)) = (handles::frame(memory, users, number), handles::pins(memory, users, number)) else {
        return Ok(());
    };
    if call.json() {
        writeln!(call, r#"{{"handle":{number},"pfn":{},"pins":{pins}}}"#, pfn.0)?;
        return Ok(());
    }
    let zone = memory.zone_of(pfn).map_or("", |zone| zone.zone_type.name());
    write!(call, "h{number} pfn {pfn} {zone}")?;
    if pins > 0 {
        write!(call, " pinned {pins}")?;
    }
    Ok(writeln!(call)?)
}

/// Calls `act` with every handle that is in use of those that are named, or of all; how many there were. Words are read
/// before the first is acted on; a page that is named by itself must be there.
fn for_each<'a, M: Machine>(
    call: &mut Call<'_, 'a, M>,
    mut act: impl FnMut(&mut Call<'_, 'a, M>, u32) -> Result<(), Trouble<'a>>,
) -> Result<u64, Trouble<'a>> {
    let memory = call.shell.machine.memory();
    let (users, end) = (memory.env.owner(), handles::end(memory, memory.env.owner()));
    let range = |word: &'a str| match word {
        "all" => Ok(MovableRange { first: 0, last: u32::MAX, step: 1 }),
        word => value::movable(word),
    };
    let args = call.args;
    args.words().try_for_each(|word| range(word).map(|_| ()))?;
    let words = args.words().chain(args.word(0).is_none().then_some("all"));
    let mut found = 0;
    for word in words {
        let MovableRange { first, last, step } = range(word)?;
        let mut any = false;
        for number in (first..=last.min(end.saturating_sub(1))).step_by(step as usize) {
            call.check_interrupt()?;
            if handles::frame(memory, users, number).is_ok() {
                act(call, number)?;
                any = true;
                found += 1;
            }
        }
        if !any && word != "all" {
            writeln!(call, "handle: there is no {word}")?;
        }
    }
    Ok(found)
}

fn run_ls<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let named = call.args.word(0).is_some();
    let found = for_each(call, |call, number| show(call, number))?;
    Ok(Status::done_if(found > 0 || !named))
}

fn run_check<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let verified = call.kernel(|memory, current| handles::check_all(memory, current, memory.env.owner()));
    let (pages, corrupt) = (verified.pages, verified.lost);
    if call.json() {
        writeln!(call, r#"{{"checked":{pages},"corrupt":{corrupt}}}"#)?;
    } else {
        writeln!(call, "{pages} movable pages checked, {corrupt} corrupt")?;
    }
    Ok(if corrupt > 0 { Status::AUDIT } else { Status::DONE })
}

/// What is done to a page.
type Act<E> = fn(&Memory<'static, E>, &Current<'_>, &Users<'static>, u32) -> Result<(), PcError>;

/// Does `act` to each page that is named, and tells how many that was `done` to.
fn each_told<'a, M: Machine>(call: &mut Call<'_, 'a, M>, done: &str, act: Act<M::Env>) -> Outcome<'a> {
    let mut failed = 0;
    let named = for_each(call, |call, number| {
        if let Err(error) = call.kernel(|memory, current| act(memory, current, memory.env.owner(), number)) {
            failed += 1;
            writeln!(call, "h{number}: {error}")?;
        }
        Ok(())
    })?;
    let count = named - failed;
    writeln!(call, "{done} {}", Count::pages(count))?;
    Ok(Status::done_if(failed == 0 && named > 0))
}

fn run_pin<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    each_told(call, "pinned", |memory, _, users, number| handles::pin(memory, users, number))
}

fn run_unpin<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    each_told(call, "unpinned", handles::unpin)
}

fn run_free<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    each_told(call, "freed", |memory, current, users, number| handles::free(memory, current, users, number).map(|_| ()))
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_prints, check, run, shell};

    const MAKE: &str = "alloc GFP_HIGHUSER_MOVABLE --movable";

    #[test]
    fn pages_are_made_listed_and_given_back() {
        let mut shell = shell();
        assert_prints(&run(&mut shell, MAKE), "h0 pfn 0x[..] DMA32");
        let made = run(&mut shell, &alloc::format!("{MAKE} -n 9"));
        assert_eq!(made, "allocated 9 of 9 movable pages\nh1..h9\n");
        assert_eq!(run(&mut shell, "handle ls --json").lines().count(), 10);
        assert_eq!(
            run(&mut shell, "handle free h1..h9/2; handle free h1..3; echo $?"),
            "freed 5 pages\nfreed 1 page\n0\n"
        );
        assert_prints(&run(&mut shell, "handle ls h0..h9"), "h0 [..]\nh4 [..]\nh6 [..]\nh8 [..]");
        assert_eq!(
            run(&mut shell, "handle free all; handle check"),
            "freed 4 pages\n0 movable pages checked, 0 corrupt\n"
        );
        assert!(run(&mut shell, "audit").contains(" 0 allocated, 0 bad"));
    }

    #[test]
    fn pins_are_counted() {
        let mut shell = shell();
        run(&mut shell, MAKE);
        assert_eq!(run(&mut shell, "handle pin h0 h0"), "pinned 2 pages\n");
        assert_prints(&run(&mut shell, "handle ls h0"), "h0 pfn 0x[..] DMA32 pinned 2");
        let refused = "h0: the page is pinned; unpin it first\nfreed 0 pages\n1\n";
        assert_eq!(run(&mut shell, "handle free h0; echo $?"), refused);
        run(&mut shell, "handle unpin h0; handle unpin h0");
        let refused = "h0: the page was not pinned\nunpinned 0 pages\n1\n";
        assert_eq!(run(&mut shell, "handle unpin h0; echo $?"), refused);
        assert_eq!(run(&mut shell, "handle free all"), "freed 1 page\n");
    }

    #[test]
    fn what_is_not_there_is_said() {
        check("handle free h7; echo $?", "handle: there is no h7\nfreed 0 pages\n1");
        check("handle free 7; echo $?", "handle free: `7` is not a movable page, as h7, h0..h51 and h1..h51/2 are\n2");
        check("handle ls h3..h1", "handle ls: `h3..h1` is not a movable page, [..]");
        check("handle ls h1..h3/0", "handle ls: `h1..h3/0` is not a movable page, [..]");
        check("handle ls; echo $?", "0");
        check(
            "alloc GFP_KERNEL --movable; echo $?",
            "a handle's page can move: the mask needs __GFP_MOVABLE, not [..]\n2",
        );
        check(&alloc::format!("{MAKE} -o 2; echo $?"), "alloc: movable pages are single ones: no -o, no --node\n2");
        check(
            "free to 0; alloc GFP_NOWAIT|__GFP_MOVABLE|__GFP_NOWARN --movable; echo $?",
            "[..]\n[..]\npage allocation [..]\n1",
        );
    }
}
