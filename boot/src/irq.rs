//! Interrupts: which controller there is, which line leads to which handler, and how often each came.
//!
//! Handlers run with interrupts masked, on the interrupt stack, one after the other.
//! Linux: `kernel/irq/`, `drivers/irqchip/irq-gic.c`, `irq-gic-v3.c`.
//!
//! Linux does more: shared lines, threaded handlers, affinity.

use crate::arch::cpu;
use crate::boot_error::BootError;
use crate::devices::map_registers;
use crate::driver::gicv2::{GicV2, NUMBER};
use crate::driver::gicv3::GicV3;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use kernel::devicetree::{DeviceTree, Interrupt};
use spin::Once;
use spin::mutex::SpinMutex;

/// The software interrupt that [`in_handler`] sends.
const SOFTWARE_INTERRUPT: u32 = 0;
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
    fn enable(&self, intid: u32) {
        match self {
            Controller::V2(gic) => gic.enable(intid),
            Controller::V3(gic) => gic.enable(intid),
        }
    }

    fn interrupt_self(&self, intid: u32) {
        match self {
            Controller::V2(gic) => gic.interrupt_self(intid),
            Controller::V3(gic) => gic.interrupt_self(intid),
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
    count: AtomicU64,
}

static CONTROLLER: Once<Controller> = Once::new();
static LINES: [Once<Line>; NR_LINES] = [const { Once::new() }; NR_LINES];
/// Interrupts without a handler, and those that were gone when we asked.
static UNKNOWN: AtomicU64 = AtomicU64::new(0);
static SPURIOUS: AtomicU64 = AtomicU64::new(0);

/// Finds the interrupt controller and turns it on for this CPU.
pub fn init(tree: &DeviceTree<'static>) -> Result<(), BootError> {
    let (controller, ready) = if let Some(device) = tree.device(&GICV2) {
        let (distributor, cpu) = (map_registers(&device, 0)?, map_registers(&device, 1)?);
        // SAFETY: the device tree promises a GICv2 in these regions, `map_registers` mapped them, `Once` keeps it ours
        // alone.
        let gic = unsafe { GicV2::new(distributor.start, cpu.start) };
        gic.init();
        gic.init_cpu();
        (Controller::V2(gic), true)
    } else if let Some(device) = tree.device(&GICV3) {
        let (distributor, redistributors) = (map_registers(&device, 0)?, map_registers(&device, 1)?);
        // SAFETY: as above, of a GICv3.
        let gic = unsafe { GicV3::new(distributor.start, redistributors) };
        gic.init();
        let ready = gic.init_cpu();
        (Controller::V3(gic), ready)
    } else {
        return Err(BootError::NoDevice("interrupt controller (GICv2 or GICv3)"));
    };
    CONTROLLER.call_once(|| controller);
    if !ready {
        return Err(BootError::NoDevice("redistributor of this CPU in the GICv3"));
    }
    add(SOFTWARE_INTERRUPT, "software", run_work)
}

/// Sends `interrupt` to `handler` from now on, on this CPU.
pub fn request(interrupt: Interrupt, name: &'static str, handler: fn()) -> Result<(), BootError> {
    add(interrupt.intid(), name, handler)
}

fn add(intid: u32, name: &'static str, handler: fn()) -> Result<(), BootError> {
    let controller = CONTROLLER.get().ok_or(BootError::NoDevice("interrupt controller"))?;
    let line = LINES.iter().find(|line| line.get().is_none()).ok_or(BootError::TooManyInterrupts(name))?;
    line.call_once(|| Line { intid, name, handler, count: AtomicU64::new(0) });
    controller.enable(intid);
    Ok(())
}

/// Called by the vectors: serves the most urgent interrupt. Others that wait come as exceptions of their own.
pub fn handle() {
    let Some(controller) = CONTROLLER.get() else { return };
    let served = controller.serve(|intid| match LINES.iter().filter_map(Once::get).find(|line| line.intid == intid) {
        Some(line) => {
            line.count.fetch_add(1, Ordering::Relaxed);
            (line.handler)();
        }
        None => {
            UNKNOWN.fetch_add(1, Ordering::Relaxed);
        }
    });
    if !served {
        SPURIOUS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Work for the software interrupt, while [`in_handler`] waits for it.
static WORK: SpinMutex<Option<Work>> = SpinMutex::new(None);

/// A borrowed closure without its lifetime.
struct Work(*mut dyn FnMut());

// SAFETY: the thread that lent the closure does nothing but wait until it is back.
unsafe impl Send for Work {}

/// Runs `work` in the handler of a real interrupt, and returns when it is done. Who has interrupts masked, as a handler
/// has, would wait for ever, and runs it at once.
pub fn in_handler(work: &mut dyn FnMut()) {
    let Some(controller) = CONTROLLER.get().filter(|_| !cpu::is_masked()) else { return work() };
    let work: *mut (dyn FnMut() + '_) = work;
    // SAFETY: forgets a lifetime that outlasts this function, which returns only when nobody has the pointer any more.
    let work = Work(unsafe { core::mem::transmute::<*mut (dyn FnMut() + '_), *mut (dyn FnMut() + 'static)>(work) });
    cpu::masked(|| *WORK.lock() = Some(work));
    controller.interrupt_self(SOFTWARE_INTERRUPT);
    while cpu::masked(|| WORK.lock().is_some()) {
        core::hint::spin_loop();
    }
}

/// The software interrupt's handler.
fn run_work() {
    let work = WORK.lock().as_ref().map(|work| work.0);
    if let Some(work) = work {
        // SAFETY: `in_handler` waits in the thread that lent the closure until `WORK` is empty.
        unsafe { (*work)() };
        *WORK.lock() = None;
    }
}

/// How often each line interrupted, in one line of text.
pub struct Counts;

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in LINES.iter().filter_map(Once::get) {
            write!(f, "{} ({}) {}, ", line.name, line.intid, line.count.load(Ordering::Relaxed))?;
        }
        write!(f, "unknown {}, spurious {}", UNKNOWN.load(Ordering::Relaxed), SPURIOUS.load(Ordering::Relaxed))
    }
}
