//! What one read finds: tags, manifests and blobs.

use bytes::Bytes;
use quayside_oci::{Digest, Kind};

/// The row of one repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryId(pub i64);

/// The row of one manifest in one repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManifestId(pub i64);

/// A manifest that is stored, byte for byte as upstream gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredManifest {
    /// The repository it is stored in.
    pub repository: RepositoryId,
    /// Its row.
    pub id: ManifestId,
    /// Its digest.
    pub digest: Digest,
    /// The type it is served with.
    pub media_type: String,
    /// Image or index.
    pub kind: Kind,
    /// The body, at most 4 MiB.
    pub body: Bytes,
    /// True if nothing holds it any more: still readable (B1), not counted, collected soon. Serving
    /// it takes an admission (M5, M9).
    pub released: bool,
}

/// The current row of a tag, whatever its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagState {
    /// The repository of the tag.
    pub repository: RepositoryId,
    /// What the tag points at.
    pub manifest: StoredManifest,
    /// When it dies, or died.
    pub ends_at: i64,
    /// When it was last used.
    pub pulled_at: i64,
    /// When upstream last confirmed it.
    pub checked_at: i64,
    /// When a HEAD last found it dead and unchanged (M11); 0 if never.
    pub resolved_at: i64,
    /// When a check of it last failed, was skipped, or was answered 404, 401 or 403 (M3); 0 if
    /// none since upstream last confirmed it. The tag is unconfirmed while this is greater than
    /// `checked_at`.
    pub failed_at: i64,
}

/// What counts when it is asked whether something live holds a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldBy {
    /// Tags, directly or through an index: what strangers may see (B1).
    Tag,
    /// Tags and digest pins, directly, through an index or through a subject: what members may see.
    TagOrPin,
}

/// Through whose eyes a blob is looked for (B1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// A member: through any manifest stored in the repository, held or released.
    Member,
    /// Anybody else: only through a manifest that a live tag holds, directly or through an index.
    Public {
        /// What time it is.
        now: i64,
    },
    /// A member while upstream is never contacted (C2): only through a manifest that a live tag or a
    /// live pin holds, directly, through an index or through a subject.
    Live {
        /// What time it is.
        now: i64,
    },
}

/// Where the verified bytes of a blob are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlob {
    /// The key in the store.
    pub key: String,
    /// The real size in bytes.
    pub size: u64,
}

/// A blob that a manifest of the repository names.
// Four independent facts about one row; none of them excludes another.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobState {
    /// The repository it was found in.
    pub repository: RepositoryId,
    /// The size to expect in bytes: the real one if the bytes were ever verified (also if they
    /// were lost since) and `proven`, else the one that a manifest of this repository declares (B4,
    /// B9, B10).
    pub declared_size: u64,
    /// Where its bytes are; `None` is a miss.
    pub stored: Option<StoredBlob>,
    /// True if the bytes were obtained with credentials only (B9).
    pub private: bool,
    /// True if the organization may be given the stored bytes: they are not private, or its own
    /// upstream has delivered them once (B9).
    pub proven: bool,
    /// True if some manifest of the repository names it as a layer, false if as a config only.
    pub layer: bool,
    /// True if it is waiting for the background filler (B6).
    pub wanted: bool,
}
