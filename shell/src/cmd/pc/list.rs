//! `pc ls`: what is in the cache.
//!
//! Pages that stand in a row and are in the same state make one line.

use core::fmt::{self, Write as _};

use kernel::mm::mincore::{CachedPage, for_each_cached};
use kernel::mm::page::PageFlags;

use super::file;
use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};

/// `pc ls [FILE]`
pub const fn ls<M: Machine>() -> Command<M> {
    Command {
        name: "pc ls",
        summary: "list cached pages by file, or those of one file by state",
        help: "\
Without FILE a line for each file that has pages in the cache. With FILE a
line for each run of pages in the same state: how many tasks map each, how
many pins it has, the version written last, and its marks.",
        args: &[Arg::Maybe("FILE", Kind::Number), Arg::Flag("--json")],
        examples: &["pc ra 0 0 100; pc read 0 50; pc ls; pc ls 0", "pc write 1 0; pc ls --json"],
        run,
    }
}

/// The marks of a page, as Linux's page-types spells them.
pub struct Marks(pub PageFlags);

impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (name, _)) in self.0.iter_names().enumerate() {
            f.write_str(if nth == 0 { "" } else { "," })?;
            name.chars().try_for_each(|c| f.write_char(c.to_ascii_lowercase()))?;
        }
        Ok(())
    }
}

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    match call.args.word(0).map(file).transpose()? {
        Some(file) => list_file(call, file)?,
        None => list_files(call)?,
    }
    Ok(Status::DONE)
}

/// Walks the cache; `each` may write.
fn walk<M: Machine>(
    call: &mut Call<'_, '_, M>,
    file: Option<u32>,
    mut each: impl FnMut(&mut Call<'_, '_, M>, CachedPage) -> fmt::Result,
) -> Result<(), Trouble<'static>> {
    let (memory, current, users) = (call.shell.machine.memory(), call.current(), call.users());
    let walked = for_each_cached(memory, &current, users, file, |page| each(call, page).is_ok());
    if walked.is_err() {
        call.shell.machine.interrupted();
    }
    Ok(walked?)
}

/// Pages of a file, by state.
#[derive(Default)]
struct Totals {
    file: u32,
    pages: u64,
    active: u64,
    dirty: u64,
    writeback: u64,
    mapped: u64,
    pinned: u64,
    unevictable: u64,
}

impl Totals {
    fn add(&mut self, page: &CachedPage) {
        let has = |flag| u64::from(page.flags.contains(flag));
        self.pages += 1;
        self.active += has(PageFlags::ACTIVE);
        self.dirty += has(PageFlags::DIRTY);
        self.writeback += has(PageFlags::WRITEBACK);
        self.unevictable += has(PageFlags::UNEVICTABLE);
        self.mapped += u64::from(page.mapcount > 0);
        self.pinned += u64::from(page.pins > 0);
    }

    fn show<M: Machine>(&self, call: &mut Call<'_, '_, M>) -> fmt::Result {
        let Totals { file, pages, active, dirty, writeback, mapped, pinned, unevictable } = self;
        if *pages == 0 {
            return Ok(());
        }
        if call.json() {
            write!(call, r#"{{"file":{file},"pages":{pages},"active":{active},"dirty":{dirty},"#)?;
            write!(call, r#""writeback":{writeback},"mapped":{mapped},"pinned":{pinned},"#)?;
            return writeln!(call, r#""unevictable":{unevictable}}}"#);
        }
        write!(call, "{file:>4} {pages:>8} {active:>8} {dirty:>8} {writeback:>9} {mapped:>8} {pinned:>8} ")?;
        writeln!(call, "{unevictable:>11}")
    }
}

fn list_files<M: Machine>(call: &mut Call<'_, '_, M>) -> Result<(), Trouble<'static>> {
    if !call.json() {
        writeln!(call, "FILE    PAGES   ACTIVE    DIRTY WRITEBACK   MAPPED   PINNED UNEVICTABLE")?;
    }
    let mut totals = Totals::default();
    walk(call, None, |call, page| {
        if totals.file != page.place.object {
            totals.show(call)?;
            totals = Totals { file: page.place.object, ..Totals::default() };
        }
        totals.add(&page);
        Ok(())
    })?;
    Ok(totals.show(call)?)
}

/// Pages in a row, in the state of the first one.
struct Run {
    first: CachedPage,
    pages: u32,
}

impl Run {
    /// Takes the page in if it continues the run.
    fn takes(&mut self, page: &CachedPage) -> bool {
        let CachedPage { place, flags, mapcount, pins, version, .. } = self.first;
        let continues = page.place.index == place.index + self.pages
            && (page.flags, page.mapcount, page.pins, page.version) == (flags, mapcount, pins, version);
        self.pages += u32::from(continues);
        continues
    }

    fn show<M: Machine>(&self, call: &mut Call<'_, '_, M>) -> fmt::Result {
        let Run { first: CachedPage { place, flags, mapcount, pins, version, .. }, pages } = self;
        let (first, last) = (place.index, place.index + pages - 1);
        if call.json() {
            write!(call, r#"{{"file":{},"first":{first},"last":{last},"mapped":{mapcount},"#, place.object)?;
            return writeln!(call, r#""pins":{pins},"version":{version},"flags":"{}"}}"#, Marks(*flags));
        }
        writeln!(call, "{first:>6}..{last:<6} {mapcount:>6} {pins:>4} {version:>7} {}", Marks(*flags))
    }
}

fn list_file<M: Machine>(call: &mut Call<'_, '_, M>, file: u32) -> Result<(), Trouble<'static>> {
    if !call.json() {
        writeln!(call, " FIRST..LAST   MAPPED PINS VERSION MARKS")?;
    }
    let mut run: Option<Run> = None;
    walk(call, Some(file), |call, page| {
        if run.as_mut().is_some_and(|run| run.takes(&page)) {
            return Ok(());
        }
        run.replace(Run { first: page, pages: 1 }).map_or(Ok(()), |ended| ended.show(call))
    })?;
    Ok(run.map_or(Ok(()), |last| last.show(call))?)
}
