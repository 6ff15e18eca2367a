//! Stacks that are not part of the image: those of threads, and of every CPU but the one that booted.
//!
//! They lie in RAM that the hand-over sets aside before it maps the rest, in units of [`UNIT`]: one for each thread, one
//! for the three stacks of each CPU. The lowest page of each stack is a guard; nobody clears the others. [`Overflow`] tells
//! whose guard was hit. Neighbour: [`crate::arch::stack`], the image's own.
//!
//! Linux does more: it allocates threads' stacks from vmalloc, and a CPU's from its own node.

use crate::arch::mmu::{self, Kind, OutOfTables};
use crate::arch::stack::{
    self, BOOT_STACK_BYTES, EMERGENCY_STACK_BYTES, GUARD_BYTES, IDLE_STACK_BYTES, INTERRUPT_STACK_BYTES,
};
use crate::thread;
use core::fmt;
use core::ops::Range;
use kernel::sched::ThreadId;
use spin::Once;

/// Bytes of a thread's stack, or of a CPU's three; guards included.
pub const UNIT: u64 = 64 << 10;

const _: () = assert!(EMERGENCY_STACK_BYTES + INTERRUPT_STACK_BYTES + IDLE_STACK_BYTES == UNIT as usize);

/// What was set aside: the threads' units, then those of the CPUs from number 1 on.
struct Reserve {
    base: u64,
    threads: u64,
    cpus: u64,
}

static RESERVE: Once<Reserve> = Once::new();

/// Makes `ram` the stacks of so many threads, and of as many CPUs as find room behind them. Once, before RAM is mapped:
/// what is mapped first stays, here the guards.
pub fn reserve(ram: &Range<u64>, threads: u32) -> Result<(), OutOfTables> {
    let threads = u64::from(threads);
    let reserve =
        RESERVE.call_once(|| Reserve { base: ram.start, threads, cpus: (ram.end - ram.start) / UNIT - threads });
    for (guard, _) in reserve.guards() {
        // SAFETY: a guard may be anywhere.
        unsafe { mmu::map(guard..guard + GUARD_BYTES, Kind::Guard)? };
    }
    Ok(())
}

/// The end of the stack of `thread`, which is not the boot thread; `None` if none is left for it.
pub fn of_thread(thread: ThreadId) -> Option<u64> {
    let (reserve, n) = (RESERVE.get()?, u64::from(thread.0).checked_sub(1)?);
    (n < reserve.threads).then(|| reserve.unit(n + 1))
}

/// The stacks of a CPU.
#[derive(Clone, Copy)]
pub struct CpuStacks {
    /// Lowest address of the emergency stack, which is its guard.
    pub emergency: u64,
    /// End of the interrupt stack.
    pub interrupt_end: u64,
    /// End of the stack on which it idles.
    pub idle_end: u64,
}

/// The stacks of CPU `number`, which is not the one that booted; `None` if none are left for it.
pub fn of_cpu(number: usize) -> Option<CpuStacks> {
    let (reserve, n) = (RESERVE.get()?, (number as u64).checked_sub(1)?);
    let [emergency, _, idle] = (n < reserve.cpus).then(|| reserve.cpu(n))?;
    Some(CpuStacks { emergency, interrupt_end: idle, idle_end: emergency + UNIT })
}

/// The stack that CPU `cpu` is on, guard not included: that of its interrupts if `in_handler`, else that of `running`, or
/// that on which it idles. `None` for stacks that were never set aside.
pub fn in_use(cpu: usize, running: Option<ThreadId>, in_handler: bool) -> Option<Range<u64>> {
    let (end, bytes) = match (running, in_handler, cpu) {
        (_, true, 0) => (stack::INTERRUPT_STACK.end(), INTERRUPT_STACK_BYTES),
        (_, true, _) => (of_cpu(cpu)?.interrupt_end, INTERRUPT_STACK_BYTES),
        (Some(ThreadId::BOOT), ..) => (stack::BOOT_STACK.end(), BOOT_STACK_BYTES),
        (Some(thread), ..) => (of_thread(thread)?, UNIT as usize),
        (None, _, 0) => (stack::IDLE_STACK.end(), IDLE_STACK_BYTES),
        (None, ..) => (of_cpu(cpu)?.idle_end, IDLE_STACK_BYTES),
    };
    Some(end - bytes as u64 + GUARD_BYTES..end)
}

impl Reserve {
    fn unit(&self, n: u64) -> u64 {
        self.base + n * UNIT
    }

    /// The guards of the emergency, interrupt and idle stack of the `n`th CPU.
    fn cpu(&self, n: u64) -> [u64; 3] {
        let emergency = self.unit(self.threads + n);
        let interrupt = emergency + EMERGENCY_STACK_BYTES as u64;
        [emergency, interrupt, interrupt + INTERRUPT_STACK_BYTES as u64]
    }

    fn guards(&self) -> impl Iterator<Item = (u64, Overflow)> {
        let thread = |n| (self.unit(n), Overflow::Thread(ThreadId(n as u8 + 1)));
        let cpu = |n: u64| {
            let [emergency, interrupt, idle] = self.cpu(n);
            let whose = |name| Overflow::Cpu(n as usize + 1, name);
            [(emergency, whose("emergency stack")), (interrupt, whose("interrupt stack")), (idle, whose("idle stack"))]
        };
        (0..self.threads).map(thread).chain((0..self.cpus).flat_map(cpu))
    }
}

/// A stack that overflowed.
#[derive(Clone, Copy)]
pub enum Overflow {
    /// One of the image's.
    Image(&'static str),
    /// A thread's.
    Thread(ThreadId),
    /// One of the CPU with this number.
    Cpu(usize, &'static str),
}

impl Overflow {
    /// The stack in whose guard page `address` lies.
    pub fn at(address: u64) -> Option<Overflow> {
        let image = stack::guards().into_iter().map(|(guard, name)| (guard, Overflow::Image(name)));
        let others = RESERVE.get().into_iter().flat_map(Reserve::guards);
        let hit = image.chain(others).find(|(guard, _)| (*guard..guard + GUARD_BYTES).contains(&address));
        hit.map(|(_, whose)| whose)
    }
}

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Overflow::Image(name) => write!(f, "the {name} overflowed"),
            Overflow::Thread(thread) => write!(f, "the stack of thread {} overflowed", thread::name(*thread)),
            Overflow::Cpu(number, name) => write!(f, "the {name} of CPU {number} overflowed"),
        }
    }
}
