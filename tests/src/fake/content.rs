//! What a scripted upstream holds.

use std::collections::HashMap;

use bytes::Bytes;

use crate::images::Blob;

/// One repository.
#[derive(Debug, Default)]
pub(super) struct Repository {
    /// Tag → digest.
    pub(super) tags: HashMap<String, String>,
    /// Digest → manifest.
    pub(super) manifests: HashMap<String, Blob>,
    /// Digest → bytes.
    pub(super) blobs: HashMap<String, Bytes>,
    /// Digest of a subject → the body of its referrers list.
    pub(super) referrers: HashMap<String, Bytes>,
}

impl Repository {
    /// The manifest under a tag or a digest.
    pub(super) fn manifest(&self, reference: &str) -> Option<&Blob> {
        let digest = self.tags.get(reference).map_or(reference, String::as_str);
        self.manifests.get(digest)
    }
}

/// Everything: repositories, and plain files outside `/v2/`.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) repositories: HashMap<String, Repository>,
    pub(super) files: HashMap<String, Bytes>,
}

impl Content {
    pub(super) fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }
}
