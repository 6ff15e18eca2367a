//! Interrupts: which controller there is, which line leads to which handler, and how often each came.
//!
//! Handlers run with interrupts masked, on the interrupt stack, one after the other; behind them, still on that stack but
//! with interrupts let in, what they put off: softirqs.
//! Linux: `kernel/irq/`, `kernel/softirq.c`, `drivers/irqchip/irq-gic.c`, `irq-gic-v3.c`.
//!
//! Linux does more: shared lines, threaded handlers, affinity, ten kinds of softirqs, and a thread for too many of them.

use crate::arch::cpu;
use crate::boot_error::BootError;
use crate::devices::map_registers;
use crate::driver::gicv2::{GicV2, NUMBER};
use crate::driver::gicv3::GicV3;
use crate::lock::Lock;
use crate::{smp, thread};
use aarch64_cpu::asm::barrier::{ISHST, dsb};
use core::sync::atomic::{AtomicU64, Ordering};
use core::{array, fmt};
use kernel::devicetree::{DeviceTree, Interrupt};
use kernel::mmzone::NR_CPUS;
use kernel::proc::interrupts::{self, Origin};
use kernel::sync::Class;
use spin::Once;

/// The software interrupt by which a CPU learns that there is a thread for it. All have the numbers that Linux gives them.
pub const RESCHEDULE: u32 = 0;
/// The one by which a CPU is asked to do something at once.
pub const CALL_FUNCTION: u32 = 1;
/// The one that stops a CPU when another one reports the end.
const STOP: u32 = 2;
/// One that has no handler.
pub const UNSERVED: u32 = 4;
/// The one that [`run_as`] sends.
const WORK_INTERRUPT: u32 = 5;
/// Software interrupts are below this one.
const FIRST_DEVICE: u32 = 16;
/// Interrupts below this one are each CPU's own.
const FIRST_SHARED: u32 = 32;
/// Lines that can have handlers.
const NR_LINES: usize = 8;
/// Compatible strings of version 2, of which GIC-400 is one.
const GICV2: [&str; 4] = ["arm,gic-400", "arm,cortex-a15-gic", "arm,cortex-a9-gic", "arm,cortex-a7-gic"];
/// Compatible string of version 3 and its successors.
const GICV3: [&str; 1] = ["arm,gic-v3"];

enum Controller {
    V2(GicV2),
    V3(GicV3),
}

impl Controller {
    /// What Linux calls it in /proc/interrupts.
    const fn name(&self) -> &'static str {
        match self {
            Controller::V2(_) => "GICv2",
            Controller::V3(_) => "GICv3",
        }
    }

    fn enable(&self, intid: u32) {
        match self {
            Controller::V2(gic) => gic.enable(intid),
            Controller::V3(gic) => gic.enable(intid),
        }
    }

    fn init_cpu(&self, number: usize) -> bool {
        match self {
            Controller::V2(gic) => gic.init_cpu(number),
            Controller::V3(gic) => gic.init_cpu(number),
        }
    }

    fn interrupt(&self, number: usize, intid: u32) {
        match self {
            Controller::V2(gic) => gic.interrupt(number, intid),
            Controller::V3(gic) => gic.interrupt(number, intid),
        }
    }

    /// Takes the most urgent interrupt, has it served by its number, and gives it back. `false` if there was none.
    fn serve(&self, serve: impl FnOnce(u32)) -> bool {
        match self {
            Controller::V2(gic) => {
                let Some(word) = gic.acknowledge() else { return false };
                serve(word & NUMBER);
                gic.end(word);
            }
            Controller::V3(gic) => {
                let Some(intid) = gic.acknowledge() else { return false };
                serve(intid);
                gic.end(intid);
            }
        }
        true
    }
}

/// A line with its handler.
struct Line {
    intid: u32,
    name: &'static str,
    handler: fn(),
    /// How often it came, on each CPU.
    counts: [AtomicU64; NR_CPUS],
}

static CONTROLLER: Once<Controller> = Once::new();
static LINES: [Once<Line>; NR_LINES] = [const { Once::new() }; NR_LINES];
/// Interrupts without a handler, and those that were gone when we asked.
static UNKNOWN: AtomicU64 = AtomicU64::new(0);
static SPURIOUS: AtomicU64 = AtomicU64::new(0);

/// Finds the interrupt controller and turns it on for this CPU.
pub fn init(tree: &DeviceTree<'static>) -> Result<(), BootError> {
    let controller = if let Some(device) = tree.device(&GICV2) {
        let (distributor, cpu) = (map_registers(&device, 0)?, map_registers(&device, 1)?);
        // SAFETY: the device tree promises a GICv2 in these regions, `map_registers` mapped them, `Once` keeps it ours
        // alone.
        let gic = unsafe { GicV2::new(distributor.start, cpu.start) };
        gic.init();
        Controller::V2(gic)
    } else if let Some(device) = tree.device(&GICV3) {
        let (distributor, redistributors) = (map_registers(&device, 0)?, map_registers(&device, 1)?);
        // SAFETY: as above, of a GICv3.
        let gic = unsafe { GicV3::new(distributor.start, redistributors) };
        gic.init();
        Controller::V3(gic)
    } else {
        return Err(BootError::NoDevice("interrupt controller (GICv2 or GICv3)"));
    };
    let controller = CONTROLLER.call_once(|| controller);
    if !controller.init_cpu(cpu::this_cpu().number) {
        return Err(BootError::NoDevice("redistributor of this CPU in the GICv3"));
    }
    add(RESCHEDULE, "Rescheduling interrupts", thread::notice)?;
    add(CALL_FUNCTION, "Function call interrupts", smp::answer_call)?;
    add(STOP, "CPU stop interrupts", || cpu::park())?;
    add(WORK_INTERRUPT, "IRQ work interrupts", run_work)
}

/// Turns the controller on for one of the other CPUs, which calls this, and lets its own interrupts through; whether that
/// was possible.
pub fn init_cpu() -> bool {
    let Some(controller) = CONTROLLER.get() else { return false };
    let ready = controller.init_cpu(cpu::this_cpu().number);
    let own = LINES.iter().filter_map(Once::get).filter(|line| line.intid < FIRST_SHARED);
    own.for_each(|line| controller.enable(line.intid));
    ready
}

/// Stops every other CPU, for good. Linux: `smp_send_stop`.
pub fn stop_others() {
    let this = cpu::this_cpu().number;
    cpu::online().filter(|cpu| cpu.number != this).for_each(|cpu| interrupt(cpu.number, STOP));
}

/// Sends the software interrupt `intid` to CPU `number`, which sees all that was written before.
pub fn interrupt(number: usize, intid: u32) {
    if let Some(controller) = CONTROLLER.get() {
        dsb(ISHST);
        controller.interrupt(number, intid);
    }
}

/// Sends `interrupt` to `handler` from now on, on this CPU.
pub fn request(interrupt: Interrupt, name: &'static str, handler: fn()) -> Result<(), BootError> {
    add(interrupt.intid(), name, handler)
}

fn add(intid: u32, name: &'static str, handler: fn()) -> Result<(), BootError> {
    let controller = CONTROLLER.get().ok_or(BootError::NoDevice("interrupt controller"))?;
    let line = LINES.iter().find(|line| line.get().is_none()).ok_or(BootError::TooManyInterrupts(name))?;
    line.call_once(|| Line { intid, name, handler, counts: [const { AtomicU64::new(0) }; NR_CPUS] });
    controller.enable(intid);
    Ok(())
}

/// Called by the vectors: serves the most urgent interrupt. Others that wait come as exceptions of their own.
pub fn handle() {
    let Some(controller) = CONTROLLER.get() else { return };
    let served = controller.serve(|intid| match LINES.iter().filter_map(Once::get).find(|line| line.intid == intid) {
        Some(line) => {
            line.counts[cpu::this_cpu().number].fetch_add(1, Ordering::Relaxed);
            (line.handler)();
        }
        None => {
            UNKNOWN.fetch_add(1, Ordering::Relaxed);
        }
    });
    if !served {
        SPURIOUS.fetch_add(1, Ordering::Relaxed);
    }
    cpu::this_cpu().run_softirq(do_work);
}

/// Each CPU's work for its software interrupt, while [`run_as`] waits for it there: several CPUs may at a time.
static WORK: [Lock<Option<Work>>; NR_CPUS] = [const { Lock::new(Class::Machine, None) }; NR_CPUS];

/// Where an interrupt does what it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Half {
    /// In the handler: a hard interrupt.
    Top,
    /// Behind it: a softirq.
    Bottom,
}

/// A borrowed closure without its lifetime.
#[derive(Clone, Copy)]
struct Work {
    run: *mut dyn FnMut(),
    half: Half,
}

// SAFETY: the thread that lent the closure does nothing but wait until it is back.
unsafe impl Send for Work {}

/// Looks at the work of this CPU, or changes it.
fn work_here<R>(with: impl FnOnce(&mut Option<Work>) -> R) -> R {
    cpu::masked(|| with(&mut WORK[cpu::this_cpu().number].lock()))
}

/// Runs `work` in either half of a real interrupt of this CPU, and returns when it is done. The caller keeps the CPU
/// meanwhile, so there is one at a time. Who has interrupts masked, as a handler has, would wait for ever, and runs it at
/// once.
pub fn run_as(half: Half, work: &mut dyn FnMut()) {
    if CONTROLLER.get().is_none() || cpu::is_masked() {
        return work();
    }
    let run: *mut (dyn FnMut() + '_) = work;
    // SAFETY: forgets a lifetime that outlasts this function, which returns only when nobody has the pointer any more.
    let run = unsafe { core::mem::transmute::<*mut (dyn FnMut() + '_), *mut (dyn FnMut() + 'static)>(run) };
    work_here(|here| *here = Some(Work { run, half }));
    interrupt(cpu::this_cpu().number, WORK_INTERRUPT);
    while work_here(|here| here.is_some()) {
        core::hint::spin_loop();
    }
}

/// The software interrupt's handler.
fn run_work() {
    match work_here(|here| *here) {
        Some(Work { half: Half::Bottom, .. }) => cpu::this_cpu().raise_softirq(),
        _ => do_work(),
    }
}

/// Does the work that waits, in whichever half.
fn do_work() {
    if let Some(work) = work_here(|here| *here) {
        // SAFETY: `run_as` waits on this CPU, in the thread that lent the closure, until there is no work here; nobody
        // else runs it, for the interrupt was ours alone, and is served once.
        unsafe { (*work.run)() };
        work_here(|here| *here = None);
    }
}

/// The `n`th interrupt: devices, then software interrupts, then what nobody serves.
pub fn nth(n: usize) -> Option<interrupts::Interrupt> {
    let of = |is_device: bool| {
        let lines = LINES.iter().filter_map(Once::get);
        lines.filter(move |line| (line.intid >= FIRST_DEVICE) == is_device)
    };
    let lines = of(true).chain(of(false)).map(Line::shown);
    let mut counts = [0; NR_CPUS];
    counts[0] = UNKNOWN.load(Ordering::Relaxed) + SPURIOUS.load(Ordering::Relaxed);
    lines.chain([interrupts::Interrupt { origin: Origin::Unknown, name: "unknown or spurious", counts }]).nth(n)
}

impl Line {
    fn shown(&self) -> interrupts::Interrupt {
        let controller = CONTROLLER.get().map_or("", Controller::name);
        let origin = match self.intid {
            FIRST_DEVICE.. => Origin::Device { controller, input: self.intid },
            number => Origin::Cpu(number),
        };
        let counts = array::from_fn(|cpu| self.counts[cpu].load(Ordering::Relaxed));
        interrupts::Interrupt { origin, name: self.name, counts }
    }
}

/// How often each line interrupted, in one line of text.
pub struct Counts;

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in LINES.iter().filter_map(Once::get) {
            let count: u64 = line.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum();
            write!(f, "{} ({}) {count}, ", line.name, line.intid)?;
        }
        write!(f, "unknown {}, spurious {}", UNKNOWN.load(Ordering::Relaxed), SPURIOUS.load(Ordering::Relaxed))
    }
}
