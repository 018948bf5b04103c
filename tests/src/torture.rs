//! Support for the torture of the process: chance that can be repeated, and a look at what a dead process has left.

mod chance;
mod remains;

pub use chance::Chance;
pub use remains::{Age, Remains};

/// Whether this is the long form of the tests: `make long`, `make torture`.
pub fn is_long() -> bool {
    std::env::var_os("QUAYSIDE_LONG").is_some_and(|value| value == "1")
}
