//! The areas of vmalloc that the shell has, by number.
//!
//! Numbers are those of blocks of pages and of objects too ([`crate::session::Session::next_number`]). An area that was freed
//! keeps its place, so that whoever names it again can be told so.

use alloc::vec::Vec;

use kernel::addr::VirtAddr;

use crate::handles::NoRoom;

/// An area.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// Its number.
    pub number: u32,
    /// Where it starts.
    pub start: VirtAddr,
    /// Its pages, in bytes.
    pub bytes: u64,
    /// Whether it is still there.
    pub is_live: bool,
}

/// Every area that the shell has or had.
#[derive(Debug, Default)]
pub struct Areas(Vec<Held>);

impl Areas {
    /// Makes room for one more.
    pub fn reserve(&mut self) -> Result<(), NoRoom> {
        self.0.try_reserve(1).map_err(|_| NoRoom)
    }

    /// Adds an area; its number is above those before. [`Areas::reserve`] was called for it.
    pub fn push(&mut self, number: u32, start: VirtAddr, bytes: u64) {
        debug_assert!(self.0.last().is_none_or(|last| last.number < number));
        self.0.push(Held { number, start, bytes, is_live: true });
    }

    /// The area with this number.
    pub fn get(&self, number: u32) -> Option<Held> {
        let place = self.0.binary_search_by_key(&number, |area| area.number);
        place.ok().map(|place| self.0[place])
    }

    /// Notes that the area at `start` is gone.
    pub fn bury(&mut self, start: VirtAddr) {
        if let Some(area) = self.0.iter_mut().find(|area| area.is_live && area.start == start) {
            area.is_live = false;
        }
    }

    /// Whether the area at `start` is the shell's.
    pub fn has(&self, start: VirtAddr) -> bool {
        self.0.iter().any(|area| area.is_live && area.start == start)
    }

    /// The first area that is there, from `number` on.
    pub fn next_live(&self, number: u32) -> Option<Held> {
        let first = self.0.partition_point(|area| area.number < number);
        self.0[first..].iter().find(|area| area.is_live).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_area_keeps_its_number() {
        let mut areas = Areas::default();
        for number in [3, 7] {
            areas.reserve().unwrap();
            areas.push(number, VirtAddr(u64::from(number) << 12), 4096);
        }
        areas.bury(VirtAddr(0x3000));
        assert_eq!(areas.get(3).map(|area| area.is_live), Some(false));
        assert_eq!((areas.get(4), areas.next_live(1).map(|area| area.number)), (None, Some(7)));
        assert_eq!((areas.next_live(8), areas.has(VirtAddr(0x3000)), areas.has(VirtAddr(0x7000))), (None, false, true));
    }
}
