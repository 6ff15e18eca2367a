//! Things to draw from: [`Bag`].

use crate::random::Random;

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
}
