//! Arm's PL011 UART: QEMU virt, and the first UART of a Raspberry Pi.
//!
//! The line speed is the firmware's: we do not know the clock that feeds the divisor. Reference: Arm DDI 0183.
//!
//! Linux does more: DMA, modem lines, setting the speed.

use super::mmio::Mmio;
use super::uart::Received;

const DR: u64 = 0x00;
const FR: u64 = 0x18;
const LCR_H: u64 = 0x2c;
const CR: u64 = 0x30;
const IMSC: u64 = 0x38;
const ICR: u64 = 0x44;

const FR_BUSY: u32 = 1 << 3;
const FR_RX_EMPTY: u32 = 1 << 4;
const FR_TX_FULL: u32 = 1 << 5;
/// Eight bits, no parity, one stop bit, FIFOs on.
const LCR_H_8N1_FIFO: u32 = 3 << 5 | 1 << 4;
/// UART, transmitter and receiver on.
const CR_ON: u32 = 1 << 9 | 1 << 8 | 1 << 0;
/// Receive and receive-timeout interrupts.
const RX_INTERRUPTS: u32 = 1 << 6 | 1 << 4;
/// What a received word may have besides its byte.
const DR_BREAK: u32 = 1 << 10;
/// Parity and framing errors. An overrun is none: the byte is good, others before it are lost.
const DR_ERRORS: u32 = 1 << 9 | 1 << 8;

/// One PL011.
pub struct Pl011(Mmio);

impl Pl011 {
    /// # Safety
    ///
    /// A PL011 must be at `base`, mapped as device memory, and used by nobody else.
    pub const unsafe fn new(base: u64) -> Pl011 {
        // SAFETY: the caller's promise, passed on.
        Pl011(unsafe { Mmio::new(base) })
    }

    /// Sets the frame format and turns both directions on; interrupts stay off.
    pub fn init(&self) {
        self.0.wait_until(FR, |flags| flags & FR_BUSY == 0);
        self.0.write(CR, 0);
        self.0.write(IMSC, 0);
        self.0.write(ICR, 0x7ff);
        self.0.write(LCR_H, LCR_H_8N1_FIFO);
        self.0.write(CR, CR_ON);
    }

    /// Sends `byte` when there is room; a transmitter that is stuck loses it.
    pub fn put(&self, byte: u8) {
        if self.0.wait_until(FR, |flags| flags & FR_TX_FULL == 0) {
            self.0.write(DR, u32::from(byte));
        }
    }

    /// What was received next; a byte that arrived damaged is `?`.
    pub fn get(&self) -> Option<Received> {
        if self.0.read(FR) & FR_RX_EMPTY != 0 {
            return None;
        }
        let word = self.0.read(DR);
        Some(match word {
            _ if word & DR_BREAK != 0 => Received::Break,
            _ if word & DR_ERRORS != 0 => Received::Byte(b'?'),
            _ => Received::Byte(word as u8),
        })
    }

    /// Whether received bytes raise the interrupt. It stays raised until [`Pl011::get`] has taken them.
    pub fn set_receive_interrupt(&self, on: bool) {
        self.0.write(IMSC, if on { RX_INTERRUPTS } else { 0 });
    }
}
