//! Pages in a row are freed as one run; the lists must be those of freeing them one by one, block for block.

use crate::addr::Order;
use crate::mm::buddy::{Buddy, Run};
use crate::mm::testing::{HostMachine, Lab, MIB};
use crate::mmzone::MigrateType::{self, Movable, Unmovable};

/// 8 MiB that are all in use, with records.
fn full_board() -> HostMachine {
    HostMachine::new("", &[(0x4000_0000, 8 * MIB, 0)], &[(0x4000_0000, 8 * MIB)])
}

fn with_buddy(lab: &Lab<'_>, act: impl FnOnce(&mut Buddy<'_, '_>)) {
    let (zone, pin) = (lab.zone(), lab.memory.pin());
    act(&mut zone.buddy(&mut zone.free.lock(&pin), lab.memory.pages, lab.memory.blocks));
}

/// Frees `pages` of the machine in their order, as a drain does: in runs, or one by one.
fn free(lab: &Lab<'_>, pages: &[(u32, MigrateType)], in_runs: bool) {
    with_buddy(lab, |buddy| {
        if !in_runs {
            return pages.iter().for_each(|(index, own)| buddy.free(*index, Order::ZERO, *own));
        }
        let mut run: Option<Run> = None;
        for &(index, own) in pages {
            let extended = run.as_mut().is_some_and(|run| run.extend(index, own));
            if !extended && let Some(complete) = run.replace(Run::of(index, own)) {
                buddy.free_run(complete);
            }
        }
        run.into_iter().for_each(|complete| buddy.free_run(complete));
    });
}

/// Stretches of pages in the order in which they are freed: first page, pages, whether downwards.
#[track_caller]
fn check(stretches: &[(u32, u32, bool)]) {
    let pages: Vec<(u32, MigrateType)> = stretches
        .iter()
        .flat_map(|&(first, nr_pages, down)| {
            let own = if first % 3 == 0 { Unmovable } else { Movable };
            (0..nr_pages).map(move |n| (if down { first + nr_pages - 1 - n } else { first + n }, own))
        })
        .collect();
    let machines = [full_board(), full_board()];
    let [runs, singles] = [0, 1].map(|n: usize| Lab::new(&machines[n]));
    for (lab, in_runs) in [(&runs, true), (&singles, false)] {
        for block in [0, 1024] {
            lab.memory.blocks.write_records(lab.memory.pages, block);
        }
        free(lab, &pages, in_runs);
    }
    assert_eq!(runs.state(), singles.state(), "{stretches:?}");
}

#[test]
fn one_stretch_of_any_place_and_length() {
    let places = [0, 1, 2, 7, 8, 500, 1020];
    for first in places.into_iter().take(if cfg!(miri) { 1 } else { 7 }) {
        for nr_pages in [1, 2, 3, 5, 8, 63] {
            check(&[(first, nr_pages, false)]);
            check(&[(first, nr_pages, true)]);
        }
    }
}

#[test]
fn stretches_that_meet_merge_and_stand_in_the_same_places() {
    check(&[(8, 8, true), (0, 8, true), (16, 16, false)]);
    check(&[(0, 4, false), (12, 4, false), (40, 3, true), (4, 8, true)]);
    check(&[(33, 31, true), (64, 64, false), (0, 33, true), (200, 9, true), (128, 72, false)]);
    check(&[(1, 1, false), (3, 1, false), (2, 1, false), (0, 1, false)]);
    check(&[(0, 1, false), (1, 1, false), (3, 1, false), (2, 1, false), (4, 5, false)]);
    check(&[(512, 512, true), (0, 512, false), (1024, 1024, false)]);
}

#[test]
fn a_run_is_of_one_type_and_one_direction() {
    let mut run = Run::of(10, Movable);
    assert!(!run.extend(11, Unmovable) && !run.extend(12, Movable) && !run.extend(10, Movable));
    assert!(run.extend(11, Movable) && !run.extend(9, Movable) && run.extend(12, Movable));
    let mut run = Run::of(10, Movable);
    assert!(run.extend(9, Movable) && !run.extend(11, Movable) && run.extend(8, Movable));
}
