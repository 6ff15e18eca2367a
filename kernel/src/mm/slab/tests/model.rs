//! Random requests from a seed, on three CPUs: every byte of every object is written, and checked before it goes.

use crate::random::Random;
use std::collections::BTreeMap;

use super::*;
use crate::host::HostEnv;
use crate::mm::memory::LinearMap;

const STEPS: usize = if cfg!(miri) { 100 } else { 60_000 };
const CPUS: u64 = 3;

/// What the user of an object wrote into it.
#[derive(Clone, Copy)]
struct Used {
    bytes: u64,
    mark: u64,
}

struct Model<'m> {
    lab: Lab<'m>,
    random: Random,
    used: BTreeMap<u64, Used>,
    held: Vec<u64>,
    next_mark: u64,
}

impl Model<'_> {
    fn memory(&self) -> &Memory<'_, HostEnv<'_>> {
        &self.lab.memory
    }

    fn word(used: Used, at: u64) -> u64 {
        used.mark.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ at
    }

    fn alloc(&mut self) {
        let size = match self.random.below(20) {
            0 => 8193 + self.random.below(20_000),
            1..4 => 1 + self.random.below(8192),
            4..8 => 1 + self.random.below(1024),
            _ => 1 + self.random.below(200),
        };
        let kind = if self.random.below(8) == 0 { Gfp::__GFP_RECLAIMABLE } else { Gfp::empty() };
        let zero = if self.random.below(6) == 0 { Gfp::__GFP_ZERO } else { Gfp::empty() };
        let Ok(addr) = self.lab.kmalloc(size, Gfp::GFP_NOWAIT | Gfp::__GFP_NOWARN | kind | zero) else {
            return self.free();
        };
        let bytes = ksize(self.memory(), addr).unwrap() / 8 * 8;
        assert!(bytes >= size, "{bytes} bytes for {size}");
        let after = self.used.range(..addr.0 + bytes).next_back();
        assert!(after.is_none_or(|(start, used)| start + used.bytes <= addr.0), "{addr:?} is in use");
        if !zero.is_empty() {
            (0..size / 8).for_each(|at| assert_eq!(self.memory().env.linear().read_word(PhysAddr(addr.0 + at * 8)), 0));
        }
        self.next_mark += 1;
        let used = Used { bytes, mark: self.next_mark };
        for at in (addr.0..addr.0 + bytes).step_by(8) {
            self.memory().env.linear().write_word(PhysAddr(at), Model::word(used, at));
        }
        self.used.insert(addr.0, used);
        self.held.push(addr.0);
    }

    fn free(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let which = self.random.below(self.held.len() as u64) as usize;
        let addr = self.held.swap_remove(which);
        let used = self.used.remove(&addr).unwrap();
        for at in (addr..addr + used.bytes).step_by(8) {
            assert_eq!(
                self.memory().env.linear().read_word(PhysAddr(at)),
                Model::word(used, at),
                "{at:#x} of {addr:#x}"
            );
        }
        self.lab.kfree(PhysAddr(addr)).unwrap();
        if self.random.below(50) == 0 {
            assert!(self.lab.kfree(PhysAddr(addr)).is_err());
        }
    }

    fn step(&mut self, eagerness: u64) {
        let (cpu, cache) = (self.random.below(CPUS), self.random.below(14));
        self.memory().env.cpu().set_cpu(cpu as usize);
        match self.random.below(1000) {
            0 => _ = self.lab.shrink(self.memory().slabs.get(cache as usize).unwrap()),
            _ if self.random.below(100) < eagerness => self.alloc(),
            _ => self.free(),
        }
    }

    /// Gives everything back; all pages must be free then.
    fn end(mut self) {
        while !self.held.is_empty() {
            self.free();
        }
        for cpu in 0..CPUS {
            self.memory().env.cpu().set_cpu(cpu as usize);
            self.memory().slabs.iter().for_each(|cache| _ = self.lab.shrink(cache));
        }
        self.memory().slabs.iter().for_each(|cache| assert_eq!(self.lab.figures(cache), [0; 3], "{cache:?}"));
        assert_eq!((self.lab.slab_pages(), self.lab.free_pages()), ([0, 0], 16384));
        self.lab.assert_sound();
    }
}

#[test]
fn no_byte_is_lost_and_every_page_comes_back() {
    for seed in [1, 0x1234_5678_9abc_def1] {
        let machine = board();
        let lab = Lab::new(&machine);
        let mut model = Model { lab, random: Random::new(seed), used: BTreeMap::new(), held: Vec::new(), next_mark: 0 };
        for step in 0..STEPS {
            let eagerness = [70, 45, 55, 30][step * 8 / STEPS % 4];
            model.step(eagerness);
        }
        logged(|| model.end());
    }
}
