//! What is counted per upstream host.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use quayside_upstream::{Event, Failure, Observer};

use super::signed;

/// Upstreams choose where they redirect to. Hosts beyond this many are counted together, so that none of them can
/// fill our memory or the monitoring's.
const MOST_HOSTS: usize = 256;
const OTHERS: &str = "other";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Host {
    host: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HostCode {
    host: String,
    code: String,
}

/// The families that have a host as label.
#[derive(Clone, Default)]
pub(super) struct Hosts {
    requests: Family<HostCode, Counter>,
    remaining: Family<Host, Gauge>,
    fetched: Family<Host, Counter>,
    /// The hosts that were heard of, with what is counted for every piece of a body.
    received: Arc<RwLock<HashMap<String, Counter>>>,
}

impl Hosts {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let hosts = Self::default();
        registry.register(
            "upstream_requests",
            "Requests to upstreams, their token services and the targets of their redirects, by status code or failure",
            hosts.requests.clone(),
        );
        registry.register(
            "upstream_ratelimit_remaining",
            "Requests that the host's rate limit leaves, as it last said",
            hosts.remaining.clone(),
        );
        registry.register(
            "fetched_bytes",
            "Bytes of bodies that were received from upstreams",
            hosts.fetched.clone(),
        );
        hosts
    }

    pub(super) fn observer(&self) -> Observer {
        let hosts = self.clone();
        Observer::new(move |event| hosts.hear(event))
    }

    pub(super) fn hear(&self, event: Event<'_>) {
        match event {
            Event::Answered {
                host,
                status,
                remaining,
            } => {
                let host = self.label(host);
                if let Some(remaining) = remaining {
                    let labels = Host { host: host.clone() };
                    self.remaining.get_or_create_owned(&labels).set(signed(remaining));
                }
                self.requested(host, status.to_string());
            }
            Event::Failed { host, failure } => {
                let code = match failure {
                    Failure::Unreachable => "unreachable",
                    Failure::Tls => "tls",
                    Failure::Timeout => "timeout",
                };
                self.requested(self.label(host), code.to_owned());
            }
            Event::Received { host, bytes } => {
                let received = self.received();
                if let Some(counter) = received.get(host).or_else(|| received.get(OTHERS)) {
                    counter.inc_by(bytes as u64);
                }
            }
        }
    }

    fn requested(&self, host: String, code: String) {
        self.requests.get_or_create_owned(&HostCode { host, code }).inc();
    }

    /// The name under which a host is counted. Called once per request, so that a body's host is always known.
    fn label(&self, host: &str) -> String {
        if self.received().contains_key(host) {
            return host.to_owned();
        }
        let mut received = self.received.write().unwrap_or_else(PoisonError::into_inner);
        let room = received.contains_key(host) || received.len() < MOST_HOSTS;
        let host = if room { host } else { OTHERS }.to_owned();
        let labels = Host { host: host.clone() };
        received
            .entry(host.clone())
            .or_insert_with(|| self.fetched.get_or_create_owned(&labels));
        host
    }

    fn received(&self) -> RwLockReadGuard<'_, HashMap<String, Counter>> {
        self.received.read().unwrap_or_else(PoisonError::into_inner)
    }
}
