//! How a fill failed, as one replica tells another: the clients of both get the same answer (M8, B11).

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use quayside_metadata::OrganizationId;
use quayside_upstream::{Forbidden, UpstreamError};
use serde::{Deserialize, Serialize};

use crate::pull::error::{PullError, Subject};
use crate::pull::resume::Origin;

/// The failure of a fill, and on whose behalf upstream was asked: only there is it the last word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    organization: i64,
    repository: String,
    /// Whom the fill asked.
    upstream: String,
    reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Reason {
    Mismatch { reason: String },
    Length { declared: u64, announced: u64 },
    Upstream(Cause),
}

/// [`UpstreamError`], as far as it is an answer or the lack of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Cause {
    NotFound {
        name_unknown: bool,
        message: Option<String>,
    },
    Refused {
        status: u16,
        message: Option<String>,
    },
    CredentialsRefused {
        host: String,
        status: u16,
    },
    RateLimited {
        host: String,
        retry_after_seconds: Option<u64>,
    },
    Unreachable {
        host: String,
        reason: String,
    },
    Tls {
        host: String,
        reason: String,
    },
    Timeout {
        host: String,
    },
    Status {
        host: String,
        status: u16,
    },
    Broken {
        host: String,
        reason: String,
    },
    Invalid {
        host: String,
        reason: String,
    },
    RedirectRefused {
        host: String,
        reason: String,
    },
    Forbidden {
        address: String,
        reason: String,
    },
    TooLarge {
        host: String,
        limit: usize,
    },
    Schema1,
}

/// What another replica saw; the log there knows more.
#[derive(Debug, thiserror::Error)]
#[error("another replica asked")]
struct Elsewhere;

impl Failure {
    /// Nothing for what says nothing about upstream: who hears of it tries by itself.
    pub(crate) fn of(origin: &Origin, error: &PullError) -> Option<Self> {
        let (upstream, reason) = match error {
            PullError::Mismatch { upstream, reason } => {
                let reason = reason.to_string();
                (upstream, Reason::Mismatch { reason })
            }
            PullError::Length {
                upstream,
                declared,
                announced,
            } => {
                let (declared, announced) = (*declared, *announced);
                (upstream, Reason::Length { declared, announced })
            }
            PullError::Upstream { upstream, source, .. } => (upstream, Reason::Upstream(Cause::of(source)?)),
            _ => return None,
        };
        let (organization, repository) = origin;
        Some(Self {
            organization: organization.0,
            repository: repository.as_str().to_owned(),
            upstream: upstream.to_string(),
            reason,
        })
    }

    /// Whether upstream was asked for this organization and repository.
    pub(crate) fn is_of(&self, origin: &Origin) -> bool {
        self.organization == origin.0.0 && self.repository == origin.1.as_str()
    }

    /// For whom upstream was asked.
    pub(crate) fn origin(&self) -> Option<Origin> {
        Some((OrganizationId(self.organization), self.repository.parse().ok()?))
    }

    /// Whether what was received before is wrong as well (B3, B10).
    pub(crate) fn taints(&self) -> bool {
        matches!(self.reason, Reason::Mismatch { .. } | Reason::Length { .. })
    }

    /// The error, as if it had happened here.
    pub(crate) fn into_error(self) -> PullError {
        let upstream: Arc<str> = self.upstream.into();
        match self.reason {
            Reason::Mismatch { reason } => PullError::Mismatch {
                upstream,
                reason: reason.into(),
            },
            Reason::Length { declared, announced } => PullError::Length {
                upstream,
                declared,
                announced,
            },
            Reason::Upstream(cause) => PullError::Upstream {
                upstream,
                subject: Subject::Blob,
                source: cause.into_upstream(),
            },
        }
    }
}

impl Cause {
    /// Nothing for what the client of the upstream keeps to itself.
    pub(crate) fn of(error: &UpstreamError) -> Option<Self> {
        Some(match error.clone() {
            UpstreamError::NotFound {
                name_unknown,
                message,
            } => Self::NotFound {
                name_unknown,
                message,
            },
            UpstreamError::Refused { status, message } => Self::Refused { status, message },
            UpstreamError::CredentialsRefused { host, status } => Self::CredentialsRefused { host, status },
            UpstreamError::RateLimited { host, retry_after } => Self::RateLimited {
                host,
                retry_after_seconds: retry_after.map(|wait| wait.as_secs()),
            },
            UpstreamError::Unreachable { host, reason, .. } => Self::Unreachable { host, reason },
            UpstreamError::Tls { host, reason, .. } => Self::Tls { host, reason },
            UpstreamError::Timeout { host } => Self::Timeout { host },
            UpstreamError::Status { host, status } => Self::Status { host, status },
            UpstreamError::Broken { host, reason, .. } => Self::Broken { host, reason },
            UpstreamError::Invalid { host, reason } => Self::Invalid { host, reason },
            UpstreamError::RedirectRefused { host, reason } => Self::RedirectRefused { host, reason },
            UpstreamError::Forbidden(Forbidden { address, reason }) => Self::Forbidden { address, reason },
            UpstreamError::TooLarge { host, limit } => Self::TooLarge { host, limit },
            UpstreamError::Schema1 => Self::Schema1,
            _ => return None,
        })
    }

    pub(crate) fn into_upstream(self) -> UpstreamError {
        let source: Arc<dyn Error + Send + Sync> = Arc::new(Elsewhere);
        match self {
            Self::NotFound {
                name_unknown,
                message,
            } => UpstreamError::NotFound {
                name_unknown,
                message,
            },
            Self::Refused { status, message } => UpstreamError::Refused { status, message },
            Self::CredentialsRefused { host, status } => UpstreamError::CredentialsRefused { host, status },
            Self::RateLimited {
                host,
                retry_after_seconds,
            } => UpstreamError::RateLimited {
                host,
                retry_after: retry_after_seconds.map(Duration::from_secs),
            },
            Self::Unreachable { host, reason } => UpstreamError::Unreachable { host, reason, source },
            Self::Tls { host, reason } => UpstreamError::Tls { host, reason, source },
            Self::Timeout { host } => UpstreamError::Timeout { host },
            Self::Status { host, status } => UpstreamError::Status { host, status },
            Self::Broken { host, reason } => UpstreamError::Broken { host, reason, source },
            Self::RedirectRefused { host, reason } => UpstreamError::RedirectRefused { host, reason },
            Self::Invalid { host, reason } => UpstreamError::Invalid { host, reason },
            Self::Forbidden { address, reason } => UpstreamError::Forbidden(Forbidden { address, reason }),
            Self::TooLarge { host, limit } => UpstreamError::TooLarge { host, limit },
            Self::Schema1 => UpstreamError::Schema1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::Problem;

    fn origin() -> Origin {
        (OrganizationId(7), "app/web".parse().unwrap())
    }

    fn across(error: &PullError) -> Option<PullError> {
        let failure = Failure::of(&origin(), error)?;
        assert!(failure.is_of(&origin()));
        assert_eq!(failure.origin(), Some(origin()));
        let text = serde_json::to_string(&failure).unwrap();
        Some(serde_json::from_str::<Failure>(&text).unwrap().into_error())
    }

    fn upstream(source: UpstreamError) -> PullError {
        PullError::Upstream {
            upstream: "up.example".into(),
            subject: Subject::Blob,
            source,
        }
    }

    fn failures() -> Vec<PullError> {
        let host = || "up.example".to_owned();
        let reason = || "because".to_owned();
        let source = || -> Arc<dyn Error + Send + Sync> { Arc::new(Elsewhere) };
        let message = Some("gone".to_owned());
        vec![
            upstream(UpstreamError::NotFound {
                name_unknown: true,
                message: message.clone(),
            }),
            upstream(UpstreamError::Refused { status: 401, message }),
            upstream(UpstreamError::CredentialsRefused {
                host: host(),
                status: 403,
            }),
            upstream(UpstreamError::RateLimited {
                host: host(),
                retry_after: Some(Duration::from_secs(17)),
            }),
            upstream(UpstreamError::Unreachable {
                host: host(),
                reason: reason(),
                source: source(),
            }),
            upstream(UpstreamError::Tls {
                host: host(),
                reason: reason(),
                source: source(),
            }),
            upstream(UpstreamError::Timeout { host: host() }),
            upstream(UpstreamError::Status {
                host: host(),
                status: 503,
            }),
            upstream(UpstreamError::Broken {
                host: host(),
                reason: reason(),
                source: source(),
            }),
            upstream(UpstreamError::Invalid {
                host: host(),
                reason: reason(),
            }),
            upstream(UpstreamError::RedirectRefused {
                host: host(),
                reason: reason(),
            }),
            PullError::Mismatch {
                upstream: "up.example".into(),
                reason: "wrong".into(),
            },
            PullError::Length {
                upstream: "up.example".into(),
                declared: 5,
                announced: 6,
            },
        ]
    }

    /// M8, B11: the clients of the replica that follows are told exactly what those of the filling one are.
    #[test]
    fn a_failure_is_told_alike_on_both_replicas() {
        for error in failures() {
            let there = across(&error).unwrap_or_else(|| panic!("{error:?} is not told"));
            let [here, there] = [error, there].map(|error| {
                let problem = format!("{:?}", Problem::from(error));
                problem.split("cause:").next().unwrap().to_owned()
            });
            assert_eq!(here, there);
        }
    }

    /// B2: what is the filling replica's own trouble is no answer: the other one asks upstream itself.
    #[test]
    fn a_replicas_own_trouble_is_not_told() {
        assert!(across(&PullError::Stopping).is_none());
        assert!(across(&PullError::Unknown(Subject::Blob)).is_none());
    }

    /// B3: wrong bytes are wrong for everybody who has them, a broken connection is not.
    #[test]
    fn only_wrong_bytes_taint_what_was_received() {
        let taints = |error: &PullError| Failure::of(&origin(), error).unwrap().taints();
        let tainted = failures().iter().filter(|error| taints(error)).count();
        assert_eq!(tainted, 2);
    }
}
