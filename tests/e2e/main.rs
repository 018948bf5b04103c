//! End-to-end tests: the registry over HTTP, against scripted and real upstreams.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

