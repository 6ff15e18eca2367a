//! `shuttle`, `loom`: the kernel crate's concurrency tests, which run its threads in many schedules.
//!
//! They are a program of their own: the kernel is built with `--cfg shuttle`, so that its atomics and locks let others
//! run, and is optimised, or it would explore a tenth as much. What they are told by is in `kernel/tests/concurrency`.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::{process, workspace};

/// How much is explored.
#[derive(Args, Clone, Debug)]
pub struct Exploration {
    /// Schedules of the whole machine; the tests of its parts take a share each
    #[arg(long, default_value_t = 1_000_000)]
    pub schedules: u64,
    /// Where the random numbers start
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl Exploration {
    /// As much as the suite has time for.
    pub const SHORT: Exploration = Exploration { schedules: 100_000, seed: 1 };
}

/// Explores for as long as the user wants.
pub fn run(exploration: &Exploration) -> Result<u8> {
    process::show(cargo(exploration).arg("--nocapture"))?;
    Ok(0)
}

/// Explores everything.
pub fn run_loom() -> Result<u8> {
    process::show(loom().args(["--", "--nocapture"]))?;
    Ok(0)
}

/// Cargo's call for what loom explores, in every order that the memory model allows.
pub fn loom() -> Command {
    let mut cargo = workspace::cargo_with(&["test", "--package", "kernel", "--test", "loom"]);
    cargo.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", workspace::target().join("loom"));
    cargo.env("CARGO_PROFILE_TEST_OPT_LEVEL", "1").env("CARGO_PROFILE_TEST_DEBUG", "0");
    cargo
}

/// Cargo's call for the tests; arguments for them may follow.
pub fn cargo(exploration: &Exploration) -> Command {
    let mut cargo = workspace::cargo_with(&["test", "--package", "kernel", "--test", "concurrency", "--"]);
    cargo.env("RUSTFLAGS", "--cfg shuttle").env("CARGO_TARGET_DIR", workspace::target().join("shuttle"));
    cargo.env("CARGO_PROFILE_TEST_OPT_LEVEL", "2");
    cargo.env("SLOWPATH_SCHEDULES", exploration.schedules.to_string());
    cargo.env("SLOWPATH_SHUTTLE_SEED", exploration.seed.to_string());
    cargo
}
