//! Threads in every order that the scheduler can think of: `cargo xtask shuttle`.
//!
//! Atomics, spin locks and interrupt masks of the kernel tell the explorer in [`points`] where another thread may run,
//! and shuttle decides which one does: for the small protocols in every way there is, else at random from a seed. All
//! threads asleep with something left to do is a lost wake-up, and shuttle reports that as a deadlock. What weaker
//! orders than sequential consistency allow is not explored.
//!
//! `SLOWPATH_SCHEDULES` is the number of schedules of [`machine`], of which the other random tests take a share each;
//! `SLOWPATH_SHUTTLE_SEED` is where they start. A failure prints the seed of its schedule; that seed and one schedule do the same again.
#![cfg(shuttle)]

mod lists;
mod machine;
mod oom;
mod pages;
mod points;
mod queues;
mod schedules;
mod threads;
mod world;
