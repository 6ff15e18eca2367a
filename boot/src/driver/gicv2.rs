//! Arm's interrupt controller, version 2 (GIC-400 on a Pi 4, QEMU virt by default).
//!
//! We may be the non-secure side of a GIC with security extensions (a real Pi) or the only side of one without
//! (QEMU): bit 0 of both control registers turns our interrupts on in either case. Reference: Arm IHI 0048B.
//!
//! Linux does more: priorities, edge configuration, virtualisation.

use super::mmio::Mmio;
use core::sync::atomic::{AtomicU8, Ordering};
use kernel::mmzone::NR_CPUS;

const GICD_CTLR: u64 = 0x000;
const GICD_ISENABLER: u64 = 0x100;
const GICD_IPRIORITYR: u64 = 0x400;
const GICD_ITARGETSR: u64 = 0x800;
const GICD_SGIR: u64 = 0xf00;
const GICC_CTLR: u64 = 0x000;
const GICC_PMR: u64 = 0x004;
const GICC_IAR: u64 = 0x00c;
const GICC_EOIR: u64 = 0x010;

/// The number in an acknowledged word.
pub const NUMBER: u32 = 0x3ff;
/// Interrupts below this one belong to a CPU, those from here on to the machine.
const FIRST_SPI: u32 = 32;
/// From here on an acknowledged number means that there was none.
const FIRST_SPECIAL: u32 = 1020;

/// Distributor and CPU interface; the latter shows each CPU its own.
pub struct GicV2 {
    distributor: Mmio,
    cpu: Mmio,
    /// The bit by which the distributor knows each CPU.
    targets: [AtomicU8; NR_CPUS],
}

impl GicV2 {
    /// # Safety
    ///
    /// A GICv2's distributor and CPU interface must be at these addresses, mapped, and used by nobody else.
    pub const unsafe fn new(distributor: u64, cpu: u64) -> GicV2 {
        // SAFETY: the caller's promise, passed on.
        let (distributor, cpu) = unsafe { (Mmio::new(distributor), Mmio::new(cpu)) };
        GicV2 { distributor, cpu, targets: [const { AtomicU8::new(0) }; NR_CPUS] }
    }

    /// Turns the distributor on. Once.
    pub fn init(&self) {
        self.distributor.write(GICD_CTLR, 1);
    }

    /// Lets interrupts of every priority through to this CPU, which is number `number`. Once on each; always `true`.
    pub fn init_cpu(&self, number: usize) -> bool {
        // The first eight targets are read-only and say which bit is this CPU; a machine with one CPU may say nothing.
        let this_cpu = self.distributor.read(GICD_ITARGETSR) as u8;
        self.targets[number].store(this_cpu.max(1), Ordering::Relaxed);
        self.cpu.write(GICC_PMR, 0xff);
        self.cpu.write(GICC_CTLR, 1);
        true
    }

    /// Lets interrupt `intid` through; one of the machine's goes to the CPU that asks.
    pub fn enable(&self, intid: u32) {
        self.set_byte(GICD_IPRIORITYR, intid, 0x80);
        if intid >= FIRST_SPI {
            let this_cpu = self.distributor.read(GICD_ITARGETSR) as u8;
            self.set_byte(GICD_ITARGETSR, intid, this_cpu.max(1));
        }
        self.distributor.write(GICD_ISENABLER + u64::from(intid / 32) * 4, 1 << (intid % 32));
    }

    /// Sends CPU `number` the software interrupt `intid`, 0 to 15.
    pub fn interrupt(&self, number: usize, intid: u32) {
        let target = self.targets[number].load(Ordering::Relaxed);
        self.distributor.write(GICD_SGIR, u32::from(target) << 16 | intid);
    }

    /// Takes the most urgent interrupt; `None` for a spurious one. Bits 0 to 9 are its number; a software interrupt's
    /// sender is above them, and [`GicV2::end`] wants it back.
    pub fn acknowledge(&self) -> Option<u32> {
        let word = self.cpu.read(GICC_IAR);
        (word & NUMBER < FIRST_SPECIAL).then_some(word)
    }

    /// Gives back what [`GicV2::acknowledge`] took, when it has been served.
    pub fn end(&self, word: u32) {
        self.cpu.write(GICC_EOIR, word);
    }

    /// Sets byte `intid` of the array of bytes at `array`, by words.
    fn set_byte(&self, array: u64, intid: u32, value: u8) {
        let (word, shift) = (array + u64::from(intid & !3), intid % 4 * 8);
        let others = self.distributor.read(word) & !(0xff << shift);
        self.distributor.write(word, others | u32::from(value) << shift);
    }
}
