//! Counts what passed and what failed, and says so line by line.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::Result;

/// Passed and failed checks of a run.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Checks that passed.
    pub passed: u32,
    /// Checks that failed.
    pub failed: u32,
}

impl Tally {
    /// Adds another run's checks.
    pub fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// Counts one check and prints its line; the error's text follows it.
    pub fn record(&mut self, name: &str, result: Result<()>) {
        match result {
            Ok(()) => {
                self.passed += 1;
                println!("ok      {name}");
            }
            Err(error) => {
                self.failed += 1;
                println!("FAILED  {name}\n{}", indented(&format!("{error:#}")));
            }
        }
    }

    /// Runs one check, counts it, and prints its line with the seconds that it took.
    pub fn run(&mut self, name: &str, check: impl FnOnce() -> Result<()>) {
        let start = Instant::now();
        let result = check();
        self.record(&format!("{name} ({:.1} s)", start.elapsed().as_secs_f64()), result);
    }

    /// Prints the sum as the last line and returns the exit status.
    pub fn finish(self) -> u8 {
        println!("{} passed, {} failed", self.passed, self.failed);
        u8::from(self.failed > 0)
    }
}

/// Checks many things, twice as many at a time as there are processors.
pub fn parallel<T: Sync>(
    things: &[T],
    name: impl Fn(&T) -> String + Sync,
    check: impl Fn(&T) -> Result<()> + Sync,
) -> Tally {
    let tally = Mutex::new(Tally::default());
    let next = AtomicUsize::new(0);
    let workers = thread::available_parallelism().map_or(1, |processors| 2 * processors.get());
    thread::scope(|scope| {
        for _ in 0..workers.min(things.len()) {
            scope.spawn(|| {
                while let Some(thing) = things.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = check(thing);
                    tally.lock().expect("no one panics while it counts").record(&name(thing), result);
                }
            });
        }
    });
    tally.into_inner().expect("no one panics while it counts")
}

/// Says that a check cannot run here, and why.
pub fn skip(name: &str, why: &str) {
    println!("skipped {name}: {why}");
}

/// Every line of `text` moved to the right.
fn indented(text: &str) -> String {
    text.lines().map(|line| format!("        {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_fails_the_run() {
        let mut tally = Tally::default();
        tally.record("good", Ok(()));
        assert_eq!(tally.finish(), 0);
        tally.record("bad", Err(anyhow::anyhow!("why")));
        tally.add(Tally { passed: 2, failed: 0 });
        assert_eq!((tally, tally.finish()), (Tally { passed: 3, failed: 1 }, 1));
    }

    #[test]
    fn everything_is_checked_once() {
        let even = |n: &u32| if n.is_multiple_of(2) { Ok(()) } else { Err(anyhow::anyhow!("odd")) };
        let things: Vec<u32> = (0..101).collect();
        assert_eq!(parallel(&things, u32::to_string, even), Tally { passed: 51, failed: 50 });
        assert_eq!(parallel(&[], u32::to_string, even), Tally::default());
    }
}
