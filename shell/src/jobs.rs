//! Jobs: lists that run in the background, `COMMAND &`.
//!
//! A job is a thread of the machine with a [`Shell`] of its own, which acts as the task that the job was started as. Its
//! output is kept, and what it allocates has numbers of its own; when it is over, the shell that started it prints the
//! one, each line behind the job's number, and takes over the other ([`Shell::notice_jobs`]): so neither ever waits for
//! the other's state. Pools and the network are everybody's (`commons.rs`). Threads take turns where one sleeps or offers its CPU; a job offers it at every
//! step. Neighbours: `exec.rs` starts jobs, `cmd/jobs.rs` waits for them and calls them off, `exit.rs` ends tasks.
//!
//! A POSIX shell does more: it stops jobs, and takes them back into the foreground.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem::take;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering::SeqCst};

use kernel::mm::memory::{Env, Memory};
use kernel::sched::{HZ, Scheduler, ThreadId, WaitQueue};
use kernel::sync::{Class, SpinLock};

use crate::belongings::{Belongings, Moved};
use crate::capture::Capture;
use crate::exec::Shell;
use crate::handles::NoRoom;
use crate::machine::Machine;
use crate::session::Session;
use crate::status::{Status, Trouble};

/// Jobs at most; the machine has a stack for each.
pub const MAX_JOBS: usize = 8;
/// What people call the jobs.
const NAMES: [&str; MAX_JOBS] = ["%1", "%2", "%3", "%4", "%5", "%6", "%7", "%8"];

/// What people call job `number`.
pub fn job_name(number: u8) -> &'static str {
    NAMES[usize::from(number) - 1]
}

/// Room in the heap without which no job is started: for what its thread is handed.
const START_BYTES: usize = 4096;
/// Output of a job that is kept; what is behind it is counted only.
const OUTPUT_BYTES: usize = 16 << 10;
/// Ticks that jobs get after each command of the shell, if they want them.
pub const TICKS_OF_JOBS: u64 = HZ / 10;

/// What a job leaves behind.
#[derive(Debug, Default)]
struct Left {
    output: Capture,
    belongings: Belongings,
}

/// What a job and the shell that started it share.
struct Shared {
    line: String,
    over: AtomicBool,
    /// `$?` of it, once it is over.
    status: AtomicU8,
    left: SpinLock<Option<Left>>,
    /// Where those wait who want to know that it is over.
    end: WaitQueue,
}

/// A job, as the shell that started it knows it.
pub struct Job {
    /// The number that people call it by, from 1.
    pub number: u8,
    /// Number of the task that it was started as.
    pid: u16,
    thread: ThreadId,
    shared: Arc<Shared>,
    /// What is left of it although it was told: what waits for room in the shell's heap.
    told: Option<Left>,
}

impl Job {
    /// The commands, as they were typed.
    pub fn line(&self) -> &str {
        &self.shared.line
    }

    /// Number of the task that it acts as: the one that it was started as, or another for a while, by `task run`.
    pub fn pid<M: Machine>(&self, machine: &M) -> u16 {
        let thread = if self.is_over() { None } else { machine.thread(self.thread) };
        thread.map_or(self.pid, |thread| thread.pid)
    }

    /// Whether it has nothing more to do.
    pub fn is_over(&self) -> bool {
        self.shared.over.load(SeqCst)
    }

    /// `$?` of it, once it is over.
    pub fn status(&self) -> Status {
        Status(self.shared.status.load(SeqCst))
    }

    /// Calls its work off.
    pub fn call_off(&self, sched: &impl Scheduler) {
        if !self.is_over() {
            sched.call_off(self.thread);
        }
    }

    /// Sleeps until it is over, but not for long; whether it is.
    pub fn wait(&self, sched: &impl Scheduler) -> bool {
        self.shared.end.wait(sched, Some(HZ), || self.is_over());
        self.is_over()
    }

    /// What it has left, to be asked for once.
    fn take_left<E: Env>(&self, memory: &Memory<'_, E>) -> Left {
        let pin = memory.pin();
        self.shared.left.lock(&pin).take().unwrap_or_default()
    }
}

impl<M: Machine> Shell<M> {
    /// Starts `line` in the background, and says under which number.
    pub fn start_job(&mut self, line: &str) -> Status {
        match self.spawn_job(line) {
            Ok(number) => {
                self.say(format_args!("[{number}] {line}\n"));
                Status::DONE
            }
            Err(trouble) => {
                self.say(format_args!("&: {trouble}\n"));
                trouble.status()
            }
        }
    }

    fn spawn_job(&mut self, line: &str) -> Result<u8, Trouble<'static>> {
        if self.session.in_job {
            return Err(Trouble::Refused("a job cannot start another"));
        }
        let jobs = &mut self.session.jobs;
        let is_free = |number: &u8| jobs.iter().all(|job| job.number != *number);
        let number = (1..=MAX_JOBS as u8).find(is_free).ok_or(Trouble::Refused("there are 8 jobs already; wait"))?;
        let shared = Shared {
            line: copy(line)?,
            over: AtomicBool::new(false),
            status: AtomicU8::new(0),
            left: SpinLock::new(Class::Leaf, None),
            end: WaitQueue::new(),
        };
        jobs.try_reserve(1).map_err(|_| Trouble::OutOfHeap)?;
        // What is boxed below has no way to say that the heap is empty.
        Vec::<u8>::new().try_reserve_exact(START_BYTES).map_err(|_| Trouble::OutOfHeap)?;
        let shared = Arc::new(shared);
        let (task, session, its) = (self.acting_task(), self.session.for_job(), shared.clone());
        self.session.estates.join(&session.handles).map_err(|NoRoom| Trouble::OutOfHeap)?;
        session.handles.act_as(task.pid());
        let thread = self.machine.spawn(task, Box::new(move |machine| run(machine, session, &its)));
        let thread = thread.ok_or(Trouble::Refused("the machine has no stack left for another thread"))?;
        self.session.jobs.push(Job { number, pid: task.pid(), thread, shared, told: None });
        Ok(number)
    }

    /// Tells what came of the jobs that are over, and takes over what they hold. Then tasks that must die do.
    pub fn notice_jobs(&mut self) {
        let mut place = 0;
        while let Some(job) = self.session.jobs.get(place) {
            if !job.is_over() {
                place += 1;
                continue;
            }
            let mut job = self.session.jobs.remove(place);
            let mut left = job.told.take().unwrap_or_else(|| {
                let left = job.take_left(self.machine.memory());
                self.tell(&job, &left.output);
                left
            });
            if !self.take_over(job.number, &mut left.belongings) {
                job.told = Some(Left { output: Capture::default(), ..left });
                self.session.jobs.insert(place, job);
                place += 1;
            }
        }
        self.bury();
    }

    /// What the job printed, and how it ended.
    fn tell(&mut self, job: &Job, output: &Capture) {
        let number = job.number;
        for line in output.as_str().lines() {
            self.say(format_args!("[{number}] {line}\n"));
        }
        if output.lost() > 0 {
            self.say(format_args!("[{number}] ({} bytes more)\n", output.lost()));
        }
        match job.status() {
            Status::DONE => self.say(format_args!("[{number}] done: {}\n", job.line())),
            Status::KILLED => self.say(format_args!("[{number}] called off: {}\n", job.line())),
            Status(status) => self.say(format_args!("[{number}] status {status}: {}\n", job.line())),
        }
    }

    /// Gives what job `number` left numbers of the shell; whether there was room for all.
    fn take_over(&mut self, number: u8, left: &mut Belongings) -> bool {
        let (moved, room) = self.session.absorb(left);
        if let Some(Moved { old, new }) = moved.filter(|moved| moved.old != moved.new) {
            self.say(format_args!("[{number}] #{}..#{} are #{}..#{} now\n", old.0, old.1, new.0, new.1));
        }
        if room.is_err() {
            self.say(format_args!("[{number}] the shell's heap has no room for what it holds; that waits\n"));
        }
        if moved.is_some() {
            self.free_orphans();
        }
        room.is_ok()
    }
}

/// The life of a job's thread.
fn run<M: Machine>(machine: M, session: Session, shared: &Shared) {
    let memory = machine.memory();
    let mut shell = Shell::with_session(machine, session);
    shell.capture = Some(Capture::with_limit(OUTPUT_BYTES));
    let status = match shell.run_line(&shared.line) {
        Status::INTERRUPTED => Status::KILLED,
        status => status,
    };
    let output = shell.capture.take().unwrap_or_default();
    let Session { handles, objects, areas, .. } = &mut shell.session;
    let belongings = Belongings { handles: handles.clone(), objects: take(objects), areas: take(areas) };
    belongings.handles.act_as(0);
    let left = Left { output, belongings };
    shared.status.store(status.0, SeqCst);
    drop(shell);
    let pin = memory.pin();
    *shared.left.lock(&pin) = Some(left);
    drop(pin);
    shared.over.store(true, SeqCst);
    shared.end.wake_all(memory.env.sched());
}

fn copy(text: &str) -> Result<String, Trouble<'static>> {
    let mut copy = String::new();
    copy.try_reserve_exact(text.len()).map_err(|_| Trouble::OutOfHeap)?;
    copy.push_str(text);
    Ok(copy)
}

#[cfg(test)]
mod tests;
