//! The last lines that were typed.
//!
//! A [`History`] keeps [`HISTORY_LINES`] lines with the numbers they got when they were entered. A line that is already
//! there moves to the end and gets a new number. `!!` and `!n` at the start of a line stand for a line of the history;
//! [`History::expand`] puts it in their place. The line editor (`line.rs`) walks it with the arrows.
//!
//! bash does more: search, words of earlier lines, a file.

use alloc::collections::VecDeque;
use alloc::string::String;
use core::fmt;

use crate::lex::LINE_BYTES_MAX;

/// Lines that are kept.
pub const HISTORY_LINES: usize = 32;

/// Lines with their numbers, oldest first.
#[derive(Debug, Default)]
pub struct History {
    lines: VecDeque<(u32, String)>,
    last: u32,
}

/// Why a line that begins with `!` stands for nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HistoryError {
    /// `!!` before anything was typed.
    Empty,
    /// `!n` with a number that is not, or no longer, there.
    NoLine(u32),
    /// `!` followed by neither.
    NotAReference,
    /// The line would be longer than [`LINE_BYTES_MAX`].
    TooLong,
}

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HistoryError::Empty => f.write_str("!!: the history is empty"),
            HistoryError::NoLine(n) => write!(f, "!{n}: no such line in the history"),
            HistoryError::NotAReference => {
                f.write_str("! is followed by ! or by the number of a line, as in !! and !7")
            }
            HistoryError::TooLong => {
                write!(f, "with the line from the history it is longer than {LINE_BYTES_MAX} bytes")
            }
        }
    }
}

impl History {
    /// Adds `line` at the end. Blank lines are left out; when the heap is empty the line is not kept.
    pub fn push(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        self.lines.retain(|(_, old)| old != line);
        if self.lines.len() == HISTORY_LINES {
            self.lines.pop_front();
        }
        self.last += 1;
        let mut text = String::new();
        if text.try_reserve_exact(line.len()).is_ok() && self.lines.try_reserve(1).is_ok() {
            text.push_str(line);
            self.lines.push_back((self.last, text));
        }
    }

    /// Number of lines.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The line `back` lines before the newest, which is 0.
    pub fn back(&self, back: usize) -> Option<&str> {
        let i = self.lines.len().checked_sub(back + 1)?;
        Some(&self.lines[i].1)
    }

    /// Every line with its number, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        self.lines.iter().map(|(n, line)| (*n, line.as_str()))
    }

    /// What `line` stands for: `None` when it does not begin with `!`, else the line and what is appended to it.
    pub fn expand<'a>(&'a self, line: &'a str) -> Result<Option<(&'a str, &'a str)>, HistoryError> {
        let Some(reference) = line.strip_prefix('!') else { return Ok(None) };
        let (found, rest) = if let Some(rest) = reference.strip_prefix('!') {
            (self.back(0).ok_or(HistoryError::Empty)?, rest)
        } else {
            let digits = reference.bytes().take_while(u8::is_ascii_digit).count();
            let n = reference[..digits].parse().map_err(|_| HistoryError::NotAReference)?;
            let found = self.iter().find(|&(number, _)| number == n);
            (found.ok_or(HistoryError::NoLine(n))?.1, &reference[digits..])
        };
        if found.len() + rest.len() > LINE_BYTES_MAX { Err(HistoryError::TooLong) } else { Ok(Some((found, rest))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    fn history(lines: &[&str]) -> History {
        let mut history = History::default();
        lines.iter().for_each(|line| history.push(line));
        history
    }

    fn listed(history: &History) -> String {
        history.iter().map(|(n, line)| format!("{n}:{line}")).collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn check_expand(line: &str, expected: &str) {
        let text = match history(&["a", "b -n 3"]).expand(line) {
            Ok(None) => "as it is".to_string(),
            Ok(Some((found, rest))) => format!("{found}{rest}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(text, expected);
    }

    #[test]
    fn a_line_typed_again_moves_to_the_end() {
        assert_eq!(listed(&history(&["a", "b", "  ", "a"])), "2:b 3:a");
    }

    #[test]
    fn the_oldest_lines_go_first() {
        let lines: Vec<String> = (0..HISTORY_LINES + 2).map(|n| format!("line{n}")).collect();
        let history = history(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(history.len(), HISTORY_LINES);
        assert_eq!(history.iter().next(), Some((3, "line2")));
        assert_eq!(history.back(0), Some("line33"));
        assert_eq!(history.back(HISTORY_LINES), None);
    }

    #[test]
    fn references_stand_for_lines() {
        check_expand("alloc !!", "as it is");
        check_expand("!!", "b -n 3");
        check_expand("!! && a", "b -n 3 && a");
        check_expand("!1", "a");
        check_expand("!1 x", "a x");
        check_expand("!3", "!3: no such line in the history");
        check_expand("!x", "! is followed by ! or by the number of a line, as in !! and !7");
        check_expand("!99999999999", "! is followed by ! or by the number of a line, as in !! and !7");
        assert_eq!(History::default().expand("!!"), Err(HistoryError::Empty));
        assert_eq!(history(&[&"x".repeat(1000)]).expand(&format!("!!{}", "y".repeat(25))), Err(HistoryError::TooLong));
    }
}
