//! What a task is doing: [`TaskFlags`], by which requests tell who may use the reserves.
//!
//! Names are found and printed from one table. Linux: `PF_*` of `include/linux/sched.h`. Linux does more: twenty others.

use core::fmt;

use bitflags::bitflags;

bitflags! {
    /// What a task is doing, written by the task itself. Linux: `PF_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct TaskFlags: u32 {
        /// Getting shut down.
        const PF_EXITING = 0x4;
        /// I am a worker of a workqueue.
        const PF_WQ_WORKER = 0x20;
        /// Dumping core.
        const PF_DUMPCORE = 0x200;
        /// Making room: may use all of the reserves.
        const PF_MEMALLOC = 0x800;
        /// I am kswapd.
        const PF_KSWAPD = 0x2_0000;
        /// Requests lose `__GFP_FS`.
        const PF_MEMALLOC_NOFS = 0x4_0000;
        /// Requests lose `__GFP_IO` and `__GFP_FS`.
        const PF_MEMALLOC_NOIO = 0x8_0000;
        /// Throttle me less: I clean memory.
        const PF_LESS_THROTTLE = 0x10_0000;
        /// I am a kernel thread.
        const PF_KTHREAD = 0x20_0000;
        /// I may write to the swap space although it is congested.
        const PF_SWAPWRITE = 0x80_0000;
    }
}

impl TaskFlags {
    /// The flag called `name`, in either case and with or without underscores, `PF_`, or `PF_MEMALLOC_`.
    pub fn by_name(name: &str) -> Option<TaskFlags> {
        TaskFlags::all().iter_names().find_map(|(known, flag)| {
            let bare = &known[3..];
            let short = bare.strip_prefix("MEMALLOC_").unwrap_or(bare);
            [known, bare, short].into_iter().any(|text| is_spelt(text, name)).then_some(flag)
        })
    }
}

/// Whether two names differ in nothing but case and underscores.
fn is_spelt(name: &str, other: &str) -> bool {
    fn letters(text: &str) -> impl Iterator<Item = u8> {
        text.bytes().filter(|&byte| byte != b'_').map(|byte| byte.to_ascii_lowercase())
    }
    letters(name).eq(letters(other))
}

impl fmt::Display for TaskFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, _) in self.iter_names() {
            write!(f, "{separator}{name}")?;
            separator = "|";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::TaskTable;

    #[test]
    fn flags_are_found_by_either_name() {
        assert_eq!(TaskFlags::by_name("PF_MEMALLOC"), Some(TaskFlags::PF_MEMALLOC));
        assert_eq!(TaskFlags::by_name("memalloc_nofs"), Some(TaskFlags::PF_MEMALLOC_NOFS));
        assert_eq!(TaskFlags::by_name("memalloc_no"), None);
        assert_eq!(TaskFlags::by_name("nofs"), Some(TaskFlags::PF_MEMALLOC_NOFS));
        assert_eq!(TaskFlags::by_name("lessthrottle"), Some(TaskFlags::PF_LESS_THROTTLE));
        assert_eq!(TaskFlags::by_name("pf_"), None);
        let tasks = TaskTable::new("sh");
        tasks.init().change_flags(TaskFlags::PF_MEMALLOC | TaskFlags::PF_EXITING, TaskFlags::empty());
        tasks.init().change_flags(TaskFlags::empty(), TaskFlags::PF_EXITING);
        assert_eq!(tasks.init().flags().to_string(), "PF_MEMALLOC");
    }
}
