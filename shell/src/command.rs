//! The table of commands.
//!
//! A [`Command`] is a row: what it is called, what it takes, what it does, and text to read. Running, help, arity and
//! completion walk the same rows ([`commands`]). A name has one or two words: `task new` and `task kill` are two rows of
//! one family. A command's `run` gets a [`Call`]: its arguments, and the shell to act on. The rows stand in `cmd/`.

use core::fmt;
use core::marker::PhantomData;

use kernel::mm::memory::{Env, Memory};
use kernel::mm::pc_error::PcError;
use kernel::mm::users::Users;
use kernel::task::{Context, Current, TaskFlags, TaskTable};

use crate::arg::{Arg, Arguments};
use crate::cmd;
use crate::estates::Beside;
use crate::exec::Shell;
use crate::lex::Args;
use crate::machine::Machine;
use crate::status::{Outcome, Trouble};
use crate::value::{Nearest, nearest};

/// A row of the table.
pub struct Command<M: Machine> {
    /// One word, or two: a family and a member.
    pub name: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// What else there is to say, in lines of at most 76 characters.
    pub help: &'static str,
    /// What it takes.
    pub args: &'static [Arg],
    /// Lines that can be pasted at a fresh prompt.
    pub examples: &'static [&'static str],
    /// Does it.
    pub run: for<'a> fn(&mut Call<'_, 'a, M>) -> Outcome<'a>,
}

/// One run of a command.
pub struct Call<'s, 'a, M: Machine> {
    /// What to act on.
    pub shell: &'s mut Shell<M>,
    /// The command's arguments.
    pub args: Arguments<'a>,
    /// The file after `>`.
    pub redirection: Option<&'a str>,
}

/// Carries the rows for one kind of machine.
struct Table<M>(PhantomData<M>);

impl<M: Machine> Table<M> {
    const ROWS: &'static [Command<M>] = &cmd::rows();
}

/// Every command, in the order in which `help` lists them.
pub const fn commands<M: Machine>() -> &'static [Command<M>] {
    Table::<M>::ROWS
}

/// The command that `words` begin with, and how many of them are its name.
pub fn find<'a, M: Machine>(words: Args<'a>) -> Result<(&'static Command<M>, usize), NameError<'a>> {
    let first = words.get(0).unwrap_or_default();
    let second = words.get(1).unwrap_or_default();
    let family = |command: &&Command<M>| command.name.split_once(' ').is_some_and(|(family, _)| family == first);
    let member = |command: &Command<M>| command.name.split_once(' ').is_some_and(|(_, member)| member == second);
    let rows = commands::<M>();
    if let Some(command) = rows.iter().filter(family).find(|command| member(command)) {
        return Ok((command, 2));
    }
    if let Some(command) = rows.iter().find(|command| command.name == first) {
        return Ok((command, 1));
    }
    Err(no_such::<M>(first, second))
}

/// What is wrong with `first` and `second` as the name of a command.
pub fn no_such<'a, M: Machine>(first: &'a str, second: &'a str) -> NameError<'a> {
    let names = || commands::<M>().iter().map(|command| command.name);
    let mut members = names().filter_map(|name| name.split_once(' ')).filter(|(family, _)| *family == first).peekable();
    if members.peek().is_none() {
        return NameError::Command(first, nearest(first, names().map(first_word)));
    }
    match second {
        "" => NameError::Family(first),
        _ => NameError::Member(first, second, nearest(second, members.map(|(_, member)| member))),
    }
}

/// The family of a name, or the name.
pub fn first_word(name: &str) -> &str {
    name.split_once(' ').map_or(name, |(family, _)| family)
}

/// Why words name no command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameError<'a> {
    /// No such command.
    Command(&'a str, Option<Nearest>),
    /// The family's name alone.
    Family(&'a str),
    /// No such member of the family.
    Member(&'a str, &'a str, Option<Nearest>),
}

impl fmt::Display for NameError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let near = match self {
            NameError::Command(word, near) => {
                write!(f, "no command `{word}`")?;
                near
            }
            NameError::Member(family, word, near) => {
                write!(f, "`{family}` has no `{word}`")?;
                near
            }
            NameError::Family(family) => return write!(f, "`{family}` what? `help {family}` tells"),
        };
        near.map_or(Ok(()), |near| write!(f, "; did you mean `{}`?", near.as_str()))
    }
}

impl<'a, M: Machine> Call<'_, 'a, M> {
    /// Ends the command if ^C was pressed. To be asked in every loop that may run for long without output.
    pub fn check_interrupt(&mut self) -> Result<(), Trouble<'static>> {
        if self.shell.machine.interrupted() { Err(Trouble::Interrupted) } else { Ok(()) }
    }

    /// Every task.
    pub fn tasks(&self) -> &'static TaskTable {
        self.shell.machine.memory().env.tasks()
    }

    /// Who acts: the session's task, on the shell's CPU, in the session's context.
    pub fn current(&self) -> Current<'static> {
        self.shell.current()
    }

    /// Calls into the kernel, in the session's context. A softirq has no `PF_MEMALLOC` but what it sets itself.
    pub fn kernel<R>(&mut self, f: impl FnOnce(&'static Memory<'static, M::Env>, &Current<'_>) -> R) -> R {
        let current = self.current();
        let Shell { machine, session, .. } = &mut *self.shell;
        let (memory, estates) = (machine.memory(), &session.estates);
        let beside = Beside { memory, estates };
        let current = current.beside(&beside);
        let own = if session.memalloc { TaskFlags::PF_MEMALLOC } else { TaskFlags::empty() };
        let handler = |current: Current<'_>| f(memory, &current.with(own));
        let (mut handler, mut result) = (Some(handler), None);
        machine.in_context(current.context(), &mut || {
            let Some(handler) = handler.take() else { return };
            result = Some(match current.context() {
                Context::SoftIrq => current.serve_softirq(handler),
                _ => handler(current),
            });
        });
        result.expect("Machine::in_context runs what it is given")
    }

    /// Those who use reclaimable memory.
    pub fn users(&self) -> &'static Users<'static> {
        self.shell.machine.memory().env.owner()
    }

    /// [`Call::kernel`] for work on pages of files and tasks. If ^C ended it, ^C is spent.
    pub fn pages<R>(
        &mut self,
        f: impl FnOnce(&'static Memory<'static, M::Env>, &Current<'_>, &'static Users<'static>) -> Result<R, PcError>,
    ) -> Result<R, Trouble<'static>> {
        let users = self.users();
        let result = self.kernel(|memory, current| f(memory, current, users)).map_err(Trouble::from);
        if let Err(Trouble::Interrupted) = result {
            self.shell.machine.interrupted();
        }
        result
    }

    /// Runs `f` as the task that `--task` names, if it is there.
    pub fn as_named_task<R>(&mut self, f: impl FnOnce(&mut Self) -> Result<R, Trouble<'a>>) -> Result<R, Trouble<'a>> {
        let Some(name) = self.args.option("--task") else { return f(self) };
        let task = cmd::task::find(self, name)?;
        let pid = core::mem::replace(&mut self.shell.session.pid, task.pid());
        let result = f(self);
        self.shell.session.pid = pid;
        result
    }

    /// Whether one JSON object a line is wanted.
    pub fn json(&self) -> bool {
        self.args.flag("--json")
    }
}

impl<M: Machine> fmt::Write for Call<'_, '_, M> {
    /// Writes to the console; fails only when ^C was pressed, between lines.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.shell.output().write_str(text)
    }
}

#[cfg(test)]
mod tests;
