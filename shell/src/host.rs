//! A machine inside a host program, for tests and for transcripts.
//!
//! Its memory is the kernel's own host machine (`kernel::host`); its console is a string; its keyboard knows ^C after so
//! many pieces of output, which is how interruption is tested. Only with the feature `host`.

use std::boxed::Box;
use std::string::String;

use core::convert::Infallible;

use kernel::host::{self, HostEnv};
use kernel::memblock::Resource;
use kernel::mm::memory::Memory;
use kernel::proc::iomem;
use kernel::sched::{CpuTime, Resched, Scheduler, ThreadId, ThreadInfo};
use kernel::task::{Context, Task};

use crate::exec::Shell;
use crate::machine::{Body, Machine};

mod dmesg;
mod threads;

use dmesg::Dmesg;
use threads::Threads;

/// What the console shows of the log at first: warnings and errors.
const LOG_LEVEL: u8 = 5;

/// Output kept as text, with the log's records between its lines as on a board.
#[derive(Debug)]
pub struct HostConsole {
    text: String,
    dmesg: Dmesg,
    log_level: u8,
    log_position: usize,
}

impl HostConsole {
    /// A console that shows what is logged from now on.
    fn new(dmesg: Dmesg) -> HostConsole {
        HostConsole { text: String::new(), dmesg, log_level: LOG_LEVEL, log_position: 0 }
    }

    /// Shows what has been logged since the last call.
    fn print_log(&mut self) {
        let HostConsole { text, dmesg, log_level, log_position } = self;
        while let Some(()) = dmesg.record(*log_position, |level, record| {
            if level < *log_level {
                text.push_str(if text.is_empty() || text.ends_with('\n') { "" } else { "\n" });
                text.push_str(record);
                text.push('\n');
            }
        }) {
            *log_position += 1;
        }
    }
}

impl embedded_io::ErrorType for HostConsole {
    type Error = Infallible;
}

impl embedded_io::Write for HostConsole {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.print_log();
        self.text.push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        self.print_log();
        Ok(())
    }
}

/// The shell's machine on the host.
pub struct HostMachine {
    memory: &'static Memory<'static, HostEnv<'static>>,
    console: HostConsole,
    resources: &'static [Resource],
    cmdline: &'static str,
    script: Option<&'static str>,
    /// Questions about ^C until the answer is yes once.
    interrupt_in: Option<u32>,
    counter: core::cell::Cell<u64>,
    off: Option<u8>,
    /// Whom the thread acts as, if it is a job's.
    job: Option<&'static Task>,
    threads: Threads,
}

impl HostMachine {
    /// A booted machine with RAM at `banks` (start, bytes, node), of which `reserved` (start, bytes) is in use.
    ///
    /// What it is made of is leaked: a machine stays for as long as the program runs, as on a board.
    ///
    /// # Panics
    ///
    /// When the banks are no memory that memblock takes.
    pub fn new(args: &str, banks: &[(u64, u64, u8)], reserved: &[(u64, u64)]) -> HostMachine {
        let dmesg = Dmesg::start();
        let board: &'static host::HostMachine = Box::leak(Box::new(host::HostMachine::new(args, banks, reserved)));
        let memory: &'static Memory<'static, HostEnv> = Box::leak(Box::new(board.memory()));
        let threads = Threads::start(memory, &dmesg);
        memory.env.threads().begin_command();
        HostMachine {
            memory,
            threads,
            console: HostConsole::new(dmesg),
            resources: Box::leak(iomem::ram(board.memblock(), &[]).collect()),
            cmdline: Box::leak(Box::from(args)),
            script: None,
            interrupt_in: None,
            counter: core::cell::Cell::new(0),
            off: None,
            job: None,
        }
    }

    /// The machine of a job's thread, which acts as `task`.
    fn of_job(&self, task: &'static Task) -> HostMachine {
        let dmesg = self.console.dmesg.clone();
        HostMachine {
            memory: self.memory,
            threads: Threads::none(self.memory, &dmesg),
            console: HostConsole::new(dmesg),
            resources: self.resources,
            cmdline: self.cmdline,
            script: self.script,
            interrupt_in: None,
            counter: core::cell::Cell::new(0),
            off: None,
            job: Some(task),
        }
    }

    /// Gives the machine the script that `source` runs.
    #[must_use]
    pub fn with_script(mut self, text: &str) -> HostMachine {
        self.script = Some(Box::leak(Box::from(text)));
        self
    }

    /// Takes the output so far.
    pub fn take_output(&mut self) -> String {
        self.console.print_log();
        core::mem::take(&mut self.console.text)
    }

    /// Presses ^C when the shell has asked for it `questions` more times.
    pub fn interrupt_in(&mut self, questions: u32) {
        self.interrupt_in = Some(questions);
    }

    /// Presses ^C when so many ticks of the machine's time have passed.
    pub fn interrupt_after(&mut self, ticks: u64) {
        let threads = self.memory.env.threads();
        self.threads.spawn(0, move || {
            threads.prepare_to_sleep();
            threads.schedule(Some(ticks));
            threads.set_interrupted(true);
        });
    }

    /// The status that the machine was switched off with.
    pub fn off(&self) -> Option<u8> {
        self.off
    }
}

impl Machine for HostMachine {
    type Env = HostEnv<'static>;
    type Console = HostConsole;

    fn memory(&self) -> &'static Memory<'static, HostEnv<'static>> {
        self.memory
    }

    fn resources(&self) -> &'static [Resource] {
        self.resources
    }

    fn cmdline(&self) -> &'static str {
        self.cmdline
    }

    fn nr_cpus(&self) -> usize {
        1
    }

    fn act_as(&mut self, task: &'static Task) {
        self.job = self.job.map(|_| task);
        // The shell's own thread belongs to the one CPU there is, as on a board to the first.
        let home = if self.job.is_some() { None } else { Some(0) };
        self.memory.env.threads().act_as(task.pid(), task.bound_cpu().or(home));
    }

    fn thread(&self, thread: ThreadId) -> Option<ThreadInfo> {
        self.memory.env.threads().info(thread)
    }

    fn cpu_time(&self, cpu: usize) -> Option<CpuTime> {
        self.memory.env.threads().time(cpu)
    }

    fn console(&mut self) -> &mut HostConsole {
        &mut self.console
    }

    fn interrupted(&mut self) -> bool {
        let threads = self.memory.env.threads();
        if let Some(task) = self.job {
            threads.cond_resched(Resched::Tick);
            return threads.interrupted() || task.is_dying();
        }
        if threads.interrupted() {
            threads.set_interrupted(false);
            threads.begin_command();
            return true;
        }
        let pressed = self.interrupt_in == Some(0);
        self.interrupt_in = self.interrupt_in.and_then(|questions| questions.checked_sub(1));
        pressed
    }

    fn settle(&mut self, ticks: Option<u64>) {
        let threads = self.memory.env.threads();
        match self.job {
            Some(_) => threads.cond_resched(Resched::Tick),
            None => {
                threads.settle_for(ticks);
                threads.begin_command();
            }
        }
    }

    fn spawn(&mut self, task: &'static Task, body: Body<HostMachine>) -> Option<ThreadId> {
        let machine = self.of_job(task);
        Some(self.threads.spawn(task.pid(), move || body(machine)))
    }

    fn in_context(&mut self, _context: Context, f: &mut dyn FnMut()) {
        f();
    }

    fn counter(&self) -> u64 {
        self.counter.set(self.counter.get() + 1);
        self.counter.get()
    }

    fn counts_instructions(&self) -> bool {
        false
    }

    fn log_record(&self, from: u64, text: &mut [u8]) -> Option<(usize, u64)> {
        self.console.dmesg.record(usize::try_from(from).ok()?, |_, record| {
            let len = record.len().min(text.len());
            text[..len].copy_from_slice(&record.as_bytes()[..len]);
            (len, from + 1)
        })
    }

    fn set_log_level(&mut self, level: u8) {
        self.console.log_level = level;
    }

    fn script(&self) -> Option<&'static str> {
        self.script
    }

    fn power_off(&mut self, status: u8) {
        self.off = Some(status);
    }
}

/// A session on a fresh machine: `script` behind its prompts, the console from the first prompt on, and the status.
///
/// The status is that of `poweroff`, else 0 if every line ended with 0, else 1: as `cargo xtask run --script` has it.
pub fn run_session(args: &str, banks: &[(u64, u64, u8)], reserved: &[(u64, u64)], script: &str) -> (String, u8) {
    let mut shell = Shell::new(HostMachine::new(args, banks, reserved));
    let status = shell.run_script(script);
    (shell.machine.take_output(), status.0)
}
