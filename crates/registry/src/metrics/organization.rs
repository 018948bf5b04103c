//! What is counted per organization.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::signed;

/// How a pull, or a request for a blob, was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// From the cache, without asking upstream.
    Hit,
    /// From upstream.
    Miss,
    /// From the cache, after upstream confirmed it.
    Revalidated,
    /// From the cache, although upstream did not confirm it.
    Stale,
    /// Refused to who asked.
    Denied,
    /// Not at all, for any other reason.
    Error,
}

impl Outcome {
    /// In the order of their numbers.
    const ALL: [Self; 6] = [
        Self::Hit,
        Self::Miss,
        Self::Revalidated,
        Self::Stale,
        Self::Denied,
        Self::Error,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Revalidated => "revalidated",
            Self::Stale => "stale",
            Self::Denied => "denied",
            Self::Error => "error",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Organization {
    organization: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OrganizationResult {
    organization: String,
    result: &'static str,
}

type Results = Family<OrganizationResult, Counter>;

/// One counter per outcome.
#[derive(Debug, Clone)]
pub(crate) struct Outcomes([Counter; 6]);

impl Outcomes {
    fn resolve(family: &Results, organization: &str) -> Self {
        Self(Outcome::ALL.map(|outcome| family.get_or_create_owned(&labels(organization, outcome))))
    }

    pub(crate) fn count(&self, outcome: Outcome) {
        if let Some(counter) = self.0.get(outcome as usize) {
            counter.inc();
        }
    }
}

fn labels(organization: &str, outcome: Outcome) -> OrganizationResult {
    OrganizationResult {
        organization: organization.to_owned(),
        result: outcome.name(),
    }
}

/// The counters of one organization. Counting is an atomic addition.
#[derive(Debug, Clone)]
pub(crate) struct OrganizationMetrics {
    /// GETs of manifests.
    pub(crate) pulls: Outcomes,
    /// GETs and HEADs of blobs.
    pub(crate) blobs: Outcomes,
    /// Bytes of bodies that were handed to clients.
    pub(crate) served_bytes: Counter,
    /// Images that were pruned to keep it under its quota.
    pub(crate) pruned: Counter,
    /// Manifests that did not fit into its quota.
    pub(crate) refused: Counter,
    usage: Gauge,
    quota: Family<Organization, Gauge>,
    name: Organization,
}

impl OrganizationMetrics {
    pub(crate) fn set_usage(&self, bytes: u64) {
        self.usage.set(signed(bytes));
    }

    /// An organization without a quota has no such series.
    pub(crate) fn set_quota(&self, bytes: Option<u64>) {
        match bytes {
            Some(bytes) => {
                self.quota.get_or_create_owned(&self.name).set(signed(bytes));
            }
            None => {
                self.quota.remove(&self.name);
            }
        }
    }
}

/// The families that have an organization as label.
pub(super) struct Organizations {
    pulls: Results,
    blobs: Results,
    served: Family<Organization, Counter>,
    pruned: Family<Organization, Counter>,
    refused: Family<Organization, Counter>,
    usage: Family<Organization, Gauge>,
    quota: Family<Organization, Gauge>,
    known: Mutex<BTreeSet<String>>,
}

impl Organizations {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let families = Self {
            pulls: Family::default(),
            blobs: Family::default(),
            served: Family::default(),
            pruned: Family::default(),
            refused: Family::default(),
            usage: Family::default(),
            quota: Family::default(),
            known: Mutex::default(),
        };
        registry.register("pulls", "GETs of manifests by result", families.pulls.clone());
        registry.register(
            "blob_requests",
            "GETs and HEADs of blobs by result",
            families.blobs.clone(),
        );
        registry.register(
            "served_bytes",
            "Bytes of manifests and blobs that were sent to clients",
            families.served.clone(),
        );
        registry.register(
            "pruned",
            "Images that were pruned to keep the organization under its quota",
            families.pruned.clone(),
        );
        registry.register(
            "refused",
            "Manifests that were refused because they did not fit into the quota",
            families.refused.clone(),
        );
        registry.register(
            "usage_bytes",
            "Bytes that count against the organization's quota",
            families.usage.clone(),
        );
        registry.register(
            "quota_bytes",
            "The organization's quota, if it has one",
            families.quota.clone(),
        );
        families
    }

    pub(super) fn resolve(&self, name: &str) -> OrganizationMetrics {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(name) {
            known.insert(name.to_owned());
        }
        let organization = Organization {
            organization: name.to_owned(),
        };
        OrganizationMetrics {
            pulls: Outcomes::resolve(&self.pulls, name),
            blobs: Outcomes::resolve(&self.blobs, name),
            served_bytes: self.served.get_or_create_owned(&organization),
            pruned: self.pruned.get_or_create_owned(&organization),
            refused: self.refused.get_or_create_owned(&organization),
            usage: self.usage.get_or_create_owned(&organization),
            quota: self.quota.clone(),
            name: organization,
        }
    }

    pub(super) fn retain(&self, keep: impl Fn(&str) -> bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|name| {
            let keep = keep(name);
            if !keep {
                self.forget(name);
            }
            keep
        });
    }

    fn forget(&self, name: &str) {
        for outcome in Outcome::ALL {
            let labels = labels(name, outcome);
            self.pulls.remove(&labels);
            self.blobs.remove(&labels);
        }
        let organization = Organization {
            organization: name.to_owned(),
        };
        self.served.remove(&organization);
        self.pruned.remove(&organization);
        self.refused.remove(&organization);
        self.usage.remove(&organization);
        self.quota.remove(&organization);
    }
}
