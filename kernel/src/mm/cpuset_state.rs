//! The cpusets of a machine: named sets of nodes, two levels of them.
//!
//! [`CpusetTable`] has a fixed number; number 0 is the root, in which every task begins and which has all nodes. Which
//! task is in which, its [`crate::task::Placement`] says. Neighbour: [`super::cpuset`] makes and changes them, and
//! answers for requests. Linux: `struct cpuset`, `top_cpuset`.
//!
//! Linux does more: cpusets are a tree of any depth, and have CPUs, too.

use crate::comm::Comm;
use crate::mmzone::NodeMask;
use crate::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// How many there may be, the root included.
pub const MAX_CPUSETS: usize = 8;

/// A set of nodes that tasks are confined to.
#[derive(Default)]
pub struct Cpuset {
    alive: AtomicBool,
    name: [AtomicU64; 2],
    mems: AtomicU8,
    hardwall: AtomicBool,
    exclusive: AtomicBool,
}

impl Cpuset {
    /// Its name; the root's is `/`.
    pub fn name(&self) -> Comm {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.name[0].load(Relaxed).to_le_bytes());
        bytes[8..].copy_from_slice(&self.name[1].load(Relaxed).to_le_bytes());
        Comm::from_bytes(bytes)
    }

    /// Its nodes. Linux: `cpuset.mems`.
    pub fn mems(&self) -> NodeMask {
        NodeMask(self.mems.load(Relaxed))
    }

    /// Changes its nodes.
    pub(super) fn set_mems(&self, mems: NodeMask) {
        self.mems.store(mems.0, Relaxed);
    }

    /// Whether the kernel's own memory is confined, too. Linux: `cpuset.mem_hardwall`.
    pub fn is_hardwall(&self) -> bool {
        self.hardwall.load(Relaxed)
    }

    /// Sets [`Cpuset::is_hardwall`].
    pub fn set_hardwall(&self, on: bool) {
        self.hardwall.store(on, Relaxed);
    }

    /// Whether no other cpuset has any of its nodes. Linux: `cpuset.mem_exclusive`.
    pub fn is_exclusive(&self) -> bool {
        self.exclusive.load(Relaxed)
    }

    /// Sets [`Cpuset::is_exclusive`].
    pub(super) fn set_exclusive(&self, on: bool) {
        self.exclusive.store(on, Relaxed);
    }
}

/// The cpusets of a machine.
pub struct CpusetTable {
    sets: [Cpuset; MAX_CPUSETS],
}

impl Default for CpusetTable {
    fn default() -> CpusetTable {
        let table = CpusetTable { sets: Default::default() };
        table.sets[0].init("/", NodeMask::ALL);
        table.sets[0].set_exclusive(true);
        table
    }
}

impl Cpuset {
    fn init(&self, name: &str, mems: NodeMask) {
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(name.bytes()).for_each(|(to, byte)| *to = byte);
        for (word, chunk) in self.name.iter().zip(bytes.chunks_exact(8)) {
            word.store(chunk.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)), Relaxed);
        }
        self.mems.store(mems.0, Relaxed);
        self.hardwall.store(false, Relaxed);
        self.exclusive.store(false, Relaxed);
        self.alive.store(true, Release);
    }
}

impl CpusetTable {
    /// Every cpuset with its number, the root first.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &Cpuset)> {
        (0u8..).zip(&self.sets).filter(|(_, set)| set.alive.load(Acquire))
    }

    /// The cpuset called `name`.
    pub fn find(&self, name: &str) -> Option<u8> {
        self.iter().find(|(_, set)| set.name().as_str() == name).map(|(id, _)| id)
    }

    /// Cpuset number `id`; the root, if there is none.
    pub fn get(&self, id: u8) -> &Cpuset {
        self.sets.get(usize::from(id)).filter(|set| set.alive.load(Acquire)).unwrap_or(&self.sets[0])
    }

    /// The cpuset whose nodes a request may use that does not ask for its own cpuset's. Linux:
    /// `nearest_hardwall_ancestor`.
    pub(super) fn nearest_hardwall(&self, id: u8) -> &Cpuset {
        let own = self.get(id);
        if own.is_hardwall() || own.is_exclusive() { own } else { &self.sets[0] }
    }

    /// Makes a cpuset of a free slot; its number.
    pub(super) fn add(&self, name: &str, mems: NodeMask) -> Option<u8> {
        let free = self.sets.iter().position(|set| !set.alive.load(Acquire))?;
        self.sets[free].init(name, mems);
        Some(free as u8)
    }

    /// Frees the slot.
    pub(super) fn remove(&self, id: u8) {
        self.get(id).alive.store(false, Release);
    }
}
