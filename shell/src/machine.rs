//! The world that the shell runs in.
//!
//! A [`Machine`] is all that the shell knows of it: the memory that it acts on, a console to write to, a clock, a log.
//! The image has one (crate `boot`), the host another (`host.rs`), and the same session gives the same text on both.
//! Bytes that are typed do not come through here: whoever owns the shell feeds them to it (`exec.rs`, `Shell::feed`).

use alloc::boxed::Box;
use core::fmt;

use embedded_io::Write as _;
use kernel::memblock::Resource;
use kernel::mm::memory::{Env, Memory};
use kernel::mm::users::Users;
use kernel::proc::interrupts::Interrupts;
use kernel::sched::{CpuTime, ThreadId, ThreadInfo};
use kernel::task::{Context, Task};

use crate::capture::Capture;

/// What a new thread does with the machine that it gets.
pub type Body<M> = Box<dyn FnOnce(M) + Send>;

/// A machine with a page allocator, a console and a switch.
///
/// Memory and tasks are there for as long as the program is: the image never ends, and the host's machines are made for
/// a whole process or test.
pub trait Machine: Sized + Send + 'static {
    /// The world as the allocator sees it.
    type Env: Env<Owner = Users<'static>> + 'static;
    /// Where output goes. `\n` ends a line; the console adds what its line needs.
    type Console: embedded_io::Write;

    /// The memory that commands act on.
    fn memory(&self) -> &'static Memory<'static, Self::Env>;

    /// What lies where in the physical address space, as /proc/iomem tells it.
    fn resources(&self) -> &'static [Resource];

    /// The boot arguments, as they were given.
    fn cmdline(&self) -> &'static str;

    /// Processors that run.
    fn nr_cpus(&self) -> usize;

    /// What interrupts its processors.
    fn interrupts(&self) -> Interrupts {
        |_| None
    }

    /// Notes that the caller's thread acts as `task` from now on, and takes it to the CPU that the task is bound to, if it
    /// is, or back to where the thread belongs.
    fn act_as(&mut self, task: &'static Task);

    /// What is known about `thread`; `None` if there is no such thread.
    fn thread(&self, thread: ThreadId) -> Option<ThreadInfo>;

    /// How long CPU `cpu` has been busy and idle; `None` if it is not online.
    fn cpu_time(&self, cpu: usize) -> Option<CpuTime>;

    /// Where output goes.
    fn console(&mut self) -> &mut Self::Console;

    /// Whether ^C was pressed since the last call. If so, what was typed up to it is thrown away unread.
    ///
    /// Asked at every piece of output and in every long loop, so it must be cheap.
    fn interrupted(&mut self) -> bool;

    /// Lets every other thread run that is ready, until all of them sleep or `ticks` are over: daemons and jobs get their
    /// turn between two commands. A job's machine only offers the CPU.
    fn settle(&mut self, ticks: Option<u64>);

    /// Starts a thread that acts as `task`; `None` when there is no stack for it. It gets a machine of its own on the same
    /// memory: nobody sees what it writes to the console, and it is interrupted when the thread is called off or the task
    /// must die. When it asks for that, it offers the CPU.
    fn spawn(&mut self, task: &'static Task, body: Body<Self>) -> Option<ThreadId>;

    /// Runs `f` in `context`, as far as this machine can: from a softirq, from an interrupt handler, and so on.
    fn in_context(&mut self, context: Context, f: &mut dyn FnMut());

    /// Instructions executed, or ticks of the fastest clock there is.
    fn counter(&self) -> u64;

    /// Whether [`Machine::counter`] counts instructions, each as one.
    fn counts_instructions(&self) -> bool;

    /// Copies a record of the kernel log into `text`, as `dmesg` prints it but without the line's end.
    ///
    /// It is the record at position `from`, or the oldest behind it; 0 is the start. The length in `text`, to which the
    /// record is cut, and the position of the next one; `None` after the last. New ones may come while the log is read.
    fn log_record(&self, from: u64, text: &mut [u8]) -> Option<(usize, u64)>;

    /// Lets the console print records of the kernel log below `level`, as they come. Linux: `console_loglevel`.
    fn set_log_level(&mut self, level: u8);

    /// The script that the machine was started with.
    fn script(&self) -> Option<&'static str>;

    /// Switches the machine off and tells whoever started it `status`. The host only remembers.
    fn power_off(&mut self, status: u8);
}

/// A machine's console as commands write to it: writing fails when ^C was pressed, but not in the middle of a line.
pub struct Output<'a, M> {
    /// The machine.
    pub machine: &'a mut M,
    /// Where the text goes instead, if it is kept.
    pub capture: Option<&'a mut Capture>,
    /// Whether the last text written did not end its line.
    pub mid_line: &'a mut bool,
}

impl<M: Machine> fmt::Write for Output<'_, M> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !*self.mid_line && self.machine.interrupted() {
            return Err(fmt::Error);
        }
        if let Some(last) = text.as_bytes().last() {
            *self.mid_line = *last != b'\n';
        }
        match &mut self.capture {
            Some(capture) => capture.push(text),
            None => {
                // A console that cannot write has nobody to tell.
                let _ = self.machine.console().write_all(text.as_bytes());
            }
        }
        Ok(())
    }
}
