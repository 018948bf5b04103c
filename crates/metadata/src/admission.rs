//! Storing a manifest, or taking a stored one back, with everything that has to be counted.

use bytes::Bytes;
use quayside_oci::{Digest, Manifest};

use crate::{ManifestId, MetadataError, OrganizationId, Pruned, Refusal, RepositoryId};

/// A request to make one manifest held. All of it happens, or nothing.
#[derive(Clone, Copy, Debug)]
pub struct Admission<'a> {
    /// Whose quota it counts against.
    pub organization: OrganizationId,
    /// The local repository name, without the organization. It is made if it does not exist.
    pub repository: &'a str,
    /// The verified digest of the body.
    pub digest: &'a Digest,
    /// Whether the caller brings the body.
    pub content: Content<'a>,
    /// What is to hold it.
    pub hold: Hold<'a>,
    /// What time it is.
    pub now: i64,
}

/// Where the body of an admitted manifest comes from.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// From upstream. If the repository has the digest already, what is stored stays.
    New {
        /// The type it is to be served with.
        media_type: &'a str,
        /// The body, which hashes to the digest of the admission.
        body: &'a Bytes,
        /// The same body, read.
        manifest: &'a Manifest,
    },
    /// It is believed to be stored, held or released; [`AdmitError::ManifestGone`] if it is not.
    Stored,
}

/// What holds an admitted manifest.
#[derive(Clone, Copy, Debug)]
pub enum Hold<'a> {
    /// A tag that upstream just confirmed (M2, M4, M5). It becomes the current row of its name;
    /// the one it replaces dies now.
    Tag {
        /// The tag's name.
        name: &'a str,
        /// When it dies.
        ends_at: i64,
        /// When upstream confirmed it.
        checked_at: i64,
    },
    /// A digest pin (M9, M10), unless a live tag, a held index or a held subject holds it.
    Pin {
        /// When it dies.
        ends_at: i64,
    },
}

/// What an admission did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The repository, which may be new.
    pub repository: RepositoryId,
    /// The manifest, which may be new.
    pub manifest: ManifestId,
    /// Whether a live digest pin holds it now.
    pub pinned: bool,
    /// How many bytes it added to the organization's usage, children and referrers that became
    /// held with it included (Q3). Nothing if all of it was counted already.
    pub needed_bytes: u64,
    /// The organization's usage in bytes afterwards.
    pub usage_bytes: u64,
    /// What went for it, in that order (Q5).
    pub pruned: Vec<Pruned>,
    /// How many rows were read to plan that.
    pub rows_read: u64,
}

/// Why nothing was admitted.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// The stored manifest was collected in the meantime: fetch it again.
    #[error("admit manifest: it is no longer stored")]
    ManifestGone,
    /// It does not fit into the organization's quota (Q4, Q5). Nothing changed.
    #[error(
        "admit manifest: {} bytes more than the {} in use exceed the quota of {}",
        .0.needed_bytes, .0.used_bytes, .0.quota_bytes
    )]
    Quota(Refusal),
    /// Something would have to go, and the planner makes no plan (M15). Nothing changed.
    #[error("admit manifest: a plan is needed")]
    NeedsPlan,
    /// The database did not do it.
    #[error("admit manifest")]
    Metadata(#[source] MetadataError),
}
