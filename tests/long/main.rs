//! The long form: signatures and artifacts with the tools that people use for them. `make long` runs it.
//!
//! A binary of its own, so that `make test` has nothing to skip.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod artifacts;
mod signatures;
