//! Devices: registers and nothing else. Who uses them is the business of [`crate::console`], [`crate::irq`] and
//! [`crate::power`].
//!
//! Each driver has one unsafe function, its `new`; whoever calls it promises that the registers are there and mapped.

pub mod gicv2;
pub mod gicv3;
mod mini_uart;
mod mmio;
mod pl011;
pub mod uart;
pub mod watchdog;
