//! Keys behind a BREAK on the serial line: a way to the machine that needs no shell, and to its faults.
//!
//! QEMU sends a BREAK for Ctrl-A b. The keys run in the receive interrupt, whatever the CPU was doing. One table is
//! both what they do and the help. Linux: `drivers/tty/sysrq.c`; `c` crashes there, too, and `h` helps.
//!
//! Linux does more: it syncs disks, kills tasks, and shows memory, timers and locks.

use crate::arch::entry::image_base;
use crate::arch::{cpu, timer};
use crate::irq::Half;
use crate::lock::Lock;
use crate::machine::tasks;
use crate::{irq, smp, thread};
use core::hint::black_box;
use kernel::sync::Class;
use kernel::task::{Current, TaskKind};

/// A key.
struct Key {
    key: u8,
    about: &'static str,
    run: fn(),
}

const KEYS: [Key; 12] = [
    Key { key: b'c', about: "crash: read where nothing is mapped", run: read_nowhere },
    Key { key: b'd', about: "take two locks in the wrong order", run: take_in_wrong_order },
    Key { key: b'h', about: "help", run: help },
    Key { key: b'i', about: "count interrupts", run: count_interrupts },
    Key { key: b'l', about: "keep the last CPU busy for some seconds", run: loop_in_thread },
    Key { key: b'm', about: "the same with interrupts masked", run: loop_masked },
    Key { key: b'n', about: "the same in an interrupt handler", run: loop_in_handler },
    Key { key: b'o', about: "overflow the interrupt stack", run: overflow_stack },
    Key { key: b'p', about: "panic", run: panic },
    Key { key: b's', about: "overflow the stack of a new thread", run: overflow_thread },
    Key { key: b't', about: "write to the kernel's text", run: write_text },
    Key { key: b'u', about: "interrupt this CPU with what nobody serves", run: interrupt_unknown },
];

/// Runs `key`; help for one that there is not.
pub fn press(key: u8) {
    match KEYS.iter().find(|known| known.key == key) {
        Some(known) => {
            log::info!("sysrq: {}", known.about);
            (known.run)();
        }
        None => help(),
    }
}

fn help() {
    for known in &KEYS {
        log::info!("sysrq: {} {}", char::from(known.key), known.about);
    }
}

fn count_interrupts() {
    log::info!("sysrq: {} in {} ms", irq::Counts, timer::uptime_ns() / 1_000_000);
}

fn panic() {
    panic!("sysrq: the person at the console asked for it");
}

/// Nothing comes of it but in a build that checks the order.
fn take_in_wrong_order() {
    static OUTER: Lock<()> = Lock::new(Class::RunQueues, ());
    static INNER: Lock<()> = Lock::new(Class::Heap, ());
    let _inner = INNER.lock();
    let _outer = OUTER.lock();
}

fn read_nowhere() {
    // SAFETY: meant to fault: no machine has anything there, so it is not mapped.
    unsafe { ((1_u64 << 47) as *const u64).read_volatile() };
}

fn write_text() {
    // SAFETY: meant to fault.
    unsafe { (image_base() as *mut u64).write_volatile(0) };
}

fn overflow_stack() {
    log::info!("sysrq: survived with {}", descend(1));
}

fn overflow_thread() {
    start("overflow", 0, overflow_stack);
}

fn loop_in_thread() {
    start("looper", smp::nr_cpus() - 1, spin);
}

fn loop_masked() {
    start("masked", smp::nr_cpus() - 1, || cpu::masked(spin));
}

fn loop_in_handler() {
    start("handling", smp::nr_cpus() - 1, || irq::run_as(Half::Top, &mut spin_by_name));
}

/// Calls it in a way that names it: not by a jump, and not by an address.
fn spin_by_name() {
    spin();
    black_box(());
}

/// Goes on for long enough to be noticed with `watchdog_thresh=2`.
#[inline(never)]
fn spin() {
    let end = timer::uptime_ns() + 7_000_000_000;
    while timer::uptime_ns() < end {
        core::hint::spin_loop();
    }
    log::info!("sysrq: looped");
}

fn interrupt_unknown() {
    irq::interrupt(cpu::this_cpu().number, irq::UNSERVED);
}

/// Starts a thread that does `work` on CPU `cpu`, with a task called `name` for as long.
fn start(name: &str, cpu: usize, work: fn()) {
    let body = move |current: &Current<'_>| {
        work();
        // Refused for the first task only.
        let _ = tasks().remove(current.task);
    };
    match tasks().spawn(name, TaskKind::Daemon).map(|task| thread::spawn(task, Some(cpu), body)) {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => log::error!("sysrq: no thread: {error}"),
        Err(error) => log::error!("sysrq: no task: {error}"),
    }
}

/// Calls itself until the stack ends; not in a way that could be turned into a loop.
#[expect(unconditional_recursion, reason = "that is its purpose")]
#[inline(never)]
fn descend(depth: u64) -> u64 {
    let frame = black_box([depth; 32]);
    descend(depth + frame[3]) + black_box(frame)[7]
}
