//! The end of tasks: what they hold is given back.
//!
//! A task that was killed, by a person or by the OOM killer, has no code of its own that could notice. The shell does it
//! for the task, after each command and before each prompt ([`Shell::bury`]); a job that acts as the task is called off,
//! and comes to its end, first. When memory runs out again before that, `estates.rs` has ended the task already, and here
//! it is told. Linux: `do_exit`; what a task maps is the kernel crate's part, `oom_kill::exit_task`.
//!
//! Linux does more: it frees what a process has mapped, never what drivers and the kernel allocated on its behalf. A task
//! is like that when `task leak` says so.

use kernel::mm::memory::Env;
use kernel::mm::oom_kill;
use kernel::task::{Current, Task, TaskFlags};

use crate::count::Count;
use crate::estates::Estate;
use crate::exec::Shell;
use crate::handles::Held;
use crate::jobs::Job;
use crate::machine::Machine;

impl<M: Machine> Shell<M> {
    /// Ends every task that must die and does not run. The first one and kernel threads never die.
    pub fn bury(&mut self) {
        if self.session.in_job {
            return;
        }
        self.call_off_dying();
        while let Some(task) = self.next_dead() {
            let (name, pid) = (task.comm(), task.pid());
            let Estate { blocks, pages, mapped } = self.end_task(task);
            let (blocks, pages, mapped) = (Count(blocks, "block"), Count::pages(pages), Count::pages(mapped));
            self.say(format_args!("{name} ({pid}) died: freed {blocks}, {pages}; unmapped {mapped}\n"));
        }
    }

    /// Calls off jobs whose task must die, and lets them notice.
    fn call_off_dying(&mut self) {
        let env = &self.machine.memory().env;
        let must_die =
            |job: &&Job| !job.is_over() && env.tasks().by_pid(job.pid(&self.machine)).is_some_and(Task::is_dying);
        let mut any = false;
        for job in self.session.jobs.iter().filter(must_die) {
            job.call_off(env.sched());
            any = true;
        }
        if any {
            self.settle();
        }
    }

    fn next_dead(&self) -> Option<&'static Task> {
        // What a job leaves is the task's, too.
        let runs = |task: &Task| self.session.jobs.iter().any(|job| job.pid(&self.machine) == task.pid());
        let tasks = self.machine.memory().env.tasks();
        tasks.iter().find(|task| task.is_dying() && may_die(task) && !runs(task))
    }

    /// Ends `task`, as which nothing runs: it leaves nothing but, if it is leaky, its blocks. It may have ended before,
    /// while a command ran.
    pub fn end_task(&mut self, task: &'static Task) -> Estate {
        let (memory, pid) = (self.machine.memory(), task.pid());
        let current = Current::new(task);
        // Somebody may be ending it now; ^C does not keep it alive.
        let lock = oom_kill::wait_for_lock(memory, &current);
        let before = self.session.estates.take_untold(pid);
        let mapped = before.mapped + task.mm.rss();
        oom_kill::exit_task(memory, &current, task);
        drop(lock);
        let freed = if self.session.estates.is_leaky(pid) {
            self.session.handles.disown(pid);
            self.session.estates.set_leaky(pid, false);
            Estate::default()
        } else {
            self.free_blocks(&current, |held| held.pid == pid)
        };
        self.session.scopes.forget(task);
        // Fails for the first task only, which never comes here.
        let _ = memory.env.tasks().remove(task);
        if self.session.pid == pid {
            self.session.pid = 0;
        }
        Estate { blocks: before.blocks + freed.blocks, pages: before.pages + freed.pages, mapped }
    }

    /// Frees what jobs have left of tasks that have died meanwhile: those that they acted as for a while, by `task run`.
    pub fn free_orphans(&mut self) {
        let (current, tasks) = (self.current(), self.machine.memory().env.tasks());
        let estate = self.free_blocks(&current, |held| held.pid != 0 && tasks.by_pid(held.pid).is_none());
        if estate.blocks > 0 {
            self.say(format_args!("freed {} blocks of tasks that died, {} pages\n", estate.blocks, estate.pages));
        }
    }

    /// Frees the shell's blocks for which `is_left` holds.
    fn free_blocks(&mut self, current: &Current<'_>, is_left: impl Fn(&Held) -> bool) -> Estate {
        let (memory, blocks) = (self.machine.memory(), self.session.handles.clone());
        blocks.free(memory, current, is_left, |number, error| self.say(format_args!("#{number}: {error}\n")))
    }
}

/// Whether the task can be killed at all.
pub fn may_die(task: &Task) -> bool {
    !task.is_init() && !task.flags().contains(TaskFlags::PF_KTHREAD)
}
