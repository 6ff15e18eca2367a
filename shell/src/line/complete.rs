//! What TAB does to a line: finds what the candidates have in common, inserts it, or lists them.
//!
//! The editor does not know what can stand in a line; a [`Complete`] does. The candidates are looked through as they come
//! and kept nowhere, so that there may be any number of them.

use super::{Editor, Screen};

/// Columns into which candidates are listed.
const SCREEN_COLUMNS: usize = 80;
/// Longest text that TAB inserts.
const COMPLETION_BYTES_MAX: usize = 128;

/// A text that could stand from byte `start` of the line up to the cursor.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Where the word begins that is being completed.
    pub start: usize,
    /// What could stand there.
    pub text: &'a str,
    /// Whether more may follow without a blank, as after a directory.
    pub open: bool,
}

/// Knows what can stand in a line.
pub trait Complete {
    /// Calls `each` with all that can stand at the end of `before`, whatever of it is typed already.
    fn complete(&self, before: &str, each: &mut dyn FnMut(Candidate<'_>));
}

impl Editor {
    /// TAB: inserts what all candidates have in common, or lists them when that is typed already.
    pub(super) fn complete(&mut self, complete: &dyn Complete, screen: &mut Screen<'_>) {
        let mut found = Found::default();
        let line = self.line;
        let before = &line.as_str()[..self.cursor];
        complete.complete(before, &mut |candidate| found.add(before, candidate));
        if found.count == 0 {
            return;
        }
        let common = &found.common[..found.len];
        let typed = &before.as_bytes()[found.start..];
        if found.count == 1 {
            self.replace(found.start..self.cursor, common, screen);
            if !found.open {
                self.insert(b' ', screen);
            }
        } else if common != typed && common.len() >= typed.len() {
            self.replace(found.start..self.cursor, common, screen);
        } else {
            self.list(complete, before, found.width, screen);
            self.redraw(screen);
        }
    }

    /// Lists the candidates in columns.
    fn list(&self, complete: &dyn Complete, before: &str, width: usize, screen: &mut Screen<'_>) {
        let columns = (SCREEN_COLUMNS / (width + 2)).max(1);
        let mut n = 0;
        complete.complete(before, &mut |candidate| {
            if candidate.matches(before) {
                self.put(screen, if n % columns == 0 { "\n" } else { "  " });
                self.put(screen, candidate.text);
                n += 1;
                if n % columns != 0 {
                    self.fill(screen, " ", width - candidate.text.len());
                }
            }
        });
        self.put(screen, "\n");
    }
}

impl Candidate<'_> {
    /// Whether it begins with what is typed, upper and lower case being the same.
    fn matches(&self, before: &str) -> bool {
        let typed = &before.as_bytes()[self.start..];
        self.text.as_bytes().get(..typed.len()).is_some_and(|head| head.eq_ignore_ascii_case(typed))
    }
}

/// What the candidates have in common.
struct Found {
    count: usize,
    start: usize,
    open: bool,
    /// Length of the longest.
    width: usize,
    common: [u8; COMPLETION_BYTES_MAX],
    len: usize,
}

impl Default for Found {
    fn default() -> Found {
        Found { count: 0, start: 0, open: false, width: 0, common: [0; COMPLETION_BYTES_MAX], len: 0 }
    }
}

impl Found {
    fn add(&mut self, before: &str, candidate: Candidate<'_>) {
        let text = candidate.text.as_bytes();
        if !candidate.matches(before) || text.len() > COMPLETION_BYTES_MAX {
            return;
        }
        if self.count == 0 {
            self.common[..text.len()].copy_from_slice(text);
            (self.len, self.start, self.open) = (text.len(), candidate.start, candidate.open);
        }
        let same = self.common[..self.len].iter().zip(text).take_while(|(a, b)| a == b).count();
        self.len = same;
        self.count += 1;
        self.width = self.width.max(text.len());
    }
}
