//! Why a pull was not answered with content. Statuses and codes are chosen at the HTTP boundary.

use std::sync::Arc;

use quayside_metadata::{MetadataError, Refusal};
use quayside_oci::{ManifestError, OrganizationName};
use quayside_upstream::UpstreamError;

use super::freshness::Answer;

/// What a 404 is about (M8, B11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Manifest,
    Blob,
}

/// Why a pull failed. Cheap to clone: the result of shared work goes to everybody who waited for it.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum PullError {
    /// Upstream answered with a failure, or not at all (M7, M8, B11).
    #[error("ask {upstream} for a {subject:?}")]
    Upstream {
        upstream: Arc<str>,
        subject: Subject,
        source: UpstreamError,
    },

    /// Upstream's manifest is not one (M8, M12).
    #[error("read the manifest that {upstream} sent")]
    Manifest {
        upstream: Arc<str>,
        source: Arc<ManifestError>,
    },

    /// The same, as another replica found it.
    #[error("read the manifest that {upstream} sent: {reason}")]
    Unusable { upstream: Arc<str>, reason: Arc<str> },

    /// Upstream's bytes do not hash to the digest, or are not as many as declared (B3, B10).
    #[error("verify the blob that {upstream} sent: {reason}")]
    Mismatch { upstream: Arc<str>, reason: Arc<str> },

    /// Upstream announces another length than the one that was declared (B10).
    #[error("fit the blob of {upstream}: {declared} bytes are declared, it announces {announced}")]
    Length {
        upstream: Arc<str>,
        declared: u64,
        announced: u64,
    },

    /// Not here, and not to be fetched (B1, C2, A3).
    #[error("find the {0:?}")]
    Unknown(Subject),

    /// The database does not answer or does not make sense (O2).
    #[error("use the database")]
    Metadata(#[source] Arc<MetadataError>),

    /// It does not fit into the organization's quota (Q4, Q5). Nothing changed.
    #[error("keep {organization} under its quota")]
    Quota {
        organization: OrganizationName,
        refusal: Refusal,
    },

    /// Something would have to be pruned, and the uses that wait to be written could not be (M15).
    #[error("write the renewals that wait before something is pruned")]
    Unwritten(#[source] Arc<MetadataError>),

    /// The database names a storage key that is none.
    #[error("read the storage key {key:?}")]
    Key {
        key: Arc<str>,
        source: Arc<quayside_blobs::KeyError>,
    },

    /// Stored bytes cannot be read at the moment, and upstream must not be asked instead (O2, A3, C2).
    #[error("read stored bytes")]
    Unreadable(#[source] Arc<quayside_blobs::OpenError>),

    /// Storage cannot be used and too many transfers pass it by already (O2).
    #[error("wait for one of the transfers that pass through to {upstream}")]
    Busy { upstream: Arc<str> },

    /// The registry stops and does not wait any longer.
    #[error("finish before the registry stops")]
    Stopping,

    /// Shared work died; its cause was logged where it happened.
    #[error("wait for shared work")]
    Vanished(#[from] super::flights::Vanished),
}

impl From<MetadataError> for PullError {
    fn from(source: MetadataError) -> Self {
        Self::Metadata(Arc::new(source))
    }
}

/// What an upstream failure means for the freshness of a tag.
pub(crate) fn answer_of(error: &UpstreamError) -> Answer {
    match error {
        UpstreamError::NotFound { .. } | UpstreamError::Schema1 => Answer::Missing,
        UpstreamError::Refused { .. } | UpstreamError::CredentialsRefused { .. } => Answer::Refused,
        error if error.is_outage() => Answer::Outage,
        _ => Answer::Unusable,
    }
}
