//! The UARTs that we drive, as one type.
//!
//! Linux does more: `uart_ops`, a table of some thirty functions.

use super::mini_uart::MiniUart;
use super::pl011::Pl011;

/// What comes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    /// A byte.
    Byte(u8),
    /// The line was held low for longer than any byte: a person wants attention.
    Break,
}

/// The UARTs that we drive.
pub enum Uart {
    /// Arm's.
    Pl011(Pl011),
    /// The Raspberry Pi's second.
    Mini(MiniUart),
}

impl Uart {
    /// Makes the driver for a device with one of these `compatible` strings.
    ///
    /// # Safety
    ///
    /// The device must be at `base`, mapped as device memory, and used by nobody else.
    pub unsafe fn new(compatible: impl Fn(&str) -> bool, base: u64) -> Option<Uart> {
        // SAFETY: the caller's promise, passed on.
        unsafe {
            match () {
                () if compatible("arm,pl011") => Some(Uart::Pl011(Pl011::new(base))),
                () if compatible("brcm,bcm2835-aux-uart") => Some(Uart::Mini(MiniUart::new(base))),
                () => None,
            }
        }
    }

    /// Turns the device on, interrupts off.
    pub fn init(&self) {
        match self {
            Uart::Pl011(uart) => uart.init(),
            Uart::Mini(uart) => uart.init(),
        }
    }

    fn put(&self, byte: u8) {
        match self {
            Uart::Pl011(uart) => uart.put(byte),
            Uart::Mini(uart) => uart.put(byte),
        }
    }

    /// Sends text, each LF as CR LF.
    pub fn put_text(&self, text: &[u8]) {
        for byte in text {
            if *byte == b'\n' {
                self.put(b'\r');
            }
            self.put(*byte);
        }
    }

    /// What was received next.
    pub fn get(&self) -> Option<Received> {
        match self {
            Uart::Pl011(uart) => uart.get(),
            Uart::Mini(uart) => uart.get(),
        }
    }

    /// Whether received bytes raise the interrupt; it stays raised until [`Uart::get`] has taken them.
    pub fn set_receive_interrupt(&self, on: bool) {
        match self {
            Uart::Pl011(uart) => uart.set_receive_interrupt(on),
            Uart::Mini(uart) => uart.set_receive_interrupt(on),
        }
    }
}
