//! The other threads of a host machine: threads of the program that take turns with the shell's.
//!
//! They are daemons, which do what the kernel crate says and of which the image starts the same (`boot/src/daemons.rs`),
//! and jobs.

use std::format;
use std::thread::JoinHandle;
use std::vec::Vec;

use kernel::host::HostEnv;
use kernel::mm::compaction::kcompactd;
use kernel::mm::kswapd::kswapd;
use kernel::mm::memory::{Env, Memory};
use kernel::mm::oom_kill::oom_reaper;
use kernel::mm::writeback::flusher;
use kernel::sched::{Scheduler, ThreadId};
use kernel::task::{Current, TaskKind};

use super::dmesg::Dmesg;

/// The threads of a machine; they end with it.
pub struct Threads {
    memory: &'static Memory<'static, HostEnv<'static>>,
    dmesg: Dmesg,
    threads: Vec<(ThreadId, JoinHandle<()>)>,
}

impl Threads {
    /// No thread.
    pub fn none(memory: &'static Memory<'static, HostEnv<'static>>, dmesg: &Dmesg) -> Threads {
        Threads { memory, dmesg: dmesg.clone(), threads: Vec::new() }
    }

    /// Starts the daemons, and lets each come to its first sleep.
    pub fn start(memory: &'static Memory<'static, HostEnv<'static>>, dmesg: &Dmesg) -> Threads {
        let mut daemons = Threads::none(memory, dmesg);
        for node in memory.online_nodes() {
            let id = node.id;
            daemons.daemon(&format!("kswapd{id}"), move |current| kswapd(memory, current, node));
            daemons.daemon(&format!("kcompactd{id}"), move |current| kcompactd(memory, current, node));
        }
        daemons.daemon("oom_reaper", move |current| oom_reaper(memory, current));
        daemons.daemon("kworker/flush", move |current| flusher(memory, current, memory.env.owner()));
        memory.env.threads().settle();
        daemons
    }

    /// Starts a thread with a task of its own.
    fn daemon(&mut self, name: &str, body: impl FnOnce(&Current<'_>) + Send + 'static) {
        let task = self.memory.env.tasks().spawn(name, TaskKind::Daemon).expect("room for the daemons");
        self.spawn(task.pid(), move || body(&Current::new(task)));
    }

    /// Starts a thread for the task with number `pid`.
    pub fn spawn(&mut self, pid: u16, body: impl FnOnce() + Send + 'static) -> ThreadId {
        let threads = self.memory.env.threads();
        let (thread, dmesg) = (threads.reserve(pid), self.dmesg.clone());
        let body = move || {
            dmesg.join();
            threads.run(thread, body);
        };
        self.threads.push((thread, std::thread::spawn(body)));
        thread
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // A test that failed holds what they would need to end; and a job's machine has none.
        if !std::thread::panicking() && !self.threads.is_empty() {
            let threads = self.memory.env.threads();
            self.threads.iter().for_each(|(thread, _)| threads.call_off(*thread));
            threads.stop();
            self.threads.drain(..).for_each(|(_, thread)| thread.join().expect("a thread that ends"));
        }
    }
}
