//! The allocator against a naive model: random operations from a seed, on machines of many shapes.
//!
//! The model is a map of the blocks in use. After every step nothing may be lost or handed out twice, a page must lie
//! where its mask allows, and a request may fail only when every zone refuses it; the audit looks at the whole machine
//! after every step of a small machine and now and then on a larger one. When all is given back, the free blocks must be
//! those of the start.
//!
//! `SLOWPATH_MODEL_OPS` is the number of operations on all machines together, `SLOWPATH_MODEL_SEED` where they start. A
//! failure prints the machine, the seed and the step; the same seed does the same again.

mod checks;
mod model;
mod request;
mod shapes;

use kernel::host::HostMachine;

use model::Model;
use shapes::{SHAPES, Shape};

/// Says where a failing run was.
struct Witness<'a> {
    shape: &'a str,
    seed: u64,
    step: u64,
}

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Witness { shape, seed, step } = self;
            eprintln!("machine '{shape}', SLOWPATH_MODEL_SEED={seed}, step {step}");
        }
    }
}

/// Steps of a run after which it may audit less often.
const LONG_RUN: u64 = 100_000;

fn run(shape: &Shape, seed: u64, steps: u64) {
    let audit_every = if steps > LONG_RUN { 16 * shape.audit_every } else { shape.audit_every };
    let machine = HostMachine::new(shape.args, shape.banks, shape.reserved);
    let mut model = Model::new(&machine, seed);
    let mut witness = Witness { shape: shape.name, seed, step: 0 };
    let at_start = model.free_blocks();
    for step in 1..=steps {
        witness.step = step;
        model.step();
        if step % audit_every == 0 {
            model.check_audit();
        }
        if step % 20_000 == 0 || step == steps {
            model.give_back();
            assert_eq!(model.free_blocks(), at_start, "free blocks after everything came back");
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn random_operations_keep_the_promises() {
    let operations = setting("SLOWPATH_MODEL_OPS", if cfg!(miri) { 450 } else { 90_000 });
    let seed = setting("SLOWPATH_MODEL_SEED", 1);
    for shape in &SHAPES {
        run(shape, seed, operations / SHAPES.len() as u64);
    }
}
