//! Which UART is the console.
//!
//! `/chosen/stdout-path` is resolved here and not by the `fdt` crate, which does not cut the options off, and whose
//! node would not know the buses above it. Linux: `of_find_node_opts_by_path`.
//!
//! Without it the console is `serial0`, if that is a UART of ours, else the first such UART. On a Raspberry Pi 4 whose
//! tree lacks `stdout-path` (those of its makers from 2018 to 2023) `serial0` is what the firmware has put on the header,
//! while the first PL011 speaks to the Bluetooth chip.
//!
//! Linux does more: `console=` overrides it, and the options set the speed.

use core::fmt;

use super::chosen::Stdout;
use super::device::{self, Device};
use super::structure::Blocks;
use super::walk::{Lineage, Walk};

/// `compatible` of the UARTs that we drive, the preferred one first.
pub const UARTS: [&str; 2] = ["arm,pl011", "brcm,bcm2835-aux-uart"];

/// Why there is no console.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConsoleError<'a> {
    /// `stdout-path` (this text) starts with an alias that `/aliases` does not have.
    NoAlias(&'a str),
    /// `stdout-path` (this text) leads to no node.
    NoNode(&'a str),
    /// `stdout-path` (this text) leads to a node that is disabled, or is on a bus that is.
    Disabled(&'a str),
    /// There is no `stdout-path`, and no enabled UART of [`UARTS`].
    NoUart,
}

impl fmt::Display for ConsoleError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("device tree: ")?;
        match self {
            Self::NoAlias(path) => write!(f, "stdout-path \"{path}\" is no path and no alias"),
            Self::NoNode(path) => write!(f, "stdout-path \"{path}\" leads to no node"),
            Self::Disabled(path) => write!(f, "stdout-path \"{path}\" leads to a disabled device"),
            Self::NoUart => write!(f, "no stdout-path, and no UART of {UARTS:?}"),
        }
    }
}

impl core::error::Error for ConsoleError<'_> {}

/// The device that `stdout` names; without it `serial0` if it is one of [`UARTS`], else the first of these.
pub(super) fn console<'a>(
    blocks: Blocks<'a>,
    stdout: Option<Stdout<'a>>,
    serial0: Option<&'a str>,
) -> Result<Device<'a>, ConsoleError<'a>> {
    let Some(Stdout { property, head, tail }) = stdout else {
        let first = serial0.and_then(|path| uart_at(blocks, path));
        return first.or_else(|| device::device(blocks, &UARTS)).ok_or(ConsoleError::NoUart);
    };
    let head = head.ok_or(ConsoleError::NoAlias(property))?;
    let path = segments(head).chain(segments(tail));
    let lineage = find_path(blocks, &path).ok_or(ConsoleError::NoNode(property))?;
    if !device::is_reachable(&lineage) {
        return Err(ConsoleError::Disabled(property));
    }
    Device::at(lineage).ok_or(ConsoleError::NoNode(property))
}

/// The enabled UART at `path`, if it is one of [`UARTS`].
fn uart_at<'a>(blocks: Blocks<'a>, path: &str) -> Option<Device<'a>> {
    let lineage = find_path(blocks, &segments(path)).filter(device::is_reachable)?;
    let mut found = Device::at(lineage)?;
    found.compatible = UARTS.into_iter().find(|uart| found.is_compatible(uart))?;
    Some(found)
}

fn segments(path: &str) -> impl Iterator<Item = &str> + Clone {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// The first node to which the segments lead from the root.
fn find_path<'a, 's>(blocks: Blocks<'a>, segments: &(impl Iterator<Item = &'s str> + Clone)) -> Option<Lineage<'a>> {
    let wanted = segments.clone().count();
    let mut matched = 0;
    let mut walk = Walk::new(blocks);
    while let Some(node) = walk.next() {
        // The root has level 0 and matches; a node of level n has to match segment n.
        let level = walk.lineage().len() - 1;
        if level > matched + 1 {
            continue;
        }
        let segment = level.checked_sub(1).and_then(|before| segments.clone().nth(before));
        let matches = level == 0 || segment.is_some_and(|segment| node.is_named(segment));
        matched = if matches { level } else { level - 1 };
        if matches && level == wanted {
            return Some(*walk.lineage());
        }
    }
    None
}
