//! What TAB knows.
//!
//! A [`Completer`] looks at what stands before the cursor, finds the command that it belongs to in the table, and offers
//! what that command's description says may come next. A command in a command (`ctx softirq alloc ...`) is looked at in
//! its own right. The line editor chooses among the candidates and draws.

use core::marker::PhantomData;

use kernel::gfp::NAMES;
use kernel::mmzone::ZoneType;
use kernel::proc::sysctl::SYSCTLS;
use kernel::task::{TaskFlags, TaskTable};
use kernel::trace::names::GROUPS;

use crate::arg::{self, Expected, Kind};
use crate::cmd::help;
use crate::cmd::lab::LABS;
use crate::command::{Command, commands, first_word};
use crate::jobs::{Job, job_name};
use crate::line::{Candidate, Complete};
use crate::machine::Machine;
use crate::paths;

/// Offers what may stand in a line.
pub struct Completer<'j, M> {
    tasks: &'static TaskTable,
    jobs: &'j [Job],
    machine: PhantomData<M>,
}

/// Takes candidates: where the word starts, the word, whether more may follow without a blank.
type Each<'e> = dyn FnMut(Candidate<'_>) + 'e;

impl<'j, M: Machine> Completer<'j, M> {
    /// A completer that knows the tasks and the jobs.
    pub const fn new(tasks: &'static TaskTable, jobs: &'j [Job]) -> Completer<'j, M> {
        Completer { tasks, jobs, machine: PhantomData }
    }

    /// Offers what may follow the complete words `before` the one that starts at `start`.
    fn after(&self, before: &str, typed: &str, start: usize, each: &mut Each<'_>) {
        if before.trim_end().ends_with('>') {
            return self.kind(Kind::Path, typed, start, each);
        }
        let words = before.split_ascii_whitespace();
        let Some(first) = words.clone().next() else { return self.kind(Kind::Command, typed, start, each) };
        let rows = commands::<M>().iter();
        let members = rows.clone().filter(|row| row.name != first && first_word(row.name) == first);
        if words.clone().count() == 1 && members.clone().next().is_some() {
            members.for_each(|row| offer(each, start, &row.name[first.len() + 1..]));
            return;
        }
        let mut named = rows.filter(|row| is_prefix(row, words.clone()));
        let Some(row) = named.next() else { return };
        let used = row.name.split(' ').count();
        match arg::expected(row.args, words.clone().skip(used)) {
            Expected::Value(kind) => self.kind(kind, typed, start, each),
            Expected::Word(kind) if !typed.starts_with("--") => self.kind(kind, typed, start, each),
            Expected::Command(at) => {
                self.after(skip_words(before, used + at), typed, start, each);
            }
            Expected::Word(_) | Expected::Options => arg::options(row.args).for_each(|name| offer(each, start, name)),
        }
    }

    /// Offers every word of a kind.
    fn kind(&self, kind: Kind, typed: &str, start: usize, each: &mut Each<'_>) {
        let mut word = |text: &str| offer(each, start, text);
        match kind {
            Kind::Command => offer_commands::<M>(&mut word),
            Kind::HelpTopic => {
                offer_commands::<M>(&mut word);
                help::TOPICS.iter().for_each(|topic| word(topic.name));
            }
            Kind::Job => self.jobs.iter().for_each(|job| word(job_name(job.number))),
            Kind::Lab => LABS.iter().for_each(|lab| word(lab.name)),
            Kind::Choice(words) => words.iter().for_each(|text| word(text)),
            Kind::Count => word("max"),
            Kind::Movable => word("all"),
            Kind::Handle => ["all", "to"].into_iter().for_each(word),
            Kind::Zone => ZoneType::ALL.iter().for_each(|zone| word(zone.name())),
            Kind::Task => self.tasks.iter().for_each(|task| word(task.comm().as_str())),
            Kind::Gfp => {
                // What stands before the last operator is a mask already.
                let start = start + typed.rfind(['|', '~', '-']).map_or(0, |operator| operator + 1);
                for row in NAMES.iter().filter(|row| !row.is_old()) {
                    each(Candidate { start, text: row.name, open: true });
                }
            }
            Kind::TaskFlag => {
                let start = start + usize::from(typed.starts_with(['+', '-']));
                TaskFlags::all().iter_names().for_each(|(name, _)| offer(each, start, name));
            }
            Kind::Event => GROUPS.iter().for_each(|group| {
                word(group.name);
                group.events.iter().for_each(|event| word(event));
            }),
            Kind::Path => paths_in::<M>(self.tasks, typed, start, each),
            Kind::Sysctl => SYSCTLS.iter().for_each(|setting| {
                let prefix = if typed.starts_with("vm.") { 3 } else { 0 };
                each(Candidate { start: start + prefix, text: setting.name, open: true });
            }),
            Kind::Order | Kind::Number | Kind::Node | Kind::Text => {}
        }
    }
}

impl<M: Machine> Complete for Completer<'_, M> {
    fn complete(&self, before: &str, each: &mut Each<'_>) {
        let command = [";", "&&", "||", " & "]
            .iter()
            .filter_map(|sign| Some(before.rfind(sign)? + sign.len()))
            .max()
            .unwrap_or(0);
        let start = before.rfind([' ', '\t']).map_or(0, |blank| blank + 1).max(command);
        self.after(&before[command..start], &before[start..], start, each);
    }
}

fn offer(each: &mut Each<'_>, start: usize, text: &str) {
    each(Candidate { start, text, open: text.ends_with(['/', '=']) });
}

/// What is in the directory that `typed` begins with.
fn paths_in<M: Machine>(tasks: &TaskTable, typed: &str, start: usize, each: &mut Each<'_>) {
    match typed.rfind('/') {
        Some(slash) => {
            let mut offer = |name: &str, _| offer(each, start + slash + 1, name);
            paths::for_each_entry::<M>(tasks, &typed[..slash], &mut offer);
        }
        None => offer(each, start, "/"),
    }
}

/// Each command once, a family by its first word.
fn offer_commands<M: Machine>(word: &mut dyn FnMut(&str)) {
    let rows = commands::<M>();
    for (i, row) in rows.iter().enumerate() {
        let name = first_word(row.name);
        if !rows[..i].iter().any(|earlier| first_word(earlier.name) == name) {
            word(name);
        }
    }
}

/// Whether `words` begin with the command's name.
fn is_prefix<'a, M: Machine>(row: &Command<M>, mut words: impl Iterator<Item = &'a str>) -> bool {
    row.name.split(' ').all(|part| words.next() == Some(part))
}

/// What is left of `text` after its first `n` words.
fn skip_words(text: &str, n: usize) -> &str {
    (0..n).fold(text.trim_start(), |rest, _| rest.trim_start_matches(|c: char| !c.is_ascii_whitespace()).trim_start())
}

#[cfg(test)]
mod tests;
