//! A line becomes commands, a command becomes words.
//!
//! A [`Lexer`] walks a line and fills [`Words`] with one command at a time; [`Joint`] says how that command hangs on
//! the one before it (`;`, `&&`, `||`). It is asked again after each command, so that `$?` is the status that the
//! command before left. [`Lists`] cuts a line at every `;` and `&`. [`check`] walks the whole line first, so that a line with a mistake in its tail runs not even
//! its head. `line.rs` delivers lines, `exec.rs` runs words, [`Args`] is the view of them that commands get.
//!
//! Words end at blanks. `'...'` keeps everything, `"..."` keeps everything but `$?` and a backslash before `"`, `\` and
//! `$`; a backslash keeps the next character. A single `|` or `&` is an ordinary character, because masks are written
//! with them; an `&` between blanks ends a [`List`] that is to run in the background. `#` at the start of a word begins a
//! comment, unless a digit follows: `#7` is a handle.
//!
//! A POSIX shell does more: variables, globs, pipes, substitution, and redirection of every command.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The longest line, in bytes.
pub const LINE_BYTES_MAX: usize = 1024;

/// What `$?` grows to at most ("130"), in place of its own two bytes.
const STATUS_BYTES_MAX: usize = 3;

/// How a command hangs on the one before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Joint {
    /// First on the line, or after `;`.
    Always,
    /// After `&&`: only when the status is 0.
    IfDone,
    /// After `||`: only when the status is not 0.
    IfFailed,
}

impl Joint {
    /// Whether a command with this joint runs when the one before it left `status`.
    pub const fn allows(self, status: u8) -> bool {
        match self {
            Joint::Always => true,
            Joint::IfDone => status == 0,
            Joint::IfFailed => status != 0,
        }
    }

    /// The operator as it is typed.
    const fn sign(self) -> &'static str {
        match self {
            Joint::Always => ";",
            Joint::IfDone => "&&",
            Joint::IfFailed => "||",
        }
    }
}

/// What ends a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operator {
    /// The next command hangs on this one.
    Joint(Joint),
    /// It, and all that it hangs on, runs in the background.
    Background,
}

impl Operator {
    const fn joint(self) -> Joint {
        match self {
            Operator::Joint(joint) => joint,
            Operator::Background => Joint::Always,
        }
    }

    const fn sign(self) -> &'static str {
        match self {
            Operator::Joint(joint) => joint.sign(),
            Operator::Background => "&",
        }
    }
}

/// Why a line is not a sequence of commands. `at` counts bytes from 0; the text says columns, from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LexError {
    /// Where the offending text starts.
    pub at: usize,
    /// What is wrong with it.
    pub kind: LexErrorKind,
}

/// What is wrong with a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LexErrorKind {
    /// A quote that is never closed.
    Unclosed(char),
    /// A backslash at the very end.
    LoneBackslash,
    /// `$` before something other than `?`.
    UnknownVariable,
    /// An operator without a command before it.
    NothingBefore(&'static str),
    /// `&&` or `||` without a command after it.
    NothingAfter(&'static str),
    /// `>` without a file, with a second `>`, or with words after the file.
    Redirection,
    /// A byte that is no printable ASCII.
    BadByte(u8),
    /// Longer than [`LINE_BYTES_MAX`].
    TooLong,
    /// The shell's own heap is empty.
    OutOfHeap,
}

impl fmt::Display for LexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: ", self.at + 1)?;
        match self.kind {
            LexErrorKind::Unclosed(quote) => write!(f, "the quote {quote} is never closed"),
            LexErrorKind::LoneBackslash => f.write_str("nothing follows the backslash"),
            LexErrorKind::UnknownVariable => f.write_str("only $? is known; write \\$ for the character"),
            LexErrorKind::NothingBefore(sign) => write!(f, "no command before {sign}"),
            LexErrorKind::NothingAfter(sign) => write!(f, "no command after {sign}"),
            LexErrorKind::Redirection => f.write_str("> wants one file name, as the last word"),
            LexErrorKind::BadByte(byte) => write!(f, "byte {byte:#04x} is not printable ASCII"),
            LexErrorKind::TooLong => write!(f, "the line is longer than {LINE_BYTES_MAX} bytes"),
            LexErrorKind::OutOfHeap => f.write_str("the shell's heap is empty"),
        }
    }
}

/// The words of one command, quotes removed, and the file after `>`.
///
/// All room is taken at once by [`Words::for_line`]; filling it can no longer fail.
#[derive(Debug, Default)]
pub struct Words {
    text: String,
    /// Exclusive end in `text` of each word.
    ends: Vec<u16>,
    /// How many words stood before `>`, when there was one.
    redirected_at: Option<usize>,
}

impl Words {
    /// Room for every command that `line` can hold, or [`LexErrorKind::OutOfHeap`].
    pub fn for_line(line: &str) -> Result<Words, LexError> {
        let mut words = Words::default();
        let statuses = line.bytes().filter(|&b| b == b'$').count();
        let text = words.text.try_reserve_exact(line.len() + statuses * (STATUS_BYTES_MAX - 2));
        let ends = words.ends.try_reserve_exact(line.len().div_ceil(2));
        match (text, ends) {
            (Ok(()), Ok(())) => Ok(words),
            _ => Err(LexError { at: 0, kind: LexErrorKind::OutOfHeap }),
        }
    }

    /// The words before `>`.
    pub fn args(&self) -> Args<'_> {
        Args { words: self, from: 0, to: self.redirected_at.unwrap_or(self.ends.len()) }
    }

    /// The file name after `>`, if there is one.
    pub fn redirection(&self) -> Option<&str> {
        self.redirected_at.map(|file| self.word(file))
    }

    fn word(&self, i: usize) -> &str {
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.text[start..self.ends[i] as usize]
    }

    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.redirected_at = None;
    }

    fn push(&mut self, c: char) {
        debug_assert!(self.text.len() < self.text.capacity(), "Words::for_line reserves for the whole line");
        self.text.push(c);
    }

    fn end_word(&mut self) {
        debug_assert!(self.ends.len() < self.ends.capacity(), "Words::for_line reserves for the whole line");
        // At most 1,024 bytes of line, and each `$?` adds one to its two: far below u16::MAX.
        self.ends.push(self.text.len() as u16);
    }
}

/// A run of words: a command and its arguments, or the tail of them.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    words: &'a Words,
    from: usize,
    to: usize,
}

impl<'a> Args<'a> {
    /// Number of words.
    pub const fn len(self) -> usize {
        self.to - self.from
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The word at `i`, from 0.
    pub fn get(self, i: usize) -> Option<&'a str> {
        if i < self.len() { Some(self.words.word(self.from + i)) } else { None }
    }

    /// Everything from the word at `i` on.
    #[must_use]
    pub fn skip(self, i: usize) -> Args<'a> {
        Args { from: (self.from + i).min(self.to), ..self }
    }

    /// The words one by one.
    pub fn iter(self) -> impl Iterator<Item = &'a str> + Clone {
        (self.from..self.to).map(move |i| self.words.word(i))
    }
}

/// Cuts one line into commands.
#[derive(Debug)]
pub struct Lexer<'a> {
    line: &'a str,
    at: usize,
    /// The operator that ended the last command, if one did, and where it stands.
    ended_by: Option<(Operator, usize)>,
    /// The joint of the next command, and where it stands.
    joint: (Joint, usize),
}

/// Commands joined by `&&` and `||`, which run one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct List<'a> {
    /// As it was typed, without what ends it.
    pub text: &'a str,
    /// Whether it is to run in the background: it ended in `&`.
    pub in_background: bool,
}

/// Cuts one line, in which there is no mistake, into lists.
#[derive(Debug)]
pub struct Lists<'a>(Lexer<'a>);

impl<'a> Lists<'a> {
    /// The lists of `line`.
    pub const fn new(line: &'a str) -> Lists<'a> {
        Lists(Lexer::new(line))
    }

    /// The next list; `None` at the end. `words` is room for any of the line's commands.
    pub fn next(&mut self, words: &mut Words) -> Option<List<'a>> {
        let (line, start) = (self.0.line, self.0.at);
        while let Ok(Some(_)) = self.0.next(0, words) {
            match self.0.ended_by {
                Some((Operator::Joint(Joint::IfDone | Joint::IfFailed), _)) => {}
                Some((end, at)) => {
                    let in_background = end == Operator::Background;
                    return Some(List { text: line[start..at].trim_ascii(), in_background });
                }
                None => return Some(List { text: line[start..].trim_ascii(), in_background: false }),
            }
        }
        None
    }
}

/// Walks all of `line` and reports its first mistake.
pub fn check(line: &str) -> Result<(), LexError> {
    if line.len() > LINE_BYTES_MAX {
        return Err(LexError { at: LINE_BYTES_MAX, kind: LexErrorKind::TooLong });
    }
    let mut words = Words::for_line(line)?;
    let mut lexer = Lexer::new(line);
    while lexer.next(0, &mut words)?.is_some() {}
    Ok(())
}

impl<'a> Lexer<'a> {
    /// A lexer at the start of `line`.
    pub const fn new(line: &'a str) -> Lexer<'a> {
        Lexer { line, at: 0, ended_by: None, joint: (Joint::Always, 0) }
    }

    /// Fills `words` with the next command, `$?` being `status`; `None` at the end of the line.
    pub fn next(&mut self, status: u8, words: &mut Words) -> Result<Option<Joint>, LexError> {
        words.clear();
        let (joint, joint_at) = self.joint;
        let operator = loop {
            self.skip_blanks();
            let Some(c) = self.peek() else { break None };
            if let Some(operator) = self.operator() {
                break Some(operator);
            }
            if c == b'>' {
                self.open_redirection(words)?;
            } else {
                if words.redirected_at.is_some_and(|file| words.ends.len() > file) {
                    return fail(self.at, LexErrorKind::Redirection);
                }
                self.word(status, words)?;
            }
        };
        if words.redirected_at == Some(words.ends.len()) {
            return fail(self.at, LexErrorKind::Redirection);
        }
        match operator {
            Some(next) if words.ends.is_empty() => fail(self.at, LexErrorKind::NothingBefore(next.sign())),
            None if words.ends.is_empty() && joint == Joint::Always => Ok(None),
            None if words.ends.is_empty() => fail(joint_at, LexErrorKind::NothingAfter(joint.sign())),
            next => {
                self.ended_by = next.map(|next| (next, self.at));
                self.joint = (next.map_or(Joint::Always, Operator::joint), self.at);
                self.at += next.map_or(0, |next| next.sign().len());
                Ok(Some(joint))
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.line.as_bytes().get(self.at).copied()
    }

    /// Skips blanks and a comment.
    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t') = self.peek() {
            self.at += 1;
        }
        let digit_follows = self.line.as_bytes().get(self.at + 1).is_some_and(u8::is_ascii_digit);
        if self.peek() == Some(b'#') && !digit_follows {
            self.at = self.line.len();
        }
    }

    /// The operator that starts here; it is not consumed.
    fn operator(&self) -> Option<Operator> {
        let (before, rest) = self.line.as_bytes().split_at(self.at);
        let is_blank = |byte: Option<&u8>| byte.is_none_or(|byte| matches!(byte, b' ' | b'\t'));
        match rest {
            [b'&', after @ ..] if is_blank(before.last()) && is_blank(after.first()) => Some(Operator::Background),
            _ => {
                let joints = [Joint::Always, Joint::IfDone, Joint::IfFailed];
                joints.into_iter().find(|joint| rest.starts_with(joint.sign().as_bytes())).map(Operator::Joint)
            }
        }
    }

    fn open_redirection(&mut self, words: &mut Words) -> Result<(), LexError> {
        if words.redirected_at.is_some() || words.ends.is_empty() {
            return fail(self.at, LexErrorKind::Redirection);
        }
        words.redirected_at = Some(words.ends.len());
        self.at += 1;
        Ok(())
    }

    /// Reads one word up to a blank or an operator.
    fn word(&mut self, status: u8, words: &mut Words) -> Result<(), LexError> {
        while let Some(c) = self.peek() {
            match c {
                b' ' | b'\t' | b'>' => break,
                b'\'' | b'"' => self.quoted(c, status, words)?,
                _ if self.operator().is_some() => break,
                _ => self.character(false, status, words)?,
            }
        }
        words.end_word();
        Ok(())
    }

    /// Reads `'...'` or `"..."`.
    fn quoted(&mut self, quote: u8, status: u8, words: &mut Words) -> Result<(), LexError> {
        let open = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                None => return fail(open, LexErrorKind::Unclosed(quote as char)),
                Some(c) if c == quote => break,
                Some(c) if quote == b'\'' => self.literal(c, words)?,
                Some(_) => self.character(true, status, words)?,
            }
        }
        self.at += 1;
        Ok(())
    }

    /// Reads one character, backslash and `$?` understood.
    fn character(&mut self, in_quotes: bool, status: u8, words: &mut Words) -> Result<(), LexError> {
        let next = self.line.as_bytes().get(self.at + 1).copied();
        match (self.line.as_bytes()[self.at], next) {
            (b'\\', None) => fail(self.at, LexErrorKind::LoneBackslash),
            (b'\\', Some(c)) if !in_quotes || matches!(c, b'"' | b'\\' | b'$') => {
                self.at += 1;
                self.literal(c, words)
            }
            (b'$', Some(b'?')) => {
                push_number(status, words);
                self.at += 2;
                Ok(())
            }
            (b'$', _) => fail(self.at, LexErrorKind::UnknownVariable),
            (c, _) => self.literal(c, words),
        }
    }

    fn literal(&mut self, c: u8, words: &mut Words) -> Result<(), LexError> {
        if c != b'\t' && !(b' '..=b'~').contains(&c) {
            return fail(self.at, LexErrorKind::BadByte(c));
        }
        words.push(c as char);
        self.at += 1;
        Ok(())
    }
}

const fn fail<T>(at: usize, kind: LexErrorKind) -> Result<T, LexError> {
    Err(LexError { at, kind })
}

/// Writes 0 to 255 in decimal.
fn push_number(n: u8, words: &mut Words) {
    for (power, digit) in [(100, n / 100), (10, n / 10 % 10), (1, n % 10)] {
        if n >= power || power == 1 {
            words.push((b'0' + digit) as char);
        }
    }
}

#[cfg(test)]
mod tests;
