//! A number of things in words: "1 page", "2 pages".

use core::fmt;

/// So many of what the word says, which takes an `s` when they are not one.
#[derive(Clone, Copy)]
pub struct Count(pub u64, pub &'static str);

impl Count {
    /// A number of pages.
    pub fn pages(n: u64) -> Count {
        Count(n, "page")
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}
