//! What can go wrong between us and an upstream, in the words of SPEC M3, M6, M7 and M8.
//!
//! No message carries a secret (A6): of URLs only scheme, host and port are kept, because paths
//! and queries of redirect targets are often presigned.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use crate::address::Forbidden;

/// An error below ours, kept for the log.
pub type Source = Arc<dyn Error + Send + Sync>;

/// Why an upstream could not give what was asked for.
///
/// Cloneable, because one answer is shared by every request that waited for it. `host` is
/// `name[:port]` of the machine that was asked, which may be a token service or a redirect target.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// 404: the repository, manifest or blob does not exist there.
    #[error("upstream does not have it{}", message.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    NotFound {
        /// The upstream said `NAME_UNKNOWN` (the repository), not only that the content is missing.
        name_unknown: bool,
        /// The upstream's own words, shortened and without control characters.
        message: Option<String>,
    },
    /// 401 after re-authentication, or 403, for this repository (M7). The credentials are not at fault.
    #[error("upstream refused access with status {status}{}", message.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Refused {
        /// 401 or 403.
        status: u16,
        /// The upstream's own words, shortened and without control characters.
        message: Option<String>,
    },
    /// The credentials themselves are refused (M7): the token service answers 401 or 403 to them
    /// without a repository scope, or a Basic upstream answers 401 to `/v2/`.
    #[error("{host} refused the credentials with status {status}")]
    CredentialsRefused {
        /// Who refused them.
        host: String,
        /// 401 or 403.
        status: u16,
    },
    /// 429, from the registry or its token service.
    #[error("{host} limits the rate of requests")]
    RateLimited {
        /// Who said so.
        host: String,
        /// What `Retry-After` said, at most one day; nothing if it was absent or unreadable.
        retry_after: Option<Duration>,
    },
    /// No connection, or one that ended before any answer.
    #[error("{host} is unreachable: {reason}")]
    Unreachable {
        /// Who could not be reached.
        host: String,
        /// The innermost cause, for people.
        reason: String,
        /// The whole cause.
        #[source]
        source: Source,
    },
    /// The TLS handshake failed: certificate not trusted, wrong name, no common version.
    #[error("no TLS connection to {host}: {reason}")]
    Tls {
        /// With whom.
        host: String,
        /// The innermost cause, for people.
        reason: String,
        /// The whole cause.
        #[source]
        source: Source,
    },
    /// Nothing arrived for too long, or too slowly.
    #[error("{host} did not answer in time")]
    Timeout {
        /// Who was waited for.
        host: String,
    },
    /// A 5xx, or a status that has no meaning here.
    #[error("{host} answered with status {status}")]
    Status {
        /// Who answered.
        host: String,
        /// The status.
        status: u16,
    },
    /// The connection ended in the middle of a body. What was received is right as far as it goes:
    /// a blob can be resumed from there.
    #[error("{host} broke the transfer off: {reason}")]
    Broken {
        /// Who broke it off.
        host: String,
        /// The innermost cause, for people.
        reason: String,
        /// The whole cause.
        #[source]
        source: Source,
    },
    /// The address may not be contacted (A7). Nothing was sent.
    #[error("{0}")]
    Forbidden(#[source] Forbidden),
    /// The upstream rejects HEAD or answers it without a digest: use GET (M3).
    #[error("{host} does not answer HEAD usefully")]
    HeadUnsupported {
        /// Who was asked.
        host: String,
    },
    /// A manifest, listing or token over its limit (M12).
    #[error("{host} sent more than {limit} bytes")]
    TooLarge {
        /// Who sent it.
        host: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// An answer that contradicts itself or the request: wrong digest, wrong range, unreadable token.
    #[error("{host} sent an invalid answer: {reason}")]
    Invalid {
        /// Who sent it.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A Docker schema 1 manifest, told before its digest was looked at (M12).
    #[error("the manifest is of the obsolete Docker schema 1")]
    Schema1,
    /// A redirect or a token realm that is not followed (A7): https to http, too many hops,
    /// no or a malformed target, a realm without TLS while we hold credentials.
    #[error("{host} sent us to a place we do not go to: {reason}")]
    RedirectRefused {
        /// Who sent us there.
        host: String,
        /// Why we do not go.
        reason: String,
    },
}

impl UpstreamError {
    /// Whether this says that the upstream cannot answer at the moment, as opposed to an answer
    /// about what was asked (M3, M6): unreachable, broken off, TLS, timeout, 5xx, 429.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::RateLimited { .. }
            | Self::Unreachable { .. }
            | Self::Tls { .. }
            | Self::Timeout { .. }
            | Self::Broken { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            Self::NotFound { .. }
            | Self::Refused { .. }
            | Self::CredentialsRefused { .. }
            | Self::Forbidden(_)
            | Self::HeadUnsupported { .. }
            | Self::TooLarge { .. }
            | Self::Invalid { .. }
            | Self::Schema1
            | Self::RedirectRefused { .. } => false,
        }
    }
}

/// Why an [`Upstream`](crate::Upstream) cannot be made from a [`Spec`](crate::Spec).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The host and port do not make a URL.
    #[error("form the address of upstream {host:?}")]
    Host {
        /// What was given.
        host: String,
        /// What is wrong with it.
        #[source]
        source: url::ParseError,
    },
    /// The CA bundle is not PEM or holds no certificate.
    #[error("read the CA bundle: {reason}")]
    CaBundle {
        /// What is wrong with it.
        reason: String,
    },
    /// A proxy named by the environment is not a URL. Its value is not repeated: it may hold a password.
    #[error("read the proxy address in {variable}")]
    Proxy {
        /// The environment variable.
        variable: &'static str,
    },
    /// The TLS set-up failed, for example because the machine has no trusted certificates.
    #[error("set up the HTTP client")]
    Client {
        /// What the HTTP library says.
        #[source]
        source: reqwest::Error,
    },
}
