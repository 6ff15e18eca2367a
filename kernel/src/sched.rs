//! Waiting and waking: what blocking code needs of the machine, and the book-keeping of who runs.
//!
//! [`Scheduler`] is the machine's side: threads that give their CPU away and get it back. [`WaitQueue`] is where they
//! wait for something; its protocol is Linux's, so that no wake-up is lost: a thread says that it will sleep, joins the
//! queue, looks at the condition once more, and only then gives the CPU away, which comes back at once if it was woken
//! in between. [`RunQueue`] decides who runs next and where; the image switches stacks by it, a host program passes a baton
//! between its own threads, so both take turns in the same order. [`CpuTime`] and [`ThreadInfo`] tell what came of it.
//!
//! Threads take turns only when one waits, or offers its CPU after the tick asked for it: arm64's default, PREEMPT_NONE.
//! A person who wants more turns, or fewer, chooses another [`Resched`].
//! A thread is not a task: the shell's thread acts as whichever task its user chose. Linux: `kernel/sched/core.c`,
//! `kernel/sched/wait.c`.
//!
//! Linux does more: priorities, fairness, preemption, a lock for each CPU's queue, and balancing between them.

mod queue;
mod times;

pub use queue::RunQueue;
pub use times::{CpuTime, ThreadInfo, ThreadState};

use crate::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

/// Ticks of a second. Linux: `HZ`.
pub const HZ: u64 = 250;
/// Nanoseconds of a tick.
pub const JIFFY_NS: u64 = 1_000_000_000 / HZ;
/// Threads at most.
pub const MAX_THREADS: usize = 64;

/// The number of a thread; below [`MAX_THREADS`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ThreadId(pub u8);

impl ThreadId {
    /// The thread that the machine starts with, which becomes the shell.
    pub const BOOT: ThreadId = ThreadId(0);

    const fn index(self) -> usize {
        self.0 as usize
    }

    /// The thread as a bit of a set.
    pub const fn bit(self) -> u64 {
        1 << self.0
    }
}

/// When a thread that offers its CPU gives it away.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Resched {
    /// If the tick asked for it, as in Linux.
    #[default]
    Tick,
    /// Whenever another thread is ready: the most turns that there can be.
    Always,
    /// Not at all: a thread runs until it sleeps, as if nobody had written `cond_resched`.
    Never,
}

impl Resched {
    /// Every choice, by its number.
    pub const ALL: [Resched; 3] = [Resched::Tick, Resched::Always, Resched::Never];

    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Resched::Tick => "tick",
            Resched::Always => "always",
            Resched::Never => "never",
        }
    }

    /// Whether an offer is taken, if anybody is there to take it; `need` is [`Scheduler::need_resched`].
    pub fn takes(self, need: impl FnOnce() -> bool) -> bool {
        match self {
            Resched::Tick => need(),
            Resched::Always => true,
            Resched::Never => false,
        }
    }
}

/// The choice for a machine, which a person may change while it runs.
#[derive(Debug, Default)]
pub struct ReschedKnob(AtomicU8);

impl ReschedKnob {
    /// The choice.
    pub fn get(&self) -> Resched {
        Resched::ALL.get(usize::from(self.0.load(Relaxed))).copied().unwrap_or_default()
    }

    /// Changes it, for offers from now on.
    pub fn set(&self, resched: Resched) {
        self.0.store(resched as u8, Relaxed);
    }
}

/// Threads as blocking code sees them.
pub trait Scheduler {
    /// The thread that runs the caller.
    fn thread(&self) -> ThreadId;

    /// Ticks since the machine started.
    fn jiffies(&self) -> u64;

    /// Says that the caller is about to sleep: from now on [`Scheduler::wake`] calls that off.
    fn prepare_to_sleep(&self);

    /// Calls off what [`Scheduler::prepare_to_sleep`] announced.
    fn set_running(&self);

    /// Sleeps until woken, for at most `timeout` ticks; how many were left. Returns at once when the caller was woken
    /// since it announced its sleep. Linux: `schedule_timeout`.
    fn schedule(&self, timeout: Option<u64>) -> u64;

    /// Wakes a thread that sleeps or is about to; whether it was.
    fn wake(&self, thread: ThreadId) -> bool;

    /// Whether the tick asked the caller to let others run.
    fn need_resched(&self) -> bool;

    /// Offers the CPU to others, who get it when `resched` says so. Linux: `cond_resched`.
    fn cond_resched(&self, resched: Resched);

    /// Whether the caller's work was called off: ^C at the console, or `kill` of a background job. A thread that sleeps
    /// in [`WaitQueue::wait`] is woken by it.
    fn interrupted(&self) -> bool;

    /// Calls off the work of `thread`, for good.
    fn call_off(&self, thread: ThreadId);

    /// Whether a daemon should end. Linux: `kthread_should_stop`.
    fn should_stop(&self) -> bool;
}

/// How waiting for a condition ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// The condition holds; so many ticks were left (all, if there was no limit).
    Ready(u64),
    /// The time is over.
    TimedOut,
    /// The caller's work was called off.
    Interrupted,
}

/// Threads that wait for the same thing. Linux: `wait_queue_head_t`.
#[derive(Debug, Default)]
pub struct WaitQueue {
    /// A bit for each thread.
    waiters: AtomicU64,
}

impl WaitQueue {
    /// Nobody waits.
    pub const fn new() -> WaitQueue {
        WaitQueue { waiters: AtomicU64::new(0) }
    }

    /// Whether somebody waits. Linux: `waitqueue_active`.
    pub fn is_active(&self) -> bool {
        self.waiters.load(SeqCst) != 0
    }

    /// Announces the caller's sleep and joins the queue. Linux: `prepare_to_wait`.
    pub fn prepare(&self, sched: &impl Scheduler) {
        sched.prepare_to_sleep();
        self.waiters.fetch_or(sched.thread().bit(), SeqCst);
    }

    /// Leaves the queue, asleep no more. Linux: `finish_wait`.
    pub fn finish(&self, sched: &impl Scheduler) {
        sched.set_running();
        self.waiters.fetch_and(!sched.thread().bit(), SeqCst);
    }

    /// Wakes everybody, and empties the queue; whether there was anybody. Linux: `wake_up_all`.
    pub fn wake_all(&self, sched: &impl Scheduler) -> bool {
        let mut waiters = self.waiters.swap(0, SeqCst);
        let any = waiters != 0;
        while waiters != 0 {
            sched.wake(ThreadId(waiters.trailing_zeros() as u8));
            waiters &= waiters - 1;
        }
        any
    }

    /// Sleeps until `ready`, for at most `timeout` ticks. Whoever makes the condition true wakes the queue after it.
    ///
    /// Linux: `wait_event_killable_timeout`.
    pub fn wait(&self, sched: &impl Scheduler, timeout: Option<u64>, mut ready: impl FnMut() -> bool) -> Wait {
        let mut left = timeout;
        loop {
            self.prepare(sched);
            let over = if ready() {
                Some(Wait::Ready(left.unwrap_or(u64::MAX)))
            } else if sched.interrupted() {
                Some(Wait::Interrupted)
            } else if left == Some(0) {
                Some(Wait::TimedOut)
            } else {
                None
            };
            if let Some(over) = over {
                self.finish(sched);
                return over;
            }
            let remaining = sched.schedule(left);
            left = left.map(|_| remaining);
        }
    }
}
