//! [`Threads`]: the scheduler of the kernel, over the threads that shuttle runs, and [`together`], which starts them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use kernel::sched::{Resched, Scheduler, ThreadId};

use crate::points::{self, me, step, wait, wake};
use crate::world::CPUS;

/// What a thread does, and where.
#[derive(Clone, Copy, Default)]
struct Place {
    state: State,
    cpu: usize,
    called_off: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Running,
    Drowsy,
    Asleep,
}

/// The scheduler of the threads that shuttle runs. A sleep with a limit ends whenever shuttle pleases.
#[derive(Default)]
pub struct Threads {
    places: Mutex<Vec<Place>>,
    jiffies: AtomicU64,
    stopping: AtomicBool,
}

impl Threads {
    /// Looks at, or changes, what `thread` does; nobody else runs meanwhile.
    fn at<R>(&self, thread: usize, with: impl FnOnce(&mut Place) -> R) -> R {
        let mut places = self.places.lock().unwrap();
        if places.len() <= thread {
            places.resize(thread + 1, Place::default());
        }
        with(&mut places[thread])
    }

    /// The caller runs on CPU `cpu` from now on.
    pub fn enter(&self, cpu: usize) {
        self.at(me(), |place| place.cpu = cpu);
    }

    /// The CPU of the caller.
    pub fn cpu(&self) -> usize {
        self.at(me(), |place| place.cpu)
    }

    fn state(&self) -> State {
        self.at(me(), |place| place.state)
    }

    fn set_state(&self, state: State) {
        self.at(me(), |place| place.state = state);
    }

    /// Tells every daemon to end.
    pub fn stop(&self) {
        self.stopping.store(true, SeqCst);
        let count = self.places.lock().unwrap().len();
        (0..count).for_each(|thread| _ = self.wake(ThreadId(thread as u8)));
    }
}

impl Scheduler for Threads {
    fn thread(&self) -> ThreadId {
        ThreadId(me() as u8)
    }

    fn jiffies(&self) -> u64 {
        self.jiffies.load(SeqCst)
    }

    fn prepare_to_sleep(&self) {
        step();
        self.set_state(State::Drowsy);
    }

    fn set_running(&self) {
        self.set_state(State::Running);
    }

    fn schedule(&self, timeout: Option<u64>) -> u64 {
        step();
        if self.state() == State::Drowsy {
            self.set_state(State::Asleep);
            match timeout {
                None => wait(&mut || self.state() == State::Running),
                Some(_) => (0..3).for_each(|_| shuttle::thread::yield_now()),
            }
        }
        let timed_out = self.state() == State::Asleep;
        self.set_state(State::Running);
        if timed_out {
            self.jiffies.fetch_add(timeout.unwrap_or(0), SeqCst);
        }
        if timed_out { 0 } else { timeout.unwrap_or(u64::MAX) }
    }

    fn wake(&self, thread: ThreadId) -> bool {
        step();
        let slept = self.at(thread.0.into(), |place| core::mem::take(&mut place.state) != State::Running);
        wake();
        slept
    }

    fn need_resched(&self) -> bool {
        false
    }

    fn cond_resched(&self, _: Resched) {
        step();
    }

    fn interrupted(&self) -> bool {
        self.at(me(), |place| place.called_off)
    }

    fn call_off(&self, thread: ThreadId) {
        self.at(thread.0.into(), |place| place.called_off = true);
        Scheduler::wake(self, thread);
    }

    fn should_stop(&self) -> bool {
        self.stopping.load(SeqCst)
    }
}

/// Runs threads together, each as `run` with its number, and ends when all have ended.
pub fn together(threads: &Threads, count: usize, run: impl Fn(usize) + Send + Sync) {
    points::listen();
    shuttle::thread::scope(|scope| {
        for number in 0..count {
            let run = &run;
            scope.spawn(move || {
                threads.enter(number % CPUS);
                run(number);
            });
        }
    });
    points::ignore();
}
