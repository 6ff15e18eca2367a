//! The commands, one file for each subject, and the table that they make.

use crate::command::Command;
use crate::machine::Machine;

mod alloc;
mod audit;
mod bench;
mod ctx;
mod dmesg;
mod explain;
pub mod files;
mod free;
mod gfp;
pub mod help;
mod history;
mod levels;
mod map;
mod script;
mod task;
mod terminal;
mod time;
mod trace;
pub mod vmstat;

/// Every row, in the order in which `help` lists them.
pub const fn rows<M: Machine>() -> [Command<M>; 40] {
    [
        alloc::alloc(),
        free::free(),
        gfp::gfp(),
        task::new(),
        task::switch(),
        task::set(),
        task::pf(),
        task::scope(),
        task::adj(),
        task::list(),
        task::kill(),
        ctx::ctx(),
        explain::explain(),
        trace::on(),
        trace::off(),
        trace::show(),
        trace::clear(),
        vmstat::vmstat(),
        vmstat::diff(),
        levels::showmem(),
        levels::thresholds(),
        levels::fragindex(),
        time::tick(),
        time::sleep(),
        files::cat(),
        files::ls(),
        files::echo(),
        files::sysctl(),
        map::map(),
        audit::audit(),
        bench::bench(),
        dmesg::dmesg(),
        dmesg::warn_once_reset(),
        script::repeat(),
        script::source(),
        script::poweroff(),
        history::history(),
        terminal::color(),
        terminal::stty(),
        help::help(),
    ]
}
