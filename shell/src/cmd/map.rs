//! `map`: physical memory as a picture.
//!
//! Without an argument, every zone at a glance: one character for a pageblock, or for as many as it takes to fit a
//! screen. With a page number, the pageblock around it: one character for a page. Both look at the page records alone,
//! block by block, and take no lock: the picture is of a machine at rest.

use core::fmt::Write as _;

use kernel::addr::{Order, PAGEBLOCK_NR_PAGES, Pfn, PfnRange};
use kernel::memblock::Resource;
use kernel::mm::memory::{Env, Memory};
use kernel::mm::page::{Kind as PageKind, PageState};
use kernel::mm::zone::Zone;
use kernel::mmzone::MigrateType;

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value;

/// Characters in a row.
const COLUMNS: u64 = 64;
/// Rows of the overview, so that it fits 24 with what stands around it.
const ROWS: u64 = 14;

/// `map [PFN]`
pub const fn map<M: Machine>() -> Command<M> {
    Command {
        name: "map",
        summary: "show physical memory as a picture",
        help: "\
Each character is a pageblock of 2 MiB, or several. Its letter is the type
(Unmovable, Movable, rEclaimable, HighAtomic, CMA, Isolate, as in Linux's
reports): a capital where all is free, small where some is, * where nothing
is. # is reserved, a blank no memory.
map PFN shows one pageblock page by page: a free block is its order and
dashes, an allocated one its type and the same letter in small; p is a page on
a per-CPU list, ! a page found bad.",
        args: &[Arg::Maybe("PFN", Kind::Number)],
        examples: &["map", "alloc GFP_KERNEL -n 100; map 0x40800"],
        run,
    }
}

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    match call.args.word(0) {
        None => overview(call)?,
        Some(word) => pageblock(call, Pfn(value::number(word)?))?,
    }
    Ok(Status::DONE)
}

/// Where the pages of a range are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Count {
    free: u64,
    pcp: u64,
    used: u64,
    /// Reserved, or no memory at all.
    none: u64,
}

/// Calls `visit` for each run of pages of `range` that belong to one block (its head and state), or to none.
fn for_each_run<E: Env>(
    memory: &Memory<'_, E>,
    range: PfnRange,
    mut visit: impl FnMut(PfnRange, Option<(Pfn, PageState)>),
) {
    let mut at = range.start;
    while at < range.end {
        let index = memory.pages.index(at);
        let block =
            memory.blocks.head_of(&memory.pages, index).map(|(head, page)| (memory.pages.pfn(head), page.state()));
        let end = match block {
            Some((head, state)) => head.add(state.order().nr_pages()),
            None if memory.blocks.of(index).is_written() => at.add(1),
            None => at.add(1).align_up(Order::MAX),
        };
        let end = end.min(range.end);
        visit(PfnRange::new(at, end), block);
        at = end;
    }
}

fn count<E: Env>(memory: &Memory<'_, E>, range: PfnRange) -> Count {
    let mut count = Count::default();
    for_each_run(memory, range, |run, block| match block.map(|(_, state)| state.kind()) {
        Some(PageKind::Buddy) => count.free += run.nr_pages(),
        Some(PageKind::Pcp) => count.pcp += run.nr_pages(),
        Some(PageKind::Allocated | PageKind::Bad) => count.used += run.nr_pages(),
        Some(PageKind::Tail) | None => count.none += run.nr_pages(),
    });
    count
}

/// Writes characters, in the colour of their type if colours are allowed.
struct Pen {
    color: bool,
    now: Option<MigrateType>,
}

impl Pen {
    fn put(&mut self, out: &mut dyn core::fmt::Write, c: char, migratetype: Option<MigrateType>) -> core::fmt::Result {
        if self.color && self.now != migratetype {
            match migratetype {
                Some(migratetype) => write!(out, "\x1b[{}m", 31 + migratetype as u8)?,
                None => out.write_str("\x1b[0m")?,
            }
            self.now = migratetype;
        }
        out.write_char(c)
    }
}

/// Whether any page of `range` is RAM.
fn is_ram(resources: &[Resource], range: PfnRange) -> bool {
    let (start, end) = (range.start.addr(), range.end.addr());
    resources.iter().any(|outer| outer.level == 0 && outer.range.start < end && start < outer.range.end)
}

/// All zones, each with its free blocks by order and its picture.
fn overview<M: Machine>(call: &mut Call<'_, '_, M>) -> Result<(), Trouble<'static>> {
    let memory = call.shell.machine.memory();
    let total: u64 = memory.populated_zones().map(|zone| zone.span.nr_pages().div_ceil(PAGEBLOCK_NR_PAGES)).sum();
    let blocks = total.div_ceil(COLUMNS * ROWS).next_power_of_two();
    let nr_pages = blocks * PAGEBLOCK_NR_PAGES;
    for zone in memory.populated_zones() {
        let (free, pcp, managed) = (zone.counts.free_pages(), zone.pcp_pages(), zone.managed());
        writeln!(call, "Node {}, zone {} free {free} of {managed}, per-CPU {pcp}", zone.node, zone.zone_type)?;
        write!(call, "blocks by order")?;
        Order::all().try_for_each(|order| write!(call, " {}", zone.counts.nr_free(order)))?;
        writeln!(call)?;
        zone_picture(call, zone, nr_pages)?;
    }
    writeln!(call, "one character: {} MiB; capital: all free, small: some, *: none, #: reserved", blocks * 2)?;
    Ok(())
}

fn zone_picture<M: Machine>(call: &mut Call<'_, '_, M>, zone: &Zone, nr_pages: u64) -> Result<(), Trouble<'static>> {
    let (memory, resources) = (call.shell.machine.memory(), call.shell.machine.resources());
    let mut pen = Pen { color: call.shell.session.color, now: None };
    let first = zone.span.start.0 / nr_pages;
    let last = (zone.span.end.0 - 1) / nr_pages;
    for row in first / COLUMNS..=last / COLUMNS {
        write!(call, "{:>#12x} ", Pfn(row * COLUMNS * nr_pages).addr().0)?;
        for cell in row * COLUMNS..=last.min(row * COLUMNS + COLUMNS - 1) {
            let range = PfnRange::new(Pfn(cell * nr_pages), Pfn((cell + 1) * nr_pages)).intersect(zone.span);
            let (c, migratetype) = cell_character(memory, resources, range);
            pen.put(call, c, migratetype)?;
        }
        pen.put(call, '\n', None)?;
    }
    Ok(())
}

fn cell_character<E: Env>(
    memory: &Memory<'_, E>,
    resources: &[Resource],
    range: PfnRange,
) -> (char, Option<MigrateType>) {
    if range.is_empty() {
        return (' ', None);
    }
    let count = count(memory, range);
    if count.none == range.nr_pages() {
        return (if is_ram(resources, range) { '#' } else { ' ' }, None);
    }
    let migratetype = prevailing(memory, range);
    let letter = migratetype.letter();
    let c = match count {
        Count { pcp: 0, used: 0, none: 0, .. } => letter,
        Count { free: 0, pcp: 0, .. } => '*',
        _ => letter.to_ascii_lowercase(),
    };
    (c, Some(migratetype))
}

/// The type of most pageblocks of `range`.
fn prevailing<E: Env>(memory: &Memory<'_, E>, range: PfnRange) -> MigrateType {
    let mut counts = [0; MigrateType::COUNT];
    for pfn in (range.start.0..range.end.0).step_by(PAGEBLOCK_NR_PAGES as usize) {
        counts[memory.blocks.of(memory.pages.index(Pfn(pfn))).migratetype() as usize] += 1;
    }
    let most =
        MigrateType::ALL.into_iter().max_by_key(|&migratetype| (counts[migratetype as usize], -(migratetype as i8)));
    most.unwrap_or(MigrateType::Unmovable)
}

/// One pageblock, page by page.
fn pageblock<M: Machine>(call: &mut Call<'_, '_, M>, pfn: Pfn) -> Result<(), Trouble<'static>> {
    let (memory, resources) = (call.shell.machine.memory(), call.shell.machine.resources());
    let Some(zone) = memory.zone_of(pfn) else { return Err(Trouble::Refused("no zone has that page")) };
    let start = pfn.align_down(Order::PAGEBLOCK);
    let range = PfnRange::new(start, start.add(PAGEBLOCK_NR_PAGES));
    let migratetype = memory.blocks.of(memory.pages.index(pfn)).migratetype();
    let Count { free, pcp, used, none } = count(memory, range.intersect(zone.span));
    write!(call, "pageblock {start} {} {migratetype}: ", zone.zone_type)?;
    writeln!(call, "{free} free, {pcp} per-CPU, {used} used, {none} reserved")?;
    let mut pages = [(' ', None); PAGEBLOCK_NR_PAGES as usize];
    for_each_run(memory, range.intersect(zone.span), |run, block| {
        for page in run.start.0..run.end.0 {
            let reserved = is_ram(resources, PfnRange::new(Pfn(page), Pfn(page + 1)));
            pages[(page - start.0) as usize] =
                block.map_or((if reserved { '#' } else { ' ' }, None), |block| page_character(Pfn(page), block));
        }
    });
    let mut pen = Pen { color: call.shell.session.color, now: None };
    for (row, characters) in pages.chunks(COLUMNS as usize).enumerate() {
        write!(call, "{:>#12x} ", start.0 + row as u64 * COLUMNS)?;
        characters.iter().try_for_each(|&(c, migratetype)| pen.put(call, c, migratetype))?;
        pen.put(call, '\n', None)?;
    }
    writeln!(call, "0-9 X: free block of that order; U M E: allocated; -, u m e: rest; p: per-CPU")?;
    Ok(())
}

/// What stands for a page of the block with this head and state.
fn page_character(page: Pfn, (head, state): (Pfn, PageState)) -> (char, Option<MigrateType>) {
    let letter = state.migratetype().letter();
    let c = match (state.kind(), page == head) {
        (PageKind::Buddy, true) => char::from_digit(state.order().get(), 10).unwrap_or('X'),
        (PageKind::Buddy, false) => '-',
        (PageKind::Pcp, _) => 'p',
        (PageKind::Allocated, true) => letter,
        (PageKind::Allocated, false) => letter.to_ascii_lowercase(),
        (PageKind::Bad, _) => '!',
        (PageKind::Tail, _) => '#',
    };
    (c, Some(state.migratetype()))
}

#[cfg(test)]
mod tests {
    use crate::exec::Shell;
    use crate::host::HostMachine;
    use crate::testing::{assert_prints, check, run, shell, shell_with};

    #[test]
    fn an_untouched_machine_is_all_capitals() {
        let picture = "Node 0, zone DMA32 free 15360 of 15360, per-CPU 0\nblocks by order 0 0 0 0 0 0 0 0 0 0 15\n  \
                       0x40000000 ##MMMMMMMMMMMMMMMMMMMMMMMMMMMMMM\none character: 2 MiB; [..]";
        check("map", picture);
    }

    #[test]
    fn a_partly_reserved_pageblock_is_not_all_free() {
        let mut shell = Shell::new(HostMachine::new("", &[(0x4000_0000, 16 << 20, 0)], &[(0x4010_0000, 1 << 20)]));
        assert!(run(&mut shell, "map").contains("\n  0x40000000 mMMMMMMM\n"));
    }

    #[test]
    fn types_and_fill_show() {
        let mut shell = shell();
        run(
            &mut shell,
            "alloc GFP_HIGHUSER_MOVABLE -n 2000; alloc GFP_KERNEL; alloc GFP_KERNEL|__GFP_RECLAIMABLE -o 9",
        );
        let map = run(&mut shell, "map");
        assert!(map.contains(" ##MMMMMMMMMMMMMMMMMMMMMM*EuU*m**\n"), "{map}");
    }

    #[test]
    fn a_pageblock_is_shown_page_by_page() {
        let mut shell = shell();
        run(&mut shell, "alloc GFP_KERNEL -o 3; alloc GFP_KERNEL -n 2; free #2");
        let map = run(&mut shell, "map 0x43c07");
        let first = "pageblock 0x43c00 DMA32 Unmovable: [..] free, [..] per-CPU, 9 used, 0 reserved";
        assert_prints(map.lines().next().unwrap(), first);
        assert!(map.contains("\n     0x43c00 Uuuuuuuu"), "{map}");
        assert!(map.contains("pU") || map.contains("Up"), "{map}");
        assert!(map.contains(" 8-----"), "{map}");
        assert!(map.lines().all(|line| line.len() <= 80), "{map}");
    }

    #[test]
    fn every_page_of_a_pageblock_is_drawn() {
        let mut shell = shell();
        for pfn in ["0x40000", "0x40400", "0x43e00"] {
            let map = run(&mut shell, &format!("map {pfn}"));
            let drawn: usize = map.lines().skip(1).take(8).map(|row| row.len() - 13).sum();
            assert_eq!((map.lines().count(), drawn), (10, 512), "{map}");
        }
        check("map 0x1; echo $?", "map: no zone has that page\n1");
    }

    #[test]
    fn a_large_machine_fits_the_screen() {
        let banks = [(0x4000_0000, 3 << 30, 0), (0x1_0000_0000, 5 << 30, 0)];
        let mut shell = Shell::new(HostMachine::new("", &banks, &[]));
        let map = run(&mut shell, "map");
        assert!(map.lines().count() <= 24 && map.lines().all(|line| line.len() <= 80), "{map}");
        assert!(map.contains("zone Normal"), "{map}");
    }

    #[test]
    fn colours_wait_until_they_are_allowed() {
        let mut shell = shell_with("");
        assert!(!run(&mut shell, "map").contains('\x1b'));
        assert!(run(&mut shell, "color on; map").contains("\x1b[32mM"));
        assert!(!run(&mut shell, "color off; map").contains('\x1b'));
    }
}
