//! What the shell remembers from one command to the next.

use kernel::task::Context;

use crate::handles::Handles;
use crate::status::Status;

/// The state of one session.
#[derive(Debug, Default)]
pub struct Session {
    /// The blocks that it holds.
    pub handles: Handles,
    /// `$?`.
    pub status: Status,
    /// Number of the task that commands act as; 0: the first.
    pub pid: u16,
    /// The context that commands act in; `ctx` changes it for one command.
    pub context: Context,
    /// Whether output may be coloured.
    pub color: bool,
    /// How many commands run inside each other now.
    pub depth: u8,
    /// Set by `poweroff`: the status to power off with.
    pub off: Option<Status>,
}
