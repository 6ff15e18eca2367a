//! [`explore`] and [`exhaust`], which run a test in many schedules or in all.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

use shuttle::scheduler::{DfsScheduler, Schedule, Task as Explored, TaskId};
use shuttle::{Config, FailurePersistence, Runner};

use crate::points::{self, Choice, with_choice};

/// Schedules of the whole machine, unless the environment says otherwise.
const SCHEDULES: u64 = 100_000;
/// Where the seeds start, unless the environment says otherwise.
const SEED: u64 = 1;
/// Bytes of a thread's stack; reclaim writes files back on it.
const STACK: usize = 512 << 10;

/// A number below `limit`, of the schedule that runs.
pub fn random(limit: u64) -> u64 {
    use shuttle::rand::RngCore;
    shuttle::rand::thread_rng().next_u64() % limit
}

/// Random threads in bursts, as the [`Choice`] of each seed wants it.
struct Bursts(std::ops::Range<u64>);

impl shuttle::scheduler::Scheduler for Bursts {
    fn new_execution(&mut self) -> Option<Schedule> {
        let seed = self.0.next()?;
        points::choose(Choice::of_seed(seed));
        Some(Schedule::new(seed))
    }

    fn next_task(&mut self, ready: &[&Explored], current: Option<TaskId>, yielding: bool) -> Option<TaskId> {
        let goes_on = current.filter(|current| !yielding && ready.iter().any(|task| task.id() == *current));
        with_choice(|choice| match goes_on {
            Some(current) if !core::mem::take(&mut choice.now) => Some(current),
            _ => Some(ready[(choice.random.below(ready.len() as u64)) as usize].id()),
        })
    }

    fn next_u64(&mut self) -> u64 {
        with_choice(|choice| choice.random.below(u64::MAX))
    }
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

/// Runs `body` in `percent` of the schedules that the whole machine runs in.
pub fn explore(name: &str, percent: u64, body: impl Fn() + Send + Sync + 'static) {
    let count = (number("SLOWPATH_SCHEDULES").unwrap_or(SCHEDULES) * percent).div_ceil(100);
    let seed = number("SLOWPATH_SHUTTLE_SEED").unwrap_or(SEED);
    let report = |panic| {
        let seed = with_choice(|choice| choice.seed);
        eprintln!("{name}: SLOWPATH_SHUTTLE_SEED={seed} SLOWPATH_SCHEDULES=1 runs this schedule again");
        resume_unwind(panic)
    };
    run(name, Bursts(seed..seed + count), body).unwrap_or_else(report);
}

/// Runs `body` in all schedules that there are.
pub fn exhaust(name: &str, body: impl Fn() + Send + Sync + 'static) {
    points::choose(Choice::EVERYWHERE);
    run(name, DfsScheduler::new(None, false), body).unwrap_or_else(|panic| resume_unwind(panic));
}

fn run(
    name: &str,
    scheduler: impl shuttle::scheduler::Scheduler + 'static,
    body: impl Fn() + Send + Sync + 'static,
) -> std::thread::Result<()> {
    let mut config = Config::new();
    config.stack_size = STACK;
    config.failure_persistence = FailurePersistence::None;
    let start = Instant::now();
    let body = move || {
        points::forget();
        body();
        points::ignore();
    };
    let count = catch_unwind(AssertUnwindSafe(|| Runner::new(scheduler, config).run(body)));
    points::ignore();
    println!("{name}: {} schedules in {:.1} s", count?, start.elapsed().as_secs_f32());
    Ok(())
}
