//! The blocks that the shell holds, by handle.
//!
//! Handle numbers only ever increase, from #1. A [`Handles`] keeps 8 bytes for each: `alloc -n max` makes millions. They
//! stand in chunks of 1,024; a chunk all of whose blocks were freed gives its heap back. Room for a handle is
//! made before its block is allocated ([`Handles::reserve`]), so that an empty heap never costs a block.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use kernel::addr::{Order, Pfn};

/// Handles in a chunk; 8 KiB of heap.
const CHUNK_SLOTS: u32 = 1024;

/// A block that the shell holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// First page.
    pub pfn: Pfn,
    /// Its size.
    pub order: Order,
    /// Number of the task that allocated it; 0 if that is gone.
    pub pid: u16,
}

/// A block in 8 bytes: the page number below bit 40, the order above it, then the task; 0: none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slot(u64);

const PFN_BITS: u32 = 40;
const ORDER_BITS: u32 = 4;
/// Set in every slot that holds a block; page 0 of order 0 of task 0 would be all zeros.
const HELD_BIT: u64 = 1 << 63;

impl Slot {
    const EMPTY: Slot = Slot(0);

    fn new(held: Held) -> Slot {
        debug_assert!(held.pfn.0 >> PFN_BITS == 0 && held.pid < 1 << 15);
        let order = u64::from(held.order.get()) << PFN_BITS;
        Slot(HELD_BIT | u64::from(held.pid) << (PFN_BITS + ORDER_BITS) | order | held.pfn.0)
    }

    fn held(self) -> Option<Held> {
        if self == Slot::EMPTY {
            return None;
        }
        let order = (self.0 >> PFN_BITS) as u32 & ((1 << ORDER_BITS) - 1);
        Some(Held {
            pfn: Pfn(self.0 & ((1 << PFN_BITS) - 1)),
            order: Order::new(order).expect("a slot is made of an order"),
            pid: ((self.0 & !HELD_BIT) >> (PFN_BITS + ORDER_BITS)) as u16,
        })
    }
}

/// A run of [`CHUNK_SLOTS`] handles; without heap when all of them were given out and freed.
#[derive(Debug, Default)]
struct Chunk {
    slots: Vec<Slot>,
    held: u32,
}

/// Every block that the shell holds.
#[derive(Debug, Default)]
pub struct Handles {
    chunks: VecDeque<Chunk>,
    /// Number of chunks before the first: they were freed whole.
    gone: u32,
    /// Handles given out so far.
    last: u32,
    held: u64,
}

/// The shell's heap, or the numbers of handles, are used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRoom;

impl Handles {
    /// No block; the first handle's number will be the one behind `last`.
    pub const fn behind(last: u32) -> Handles {
        Handles { chunks: VecDeque::new(), gone: last / CHUNK_SLOTS, last, held: 0 }
    }

    /// Number of blocks held.
    pub const fn len(&self) -> u64 {
        self.held
    }

    /// Whether no block is held.
    pub const fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// The number of the last handle given out; 0 before the first.
    pub const fn last(&self) -> u32 {
        self.last
    }

    /// Makes room for one more handle at least; for how many there is room now.
    pub fn reserve(&mut self) -> Result<u32, NoRoom> {
        let next = self.last.checked_add(1).ok_or(NoRoom)?;
        let (chunk, slot) = place(next);
        let known = self.gone + self.chunks.len() as u32;
        if chunk >= known {
            self.chunks.try_reserve(1).map_err(|_| NoRoom)?;
            let mut slots = Vec::new();
            slots.try_reserve_exact(CHUNK_SLOTS as usize).map_err(|_| NoRoom)?;
            // Numbers that somebody else has given out.
            slots.resize(slot, Slot::EMPTY);
            self.chunks.push_back(Chunk { slots, held: 0 });
        }
        Ok((CHUNK_SLOTS - slot as u32).min(u32::MAX - self.last))
    }

    /// Gives `held` the next number. [`Handles::reserve`] was called for it.
    pub fn push(&mut self, held: Held) -> u32 {
        self.held += 1;
        self.push_slot(Slot::new(held)).held += 1;
        self.last
    }

    /// Gives out the next number for something that is no block. [`Handles::reserve`] was called for it.
    pub fn skip(&mut self) -> u32 {
        self.push_slot(Slot::EMPTY);
        self.last
    }

    /// Gives out the next number, for which there is room; its chunk.
    fn push_slot(&mut self, slot: Slot) -> &mut Chunk {
        self.last += 1;
        let chunk = self.chunks.back_mut().expect("reserve made room");
        chunk.slots.push(slot);
        chunk
    }

    /// Gives out numbers for nothing until the next one is `number`, as far as there is room.
    pub fn skip_to(&mut self, number: u32) {
        while self.last + 1 < number && self.reserve().is_ok() {
            self.skip();
        }
    }

    /// Takes over block `number` of `other`; its number from now on, or `None` if `other` does not have it.
    pub fn take_over(&mut self, other: &mut Handles, number: u32) -> Result<Option<u32>, NoRoom> {
        self.reserve()?;
        Ok(other.take(number).map(|held| self.push(held)))
    }

    /// The blocks of task `pid` are nobody's from now on.
    pub fn disown(&mut self, pid: u16) {
        for slot in self.chunks.iter_mut().flat_map(|chunk| &mut chunk.slots) {
            if let Some(held) = slot.held().filter(|held| held.pid == pid) {
                *slot = Slot::new(Held { pid: 0, ..held });
            }
        }
    }

    /// The block behind handle `number`.
    pub fn get(&self, number: u32) -> Option<Held> {
        let (chunk, slot) = place(if number == 0 { return None } else { number });
        let chunk = self.chunks.get(chunk.checked_sub(self.gone)? as usize)?;
        chunk.slots.get(slot)?.held()
    }

    /// Forgets handle `number`; the block behind it is the caller's to free.
    pub fn take(&mut self, number: u32) -> Option<Held> {
        let held = self.get(number)?;
        let (chunk, slot) = place(number);
        let complete = chunk < self.last / CHUNK_SLOTS;
        let chunk = &mut self.chunks[(chunk - self.gone) as usize];
        chunk.slots[slot] = Slot::EMPTY;
        chunk.held -= 1;
        self.held -= 1;
        if chunk.held == 0 && complete {
            chunk.slots = Vec::new();
            self.drop_gone();
        }
        Some(held)
    }

    /// The first handle from `number` on that holds a block.
    pub fn next_from(&self, number: u32) -> Option<(u32, Held)> {
        let mut number = number.max(self.gone * CHUNK_SLOTS + 1);
        while number <= self.last {
            let (chunk, _) = place(number);
            if self.chunks.get((chunk - self.gone) as usize)?.held == 0 {
                number = (chunk + 1) * CHUNK_SLOTS + 1;
                continue;
            }
            if let Some(held) = self.get(number) {
                return Some((number, held));
            }
            number += 1;
        }
        None
    }

    /// Every handle and its block, by number.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Held)> {
        let mut next = 1;
        core::iter::from_fn(move || {
            let found = self.next_from(next)?;
            next = found.0 + 1;
            Some(found)
        })
    }

    /// Drops chunks from the front that hold nothing and never will again.
    fn drop_gone(&mut self) {
        while self.gone < self.last / CHUNK_SLOTS && self.chunks.front().is_some_and(|chunk| chunk.held == 0) {
            self.chunks.pop_front();
            self.gone += 1;
        }
    }
}

/// Chunk and slot of handle `number`, which is at least 1.
const fn place(number: u32) -> (u32, usize) {
    ((number - 1) / CHUNK_SLOTS, ((number - 1) % CHUNK_SLOTS) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(n: u64) -> Held {
        Held { pfn: Pfn(n), order: Order::new((n % 11) as u32).unwrap(), pid: (n % 64) as u16 }
    }

    fn filled(count: u64) -> Handles {
        let mut handles = Handles::default();
        for n in 1..=count {
            handles.reserve().unwrap();
            assert_eq!(u64::from(handles.push(held(n))), n);
        }
        handles
    }

    #[test]
    fn a_slot_keeps_the_whole_block() {
        for block in [held(0), Held { pfn: Pfn((1 << 40) - 1), order: Order::MAX, pid: (1 << 15) - 1 }] {
            assert_eq!(Slot::new(block).held(), Some(block));
        }
        assert_eq!(size_of::<Slot>(), 8);
    }

    #[test]
    fn handles_are_found_taken_and_never_given_again() {
        let mut handles = filled(3);
        assert_eq!(handles.get(2), Some(held(2)));
        assert_eq!(handles.take(2), Some(held(2)));
        assert_eq!((handles.get(2), handles.take(2), handles.get(0), handles.get(4)), (None, None, None, None));
        handles.reserve().unwrap();
        assert_eq!(handles.push(held(9)), 4);
        assert_eq!(handles.iter().map(|(n, _)| n).collect::<Vec<_>>(), [1, 3, 4]);
    }

    #[test]
    fn a_chunk_gives_its_heap_back() {
        let mut handles = filled(5000);
        (1025..=2048).for_each(|n| _ = handles.take(n).unwrap());
        assert_eq!((handles.chunks.len(), handles.chunks[1].slots.capacity()), (5, 0));
        (1..=1024).for_each(|n| _ = handles.take(n).unwrap());
        assert_eq!((handles.chunks.len(), handles.gone), (3, 2));
        assert_eq!(handles.next_from(1), Some((2049, held(2049))));
        (2049..=5000).for_each(|n| _ = handles.take(n).unwrap());
        assert_eq!((handles.len(), handles.next_from(1)), (0, None));
        handles.reserve().unwrap();
        assert_eq!(handles.push(held(7)), 5001);
        assert_eq!(handles.get(5001), Some(held(7)));
        assert_eq!(handles.iter().count(), 1);
    }

    #[test]
    fn numbers_go_on_behind_those_of_somebody_else() {
        for last in [0, 1, 1023, 1024, 1025, 3000] {
            let mut handles = Handles::behind(last);
            handles.reserve().unwrap();
            assert_eq!(handles.push(held(5)), last + 1);
            assert_eq!((handles.get(last + 1), handles.get(last)), (Some(held(5)), None));
            assert_eq!(Handles::behind(last).next_from(1), None);
            assert!(handles.iter().eq([(last + 1, held(5))]));
        }
    }

    #[test]
    fn numbers_can_be_somebody_elses() {
        let mut handles = filled(2);
        handles.reserve().unwrap();
        assert_eq!((handles.skip(), handles.get(3), handles.len()), (3, None, 2));
        handles.reserve().unwrap();
        assert_eq!((handles.push(held(4)), handles.next_from(3)), (4, Some((4, held(4)))));
    }

    #[test]
    fn what_is_disowned_is_nobodys() {
        let mut handles = filled(130);
        handles.disown(3);
        assert!(handles.iter().all(|(_, held)| held.pid != 3));
        assert_eq!(handles.get(67).map(|held| (held.pfn, held.pid)), Some((Pfn(67), 0)));
        assert_eq!(handles.get(68), Some(held(68)));
    }

    #[test]
    fn agrees_with_a_plain_map() {
        let (mut handles, mut model) = (Handles::default(), std::collections::BTreeMap::new());
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..50_000 {
            if random.u8(..5) < 2 || model.is_empty() {
                let pfn = random.u64(..1 << 34);
                handles.reserve().unwrap();
                model.insert(handles.push(held(pfn)), held(pfn));
            } else {
                let number = random.u32(1..=handles.last());
                assert_eq!(handles.take(number), model.remove(&number));
            }
            assert_eq!(handles.len(), model.len() as u64);
        }
        assert!(handles.iter().eq(model.into_iter()));
    }
}
