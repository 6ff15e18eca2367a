//! Whole requests that compact: when they turn to it, what they do before, and what it is counted as.
//!
//! The scenarios beside this file look at one attempt to compact; here the slow path decides about attempts. Base F of the
//! specification: half of the memory in raw pages, in the other half a movable page at every second place, 4096 free.

use crate::gfp::Gfp;
use crate::mm::page_alloc;
use crate::trace::{Compaction, Event, Vmscan};
use crate::vmstat::{VmEvent, ZoneEvent};

use super::movable::{MovableLab, machine};

/// What a request may count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Counts {
    /// Reclaims, whatever zone they are counted for.
    allocstall: u64,
    pgscan_direct: u64,
    compact_stall: u64,
    compact_fail: u64,
    compact_success: u64,
    pgmigrate_success: u64,
}

fn counts(lab: &MovableLab<'_>) -> Counts {
    Counts {
        allocstall: (0..3).map(|zone| lab.memory.zone_event(ZoneEvent::Allocstall, zone)).sum(),
        pgscan_direct: lab.count(VmEvent::PgscanDirect),
        compact_stall: lab.count(VmEvent::CompactStall),
        compact_fail: lab.count(VmEvent::CompactFail),
        compact_success: lab.count(VmEvent::CompactSuccess),
        pgmigrate_success: lab.count(VmEvent::PgmigrateSuccess),
    }
}

/// What the request counted, and whether it was served.
fn ask(lab: &MovableLab<'_>, gfp: Gfp, order: u32) -> (bool, Counts) {
    let before = counts(lab);
    let served = page_alloc::alloc_pages(&lab.memory, &lab.current(), gfp | Gfp::__GFP_NOWARN, order).is_ok();
    let after = counts(lab);
    let change = Counts {
        allocstall: after.allocstall - before.allocstall,
        pgscan_direct: after.pgscan_direct - before.pgscan_direct,
        compact_stall: after.compact_stall - before.compact_stall,
        compact_fail: after.compact_fail - before.compact_fail,
        compact_success: after.compact_success - before.compact_success,
        pgmigrate_success: after.pgmigrate_success - before.pgmigrate_success,
    };
    (served, change)
}

#[test]
fn t51_a_costly_movable_request_compacts_first() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    let expected = Counts { compact_stall: 1, compact_success: 1, pgmigrate_success: 8, ..Counts::default() };
    assert_eq!(ask(&lab, Gfp::GFP_HIGHUSER_MOVABLE, 4), (true, expected));
    assert_eq!(lab.zone().counts.free_pages(), 4096 - 16);
    lab.assert_intact();
}

/// The attempt that never waits looks at no movable pageblock. Reclaim finds that compaction may begin, and scans nothing.
#[test]
fn t52_an_unmovable_request_reclaims_between_two_attempts() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    let expected = Counts {
        allocstall: 1,
        compact_stall: 2,
        compact_fail: 1,
        compact_success: 1,
        pgmigrate_success: 256,
        ..Counts::default()
    };
    assert_eq!(ask(&lab, Gfp::GFP_KERNEL, 4), (true, expected));
    lab.assert_intact();
}

#[test]
fn t53_without_io_a_request_reclaims_once_and_fails() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    assert_eq!(ask(&lab, Gfp::GFP_NOIO, 4), (false, Counts { allocstall: 1, ..Counts::default() }));
    lab.assert_intact();
}

#[test]
fn t54_a_request_that_may_not_retry_fails_while_compaction_is_put_off() {
    let machine = machine();
    let lab = MovableLab::full_of_raw_pages(&machine);
    let in_vain = Counts { allocstall: 1, compact_stall: 2, compact_fail: 2, ..Counts::default() };
    let hurried = Gfp::GFP_KERNEL | Gfp::__GFP_NORETRY;
    assert_eq!(ask(&lab, Gfp::GFP_KERNEL, 4), (false, in_vain));
    assert_eq!(lab.zone().compact.shift(), 1);
    assert_eq!(ask(&lab, hurried, 4), (false, Counts::default()));
    assert_eq!(ask(&lab, hurried, 4), (false, in_vain));
    lab.assert_intact();
}

/// Only costly and unmovable requests compact before they reclaim.
#[test]
fn t58_a_small_movable_request_reclaims_before_it_compacts() {
    let machine = machine();
    let lab = MovableLab::scattered(&machine);
    let events = lab.events(|| {
        let expected = Counts { allocstall: 1, compact_stall: 1, compact_success: 1, ..Counts::default() };
        let (served, change) = ask(&lab, Gfp::GFP_HIGHUSER_MOVABLE, 2);
        assert_eq!((served, Counts { pgmigrate_success: 0, ..change }), (true, expected));
    });
    let movable = lab.memory.zone_table.zone(Gfp::GFP_HIGHUSER_MOVABLE);
    assert_eq!(lab.memory.zone_event(ZoneEvent::Allocstall, movable), 1, "it is allocstall_movable");
    let reclaims = |event: &Event| matches!(event, Event::Vmscan(Vmscan::MmVmscanDirectReclaimBegin { .. }));
    let compacts = |event: &Event| matches!(event, Event::Compaction(Compaction::MmCompactionTryToCompactPages { .. }));
    let [reclaim, compact] = [events.iter().position(reclaims), events.iter().position(compacts)];
    assert!(reclaim.is_some() && reclaim < compact, "{reclaim:?} {compact:?}");
    assert_eq!(events.iter().filter(|event| compacts(event)).count(), 1);
    lab.assert_intact();
}
