//! Support for the end-to-end tests: images, a scripted upstream, a house to run the registry in.
//!
//! Everything here is test code, so a broken expectation panics where it is found.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc
)]

pub mod certificates;
pub mod conformance;
pub mod containerd;
pub mod cosign;
pub mod crane;
pub mod distribution;
pub mod eventually;
pub mod fake;
pub mod helm;
pub mod house;
pub mod image_copy;
pub mod images;
pub mod namespace;
pub mod oras;
pub mod podman;
pub mod ports;
pub mod program;
pub mod reachable;
pub mod recorder;
pub mod replicas;
pub mod skopeo;
pub mod tokenserver;
pub mod tools;
pub mod torture;
