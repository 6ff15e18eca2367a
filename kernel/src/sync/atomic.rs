//! The atomics of this crate: those of `core`, and under `--cfg shuttle` the same with a step before each access.
//!
//! A step is where another thread may run; what else the orders of an access allow is not explored: each is sequentially
//! consistent there. Everything that CPUs share is made of these, so the tests in `tests/concurrency` see it all.

#[cfg(not(shuttle))]
pub use core::sync::atomic::{
    AtomicBool, AtomicI16, AtomicI32, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, fence,
};

pub use core::sync::atomic::Ordering;

#[cfg(shuttle)]
pub use explored::{
    AtomicBool, AtomicI16, AtomicI32, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, fence,
};

#[cfg(shuttle)]
mod explored {
    //! Atomics that let others run first.

    use core::fmt;
    use core::sync::atomic as real;

    use super::Ordering;
    use crate::host::explore::step;

    /// A step, and `core`'s.
    pub fn fence(order: Ordering) {
        step();
        real::fence(order);
    }

    macro_rules! explored {
        ($name:ident, $value:ty, [$($arithmetic:ident),*]) => {
            /// `core`'s, with a step before each access.
            #[derive(Default)]
            #[repr(transparent)]
            pub struct $name(real::$name);

            impl fmt::Debug for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    self.0.fmt(f)
                }
            }

            impl $name {
                /// As `core`'s.
                pub const fn new(value: $value) -> $name {
                    $name(real::$name::new(value))
                }

                /// As `core`'s; nobody else can look, hence no step.
                pub fn get_mut(&mut self) -> &mut $value {
                    self.0.get_mut()
                }

                /// As `core`'s; nobody else can look, hence no step.
                pub fn into_inner(self) -> $value {
                    self.0.into_inner()
                }

                /// As `core`'s.
                pub fn load(&self, order: Ordering) -> $value {
                    step();
                    self.0.load(order)
                }

                /// As `core`'s.
                pub fn store(&self, value: $value, order: Ordering) {
                    step();
                    self.0.store(value, order);
                }

                /// As `core`'s.
                pub fn compare_exchange(
                    &self,
                    old: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    step();
                    self.0.compare_exchange(old, new, success, failure)
                }

                /// As `core`'s: one access, however often it is tried.
                pub fn fetch_update(
                    &self,
                    success: Ordering,
                    failure: Ordering,
                    update: impl FnMut($value) -> Option<$value>,
                ) -> Result<$value, $value> {
                    step();
                    self.0.fetch_update(success, failure, update)
                }

                explored!(@each $value: swap, fetch_and, fetch_or $(, $arithmetic)*);
            }
        };
        (@each $value:ty: $($access:ident),*) => {
            $(
                /// As `core`'s.
                pub fn $access(&self, value: $value, order: Ordering) -> $value {
                    step();
                    self.0.$access(value, order)
                }
            )*
        };
        ($($name:ident: $value:ty),*) => {
            $(explored!($name, $value, [fetch_add, fetch_sub, fetch_max, fetch_min]);)*
        };
    }

    explored!(AtomicBool, bool, []);
    explored!(
        AtomicI16: i16,
        AtomicI32: i32,
        AtomicI64: i64,
        AtomicU8: u8,
        AtomicU16: u16,
        AtomicU32: u32,
        AtomicU64: u64,
        AtomicUsize: usize
    );
}
