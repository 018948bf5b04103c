//! Blobs that wait for the background filler (B6).

use quayside_oci::Digest;

use crate::{OrganizationId, RepositoryId};

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
    /// A repository of that organization where a held manifest names it.
    pub repository: RepositoryId,
    /// The name of that repository.
    pub repository_name: String,
    /// Not to be tried in the background before this time.
    pub retry_at: i64,
}
