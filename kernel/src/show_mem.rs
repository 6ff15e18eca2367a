//! The Mem-Info report: the state of all memory, as printed after an allocation failure and on an OOM kill.
//!
//! Key type: [`ShowMem`], a value whose `Display` is the report. [`MemInit`] is the one line of it that the boot log has.
//! Linux: `show_mem`, `show_free_areas`, `mem_init_print_info`.
//!
//! Linux does more: builds with transparent huge pages or hugetlb name those too.

use core::fmt;

use crate::addr::{Order, PAGE_SIZE};
use crate::mm::census;
use crate::mm::memory::{Env, Memory};
use crate::mm::node::Node;
use crate::mm::owner::{PageOwner, SwapCache};
use crate::mm::zone::Zone;
use crate::mmzone::{MigrateType, NodeMask, Watermark, ZoneType};
use crate::vmstat::{NodeStat, ZoneStat};

/// KiB of `pages`.
const fn kib(pages: u64) -> u64 {
    pages * (PAGE_SIZE / 1024)
}

/// The report on `memory`, as CPU `cpu` sees it, without the nodes that are not in `nodes`.
#[derive(Debug)]
pub struct ShowMem<'a, 'm, E> {
    /// The allocator.
    pub memory: &'a Memory<'m, E>,
    /// The nodes to show.
    pub nodes: NodeMask,
    /// The CPU whose lists are `local_pcp`.
    pub cpu: usize,
}

impl<E: Env> fmt::Display for ShowMem<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.for_each_line(&mut |line| writeln!(f, "{line}"))
    }
}

/// Takes a line of the report.
type Line<'l> = dyn FnMut(fmt::Arguments<'_>) -> fmt::Result + 'l;

impl<E: Env> ShowMem<'_, '_, E> {
    /// Logs the report, a record a line.
    pub fn log(&self) {
        let logged = self.for_each_line(&mut |line| {
            log::warn!("{line}");
            Ok(())
        });
        debug_assert!(logged.is_ok(), "the log takes everything");
    }

    fn for_each_line(&self, line: &mut Line<'_>) -> fmt::Result {
        line(format_args!("Mem-Info:"))?;
        self.totals(line)?;
        let nodes = || self.memory.online_nodes().filter(|node| self.nodes.contains(node.id));
        let zones = || nodes().flat_map(|node| self.memory.zones_of(node.id)).filter(|zone| zone.is_populated());
        nodes().try_for_each(|node| line(format_args!("{}", node_line(node))))?;
        zones().try_for_each(|zone| {
            line(format_args!("{}", self.zone_line(zone)))?;
            line(format_args!("{}", self.lowmem_line(zone)))
        })?;
        zones().try_for_each(|zone| line(format_args!("{}", free_lists_line(zone))))?;
        self.sums(line)
    }

    fn node(&self, stat: NodeStat) -> u64 {
        self.memory.online_nodes().map(|node| node.stat(stat)).sum()
    }

    fn zone(&self, stat: ZoneStat) -> u64 {
        self.memory.populated_zones().map(|zone| zone.stat(stat)).sum()
    }

    fn totals(&self, line: &mut Line<'_>) -> fmt::Result {
        use NodeStat::{
            NrActiveAnon, NrActiveFile, NrDirty, NrInactiveAnon, NrInactiveFile, NrIsolatedAnon, NrIsolatedFile,
            NrMapped, NrShmem, NrSlabReclaimable, NrSlabUnreclaimable, NrUnevictable, NrUnstable, NrWriteback,
        };
        let (node, zone) = (|stat| self.node(stat), |stat| self.zone(stat));
        let (active, inactive, isolated) = (node(NrActiveAnon), node(NrInactiveAnon), node(NrIsolatedAnon));
        line(format_args!("active_anon:{active} inactive_anon:{inactive} isolated_anon:{isolated}"))?;
        let (active, inactive, isolated) = (node(NrActiveFile), node(NrInactiveFile), node(NrIsolatedFile));
        line(format_args!(" active_file:{active} inactive_file:{inactive} isolated_file:{isolated}"))?;
        let (unevictable, dirty) = (node(NrUnevictable), node(NrDirty));
        let (writeback, unstable) = (node(NrWriteback), node(NrUnstable));
        line(format_args!(" unevictable:{unevictable} dirty:{dirty} writeback:{writeback} unstable:{unstable}"))?;
        let (reclaimable, unreclaimable) = (node(NrSlabReclaimable), node(NrSlabUnreclaimable));
        line(format_args!(" slab_reclaimable:{reclaimable} slab_unreclaimable:{unreclaimable}"))?;
        let (mapped, shmem) = (node(NrMapped), node(NrShmem));
        let (pagetables, bounce) = (zone(ZoneStat::NrPageTablePages), zone(ZoneStat::NrBounce));
        line(format_args!(" mapped:{mapped} shmem:{shmem} pagetables:{pagetables} bounce:{bounce}"))?;
        let free_pcp: u64 = self.memory.populated_zones().map(Zone::pcp_pages).sum();
        let (free, free_cma) = (zone(ZoneStat::NrFreePages), zone(ZoneStat::NrFreeCma));
        line(format_args!(" free:{free} free_pcp:{free_pcp} free_cma:{free_cma}"))
    }

    fn zone_line(&self, zone: &Zone) -> impl fmt::Display {
        let stat = |stat: ZoneStat| kib(zone.stat(stat));
        let local_pcp = u64::from(zone.pageset(self.cpu).count());
        let (node, zone_type) = (zone.node, zone.zone_type);
        let figures = [
            ("free", stat(ZoneStat::NrFreePages)),
            ("min", kib(zone.watermark(Watermark::Min))),
            ("low", kib(zone.watermark(Watermark::Low))),
            ("high", kib(zone.watermark(Watermark::High))),
            ("active_anon", stat(ZoneStat::NrZoneActiveAnon)),
            ("inactive_anon", stat(ZoneStat::NrZoneInactiveAnon)),
            ("active_file", stat(ZoneStat::NrZoneActiveFile)),
            ("inactive_file", stat(ZoneStat::NrZoneInactiveFile)),
            ("unevictable", stat(ZoneStat::NrZoneUnevictable)),
            ("writepending", stat(ZoneStat::NrZoneWritePending)),
            ("present", kib(zone.present)),
            ("managed", kib(zone.managed())),
            ("mlocked", stat(ZoneStat::NrMlock)),
            ("kernel_stack", zone.stat(ZoneStat::NrKernelStack)),
            ("pagetables", stat(ZoneStat::NrPageTablePages)),
            ("bounce", stat(ZoneStat::NrBounce)),
            ("free_pcp", kib(zone.pcp_pages())),
            ("local_pcp", kib(local_pcp)),
            ("free_cma", stat(ZoneStat::NrFreeCma)),
        ];
        fmt::from_fn(move |f| {
            write!(f, "Node {node} {zone_type}")?;
            figures.iter().try_for_each(|(name, kib)| write!(f, " {name}:{kib}kB"))
        })
    }

    fn lowmem_line(&self, zone: &Zone) -> impl fmt::Display {
        fmt::from_fn(move |f| {
            f.write_str("lowmem_reserve[]:")?;
            (0..self.memory.zone_types().len()).try_for_each(|index| write!(f, " {}", zone.lowmem_reserve(index)))
        })
    }

    fn sums(&self, line: &mut Line<'_>) -> fmt::Result {
        let zones = || self.memory.populated_zones();
        let (swap, cache) = (self.memory.env.owner().swap_space(), self.memory.env.owner().swap_cache());
        let SwapCache { pages, added, deleted, found, searched } = cache;
        let present: u64 = zones().map(|zone| zone.present).sum();
        let managed: u64 = zones().map(Zone::managed).sum();
        let highmem: u64 = zones().filter(|zone| zone.is_highmem).map(|zone| zone.present).sum();
        line(format_args!("{} total pagecache pages", self.node(NodeStat::NrFilePages)))?;
        line(format_args!("{pages} pages in swap cache"))?;
        line(format_args!("Swap cache stats: add {added}, delete {deleted}, find {found}/{searched}"))?;
        line(format_args!("Free swap  = {}kB", kib(swap.free)))?;
        line(format_args!("Total swap = {}kB", kib(swap.total)))?;
        line(format_args!("{present} pages RAM"))?;
        line(format_args!("{highmem} pages HighMem/MovableOnly"))?;
        line(format_args!("{} pages reserved", present - managed))?;
        line(format_args!("{} pages cma reserved", census::totalcma(self.memory)))
    }
}

fn node_line(node: &Node) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        write!(f, "Node {}", node.id)?;
        for (name, stat) in [
            ("active_anon", NodeStat::NrActiveAnon),
            ("inactive_anon", NodeStat::NrInactiveAnon),
            ("active_file", NodeStat::NrActiveFile),
            ("inactive_file", NodeStat::NrInactiveFile),
            ("unevictable", NodeStat::NrUnevictable),
            ("isolated(anon)", NodeStat::NrIsolatedAnon),
            ("isolated(file)", NodeStat::NrIsolatedFile),
            ("mapped", NodeStat::NrMapped),
            ("dirty", NodeStat::NrDirty),
            ("writeback", NodeStat::NrWriteback),
            ("shmem", NodeStat::NrShmem),
            ("writeback_tmp", NodeStat::NrWritebackTemp),
            ("unstable", NodeStat::NrUnstable),
        ] {
            write!(f, " {name}:{}kB", kib(node.stat(stat)))?;
        }
        write!(f, " all_unreclaimable? {}", if node.kswapd.is_hopeless() { "yes" } else { "no" })
    })
}

/// `Node 0 DMA32: 1*4kB (U) 0*8kB ... = 4kB`: free blocks by size, with a letter for each type that has one.
fn free_lists_line(zone: &Zone) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        write!(f, "Node {} {}: ", zone.node, zone.zone_type)?;
        let mut total = 0;
        for order in Order::all() {
            let blocks = zone.counts.nr_free(order);
            total += blocks * order.nr_pages();
            write!(f, "{blocks}*{}kB ", kib(order.nr_pages()))?;
            if blocks > 0 {
                f.write_str("(")?;
                for migratetype in MigrateType::ALL {
                    if zone.counts.orders(migratetype) >> order.get() & 1 != 0 {
                        write!(f, "{}", migratetype.letter())?;
                    }
                }
                f.write_str(") ")?;
            }
        }
        write!(f, "= {}kB", kib(total))
    })
}

/// Bytes of the image, part by part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ImageSizes {
    /// Instructions.
    pub code: u64,
    /// Data with a first value.
    pub rwdata: u64,
    /// Constants.
    pub rodata: u64,
    /// What is given back after boot.
    pub init: u64,
    /// Data that starts as zeros.
    pub bss: u64,
}

/// The boot log's line about the memory that the allocator got, as of now.
#[doc(alias = "mem_init_print_info")]
#[derive(Debug)]
pub struct MemInit<'a, 'm, E> {
    /// The allocator.
    pub memory: &'a Memory<'m, E>,
    /// The image.
    pub image: ImageSizes,
    /// Pages set aside for contiguous allocations.
    pub cma_pages: u64,
}

impl<E: Env> fmt::Display for MemInit<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zones = || self.memory.populated_zones();
        let present: u64 = zones().map(|zone| zone.present).sum();
        let free: u64 = zones().map(|zone| zone.stat(ZoneStat::NrFreePages)).sum();
        let ImageSizes { code, rwdata, rodata, init, bss } = self.image;
        write!(f, "Memory: {}K/{}K available (", kib(free), kib(present))?;
        for (bytes, part) in
            [(code, "kernel code"), (rwdata, "rwdata"), (rodata, "rodata"), (init, "init"), (bss, "bss")]
        {
            write!(f, "{}K {part}, ", bytes >> 10)?;
        }
        let reserved = present.saturating_sub(self.memory.totalram() + self.cma_pages);
        write!(f, "{}K reserved, {}K cma-reserved", kib(reserved), kib(self.cma_pages))?;
        if self.memory.zone_types().contains(&ZoneType::HighMem) {
            let managed: u64 = zones().filter(|zone| zone.is_highmem).map(Zone::managed).sum();
            write!(f, ", {}K highmem", kib(managed))?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gfp::Gfp;
    use crate::host::HostMachine;
    use crate::mm::page_alloc::alloc_pages;
    use crate::sync::atomic::Ordering::Relaxed;
    use crate::task::{Current, TaskTable};

    /// The shape is that of Linux's report; the numbers are of 64 MiB after one page was taken.
    const REPORT: &str = "\
Mem-Info:
active_anon:0 inactive_anon:0 isolated_anon:0
 active_file:0 inactive_file:0 isolated_file:0
 unevictable:0 dirty:0 writeback:0 unstable:0
 slab_reclaimable:0 slab_unreclaimable:0
 mapped:0 shmem:0 pagetables:0 bounce:0
 free:16250 free_pcp:2 free_cma:0
Node 0 active_anon:0kB inactive_anon:0kB active_file:0kB inactive_file:0kB unevictable:0kB isolated(anon):0kB isolated(file):0kB mapped:0kB dirty:0kB writeback:0kB shmem:0kB writeback_tmp:0kB unstable:0kB all_unreclaimable? no
Node 0 DMA32 free:65000kB min:1016kB low:1268kB high:1520kB active_anon:0kB inactive_anon:0kB active_file:0kB inactive_file:0kB unevictable:0kB writepending:0kB present:65536kB managed:65012kB mlocked:0kB kernel_stack:0kB pagetables:0kB bounce:0kB free_pcp:8kB local_pcp:8kB free_cma:0kB
lowmem_reserve[]: 0 0 0
Node 0 DMA32: 2*4kB (UM) 0*8kB 2*16kB (UM) 2*32kB (UM) 2*64kB (UM) 2*128kB (UM) 2*256kB (UM) 1*512kB (U) 2*1024kB (UM) 2*2048kB (UM) 14*4096kB (M) = 65000kB
0 total pagecache pages
0 pages in swap cache
Swap cache stats: add 0, delete 0, find 0/0
Free swap  = 0kB
Total swap = 0kB
16384 pages RAM
0 pages HighMem/MovableOnly
131 pages reserved
0 pages cma reserved
";

    #[test]
    fn the_report_has_the_shape_of_linux() {
        let machine = HostMachine::new("", &[(0x4000_0000, 64 << 20, 0)], &[(0x4000_0000, 0x83000)]);
        let memory = machine.memory();
        let tasks = TaskTable::new("sh");
        alloc_pages(&memory, &Current::new(tasks.init()), Gfp::GFP_KERNEL, 0).unwrap();
        let report = |nodes| ShowMem { memory: &memory, nodes, cpu: 0 }.to_string();
        assert_eq!(report(NodeMask::ALL), REPORT);
        assert!(!report(NodeMask::default()).contains("Node "));
    }

    #[test]
    fn counters_and_hopelessness_are_live() {
        let machine = HostMachine::new("", &[(0x4000_0000, 64 << 20, 0)], &[]);
        let memory = machine.memory();
        let (node, zone) = (memory.online_nodes().next().unwrap(), memory.populated_zones().next().unwrap());
        for (count, stat) in (1..).zip(NodeStat::ALL) {
            node.add_stat(*stat, count);
        }
        zone.add_stat(ZoneStat::NrZoneWritePending, 7);
        let report = ShowMem { memory: &memory, nodes: NodeMask::ALL, cpu: 0 }.to_string();
        let of = |stat: NodeStat| node.stat(stat);
        let (dirty, writeback) = (of(NodeStat::NrDirty), of(NodeStat::NrWriteback));
        let lines = [
            format!("isolated_anon:{}\n active_file:", of(NodeStat::NrIsolatedAnon)),
            format!(" unevictable:{} dirty:{dirty} writeback:{writeback} ", of(NodeStat::NrUnevictable)),
            format!(" dirty:{}kB writeback:{}kB shmem:", dirty * 4, writeback * 4),
            format!("\n{} total pagecache pages\n", of(NodeStat::NrFilePages)),
            " writepending:28kB ".to_owned(),
            " all_unreclaimable? no\n".to_owned(),
        ];
        lines.iter().for_each(|line| assert!(report.contains(line), "{line}: {report}"));
        node.kswapd.failures.store(16, Relaxed);
        let report = ShowMem { memory: &memory, nodes: NodeMask::ALL, cpu: 0 }.to_string();
        assert!(report.contains(" all_unreclaimable? yes\n"), "{report}");
    }

    #[test]
    fn the_line_of_the_boot_log_adds_up() {
        #[track_caller]
        fn check(args: &str, cma_pages: u64, end: &str) {
            let machine = HostMachine::new(args, &[(0x4000_0000, 128 << 20, 0)], &[(0x4000_0000, 0x83000)]);
            let image = ImageSizes { code: 200 << 10, rwdata: 3 << 10, rodata: 90 << 10, init: 0, bss: 5 << 10 };
            let image_text = "200K kernel code, 3K rwdata, 90K rodata, 0K init, 5K bss";
            let line = format!("Memory: 130548K/131072K available ({image_text}, {end})");
            assert_eq!(MemInit { memory: &machine.memory(), image, cma_pages }.to_string(), line);
        }
        check("", 0, "524K reserved, 0K cma-reserved");
        check("", 100, "124K reserved, 400K cma-reserved");
        check("zones=x86-32 highmem=8M", 0, "524K reserved, 0K cma-reserved, 8192K highmem");
    }
}
