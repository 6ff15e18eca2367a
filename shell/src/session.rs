//! What the shell remembers from one command to the next.

use alloc::vec::Vec;

use kernel::mmzone::NR_CPUS;
use kernel::sched::CpuTime;
use kernel::task::{Context, Scope, Task, TaskFlags};

use crate::areas::Areas;
use crate::cmd::vmstat::Snapshot;
use crate::commons::Commons;
use crate::estates::{Blocks, Estates};
use crate::handles::{Handles, NoRoom};
use crate::jobs::Job;
use crate::objects::{Object, Objects, Origin};
use crate::status::Status;

/// The state of one session.
#[derive(Default)]
pub struct Session {
    /// The blocks that it holds.
    pub handles: Blocks,
    /// What is known of everybody's blocks.
    pub estates: Estates,
    /// The objects that it has from slabs and pools.
    pub objects: Objects,
    /// The areas that it has from vmalloc.
    pub areas: Areas,
    /// What jobs use too.
    pub commons: Commons,
    /// `$?`.
    pub status: Status,
    /// Number of the task that commands act as; 0: the first.
    pub pid: u16,
    /// The context that commands act in; `ctx` changes it for one command.
    pub context: Context,
    /// Whether what acts there sets `PF_MEMALLOC` for as long as it acts.
    pub memalloc: bool,
    /// The scopes that tasks are in.
    pub scopes: Scopes,
    /// What runs in the background.
    pub jobs: Vec<Job>,
    /// Whether this is a job itself.
    pub in_job: bool,
    /// The counters as `vmstat diff` last saw them.
    pub counters: Snapshot,
    /// The processors' times as `top` last saw them.
    pub cpu_times: [CpuTime; NR_CPUS],
    /// Whether output may be coloured.
    pub color: bool,
    /// How many commands run inside each other now.
    pub depth: u8,
    /// Set by `poweroff`: the status to power off with.
    pub off: Option<Status>,
}

impl Session {
    /// Where a job begins that is started now. What it allocates has numbers that are free now.
    pub fn for_job(&self) -> Session {
        let (pid, estates, commons) = (self.pid, self.estates.clone(), self.commons.clone());
        let handles = Blocks::new(Handles::behind(self.handles.last()));
        Session { handles, estates, commons, pid, in_job: true, ..Session::default() }
    }

    /// Makes sure that [`Session::next_number`] has one to give.
    pub fn reserve_number(&mut self) -> Result<(), NoRoom> {
        self.handles.reserve().map(drop)
    }

    /// The next number, for an object or an area. [`Session::reserve_number`] was called for it.
    pub fn next_number(&mut self) -> u32 {
        self.handles.skip()
    }

    /// Notes that an object is free, by whatever command: one of a pool is then no more in use.
    pub fn bury_object(&mut self, number: usize) {
        if let Some(Object { origin: Origin::Pool(name), is_live: true, .. }) = self.objects.get(number)
            && let Ok(pool) = self.commons.pool(name.as_str())
        {
            pool.count_given();
        }
        self.objects.bury(number);
    }

    /// The command that frees what has this number, if that is no block of pages.
    pub fn freed_by(&self, number: u32) -> Option<&'static str> {
        let object = self.objects.get(number as usize).map(|object| match object.origin {
            Origin::Kmalloc => "kfree",
            Origin::Cache(_) => "cache free",
            Origin::Pool(_) => "mempool free",
        });
        object.or_else(|| self.areas.get(number).map(|_| "vfree"))
    }
}

impl Drop for Scopes {
    /// The innermost ends first, so that flags are what they were before.
    fn drop(&mut self) {
        while self.0.pop().is_some() {}
    }
}

/// The scopes that tasks are in, each with the number of its task; of one task the innermost is last.
#[derive(Default)]
pub struct Scopes(Vec<(u16, Scope<'static>)>);

impl Scopes {
    /// Takes `task` into a scope in which it has `flags`.
    pub fn push(&mut self, task: &'static Task, flags: TaskFlags) -> Result<(), NoRoom> {
        self.0.try_reserve(1).map_err(|_| NoRoom)?;
        self.0.push((task.pid(), task.scope(flags)));
        Ok(())
    }

    /// Takes `task` out of its innermost scope: the flags are what they were before; whether it was in one.
    pub fn pop(&mut self, task: &Task) -> bool {
        let last = self.0.iter().rposition(|(pid, _)| *pid == task.pid());
        last.map(|place| self.0.remove(place)).is_some()
    }

    /// Forgets the scopes of the task that once had this number, and leaves the flags of the one that has it now.
    pub fn forget(&mut self, task: &Task) {
        while let Some(place) = self.0.iter().position(|(pid, _)| *pid == task.pid()) {
            core::mem::forget(self.0.remove(place));
        }
    }
}
