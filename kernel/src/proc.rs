//! The tables of /proc and /sys, byte for byte as Linux v5.0 prints them, and as JSON with one object a line.
//!
//! [`files`] is the one table of paths: `cat`, `ls` and completion walk it. Each file is a module with a function
//! `write`; numbers are gathered first and printed after, so nothing is printed under a lock. `/proc/sys/vm` is
//! [`sysctl`], the directories of tasks are [`pid`].
//!
//! Linux does more: a few hundred other files.

use core::fmt;

use crate::memblock::Resource;
use crate::mm::memory::{Env, Hook, Memory};

pub mod buddyinfo;
pub mod extfrag;
pub mod interrupts;
pub mod iomem;
pub mod json;
pub mod meminfo;
pub mod page_owner;
pub mod pagetypeinfo;
pub mod pid;
pub mod slabinfo;
pub mod sysctl;
pub mod system;
pub mod vmallocinfo;
pub mod vmstat;
pub mod zoneinfo;

use interrupts::Interrupts;

/// How a table is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Form {
    /// As Linux does.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What the files are made from.
#[derive(Debug)]
pub struct World<'a, 'm, E> {
    /// The allocator.
    pub memory: &'a Memory<'m, E>,
    /// What lies where in the physical address space, outer ranges before what is inside them.
    pub resources: &'a [Resource],
    /// Processors that run.
    pub nr_cpus: usize,
    /// What interrupts them.
    pub interrupts: Interrupts,
    /// The boot arguments, as they were given.
    pub cmdline: &'a str,
}

/// Writes the content of a file.
pub type Write<E> = fn(&World<'_, '_, E>, Form, &mut dyn fmt::Write) -> fmt::Result;

/// A file of /proc, or of /sys.
pub struct ProcFile<E: Env> {
    /// The whole path.
    pub path: &'static str,
    /// One line on what it tells.
    pub about: &'static str,
    /// Writes its content.
    pub write: Write<E>,
    /// What must be on for there to be any content, and what to say if it is not.
    pub needs: Option<(Hook, &'static str)>,
}

impl<E: Env> ProcFile<E> {
    const fn new(path: &'static str, about: &'static str, write: Write<E>) -> ProcFile<E> {
        ProcFile { path, about, write, needs: None }
    }

    const fn needs(self, hook: Hook, refusal: &'static str) -> ProcFile<E> {
        ProcFile { needs: Some((hook, refusal)), ..self }
    }

    /// Why the file has no content on this machine.
    pub fn refusal(&self, memory: &Memory<'_, E>) -> Option<&'static str> {
        self.needs.filter(|(hook, _)| !memory.has(*hook)).map(|(_, refusal)| refusal)
    }
}

/// What /proc/page_owner says when there are no records.
const NO_OWNERS: &str = "owners are recorded only when booted with page_owner=on";

/// Every file but those of /proc/sys, by path.
pub const fn files<E: Env>() -> [ProcFile<E>; 15] {
    [
        ProcFile::new("/proc/buddyinfo", "free blocks of each order", |world, form, out| {
            buddyinfo::write(world.memory, form, out)
        }),
        ProcFile::new("/proc/cmdline", "the boot arguments", |world, form, out| {
            system::write_cmdline(world.cmdline, form, out)
        }),
        ProcFile::new("/proc/interrupts", "how often each CPU served each interrupt", |world, form, out| {
            interrupts::write(world.interrupts, world.nr_cpus, form, out)
        }),
        ProcFile::new("/proc/iomem", "what lies where in the physical address space", |world, form, out| {
            iomem::write(world.resources, form, out)
        }),
        ProcFile::new("/proc/meminfo", "where all memory is", |world, form, out| {
            meminfo::write(world.memory, form, out)
        }),
        ProcFile::new("/proc/page_owner", "who allocated each block, with page_owner=on", |world, form, out| {
            page_owner::write(world.memory, form, out)
        })
        .needs(Hook::PageOwner, NO_OWNERS),
        ProcFile::new("/proc/pagetypeinfo", "free blocks and pageblocks by migratetype", |world, form, out| {
            pagetypeinfo::write(world.memory, form, out)
        }),
        ProcFile::new("/proc/quirks", "where v5.0 surprises, and what is done about it", |world, form, out| {
            system::write_quirks(world.memory.quirks, form, out)
        }),
        ProcFile::new("/proc/slabinfo", "objects and slabs of each slab cache", |world, form, out| {
            slabinfo::write(world.memory, form, out)
        }),
        ProcFile::new("/proc/version", "what this is", |_, form, out| system::write_version(form, out)),
        ProcFile::new("/proc/vmallocinfo", "the areas of vmalloc", |world, form, out| {
            vmallocinfo::write(world.memory, form, out)
        }),
        ProcFile::new("/proc/vmstat", "every counter", |world, form, out| vmstat::write(world.memory, form, out)),
        ProcFile::new("/proc/zoneinfo", "watermarks, sizes, per-CPU lists of each zone", |world, form, out| {
            zoneinfo::write(world.memory, world.nr_cpus, form, out)
        }),
        ProcFile::new(
            "/sys/kernel/debug/extfrag/extfrag_index",
            "what a failure is due to: no memory (0), or pieces (1)",
            |world, form, out| extfrag::write_extfrag(world.memory, form, out),
        ),
        ProcFile::new(
            "/sys/kernel/debug/extfrag/unusable_index",
            "part of the free memory that is no use to an order",
            |world, form, out| extfrag::write_unusable(world.memory, form, out),
        ),
    ]
}

/// The file with this path.
pub fn find<E: Env>(path: &str) -> Option<ProcFile<E>> {
    files().into_iter().find(|file| file.path == path)
}

#[cfg(test)]
mod tests;
