//! Who acts, and in what context: [`Current`] and [`Context`].
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

/// Who acts, where, and in what context. Linux: `current`.
#[derive(Clone, Copy)]
pub struct Current<'t> {
    /// The task that acts, or that was interrupted.
    pub task: &'t Task,
    /// The CPU that runs it.
    pub cpu: usize,
    context: Context,
    forbidden: Gfp,
}

impl<'t> Current<'t> {
    /// `task` itself, on CPU `cpu`.
    pub const fn new(task: &'t Task, cpu: usize) -> Current<'t> {
        Current { task, cpu, context: Context::Task, forbidden: Gfp::empty() }
    }

    /// What the task has done on CPU `cpu`.
    #[must_use]
    pub const fn on_cpu(self, cpu: usize) -> Current<'t> {
        Current { cpu, ..self }
    }

    /// The same task in another context.
    #[must_use]
    pub const fn in_context(self, context: Context) -> Current<'t> {
        let forbidden = if context.in_atomic() { Gfp::__GFP_DIRECT_RECLAIM } else { Gfp::empty() };
        Current { context, forbidden, ..self }
    }

    /// Runs `handler` as a softirq that interrupts the task: it has no `PF_MEMALLOC` unless it sets the flag itself, and
    /// the task has afterwards what it had before. Linux: `__do_softirq`.
    pub fn serve_softirq<R>(self, handler: impl FnOnce(Current<'t>) -> R) -> R {
        let before = self.flags() & TaskFlags::PF_MEMALLOC;
        self.task.change_flags(TaskFlags::empty(), TaskFlags::PF_MEMALLOC);
        let result = handler(self.in_context(Context::SoftIrq));
        self.task.change_flags(before, TaskFlags::PF_MEMALLOC - before);
        result
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

    /// The task's flags. Linux: `current->flags`.
    #[inline(always)]
    pub fn flags(&self) -> TaskFlags {
        self.task.flags()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_what_linux_calls_them() {
        let interrupt = Context::ALL.map(Context::in_interrupt);
        assert_eq!(interrupt, [false, false, true, true, true]);
        assert_eq!(Context::ALL.map(Context::in_serving_softirq), [false, false, false, true, false]);
        assert_eq!(Context::ALL.map(Context::in_atomic), [false, true, true, true, true]);
    }
}
