//! What the sweeper and the collector did, or would do (ENGINE §1.3).

use std::collections::HashMap;

use crate::OrganizationId;

/// The time machine of an organization that was removed is at least this long, in milliseconds (G5).
pub const REMOVED_WINDOW_MS: i64 = 3_600_000;

/// What one step of the sweeper did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Tag rows whose Window was over.
    pub tags: u64,
    /// Digest pins whose Window was over.
    pub pins: u64,
    /// Manifests that nothing holds any more.
    pub released: u64,
    /// Whether more rows of the organization may be due.
    pub more: bool,
}

/// What one step of the collector did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Manifests that were dropped.
    pub manifests: u64,
    /// Blob rows that went because no manifest names them any more, stored or not.
    pub blobs: u64,
    /// Bytes that became garbage.
    pub bytes: u64,
    /// Repositories that were left empty.
    pub repositories: u64,
    /// Whether more manifests may be due.
    pub more: bool,
}

/// A storage key whose bytes are to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Garbage {
    /// The key in the store.
    pub key: String,
    /// How many bytes lie there at most; 0 where they were found to be lost.
    pub size: u64,
}

/// What a pass would find to do at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// Tag rows whose Window is over.
    pub tags: u64,
    /// Digest pins whose Window is over.
    pub pins: u64,
    /// Manifests that nothing would hold without them.
    pub released: u64,
    /// Manifests that were released long enough ago to be dropped.
    pub manifests: u64,
    /// Blobs that would go with them.
    pub blobs: u64,
    /// Fills whose time is over.
    pub fills: u64,
    /// Storage keys whose bytes may be deleted.
    pub keys: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How long after its Window a tag is left alone, so that renewals on their way are not overtaken (M15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slacks {
    /// Of those that differ, in milliseconds.
    pub by_organization: HashMap<OrganizationId, i64>,
    /// Of all others, in milliseconds.
    pub other_ms: i64,
}

impl Slacks {
    /// That of an organization, in milliseconds.
    pub fn of(&self, organization: OrganizationId) -> i64 {
        let own = self.by_organization.get(&organization);
        own.copied().unwrap_or(self.other_ms)
    }
}
