//! `pc disk`: the modelled device behind files and swap space.

use core::fmt::Write as _;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use kernel::mm::memory::Env;
use kernel::mm::pagecache::check_place;
use kernel::mm::pins;
use kernel::sched::HZ;

use super::file;
use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value;

/// The longest latency, in ticks: a minute.
const TICKS_MAX: i64 = 60 * HZ as i64;
/// The deepest queue.
const DEPTH_MAX: i64 = 8192;

/// `pc disk [WHAT [VALUE...]]`
pub const fn disk<M: Machine>() -> Command<M> {
    Command {
        name: "pc disk",
        summary: "show or set how the device behind files and swap behaves",
        help: "\
wlat N, rlat N: ticks of 4 ms that a write or a read takes; 0: none.
depth N: writes that the flusher keeps under way.
freeze: no write ends any more; thaw: they go on.
fail FILE PAGE: writes of that page fail; mend FILE PAGE: not any more.
congest on: many writes make it congested; off, as drivers of v5.0 are.",
        args: &[
            Arg::Maybe("WHAT", Kind::Choice(&["wlat", "rlat", "depth", "freeze", "thaw", "fail", "mend", "congest"])),
            Arg::Maybe("VALUE", Kind::Choice(&["on", "off"])),
            Arg::Maybe("PAGE", Kind::Number),
            Arg::Flag("--json"),
        ],
        examples: &["pc disk", "pc disk wlat 50; pc disk freeze; pc disk thaw", "pc disk fail 0 7; pc disk mend 0 7"],
        run,
    }
}

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let disk = &call.users().disk;
    match (call.args.word(0), call.args.word(1), call.args.word(2)) {
        (None, ..) => {}
        (Some("wlat"), Some(word), None) => set_ticks(&disk.write_latency, word)?,
        (Some("rlat"), Some(word), None) => set_ticks(&disk.read_latency, word)?,
        (Some("depth"), Some(word), None) => {
            disk.depth.store(value::number_in("the depth", word, 1, DEPTH_MAX)? as u32, Relaxed);
        }
        (Some("freeze"), None, _) => disk.frozen.store(true, Relaxed),
        (Some("thaw"), None, _) => thaw(call),
        (Some("fail"), Some(file), Some(page)) => return set_failing(call, file, page, true),
        (Some("mend"), Some(file), Some(page)) => return set_failing(call, file, page, false),
        (Some("congest"), Some(word), None) => {
            let on = value::one_of("switch", word, [("on", true), ("off", false)].into_iter())?;
            disk.may_congest.store(on, Relaxed);
        }
        _ => return Err(Trouble::Usage("what about it? `help pc disk` tells")),
    }
    show(call)
}

fn set_ticks<'a>(latency: &AtomicU64, word: &'a str) -> Result<(), Trouble<'a>> {
    latency.store(value::number_in("the latency", word, 0, TICKS_MAX)? as u64, Relaxed);
    Ok(())
}

/// Lets writes end again; the flusher looks which.
fn thaw<M: Machine>(call: &Call<'_, '_, M>) {
    let users = call.users();
    users.disk.frozen.store(false, Relaxed);
    users.flusher.wake(call.shell.machine.memory().env.sched());
}

fn set_failing<'a, M: Machine>(
    call: &mut Call<'_, 'a, M>,
    number: &'a str,
    page: &'a str,
    failing: bool,
) -> Outcome<'a> {
    let place = check_place(file(number)?, value::number(page)?)?;
    call.pages(|memory, _, users| pins::set_failing(memory, users, place, failing))?;
    Ok(Status::DONE)
}

fn show<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let disk = &call.users().disk;
    let [wlat, rlat] = [&disk.write_latency, &disk.read_latency].map(|latency| latency.load(Relaxed));
    let (depth, writes) = (disk.depth.load(Relaxed), disk.in_flight());
    let [frozen, congest] = [&disk.frozen, &disk.may_congest].map(|switch| switch.load(Relaxed));
    let congested = disk.is_congested();
    if call.json() {
        write!(call, r#"{{"wlat":{wlat},"rlat":{rlat},"depth":{depth},"frozen":{frozen},"congest":{congest},"#)?;
        writeln!(call, r#""writes":{writes},"congested":{congested}}}"#)?;
        return Ok(Status::DONE);
    }
    let state = match (frozen, congested) {
        (true, _) => ", frozen",
        (false, true) => ", congested",
        (false, false) => "",
    };
    let congest = if congest { "on" } else { "off" };
    writeln!(call, "wlat {wlat} rlat {rlat} depth {depth} congest {congest}: {writes} writes under way{state}")?;
    Ok(Status::DONE)
}
