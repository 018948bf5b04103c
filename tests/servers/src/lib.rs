//! Real servers for the tests of several crates. Each belongs to the test that started it and goes with it.
//!
//! Everything here is test code, so a broken expectation panics where it is found.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc
)]

mod background;
pub mod balancer;
mod cache;
pub mod ceph;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod replicas;
pub mod s3_door;
pub mod versitygw;
pub mod wire;

pub use balancer::Balancer;
pub use ceph::Ceph;
pub use postgres::Postgres;
pub use replicas::Replicas;
pub use s3_door::S3Door;
pub use versitygw::Versitygw;
pub use wire::Wire;
