//! The shell on this machine: what it sees of the world, and the loop that feeds it.
//!
//! [`Desk`] is the shell's [`shell::machine::Machine`]. The boot thread ends up in [`run`] and stays there.
//!
//! Linux does more: a tty, and a process behind it.

use crate::arch::{cpu, pmu};
use crate::console::{self, In, Out, Wake};
use crate::handover::Handover;
use crate::irq::{self, Half};
use crate::machine::Machine;
use crate::thread::Threads;
use crate::{daemons, dmesg, lockup, power, smp, thread};
use core::fmt::Write as _;
use embedded_io::{Read, Write as _};
use kernel::addr::PAGE_SIZE;
use kernel::memblock::Resource;
use kernel::mm::memory::Memory;
use kernel::proc::interrupts::Interrupts;
use kernel::sched::{CpuTime, Resched, Scheduler, ThreadId, ThreadInfo};
use kernel::task::{Context, Task};
use shell::exec::Shell;
use shell::machine::Body;

/// Where the person sits.
pub struct Desk {
    memory: &'static Memory<'static, Machine>,
    resources: &'static [Resource],
    cmdline: &'static str,
    script: Option<&'static str>,
    out: Out,
    counts_instructions: bool,
    /// Whom the thread acts as, if it is a job's.
    job: Option<&'static Task>,
}

impl shell::machine::Machine for Desk {
    type Env = Machine;
    type Console = Out;

    fn memory(&self) -> &'static Memory<'static, Machine> {
        self.memory
    }

    fn resources(&self) -> &'static [Resource] {
        self.resources
    }

    fn cmdline(&self) -> &'static str {
        self.cmdline
    }

    fn nr_cpus(&self) -> usize {
        smp::nr_cpus()
    }

    fn interrupts(&self) -> Interrupts {
        irq::nth
    }

    fn act_as(&mut self, task: &'static Task) {
        self.job = self.job.map(|_| task);
        // The shell's own thread goes home when nothing keeps it elsewhere: bytes come in there.
        let home = if self.job.is_some() { None } else { Some(0) };
        thread::act_as(task, task.bound_cpu().or(home));
    }

    fn thread(&self, thread: ThreadId) -> Option<ThreadInfo> {
        thread::info(thread)
    }

    fn cpu_time(&self, cpu: usize) -> Option<CpuTime> {
        thread::time(cpu)
    }

    fn console(&mut self) -> &mut Out {
        &mut self.out
    }

    fn interrupted(&mut self) -> bool {
        let Some(task) = self.job else {
            // Who works for a person keeps the CPU until the command is over, and is not stuck while it asks this.
            lockup::touch();
            return console::take_interrupt();
        };
        Threads.cond_resched(Resched::Tick);
        Threads.interrupted() || task.is_dying()
    }

    fn settle(&mut self, ticks: Option<u64>) {
        match self.job {
            Some(_) => Threads.cond_resched(Resched::Tick),
            None => thread::settle(ticks),
        }
    }

    fn spawn(&mut self, task: &'static Task, body: Body<Desk>) -> Option<ThreadId> {
        let Desk { memory, resources, cmdline, script, counts_instructions, .. } = *self;
        let desk = Desk { memory, resources, cmdline, script, out: Out, counts_instructions, job: Some(task) };
        thread::spawn(task, task.bound_cpu(), move |_| body(desk)).ok()
    }

    /// Hard interrupts and softirqs are real ones; the other contexts are where the shell's own thread says it is.
    fn in_context(&mut self, context: Context, f: &mut dyn FnMut()) {
        match context {
            Context::HardIrq => irq::run_as(Half::Top, f),
            Context::SoftIrq => irq::run_as(Half::Bottom, f),
            Context::Task | Context::Atomic | Context::BhOff => f(),
        }
    }

    fn counter(&self) -> u64 {
        pmu::cycles()
    }

    fn counts_instructions(&self) -> bool {
        self.counts_instructions
    }

    fn log_record(&self, from: u64, text: &mut [u8]) -> Option<(usize, u64)> {
        let entry = dmesg::read(from)?;
        let mut line = Cut { text, len: 0 };
        // Fails only when the line was cut.
        let _ = write!(line, "{entry}");
        Some((line.len, entry.number + 1))
    }

    fn set_log_level(&mut self, level: u8) {
        console::set_loglevel(level);
    }

    fn script(&self) -> Option<&'static str> {
        self.script
    }

    fn power_off(&mut self, status: u8) {
        power::exit(status)
    }
}

/// Text cut to the buffer's length.
struct Cut<'a> {
    text: &'a mut [u8],
    len: usize,
}

impl core::fmt::Write for Cut<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let fits = text.floor_char_boundary(self.text.len() - self.len);
        self.text[self.len..self.len + fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.len += fits;
        if fits == text.len() { Ok(()) } else { Err(core::fmt::Error) }
    }
}

/// Runs the script, if there is one, and stops with its status; else runs what is typed, for good.
pub fn run(handover: &Handover) -> ! {
    let desk = Desk {
        memory: handover.memory,
        resources: handover.resources,
        cmdline: handover.cmdline,
        script: handover.script,
        out: Out,
        counts_instructions: pmu::counts_instructions(),
        job: None,
    };
    let mut shell = Shell::new(desk);
    daemons::start(handover.memory);
    let unit = if shell.machine.counts_instructions { "instructions" } else { "ticks" };
    log::debug!("first prompt after {} {unit}", cpu::ticks());
    if let Some(script) = handover.script {
        let status = shell.run_script(script);
        power::exit(status.0)
    }
    greet(handover);
    shell.start();
    loop {
        match console::wait() {
            Wake::Input => {
                // One at a time: what is typed behind a line stays where ^C can reach it.
                let mut byte = [0];
                let Ok(_) = In.read(&mut byte);
                shell.feed(byte[0]);
                // Bytes may come as fast as they are read, for long.
                Threads.cond_resched(Resched::Tick);
            }
            Wake::Broken => shell.redraw(),
        }
    }
}

/// Tells a person where they are; a script knows.
fn greet(handover: &Handover) {
    let present = || handover.memory.populated_zones();
    let mib = (present().map(|zone| zone.present).sum::<u64>() * PAGE_SIZE) >> 20;
    let (amount, unit) = if mib.is_multiple_of(1024) { (mib >> 10, "GiB") } else { (mib, "MiB") };
    let _ = write!(Out, "slowpath {} on {}, {amount} {unit} of RAM in", env!("CARGO_PKG_VERSION"), handover.model);
    for zone_type in handover.memory.zone_types().iter().filter(|kind| present().any(|zone| zone.zone_type == **kind)) {
        let _ = write!(Out, " {zone_type}");
    }
    let _ = writeln!(Out, "; 'help' lists the commands");
}
