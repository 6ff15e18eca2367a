//! The points at which another thread may run: what the kernel tells of its steps and waits goes to shuttle from here.
//!
//! Not every step is such a point, or nothing would ever happen between two calls: the [`Choice`] of a schedule says
//! which ones are. Neighbours: [`crate::schedules`] makes the choices, [`crate::threads`] sleeps and wakes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering::SeqCst;

use kernel::host::explore::{Explorer, set_explorer};
use kernel::random::Random;
use shuttle::sync::atomic::AtomicBool as Point;

/// Those who wait for each other in one schedule.
#[derive(Default)]
struct Crowd {
    lock: shuttle::sync::Mutex<()>,
    changed: shuttle::sync::Condvar,
    waiting: Cell<u32>,
}

thread_local! {
    static CROWD: RefCell<Rc<Crowd>> = RefCell::default();
    /// How the schedule that runs was chosen.
    static CHOICE: RefCell<Choice> = const { RefCell::new(Choice::EVERYWHERE) };
    /// An access to it is where shuttle may run another thread; its value means nothing.
    static POINT: Point = const { Point::new(false) };
}

/// Shuttle decides.
const SHUTTLE: Explorer = Explorer { step, wait, wake, me };

/// Shuttle decides from now on.
pub fn listen() {
    set_explorer(Some(SHUTTLE));
}

/// Nobody decides any more.
pub fn ignore() {
    set_explorer(None);
}

/// A schedule begins: nobody waits, and nobody decides yet.
pub fn forget() {
    CROWD.set(Rc::default());
    ignore();
}

/// How the next schedule is chosen.
pub fn choose(choice: Choice) {
    CHOICE.set(choice);
}

/// Looks at, or changes, how the schedule that runs is chosen.
pub fn with_choice<R>(with: impl FnOnce(&mut Choice) -> R) -> R {
    CHOICE.with_borrow_mut(with)
}

/// Where a schedule lets another thread run.
pub struct Choice {
    /// What the schedule's random numbers began with.
    pub seed: u64,
    pub random: Random,
    /// Steps of a thread on the average before another one may run.
    length: u64,
    /// Steps that are left of these.
    left: u64,
    /// That is now.
    pub now: bool,
}

impl Choice {
    /// At every step.
    pub const EVERYWHERE: Choice = Choice { seed: 0, random: Random::new(0), length: 1, left: 1, now: false };

    /// As the random numbers of `seed` want it.
    pub fn of_seed(seed: u64) -> Choice {
        let mut random = Random::new(seed);
        let length = 1 << random.below(11);
        Choice { seed, random, length, ..Choice::EVERYWHERE }
    }

    /// Whether another thread may run now.
    fn is_now(&mut self) -> bool {
        self.left -= 1;
        if self.left == 0 {
            self.left = 1 + self.random.below(2 * self.length - 1);
            self.now = true;
        }
        self.now
    }
}

/// Another thread may run now, if the choice is so.
pub fn step() {
    if !CHOICE.with_borrow_mut(Choice::is_now) {
        return;
    }
    POINT.with(|point| _ = point.load(SeqCst));
}

/// Lets others run until `ready`.
pub fn wait(ready: &mut dyn FnMut() -> bool) {
    let crowd = CROWD.with_borrow(Rc::clone);
    crowd.waiting.set(crowd.waiting.get() + 1);
    let mut guard = crowd.lock.lock().unwrap();
    while !ready() {
        guard = crowd.changed.wait(guard).unwrap();
    }
    crowd.waiting.set(crowd.waiting.get() - 1);
}

/// Those who wait look again.
pub fn wake() {
    let crowd = CROWD.with_borrow(Rc::clone);
    if crowd.waiting.get() > 0 {
        let _guard = crowd.lock.lock().unwrap();
        crowd.changed.notify_all();
    }
}

/// Number of the thread that runs.
pub fn me() -> usize {
    shuttle::current::me().into()
}
