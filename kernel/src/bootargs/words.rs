//! The words of a command line: blanks separate them, quotes protect blanks.

use core::fmt;

/// A word of the line, taken apart at its first `=`, quotes removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Word<'a> {
    /// What stands before the `=`, or the whole word.
    pub name: &'a str,
    /// What stands after it.
    pub value: Option<&'a str>,
}

impl<'a> Word<'a> {
    /// What is left of the name after `pattern`, if they match: nothing, or for a pattern that ends with a dot the rest
    /// of the name. A `-` equals a `_`.
    pub(super) fn matches(&self, pattern: &str) -> Option<&'a str> {
        let same = |a: u8, b: u8| a == b || (a == b'-' && b == b'_');
        let head = self.name.get(..pattern.len())?;
        let rest = &self.name[pattern.len()..];
        let fits = head.bytes().zip(pattern.bytes()).all(|(a, b)| same(a, b));
        (fits && (rest.is_empty() || pattern.ends_with('.'))).then_some(rest)
    }
}

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Some(value) => write!(f, "{}={value}", self.name),
            None => f.write_str(self.name),
        }
    }
}

/// The words of `line` up to a lone `--`, after which they are not the kernel's. Linux: `next_arg`.
pub fn words(line: &str) -> impl Iterator<Item = Word<'_>> {
    let mut rest = line;
    let texts = core::iter::from_fn(move || {
        rest = rest.trim_start_matches(is_blank);
        if rest.is_empty() {
            return None;
        }
        let mut quoted = false;
        let end = rest.find(|c: char| {
            quoted ^= c == '"';
            is_blank(c) && !quoted
        });
        let (text, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        Some(text)
    });
    texts.map(word).take_while(|word| *word != Word { name: "--", value: None })
}

fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace()
}

/// Quotes around the whole word, or around its value, are taken off; others stay.
fn word(text: &str) -> Word<'_> {
    let text = unquote(text);
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Word { name, value: Some(unquote(value)) },
        _ => Word { name: text, value: None },
    }
}

fn unquote(text: &str) -> &str {
    text.strip_prefix('"').map_or(text, |inner| inner.strip_suffix('"').unwrap_or(inner))
}
