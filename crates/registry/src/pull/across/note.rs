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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::Problem;
    use crate::pull::flights::Vanished;
    use quayside_oci::Manifest;

    fn upstream(source: UpstreamError) -> PullError {
        PullError::Upstream {
            upstream: "up.example".into(),
            subject: Subject::Manifest,
            source,
        }
    }

    fn manifest(body: &str) -> PullError {
        PullError::Manifest {
            upstream: "up.example".into(),
            source: Arc::new(Manifest::parse(body.as_bytes(), None).unwrap_err()),
        }
    }

    fn across(error: &PullError) -> Option<PullError> {
        let note = Note::new(error, 7)?;
        let lease = Lease {
            holder: "another".to_owned(),
            expires_at: 9,
            note: Some(note.to_string()),
        };
        let read = Note::of(&lease);
        assert_eq!(read.as_ref().map(|read| read.failed_at), Some(7));
        read?.into_error()
    }

    /// M8, M12, Q7: the clients of a replica that waited are told exactly what those of the fetching one are.
    #[test]
    fn a_failure_is_told_alike_on_all_replicas() {
        let host = || "up.example".to_owned();
        let forbidden = quayside_upstream::Forbidden {
            address: "10.0.0.1".to_owned(),
            reason: "it is private".to_owned(),
        };
        let failures = [
            upstream(UpstreamError::Schema1),
            upstream(UpstreamError::TooLarge {
                host: host(),
                limit: 4 << 20,
            }),
            upstream(UpstreamError::Forbidden(forbidden)),
            upstream(UpstreamError::RateLimited {
                host: host(),
                retry_after: None,
            }),
            manifest("{}"),
            manifest("no JSON"),
            manifest(r#"{"schemaVersion":1,"fsLayers":[],"history":[]}"#),
            PullError::Quota {
                organization: "acme".parse().unwrap(),
                refusal: Refusal {
                    quota_bytes: 10,
                    used_bytes: 7,
                    needed_bytes: 5,
                },
            },
        ];
        for error in failures {
            let there = across(&error).unwrap_or_else(|| panic!("{error:?} is not told"));
            // And by the next one.
            let further = across(&there).unwrap_or_else(|| panic!("{there:?} is not told"));
            let [here, there, further] = [error, there, further].map(|error| {
                let problem = format!("{:?}", Problem::from(error));
                problem.split("cause:").next().unwrap().to_owned()
            });
            assert_eq!(here, there);
            assert_eq!(here, further);
        }
    }

    /// M2: a replica's own trouble is nobody else's: the next one tries by itself.
    #[test]
    fn a_replicas_own_trouble_is_not_told() {
        assert_eq!(Note::new(&PullError::Stopping, 7), None);
        assert_eq!(Note::new(&PullError::Vanished(Vanished), 7), None);
        assert_eq!(Note::new(&PullError::Unknown(Subject::Manifest), 7), None);
    }

    /// A note of another version is as good as none.
    #[test]
    fn a_note_that_says_something_else_is_not_read() {
        let noted = |note: Option<&str>| Lease {
            holder: "another".to_owned(),
            expires_at: 9,
            note: note.map(str::to_owned),
        };
        assert_eq!(Note::of(&noted(None)), None);
        assert_eq!(Note::of(&noted(Some("{}"))), None);
        assert_eq!(
            Note::of(&noted(Some(r#"{"failedAt":1,"failure":{"flood":{}}}"#))),
            None
        );
    }
}
