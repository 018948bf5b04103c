//! The one way to the database.

use std::path::Path;

use quayside_oci::Digest;

use crate::{
    Admission, AdmitError, Admitted, BlobState, Discrepancy, FillCommit, FillIntent, KnownOrganization,
    ManifestId, MetadataError, OrganizationId, OrganizationIdentity, Renewal, RepositoryId, StoredManifest,
    TagPage, TagState, Usage, View, Wanted,
};

type Result<T, E = MetadataError> = std::result::Result<T, E>;

/// A database of metadata, open. Clones share it.
#[derive(Clone, Debug)]
pub struct Metadata {}

#[allow(clippy::todo, clippy::unused_async, unused_variables)]
impl Metadata {
    /// Opens or makes a SQLite database. A second process is refused (C4).
    pub async fn open_sqlite(path: &Path) -> Result<Self> {
        todo!()
    }

    /// Waits for what is running and closes; later calls are [`MetadataError::Unavailable`].
    pub async fn close(&self) {
        todo!()
    }

    /// A setting that was stored before.
    pub async fn setting(&self, name: &str) -> Result<Option<Vec<u8>>> {
        todo!()
    }

    /// Stores a setting unless there is one, and says which one is stored.
    pub async fn setting_or_insert(&self, name: &str, value: &[u8]) -> Result<Vec<u8>> {
        todo!()
    }

    /// The organizations that were not removed.
    pub async fn known_organizations(&self) -> Result<Vec<KnownOrganization>> {
        todo!()
    }

    /// Makes the database know exactly the organizations of an accepted file (G5), and gives their
    /// rows in the order of `wanted`.
    ///
    /// `keep` are the identities, as (uid, upstream), that are in the file but not served; they stay
    /// as they are. Any other that is not in `wanted` is removed now. One that comes back finds its
    /// content.
    pub async fn sync_organizations(
        &self,
        wanted: &[OrganizationIdentity],
        keep: &[(String, String)],
        now: i64,
    ) -> Result<Vec<OrganizationId>> {
        todo!()
    }

    /// The current row of a tag, live or dead.
    pub async fn tag(
        &self,
        organization: OrganizationId,
        repository: &str,
        tag: &str,
    ) -> Result<Option<TagState>> {
        todo!()
    }

    /// A manifest of a repository, held or released.
    pub async fn manifest(
        &self,
        organization: OrganizationId,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<StoredManifest>> {
        todo!()
    }

    /// A manifest that a live tag holds, directly or through an index: what strangers may see of a
    /// public organization (A3, B1).
    pub async fn public_manifest(
        &self,
        organization: OrganizationId,
        repository: &str,
        digest: &Digest,
        now: i64,
    ) -> Result<Option<StoredManifest>> {
        todo!()
    }

    /// A blob that a manifest of the repository names (B1).
    pub async fn blob(
        &self,
        organization: OrganizationId,
        repository: &str,
        digest: &Digest,
        view: View,
    ) -> Result<Option<BlobState>> {
        todo!()
    }

    /// Makes a manifest held, and counts what becomes held with it, in one transaction.
    pub async fn admit(&self, admission: Admission<'_>) -> Result<Admitted, AdmitError> {
        todo!()
    }

    /// Marks the current row of a dead tag as found unchanged by a HEAD (M11). It stays dead.
    pub async fn mark_resolved(
        &self,
        repository: RepositoryId,
        tag: &str,
        manifest: ManifestId,
        now: i64,
    ) -> Result<()> {
        todo!()
    }

    /// Writes pulls and checks, in their order, in one transaction (M15).
    pub async fn renew(&self, batch: &[Renewal]) -> Result<()> {
        todo!()
    }

    /// Records a storage key before storage is touched (G3).
    pub async fn record_fill(&self, intent: FillIntent) -> Result<()> {
        todo!()
    }

    /// Makes the verified bytes of a fill the stored blob.
    ///
    /// `size` is the real size. Where another one was counted, the usage of every organization that
    /// holds the blob is corrected (B10).
    pub async fn commit_fill(
        &self,
        token: &str,
        digest: &Digest,
        storage_key: &str,
        size: u64,
        scope: Option<OrganizationId>,
        garbage_not_before: i64,
    ) -> Result<FillCommit> {
        todo!()
    }

    /// Gives a fill up; its key becomes garbage.
    pub async fn abandon_fill(&self, token: &str, garbage_not_before: i64) -> Result<()> {
        todo!()
    }

    /// Gives up every fill that a process before this one left, and says how many there were.
    pub async fn abandon_all_fills(&self, garbage_not_before: i64) -> Result<u64> {
        todo!()
    }

    /// Records that the organization's own upstream has delivered the blob once; `None`: that
    /// anybody obtained it anonymously, so that it is free from now on (B9).
    pub async fn prove_blob(&self, digest: &Digest, scope: Option<OrganizationId>) -> Result<()> {
        todo!()
    }

    /// Records that the bytes at this key are lost or of the wrong length (B8). False if the blob is
    /// not stored there any more.
    pub async fn forget_bytes(
        &self,
        digest: &Digest,
        storage_key: &str,
        garbage_not_before: i64,
    ) -> Result<bool> {
        todo!()
    }

    /// Marks the blobs of a manifest that are not stored as wanted, and lists them (B6).
    pub async fn want_manifest(&self, manifest: ManifestId, now: i64) -> Result<Vec<Wanted>> {
        todo!()
    }

    /// The same for every held manifest of the repository that names this blob as a layer.
    pub async fn want_by_layer(
        &self,
        repository: RepositoryId,
        layer: &Digest,
        now: i64,
    ) -> Result<Vec<Wanted>> {
        todo!()
    }

    /// Whether a held index of the repository names the manifest (B6).
    pub async fn is_child_of_held_index(
        &self,
        repository: RepositoryId,
        manifest: ManifestId,
    ) -> Result<bool> {
        todo!()
    }

    /// The wanted blobs that may be tried now: configs first, then the smallest.
    pub async fn wanted(&self, now: i64, limit: u32) -> Result<Vec<Wanted>> {
        todo!()
    }

    /// Puts off the next attempt at a wanted blob.
    pub async fn postpone(&self, digest: &Digest, retry_at: i64) -> Result<()> {
        todo!()
    }

    /// Wants a blob no more, until the next pull.
    pub async fn give_up(&self, digest: &Digest) -> Result<()> {
        todo!()
    }

    /// A page of a repository's live tags.
    pub async fn tags(
        &self,
        organization: OrganizationId,
        repository: &str,
        now: i64,
        after: Option<&str>,
        limit: u32,
    ) -> Result<TagPage> {
        todo!()
    }

    /// A page of the full names (`organization/repository`) of the repositories of these
    /// organizations that have a live tag, in byte order, after the given full name.
    pub async fn catalog(
        &self,
        organizations: &[OrganizationId],
        now: i64,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>> {
        todo!()
    }

    /// What an organization holds. Counts its live tags: not for every request.
    pub async fn usage(&self, organization: OrganizationId, now: i64) -> Result<Usage> {
        todo!()
    }

    /// Compares everything that is kept incrementally with what the other rows say (Q2). Reads
    /// everything. Empty: all is right.
    pub async fn recount(&self) -> Result<Vec<Discrepancy>> {
        todo!()
    }
}
