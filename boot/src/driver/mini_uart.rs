//! The Raspberry Pi's mini UART (`brcm,bcm2835-aux-uart`), the console of a Pi whose PL011 talks to Bluetooth.
//!
//! The firmware has enabled it and set its speed (`enable_uart=1`). Reference: BCM2711 ARM peripherals, 2.2.
//!
//! Linux does more: it drives this as an 8250 with a clock of its own.

use super::mmio::Mmio;
use super::uart::Received;

const IO: u64 = 0x00;
const IER: u64 = 0x04;
const IIR: u64 = 0x08;
const LCR: u64 = 0x0c;
const LSR: u64 = 0x14;
const CNTL: u64 = 0x20;

const LSR_DATA_READY: u32 = 1 << 0;
const LSR_TX_ROOM: u32 = 1 << 5;
/// Receive interrupt. Bit 2 must be set with it, says the erratum that every driver follows.
const IER_RECEIVE: u32 = 1 << 2 | 1 << 0;
/// Clears both FIFOs.
const IIR_CLEAR: u32 = 0xc6;
/// Eight bits: two ones where an 8250 has them, too (the manual's single bit is an erratum).
const LCR_8_BITS: u32 = 3;
/// Transmitter and receiver on.
const CNTL_ON: u32 = 3;

/// One mini UART.
pub struct MiniUart(Mmio);

impl MiniUart {
    /// # Safety
    ///
    /// A mini UART must be at `base`, mapped as device memory, and used by nobody else.
    pub const unsafe fn new(base: u64) -> MiniUart {
        // SAFETY: the caller's promise, passed on.
        MiniUart(unsafe { Mmio::new(base) })
    }

    /// Sets the frame format and turns both directions on; interrupts stay off.
    pub fn init(&self) {
        self.0.write(IER, 0);
        self.0.write(LCR, LCR_8_BITS);
        self.0.write(IIR, IIR_CLEAR);
        self.0.write(CNTL, CNTL_ON);
    }

    /// Sends `byte` when there is room; a transmitter that is stuck loses it.
    pub fn put(&self, byte: u8) {
        if self.0.wait_until(LSR, |status| status & LSR_TX_ROOM != 0) {
            self.0.write(IO, u32::from(byte));
        }
    }

    /// The next byte received. This UART sees no BREAK.
    pub fn get(&self) -> Option<Received> {
        (self.0.read(LSR) & LSR_DATA_READY != 0).then(|| Received::Byte(self.0.read(IO) as u8))
    }

    /// Whether received bytes raise the interrupt. It stays raised until [`MiniUart::get`] has taken them.
    pub fn set_receive_interrupt(&self, on: bool) {
        self.0.write(IER, if on { IER_RECEIVE } else { 0 });
    }
}
