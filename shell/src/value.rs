//! Words become typed values.
//!
//! Each function reads one kind of argument, and a [`ValueError`] says in one line what was wrong and what would be
//! right, with the nearest known name for a typing error ([`nearest`]). Masks are the kernel's own grammar (`kernel::gfp`);
//! what stands here is the shell's. `command.rs` says which word is of which kind.

use core::fmt;

use kernel::addr::{MAX_ORDER, Order};
use kernel::bootargs::parse_size;
use kernel::gfp::{Gfp, GfpError, NAMES, ParsedGfp};
use kernel::mmzone::NodeMask;

/// Why a word is not the value that stands in its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValueError<'a> {
    /// No number, or one above 64 bits.
    Number(&'a str),
    /// A number outside `low..=high`.
    Range {
        /// What the number is for.
        what: &'static str,
        /// The word.
        word: &'a str,
        /// The least that would be right.
        low: i64,
        /// The most that would be right.
        high: i64,
    },
    /// No number of bytes.
    Size(&'a str),
    /// No order from 0 to 10.
    Order(&'a str),
    /// No handle or range of handles.
    Handle(&'a str),
    /// No movable page or range of them.
    Movable(&'a str),
    /// No job.
    Job(&'a str),
    /// No list of nodes.
    Nodes(&'a str),
    /// No mask.
    Gfp(GfpError<'a>, Option<Nearest>),
    /// No name of this kind.
    Unknown {
        /// What kind of name should stand here.
        what: &'static str,
        /// The word.
        word: &'a str,
        /// The name that was probably meant.
        nearest: Option<Nearest>,
    },
}

impl fmt::Display for ValueError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueError::Number(word) => write!(f, "`{word}` is not a number (decimal, or 0x and hexadecimal)"),
            ValueError::Size(word) => write!(f, "`{word}` is not a size, as 4096, 0x1000, 64K and 2M are"),
            ValueError::Range { what, word, low, high } => write!(f, "{what} must be {low}..{high}, not {word}"),
            ValueError::Order(word) => write!(f, "order must be 0..{} (MAX_PAGE_ORDER), not {word}", MAX_ORDER - 1),
            ValueError::Handle(word) => write!(f, "`{word}` is not a handle, as #7 and #8..#51 are"),
            ValueError::Movable(word) => write!(f, "`{word}` is not a movable page, as h7, h0..h51 and h1..h51/2 are"),
            ValueError::Job(word) => write!(f, "`{word}` is not a job, as %1 is"),
            ValueError::Nodes(word) => write!(f, "`{word}` is not a list of nodes, as 0-1,3 is"),
            ValueError::Gfp(error, nearest) => write!(f, "{error}{}", Suggestion(*nearest)),
            ValueError::Unknown { what, word, nearest } => {
                write!(f, "no {what} `{word}`{}", Suggestion(*nearest))
            }
        }
    }
}

/// The question at the end of a line about an unknown name.
pub struct Suggestion(pub Option<Nearest>);

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |nearest| write!(f, "; did you mean `{}`?", nearest.as_str()))
    }
}

/// A number: decimal, or `0x` and hexadecimal digits.
pub fn number(word: &str) -> Result<u64, ValueError<'_>> {
    let (digits, radix) = match word.get(..2) {
        Some("0x" | "0X") => (&word[2..], 16),
        _ => (word, 10),
    };
    // from_str_radix takes a sign, which is none of ours.
    let signed = digits.starts_with(['+', '-']);
    if signed { None } else { u64::from_str_radix(digits, radix).ok() }.ok_or(ValueError::Number(word))
}

/// A number of bytes, perhaps in K, M or G.
pub fn size(word: &str) -> Result<u64, ValueError<'_>> {
    parse_size(word).map_err(|_| ValueError::Size(word))
}

/// A number from `low` to `high`, possibly with a minus.
pub fn number_in<'a>(what: &'static str, word: &'a str, low: i64, high: i64) -> Result<i64, ValueError<'a>> {
    let (digits, sign) = word.strip_prefix('-').map_or((word, 1), |digits| (digits, -1));
    let n = number(digits).map_err(|_| ValueError::Number(word))?;
    let n = i64::try_from(n).map_or(i64::MAX, |n| n * sign);
    if (low..=high).contains(&n) { Ok(n) } else { Err(ValueError::Range { what, word, low, high }) }
}

/// An order, 0 to 10.
pub fn order(word: &str) -> Result<Order, ValueError<'_>> {
    let n = number(word).ok().and_then(|n| u32::try_from(n).ok());
    n.and_then(Order::new).ok_or(ValueError::Order(word))
}

/// How many times: a number from 1, or `max` for as often as it goes.
pub fn count(word: &str) -> Result<Option<u64>, ValueError<'_>> {
    if word == "max" {
        return Ok(None);
    }
    number_in("the count", word, 1, u32::MAX.into()).map(|n| Some(n as u64))
}

/// Handle numbers from `first` to `last`, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HandleRange {
    /// The first.
    pub first: u32,
    /// The last.
    pub last: u32,
}

/// `#7`, or `#8..#51`; the second `#` may be left out.
pub fn handles(word: &str) -> Result<HandleRange, ValueError<'_>> {
    let wrong = ValueError::Handle(word);
    let one = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten();
    let rest = word.strip_prefix('#').ok_or(wrong)?;
    let (first, last) = match rest.split_once("..") {
        None => (rest, rest),
        Some((first, last)) => (first, last.strip_prefix('#').unwrap_or(last)),
    };
    let range = HandleRange { first: one(first).ok_or(wrong)?, last: one(last).ok_or(wrong)? };
    if range.first == 0 || range.first > range.last { Err(wrong) } else { Ok(range) }
}

/// Numbers of movable pages: every `step`th from `first` to `last`, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MovableRange {
    /// The first.
    pub first: u32,
    /// The last.
    pub last: u32,
    /// 1 for all of them.
    pub step: u32,
}

/// `h7`, `h0..h51`, or `h1..h51/2` for every second; the second `h` may be left out. `all` is for the caller.
pub fn movable(word: &str) -> Result<MovableRange, ValueError<'_>> {
    let wrong = ValueError::Movable(word);
    let one = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten();
    let (range, step) = word.split_once('/').map_or((word, Some(1)), |(range, step)| (range, one(step)));
    let rest = range.strip_prefix('h').ok_or(wrong)?;
    let (first, last) = match rest.split_once("..") {
        None => (rest, rest),
        Some((first, last)) => (first, last.strip_prefix('h').unwrap_or(last)),
    };
    match (one(first), one(last), step) {
        (Some(first), Some(last), Some(step @ 1..)) if first <= last => Ok(MovableRange { first, last, step }),
        _ => Err(wrong),
    }
}

/// The number of a job: `%1`, or `1`.
pub fn job(word: &str) -> Result<u8, ValueError<'_>> {
    let number = word.strip_prefix('%').unwrap_or(word).parse();
    number.map_err(|_| ValueError::Job(word))
}

/// Nodes, `0-1,3`.
pub fn nodes(word: &str) -> Result<NodeMask, ValueError<'_>> {
    NodeMask::parse(word).ok_or(ValueError::Nodes(word))
}

/// A mask in any spelling that the kernel reads.
pub fn gfp(word: &str) -> Result<ParsedGfp, ValueError<'_>> {
    Gfp::parse(word).map_err(|error| {
        let nearest = match error {
            // With its prefix, or as people abbreviate it.
            GfpError::Unknown { word, .. } => nearest(word, NAMES.iter().map(|row| row.name)).or_else(|| {
                NAMES
                    .iter()
                    .find(|row| nearest(word, [row.short()].into_iter()).is_some())
                    .and_then(|row| Nearest::new(row.name))
            }),
            _ => None,
        };
        ValueError::Gfp(error, nearest)
    })
}

/// One of a few names; `what` they are names of.
pub fn one_of<'a, T: Copy>(
    what: &'static str,
    word: &'a str,
    names: impl Iterator<Item = (&'static str, T)> + Clone,
) -> Result<T, ValueError<'a>> {
    let found = names.clone().find(|(name, _)| name.eq_ignore_ascii_case(word));
    found.map(|(_, value)| value).ok_or_else(|| unknown(what, word, names.map(|(name, _)| name)))
}

/// The error for a word that is none of `names`.
pub fn unknown<'a, 'n>(what: &'static str, word: &'a str, names: impl Iterator<Item = &'n str>) -> ValueError<'a> {
    ValueError::Unknown { what, word, nearest: nearest(word, names) }
}

/// A short name by value, so that an error can hold a name that lives elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nearest {
    bytes: [u8; NAME_BYTES_MAX],
    len: u8,
}

/// Names longer than this are neither compared nor suggested.
const NAME_BYTES_MAX: usize = 48;

impl Nearest {
    /// `name`, unless it is too long.
    pub fn new(name: &str) -> Option<Nearest> {
        let mut bytes = [0; NAME_BYTES_MAX];
        bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        Some(Nearest { bytes, len: name.len() as u8 })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.len as usize]).unwrap_or_default()
    }
}

/// The name that was probably meant by `word`: the one with the fewest typing errors, if they are few enough.
pub fn nearest<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<Nearest> {
    let mut search = Search::new(word);
    names.for_each(|name| search.offer(name));
    search.nearest()
}

/// [`nearest`] among names that come one by one and do not last.
pub struct Search<'a> {
    word: &'a str,
    best: Option<(usize, Nearest)>,
}

impl<'a> Search<'a> {
    /// A search for what was meant by `word`.
    pub const fn new(word: &'a str) -> Search<'a> {
        Search { word, best: None }
    }

    /// Looks at one more name; of equally near ones the first is kept.
    pub fn offer(&mut self, name: &str) {
        let most = (self.word.len() / 3).max(1);
        let Some(errors) = distance(self.word, name).filter(|&errors| errors <= most) else { return };
        if self.best.is_none_or(|(least, _)| errors < least) {
            self.best = Nearest::new(name).map(|name| (errors, name));
        }
    }

    /// The nearest name, if one is near enough.
    pub fn nearest(self) -> Option<Nearest> {
        self.best.map(|(_, nearest)| nearest)
    }
}

/// Typing errors between two names, case aside: characters missing, added, wrong, or swapped with their neighbour.
/// `None` when one is too long to be compared.
fn distance(a: &str, b: &str) -> Option<usize> {
    if a.len() > NAME_BYTES_MAX || b.len() > NAME_BYTES_MAX {
        return None;
    }
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let same = |i: usize, j: usize| a[i].eq_ignore_ascii_case(&b[j]);
    // rows[0] is the row being filled, for the first i + 1 characters of a; rows[1] and rows[2] are those before.
    let mut rows = [[0; NAME_BYTES_MAX + 1]; 3];
    (0..=b.len()).for_each(|j| rows[0][j] = j);
    for i in 0..a.len() {
        rows.rotate_right(1);
        rows[0][0] = i + 1;
        for j in 0..b.len() {
            let replaced = rows[1][j] + usize::from(!same(i, j));
            let mut least = replaced.min(rows[1][j + 1] + 1).min(rows[0][j] + 1);
            if i > 0 && j > 0 && same(i, j - 1) && same(i - 1, j) {
                least = least.min(rows[2][j - 1] + 1);
            }
            rows[0][j + 1] = least;
        }
    }
    Some(rows[0][b.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;

    #[track_caller]
    fn check<T: fmt::Debug>(result: Result<T, ValueError<'_>>, expected: &str) {
        let text: String = result.map_or_else(|error| format!("{error}"), |value| format!("{value:?}"));
        assert_eq!(text, expected);
    }

    #[test]
    fn numbers_are_decimal_or_hexadecimal() {
        check(number("10"), "10");
        check(number("0x1F"), "31");
        check(number("010"), "10");
        check(
            number("18446744073709551616"),
            "`18446744073709551616` is not a number (decimal, or 0x and hexadecimal)",
        );
        for word in ["", "-1", "+1", "0x", "0x-1", "1k", "ten"] {
            check(number(word), &format!("`{word}` is not a number (decimal, or 0x and hexadecimal)"));
        }
        check(number_in("oom_score_adj", "-1000", -1000, 1000), "-1000");
        check(number_in("oom_score_adj", "1001", -1000, 1000), "oom_score_adj must be -1000..1000, not 1001");
        check(number_in("n", "0xffffffffffffffff", 0, 9), "n must be 0..9, not 0xffffffffffffffff");
    }

    #[test]
    fn sizes_have_units() {
        check(size("64K"), "65536");
        check(size("0x10"), "16");
        check(size("4x"), "`4x` is not a size, as 4096, 0x1000, 64K and 2M are");
    }

    #[test]
    fn orders_end_at_ten() {
        check(order("10"), "Order(10)");
        for word in ["11", "-1", "x", "99999999999999999999"] {
            check(order(word), &format!("order must be 0..10 (MAX_PAGE_ORDER), not {word}"));
        }
    }

    #[test]
    fn counts_start_at_one() {
        check(count("44"), "Some(44)");
        check(count("max"), "None");
        check(count("0"), "the count must be 1..4294967295, not 0");
    }

    #[test]
    fn handles_are_numbers_and_ranges() {
        check(handles("#7"), "HandleRange { first: 7, last: 7 }");
        check(handles("#8..#51"), "HandleRange { first: 8, last: 51 }");
        check(handles("#8..51"), "HandleRange { first: 8, last: 51 }");
        for word in ["7", "#", "#0", "#9..#8", "#1..", "#1..#2..#3", "#99999999999", "#+1", "#x"] {
            check(handles(word), &format!("`{word}` is not a handle, as #7 and #8..#51 are"));
        }
    }

    #[test]
    fn masks_are_the_kernels() {
        assert_eq!(gfp("GFP_KERNEL|__GFP_ZERO").unwrap().mask, Gfp::GFP_KERNEL | Gfp::__GFP_ZERO);
        let error = format!("{}", gfp("GFP_KERNAL").unwrap_err());
        assert!(error.ends_with("; did you mean `GFP_KERNEL`?"), "{error}");
        let error = format!("{}", gfp("kernl").unwrap_err());
        assert!(error.ends_with("; did you mean `GFP_KERNEL`?"), "{error}");
    }

    #[test]
    fn the_nearest_name_has_the_fewest_errors() {
        let names = ["alloc", "audit", "free", "task new"];
        let near = |word| nearest(word, names.into_iter()).map(|name| String::from(name.as_str()));
        assert_eq!(near("aloc").as_deref(), Some("alloc"));
        assert_eq!(near("fere").as_deref(), Some("free"));
        assert_eq!(near("AUDTI").as_deref(), Some("audit"));
        assert_eq!(near("x"), None);
        assert_eq!(near("zzzzz"), None);
        assert_eq!(near(&"a".repeat(100)), None);
        assert_eq!(distance("", "abc"), Some(3));
        assert_eq!(distance("kitten", "sitting"), Some(3));
    }
}
