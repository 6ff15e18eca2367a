//! Mutated trees: whatever is in a blob, every question about it returns.
//!
//! A failure names the mutation's number; `SLOWPATH_FUZZ=NUMBER` repeats that one alone.

use fastrand::Rng;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::describe::describe_blob;
use crate::{FIXTURES, RASPI4B};

const MUTATIONS: u64 = if cfg!(miri) { 50 } else { 100_000 };

/// The same number gives the same mutation everywhere.
struct Random(Rng);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0.usize(..limit.max(1))
    }

    /// A word that code is likely to trip over, or any word.
    fn word(&mut self) -> u32 {
        const NASTY: [u32; 14] =
            [0, 1, 2, 3, 4, 5, 9, 0x20, 0x100, 0x7fff_ffff, 0x8000_0000, 0xffff_fff8, 0xffff_fffc, 0xffff_ffff];
        let any = self.0.u32(..);
        NASTY.get(self.below(NASTY.len() + 4)).copied().unwrap_or(any)
    }
}

fn word_at(blob: &[u8], at: usize) -> usize {
    blob.get(at..at + 4).map_or(0, |word| u32::from_be_bytes(word.try_into().expect("four bytes")) as usize)
}

fn set_word(blob: &mut [u8], at: usize, word: u32) {
    if let Some(bytes) = blob.get_mut(at..at + 4) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
}

/// The structure block as the header has it, if it is inside the blob.
fn structure(blob: &[u8]) -> std::ops::Range<usize> {
    let start = word_at(blob, 8).min(blob.len());
    start..(start + word_at(blob, 36)).min(blob.len())
}

/// Puts words into the structure block and moves what comes after it, as the header then says.
fn insert(blob: &mut Vec<u8>, at: usize, words: &[u32]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    let strings = word_at(blob, 12);
    blob.splice(at..at, bytes.iter().copied());
    for (field, moves) in [(4, true), (12, strings >= at), (36, true)] {
        if moves {
            let word = word_at(blob, field) + bytes.len();
            set_word(blob, field, word as u32);
        }
    }
}

/// A word-aligned place in the structure block.
fn place(blob: &[u8], random: &mut Random) -> usize {
    let range = structure(blob);
    range.start + random.below(range.len() / 4) * 4
}

/// A place where the structure block has this token, if a few tries find one.
fn place_of(blob: &[u8], token: usize, random: &mut Random) -> usize {
    (0..64).map(|_| place(blob, random)).find(|at| word_at(blob, *at) == token).unwrap_or(0)
}

fn mutate(blob: &mut Vec<u8>, random: &mut Random) {
    match random.below(14) {
        0 => flip_bits(blob, random),
        1 => {
            let at = place(blob, random);
            set_word(blob, at, random.word());
        }
        2 => set_word(blob, random.below(10) * 4, random.word()),
        3 => truncate(blob, random),
        4 | 5 => {
            let at = place_of(blob, 3, random);
            insert(blob, at, &vec![4; 1 + random.below(8)]);
        }
        6 => insert_storm(blob, random),
        _ => change_property(blob, random),
    }
}

fn flip_bits(blob: &mut [u8], random: &mut Random) {
    let at = random.below(blob.len());
    if let Some(byte) = blob.get_mut(at) {
        *byte ^= random.0.u8(..);
    }
}

/// Cuts the blob, and half the time says so in its header.
fn truncate(blob: &mut Vec<u8>, random: &mut Random) {
    let len = random.below(blob.len());
    blob.truncate(len);
    if random.below(2) == 0 {
        set_word(blob, 4, len as u32);
    }
}

/// Inserts many nodes, each in the one before, and half the time ends them.
fn insert_storm(blob: &mut Vec<u8>, random: &mut Random) {
    let most = [40, 40, 40, 2000][random.below(4)];
    let storm = [1, 0x6100_0000].repeat(1 + random.below(most));
    let at = place_of(blob, 2, random);
    if random.below(2) == 0 {
        insert(blob, at, &vec![2; storm.len() / 2]);
    }
    insert(blob, at, &storm);
}

/// Changes a property's length, its name, or a word of its value.
fn change_property(blob: &mut [u8], random: &mut Random) {
    let at = place_of(blob, 3, random);
    match random.below(4) {
        0 => set_word(blob, at + 4, random.word()),
        1 => {
            let name = random.below(word_at(blob, 32));
            set_word(blob, at + 8, name as u32);
        }
        _ => set_word(blob, at + 12 + 4 * random.below(4), random.word()),
    }
}

/// Mutation `number`: one of the fixtures, changed in one to three places.
fn mutant(number: u64) -> Vec<u8> {
    let mut random = Random(Rng::with_seed(number));
    let seeds = FIXTURES.map(|(_, blob, _)| blob);
    let mut blob = seeds.get(random.below(seeds.len() + 1)).copied().unwrap_or(RASPI4B).to_vec();
    for _ in 0..1 + random.below(3) {
        mutate(&mut blob, &mut random);
    }
    blob
}

#[test]
fn mutants_are_described_or_refused() {
    let only = std::env::var("SLOWPATH_FUZZ").ok().map(|number| number.parse().expect("SLOWPATH_FUZZ is a number"));
    let numbers = only.map_or(0..MUTATIONS, |number: u64| number..number + 1);
    let mut loaded = 0;
    for number in numbers.clone() {
        let blob = mutant(number);
        match catch_unwind(AssertUnwindSafe(|| describe_blob(&blob))) {
            Ok(Ok(description)) => loaded += u64::from(!description.is_empty()),
            Ok(Err(error)) => assert!(error.to_string().starts_with("device tree: "), "{error}"),
            Err(_) => panic!("mutation {number} panicked; repeat it with SLOWPATH_FUZZ={number}"),
        }
    }
    if only.is_none() {
        assert!(loaded > MUTATIONS / 5, "only {loaded} of {MUTATIONS} mutants were worth asking");
    }
}
