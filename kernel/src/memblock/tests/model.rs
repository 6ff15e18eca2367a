//! Random steps on a memblock and on a naive one, which agree.

use fastrand::Rng;

use core::ops::Range;

use super::*;

/// A naive memblock: what every page is.
#[derive(Clone, PartialEq, Debug)]
struct Model {
    memory: Vec<Option<(Option<NodeId>, RegionFlags)>>,
    reserved: Vec<bool>,
}

impl Model {
    const PAGES: usize = 96;

    fn new() -> Model {
        Model { memory: vec![None; Model::PAGES], reserved: vec![false; Model::PAGES] }
    }

    fn of(memblock: &Memblock) -> Model {
        let mut model = Model::new();
        let indices = |r: &Region| r.range.start.pfn().0 as usize..r.range.end.pfn().0 as usize;
        for r in memblock.memory() {
            model.memory[indices(r)].fill(Some((r.node, r.flags)));
        }
        for r in memblock.reserved() {
            model.reserved[indices(r)].fill(true);
        }
        model
    }

    fn is_free(&self, page: usize) -> bool {
        self.memory[page].is_some_and(|(_, flags)| !flags.contains(RegionFlags::NOMAP)) && !self.reserved[page]
    }

    /// The highest place, by trying them all.
    fn find(&self, size: usize, align: usize, within: Range<usize>) -> Option<usize> {
        let fits = |base: usize| {
            (base..base + size).all(|page| self.is_free(page) && self.memory[page] == self.memory[base])
                && within.start <= base
                && base + size <= within.end
        };
        (1..=Model::PAGES - size).rev().filter(|base| base % align == 0).find(|base| fits(*base))
    }
}

/// Sorted, disjoint, not empty, neighbours merged.
fn assert_canonical(regions: &[Region]) {
    assert!(regions.iter().all(|r| !r.range.is_empty()), "{regions:?}");
    for pair in regions.windows(2) {
        assert!(pair[0].range.end <= pair[1].range.start && !pair[1].continues(&pair[0]), "{pair:?}");
    }
}

fn step(memblock: &mut Memblock, model: &mut Model, mut random: impl FnMut(usize) -> usize) {
    let (a, b) = (random(Model::PAGES + 1), random(Model::PAGES + 1));
    let (start, end) = (a.min(b), a.max(b).min(a.min(b) + 24));
    let (range, cells) = (pages(start, end), &mut model.memory[start..end]);
    let node = NodeId(random(2) as u8);
    match random(8) {
        0 => {
            memblock.add(range).unwrap();
            cells.iter_mut().for_each(|c| *c = c.or(Some((None, RegionFlags::empty()))));
        }
        1 => {
            memblock.add_node(range, node).unwrap();
            cells.iter_mut().for_each(|c| *c = c.or(Some((Some(node), RegionFlags::empty()))));
        }
        2 => {
            memblock.remove(range).unwrap();
            cells.fill(None);
        }
        3 => {
            memblock.set_node(range, node).unwrap();
            cells.iter_mut().flatten().for_each(|c| c.0 = Some(node));
        }
        4 => {
            memblock.mark_nomap(range).unwrap();
            cells.iter_mut().flatten().for_each(|c| c.1 |= RegionFlags::NOMAP);
        }
        5 => {
            memblock.reserve(range).unwrap();
            model.reserved[start..end].fill(true);
        }
        6 => {
            memblock.free(range).unwrap();
            model.reserved[start..end].fill(false);
        }
        _ => {
            let (size, align) = (1 + random(6), 1 << random(4));
            let want = model.find(size, align, start..end);
            let got = memblock.alloc(size as u64 * PAGE_SIZE, align as u64 * PAGE_SIZE, range, None);
            assert_eq!(got.ok().map(|r| r.start), want.map(page));
            if let Some(base) = want {
                model.reserved[base..base + size].fill(true);
            }
        }
    }
}

/// 20 worlds of 1,000 random steps each agree with the naive model page by page; the seed reproduces a world.
#[test]
fn agrees_with_a_naive_model() {
    let (seeds, steps) = if cfg!(miri) { (1, 50) } else { (20, 1000) };
    for seed in 1..=seeds {
        let (mut memblock, mut model, mut rng) = (Memblock::new(), Model::new(), Rng::with_seed(seed));
        let mut random = |below: usize| rng.usize(..below);
        for _ in 0..steps {
            step(&mut memblock, &mut model, &mut random);
            assert_eq!(Model::of(&memblock), model, "seed {seed}");
            assert_canonical(memblock.memory());
            assert_canonical(memblock.reserved());
            let free: u64 = memblock.free_ranges().map(|r| r.range.size() / PAGE_SIZE).sum();
            assert_eq!(free, (0..Model::PAGES).filter(|p| model.is_free(*p)).count() as u64, "seed {seed}");
        }
    }
}
