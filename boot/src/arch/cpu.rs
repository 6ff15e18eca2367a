//! One CPU: who it is, its interrupt mask, its counter, its sleep.
//!
//! [`Cpu`] is the CPU's own block; TPIDR_EL1 points to it, and only this file and the vectors know so.
//!
//! Linux does more: per-CPU sections that are copied for each CPU; we have one struct.

use super::exception::TrapFrame;
use super::stack::{EMERGENCY_STACK, EMERGENCY_STACK_BYTES, Stack};
use aarch64_cpu::asm;
use aarch64_cpu::registers::{CNTFRQ_EL0, CNTVCT_EL0, DAIF, Readable, TPIDR_EL1};
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, Ordering};
use kernel::mmzone::NR_CPUS;
use kernel::sched::ThreadId;

/// What belongs to one CPU. The vectors read `emergency_stack` by its offset.
#[repr(C, align(64))]
pub struct Cpu {
    /// The emergency stack ([`super::stack`]).
    emergency_stack: AtomicPtr<Stack<EMERGENCY_STACK_BYTES>>,
    /// The CPU's number, 0 for the one that booted.
    pub number: usize,
    /// How far it has come: a [`State`].
    state: AtomicU8,
    /// The thread that it runs, or [`IDLE`].
    running: AtomicU8,
    /// Whether the tick asked the running thread to let others run.
    need_resched: AtomicBool,
    /// What the interrupt handler that runs interrupted: a [`TrapFrame`]; null outside of handlers.
    interrupted: AtomicPtr<TrapFrame>,
    /// Whether an interrupt handler put off work, and whether such work runs.
    softirq_raised: AtomicBool,
    softirq_runs: AtomicBool,
}

/// In [`Cpu::running`]: no thread.
const IDLE: u8 = u8::MAX;

/// How far a CPU has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum State {
    /// Nobody started it.
    Off,
    /// It was started, and did not answer yet.
    Starting,
    /// It runs threads.
    Online,
    /// It did not answer in time, and must not any more.
    GivenUp,
}

/// Every CPU by its number. The first is the one that the loader started.
pub static CPUS: [Cpu; NR_CPUS] = {
    let mut cpus = [const { Cpu::new(0) }; NR_CPUS];
    let mut number = 1;
    while number < NR_CPUS {
        cpus[number].number = number;
        number += 1;
    }
    cpus[0].emergency_stack = AtomicPtr::new((&raw const EMERGENCY_STACK).cast_mut());
    cpus[0].state = AtomicU8::new(State::Online as u8);
    cpus[0].running = AtomicU8::new(ThreadId::BOOT.0);
    cpus
};

/// The CPUs that run threads.
pub fn online() -> impl Iterator<Item = &'static Cpu> {
    CPUS.iter().filter(|cpu| cpu.is_online())
}

impl Cpu {
    /// Where the vectors find the emergency stack.
    pub const EMERGENCY_STACK: usize = offset_of!(Cpu, emergency_stack);

    const fn new(number: usize) -> Cpu {
        Cpu {
            emergency_stack: AtomicPtr::new(ptr::null_mut()),
            number,
            state: AtomicU8::new(State::Off as u8),
            running: AtomicU8::new(IDLE),
            need_resched: AtomicBool::new(false),
            interrupted: AtomicPtr::new(ptr::null_mut()),
            softirq_raised: AtomicBool::new(false),
            softirq_runs: AtomicBool::new(false),
        }
    }

    /// Whether it runs threads.
    pub fn is_online(&self) -> bool {
        self.state.load(Ordering::Acquire) == State::Online as u8
    }

    /// Goes from `from` to `to`; `false` if it is not at `from`.
    pub fn advance(&self, from: State, to: State) -> bool {
        self.state.compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Gives it its emergency stack, which starts at `address`. Before it is started.
    pub fn set_emergency_stack(&self, address: u64) {
        self.emergency_stack.store(address as *mut _, Ordering::Relaxed);
    }

    /// The thread that it runs; `None` while it idles.
    pub fn running(&self) -> Option<ThreadId> {
        let running = self.running.load(Ordering::Relaxed);
        (running != IDLE).then_some(ThreadId(running))
    }

    /// Notes that it runs `thread` from now on, which need not let others run yet.
    pub fn run(&self, thread: Option<ThreadId>) {
        self.running.store(thread.map_or(IDLE, |thread| thread.0), Ordering::Relaxed);
        self.need_resched.store(false, Ordering::Relaxed);
    }

    /// Whether the thread that it runs should let others run.
    pub fn need_resched(&self) -> bool {
        self.need_resched.load(Ordering::Relaxed)
    }

    /// Asks the thread that it runs to let others run.
    pub fn ask_to_resched(&self) {
        self.need_resched.store(true, Ordering::Relaxed);
    }

    /// Serves an interrupt that came while `frame` ran. Linux: `set_irq_regs`.
    pub fn interrupted_at(&self, frame: &mut TrapFrame, serve: impl FnOnce()) {
        let outer = self.interrupted.swap(frame, Ordering::Relaxed);
        serve();
        self.interrupted.store(outer, Ordering::Relaxed);
    }

    /// What its interrupt handler interrupted: the program counter and the frame record; `None` outside of handlers. Of
    /// this CPU, in a handler.
    pub fn interrupted(&self) -> Option<(u64, u64)> {
        let frame = self.interrupted.load(Ordering::Relaxed);
        // SAFETY: `interrupted_at` lends the frame until its handler is done, which is the caller of this.
        (!frame.is_null()).then(|| unsafe { ((*frame).registers.pc, &raw const (*frame).record as u64) })
    }

    /// The frame record of what its interrupt handler interrupted; `None` outside of handlers. Of any CPU, which may get on
    /// meanwhile: then it is the address of something else on its interrupt stack.
    pub fn interrupted_record(&self) -> Option<u64> {
        let frame = self.interrupted.load(Ordering::Relaxed);
        (!frame.is_null()).then(|| frame as u64 + offset_of!(TrapFrame, record) as u64)
    }

    /// Puts work off until the outermost interrupt handler is done. Linux: `raise_softirq`.
    pub fn raise_softirq(&self) {
        self.softirq_raised.store(true, Ordering::Relaxed);
    }

    /// Runs `work`, with interrupts let in, as often as it was put off; not when it is `work` that was interrupted. At the
    /// end of every interrupt. Linux: `irq_exit`, `__do_softirq`.
    pub fn run_softirq(&self, work: fn()) {
        if self.softirq_runs.load(Ordering::Relaxed) {
            return;
        }
        while self.softirq_raised.swap(false, Ordering::Relaxed) {
            self.softirq_runs.store(true, Ordering::Relaxed);
            // SAFETY: as in `unmask`, and `mask`.
            unsafe { core::arch::asm!("msr DAIFClr, #2") };
            work();
            mask();
            self.softirq_runs.store(false, Ordering::Relaxed);
        }
    }
}

/// The CPU that executes this. The answer holds only as long as the thread stays: mask interrupts first.
#[inline(always)]
pub fn this_cpu() -> &'static Cpu {
    // SAFETY: entry code put the address of a static into TPIDR_EL1, and nothing else writes the register.
    unsafe { &*(TPIDR_EL1.get() as *const Cpu) }
}

/// Runs `work` with interrupts masked on this CPU, then restores the mask as it was.
pub fn masked<R>(work: impl FnOnce() -> R) -> R {
    let before = mask();
    let result = work();
    restore(before);
    result
}

/// Masks interrupts; returns the mask for [`restore`].
#[inline(always)]
pub fn mask() -> u64 {
    let before = DAIF.get();
    // SAFETY: masking interrupts breaks no promise of anyone's.
    unsafe { core::arch::asm!("msr DAIFSet, #2") };
    before
}

/// Puts back the mask that [`mask`] returned.
#[inline(always)]
pub fn restore(before: u64) {
    // SAFETY: the mask was this before. No `nomem`: what was done under the mask stays before this.
    unsafe { core::arch::asm!("msr DAIF, {}", in(reg) before) };
}

/// Whether interrupts are masked on this CPU.
pub fn is_masked() -> bool {
    DAIF.is_set(DAIF::I)
}

/// Lets interrupts, debug and system errors through, whose handlers are ready. Once in each thread.
pub fn unmask() {
    // SAFETY: the vectors and their handlers are in place, says the caller.
    unsafe { core::arch::asm!("msr DAIFClr, #0xe") };
}

/// Serves the interrupts that are pending, and masks them again.
pub fn let_interrupts_in() {
    // SAFETY: as in `unmask`, and `mask`. An interrupt that is pending is taken before the barrier's end.
    unsafe { core::arch::asm!("msr DAIFClr, #2", "isb", "msr DAIFSet, #2") };
}

/// Waits for an interrupt. Returns at once when one is pending, even a masked one.
pub fn wait() {
    asm::barrier::dsb(asm::barrier::SY);
    asm::wfi();
}

/// Wakes CPUs that wait for an event, as those of a spin table do, after all that was written before.
pub fn send_event() {
    asm::barrier::dsb(asm::barrier::SY);
    asm::sev();
}

/// Waits for nothing, for good.
pub fn park() -> ! {
    masked(|| {
        loop {
            asm::wfi();
        }
    })
}

/// The virtual counter: ticks of [`frequency`] since reset, nearly.
pub fn ticks() -> u64 {
    asm::barrier::isb(asm::barrier::SY);
    CNTVCT_EL0.get()
}

/// Ticks of [`ticks`] in a second.
pub fn frequency() -> u64 {
    CNTFRQ_EL0.get()
}
