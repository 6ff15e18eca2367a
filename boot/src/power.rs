//! The end: stop the machine and tell the world how it went.
//!
//! In this order: semihosting, when the boot arguments say that QEMU listens, because only it carries a status; PSCI;
//! the Raspberry Pi's watchdog; else sleep for good, after saying so.
//!
//! Linux does more: it reboots, suspends and hibernates.

use crate::arch::cpu;
use crate::devices;
use crate::driver::watchdog::Watchdog;
use core::sync::atomic::{AtomicBool, Ordering};
use kernel::bootargs::BootArgs;
use kernel::devicetree::{Conduit, DeviceTree};
use semihosting::sys::arm_compat::{ExitReason, sys_exit_extended};
use spin::Once;

/// Status of a run that ended in a panic.
pub const PANICKED: u8 = 125;
/// The power managers that have the Pi's watchdog.
const WATCHDOGS: [&str; 3] = ["brcm,bcm2711-pm", "brcm,bcm2835-pm", "brcm,bcm2835-pm-wdt"];

/// How this machine is switched off.
enum Off {
    Psci(Conduit),
    Watchdog(Watchdog),
}

static SEMIHOSTING: AtomicBool = AtomicBool::new(false);
static OFF: Once<Off> = Once::new();

/// Finds out how this machine is stopped; a machine that cannot be says so when it is asked to.
pub fn init(tree: &DeviceTree<'static>, args: &BootArgs<'_>) {
    SEMIHOSTING.store(args.semihosting, Ordering::Relaxed);
    if let Some(conduit) = tree.psci() {
        OFF.call_once(|| Off::Psci(conduit));
    } else if let Some(Ok(registers)) = tree.device(&WATCHDOGS).map(|device| devices::map_registers(&device, 0)) {
        // SAFETY: the device tree promises the watchdog there, `map_registers` mapped it, `Once` keeps it ours alone.
        OFF.call_once(|| Off::Watchdog(unsafe { Watchdog::new(registers.start) }));
    }
}

/// Stops the machine. `status` reaches QEMU's caller through semihosting.
pub fn exit(status: u8) -> ! {
    cpu::mask();
    if SEMIHOSTING.load(Ordering::Relaxed) {
        exit_by_semihosting(status);
    }
    match OFF.get() {
        Some(Off::Psci(conduit)) => system_off(*conduit),
        Some(Off::Watchdog(watchdog)) => watchdog.halt(),
        None => crate::console::emergency(|out| {
            // Nobody is left to tell if this fails.
            let _ = out.write_str("slowpath: this machine cannot switch itself off; it sleeps now\n");
        }),
    }
    cpu::park()
}

/// Ends QEMU if it listens; returns if nobody does ([`crate::arch::exception`] skips the instruction).
pub fn exit_by_semihosting(status: u8) {
    sys_exit_extended(ExitReason::ADP_Stopped_ApplicationExit, usize::from(status));
}

/// Asks the firmware. Returns only if it refuses, and then there is nothing left but to sleep.
fn system_off(conduit: Conduit) {
    let refused = match conduit {
        Conduit::Hvc => smccc::psci::system_off::<smccc::Hvc>(),
        Conduit::Smc => smccc::psci::system_off::<smccc::Smc>(),
    };
    if let Err(error) = refused {
        log::error!("PSCI refuses to switch the machine off: {error}");
    }
}
