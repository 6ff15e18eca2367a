//! The objects that the shell has from slabs and pools, by number.
//!
//! Numbers only ever increase, and are those of blocks of pages too: what is #7 is nothing else ([`crate::handles`] gives
//! them out, [`crate::session::Session::next_number`]). An object that was freed keeps its place, so that whoever names it
//! again can be told so; no freed object is ever handed to the kernel a second time, for somebody else may have its memory
//! by then.

use alloc::vec::Vec;

use kernel::addr::PhysAddr;
use kernel::mm::kmem_cache::CacheName;

use crate::handles::NoRoom;

/// Where an object came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// `kmalloc`.
    Kmalloc,
    /// The cache of this name.
    Cache(CacheName),
    /// The pool of this name.
    Pool(CacheName),
}

/// An object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Object {
    /// Its number.
    pub number: u32,
    /// Its first byte.
    pub addr: PhysAddr,
    /// Where it came from.
    pub origin: Origin,
    /// Whether it is still in use.
    pub is_live: bool,
}

/// Every object that the shell has or had.
#[derive(Debug, Default)]
pub struct Objects(Vec<Object>);

impl Objects {
    /// Makes room for one more.
    pub fn reserve(&mut self) -> Result<(), NoRoom> {
        self.0.try_reserve(1).map_err(|_| NoRoom)
    }

    /// Adds an object; its number is above those before. [`Objects::reserve`] was called for it.
    pub fn push(&mut self, number: u32, addr: PhysAddr, origin: Origin) {
        debug_assert!(self.0.last().is_none_or(|last| last.number < number));
        self.0.push(Object { number, addr, origin, is_live: true });
    }

    fn place(&self, number: usize) -> Option<usize> {
        self.0.binary_search_by_key(&number, |object| object.number as usize).ok()
    }

    /// The object with this number.
    pub fn get(&self, number: usize) -> Option<Object> {
        self.place(number).map(|place| self.0[place])
    }

    /// Notes that an object is free.
    pub fn bury(&mut self, number: usize) {
        if let Some(place) = self.place(number) {
            self.0[place].is_live = false;
        }
    }

    /// Notes that an object in use lies elsewhere from now on.
    pub fn move_to(&mut self, number: usize, addr: PhysAddr) {
        if let Some(place) = self.place(number) {
            self.0[place].addr = addr;
        }
    }

    /// The object in use that begins at `addr`.
    pub fn find(&self, addr: PhysAddr) -> Option<usize> {
        self.0.iter().find(|object| object.is_live && object.addr == addr).map(|object| object.number as usize)
    }

    /// The first object in use, from `number` on, that `wanted` picks.
    pub fn next_live(&self, number: usize, wanted: impl Fn(&Object) -> bool) -> Option<usize> {
        let first = self.0.partition_point(|object| (object.number as usize) < number);
        let found = self.0[first..].iter().find(|object| object.is_live && wanted(object))?;
        Some(found.number as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_object_keeps_its_number_and_loses_its_address() {
        let mut objects = Objects::default();
        for number in [1, 2, 5] {
            objects.reserve().unwrap();
            objects.push(number, PhysAddr(u64::from(number) << 12), Origin::Kmalloc);
        }
        objects.bury(2);
        objects.bury(0);
        assert_eq!((objects.find(PhysAddr(0x2000)), objects.find(PhysAddr(0x5000))), (None, Some(5)));
        assert_eq!(objects.get(2).map(|object| object.is_live), Some(false));
        assert_eq!((objects.get(0), objects.get(4), objects.get(5).is_some()), (None, None, true));
        objects.move_to(1, PhysAddr(0x2000));
        assert_eq!(objects.find(PhysAddr(0x2000)), Some(1));
        let next = [1, 2, 5, 9].map(|from| objects.next_live(from, |_| true));
        assert_eq!(next, [Some(1), Some(5), Some(5), None]);
    }
}
