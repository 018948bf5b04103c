//! Reading from another registry: challenge, token, redirect, address checks, verification.
//!
//! [`Client`] holds what all upstreams share (connection pools, address policy, timeouts);
//! [`Upstream`] is one registry with one set of credentials and remembers how it wants to be
//! authenticated. Nothing here retries on a schedule, stores anything or knows about
//! organizations: the caller decides what a failure means.

mod address;
mod body;
mod challenge;
mod client;
mod environment;
mod error;
mod observer;
mod resolve;
mod retry_after;
mod token;
mod upstream;

pub use address::{AddressPolicy, Forbidden};
pub use body::{BlobBody, DripLimit};
pub use client::{Client, Settings, Spec};
pub use environment::{Answers, Environment, Proxies};
pub use error::{BuildError, Source, UpstreamError};
pub use observer::{Event, Failure, Observer};
pub use upstream::{BlobAnswer, Head, ManifestBody, Referrers, Upstream};
