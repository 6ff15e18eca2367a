//! How a command ends: a [`Status`] for `$?`, or a [`Trouble`] that says in one line why it did not run.

use core::fmt;

use kernel::mm::page_alloc::AllocError;
use kernel::mm::pc_error::PcError;

use crate::arg::ArgError;
use crate::command::NameError;
use crate::lex::LexError;
use crate::paths::PathError;
use crate::value::ValueError;

/// The value of `$?`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Status(pub u8);

impl Status {
    /// Done.
    pub const DONE: Status = Status(0);
    /// The allocator refused as Linux would, or there was nothing to do it to.
    pub const REFUSED: Status = Status(1);
    /// Not understood; nothing was changed.
    pub const USAGE: Status = Status(2);
    /// The audit, or an expectation, failed.
    pub const AUDIT: Status = Status(3);
    /// A job that was called off.
    pub const KILLED: Status = Status(143);
    /// Stopped by ^C.
    pub const INTERRUPTED: Status = Status(130);

    /// [`Status::DONE`], or [`Status::REFUSED`].
    pub const fn done_if(done: bool) -> Status {
        if done { Status::DONE } else { Status::REFUSED }
    }
}

/// Why a command ended before its end. Its text is printed behind the command's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble<'a> {
    /// There is no such command.
    Name(NameError<'a>),
    /// The words do not fit the command's description.
    Arg(ArgError<'a>),
    /// A word is not the value that stands in its place.
    Value(ValueError<'a>),
    /// A path leads nowhere, or not to what is wanted.
    Path(PathError<'a>),
    /// The line is no sequence of commands.
    Lex(LexError),
    /// What the page cache, or a task's memory, says.
    Pages(PcError),
    /// Something else about the words is wrong.
    Usage(&'static str),
    /// Cannot be done as things are.
    Refused(&'static str),
    /// Commands that run commands are nested too deeply.
    Nesting,
    /// The shell's own heap is empty.
    OutOfHeap,
    /// ^C.
    Interrupted,
}

/// What a command's `run` comes back with.
pub type Outcome<'a> = Result<Status, Trouble<'a>>;

impl Trouble<'_> {
    /// What `$?` becomes.
    pub const fn status(&self) -> Status {
        match self {
            Trouble::Interrupted => Status::INTERRUPTED,
            Trouble::Pages(PcError::FileNumber(_) | PcError::Index(_)) => Status::USAGE,
            Trouble::Refused(_) | Trouble::Pages(_) | Trouble::OutOfHeap => Status::REFUSED,
            _ => Status::USAGE,
        }
    }
}

impl fmt::Display for Trouble<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Name(error) => error.fmt(f),
            Trouble::Arg(error) => error.fmt(f),
            Trouble::Value(error) => error.fmt(f),
            Trouble::Path(error) => error.fmt(f),
            Trouble::Lex(error) => error.fmt(f),
            Trouble::Pages(error) => error.fmt(f),
            Trouble::Usage(text) | Trouble::Refused(text) => f.write_str(text),
            Trouble::Nesting => write!(f, "commands are nested deeper than {}", crate::exec::DEPTH_MAX),
            Trouble::OutOfHeap => f.write_str("the shell's heap is empty; nothing was lost"),
            Trouble::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl From<fmt::Error> for Trouble<'_> {
    /// The console never fails; writing fails when ^C was pressed.
    fn from(_: fmt::Error) -> Self {
        Trouble::Interrupted
    }
}

impl<'a> From<ValueError<'a>> for Trouble<'a> {
    fn from(error: ValueError<'a>) -> Self {
        Trouble::Value(error)
    }
}

impl<'a> From<ArgError<'a>> for Trouble<'a> {
    fn from(error: ArgError<'a>) -> Self {
        Trouble::Arg(error)
    }
}

impl<'a> From<PathError<'a>> for Trouble<'a> {
    fn from(error: PathError<'a>) -> Self {
        Trouble::Path(error)
    }
}

impl From<PcError> for Trouble<'_> {
    fn from(error: PcError) -> Self {
        match error {
            PcError::Interrupted | PcError::NoMemory(AllocError::Interrupted { .. }) => Trouble::Interrupted,
            error => Trouble::Pages(error),
        }
    }
}

impl From<LexError> for Trouble<'_> {
    fn from(error: LexError) -> Self {
        Trouble::Lex(error)
    }
}
