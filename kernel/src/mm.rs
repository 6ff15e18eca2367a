//! The allocator, floor by floor: structures, zones and memory, the free lists, the entry.

pub mod list;
pub mod page;
pub mod pageblock;

pub mod buddy;
pub mod pcp;
pub mod zonelist;

pub mod zone;

pub mod fallback;
pub mod node;
pub mod page_owner;
pub mod sysctl;
pub mod wmark;
pub mod zone_sizes;

pub mod memory;

pub mod alloc_context;
pub mod census;
pub mod fastpath;
pub mod fragmentation;
pub mod freelist;
pub mod mm_init;
pub mod prep;
pub mod raw;
pub mod reserves;

pub mod page_alloc;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
