//! The switches of the machine: settings, swap space, the disk, daemons, compaction.

use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::fmt::{self, Write};

use super::Stress;
use crate::daemon::Daemon;
use crate::mm::compaction;
use crate::mm::memory::{Env, Hook, Memory};
use crate::mm::sleep;
use crate::mm::swapfile;
use crate::mm::sysctl::Sysctls;
use crate::mm::users::Users;
use crate::proc::sysctl;
use crate::task::Current;

/// A number as text, made without a heap.
struct Digits([u8; 20], usize);

impl Write for Digits {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.1 + text.len();
        self.0.get_mut(self.1..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.1 = end;
        Ok(())
    }
}

/// Sets a setting to a number.
fn write<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, name: &str, value: u64) {
    let mut digits = Digits([0; 20], 0);
    let fits = write!(digits, "{value}").is_ok();
    let text = core::str::from_utf8(&digits.0[..digits.1]).ok().filter(|_| fits);
    if let (Some(setting), Some(text)) = (sysctl::find(name), text) {
        assert!(setting.write(memory, current, text).is_ok(), "{name} = {text}");
    }
}

/// A setting, and where its value is.
type Setting = (&'static str, fn(&Sysctls) -> &AtomicU64);

/// The settings that are played with.
const SETTINGS: [Setting; 10] = [
    ("min_free_kbytes", |values| &values.min_free_kbytes),
    ("watermark_scale_factor", |values| &values.watermark_scale_factor),
    ("watermark_boost_factor", |values| &values.watermark_boost_factor),
    ("percpu_pagelist_fraction", |values| &values.percpu_pagelist_fraction),
    ("swappiness", |values| &values.swappiness),
    ("extfrag_threshold", |values| &values.extfrag_threshold),
    ("compact_unevictable_allowed", |values| &values.compact_unevictable_allowed),
    ("oom_kill_allocating_task", |values| &values.oom_kill_allocating_task),
    ("oom_dump_tasks", |values| &values.oom_dump_tasks),
    ("numa_stat", |values| &values.numa_stat),
];

/// How the machine was set before somebody played with it.
pub struct Settings {
    values: [u64; SETTINGS.len()],
    latencies: [u64; 2],
    depth: u32,
    may_congest: bool,
    traced: bool,
    slots: u64,
}

impl Settings {
    /// As they are now.
    pub fn of<'u, E: Env<Owner = Users<'u>>>(memory: &Memory<'_, E>) -> Settings {
        let disk = &memory.env.owner().disk;
        Settings {
            values: SETTINGS.map(|(_, field)| field(&memory.sysctl).load(Relaxed)),
            latencies: [&disk.write_latency, &disk.read_latency].map(|ticks| ticks.load(Relaxed)),
            depth: disk.depth.load(Relaxed),
            may_congest: disk.may_congest.load(Relaxed),
            traced: memory.has(Hook::Trace),
            slots: swapfile::swap_space(memory.env.owner()).total,
        }
    }

    /// Makes them as they were; whether the swap space could be, too, which it cannot while it is in use.
    pub fn restore<'u, E: Env<Owner = Users<'u>>>(&self, memory: &Memory<'_, E>, current: &Current<'_>) -> bool {
        thaw_all(memory);
        SETTINGS.into_iter().zip(self.values).for_each(|((name, _), value)| write(memory, current, name, value));
        let disk = &memory.env.owner().disk;
        let [write_latency, read_latency] = self.latencies;
        disk.write_latency.store(write_latency, Relaxed);
        disk.read_latency.store(read_latency, Relaxed);
        disk.depth.store(self.depth, Relaxed);
        disk.may_congest.store(self.may_congest, Relaxed);
        memory.set_hook(Hook::Trace, self.traced);
        swapfile::swap_space(memory.env.owner()).total == self.slots
            || swapfile::swapon(memory, memory.env.owner(), self.slots).is_ok()
    }
}

/// Ends everything that could keep others waiting for ever: frozen daemons, a frozen disk.
pub fn thaw_all<'u, E: Env<Owner = Users<'u>>>(memory: &Memory<'_, E>) {
    memory.env.owner().disk.frozen.store(false, Relaxed);
    daemons(memory).for_each(|daemon| daemon.thaw(memory.env.sched()));
}

/// Every daemon of the machine.
pub fn daemons<'a, 'u: 'a, E: Env<Owner = Users<'u>>>(
    memory: &'a Memory<'_, E>,
) -> impl Iterator<Item = &'a Daemon> + 'a {
    let of_nodes = memory.online_nodes().flat_map(|node| [&node.kswapd.daemon, &node.kcompactd.daemon]);
    of_nodes.chain([&memory.oom.reaper, &memory.env.owner().flusher])
}

impl Stress {
    pub(super) fn write_sysctl<'u, E: Env<Owner = Users<'u>>>(
        &mut self,
        memory: &Memory<'_, E>,
        current: &Current<'_>,
    ) {
        let kib = self.limits.ram * 4;
        let (name, value) = match self.random.below(12) {
            0 => ("min_free_kbytes", self.random.below(kib / 12)),
            1 => ("watermark_scale_factor", 1 + self.random.below(300)),
            2 | 3 => ("watermark_boost_factor", self.random.pick(&[0, 15000, 15000, 60000])),
            4 => ("percpu_pagelist_fraction", self.random.pick(&[0, 0, 8, 100, 1000])),
            5 => ("swappiness", self.random.pick(&[0, 1, 60, 60, 100])),
            6 => ("extfrag_threshold", self.random.pick(&[0, 500, 500, 1000])),
            7 => ("compact_unevictable_allowed", self.random.below(2)),
            8 => ("oom_kill_allocating_task", u64::from(self.random.one_in(4))),
            9 => ("oom_dump_tasks", self.random.below(2)),
            10 => ("numa_stat", self.random.below(2)),
            _ => return memory.set_hook(Hook::Trace, self.random.one_in(8)),
        };
        write(memory, current, name, value);
    }

    pub(super) fn swapon<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>, _: &Current<'_>) {
        // With a frozen disk the pages of dead tasks that are being written would stay, and one kill follow the other.
        if memory.env.owner().disk.frozen.load(Relaxed) {
            return;
        }
        let slots = self.random.pick(&[0, 16, self.limits.ram / 4, self.limits.ram]);
        let _ = swapfile::swapon(memory, memory.env.owner(), slots);
    }

    pub(super) fn compact<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>) {
        if self.random.one_in(8) {
            compaction::compact_nodes(memory, current);
        }
    }

    /// The disk becomes slower or faster, daemons freeze and thaw, time passes.
    pub(super) fn play_with_daemons<'u, E: Env<Owner = Users<'u>>>(
        &mut self,
        memory: &Memory<'_, E>,
        current: &Current<'_>,
    ) {
        let disk = &memory.env.owner().disk;
        match self.random.below(12) {
            0 => disk.write_latency.store(self.random.pick(&[0, 1, 5, 5, 10]), Relaxed),
            1 => disk.read_latency.store(self.random.pick(&[0, 0, 1, 2]), Relaxed),
            2 => disk.depth.store(self.random.pick(&[1, 8, 128, 128]), Relaxed),
            3 => disk.may_congest.store(self.random.one_in(4), Relaxed),
            4 if self.limits.guarded && swapfile::swap_space(memory.env.owner()).total == 0 => {
                disk.frozen.store(true, Relaxed);
            }
            5 if self.limits.guarded => {
                let nth = self.random.below(daemons(memory).count() as u64) as usize;
                daemons(memory).skip(nth).take(1).for_each(Daemon::freeze);
            }
            6 => thaw_all(memory),
            7 => {
                let nth = self.random.below(daemons(memory).count() as u64) as usize;
                daemons(memory).skip(nth).take(1).for_each(|daemon| daemon.wake(memory.env.sched()));
            }
            _ => sleep::schedule_timeout(memory, current, 1 + self.random.below(8)),
        }
    }
}
