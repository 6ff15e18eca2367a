//! The whole allocation family against a shadow of what everybody has: random operations from a seed.
//!
//! Objects of kmalloc and of caches, pools, areas of vmalloc, pieces of pages, packets, blocks, slots of kmap, and the
//! pages of tasks and files beside them, on three CPUs. Nothing may overlap; what was written must be there when it is
//! given back or moved; what failed, as requests do here now and then, must have changed nothing; misuse is refused. When
//! all is given back and every cache has shrunk, free memory is what it was, but for the translation tables of vmalloc.
//!
//! `SLOWPATH_FAMILY_OPS` is the number of operations on all machines together, `SLOWPATH_FAMILY_SEED` where they start. A
//! failure prints the machine, the seed and the step; the same seed does the same again.

mod areas;
mod blocks;
mod caches;
mod net;
mod objects;
mod pools;
mod shadow;
mod shapes;
mod world;

use shapes::{SHAPES, Shape};
use world::World;

/// Says where a failing run was.
struct Witness<'a> {
    shape: &'a str,
    seed: u64,
    step: u64,
    doing: &'static str,
}

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Witness { shape, seed, step, doing } = self;
            eprintln!("machine '{shape}', SLOWPATH_FAMILY_SEED={seed}, step {step}: {doing}");
        }
    }
}

/// Steps after which everything is given back.
const ROUND: u64 = 20_000;
/// Steps of a run after which it may audit less often.
const LONG_RUN: u64 = 100_000;

fn run(shape: &Shape, seed: u64, steps: u64) {
    let audit_every = if steps > LONG_RUN { 16 * shape.audit_every } else { shape.audit_every };
    let machine = kernel::host::HostMachine::new(shape.args, shape.banks, &[]);
    let memory = machine.memory();
    assert!(shape.name != "high memory" || memory.highmem.start.0 < u64::MAX, "no page is high");
    let mut witness = Witness { shape: shape.name, seed, step: 0, doing: "" };
    let mut world = World::new(&memory, seed);
    for step in 1..=steps {
        witness.step = step;
        world.step(&mut witness.doing);
        if step % audit_every == 0 {
            world.check();
        }
        if step % ROUND == 0 || step == steps {
            witness.doing = "give back";
            world.give_back();
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn what_the_family_gives_is_ones_own_and_comes_back() {
    let operations = setting("SLOWPATH_FAMILY_OPS", if cfg!(miri) { 300 } else { 30_000 });
    let seed = setting("SLOWPATH_FAMILY_SEED", 1);
    for shape in &SHAPES {
        run(shape, seed, operations / SHAPES.len() as u64);
    }
}
