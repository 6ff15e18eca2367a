//! The image: slowpath on AArch64, from the loader's jump to the prompt.
//!
//! [`kernel_main`] is the order of things. Below it: `arch` is the CPU, `driver` the devices, and the modules beside
//! this file join the two: console, log, interrupts, power, heap, and `handover`, which makes a memory map out of a
//! device tree. Only this crate and `kernel::sync` contain unsafe code.

#![no_std]
#![no_main]

extern crate alloc;

mod arch;
mod backtrace;
mod boot_error;
mod console;
mod daemons;
mod devices;
mod dmesg;
mod driver;
mod handover;
mod heap;
mod iomem;
mod irq;
mod linear;
mod lock;
mod lockup;
mod machine;
mod panic;
mod power;
mod ring;
mod session;
mod smp;
mod stacks;
mod stackscan;
mod symbols;
mod sysrq;
mod thread;
mod tree;

use arch::{cpu, pmu, timer};
use boot_error::BootError;
use console::DEFAULT_LOGLEVEL;
use handover::Handover;
use kernel::bootargs::BootArgs;
use tree::Tree;

/// The boot CPU's way up. Called by the entry code with what the loader left: the device tree's address, the exception
/// level, and the counter at entry.
extern "C" fn kernel_main(tree: u64, level: u64, entered: u64) -> ! {
    timer::set_epoch(entered); //                              time 0
    dmesg::init(); //                                          the log, into its ring
    match start(tree, level) {
        Ok(handover) => session::run(&handover), //            the shell, for good
        Err(error) => panic::refuse(&error),
    }
}

/// Everything between the MMU and the prompt.
fn start(tree: u64, level: u64) -> Result<Handover, BootError> {
    let tree = tree::open(tree)?; //                           the device tree, checked and copied
    let args = BootArgs::parse(tree.tree.bootargs()); //       what the user wants
    power::init(&tree.tree, &args); //                         how to stop
    console::set_loglevel(args.loglevel.unwrap_or(DEFAULT_LOGLEVEL));
    let uart = devices::attach_console(&tree.tree)?; //        the console: from here on people see
    banner(&tree, &args, level);
    irq::init(&tree.tree)?; //                                 interrupt controller
    let handover = handover::run(&tree, &args)?; //            RAM, heap, page allocator
    devices::start_timer(&tree.tree)?; //                      alarms
    devices::start_input(&uart)?; //                           bytes from the console
    pmu::init(); //                                            the cycle counter
    cpu::unmask(); //                                          interrupts come from now on
    lockup::init(args.watchdog_thresh); //                     who notices stuck CPUs
    smp::bring_up(&tree.tree, &args); //                       the other CPUs
    Ok(handover)
}

fn banner(tree: &Tree, args: &BootArgs<'_>, level: u64) {
    log::info!("slowpath {} on {}, entered at EL{level}", env!("CARGO_PKG_VERSION"), tree.tree.model());
    log::info!("Kernel command line: {}", args.line());
    for warning in args.warnings() {
        log::warn!("{warning}");
    }
}
