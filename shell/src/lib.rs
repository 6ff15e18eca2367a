#![cfg_attr(not(any(test, feature = "host")), no_std)]
//! The allocation shell: bytes in, text out.
//!
//! A person, or a script, allocates and frees pages as any task and in any context, and reads the tables that Linux has
//! for them. This crate knows no hardware: its world is a [`machine::Machine`], of which the image has one and the host
//! (`host`) another; the same session prints the same text on both.
//!
//! ```text
//!   byte   line      editor, with keys (terminal codes), history, complete (TAB)
//!   line   lex       commands and words; exec runs them one after the other
//!   words  command   the one table of commands: arg says what each takes, value reads it
//!   call   cmd/      what each command does, over kernel; paths finds the files, status says how it ended
//!   #7     session   what lasts from command to command: handles are blocks, areas vmalloc's, objects those of slabs;
//!                      commons: pools and network, which jobs use too
//!   text   machine   the console, and ^C, which ends whatever writes to it; capture keeps text, expect compares it
//!   &      jobs      lists that run in the background, and leave their belongings; exit and estates end tasks
//!                      that were killed
//! ```
//!
//! The heap is the image's own and may be empty: room is asked for before it is needed (`try_reserve`), and a command
//! that finds none fails with a line that says so. Nothing that was allocated for the user is ever lost by that.
//!
//! A POSIX shell does more: variables, loops, pipes, files.
#![forbid(unsafe_code)]

extern crate alloc;

pub mod areas;
pub mod arg;
pub mod belongings;
pub mod capture;
pub mod cmd;
pub mod command;
pub mod commons;
pub mod complete;
mod count;
pub mod estates;
pub mod exec;
mod exit;
pub mod expect;
pub mod handles;
pub mod history;
pub mod jobs;
pub mod keys;
pub mod lex;
pub mod line;
pub mod machine;
pub mod objects;
pub mod paths;
pub mod session;
pub mod status;
pub mod value;

#[cfg(any(test, feature = "host"))]
pub mod host;

#[cfg(test)]
mod testing;
