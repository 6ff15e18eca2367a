//! What the tests share: the [`Threads`] that shuttle runs, the [`World`] of a machine whose CPUs they are, and
//! [`explore`] and [`exhaust`], which run a test in many schedules.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Instant;

use kernel::addr::{Pfn, PhysAddr};
use kernel::host::explore::{Explorer, set_explorer};
use kernel::host::{HostEnv, HostMachine, RING_EVENTS};
use kernel::mm::memory::{Env, Memory};
use kernel::mm::users::Users;
use kernel::sched::{Scheduler, ThreadId};
use kernel::sync::{HostCpu, LocalIrq};
use kernel::task::TaskTable;
use kernel::trace::Ring;
use shuttle::scheduler::{DfsScheduler, Schedule, Task as Explored, TaskId};
use shuttle::sync::atomic::AtomicBool as Point;
use shuttle::{Config, FailurePersistence, Runner};

/// Schedules of all random tests together, unless the environment says otherwise.
const SCHEDULES: u64 = 100_000;
/// Where the seeds start, unless the environment says otherwise.
const SEED: u64 = 1;
/// CPUs of a machine.
pub const CPUS: usize = 3;
/// Bytes of a thread's stack; reclaim writes files back on it.
const STACK: usize = 512 << 10;

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

/// Where a schedule lets another thread run: not at every step, or nothing would ever happen between two calls.
struct Choice {
    /// What the schedule's random numbers began with.
    seed: u64,
    random: Random,
    /// Steps of a thread on the average before another one may run.
    length: u64,
    /// Steps that are left of these.
    left: u64,
    /// That is now.
    now: bool,
}

impl Choice {
    const EVERYWHERE: Choice = Choice { seed: 0, random: Random(1), length: 1, left: 1, now: false };

    fn of_seed(seed: u64) -> Choice {
        let mut random = Random::new(seed);
        let length = 1 << (random.next() % 11);
        Choice { seed, random, length, ..Choice::EVERYWHERE }
    }

    /// Whether another thread may run now.
    fn is_now(&mut self) -> bool {
        self.left -= 1;
        if self.left == 0 {
            self.left = 1 + self.random.next() % (2 * self.length - 1);
            self.now = true;
        }
        self.now
    }
}

fn step() {
    if !CHOICE.with_borrow_mut(Choice::is_now) {
        return;
    }
    POINT.with(|point| _ = point.load(SeqCst));
}

fn wait(ready: &mut dyn FnMut() -> bool) {
    let crowd = CROWD.with_borrow(Rc::clone);
    crowd.waiting.set(crowd.waiting.get() + 1);
    let mut guard = crowd.lock.lock().unwrap();
    while !ready() {
        guard = crowd.changed.wait(guard).unwrap();
    }
    crowd.waiting.set(crowd.waiting.get() - 1);
}

fn wake() {
    let crowd = CROWD.with_borrow(Rc::clone);
    if crowd.waiting.get() > 0 {
        let _guard = crowd.lock.lock().unwrap();
        crowd.changed.notify_all();
    }
}

fn me() -> usize {
    shuttle::current::me().into()
}

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
    fn cpu(&self) -> usize {
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

    fn cond_resched(&self) {
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

/// A board with 4 MiB, one maximal block: small enough to build a machine in it for every schedule.
pub fn machine() -> HostMachine {
    small_machine(0)
}

/// The same, of which `reserved` bytes are in use.
pub fn small_machine(reserved: u64) -> HostMachine {
    HostMachine::new("", &[(0x4000_0000, 4 << 20, 0)], &[(0x4000_0000, reserved)])
}

/// A machine in which every explored thread runs on a CPU of [`CPUS`].
pub struct World<'m> {
    host: HostEnv<'m>,
    cpus: [HostCpu; CPUS],
    threads: Threads,
    /// One calls the other CPUs at a time.
    caller: shuttle::sync::Mutex<()>,
}

impl<'m> World<'m> {
    /// The machine, booted, with nobody to decide but the caller.
    pub fn memory(machine: &'m HostMachine) -> Memory<'m, World<'m>> {
        let cpus: [HostCpu; CPUS] = Default::default();
        cpus.iter().enumerate().for_each(|(number, cpu)| cpu.set_cpu(number));
        let caller = shuttle::sync::Mutex::new(());
        let host = HostEnv::new(machine.users());
        machine.memory_with(World { host, cpus, threads: Threads::default(), caller })
    }

    /// The threads.
    pub fn threads(&self) -> &Threads {
        &self.threads
    }
}

impl<'m> Env for World<'m> {
    type Irq = HostCpu;
    type Tracer = Ring<RING_EVENTS>;
    type Sched = Threads;
    type Owner = Users<'m>;

    fn irq(&self) -> &HostCpu {
        &self.cpus[self.threads.cpu()]
    }

    /// On another CPU an interrupt comes whenever it has none masked: that is a thread which masks them.
    fn on_each_cpu(&self, work: &(dyn Fn(usize) + Sync)) {
        let here = self.threads.cpu();
        let interrupt = |cpu| {
            self.threads.enter(cpu);
            let _pin = self.irq().pin();
            work(cpu);
        };
        let _caller = self.caller.lock().unwrap();
        shuttle::thread::scope(|scope| {
            for cpu in (0..CPUS).filter(|cpu| *cpu != here) {
                scope.spawn(move || interrupt(cpu));
            }
            let _pin = self.irq().pin();
            work(here);
        });
    }

    fn tracer(&self) -> &Ring<RING_EVENTS> {
        self.host.tracer()
    }

    fn now_ns(&self) -> u64 {
        self.host.now_ns()
    }

    fn fill_pages(&self, pfn: Pfn, nr_pages: u64, byte: u8) {
        self.host.fill_pages(pfn, nr_pages, byte);
    }

    fn first_other(&self, pfn: Pfn, nr_pages: u64, byte: u8) -> Option<(u64, u8)> {
        self.host.first_other(pfn, nr_pages, byte)
    }

    fn copy_page(&self, from: Pfn, to: Pfn) {
        self.host.copy_page(from, to);
    }

    fn write_page(&self, pfn: Pfn, word: impl FnMut(usize) -> u64) {
        self.host.write_page(pfn, word);
    }

    fn read_page(&self, pfn: Pfn, word: impl FnMut(usize, u64)) {
        self.host.read_page(pfn, word);
    }

    fn read_word(&self, addr: PhysAddr) -> u64 {
        self.host.read_word(addr)
    }

    fn write_word(&self, addr: PhysAddr, word: u64) {
        self.host.write_word(addr, word);
    }

    fn sched(&self) -> &Threads {
        &self.threads
    }

    fn owner(&self) -> &Users<'m> {
        self.host.owner()
    }

    fn tasks(&self) -> &TaskTable {
        self.host.tasks()
    }
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

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
        CHOICE.set(Choice::of_seed(seed));
        Some(Schedule::new(seed))
    }

    fn next_task(&mut self, ready: &[&Explored], current: Option<TaskId>, yielding: bool) -> Option<TaskId> {
        let goes_on = current.filter(|current| !yielding && ready.iter().any(|task| task.id() == *current));
        CHOICE.with_borrow_mut(|choice| match goes_on {
            Some(current) if !core::mem::take(&mut choice.now) => Some(current),
            _ => Some(ready[(choice.random.next() % ready.len() as u64) as usize].id()),
        })
    }

    fn next_u64(&mut self) -> u64 {
        CHOICE.with_borrow_mut(|choice| choice.random.next())
    }
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

/// Runs `body` in as many schedules as `percent` of all the random ones.
pub fn explore(name: &str, percent: u64, body: impl Fn() + Send + Sync + 'static) {
    let count = (number("SLOWPATH_SCHEDULES").unwrap_or(SCHEDULES) * percent).div_ceil(100);
    let seed = number("SLOWPATH_SHUTTLE_SEED").unwrap_or(SEED);
    let report = |panic| {
        let seed = CHOICE.with_borrow(|choice| choice.seed);
        eprintln!("{name}: SLOWPATH_SHUTTLE_SEED={seed} SLOWPATH_SCHEDULES=1 runs this schedule again");
        resume_unwind(panic)
    };
    run(name, Bursts(seed..seed + count), body).unwrap_or_else(report);
}

/// Runs `body` in all schedules that there are.
pub fn exhaust(name: &str, body: impl Fn() + Send + Sync + 'static) {
    CHOICE.set(Choice::EVERYWHERE);
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
    let alone = || {
        CROWD.set(Rc::default());
        set_explorer(None);
    };
    let body = move || {
        alone();
        body();
        set_explorer(None);
    };
    let count = catch_unwind(AssertUnwindSafe(|| Runner::new(scheduler, config).run(body)));
    set_explorer(None);
    println!("{name}: {} schedules in {:.1} s", count?, start.elapsed().as_secs_f32());
    Ok(())
}

/// Runs threads together, each as `run` with its number, and ends when all have ended.
pub fn together(threads: &Threads, count: usize, run: impl Fn(usize) + Send + Sync) {
    set_explorer(Some(SHUTTLE));
    shuttle::thread::scope(|scope| {
        for number in 0..count {
            let run = &run;
            scope.spawn(move || {
                threads.enter(number % CPUS);
                run(number);
            });
        }
    });
    set_explorer(None);
}
