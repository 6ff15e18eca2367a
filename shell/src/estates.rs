//! What tasks hold through the handles of all shells of a machine: the one at the console and its jobs.
//!
//! [`Blocks`] are one shell's handles, and which task it acts as; [`Estates`] knows all of them. So whoever runs out of
//! memory can end a victim that no thread acts as ([`Beside`]) wherever its blocks have their handles, and need not wait
//! for the command that runs: Linux delivers SIGKILL where the victim runs next. The victim stays on the table, as a
//! zombie does, until the shell tells what became of it (`exit.rs`). Neighbour: `handles.rs` has the numbers.
//!
//! The locks in here are held for a moment, by threads alone, which nothing takes the CPU from meanwhile.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU16, AtomicU64, Ordering::SeqCst};

use kernel::mm::memory::{Env, Memory};
use kernel::mm::oom_kill;
use kernel::mm::page_alloc;
use kernel::mm::prep::FreeError;
use kernel::task::{Current, MAX_TASKS, Task, TaskFlags, Undertaker};
use spin::Mutex;

use crate::exit::may_die;
use crate::handles::{Handles, Held, NoRoom};

/// What a task gave back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Estate {
    /// Blocks, and their pages.
    pub blocks: u64,
    /// See `blocks`.
    pub pages: u64,
    /// Pages that it had mapped.
    pub mapped: u64,
}

/// The handles of a shell, as [`Handles`], and whom it acts as; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Blocks(Arc<Holder>);

#[derive(Debug, Default)]
struct Holder {
    handles: Mutex<Handles>,
    /// Number of the task that the shell acts as; 0 while it runs no command.
    acting: AtomicU16,
}

impl Blocks {
    /// These handles; nobody acts yet.
    pub fn new(handles: Handles) -> Blocks {
        Blocks(Arc::new(Holder { handles: Mutex::new(handles), acting: AtomicU16::new(0) }))
    }

    /// Notes that the shell acts as task `pid` from now on; 0: it has nothing to do.
    pub fn act_as(&self, pid: u16) {
        self.0.acting.store(pid, SeqCst);
    }

    /// See [`Handles::len`].
    pub fn len(&self) -> u64 {
        self.0.handles.lock().len()
    }

    /// See [`Handles::is_empty`].
    pub fn is_empty(&self) -> bool {
        self.0.handles.lock().is_empty()
    }

    /// See [`Handles::last`].
    pub fn last(&self) -> u32 {
        self.0.handles.lock().last()
    }

    /// See [`Handles::reserve`].
    pub fn reserve(&self) -> Result<u32, NoRoom> {
        self.0.handles.lock().reserve()
    }

    /// See [`Handles::push`].
    pub fn push(&self, held: Held) -> u32 {
        self.0.handles.lock().push(held)
    }

    /// See [`Handles::skip`].
    pub fn skip(&self) -> u32 {
        self.0.handles.lock().skip()
    }

    /// See [`Handles::skip_to`].
    pub fn skip_to(&self, number: u32) {
        self.0.handles.lock().skip_to(number);
    }

    /// See [`Handles::take_over`]; `other` is another shell's.
    pub fn take_over(&self, other: &Blocks, number: u32) -> Result<Option<u32>, NoRoom> {
        self.0.handles.lock().take_over(&mut other.0.handles.lock(), number)
    }

    /// See [`Handles::disown`].
    pub fn disown(&self, pid: u16) {
        self.0.handles.lock().disown(pid);
    }

    /// See [`Handles::get`].
    pub fn get(&self, number: u32) -> Option<Held> {
        self.0.handles.lock().get(number)
    }

    /// See [`Handles::take`].
    pub fn take(&self, number: u32) -> Option<Held> {
        self.0.handles.lock().take(number)
    }

    /// See [`Handles::next_from`].
    pub fn next_from(&self, number: u32) -> Option<(u32, Held)> {
        self.0.handles.lock().next_from(number)
    }

    /// See [`Handles::iter`]; what changes meanwhile is seen, or not.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Held)> {
        let mut next = 1;
        core::iter::from_fn(move || {
            let found = self.next_from(next)?;
            next = found.0.saturating_add(1);
            Some(found)
        })
    }

    /// Frees the blocks for which `is_left` holds; `refused` hears of those that the kernel does not take back.
    pub fn free<E: Env>(
        &self,
        memory: &Memory<'_, E>,
        current: &Current<'_>,
        is_left: impl Fn(&Held) -> bool,
        mut refused: impl FnMut(u32, FreeError),
    ) -> Estate {
        let mut estate = Estate::default();
        for (number, _) in self.iter().filter(|(_, held)| is_left(held)) {
            // Somebody else may have been faster.
            let Some(held) = self.take(number) else { continue };
            match page_alloc::free_pages(memory, current, held.pfn, held.order.get()) {
                Ok(_) => {
                    estate.blocks += 1;
                    estate.pages += held.order.nr_pages();
                }
                Err(error) => refused(number, error),
            }
        }
        estate
    }
}

/// What is known of everybody's blocks; clones are the same.
#[derive(Clone, Default)]
pub struct Estates(Arc<Shared>);

struct Shared {
    holders: Mutex<Vec<Blocks>>,
    /// Tasks that keep their blocks when they end: a bit for each number below 64, bit 0 for 64.
    leaky: AtomicU64,
    /// What tasks gave back that have ended, and nobody was told: by their number.
    untold: Mutex<[Estate; MAX_TASKS + 1]>,
}

impl Default for Shared {
    fn default() -> Shared {
        let untold = Mutex::new([Estate::default(); MAX_TASKS + 1]);
        Shared { holders: Mutex::default(), leaky: AtomicU64::new(0), untold }
    }
}

impl Estates {
    /// Counts `blocks` in, for as long as a shell has them.
    pub fn join(&self, blocks: &Blocks) -> Result<(), NoRoom> {
        let mut holders = self.0.holders.lock();
        holders.retain(|holder| Arc::strong_count(&holder.0) > 1);
        holders.try_reserve(1).map_err(|_| NoRoom)?;
        holders.push(blocks.clone());
        Ok(())
    }

    /// Whether task `pid` keeps its blocks when it ends.
    pub fn is_leaky(&self, pid: u16) -> bool {
        self.0.leaky.load(SeqCst) & 1 << (pid % 64) != 0
    }

    /// Sets what [`Estates::is_leaky`] returns.
    pub fn set_leaky(&self, pid: u16, leaky: bool) {
        let bit = 1 << (pid % 64);
        if leaky {
            self.0.leaky.fetch_or(bit, SeqCst)
        } else {
            self.0.leaky.fetch_and(!bit, SeqCst)
        };
    }

    /// What task `pid` gave back when it ended, to be asked for once.
    pub fn take_untold(&self, pid: u16) -> Estate {
        core::mem::take(&mut self.0.untold.lock()[usize::from(pid)])
    }

    /// All that hold blocks, one after the other.
    fn holders(&self) -> impl Iterator<Item = Blocks> {
        (0..).map_while(|nth| self.0.holders.lock().get(nth).cloned())
    }

    /// Whether a shell acts as task `pid`.
    fn runs(&self, pid: u16) -> bool {
        self.holders().any(|holder| holder.0.acting.load(SeqCst) == pid)
    }

    /// Ends `task`, as which nothing runs, but leaves it on the table: the shell has not told of it yet.
    fn end<E: Env>(&self, memory: &Memory<'_, E>, current: &Current<'_>, task: &Task) {
        let pid = task.pid();
        let mut estate = Estate { mapped: task.mm.rss(), ..Estate::default() };
        oom_kill::exit_task(memory, current, task);
        for holder in self.holders() {
            if self.is_leaky(pid) {
                holder.disown(pid);
                continue;
            }
            let refused = |number, error| log::error!("#{number}: {error}");
            let freed = holder.free(memory, current, |held| held.pid == pid, refused);
            estate.blocks += freed.blocks;
            estate.pages += freed.pages;
        }
        self.0.untold.lock()[usize::from(pid)] = estate;
    }
}

/// The [`Undertaker`] of those who call into the kernel from a shell.
pub struct Beside<'s, E: 'static> {
    /// The memory that the tasks use.
    pub memory: &'static Memory<'static, E>,
    /// What they hold.
    pub estates: &'s Estates,
}

impl<E: Env> Undertaker for Beside<'_, E> {
    fn end_dying(&self, current: &Current<'_>) -> bool {
        let Beside { memory, estates } = *self;
        let must_end = |task: &Task| {
            let has_ended = task.flags().contains(TaskFlags::PF_EXITING);
            task.is_dying() && may_die(task) && !has_ended && !estates.runs(task.pid())
        };
        let mut any = false;
        for task in memory.env.tasks().pinned_by_age().filter(|task| must_end(task)) {
            estates.end(memory, current, &task);
            any = true;
        }
        any
    }
}

#[cfg(test)]
mod tests;
