//! The line editor: bytes in, echo out.
//!
//! An [`Editor`] is fed one byte at a time and draws on a screen that it knows nothing about: it writes characters,
//! backspaces, blanks and newlines, and no escape code until the terminal has sent one itself or
//! [`Editor::set_escapes`] allowed them. `keys.rs` reads the bytes, `history.rs` keeps the lines, and TAB asks a
//! [`Complete`] (`line/complete.rs`). A finished line comes back as [`Entered`].
//!
//! A line that held a byte which is no ASCII, an escape sequence cut in two, or more than 1,024 bytes is dropped as a
//! whole, with one message: half a command is another command.
//!
//! readline does more: lines that wrap over several rows are moved over only by backspaces here, which a terminal
//! stops at its left edge; no undo, no search, no kill ring.

use core::fmt;
use core::ops::Range;

use crate::history::{History, HistoryError};
use crate::keys::{Key, KeyReader};
use crate::lex::LINE_BYTES_MAX;

mod complete;

pub use complete::{Candidate, Complete};

/// What stands before every line; nothing else prints it.
pub const PROMPT: &str = "slowpath> ";

/// How a line ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entered {
    /// By Enter; [`Editor::entered`] is the line.
    Line,
    /// By Enter, but it is no line to run.
    Dropped(LineFault),
    /// By ^C.
    Cancelled,
}

/// Why a line cannot be run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineFault {
    /// Longer than [`LINE_BYTES_MAX`].
    TooLong,
    /// A byte that is no ASCII, or NUL.
    BadByte(u8),
    /// An escape sequence that never ended.
    CutSequence,
    /// A reference to the history that stands for nothing.
    History(HistoryError),
}

impl fmt::Display for LineFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineFault::TooLong => write!(f, "line dropped: longer than {LINE_BYTES_MAX} bytes"),
            LineFault::BadByte(byte) => write!(f, "line dropped: byte {byte:#04x} in it is not ASCII text"),
            LineFault::CutSequence => f.write_str("line dropped: an escape sequence in it was cut short"),
            LineFault::History(error) => error.fmt(f),
        }
    }
}

/// Up to 1,024 bytes of ASCII.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Line {
    bytes: [u8; LINE_BYTES_MAX],
    len: usize,
}

impl Line {
    /// The empty line.
    pub const EMPTY: Line = Line { bytes: [0; LINE_BYTES_MAX], len: 0 };

    /// The text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.len]).expect("only ASCII enters a line")
    }

    /// Puts `text` in the place of `range`; `false`, and nothing done, when it does not fit.
    fn replace(&mut self, range: Range<usize>, text: &[u8]) -> bool {
        let len = self.len - range.len() + text.len();
        if len > LINE_BYTES_MAX {
            return false;
        }
        self.bytes.copy_within(range.end..self.len, range.start + text.len());
        self.bytes[range.start..range.start + text.len()].copy_from_slice(text);
        self.len = len;
        true
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// The line being typed, and all that is remembered from byte to byte.
#[derive(Debug)]
pub struct Editor {
    line: Line,
    cursor: usize,
    fault: Option<LineFault>,
    keys: KeyReader,
    history: History,
    /// How many lines back in the history the line was taken from; 0: it is the draft.
    back: usize,
    draft: Line,
    entered: Line,
    escapes: bool,
    echo: bool,
}

impl Default for Editor {
    fn default() -> Editor {
        Editor {
            line: Line::EMPTY,
            cursor: 0,
            fault: None,
            keys: KeyReader::default(),
            history: History::default(),
            back: 0,
            draft: Line::EMPTY,
            entered: Line::EMPTY,
            escapes: false,
            echo: true,
        }
    }
}

/// What the editor draws on. A failing screen is not the editor's business: the line is what counts.
type Screen<'a> = dyn fmt::Write + 'a;

impl Editor {
    /// The lines entered before.
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// The line that Enter ended last.
    pub const fn entered(&self) -> Line {
        self.entered
    }

    /// Takes a whole line, as a script has it, as if it had been typed; shows what a reference to the history stands for.
    pub fn take(&mut self, line: &str, screen: &mut Screen<'_>) -> Result<Line, LineFault> {
        self.clear();
        if !self.line.replace(0..0, line.as_bytes()) {
            return Err(LineFault::TooLong);
        }
        if let Some(byte) = line.bytes().find(|byte| !byte.is_ascii() || *byte == 0) {
            self.clear();
            return Err(LineFault::BadByte(byte));
        }
        match self.enter_line(screen) {
            Entered::Dropped(fault) => Err(fault),
            _ => Ok(self.entered),
        }
    }

    /// Allows escape codes, or allows them only after the terminal has sent one.
    pub fn set_escapes(&mut self, allowed: bool) {
        self.escapes = allowed;
    }

    /// Whether escape codes may be sent.
    pub const fn escapes(&self) -> bool {
        self.escapes || self.keys.sequence_seen()
    }

    /// Whether what is typed is shown.
    pub fn set_echo(&mut self, echo: bool) {
        self.echo = echo;
    }

    /// Shows the prompt of a fresh line.
    pub fn prompt(&self, screen: &mut Screen<'_>) {
        let _ = screen.write_str(PROMPT);
    }

    /// Shows prompt and line on a fresh row, after something else has written on theirs.
    pub fn show(&self, screen: &mut Screen<'_>) {
        self.prompt(screen);
        self.put(screen, self.line.as_str());
        self.fill(screen, "\x08", self.line.len - self.cursor);
    }

    /// Takes one byte; `Some` when it ended the line. The next line is begun by [`Editor::prompt`].
    pub fn feed(&mut self, byte: u8, complete: &dyn Complete, screen: &mut Screen<'_>) -> Option<Entered> {
        let keys = self.keys.feed(byte);
        keys.into_iter().flatten().fold(None, |entered, key| self.press(key, complete, screen).or(entered))
    }

    fn press(&mut self, key: Key, complete: &dyn Complete, screen: &mut Screen<'_>) -> Option<Entered> {
        let (cursor, len) = (self.cursor, self.line.len);
        match key {
            Key::Char(c) => self.insert(c, screen),
            Key::Enter => return Some(self.enter(screen)),
            Key::Cancel => return Some(self.cancel(screen)),
            Key::Tab => self.complete(complete, screen),
            Key::Backspace => self.replace(cursor.saturating_sub(1)..cursor, b"", screen),
            Key::Delete => self.replace(cursor..len.min(cursor + 1), b"", screen),
            Key::KillToEnd => self.replace(cursor..len, b"", screen),
            Key::KillWord => self.replace(self.blank_left()..cursor, b"", screen),
            Key::KillWordRight => self.replace(cursor..self.word_right(), b"", screen),
            Key::KillLine => {
                self.replace(0..len, b"", screen);
                self.fault = None;
            }
            Key::Left => self.move_to(cursor.saturating_sub(1), screen),
            Key::Right => self.move_to(len.min(cursor + 1), screen),
            Key::WordLeft => self.move_to(self.word_left(), screen),
            Key::WordRight => self.move_to(self.word_right(), screen),
            Key::Home => self.move_to(0, screen),
            Key::End => self.move_to(len, screen),
            Key::Up => self.recall(self.back + 1, screen),
            Key::Down => self.recall(self.back.saturating_sub(1), screen),
            Key::Redraw => {
                self.put(screen, if self.escapes() { "\x1b[H\x1b[2J" } else { "\n" });
                self.redraw(screen);
            }
            Key::BadByte(byte) => self.spoil(LineFault::BadByte(byte)),
            Key::CutSequence => self.spoil(LineFault::CutSequence),
            Key::Unknown => {}
        }
        None
    }

    /// Remembers the first thing that makes the line unfit to run.
    fn spoil(&mut self, fault: LineFault) {
        self.fault.get_or_insert(fault);
    }

    fn insert(&mut self, c: u8, screen: &mut Screen<'_>) {
        if self.line.len == LINE_BYTES_MAX {
            self.spoil(LineFault::TooLong);
        } else {
            self.replace(self.cursor..self.cursor, &[c], screen);
        }
    }

    fn enter(&mut self, screen: &mut Screen<'_>) -> Entered {
        self.move_to(self.line.len, screen);
        self.put(screen, "\n");
        self.enter_line(screen)
    }

    /// Ends the line: it goes to the history, or is dropped.
    fn enter_line(&mut self, screen: &mut Screen<'_>) -> Entered {
        let fault = self.fault.take().or_else(|| self.expand_reference(screen).err().map(LineFault::History));
        self.entered = self.line;
        self.clear();
        if let Some(fault) = fault {
            return Entered::Dropped(fault);
        }
        self.history.push(self.entered.as_str());
        Entered::Line
    }

    /// Puts the line from the history in the place of `!!` or `!n`, and shows what came of it.
    fn expand_reference(&mut self, screen: &mut Screen<'_>) -> Result<(), HistoryError> {
        let mut expanded = Line::EMPTY;
        let Some((found, rest)) = self.history.expand(self.line.as_str())? else { return Ok(()) };
        let fits = expanded.replace(0..0, rest.as_bytes()) && expanded.replace(0..0, found.as_bytes());
        debug_assert!(fits, "History::expand checks the length");
        self.line = expanded;
        self.put(screen, self.line.as_str());
        self.put(screen, "\n");
        Ok(())
    }

    fn cancel(&mut self, screen: &mut Screen<'_>) -> Entered {
        self.put(screen, "^C\n");
        self.fault = None;
        self.clear();
        Entered::Cancelled
    }

    fn clear(&mut self) {
        self.line = Line::EMPTY;
        self.cursor = 0;
        self.back = 0;
    }

    /// Shows the line `back` lines ago, or the draft.
    fn recall(&mut self, back: usize, screen: &mut Screen<'_>) {
        let mut recalled = Line::EMPTY;
        match back.checked_sub(1).map(|back| self.history.back(back)) {
            None => recalled = self.draft,
            Some(Some(line)) => _ = recalled.replace(0..0, line.as_bytes()),
            Some(None) => return,
        }
        match (self.back, back) {
            (0, 0) => return,
            (0, _) => self.draft = self.line,
            _ => {}
        }
        self.back = back;
        self.replace(0..self.line.len, recalled.as_str().as_bytes(), screen);
    }

    /// As [`Editor::show`], for keys: nothing when what is typed is not shown.
    fn redraw(&self, screen: &mut Screen<'_>) {
        if self.echo {
            self.show(screen);
        }
    }

    /// Puts `text` in the place of `range`, the cursor behind it, and draws what changed.
    fn replace(&mut self, range: Range<usize>, text: &[u8], screen: &mut Screen<'_>) {
        let (start, old_len) = (range.start, self.line.len);
        self.move_to(start, screen);
        if !self.line.replace(range, text) {
            return self.spoil(LineFault::TooLong);
        }
        let blanks = old_len.saturating_sub(self.line.len);
        self.put(screen, &self.line.as_str()[start..]);
        self.fill(screen, " ", blanks);
        self.cursor = start + text.len();
        self.fill(screen, "\x08", self.line.len + blanks - self.cursor);
    }

    fn move_to(&mut self, cursor: usize, screen: &mut Screen<'_>) {
        if cursor < self.cursor {
            self.fill(screen, "\x08", self.cursor - cursor);
        } else {
            self.put(screen, &self.line.as_str()[self.cursor..cursor]);
        }
        self.cursor = cursor;
    }

    /// Start of the blank-separated word before the cursor, as ^W sees it.
    fn blank_left(&self) -> usize {
        let before = self.line.as_str()[..self.cursor].trim_end();
        before.rfind(' ').map_or(0, |blank| blank + 1)
    }

    /// Start of the name or number before the cursor, as Alt-b sees it.
    fn word_left(&self) -> usize {
        let before = self.line.as_str()[..self.cursor].trim_end_matches(|c| !is_word(c));
        before.rfind(|c| !is_word(c)).map_or(0, |blank| blank + 1)
    }

    /// End of the name or number after the cursor, as Alt-f sees it.
    fn word_right(&self) -> usize {
        let after = &self.line.as_str()[self.cursor..];
        let start = after.find(is_word).unwrap_or(after.len());
        let len = after[start..].find(|c| !is_word(c)).unwrap_or(after.len() - start);
        self.cursor + start + len
    }

    fn put(&self, screen: &mut Screen<'_>, text: &str) {
        if self.echo {
            let _ = screen.write_str(text);
        }
    }

    fn fill(&self, screen: &mut Screen<'_>, text: &str, times: usize) {
        (0..times).for_each(|_| self.put(screen, text));
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests;
