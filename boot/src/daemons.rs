//! The daemons: threads that the machine starts before anybody types, each with a task of its own.
//!
//! What they do is the kernel crate's. They are spread over the CPUs of their node, the boot CPU last. Linux:
//! `kswapd_init`, `kcompactd_init`, `oom_init`, `wb_workfn`.
//!
//! Linux does more: ksoftirqd, rcu_sched, migration, watchdog and a hundred kworkers.

use crate::arch::cpu;
use crate::machine::{Machine, tasks};
use crate::thread;
use alloc::format;
use kernel::mm::memory::{Env, Memory};
use kernel::mm::{compaction, kswapd, oom_kill, writeback};
use kernel::mmzone::NodeId;
use kernel::task::{Current, TaskKind};

/// Threads that [`start`] starts on a machine with so many nodes.
pub const fn threads(nodes: u32) -> u32 {
    2 * nodes + 2
}

/// Starts them all, and lets each come to its first sleep.
pub fn start(memory: &'static Memory<'static, Machine>) {
    for node in memory.online_nodes() {
        let (id, cpu) = (node.id.index(), |n| nth_cpu(memory, Some(node.id), n));
        start_one(&format!("kswapd{id}"), cpu(0), move |current| kswapd::kswapd(memory, current, node));
        start_one(&format!("kcompactd{id}"), cpu(1), move |current| compaction::kcompactd(memory, current, node));
    }
    start_one("oom_reaper", nth_cpu(memory, None, 2), move |current| oom_kill::oom_reaper(memory, current));
    let users = memory.env.owner();
    start_one("kworker/flush", nth_cpu(memory, None, 3), move |current| writeback::flusher(memory, current, users));
    thread::settle(None);
}

/// The `n`th online CPU of `node`, from the last one down and round again; of all CPUs where it has none.
fn nth_cpu(memory: &Memory<'_, Machine>, node: Option<NodeId>, n: usize) -> usize {
    let near = |cpu: usize| node.is_none_or(|node| memory.node_of_cpu(cpu) == node);
    let online = || cpu::online().map(|cpu| cpu.number);
    let count = online().filter(|cpu| near(*cpu)).count();
    match n.checked_rem(count) {
        Some(n) => online().filter(|cpu| near(*cpu)).nth(count - 1 - n).unwrap_or(0),
        None => online().last().unwrap_or(0),
    }
}

/// Starts the daemon `name`; a machine that cannot does without it, and says so.
fn start_one(name: &str, cpu: usize, body: impl FnOnce(&Current<'_>) + Send + 'static) {
    match tasks().spawn(name, TaskKind::Daemon).map(|task| thread::spawn(task, Some(cpu), body)) {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => log::error!("{name} does not start: {error}"),
        Err(error) => log::error!("{name} does not start: {error}"),
    }
}
