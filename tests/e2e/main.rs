//! End-to-end tests: the registry over HTTP, against scripted and real upstreams.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clients;
mod background;
mod blobs;
mod digests;
mod formats;
mod freshness;
mod names;
mod renewals;
mod scene;
mod transfers;
