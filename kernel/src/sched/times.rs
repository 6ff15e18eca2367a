//! How long threads ran and CPUs idled, as `ps` and `top` show it.
//!
//! Nobody counts ticks: the run queue reads the clock whenever a CPU changes hands, so a thread that runs for less than
//! a tick is charged, too. Linux: `kernel/sched/cputime.c` with `CONFIG_VIRT_CPU_ACCOUNTING_GEN`.
//!
//! Linux does more: user, system, interrupt, softirq, steal and guest time, and averages of the load.

use super::ThreadId;

/// How long a CPU ran threads, and how long it had none, in nanoseconds since the machine started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuTime {
    /// It ran threads.
    pub busy_ns: u64,
    /// It had none to run.
    pub idle_ns: u64,
}

impl CpuTime {
    /// What was added since `before`.
    #[must_use]
    pub const fn since(self, before: CpuTime) -> CpuTime {
        CpuTime { busy_ns: self.busy_ns - before.busy_ns, idle_ns: self.idle_ns - before.idle_ns }
    }

    /// Thousandths of the time in which it was busy; 0 of no time.
    pub fn permille(self) -> u64 {
        let all = u128::from(self.busy_ns) + u128::from(self.idle_ns);
        (u128::from(self.busy_ns) * 1000).checked_div(all).unwrap_or(0) as u64
    }
}

/// Whether a thread wants to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ThreadState {
    /// A CPU runs it.
    Running,
    /// It waits for a CPU.
    Ready,
    /// It sleeps.
    Asleep,
}

impl ThreadState {
    /// The letter in `ps`. Linux: `task_state_to_char`, to which running and ready are one.
    pub const fn letter(self) -> char {
        match self {
            ThreadState::Running | ThreadState::Ready => 'R',
            ThreadState::Asleep => 'S',
        }
    }
}

/// What is known about a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ThreadInfo {
    /// Number of the task that it acts as; 0 if it never said.
    pub pid: u16,
    /// The CPU that runs it, ran it last, or will run it next.
    pub cpu: u8,
    /// Whether only that CPU may.
    pub bound: bool,
    /// Whether it wants to run.
    pub state: ThreadState,
    /// How long it has run.
    pub ran_ns: u64,
}

/// One CPU's book: who has it since when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Book {
    /// Until `since`.
    past: CpuTime,
    since: u64,
    pub(super) running: Option<ThreadId>,
}

impl Book {
    pub(super) const fn new(running: Option<ThreadId>) -> Book {
        Book { past: CpuTime { busy_ns: 0, idle_ns: 0 }, since: 0, running }
    }

    /// A CPU that has had nobody until `now`, which does not count.
    pub(super) const fn starting(now: u64) -> Book {
        Book { since: now, ..Book::new(None) }
    }

    /// Lets `next` have the CPU from `now` on; how long it was the last one's.
    pub(super) fn turn(&mut self, next: Option<ThreadId>, now: u64) -> u64 {
        let (took, time) = (now.saturating_sub(self.since), self.time(now));
        *self = Book { past: time, since: now, running: next };
        took
    }

    /// The time until `now`.
    pub(super) fn time(&self, now: u64) -> CpuTime {
        let (mut time, took) = (self.past, now.saturating_sub(self.since));
        *if self.running.is_some() { &mut time.busy_ns } else { &mut time.idle_ns } += took;
        time
    }

    /// How long `thread` has had the CPU at `now`; 0 if it has not.
    pub(super) fn share(&self, thread: ThreadId, now: u64) -> u64 {
        if self.running == Some(thread) { now.saturating_sub(self.since) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_whose_it_was() {
        let mut book = Book::new(Some(ThreadId::BOOT));
        assert_eq!(book.turn(None, 30), 30);
        assert_eq!(book.turn(Some(ThreadId(1)), 100), 70);
        assert_eq!(book.time(110), CpuTime { busy_ns: 40, idle_ns: 70 });
        assert_eq!([book.share(ThreadId(1), 110), book.share(ThreadId::BOOT, 110)], [10, 0]);
    }

    #[test]
    fn shares_are_of_the_time_since() {
        let before = CpuTime { busy_ns: 100, idle_ns: 300 };
        assert_eq!(CpuTime { busy_ns: 400, idle_ns: 400 }.since(before).permille(), 750);
        assert_eq!([before.permille(), CpuTime::default().permille()], [250, 0]);
    }
}
