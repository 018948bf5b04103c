//! What a storage backend promises.

use std::{
    fmt::Debug,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::{FutureExt as _, future::BoxFuture};
use quayside_oci::Digest;
use thiserror::Error;

use crate::{IdError, Object, OpenFile, Spool, StorageFault, StorageId, StorageKey};

/// Keeps complete, verified blobs under keys.
///
/// Every method may be repeated after a crash or an error. A key is committed at most once and never changes
/// its bytes afterwards (G3). Readers that already opened a blob go on after it was deleted. The suite in
/// `tests/blobs/contract.rs` says the same in code, and every backend has to pass it.
pub trait Backend: Debug + Send + Sync + 'static {
    /// Begins to bring a blob that may still be arriving to `key`, which its owner has recorded before (G3).
    /// Has to be called within a runtime.
    fn upload(&self, arriving: Arriving, key: &StorageKey) -> Box<dyn Upload>;

    /// Whether an upload does anything before it is committed, so that it ought to begin with the first byte.
    fn uploads_early(&self) -> bool;

    /// Opens the blob at `key`, which has to be of `size` bytes (B8).
    fn open<'a>(&'a self, key: &'a StorageKey, size: u64) -> BoxFuture<'a, Result<Opened, OpenError>>;

    /// A URL by which a client reads the blob at `key`, which has to be of `size` bytes, from storage itself (B7). It
    /// lives for `lifetime` at most and is signed at `now`; that the blob is there was seen at most 60 s ago (B8).
    /// None: this storage has no URLs, or what would sign one ends too soon.
    fn presign<'a>(
        &'a self,
        key: &'a StorageKey,
        size: u64,
        lifetime: Duration,
        now: SystemTime,
    ) -> BoxFuture<'a, Result<Option<String>, OpenError>> {
        let _ = (key, size, lifetime, now);
        async { Ok(None) }.boxed()
    }

    /// Deletes the bytes at `keys`, and what storage holds of uploads to them. A key without either counts as deleted.
    /// Tries them all, whatever fails.
    fn delete<'a>(&'a self, keys: &'a [StorageKey]) -> BoxFuture<'a, Result<(), DeleteError>>;

    /// Removes what storage holds of uploads to `keys` that were never completed, and nothing else. Tries them all,
    /// whatever fails.
    fn abort<'a>(&'a self, keys: &'a [StorageKey]) -> BoxFuture<'a, Result<(), DeleteError>> {
        let _ = keys;
        async { Ok(()) }.boxed()
    }

    /// The first `limit` things in storage that come after `after`, in the order of their paths: of blobs that is
    /// the order of their keys. Fails if storage itself is not there.
    fn list<'a>(
        &'a self,
        after: Option<&'a Found>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Found>, StoreError>>;

    /// Whether something that was listed is there still, as it was found.
    fn is_there<'a>(&'a self, found: &'a Found) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// The id that this storage carries; none before it was given one.
    fn id(&self) -> BoxFuture<'_, Result<Option<StorageId>, StoreError>>;

    /// Gives this storage an id, in place of the one that it carries, durably: whole or not at all.
    fn set_id<'a>(&'a self, id: &'a StorageId) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Gives this storage an id unless it carries one, durably. Where several processes may do so at once, one of them
    /// does, as far as storage can see to that; [`Self::id`] tells which.
    fn claim_id<'a>(&'a self, id: &'a StorageId) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            match self.id().await? {
                Some(_) => Ok(()),
                None => self.set_id(id).await,
            }
        }
        .boxed()
    }
}

/// A blob on its way into storage. Dropping it gives up: nothing will appear at the key, and what storage holds of
/// it meanwhile is removed in the background if storage lets us. The key has to be deleted all the same.
pub trait Upload: Debug + Send + Sync {
    /// Waits until the blob, all of which is spooled and verified by now, is at its key, durably: after `Ok` it
    /// survives a power cut. After an error the key may or may not hold bytes and has to be deleted; the spool's
    /// descriptor stays readable either way. Dropping the future is dropping the upload.
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<SpoolFile, StoreError>>;
}

/// A stored blob that was opened.
#[derive(Clone, Debug)]
pub enum Opened {
    /// A file.
    File(Arc<OpenFile>),
    /// An object of a bucket.
    Object(Arc<Object>),
}

impl Opened {
    /// Whether it was found to be shorter than it was when it was opened.
    pub(crate) fn is_cut_short(&self) -> bool {
        match self {
            Self::File(file) => file.is_cut_short(),
            Self::Object(object) => object.is_cut_short(),
        }
    }
}

/// A blob that is being spooled.
#[derive(Clone, Debug)]
pub struct Arriving {
    /// What is there of it.
    pub spool: Arc<Spool>,
    /// Where the spool file lies.
    pub path: PathBuf,
    /// The digest that its bytes are to have.
    pub digest: Digest,
}

/// What became of the spool file of a blob that was committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpoolFile {
    /// It is the stored blob now.
    Moved,
    /// It lies where it lay.
    Left,
}

/// A blob found in storage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Where it lies.
    pub key: StorageKey,
    /// Its length in bytes.
    pub size: u64,
}

/// Something found in storage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// A blob, or at least a file where one belongs.
    Blob(Listed),
    /// What no key leads to.
    Stray(Stray),
}

impl Found {
    /// Where it lies in storage; of a blob that is its key.
    pub fn path(&self) -> &Path {
        match self {
            Self::Blob(listed) => Path::new(listed.key.as_str()),
            Self::Stray(stray) => &stray.path,
        }
    }
}

/// Something in storage that is no blob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stray {
    /// Where it lies, from the root of storage.
    pub path: PathBuf,
    /// What it is.
    pub kind: StrayKind,
}

/// What no key leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StrayKind {
    /// The place that was made for this key, without bytes: a commit is at work there, or was cut off.
    Unused(StorageKey),
    /// Uploads to this key that were begun and neither completed nor given up: by a commit that is at work, or that was
    /// cut off. They lie beside the blob at the key, if there is one; [`Store::abort`](crate::Store::abort) removes
    /// them and nothing else.
    Upload(StorageKey),
    /// Nothing that we made.
    Foreign,
}

/// Why storage could not be set up, or a blob not be stored.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process has this directory.
    #[error("lock {}: another process uses this storage", path.display())]
    Locked {
        /// The storage directory.
        path: PathBuf,
    },
    /// Spool and storage lie on different file systems, so a blob could not be moved from one to the other.
    #[error("open storage: {} and {} are on different file systems", spool.display(), blobs.display())]
    Devices {
        /// The spool directory.
        spool: PathBuf,
        /// The directory of stored blobs.
        blobs: PathBuf,
    },
    /// Only verified bytes are stored.
    #[error("commit blob to {key}: its bytes were not verified")]
    NotVerified {
        /// Where they were to go.
        key: StorageKey,
    },
    /// The key was made for another digest.
    #[error("commit blob to {key}: the key belongs to another digest")]
    ForeignKey {
        /// Where the bytes were to go.
        key: StorageKey,
    },
    /// The key was used before.
    #[error("commit blob to {key}: the key was used before")]
    KeyTaken {
        /// Where the bytes were to go.
        key: StorageKey,
    },
    /// What lies where the storage's id should be is none.
    #[error("read {}", path.display())]
    Id {
        /// Where it lies.
        path: PathBuf,
        /// What is wrong with it.
        source: IdError,
    },
    /// The bucket keeps old versions of what is deleted, so that nothing ever makes room (G2).
    #[error("use bucket {bucket}: it keeps old versions, so that deleting makes no room")]
    Versioned {
        /// Its name.
        bucket: String,
    },
    /// We may not see whether the bucket keeps old versions (G2).
    #[error("use bucket {bucket}: whether it keeps old versions may not be seen")]
    VersioningUnknown {
        /// Its name.
        bucket: String,
        /// What the server said.
        source: StorageFault,
    },
    /// Storage refused.
    #[error("use storage")]
    Storage(#[source] StorageFault),
}

/// Why a stored blob could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// There are no bytes under this key though storage itself is there: the file was lost (B8).
    #[error("open blob {key}: it is missing")]
    Missing {
        /// The key without bytes.
        key: StorageKey,
    },
    /// What lies there has another length: the file is damaged (B8).
    #[error("open blob {key}: {found} bytes instead of {expected}")]
    WrongLength {
        /// The damaged key.
        key: StorageKey,
        /// The length it ought to have, in bytes.
        expected: u64,
        /// The length it has, in bytes.
        found: u64,
    },
    /// Storage cannot be read at the moment, which says nothing about the blob (O2).
    #[error("open stored blob")]
    Io(#[source] StorageFault),
}

/// Some keys could not be deleted. Those not named here are gone.
#[derive(Debug, Error)]
#[error("delete stored blobs: {} failed", failed.len())]
pub struct DeleteError {
    /// The keys that may still hold bytes, with the reason.
    pub failed: Vec<(StorageKey, StorageFault)>,
}
