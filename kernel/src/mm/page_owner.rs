//! Who allocated a page, with which mask, and when: recorded when the boot argument `page_owner=on` asks for it.
//!
//! A [`PageOwners`] is an array beside the page records, 24 bytes a page, that only this hook reads and writes. An entry
//! is meaningful while its page heads an allocated block. Linux: `mm/page_owner.c`.
//!
//! Linux does more: it keeps the stack of the allocation and of the free.

use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::gfp::Gfp;
use crate::task::{Comm, Task};

/// One page's entry.
#[derive(Default)]
pub struct OwnerRecord {
    /// Mask in the low half, task number above it.
    request: AtomicU64,
    time_ns: AtomicU64,
    comm: AtomicU64,
}

/// Who allocated a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// Number of the task.
    pub pid: u16,
    /// First bytes of its name then.
    pub comm: [u8; 8],
    /// The request's mask.
    pub gfp: Gfp,
    /// When, in nanoseconds since the machine started.
    pub time_ns: u64,
}

impl Owner {
    /// The name as text.
    pub fn comm(&self) -> &str {
        let end = self.comm.iter().position(|&byte| byte == 0).unwrap_or(self.comm.len());
        str::from_utf8(&self.comm[..end]).unwrap_or("?")
    }
}

/// The entries of all pages, or none when owners are not recorded.
#[derive(Default)]
pub struct PageOwners<'m> {
    records: &'m [OwnerRecord],
}

impl<'m> PageOwners<'m> {
    /// Owners in `records`, one for each page record. What is in them at first does not matter.
    pub fn new(records: &'m [OwnerRecord]) -> PageOwners<'m> {
        PageOwners { records }
    }

    /// Whether owners are recorded.
    pub fn is_on(&self) -> bool {
        !self.records.is_empty()
    }

    /// Notes that `task` allocated the block at `index`.
    pub fn set(&self, index: u32, task: &Task, gfp: Gfp, time_ns: u64) {
        let Some(record) = self.records.get(index as usize) else { return };
        record.request.store(u64::from(task.pid()) << 32 | u64::from(gfp.bits()), Relaxed);
        record.time_ns.store(time_ns, Relaxed);
        record.comm.store(first_bytes(task.comm()), Relaxed);
    }

    /// Notes that the block at `to` was part of the one at `from`. Linux: `__split_page_owner`.
    pub fn copy(&self, from: u32, to: u32) {
        let (Some(from), Some(to)) = (self.records.get(from as usize), self.records.get(to as usize)) else { return };
        to.request.store(from.request.load(Relaxed), Relaxed);
        to.time_ns.store(from.time_ns.load(Relaxed), Relaxed);
        to.comm.store(from.comm.load(Relaxed), Relaxed);
    }

    /// Who allocated the block at `index`, which must be allocated now.
    pub fn get(&self, index: u32) -> Option<Owner> {
        let record = self.records.get(index as usize)?;
        let request = record.request.load(Relaxed);
        Some(Owner {
            pid: (request >> 32) as u16,
            comm: record.comm.load(Relaxed).to_le_bytes(),
            gfp: Gfp::from_bits_retain(request as u32),
            time_ns: record.time_ns.load(Relaxed),
        })
    }
}

fn first_bytes(comm: Comm) -> u64 {
    comm.as_str().bytes().take(8).enumerate().fold(0, |word, (at, byte)| word | u64::from(byte) << (8 * at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{TaskKind, TaskTable};

    #[test]
    fn an_owner_is_remembered() {
        let records: Vec<OwnerRecord> = (0..4).map(|_| OwnerRecord::default()).collect();
        let owners = PageOwners::new(&records);
        let tasks = TaskTable::new("sh");
        let task = tasks.spawn("memory-hog", TaskKind::User).unwrap();
        owners.set(3, task, Gfp::GFP_ATOMIC, 77);
        let expected = Owner { pid: 2, comm: *b"memory-h", gfp: Gfp::GFP_ATOMIC, time_ns: 77 };
        assert_eq!(owners.get(3), Some(expected));
        owners.copy(3, 1);
        assert_eq!(owners.get(1), owners.get(3));
        assert_eq!(expected.comm(), "memory-h");
        assert_eq!(owners.get(4), None);
        assert!(!PageOwners::default().is_on());
    }
}
