//! `alloc`: ask for pages as the current task.

use core::fmt::{self, Write as _};

use kernel::addr::{Order, Pfn};
use kernel::gfp::Gfp;
use kernel::mm::page_alloc::{self, AllocError};
use kernel::mmzone::{MAX_NUMNODES, MigrateType, NodeId};

use super::handle;
use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::handles::Held;
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value;

/// `alloc GFP [-o ORDER] [-n COUNT|max] [--node N] [--thisnode] [--movable]`
pub const fn alloc<M: Machine>() -> Command<M> {
    Command {
        name: "alloc",
        summary: "allocate pages as the current task",
        help: "\
Takes one block of 2^ORDER pages, or with -n several, and gives each a handle
to free it by. The line says where the block is; the type is the request's.
With -n it stops at the first refusal and says how much is free in each zone
then; max goes on until it is refused. Status 1: the allocator said no.
It comes from where the task's memory policy says (task policy), or with
--node from near that node, whatever the policy; --thisnode adds
__GFP_THISNODE: from nowhere else.
--movable makes single pages that compaction may move; see handle ls.",
        args: &[
            Arg::One("GFP", Kind::Gfp),
            Arg::Opt("-o", "ORDER", Kind::Order),
            Arg::Opt("-n", "COUNT|max", Kind::Count),
            Arg::Opt("--node", "N", Kind::Node),
            Arg::Flag("--thisnode"),
            Arg::Flag("--movable"),
            Arg::Flag("--json"),
        ],
        examples: &[
            "alloc GFP_KERNEL -o 3",
            "alloc GFP_ATOMIC|__GFP_ZERO",
            "alloc GFP_HIGHUSER_MOVABLE -n 100",
            "alloc GFP_HIGHUSER_MOVABLE --movable -n 100; handle free all",
            "alloc kernel --node 0 --thisnode --json",
        ],
        run,
    }
}

/// What is asked for, and what came of it.
struct AllocControl {
    gfp: Gfp,
    order: Order,
    node: Option<NodeId>,
    /// Blocks wanted; `None`: as many as there are.
    wanted: Option<u64>,
    /// Blocks that were allocated.
    allocated: u64,
    /// Handle of the first.
    first: u32,
    /// Why it ended early.
    end: Option<End>,
}

/// Why fewer blocks were allocated than asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Refused(AllocError),
    OutOfHeap,
    Interrupted,
}

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let parsed = value::gfp(call.args.must(0))?;
    let mut control = AllocControl {
        gfp: if call.args.flag("--thisnode") { parsed.mask | Gfp::__GFP_THISNODE } else { parsed.mask },
        order: call.args.option("-o").map_or(Ok(Order::ZERO), value::order)?,
        node: call.args.option("--node").map(|word| node(call, word)).transpose()?,
        wanted: call.args.option("-n").map_or(Ok(Some(1)), value::count)?,
        allocated: 0,
        first: call.shell.session.handles.last() + 1,
        end: None,
    };
    if !call.json() {
        // What is wrong with the mask itself the kernel says when it notices.
        parsed.notes().try_for_each(|note| writeln!(call, "{note}"))?;
    }
    if call.args.flag("--movable") {
        if control.order != Order::ZERO || control.node.is_some() {
            return Err(Trouble::Usage("movable pages are single ones: no -o, no --node"));
        }
        return handle::alloc(call, control.gfp, control.wanted);
    }
    allocate(call, &mut control);
    if control.wanted == Some(1) {
        report_one(call, &control)?;
    } else {
        report_many(call, &control)?;
    }
    match control.end {
        Some(End::Interrupted) => Err(Trouble::Interrupted),
        Some(End::OutOfHeap) => Err(Trouble::OutOfHeap),
        Some(End::Refused(_)) => Ok(Status::REFUSED),
        None => Ok(Status::DONE),
    }
}

/// The node called `word`, which the machine has.
fn node<'a, M: Machine>(call: &Call<'_, 'a, M>, word: &'a str) -> Result<NodeId, Trouble<'a>> {
    let id = NodeId(value::number_in("the node", word, 0, MAX_NUMNODES as i64 - 1)? as u8);
    let online = call.shell.machine.memory().online_nodes().any(|node| node.id == id);
    if online { Ok(id) } else { Err(Trouble::Usage("the machine has no such node")) }
}

/// Allocates until there is enough, or it ends early.
fn allocate<M: Machine>(call: &mut Call<'_, '_, M>, control: &mut AllocControl) {
    let pid = call.current().task.pid();
    while control.wanted.is_none_or(|wanted| control.allocated < wanted) {
        control.end = match try_one(call, control) {
            Ok(pfn) => {
                call.shell.session.handles.push(Held { pfn, order: control.order, pid });
                control.allocated += 1;
                continue;
            }
            Err(end) => Some(end),
        };
        return;
    }
}

fn try_one<M: Machine>(call: &mut Call<'_, '_, M>, control: &AllocControl) -> Result<Pfn, End> {
    call.check_interrupt().map_err(|_| End::Interrupted)?;
    // Room for the handle first: a block without one could never be freed.
    call.shell.session.handles.reserve().map_err(|_| End::OutOfHeap)?;
    let AllocControl { gfp, order, node, .. } = *control;
    let page = call.kernel(|memory, current| match node {
        Some(_) => page_alloc::alloc_pages_node(memory, current, node, gfp, order.get()),
        None => page_alloc::alloc_pages(memory, current, gfp, order.get()),
    });
    page.map_err(End::Refused)
}

/// The block's line, or why there is none.
fn report_one<M: Machine>(call: &mut Call<'_, '_, M>, control: &AllocControl) -> Result<(), Trouble<'static>> {
    let Some(held) = call.shell.session.handles.get(control.first).filter(|_| control.allocated == 1) else {
        if let Some(End::Refused(error)) = control.end {
            let json = call.json();
            if json { writeln!(call, r#"{{"error":"{error}"}}"#)? } else { writeln!(call, "{error}")? }
        }
        return Ok(());
    };
    let zone = call.shell.machine.memory().zone_of(held.pfn);
    let (node, zone) = zone.map_or((0, ""), |zone| (zone.node.0, zone.zone_type.name()));
    let migratetype = control.gfp.migratetype().unwrap_or(MigrateType::Unmovable);
    let (handle, Held { pfn, order, .. }) = (control.first, held);
    if call.json() {
        write!(call, r#"{{"handle":{handle},"order":{order},"pfn":{},"node":{node},"#, pfn.0)?;
        writeln!(call, r#""zone":"{zone}","migratetype":"{migratetype}"}}"#)?;
    } else {
        writeln!(call, "#{handle} order {order} pfn {pfn} {zone} {migratetype}")?;
    }
    Ok(())
}

/// How many of how many, their handles, and what is free in each zone now.
fn report_many<M: Machine>(call: &mut Call<'_, '_, M>, control: &AllocControl) -> Result<(), Trouble<'static>> {
    let AllocControl { allocated, order, first, .. } = *control;
    let last = call.shell.session.handles.last();
    let json = call.json();
    let refusal = match control.end {
        Some(End::Refused(error)) => Some(error),
        _ => None,
    };
    let unlimited = if json { "null" } else { "max" };
    let wanted: &dyn fmt::Display = control.wanted.as_ref().map_or(&unlimited, |wanted| wanted);
    if json {
        write!(call, r#"{{"allocated":{allocated},"wanted":{wanted},"order":{order},"#)?;
        write!(call, r#""first":{first},"last":{last}"#)?;
        refusal.map_or(Ok(()), |error| write!(call, r#","error":"{error}""#))?;
        writeln!(call, "}}")?;
    } else {
        writeln!(call, "allocated {allocated} of {wanted} blocks of order {order}")?;
        if allocated > 0 {
            writeln!(call, "handles #{first}..#{last}")?;
        }
        refusal.map_or(Ok(()), |error| writeln!(call, "{error}"))?;
    }
    super::free::zones_free(call)
}

#[cfg(test)]
mod tests {
    use crate::exec::Shell;
    use crate::host::HostMachine;
    use crate::testing::{check, run, shell};

    #[test]
    fn one_block_is_one_line() {
        check("alloc GFP_KERNEL -o 3", "#1 order 3 pfn 0x[..] DMA32 Unmovable");
        check("alloc highuser_movable; alloc 0x6000d0", "#1 order 0 pfn 0x[..] DMA32 Movable\n#2 [..] Reclaimable");
        check("alloc __GFP_WAIT|__GFP_IO", "note: __GFP_WAIT is [..]\n#1 order 0 [..] Unmovable");
    }

    #[test]
    fn several_blocks_are_a_summary() {
        let zone = "Node 0, zone    DMA32 free 15[..] min [..] low [..] high [..]";
        check(
            "alloc GFP_KERNEL -n 100 -o 0",
            &format!("allocated 100 of 100 blocks of order 0\nhandles #1..#100\n{zone}"),
        );
        let mut shell = shell();
        let output = run(&mut shell, "alloc GFP_KERNEL|__GFP_NOWARN -o 10 -n 44; echo $?");
        assert!(
            output.starts_with(
                "allocated 14 of 44 blocks of order 10\nhandles #1..#14\npage allocation failure: order:10"
            )
        );
        assert!(output.ends_with("\n1\n"), "{output}");
    }

    #[test]
    fn max_goes_on_until_it_is_refused() {
        let mut shell = shell();
        let output = run(&mut shell, "alloc GFP_NOWAIT|__GFP_NOWARN -n max");
        assert!(output.starts_with("allocated 15"), "{output}");
        assert!(output.lines().next().unwrap().ends_with(" of max blocks of order 0"), "{output}");
        let failure = "page allocation failure: order:0, mode:0x400200(GFP_NOWAIT|__GFP_NOWARN)\n1\n";
        assert_eq!(run(&mut shell, "alloc GFP_NOWAIT|__GFP_NOWARN; echo $?"), failure);
        assert_eq!(
            run(&mut shell, "free all; audit").lines().last().map(|line| line.contains(" 0 allocated")),
            Some(true)
        );
    }

    #[test]
    fn json_has_one_object_a_line() {
        check(
            "alloc GFP_KERNEL -o 2 --json",
            r#"{"handle":1,"order":2,"pfn":[..],"node":0,"zone":"DMA32","migratetype":"Unmovable"}"#,
        );
        check(
            "alloc GFP_KERNEL -n 2 --json",
            "{\"allocated\":2,\"wanted\":2,\"order\":0,\"first\":1,\"last\":2}\n{\"node\":0,\"zone\":\"DMA32\",[..]}",
        );
    }

    #[test]
    fn a_node_is_preferred_and_every_zone_is_listed() {
        let banks = [(0x4000_0000, 64 << 20, 0), (0x4400_0000, 64 << 20, 1)];
        let mut shell = Shell::new(HostMachine::new("", &banks, &[]));
        let output = run(&mut shell, "alloc GFP_KERNEL --node 1 --json");
        assert!(output.contains(r#""node":1,"zone":"DMA32""#), "{output}");
        let output = run(&mut shell, "alloc GFP_KERNEL|__GFP_THISNODE|__GFP_NOWARN --node 1 -n max");
        let lines: Vec<&str> = output.lines().collect();
        assert!(lines[3].starts_with("Node 0, zone    DMA32 free 16384 "), "{output}");
        assert!(lines[4].starts_with("Node 1, zone    DMA32 free "), "{output}");
        assert!(run(&mut shell, "alloc GFP_KERNEL --node 1 --json").contains(r#""node":0"#));
        let output = run(&mut shell, "alloc GFP_KERNEL|__GFP_NORETRY|__GFP_NOWARN --node 1 --thisnode");
        assert!(output.starts_with("page allocation failure: order:0") && output.contains("THISNODE"), "{output}");
    }

    #[test]
    fn bad_words_change_nothing() {
        check("alloc GFP_KERNAL", "alloc: no GFP flag is called GFP_KERNAL; did you mean `GFP_KERNEL`?");
        check("alloc GFP_KERNEL -o 11", "alloc: order must be 0..10 (MAX_PAGE_ORDER), not 11");
        check("alloc GFP_KERNEL --node 3", "alloc: the machine has no such node");
        check("alloc GFP_KERNEL --node 4", "alloc: the node must be 0..3, not 4");
        check("alloc GFP_KERNEL -n 0; echo $?", "alloc: the count must be 1..4294967295, not 0\n2");
    }
}
