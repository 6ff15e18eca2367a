//! A task's memory in figures.
//!
//! Key types: [`Mm`], which those who map pages keep up to date, and [`MmFlags`], by which the OOM killer, its reaper and
//! the exiting task tell each other how far the memory is gone. Neighbour: `mm::oom_kill` weighs it.
//! Linux: `struct mm_struct`, `include/linux/sched/coredump.h`.
//!
//! Linux does more: page tables, areas, and memory that several tasks share.

use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use bitflags::bitflags;

/// A task's memory, in pages, as the OOM killer weighs it. Linux: `struct mm_struct`.
#[derive(Debug, Default)]
pub struct Mm {
    /// Everything mapped, present or not.
    pub total_vm: AtomicU64,
    /// Anonymous pages in memory.
    pub anon_rss: AtomicU64,
    /// File pages mapped.
    pub file_rss: AtomicU64,
    /// Shared memory mapped.
    pub shmem_rss: AtomicU64,
    /// Anonymous pages in the swap space.
    pub swapents: AtomicU64,
    /// Page tables, in bytes.
    pub pgtables_bytes: AtomicU64,
    flags: AtomicU32,
    /// There is none any more: the task exited.
    gone: AtomicBool,
    /// Somebody changes what is mapped where.
    writing: AtomicBool,
}

bitflags! {
    /// What the OOM killer notes about a task's memory. Linux: `MMF_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MmFlags: u32 {
        /// Nothing more is to be gained here; look elsewhere.
        const OOM_SKIP = 1 << 0;
        /// The memory of a victim.
        const OOM_VICTIM = 1 << 1;
        /// The reaper took pages away; content read from now on means nothing.
        const UNSTABLE = 1 << 2;
        /// The reaper has it on its list.
        const OOM_REAP_QUEUED = 1 << 3;
    }
}

impl Mm {
    /// Pages in memory. Linux: `get_mm_rss`.
    pub fn rss(&self) -> u64 {
        [&self.anon_rss, &self.file_rss, &self.shmem_rss].iter().map(|pages| pages.load(Relaxed)).sum()
    }

    /// Whether all of `flags` are set.
    pub fn has(&self, flags: MmFlags) -> bool {
        MmFlags::from_bits_retain(self.flags.load(Relaxed)).contains(flags)
    }

    /// Sets `flags`; those that were set before.
    pub fn set_flags(&self, flags: MmFlags) -> MmFlags {
        MmFlags::from_bits_retain(self.flags.fetch_or(flags.bits(), Relaxed)) & flags
    }

    /// Whether the memory was given back for good. Linux: `exit_mm` was there.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Relaxed)
    }

    /// Notes that nothing is mapped any more, and that nothing will be; whether that was news. Linux: `exit_mmap`.
    pub fn set_gone(&self) -> bool {
        self.counters().iter().for_each(|counter| counter.store(0, Relaxed));
        !self.gone.swap(true, Relaxed)
    }

    /// Keeps the reaper away while mappings change; `None` while somebody else does. Linux: `down_write(&mm->mmap_sem)`.
    pub fn mmap_write(&self) -> Option<MmapWrite<'_>> {
        // Not made unless it is ours: dropping one unlocks.
        (!self.writing.swap(true, Acquire)).then(|| MmapWrite(self))
    }

    /// Whether mappings change right now, so that they cannot be read. Linux: `down_read_trylock` fails.
    pub fn is_mmap_locked(&self) -> bool {
        self.writing.load(Acquire)
    }

    fn counters(&self) -> [&AtomicU64; 6] {
        [&self.total_vm, &self.anon_rss, &self.file_rss, &self.shmem_rss, &self.swapents, &self.pgtables_bytes]
    }

    pub(super) fn reset(&self) {
        self.counters().iter().for_each(|counter| counter.store(0, Relaxed));
        self.flags.store(0, Relaxed);
        self.gone.store(false, Relaxed);
        self.writing.store(false, Relaxed);
    }
}

/// Mappings are being changed until this is dropped.
#[must_use]
pub struct MmapWrite<'m>(&'m Mm);

impl Drop for MmapWrite<'_> {
    fn drop(&mut self) {
        self.0.writing.store(false, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_stay_locked_however_often_others_try() {
        let mm = Mm::default();
        let write = mm.mmap_write().unwrap();
        assert!((0..2).all(|_| mm.mmap_write().is_none() && mm.is_mmap_locked()));
        drop(write);
        assert!(!mm.is_mmap_locked() && mm.mmap_write().is_some());
    }
}
