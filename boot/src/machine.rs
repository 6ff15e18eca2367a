//! The machine as the allocator sees it: [`Env`] on real hardware.
//!
//! Linux does more: this is where its architecture headers are.

use crate::arch::{cpu, timer};
use core::{ptr, slice};
use kernel::addr::{PAGE_SIZE, Pfn};
use kernel::mm::memory::Env;
use kernel::sync::LocalIrq;
use kernel::trace::Ring;

/// Events that are kept.
const EVENTS: usize = 1024;

static RING: Ring<EVENTS> = Ring::new();

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
}

impl Env for Machine {
    type Irq = Machine;
    type Tracer = Ring<EVENTS>;

    #[inline(always)]
    fn irq(&self) -> &Machine {
        self
    }

    #[inline(always)]
    fn tracer(&self) -> &Ring<EVENTS> {
        &RING
    }

    fn now_ns(&self) -> u64 {
        timer::uptime_ns()
    }

    fn fill_pages(&self, pfn: Pfn, nr_pages: u64, byte: u8) {
        // SAFETY: the allocator asks for pages that it manages and has just taken or got back: RAM, mapped by the
        // hand-over, in nobody's use.
        unsafe { ptr::write_bytes(pfn.addr().0 as *mut u8, byte, (nr_pages * PAGE_SIZE) as usize) }
    }

    fn first_other(&self, pfn: Pfn, nr_pages: u64, byte: u8) -> Option<(u64, u8)> {
        // SAFETY: as in `fill_pages`.
        let bytes = unsafe { slice::from_raw_parts(pfn.addr().0 as *const u8, (nr_pages * PAGE_SIZE) as usize) };
        let at = bytes.iter().position(|other| *other != byte)?;
        Some((at as u64, bytes[at]))
    }
}
