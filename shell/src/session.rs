//! What the shell remembers from one command to the next.

use alloc::vec::Vec;

use kernel::task::{Context, Scope, Task, TaskFlags};

use crate::cmd::vmstat::Snapshot;
use crate::handles::{Handles, NoRoom};
use crate::status::Status;

/// The state of one session.
#[derive(Default)]
pub struct Session {
    /// The blocks that it holds.
    pub handles: Handles,
    /// `$?`.
    pub status: Status,
    /// Number of the task that commands act as; 0: the first.
    pub pid: u16,
    /// The context that commands act in; `ctx` changes it for one command.
    pub context: Context,
    /// The scopes that tasks are in.
    pub scopes: Scopes,
    /// The counters as `vmstat diff` last saw them.
    pub counters: Snapshot,
    /// Whether output may be coloured.
    pub color: bool,
    /// How many commands run inside each other now.
    pub depth: u8,
    /// Set by `poweroff`: the status to power off with.
    pub off: Option<Status>,
}

/// The scopes that tasks are in, each with the number of its task; of one task the innermost is last.
#[derive(Default)]
pub struct Scopes(Vec<(u16, Scope<'static>)>);

impl Scopes {
    /// Takes `task` into a scope in which it has `flags`.
    pub fn push(&mut self, task: &'static Task, flags: TaskFlags) -> Result<(), NoRoom> {
        self.0.try_reserve(1).map_err(|_| NoRoom)?;
        self.0.push((task.pid(), task.scope(flags)));
        Ok(())
    }

    /// Takes `task` out of its innermost scope: the flags are what they were before; whether it was in one.
    pub fn pop(&mut self, task: &Task) -> bool {
        let last = self.0.iter().rposition(|(pid, _)| *pid == task.pid());
        last.map(|place| self.0.remove(place)).is_some()
    }

    /// Forgets the scopes of the task that once had this number, and leaves the flags of the one that has it now.
    pub fn forget(&mut self, task: &Task) {
        while let Some(place) = self.0.iter().position(|(pid, _)| *pid == task.pid()) {
            core::mem::forget(self.0.remove(place));
        }
    }
}
