//! The boot arguments: one line of text in, one struct out.
//!
//! [`BOOT_ARGS`] is the one table of what is understood; [`BootArgs::parse`] walks the line through it. Nothing on the line
//! can stop the boot: what is not understood keeps its default, and [`BootArgs::warnings`] tells of it afterwards, when
//! there is a console. [`parse_size`] reads sizes such as `64K 2M 1G`, here and in the shell. Linux: `kernel/params.c`,
//! `lib/cmdline.c`, and the `early_param`s of `mm/` and `arch/arm64/mm/`.
//!
//! Linux does more: module parameters, and everything after ` -- ` goes to init.

mod size;
mod slub;
#[cfg(test)]
mod tests;
mod words;

use core::fmt;

use crate::addr::PhysAddr;
use crate::memblock::AddrRange;
use crate::mmzone::{Profile, ZoneType};
use crate::quirks::{QuirkError, Quirks};

pub use size::{SizeError, parse_size};
pub use slub::{KmallocProfile, SlubDebug};
pub use words::{Word, words};

/// Bytes of the line at most. Linux: `COMMAND_LINE_SIZE`.
pub const COMMAND_LINE_SIZE: usize = 2048;

/// How much of the memory `kernelcore=` or `movablecore=` asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CoreSize {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of all memory, 0 to 100.
    Percent(u8),
}

/// `cma=SIZE[@BASE[-LIMIT]]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CmaArg {
    /// Bytes of the default area; 0 for none.
    pub size: u64,
    /// Where it may lie.
    pub within: AddrRange,
}

/// What the boot arguments say.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct BootArgs<'a> {
    line: &'a str,
    /// `mem=`: bytes of RAM to keep.
    pub mem: Option<u64>,
    /// `zones=`: the configured zone types.
    pub profile: Profile,
    /// `zones=PROFILE:dma=`: bytes of the zone DMA.
    pub dma: Option<u64>,
    /// `zones=PROFILE:dma32=`: bytes of the zone DMA32.
    pub dma32: Option<u64>,
    /// `highmem=`, or `zones=PROFILE:highmem=`: bytes of the zone HighMem.
    pub highmem: Option<u64>,
    /// `kernelcore=`: memory that stays out of the zone Movable.
    pub kernelcore: Option<CoreSize>,
    /// `movablecore=`: memory that goes into the zone Movable.
    pub movablecore: Option<CoreSize>,
    /// `movable_node`: memory that can be unplugged is the zone Movable.
    pub movable_node: bool,
    /// `numa=off`.
    pub numa_off: bool,
    /// `nr_cpus=`: processors that may run, at most.
    pub nr_cpus: Option<usize>,
    /// `maxcpus=`: processors that are started at boot, at most.
    pub max_cpus: Option<usize>,
    /// `watchdog_thresh=`: seconds until a processor counts as stuck; 0: never.
    pub watchdog_thresh: Option<u64>,
    /// `page_owner=on`.
    pub page_owner: bool,
    /// `page_poison=1`.
    pub page_poison: bool,
    /// `kmalloc=`: the sizes that `kmalloc` has caches for.
    pub kmalloc: KmallocProfile,
    /// `slub_debug`.
    pub slub_debug: SlubDebug<'a>,
    /// `cma=`.
    pub cma: Option<CmaArg>,
    /// `quirk.NAME=`.
    pub quirks: Quirks,
    /// `loglevel=`: messages of a lower level appear on the console.
    pub loglevel: Option<u8>,
    /// `script=`: where the shell's first lines come from.
    pub script: Option<&'a str>,
    /// `semihosting=on`: `poweroff` may leave the emulator with a status.
    pub semihosting: bool,
    /// `color=on`.
    pub color: bool,
}

/// Takes an argument over: the part of its name after the prefix, and its value.
type Set = for<'a> fn(&mut BootArgs<'a>, &'a str, Option<&'a str>) -> Result<(), Problem<'a>>;

/// A boot argument that is understood.
pub struct BootArg {
    /// The name; with a dot at the end it is a prefix of names.
    pub name: &'static str,
    /// The values, as in the help.
    pub values: &'static str,
    /// What it does.
    pub about: &'static str,
    set: Set,
}

/// Every boot argument that is understood.
pub const BOOT_ARGS: &[BootArg] = &[
    arg("cma", "SIZE[@BASE[-LIMIT]]", "size and place of the default contiguous area", |args, _, value| {
        args.cma = Some(parse_cma(required(value)?)?);
        Ok(())
    }),
    arg("color", "on|off", "the terminal understands escape codes", |args, _, value| {
        args.color = parse_switch(value)?;
        Ok(())
    }),
    arg("highmem", "SIZE", "make the topmost memory the zone HighMem", |args, _, value| {
        args.highmem = Some(parse_size(required(value)?)?);
        Ok(())
    }),
    arg("kernelcore", "SIZE|NN%", "keep so much memory out of the zone Movable", |args, _, value| {
        args.kernelcore = Some(parse_core(required(value)?)?);
        Ok(())
    }),
    arg("kmalloc", "arm64|generic", "the sizes of kmalloc: 128 to 8k, or 8 to 8k with 96 and 192", |args, _, value| {
        args.kmalloc = parse_kmalloc(required(value)?)?;
        Ok(())
    }),
    arg("loglevel", "N", "print messages of a level below N, 0 to 8", |args, _, value| {
        args.loglevel = Some(parse_loglevel(required(value)?)?);
        Ok(())
    }),
    arg("maxcpus", "N", "start N processors at most", |args, _, value| {
        args.max_cpus = Some(parse_cpus(required(value)?)?);
        Ok(())
    }),
    arg("mem", "SIZE", "use only the lowest SIZE bytes of memory", |args, _, value| {
        args.mem = Some(parse_size(required(value)?)?);
        Ok(())
    }),
    arg("movable_node", "", "make memory that can be unplugged the zone Movable", |args, _, _| {
        args.movable_node = true;
        Ok(())
    }),
    arg("movablecore", "SIZE|NN%", "put so much memory into the zone Movable", |args, _, value| {
        args.movablecore = Some(parse_core(required(value)?)?);
        Ok(())
    }),
    arg("nr_cpus", "N", "use N processors at most, and have per-CPU data for so many", |args, _, value| {
        args.nr_cpus = Some(parse_cpus(required(value)?)?);
        Ok(())
    }),
    arg("numa", "off", "one node, whatever the device tree says", |args, _, value| match required(value)? {
        "off" => {
            args.numa_off = true;
            Ok(())
        }
        other => Err(Problem::Choice("off", other)),
    }),
    arg("numa_zonelist_order", "Node", "accepted for old command lines; the order is always by node", |_, _, value| {
        let value = value.unwrap_or("");
        if is_zonelist_order(value) { Ok(()) } else { Err(Problem::ZonelistOrder(value)) }
    }),
    arg("page_owner", "on|off", "remember who allocated each page", |args, _, value| {
        args.page_owner = parse_switch(value)?;
        Ok(())
    }),
    arg("page_poison", "on|off", "fill free pages with a pattern and verify it", |args, _, value| {
        args.page_poison = parse_switch(value)?;
        Ok(())
    }),
    arg("quirk.", "VALUE", "choose between v5.0's behaviour and a later one", |args, name, value| {
        args.quirks.set(name, required(value)?).map_err(Problem::Quirk)
    }),
    arg("script", "SOURCE", "run the shell lines of SOURCE, then power off", |args, _, value| {
        args.script = Some(required(value)?);
        Ok(())
    }),
    arg("semihosting", "on|off", "leave the emulator with poweroff's status", |args, _, value| {
        args.semihosting = parse_switch(value)?;
        Ok(())
    }),
    arg("slub_debug", SLUB_DEBUG, "check slabs: F objects, Z redzones, P poison; O keeps orders", |args, _, value| {
        let (debug, odd) = SlubDebug::parse(value);
        args.slub_debug = debug;
        odd.map_or(Ok(()), |letter| Err(Problem::SlubLetter(letter)))
    }),
    arg("sysctl.vm.", "VALUE", "write VALUE to /proc/sys/vm before the first prompt", |_, _, value| {
        required(value)?;
        Ok(())
    }),
    arg("watchdog_thresh", "N", "call a processor stuck after N seconds, 0 to 60; 0: never", |args, _, value| {
        args.watchdog_thresh = Some(parse_threshold(required(value)?)?);
        Ok(())
    }),
    arg("zones", ZONES, "the zones to have, and their sizes", |args, _, value| parse_zones(args, required(value)?)),
];

const ZONES: &str = "arm64-5.0|arm64-5.5|x86-32|full[:dma=SIZE,dma32=SIZE,highmem=SIZE]";

const SLUB_DEBUG: &str = "[FZPO|-][,CACHE...]";

const fn arg(name: &'static str, values: &'static str, about: &'static str, set: Set) -> BootArg {
    BootArg { name, values, about, set }
}

impl<'a> BootArgs<'a> {
    /// Reads the line. Of an argument given twice the last one counts, and a `-` in a name equals a `_`, as in Linux.
    pub fn parse(line: &'a str) -> BootArgs<'a> {
        let mut args = BootArgs { line, ..BootArgs::default() };
        for word in words(line) {
            // What is not understood changes nothing; `warnings` tells of it.
            let _ = args.apply(word);
        }
        args
    }

    /// The line as it was given.
    pub fn line(&self) -> &'a str {
        self.line
    }

    /// What on the line was not understood, in its order.
    pub fn warnings(&self) -> impl Iterator<Item = Warning<'a>> + use<'a> {
        let mut scratch = BootArgs::default();
        words(self.line).filter_map(move |word| scratch.apply(word).err().map(|problem| Warning { word, problem }))
    }

    /// The `sysctl.vm.NAME=VALUE` pairs, in the order of the line.
    pub fn sysctls(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        words(self.line).filter_map(|word| Some((word.name.strip_prefix("sysctl.vm.")?, word.value?)))
    }

    fn apply(&mut self, word: Word<'a>) -> Result<(), Problem<'a>> {
        let (arg, name) =
            BOOT_ARGS.iter().find_map(|arg| Some((arg, word.matches(arg.name)?))).ok_or(Problem::Unknown)?;
        (arg.set)(self, name, word.value)
    }
}

/// Whether Linux accepts `value` as an order of zonelists. It has no effect.
#[doc(alias = "__parse_numa_zonelist_order")]
pub fn is_zonelist_order(value: &str) -> bool {
    value.starts_with(['d', 'D', 'n', 'N'])
}

fn required<'a>(value: Option<&'a str>) -> Result<&'a str, Problem<'a>> {
    value.filter(|v| !v.is_empty()).ok_or(Problem::NoValue)
}

fn parse_switch(value: Option<&str>) -> Result<bool, Problem<'_>> {
    match required(value)? {
        "on" | "1" => Ok(true),
        "off" | "0" => Ok(false),
        other => Err(Problem::Choice("on off", other)),
    }
}

fn parse_loglevel(value: &str) -> Result<u8, Problem<'_>> {
    value.parse().ok().filter(|level| *level <= 8).ok_or(Problem::Choice("0 1 2 3 4 5 6 7 8", value))
}

fn parse_kmalloc(value: &str) -> Result<KmallocProfile, Problem<'_>> {
    let profile = KmallocProfile::ALL.into_iter().find(|profile| profile.name() == value);
    profile.ok_or(Problem::Choice("arm64 generic", value))
}

fn parse_cpus(value: &str) -> Result<usize, Problem<'_>> {
    value.parse().ok().filter(|cpus| *cpus > 0).ok_or(Problem::Cpus(value))
}

fn parse_threshold(value: &str) -> Result<u64, Problem<'_>> {
    value.parse().ok().filter(|seconds| *seconds <= 60).ok_or(Problem::Seconds(value))
}

fn parse_core(value: &str) -> Result<CoreSize, Problem<'_>> {
    match value.strip_suffix('%') {
        _ if value == "mirror" => Err(Problem::Mirror),
        Some(percent) => match percent.parse() {
            Ok(percent @ 0..=100) => Ok(CoreSize::Percent(percent)),
            _ => Err(Problem::Percent(value)),
        },
        None => Ok(CoreSize::Bytes(parse_size(value)?)),
    }
}

fn parse_cma(value: &str) -> Result<CmaArg, Problem<'_>> {
    let (size, place) = value.split_once('@').map_or((value, None), |(size, place)| (size, Some(place)));
    let size = parse_size(size)?;
    let within = match place.map(|place| place.split_once('-').unwrap_or((place, ""))) {
        None => AddrRange::ALL,
        Some((base, "")) => AddrRange::sized(PhysAddr(parse_size(base)?), size),
        Some((base, limit)) => AddrRange::new(PhysAddr(parse_size(base)?), PhysAddr(parse_size(limit)?)),
    };
    Ok(CmaArg { size, within })
}

/// `PROFILE[:zone=SIZE,...]`; all of it is taken over, or nothing.
fn parse_zones<'a>(args: &mut BootArgs<'a>, value: &'a str) -> Result<(), Problem<'a>> {
    let (name, sizes) = value.split_once(':').unwrap_or((value, ""));
    let profile = Profile::ALL.into_iter().find(|p| p.name() == name).ok_or(Problem::Choice(ZONES, value))?;
    let mut new = BootArgs { profile, dma: None, dma32: None, ..*args };
    for item in sizes.split(',').filter(|item| !item.is_empty()) {
        let (zone, size) = item.split_once('=').ok_or(Problem::Choice(ZONES, value))?;
        let size = Some(parse_size(size)?);
        let kind = match zone {
            "dma" => (new.dma = size, ZoneType::Dma).1,
            "dma32" => (new.dma32 = size, ZoneType::Dma32).1,
            "highmem" => (new.highmem = size, ZoneType::HighMem).1,
            _ => return Err(Problem::Choice(ZONES, value)),
        };
        if !profile.zones(true).contains(&kind) {
            return Err(Problem::NotConfigured(kind, profile));
        }
    }
    *args = new;
    Ok(())
}

/// Something on the line that was not understood and keeps its default.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Warning<'a> {
    /// The argument.
    pub word: Word<'a>,
    /// What is wrong with it.
    pub problem: Problem<'a>,
}

/// What is wrong with a boot argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Problem<'a> {
    /// Nobody knows it.
    Unknown,
    /// It needs a value.
    NoValue,
    /// The value is not one of these.
    Choice(&'static str, &'a str),
    /// The value is not a size.
    Size(SizeError),
    /// The value is not a number of processors.
    Cpus(&'a str),
    /// The value is not 0 to 60 seconds.
    Seconds(&'a str),
    /// The value is not 0% to 100%.
    Percent(&'a str),
    /// `mirror` needs memory that the firmware mirrors.
    Mirror,
    /// The profile has no such zone.
    NotConfigured(ZoneType, Profile),
    /// The quirk cannot be set so.
    Quirk(QuirkError<'a>),
    /// `slub_debug` knows no such letter; the others count.
    SlubLetter(char),
    /// The order of zonelists is not one that Linux ever had.
    ZonelistOrder(&'a str),
}

impl From<SizeError> for Problem<'_> {
    fn from(error: SizeError) -> Self {
        Problem::Size(error)
    }
}

impl fmt::Display for Warning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Problem::ZonelistOrder(value) = self.problem {
            return write!(f, "Ignoring unsupported numa_zonelist_order value:  {value}");
        }
        write!(f, "boot argument {}: ", self.word)?;
        match self.problem {
            Problem::Unknown => f.write_str("not known, ignored"),
            Problem::NoValue => f.write_str("needs a value, ignored"),
            Problem::Choice(expected, got) => write!(f, "'{got}' is not one of {expected}, ignored"),
            Problem::Size(error) => write!(f, "{error}, ignored"),
            Problem::Cpus(got) => write!(f, "'{got}' is not a number of processors, ignored"),
            Problem::Seconds(got) => write!(f, "'{got}' is not 0 to 60 seconds, ignored"),
            Problem::Percent(got) => write!(f, "'{got}' is not 0% to 100%, ignored"),
            Problem::Mirror => f.write_str("mirrored memory is unsupported, ignored"),
            Problem::NotConfigured(zone, profile) => write!(f, "{} has no zone {zone}, ignored", profile.name()),
            Problem::Quirk(error) => write!(f, "{error}, ignored"),
            Problem::SlubLetter(letter) => write!(f, "'{letter}' is not one of F Z P O, skipped"),
            Problem::ZonelistOrder(_) => Ok(()),
        }
    }
}
