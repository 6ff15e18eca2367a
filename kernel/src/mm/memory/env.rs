//! The machine as the allocator needs it: [`Env`], through which the world enters.
//!
//! Time, interrupts, threads, the content of pages, those who own pages, and where events go. The allocator knows a page's
//! number and never its bytes; who wants them filled, copied or compared asks here. Linux: what `arch/` gives to `mm/`.

use super::owner::PageOwner;
use crate::addr::{Pfn, PhysAddr};
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

    /// Fills `nr_pages` pages at `pfn` with `byte`.
    fn fill_pages(&self, pfn: Pfn, nr_pages: u64, byte: u8);

    /// The first byte of `nr_pages` pages at `pfn` that differs from `byte`: its offset and what it is.
    fn first_other(&self, pfn: Pfn, nr_pages: u64, byte: u8) -> Option<(u64, u8)>;

    /// Copies the page `from` to the page `to`.
    fn copy_page(&self, from: Pfn, to: Pfn);

    /// Writes the page `pfn`: `word(n)` is its `n`th word of 8 bytes, lowest byte first.
    fn write_page(&self, pfn: Pfn, word: impl FnMut(usize) -> u64);

    /// Reads the page `pfn`, word by word as [`Env::write_page`] writes it.
    fn read_page(&self, pfn: Pfn, word: impl FnMut(usize, u64));

    /// The word of 8 bytes at `addr`, a multiple of 8 in a page that the caller owns, lowest byte first.
    fn read_word(&self, addr: PhysAddr) -> u64;

    /// Writes what [`Env::read_word`] reads.
    fn write_word(&self, addr: PhysAddr, word: u64);

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
