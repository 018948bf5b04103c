//! The promises of this crate, seen from outside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "what fails here is a failed test"
)]

mod bucket;
mod contract;
mod directory;
mod failures;
mod followers;
mod frames;
mod full_disk;
mod scene;
mod strays;
mod uploads;
