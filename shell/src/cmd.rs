//! The commands, one file for each subject, and the table that they make.

use crate::command::Command;
use crate::machine::Machine;

mod alloc;
mod anon;
mod audit;
mod bench;
mod compact;
mod ctx;
mod daemon;
mod dmesg;
mod expect;
mod explain;
pub mod files;
mod free;
mod gfp;
mod handle;
pub mod help;
mod history;
mod jobs;
pub mod lab;
mod levels;
mod limit;
mod lru;
mod map;
mod oom;
mod pc;
mod reclaim;
mod script;
mod stress;
pub mod task;
mod terminal;
mod time;
mod trace;
pub mod vmstat;

/// Defines [`rows`] from the names of the functions that make a row each.
macro_rules! table {
    ($($row:path),* $(,)?) => {
        /// How many there are.
        const ROWS: usize = [$(stringify!($row)),*].len();

        /// Every row, in the order in which `help` lists them.
        pub const fn rows<M: Machine>() -> [Command<M>; ROWS] {
            [$($row()),*]
        }
    };
}

table! {
    alloc::alloc, free::free, gfp::gfp, task::new, task::switch, task::set, task::pf, task::scope,
    task::adj, task::list, task::leak, task::kill, ctx::ctx, jobs::jobs, jobs::kill, jobs::wait,
    limit::rounds, handle::ls, handle::check, handle::pin, handle::unpin, handle::free,
    compact::all, compact::node, compact::attempt, oom::score, oom::disable, oom::enable,
    oom::sysrq, pc::read, pc::ra, pc::write, pc::map, pc::unmap, pc::touch, pc::mlock, pc::munlock,
    pc::pin, pc::unpin, pc::lock, pc::unlock, pc::stream::stream, pc::list::ls, pc::cache::drop,
    pc::cache::truncate, pc::cache::sync, pc::cache::verify, pc::cache::check, pc::cache::gfp,
    pc::disk::disk, anon::anon, anon::touch, anon::write, anon::free, anon::check, anon::ls,
    anon::swapon, lru::lru, reclaim::direct, reclaim::shrinkers, reclaim::pcp, daemon::kswapd,
    daemon::kcompactd, daemon::flusher, daemon::reaper, explain::explain, trace::on, trace::off,
    trace::show, trace::clear, vmstat::vmstat, vmstat::diff, levels::showmem, levels::thresholds,
    levels::fragindex, time::tick, time::sleep, files::cat, files::ls, files::echo, files::sysctl,
    map::map, audit::audit, stress::stress, bench::bench, bench::slow::slow, dmesg::dmesg, dmesg::warn_once_reset,
    lab::labs, lab::lab, expect::expect, script::repeat, script::source, script::poweroff,
    history::history, terminal::color, terminal::stty, help::help,
}
