//! Facts that are kept in memory, so that a warm pull costs no query.
//!
//! No fact is used when it is older than the staleness bound, `min(5 s, graceSeconds / 4)`. Bytes outlive their
//! release by two graces, so a fact that another replica has overtaken can only serve what was right a moment ago
//! (G3): no protocol between replicas is needed to take facts back.

mod epochs;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use moka::sync::Cache;
use quayside_blobs::StorageKey;
use quayside_metadata::{BlobState, ManifestId, OrganizationId, RepositoryId, StoredManifest, TagState};
use quayside_oci::{Digest, Kind, RepositoryName};

use super::freshness::Facts;
use super::tags::TagKey;
use crate::clock::{Millis, millis};
pub(crate) use epochs::Epoch;
use epochs::Epochs;

/// What manifests may take, and as much again those that tags point at.
const MANIFEST_BYTES: u64 = 64 << 20;
/// What a cached manifest takes beside its body, roughly.
const OVERHEAD: usize = 1024;
const BLOBS: u64 = 100_000;
const LENGTHS: u64 = 10_000;
const LONGEST: Duration = Duration::from_secs(5);

type ContentKey = (OrganizationId, RepositoryName, Digest);

/// A manifest that is ready to be sent, with the headers that depend on it alone (M14).
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) repository: RepositoryId,
    pub(crate) id: ManifestId,
    pub(crate) digest: Digest,
    pub(crate) kind: Kind,
    pub(crate) body: Bytes,
    pub(crate) content_type: HeaderValue,
    pub(crate) content_length: HeaderValue,
    pub(crate) digest_header: HeaderValue,
    pub(crate) etag: HeaderValue,
    loaded_at: Millis,
    nudged_at: AtomicI64,
}

impl Ready {
    pub(crate) fn new(stored: StoredManifest, now: Millis) -> Arc<Self> {
        let octets = HeaderValue::from_static("application/octet-stream");
        Arc::new(Self {
            content_type: HeaderValue::from_str(&stored.media_type).unwrap_or(octets),
            content_length: HeaderValue::from(stored.body.len()),
            digest_header: digest_header(&stored.digest),
            etag: etag(&stored.digest),
            repository: stored.repository,
            id: stored.id,
            digest: stored.digest,
            kind: stored.kind,
            body: stored.body,
            loaded_at: now,
            nudged_at: AtomicI64::new(Millis::MIN),
        })
    }

    /// True once per staleness bound: whether the background should look at this image again (B6).
    pub(crate) fn wants_nudge(&self, now: Millis) -> bool {
        first_in_a_while(&self.nudged_at, now)
    }

    /// What it takes in memory, in bytes.
    fn weight(&self) -> u32 {
        u32::try_from(self.body.len() + OVERHEAD).unwrap_or(u32::MAX)
    }
}

/// A digest as the value of `Docker-Content-Digest`.
pub(crate) fn digest_header(digest: &Digest) -> HeaderValue {
    HeaderValue::from_str(digest.as_str()).unwrap_or(HeaderValue::from_static(""))
}

/// The quoted digest, the value of `ETag` (M14).
pub(crate) fn etag(digest: &Digest) -> HeaderValue {
    let quoted = ["\"", digest.as_str(), "\""].concat();
    HeaderValue::from_maybe_shared(Bytes::from(quoted)).unwrap_or(HeaderValue::from_static("\"\""))
}

fn first_in_a_while(last: &AtomicI64, now: Millis) -> bool {
    let before = last.load(Ordering::Relaxed);
    now.saturating_sub(before) >= millis(LONGEST)
        && last
            .compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
}

/// A time this far ahead was written before the clock was set back (E3).
const AHEAD: Millis = 600_000;

/// Moves a time on, never back, unless it lies where no time can.
fn move_on(time: &AtomicI64, to: Millis) {
    let before = time.load(Ordering::Relaxed);
    if to > before || before > to.saturating_add(AHEAD) {
        time.store(to, Ordering::Relaxed);
    }
}

/// The current row of a tag, with the times that this replica has moved since it was read.
#[derive(Debug)]
pub(crate) struct TagEntry {
    pub(crate) ready: Arc<Ready>,
    ends_at: AtomicI64,
    checked_at: AtomicI64,
    pulled_at: AtomicI64,
    loaded_at: Millis,
}

impl TagEntry {
    /// Of a manifest that the tag pointed at a moment ago; it is dead, and not kept.
    pub(crate) fn passed(stored: StoredManifest, now: Millis) -> Arc<Self> {
        Arc::new(Self {
            ready: Ready::new(stored, now),
            ends_at: AtomicI64::new(now),
            checked_at: AtomicI64::new(now),
            pulled_at: AtomicI64::new(now),
            loaded_at: now,
        })
    }

    pub(crate) fn facts(&self) -> Facts {
        Facts {
            ends_at: self.ends_at.load(Ordering::Relaxed),
            checked_at: self.checked_at.load(Ordering::Relaxed),
        }
    }

    /// A pull moved the end time (E1).
    pub(crate) fn renewed(&self, now: Millis, ends_at: Millis) {
        self.ends_at.store(ends_at, Ordering::Relaxed);
        move_on(&self.pulled_at, now);
    }

    /// Upstream confirmed the tag.
    pub(crate) fn checked(&self, at: Millis) {
        move_on(&self.checked_at, at);
    }

    /// Renewals reach the database up to a second later: what this replica knows better stays known.
    fn inherit(&self, older: &Self) {
        if older.ready.id != self.ready.id {
            return;
        }
        let known = |time: &AtomicI64| {
            let time = time.load(Ordering::Relaxed);
            // Nothing is inherited from a time that the clock has left again.
            if time > self.loaded_at.saturating_add(AHEAD) {
                Millis::MIN
            } else {
                time
            }
        };
        self.checked(known(&older.checked_at));
        let pulled_at = known(&older.pulled_at);
        if pulled_at > self.pulled_at.load(Ordering::Relaxed) {
            self.renewed(pulled_at, older.ends_at.load(Ordering::Relaxed));
        }
    }
}

/// A stored blob that this organization may be served (B1, B9).
#[derive(Debug)]
pub(crate) struct BlobEntry {
    pub(crate) repository: RepositoryId,
    pub(crate) key: StorageKey,
    pub(crate) size: u64,
    pub(crate) layer: bool,
    loaded_at: Millis,
    nudged_at: AtomicI64,
}

impl BlobEntry {
    pub(crate) fn new(state: &BlobState, key: StorageKey, size: u64, now: Millis) -> Arc<Self> {
        Arc::new(Self {
            repository: state.repository,
            key,
            size,
            layer: state.layer,
            loaded_at: now,
            nudged_at: AtomicI64::new(Millis::MIN),
        })
    }

    /// True once per staleness bound, for layers: whether the background should look at its images (B6).
    pub(crate) fn wants_nudge(&self, now: Millis) -> bool {
        self.layer && first_in_a_while(&self.nudged_at, now)
    }
}

/// The caches. All bounded; all safe to lose at any moment.
pub(crate) struct Warm {
    staleness: Millis,
    manifests: Cache<ContentKey, Arc<Ready>>,
    tags: Cache<TagKey, Arc<TagEntry>>,
    blobs: Cache<ContentKey, Arc<BlobEntry>>,
    lengths: Cache<ContentKey, u64>,
    manifest_epochs: Epochs,
    tag_epochs: Epochs,
    blob_epochs: Epochs,
}

impl Warm {
    /// Caches for a registry with this `gc.graceSeconds`.
    pub(crate) fn new(grace: Duration) -> Self {
        Self {
            staleness: millis(LONGEST.min(grace / 4)),
            manifests: Cache::builder()
                .max_capacity(MANIFEST_BYTES)
                .weigher(|_, ready: &Arc<Ready>| ready.weight())
                .build(),
            tags: Cache::builder()
                .max_capacity(MANIFEST_BYTES)
                .weigher(|_, entry: &Arc<TagEntry>| entry.ready.weight())
                .build(),
            blobs: Cache::builder().max_capacity(BLOBS).build(),
            lengths: Cache::builder().max_capacity(LENGTHS).build(),
            manifest_epochs: Epochs::default(),
            tag_epochs: Epochs::default(),
            blob_epochs: Epochs::default(),
        }
    }

    fn is_fresh(&self, loaded_at: Millis, now: Millis) -> bool {
        (0..self.staleness).contains(&now.saturating_sub(loaded_at))
    }

    pub(crate) fn manifest(&self, key: &ContentKey, now: Millis) -> Option<Arc<Ready>> {
        self.manifests
            .get(key)
            .filter(|ready| self.is_fresh(ready.loaded_at, now))
    }

    /// To be asked before a manifest is read from the database.
    pub(crate) fn manifest_epoch(&self, key: &ContentKey) -> Epoch {
        self.manifest_epochs.of(key)
    }

    /// Keeps what was read from the database, unless it was forgotten since the read began.
    pub(crate) fn keep_manifest(&self, key: &ContentKey, ready: &Arc<Ready>, read: Epoch) {
        self.manifests.insert(key.clone(), Arc::clone(ready));
        if self.manifest_epochs.of(key) != read {
            self.manifests.invalidate(key);
        }
    }

    /// Something was released here: who asks for a manifest by its digest now takes it back (M9).
    pub(crate) fn forget_manifests(&self) {
        self.manifest_epochs.forget_all();
        self.manifests.invalidate_all();
    }

    pub(crate) fn tag(&self, key: &TagKey, now: Millis) -> Option<Arc<TagEntry>> {
        self.tags
            .get(key)
            .filter(|entry| self.is_fresh(entry.loaded_at, now))
    }

    /// To be asked before a row is read from the database.
    pub(crate) fn tag_epoch(&self, key: &TagKey) -> Epoch {
        self.tag_epochs.of(key)
    }

    /// Keeps a row that was read from the database, unless it was forgotten since the read began.
    pub(crate) fn keep_tag(&self, key: &TagKey, state: TagState, now: Millis, read: Epoch) -> Arc<TagEntry> {
        let entry = Arc::new(TagEntry {
            ends_at: AtomicI64::new(state.ends_at),
            checked_at: AtomicI64::new(state.checked_at),
            pulled_at: AtomicI64::new(state.pulled_at),
            ready: Ready::new(state.manifest, now),
            loaded_at: now,
        });
        if let Some(older) = self.tags.get(key) {
            entry.inherit(&older);
        }
        self.tags.insert(key.clone(), Arc::clone(&entry));
        // Whoever forgets it after this looked takes it out after it went in.
        if self.tag_epochs.of(key) != read {
            self.tags.invalidate(key);
        }
        entry
    }

    /// Times of many rows were moved in the database.
    pub(crate) fn forget_tags(&self) {
        self.tag_epochs.forget_all();
        self.tags.invalidate_all();
    }

    pub(crate) fn forget_tag(&self, key: &TagKey) {
        self.tag_epochs.forget(key);
        self.tags.invalidate(key);
    }

    pub(crate) fn blob(&self, key: &ContentKey, now: Millis) -> Option<Arc<BlobEntry>> {
        self.blobs
            .get(key)
            .filter(|entry| self.is_fresh(entry.loaded_at, now))
    }

    /// To be taken before a blob is looked up in the database, and given to [`Warm::keep_blob`].
    pub(crate) fn blob_epoch(&self, key: &ContentKey) -> Epoch {
        self.blob_epochs.of(key)
    }

    /// Keeps what was looked up, unless it was forgotten meanwhile: bytes that scrub has found to be wrong must not come
    /// back with a row that was read before.
    pub(crate) fn keep_blob(&self, key: &ContentKey, entry: &Arc<BlobEntry>, read: Epoch) {
        self.blobs.insert(key.clone(), Arc::clone(entry));
        if self.blob_epochs.of(key) != read {
            self.blobs.invalidate(key);
        }
    }

    /// What upstream announced where manifests contradict each other (B10). A digest has one length: it never grows
    /// stale.
    pub(crate) fn length(&self, key: &ContentKey) -> Option<u64> {
        self.lengths.get(key)
    }

    pub(crate) fn keep_length(&self, key: ContentKey, length: u64) {
        self.lengths.insert(key, length);
    }

    /// Bytes turned out to be wrong wherever they are served.
    pub(crate) fn forget_blobs(&self) {
        self.blob_epochs.forget_all();
        self.blobs.invalidate_all();
    }

    pub(crate) fn forget_blob(&self, key: &ContentKey) {
        self.blob_epochs.forget(key);
        self.blobs.invalidate(key);
    }
}
