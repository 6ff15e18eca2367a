//! The machine as the allocator sees it: [`Env`] on real hardware.
//!
//! Linux does more: this is where its architecture headers are.

use crate::arch::window::Window;
use crate::arch::{cpu, timer};
use crate::linear::LinearRam;
use crate::thread::Threads;
use crate::{backtrace, smp};
use kernel::mm::memory::Env;
use kernel::mm::mmu::Mmu;
use kernel::mm::users::Users;
use kernel::sync::LocalIrq;
#[cfg(debug_assertions)]
use kernel::sync::order::HeldLocks;
use kernel::task::TaskTable;
use kernel::trace::Ring;
use spin::Once;

/// Events that are kept.
const EVENTS: usize = 1024;
/// Name of the first task, which the shell starts as.
const FIRST_TASK: &str = "sh";

static RING: Ring<EVENTS> = Ring::new();
static TASKS: Once<TaskTable> = Once::new();
static USERS: Once<Users<'static>> = Once::new();
static MODEL: Once<&str> = Once::new();

/// This machine. There is one, so it holds nothing.
pub struct Machine;

// SAFETY: with interrupts masked nothing else runs on this CPU, the scheduler included, and a CPU's number never
// changes.
unsafe impl LocalIrq for Machine {
    #[inline(always)]
    fn mask(&self) -> usize {
        cpu::mask() as usize
    }

    #[inline(always)]
    fn restore(&self, saved: usize) {
        cpu::restore(saved as u64);
    }

    #[inline(always)]
    fn cpu(&self) -> usize {
        cpu::this_cpu().number
    }

    #[cfg(debug_assertions)]
    fn held_locks(&self) -> &HeldLocks {
        &HELD[cpu::this_cpu().number]
    }
}

/// The locks that each CPU holds.
#[cfg(debug_assertions)]
static HELD: [HeldLocks; kernel::mmzone::NR_CPUS] = [const { HeldLocks::new() }; kernel::mmzone::NR_CPUS];

impl Env for Machine {
    type Irq = Machine;
    type Tracer = Ring<EVENTS>;
    type Linear = LinearRam;
    type Sched = Threads;
    type Owner = Users<'static>;

    #[inline(always)]
    fn irq(&self) -> &Machine {
        self
    }

    fn on_each_cpu(&self, work: &(dyn Fn(usize) + Sync)) {
        smp::on_each_cpu(work);
    }

    #[inline(always)]
    fn tracer(&self) -> &Ring<EVENTS> {
        &RING
    }

    fn now_ns(&self) -> u64 {
        timer::uptime_ns()
    }

    #[inline(always)]
    fn linear(&self) -> &LinearRam {
        &LinearRam
    }

    fn mmu(&self) -> Option<&dyn Mmu> {
        Some(&Window)
    }

    fn sched(&self) -> &Threads {
        &Threads
    }

    fn owner(&self) -> &Users<'static> {
        USERS.get().expect("the hand-over came first")
    }

    fn tasks(&self) -> &TaskTable {
        tasks()
    }

    fn log_call_trace(&self) {
        backtrace::log_calls();
    }

    fn hardware_name(&self) -> Option<&str> {
        MODEL.get().copied().filter(|model| !model.is_empty())
    }
}

/// Every task; the first is there from the start.
pub fn tasks() -> &'static TaskTable {
    TASKS.call_once(|| TaskTable::new(FIRST_TASK))
}

/// Every task, if there are any yet: who reports a fault has no room to make them.
pub fn tasks_so_far() -> Option<&'static TaskTable> {
    TASKS.get()
}

/// Says what the machine calls itself, which reports name. Once.
pub fn set_model(model: &'static str) {
    MODEL.call_once(|| model);
}

/// Says who uses reclaimable memory. Once.
pub fn set_users(users: Users<'static>) {
    USERS.call_once(|| users);
}
