//! Sizes of memory as people write them: `64K`, `2M`, `1G`, `0x1000`.
//!
//! [`Size`] counts bytes; it prints in the largest unit that is exact, which is also how QEMU wants it. The same
//! notation as that of the boot arguments and of the shell.

use std::fmt;
use std::iter::Sum;
use std::str::FromStr;

use anyhow::{Context, Error, bail};

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Size(pub u64);

/// Unit letters, largest first, with the logarithm of their bytes.
const UNITS: [(char, u32); 4] = [('T', 40), ('G', 30), ('M', 20), ('K', 10)];

impl Size {
    /// A whole number of GiB.
    pub const fn gib(n: u64) -> Size {
        Size(n << 30)
    }
}

impl FromStr for Size {
    type Err = Error;

    fn from_str(text: &str) -> Result<Size, Error> {
        let last = text.chars().last().map(|c| c.to_ascii_uppercase());
        let (digits, shift) = match UNITS.iter().find(|(unit, _)| Some(*unit) == last) {
            Some((_, shift)) => (&text[..text.len() - 1], *shift),
            None => (text, 0),
        };
        let number = match digits.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => digits.parse(),
        };
        let number = number.with_context(|| format!("'{text}' is not a size; write it as 64K, 2M, 1G or 0x1000"))?;
        match number.checked_mul(1 << shift) {
            Some(bytes) => Ok(Size(bytes)),
            None => bail!("'{text}' is more than 64 bits can count"),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in UNITS {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl Sum for Size {
    fn sum<I: Iterator<Item = Size>>(sizes: I) -> Size {
        Size(sizes.map(|size| size.0).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_printed() {
        for (text, bytes, printed) in [
            ("1G", 1 << 30, "1G"),
            ("1024m", 1 << 30, "1G"),
            ("1536M", 3 << 29, "1536M"),
            ("0x1000", 4096, "4K"),
            ("0x1K", 1024, "1K"),
            ("1000", 1000, "1000"),
            ("0", 0, "0"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, printed), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "G", "1GG", "-1", "1.5G", "0x", "99999999T", "one"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
