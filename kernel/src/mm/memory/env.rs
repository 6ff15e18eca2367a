//! The machine as the allocator needs it: [`Env`], through which the world enters.
//!
//! Time, interrupts, threads, the content of pages ([`LinearMap`]), those who own pages, and where events go. Linux: what
//! `arch/` gives to `mm/`.

use super::linear::LinearMap;
use super::owner::PageOwner;
use crate::mm::mmu::Mmu;
use crate::sched::Scheduler;
use crate::sync::LocalIrq;
use crate::task::TaskTable;
use crate::trace::Tracer;

/// The machine as the allocator needs it. Host and target implement it; so may a test. Its CPUs and threads share it.
pub trait Env: Sync {
    /// The CPU that runs the caller.
    type Irq: LocalIrq;
    /// Where events go.
    type Tracer: Tracer;

    /// The CPU that runs the caller.
    fn irq(&self) -> &Self::Irq;

    /// Runs `work` on every CPU with that CPU's number, and returns when all are done: on the others in an interrupt
    /// handler, here with interrupts masked. Not from an interrupt handler. Linux: `on_each_cpu`.
    fn on_each_cpu(&self, work: &(dyn Fn(usize) + Sync)) {
        let pin = self.irq().pin();
        work(pin.cpu());
    }

    /// Where events go.
    fn tracer(&self) -> &Self::Tracer;

    /// Time since the machine started, in nanoseconds.
    fn now_ns(&self) -> u64;

    /// RAM, as far as it has addresses.
    type Linear: LinearMap;

    /// The content of pages.
    fn linear(&self) -> &Self::Linear;

    /// The translation tables of the kernel's address space, if the machine has any; else all of RAM is in the linear map,
    /// and nothing can be mapped elsewhere.
    fn mmu(&self) -> Option<&dyn Mmu> {
        None
    }

    /// Threads.
    type Sched: Scheduler;

    /// Who runs, and who waits.
    fn sched(&self) -> &Self::Sched;

    /// Those who own pages.
    type Owner: PageOwner;

    /// Those who own pages on LRU lists, and movable ones.
    fn owner(&self) -> &Self::Owner;

    /// Every task.
    fn tasks(&self) -> &TaskTable;

    /// What the machine calls itself in its device tree, if it has one: the model.
    fn hardware_name(&self) -> Option<&str> {
        None
    }

    /// Logs which calls led to this one, innermost first, if the machine knows. Linux: `dump_backtrace`.
    fn log_call_trace(&self) {}
}
