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
    /// Where other processes can follow the fill, `host:port`; empty if nowhere.
    pub address: String,
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

/// Whether a fill keeps others from filling the same blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leased {
    /// The others are to follow it.
    Yes,
    /// It runs beside whatever others do, and the first commit wins: the lease is for another size (B10), or no other
    /// process can have one.
    No,
}

/// What a process that wants a blob has to do for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FillLease {
    /// Fill it; the intent is recorded.
    Ours(FillPurpose),
    /// Follow the fill that runs. Nothing was recorded.
    Held(HeldFill),
    /// Read it from storage: it is there by now, and the scope may have it (B9). Nothing was recorded.
    Found,
}

/// What the bytes of a fill are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FillPurpose {
    /// They are not stored.
    Store,
    /// They are stored, but obtained with credentials of others: to be verified and thrown away (B9). The
    /// key is never written, so the fill ends with [`Metadata::prove_blob`](crate::Metadata::prove_blob)
    /// and then [`Metadata::abandon_fill`](crate::Metadata::abandon_fill), never with a commit.
    Prove,
}

/// A fill that runs and has the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldFill {
    /// Its name.
    pub token: String,
    /// Where it can be followed, `host:port`; empty if nowhere.
    pub address: String,
    /// The size that it expects, in bytes.
    pub size: u64,
    /// Until when it is taken to run unasked.
    pub expires_at: i64,
}
