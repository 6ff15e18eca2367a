//! Random work on everything that uses memory, with live daemons, on machines of many shapes.
//!
//! Three persons on threads of their own do random things ([`kernel::stress`]) beside kswapd, kcompactd, the flusher and
//! the OOM reaper; an operator sees to it that nothing lasts for ever. All of them take turns, in virtual time, so that a
//! seed tells the whole course. Every so often everybody stops, and the machine is inspected: the audit, the ledger of
//! the page cache, all tasks' memory, all handles. In the end everything is given back, and every page must be free.
//!
//! `SLOWPATH_STRESS_OPS` is the number of operations on all machines together, `SLOWPATH_STRESS_SEED` where they start. A
//! failure prints the machine, the seed and the operation; the same seed does the same again, and on that machine alone
//! with its name in `SLOWPATH_STRESS_MACHINE`.

mod scene;
mod shapes;

use std::time::Instant;

use shapes::{SHAPES, Shape};

/// Operations of a run after which its progress is worth a line.
const LONG_RUN: u64 = 1_000_000;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn nothing_is_lost_whatever_people_do() {
    let operations = setting("SLOWPATH_STRESS_OPS", if cfg!(miri) { 300 } else { 60_000 });
    let seed = setting("SLOWPATH_STRESS_SEED", 1);
    let start = Instant::now();
    let only = std::env::var("SLOWPATH_STRESS_MACHINE").ok();
    let shapes: Vec<&Shape> =
        SHAPES.iter().filter(|shape| only.as_ref().is_none_or(|only| only == shape.name)).collect();
    assert!(!shapes.is_empty(), "no machine is called {only:?}");
    // The same share for each machine, in portions with seeds of their own, so that a failure can be had again soon.
    let share = operations.div_ceil(shapes.len() as u64);
    let portion = share.min(setting("SLOWPATH_STRESS_PORTION", 20_000));
    let mut done = 0;
    for round in 0..share.div_ceil(portion) {
        for shape in &shapes {
            scene::run(shape, seed + round, portion);
            done += portion;
            if operations >= LONG_RUN {
                let seconds = start.elapsed().as_secs_f64();
                eprintln!("{}, seed {}: {done} operations in {seconds:.0} s", shape.name, seed + round);
            }
        }
    }
}
