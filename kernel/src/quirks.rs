//! Surprises of Linux v5.0, and the switches that exchange them for what later kernels do.
//!
//! [`QUIRKS`] is the one table: it parses `quirk.NAME=VALUE`, prints, and completes. [`Quirks`] holds the choice for a
//! machine; by default everything is as in v5.0, literally. A row with a single value is listed for the record: there
//! is no kernel that does it otherwise.

use core::fmt;

/// A quirk; the variants stand in the order of [`QUIRKS`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quirk {
    /// Q1: `ALLOC_NOFRAGMENT` is never set.
    Nofragment,
    /// Q2: LOW and HIGH are computed from a stale boost.
    BoostReset,
    /// Q3: tiny zones are boosted.
    SmallBoost,
    /// Q4: `lowmem_reserve` is indexed by the preferred zone.
    Classzone,
    /// Q5: movable and reclaimable at once.
    TwoMobilities,
    /// Q6: reserved memory with `no-map` becomes a hole.
    Nomap,
    /// Q7: reading a ratio recomputes.
    RatioRead,
    /// Q8: order 0 counts the highatomic reserve as free.
    HarderOrder0,
    /// Q9: `ALLOC_NO_WATERMARKS` replaces all other flags.
    ReplaceFlags,
    /// Q10: transparent huge pages raise `min_free_kbytes`.
    ThpMinFree,
}

/// What is known about a quirk.
#[derive(Clone, Copy, Debug)]
pub struct QuirkInfo {
    /// The quirk.
    pub quirk: Quirk,
    /// Number in the specification.
    pub id: &'static str,
    /// Name of the switch.
    pub name: &'static str,
    /// What the switch may be set to, v5.0's literal behaviour first: the default.
    pub values: &'static [&'static str],
    /// What v5.0 does.
    pub about: &'static str,
    /// The kernel that does it otherwise.
    pub fixed_in: &'static str,
}

const fn row(
    quirk: Quirk,
    (id, name): (&'static str, &'static str),
    values: &'static [&'static str],
    about: &'static str,
    fixed_in: &'static str,
) -> QuirkInfo {
    QuirkInfo { quirk, id, name, values, about, fixed_in }
}

/// Every quirk.
pub const QUIRKS: [QuirkInfo; 10] = [
    row(Quirk::Nofragment, ("Q1", "nofragment"), &["5.0", "5.1"], "ALLOC_NOFRAGMENT is never set", "5.1"),
    row(
        Quirk::BoostReset,
        ("Q2", "boost_reset"),
        &["late", "early"],
        "LOW and HIGH are computed from the old boost before it is dropped",
        "5.8",
    ),
    row(
        Quirk::SmallBoost,
        ("Q3", "small_boost"),
        &["on", "off"],
        "tiny zones are boosted too, by a pageblock at least",
        "5.7",
    ),
    row(
        Quirk::Classzone,
        ("Q4", "classzone"),
        &["preferred", "highest"],
        "lowmem_reserve goes by the preferred zone, not the highest allowed",
        "5.8",
    ),
    row(
        Quirk::TwoMobilities,
        ("Q5", "two_mobilities"),
        &["reject"],
        "movable and reclaimable at once indexes past the per-CPU lists",
        "never",
    ),
    row(
        Quirk::Nomap,
        ("Q6", "nomap"),
        &["remove", "mark"],
        "reserved memory with no-map is removed from RAM, not marked",
        "5.8",
    ),
    row(
        Quirk::RatioRead,
        ("Q7", "ratio_read"),
        &["recompute"],
        "reading a ratio of vm recomputes what depends on it",
        "never",
    ),
    row(
        Quirk::HarderOrder0,
        ("Q8", "harder_order0"),
        &["count"],
        "order 0 counts the highatomic reserve as free but cannot take it",
        "never",
    ),
    row(
        Quirk::ReplaceFlags,
        ("Q9", "replace_flags"),
        &["replace"],
        "ALLOC_NO_WATERMARKS and ALLOC_OOM replace all other flags",
        "never",
    ),
    row(
        Quirk::ThpMinFree,
        ("Q10", "thp_min_free"),
        &["off", "on"],
        "starting transparent huge pages raises min_free_kbytes; off here",
        "never",
    ),
];

impl Quirk {
    /// The quirk's row of [`QUIRKS`].
    pub const fn info(self) -> &'static QuirkInfo {
        &QUIRKS[self as usize]
    }
}

/// Which quirks are switched away from the default. By default none is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quirks(u16);

impl Quirks {
    /// Whether the quirk is switched away from its default, the first of its values.
    pub const fn switched(self, quirk: Quirk) -> bool {
        self.0 >> quirk as u32 & 1 != 0
    }

    /// The value that the quirk's switch has.
    pub const fn value(self, quirk: Quirk) -> &'static str {
        quirk.info().values[self.switched(quirk) as usize]
    }

    /// Sets the switch called `name`.
    pub fn set<'a>(&mut self, name: &'a str, value: &'a str) -> Result<(), QuirkError<'a>> {
        let info = QUIRKS.iter().find(|info| info.name == name).ok_or(QuirkError::UnknownName(name))?;
        let choice = info.values.iter().position(|v| *v == value).ok_or(QuirkError::BadValue(info.quirk, value))?;
        let bit = 1 << info.quirk as u32;
        self.0 = if choice == 0 { self.0 & !bit } else { self.0 | bit };
        Ok(())
    }

    /// Every quirk with the value that its switch has.
    pub fn iter(self) -> impl Iterator<Item = (&'static QuirkInfo, &'static str)> {
        QUIRKS.iter().map(move |info| (info, self.value(info.quirk)))
    }
}

/// Why a switch was not set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QuirkError<'a> {
    /// No quirk has this name.
    UnknownName(&'a str),
    /// The quirk's switch has no such value.
    BadValue(Quirk, &'a str),
}

impl fmt::Display for QuirkError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            QuirkError::UnknownName(name) => {
                write!(f, "no quirk is named '{name}'; there are")?;
                QUIRKS.iter().try_for_each(|info| write!(f, " {}", info.name))
            }
            QuirkError::BadValue(quirk, value) => {
                write!(f, "quirk {} cannot be '{value}'; it can be", quirk.info().name)?;
                quirk.info().values.iter().try_for_each(|v| write!(f, " {v}"))
            }
        }
    }
}

impl core::error::Error for QuirkError<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (i, info) in QUIRKS.iter().enumerate() {
            assert_eq!(info.quirk as usize, i);
            assert_eq!(info.id, format!("Q{}", i + 1));
            assert!((1..=2).contains(&info.values.len()), "{}", info.name);
            assert_eq!(QUIRKS.iter().filter(|other| other.name == info.name).count(), 1);
        }
    }

    #[test]
    fn every_value_can_be_set_and_read_back() {
        for info in &QUIRKS {
            let mut quirks = Quirks::default();
            assert_eq!(quirks.value(info.quirk), info.values[0]);
            for value in info.values.iter().chain(info.values) {
                quirks.set(info.name, value).unwrap();
                assert_eq!(quirks.value(info.quirk), *value);
                assert_eq!(
                    quirks.iter().filter(|(i, v)| *v != i.values[0]).count(),
                    (*value != info.values[0]) as usize
                );
            }
        }
    }

    #[test]
    fn errors_name_what_would_be_right() {
        let mut quirks = Quirks::default();
        let error = quirks.set("nomap", "maybe").unwrap_err();
        assert_eq!(error.to_string(), "quirk nomap cannot be 'maybe'; it can be remove mark");
        let error = quirks.set("no_map", "mark").unwrap_err().to_string();
        assert!(error.starts_with("no quirk is named 'no_map'; there are nofragment boost_reset"), "{error}");
        assert_eq!(quirks, Quirks::default());
    }
}
