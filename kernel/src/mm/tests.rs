//! Tests of the allocator as a whole, by the sections of the specification.

mod api;
mod boot;
mod compaction;
mod fallback;
mod fast_path;
mod golden_traces;
mod highatomic;
mod lru;
mod misuse;
mod page_ladder;
mod paths;
mod per_cpu;
mod reclaim;
mod reserve_floors;
mod reserves;
mod runs;
mod scenarios_a;
mod scenarios_b;
mod scenarios_c;
mod scenarios_users;
mod scenes;
mod test_env;
mod throttle;
mod users;
mod watermarks;
mod zone_order;
