//! /proc/meminfo: where all memory is, in KiB.
//!
//! Key types: [`SystemInfo`] (the sums that the lines are made of) and the table `LINES`. Every line of v5.0 on arm64
//! is there; what this machine cannot have is 0. Linux: `meminfo_proc_show`, `si_mem_available`,
//! `hugetlb_report_meminfo`.
//!
//! Linux does more: buffers, page tables, percpu memory and huge pages have numbers of their own.

use core::fmt;

use super::{Form, json};
use crate::mm::census;
use crate::mm::memory::owner::{PageOwner, SwapSpace};
use crate::mm::memory::{Env, Memory};
use crate::mm::mmu::{VMALLOC_END, VMALLOC_START};
use crate::mmzone::{Watermark, ZoneType};
use crate::vmstat::{NodeStat, ZoneStat};

/// KiB of a page.
const PAGE_KIB: u64 = crate::addr::PAGE_SIZE / 1024;
/// KiB of a huge page.
const HUGEPAGE_KIB: u64 = crate::addr::PAGEBLOCK_NR_PAGES * PAGE_KIB;
/// Per cent of RAM that may be promised. Linux: `sysctl_overcommit_ratio`.
const OVERCOMMIT_RATIO: u64 = 50;

/// Sums over the machine, in pages. Linux: `struct sysinfo`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SystemInfo {
    /// Pages handed to the allocator.
    pub totalram: u64,
    /// Pages kept from ordinary use.
    pub totalreserve: u64,
    /// Pages outside the linear map, and how many of them are free; `None` without a HighMem zone.
    pub highmem: Option<(u64, u64)>,
    /// Sum of the Low watermarks.
    pub low_watermarks: u64,
    /// Pages in CMA pageblocks.
    pub totalcma: u64,
    /// Slots of the swap space.
    pub swap: SwapSpace,
    /// Pages of the swap cache.
    pub swapcached: u64,
    /// Sums of the zones' counters.
    pub zone: [u64; ZoneStat::COUNT],
    /// Sums of the nodes' counters.
    pub node: [u64; NodeStat::COUNT],
}

impl SystemInfo {
    /// The sums as of now.
    pub fn of<E: Env>(memory: &Memory<'_, E>) -> SystemInfo {
        let high = || memory.zones().filter(|zone| zone.is_highmem);
        SystemInfo {
            totalram: memory.totalram(),
            totalreserve: memory.totalreserve(),
            highmem: memory.zone_types().contains(&ZoneType::HighMem).then(|| {
                let free = high().map(|zone| zone.stat(ZoneStat::NrFreePages)).sum();
                (high().map(|zone| zone.managed()).sum(), free)
            }),
            low_watermarks: memory.zones().map(|zone| zone.watermark(Watermark::Low)).sum(),
            totalcma: census::totalcma(memory),
            swap: memory.env.owner().swap_space(),
            swapcached: memory.env.owner().swap_cache().pages,
            zone: core::array::from_fn(|stat| memory.zones().map(|zone| zone.stat(ZoneStat::ALL[stat])).sum()),
            node: core::array::from_fn(|stat| memory.online_nodes().map(|node| node.stat(NodeStat::ALL[stat])).sum()),
        }
    }

    fn zone(&self, stat: ZoneStat) -> u64 {
        self.zone[stat.index()]
    }

    fn node(&self, stat: NodeStat) -> u64 {
        self.node[stat.index()]
    }

    fn slab_reclaimable(&self) -> u64 {
        self.node(NodeStat::NrSlabReclaimable)
    }

    fn reclaimable(&self) -> u64 {
        self.slab_reclaimable() + self.node(NodeStat::NrKernelMiscReclaimable)
    }

    /// Pages of files: those of the swap cache count among them, but have a line of their own.
    fn cached(&self) -> u64 {
        self.node(NodeStat::NrFilePages).saturating_sub(self.swapcached)
    }

    /// Pages that may be promised. Linux: `vm_commit_limit`.
    fn commit_limit(&self) -> u64 {
        self.totalram * OVERCOMMIT_RATIO / 100 + self.swap.total
    }

    fn active(&self) -> u64 {
        self.node(NodeStat::NrActiveAnon) + self.node(NodeStat::NrActiveFile)
    }

    fn inactive(&self) -> u64 {
        self.node(NodeStat::NrInactiveAnon) + self.node(NodeStat::NrInactiveFile)
    }

    /// Pages that a new program could use without swapping: what is free beyond the reserves, and of cache and
    /// reclaimable slab what may go. Linux: `si_mem_available`.
    pub fn available(&self) -> u64 {
        let may_go = |pages: u64| pages - (pages / 2).min(self.low_watermarks);
        let cache = self.node(NodeStat::NrActiveFile) + self.node(NodeStat::NrInactiveFile);
        let sum = self.zone(ZoneStat::NrFreePages) + may_go(cache) + may_go(self.reclaimable());
        sum.saturating_sub(self.totalreserve)
    }
}

/// How a line's value is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    /// Pages, as KiB in 8 columns.
    Pages,
    /// KiB in 8 columns.
    Kib,
    /// Pages, as KiB in 5 columns.
    NarrowPages,
    /// A number in 5 columns.
    Count,
}

/// A line of the table.
struct Line {
    name: &'static str,
    unit: Unit,
    /// The value; `None` leaves the line out.
    value: fn(&SystemInfo) -> Option<u64>,
}

const fn line(name: &'static str, unit: Unit, value: fn(&SystemInfo) -> Option<u64>) -> Line {
    Line { name, unit, value }
}

/// A line that this machine can only print as 0.
const fn zero(name: &'static str) -> Line {
    line(name, Unit::Kib, |_| Some(0))
}

/// Every line in the order of the file.
const LINES: &[Line] = {
    use Unit::{Count, Kib, NarrowPages, Pages};
    &[
        line("MemTotal", Pages, |info| Some(info.totalram)),
        line("MemFree", Pages, |info| Some(info.zone(ZoneStat::NrFreePages))),
        line("MemAvailable", Pages, |info| Some(info.available())),
        zero("Buffers"),
        line("Cached", Pages, |info| Some(info.cached())),
        line("SwapCached", Pages, |info| Some(info.swapcached)),
        line("Active", Pages, |info| Some(info.active())),
        line("Inactive", Pages, |info| Some(info.inactive())),
        line("Active(anon)", Pages, |info| Some(info.node(NodeStat::NrActiveAnon))),
        line("Inactive(anon)", Pages, |info| Some(info.node(NodeStat::NrInactiveAnon))),
        line("Active(file)", Pages, |info| Some(info.node(NodeStat::NrActiveFile))),
        line("Inactive(file)", Pages, |info| Some(info.node(NodeStat::NrInactiveFile))),
        line("Unevictable", Pages, |info| Some(info.node(NodeStat::NrUnevictable))),
        line("Mlocked", Pages, |info| Some(info.zone(ZoneStat::NrMlock))),
        line("HighTotal", Pages, |info| info.highmem.map(|(total, _)| total)),
        line("HighFree", Pages, |info| info.highmem.map(|(_, free)| free)),
        line("LowTotal", Pages, |info| info.highmem.map(|(total, _)| info.totalram - total)),
        line("LowFree", Pages, |info| info.highmem.map(|(_, free)| info.zone(ZoneStat::NrFreePages) - free)),
        line("SwapTotal", Pages, |info| Some(info.swap.total)),
        line("SwapFree", Pages, |info| Some(info.swap.free)),
        line("Dirty", Pages, |info| Some(info.node(NodeStat::NrDirty))),
        line("Writeback", Pages, |info| Some(info.node(NodeStat::NrWriteback))),
        line("AnonPages", Pages, |info| Some(info.node(NodeStat::NrAnonPages))),
        line("Mapped", Pages, |info| Some(info.node(NodeStat::NrMapped))),
        line("Shmem", Pages, |info| Some(info.node(NodeStat::NrShmem))),
        line("KReclaimable", Pages, |info| Some(info.reclaimable())),
        line("Slab", Pages, |info| Some(info.slab_reclaimable() + info.node(NodeStat::NrSlabUnreclaimable))),
        line("SReclaimable", Pages, |info| Some(info.slab_reclaimable())),
        line("SUnreclaim", Pages, |info| Some(info.node(NodeStat::NrSlabUnreclaimable))),
        line("KernelStack", Kib, |info| Some(info.zone(ZoneStat::NrKernelStack))),
        line("PageTables", Pages, |info| Some(info.zone(ZoneStat::NrPageTablePages))),
        line("NFS_Unstable", Pages, |info| Some(info.node(NodeStat::NrUnstable))),
        line("Bounce", Pages, |info| Some(info.zone(ZoneStat::NrBounce))),
        line("WritebackTmp", Pages, |info| Some(info.node(NodeStat::NrWritebackTemp))),
        line("CommitLimit", Pages, |info| Some(info.commit_limit())),
        zero("Committed_AS"),
        line("VmallocTotal", Kib, |_| Some((VMALLOC_END.0 - VMALLOC_START.0) / 1024)),
        zero("VmallocUsed"),
        zero("VmallocChunk"),
        zero("Percpu"),
        line("HardwareCorrupted", NarrowPages, |_| Some(0)),
        line("AnonHugePages", Kib, |info| Some(info.node(NodeStat::NrAnonTransparentHugepages) * HUGEPAGE_KIB)),
        line("ShmemHugePages", Kib, |info| Some(info.node(NodeStat::NrShmemHugepages) * HUGEPAGE_KIB)),
        line("ShmemPmdMapped", Kib, |info| Some(info.node(NodeStat::NrShmemPmdmapped) * HUGEPAGE_KIB)),
        line("CmaTotal", Pages, |info| Some(info.totalcma)),
        line("CmaFree", Pages, |info| Some(info.zone(ZoneStat::NrFreeCma))),
        line("HugePages_Total", Count, |_| Some(0)),
        line("HugePages_Free", Count, |_| Some(0)),
        line("HugePages_Rsvd", Count, |_| Some(0)),
        line("HugePages_Surp", Count, |_| Some(0)),
        line("Hugepagesize", Kib, |_| Some(HUGEPAGE_KIB)),
        zero("Hugetlb"),
    ]
};

impl Line {
    /// The value in the unit that is printed.
    fn scaled(&self, info: &SystemInfo) -> Option<u64> {
        let scale = if matches!(self.unit, Unit::Pages | Unit::NarrowPages) { PAGE_KIB } else { 1 };
        (self.value)(info).map(|value| value * scale)
    }

    fn write_text(&self, value: u64, out: &mut dyn fmt::Write) -> fmt::Result {
        let label = format_args!("{}:", self.name);
        match self.unit {
            Unit::Pages | Unit::Kib => writeln!(out, "{label}{:>width$} kB", value, width = 23 - self.name.len()),
            Unit::NarrowPages => writeln!(out, "{label} {value:>5} kB"),
            Unit::Count => writeln!(out, "{label}{:>width$}", value, width = 23 - self.name.len()),
        }
    }

    fn write_json(&self, value: u64, out: &mut dyn fmt::Write) -> fmt::Result {
        let unit = if self.unit == Unit::Count { "count" } else { "kb" };
        json::Object::new(out).word("name", self.name)?.field(unit, value)?.end()
    }
}

/// Writes the table.
pub fn write<E: Env>(memory: &Memory<'_, E>, form: Form, out: &mut dyn fmt::Write) -> fmt::Result {
    write_info(&SystemInfo::of(memory), form, out)
}

fn write_info(info: &SystemInfo, form: Form, out: &mut dyn fmt::Write) -> fmt::Result {
    for line in LINES {
        let Some(value) = line.scaled(info) else { continue };
        match form {
            Form::Text => line.write_text(value, out)?,
            Form::Json => line.write_json(value, out)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux on arm64 with 256 MiB, with the lines of v5.0 that its build lacked, and room for vmalloc as here.
    const LINUX: &str = "\
MemTotal:         239084 kB
MemFree:          222336 kB
MemAvailable:     220312 kB
Buffers:               0 kB
Cached:             1860 kB
SwapCached:            0 kB
Active:             1500 kB
Inactive:            500 kB
Active(anon):       1500 kB
Inactive(anon):      500 kB
Active(file):          0 kB
Inactive(file):        0 kB
Unevictable:           0 kB
Mlocked:               0 kB
SwapTotal:             0 kB
SwapFree:              0 kB
Dirty:                 0 kB
Writeback:             0 kB
AnonPages:           180 kB
Mapped:             1420 kB
Shmem:              1860 kB
KReclaimable:       1776 kB
Slab:               4048 kB
SReclaimable:       1776 kB
SUnreclaim:         2272 kB
KernelStack:         352 kB
PageTables:           84 kB
NFS_Unstable:          0 kB
Bounce:                0 kB
WritebackTmp:          0 kB
CommitLimit:      119540 kB
Committed_AS:          0 kB
VmallocTotal:  535822336 kB
VmallocUsed:           0 kB
VmallocChunk:          0 kB
Percpu:                0 kB
HardwareCorrupted:     0 kB
AnonHugePages:         0 kB
ShmemHugePages:        0 kB
ShmemPmdMapped:        0 kB
CmaTotal:              0 kB
CmaFree:               0 kB
HugePages_Total:       0
HugePages_Free:        0
HugePages_Rsvd:        0
HugePages_Surp:        0
Hugepagesize:       2048 kB
Hugetlb:               0 kB
";

    /// The counters of that machine.
    fn golden() -> SystemInfo {
        let mut info = SystemInfo { totalram: 59771, totalreserve: 728, low_watermarks: 607, ..SystemInfo::default() };
        for (stat, pages) in
            [(ZoneStat::NrFreePages, 55584), (ZoneStat::NrKernelStack, 352), (ZoneStat::NrPageTablePages, 21)]
        {
            info.zone[stat.index()] = pages;
        }
        for (stat, pages) in [
            (NodeStat::NrInactiveAnon, 125),
            (NodeStat::NrActiveAnon, 375),
            (NodeStat::NrSlabReclaimable, 444),
            (NodeStat::NrSlabUnreclaimable, 568),
            (NodeStat::NrAnonPages, 45),
            (NodeStat::NrMapped, 355),
            (NodeStat::NrFilePages, 465),
            (NodeStat::NrShmem, 465),
        ] {
            info.node[stat.index()] = pages;
        }
        info
    }

    fn text(info: &SystemInfo) -> String {
        let mut text = String::new();
        write_info(info, Form::Text, &mut text).unwrap();
        text
    }

    #[test]
    fn the_table_is_byte_for_byte_that_of_linux() {
        assert_eq!(text(&golden()), LINUX);
    }

    #[test]
    fn highmem_has_four_lines_of_its_own() {
        let info = SystemInfo { highmem: Some((32768, 100)), ..golden() };
        let lines = "Mlocked:               0 kB\nHighTotal:        131072 kB\nHighFree:            400 kB\n\
                     LowTotal:         108012 kB\nLowFree:          221936 kB\nSwapTotal:             0 kB\n";
        assert!(text(&info).contains(lines), "{}", text(&info));
    }

    #[test]
    fn pages_of_the_swap_cache_are_not_cached_files() {
        let (swap, swapcached) = (SwapSpace { total: 300, free: 236 }, 64);
        let text = text(&SystemInfo { swap, swapcached, ..golden() });
        for line in ["Cached:             1604 kB", "SwapCached:          256 kB", "CommitLimit:      120740 kB"] {
            assert!(text.contains(&format!("{line}\n")), "{line} in {text}");
        }
        assert!(text.contains("SwapTotal:          1200 kB\nSwapFree:            944 kB\n"), "{text}");
    }

    #[test]
    fn available_counts_what_may_go_of_the_cache() {
        let mut info = golden();
        info.node[NodeStat::NrInactiveFile.index()] = 1000;
        assert_eq!(info.available(), 55584 - 728 + 1000 - 500 + 444 - 222);
        info.low_watermarks = 100;
        assert_eq!(info.available(), 55584 - 728 + 1000 - 100 + 444 - 100);
        info.totalreserve = 60000;
        assert_eq!(info.available(), 0);
    }

    #[test]
    fn a_line_as_json() {
        let mut text = String::new();
        write_info(&golden(), Form::Json, &mut text).unwrap();
        assert_eq!(text.lines().next(), Some("{\"name\":\"MemTotal\",\"kb\":239084}"));
        assert_eq!(text.lines().count(), LINUX.lines().count());
        assert!(text.contains("{\"name\":\"HugePages_Free\",\"count\":0}\n"));
    }
}
