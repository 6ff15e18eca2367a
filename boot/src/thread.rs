//! Threads of this machine: who runs, who waits, and until when.
//!
//! [`Threads`] is the machine's [`Scheduler`], and `kernel::sched::RunQueue` decides; here it gets a lock, stacks and a
//! clock. A thread gives its CPU away in three ways only: it sleeps, it offers its CPU after the tick asked for that, or
//! it ends. Nobody is interrupted by another thread (PREEMPT_NONE, arm64's default). A CPU that has nobody to run idles on
//! a stack of its own. The alarm clock rings when the earliest sleeper's time comes, and every tick while more than one
//! thread wants the CPU; else it rests.
//!
//! The lock is held from the decision until the other stack is in use, with interrupts masked: who arrives there lets it
//! go. So nobody can take up a thread that is about to leave its stack. Linux: `kernel/sched/core.c`,
//! `kernel/kthread.c`.
//!
//! Linux does more: priorities, fairness, preemption, and a queue with a lock of its own for each CPU.

use crate::arch::{cpu, stack, switch, timer};
use crate::lock::{Guard, Lock};
use crate::machine::tasks_so_far;
use crate::{console, irq, lockup, stacks};
use alloc::boxed::Box;
use core::fmt;
use core::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};
use kernel::mmzone::NR_CPUS;
use kernel::sched::{CpuTime, JIFFY_NS, MAX_THREADS, Resched, RunQueue, Scheduler, ThreadId, ThreadInfo};
use kernel::sync::Class;
use kernel::task::{Comm, Current, Task, TaskTable};

/// What a thread does, acting as the task that it was started for.
type Body = Box<dyn FnOnce(&Current<'_>) + Send>;

/// Who runs where.
struct Board {
    queue: RunQueue,
    /// Stack pointers of the threads that do not run.
    threads: [u64; MAX_THREADS],
    /// Stack pointers of the idle loops that do not run; 0 for one that never ran.
    idle: [u64; NR_CPUS],
    /// What new threads will do.
    bodies: [Option<Body>; MAX_THREADS],
}

static BOARD: Lock<Board> = Lock::new(
    Class::RunQueues,
    Board {
        queue: RunQueue::new(),
        threads: [0; MAX_THREADS],
        idle: [0; NR_CPUS],
        bodies: [const { None }; MAX_THREADS],
    },
);

/// The task that each thread acts as.
static TASKS: [AtomicU16; MAX_THREADS] = [const { AtomicU16::new(0) }; MAX_THREADS];

/// Threads whose work was called off: a bit for each.
static CALLED_OFF: AtomicU64 = AtomicU64::new(0);

impl Board {
    /// Where the stack pointer of `thread` is kept, or that of the idle loop.
    fn place(&mut self, thread: Option<ThreadId>, cpu: usize) -> &mut u64 {
        match thread {
            Some(thread) => &mut self.threads[usize::from(thread.0)],
            None => &mut self.idle[cpu],
        }
    }

    /// The thread that CPU `cpu` runs next.
    fn next(&mut self, cpu: usize) -> Option<ThreadId> {
        self.expire(cpu);
        self.queue.pick(cpu as u8)
    }

    /// Wakes every thread of CPU `cpu`, which runs us, whose time has come. Some may wake up elsewhere.
    fn expire(&mut self, cpu: usize) {
        let given = self.queue.expire(cpu as u8, timer::uptime_ns());
        for other in cpu::online().filter(|other| other.number != cpu && given & 1 << other.number != 0) {
            irq::interrupt(other.number, irq::RESCHEDULE);
        }
    }

    /// Lets the CPU of `thread` notice that it wants to run: us, or by an interrupt.
    fn tell_cpu_of(&self, thread: ThreadId) {
        let (this, its) = (cpu::this_cpu(), usize::from(self.queue.cpu(thread)));
        if its == this.number {
            self.set_alarm(its, this.running());
        } else {
            irq::interrupt(its, irq::RESCHEDULE);
        }
    }

    /// Sets the alarm of CPU `cpu`, which runs us, and `running` or nothing after that.
    fn set_alarm(&self, cpu: usize, running: Option<ThreadId>) {
        let crowded = running.is_some() && self.queue.has_ready(cpu as u8);
        let tick = crowded.then(|| (timer::uptime_ns() / JIFFY_NS + 1) * JIFFY_NS);
        let alarms = [self.queue.next_deadline(cpu as u8), tick, lockup::next_beat(cpu)];
        timer::set_alarm(alarms.into_iter().flatten().min());
    }
}

/// Why there is no new thread: no stack is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoStack;

impl fmt::Display for NoStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("every stack for threads is in use")
    }
}

/// Starts a thread that does `body` as `task`, on CPU `bound` when its turn comes there, or wherever the fewest threads
/// are awake.
pub fn spawn(
    task: &'static Task,
    bound: Option<usize>,
    body: impl FnOnce(&Current<'_>) + Send + 'static,
) -> Result<ThreadId, NoStack> {
    let body: Body = Box::new(body);
    cpu::masked(|| {
        let mut board = BOARD.lock();
        let thread = board.queue.spawn(task.pid(), bound.map(|cpu| cpu as u8)).ok_or(NoStack)?;
        let Some(top) = stacks::of_thread(thread) else {
            board.queue.exit(thread);
            return Err(NoStack);
        };
        // SAFETY: the stack of this thread's number, which nobody had until now.
        *board.place(Some(thread), 0) = unsafe { switch::prepare(top, begin) };
        board.bodies[usize::from(thread.0)] = Some(body);
        TASKS[usize::from(thread.0)].store(task.pid(), Relaxed);
        board.tell_cpu_of(thread);
        Ok(thread)
    })
}

/// Where a new thread starts.
extern "C" fn begin() -> ! {
    arrive();
    let thread = Threads.thread();
    let body = BOARD.lock().bodies[usize::from(thread.0)].take();
    cpu::unmask();
    if let (Some(task), Some(body)) = (task_of(thread), body) {
        body(&Current::new(task));
    }
    give_away(|board, thread| {
        CALLED_OFF.fetch_and(!thread.bit(), Relaxed);
        board.queue.exit(thread);
        true
    });
    unreachable!("a thread that ended runs");
}

/// Where the idle loop starts.
extern "C" fn begin_idle() -> ! {
    arrive();
    idle()
}

/// Runs threads when there are any, waits for interrupts when there are none. Interrupts are masked but for a moment
/// after each wait, so that none is overlooked between the last look and the wait.
pub fn idle() -> ! {
    let cpu = cpu::this_cpu().number;
    loop {
        let mut board = BOARD.lock();
        match board.next(cpu) {
            Some(next) => hand_over(board, None, Some(next)),
            None => {
                board.set_alarm(cpu, None);
                drop(board);
                cpu::wait();
                cpu::let_interrupts_in();
            }
        }
    }
}

/// Lets somebody else run if `leave` says so; returns when it is our turn again.
fn give_away(leave: impl FnOnce(&mut Board, ThreadId) -> bool) {
    assert!(!cpu::is_masked(), "a thread gives its CPU away with interrupts masked");
    cpu::masked(|| {
        let (mut board, thread) = (BOARD.lock(), Threads.thread());
        if leave(&mut board, thread) {
            let next = board.next(cpu::this_cpu().number);
            hand_over(board, Some(thread), next);
        }
    });
}

/// Leaves the stack of `from` for that of `to`, where `None` is the idle loop, and lets go of the board there.
fn hand_over(mut board: Guard<'_, Board>, from: Option<ThreadId>, to: Option<ThreadId>) {
    let cpu = cpu::this_cpu();
    cpu.run(to);
    lockup::touch();
    board.queue.switched(cpu.number as u8, to, timer::uptime_ns());
    board.set_alarm(cpu.number, to);
    if from == to {
        return;
    }
    let target = match *board.place(to, cpu.number) {
        // SAFETY: the stack on which the boot CPU has never idled; the others begin on theirs.
        0 => unsafe { switch::prepare(stack::IDLE_STACK.end(), begin_idle) },
        place => place,
    };
    let left = &raw mut *Guard::leak(board).place(from, cpu.number);
    // SAFETY: interrupts are masked. `target` was prepared, or noted by a switch away, and its owner runs once: the run
    // queue gave it to us alone, and the board is locked until we have left this stack.
    unsafe { switch::switch(left, target) };
    arrive();
}

/// On the other stack: lets go of the board, which whoever switched here had locked.
fn arrive() {
    // SAFETY: locked by `hand_over` just before the switch, and its guard is gone.
    unsafe { BOARD.force_unlock() };
}

/// The timer's interrupt handler: wakes whose time has come, and asks the thread that runs to let others run.
pub fn tick() {
    let cpu = cpu::this_cpu();
    lockup::beat();
    let mut board = BOARD.lock();
    board.expire(cpu.number);
    if board.queue.has_ready(cpu.number as u8) {
        cpu.ask_to_resched();
    }
    board.set_alarm(cpu.number, cpu.running());
}

/// The handler of [`irq::RESCHEDULE`]: another CPU woke a thread of ours. An idle loop looks for it anyway.
pub fn notice() {
    let cpu = cpu::this_cpu();
    BOARD.lock().set_alarm(cpu.number, cpu.running());
}

/// Lets everyone else run who wants to, on any CPU, until all of them sleep, `ticks` are over, or ^C is pressed.
pub fn settle(ticks: Option<u64>) {
    let end = ticks.map_or(u64::MAX, |ticks| Threads.jiffies() + ticks);
    let busy = || queue(|queue| queue.others_awake(Threads.thread()));
    while busy() && Threads.jiffies() < end && !Threads.interrupted() {
        if queue(|queue| queue.has_ready(cpu::this_cpu().number as u8)) {
            yield_now();
        } else {
            // They run elsewhere.
            Threads.prepare_to_sleep();
            Threads.schedule(Some(1));
        }
    }
}

/// Lets the caller act as `task` from now on, and only CPU `bound` run it, or any; goes there.
pub fn act_as(task: &Task, bound: Option<usize>) {
    give_away(|board, thread| {
        TASKS[usize::from(thread.0)].store(task.pid(), Relaxed);
        board.queue.act_as(thread, task.pid());
        let leaves = board.queue.bind(thread, bound.map(|cpu| cpu as u8));
        if leaves {
            board.queue.yield_now(thread);
            board.tell_cpu_of(thread);
        }
        leaves
    });
}

/// Lets this CPU have threads.
pub fn join() {
    queue(|queue| queue.set_online(cpu::this_cpu().number as u8, timer::uptime_ns()));
}

/// What is known about `thread`; `None` if there is no such thread.
pub fn info(thread: ThreadId) -> Option<ThreadInfo> {
    queue(|queue| queue.info(thread, timer::uptime_ns()))
}

/// How long CPU `cpu` has been busy and idle; `None` if it is not online.
pub fn time(cpu: usize) -> Option<CpuTime> {
    queue(|queue| queue.time(cpu as u8, timer::uptime_ns()))
}

fn yield_now() {
    give_away(|board, thread| {
        board.queue.yield_now(thread);
        true
    });
}

/// The task that `thread` acts as; none for the boot thread before its first command.
fn task_of(thread: ThreadId) -> Option<&'static Task> {
    tasks_so_far()?.by_pid(TASKS[usize::from(thread.0)].load(Relaxed))
}

/// What to call `thread`. Takes no lock and makes nothing: the last words use it.
pub fn name(thread: ThreadId) -> Comm {
    let task = task_of(thread).or_else(|| tasks_so_far().map(TaskTable::init));
    task.map_or(Comm::from_bytes(*b"boot\0\0\0\0\0\0\0\0\0\0\0\0"), Task::comm)
}

/// The process number of the task that `thread` acts as; 0 before the boot thread's first command.
pub fn pid(thread: ThreadId) -> u16 {
    TASKS[usize::from(thread.0)].load(Relaxed)
}

/// The threads of this machine.
pub struct Threads;

/// Runs `with` on the queue, interrupts masked.
fn queue<R>(with: impl FnOnce(&mut RunQueue) -> R) -> R {
    cpu::masked(|| with(&mut BOARD.lock().queue))
}

impl Scheduler for Threads {
    fn thread(&self) -> ThreadId {
        cpu::this_cpu().running().unwrap_or(ThreadId::BOOT)
    }

    fn jiffies(&self) -> u64 {
        timer::uptime_ns() / JIFFY_NS
    }

    fn prepare_to_sleep(&self) {
        queue(|queue| queue.prepare_to_sleep(self.thread()));
    }

    fn set_running(&self) {
        queue(|queue| queue.set_running(self.thread()));
    }

    fn schedule(&self, timeout: Option<u64>) -> u64 {
        let deadline = timeout.map(|ticks| timer::uptime_ns() + ticks * JIFFY_NS);
        give_away(|board, thread| board.queue.block(thread, deadline));
        deadline.map_or(0, |deadline| deadline.saturating_sub(timer::uptime_ns()) / JIFFY_NS)
    }

    fn wake(&self, thread: ThreadId) -> bool {
        cpu::masked(|| {
            let mut board = BOARD.lock();
            let woken = board.queue.wake(thread);
            if woken {
                board.tell_cpu_of(thread);
            }
            woken
        })
    }

    fn need_resched(&self) -> bool {
        cpu::this_cpu().need_resched()
    }

    fn cond_resched(&self, resched: Resched) {
        lockup::touch();
        if resched.takes(|| self.need_resched()) {
            yield_now();
        }
    }

    /// ^C is for the boot thread, which runs what people type; the others are called off by name.
    fn interrupted(&self) -> bool {
        let thread = self.thread();
        CALLED_OFF.load(Relaxed) & thread.bit() != 0 || (console::has_interrupt() && thread == ThreadId::BOOT)
    }

    fn call_off(&self, thread: ThreadId) {
        CALLED_OFF.fetch_or(thread.bit(), Relaxed);
        self.wake(thread);
    }

    fn should_stop(&self) -> bool {
        false
    }
}
