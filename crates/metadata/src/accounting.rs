//! What an organization weighs (Q2).

use quayside_oci::Digest;

use crate::{ManifestId, OrganizationId};

/// What an organization holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that count against the quota (Q2).
    pub bytes: u64,
    /// Repositories with a live tag.
    pub repositories: u64,
    /// Live tags; pins are none.
    pub tags: u64,
}

/// Something that is kept incrementally and differs from what the other rows say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discrepancy {
    /// The usage of an organization is not the sum of its counted content.
    Usage {
        /// Which organization.
        organization: OrganizationId,
        /// Its usage in bytes.
        recorded: u64,
        /// What it should be.
        actual: u64,
    },
    /// A digest is counted with another size or another number of references than the held
    /// manifests of the organization give it.
    Content {
        /// Which organization.
        organization: OrganizationId,
        /// Which blob or manifest body.
        digest: Digest,
        /// The recorded size in bytes and number of references, if it is counted.
        recorded: Option<(u64, u64)>,
        /// What they should be, if it should be counted.
        actual: Option<(u64, u64)>,
    },
    /// A manifest is recorded as released though something holds it, or the other way round.
    Held {
        /// Which manifest.
        manifest: ManifestId,
        /// Whether something holds it.
        held: bool,
    },
    /// A blob row that no manifest names (G1).
    UnnamedBlob {
        /// Which blob.
        digest: Digest,
    },
    /// A storage key that is in more than one of running fills, blobs and garbage (G3).
    SharedKey {
        /// Which key.
        key: String,
    },
}
