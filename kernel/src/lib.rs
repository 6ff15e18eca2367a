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
//!   words         addr, mmzone, reclaim_types, comm, random, gfp, sync, vmstat, trace
//!   before        quirks, memblock, devicetree, bootargs, reserved_mem, early, numa, sched,
//!                 daemon, task
//!   structures    mm: page, pageblock, list, buddy, pcp, lru, kmem_cache, page_owner, mmu,
//!                 kmap_slots
//!   memory        mm: zonelist, zone_sizes, sysctl, compact_state, zone, node, printed,
//!                 oom_state, cpuset_state, memory
//!   in and out    mm: warn, wmark, fragmentation, fallback, reserves, alloc_context, reserve,
//!                 sleep, fault_inject, pgtable, highmem, prep, cpuset, mempolicy, suitable, wakeup,
//!                 freelist, workingset, swap, lru_view, fastpath, mm_init
//!   reports       mm: census, slab_object, slabinfo; show_mem; mm: warn_alloc
//!   make room     mm: migrate, compaction, vmscan, drop_caches, oom_kill
//!   the entry     mm: kswapd, slowpath, page_alloc
//!   users         mm: raw, content, sparse, tables, users, pc_error, store, rmap, swapfile, page_io,
//!                 page_wait, dirty_limits, writeback, pagecache, filemap, truncate, mincore,
//!                 verify, pins, mmap, anon, fault, swapoff, handles, relocate, shadows,
//!                 accounts, callbacks, slab, vmalloc, mempool, page_frag, skb
//!   views         proc, check, explain, stress
//! ```
//!
//! One request, top to bottom:
//!
//! ```text
//!   page_alloc::alloc_pages(memory, current, gfp, order)
//!     fastpath    the zone tried first has plenty: take from its per-CPU or buddy list
//!     freelist    else zone by zone: watermark, per-CPU list (refilled), buddy lists, fallback
//!     slowpath    else wake kswapd, look again above Min or into the reserves, compact, reclaim, kill, and round again
//!     prep        of what was found: marks, zeroing, poison, owner
//!   -> Pfn, or AllocError
//! ```
//!
//! Locks: [`sync::Class`] lists them from the outermost to the innermost, and debug builds panic at the first one that is
//! taken out of that order. A lock is taken only with interrupts masked, and nothing waits, writes back or prints while
//! holding one.
//!
//! Linux does more: memory that comes and goes, memory cgroups, huge pages, and users by the thousand.

pub mod addr;
pub mod comm;
pub mod mmzone;
pub mod random;
pub mod reclaim_types;

pub mod gfp;
pub mod sync;
pub mod trace;
pub mod vmstat;

pub mod bootargs;
pub mod daemon;
pub mod devicetree;
pub mod early;
pub mod memblock;
pub mod numa;
pub mod quirks;
pub mod reserved_mem;
pub mod sched;
pub mod task;

pub mod mm;
pub mod show_mem;

pub mod check;
pub mod explain;
pub mod proc;
pub mod stress;

#[cfg(any(test, feature = "host"))]
pub mod host;
