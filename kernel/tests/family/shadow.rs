//! What everybody who asked for memory must still find there: bytes, and who has which.

use std::collections::BTreeMap;
use std::ops::Range;

use kernel::addr::{PhysAddr, VirtAddr};
use kernel::host::HostEnv;
use kernel::mm::highmem;
use kernel::mm::memory::Memory;
use kernel::mm::pgtable;

/// Where bytes are reached.
#[derive(Clone, Copy, Debug)]
pub enum At {
    /// In memory, outside the linear map or not.
    Phys(PhysAddr),
    /// In the window, where they are mapped.
    Virt(VirtAddr),
}

/// Bytes that nobody else may write to.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    pub at: At,
    /// How many; those beyond the last whole word are left alone.
    pub bytes: u64,
}

impl Region {
    pub fn phys(at: PhysAddr, bytes: u64) -> Region {
        Region { at: At::Phys(at), bytes }
    }

    /// Where its words are: all of a few KiB, one in thirteen of more, and the last.
    fn words(&self) -> impl Iterator<Item = u64> + use<> {
        let end = self.bytes / 8 * 8;
        let step = if end <= 2048 { 8 } else { 8 * 13 };
        (0..end).step_by(step).chain(end.checked_sub(8).filter(|last| !last.is_multiple_of(step as u64)))
    }

    fn read(&self, memory: &Memory<'_, HostEnv<'_>>, at: u64) -> u64 {
        match self.at {
            At::Phys(start) => highmem::read_word(memory, PhysAddr(start.0 + at)),
            At::Virt(start) => pgtable::read_word(memory, start.add(at)),
        }
    }

    fn write(&self, memory: &Memory<'_, HostEnv<'_>>, at: u64, word: u64) {
        match self.at {
            At::Phys(start) => highmem::write_word(memory, PhysAddr(start.0 + at), word),
            At::Virt(start) => pgtable::write_word(memory, start.add(at), word),
        }
    }

    /// Writes what [`Region::check`] expects.
    pub fn fill(&self, memory: &Memory<'_, HostEnv<'_>>, mark: u64) {
        self.words().for_each(|at| self.write(memory, at, word(mark, at)));
    }

    /// The first `bytes` bytes are what was written.
    #[track_caller]
    pub fn check(&self, memory: &Memory<'_, HostEnv<'_>>, mark: u64, bytes: u64) {
        for at in self.words().filter(|at| at + 8 <= bytes) {
            assert_eq!(self.read(memory, at), word(mark, at), "somebody wrote to byte {at} of {self:x?}");
        }
    }

    /// There is nothing but zeros in the first `bytes` bytes.
    #[track_caller]
    pub fn check_zero(&self, memory: &Memory<'_, HostEnv<'_>>, bytes: u64) {
        for at in self.words().filter(|at| at + 8 <= bytes) {
            assert_eq!(self.read(memory, at), 0, "byte {at} of {self:x?}");
        }
    }
}

/// What stands at byte `at` of what has this mark.
pub fn word(mark: u64, at: u64) -> u64 {
    mark.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ at
}

/// Which bytes of memory somebody has, and what was written there.
#[derive(Debug)]
pub struct Held {
    /// Ranges of physical addresses.
    pub ranges: Vec<Range<u64>>,
    pub regions: Vec<Region>,
    pub mark: u64,
}

/// All bytes that somebody has: the end of each range by its start.
#[derive(Default)]
pub struct Shadow {
    used: BTreeMap<u64, u64>,
    next_mark: u64,
}

impl Shadow {
    /// Somebody has these bytes from now on, and nobody else.
    #[track_caller]
    pub fn hold(&mut self, memory: &Memory<'_, HostEnv<'_>>, ranges: Vec<Range<u64>>, regions: Vec<Region>) -> Held {
        for range in &ranges {
            let before = self.used.range(..range.end).next_back();
            assert!(before.is_none_or(|(_, end)| *end <= range.start), "{range:x?} overlaps {before:x?}");
            self.used.insert(range.start, range.end);
        }
        self.next_mark += 1;
        regions.iter().for_each(|region| region.fill(memory, self.next_mark));
        Held { ranges, regions, mark: self.next_mark }
    }

    /// [`Shadow::hold`] for `bytes` bytes at `addr`.
    #[track_caller]
    pub fn hold_at(&mut self, memory: &Memory<'_, HostEnv<'_>>, addr: PhysAddr, bytes: u64) -> Held {
        let whole = addr.0..addr.0 + bytes;
        self.hold(memory, vec![whole], vec![Region::phys(addr, bytes)])
    }

    /// Nobody has these bytes any more; they must be as they were left.
    #[track_caller]
    pub fn release(&mut self, memory: &Memory<'_, HostEnv<'_>>, held: &Held) {
        held.regions.iter().for_each(|region| region.check(memory, held.mark, region.bytes));
        for range in &held.ranges {
            assert_eq!(self.used.remove(&range.start), Some(range.end));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.used.is_empty()
    }
}
