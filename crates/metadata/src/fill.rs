//! Fills: bytes on their way into storage (G3, ENGINE §1.3).

use quayside_oci::Digest;

use crate::OrganizationId;

/// The record of a storage key, written before storage is touched, so that a crash leaves no bytes
/// that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FillIntent {
    /// Names this fill; never used twice.
    pub token: String,
    /// The blob that is filled.
    pub digest: Digest,
    /// The size that the fill expects, in bytes.
    pub size: u64,
    /// The organization whose credentials upstream is asked with; `None` is anonymous (B9).
    pub scope: Option<OrganizationId>,
    /// The key that will be written; no key is ever written twice.
    pub storage_key: String,
    /// When others may consider this fill dead.
    pub expires_at: i64,
}

/// What became of a fill whose bytes are verified and in storage under its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FillCommit {
    /// The blob is stored under this key.
    Stored,
    /// Somebody else stored the blob first; this key is garbage.
    Superseded,
    /// No manifest names the blob any more; this key is garbage.
    Unreferenced,
    /// The fill's record is gone, and with it the right to commit; its key is garbage already.
    Lost,
}
