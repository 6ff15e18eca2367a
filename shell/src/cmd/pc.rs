//! `pc`: the toy page cache, page by page, as the current task uses it.
//!
//! Each row here does one thing to a run of pages of a file: to PAGE, or to N pages from PAGE on. What concerns the whole
//! cache, its store, and what is in it stands in the files below.

use core::fmt::{self, Write as _};

use kernel::mm::filemap::{self, Lookup};
use kernel::mm::memory::Memory;
use kernel::mm::pagecache::check_place;
use kernel::mm::pc_error::PcError;
use kernel::mm::sparse::Place;
use kernel::mm::users::{MAX_FILES, MAX_INDEX, Users};
use kernel::mm::{mincore, mmap, pins};
use kernel::task::Current;

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::count::Count;
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value;

pub mod cache;
pub mod disk;
pub mod list;
pub mod stream;

const FILE: Arg = Arg::One("FILE", Kind::Number);
const PAGE: Arg = Arg::One("PAGE", Kind::Number);
const COUNT: Arg = Arg::Maybe("N", Kind::Number);
const TASK: Arg = Arg::Opt("--task", "NAME", Kind::Task);

/// A file and a run of its pages.
const RUN: &[Arg] = &[FILE, PAGE, COUNT];
/// The same, for a task.
const RUN_OF_TASK: &[Arg] = &[FILE, PAGE, COUNT, TASK];

/// `pc read FILE PAGE [N]`
pub const fn read<M: Machine>() -> Command<M> {
    Command {
        name: "pc read",
        summary: "read pages of a file: a use of each",
        help: "\
Files are numbered 0 to 63 and have every page from the start. A page that is
not in the cache is allocated with the file's mask, read, and goes to the head
of the inactive list; being read marks it as referenced, and the next read
activates it.",
        args: RUN,
        examples: &["pc read 0 0 3; pc read 0 2 2; lru"],
        run: |call| with_lookups(call, "read", "from the store", filemap::read),
    }
}

/// `pc ra FILE PAGE N`
pub const fn ra<M: Machine>() -> Command<M> {
    Command {
        name: "pc ra",
        summary: "read pages of a file ahead: nobody uses them yet",
        help: "\
Clean, unmapped, unreferenced pages on the inactive list: what reclaim takes
first. The mask gets __GFP_NORETRY and __GFP_NOWARN, and the first refusal
ends it silently, as in Linux; pages that are cached already do not count.",
        args: RUN,
        examples: &["pc ra 0 0 1000; lru"],
        run: run_ra,
    }
}

/// `pc write FILE PAGE [VERSION] [-n N] [--nowait]`
pub const fn write<M: Machine>() -> Command<M> {
    Command {
        name: "pc write",
        summary: "write pages of a file: they are dirty then",
        help: "\
Fills whole pages with content made of file, page and VERSION, by default one
more than the last; the ledger behind pc verify remembers it. As long as too
many pages are dirty (thresholds) the writer waits after each; --nowait does
not.",
        args: &[
            FILE,
            PAGE,
            Arg::Maybe("VERSION", Kind::Number),
            Arg::Opt("-n", "N", Kind::Number),
            Arg::Flag("--nowait"),
        ],
        examples: &["pc write 0 5", "pc write 1 0 7 -n 100; pc sync; pc verify"],
        run: run_write,
    }
}

/// `pc map FILE PAGE [N] [--exec] [--task NAME]`
pub const fn map<M: Machine>() -> Command<M> {
    Command {
        name: "pc map",
        summary: "map pages of a file into a task's memory, and use them",
        help: "\
The mapping stays when reclaim takes the page; pc touch brings it back. A page
that was used through a mapping since reclaim last looked is spared; with
--exec it becomes active then.",
        args: &[FILE, PAGE, COUNT, Arg::Flag("--exec"), TASK],
        examples: &["pc map 0 0 4 --exec; pc ls 0", "task new db; pc map 0 0 --task db"],
        run: run_map,
    }
}

/// `pc unmap FILE PAGE [N] [--task NAME]`
pub const fn unmap<M: Machine>() -> Command<M> {
    Command {
        name: "pc unmap",
        summary: "end mappings of pages of a file",
        help: "\
The pages stay in the cache.",
        args: RUN_OF_TASK,
        examples: &["pc map 0 0 4; pc unmap 0 0 4"],
        run: |call| plain(call, "unmapped", mmap::unmap),
    }
}

/// `pc touch FILE PAGE [N] [--task NAME]`
pub const fn touch<M: Machine>() -> Command<M> {
    Command {
        name: "pc touch",
        summary: "use pages of a file through a task's mapping",
        help: "\
Sets the young bit; a page that is not in memory is a fault, and is read.",
        args: RUN_OF_TASK,
        examples: &["pc map 0 0 4; pc touch 0 0 4"],
        run: |call| with_lookups(call, "touched", "from the store", mmap::touch),
    }
}

/// `pc mlock FILE PAGE [N] [--task NAME]`
pub const fn mlock<M: Machine>() -> Command<M> {
    Command {
        name: "pc mlock",
        summary: "lock mapped pages into memory: onto the unevictable list",
        help: "\
The task must map the pages. Reclaim does not look at that list.",
        args: RUN_OF_TASK,
        examples: &["pc map 0 0 2; pc mlock 0 0 2; lru unevictable; pc munlock 0 0 2"],
        run: |call| plain(call, "locked into memory", mmap::mlock),
    }
}

/// `pc munlock FILE PAGE [N] [--task NAME]`
pub const fn munlock<M: Machine>() -> Command<M> {
    Command {
        name: "pc munlock",
        summary: "undo pc mlock",
        help: "\
The pages go back to a list that reclaim looks at.",
        args: RUN_OF_TASK,
        examples: &["pc map 0 0; pc mlock 0 0; pc munlock 0 0"],
        run: |call| plain(call, "unlocked", mmap::munlock),
    }
}

/// `pc pin FILE PAGE [N]`
pub const fn pin<M: Machine>() -> Command<M> {
    Command {
        name: "pc pin",
        summary: "take a reference of cached pages, as a driver does",
        help: "\
A pinned page can neither be evicted nor moved. Pins count: two need two
unpins.",
        args: RUN,
        examples: &["pc read 0 0; pc pin 0 0; pc drop; pc ls; pc unpin 0 0"],
        run: |call| plain(call, "pinned", |memory, _, users, place| pins::pin(memory, users, place)),
    }
}

/// `pc unpin FILE PAGE [N]`
pub const fn unpin<M: Machine>() -> Command<M> {
    Command {
        name: "pc unpin",
        summary: "drop references that pc pin took",
        help: "\
A page without pins can be evicted and moved again.",
        args: RUN,
        examples: &["pc read 0 0; pc pin 0 0; pc unpin 0 0"],
        run: |call| plain(call, "unpinned", pins::unpin),
    }
}

/// `pc lock FILE PAGE [N]`
pub const fn lock<M: Machine>() -> Command<M> {
    Command {
        name: "pc lock",
        summary: "lock cached pages, as whoever works on their content does",
        help: "\
PG_locked: whoever needs the page waits until pc unlock, or ^C.",
        args: RUN,
        examples: &["pc read 0 0; pc lock 0 0; pc unlock 0 0"],
        run: |call| plain(call, "locked", pins::lock),
    }
}

/// `pc unlock FILE PAGE [N]`
pub const fn unlock<M: Machine>() -> Command<M> {
    Command {
        name: "pc unlock",
        summary: "unlock pages that pc lock locked",
        help: "\
Whoever waits for the page goes on.",
        args: RUN,
        examples: &["pc read 0 0; pc lock 0 0; pc unlock 0 0"],
        run: |call| plain(call, "unlocked", |memory, _, users, place| pins::unlock(memory, users, place)),
    }
}

/// A file's number.
pub fn file(word: &str) -> Result<u32, Trouble<'_>> {
    Ok(value::number_in("the file", word, 0, i64::from(MAX_FILES) - 1)? as u32)
}

/// How many pages a word says; one if it is not there.
pub fn count(word: Option<&str>) -> Result<u32, Trouble<'_>> {
    let most = i64::from(MAX_INDEX);
    Ok(word.map_or(Ok(1), |word| value::number_in("the number of pages", word, 1, most))? as u32)
}

/// The page that FILE and PAGE say.
fn first_place<'a, M: Machine>(call: &Call<'_, 'a, M>) -> Result<Place, Trouble<'a>> {
    Ok(check_place(file(call.args.must(0))?, value::number(call.args.must(1))?)?)
}

/// What a row does to a page.
type Act<M, R> = fn(
    &'static Memory<'static, <M as Machine>::Env>,
    &Current<'_>,
    &'static Users<'static>,
    Place,
) -> Result<R, PcError>;

/// Calls `act` for `count` pages from `first` on and `note` for what came of each; how many were done, and what ended it.
fn for_each<M: Machine, R>(
    call: &mut Call<'_, '_, M>,
    first: Place,
    count: u32,
    mut act: impl FnMut(&mut Call<'_, '_, M>, Place) -> Result<R, Trouble<'static>>,
    mut note: impl FnMut(R),
) -> (u64, Result<(), Trouble<'static>>) {
    for done in 0..count {
        let place = check_place(first.object, u64::from(first.index) + u64::from(done)).map_err(Trouble::from);
        match call.check_interrupt().and(place).and_then(|place| act(call, place)) {
            Ok(result) => note(result),
            Err(trouble) => return (u64::from(done), Err(trouble)),
        }
    }
    (u64::from(count), Ok(()))
}

/// Ends a row that did something to `done` pages: how many they were is said even after ^C.
fn end<'a, M: Machine>(
    call: &mut Call<'_, 'a, M>,
    what: fmt::Arguments<'_>,
    done: u64,
    end: Result<(), Trouble<'static>>,
) -> Outcome<'a> {
    if done > 0 || end.is_ok() {
        call.shell.say(format_args!("{what}\n"));
    }
    end.map(|()| Status::DONE)
}

/// A row of which nothing comes but that it was done.
fn plain<'a, M: Machine>(call: &mut Call<'_, 'a, M>, verb: &str, act: Act<M, ()>) -> Outcome<'a> {
    let (first, wanted) = (first_place(call)?, count(call.args.word(2))?);
    call.as_named_task(|call| {
        let act =
            |call: &mut Call<'_, '_, M>, place| call.pages(|memory, current, users| act(memory, current, users, place));
        let (done, result) = for_each(call, first, wanted, act, |()| ());
        end(call, format_args!("{verb} {}", Count::pages(done)), done, result)
    })
}

/// Pages that were in the cache, and pages that were not.
#[derive(Default)]
struct Lookups {
    cached: u64,
    others: u64,
}

impl Lookups {
    fn note(&mut self, lookup: Lookup) {
        match lookup {
            Lookup::Hit => self.cached += 1,
            Lookup::Miss => self.others += 1,
        }
    }
}

/// A row that finds each page in the cache, or gets it from elsewhere.
fn with_lookups<'a, M: Machine>(
    call: &mut Call<'_, 'a, M>,
    verb: &str,
    elsewhere: &str,
    act: Act<M, Lookup>,
) -> Outcome<'a> {
    let (first, wanted) = (first_place(call)?, count(call.args.word(2))?);
    call.as_named_task(|call| {
        let act =
            |call: &mut Call<'_, '_, M>, place| call.pages(|memory, current, users| act(memory, current, users, place));
        let mut lookups = Lookups::default();
        let (done, result) = for_each(call, first, wanted, act, |lookup| lookups.note(lookup));
        let Lookups { cached, others } = lookups;
        end(call, format_args!("{verb} {}: {cached} cached, {others} {elsewhere}", Count::pages(done)), done, result)
    })
}

fn run_ra<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let (first, wanted) = (first_place(call)?, count(call.args.word(2))?);
    let read = call.pages(|memory, current, users| filemap::readahead(memory, current, users, first, wanted))?;
    writeln!(call, "read ahead {read} of {}", Count::pages(u64::from(wanted)))?;
    call.check_interrupt()?;
    Ok(Status::DONE)
}

fn run_write<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let (first, wanted) = (first_place(call)?, count(call.args.option("-n"))?);
    let version = |word| value::number_in("the version", word, 1, i64::from(u32::MAX));
    let version = call.args.word(2).map(version).transpose()?.map(|version| version as u32);
    let throttled = !call.args.flag("--nowait");
    let mut lookups = Lookups::default();
    let act = |call: &mut Call<'_, '_, M>, place| {
        call.pages(|memory, current, users| {
            let version = version.unwrap_or_else(|| mincore::last_version(memory, users, place).saturating_add(1));
            match throttled {
                true => filemap::write(memory, current, users, place, version),
                false => filemap::write_unthrottled(memory, current, users, place, version),
            }
        })
    };
    let (done, result) = for_each(call, first, wanted, act, |lookup| lookups.note(lookup));
    let Lookups { cached, others } = lookups;
    end(call, format_args!("wrote {}: {cached} cached, {others} new", Count::pages(done)), done, result)
}

fn run_map<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    match call.args.flag("--exec") {
        true => with_lookups(call, "mapped", "from the store", |memory, current, users, place| {
            mmap::map(memory, current, users, place, true)
        }),
        false => with_lookups(call, "mapped", "from the store", |memory, current, users, place| {
            mmap::map(memory, current, users, place, false)
        }),
    }
}

#[cfg(test)]
mod tests;
