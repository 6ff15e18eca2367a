//! Threads of a host program that take turns as the machine's do.
//!
//! Each is a thread of the program, but only the one that holds the baton runs; it passes it on where a thread of the
//! image would switch stacks. Time is virtual: it moves when somebody reads the clock, by a little at every offer to let
//! others run, and to the next deadline when everybody sleeps. So the same program takes the same course every time.
//!
//! A host has no keyboard. So a shell's wait that would never end is called off, as ^C would do on a board: see
//! [`HostThreads::begin_command`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

use crate::sched::{CpuTime, HZ, JIFFY_NS, MAX_THREADS, Resched, RunQueue, Scheduler, ThreadId, ThreadInfo};

/// Nanoseconds that an offer to let others run takes.
const OFFER_NS: u64 = 10_000;
/// Turns within one moment after which a tick passes: threads that do nothing but wake each other take time, too.
const TURNS_OF_A_MOMENT: u32 = 200;
/// How long a command of the shell may take before it is called off when it sleeps: longer than any `sleep` that it
/// takes. Daemons that look around every few seconds would keep time going for ever.
const PATIENCE_NS: u64 = 2 * 3600 * HZ * JIFFY_NS;

/// Threads that share one virtual CPU.
pub struct HostThreads {
    state: Mutex<State>,
    /// One for each thread, which waits there for the baton.
    turns: [Condvar; MAX_THREADS],
    clock_ns: AtomicU64,
    interrupted: AtomicBool,
    /// Threads whose work was called off: a bit for each.
    called_off: AtomicU64,
    stopping: AtomicBool,
}

struct State {
    queue: RunQueue,
    running: ThreadId,
    /// The tick in which the running thread got the baton.
    since: u64,
    /// The moment of the last turn, and how many there were in it.
    turns: (u64, u32),
    /// A thread panicked; everybody else gives up too.
    broken: bool,
    /// The command that the program's own thread runs, if that is a shell.
    command: Option<Command>,
}

/// What is known about a command of the shell.
#[derive(Clone, Copy)]
struct Command {
    /// When it began.
    since: u64,
    /// It was called off, for it waited for what would never happen. That is done once.
    called_off: bool,
}

impl State {
    fn is_called_off(&self) -> bool {
        self.command.is_some_and(|command| command.called_off)
    }
}

impl Default for HostThreads {
    fn default() -> HostThreads {
        HostThreads {
            state: Mutex::new(State {
                queue: RunQueue::new(),
                running: ThreadId::BOOT,
                since: 0,
                turns: (0, 0),
                broken: false,
                command: None,
            }),
            turns: [const { Condvar::new() }; MAX_THREADS],
            clock_ns: AtomicU64::new(0),
            interrupted: AtomicBool::new(false),
            called_off: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        }
    }
}

impl HostThreads {
    /// Virtual time, which moves by `ns` before it is read.
    pub fn advance(&self, ns: u64) -> u64 {
        self.clock_ns.fetch_add(ns, SeqCst) + ns
    }

    /// Calls off the work of the running thread until it is switched back.
    pub fn set_interrupted(&self, interrupted: bool) {
        self.interrupted.store(interrupted, SeqCst);
        let mut state = self.lock();
        if interrupted {
            state.queue.wake(ThreadId::BOOT);
        }
    }

    /// Says that the program's own thread is a shell and begins a command now. If it sleeps and nobody is left who could
    /// wake it, or two hours pass, it is interrupted: nobody else can press ^C here. Without a shell, everybody sleeping
    /// for good is a panic.
    pub fn begin_command(&self) {
        self.lock().command = Some(Command { since: self.now(), called_off: false });
    }

    /// Starts a thread that runs `body` when its turn comes.
    ///
    /// # Panics
    ///
    /// When there are [`MAX_THREADS`].
    pub fn spawn<'scope, 'env>(
        &'scope self,
        scope: &'scope Scope<'scope, 'env>,
        body: impl FnOnce() + Send + 'scope,
    ) -> ThreadId {
        let thread = self.lock().queue.spawn(0, None).expect("a free thread");
        scope.spawn(move || self.run(thread, body));
        thread
    }

    /// What a new thread of the program does: waits for its first turn, runs, and hands the baton on for good.
    pub fn run(&self, thread: ThreadId, body: impl FnOnce()) {
        let broken = Breaks(self);
        drop(self.wait_for_turn(self.lock(), thread));
        body();
        std::mem::forget(broken);
        self.called_off.fetch_and(!thread.bit(), SeqCst);
        let mut state = self.lock();
        state.queue.exit(thread);
        self.pass_on(&mut state);
    }

    /// Something to forget when all is well, and that ends the other threads if the running one panics.
    pub fn break_with(&self) -> Breaks<'_> {
        Breaks(self)
    }

    /// Makes room in the table for a thread of the program that calls [`HostThreads::run`] with it, for the task with
    /// number `pid`.
    pub fn reserve(&self, pid: u16) -> ThreadId {
        self.lock().queue.spawn(pid, None).expect("a free thread")
    }

    /// Lets everyone run who is ready, until all of them sleep.
    pub fn settle(&self) {
        self.settle_for(None);
    }

    /// [`HostThreads::settle`], but for `ticks` at most.
    pub fn settle_for(&self, ticks: Option<u64>) {
        let end = ticks.map_or(u64::MAX, |ticks| self.now() + ticks * JIFFY_NS);
        while self.lock().queue.has_ready(0) && self.now() < end {
            self.yield_now();
        }
    }

    /// Notes that the running thread acts as the task with number `pid` from now on, and that only CPU `bound` may run it,
    /// or any: there is one.
    pub fn act_as(&self, pid: u16, bound: Option<usize>) {
        let mut state = self.lock();
        let thread = state.running;
        state.queue.act_as(thread, pid);
        state.queue.bind(thread, bound.map(|cpu| cpu as u8));
    }

    /// What is known about `thread`; `None` if there is no such thread.
    pub fn info(&self, thread: ThreadId) -> Option<ThreadInfo> {
        self.lock().queue.info(thread, self.now())
    }

    /// How long CPU `cpu` has been busy and idle; `None` if there is no such CPU.
    pub fn time(&self, cpu: usize) -> Option<CpuTime> {
        self.lock().queue.time(cpu as u8, self.now())
    }

    /// Tells the daemons to end, and lets them, however long they sleep.
    pub fn stop(&self) {
        if self.lock().broken {
            // They panic, too.
            return;
        }
        self.stopping.store(true, SeqCst);
        (0..MAX_THREADS as u8).for_each(|thread| {
            self.lock().queue.wake(ThreadId(thread));
        });
        self.settle();
        // Whoever sleeps until some time still needs the baton then, and perhaps sleeps again.
        while self.lock().queue.next_deadline(0).is_some() {
            self.prepare_to_sleep();
            self.schedule(Some(1));
            self.settle();
        }
    }

    /// Gives the baton to everyone who is ready, once.
    pub fn yield_now(&self) {
        let mut state = self.lock();
        let thread = state.running;
        state.queue.yield_now(thread);
        self.pass_on(&mut state);
        drop(self.wait_for_turn(state, thread));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked with it said so, and the others must still be able to end.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        self.clock_ns.load(SeqCst)
    }

    /// Hands the baton to whoever comes next, letting time pass until there is somebody.
    fn pass_on(&self, state: &mut State) {
        let now = self.now();
        state.turns = if state.turns.0 == now { (now, state.turns.1 + 1) } else { (now, 0) };
        if state.turns.1 > TURNS_OF_A_MOMENT {
            self.advance(JIFFY_NS);
        }
        loop {
            state.queue.expire(0, self.now());
            if let Some(next) = state.queue.pick(0) {
                state.queue.switched(0, Some(next), self.now());
                state.running = next;
                state.since = self.now() / JIFFY_NS;
                self.turns[usize::from(next.0)].notify_all();
                return;
            }
            match state.queue.next_deadline(0) {
                Some(deadline) => {
                    state.queue.switched(0, None, self.now());
                    self.clock_ns.fetch_max(deadline, SeqCst);
                    if state.command.is_some_and(|command| self.now() - command.since > PATIENCE_NS) {
                        self.call_off_shell(state);
                    }
                }
                // The program's own thread may have ended before its daemons did.
                None if !self.call_off_shell(state) => return,
                None => {}
            }
        }
    }

    /// Interrupts the shell if it sleeps, and was not interrupted so before; whether it was now.
    fn call_off_shell(&self, state: &mut State) -> bool {
        let Some(command) = state.command.as_mut().filter(|command| !command.called_off) else { return false };
        if !state.queue.wake(ThreadId::BOOT) {
            return false;
        }
        command.called_off = true;
        self.interrupted.store(true, SeqCst);
        true
    }

    fn wait_for_turn<'s>(&'s self, mut state: MutexGuard<'s, State>, thread: ThreadId) -> MutexGuard<'s, State> {
        while state.running != thread {
            assert!(!state.broken, "another thread panicked");
            state = self.turns[usize::from(thread.0)].wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }
}

/// Tells the other threads when the one that holds it panics: they panic, too.
pub struct Breaks<'s>(&'s HostThreads);

impl Drop for Breaks<'_> {
    fn drop(&mut self) {
        self.0.lock().broken = true;
        self.0.turns.iter().for_each(Condvar::notify_all);
    }
}

impl Scheduler for HostThreads {
    fn thread(&self) -> ThreadId {
        self.lock().running
    }

    fn jiffies(&self) -> u64 {
        self.now() / JIFFY_NS
    }

    fn prepare_to_sleep(&self) {
        let mut state = self.lock();
        let thread = state.running;
        state.queue.prepare_to_sleep(thread);
    }

    fn set_running(&self) {
        let mut state = self.lock();
        let thread = state.running;
        state.queue.set_running(thread);
    }

    fn schedule(&self, timeout: Option<u64>) -> u64 {
        let mut state = self.lock();
        let (thread, deadline) = (state.running, timeout.map(|ticks| self.now() + ticks * JIFFY_NS));
        if state.queue.block(thread, deadline) {
            let before = state.is_called_off();
            assert!(
                state.queue.next_deadline(0).is_some() || state.queue.has_ready(0) || self.call_off_shell(&mut state),
                "everybody sleeps for good"
            );
            self.pass_on(&mut state);
            state = self.wait_for_turn(state, thread);
            let is_now = thread == ThreadId::BOOT && !before && state.is_called_off();
            drop(state);
            if is_now {
                log::warn!("the shell waits for what nobody here will ever do: called off, as by ^C");
            }
        } else {
            drop(state);
        }
        deadline.map_or(0, |deadline| deadline.saturating_sub(self.now()) / JIFFY_NS)
    }

    fn wake(&self, thread: ThreadId) -> bool {
        self.lock().queue.wake(thread)
    }

    fn need_resched(&self) -> bool {
        let mut state = self.lock();
        state.queue.expire(0, self.now());
        state.queue.has_ready(0) && self.now() / JIFFY_NS > state.since
    }

    fn cond_resched(&self, resched: Resched) {
        self.advance(OFFER_NS);
        if resched.takes(|| self.need_resched()) {
            self.yield_now();
        }
    }

    fn interrupted(&self) -> bool {
        let thread = self.thread();
        self.called_off.load(SeqCst) & thread.bit() != 0 || (self.interrupted.load(SeqCst) && thread == ThreadId::BOOT)
    }

    fn call_off(&self, thread: ThreadId) {
        self.called_off.fetch_or(thread.bit(), SeqCst);
        self.wake(thread);
    }

    fn should_stop(&self) -> bool {
        self.stopping.load(SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::{Wait, WaitQueue};

    /// Who did what, in the order in which it happened.
    #[derive(Default)]
    struct Diary(Mutex<Vec<String>>);

    impl Diary {
        fn note(&self, text: impl Into<String>) {
            self.0.lock().unwrap().push(text.into());
        }
    }

    #[test]
    fn a_daemon_sleeps_works_and_ends() {
        let (threads, diary, queue, asked) = <(HostThreads, Diary, WaitQueue, AtomicBool)>::default();
        std::thread::scope(|scope| {
            threads.spawn(scope, || {
                while !threads.should_stop() {
                    queue.wait(&threads, None, || asked.load(SeqCst) || threads.should_stop());
                    if asked.swap(false, SeqCst) {
                        diary.note("daemon works");
                    }
                }
                diary.note("daemon ends");
            });
            threads.settle();
            for _ in 0..2 {
                asked.store(true, SeqCst);
                queue.wake_all(&threads);
                diary.note("asked");
                threads.settle();
            }
            threads.stop();
        });
        assert_eq!(*diary.0.lock().unwrap(), ["asked", "daemon works", "asked", "daemon works", "daemon ends"]);
    }

    #[test]
    fn time_passes_when_everybody_sleeps() {
        let threads = HostThreads::default();
        let start = threads.jiffies();
        assert_eq!(WaitQueue::new().wait(&threads, Some(25), || false), Wait::TimedOut);
        assert_eq!(threads.jiffies() - start, 25);
    }

    #[test]
    fn an_offer_is_taken_after_a_tick_or_always_or_never() {
        let (threads, diary) = <(HostThreads, Diary)>::default();
        std::thread::scope(|scope| {
            threads.spawn(scope, || diary.note("other"));
            threads.cond_resched(Resched::Tick);
            diary.note("first");
            threads.advance(JIFFY_NS);
            threads.cond_resched(Resched::Never);
            diary.note("second");
            threads.cond_resched(Resched::Tick);
            diary.note("third");
            threads.spawn(scope, || diary.note("another"));
            threads.cond_resched(Resched::Always);
            diary.note("fourth");
        });
        let expected = ["first", "second", "other", "third", "another", "fourth"];
        assert_eq!(*diary.0.lock().unwrap(), expected);
    }

    #[test]
    fn a_thread_in_the_background_is_called_off_alone() {
        let (threads, diary) = <(HostThreads, Diary)>::default();
        let wait = |name: &str, ticks| {
            let wait = WaitQueue::new().wait(&threads, Some(ticks), || false);
            diary.note(format!("{name} {wait:?}"));
        };
        let again = std::thread::scope(|scope| {
            let first = threads.spawn(scope, || wait("first", 1000));
            threads.spawn(scope, || wait("second", 25));
            threads.settle();
            threads.call_off(first);
            wait("boot", 50);
            // Its number is used again, and nothing of that is left.
            let third = threads.spawn(scope, || wait("third", 25));
            wait("boot", 50);
            first == third
        });
        let expected = ["first Interrupted", "second TimedOut", "boot TimedOut", "third TimedOut", "boot TimedOut"];
        assert_eq!((diary.0.lock().unwrap().as_slice(), again), (&expected.map(String::from)[..], true));
    }

    #[test]
    fn work_that_is_called_off_wakes_up() {
        let threads = HostThreads::default();
        threads.set_interrupted(true);
        assert_eq!(WaitQueue::new().wait(&threads, None, || false), Wait::Interrupted);
    }

    #[test]
    fn a_shell_that_nobody_would_wake_is_called_off() {
        let threads = HostThreads::default();
        let wait = |timeout| WaitQueue::new().wait(&threads, timeout, || false);
        threads.begin_command();
        assert_eq!((wait(None), threads.jiffies()), (Wait::Interrupted, 0), "nobody ever runs again");
        std::thread::scope(|scope| {
            threads.spawn(scope, || {
                while !threads.should_stop() {
                    WaitQueue::new().wait(&threads, Some(1000), || threads.should_stop());
                }
            });
            threads.set_interrupted(false);
            threads.begin_command();
            let start = threads.jiffies();
            assert_eq!(wait(Some(3600 * HZ)), Wait::TimedOut, "it wakes up by itself");
            assert_eq!((wait(None), (threads.jiffies() - start) / HZ / 3600), (Wait::Interrupted, 2));
            threads.stop();
        });
    }

    #[test]
    #[should_panic = "everybody sleeps for good"]
    fn a_program_that_is_no_shell_must_not_sleep_for_good() {
        WaitQueue::new().wait(&HostThreads::default(), None, || false);
    }

    #[test]
    fn threads_that_only_wake_each_other_take_time() {
        let (threads, over) = (HostThreads::default(), AtomicBool::new(false));
        let [ping, pong] = [WaitQueue::new(), WaitQueue::new()];
        let play = |own: &WaitQueue, other: &WaitQueue| {
            while !over.load(SeqCst) {
                own.prepare(&threads);
                other.wake_all(&threads);
                threads.schedule(None);
                own.finish(&threads);
            }
            other.wake_all(&threads);
        };
        std::thread::scope(|scope| {
            threads.spawn(scope, || play(&ping, &pong));
            threads.spawn(scope, || play(&pong, &ping));
            WaitQueue::new().wait(&threads, Some(3), || false);
            over.store(true, SeqCst);
            threads.stop();
        });
        assert!(threads.jiffies() >= 3);
    }
}
