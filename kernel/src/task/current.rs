//! Who acts, and in what context: [`Current`] and [`Context`]; and who ends tasks beside it, [`Undertaker`].
//!
//! `current` is passed to everything that Linux would ask `current` or `preempt_count` for, so that a test, or the shell,
//! can act as any task in any context. Linux: `include/linux/preempt.h`, `current`. Linux does more: contexts nest.

use super::{Task, TaskFlags};
use crate::gfp::Gfp;

/// What runs: a task, or something that interrupted it. Linux: `preempt_count`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Context {
    /// The task itself; it may sleep.
    #[default]
    Task,
    /// The task inside an atomic section, such as under a spin lock.
    Atomic,
    /// The task with bottom halves disabled.
    BhOff,
    /// A softirq.
    SoftIrq,
    /// An interrupt handler.
    HardIrq,
}

impl Context {
    /// Every context, the harmless first.
    pub const ALL: [Context; 5] = [Context::Task, Context::Atomic, Context::BhOff, Context::SoftIrq, Context::HardIrq];

    /// The name in the shell.
    pub const fn name(self) -> &'static str {
        match self {
            Context::Task => "task",
            Context::Atomic => "atomic",
            Context::BhOff => "bhoff",
            Context::SoftIrq => "softirq",
            Context::HardIrq => "hardirq",
        }
    }

    /// `in_interrupt()`: a hard interrupt, a softirq, or bottom halves disabled.
    pub const fn in_interrupt(self) -> bool {
        matches!(self, Context::BhOff | Context::SoftIrq | Context::HardIrq)
    }

    /// `in_serving_softirq()`.
    pub const fn in_serving_softirq(self) -> bool {
        matches!(self, Context::SoftIrq)
    }

    /// `in_irq()`.
    pub const fn in_irq(self) -> bool {
        matches!(self, Context::HardIrq)
    }

    /// Whether sleeping is forbidden.
    pub const fn in_atomic(self) -> bool {
        !matches!(self, Context::Task)
    }

    /// `preempt_count()` as Linux lays it out, with nothing nested.
    pub const fn preempt_count(self) -> u32 {
        match self {
            Context::Task => 0,
            Context::Atomic => 1,
            Context::BhOff => 0x200,
            Context::SoftIrq => 0x100,
            Context::HardIrq => 0x1_0000,
        }
    }
}

/// Ends tasks that were told to die and that no thread acts as, when their memory is needed: they have no code of their own
/// that could notice.
///
/// Linux does without: each task is a thread, and notices when it runs next.
pub trait Undertaker: Sync {
    /// Ends them all, on behalf of `current`, which may sleep; whether there was any.
    fn end_dying(&self, current: &Current<'_>) -> bool;
}

/// Who acts, where, and in what context. Linux: `current`.
#[derive(Clone, Copy)]
pub struct Current<'t> {
    /// The task that acts, or that was interrupted.
    pub task: &'t Task,
    context: Context,
    forbidden: Gfp,
    /// Flags that the thread has beside the task's.
    own: TaskFlags,
    /// Flags of the task that are not for what acts.
    hidden: TaskFlags,
    undertaker: Option<&'t dyn Undertaker>,
}

impl<'t> Current<'t> {
    /// `task` itself.
    pub const fn new(task: &'t Task) -> Current<'t> {
        let none = TaskFlags::empty();
        Current { task, context: Context::Task, forbidden: Gfp::empty(), own: none, hidden: none, undertaker: None }
    }

    /// The same in a scope in which it has `flags`, too: they are this thread's alone, and scopes nest as borrows do.
    /// Linux: `memalloc_noreclaim_save`, `memalloc_noio_save`, `memalloc_nofs_save` and their `_restore`.
    #[must_use]
    pub const fn with(self, flags: TaskFlags) -> Current<'t> {
        Current { own: self.own.union(flags), ..self }
    }

    /// The same where `undertaker` sees to tasks that no thread acts as.
    #[must_use]
    pub const fn beside(self, undertaker: &'t dyn Undertaker) -> Current<'t> {
        Current { undertaker: Some(undertaker), ..self }
    }

    /// Lets tasks end that were told to die and that no thread acts as; whether there was any. The caller may sleep.
    pub fn let_dying_end(&self) -> bool {
        self.undertaker.is_some_and(|undertaker| undertaker.end_dying(self))
    }

    /// The same task in another context.
    #[must_use]
    pub const fn in_context(self, context: Context) -> Current<'t> {
        let forbidden = if context.in_atomic() { Gfp::__GFP_DIRECT_RECLAIM } else { Gfp::empty() };
        Current { context, forbidden, ..self }
    }

    /// Runs `handler` as a softirq that interrupts the task: it has no `PF_MEMALLOC` but its own ([`Current::with`]).
    /// Linux: `__do_softirq`, which takes the flag from the task meanwhile.
    pub fn serve_softirq<R>(self, handler: impl FnOnce(Current<'t>) -> R) -> R {
        let (hidden, own) = (TaskFlags::PF_MEMALLOC, self.own.difference(TaskFlags::PF_MEMALLOC));
        handler(Current { hidden, own, ..self.in_context(Context::SoftIrq) })
    }

    /// Whether the task acts itself, or what interrupted it.
    #[inline(always)]
    pub const fn context(&self) -> Context {
        self.context
    }

    /// What a request must not ask for in this context: to sleep where sleeping is forbidden.
    #[inline(always)]
    pub const fn forbidden(&self) -> Gfp {
        self.forbidden
    }

    /// The flags of what acts. Linux: `current->flags`.
    #[inline(always)]
    pub fn flags(&self) -> TaskFlags {
        (self.task.flags() - self.hidden) | self.own
    }

    /// What is left of a mask after the scopes of what acts. Linux: `current_gfp_context`.
    #[inline(always)]
    pub fn scoped(&self, gfp: Gfp) -> Gfp {
        if !gfp.intersects(Gfp::__GFP_IO | Gfp::__GFP_FS) {
            return gfp;
        }
        let flags = self.flags();
        if flags.contains(TaskFlags::PF_MEMALLOC_NOIO) {
            gfp - Gfp::__GFP_IO - Gfp::__GFP_FS
        } else if flags.contains(TaskFlags::PF_MEMALLOC_NOFS) {
            gfp - Gfp::__GFP_FS
        } else {
            gfp
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::TaskTable;

    #[test]
    fn contexts_are_what_linux_calls_them() {
        let interrupt = Context::ALL.map(Context::in_interrupt);
        assert_eq!(interrupt, [false, false, true, true, true]);
        assert_eq!(Context::ALL.map(Context::in_serving_softirq), [false, false, false, true, false]);
        assert_eq!(Context::ALL.map(Context::in_atomic), [false, true, true, true, true]);
    }

    /// In whatever order the scopes of two threads that act as one task begin and end.
    #[test]
    fn a_scope_is_one_threads_alone() {
        const MEMALLOC: TaskFlags = TaskFlags::PF_MEMALLOC;
        let tasks = TaskTable::new("sh");
        let [first, second] = [Current::new(tasks.init()); 2];
        let in_scope = first.with(MEMALLOC);
        assert!(in_scope.flags().contains(MEMALLOC) && !second.flags().contains(MEMALLOC));
        let nested = in_scope.with(TaskFlags::PF_MEMALLOC_NOIO);
        assert_eq!(nested.flags(), MEMALLOC | TaskFlags::PF_MEMALLOC_NOIO);
        assert_eq!(
            (nested.scoped(Gfp::GFP_KERNEL), in_scope.scoped(Gfp::GFP_KERNEL)),
            (Gfp::GFP_NOIO, Gfp::GFP_KERNEL)
        );
        assert_eq!(tasks.init().flags(), TaskFlags::empty());
        // What a person sets on the task is everybody's, but for softirqs.
        tasks.init().change_flags(MEMALLOC, TaskFlags::empty());
        assert!(second.flags().contains(MEMALLOC));
        assert!(!in_scope.serve_softirq(|softirq| softirq.flags().contains(MEMALLOC)));
        assert!(second.serve_softirq(|softirq| softirq.with(MEMALLOC).flags().contains(MEMALLOC)));
    }
}
