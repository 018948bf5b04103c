//! The organizations that are served right now.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest;
use quayside_config::organizations::Organization;
use quayside_metadata::OrganizationId;
use quayside_oci::OrganizationName;
use quayside_upstream::Upstream;
use secrecy::ExposeSecret as _;

use crate::clock::{Millis, NEVER, millis};
use crate::metrics::OrganizationMetrics;

/// One organization as it is served: what the file says, its row, and its way to upstream.
pub(crate) struct Served {
    pub(crate) spec: Arc<Organization>,
    pub(crate) id: OrganizationId,
    pub(crate) upstream: Upstream,
    /// The upstream's address, for messages.
    pub(crate) address: Arc<str>,
    /// Whose failed checks pause ours: same upstream, same credentials (M3).
    pub(crate) check_key: String,
    pub(crate) metrics: OrganizationMetrics,
}

impl Served {
    pub(crate) fn new(
        spec: Arc<Organization>,
        id: OrganizationId,
        upstream: Upstream,
        metrics: OrganizationMetrics,
    ) -> Self {
        metrics.set_quota(spec.storage_quota_bytes);
        let address: Arc<str> = upstream.address().into();
        let check_key = match &spec.credentials {
            None => address.to_string(),
            Some(credentials) => {
                let secret = format!(
                    "{}\0{}",
                    credentials.username,
                    credentials.password.expose_secret()
                );
                format!(
                    "{address}#{:02x?}",
                    digest::digest(&digest::SHA256, secret.as_bytes()).as_ref()
                )
            }
        };
        Self {
            spec,
            id,
            upstream,
            address,
            check_key,
            metrics,
        }
    }

    /// Whose bytes a fill of this organization are: nobody's when anybody could fetch them (B9).
    pub(crate) fn scope(&self) -> Option<OrganizationId> {
        self.spec.credentials.as_ref().map(|_| self.id)
    }

    /// The end time of what is pulled now (E1).
    pub(crate) fn end(&self, now: Millis) -> Millis {
        self.spec.ttl.map_or(NEVER, |ttl| now.saturating_add(millis(ttl)))
    }
}

/// Everything that a reload replaces, swapped as one.
#[derive(Default)]
pub(crate) struct Snapshot {
    pub(crate) by_name: HashMap<OrganizationName, Arc<Served>>,
    /// Whether a good file was ever applied: until then the process is not ready (C3).
    pub(crate) loaded: bool,
    /// Grows with each swap; a credential remembered under another one is checked anew (A2).
    pub(crate) generation: u64,
}

impl Snapshot {
    pub(crate) fn get(&self, name: &OrganizationName) -> Option<&Arc<Served>> {
        self.by_name.get(name)
    }

    pub(crate) fn by_id(&self, id: OrganizationId) -> Option<&Arc<Served>> {
        self.by_name.values().find(|served| served.id == id)
    }
}
