//! What a comparison of storage with the database has to know (O5).

use quayside_oci::Digest;

/// A blob and the key at which its bytes should lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// The key in the store.
    pub key: String,
    /// Whose bytes they are.
    pub digest: Digest,
    /// The verified size in bytes.
    pub size: u64,
}

/// How much is recorded as stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredTotal {
    /// Blobs that have a key.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Where a storage key is recorded (I3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// As that of a blob.
    Blob,
    /// As that of a fill that runs, or was cut off.
    Fill,
    /// As garbage.
    Garbage,
}
