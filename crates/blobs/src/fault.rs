//! What can go wrong with bytes on their way to disk.

use std::{error::Error as StdError, io, path::Path, path::PathBuf, sync::Arc};

use quayside_oci::Digest;
use thiserror::Error;

use crate::Refusal;

/// Storage, or the spool in front of it, cannot take or give bytes. Never the upstream's fault: the registry
/// passes blobs through while this lasts (O2).
#[derive(Clone, Debug, Error)]
pub enum StorageFault {
    /// The file system would be left with less than the free bytes it has to keep.
    #[error("find {wanted} bytes in {}: {free} are free and {floor} have to stay free", path.display())]
    Floor {
        /// The directory that was to be written to.
        path: PathBuf,
        /// Bytes that are wanted by this and all running ingests together.
        wanted: u64,
        /// Bytes that the file system has for us.
        free: u64,
        /// Bytes that have to stay free.
        floor: u64,
    },
    /// The spool would take more than it may.
    #[error(
        "find {wanted} bytes in {}: {in_use} of the {most} bytes that the spool may take are in use",
        path.display()
    )]
    Spool {
        /// The spool directory.
        path: PathBuf,
        /// Bytes that are wanted.
        wanted: u64,
        /// Bytes that blobs which arrive, or are still read there, were promised.
        in_use: u64,
        /// Bytes that the spool may take in all.
        most: u64,
    },
    /// The file system or the quota on it is full.
    #[error("{action} {}: no space left", path.display())]
    NoSpace {
        /// What was tried, verb first.
        action: &'static str,
        /// On what it was tried.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// A bucket refused, or could not be reached.
    #[error("{action} in bucket {bucket}")]
    Bucket {
        /// What was tried, verb first.
        action: &'static str,
        /// The bucket's name.
        bucket: Arc<str>,
        /// What the server said, or what kept it from saying anything.
        #[source]
        source: Arc<Refusal>,
    },
    /// Anything else that the system refused.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried, verb first.
        action: &'static str,
        /// On what it was tried.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
}

impl StorageFault {
    pub(crate) fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        let full = matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        );
        let (path, source) = (path.to_owned(), Arc::new(source));
        if full {
            Self::NoSpace { action, path, source }
        } else {
            Self::Io { action, path, source }
        }
    }

    pub(crate) fn bucket(action: &'static str, bucket: &str, refusal: Refusal) -> Self {
        Self::Bucket {
            action,
            bucket: bucket.into(),
            source: Arc::new(refusal),
        }
    }

    /// True if the fault is a lack of room and goes away when room is made.
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::Floor { .. } | Self::Spool { .. } | Self::NoSpace { .. } => true,
            Self::Bucket { source, .. } => source.is_no_space(),
            Self::Io { .. } => false,
        }
    }
}

/// Why a spool will never be complete. What every follower's body ends with.
#[derive(Clone, Debug, Error)]
pub enum SpoolFailure {
    /// Local storage gave up. The source of the bytes is not to blame, and the released part of what was written
    /// stays readable, so a client can be carried on without the spool (O2).
    #[error("write spool file")]
    LocalStorage(#[source] StorageFault),
    /// The bytes are not those of the digest (B3).
    #[error("verify blob: expected {expected}, received {actual}")]
    DigestMismatch {
        /// The digest that was asked for.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// More bytes came than were declared (B10).
    #[error("receive blob: more than the declared {expected} bytes")]
    TooLong {
        /// The declared size in bytes.
        expected: u64,
    },
    /// The bytes ended before the declared size (B10).
    #[error("receive blob: {received} bytes instead of the declared {expected}")]
    TooShort {
        /// The declared size in bytes.
        expected: u64,
        /// How many came.
        received: u64,
    },
    /// Whoever drove the ingest gave up for this reason.
    #[error("receive blob")]
    Source(#[source] Arc<dyn StdError + Send + Sync>),
    /// The ingest was dropped before its bytes were verified.
    #[error("receive blob: abandoned before the end")]
    Abandoned,
}

impl SpoolFailure {
    /// True if local storage is to blame, not what was received.
    pub fn is_local_storage(&self) -> bool {
        matches!(self, Self::LocalStorage(_))
    }
}
