//! An outage is not a lost file.

use std::{fs, time::Duration};

use quayside_blobs::{OpenError, ReadError, Store, Versioned};
use quayside_test_servers::s3_door::{Fault, Operation};

use super::{
    depot::{Depot, NAME, settings, soon},
    stub::Stub,
};
use crate::scene::{MIB, assert_same, content, drain, stored, whole};

/// Whatever goes wrong has to be known by then, so that a client can be served in another way (O2).
const LIMIT: Duration = Duration::from_secs(10);

/// B8, O2: refusals, breakdowns and silence say nothing about the blob.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takes_no_outage_for_a_loss() {
    let mut depot = Depot::new().await;
    let key = stored(&depot.store, &content(100, 1)).await;
    for fault in [Fault::Denied, Fault::SlowDown, Fault::Drop] {
        depot.door.break_all(Operation::HeadObject, fault);
        let refused = soon(LIMIT, depot.store.open_anew(&key, 100)).await.unwrap_err();
        assert!(matches!(refused, OpenError::Io(_)), "{fault:?}: {refused:?}");
        depot.door.heal();
        depot.store.open_anew(&key, 100).await.unwrap();
    }
    depot.server.kill();
    let at_once = Duration::from_secs(2);
    let refused = soon(at_once, depot.store.open_anew(&key, 100)).await.unwrap_err();
    assert!(matches!(refused, OpenError::Io(_)), "{refused:?}");
    depot.server.restart();
    depot.store.open_anew(&key, 100).await.unwrap();
}

/// B8: an object is lost only if its bucket is there and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takes_a_lost_bucket_for_an_outage() {
    let depot = Depot::new().await;
    let key = stored(&depot.store, &content(100, 2)).await;
    let bucket = depot.server.bucket(NAME);
    let away = bucket.with_file_name("away");
    fs::rename(&bucket, &away).unwrap();
    let refused = depot.store.open_anew(&key, 100).await.unwrap_err();
    assert!(matches!(refused, OpenError::Io(_)), "{refused:?}");
    depot.store.id().await.unwrap_err();
    depot.store.list(None, 10).await.unwrap_err();
    depot.store.delete(std::slice::from_ref(&key)).await.unwrap_err();
    fs::rename(&away, &bucket).unwrap();
    depot.store.open_anew(&key, 100).await.unwrap();
}

/// B8: a 404 of something that is no S3 server is no loss.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takes_a_stranger_without_the_object_for_an_outage() {
    let depot = Depot::new().await;
    let key = stored(&depot.store, &content(100, 3)).await;
    let stranger = Stub::answering(|_, _| (404, "not here\n".to_owned())).await;
    let home = tempfile::tempdir().unwrap();
    let mut settings = settings(&home, &stranger.url);
    settings.versioned = Versioned::Allowed;
    let store = Store::open_s3(&settings).await.unwrap();
    let refused = store.open(&key, 100).await.unwrap_err();
    assert!(matches!(refused, OpenError::Io(_)), "{refused:?}");
}

/// O2: a bucket that hangs is a fault in less than ten seconds, whether it is opened or read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn does_not_wait_for_a_bucket_that_hangs() {
    let depot = Depot::new().await;
    let bytes = content(16 * MIB, 4);
    let key = stored(&depot.store, &bytes).await;
    let blob = depot.store.open(&key, bytes.len() as u64).await.unwrap();
    let mut begun = blob.reader(0..blob.size());
    begun.next().await.unwrap().unwrap();
    depot.server.stop();
    let opened = soon(LIMIT, depot.store.open_anew(&key, bytes.len() as u64));
    let untouched = soon(LIMIT, drain(blob.reader(0..blob.size())));
    let begun = soon(LIMIT, drain(begun));
    let (opened, (_, untouched), (read, begun)) = tokio::join!(opened, untouched, begun);
    depot.server.go_on();
    assert!(matches!(opened, Err(OpenError::Io(_))), "{opened:?}");
    assert!(matches!(untouched, Some(ReadError::Storage(_))), "{untouched:?}");
    assert!(matches!(begun, Some(ReadError::Storage(_))), "{begun:?}");
    assert!(read.len() < bytes.len());
    let blob = depot.store.open_anew(&key, bytes.len() as u64).await.unwrap();
    assert_same(&whole(&blob).await, &bytes);
}
