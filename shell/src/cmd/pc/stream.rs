//! `pc stream`: a reader that goes through a file once, the load that a page cache is worst at.

use kernel::mm::filemap::{self, Lookup};
use kernel::mm::pagecache::check_place;

use super::{FILE, count, file};
use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::count::Count;
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};

/// Pages read ahead at a time. Linux: 128 KiB, the default of `read_ahead_kb`.
const WINDOW: u32 = 32;

/// `pc stream FILE N [--over PAGES]`
pub const fn stream<M: Machine>() -> Command<M> {
    Command {
        name: "pc stream",
        summary: "read a file from its start through the cache, each page once",
        help: "\
Reads N pages in order, 32 at a time ahead, as the current task. With --over
it starts again from page 0 after so many, so that N may be more than the
tables have room for. When memory is short kswapd reclaims behind the reader.
^C ends it.",
        args: &[FILE, Arg::One("N", Kind::Number), Arg::Opt("--over", "PAGES", Kind::Number)],
        examples: &[
            "vmstat diff; pc stream 0 2000; vmstat diff",
            "free to 1000; pc stream 0 6000 --over 3000; free all",
        ],
        run,
    }
}

/// What came of it.
#[derive(Default)]
struct Streamed {
    pages: u32,
    /// Pages that were read ahead.
    ahead: u64,
    /// Pages that were not there when they were needed.
    alone: u64,
}

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let (file, wanted) = (file(call.args.must(0))?, count(call.args.word(1))?);
    let over = call.args.option("--over").map_or(Ok(wanted), |word| count(Some(word)))?;
    let mut streamed = Streamed::default();
    let end = read(call, file, wanted, over, &mut streamed);
    let Streamed { pages, ahead, alone } = streamed;
    let pages = Count::pages(pages.into());
    call.shell.say(format_args!("streamed {pages}: {ahead} read ahead, {alone} read alone\n"));
    end.map(|()| Status::DONE)
}

/// Reads until there is enough, or it ends early.
fn read<M: Machine>(
    call: &mut Call<'_, '_, M>,
    file: u32,
    wanted: u32,
    over: u32,
    streamed: &mut Streamed,
) -> Result<(), Trouble<'static>> {
    while streamed.pages < wanted {
        call.check_interrupt()?;
        let index = streamed.pages % over;
        let place = check_place(file, index.into())?;
        if index.is_multiple_of(WINDOW) {
            let window = WINDOW.min(wanted - streamed.pages).min(over - index);
            streamed.ahead +=
                call.pages(|memory, current, users| filemap::readahead(memory, current, users, place, window))?;
        }
        let lookup = call.pages(|memory, current, users| filemap::read(memory, current, users, place))?;
        streamed.alone += u64::from(lookup == Lookup::Miss);
        streamed.pages += 1;
    }
    Ok(())
}
