//! The report of a request that failed.
//!
//! [`warn_alloc`] prints who asked for what, and the state of all memory, unless the mask says `__GFP_NOWARN` or too many
//! have failed lately. Neighbours: [`crate::show_mem`] is the second part; [`super::oom_kill`] has a report of its own.
//! Linux: `warn_alloc`, `warn_alloc_show_mem`, `cpuset_print_current_mems_allowed`.

use core::fmt;

use super::memory::{Env, Memory};
use super::warn;
use crate::gfp::Gfp;
use crate::mmzone::NodeMask;
use crate::sched::HZ;
use crate::show_mem::ShowMem;
use crate::task::{Current, TaskFlags};

/// Ticks and reports of `DEFINE_RATELIMIT_STATE` where Linux names no others.
pub(super) const DEFAULT_RATELIMIT: (u64, u32) = (5 * HZ, 10);

/// Reports that a request with `gfp` failed, in the words `text`.
pub fn warn_alloc<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    gfp: Gfp,
    nodes: Option<NodeMask>,
    text: fmt::Arguments<'_>,
) {
    let (interval, burst) = DEFAULT_RATELIMIT;
    let limit = &memory.printed.warn_alloc;
    if gfp.contains(Gfp::__GFP_NOWARN) || !warn::ratelimited(memory, limit, interval, burst, "warn_alloc") {
        return;
    }
    let (comm, mode) = (current.task.comm(), gfp.mode());
    log::warn!("{comm}: {text}, mode:{mode}, nodemask={}{}", nodemask(nodes), cpuset(memory, current));
    warn::dump_stack(memory, current);
    if warn::ratelimited(memory, &memory.printed.show_mem, HZ, 1, "warn_alloc_show_mem") {
        let nodes = if shows_every_node(current, gfp) { NodeMask::ALL } else { allowed(current, nodes) };
        ShowMem { memory, nodes, cpu: memory.cpu() }.log();
    }
}

/// Whether the request might have used nodes outside of its cpuset.
fn shows_every_node(current: &Current<'_>, gfp: Gfp) -> bool {
    let may_ignore =
        current.task.is_oom_victim() || current.flags().intersects(TaskFlags::PF_MEMALLOC | TaskFlags::PF_EXITING);
    (may_ignore && !gfp.contains(Gfp::__GFP_NOMEMALLOC))
        || current.context().in_interrupt()
        || !gfp.contains(Gfp::__GFP_DIRECT_RECLAIM)
}

/// The nodes that a report shows: those of the request, else those of the task. Linux: `show_mem_node_skip`.
pub(super) fn allowed(current: &Current<'_>, nodes: Option<NodeMask>) -> NodeMask {
    nodes.unwrap_or(current.task.mems_allowed())
}

/// A nodemask in reports: its nodes, or `(null)`. Linux: `nodemask_pr_args`.
pub(super) fn nodemask(nodes: Option<NodeMask>) -> impl fmt::Display {
    fmt::from_fn(move |f| match nodes {
        Some(nodes) => write!(f, "{nodes}"),
        None => f.write_str("(null)"),
    })
}

/// The cpuset of `current` and its nodes. Linux: `cpuset_print_current_mems_allowed`.
pub(super) fn cpuset<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>) -> impl fmt::Display {
    let nodes = current.task.mems_allowed().and(memory.nodes_with_memory());
    let name = memory.cpusets.get(current.task.placement.cpuset()).name();
    fmt::from_fn(move |f| write!(f, ",cpuset={name},mems_allowed={nodes}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::testing::{Lab, board_2_nodes, board_16m, logged};
    use crate::mmzone::NodeId;
    use crate::task::Context;

    fn fail(lab: &Lab<'_>, current: &Current<'_>, gfp: Gfp) -> String {
        logged(|| warn_alloc(&lab.memory, current, gfp, None, format_args!("page allocation failure: order:0")))
    }

    #[test]
    fn the_report_is_that_of_linux() {
        let machine = board_16m("");
        let lab = Lab::new(&machine);
        let log = fail(&lab, &lab.current(), Gfp::GFP_KERNEL | Gfp::__GFP_NORETRY);
        let lines: Vec<_> = log.lines().collect();
        let first = "sh: page allocation failure: order:0, mode:0x6010c0(GFP_KERNEL|__GFP_NORETRY), \
                     nodemask=(null),cpuset=/,mems_allowed=0";
        let stack = format!("CPU: 0 PID: 1 Comm: sh Not tainted 5.0.0-uk {}", env!("CARGO_PKG_VERSION"));
        assert_eq!(lines[..3], [first, &stack, "Mem-Info:"]);
        let report = ShowMem { memory: &lab.memory, nodes: NodeMask::ALL, cpu: 0 }.to_string();
        assert_eq!(lines[2..], report.lines().collect::<Vec<_>>());
        assert_eq!(fail(&lab, &lab.current(), Gfp::GFP_KERNEL | Gfp::__GFP_NOWARN), "");
    }

    /// The second half of T08.
    #[test]
    fn t08_ten_reports_in_five_seconds_and_one_mem_info_a_second() {
        let machine = board_16m("");
        let lab = Lab::new(&machine);
        let failures = |count| (0..count).map(|_| fail(&lab, &lab.current(), Gfp::GFP_KERNEL)).collect::<String>();
        let log = failures(26);
        let lines = |log: &str, text: &str| log.lines().filter(|line| line.contains(text)).count();
        assert_eq!(
            (lines(&log, "page allocation failure"), lines(&log, "Mem-Info:"), lines(&log, "suppressed")),
            (10, 1, 0)
        );
        lab.memory.env.advance(5_100_000_000);
        let log = failures(1);
        assert!(log.starts_with("warn_alloc: 16 callbacks suppressed\nsh: page allocation failure: "), "{log}");
        assert!(log.contains("\nwarn_alloc_show_mem: 9 callbacks suppressed\nMem-Info:\n"), "{log}");
    }

    #[test]
    fn nodes_outside_the_cpuset_are_shown_to_those_who_may_use_them() {
        let machine = board_2_nodes("");
        let lab = Lab::new(&machine);
        let near = Some(NodeMask::default().with(NodeId(1)));
        let shows_both = |current: &Current<'_>, gfp| {
            lab.memory.env.advance(1_100_000_000);
            let log = logged(|| warn_alloc(&lab.memory, current, gfp, near, format_args!("no")));
            assert!(log.contains(", nodemask=1,cpuset=/,mems_allowed=0-1\n") && log.contains("\nNode 1 "), "{log}");
            log.contains("\nNode 0 ")
        };
        let current = lab.current();
        assert!(!shows_both(&current, Gfp::GFP_KERNEL));
        assert!(shows_both(&current, Gfp::GFP_ATOMIC));
        assert!(shows_both(&current.in_context(Context::SoftIrq), Gfp::GFP_KERNEL));
        let _scope = current.task.scope(TaskFlags::PF_MEMALLOC);
        assert!(shows_both(&current, Gfp::GFP_KERNEL));
        assert!(!shows_both(&current, Gfp::GFP_KERNEL | Gfp::__GFP_NOMEMALLOC));
    }
}
