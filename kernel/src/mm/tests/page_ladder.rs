//! The decision about a single page, rung by rung: the table of section 3.9 of the specification.
//!
//! Each row puts one page at the tail of its list and has it reclaimed at priority 0.

use crate::sync::atomic::Ordering::Relaxed;

use super::test_env::{Mapped, ReclaimLab, m64};
use crate::gfp::Gfp;
use crate::mm::memory::Env;
use crate::mm::node::NodeFlags;
use crate::mm::owner::{PageOwner, Pageout};
use crate::mm::page::PageFlags;
use crate::mm::vmscan::{self, ScanControl};
use crate::reclaim_types::LruList;
use crate::sched::Scheduler;
use crate::task::{Current, TaskFlags, TaskKind};
use crate::vmstat::{NodeStat, VmEvent};

const FILE: PageFlags = PageFlags::empty();
const ANON: PageFlags = PageFlags::SWAPBACKED;
const DIRTY: PageFlags = PageFlags::DIRTY;
const WRITEBACK: PageFlags = PageFlags::WRITEBACK;
const RECLAIM: PageFlags = PageFlags::RECLAIM;
const REFERENCED: PageFlags = PageFlags::REFERENCED;
const SWAPCACHE: PageFlags = PageFlags::SWAPBACKED.union(PageFlags::SWAPCACHE);

/// Who reclaims.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    Direct,
    Kswapd,
}

/// The scene: a page, who reclaims it, with what mask; and what the machine is like.
#[derive(Clone, Copy)]
struct Row {
    marks: PageFlags,
    mapped: Mapped,
    by: By,
    gfp: Gfp,
    /// References beside the cache's and the mappings'.
    pins: u16,
    node: NodeFlags,
    /// Slots that others use, of 8.
    swap_used: u64,
    may_unmap: bool,
    may_writepage: bool,
    pageout: Pageout,
    congested: bool,
}

const ROW: Row = Row {
    marks: FILE,
    mapped: Mapped::NOT,
    by: By::Direct,
    gfp: Gfp::GFP_KERNEL,
    pins: 0,
    node: NodeFlags::empty(),
    swap_used: 0,
    may_unmap: true,
    may_writepage: true,
    pageout: Pageout::Submitted,
    congested: false,
};

/// What became of the page: where it is, and its marks but those that the place tells.
type Fate = (Option<LruList>, PageFlags);

const FREE: Fate = (None, FILE);
const KEPT: Option<LruList> = Some(LruList::InactiveFile);
const ACTIVE: Option<LruList> = Some(LruList::ActiveFile);
const KEPT_ANON: Option<LruList> = Some(LruList::InactiveAnon);
const ACTIVE_ANON: Option<LruList> = Some(LruList::ActiveAnon);

/// Plays a row; the lab afterwards goes to `then`, with what the page has become.
fn play(row: Row, then: impl FnOnce(&ReclaimLab<'_>, &ScanControl, Fate)) {
    let machine = m64();
    let lab = ReclaimLab::new(&machine);
    let owner = lab.owner();
    owner.swap_total.store(8, Relaxed);
    owner.swap_used.store(row.swap_used, Relaxed);
    *owner.pageout.lock().unwrap() = Some(row.pageout);
    owner.congested.store(row.congested, Relaxed);
    lab.node().set_flags(row.node);
    // Beside an active page there must be an inactive one, or it comes down again at once.
    let anon = row.marks.contains(PageFlags::SWAPBACKED);
    let bystander = anon.then(|| lab.page(ANON | PageFlags::LOCKED, Mapped::ONCE));
    let index = lab.page(row.marks - PageFlags::SWAPCACHE, row.mapped);
    let page = lab.memory.pages.at(index);
    page.get(row.pins);
    if row.marks.contains(PageFlags::SWAPCACHE) {
        let dirty = page.flags() & DIRTY;
        assert!(owner.add_to_swap(&lab.memory, &lab.current(), index));
        page.clear_flags(DIRTY - dirty);
    }
    let task = lab.task("reclaimer", if row.by == By::Kswapd { TaskKind::Daemon } else { TaskKind::User });
    if row.by == By::Kswapd {
        task.change_flags(TaskFlags::PF_KSWAPD, TaskFlags::empty());
    }
    let mut sc = ScanControl {
        nr_to_reclaim: 1,
        gfp: row.gfp,
        priority: 0,
        may_unmap: row.may_unmap,
        may_writepage: row.may_writepage,
        ..ScanControl::kswapd(0, 0)
    };
    vmscan::shrink_node(&lab.memory, &Current::new(task), lab.node(), &mut sc);
    bystander.map(|index| lab.memory.pages.at(index).clear_flags(PageFlags::LOCKED));
    lab.assert_lists_sound();
    let place = lab.list_of(index);
    let told = PageFlags::LRU | PageFlags::ACTIVE | PageFlags::SWAPBACKED | PageFlags::UPTODATE;
    let marks = if place.is_some() { page.flags() - told } else { FILE };
    then(&lab, &sc, (place, marks));
}

#[track_caller]
fn check(row: Row, expected: Fate) {
    play(row, |_, _, fate| assert_eq!(fate, expected));
}

#[test]
fn row_1_a_page_that_somebody_works_on_is_kept() {
    let machine = m64();
    let lab = ReclaimLab::new(&machine);
    let index = lab.page(PageFlags::LOCKED, Mapped::NOT);
    lab.reclaim(Gfp::GFP_KERNEL);
    assert_eq!(lab.list_of(index), KEPT);
    assert!(lab.flags(index).contains(PageFlags::LOCKED));
}

#[test]
fn row_2_a_page_that_tasks_locked_goes_to_the_unevictable_list() {
    play(Row { mapped: Mapped::MLOCKED, ..ROW }, |lab, sc, fate| {
        assert_eq!(fate, (Some(LruList::Unevictable), PageFlags::UNEVICTABLE));
        assert_eq!((sc.nr_scanned, lab.memory.event(VmEvent::Pgactivate)), (2, 0));
        assert_eq!(lab.stat(NodeStat::NrUnevictable), 1);
    });
}

#[test]
fn rows_3_and_4_mapped_pages_may_have_to_stay_and_count_twice() {
    check(Row { mapped: Mapped::ONCE, may_unmap: false, ..ROW }, (KEPT, FILE));
    play(Row { mapped: Mapped::ONCE, ..ROW }, |_, sc, fate| assert_eq!((fate, sc.nr_scanned), (FREE, 2)));
    play(ROW, |_, sc, fate| assert_eq!((fate, sc.nr_scanned), (FREE, 1)));
}

#[test]
fn row_6_what_the_disk_has_to_do_with_file_pages_is_counted() {
    let found = |marks, congested| {
        let mut found = [0; 4];
        play(Row { marks, congested, ..ROW }, |_, sc, _| {
            let stat = sc.nr.stat;
            found = [stat.nr_dirty, stat.nr_unqueued_dirty, stat.nr_congested, stat.nr_writeback];
        });
        found
    };
    assert_eq!(found(FILE, true), [0, 0, 0, 0]);
    assert_eq!(found(DIRTY, false), [1, 1, 0, 0]);
    assert_eq!(found(DIRTY, true), [1, 1, 1, 0]);
    assert_eq!(found(WRITEBACK, false), [1, 0, 0, 1]);
    assert_eq!(found(WRITEBACK | RECLAIM, false), [1, 0, 1, 1]);
    assert_eq!(found(ANON | WRITEBACK | RECLAIM, true), [0, 0, 0, 1]);
}

#[test]
fn row_7_a_page_under_writeback_waits_among_the_active() {
    let writeback = Row { marks: WRITEBACK, ..ROW };
    check(writeback, (ACTIVE, WRITEBACK | RECLAIM));
    let again = Row { marks: WRITEBACK | RECLAIM, node: NodeFlags::WRITEBACK, ..ROW };
    play(again, |_, sc, fate| {
        assert_eq!((fate, sc.nr.stat.nr_immediate), ((ACTIVE, WRITEBACK | RECLAIM), 0));
    });
    // kswapd that meets it again when the node is full of such pages has to wait for the disk.
    play(Row { by: By::Kswapd, ..again }, |lab, sc, fate| {
        assert_eq!((fate, sc.nr.stat.nr_immediate), ((ACTIVE, WRITEBACK | RECLAIM), 1));
        assert!(lab.memory.env.sched().jiffies() >= 25);
    });
}

#[test]
fn row_8_use_since_the_last_look_keeps_a_page() {
    check(Row { mapped: Mapped::YOUNG, ..ROW }, (KEPT, REFERENCED));
    check(Row { mapped: Mapped::YOUNG, marks: REFERENCED, ..ROW }, (ACTIVE, REFERENCED));
    check(Row { mapped: Mapped::CODE, ..ROW }, (ACTIVE, REFERENCED));
    check(Row { mapped: Mapped::YOUNG, marks: ANON, ..ROW }, (ACTIVE_ANON, FILE));
    check(Row { marks: REFERENCED, ..ROW }, FREE);
}

#[test]
fn row_9_an_anonymous_page_needs_a_slot() {
    let anon = Row { marks: ANON, mapped: Mapped::ONCE, ..ROW };
    check(Row { gfp: Gfp::GFP_NOIO, ..anon }, (KEPT_ANON, FILE));
    play(Row { gfp: Gfp::GFP_NOFS, ..anon }, |lab, _, fate| {
        assert_eq!(fate, (KEPT_ANON, PageFlags::SWAPCACHE | WRITEBACK | RECLAIM));
        assert_eq!((lab.owner().swap_used.load(Relaxed), lab.stat(NodeStat::NrVmscanWrite)), (1, 1));
    });
    check(Row { pageout: Pageout::Clean, ..anon }, FREE);
}

#[test]
fn row_11_file_pages_are_the_flushers_business() {
    let dirty = Row { marks: DIRTY, ..ROW };
    let again = Row { marks: DIRTY | RECLAIM, node: NodeFlags::DIRTY, ..ROW };
    for row in
        [dirty, again, Row { by: By::Kswapd, ..dirty }, Row { by: By::Kswapd, node: NodeFlags::empty(), ..again }]
    {
        play(row, |lab, _, fate| {
            assert_eq!(fate, (ACTIVE, DIRTY | RECLAIM));
            let counted = [NodeStat::NrVmscanImmediateReclaim, NodeStat::NrVmscanWrite].map(|stat| lab.stat(stat));
            assert_eq!((counted, lab.owner().flusher_wakes.load(Relaxed)), ([1, 0], 1));
        });
    }
    play(Row { by: By::Kswapd, ..again }, |lab, _, fate| {
        assert_eq!(fate, (KEPT, WRITEBACK | RECLAIM));
        assert_eq!(lab.stat(NodeStat::NrVmscanWrite), 1);
    });
}

#[test]
fn rows_12_and_13_a_dirty_page_is_written_if_that_is_allowed() {
    let dirty = Row { marks: DIRTY | RECLAIM, node: NodeFlags::DIRTY, by: By::Kswapd, ..ROW };
    check(Row { may_writepage: false, ..dirty }, (KEPT, DIRTY | RECLAIM));
    check(Row { gfp: Gfp::GFP_NOFS, ..dirty }, (KEPT, DIRTY | RECLAIM));
    check(Row { marks: DIRTY | RECLAIM | REFERENCED, ..dirty }, (KEPT, DIRTY | RECLAIM));
    check(Row { pins: 1, ..dirty }, (KEPT, DIRTY | RECLAIM));
    check(Row { congested: true, ..dirty }, (KEPT, DIRTY | RECLAIM));
    check(Row { pageout: Pageout::Keep, ..dirty }, (KEPT, DIRTY));
    check(Row { pageout: Pageout::Activate, ..dirty }, (ACTIVE, DIRTY));
    check(Row { pageout: Pageout::Clean, ..dirty }, FREE);
}

#[test]
fn row_15_only_a_page_that_nobody_else_uses_is_freed() {
    check(Row { pins: 1, ..ROW }, (KEPT, FILE));
    play(ROW, |lab, sc, fate| {
        assert_eq!((fate, sc.nr_reclaimed), (FREE, 1));
        assert_eq!(lab.owner().shadows.lock().unwrap().len(), 1);
    });
    // An anonymous page leaves no shadow: its slot is its trace.
    play(Row { marks: SWAPCACHE, ..ROW_ANON }, |lab, _, fate| {
        assert_eq!((fate, lab.owner().shadows.lock().unwrap().len()), (FREE, 0));
    });
    check(Row { gfp: Gfp::GFP_NOIO, ..ROW }, FREE);
}

/// An anonymous page that a task maps.
const ROW_ANON: Row = Row { marks: ANON, mapped: Mapped::ONCE, ..ROW };

#[test]
fn an_activated_page_gives_its_slot_back_when_slots_are_scarce() {
    let used_after = |swap_used| {
        let mut left = 0;
        play(Row { marks: SWAPCACHE, mapped: Mapped::YOUNG, swap_used, ..ROW }, |lab, _, (place, _)| {
            assert_eq!(place, ACTIVE_ANON);
            left = lab.owner().swap_used.load(Relaxed);
        });
        left
    };
    assert_eq!((used_after(3), used_after(4)), (4, 4), "the fifth of 8 slots is taken back");
}

#[test]
fn kswapd_notes_what_the_lists_are_full_of() {
    let noted = |marks, congested| {
        let mut noted = [false; 3];
        play(Row { marks, congested, by: By::Kswapd, ..ROW }, |lab, _, _| {
            noted = [NodeFlags::CONGESTED, NodeFlags::DIRTY, NodeFlags::WRITEBACK].map(|flag| lab.node().has(flag));
        });
        noted
    };
    assert_eq!(noted(FILE, true), [false, false, false]);
    assert_eq!(noted(DIRTY, false), [false, true, false]);
    assert_eq!(noted(DIRTY, true), [true, true, false]);
    assert_eq!(noted(WRITEBACK, false), [false, false, true]);
    assert_eq!(noted(ANON, false), [false, true, false], "v5.0 takes no file page for nothing but dirty ones");
}
