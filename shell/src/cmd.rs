//! The commands, one file for each subject, and the table that they make.

use crate::command::Command;
use crate::machine::Machine;

mod abuse;
mod alloc;
mod anon;
mod audit;
mod bench;
mod cache;
mod compact;
mod content;
mod cpuset;
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
mod kmalloc;
mod kmap;
pub mod lab;
mod levels;
mod limit;
mod lru;
mod map;
pub mod mempool;
mod net;
mod oom;
mod pc;
mod policy;
mod ps;
mod reclaim;
mod resched;
mod script;
mod stress;
pub mod task;
mod terminal;
mod time;
mod trace;
mod vmalloc;
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
    task::adj,
    policy::policy,
    task::run, task::list, task::leak, task::kill,
    ctx::ctx,
    ps::ps, ps::top,
    jobs::jobs, jobs::kill, jobs::wait,
    limit::rounds,
    handle::ls, handle::check, handle::pin, handle::unpin, handle::free,
    cpuset::new, cpuset::mems, cpuset::hardwall, cpuset::exclusive, cpuset::attach, cpuset::list,
    cpuset::destroy,
    abuse::abuse,
    compact::all, compact::node, compact::attempt,
    oom::score, oom::disable, oom::enable, oom::victim, oom::sysrq,
    pc::read, pc::ra, pc::write, pc::map, pc::unmap, pc::touch, pc::mlock, pc::munlock, pc::pin,
    pc::unpin, pc::lock, pc::unlock, pc::stream::stream, pc::list::ls, pc::cache::drop,
    pc::cache::truncate, pc::cache::sync, pc::cache::verify, pc::cache::check, pc::cache::gfp,
    pc::disk::disk,
    anon::anon, anon::touch, anon::write, anon::free, anon::check, anon::ls, anon::swapon,
    lru::lru,
    reclaim::direct, reclaim::shrinkers, reclaim::pcp,
    daemon::kswapd, daemon::kcompactd, daemon::flusher, daemon::reaper,
    explain::explain,
    trace::on, trace::off, trace::show, trace::clear,
    vmstat::vmstat, vmstat::diff,
    levels::showmem, levels::thresholds, levels::fragindex,
    time::tick, time::sleep, resched::resched,
    files::cat, files::ls, files::echo, files::sysctl,
    kmalloc::kmalloc, kmalloc::kzalloc, kmalloc::krealloc, kmalloc::kfree,
    cache::new, cache::list, cache::alloc, cache::free, cache::shrink, cache::check,
    cache::destroy,
    mempool::new, mempool::list, mempool::alloc, mempool::free, mempool::resize, mempool::destroy,
    vmalloc::vmalloc, vmalloc::vzalloc, vmalloc::vfree,
    kmap::kmap, kmap::atomic, kmap::list, kmap::kunmap, kmap::unmap_atomic,
    content::peek, content::poke, content::fill, content::verify,
    net::sock, net::rx, net::consume, net::stat, net::model, net::lock, net::drain,
    map::map,
    audit::audit,
    stress::stress,
    bench::bench, bench::slow::slow,
    dmesg::dmesg, dmesg::warn_once_reset,
    lab::labs, lab::lab,
    expect::expect,
    script::repeat, script::source, script::poweroff,
    history::history,
    terminal::color, terminal::stty,
    help::help,
}
