//! The shell: runs what was typed.
//!
//! A [`Shell`] owns its machine, the line editor and the session. Bytes come in through [`Shell::feed`], whole lines
//! through [`Shell::run_line`], scripts through [`Shell::run_script`], which shows each line behind its prompt as if it
//! had been typed. Whoever drives the shell asks [`Shell::is_off`] whether to go on.

use core::fmt;
use core::fmt::Write as _;

use embedded_io::Write as _;
use kernel::mm::memory::Env;
use kernel::task::{Current, Task};

use crate::arg::{self, Arg};
use crate::capture::Capture;
use crate::cmd::vmstat::Snapshot;
use crate::command::{self, Call, Command};
use crate::complete::Completer;
use crate::jobs::TICKS_OF_JOBS;
use crate::lex::{self, Args, Lexer, List, Lists, Words};
use crate::line::{Editor, Entered, PROMPT};
use crate::machine::{Machine, Output};
use crate::session::Session;
use crate::status::{Outcome, Status, Trouble};

/// How deep commands that run commands may be nested.
pub const DEPTH_MAX: u8 = 8;

/// A shell on its machine.
pub struct Shell<M: Machine> {
    /// The world.
    pub machine: M,
    /// What is remembered between commands.
    pub session: Session,
    /// The line being typed.
    pub editor: Editor,
    /// Where output goes instead of to the console.
    pub capture: Option<Capture>,
    /// Whether a command has begun a line and not ended it.
    pub mid_line: bool,
}

/// The console as a screen for text.
struct Screen<'a, C>(&'a mut C);

impl<C: embedded_io::Write> fmt::Write for Screen<'_, C> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_all(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

impl<M: Machine> Shell<M> {
    /// A shell that has said nothing yet.
    pub fn new(machine: M) -> Shell<M> {
        let counters = Snapshot::take(machine.memory()).unwrap_or_default();
        let session = Session { counters, ..Session::default() };
        // The machine has just started: there is heap.
        let _ = session.estates.join(&session.handles);
        Shell::with_session(machine, session)
    }

    /// A shell that goes on from `session`.
    pub fn with_session(machine: M, session: Session) -> Shell<M> {
        Shell { machine, session, editor: Editor::default(), capture: None, mid_line: false }
    }

    /// The task that commands act as.
    pub fn acting_task(&self) -> &'static Task {
        let tasks = self.machine.memory().env.tasks();
        tasks.by_pid(self.session.pid).unwrap_or(tasks.init())
    }

    /// Who acts: the session's task, on the shell's CPU, in the session's context.
    pub fn current(&self) -> Current<'static> {
        Current::new(self.acting_task()).in_context(self.session.context)
    }

    /// Shows the next prompt, and before it what came of jobs.
    pub fn start(&mut self) {
        self.notice_jobs();
        self.editor.prompt(&mut Screen(self.machine.console()));
    }

    /// Shows the prompt and the line so far again, after the console was used for something else.
    pub fn redraw(&mut self) {
        self.editor.show(&mut Screen(self.machine.console()));
    }

    /// Takes one typed byte; runs the line that it ends.
    pub fn feed(&mut self, byte: u8) {
        let tasks = self.machine.memory().env.tasks();
        let completer = Completer::<M>::new(tasks, &self.session.jobs);
        let Some(entered) = self.editor.feed(byte, &completer, &mut Screen(self.machine.console())) else { return };
        match entered {
            Entered::Line => {
                let line = self.editor.entered();
                self.run_line(line.as_str());
            }
            Entered::Dropped(fault) => {
                self.say(format_args!("{fault}\n"));
                self.session.status = Status::USAGE;
            }
            Entered::Cancelled => self.session.status = Status::INTERRUPTED,
        }
        if !self.is_off() {
            self.start();
        }
    }

    /// Whether `poweroff` was run; the machine was told.
    pub const fn is_off(&self) -> bool {
        self.session.off.is_some()
    }

    /// Runs all commands of `line`; the status of the last one that ran.
    pub fn run_line(&mut self, line: &str) -> Status {
        let checked = lex::check(line).and_then(|()| Words::for_line(line));
        let mut words = match checked {
            Ok(words) => words,
            Err(error) => {
                self.say(format_args!("{error}\n"));
                self.session.status = Status::USAGE;
                return self.session.status;
            }
        };
        let mut lists = Lists::new(line);
        while let Some(List { text, in_background }) = lists.next(&mut words) {
            if in_background {
                self.session.status = self.start_job(text);
                self.settle();
            } else {
                self.run_list(text, &mut words);
            }
            if self.session.status == Status::INTERRUPTED || self.is_off() {
                break;
            }
        }
        self.session.status
    }

    /// Runs the commands of a list, as far as their joints allow.
    fn run_list(&mut self, list: &str, words: &mut Words) {
        let mut lexer = Lexer::new(list);
        while let Ok(Some(joint)) = lexer.next(self.session.status.0, words) {
            if joint.allows(self.session.status.0) {
                self.run_command(words.args(), words.redirection());
            }
            if self.session.status == Status::INTERRUPTED || self.is_off() {
                break;
            }
        }
    }

    /// Lets the other threads have their turn; jobs may have more to do than anybody wants to wait for.
    pub fn settle(&mut self) {
        let busy = self.session.jobs.iter().any(|job| !job.is_over());
        self.machine.settle(busy.then_some(TICKS_OF_JOBS));
    }

    /// Runs each line of `text` behind a prompt, as if it had been typed.
    ///
    /// Its status is 130 after ^C, which ends it; else 0 if every line that has a command ended with 0; else 1.
    pub fn run_script(&mut self, text: &str) -> Status {
        let mut result = Status::DONE;
        for line in text.lines() {
            self.notice_jobs();
            self.say(format_args!("{PROMPT}{line}\n"));
            let status = self.run_script_line(line);
            match status {
                Status::DONE => {}
                Status::INTERRUPTED => return status,
                _ => result = Status::REFUSED,
            }
            if let Some(status) = self.session.off {
                return status;
            }
        }
        self.notice_jobs();
        result
    }

    /// Runs a line of a script; one without a command is no failure.
    fn run_script_line(&mut self, line: &str) -> Status {
        match self.editor.take(line, &mut Screen(self.machine.console())) {
            Ok(line) if is_silent(line.as_str()) => Status::DONE,
            Ok(line) => self.run_line(line.as_str()),
            Err(fault) => {
                self.say(format_args!("{fault}\n"));
                self.session.status = Status::USAGE;
                self.session.status
            }
        }
    }

    /// Runs one command.
    pub fn run_command(&mut self, words: Args<'_>, redirection: Option<&str>) -> Status {
        self.session.depth += 1;
        self.mid_line = false;
        let found = command::find::<M>(words);
        let outcome =
            found.map_err(Trouble::Name).and_then(|(command, used)| self.call(command, words.skip(used), redirection));
        self.session.depth -= 1;
        let status = outcome.unwrap_or_else(|trouble| {
            match found {
                Ok((command, _)) => self.complain(command, &trouble),
                Err(_) => self.say(format_args!("{trouble}\n")),
            }
            trouble.status()
        });
        self.session.status = status;
        // Who presses ^C wants the prompt now, whatever jobs have to do.
        if status != Status::INTERRUPTED {
            self.settle();
        }
        if self.session.depth == 0 {
            if !self.session.in_job {
                self.session.handles.act_as(0);
            }
            self.bury();
        }
        status
    }

    /// Runs one command and keeps what it prints.
    pub fn run_captured(&mut self, words: Args<'_>, redirection: Option<&str>) -> (Status, Capture) {
        let outer = self.capture.replace(Capture::default());
        let status = self.run_command(words, redirection);
        let capture = core::mem::replace(&mut self.capture, outer).unwrap_or_default();
        (status, capture)
    }

    fn call<'a>(&mut self, command: &'static Command<M>, words: Args<'a>, redirection: Option<&'a str>) -> Outcome<'a> {
        if self.session.depth > DEPTH_MAX {
            return Err(Trouble::Nesting);
        }
        let args = arg::parse(command.args, words)?;
        let passes_on = command.args.contains(&Arg::Rest);
        if redirection.is_some() && command.name != "echo" && !passes_on {
            return Err(Trouble::Usage("only echo writes to a file"));
        }
        self.machine.act_as(self.acting_task());
        self.session.handles.act_as(self.acting_task().pid());
        (command.run)(&mut Call { shell: self, args, redirection })
    }

    /// One line about what went wrong; arguments that do not fit get the usage, too.
    fn complain(&mut self, command: &Command<M>, trouble: &Trouble<'_>) {
        match trouble {
            Trouble::Interrupted if self.session.in_job => {}
            Trouble::Interrupted => self.say(format_args!("^C\n")),
            Trouble::Arg(_) => {
                let usage = arg::Usage(command.args);
                self.say(format_args!("{}: {trouble}; usage: {}{usage}\n", command.name, command.name));
            }
            _ => self.say(format_args!("{}: {trouble}\n", command.name)),
        }
    }

    /// Switches the machine off.
    pub fn power_off(&mut self, status: Status) {
        self.session.off = Some(status);
        self.machine.power_off(status.0);
    }

    /// Where commands write to.
    pub fn output(&mut self) -> Output<'_, M> {
        Output { machine: &mut self.machine, capture: self.capture.as_mut(), mid_line: &mut self.mid_line }
    }

    /// Writes to the console, ^C or not.
    pub fn say(&mut self, text: fmt::Arguments<'_>) {
        if let Some(capture) = &mut self.capture {
            // It takes everything.
            let _ = capture.write_fmt(text);
            return;
        }
        // A console that cannot write has nobody to tell.
        let _ = Screen(self.machine.console()).write_fmt(text);
        let _ = self.machine.console().flush();
    }
}

/// Whether `line` has no command.
fn is_silent(line: &str) -> bool {
    let mut lexer = Lexer::new(line);
    Words::for_line(line).is_ok_and(|mut words| lexer.next(0, &mut words) == Ok(None))
}

#[cfg(test)]
mod tests;
