//! How much goes to a bucket at once, and how much lies in the spool.

use std::time::Duration;

use bytes::Bytes;
use quayside_blobs::{IngestError, S3Settings, StorageFault, StorageKey, Store, StoreError};
use quayside_oci::{Algorithm, Hasher};
use quayside_test_servers::{
    s3_door::{Fault, Operation},
    versitygw::Versions,
};

use super::scene::{PART, eventually, received};
use crate::bucket::depot::Depot;
use crate::scene::{KIB, MIB, content, digest, ingest, whole, within};

/// B7: two parts of one blob and eight of all are on their way at once, while the spool takes whole blobs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_a_bounded_number_of_parts_at_once() {
    let depot = Depot::new().await;
    depot
        .door
        .break_all(Operation::UploadPart, Fault::Stall(Duration::from_hours(1)));
    let bytes = content(3 * PART, 1);
    let mut waiting = Vec::new();
    for (blobs, parts) in [(1, 2), (2, 4), (4, 8), (5, 8)] {
        while waiting.len() < blobs {
            waiting.push(received(&depot.store, &bytes).await);
        }
        let count = || depot.door.count(Operation::UploadPart);
        eventually("parts are on their way", || async { count() >= parts }).await;
        // What would be too much has had its time as well: its upload exists.
        eventually("all uploads exist", || async {
            depot.uploads().await.len() == blobs
        })
        .await;
        depot.uploads().await;
        assert_eq!(count(), parts, "of {blobs} blobs");
    }
    depot.door.heal();
    for (ingest, key) in waiting {
        within(ingest.commit(&key)).await.unwrap();
    }
}

/// B7: memory is bounded whatever the size of a blob and whatever the bucket does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_the_same_memory_for_a_large_blob() {
    let pieces = if std::env::var_os("QUAYSIDE_LONG").is_some() {
        300
    } else {
        60
    };
    let depot = Depot::new().await;
    let mut settings = depot.settings.clone();
    settings.endpoint = Some(depot.server.url());
    settings.spool.push("another");
    let store = Store::open_s3(&settings).await.unwrap();
    // What a first upload needs is there from then on.
    let small = content(2 * PART, 2);
    let (first, key) = received(&store, &small).await;
    within(first.commit(&key)).await.unwrap();

    let piece = content(MIB, 3);
    let before = peak();
    depot.server.stop();
    let (ingest, key) = large(&store, &piece, pieces).await;
    let commit = tokio::spawn(async move { ingest.commit(&key).await.map(|()| key) });
    depot.server.go_on();
    let key = tokio::time::timeout(Duration::from_mins(2), commit)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let grown = peak() - before;
    assert!(grown < 16 * MIB, "{} KiB more for {pieces} MiB", grown / KIB);
    let blob = store.open(&key, (pieces * MIB) as u64).await.unwrap();
    assert_eq!(blob.size(), (pieces * MIB) as u64);
}

/// An ingest that has received `pieces` times the same and was verified, without holding it.
async fn large(store: &Store, piece: &Bytes, pieces: usize) -> (quayside_blobs::Ingest, StorageKey) {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for _ in 0..pieces {
        hasher.update(piece);
    }
    let digest = hasher.finish();
    let mut ingest = store.ingest(&digest, (pieces * MIB) as u64).await.unwrap();
    let key = StorageKey::new(&digest, ingest.token()).unwrap();
    ingest.upload_to(&key);
    for _ in 0..pieces {
        ingest.append(piece.clone()).await.unwrap();
    }
    within(ingest.verify()).await.unwrap();
    (ingest, key)
}

/// The most bytes of memory that this process ever had.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * KIB
}

/// O2: the spool takes what it may and no more, counted until the last reader has let go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refuses_what_does_not_fit_into_the_spool() {
    let most = 3 * MIB as u64;
    let change = |settings: &mut S3Settings| settings.max_spool_bytes = Some(most);
    let depot = Depot::with(Versions::Off, change).await.unwrap();
    let bytes = content(2 * MIB, 4);
    let (stored, key) = received(&depot.store, &bytes).await;
    let reader = stored.spool().follow(0..u64::MAX);
    within(stored.commit(&key)).await.unwrap();
    let refused = depot
        .store
        .ingest(&digest(&bytes), 2 * MIB as u64)
        .await
        .unwrap_err();
    let IngestError::Storage(fault) = &refused else {
        panic!("{refused:?}")
    };
    assert!(
        matches!(*fault, StorageFault::Spool { in_use, .. } if in_use == 2 * MIB as u64),
        "{fault:?}"
    );
    assert!(fault.is_no_space());
    let small = ingest(&depot.store, &bytes[..MIB]).await;
    drop((reader, small));
    eventually("there is room again", || async {
        depot.store.ingest(&digest(&bytes), most).await.is_ok()
    })
    .await;
    let blob = depot.store.open(&key, bytes.len() as u64).await.unwrap();
    assert_eq!(whole(&blob).await.len(), bytes.len());
}

/// G3: the spool belongs to one process, which empties it at start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn has_a_spool_for_itself_and_finds_it_empty() {
    let depot = Depot::new().await;
    let refused = Store::open_s3(&depot.settings).await.unwrap_err();
    assert!(
        matches!(&refused, StoreError::Locked { path } if *path == depot.settings.spool),
        "{refused:?}"
    );
    let Depot {
        store,
        settings,
        server: _server,
        door: _door,
        home: _home,
        ..
    } = depot;
    let left = settings.spool.join(Store::new_token());
    std::fs::write(&left, "of a process that died").unwrap();
    drop(store);
    let _store = Store::open_s3(&settings).await.unwrap();
    assert!(!left.exists());
}
