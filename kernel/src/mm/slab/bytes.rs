//! Bytes of objects, of which [`LinearMap`] reads and writes whole words.

use crate::addr::PhysAddr;
use crate::mm::memory::LinearMap;

/// Bytes of a word.
const WORD: u64 = 8;

/// The words that `bytes` bytes at `addr` touch: where each lies, and which of its bits are touched.
fn words(addr: PhysAddr, bytes: u64) -> impl Iterator<Item = (PhysAddr, u64)> {
    let end = addr.0 + bytes;
    (addr.0 / WORD * WORD..end).step_by(WORD as usize).map(move |at| {
        let before = u64::MAX << (8 * addr.0.saturating_sub(at));
        let behind = u64::MAX >> (8 * (at + WORD).saturating_sub(end));
        (PhysAddr(at), before & behind)
    })
}

/// A word full of `byte`.
const fn full_of(byte: u8) -> u64 {
    u64::from_le_bytes([byte; WORD as usize])
}

/// Writes the bits of `word` that `touched` names.
fn write<L: LinearMap>(linear: &L, at: PhysAddr, touched: u64, word: u64) {
    let kept = if touched == u64::MAX { 0 } else { linear.read_word(at) & !touched };
    linear.write_word(at, kept | word & touched);
}

/// Fills `bytes` bytes at `addr` with `byte`. Linux: `memset`.
pub fn fill<L: LinearMap>(linear: &L, addr: PhysAddr, bytes: u64, byte: u8) {
    words(addr, bytes).for_each(|(at, touched)| write(linear, at, touched, full_of(byte)));
}

/// Copies `bytes` bytes between two objects, which start with a word. Linux: `memcpy`.
pub fn copy<L: LinearMap>(linear: &L, from: PhysAddr, to: PhysAddr, bytes: u64) {
    for (at, touched) in words(to, bytes) {
        write(linear, at, touched, linear.read_word(PhysAddr(from.0 + (at.0 - to.0))));
    }
}

/// The first of `bytes` bytes at `addr` that is not `byte`: where it is, and what. Linux: `memchr_inv`.
pub fn first_other<L: LinearMap>(linear: &L, addr: PhysAddr, bytes: u64, byte: u8) -> Option<(PhysAddr, u8)> {
    words(addr, bytes).find_map(|(at, touched)| {
        let word = linear.read_word(at);
        let other = ((word ^ full_of(byte)) & touched).trailing_zeros() / 8;
        let is_other = u64::from(other) < WORD;
        is_other.then(|| (PhysAddr(at.0 + u64::from(other)), (word >> (8 * other)) as u8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{GARBAGE, HostEnv};

    #[test]
    fn any_bytes_can_be_filled_and_searched() {
        for (first, bytes) in
            [(0x4000_0ffd, 14), (0x4000_0008, 8), (0x4000_0003, 2), (0x4000_0009, 7), (0x4000_0001, 0)]
        {
            let env = HostEnv::default();
            let addr = PhysAddr(first);
            fill(&env, addr, bytes, 7);
            let around = (first - 1..first + bytes + 1).map(|at| env.read(PhysAddr(at)));
            let expected = [&[GARBAGE][..], &vec![7; bytes as usize], &[GARBAGE]].concat();
            assert_eq!(around.collect::<Vec<u8>>(), expected, "{bytes} bytes at {first:#x}");
            assert_eq!(first_other(&env, addr, bytes, 7), None);
            assert_eq!(first_other(&env, addr, bytes + 1, 7), Some((PhysAddr(first + bytes), GARBAGE)));
            for wrong in first..first + bytes {
                env.write(PhysAddr(wrong), 9);
                assert_eq!(first_other(&env, addr, bytes, 7), Some((PhysAddr(wrong), 9)));
                env.write(PhysAddr(wrong), 7);
            }
        }
    }

    #[test]
    fn a_copy_ends_where_it_should() {
        let env = HostEnv::default();
        let (from, to) = (PhysAddr(0x4000_0100), PhysAddr(0x4000_2ff8));
        (0..20).for_each(|at| env.write(PhysAddr(from.0 + at), at as u8));
        copy(&env, from, to, 13);
        let copied: Vec<u8> = (0..14).map(|at| env.read(PhysAddr(to.0 + at))).collect();
        assert_eq!(copied, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, GARBAGE]);
    }
}
