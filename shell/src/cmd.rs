//! The commands, one file for each subject, and the table that they make.

use crate::command::Command;
use crate::machine::Machine;

mod alloc;
mod audit;
mod bench;
mod ctx;
mod dmesg;
pub mod files;
mod free;
mod gfp;
pub mod help;
mod history;
mod map;
mod script;
mod task;
mod terminal;

/// Every row, in the order in which `help` lists them.
pub const fn rows<M: Machine>() -> [Command<M>; 24] {
    [
        alloc::alloc(),
        free::free(),
        gfp::gfp(),
        task::new(),
        task::switch(),
        task::set(),
        task::list(),
        task::kill(),
        ctx::ctx(),
        files::cat(),
        files::ls(),
        files::echo(),
        files::sysctl(),
        map::map(),
        audit::audit(),
        bench::bench(),
        dmesg::dmesg(),
        script::repeat(),
        script::source(),
        script::poweroff(),
        history::history(),
        terminal::color(),
        terminal::stty(),
        help::help(),
    ]
}
