//! Random numbers that a seed gives again: [`Random`], for the stress test and for tests that draw what they do.
//!
//! The generator is `fastrand`'s (wyrand); here are only the questions that such tests ask of it. Nothing of the
//! allocator is random.

/// Numbers that follow from a seed.
#[derive(Clone, Debug)]
pub struct Random(fastrand::Rng);

impl Random {
    /// Numbers that follow from `seed`.
    pub const fn new(seed: u64) -> Random {
        Random(fastrand::Rng::with_seed(seed))
    }

    /// A number below `limit`.
    ///
    /// # Panics
    ///
    /// When `limit` is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0.u64(..limit)
    }

    /// Whether it happens, as it does once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of the choices.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.0.usize(..choices.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_make_a_difference() {
        let first = |seed| Random::new(seed).below(1 << 40);
        assert_eq!(first(7), first(7));
        assert_ne!(first(7), first(8));
        assert_ne!(first(6), first(7));
    }

    #[test]
    fn every_choice_is_made() {
        let mut random = Random::new(1);
        let made: std::collections::BTreeSet<u8> = (0..200).map(|_| random.pick(&[1, 2, 3])).collect();
        assert_eq!(made.len(), 3);
        assert!((0..200).any(|_| random.one_in(10)) && !(0..200).all(|_| random.one_in(10)));
    }
}
