//! The one way to the database.

mod inspection;
mod leases;
mod lifetime;
mod referrers;
mod scrub;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use quayside_oci::Digest;

use crate::engine::{Engine, PostgresSettings};
use crate::queries::{admit, fill, list, organization, read, recount, renew, setting, usage, wanted};
use crate::{
    Admission, AdmitError, Admitted, BlobState, CatalogPage, Discrepancy, FillCommit, FillIntent, HeldBy,
    KnownOrganization, ManifestId, MetadataError, OrganizationId, OrganizationIdentity, Planner, Renewal,
    RepositoryId, StoredManifest, TagPage, TagState, Usage, View, Wanted,
};

type Result<T, E = MetadataError> = std::result::Result<T, E>;

/// A database of metadata, open. Clones share it.
#[derive(Clone, Debug)]
pub struct Metadata {
    engine: Arc<Engine>,
}

impl Metadata {
    /// Opens or makes a `SQLite` database. A second process is refused (C4).
    pub async fn open_sqlite(path: &Path) -> Result<Self> {
        let engine = Engine::open_sqlite(path).await?;
        Ok(Self {
            engine: Arc::new(engine),
        })
    }

    /// Opens a `PostgreSQL` database, and makes or updates its tables. Other processes may do the same.
    pub async fn open_postgres(settings: &PostgresSettings) -> Result<Self> {
        let engine = Engine::open_postgres(settings).await?;
        Ok(Self {
            engine: Arc::new(engine),
        })
    }

    /// Waits for what is running and closes; later calls are [`MetadataError::Unavailable`].
    pub async fn close(&self) {
        self.engine.close().await;
    }

    /// A setting that was stored before.
    pub async fn setting(&self, name: &str) -> Result<Option<Vec<u8>>> {
        setting::read(&self.engine, name).await
    }

    /// Stores a setting unless there is one, and says which one is stored.
    pub async fn setting_or_insert(&self, name: &str, value: &[u8]) -> Result<Vec<u8>> {
        let setting = setting::Setting {
            name: name.to_owned(),
            value: Bytes::copy_from_slice(value),
        };
        self.engine
            .write(setting, |tx, setting| {
                Box::pin(setting::read_or_insert(tx, setting))
            })
            .await
    }

    /// Stores a setting whether or not there is one.
    pub async fn replace_setting(&self, name: &str, value: &[u8]) -> Result<()> {
        let setting = setting::Setting {
            name: name.to_owned(),
            value: Bytes::copy_from_slice(value),
        };
        self.engine
            .write(setting, |tx, setting| Box::pin(setting::replace(tx, setting)))
            .await
    }

    /// The organizations that were not removed.
    pub async fn known_organizations(&self) -> Result<Vec<KnownOrganization>> {
        organization::known(&self.engine).await
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
        let sync = organization::Sync {
            wanted: wanted.to_vec(),
            keep: keep.to_vec(),
            now,
        };
        self.engine
            .write(sync, |tx, sync| Box::pin(organization::sync(tx, sync)))
            .await
    }

    /// The current row of a tag, live or dead.
    pub async fn tag(
        &self,
        organization: OrganizationId,
        repository: &str,
        tag: &str,
    ) -> Result<Option<TagState>> {
        read::tag(&self.engine, organization, repository, tag).await
    }

    /// A manifest of a repository, held or released.
    pub async fn manifest(
        &self,
        organization: OrganizationId,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<StoredManifest>> {
        read::manifest(&self.engine, organization, repository, digest).await
    }

    /// A manifest that something live holds, directly or through an index: what strangers may see of
    /// a public organization (A3, B1), and members while upstream must not be asked (C2).
    pub async fn live_manifest(
        &self,
        organization: OrganizationId,
        repository: &str,
        digest: &Digest,
        now: i64,
        by: HeldBy,
    ) -> Result<Option<StoredManifest>> {
        read::live_manifest(&self.engine, organization, repository, digest, now, by).await
    }

    /// A blob that a manifest of the repository names (B1).
    pub async fn blob(
        &self,
        organization: OrganizationId,
        repository: &str,
        digest: &Digest,
        view: View,
    ) -> Result<Option<BlobState>> {
        read::blob(&self.engine, organization, repository, digest, view).await
    }

    /// Whether bytes of this length may be the blob: a manifest of the repository declares them, or they
    /// are known to be as many (B10).
    pub async fn allows_size(
        &self,
        organization: OrganizationId,
        repository: &str,
        digest: &Digest,
        size: u64,
    ) -> Result<bool> {
        read::allows_size(&self.engine, organization, repository, digest, size).await
    }

    /// Makes a manifest held, and counts what becomes held with it, in one transaction.
    ///
    /// If that adds bytes the planner decides whether they fit, and what has to go for them (Q3-Q6); it
    /// may be told of thousands of candidates. A refusal changes nothing.
    pub async fn admit(
        &self,
        admission: &Admission<'_>,
        planner: Arc<dyn Planner>,
    ) -> Result<Admitted, AdmitError> {
        let request = admit::Request::new(admission, planner);
        self.engine
            .write(request, |tx, request| Box::pin(admit::admit(tx, request)))
            .await
    }

    /// Marks the current row of a dead tag as found unchanged by a HEAD (M11). It stays dead.
    pub async fn mark_resolved(
        &self,
        repository: RepositoryId,
        tag: &str,
        manifest: ManifestId,
        now: i64,
    ) -> Result<()> {
        let resolved = renew::Resolved {
            repository,
            tag: tag.to_owned(),
            manifest,
            now,
        };
        self.engine
            .write(resolved, |tx, resolved| {
                Box::pin(renew::mark_resolved(tx, resolved))
            })
            .await
    }

    /// Writes pulls and checks, in their order, in one transaction (M15).
    pub async fn renew(&self, batch: &[Renewal]) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        self.engine
            .write(batch.to_vec(), |tx, batch| Box::pin(renew::renew(tx, batch)))
            .await
    }

    /// Records a storage key before storage is touched (G3). Nobody is kept from filling the same blob, see
    /// [`begin_fill`](Self::begin_fill).
    pub async fn record_fill(&self, intent: FillIntent) -> Result<()> {
        self.engine
            .write(intent, |tx, intent| {
                Box::pin(fill::record(tx, intent, crate::fill::Leased::No))
            })
            .await
            .map(drop)
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
        let commit = fill::Commit {
            token: token.to_owned(),
            digest: digest.clone(),
            storage_key: storage_key.to_owned(),
            size,
            scope,
            garbage_not_before,
        };
        self.engine
            .write(commit, |tx, commit| Box::pin(fill::commit(tx, commit)))
            .await
    }

    /// Gives a fill up; its key becomes garbage.
    pub async fn abandon_fill(&self, token: &str, garbage_not_before: i64) -> Result<()> {
        let fill = fill::Abandoned {
            token: token.to_owned(),
            garbage_not_before,
        };
        self.engine
            .write(fill, |tx, fill| Box::pin(fill::abandon(tx, fill)))
            .await
    }

    /// Gives up every fill that a process before this one left, and says how many there were.
    pub async fn abandon_all_fills(&self, garbage_not_before: i64) -> Result<u64> {
        self.engine
            .write(garbage_not_before, |tx, not_before| {
                Box::pin(fill::abandon_all(tx, not_before))
            })
            .await
    }

    /// Records that the organization's own upstream has delivered the blob once; `None`: that
    /// anybody obtained it anonymously, so that it is free from now on (B9).
    pub async fn prove_blob(&self, digest: &Digest, scope: Option<OrganizationId>) -> Result<()> {
        let proof = (digest.clone(), scope);
        self.engine
            .write(proof, |tx, (digest, scope)| {
                Box::pin(fill::prove(tx, digest, *scope))
            })
            .await
    }

    /// Records that the bytes at this key are lost or of the wrong length (B8). False if the blob is
    /// not stored there any more.
    pub async fn forget_bytes(
        &self,
        digest: &Digest,
        storage_key: &str,
        garbage_not_before: i64,
    ) -> Result<bool> {
        let bytes = fill::Forgotten {
            digest: digest.clone(),
            storage_key: storage_key.to_owned(),
            garbage_not_before,
        };
        self.engine
            .write(bytes, |tx, bytes| Box::pin(fill::forget(tx, bytes)))
            .await
    }

    /// Marks the blobs of a manifest that are not stored as wanted, and lists them (B6).
    pub async fn want_manifest(&self, manifest: ManifestId, now: i64) -> Result<Vec<Wanted>> {
        self.want(&wanted::Around::Manifest(manifest), now).await
    }

    /// The same for every held manifest of the repository that was pulled, see
    /// [`record_pull`](Self::record_pull), and names this blob as a layer.
    pub async fn want_by_layer(
        &self,
        repository: RepositoryId,
        layer: &Digest,
        now: i64,
    ) -> Result<Vec<Wanted>> {
        self.want(&wanted::Around::Layer(repository, layer.clone()), now)
            .await
    }

    /// Remembers that somebody pulled the image: a GET of one of its layers is then a reason to want the
    /// others (B6). An image that a HEAD stored is none.
    pub async fn record_pull(&self, manifest: ManifestId) -> Result<()> {
        if wanted::is_new(&self.engine, manifest).await? {
            self.engine
                .write(manifest, |tx, manifest| {
                    Box::pin(wanted::record_pull(tx, manifest))
                })
                .await?;
        }
        Ok(())
    }

    /// Whether a held index of the repository names the manifest (B6).
    pub async fn is_child_of_held_index(
        &self,
        repository: RepositoryId,
        manifest: ManifestId,
    ) -> Result<bool> {
        wanted::is_child_of_held_index(&self.engine, repository, manifest).await
    }

    /// The wanted blobs that may be tried now: configs first, then the smallest.
    pub async fn wanted(&self, now: i64, limit: u32) -> Result<Vec<Wanted>> {
        wanted::due(&self.engine, now, limit).await
    }

    /// Puts off the next attempt at a wanted blob.
    pub async fn postpone(&self, digest: &Digest, retry_at: i64) -> Result<()> {
        self.reschedule(wanted::Attempt::Later(digest.clone(), retry_at))
            .await
    }

    /// Wants a blob for that manifest, see [`Wanted::wanted_in`], no more until the next pull. One that
    /// is wanted for another manifest by now stays wanted.
    pub async fn give_up(&self, digest: &Digest, wanted_in: ManifestId) -> Result<()> {
        self.reschedule(wanted::Attempt::Never(digest.clone(), wanted_in))
            .await
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
        let query = list::TagQuery {
            organization,
            repository,
            now,
            after,
            limit,
        };
        list::tags(&self.engine, query).await
    }

    /// A page of the full names (`organization/repository`) of the repositories of these
    /// organizations that have a live tag, in byte order, after the given full name. Looks at a
    /// bounded number of repositories.
    pub async fn catalog(
        &self,
        organizations: &[OrganizationId],
        now: i64,
        after: Option<&str>,
        limit: u32,
    ) -> Result<CatalogPage> {
        let query = list::CatalogQuery {
            organizations,
            now,
            after,
            limit,
        };
        list::catalog(&self.engine, query, list::EXAMINED).await
    }

    /// What an organization holds. Counts its live tags: not for every request.
    pub async fn usage(&self, organization: OrganizationId, now: i64) -> Result<Usage> {
        usage::usage(&self.engine, organization, now).await
    }

    /// What every organization that was not removed weighs, in bytes (Q2). Reads one small table.
    pub async fn usages(&self) -> Result<Vec<(OrganizationId, u64)>> {
        usage::usages(&self.engine).await
    }

    /// Compares everything that is kept incrementally with what the other rows say (Q2). Reads
    /// everything. Empty: all is right.
    pub async fn recount(&self) -> Result<Vec<Discrepancy>> {
        self.engine
            .snapshot(&(), |tx, ()| Box::pin(recount::recount(tx)))
            .await
    }

    #[cfg(test)]
    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    async fn want(&self, around: &wanted::Around, now: i64) -> Result<Vec<Wanted>> {
        let missing = wanted::missing(&self.engine, around, now).await?;
        if let Some(mark) = missing.mark {
            self.engine
                .write(mark, |tx, mark| Box::pin(wanted::mark(tx, mark)))
                .await?;
        }
        Ok(missing.blobs)
    }

    async fn reschedule(&self, attempt: wanted::Attempt) -> Result<()> {
        self.engine
            .write(attempt, |tx, attempt| Box::pin(wanted::reschedule(tx, attempt)))
            .await
    }
}
