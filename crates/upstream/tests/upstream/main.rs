//! The crate against real servers on real sockets: plain, TLS, stalling, lying, cut.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of a test fails the test like the test itself"
)]

mod addresses;
mod blobs;
mod credentials;
mod failures;
mod manifests;
mod observing;
mod server;
mod tls;
mod tokens;
