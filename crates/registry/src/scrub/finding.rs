//! What can be wrong between storage and database.

use std::path::Path;

use quayside_blobs::{Found, Listed, Stray, StrayKind};
use quayside_metadata::StoredKey;
use serde::Serialize;

/// Something that was wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    #[serde(flatten)]
    pub(crate) fault: Fault,
    /// Whether it was put right.
    pub(crate) repaired: bool,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Fault {
    /// Bytes under a key that is recorded nowhere.
    Orphan { key: String, bytes: u64 },
    /// A directory of ours that holds nothing and that nobody is about to use.
    EmptyDirectory { path: String },
    /// An upload that was begun and neither completed nor given up, and that no fill names. It takes room.
    AbandonedUpload { key: String },
    /// Something between the blobs that is none. It is not ours to delete.
    Leftover { path: String },
    /// A stored blob without bytes (B8).
    Lost { digest: String, key: String },
    /// A stored blob of another length than was verified (B8).
    WrongLength {
        digest: String,
        key: String,
        expected_bytes: u64,
        actual_bytes: u64,
    },
    /// A stored blob with the bytes of another digest.
    WrongContent {
        digest: String,
        key: String,
        actual_digest: String,
    },
    /// A stored blob that cannot be read for now, which is not a lost one (O2).
    Unreadable {
        digest: String,
        key: String,
        reason: String,
    },
    /// A stored blob under a key that is none.
    BadKey { digest: String, key: String },
}

impl Fault {
    /// What it is that something which nobody knows lies in storage.
    pub(super) fn of_unknown(found: &Found) -> Self {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        match found {
            Found::Blob(Listed { key, size }) => Self::Orphan {
                key: key.as_str().to_owned(),
                bytes: *size,
            },
            Found::Stray(Stray { path, kind }) => match kind {
                StrayKind::Upload(key) => Self::AbandonedUpload {
                    key: key.as_str().to_owned(),
                },
                StrayKind::Unused(_) => Self::EmptyDirectory { path: text(path) },
                StrayKind::Foreign => Self::Leftover { path: text(path) },
            },
        }
    }
}

/// What is wrong with the bytes of a stored blob.
#[derive(Debug)]
pub(super) enum Damage {
    Lost,
    WrongLength { actual: u64 },
    WrongContent { actual: quayside_oci::Digest },
    Unreadable { reason: String },
    BadKey,
}

impl Damage {
    pub(super) fn of(&self, stored: &StoredKey) -> Fault {
        let (digest, key) = (stored.digest.to_string(), stored.key.clone());
        match self {
            Self::Lost => Fault::Lost { digest, key },
            Self::WrongLength { actual } => Fault::WrongLength {
                digest,
                key,
                expected_bytes: stored.size,
                actual_bytes: *actual,
            },
            Self::WrongContent { actual } => Fault::WrongContent {
                digest,
                key,
                actual_digest: actual.to_string(),
            },
            Self::Unreadable { reason } => Fault::Unreadable {
                digest,
                key,
                reason: reason.clone(),
            },
            Self::BadKey => Fault::BadKey { digest, key },
        }
    }
}
