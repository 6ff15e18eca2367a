//! What arguments a command takes: one description that parses, completes and prints.
//!
//! A command's row in the table has a slice of [`Arg`]. [`parse`] holds the words against it once; after that
//! [`Arguments`] finds words by their place and options by their name. `complete.rs` asks [`expected`] what would come
//! next, and [`Usage`] prints the description.
//!
//! getopt does more: joined short options, `--name=value`, and `--` as the end of options.

use core::fmt;

use crate::lex::Args;
use crate::value::{Nearest, nearest};

/// What kind of word an argument is; TAB completes by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An allocation mask.
    Gfp,
    /// An order.
    Order,
    /// A plain number.
    Number,
    /// A number, or `max`.
    Count,
    /// A node.
    Node,
    /// A handle, a range of them, or a word that `free` knows.
    Handle,
    /// The handle of a movable page, a range of them, or `all`.
    Movable,
    /// A job.
    Job,
    /// A lab.
    Lab,
    /// A zone.
    Zone,
    /// A task.
    Task,
    /// `+` or `-`, and a task flag.
    TaskFlag,
    /// An event, or a group of them.
    Event,
    /// A file below /proc.
    Path,
    /// The name of a sysctl, and maybe `=` and a value.
    Sysctl,
    /// A command's name.
    Command,
    /// A command's name, or what else `help` knows.
    HelpTopic,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Anything.
    Text,
}

/// One argument of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arg {
    /// A word that must be there.
    One(&'static str, Kind),
    /// A word that may be there.
    Maybe(&'static str, Kind),
    /// Any number of words, from none.
    Many(&'static str, Kind),
    /// An option with a value.
    Opt(&'static str, &'static str, Kind),
    /// An option without one.
    Flag(&'static str),
    /// Another command with its arguments, up to the end.
    Rest,
}

impl Arg {
    /// The option's name, if it is one.
    const fn option(self) -> Option<&'static str> {
        match self {
            Arg::Opt(name, ..) | Arg::Flag(name) => Some(name),
            _ => None,
        }
    }
}

/// Prints the arguments as they are typed: `GFP [-o ORDER]`.
pub struct Usage(pub &'static [Arg]);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for arg in self.0 {
            match arg {
                Arg::One(_, Kind::Choice(words)) => {
                    f.write_str(" ")?;
                    words
                        .iter()
                        .enumerate()
                        .try_for_each(|(i, word)| write!(f, "{}{word}", if i == 0 { "" } else { "|" }))?;
                }
                Arg::One(name, _) => write!(f, " {name}")?,
                Arg::Maybe(name, _) => write!(f, " [{name}]")?,
                Arg::Many(name, _) => write!(f, " [{name}...]")?,
                Arg::Opt(name, value, _) => write!(f, " [{name} {value}]")?,
                Arg::Flag(name) => write!(f, " [{name}]")?,
                Arg::Rest => f.write_str(" COMMAND...")?,
            }
        }
        Ok(())
    }
}

/// Why words do not fit the description.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArgError<'a> {
    /// Something that must be there is not.
    Missing(&'static str),
    /// The value of an option is not there.
    NoValue(&'static str),
    /// A word too many.
    Extra(&'a str),
    /// No such option.
    Option(&'a str, Option<Nearest>),
}

impl fmt::Display for ArgError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArgError::Missing(name) => write!(f, "{name} is missing"),
            ArgError::NoValue(option) => write!(f, "{option} wants a value"),
            ArgError::Extra(word) => write!(f, "`{word}` is one word too many"),
            ArgError::Option(word, None) => write!(f, "no option `{word}`"),
            ArgError::Option(word, Some(near)) => write!(f, "no option `{word}`; did you mean `{}`?", near.as_str()),
        }
    }
}

/// A word in its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Item<'a> {
    /// The n-th word that is no option.
    Word(&'a str),
    /// An option of the description and its value; `None`: the line ends first.
    Option(&'static str, Option<&'a str>),
    /// Looks like an option.
    Unknown(&'a str),
    /// From the word at this index on it is another command.
    Rest(usize),
}

/// Whether a word looks like an option: `--name` or `-x`. `-PF_MEMALLOC`, `-5` and `-__GFP_IO` do not.
fn is_option(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() > 2 && bytes.starts_with(b"--")
        || bytes.len() == 2 && bytes[0] == b'-' && bytes[1].is_ascii_alphabetic()
}

/// Puts each word of `words` in its place.
fn items<'a, I: Iterator<Item = &'a str>>(spec: &'static [Arg], words: I) -> impl Iterator<Item = Item<'a>> {
    let rest_at = spec.contains(&Arg::Rest).then(|| spec.iter().filter(|arg| matches!(arg, Arg::One(..))).count());
    let mut words = words.enumerate();
    let mut placed = 0;
    let mut ended = false;
    core::iter::from_fn(move || {
        let (i, word) = if ended { None } else { words.next() }?;
        if let Some(arg) = spec.iter().find(|arg| arg.option() == Some(word)) {
            return Some(match arg {
                Arg::Opt(name, ..) => Item::Option(name, words.next().map(|(_, value)| value)),
                _ => Item::Option(arg.option()?, Some("")),
            });
        }
        if rest_at == Some(placed) {
            ended = true;
            return Some(Item::Rest(i));
        }
        if is_option(word) {
            return Some(Item::Unknown(word));
        }
        placed += 1;
        Some(Item::Word(word))
    })
}

/// Holds `words` against `spec`.
pub fn parse<'a>(spec: &'static [Arg], words: Args<'a>) -> Result<Arguments<'a>, ArgError<'a>> {
    let (mut placed, mut rest) = (0, false);
    for item in items(spec, words.iter()) {
        match item {
            Item::Word(word) if place(spec, placed).is_none() => return Err(ArgError::Extra(word)),
            Item::Word(_) => placed += 1,
            Item::Option(name, None) => return Err(ArgError::NoValue(name)),
            Item::Option(..) => {}
            Item::Unknown(word) => {
                return Err(ArgError::Option(word, nearest(word, spec.iter().filter_map(|arg| arg.option()))));
            }
            Item::Rest(_) => rest = true,
        }
    }
    if let Some(Arg::One(name, _)) = place(spec, placed) {
        return Err(ArgError::Missing(name));
    }
    if spec.contains(&Arg::Rest) && !rest {
        return Err(ArgError::Missing("COMMAND"));
    }
    Ok(Arguments { spec, words })
}

/// The description of the n-th word that is no option.
fn place(spec: &'static [Arg], n: usize) -> Option<Arg> {
    let mut places = spec.iter().filter(|arg| matches!(arg, Arg::One(..) | Arg::Maybe(..) | Arg::Many(..)));
    let count = places.clone().count();
    match places.clone().next_back() {
        Some(many @ Arg::Many(..)) if n >= count => Some(*many),
        _ => places.nth(n).copied(),
    }
}

/// What may stand after `words`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// A word of this kind, or an option.
    Word(Kind),
    /// The value of an option.
    Value(Kind),
    /// Another command, whose words begin at this index.
    Command(usize),
    /// Options only.
    Options,
}

/// What would come after `words`.
pub fn expected<'a, I: Iterator<Item = &'a str> + Clone>(spec: &'static [Arg], words: I) -> Expected {
    let mut placed = 0;
    for item in items(spec, words.clone()) {
        match item {
            Item::Word(_) => placed += 1,
            Item::Option(name, None) => {
                let kind = spec.iter().find_map(|arg| match arg {
                    Arg::Opt(option, _, kind) if *option == name => Some(*kind),
                    _ => None,
                });
                return Expected::Value(kind.unwrap_or(Kind::Text));
            }
            Item::Rest(at) => return Expected::Command(at),
            Item::Option(..) | Item::Unknown(_) => {}
        }
    }
    match place(spec, placed) {
        Some(Arg::One(_, kind) | Arg::Maybe(_, kind) | Arg::Many(_, kind)) => Expected::Word(kind),
        _ if spec.contains(&Arg::Rest) => Expected::Command(words.count()),
        _ => Expected::Options,
    }
}

/// The options of a description.
pub fn options(spec: &'static [Arg]) -> impl Iterator<Item = &'static str> {
    spec.iter().filter_map(|arg| arg.option())
}

/// Words that fit their description.
#[derive(Clone, Copy, Debug)]
pub struct Arguments<'a> {
    spec: &'static [Arg],
    words: Args<'a>,
}

impl<'a> Arguments<'a> {
    /// The words that are no options, in order.
    pub fn words(self) -> impl Iterator<Item = &'a str> {
        items(self.spec, self.words.iter()).filter_map(|item| match item {
            Item::Word(word) => Some(word),
            _ => None,
        })
    }

    /// The n-th word that is no option, from 0.
    pub fn word(self, n: usize) -> Option<&'a str> {
        self.words().nth(n)
    }

    /// The n-th word, which the description says must be there.
    pub fn must(self, n: usize) -> &'a str {
        self.word(n).expect("parse found every Arg::One")
    }

    /// The value of an option; the last one counts.
    pub fn option(self, name: &str) -> Option<&'a str> {
        let values = items(self.spec, self.words.iter()).filter_map(|item| match item {
            Item::Option(option, value) if option == name => value,
            _ => None,
        });
        values.last()
    }

    /// Whether an option is there.
    pub fn flag(self, name: &str) -> bool {
        self.option(name).is_some()
    }

    /// The other command of [`Arg::Rest`].
    pub fn rest(self) -> Args<'a> {
        let at = items(self.spec, self.words.iter()).find_map(|item| match item {
            Item::Rest(at) => Some(at),
            _ => None,
        });
        self.words.skip(at.unwrap_or(self.words.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lex::{Lexer, Words};
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    const ALLOC: &[Arg] = &[Arg::One("GFP", Kind::Gfp), Arg::Opt("-o", "ORDER", Kind::Order), Arg::Flag("--json")];
    const FREE: &[Arg] = &[Arg::One("HANDLE", Kind::Handle), Arg::Many("HANDLE", Kind::Handle)];
    const CTX: &[Arg] = &[Arg::One("CONTEXT", Kind::Choice(&["softirq", "hardirq"])), Arg::Rest];

    fn with_words<R>(line: &str, f: impl FnOnce(Args<'_>) -> R) -> R {
        let mut words = Words::for_line(line).unwrap();
        Lexer::new(line).next(0, &mut words).unwrap();
        f(words.args())
    }

    #[track_caller]
    fn check(spec: &'static [Arg], line: &str, expected: &str) {
        let text = with_words(line, |words| match parse(spec, words) {
            Err(error) => format!("{error}"),
            Ok(arguments) => {
                let list: Vec<&str> = arguments.words().collect();
                let rest: Vec<&str> = arguments.rest().iter().collect();
                let order = arguments.option("-o").unwrap_or("none");
                format!("{} -o {order} json {} rest {}", list.join(","), arguments.flag("--json"), rest.join(","))
            }
        });
        assert_eq!(text, expected);
    }

    #[test]
    fn words_and_options_find_their_places() {
        check(ALLOC, "GFP_KERNEL", "GFP_KERNEL -o none json false rest ");
        check(ALLOC, "-o 3 GFP_KERNEL --json -o 4", "GFP_KERNEL -o 4 json true rest ");
        check(FREE, "#1 #2 #3", "#1,#2,#3 -o none json false rest ");
        check(FREE, "-PF_X -5", "-PF_X,-5 -o none json false rest ");
        check(CTX, "softirq alloc GFP_ATOMIC -o 1", "softirq -o none json false rest alloc,GFP_ATOMIC,-o,1");
    }

    #[test]
    fn words_that_do_not_fit() {
        check(ALLOC, "-o 3", "GFP is missing");
        check(ALLOC, "GFP_KERNEL -o", "-o wants a value");
        check(ALLOC, "GFP_KERNEL 3", "`3` is one word too many");
        check(ALLOC, "GFP_KERNEL --jsno", "no option `--jsno`; did you mean `--json`?");
        check(ALLOC, "GFP_KERNEL --zzzzzzz", "no option `--zzzzzzz`");
        check(CTX, "softirq", "COMMAND is missing");
    }

    #[test]
    fn usage_is_the_description_in_print() {
        let usage = |spec| String::from(format!("{}", Usage(spec)).trim_start());
        assert_eq!(usage(ALLOC), "GFP [-o ORDER] [--json]");
        assert_eq!(usage(FREE), "HANDLE [HANDLE...]");
        assert_eq!(usage(CTX), "softirq|hardirq COMMAND...");
    }

    #[test]
    fn what_comes_next() {
        let next = |spec, line: &'static str| expected(spec, line.split_ascii_whitespace());
        assert_eq!(next(ALLOC, ""), Expected::Word(Kind::Gfp));
        assert_eq!(next(ALLOC, "-o"), Expected::Value(Kind::Order));
        assert_eq!(next(ALLOC, "GFP_KERNEL -o 3"), Expected::Options);
        assert_eq!(next(FREE, "#1 #2"), Expected::Word(Kind::Handle));
        assert_eq!(next(CTX, "softirq"), Expected::Command(1));
        assert_eq!(next(CTX, "softirq alloc GFP_ATOMIC"), Expected::Command(1));
    }
}
