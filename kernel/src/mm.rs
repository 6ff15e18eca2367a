//! The allocator, floor by floor: structures, memory, in and out, reports, making room, the entry, users.
//!
//! Which file stands where on its floor is told by the picture in `lib.rs`.

pub mod buddy;
pub mod kmap_slots;
pub mod kmem_cache;
pub mod list;
pub mod lru;
pub mod mmu;
pub mod page;
pub mod page_owner;
pub mod pageblock;
pub mod pcp;

pub mod compact_state;
pub mod cpuset_state;
pub mod memory;
pub mod node;
pub mod oom_state;
pub mod printed;
pub mod sysctl;
pub mod zone;
pub mod zone_sizes;
pub mod zonelist;

pub mod alloc_context;
pub mod cpuset;
pub mod fallback;
pub mod fastpath;
pub mod fault_inject;
pub mod fragmentation;
pub mod freelist;
pub mod highmem;
pub mod lru_view;
pub mod mempolicy;
pub mod mm_init;
pub mod pgtable;
pub mod prep;
pub mod reserve;
pub mod reserves;
pub mod sleep;
pub mod suitable;
pub mod swap;
pub mod wakeup;
pub mod warn;
pub mod wmark;
pub mod workingset;

pub mod census;
pub mod slab_object;
pub mod slabinfo;
pub mod warn_alloc;

pub mod compaction;
pub mod drop_caches;
pub mod migrate;
pub mod oom_kill;
pub mod vmscan;

pub mod kswapd;
pub mod page_alloc;
pub mod slowpath;

mod accounts;
pub mod anon;
mod callbacks;
pub mod content;
pub mod dirty_limits;
pub mod fault;
pub mod filemap;
pub mod handles;
pub mod mempool;
pub mod mincore;
pub mod mmap;
pub mod page_frag;
pub mod page_io;
mod page_wait;
pub mod pagecache;
pub mod pc_error;
pub mod pins;
pub mod raw;
mod relocate;
mod rmap;
mod shadows;
pub mod skb;
pub mod slab;
pub mod sparse;
mod store;
pub mod swapfile;
pub mod swapoff;
pub mod tables;
pub mod truncate;
pub mod users;
pub mod verify;
pub mod vmalloc;
pub mod writeback;

pub use memory::owner;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
