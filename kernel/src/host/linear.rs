//! The linear map of a host machine: its RAM, of which high pages have no address there.

use super::HostEnv;
use super::mmu::is_table;
use super::ram::Ram;
use crate::addr::{Pfn, PhysAddr};
use crate::mm::memory::LinearMap;
use crate::sync::atomic::Ordering::Relaxed;

impl HostEnv<'_> {
    /// The byte at `addr`.
    pub fn read(&self, addr: PhysAddr) -> u8 {
        self.ram(|ram| ram.read(addr))
    }

    /// Writes the byte at `addr`, as whoever owns the page may, and who does not should not.
    pub fn write(&self, addr: PhysAddr, byte: u8) {
        self.ram(|ram| ram.write(addr, byte));
    }

    pub(super) fn ram<R>(&self, with: impl FnOnce(&mut Ram) -> R) -> R {
        with(&mut self.ram.lock().expect("no panic while RAM is accessed"))
    }

    /// # Panics
    ///
    /// When `pfn` has no address, as a board would stop.
    #[track_caller]
    fn assert_linear(&self, pfn: Pfn) {
        let is_high = pfn.0 >= self.linear_end.load(Relaxed) && !is_table(pfn);
        assert!(!is_high, "pfn {pfn} is not in the linear map");
    }
}

impl LinearMap for HostEnv<'_> {
    fn fill_pages(&self, pfn: Pfn, nr_pages: u64, byte: u8) {
        self.assert_linear(pfn.add(nr_pages.saturating_sub(1)));
        self.ram(|ram| ram.fill(pfn, nr_pages, byte));
    }

    fn first_other(&self, pfn: Pfn, nr_pages: u64, byte: u8) -> Option<(u64, u8)> {
        self.assert_linear(pfn.add(nr_pages.saturating_sub(1)));
        self.ram(|ram| ram.first_other(pfn, nr_pages, byte))
    }

    fn copy_page(&self, from: Pfn, to: Pfn) {
        self.assert_linear(from.max(to));
        self.ram(|ram| ram.copy(from, to));
    }

    fn write_page(&self, pfn: Pfn, word: impl FnMut(usize) -> u64) {
        self.assert_linear(pfn);
        self.ram(|ram| ram.write_words(pfn, word));
    }

    fn read_page(&self, pfn: Pfn, word: impl FnMut(usize, u64)) {
        self.assert_linear(pfn);
        self.ram(|ram| ram.read_words(pfn, word));
    }

    fn read_word(&self, addr: PhysAddr) -> u64 {
        self.assert_linear(addr.pfn());
        self.ram(|ram| ram.read_word(addr))
    }

    fn write_word(&self, addr: PhysAddr, word: u64) {
        self.assert_linear(addr.pfn());
        self.ram(|ram| ram.write_word(addr, word));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::GARBAGE;

    #[test]
    fn ram_holds_what_was_written_last() {
        let env = HostEnv::default();
        let (one, two) = (Pfn(0x40000), Pfn(0x40001));
        assert_eq!((env.read(one.addr()), env.first_other(one, 2, GARBAGE)), (GARBAGE, None));
        assert_eq!(env.first_other(one, 2, 0), Some((0, GARBAGE)));
        env.fill_pages(one, 2, 0);
        assert_eq!(env.first_other(one, 2, 0), None);
        assert_eq!(env.first_other(one, 3, 0), Some((8192, GARBAGE)));
        env.write(PhysAddr(0x4000_1004), 7);
        assert_eq!(env.first_other(one, 2, 0), Some((4100, 7)));
        assert_eq!((env.read(PhysAddr(0x4000_1004)), env.read(PhysAddr(0x4000_1005))), (7, 0));
        env.fill_pages(two, 1, 0xaa);
        assert_eq!(env.first_other(two, 1, 0xaa), None);
        assert_eq!(env.first_other(one, 1, 0), None);
        assert_eq!(env.read(PhysAddr(0x4000_2000)), GARBAGE);
    }

    #[test]
    fn the_first_byte_may_be_the_only_equal_one() {
        let env = HostEnv::default();
        env.write(PhysAddr(0x4000_0000), 0xaa);
        assert_eq!(env.first_other(Pfn(0x40000), 1, 0xaa), Some((1, GARBAGE)));
    }
}
