//! What the registry holds: a backend, a spool directory and the files that are open.

use std::{
    fs::OpenOptions,
    io,
    ops::Range,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use quayside_oci::Digest;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::{
    Backend, DeleteError, Found, Frames, Ingest, IngestError, OpenError, OpenFile, Opened, Patience,
    S3Settings, Spool, StorageFault, StorageId, StorageKey, StoreError,
    files::Files,
    filesystem::Filesystem,
    frames::Buffers,
    key::is_token,
    room::{Reservation, Room, Share},
    s3::S3,
};

/// Stored blobs, and blobs on their way in. Cheap to clone.
///
/// A store has its spool, and the directory of its blobs if that is where they are, for itself: the spool is emptied
/// when it is opened, and a second one cannot be opened before the last clone of the first and the last ingest of it are gone.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Arc<dyn Backend>,
    spool: PathBuf,
    room: Arc<Room>,
    files: Arc<Files>,
    buffers: Arc<Buffers>,
}

/// A stored blob that is open: its bytes can be read to the end even if it is deleted meanwhile. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Blob {
    opened: Opened,
    size: u64,
    buffers: Arc<Buffers>,
}

impl Store {
    /// Opens, or creates, the store in the directory `root`: blobs below `sha256` and `sha512`, the spool in
    /// `spool`, which is emptied. Ingests stop when the file system has fewer than `min_free_bytes` free (O2).
    pub fn open_filesystem(root: &Path, min_free_bytes: u64) -> Result<Self, StoreError> {
        let spool = root.join("spool");
        let backend = Filesystem::open(root, &spool)?;
        Ok(Self {
            backend: Arc::new(backend),
            room: Arc::new(Room::above(&spool, min_free_bytes)),
            spool,
            files: Arc::default(),
            buffers: Arc::default(),
        })
    }

    /// Opens the store in a bucket: blobs below the prefix and its `sha256` and `sha512`, the spool in a directory, which
    /// is emptied. A bucket that keeps old versions is refused unless the settings allow it (G2). Ingests stop when
    /// the spool is full (O2).
    pub async fn open_s3(settings: &S3Settings) -> Result<Self, StoreError> {
        Self::open_s3_with(settings, Patience::default()).await
    }

    /// As [`open_s3`](Self::open_s3), with other limits on how long an upload waits for the bucket.
    pub async fn open_s3_with(settings: &S3Settings, patience: Patience) -> Result<Self, StoreError> {
        let buffers = Arc::default();
        let backend = S3::open(settings, Arc::clone(&buffers), patience).await?;
        let room = Room::of_at_most(&settings.spool, settings.max_spool_bytes);
        Ok(Self {
            backend: Arc::new(backend),
            room: Arc::new(room.map_err(StoreError::Storage)?),
            spool: settings.spool.clone(),
            files: Arc::default(),
            buffers,
        })
    }

    /// Whether blobs go into storage while they arrive: then their keys are to be recorded, and
    /// [`Ingest::upload_to`] is to be called, before the first byte.
    pub fn uploads_early(&self) -> bool {
        self.backend.uploads_early()
    }

    /// A name that no other ingest has: 32 hexadecimal digits.
    pub fn new_token() -> String {
        Uuid::new_v4().simple().to_string()
    }

    /// As [`ingest_as`](Self::ingest_as), under a name of its own.
    pub async fn ingest(&self, digest: &Digest, size: u64) -> Result<Ingest, IngestError> {
        self.ingest_as(&Self::new_token(), digest, size).await
    }

    /// Begins to receive the blob `digest` of `size` bytes under the name `token`, which no ingest had before.
    /// Refuses what would not fit above the free bytes that have to stay, or into what the spool may take, beside
    /// all that runs already (O2).
    pub async fn ingest_as(&self, token: &str, digest: &Digest, size: u64) -> Result<Ingest, IngestError> {
        let path = self.spool.join(token);
        if !is_token(token) {
            let error = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(IngestError::Storage(StorageFault::new("create", &path, error)));
        }
        let (room, at) = (Arc::clone(&self.room), path.clone());
        let created = spawn_blocking(move || create(&room, &at, size)).await;
        let created = created.unwrap_or_else(|error| Err(StorageFault::new("create", &path, error.into())));
        let (file, reservation, share) = created.map_err(IngestError::Storage)?;
        let spool = Arc::new(Spool::new(Arc::new(file), size, Arc::clone(&self.buffers), share));
        Ok(Ingest::start(
            (token.to_owned(), path),
            digest,
            spool,
            reservation,
            Arc::clone(&self.backend),
        ))
    }

    /// Opens the blob at `key`, which has to be of `size` bytes (B8).
    pub async fn open(&self, key: &StorageKey, size: u64) -> Result<Blob, OpenError> {
        let now = Instant::now();
        if let Some(opened) = self.files.get(key, size, now) {
            return Ok(self.blob(opened, size));
        }
        let opened = self.backend.open(key, size).await?;
        self.files.put(key, opened.clone(), size, now);
        Ok(self.blob(opened, size))
    }

    /// As [`open`](Self::open), but looks at storage whatever is open already: what was lost or exchanged since is
    /// seen.
    pub async fn open_anew(&self, key: &StorageKey, size: u64) -> Result<Blob, OpenError> {
        let opened = self.backend.open(key, size).await?;
        Ok(self.blob(opened, size))
    }

    fn blob(&self, opened: Opened, size: u64) -> Blob {
        let buffers = Arc::clone(&self.buffers);
        Blob {
            opened,
            size,
            buffers,
        }
    }

    /// A URL by which a client reads the blob at `key`, which has to be of `size` bytes, from storage itself (B7). It
    /// is as good as a password. It was signed at `now` or before and lives for more than half of `lifetime`, at most
    /// for all of it; that the blob is there was seen at most 60 s before `now` (B8). None: this storage has no URLs, or
    /// the credentials that would sign end too soon.
    pub async fn presign(
        &self,
        key: &StorageKey,
        size: u64,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Option<String>, OpenError> {
        self.backend.presign(key, size, lifetime, now).await
    }

    /// Deletes the bytes at `keys`, and what storage holds of uploads to them; a key without either counts as deleted.
    /// All are tried, whatever fails. Who is reading one of them goes on reading.
    pub async fn delete(&self, keys: &[StorageKey]) -> Result<(), DeleteError> {
        let result = self.backend.delete(keys).await;
        for key in keys {
            self.files.forget(key);
        }
        result
    }

    /// Removes what storage holds of uploads to `keys` that were never completed, and nothing else: what
    /// [`StrayKind::Upload`](crate::StrayKind::Upload) stands for. All are tried, whatever fails.
    pub async fn abort(&self, keys: &[StorageKey]) -> Result<(), DeleteError> {
        self.backend.abort(keys).await
    }

    /// The first `limit` things in storage that come after `after`, in the order of their paths: of blobs that is
    /// the order of their keys. Fails if storage itself is not there.
    pub async fn list(&self, after: Option<&Found>, limit: usize) -> Result<Vec<Found>, StoreError> {
        self.backend.list(after, limit).await
    }

    /// Whether something that was listed is there still, as it was found.
    pub async fn is_there(&self, found: &Found) -> Result<bool, StoreError> {
        self.backend.is_there(found).await
    }

    /// The id that this storage carries; none before it was given one (C4).
    pub async fn id(&self) -> Result<Option<StorageId>, StoreError> {
        self.backend.id().await
    }

    /// Gives this storage an id, in place of the one that it carries. After `Ok` it survives a power cut.
    pub async fn set_id(&self, id: &StorageId) -> Result<(), StoreError> {
        self.backend.set_id(id).await
    }

    /// Gives this storage an id unless it carries one (C4). After `Ok` it carries one that survives a power cut, and
    /// [`Self::id`] tells which: others may have come first. A bucket whose server knows no conditions on writes keeps
    /// the last one of several that come at once.
    pub async fn claim_id(&self, id: &StorageId) -> Result<(), StoreError> {
        self.backend.claim_id(id).await
    }
}

impl Blob {
    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads `range`, cut to the size of the blob.
    pub fn reader(&self, range: Range<u64>) -> Frames {
        Frames::stored(self.opened.clone(), self.size, Arc::clone(&self.buffers), &range)
    }
}

fn create(room: &Arc<Room>, path: &Path, size: u64) -> Result<(OpenFile, Reservation, Share), StorageFault> {
    let (reservation, share) = room.reserve(size)?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let file = file.map_err(|error| StorageFault::new("create spool file", path, error))?;
    Ok((OpenFile::new(file), reservation, share))
}
