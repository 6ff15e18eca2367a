//! Areas of vmalloc: their records, and the list that they are on.
//!
//! A record is an object of kmalloc, which [`Area::load`] and [`Area::store`] read and write word by word. The records are a
//! list in the order of the addresses; [`place`] finds the first gap. Linux: `struct vm_struct`, `struct vmap_area`,
//! `alloc_vmap_area`, `find_vmap_area`.
//!
//! Linux does more: a tree beside the list, and the place where the last search ended.

use crate::addr::{PAGE_SIZE, PhysAddr, VirtAddr};
use crate::comm::Comm;
use crate::mm::memory::LinearMap;
use crate::mm::mmu::{VMALLOC_END, VMALLOC_START};

/// Bytes of a record.
pub const RECORD_BYTES: u64 = 9 * WORD;
/// Bytes of a word.
const WORD: u64 = 8;

/// How far an area has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u64)]
pub enum State {
    /// Pages are being allocated and mapped. Linux: `VM_UNINITIALIZED`.
    #[default]
    Coming = 0,
    /// In use.
    Live = 1,
    /// Pages are being unmapped and freed.
    Going = 2,
}

/// An area: virtually contiguous pages, and one page behind them that is never mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Area {
    /// The first byte.
    pub start: VirtAddr,
    /// Bytes, with those of the guard page.
    pub bytes: u64,
    /// Where the numbers of its pages are: 8 bytes each, in an object of kmalloc or in an area.
    pub pages: VirtAddr,
    /// Pages that it has.
    pub nr_pages: u64,
    /// How far it has come.
    pub state: State,
    /// Whose request it was.
    pub comm: Comm,
    /// Where the record of the next area is.
    pub next: Option<PhysAddr>,
}

impl Area {
    /// Bytes without the guard page. Linux: `get_vm_area_size`.
    pub const fn usable(&self) -> u64 {
        self.bytes - PAGE_SIZE
    }

    /// The address behind the guard page.
    pub const fn end(&self) -> VirtAddr {
        self.start.add(self.bytes)
    }

    /// Whether an address is in the area, the guard page included.
    pub fn contains(&self, at: VirtAddr) -> bool {
        self.start <= at && at < self.end()
    }

    /// The area that is recorded at `record`.
    pub fn load<L: LinearMap>(linear: &L, record: PhysAddr) -> Area {
        let word = |n: u64| linear.read_word(PhysAddr(record.0 + n * WORD));
        let mut comm = [0; 16];
        comm[..8].copy_from_slice(&word(6).to_le_bytes());
        comm[8..].copy_from_slice(&word(7).to_le_bytes());
        Area {
            next: Some(PhysAddr(word(0))).filter(|next| next.0 != 0),
            start: VirtAddr(word(1)),
            bytes: word(2),
            pages: VirtAddr(word(3)),
            nr_pages: word(4),
            state: match word(5) {
                0 => State::Coming,
                1 => State::Live,
                _ => State::Going,
            },
            comm: Comm::from_bytes(comm),
        }
    }

    /// Records the area at `record`.
    pub fn store<L: LinearMap>(&self, linear: &L, record: PhysAddr) {
        let mut comm = [0; 16];
        let name = self.comm.as_str().as_bytes();
        comm[..name.len()].copy_from_slice(name);
        let half = |n: usize| core::array::from_fn(|byte| comm[n * 8 + byte]);
        let words = [
            self.next.map_or(0, |next| next.0),
            self.start.0,
            self.bytes,
            self.pages.0,
            self.nr_pages,
            self.state as u64,
            u64::from_le_bytes(half(0)),
            u64::from_le_bytes(half(1)),
        ];
        (0..).zip(words).for_each(|(n, word)| linear.write_word(PhysAddr(record.0 + n * WORD), word));
    }
}

/// Every area from `first` on, with its record.
pub fn areas<L: LinearMap>(linear: &L, first: Option<PhysAddr>) -> impl Iterator<Item = (PhysAddr, Area)> + '_ {
    let with_area = |record| (record, Area::load(linear, record));
    core::iter::successors(first.map(with_area), move |(_, area)| area.next.map(with_area))
}

/// Where `bytes` bytes fit first between the areas, and the record of the area before that place.
pub fn place<L: LinearMap>(linear: &L, first: Option<PhysAddr>, bytes: u64) -> Option<(VirtAddr, Option<PhysAddr>)> {
    let (mut at, mut before) = (VMALLOC_START, None);
    for (record, area) in areas(linear, first) {
        if area.start.0 - at.0 >= bytes {
            break;
        }
        (at, before) = (area.end(), Some(record));
    }
    (VMALLOC_END.0 - at.0 >= bytes).then_some((at, before))
}

/// Puts the record at `record` of `area` on the list behind that at `before`.
pub fn link<L: LinearMap>(
    linear: &L,
    first: &mut Option<PhysAddr>,
    before: Option<PhysAddr>,
    record: PhysAddr,
    area: Area,
) {
    let next = match before {
        None => first.replace(record),
        Some(before) => {
            let other = Area::load(linear, before);
            Area { next: Some(record), ..other }.store(linear, before);
            other.next
        }
    };
    Area { next, ..area }.store(linear, record);
}

/// Takes the record at `record` off the list.
pub fn unlink<L: LinearMap>(linear: &L, first: &mut Option<PhysAddr>, record: PhysAddr) {
    let next = Area::load(linear, record).next;
    let before = areas(linear, *first).find(|(_, area)| area.next == Some(record));
    match before {
        None => *first = next,
        Some((before, area)) => Area { next, ..area }.store(linear, before),
    }
}
