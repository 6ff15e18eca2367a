//! `AllocFlags` in events: a number there, names here.
//!
//! Key types: [`AllocFlagNames`] (all of an attempt's flags, the watermark first) and [`Opened`] (only those that lower a
//! watermark). Events hold the bits, for `mm::zone`, which has the flags, stands on a floor above.

use core::fmt;

/// The names of alloc flags above the two bits of the watermark, by bit number from 2.
const FLAG_NAMES: [&str; 9] =
    ["NO_WATERMARKS", "OOM", "HARDER", "HIGH", "CPUSET", "CMA", "NOFRAGMENT", "KSWAPD", "SPREAD_DIRTY"];

const NO_WATERMARKS: u32 = 1 << 2;
const OOM: u32 = 1 << 3;
const HARDER: u32 = 1 << 4;
const HIGH: u32 = 1 << 5;

/// The bits of `AllocFlags` by name, the watermark first: `WMARK_MIN|HARDER`. No watermark when none is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AllocFlagNames(pub u32);

/// The bits of `AllocFlags` that let a request below a watermark.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Opened(u32);

impl Opened {
    /// Those among `flags`. A victim's share is the larger one, so `OOM` hides `HARDER`.
    pub const fn among(flags: u32) -> Opened {
        let hidden = if flags & OOM != 0 { HARDER } else { 0 };
        Opened(flags & (OOM | HARDER | HIGH) & !hidden)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// `ALLOC_HIGH`: half of the watermark.
    pub const fn high(self) -> bool {
        self.0 & HIGH != 0
    }

    /// What may be used of the rest beside that, by Linux's name: half for `ALLOC_OOM`, a quarter for `ALLOC_HARDER`.
    pub const fn rest(self) -> Option<&'static str> {
        match self.0 & (OOM | HARDER) {
            0 => None,
            OOM => Some("ALLOC_OOM"),
            _ => Some("ALLOC_HARDER"),
        }
    }
}

fn write_names(f: &mut fmt::Formatter<'_>, mark: Option<&'static str>, flags: u32) -> fmt::Result {
    let others = FLAG_NAMES.iter().enumerate().filter(|(bit, _)| flags >> (bit + 2) & 1 != 0);
    let mut separator = "";
    for name in mark.into_iter().chain(others.map(|(_, &name)| name)) {
        write!(f, "{separator}{name}")?;
        separator = "|";
    }
    Ok(())
}

impl fmt::Display for AllocFlagNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AllocFlagNames(flags) = *self;
        let mark = ["WMARK_MIN", "WMARK_LOW", "WMARK_HIGH", "WMARK_HIGH"][(flags & 3) as usize];
        write_names(f, Some(mark).filter(|_| flags & NO_WATERMARKS == 0), flags)
    }
}

impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_names(f, None, self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::zone::AllocFlags;

    #[test]
    fn names_are_those_of_alloc_flags() {
        for (name, flag) in AllocFlags::all().iter_names() {
            let text = AllocFlagNames(flag.bits()).to_string();
            assert_eq!(text.strip_prefix("WMARK_MIN|").unwrap_or(&text), name);
        }
        assert_eq!(AllocFlagNames(0).to_string(), "WMARK_MIN");
        let some = AllocFlags::WMARK_HIGH | AllocFlags::HARDER | AllocFlags::KSWAPD;
        assert_eq!(AllocFlagNames(some.bits()).to_string(), "WMARK_HIGH|HARDER|KSWAPD");
    }

    #[test]
    fn flags_that_open_are_told_from_others() {
        let opened = |flags: AllocFlags| Opened::among(flags.bits());
        let atomic = opened(AllocFlags::HIGH | AllocFlags::HARDER | AllocFlags::KSWAPD);
        assert_eq!(
            (atomic.to_string().as_str(), atomic.high(), atomic.rest()),
            ("HARDER|HIGH", true, Some("ALLOC_HARDER"))
        );
        let victim = opened(AllocFlags::OOM | AllocFlags::HARDER);
        assert_eq!((victim.to_string().as_str(), victim.high(), victim.rest()), ("OOM", false, Some("ALLOC_OOM")));
        assert!(opened(AllocFlags::CPUSET | AllocFlags::NO_WATERMARKS | AllocFlags::WMARK_HIGH).is_empty());
    }
}
