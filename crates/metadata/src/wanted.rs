//! Blobs that wait for the background filler (B6).

use quayside_oci::Digest;

use crate::{ManifestId, OrganizationId, RepositoryId};

/// A blob that is not stored and that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The blob.
    pub digest: Digest,
    /// The size to expect in bytes, as for [`BlobState`](crate::BlobState).
    pub size: u64,
    /// False for a config, which goes first.
    pub layer: bool,
    /// The organization that wanted it last: through its upstream it is to be filled.
    pub organization: OrganizationId,
    /// The manifest for which it was wanted last. It may be gone by now; what the other fields say is
    /// then of another held manifest of the organization that names the blob.
    pub wanted_in: ManifestId,
    /// The repository of that organization where a held manifest names it with this size.
    pub repository: RepositoryId,
    /// The name of that repository.
    pub repository_name: String,
    /// Not to be tried in the background before this time.
    pub retry_at: i64,
}
