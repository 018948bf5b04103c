//! Why a manifest could not be had, as one replica leaves it for the others: the clients of all get the same answer
//! (M8, Q7). No failure carries a secret (A6).

use std::fmt;
use std::sync::Arc;

use quayside_metadata::{Lease, Refusal};
use quayside_oci::ManifestError;
use quayside_upstream::UpstreamError;
use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::pull::error::{PullError, Subject};
use crate::pull::peer::failure::Cause;

/// What a lease carries once its fetch has failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Note {
    pub(super) failed_at: Millis,
    failure: Failure,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Failure {
    Upstream {
        upstream: String,
        cause: Cause,
    },
    Manifest {
        upstream: String,
        reason: String,
    },
    Quota {
        organization: String,
        quota_bytes: u64,
        used_bytes: u64,
        needed_bytes: u64,
    },
}

impl Note {
    /// None for what is this replica's own trouble: the next one that wants the manifest tries by itself.
    pub(super) fn new(error: &PullError, failed_at: Millis) -> Option<Self> {
        let failure = match error {
            PullError::Upstream { upstream, source, .. } => Failure::Upstream {
                upstream: upstream.to_string(),
                cause: Cause::of(source)?,
            },
            PullError::Manifest { upstream, source } if matches!(**source, ManifestError::Schema1) => {
                Failure::Upstream {
                    upstream: upstream.to_string(),
                    cause: Cause::of(&UpstreamError::Schema1)?,
                }
            }
            PullError::Manifest { upstream, source } => Failure::Manifest {
                upstream: upstream.to_string(),
                reason: source.to_string(),
            },
            PullError::Unusable { upstream, reason } => Failure::Manifest {
                upstream: upstream.to_string(),
                reason: reason.to_string(),
            },
            PullError::Quota {
                organization,
                refusal,
            } => Failure::Quota {
                organization: organization.as_str().to_owned(),
                quota_bytes: refusal.quota_bytes,
                used_bytes: refusal.used_bytes,
                needed_bytes: refusal.needed_bytes,
            },
            _ => return None,
        };
        Some(Self { failed_at, failure })
    }

    /// None if there is none, or one of a version that says more than this one understands.
    pub(super) fn of(lease: &Lease) -> Option<Self> {
        serde_json::from_str(lease.note.as_deref()?).ok()
    }

    /// The error, as if it had happened here.
    pub(super) fn into_error(self) -> Option<PullError> {
        Some(match self.failure {
            Failure::Upstream { upstream, cause } => PullError::Upstream {
                upstream: upstream.into(),
                subject: Subject::Manifest,
                source: cause.into_upstream(),
            },
            Failure::Manifest { upstream, reason } => PullError::Unusable {
                upstream: upstream.into(),
                reason: Arc::from(reason),
            },
            Failure::Quota {
                organization,
                quota_bytes,
                used_bytes,
                needed_bytes,
            } => PullError::Quota {
                organization: organization.parse().ok()?,
                refusal: Refusal {
                    quota_bytes,
                    used_bytes,
                    needed_bytes,
                },
            },
        })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        formatter.write_str(&text)
    }
}
