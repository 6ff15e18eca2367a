//! The other CPUs: which there are, how they are started, and how they are called.
//!
//! They get numbers in the tree's order, the one that booted first. Each is started by its own method, PSCI or a word that
//! it polls, and has a second to answer; one that does not is reported and left alone. From then on it waits for threads
//! in its idle loop. Linux: `arch/arm64/kernel/smp.c`, `psci.c`, `smp_spin_table.c`, `kernel/smp.c`.
//!
//! Linux does more: it unplugs CPUs, and starts them again.

use crate::arch::cpu::{self, CPUS, State};
use crate::arch::{entry, mmu, pmu, secondary};
use crate::irq;
use crate::lock::Lock;
use crate::lockup;
use crate::stacks;
use crate::thread::{self, Threads};
use core::fmt;
use kernel::addr::PhysAddr;
use kernel::bootargs::BootArgs;
use kernel::devicetree::{Conduit, Cpu, DeviceTree, EnableMethod};
use kernel::mmzone::NR_CPUS;
use kernel::sched::{HZ, WaitQueue};
use kernel::sync::Class;
use kernel::sync::call::Round;

/// Ticks that a CPU has to answer.
const PATIENCE: u64 = HZ;

/// Where the boot thread waits for a CPU to come online.
static ONLINE: WaitQueue = WaitQueue::new();

/// The CPUs that may run, by their numbers. Linux: `cpu_possible_mask`.
pub fn possible(tree: &DeviceTree<'static>, args: &BootArgs<'_>) -> impl Iterator<Item = Cpu> {
    let boot = secondary::affinity();
    let this = tree.cpus().find(|cpu| cpu.mpidr == boot);
    let this = this.unwrap_or(Cpu { mpidr: boot, node: None, enable: EnableMethod::None });
    let others = tree.cpus().filter(move |cpu| cpu.mpidr != boot);
    core::iter::once(this).chain(others).take(args.nr_cpus.unwrap_or(NR_CPUS).clamp(1, NR_CPUS))
}

/// Starts the other CPUs. Interrupts must be on.
pub fn bring_up(tree: &DeviceTree<'static>, args: &BootArgs<'_>) {
    let limit = args.max_cpus.unwrap_or(NR_CPUS).max(1);
    for (number, cpu) in possible(tree, args).enumerate().take(limit).skip(1) {
        match start(number, &cpu, tree.psci()) {
            Ok(()) => log::debug!("CPU{number}: Booted secondary processor {:#012x}", cpu.mpidr),
            Err(error) => log::error!("CPU{number}: failed to come online: {error}"),
        }
    }
    let described = tree.cpus().count();
    if described > 1 {
        log::info!("smp: Brought up {} of {described} CPUs", cpu::online().count());
    }
}

/// Processors from number 0 to the last that runs.
pub fn nr_cpus() -> usize {
    cpu::online().map(|cpu| cpu.number + 1).max().unwrap_or(1)
}

/// Why a CPU does not run.
enum StartError {
    /// The tree does not say how to start it.
    NoMethod,
    /// Its stacks were not set aside.
    NoStacks,
    /// It is started by PSCI, which the tree does not have.
    NoFirmware,
    /// The firmware refused.
    Refused(smccc::psci::Error),
    /// The word that it polls is out of reach.
    Unreachable(mmu::OutOfTables),
    /// It was started and did not answer.
    Silent,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::NoMethod => f.write_str("the device tree does not say how to start it"),
            StartError::NoStacks => f.write_str("no stacks were set aside for it"),
            StartError::NoFirmware => f.write_str("PSCI should start it, and the device tree has none"),
            StartError::Refused(error) => write!(f, "PSCI refuses: {error}"),
            StartError::Unreachable(error) => write!(f, "the word that it polls: {error}"),
            StartError::Silent => write!(f, "no answer within {PATIENCE} ticks"),
        }
    }
}

/// Starts CPU `number` and waits until it is online. Linux: `__cpu_up`.
fn start(number: usize, cpu: &Cpu, conduit: Option<Conduit>) -> Result<(), StartError> {
    let stacks = stacks::of_cpu(number).ok_or(StartError::NoStacks)?;
    let entry = secondary::prepare(number, cpu.mpidr, stacks);
    CPUS[number].advance(State::Off, State::Starting);
    match cpu.enable {
        EnableMethod::Psci => ask_firmware(conduit.ok_or(StartError::NoFirmware)?, cpu.mpidr, entry)?,
        EnableMethod::SpinTable { release } => write_release(release, entry)?,
        EnableMethod::None => return Err(StartError::NoMethod),
    }
    ONLINE.wait(&Threads, Some(PATIENCE), || CPUS[number].is_online());
    if CPUS[number].advance(State::Starting, State::GivenUp) { Err(StartError::Silent) } else { Ok(()) }
}

fn ask_firmware(conduit: Conduit, mpidr: u64, entry: u64) -> Result<(), StartError> {
    let refused = match conduit {
        Conduit::Hvc => smccc::psci::cpu_on::<smccc::Hvc>(mpidr, entry, 0),
        Conduit::Smc => smccc::psci::cpu_on::<smccc::Smc>(mpidr, entry, 0),
    };
    refused.map_err(StartError::Refused)
}

/// Writes `entry` where the CPU polls for it, with its caches off, and wakes it from WFE.
fn write_release(release: PhysAddr, entry: u64) -> Result<(), StartError> {
    let release = release.0;
    // SAFETY: the device tree says that this word is memory that the CPU polls.
    unsafe { mmu::map(release..release + 8, mmu::Kind::Ram) }.map_err(StartError::Unreachable)?;
    // SAFETY: mapped, and meant to be written; the word is aligned wherever a CPU can poll it.
    unsafe {
        (release as *mut u64).write_volatile(entry);
        entry::clean_data_cache(release, release + 8);
    }
    cpu::send_event();
    Ok(())
}

/// Where the other CPUs arrive, on their idle stacks, interrupts masked. Linux: `secondary_start_kernel`.
pub extern "C" fn secondary_main() -> ! {
    let this = cpu::this_cpu();
    if !irq::init_cpu() || !this.advance(State::Starting, State::Online) {
        cpu::park();
    }
    pmu::init();
    lockup::start();
    thread::join();
    cpu::unmask();
    cpu::mask();
    ONLINE.wake_all(&Threads);
    thread::idle()
}

/// A borrowed function without its lifetime.
#[derive(Clone, Copy)]
struct Call(*const (dyn Fn(usize) + Sync));

// SAFETY: what it points to may be called from every CPU, and `on_each_cpu` lends it until all have.
unsafe impl Send for Call {}

/// One call at a time.
static CALLER: Lock<()> = Lock::new(Class::Calls, ());
/// What the others are to do, and who has not done it.
static CALL: Lock<Option<Call>> = Lock::new(Class::Machine, None);
static ROUND: Round = Round::new();

/// Runs `work` on every CPU with that CPU's number, and returns when all are done: on the others in an interrupt handler,
/// here with interrupts masked. Not from an interrupt handler. Linux: `on_each_cpu`.
pub fn on_each_cpu(work: &(dyn Fn(usize) + Sync)) {
    assert!(!cpu::is_masked(), "other CPUs are called with interrupts masked");
    let caller = CALLER.lock();
    let call: *const (dyn Fn(usize) + Sync + '_) = work;
    // SAFETY: forgets a lifetime that outlasts this function, which returns only when nobody has the pointer any more.
    let call = unsafe {
        core::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync + 'static)>(call)
    };
    cpu::masked(|| {
        *CALL.lock() = Some(Call(call));
        let this = cpu::this_cpu().number;
        let others = || cpu::online().map(|cpu| cpu.number).filter(|number| *number != this);
        ROUND.ask(others().map(|number| 1 << number).sum());
        others().for_each(|number| irq::interrupt(number, irq::CALL_FUNCTION));
        work(this);
    });
    while !ROUND.is_over() {
        core::hint::spin_loop();
    }
    drop(caller);
}

/// The handler of [`irq::CALL_FUNCTION`].
pub fn answer_call() {
    let this = cpu::this_cpu().number;
    ROUND.answer(this, || {
        let call = *CALL.lock();
        if let Some(call) = call {
            // SAFETY: we have been asked and have not answered, so `on_each_cpu` waits for us in the thread that lent the
            // function.
            unsafe { (*call.0)(this) };
        }
    });
}
