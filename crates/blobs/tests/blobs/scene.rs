//! What the tests need again and again.

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use quayside_blobs::{Blob, Frames, Ingest, ReadError, StorageKey, Store};
use quayside_oci::{Algorithm, Digest};
use tempfile::TempDir;

pub(crate) const KIB: usize = 1 << 10;
pub(crate) const MIB: usize = 1 << 20;

/// A store in a directory that goes with it.
pub(crate) struct Scene {
    pub(crate) store: Store,
    pub(crate) root: TempDir,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        Self {
            store: Store::open_filesystem(root.path(), 0).unwrap(),
            root,
        }
    }

    /// Waits until no file is left below the store.
    pub(crate) async fn is_empty(&self) {
        until("the store is empty", || files(self.root.path()).is_empty()).await;
    }
}

/// Bytes that differ from position to position and from `seed` to `seed`.
pub(crate) fn content(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = vec![0; length];
    for word in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
    }
    bytes.into()
}

pub(crate) fn digest(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

/// An ingest that expects `content`.
pub(crate) async fn ingest(store: &Store, content: &[u8]) -> Ingest {
    store
        .ingest(&digest(content), content.len() as u64)
        .await
        .unwrap()
}

/// Appends `content` in chunks of `chunk` bytes.
pub(crate) async fn append(ingest: &mut Ingest, content: &Bytes, chunk: usize) {
    for start in (0..content.len()).step_by(chunk) {
        ingest
            .append(content.slice(start..content.len().min(start + chunk)))
            .await
            .unwrap();
    }
}

/// Stores `content` under a key of its own.
pub(crate) async fn stored(store: &Store, content: &Bytes) -> StorageKey {
    stored_as(store, content, digest(content)).await
}

pub(crate) async fn stored_as(store: &Store, content: &Bytes, digest: Digest) -> StorageKey {
    let mut ingest = store.ingest(&digest, content.len() as u64).await.unwrap();
    append(&mut ingest, content, 100 * KIB).await;
    ingest.verify().await.unwrap();
    let key = StorageKey::new(&digest, ingest.token()).unwrap();
    ingest.commit(&key).await.unwrap();
    key
}

/// Everything a reader gives, and how it ended.
pub(crate) async fn drain(mut frames: Frames) -> (Vec<u8>, Option<ReadError>) {
    let mut read = Vec::new();
    while let Some(frame) = frames.next().await {
        match frame {
            Ok(bytes) => read.extend_from_slice(&bytes),
            Err(error) => {
                assert!(frames.next().await.is_none(), "there is nothing after an error");
                return (read, Some(error));
            }
        }
    }
    (read, None)
}

/// Everything a reader gives, which has to end well.
pub(crate) async fn read(frames: Frames) -> Vec<u8> {
    let (read, error) = within(drain(frames)).await;
    assert!(error.is_none(), "{error:?} after {} bytes", read.len());
    read
}

/// All of a blob.
pub(crate) async fn whole(blob: &Blob) -> Vec<u8> {
    read(blob.reader(0..blob.size())).await
}

/// The files below a directory.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

/// Lets other tasks run until `done`.
pub(crate) async fn until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        tokio::task::yield_now().await;
    }
}

/// What has to come to an end at all.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(1), work)
        .await
        .expect("it hangs")
}

/// Compares without printing megabytes.
#[track_caller]
pub(crate) fn assert_same(left: &[u8], right: &[u8]) {
    assert_eq!(left.len(), right.len(), "lengths differ");
    if left != right {
        let differs = left.iter().zip(right).position(|(left, right)| left != right);
        panic!("first difference at {differs:?}");
    }
}
