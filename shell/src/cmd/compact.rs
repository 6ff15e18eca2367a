//! `compact`: move pages so that free memory becomes large blocks.

use core::fmt::Write as _;

use kernel::gfp::Gfp;
use kernel::mm::compaction;
use kernel::mm::memory::{Env, Memory};
use kernel::mmzone::{MAX_NUMNODES, NodeId};
use kernel::reclaim_types::{CompactPriority, CompactResult};
use kernel::vmstat::VmEvent;

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value;

/// How hard compaction tries, as people call it.
const PRIORITIES: [(&str, CompactPriority); 3] =
    [("async", CompactPriority::Async), ("light", CompactPriority::SyncLight), ("full", CompactPriority::SyncFull)];

/// `compact all`
pub const fn all<M: Machine>() -> Command<M> {
    Command {
        name: "compact all",
        summary: "compact all memory, as writing to compact_memory does",
        help: "\
In each zone, pages that can move are moved to its end: those of files, those
of tasks, and movable pages (alloc --movable). Blocks of alloc never move, nor
do pinned pages. Tells how many pages moved, and how many would not.",
        args: &[Arg::Flag("--json")],
        examples: &["compact all", "alloc GFP_HIGHUSER_MOVABLE --movable -n 9; compact all; handle check"],
        run: run_all,
    }
}

/// `compact node N`
pub const fn node<M: Machine>() -> Command<M> {
    Command {
        name: "compact node",
        summary: "compact the memory of one node",
        help: "\
As compact all. Linux: /sys/devices/system/node/nodeN/compact.",
        args: &[Arg::One("N", Kind::Node), Arg::Flag("--json")],
        examples: &["compact node 0"],
        run: run_node,
    }
}

/// `compact try ORDER async|light|full [GFP]`
pub const fn attempt<M: Machine>() -> Command<M> {
    Command {
        name: "compact try",
        summary: "compact once for a block, as a request would",
        help: "\
The slow path tries async first, which waits for nobody and takes movable
pageblocks only for a movable mask; then light, which waits for locks; last
full, which waits for writeback and looks everywhere. A zone where that failed
is deferred: the next 1, 3, 7 and so on attempts do not run, but for full
ones. Status 1 unless there is a block afterwards. GFP_KERNEL if no mask is
given.",
        args: &[
            Arg::One("ORDER", Kind::Order),
            Arg::One("PRIORITY", Kind::Choice(&["async", "light", "full"])),
            Arg::Maybe("GFP", Kind::Gfp),
            Arg::Flag("--json"),
        ],
        examples: &["compact try 4 light", "explain compact try 9 async GFP_TRANSHUGE"],
        run: run_try,
    }
}

/// Pages that moved so far, and those that would not.
fn migrated<E: Env>(memory: &Memory<'_, E>) -> [u64; 2] {
    [VmEvent::PgmigrateSuccess, VmEvent::PgmigrateFail].map(|event| memory.event(event))
}

/// Runs `compact`, and tells what that did; what it came to, if it says.
fn told<'a, M: Machine>(
    call: &mut Call<'_, 'a, M>,
    compact: impl FnOnce(&mut Call<'_, 'a, M>) -> Option<CompactResult>,
) -> Outcome<'a> {
    let memory = call.shell.machine.memory();
    let before = migrated(memory);
    let result = compact(call);
    let now = migrated(memory);
    let [moved, stayed] = [0, 1].map(|i| now[i] - before[i]);
    call.check_interrupt()?;
    match (call.json(), result) {
        (true, None) => writeln!(call, r#"{{"moved":{moved},"stayed":{stayed}}}"#)?,
        (true, Some(result)) => writeln!(call, r#"{{"result":"{result}","moved":{moved},"stayed":{stayed}}}"#)?,
        (false, None) => writeln!(call, "moved {moved} pages, {stayed} would not")?,
        (false, Some(result)) => writeln!(call, "{result}: moved {moved} pages, {stayed} would not")?,
    }
    Ok(Status::done_if(result.is_none_or(|result| result == CompactResult::Success)))
}

fn run_all<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    told(call, |call| {
        call.kernel(|memory, current| compaction::compact_nodes(memory, current));
        None
    })
}

fn run_node<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let id = NodeId(value::number_in("the node", call.args.must(0), 0, MAX_NUMNODES as i64 - 1)? as u8);
    let node = call.shell.machine.memory().online_nodes().find(|node| node.id == id);
    let node = node.ok_or(Trouble::Usage("the machine has no such node"))?;
    told(call, |call| {
        call.kernel(|memory, current| compaction::compact_node(memory, current, node));
        None
    })
}

fn run_try<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let order = value::order(call.args.must(0))?;
    let priority = value::one_of("priority", call.args.must(1), PRIORITIES.into_iter())?;
    let gfp = call.args.word(2).map_or(Ok(Gfp::GFP_KERNEL), |word| value::gfp(word).map(|parsed| parsed.mask))?;
    if gfp.migratetype().is_none() {
        return Err(Trouble::Usage("the mask is movable and reclaimable at once"));
    }
    told(call, |call| {
        let result = call.kernel(|memory, current| compaction::compact_as_for(memory, current, gfp, order, priority));
        Some(result.unwrap_or(CompactResult::Skipped))
    })
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use crate::exec::Shell;
    use crate::host::HostMachine;
    use crate::testing::{assert_prints, check, run, shell};

    /// Half of the memory in raw pages, and in the rest a movable page at every second place; nothing else is free.
    fn scattered() -> Shell<HostMachine> {
        let mut shell = shell();
        run(&mut shell, "task pf sh +memalloc; sysctl watermark_boost_factor=0; free to 8192");
        let filled = run(&mut shell, "alloc GFP_HIGHUSER_MOVABLE|__GFP_NOWARN --movable -n max");
        assert!(filled.starts_with("allocated 8192 of max movable pages\nh0..h8191\n"), "{filled}");
        run(&mut shell, "task pf sh -memalloc; handle free h1..h8191/2; vmstat diff");
        shell
    }

    #[test]
    fn t51_a_movable_request_compacts_and_is_served() {
        let mut shell = scattered();
        let output = run(&mut shell, "alloc GFP_HIGHUSER_MOVABLE -o 4");
        assert_prints(&output, "#[..] order 4 pfn 0x[..] DMA32 Movable");
        let diff = run(&mut shell, "vmstat diff");
        for line in ["compact_stall +1", "compact_success +1", "pgmigrate_success +8"] {
            assert!(diff.lines().any(|other| other == line), "{line}: {diff}");
        }
        assert!(!diff.contains("allocstall") && run(&mut shell, "handle check").ends_with("0 corrupt\n"), "{diff}");
    }

    #[test]
    fn everything_moves_to_one_end() {
        let mut shell = scattered();
        let output = run(&mut shell, "compact all");
        assert_prints(&output, "moved [..] pages, 0 would not");
        assert!(run(&mut shell, "fragindex 9").ends_with("-1000: there is a block\n"));
        assert_eq!(run(&mut shell, "handle check; echo $?"), "4096 movable pages checked, 0 corrupt\n0\n");
        assert!(run(&mut shell, "audit").starts_with("audit passed"));
    }

    #[test]
    fn compact_memory_is_written_only() {
        let mut shell = scattered();
        let path = "/proc/sys/vm/compact_memory";
        assert_eq!(run(&mut shell, &format!("echo 1 > {path}; echo $?")), "0\n");
        assert!(run(&mut shell, "fragindex 9").ends_with("-1000: there is a block\n"));
        assert_eq!(run(&mut shell, &format!("cat {path}; echo $?")), format!("cat: {path}: Permission denied\n2\n"));
        assert!(!run(&mut shell, "sysctl").contains("compact_memory"));
        let written = "sysctl: the setting can only be written\n";
        assert_eq!(run(&mut shell, "sysctl compact_memory; sysctl compact_memory=1"), written);
        assert!(run(&mut shell, &format!("echo x > {path}")).starts_with("write error: Invalid argument"));
    }

    #[test]
    fn t59_pinned_pages_stay() {
        let mut shell = scattered();
        run(&mut shell, "handle pin h0..h18/2 h8170..h8188/2");
        let places = run(&mut shell, "handle ls h0..h18 h8170..h8188");
        let json = run(&mut shell, "compact all --json");
        assert!(json.starts_with(r#"{"moved":"#) && !json.contains(r#""stayed":0"#), "{json}");
        assert_eq!(run(&mut shell, "handle ls h0..h18 h8170..h8188"), places);
        assert!(run(&mut shell, "handle check").ends_with("0 corrupt\n"));
    }

    #[test]
    fn one_attempt_at_a_time() {
        let mut shell = scattered();
        assert_eq!(run(&mut shell, "compact try 4 async; echo $?"), "complete: moved 0 pages, 0 would not\n1\n");
        assert_prints(&run(&mut shell, "compact try 4 light --json"), r#"{"result":"success","moved":256,"stayed":0}"#);
        assert_prints(&run(&mut shell, "compact try 4 full GFP_NOIO"), "skipped: moved 0 pages, 0 would not");
        check("compact try 4 hard", "compact try: no priority `hard`");
        check("compact try 11 full", "compact try: order must be 0..10 (MAX_PAGE_ORDER), not 11");
        check("compact node 3; echo $?", "compact node: the machine has no such node\n2");
        assert_prints(&run(&mut shell, "compact node 0"), "moved [..] pages, 0 would not");
    }

    #[test]
    fn t55_attempts_that_fail_are_deferred() {
        let mut shell = scattered();
        run(&mut shell, "handle pin all");
        let ran = |_: &u32| !run(&mut shell, "compact try 4 light").starts_with("deferred: ");
        let ran: Vec<u32> = (1..=255).filter(ran).collect();
        assert_eq!(ran, [1, 3, 7, 15, 31, 63, 127, 191, 255]);
    }
}
