//! `showmem`, `thresholds`, `fragindex`: how much there is, and where decisions turn.
//!
//! The numbers are the allocator's own: every floor is what its watermark check would use.

use core::fmt::Write as _;

use kernel::mm::fragmentation;
use kernel::mm::zone::{AllocFlags, Zone};
use kernel::mmzone::NodeMask;
use kernel::proc::buddyinfo::Row;
use kernel::proc::vmstat;
use kernel::show_mem::ShowMem;
use kernel::vmstat::{VmStat, WritebackStat};

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value;

/// `showmem`
pub const fn showmem<M: Machine>() -> Command<M> {
    Command {
        name: "showmem",
        summary: "print the state of all memory, as a failure report has it",
        help: "\
Mem-Info of Linux v5.0: what SysRq-m prints, and what follows the first lines
of a page allocation failure and of an OOM kill. Sizes with kB are KiB, others
pages; U, M, E, H, C, I are the migratetypes of free blocks.",
        args: &[],
        examples: &["showmem"],
        run: run_showmem,
    }
}

/// `thresholds`
pub const fn thresholds<M: Machine>() -> Command<M> {
    Command {
        name: "thresholds",
        summary: "print where decisions turn: watermarks, floors, dirty limits",
        help: "\
For each zone: high, where kswapd stops; low, where the fast path stops and
kswapd starts; min, and the floors below it, each for those whom their flags
let go that far. A request of one page is refused when the free pages are no
more than its floor and the zone's lowmem_reserve against the zone that it
could have had; the last line has these. Then what is kept back in all, and
the dirty pages at which the flusher starts and writers are held up.",
        args: &[Arg::Flag("--json")],
        examples: &["thresholds", "thresholds --json"],
        run: run_thresholds,
    }
}

/// `fragindex ORDER`
pub const fn fragindex<M: Machine>() -> Command<M> {
    Command {
        name: "fragindex",
        summary: "tell why a block would be refused: no memory, or pieces",
        help: "\
The fragmentation index of each zone, in thousandths: -1000 when there is a
block of that order; else towards 0 for want of memory, towards 1000 because
the free memory lies in pieces, which compaction could mend.",
        args: &[Arg::One("ORDER", Kind::Order), Arg::Flag("--json")],
        examples: &["fragindex 4", "free to 100; fragindex 3 --json; free all"],
        run: run_fragindex,
    }
}

fn run_showmem<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let memory = call.shell.machine.memory();
    write!(call, "{}", ShowMem { memory, nodes: NodeMask::ALL, cpu: memory.cpu() })?;
    Ok(Status::DONE)
}

/// Who may go how far down, from the top: what the floor is called, the flags of the attempt, and who that is.
const FLOORS: [(&str, AllocFlags, &str); 8] = [
    ("high", AllocFlags::WMARK_HIGH, "kswapd stops"),
    ("low", AllocFlags::WMARK_LOW, "the fast path stops, kswapd starts"),
    ("min", AllocFlags::empty(), "GFP_KERNEL, GFP_NOWAIT stop"),
    ("atomic", AllocFlags::HARDER, "__GFP_ATOMIC and real-time tasks stop"),
    ("gfp_high", AllocFlags::HIGH, "__GFP_HIGH stops"),
    ("gfp_atomic", AllocFlags::HIGH.union(AllocFlags::HARDER), "GFP_ATOMIC stops"),
    ("oom_victim", AllocFlags::OOM, "an OOM victim stops"),
    ("oom_victim_high", AllocFlags::OOM.union(AllocFlags::HIGH), "an OOM victim with __GFP_HIGH stops"),
];

/// Where a request for one page stops with `flags`, before the zone's lowmem reserve.
fn floor(zone: &Zone, flags: AllocFlags) -> i64 {
    let mark = zone.watermark(flags.watermark());
    zone.watermark_terms(Default::default(), mark, zone.index, flags).min
}

fn run_thresholds<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let memory = call.shell.machine.memory();
    for zone in memory.populated_zones() {
        if call.json() { zone_object(call, zone)? } else { zone_lines(call, zone)? }
    }
    let totalreserve = memory.totalreserve();
    let limit = |wanted| vmstat::values(memory).find(|(stat, _)| *stat == VmStat::Writeback(wanted));
    let [dirty, background] = [WritebackStat::NrDirtyThreshold, WritebackStat::NrDirtyBackgroundThreshold]
        .map(|stat| limit(stat).map_or(0, |(_, value)| value));
    if call.json() {
        write!(call, r#"{{"totalreserve":{totalreserve},"nr_dirty_threshold":{dirty},"#)?;
        writeln!(call, r#""nr_dirty_background_threshold":{background}}}"#)?;
    } else {
        writeln!(call, "totalreserve {totalreserve}")?;
        writeln!(call, "nr_dirty_threshold {dirty}\nnr_dirty_background_threshold {background}")?;
    }
    Ok(Status::DONE)
}

fn zone_lines<M: Machine>(call: &mut Call<'_, '_, M>, zone: &Zone) -> Result<(), Trouble<'static>> {
    let (free, boost) = (zone.counts.free_pages(), zone.boost());
    writeln!(call, "Node {}, zone {:>8} free {free} boost {boost}", zone.node, zone.zone_type)?;
    for (name, flags, who) in FLOORS {
        writeln!(call, "  {name:<15} {:>8}  {who}", floor(zone, flags))?;
    }
    writeln!(call, "  {:<15} {:>8}  __GFP_MEMALLOC and PF_MEMALLOC stop", "memalloc", 0)?;
    write!(call, "  lowmem_reserve ")?;
    for (index, zone_type) in call.shell.machine.memory().zone_types().iter().enumerate() {
        write!(call, " {zone_type} {}", zone.lowmem_reserve(index))?;
    }
    Ok(writeln!(call)?)
}

fn zone_object<M: Machine>(call: &mut Call<'_, '_, M>, zone: &Zone) -> Result<(), Trouble<'static>> {
    let (free, boost) = (zone.counts.free_pages(), zone.boost());
    write!(call, r#"{{"node":{},"zone":"{}","free":{free},"boost":{boost}"#, zone.node, zone.zone_type)?;
    for (name, flags, _) in FLOORS {
        write!(call, r#","{name}":{}"#, floor(zone, flags))?;
    }
    write!(call, r#","lowmem_reserve":["#)?;
    for index in 0..call.shell.machine.memory().zone_types().len() {
        write!(call, "{}{}", if index == 0 { "" } else { "," }, zone.lowmem_reserve(index))?;
    }
    Ok(writeln!(call, "]}}")?)
}

fn run_fragindex<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let order = value::order(call.args.must(0))?;
    for row in call.shell.machine.memory().populated_zones().map(Row::of) {
        let Row { node, zone, nr_free } = row;
        let index = fragmentation::extfrag_index(&nr_free, order);
        let why = match index {
            -1000 => "there is a block",
            ..=500 => "for want of memory",
            _ => "because it lies in pieces",
        };
        if call.json() {
            writeln!(call, r#"{{"node":{node},"zone":"{zone}","order":{order},"index":{index}}}"#)?;
        } else {
            writeln!(call, "Node {node}, zone {zone:>8} order {order} index {index}: {why}")?;
        }
    }
    Ok(Status::DONE)
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, run, shell};

    #[test]
    fn the_report_is_that_of_a_failure() {
        let report = run(&mut shell(), "showmem");
        assert!(report.starts_with("Mem-Info:\nactive_anon:0 ") && report.contains("\n16384 pages RAM\n"), "{report}");
    }

    #[test]
    fn floors_are_those_of_the_watermark_check() {
        let mut shell = shell();
        let output = run(&mut shell, "thresholds");
        let floor = |name: &str| -> u64 {
            let line = output.lines().find(|line| line.trim_start().split(' ').next() == Some(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let min = floor("min");
        assert_eq!(
            [floor("gfp_high"), floor("atomic"), floor("oom_victim")],
            [min - min / 2, min - min / 4, min - min / 2]
        );
        assert!(floor("high") > floor("low") && floor("low") > min && floor("memalloc") == 0, "{output}");
        // One page above its floor a request is served, at the floor it is not.
        for (mask, name) in [("GFP_NOWAIT", "min"), ("GFP_ATOMIC", "gfp_atomic"), ("GFP_NOWAIT|__GFP_HIGH", "gfp_high")]
        {
            run(&mut shell, &format!("free all; free to {}", floor(name)));
            assert!(
                run(&mut shell, &format!("alloc {mask}|__GFP_NOWARN")).starts_with("page allocation failure"),
                "{mask}"
            );
        }
    }

    #[test]
    fn objects_have_the_same_numbers() {
        let json = "{\"node\":0,\"zone\":\"DMA32\",\"free\":15360,\"boost\":0,\"high\":[..],\"min\":[..]]}\n\
                    {\"totalreserve\":[..],\"nr_dirty_threshold\":[..]}";
        check("thresholds --json", json);
    }

    #[test]
    fn the_index_tells_pieces_from_want() {
        check("fragindex 3", "Node 0, zone    DMA32 order 3 index -1000: there is a block");
        check("fragindex 11; echo $?", "fragindex: order must be 0..10 (MAX_PAGE_ORDER), not 11\n2");
        check("fragindex 3 --json", r#"{"node":0,"zone":"DMA32","order":3,"index":-1000}"#);
    }
}
