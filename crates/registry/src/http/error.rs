//! From what went wrong to what the client is told: status, code, message, headers (M7, M8, B11, O4).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderValue, StatusCode};
use quayside_metadata::{MetadataError, Refusal};
use quayside_oci::{ErrorCode, ManifestError, OrganizationName, RouteError};
use quayside_upstream::UpstreamError;
use serde_json::{Value, json};

use super::body::Body;
use super::{RequestId, Response};
use crate::auth::AuthError;
use crate::pull::PullError;
use crate::pull::error::Subject;

/// What an upstream that says 429 without `Retry-After` is given (M8).
const RETRY_UPSTREAM: Duration = Duration::from_mins(1);
const RETRY_DATABASE: Duration = Duration::from_secs(5);
/// Another replica, or the next process, takes over.
const RETRY_STOPPING: Duration = Duration::from_secs(1);
const RETRY_STORAGE: Duration = Duration::from_secs(10);
const RETRY_LOGIN: Duration = Duration::from_secs(5);

/// An answer that is not content.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: ErrorCode,
    message: String,
    detail: Option<Value>,
    headers: Vec<(HeaderName, String)>,
    /// For the log; clients are told no more than the message.
    cause: Option<anyhow::Error>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            detail: None,
            headers: Vec::new(),
            cause: None,
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether it is a 401 that another token may mend (A1).
    pub(crate) fn asks_for_another_token(&self) -> bool {
        let mut headers = self.headers.iter();
        headers.any(|(name, value)| name == header::WWW_AUTHENTICATE && value.contains("error=\""))
    }

    pub(crate) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn retry_after(self, wait: Duration) -> Self {
        self.header(header::RETRY_AFTER, wait.as_secs().max(1).to_string())
    }

    fn upstream(mut self, upstream: &str) -> Self {
        self.detail = Some(json!({ "upstream": upstream }));
        self
    }

    fn cause(mut self, cause: impl Into<anyhow::Error>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// A2: an attempt to log in that is not even looked at; `None` for one that was.
    pub(crate) fn unheard(error: &AuthError) -> Option<Self> {
        let wait = match error {
            AuthError::TooManyFailures { wait } => *wait,
            AuthError::Busy => RETRY_LOGIN,
            AuthError::WrongPassword | AuthError::BadToken | AuthError::Malformed => return None,
        };
        let (status, code) = (StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests);
        // Whole seconds, and none too few.
        let wait = Duration::from_secs(wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX));
        Some(Self::new(status, code, error.to_string()).retry_after(wait))
    }

    pub(crate) fn not_found(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// 500: a defect of ours.
    pub(crate) fn internal(cause: impl Into<anyhow::Error>) -> Self {
        internal(cause)
    }

    pub(crate) fn read_only() -> Self {
        let message = "this registry is a read-only cache; push to the upstream registry instead";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported, message)
            .header(header::ALLOW, "GET, HEAD")
    }

    /// The answer. 5xx are logged here, once, with their cause.
    pub(crate) fn into_response(mut self, id: RequestId) -> Response {
        if self.status.is_server_error() {
            let cause = self.cause.as_ref().map(|cause| format!("{cause:#}"));
            tracing::warn!(request = %id, status = self.status.as_u16(), cause, "{}", self.message);
            let detail = self.detail.get_or_insert_with(|| json!({}));
            detail["requestId"] = id.to_string().into();
        }
        if self.status == StatusCode::INTERNAL_SERVER_ERROR {
            self.detail = None;
            self.message = format!("internal error; the log knows more under request id {id}");
        }
        let mut error = json!({ "code": self.code.as_str(), "message": self.message });
        if let Some(detail) = self.detail {
            error["detail"] = detail;
        }
        let body = Bytes::from(json!({ "errors": [error] }).to_string());
        let length = HeaderValue::from(body.len());
        let mut response = http::Response::new(Body::full(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CONTENT_LENGTH, length);
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.append(name, value);
            }
        }
        response
    }
}

impl From<RouteError> for Problem {
    fn from(error: RouteError) -> Self {
        let (status, code) = match &error {
            RouteError::NotFound => (StatusCode::NOT_FOUND, ErrorCode::NameUnknown),
            RouteError::Name(_) => (StatusCode::BAD_REQUEST, ErrorCode::NameInvalid),
            RouteError::Tag(_) => (StatusCode::BAD_REQUEST, ErrorCode::ManifestInvalid),
            RouteError::Digest(_) => (StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<PullError> for Problem {
    fn from(error: PullError) -> Self {
        match error {
            PullError::Upstream {
                upstream,
                subject,
                source,
            } => of_upstream(&upstream, subject, source),
            PullError::Manifest { upstream, source } if matches!(*source, ManifestError::Schema1) => {
                schema1(&upstream)
            }
            PullError::Manifest { upstream, source } => unusable(&upstream, &source.to_string()),
            PullError::Unusable { upstream, reason } => unusable(&upstream, &reason),
            PullError::Mismatch { upstream, reason } => {
                let message = format!("{upstream} sent a blob that cannot be used: {reason}");
                Self::new(StatusCode::BAD_GATEWAY, ErrorCode::DigestInvalid, message).upstream(&upstream)
            }
            PullError::Length {
                upstream,
                declared,
                announced,
            } => {
                let message = format!(
                    "{upstream} sent a blob that cannot be used: the manifest declares {declared} bytes, \
                     upstream has {announced}"
                );
                Self::new(StatusCode::BAD_GATEWAY, ErrorCode::DigestInvalid, message).upstream(&upstream)
            }
            PullError::Unknown(subject) => unknown(subject),
            PullError::Metadata(source) => of_metadata(source),
            PullError::Quota {
                organization,
                refusal,
            } => over_quota(&organization, refusal),
            PullError::Unwritten(source) => database_away(source),
            PullError::Stopping => {
                let message = "this registry stops; try again";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, message)
                    .retry_after(RETRY_STOPPING)
            }
            PullError::Busy { upstream } => {
                let message = format!(
                    "storage takes no bytes and too many transfers from {upstream} pass it by already; try again"
                );
                let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, message);
                problem.upstream(&upstream).retry_after(RETRY_STORAGE)
            }
            PullError::Unreadable(source) => {
                let message = "storage cannot be read at the moment; try again";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, message)
                    .cause(source)
                    .retry_after(RETRY_STORAGE)
            }
            error @ (PullError::Vanished(_) | PullError::Key { .. }) => internal(error),
        }
    }
}

/// 500: a defect of ours.
fn internal(error: impl Into<anyhow::Error>) -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::Unknown,
        "internal error",
    )
    .cause(error)
}

fn unknown(subject: Subject) -> Problem {
    match subject {
        Subject::Manifest => {
            Problem::not_found(ErrorCode::ManifestUnknown, "the manifest is not cached here")
        }
        Subject::Blob => Problem::not_found(
            ErrorCode::BlobUnknown,
            "no manifest that is cached in this repository names this blob",
        ),
    }
}

fn of_metadata(source: Arc<MetadataError>) -> Problem {
    if matches!(
        *source,
        MetadataError::Unavailable { .. } | MetadataError::Corrupt { .. }
    ) {
        database_away(source)
    } else {
        internal(source)
    }
}

fn database_away(source: Arc<MetadataError>) -> Problem {
    let message = "the database does not answer; try again";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, message)
        .cause(source)
        .retry_after(RETRY_DATABASE)
}

/// Q7: exactly so. Clients print the message, and would try a 429 again and again.
fn over_quota(organization: &OrganizationName, refusal: Refusal) -> Problem {
    let Refusal {
        quota_bytes,
        used_bytes,
        needed_bytes,
    } = refusal;
    let message = "Quota has been exceeded on namespace";
    let mut problem = Problem::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message);
    problem.detail = Some(json!({
        "organization": organization.as_str(),
        "quotaBytes": quota_bytes,
        "usedBytes": used_bytes,
        "neededBytes": needed_bytes,
    }));
    problem
}

fn unusable(upstream: &str, reason: &str) -> Problem {
    let message = format!("{upstream} sent a manifest that cannot be used: {reason}");
    Problem::new(StatusCode::BAD_GATEWAY, ErrorCode::ManifestInvalid, message).upstream(upstream)
}

/// M12: podman shows the text of a 404.
fn schema1(upstream: &str) -> Problem {
    let message = format!(
        "{upstream} has this image only as a Docker schema 1 manifest, an obsolete format that cannot be verified; \
         push it again with a current client"
    );
    Problem::not_found(ErrorCode::ManifestUnknown, message).upstream(upstream)
}

/// The failure, with the upstream's name once: most name whom they are about.
fn told_by(upstream: &str, source: &UpstreamError) -> String {
    let text = source.to_string();
    if text.contains(upstream) {
        text
    } else {
        format!("{upstream}: {text}")
    }
}

fn of_upstream(upstream: &str, subject: Subject, source: UpstreamError) -> Problem {
    let problem = match &source {
        UpstreamError::NotFound { name_unknown, .. } => {
            let code = match subject {
                Subject::Blob => ErrorCode::BlobUnknown,
                _ if *name_unknown => ErrorCode::NameUnknown,
                Subject::Manifest => ErrorCode::ManifestUnknown,
            };
            Problem::not_found(code, told_by(upstream, &source))
        }
        UpstreamError::Refused { .. } => {
            let message = format!("{upstream} refused access: {source}; the repository may not exist there");
            Problem::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message)
        }
        UpstreamError::CredentialsRefused { .. } => {
            let message = format!(
                "{upstream} refused this organization's credentials: {source}; the repository may not exist there"
            );
            Problem::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message)
        }
        UpstreamError::RateLimited { retry_after, .. } => {
            let message = format!("{upstream} limits the rate of requests");
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests, message);
            problem.retry_after(retry_after.unwrap_or(RETRY_UPSTREAM))
        }
        UpstreamError::Schema1 => return schema1(upstream),
        UpstreamError::Invalid { .. } | UpstreamError::TooLarge { .. } => {
            let code = match subject {
                Subject::Blob => ErrorCode::DigestInvalid,
                Subject::Manifest => ErrorCode::ManifestInvalid,
            };
            Problem::new(StatusCode::BAD_GATEWAY, code, told_by(upstream, &source))
        }
        UpstreamError::Timeout { .. } => {
            let message = told_by(upstream, &source);
            Problem::new(StatusCode::GATEWAY_TIMEOUT, ErrorCode::Unavailable, message)
        }
        _ => Problem::new(
            StatusCode::BAD_GATEWAY,
            ErrorCode::Unavailable,
            told_by(upstream, &source),
        ),
    };
    problem.upstream(upstream).cause(source)
}
