//! Tasks: made, killed and buried, and what they do to their own memory.

use core::fmt::{self, Write};

use super::{Stress, may_map};
use crate::mm::anon;
use crate::mm::fault;
use crate::mm::memory::{Env, Memory};
use crate::mm::oom_kill;
use crate::mm::users::Users;
use crate::task::{Current, Task, TaskFlags, TaskKind};

/// Ends a task: its memory is free then, and so is its number.
pub(super) fn exit<'u, E: Env<Owner = Users<'u>>>(memory: &Memory<'_, E>, task: &Task) {
    oom_kill::exit_task(memory, &Current::new(task), task);
    assert_eq!(memory.env.tasks().remove(task), Ok(()));
}

/// A task's name, made without a heap.
struct Name([u8; 15], usize);

impl Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.1 + text.len();
        self.0.get_mut(self.1..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.1 = end;
        Ok(())
    }
}

impl Stress {
    /// Ends those of its tasks that were killed, and has as many as it wants.
    pub(super) fn bury<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>) {
        let tasks = memory.env.tasks();
        let killed = |pid: &u16| tasks.by_pid(*pid).is_none_or(Task::is_dying);
        loop {
            let Some(pid) = self.tasks.iter().find(killed) else { break };
            self.tasks.retain(|task| task != pid);
            self.mlocks.retain(|(task, _)| task != pid);
            if let Some(task) = tasks.by_pid(pid) {
                exit(memory, task);
            }
        }
        while !self.tasks.is_full() && self.spawn(memory) {}
    }

    /// Makes a task; whether there was room.
    fn spawn<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>) -> bool {
        let kind = self.random.pick(&[TaskKind::User, TaskKind::User, TaskKind::User, TaskKind::RealTime]);
        let mut name = Name([0; 15], 0);
        self.spawned += 1;
        let fits = write!(name, "s{}.{}", self.id, self.spawned).is_ok();
        let text = core::str::from_utf8(&name.0[..name.1]).ok().filter(|_| fits);
        let Some(Ok(task)) = text.map(|text| memory.env.tasks().spawn(text, kind)) else { return false };
        self.tasks.push(task.pid());
        true
    }

    /// Whom to act as.
    pub(super) fn choose_task<'a, 'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &'a Memory<'_, E>) -> &'a Task {
        let tasks = memory.env.tasks();
        self.tasks.any(&mut self.random).and_then(|pid| tasks.by_pid(pid)).unwrap_or(tasks.init())
    }

    pub(super) fn populate<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>) {
        if !may_map(current.task) {
            return;
        }
        let pages = match self.random.below(400) {
            0 => self.limits.ram + self.limits.ram / 4,
            1..20 => self.random.below(self.limits.ram / 8),
            _ => 1 + self.random.below(32),
        };
        anon::populate(memory, current, memory.env.owner(), pages as u32);
    }

    /// A page that the task may have.
    fn vpn(&mut self, task: &Task) -> u32 {
        let pages = task.mm.total_vm.load(crate::sync::atomic::Ordering::Relaxed);
        self.random.below(pages + 2) as u32
    }

    pub(super) fn touch_anon<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>) {
        if !may_map(current.task) {
            return;
        }
        for _ in 0..1 + self.random.below(4) {
            let vpn = self.vpn(current.task);
            if self.random.one_in(3) {
                let _ = fault::write(memory, current, memory.env.owner(), vpn);
            } else {
                let _ = fault::touch(memory, current, memory.env.owner(), vpn);
            }
        }
    }

    pub(super) fn free_anon<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>) {
        let (users, vpn) = (memory.env.owner(), self.vpn(current.task));
        if self.random.one_in(100) {
            anon::free_all(memory, current, users, current.task);
            return;
        }
        for vpn in vpn..vpn + 1 + self.random.below(16) as u32 {
            let _ = anon::free(memory, current, users, vpn);
        }
    }

    /// Kills somebody, or has the OOM killer do it.
    pub(super) fn kill<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>) {
        match self.random.below(8) {
            0 => _ = oom_kill::sysrq_oom(memory, current),
            1..4 if !current.task.is_init() => current.task.kill(),
            _ => {
                let adj = self.random.pick(&[-500, 0, 0, 500, 1000]);
                let _ = current.task.set_oom_score_adj(adj);
            }
        }
    }

    /// Sets flags that change what requests may do; or clears them all.
    pub(super) fn change_flags<'u, E: Env<Owner = Users<'u>>>(&mut self, _: &Memory<'_, E>, current: &Current<'_>) {
        const HARMLESS: [TaskFlags; 3] = [TaskFlags::PF_MEMALLOC, TaskFlags::PF_LESS_THROTTLE, TaskFlags::PF_DUMPCORE];
        // Requests of such a task never kill, and may go round for ever.
        const STUBBORN: [TaskFlags; 2] = [TaskFlags::PF_MEMALLOC_NOFS, TaskFlags::PF_MEMALLOC_NOIO];
        if current.task.is_init() {
            return;
        }
        let all = HARMLESS.into_iter().chain(STUBBORN).fold(TaskFlags::empty(), TaskFlags::union);
        let set = match self.random.below(6) {
            0 | 1 => self.random.pick(&HARMLESS),
            2 if self.limits.guarded => self.random.pick(&STUBBORN),
            _ => TaskFlags::empty(),
        };
        current.task.change_flags(set, all);
    }
}
