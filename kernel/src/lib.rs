#![cfg_attr(not(any(test, feature = "host")), no_std)]
//! Linux v5.0's page allocator as a library: everything that can be right or wrong about memory, and no hardware.
//!
//! There is no static, no heap and no thread in here. A [`mm::memory::Memory`] borrows its page records from whoever
//! made it, so many can live in one test process; the world (time, interrupts, the content of pages) enters through the
//! trait [`mm::memory::Env`]. The same source runs in the image, in ordinary tests and under Miri.
//!
//! Files stand on floors, and **a file imports only from floors below its own** (on its own floor only from files listed
//! before it); `cargo xtask tidy` reads the `use` lines and holds the list.
//!
//! ```text
//!   words         addr, mmzone, gfp, sync, vmstat, trace
//!   before        quirks, memblock, devicetree, bootargs, reserved_mem, early, numa, task
//!   structures    mm: page, pageblock, list, buddy, pcp, page_owner
//!   memory        mm: zonelist, zone_sizes, sysctl, zone, node, memory
//!   in and out    mm: wmark, fallback, reserves, alloc_context, prep, freelist, fastpath, mm_init
//!   the entry     mm: page_alloc
//!   users         mm: raw
//!   views         mm: census; proc, show_mem, check
//! ```
//!
//! One request, top to bottom:
//!
//! ```text
//!   page_alloc::alloc_pages(memory, current, gfp, order)
//!     fastpath    the zone tried first has plenty: take from its per-CPU or buddy list
//!     freelist    else zone by zone: watermark, per-CPU list (refilled), buddy lists, fallback
//!     prep        marks, zeroing, poison, owner
//!   -> Pfn, or AllocError
//! ```
//!
//! Locks: the LRU lock, when it comes, before the zone lock; per-CPU lists before the zone lock. A zone lock is taken
//! only with interrupts masked, and nothing waits, writes back or prints while holding one.
//!
//! Linux does more: what happens when the fast path fails comes with the slow path.

pub mod addr;
pub mod mmzone;

pub mod gfp;
pub mod sync;
pub mod trace;
pub mod vmstat;

pub mod bootargs;
pub mod devicetree;
pub mod early;
pub mod memblock;
pub mod numa;
pub mod quirks;
pub mod reserved_mem;
pub mod task;

pub mod mm;

pub mod check;
pub mod proc;
pub mod show_mem;

#[cfg(any(test, feature = "host"))]
pub mod host;
