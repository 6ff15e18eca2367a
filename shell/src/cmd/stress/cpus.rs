//! `stress --cpus`: a person at every CPU, each on a thread that only this CPU runs.
//!
//! They act at the same time, on machines where that is possible, beside the daemons. Each gives back what it has before
//! its thread ends. The shell's thread waits, ends what could last for ever, and looks for ^C. Everybody is interrupted
//! now and then between two steps, and takes a block in a handler of its own CPU, so that interrupts meet every lock.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};

use kernel::gfp::Gfp;
use kernel::mm::memory::Env;
use kernel::mm::page_alloc;
use kernel::sched::{HZ, Scheduler, ThreadId, WaitQueue};
use kernel::stress::{Limits, Stress};
use kernel::task::{Context, Current, Task, TaskKind};

use super::{Amount, Work};
use crate::command::Call;
use crate::machine::Machine;
use crate::status::Trouble;

/// Steps of a person between two pages that an interrupt handler takes.
const INTERRUPTED_EVERY: u64 = 64;
/// What an interrupt handler asks for.
const IN_HANDLER: Gfp = Gfp::GFP_ATOMIC.union(Gfp::__GFP_NOWARN);
/// Ticks after which the shell looks whether ^C was pressed.
const GLANCE: u64 = HZ / 25;

/// Room in the heap without which nobody starts: for what has no way to say that the heap is empty.
const START_BYTES: usize = 1024;
/// Why a person does not start.
const NO_TASK: &str = "there is no room for another task, or one is called stress/N; task kill makes room";

/// What the shell and the persons share.
#[derive(Default)]
struct Shared {
    /// Everybody stops.
    stop: AtomicBool,
    /// Persons who have not given everything back.
    at_work: AtomicUsize,
    operations: AtomicU64,
    /// Where the shell waits for the last of them.
    end: WaitQueue,
}

/// Puts a person at every CPU, and waits until all have gone.
pub(super) fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>, amount: Amount, seed: u64) -> Result<Work, Trouble<'a>> {
    let memory = call.shell.machine.memory();
    let cpus = call.shell.machine.nr_cpus();
    Vec::<u8>::new().try_reserve_exact(START_BYTES).map_err(|_| Trouble::OutOfHeap)?;
    let shared = Arc::new(Shared::default());
    let mut persons: Vec<(&'static Task, ThreadId)> = Vec::new();
    persons.try_reserve_exact(cpus).map_err(|_| Trouble::OutOfHeap)?;
    let share = amount.share_of(cpus as u64);
    let limits = Limits::of(memory, cpus as u64, false);
    let mut trouble = None;
    for cpu in 0..cpus {
        if call.shell.machine.cpu_time(cpu).is_none() {
            // It did not start.
            continue;
        }
        match start(call, &shared, (seed, limits), cpu, share) {
            Ok(person) => persons.push(person),
            Err(error) => {
                shared.stop.store(true, SeqCst);
                trouble = Some(error);
                break;
            }
        }
    }
    let interrupted = wait(call, &shared, &persons);
    persons.iter().for_each(|(task, _)| _ = memory.env.tasks().remove(task));
    match trouble {
        Some(trouble) => Err(trouble),
        None => Ok(Work { operations: shared.operations.load(SeqCst), persons: persons.len() as u64, interrupted }),
    }
}

/// Starts the thread of a person at `cpu`; it, and the task that it is started as. A person is large for a stack: one at a time.
#[inline(never)]
fn start<'a, M: Machine>(
    call: &mut Call<'_, 'a, M>,
    shared: &Arc<Shared>,
    (seed, limits): (u64, Limits),
    cpu: usize,
    share: Amount,
) -> Result<(&'static Task, ThreadId), Trouble<'a>> {
    let mut boxed: Vec<Stress> = Vec::new();
    boxed.try_reserve_exact(1).map_err(|_| Trouble::OutOfHeap)?;
    boxed.push(Stress::new(seed, cpu as u8, limits));
    Vec::<u8>::new().try_reserve_exact(START_BYTES).map_err(|_| Trouble::OutOfHeap)?;
    let tasks = call.shell.machine.memory().env.tasks();
    let task = tasks.spawn(&format!("stress/{cpu}"), TaskKind::Kernel).map_err(|_| Trouble::Refused(NO_TASK))?;
    task.bind_cpu(Some(cpu));
    shared.at_work.fetch_add(1, SeqCst);
    let its = shared.clone();
    let body = Box::new(move |mut machine: M| {
        let memory = machine.memory();
        boxed.iter_mut().for_each(|person| live(&mut machine, person, &its, task, share));
        drop(boxed);
        its.at_work.fetch_sub(1, SeqCst);
        its.end.wake_all(memory.env.sched());
    });
    match call.shell.machine.spawn(task, body) {
        Some(thread) => Ok((task, thread)),
        None => {
            shared.at_work.fetch_sub(1, SeqCst);
            let _ = tasks.remove(task);
            Err(Trouble::Refused("the machine has no stack left for another thread"))
        }
    }
}

/// The life of a person at a CPU, whose thread was started as `task`.
fn live<M: Machine>(machine: &mut M, person: &mut Stress, shared: &Shared, task: &Task, share: Amount) {
    let (memory, current) = (machine.memory(), Current::new(task));
    let mut steps = 0;
    while share.goes_on(steps, memory.env.sched().jiffies()) && !shared.stop.load(SeqCst) {
        person.step(memory);
        steps += 1;
        if steps % INTERRUPTED_EVERY == 0 {
            interrupt(machine, &current, steps / INTERRUPTED_EVERY);
        }
        // Offers the CPU.
        let _ = machine.interrupted();
    }
    person.give_back(memory);
    shared.operations.fetch_add(steps, SeqCst);
}

/// Takes a block in an interrupt handler of this CPU, and gives it back.
fn interrupt<M: Machine>(machine: &mut M, current: &Current<'_>, nth: u64) {
    let memory = machine.memory();
    let (context, order) = (if nth.is_multiple_of(2) { Context::SoftIrq } else { Context::HardIrq }, nth as u32 % 3);
    let (mut block, mut served) = (None, 0);
    machine.in_context(context, &mut || {
        served += 1;
        block = page_alloc::alloc_pages(memory, &current.in_context(context), IN_HANDLER, order).ok();
    });
    assert_eq!(served, 1, "times that the handler ran");
    if let Some(pfn) = block {
        let freed = page_alloc::free_pages(memory, current, pfn, order);
        assert_eq!(freed, Ok(true), "the block that an interrupt handler took");
    }
}

/// Waits for the last person; whether ^C was pressed. What a person asks for then, and would wait for, is called off.
fn wait<M: Machine>(call: &mut Call<'_, '_, M>, shared: &Shared, persons: &[(&'static Task, ThreadId)]) -> bool {
    let sched = call.shell.machine.memory().env.sched();
    let mut interrupted = false;
    while shared.at_work.load(SeqCst) > 0 {
        shared.end.wait(sched, Some(GLANCE), || shared.at_work.load(SeqCst) == 0);
        if call.shell.machine.interrupted() {
            interrupted = true;
            shared.stop.store(true, SeqCst);
            persons.iter().for_each(|(_, thread)| sched.call_off(*thread));
        }
    }
    interrupted
}
