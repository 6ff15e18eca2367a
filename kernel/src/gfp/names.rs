//! The one table of GFP names: it prints masks, and the parser, completion and help walk it.
//!
//! Key types: [`GfpName`] (a row), [`TraceNames`] (a mask as trace events print it). Neighbours: `gfp` has the bits,
//! `parse` reads the table the other way round.

use core::fmt;

use super::Gfp;

/// What a name is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameKind {
    /// A v5.0 name that masks are printed with.
    Printed,
    /// A v5.0 name of bits that are printed under another one.
    Alias,
    /// A name of older kernels: parsed, with a note.
    Old,
    /// A name of older kernels that forbids what its bits allow.
    OldInverse,
}

/// A row of [`NAMES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GfpName {
    /// The name with its prefix.
    pub name: &'static str,
    /// The bits that it stands for in v5.0; none for a name without effect.
    pub mask: Gfp,
    /// Whether it prints, and whether it is old.
    pub kind: NameKind,
    /// One line: what it does, or for an old name what became of it.
    pub about: &'static str,
}

impl GfpName {
    /// Whether v5.0 does not have the name any more.
    pub const fn is_old(&self) -> bool {
        matches!(self.kind, NameKind::Old | NameKind::OldInverse)
    }

    /// The name without `GFP_` or `__GFP_`.
    pub fn short(&self) -> &'static str {
        self.name.trim_start_matches('_').trim_start_matches("GFP_")
    }
}

/// Every name. Those that print come first, in the order in which Linux tries them on a mask.
#[doc(alias = "__def_gfpflag_names")]
pub const NAMES: &[GfpName] = {
    use NameKind::{Alias, Old, OldInverse, Printed};
    &[
        row(Printed, "GFP_TRANSHUGE", Gfp::GFP_TRANSHUGE, "transparent huge page, with direct reclaim"),
        row(Printed, "GFP_TRANSHUGE_LIGHT", Gfp::GFP_TRANSHUGE_LIGHT, "transparent huge page, without reclaim"),
        row(Printed, "GFP_HIGHUSER_MOVABLE", Gfp::GFP_HIGHUSER_MOVABLE, "for user space, may move"),
        row(Printed, "GFP_HIGHUSER", Gfp::GFP_HIGHUSER, "for user space, need not be mapped by the kernel"),
        row(Printed, "GFP_USER", Gfp::GFP_USER, "for user space, mapped by the kernel"),
        row(Printed, "GFP_KERNEL_ACCOUNT", Gfp::GFP_KERNEL_ACCOUNT, "GFP_KERNEL, charged to the memory cgroup"),
        row(Printed, "GFP_KERNEL", Gfp::GFP_KERNEL, "may sleep, do I/O and call filesystems"),
        row(Printed, "GFP_NOFS", Gfp::GFP_NOFS, "may sleep and do I/O, calls no filesystem"),
        row(Printed, "GFP_ATOMIC", Gfp::GFP_ATOMIC, "cannot sleep, may use part of the reserves"),
        row(Printed, "GFP_NOIO", Gfp::GFP_NOIO, "may sleep, starts no I/O"),
        row(Printed, "GFP_NOWAIT", Gfp::GFP_NOWAIT, "cannot sleep, may fail"),
        row(Printed, "GFP_DMA", Gfp::GFP_DMA, "from the lowest DMA zone"),
        row(Printed, "__GFP_HIGHMEM", Gfp::__GFP_HIGHMEM, "highmem allowed"),
        row(Printed, "GFP_DMA32", Gfp::GFP_DMA32, "from below 4 GiB"),
        row(Printed, "__GFP_HIGH", Gfp::__GFP_HIGH, "may go to half of the min watermark"),
        row(Printed, "__GFP_ATOMIC", Gfp::__GFP_ATOMIC, "cannot sleep; further below min, past cpusets"),
        row(Printed, "__GFP_IO", Gfp::__GFP_IO, "reclaim may start I/O"),
        row(Printed, "__GFP_FS", Gfp::__GFP_FS, "reclaim may call filesystems and OOM may kill"),
        row(Printed, "__GFP_NOWARN", Gfp::__GFP_NOWARN, "no failure report"),
        row(Printed, "__GFP_RETRY_MAYFAIL", Gfp::__GFP_RETRY_MAYFAIL, "retry hard, but fail rather than kill"),
        row(Printed, "__GFP_NOFAIL", Gfp::__GFP_NOFAIL, "never fail"),
        row(Printed, "__GFP_NORETRY", Gfp::__GFP_NORETRY, "one light round of reclaim, no OOM kill"),
        row(Printed, "__GFP_COMP", Gfp::__GFP_COMP, "build a compound page"),
        row(Printed, "__GFP_ZERO", Gfp::__GFP_ZERO, "zero the pages"),
        row(Printed, "__GFP_NOMEMALLOC", Gfp::__GFP_NOMEMALLOC, "no reserves; wins over __GFP_MEMALLOC"),
        row(Printed, "__GFP_MEMALLOC", Gfp::__GFP_MEMALLOC, "ignore the watermarks (slow path)"),
        row(Printed, "__GFP_HARDWALL", Gfp::__GFP_HARDWALL, "enforce the cpuset"),
        row(Printed, "__GFP_THISNODE", Gfp::__GFP_THISNODE, "the preferred node only"),
        row(Printed, "__GFP_RECLAIMABLE", Gfp::__GFP_RECLAIMABLE, "reclaimable pages"),
        row(Printed, "__GFP_MOVABLE", Gfp::__GFP_MOVABLE, "movable; with __GFP_HIGHMEM from zone Movable"),
        row(Printed, "__GFP_ACCOUNT", Gfp::__GFP_ACCOUNT, "charge the memory cgroup"),
        row(Printed, "__GFP_WRITE", Gfp::__GFP_WRITE, "will be dirtied: keep the node's dirty limit"),
        row(Printed, "__GFP_RECLAIM", Gfp::__GFP_RECLAIM, "both kinds of reclaim"),
        row(Printed, "__GFP_DIRECT_RECLAIM", Gfp::__GFP_DIRECT_RECLAIM, "may sleep and reclaim itself"),
        row(Printed, "__GFP_KSWAPD_RECLAIM", Gfp::__GFP_KSWAPD_RECLAIM, "may wake kswapd"),
        row(Alias, "__GFP_DMA", Gfp::__GFP_DMA, "from the lowest DMA zone"),
        row(Alias, "__GFP_DMA32", Gfp::__GFP_DMA32, "from below 4 GiB"),
        row(Old, "__GFP_NOLOCKDEP", Gfp::empty(), "ignored (only in builds with lockdep)"),
        row(Old, "__GFP_WAIT", Gfp::__GFP_RECLAIM, "is __GFP_RECLAIM since 4.4, direct and kswapd reclaim apart"),
        row(Old, "__GFP_REPEAT", Gfp::__GFP_RETRY_MAYFAIL, "is __GFP_RETRY_MAYFAIL since 4.13, for every order"),
        row(Old, "__GFP_COLD", Gfp::empty(), "ignored (removed in 4.15)"),
        row(OldInverse, "__GFP_NO_KSWAPD", Gfp::__GFP_KSWAPD_RECLAIM, "clears __GFP_KSWAPD_RECLAIM since 4.4"),
        row(Old, "__GFP_NOTRACK", Gfp::empty(), "ignored (removed in 4.15, was for kmemcheck)"),
        row(Old, "__GFP_OTHER_NODE", Gfp::empty(), "ignored (removed in 4.x, was for statistics)"),
        row(Old, "__GFP_KMEMCG", Gfp::__GFP_ACCOUNT, "is __GFP_ACCOUNT (removed after 3.15)"),
        row(Old, "GFP_TEMPORARY", gfp(0x60_00d0), "is GFP_KERNEL|__GFP_RECLAIMABLE (removed in 4.14)"),
        row(Old, "GFP_NOFS_PAGECACHE", gfp(0x60_0048), "is GFP_NOFS|__GFP_MOVABLE (a name of 2.6)"),
        row(Old, "GFP_USER_PAGECACHE", gfp(0x62_00c8), "is GFP_USER|__GFP_MOVABLE (a name of 2.6)"),
        row(Old, "GFP_HIGHUSER_PAGECACHE", gfp(0x62_00ca), "is GFP_HIGHUSER_MOVABLE (a name of 2.6)"),
        row(Old, "GFP_THISNODE", gfp(0x4_1200), "is __GFP_NOWARN|__GFP_NORETRY|__GFP_THISNODE (removed in 4.1)"),
        row(Old, "GFP_IOFS", gfp(0xc0), "is __GFP_IO|__GFP_FS (removed in 4.4)"),
    ]
};

const fn row(kind: NameKind, name: &'static str, mask: Gfp, about: &'static str) -> GfpName {
    GfpName { name, mask, kind, about }
}

const fn gfp(bits: u32) -> Gfp {
    Gfp::from_bits_retain(bits)
}

impl Gfp {
    /// Every name that [`Gfp::parse`] takes, printed ones first.
    pub fn names() -> impl Iterator<Item = &'static GfpName> {
        NAMES.iter()
    }

    /// The mask as reports print it: `0x6000c0(GFP_KERNEL)`, `0x0()`.
    pub const fn mode(self) -> Mode {
        Mode(self)
    }
}

/// A mask's names joined by `|`, the rest in hex; nothing for zero. Linux: `%pGg`.
impl fmt::Display for Gfp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = *self;
        for row in NAMES.iter().take_while(|row| row.kind == NameKind::Printed) {
            if rest.is_empty() {
                return Ok(());
            }
            if rest.contains(row.mask) {
                rest -= row.mask;
                f.write_str(row.name)?;
                f.write_str(if rest.is_empty() { "" } else { "|" })?;
            }
        }
        if rest.is_empty() { Ok(()) } else { write!(f, "{rest:#x}") }
    }
}

impl fmt::Debug for Gfp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.mode(), f)
    }
}

/// A mask as number and names; see [`Gfp::mode`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode(Gfp);

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}({})", self.0, self.0)
    }
}

/// A mask as trace events print it: its names, or `none`. Linux: `show_gfp_flags`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceNames(pub Gfp);

impl fmt::Display for TraceNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("none") } else { self.0.fmt(f) }
    }
}
