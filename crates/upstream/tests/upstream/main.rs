//! The crate against real servers on real sockets: plain, TLS, stalling, lying, cut.

mod addresses;
mod blobs;
mod credentials;
mod failures;
mod manifests;
mod server;
mod tls;
mod tokens;
