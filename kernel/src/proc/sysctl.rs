//! /proc/sys/vm: the settings by name, their limits, and what a write recomputes.
//!
//! [`SYSCTLS`] is the one table: `cat`, `echo`, `sysctl`, boot arguments and completion walk it. A value outside its limits
//! is refused and changes nothing. The values are stored in [`crate::mm::sysctl`], what follows from them is computed in
//! [`crate::mm::reserves`]. Linux: `kernel/sysctl.c`, `vm_table`, and the handlers of `mm/page_alloc.c`.
//!
//! Linux does more: dirty limits in bytes, the settings of swap and overcommit; the switches of the OOM killer may be
//! negative.

use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::fmt;

use crate::mm::compaction;
use crate::mm::drop_caches;
use crate::mm::memory::{Env, Hook, Memory};
use crate::mm::owner::PageOwner;
use crate::mm::reserves;
use crate::mm::sysctl::Sysctls;
use crate::task::Current;

mod table;

pub use table::SYSCTLS;

/// What a setting may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limits {
    /// A number from the first to the second.
    Range(u32, u32),
    /// 0, or a number of at least so much.
    ZeroOr(u32),
    /// A number for each configured zone; fewer leave the rest.
    Ratios,
    /// A word that starts with one of these letters, in either case.
    Word(&'static str),
}

/// What follows from a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Recompute {
    Nothing,
    /// Remember that the user set it, then as `Watermarks`.
    MinFree,
    /// Watermarks and what is kept back in all.
    Watermarks,
    /// Limits of the per-CPU lists, if the value changed.
    Pagesets,
    /// Whether NUMA counters count; those that stop are forgotten.
    NumaCounters,
    /// Whether near nodes are reclaimed from.
    NodeReclaim,
    /// The flusher looks at its clock.
    Flusher,
    /// Caches are dropped.
    DropCaches,
}

/// What writing a setting does that holds no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    /// Compacts all memory.
    CompactMemory,
}

/// Where a value is stored.
#[derive(Clone, Copy)]
enum Store {
    /// A number.
    Number(fn(&Sysctls) -> &AtomicU64),
    /// The ratios, a list.
    Ratios,
    /// Nowhere: the file always says the same.
    Fixed(&'static str),
    /// Nowhere: writing it does something, and there is nothing to read.
    Action(Action),
}

/// A setting.
#[derive(Clone, Copy)]
pub struct Sysctl {
    /// The file's name; the path is `/proc/sys/vm/` and this, the setting `vm.` and this.
    pub name: &'static str,
    /// One line on what it sets.
    pub about: &'static str,
    /// What it may be.
    pub limits: Limits,
    store: Store,
    recompute: Recompute,
}

/// Where the files lie, with the last slash.
pub const DIRECTORY: &str = "/proc/sys/vm/";

/// The largest number of a setting: they are `int` in Linux.
const INT_MAX: u32 = i32::MAX as u32;

/// Why a write was refused: `EINVAL`, with the setting and what it may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidArgument {
    /// The setting.
    pub name: &'static str,
    /// What it may be.
    pub limits: Limits,
}

impl fmt::Display for InvalidArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write error: Invalid argument: {} must be ", self.name)?;
        match self.limits {
            Limits::Range(low, high) => write!(f, "{low} to {high}"),
            Limits::ZeroOr(least) => write!(f, "0 or at least {least}"),
            Limits::Ratios => f.write_str("numbers, one for each zone"),
            Limits::Word(_) => f.write_str("Node or Default"),
        }
    }
}

/// The setting called `name`.
pub fn find(name: &str) -> Option<&'static Sysctl> {
    SYSCTLS.iter().find(|sysctl| sysctl.name == name)
}

impl Sysctl {
    /// Whether there is a value to read.
    pub const fn is_readable(&self) -> bool {
        !matches!(self.store, Store::Action(_))
    }

    /// Writes the value as the file has it, with a newline; nothing if there is none.
    ///
    /// Reading `lowmem_reserve_ratio` recomputes the reserve, as in v5.0 (quirk Q7).
    pub fn read<E: Env>(&self, memory: &Memory<'_, E>, out: &mut dyn fmt::Write) -> fmt::Result {
        match self.store {
            Store::Number(field) => writeln!(out, "{}", field(&memory.sysctl).load(Relaxed)),
            Store::Fixed(value) => writeln!(out, "{value}"),
            Store::Action(_) => Ok(()),
            Store::Ratios => {
                reserves::setup_per_zone_lowmem_reserve(memory);
                let ratios = memory.sysctl.lowmem_ratios();
                let mut separator = "";
                for ratio in &ratios[..memory.zone_types().len()] {
                    write!(out, "{separator}{ratio}")?;
                    separator = "\t";
                }
                writeln!(out)
            }
        }
    }

    /// Sets the value from `text` on behalf of `current`, and does what follows from it, or what the setting is for.
    ///
    /// # Errors
    ///
    /// When `text` is not what the limits allow; nothing changes then.
    pub fn write<E: Env>(
        &self,
        memory: &Memory<'_, E>,
        current: &Current<'_>,
        text: &str,
    ) -> Result<(), InvalidArgument> {
        match self.store {
            Store::Number(field) => {
                let value = self.number(text)?;
                let old = field(&memory.sysctl).swap(u64::from(value), Relaxed);
                self.recompute(memory, current, u64::from(value), old);
                Ok(())
            }
            Store::Ratios => {
                write_ratios(memory, text);
                Ok(())
            }
            Store::Fixed(_) => self.check_word(text.trim()),
            Store::Action(action) => {
                self.number(text)?;
                action.run(memory, current);
                Ok(())
            }
        }
    }

    fn number(&self, text: &str) -> Result<u32, InvalidArgument> {
        let allowed = |value: &u32| match self.limits {
            Limits::Range(low, high) => (low..=high).contains(value),
            Limits::ZeroOr(least) => *value == 0 || (least..=INT_MAX).contains(value),
            Limits::Ratios | Limits::Word(_) => false,
        };
        parse_int(text.trim())
            .and_then(|value| u32::try_from(value).ok())
            .filter(allowed)
            .ok_or(InvalidArgument { name: self.name, limits: self.limits })
    }

    /// Linux: `__parse_numa_zonelist_order`.
    fn check_word(&self, word: &str) -> Result<(), InvalidArgument> {
        let Limits::Word(letters) = self.limits else { return Ok(()) };
        if word.starts_with(|first: char| letters.contains(first.to_ascii_lowercase())) {
            return Ok(());
        }
        log::warn!("Ignoring unsupported {} value:  {word}", self.name);
        Err(InvalidArgument { name: self.name, limits: self.limits })
    }

    fn recompute<E: Env>(&self, memory: &Memory<'_, E>, current: &Current<'_>, value: u64, old: u64) {
        match self.recompute {
            Recompute::Nothing => {}
            Recompute::MinFree => {
                memory.sysctl.user_min_free_kbytes.store(value as i64, Relaxed);
                reserves::setup_per_zone_wmarks(memory);
            }
            Recompute::Watermarks => reserves::setup_per_zone_wmarks(memory),
            Recompute::Pagesets if value != old => reserves::setup_per_cpu_pagesets(memory),
            Recompute::Pagesets => {}
            Recompute::Flusher => memory.env.owner().writeback_interval_changed(memory),
            Recompute::DropCaches => drop_caches::drop_caches(memory, current, value),
            Recompute::NodeReclaim => memory.set_hook(Hook::NodeReclaim, value != 0),
            Recompute::NumaCounters => {
                memory.set_hook(Hook::NumaStatOff, value == 0);
                if value == 0 {
                    reserves::clear_numa_counters(memory);
                }
            }
        }
    }
}

impl Action {
    fn run<E: Env>(self, memory: &Memory<'_, E>, current: &Current<'_>) {
        match self {
            // Linux: `sysctl_compaction_handler`.
            Action::CompactMemory => compaction::compact_nodes(memory, current),
        }
    }
}

/// Sets as many ratios as `text` has numbers, up to the first word that is none, and recomputes the reserve. What is
/// wrong with the text is ignored, as in v5.0 (quirk Q7). Linux: `lowmem_reserve_ratio_sysctl_handler`.
fn write_ratios<E: Env>(memory: &Memory<'_, E>, text: &str) {
    let ratios = &memory.sysctl.lowmem_reserve_ratio[..memory.zone_types().len()];
    for (ratio, value) in ratios.iter().zip(text.split_ascii_whitespace().map_while(parse_int)) {
        ratio.store(value, Relaxed);
    }
    reserves::setup_per_zone_lowmem_reserve(memory);
}

/// A number as C writes it: decimal, `0x` hexadecimal or `0` octal, with a sign; within `int`.
pub(super) fn parse_int(text: &str) -> Option<i32> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.starts_with('+') {
        return None;
    }
    let value = i64::from(u32::from_str_radix(digits, radix).ok()?);
    i32::try_from(if negative { -value } else { value }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_sorted_and_documented() {
        assert!(SYSCTLS.is_sorted_by(|one, other| one.name < other.name));
        assert!(SYSCTLS.iter().all(|sysctl| !sysctl.about.is_empty()));
        assert_eq!(find("min_free_kbytes").map(|sysctl| sysctl.limits), Some(Limits::Range(0, INT_MAX)));
        assert!(find("min_free").is_none());
    }

    #[test]
    fn numbers_are_those_of_c() {
        for (text, value) in [
            ("0", Some(0)),
            ("4000", Some(4000)),
            ("0x10", Some(16)),
            ("010", Some(8)),
            ("-1", Some(-1)),
            ("2147483647", Some(i32::MAX)),
            ("2147483648", None),
            ("", None),
            ("0x", None),
            ("+1", None),
            ("-", None),
            ("12k", None),
            ("0x+1", None),
        ] {
            assert_eq!(parse_int(text), value, "{text}");
        }
    }
}
