//! From nodes of the device tree to drivers that run: console, timer; and the console of last resort.
//!
//! The one place that maps registers. Linux: driver probing.
//!
//! Linux does more: a bus, deferred probes, and drivers that come and go.

use crate::arch::entry::image_base;
use crate::arch::mmu::{self, Kind};
use crate::arch::timer;
use crate::boot_error::BootError;
use crate::console;
use crate::driver::uart::Uart;
use crate::{iomem, irq, thread};
use core::fmt;
use core::ops::Range;
use kernel::devicetree::{Device, DeviceTree, UARTS};

/// What we miss when no UART is ours.
const NO_UART: BootError = BootError::NoDevice("UART that we can drive");

/// Maps register block `n` of `device`.
pub fn map_registers(device: &Device<'static>, n: usize) -> Result<Range<u64>, BootError> {
    let region = device.reg(n).ok_or(BootError::NoRegisters { device: device.name })?;
    let range = region.base.0..region.base.0.saturating_add(region.size.max(1));
    // SAFETY: the device tree says that these are registers, and `device` is about to get its driver.
    unsafe { mmu::map(range.clone(), Kind::Device)? };
    iomem::add_device(&range, device.name);
    Ok(range)
}

/// Attaches the console that the tree names; if that one is none of ours, the first that is.
pub fn attach_console(tree: &DeviceTree<'static>) -> Result<Device<'static>, BootError> {
    let is_ours = |device: &Device<'_>| UARTS.iter().any(|uart| device.is_compatible(uart));
    let named = tree.console();
    let Some(device) = named.ok().filter(is_ours).or_else(|| tree.device(&UARTS)) else {
        return Err(named.err().map_or(NO_UART, BootError::Console));
    };
    let registers = map_registers(&device, 0)?;
    // SAFETY: the tree promises this UART there, `map_registers` mapped it, and the console takes it for good.
    let uart = unsafe { Uart::new(|name| device.is_compatible(name), registers.start) };
    console::attach(uart.ok_or(NO_UART)?);
    match named {
        Err(error) => log::warn!("{error}; using {}", device.name),
        Ok(named) if !is_ours(&named) => log::warn!("no driver for {}; using {}", named.name, device.name),
        Ok(_) => {}
    }
    Ok(device)
}

/// Lets the console's bytes come by interrupt.
pub fn start_input(uart: &Device<'static>) -> Result<(), BootError> {
    irq::request(uart.interrupt(0).ok_or(BootError::NoDevice("interrupt of the console"))?, "uart", console::receive)?;
    console::start_receiving();
    Ok(())
}

/// Lets threads be woken by the virtual timer, third in its binding's list of interrupts.
pub fn start_timer(tree: &DeviceTree<'static>) -> Result<(), BootError> {
    const VIRTUAL: usize = 2;
    let timer = tree.device(&["arm,armv8-timer", "arm,armv7-timer"]).and_then(|timer| timer.interrupt(VIRTUAL));
    timer::set_alarm(None);
    irq::request(timer.ok_or(BootError::NoDevice("timer (arm,armv8-timer)"))?, "arch_timer", thread::tick)
}

/// Runs `write` on the console; before there is one, on every UART that this machine may have.
///
/// Guessing is for last words only. The load address tells the two machines apart that pass no device tree, or a broken
/// one: QEMU's virt has its RAM at 1 GiB, a Raspberry Pi at 0. A wrong guess faults, and then we stop without a word,
/// as we would have without a guess.
pub fn last_console(write: impl FnOnce(&mut dyn fmt::Write)) {
    const VIRT: &[(&str, u64)] = &[("arm,pl011", 0x0900_0000)];
    const PI: &[(&str, u64)] = &[("arm,pl011", 0xfe20_1000), ("brcm,bcm2835-aux-uart", 0xfe21_5040)];
    if console::is_attached() {
        return console::emergency(write);
    }
    let guesses = if image_base() < 0x4000_0000 { PI } else { VIRT };
    for (_, base) in guesses {
        // SAFETY: registers if anything; the machine stops after this.
        if unsafe { mmu::map(*base..base + 0x40, Kind::Device) }.is_err() {
            return;
        }
    }
    write(&mut Guesses(guesses));
}

/// UARTs that may be there: (compatible, base).
struct Guesses(&'static [(&'static str, u64)]);

impl fmt::Write for Guesses {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (compatible, base) in self.0 {
            // SAFETY: `last_console` mapped it; its comment says why a guess is good enough.
            let Some(uart) = (unsafe { Uart::new(|name| name == *compatible, *base) }) else { continue };
            uart.put_text(text.as_bytes());
        }
        Ok(())
    }
}
