//! Arm's interrupt controller, version 3 and later (QEMU virt with `gic-version=3`).
//!
//! Distributor and redistributors are memory, the CPU interface is system registers. Everything is in group 1, with
//! affinity routing. Reference: Arm IHI 0069.
//!
//! Linux does more: message-signalled interrupts (ITS), priorities, pseudo-NMIs.

use super::mmio::Mmio;
use aarch64_cpu::asm::barrier::{SY, dsb, isb};
use aarch64_cpu::registers::{MPIDR_EL1, Readable};
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};
use kernel::mmzone::NR_CPUS;

const GICD_CTLR: u64 = 0x0000;
const GICD_IGROUPR: u64 = 0x0080;
const GICD_ISENABLER: u64 = 0x0100;
const GICD_IPRIORITYR: u64 = 0x0400;
const GICD_IROUTER: u64 = 0x6000;
/// Affinity routing and both groups on; reads as written with one security state, as far as ours goes with two.
const GICD_CTLR_ON: u32 = 1 << 4 | 1 << 1 | 1 << 0;
const GICD_CTLR_WRITE_PENDING: u32 = 1 << 31;

const GICR_TYPER: u64 = 0x0008;
const GICR_TYPER_VLPIS: u64 = 1 << 1;
const GICR_TYPER_LAST: u64 = 1 << 4;
const GICR_WAKER: u64 = 0x0014;
const GICR_WAKER_PROCESSOR_SLEEP: u32 = 1 << 1;
const GICR_WAKER_CHILDREN_ASLEEP: u32 = 1 << 2;
/// The second frame of a redistributor is laid out as a distributor for interrupts 0 to 31.
const GICR_SGI_FRAME: u64 = 0x1_0000;
const GICR_BYTES: u64 = 0x2_0000;

const FIRST_SPI: u32 = 32;
const FIRST_SPECIAL: u64 = 1020;
/// Affinity 3, 2, 1, 0 in MPIDR_EL1 and in GICD_IROUTER.
const AFFINITY: u64 = 0xff_00ff_ffff;

/// Distributor and one range of redistributors.
pub struct GicV3 {
    distributor: Mmio,
    redistributors: u64,
    redistributors_end: u64,
    /// Each CPU as ICC_SGI1R_EL1 names it.
    targets: [AtomicU64; NR_CPUS],
}

impl GicV3 {
    /// # Safety
    ///
    /// A GICv3's distributor must be at `distributor` and its redistributors in `redistributors`, mapped, and used by
    /// nobody else.
    pub const unsafe fn new(distributor: u64, redistributors: core::ops::Range<u64>) -> GicV3 {
        GicV3 {
            // SAFETY: the caller's promise, passed on.
            distributor: unsafe { Mmio::new(distributor) },
            redistributors: redistributors.start,
            redistributors_end: redistributors.end,
            targets: [const { AtomicU64::new(0) }; NR_CPUS],
        }
    }

    /// Turns the distributor on. Once.
    pub fn init(&self) {
        self.distributor.write(GICD_CTLR, GICD_CTLR_ON);
        self.distributor.wait_until(GICD_CTLR, |control| control & GICD_CTLR_WRITE_PENDING == 0);
    }

    /// Wakes this CPU's redistributor and opens its interface; it is number `number`. Once on each; `false` if it has no
    /// redistributor.
    pub fn init_cpu(&self, number: usize) -> bool {
        let mpidr = MPIDR_EL1.get();
        let cluster = (mpidr >> 32 & 0xff) << 48 | (mpidr >> 16 & 0xff) << 32 | (mpidr >> 8 & 0xff) << 16;
        self.targets[number].store(cluster | 1 << (mpidr & 0xf), Ordering::Relaxed);
        let Some(redistributor) = self.redistributor() else { return false };
        redistributor.write(GICR_WAKER, redistributor.read(GICR_WAKER) & !GICR_WAKER_PROCESSOR_SLEEP);
        let awake = redistributor.wait_until(GICR_WAKER, |waker| waker & GICR_WAKER_CHILDREN_ASLEEP == 0);
        redistributor.write(GICR_SGI_FRAME + GICD_IGROUPR, u32::MAX);
        // SAFETY: the registers of the CPU interface; entry code enabled them for EL1, SRE makes them answer.
        unsafe {
            asm!(
                "msr ICC_SRE_EL1, {enable}",
                "isb",
                "msr ICC_PMR_EL1, {all}",
                "msr ICC_BPR1_EL1, xzr",
                "msr ICC_CTLR_EL1, xzr",
                "msr ICC_IGRPEN1_EL1, {enable}",
                "isb",
                enable = in(reg) 1u64,
                all = in(reg) 0xffu64,
            );
        }
        awake
    }

    /// Lets interrupt `intid` through; one of the machine's goes to the CPU that asks.
    pub fn enable(&self, intid: u32) {
        let bit = 1 << (intid % 32);
        if intid < FIRST_SPI {
            let Some(redistributor) = self.redistributor() else { return };
            set_priority(redistributor, GICR_SGI_FRAME, intid);
            redistributor.write(GICR_SGI_FRAME + GICD_ISENABLER, bit);
            return;
        }
        let word = u64::from(intid / 32) * 4;
        let group = self.distributor.read(GICD_IGROUPR + word);
        self.distributor.write(GICD_IGROUPR + word, group | bit);
        set_priority(self.distributor, 0, intid);
        self.distributor.write64(GICD_IROUTER + u64::from(intid) * 8, MPIDR_EL1.get() & AFFINITY);
        self.distributor.write(GICD_ISENABLER + word, bit);
    }

    /// Sends CPU `number` the software interrupt `intid`, 0 to 15.
    pub fn interrupt(&self, number: usize, intid: u32) {
        let target = self.targets[number].load(Ordering::Relaxed) | u64::from(intid) << 24;
        // SAFETY: an interrupt for which `crate::irq` has a handler.
        unsafe { asm!("msr ICC_SGI1R_EL1, {}", "isb", in(reg) target) };
    }

    /// Takes the most urgent interrupt; `None` for a spurious one.
    pub fn acknowledge(&self) -> Option<u32> {
        let intid: u64;
        // SAFETY: reading the register is what acknowledging means.
        unsafe { asm!("mrs {}, ICC_IAR1_EL1", out(reg) intid) };
        dsb(SY);
        (intid < FIRST_SPECIAL).then_some(intid as u32)
    }

    /// Gives it back when it has been served.
    pub fn end(&self, intid: u32) {
        // SAFETY: the number came from `acknowledge`.
        unsafe { asm!("msr ICC_EOIR1_EL1, {}", in(reg) u64::from(intid)) };
        isb(SY);
    }

    /// This CPU's redistributor: the one with its affinity.
    fn redistributor(&self) -> Option<Mmio> {
        let mpidr = MPIDR_EL1.get();
        let affinity = mpidr >> 8 & 0xff00_0000 | mpidr & 0x00ff_ffff;
        let mut base = self.redistributors;
        while base + GICR_BYTES <= self.redistributors_end {
            // SAFETY: `new`'s caller promised redistributors in the whole range.
            let redistributor = unsafe { Mmio::new(base) };
            let kind = redistributor.read64(GICR_TYPER);
            if kind >> 32 == affinity {
                return Some(redistributor);
            }
            if kind & GICR_TYPER_LAST != 0 {
                return None;
            }
            base += if kind & GICR_TYPER_VLPIS != 0 { 2 * GICR_BYTES } else { GICR_BYTES };
        }
        None
    }
}

/// Gives `intid` a priority that is neither the highest nor masked.
fn set_priority(block: Mmio, frame: u64, intid: u32) {
    let (word, shift) = (frame + GICD_IPRIORITYR + u64::from(intid & !3), intid % 4 * 8);
    block.write(word, block.read(word) & !(0xff << shift) | 0x80 << shift);
}
