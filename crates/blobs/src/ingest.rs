//! The writer's end of a new blob.

mod queue;
mod writer;

use std::{
    error::Error as StdError,
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use quayside_failpoints::pass;
use quayside_oci::{Digest, Hasher};
use thiserror::Error;
use tokio::task::{JoinHandle, spawn_blocking};

use self::{queue::Sender, writer::Writer};
use crate::{
    Arriving, Backend, Progress, Spool, SpoolFailure, SpoolFile, StorageFault, StorageKey, StoreError,
    Upload, room::Reservation,
};

/// Why bytes were not taken.
#[derive(Debug, Error)]
pub enum IngestError {
    /// Local storage gave up (O2). Not the source's fault: the registry passes the blob through.
    #[error("store blob")]
    Storage(#[source] StorageFault),
    /// More bytes came than were declared (B10). The spool has failed.
    #[error("receive blob: more than the declared {expected} bytes")]
    TooLong {
        /// The declared size in bytes.
        expected: u64,
    },
    /// The ingest has failed or was verified before: nothing can be added.
    #[error("receive blob: it has ended already")]
    Ended,
}

/// Why a blob was not verified. The spool has failed.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// Bytes are missing (B10).
    #[error("verify blob: {received} bytes instead of the declared {expected}")]
    TooShort {
        /// The declared size in bytes.
        expected: u64,
        /// How many came.
        received: u64,
    },
    /// The bytes are not those of the digest (B3).
    #[error("verify blob: expected {expected}, received {actual}")]
    DigestMismatch {
        /// The digest that was asked for.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// Local storage gave up on bytes that had been taken (O2).
    #[error("store blob")]
    Storage(#[source] StorageFault),
    /// The ingest had failed before.
    #[error("verify blob: it has failed already")]
    Ended,
}

/// A blob on its way in: the single writer of a [`Spool`].
///
/// Bytes go through a bounded queue to one blocking thread that writes and hashes them; no reader slows it down.
/// Dropping it removes the spool file. Readers that follow it finish if it was verified, whether or not it was
/// stored, and get an error otherwise.
#[derive(Debug)]
pub struct Ingest {
    token: String,
    digest: Digest,
    spool: Arc<Spool>,
    path: PathBuf,
    backend: Arc<dyn Backend>,
    received: u64,
    queue: Option<Sender>,
    writer: Option<JoinHandle<Result<Digest, StorageFault>>>,
    upload: Option<(StorageKey, Box<dyn Upload>)>,
    spool_file: SpoolFile,
}

impl Ingest {
    /// Starts the writer. Has to be called within a runtime.
    pub(crate) fn start(
        (token, path): (String, PathBuf),
        digest: &Digest,
        spool: Arc<Spool>,
        room: Reservation,
        backend: Arc<dyn Backend>,
    ) -> Self {
        let (queue, pieces) = queue::queue();
        let hasher = Hasher::new(digest.algorithm());
        let writer = Writer {
            spool: Arc::clone(&spool),
            path: path.clone(),
            pieces,
            room,
            hasher,
        };
        Self {
            token,
            digest: digest.clone(),
            spool,
            path,
            backend,
            received: 0,
            queue: Some(queue),
            writer: Some(spawn_blocking(|| writer.run())),
            upload: None,
            spool_file: SpoolFile::Left,
        }
    }

    /// The name of this ingest, its own part of the storage key.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The readers' end.
    pub fn spool(&self) -> Arc<Spool> {
        Arc::clone(&self.spool)
    }

    /// How many bytes were taken so far: where a broken transfer is to be resumed (B3). They may not all be on
    /// disk yet, see [`Spool::written`].
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Takes the next bytes; waits while the disk is behind by a mebibyte. If the future is dropped,
    /// [`Ingest::received`] tells what was taken.
    pub async fn append(&mut self, mut chunk: Bytes) -> Result<(), IngestError> {
        let Some(queue) = &self.queue else {
            return Err(IngestError::Ended);
        };
        let expected = self.spool.size();
        if chunk.len() as u64 > expected - self.received {
            self.spool.fail(SpoolFailure::TooLong { expected });
            self.queue = None;
            return Err(IngestError::TooLong { expected });
        }
        while !chunk.is_empty() {
            match queue.send_part(&mut chunk).await {
                Ok(length) => self.received += length as u64,
                Err(queue::Closed) => return Err(IngestError::Storage(self.fault())),
            }
        }
        Ok(())
    }

    /// Waits until everything is on disk and compares the digest. On success the withheld tail is released (B3),
    /// and the size in bytes is given; on failure the spool has failed.
    pub async fn verify(&mut self) -> Result<u64, VerifyError> {
        match self.spool.progress() {
            Progress::Verified => return Ok(self.spool.size()),
            Progress::Failed {
                reason: SpoolFailure::LocalStorage(fault),
                ..
            } => {
                return Err(VerifyError::Storage(fault));
            }
            Progress::Failed { .. } => return Err(VerifyError::Ended),
            Progress::Running { .. } => {}
        }
        let (expected, received) = (self.spool.size(), self.received);
        if received < expected {
            self.spool.fail(SpoolFailure::TooShort { expected, received });
            return Err(VerifyError::TooShort { expected, received });
        }
        self.queue = None;
        let actual = self.finish_writing().await.map_err(VerifyError::Storage)?;
        if actual != self.digest {
            let expected = self.digest.clone();
            self.spool.fail(SpoolFailure::DigestMismatch {
                expected: expected.clone(),
                actual: actual.clone(),
            });
            return Err(VerifyError::DigestMismatch { expected, actual });
        }
        pass("receive blob: written");
        self.spool.verified();
        pass("receive blob: verified");
        Ok(expected)
    }

    /// Brings what arrives to `key` from now on, where storage takes blobs in parts
    /// ([`Store::uploads_early`](crate::Store::uploads_early)). The caller has recorded the key before (G3). What
    /// goes wrong there is told by [`Ingest::commit`] and costs nobody else anything. Has to be called within a
    /// runtime.
    pub fn upload_to(&mut self, key: &StorageKey) {
        if key.is_for(&self.digest) {
            self.upload = Some((key.clone(), self.start_upload(key)));
        }
    }

    fn start_upload(&self, key: &StorageKey) -> Box<dyn Upload> {
        let arriving = Arriving {
            spool: Arc::clone(&self.spool),
            path: self.path.clone(),
            digest: self.digest.clone(),
        };
        self.backend.upload(arriving, key)
    }

    /// Stores the verified blob at `key`, durably. The caller has recorded the key before (G3). After an error
    /// readers still finish, and the key has to be treated as if it held bytes.
    pub async fn commit(mut self, key: &StorageKey) -> Result<(), StoreError> {
        if !matches!(self.spool.progress(), Progress::Verified) {
            return Err(StoreError::NotVerified { key: key.clone() });
        }
        if !key.is_for(&self.digest) {
            return Err(StoreError::ForeignKey { key: key.clone() });
        }
        let upload = match self.upload.take() {
            Some((begun, upload)) if begun == *key => upload,
            _ => self.start_upload(key),
        };
        self.spool_file = upload.commit().await?;
        Ok(())
    }

    /// Gives up: unless the blob was verified, readers' bodies end with `reason`.
    pub fn fail(self, reason: Arc<dyn StdError + Send + Sync>) {
        self.spool.fail(SpoolFailure::Source(reason));
    }

    async fn finish_writing(&mut self) -> Result<Digest, StorageFault> {
        let Some(writer) = &mut self.writer else {
            return Err(self.fault());
        };
        let result = writer.await;
        self.writer = None;
        if let Ok(result) = result {
            return result;
        }
        let fault = self.fault();
        self.spool.fail(SpoolFailure::LocalStorage(fault.clone()));
        Err(fault)
    }

    /// Why the writer has gone.
    fn fault(&self) -> StorageFault {
        if let Progress::Failed {
            reason: SpoolFailure::LocalStorage(fault),
            ..
        } = self.spool.progress()
        {
            return fault;
        }
        let error = io::Error::other("the writing thread has gone");
        StorageFault::new("write spool file", &self.path, error)
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        self.spool.fail(SpoolFailure::Abandoned);
        if self.spool_file == SpoolFile::Moved {
            return;
        }
        let path = std::mem::take(&mut self.path);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || remove(&path))),
            Err(_) => remove(&path),
        }
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => {}
        // A commit that failed late had moved it.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(path = %path.display(), %error, "remove spool file"),
    }
}
