//! Sizes as people write them: `64K`, `2M`, `0x10000`, `1G`.

use core::fmt;

/// The suffixes, each 1,024 times the one before.
const SUFFIXES: &str = "KMGTPE";

/// Why a text is not a size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SizeError {
    /// It does not start with a digit.
    NoNumber,
    /// After the digits comes something that is neither a digit nor a suffix.
    BadSuffix(char),
    /// It is 2^64 or more.
    TooLarge,
}

impl fmt::Display for SizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            SizeError::NoNumber => f.write_str("a size starts with a digit, as in 64K, 2M, 1G or 0x1000"),
            SizeError::BadSuffix(c) => write!(f, "'{c}' is neither a digit of the size nor a suffix K, M, G, T, P, E"),
            SizeError::TooLarge => f.write_str("the size does not fit into 64 bits"),
        }
    }
}

impl core::error::Error for SizeError {}

/// Reads a size in bytes: a number as in C (decimal, hexadecimal after `0x`, octal after `0`), then perhaps one of the
/// suffixes K, M, G, T, P, E in either case, powers of 1,024.
///
/// Linux's `memparse` reads as far as it can and leaves the rest to the caller; here the whole text must be a size.
#[doc(alias = "memparse")]
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let (radix, digits) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &text[2..]),
        [b'0', b'0'..=b'9', ..] => (8, &text[1..]),
        _ => (10, text),
    };
    let suffix = digits.trim_start_matches(|c: char| c.is_digit(radix));
    let digits = &digits[..digits.len() - suffix.len()];
    let mut rest = suffix.chars();
    let shift = match rest.next() {
        _ if digits.is_empty() && radix != 8 => return Err(SizeError::NoNumber),
        None => 0,
        Some(c) => match SUFFIXES.find(c.to_ascii_uppercase()) {
            Some(i) => 10 * (i as u32 + 1),
            None => return Err(SizeError::BadSuffix(c)),
        },
    };
    if let Some(c) = rest.next() {
        return Err(SizeError::BadSuffix(c));
    }
    let number = digits.bytes().try_fold(0_u64, |n, c| {
        let digit = char::from(c).to_digit(radix)?;
        n.checked_mul(u64::from(radix))?.checked_add(u64::from(digit))
    });
    number.filter(|n| n.leading_zeros() >= shift || *n == 0).map(|n| n << shift).ok_or(SizeError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Result<u64, SizeError>) {
        assert_eq!(parse_size(text), want, "{text:?}");
    }

    #[test]
    fn numbers_as_in_c() {
        check("0", Ok(0));
        check("4096", Ok(4096));
        check("0x1000", Ok(4096));
        check("0XaBc", Ok(0xabc));
        check("010", Ok(8));
        check("18446744073709551615", Ok(u64::MAX));
    }

    #[test]
    fn suffixes_are_powers_of_1024() {
        check("64K", Ok(64 << 10));
        check("2m", Ok(2 << 20));
        check("1G", Ok(1 << 30));
        check("3t", Ok(3 << 40));
        check("1P", Ok(1 << 50));
        check("15E", Ok(15 << 60));
        check("0x10k", Ok(16 << 10));
        check("0x1E", Ok(0x1e));
        check("010M", Ok(8 << 20));
        check("0K", Ok(0));
    }

    #[test]
    fn everything_else_is_an_error() {
        check("", Err(SizeError::NoNumber));
        check("M", Err(SizeError::NoNumber));
        check("-1", Err(SizeError::NoNumber));
        check("+1", Err(SizeError::NoNumber));
        check("0x", Err(SizeError::NoNumber));
        check("1X", Err(SizeError::BadSuffix('X')));
        check("1MB", Err(SizeError::BadSuffix('B')));
        check("1 M", Err(SizeError::BadSuffix(' ')));
        check("08", Err(SizeError::BadSuffix('8')));
        check("1\u{e9}", Err(SizeError::BadSuffix('\u{e9}')));
        check("18446744073709551616", Err(SizeError::TooLarge));
        check("16E", Err(SizeError::TooLarge));
        check("0x10000000000000000", Err(SizeError::TooLarge));
    }
}
