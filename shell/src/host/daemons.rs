//! The daemons of a host machine: threads of the program that take turns with the shell's.
//!
//! What they do is the kernel crate's; the image starts the same ones (`boot/src/daemons.rs`).

use std::format;
use std::thread::JoinHandle;
use std::vec::Vec;

use kernel::host::HostEnv;
use kernel::mm::compaction::kcompactd;
use kernel::mm::kswapd::kswapd;
use kernel::mm::memory::{Env, Memory};
use kernel::mm::oom_kill::oom_reaper;
use kernel::mm::writeback::flusher;
use kernel::task::{Current, TaskKind};

use super::dmesg::Dmesg;

/// The threads of a machine; they end with it.
pub struct Daemons {
    memory: &'static Memory<'static, HostEnv<'static>>,
    dmesg: Dmesg,
    threads: Vec<JoinHandle<()>>,
}

impl Daemons {
    /// Starts them all, and lets each come to its first sleep.
    pub fn start(memory: &'static Memory<'static, HostEnv<'static>>, dmesg: &Dmesg) -> Daemons {
        let mut daemons = Daemons { memory, dmesg: dmesg.clone(), threads: Vec::new() };
        for node in memory.online_nodes() {
            let id = node.id;
            daemons.spawn(&format!("kswapd{id}"), move |current| kswapd(memory, current, node));
            daemons.spawn(&format!("kcompactd{id}"), move |current| kcompactd(memory, current, node));
        }
        daemons.spawn("oom_reaper", move |current| oom_reaper(memory, current));
        daemons.spawn("kworker/flush", move |current| flusher(memory, current, memory.env.owner()));
        memory.env.threads().settle();
        daemons
    }

    /// Starts a thread with a task of its own.
    fn spawn(&mut self, name: &str, body: impl FnOnce(&Current<'_>) + Send + 'static) {
        let memory = self.memory;
        let task = memory.env.tasks().spawn(name, TaskKind::Daemon).expect("room for the daemons");
        let (thread, dmesg) = (memory.env.threads().reserve(), self.dmesg.clone());
        self.threads.push(std::thread::spawn(move || {
            dmesg.join();
            memory.env.threads().run(thread, || body(&Current::new(task, 0)));
        }));
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        // A test that failed holds what they would need to end.
        if !std::thread::panicking() {
            self.memory.env.threads().stop();
            self.threads.drain(..).for_each(|thread| thread.join().expect("a daemon that ends"));
        }
    }
}
