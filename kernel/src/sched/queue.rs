//! [`RunQueue`]: which thread runs where, and when.
//!
//! A thread belongs to a CPU: to the one that it is bound to, or to the one that it was given when it woke up last, which
//! is the online CPU with the fewest threads awake, its last one among equals. There it waits behind those who were
//! ready before it. An idle CPU takes nothing from a busy one: what is ready stays where it was placed. Linux:
//! `select_task_rq`, `try_to_wake_up`.
//!
//! Linux does more: it weighs threads, looks for idle CPUs near the cache, and lets idle CPUs pull.

use super::times::Book;
use super::{CpuTime, MAX_THREADS, ThreadId, ThreadInfo, ThreadState};
use crate::mmzone::NR_CPUS;

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
    /// The CPU that it belongs to.
    cpu: u8,
    /// Number of the task that it acts as.
    pid: u16,
    /// Nanoseconds that it ran, but for its present turn.
    ran: u64,
}

impl Thread {
    const FREE: Thread = Thread { state: State::Free, bound: None, cpu: 0, pid: 0, ran: 0 };
}

/// Who runs, who is ready, who sleeps until when. Times are in nanoseconds.
#[derive(Debug)]
pub struct RunQueue {
    threads: [Thread; MAX_THREADS],
    turn: u64,
    /// CPUs that take threads: a bit for each.
    online: u64,
    books: [Book; NR_CPUS],
}

impl RunQueue {
    /// One thread, [`ThreadId::BOOT`], which runs on CPU 0 and stays there; no other CPU is online.
    pub const fn new() -> RunQueue {
        let (mut threads, mut books) = ([Thread::FREE; MAX_THREADS], [Book::new(None); NR_CPUS]);
        threads[0] = Thread { state: State::Running, bound: Some(0), ..Thread::FREE };
        books[0] = Book::new(Some(ThreadId::BOOT));
        RunQueue { threads, turn: 0, online: 1, books }
    }

    /// Lets CPU `cpu` have threads from `now` on.
    pub fn set_online(&mut self, cpu: u8, now: u64) {
        self.online |= 1 << cpu;
        self.books[usize::from(cpu)] = Book::starting(now);
    }

    /// A new thread for the task with number `pid`, ready to run on CPU `bound` or on any; `None` when there are
    /// [`MAX_THREADS`].
    pub fn spawn(&mut self, pid: u16, bound: Option<u8>) -> Option<ThreadId> {
        let free = self.threads.iter().position(|thread| thread.state == State::Free)?;
        let thread = ThreadId(free as u8);
        self.threads[free] = Thread { bound, pid, ..Thread::FREE };
        self.place(thread);
        self.make_ready(thread);
        Some(thread)
    }

    /// Notes that `thread` acts as the task with number `pid` from now on.
    pub fn act_as(&mut self, thread: ThreadId, pid: u16) {
        self.threads[thread.index()].pid = pid;
    }

    /// Lets only CPU `bound` run the running thread from now on, or any; whether it has to leave for that, which it does
    /// by [`RunQueue::yield_now`]. Linux: `set_cpus_allowed_ptr`.
    pub fn bind(&mut self, thread: ThreadId, bound: Option<u8>) -> bool {
        let here = self.cpu(thread);
        self.threads[thread.index()].bound = bound;
        self.threads[thread.index()].cpu = bound.unwrap_or(here);
        self.cpu(thread) != here
    }

    /// Forgets a thread that runs and never will again.
    pub fn exit(&mut self, thread: ThreadId) {
        self.threads[thread.index()] = Thread::FREE;
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
            State::Asleep(_) => {
                self.place(thread);
                self.make_ready(thread);
            }
            State::Drowsy => self.set_running(thread),
            State::Free | State::Ready(_) | State::Running => return false,
        }
        true
    }

    /// Wakes every thread of CPU `cpu` whose time has come, the earliest first; a bit for each CPU that has one more now.
    pub fn expire(&mut self, cpu: u8, now: u64) -> u64 {
        let mut given = 0;
        while let Some((_, thread)) = self.earliest(cpu).filter(|(deadline, _)| *deadline <= now) {
            self.wake(thread);
            given |= 1 << self.cpu(thread);
        }
        given
    }

    /// When the time comes of the next sleeping thread of CPU `cpu`.
    pub fn next_deadline(&self, cpu: u8) -> Option<u64> {
        self.earliest(cpu).map(|(deadline, _)| deadline)
    }

    /// The CPU that `thread` belongs to.
    pub fn cpu(&self, thread: ThreadId) -> u8 {
        self.threads[thread.index()].cpu
    }

    /// Notes that CPU `cpu` runs `next` from `now` on, or idles.
    pub fn switched(&mut self, cpu: u8, next: Option<ThreadId>, now: u64) {
        let book = &mut self.books[usize::from(cpu)];
        let last = book.running;
        let took = book.turn(next, now);
        if let Some(last) = last {
            self.threads[last.index()].ran += took;
        }
    }

    /// How long CPU `cpu` has been busy and idle at `now`; `None` if it is not online.
    pub fn time(&self, cpu: u8, now: u64) -> Option<CpuTime> {
        (usize::from(cpu) < NR_CPUS && self.online & 1 << cpu != 0).then(|| self.books[usize::from(cpu)].time(now))
    }

    /// What is known about `thread` at `now`; `None` if there is no such thread.
    pub fn info(&self, thread: ThreadId, now: u64) -> Option<ThreadInfo> {
        let Thread { state, bound, cpu, pid, ran } = *self.threads.get(thread.index())?;
        let state = match state {
            State::Free => return None,
            State::Ready(_) => ThreadState::Ready,
            State::Running | State::Drowsy => ThreadState::Running,
            State::Asleep(_) => ThreadState::Asleep,
        };
        let ran_ns = ran + self.books[usize::from(cpu)].share(thread, now);
        Some(ThreadInfo { pid, cpu, bound: bound.is_some(), state, ran_ns })
    }

    /// Whether any thread but `thread` runs or wants to.
    pub fn others_awake(&self, thread: ThreadId) -> bool {
        RunQueue::ids().any(|other| other != thread && self.is_awake(other))
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
            State::Ready(turn) if self.cpu(*thread) == cpu => Some(turn),
            _ => None,
        };
        RunQueue::ids().filter(|thread| turn(thread).is_some()).min_by_key(turn)
    }

    fn is_awake(&self, thread: ThreadId) -> bool {
        !matches!(self.threads[thread.index()].state, State::Free | State::Asleep(_))
    }

    /// Gives a thread that is not awake the CPU that it will wake up on.
    fn place(&mut self, thread: ThreadId) {
        let last = self.cpu(thread);
        let least = || {
            let load = |cpu| RunQueue::ids().filter(|other| self.is_awake(*other) && self.cpu(*other) == cpu).count();
            let online = (0..NR_CPUS as u8).filter(|cpu| self.online & 1 << cpu != 0);
            online.min_by_key(|cpu| (load(*cpu), *cpu != last)).unwrap_or(last)
        };
        self.threads[thread.index()].cpu = self.threads[thread.index()].bound.unwrap_or_else(least);
    }

    /// The thread of CPU `cpu` that wakes up first by itself, and when.
    fn earliest(&self, cpu: u8) -> Option<(u64, ThreadId)> {
        let sleepers = RunQueue::ids().filter_map(|thread| match self.threads[thread.index()].state {
            State::Asleep(Some(deadline)) if self.cpu(thread) == cpu => Some((deadline, thread)),
            _ => None,
        });
        sleepers.min_by_key(|(deadline, _)| *deadline)
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
        let [a, b] = [queue.spawn(0, None).unwrap(), queue.spawn(0, None).unwrap()];
        queue.yield_now(BOOT);
        assert_eq!([queue.pick(0), queue.pick(0), queue.pick(0), queue.pick(0)], [Some(a), Some(b), Some(BOOT), None]);
    }

    #[test]
    fn a_sleeper_is_ready_when_woken_or_when_its_time_has_come() {
        let mut queue = RunQueue::new();
        let [a, b] = [queue.spawn(0, None).unwrap(), queue.spawn(0, None).unwrap()];
        for (thread, deadline) in [(a, Some(20)), (b, Some(10)), (BOOT, None)] {
            queue.prepare_to_sleep(thread);
            assert!(queue.block(thread, deadline));
        }
        assert_eq!(queue.next_deadline(0), Some(10));
        queue.expire(0, 9);
        assert!(!queue.has_ready(0));
        assert_eq!(queue.expire(0, 20), 1);
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
        let bound = queue.spawn(0, Some(1)).unwrap();
        let free = queue.spawn(0, None).unwrap();
        assert_eq!([queue.pick(0), queue.pick(0), queue.pick(1)], [Some(free), None, Some(bound)]);
        queue.prepare_to_sleep(bound);
        assert!(queue.block(bound, Some(10)));
        assert_eq!([queue.next_deadline(0), queue.next_deadline(1)], [None, Some(10)]);
        assert_eq!([queue.expire(0, 10), queue.expire(1, 10)], [0, 2]);
        assert_eq!([queue.pick(0), queue.pick(1)], [None, Some(bound)]);
    }

    #[test]
    fn numbers_of_threads_are_used_again() {
        let mut queue = RunQueue::new();
        for n in 1..MAX_THREADS {
            assert_eq!(queue.spawn(0, None), Some(ThreadId(n as u8)));
        }
        assert_eq!(queue.spawn(0, None), None);
        queue.exit(ThreadId(5));
        assert_eq!(queue.spawn(0, None), Some(ThreadId(5)));
    }

    #[test]
    fn a_thread_wakes_up_where_the_fewest_are_awake() {
        let mut queue = RunQueue::new();
        queue.set_online(1, 0);
        queue.set_online(2, 0);
        let threads = [(); 3].map(|()| queue.spawn(0, None).unwrap());
        // CPU 0 has the boot thread, so it is the last to get another one.
        assert_eq!(threads.map(|thread| queue.cpu(thread)), [1, 2, 0]);
        assert_eq!(queue.pick(2), Some(threads[1]));
        queue.prepare_to_sleep(threads[1]);
        assert!(queue.block(threads[1], Some(5)));
        // It stays where it was, among equals.
        assert_eq!((queue.expire(2, 5), queue.cpu(threads[1])), (1 << 2, 2));
        assert_eq!(queue.pick(2), Some(threads[1]));
        queue.prepare_to_sleep(threads[1]);
        assert!(queue.block(threads[1], Some(9)));
        assert!(queue.spawn(0, Some(2)).is_some() && queue.spawn(0, Some(2)).is_some());
        // Now the CPU with the fewest is told.
        assert_eq!((queue.expire(2, 9), queue.cpu(threads[1])), (1 << 1, 1));
    }

    #[test]
    fn a_thread_that_is_bound_elsewhere_leaves() {
        let mut queue = RunQueue::new();
        queue.set_online(1, 0);
        assert!(!queue.bind(BOOT, Some(0)) && !queue.bind(BOOT, None) && queue.bind(BOOT, Some(1)));
        queue.yield_now(BOOT);
        assert_eq!([queue.pick(0), queue.pick(1)], [None, Some(BOOT)]);
    }

    #[test]
    fn turns_are_charged() {
        let mut queue = RunQueue::new();
        let thread = queue.spawn(7, None).unwrap();
        queue.yield_now(BOOT);
        assert_eq!(queue.pick(0), Some(thread));
        queue.switched(0, Some(thread), 100);
        queue.prepare_to_sleep(thread);
        assert!(queue.block(thread, None));
        queue.switched(0, None, 130);
        let asleep = ThreadInfo { pid: 7, cpu: 0, bound: false, state: ThreadState::Asleep, ran_ns: 30 };
        assert_eq!(queue.info(thread, 200), Some(asleep));
        assert_eq!(queue.info(BOOT, 200).map(|info| (info.ran_ns, info.state.letter())), Some((100, 'R')));
        assert_eq!([queue.time(0, 200), queue.time(1, 200)], [Some(CpuTime { busy_ns: 130, idle_ns: 70 }), None]);
        assert_eq!(queue.info(ThreadId(9), 200), None);
    }
}
