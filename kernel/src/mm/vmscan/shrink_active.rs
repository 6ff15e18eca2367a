//! Deactivation: pages from the tail of an active list go to the inactive one, where reclaim will find them.
//!
//! Use alone does not keep a page active, for then nothing would ever become a candidate; only code that is mapped and
//! was just run stays. Linux: `shrink_active_list`.

use super::isolate::{Isolated, PutBack, isolate_lru_pages};
use super::{ScanControl, sleep};
use crate::mm::list::List;
use crate::mm::lru::kind_of;
use crate::mm::memory::{Env, Memory};
use crate::mm::node::Node;
use crate::mm::owner::PageOwner;
use crate::mm::page::PageFlags;
use crate::reclaim_types::LruList;
use crate::task::Current;
use crate::trace::vmscan::{LruShrinkActive, Vmscan};
use crate::vmstat::VmEvent;

/// Isolated pages by where they go.
struct Sorted {
    active: List,
    inactive: List,
    /// Pages that a mapping had used.
    nr_rotated: u64,
}

/// Looks at up to `nr_to_scan` pages at the tail of an active list.
pub(super) fn shrink_active_list<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    node: &Node,
    sc: &ScanControl,
    lru: LruList,
    nr_to_scan: u64,
) {
    let Isolated { pages, nr_taken, nr_scanned } = isolate_lru_pages(memory, current, node, sc, lru, nr_to_scan);
    memory.count(VmEvent::Pgrefill, nr_scanned);
    let sorted = sort(memory, current, lru, pages);
    let mut back = PutBack::new();
    {
        let pin = memory.pin();
        let mut lruvec = node.lru.lock(&pin);
        lruvec.recent_rotated[kind_of(lru)] += sorted.nr_rotated;
        back.add(memory, &mut lruvec, sorted.active);
        back.add(memory, &mut lruvec, sorted.inactive);
    }
    let (nr_active, nr_deactivated) = (back.active, back.inactive);
    memory.count(VmEvent::Pgdeactivate, nr_deactivated);
    back.finish(memory, current, node, lru, nr_taken);
    memory.trace(current, || {
        Vmscan::MmVmscanLruShrinkActive(LruShrinkActive {
            nid: node.id,
            nr_taken,
            nr_active,
            nr_deactivated,
            nr_referenced: sorted.nr_rotated,
            priority: sc.priority as i32,
            file: lru.is_file(),
        })
    });
}

/// Takes note of the use of each page, and decides.
fn sort<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, lru: LruList, mut pages: List) -> Sorted {
    let mut sorted = Sorted { active: List::EMPTY, inactive: List::EMPTY, nr_rotated: 0 };
    while let Some((index, _)) = pages.pop_front(&memory.pages) {
        sleep::cond_resched(memory, current);
        let used = memory.env.owner().referenced(index);
        sorted.nr_rotated += u64::from(used.young > 0);
        if used.young > 0 && used.executable && lru.is_file() {
            sorted.active.push_back(&memory.pages, index);
            continue;
        }
        let page = memory.pages.at(index);
        page.clear_flags(PageFlags::ACTIVE);
        page.set_flags(PageFlags::WORKINGSET);
        sorted.inactive.push_back(&memory.pages, index);
    }
    sorted
}
