//! O1: what is counted, by exactly the names that the specification gives.
//!
//! Nothing here allocates or looks anything up while a request is answered: an organization's counters are resolved
//! when it is loaded and live in `Served`, those of an upstream host when it is first heard of.

mod organization;
mod requests;
mod upstream;

use std::fmt;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub(crate) use organization::{OrganizationMetrics, Outcome};
pub(crate) use requests::RequestKind;

use organization::Organizations;
use requests::Requests;
use upstream::Hosts;

/// The text format that [`Metrics::encode`] writes.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is counted.
pub(crate) struct Metrics {
    registry: Registry,
    organizations: Organizations,
    hosts: Hosts,
    pub(crate) requests: Requests,
    fills_in_flight: Gauge,
    /// Bytes that the collector has deleted.
    pub(crate) collected_bytes: Counter,
    garbage_bytes: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("quayside");
        let (fills_in_flight, collected_bytes, garbage_bytes) =
            (Gauge::default(), Counter::default(), Gauge::default());
        let organizations = Organizations::register(&mut registry);
        let hosts = Hosts::register(&mut registry);
        registry.register(
            "fills_in_flight",
            "Blobs that are being read from upstreams into storage",
            fills_in_flight.clone(),
        );
        registry.register(
            "collected_bytes",
            "Bytes that were deleted from storage because nothing held them",
            collected_bytes.clone(),
        );
        registry.register(
            "garbage_bytes",
            "Bytes in storage that nothing holds and that are not deleted yet",
            garbage_bytes.clone(),
        );
        let requests = Requests::register(&mut registry);
        Self {
            registry,
            organizations,
            hosts,
            requests,
            fills_in_flight,
            collected_bytes,
            garbage_bytes,
        }
    }

    /// The counters of an organization, which go on counting where they were if it was known before.
    pub(crate) fn organization(&self, name: &str) -> OrganizationMetrics {
        self.organizations.resolve(name)
    }

    /// Drops the counters of every organization that `keep` does not name.
    pub(crate) fn keep_organizations(&self, keep: impl Fn(&str) -> bool) {
        self.organizations.retain(keep);
    }

    /// Hears of what happens on the way to upstreams.
    pub(crate) fn observer(&self) -> quayside_upstream::Observer {
        self.hosts.observer()
    }

    pub(crate) fn set_fills_in_flight(&self, fills: usize) {
        self.fills_in_flight.set(signed(fills as u64));
    }

    pub(crate) fn set_garbage_bytes(&self, bytes: u64) {
        self.garbage_bytes.set(signed(bytes));
    }

    /// All of it, in the format of [`CONTENT_TYPE`].
    pub(crate) fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Gauges are signed; no disk has more bytes than fit.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
