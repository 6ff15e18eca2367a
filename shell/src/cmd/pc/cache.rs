//! `pc drop`, `truncate`, `sync`, `verify`, `check`, `gfp`: the cache as a whole, and files as a whole.

use core::fmt::Write as _;
use core::sync::atomic::Ordering::Relaxed;

use kernel::mm::pagecache::{file_gfp, set_file_gfp};
use kernel::mm::{truncate, verify, writeback};

use super::{FILE, file};
use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::count::Count;
use crate::machine::Machine;
use crate::status::{Outcome, Status};
use crate::value;

/// `pc drop`
pub const fn drop<M: Machine>() -> Command<M> {
    Command {
        name: "pc drop",
        summary: "drop clean pages that nobody uses, as drop_caches does",
        help: "\
What is dirty, under writeback, mapped, locked or pinned stays. As
echo 1 > /proc/sys/vm/drop_caches, but says how many pages went.",
        args: &[],
        examples: &["pc ra 0 0 100; pc drop"],
        run: run_drop,
    }
}

/// `pc truncate FILE`
pub const fn truncate<M: Machine>() -> Command<M> {
    Command {
        name: "pc truncate",
        summary: "make a file as it was in the beginning",
        help: "\
Nothing of it is left in the cache, in the store and in the ledger. Refused
when a page is pinned or locked by hand; the pages before it are gone then.",
        args: &[FILE],
        examples: &["pc write 3 0; pc truncate 3; pc verify"],
        run: run_truncate,
    }
}

/// `pc sync`
pub const fn sync<M: Machine>() -> Command<M> {
    Command {
        name: "pc sync",
        summary: "write all dirty pages, and wait until they are written",
        help: "\
With pc disk freeze it waits for good; ^C ends that.",
        args: &[],
        examples: &["pc write 0 0 -n 10; pc sync"],
        run: run_sync,
    }
}

/// `pc verify`
pub const fn verify<M: Machine>() -> Command<M> {
    Command {
        name: "pc verify",
        summary: "compare every page of every file with what was written",
        help: "\
A cached page must hold the last version byte for byte; of one that is not
cached the store must have it. Status 3 if anything was lost: then reclaim,
writeback or migration has a bug, or pc disk fail was used.",
        args: &[Arg::Flag("--json")],
        examples: &["pc write 0 0 -n 10; pc sync; pc drop; pc verify"],
        run: run_verify,
    }
}

/// `pc check on|off`
pub const fn check<M: Machine>() -> Command<M> {
    Command {
        name: "pc check",
        summary: "check the content of pages before they are evicted, or not",
        help: "\
On from the start. It costs some thousand instructions a page.",
        args: &[Arg::One("SWITCH", Kind::Choice(&["on", "off"]))],
        examples: &["pc check off; pc check on"],
        run: run_check,
    }
}

/// `pc gfp FILE [GFP]`
pub const fn gfp<M: Machine>() -> Command<M> {
    Command {
        name: "pc gfp",
        summary: "show or set the mask with which a file's pages are allocated",
        help: "\
GFP_HIGHUSER_MOVABLE from the start; a file system that must not call itself
clears __GFP_FS.",
        args: &[FILE, Arg::Maybe("GFP", Kind::Gfp)],
        examples: &["pc gfp 0", "pc gfp 0 GFP_HIGHUSER_MOVABLE-__GFP_FS; pc gfp 0 GFP_HIGHUSER_MOVABLE"],
        run: run_gfp,
    }
}

fn run_drop<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let dropped = call.pages(truncate::drop_pagecache)?;
    writeln!(call, "dropped {}", Count::pages(dropped))?;
    Ok(Status::DONE)
}

fn run_truncate<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let file = file(call.args.must(0))?;
    call.pages(|memory, current, users| truncate::truncate(memory, current, users, file))?;
    Ok(Status::DONE)
}

fn run_sync<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let written = call.pages(writeback::sync)?;
    writeln!(call, "wrote {}", Count::pages(written))?;
    Ok(Status::DONE)
}

fn run_verify<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let verify::Verified { pages, lost } = call.pages(verify::verify)?;
    if call.json() {
        writeln!(call, r#"{{"pages":{pages},"lost":{lost}}}"#)?;
    } else {
        writeln!(call, "verified {}: {lost} lost", Count::pages(pages))?;
    }
    Ok(if lost == 0 { Status::DONE } else { Status::AUDIT })
}

fn run_check<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let on = value::one_of("switch", call.args.must(0), [("on", true), ("off", false)].into_iter())?;
    call.users().check_evicted.store(on, Relaxed);
    Ok(Status::DONE)
}

fn run_gfp<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let file = file(call.args.must(0))?;
    if let Some(word) = call.args.word(1) {
        let gfp = value::gfp(word)?.mask;
        call.pages(|memory, _, users| set_file_gfp(memory, users, file, gfp))?;
    }
    let gfp = file_gfp(call.shell.machine.memory(), call.users(), file);
    writeln!(call, "file {file}: {:#x}({gfp})", gfp.bits())?;
    Ok(Status::DONE)
}
