//! Tests of the allocator as a whole, by the sections of the specification.

mod api;
mod boot;
mod fallback;
mod fast_path;
mod golden_traces;
mod highatomic;
mod misuse;
mod paths;
mod per_cpu;
mod reserves;
mod runs;
mod watermarks;
mod zone_order;
