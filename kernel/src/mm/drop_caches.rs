//! `drop_caches`: a person asks for memory back that is only used in the hope that it is.
//!
//! Clean file pages go ([`PAGECACHE`]), or what the shrinkers have ([`SLAB`]), or both; nothing is written, so that `sync`
//! before makes more of it. A lab wants an empty cache before it measures; nobody else should.
//!
//! Neighbours: the owner of pages drops them, `vmscan` asks the shrinkers. Linux: `fs/drop_caches.c`.

use super::memory::{Env, Memory};
use super::owner::PageOwner;
use super::sleep;
use super::vmscan;
use crate::gfp::Gfp;
use crate::sync::atomic::Ordering::Relaxed;
use crate::task::Current;
use crate::vmstat::VmEvent;

/// Drop clean file pages.
pub const PAGECACHE: u64 = 1;
/// Have the shrinkers free what they can.
pub const SLAB: u64 = 2;
/// Log this time, and never again.
pub const QUIETLY: u64 = 4;

/// Objects that are still worth another round. Linux: the `10` of `drop_slab_node`.
const WORTH: u64 = 10;

/// Drops what `bits` say. Linux: `drop_caches_sysctl_handler`.
pub fn drop_caches<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, bits: u64) {
    if bits & PAGECACHE != 0 {
        memory.env.owner().drop_pagecache(memory, current);
    }
    if bits & SLAB != 0 {
        memory.count(VmEvent::DropSlab, 1);
        drop_slab(memory, current);
    }
    let quietly = &memory.printed.drop_caches_quietly;
    if !quietly.load(Relaxed) {
        log::info!("{} ({}): drop_caches: {bits}", current.task.comm(), current.task.pid());
    }
    quietly.fetch_or(bits & QUIETLY != 0, Relaxed);
}

/// Asks every shrinker for all it has, until that is next to nothing. Linux: `drop_slab`, `drop_slab_node`.
fn drop_slab<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>) {
    for node in memory.online_nodes() {
        while vmscan::shrink_slab(memory, current, node.id, Gfp::GFP_KERNEL, 0) > WORTH && !sleep::interrupted(memory) {
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::filemap;
    use crate::mm::sparse::Place;
    use crate::mm::testing::{Lab, board_m64, logged};
    use crate::proc::sysctl;
    use crate::vmstat::NodeStat;

    fn write(lab: &Lab<'_>, bits: &str) -> String {
        logged(|| sysctl::find("drop_caches").unwrap().write(&lab.memory, &lab.current(), bits).unwrap())
    }

    #[test]
    fn clean_pages_go_and_dirty_ones_stay() {
        let machine = board_m64();
        let lab = Lab::new(&machine);
        let (memory, current, users) = (&lab.memory, lab.current(), lab.memory.env.owner());
        let cached = || memory.online_nodes().map(|node| node.stat(NodeStat::NrFilePages)).sum::<u64>();
        filemap::readahead(memory, &current, users, Place::new(0, 0), 10).unwrap();
        filemap::write(memory, &current, users, Place::new(0, 3), 1).unwrap();
        let diff = lab.vmstat_diff(|| assert!(write(&lab, "2").contains("sh (1): drop_caches: 2")));
        assert_eq!((cached(), diff.all(["drop_pagecache", "drop_slab"])), (10, [0, 1]));
        let diff = lab.vmstat_diff(|| assert!(write(&lab, "1").contains("sh (1): drop_caches: 1")));
        assert_eq!((cached(), diff.all(["drop_pagecache", "drop_slab"])), (1, [1, 0]));
        assert!(write(&lab, "4").contains("sh (1): drop_caches: 4"));
        assert_eq!(["1", "3", "4"].map(|bits| write(&lab, bits)), ["", "", ""]);
        assert!(sysctl::find("drop_caches").unwrap().write(memory, &current, "0").is_err());
        lab.assert_sound();
    }
}
