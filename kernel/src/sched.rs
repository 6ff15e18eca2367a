//! Waiting and waking: what blocking code needs of the machine, and the book-keeping of who runs.
//!
//! [`Scheduler`] is the machine's side: threads that give their CPU away and get it back. [`WaitQueue`] is where they
//! wait for something; its protocol is Linux's, so that no wake-up is lost: a thread says that it will sleep, joins the
//! queue, looks at the condition once more, and only then gives the CPU away, which comes back at once if it was woken
//! in between. [`RunQueue`] decides who runs next; the image switches stacks by it, a host program passes a baton between
//! its own threads, so both take turns in the same order.
//!
//! Threads take turns only when one waits, or offers its CPU after the tick asked for it: arm64's default, PREEMPT_NONE.
//! A thread is not a task: the shell's thread acts as whichever task its user chose. Linux: `kernel/sched/core.c`,
//! `kernel/sched/wait.c`.
//!
//! Linux does more: priorities, fairness, preemption, and a run queue of its own for each CPU.

use crate::sync::atomic::{AtomicU64, Ordering::SeqCst};

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

    /// Lets others run if the tick asked for it. Linux: `cond_resched`.
    fn cond_resched(&self);

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

/// What a thread does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    /// There is no such thread.
    #[default]
    Free,
    /// Waits for a CPU, in the order of this number.
    Ready(u64),
    /// Runs.
    Running,
    /// Runs, and is about to sleep.
    Drowsy,
    /// Sleeps until this time, or for good.
    Asleep(Option<u64>),
}

#[derive(Clone, Copy, Debug, Default)]
struct Thread {
    state: State,
    /// The only CPU that may run it, if it is bound.
    bound: Option<u8>,
}

/// Who runs, who is ready, who sleeps until when. Times are in any unit, as long as it is the same one.
#[derive(Debug)]
pub struct RunQueue {
    threads: [Thread; MAX_THREADS],
    turn: u64,
}

impl RunQueue {
    /// One thread, [`ThreadId::BOOT`], which runs on CPU 0 and stays there.
    pub const fn new() -> RunQueue {
        let mut threads = [Thread { state: State::Free, bound: None }; MAX_THREADS];
        threads[0] = Thread { state: State::Running, bound: Some(0) };
        RunQueue { threads, turn: 0 }
    }

    /// A new thread, ready to run on CPU `bound` or on any; `None` when there are [`MAX_THREADS`].
    pub fn spawn(&mut self, bound: Option<u8>) -> Option<ThreadId> {
        let free = self.threads.iter().position(|thread| thread.state == State::Free)?;
        let thread = ThreadId(free as u8);
        self.threads[free].bound = bound;
        self.make_ready(thread);
        Some(thread)
    }

    /// Forgets a thread that runs and never will again.
    pub fn exit(&mut self, thread: ThreadId) {
        self.threads[thread.index()] = Thread::default();
    }

    /// The running thread is about to sleep.
    pub fn prepare_to_sleep(&mut self, thread: ThreadId) {
        self.threads[thread.index()].state = State::Drowsy;
    }

    /// The running thread is not about to sleep any more.
    pub fn set_running(&mut self, thread: ThreadId) {
        self.threads[thread.index()].state = State::Running;
    }

    /// Puts the running thread to sleep until `deadline`; `false` if it was woken since it announced that.
    pub fn block(&mut self, thread: ThreadId, deadline: Option<u64>) -> bool {
        let drowsy = self.threads[thread.index()].state == State::Drowsy;
        if drowsy {
            self.threads[thread.index()].state = State::Asleep(deadline);
        }
        drowsy
    }

    /// Puts the running thread behind everyone who is ready.
    pub fn yield_now(&mut self, thread: ThreadId) {
        self.make_ready(thread);
    }

    /// Wakes a thread; whether it slept or was about to.
    pub fn wake(&mut self, thread: ThreadId) -> bool {
        match self.threads[thread.index()].state {
            State::Asleep(_) => self.make_ready(thread),
            State::Drowsy => self.set_running(thread),
            State::Free | State::Ready(_) | State::Running => return false,
        }
        true
    }

    /// Wakes every thread whose time has come, the earliest first.
    pub fn expire(&mut self, now: u64) {
        while let Some((deadline, thread)) = self.earliest().filter(|(deadline, _)| *deadline <= now) {
            debug_assert!(deadline <= now);
            self.make_ready(thread);
        }
    }

    /// When the time comes of the next sleeping thread that CPU `cpu` may run.
    pub fn next_deadline(&self, cpu: u8) -> Option<u64> {
        self.sleepers().filter(|(_, thread)| self.may_run(*thread, cpu)).map(|(deadline, _)| deadline).min()
    }

    /// The only CPU that may run `thread`, if it is bound.
    pub fn bound(&self, thread: ThreadId) -> Option<u8> {
        self.threads[thread.index()].bound
    }

    /// Whether any thread but `thread` runs or wants to.
    pub fn others_awake(&self, thread: ThreadId) -> bool {
        let awake = |other: ThreadId| !matches!(self.threads[other.index()].state, State::Free | State::Asleep(_));
        RunQueue::ids().any(|other| other != thread && awake(other))
    }

    /// Whether a thread waits for CPU `cpu`.
    pub fn has_ready(&self, cpu: u8) -> bool {
        self.first_ready(cpu).is_some()
    }

    /// Lets the thread that has been ready longest run on CPU `cpu`.
    pub fn pick(&mut self, cpu: u8) -> Option<ThreadId> {
        let thread = self.first_ready(cpu)?;
        self.set_running(thread);
        Some(thread)
    }

    fn make_ready(&mut self, thread: ThreadId) {
        self.turn += 1;
        self.threads[thread.index()].state = State::Ready(self.turn);
    }

    fn ids() -> impl Iterator<Item = ThreadId> {
        (0..MAX_THREADS as u8).map(ThreadId)
    }

    fn first_ready(&self, cpu: u8) -> Option<ThreadId> {
        let turn = |thread: &ThreadId| match self.threads[thread.index()].state {
            State::Ready(turn) if self.may_run(*thread, cpu) => Some(turn),
            _ => None,
        };
        RunQueue::ids().filter(|thread| turn(thread).is_some()).min_by_key(turn)
    }

    fn may_run(&self, thread: ThreadId, cpu: u8) -> bool {
        self.bound(thread).is_none_or(|bound| bound == cpu)
    }

    /// Threads that sleep until some time, with that time.
    fn sleepers(&self) -> impl Iterator<Item = (u64, ThreadId)> {
        RunQueue::ids().filter_map(|thread| match self.threads[thread.index()].state {
            State::Asleep(Some(deadline)) => Some((deadline, thread)),
            _ => None,
        })
    }

    fn earliest(&self) -> Option<(u64, ThreadId)> {
        self.sleepers().min_by_key(|(deadline, _)| *deadline)
    }
}

impl Default for RunQueue {
    fn default() -> RunQueue {
        RunQueue::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: ThreadId = ThreadId::BOOT;

    #[test]
    fn threads_take_turns_in_the_order_in_which_they_became_ready() {
        let mut queue = RunQueue::new();
        let [a, b] = [queue.spawn(None).unwrap(), queue.spawn(None).unwrap()];
        queue.yield_now(BOOT);
        assert_eq!([queue.pick(0), queue.pick(0), queue.pick(0), queue.pick(0)], [Some(a), Some(b), Some(BOOT), None]);
    }

    #[test]
    fn a_sleeper_is_ready_when_woken_or_when_its_time_has_come() {
        let mut queue = RunQueue::new();
        let [a, b] = [queue.spawn(None).unwrap(), queue.spawn(None).unwrap()];
        for (thread, deadline) in [(a, Some(20)), (b, Some(10)), (BOOT, None)] {
            queue.prepare_to_sleep(thread);
            assert!(queue.block(thread, deadline));
        }
        assert_eq!(queue.next_deadline(0), Some(10));
        queue.expire(9);
        assert!(!queue.has_ready(0));
        queue.expire(20);
        assert_eq!([queue.pick(0), queue.pick(0), queue.pick(0)], [Some(b), Some(a), None]);
        assert!(queue.wake(BOOT));
        assert_eq!(queue.pick(0), Some(BOOT));
        assert!(!queue.wake(BOOT));
        assert!(queue.others_awake(BOOT));
        for thread in [a, b] {
            assert!(queue.others_awake(BOOT));
            queue.prepare_to_sleep(thread);
            queue.block(thread, None);
        }
        assert!(!queue.others_awake(BOOT));
    }

    #[test]
    fn a_wake_up_between_announcement_and_sleep_is_not_lost() {
        let mut queue = RunQueue::new();
        queue.prepare_to_sleep(BOOT);
        assert!(queue.wake(BOOT));
        assert!(!queue.block(BOOT, None));
    }

    #[test]
    fn a_bound_thread_waits_for_its_cpu() {
        let mut queue = RunQueue::new();
        let bound = queue.spawn(Some(1)).unwrap();
        let free = queue.spawn(None).unwrap();
        assert_eq!([queue.pick(0), queue.pick(0), queue.pick(1)], [Some(free), None, Some(bound)]);
        queue.prepare_to_sleep(bound);
        assert!(queue.block(bound, Some(10)));
        assert_eq!([queue.next_deadline(0), queue.next_deadline(1)], [None, Some(10)]);
        queue.expire(10);
        assert_eq!([queue.pick(0), queue.pick(1)], [None, Some(bound)]);
    }

    #[test]
    fn numbers_of_threads_are_used_again() {
        let mut queue = RunQueue::new();
        for n in 1..MAX_THREADS {
            assert_eq!(queue.spawn(None), Some(ThreadId(n as u8)));
        }
        assert_eq!(queue.spawn(None), None);
        queue.exit(ThreadId(5));
        assert_eq!(queue.spawn(None), Some(ThreadId(5)));
    }
}
