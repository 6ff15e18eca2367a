//! Random numbers, and things to draw from.

/// Marsaglia's xorshift.
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    /// Numbers that follow from `seed`.
    pub fn new(seed: u64) -> Random {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        // Small seeds have few bits; soon they are everywhere.
        (0..8).for_each(|_| _ = random.below(1));
        random
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    /// Whether it is one of `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of the choices.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// Up to `N` things in no order. It lies on a thread's stack for a moment, so things should be small.
#[derive(Clone, Copy, Debug)]
pub struct Bag<T, const N: usize> {
    things: [T; N],
    len: usize,
}

impl<T: Copy, const N: usize> Bag<T, N> {
    /// Nothing; `blank` is what a place holds that holds nothing.
    pub const fn new(blank: T) -> Bag<T, N> {
        Bag { things: [blank; N], len: 0 }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether nothing more goes in.
    pub fn is_full(&self) -> bool {
        self.len == N
    }

    /// Puts a thing in; the bag must not be full.
    pub fn push(&mut self, thing: T) {
        self.things[self.len] = thing;
        self.len += 1;
    }

    /// Takes the thing out that came last.
    pub fn pop(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        Some(self.things[self.len])
    }

    /// Takes any thing out.
    pub fn draw(&mut self, random: &mut Random) -> Option<T> {
        let last = self.len.checked_sub(1)?;
        self.things.swap(random.below(self.len as u64) as usize, last);
        self.pop()
    }

    /// Any of the things.
    pub fn any(&self, random: &mut Random) -> Option<T> {
        (!self.is_empty()).then(|| self.things[random.below(self.len as u64) as usize])
    }

    /// The things.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.things[..self.len].iter().copied()
    }

    /// Takes the things out that are not to be kept.
    pub fn retain(&mut self, mut keep: impl FnMut(T) -> bool) {
        let mut kept = 0;
        for at in 0..core::mem::take(&mut self.len) {
            if keep(self.things[at]) {
                self.things.swap(kept, at);
                kept += 1;
            }
        }
        self.len = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_once() {
        let (mut bag, mut random) = (Bag::<u64, 8>::new(0), Random::new(1));
        (0..8).for_each(|thing| bag.push(thing));
        assert!(bag.is_full() && bag.any(&mut random).is_some());
        bag.retain(|thing| thing != 3);
        let mut drawn: Vec<u64> = core::iter::from_fn(|| bag.draw(&mut random)).collect();
        drawn.sort_unstable();
        assert_eq!(drawn, [0, 1, 2, 4, 5, 6, 7]);
        assert!(bag.is_empty() && bag.pop().is_none());
    }

    #[test]
    fn seeds_make_a_difference() {
        let first = |seed| Random::new(seed).below(1 << 40);
        assert_eq!(first(7), first(7));
        assert_ne!(first(7), first(8));
        assert_ne!(first(6), first(7));
    }
}
