//! A bucket that stalls, refuses, loses its answers, or is full.

use std::{fs, os::unix::fs::MetadataExt, time::Duration};

use quayside_blobs::{Patience, StorageFault, StoreError};
use quayside_test_servers::{
    Versitygw,
    s3_door::{Fault, Operation},
    versitygw::{Disk, Versions},
};
use tokio::time::Instant;

use super::scene::{PART, SHORT, WAKEFUL, begin, eventually, key_of, received};
use crate::bucket::depot::Depot;
use crate::scene::{KIB, MIB, append, assert_same, content, drain, read, whole, within};

/// As good as never.
const HOUR: Duration = Duration::from_hours(1);

/// O2: a bucket that does not want parts for a while, loses them, or answers too late, still gets them all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_parts_again_that_did_not_arrive() {
    let depot = Depot::waiting(WAKEFUL).await;
    for fault in [
        Fault::SlowDown,
        Fault::Drop,
        Fault::LoseAnswer,
        Fault::Stall(HOUR),
        Fault::StallAnswer(HOUR),
    ] {
        depot.door.forget();
        depot.door.break_next(2, Operation::UploadPart, fault);
        let bytes = content(2 * PART + 5, 1);
        let (ingest, key) = received(&depot.store, &bytes).await;
        let committed = within(ingest.commit(&key)).await;
        assert!(committed.is_ok(), "{fault:?}: {committed:?}");
        let blob = depot.store.open(&key, bytes.len() as u64).await.unwrap();
        assert_same(&whole(&blob).await, &bytes);
        assert!(
            depot.door.count(Operation::UploadPart) >= 5,
            "{fault:?} did nothing"
        );
        depot.door.heal();
    }
}

/// O2: what becomes an object at the first try, or was in fact one when the answer did not come, is stored; and it is
/// stored once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finds_out_what_became_of_an_object_whose_answer_was_lost() {
    let depot = Depot::waiting(WAKEFUL).await;
    for (length, operation) in [
        (PART + 5, Operation::CompleteUpload),
        (5 * KIB, Operation::PutObject),
    ] {
        for fault in [Fault::LoseAnswer, Fault::StallAnswer(HOUR)] {
            depot.door.forget();
            depot.door.break_next(1, operation, fault);
            let bytes = content(length, 2);
            let (ingest, key) = received(&depot.store, &bytes).await;
            let committed = within(ingest.commit(&key)).await;
            assert!(committed.is_ok(), "{operation:?} {fault:?}: {committed:?}");
            assert_eq!(
                depot.door.count(operation),
                1,
                "written twice: {operation:?} {fault:?}"
            );
            let blob = depot.store.open(&key, length as u64).await.unwrap();
            assert_same(&whole(&blob).await, &bytes);
            depot.door.heal();
        }
    }
}

/// O2: an object is tried to be made again as long as there is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn makes_an_object_again_where_there_is_none() {
    let depot = Depot::waiting(WAKEFUL).await;
    for (length, operation) in [
        (PART + 5, Operation::CompleteUpload),
        (5 * KIB, Operation::PutObject),
    ] {
        for fault in [Fault::SlowDown, Fault::Drop] {
            depot.door.break_next(2, operation, fault);
            let bytes = content(length, 3);
            let (ingest, key) = received(&depot.store, &bytes).await;
            let committed = within(ingest.commit(&key)).await;
            assert!(committed.is_ok(), "{operation:?} {fault:?}: {committed:?}");
            let blob = depot.store.open(&key, length as u64).await.unwrap();
            assert_same(&whole(&blob).await, &bytes);
        }
    }
}

/// O2, B3: an upload that fails costs readers nothing; the commit says so within bounded time, and what was in the
/// bucket of it goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gives_up_in_bounded_time_and_readers_finish() {
    let depot = Depot::waiting(SHORT).await;
    let operations = [
        Operation::CreateUpload,
        Operation::UploadPart,
        Operation::CompleteUpload,
        Operation::PutObject,
    ];
    for operation in operations {
        for fault in [Fault::Stall(HOUR), Fault::SlowDown, Fault::Denied] {
            depot.door.break_all(operation, fault);
            let length = if operation == Operation::PutObject {
                MIB
            } else {
                PART + MIB
            };
            let bytes = content(length, 4);
            let (ingest, key) = received(&depot.store, &bytes).await;
            let spool = ingest.spool();
            let begun = Instant::now();
            let error = within(ingest.commit(&key)).await.unwrap_err();
            assert!(
                matches!(&error, StoreError::Storage(StorageFault::Bucket { .. })),
                "{operation:?} {fault:?}: {error:?}"
            );
            // Two calls that are broken off, with what lies between them.
            let longest = SHORT.outage + 4 * SHORT.silence;
            assert!(
                begun.elapsed() < 2 * longest,
                "{operation:?} {fault:?}: {:?}",
                begun.elapsed()
            );
            assert_same(&read(spool.follow(0..u64::MAX)).await, &bytes);
            let late = match (operation, fault) {
                (Operation::CreateUpload, Fault::Stall(_)) => depot.door.count(operation),
                _ => 0,
            };
            depot.door.heal();
            depot.has_no_uploads_but(late).await;
            // What nobody knows of goes with the garbage.
            depot.store.delete(&[key]).await.unwrap();
            depot.has_no_uploads().await;
            depot.door.forget();
        }
    }
    depot.spool_is_empty().await;
}

/// O2: an upload that fails while bytes still arrive is noticed by nobody before the commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tells_of_an_early_failure_at_the_end() {
    let depot = Depot::waiting(SHORT).await;
    depot.door.break_all(Operation::UploadPart, Fault::Denied);
    let bytes = content(3 * PART, 5);
    let mut filling = begin(&depot.store, &bytes).await;
    let reader = tokio::spawn(drain(filling.spool().follow(0..u64::MAX)));
    append(&mut filling, &bytes.slice(..2 * PART), MIB).await;
    eventually("the upload has been given up", || async {
        depot.door.count(Operation::AbortUpload) == 1
    })
    .await;
    append(&mut filling, &bytes.slice(2 * PART..), MIB).await;
    filling.verify().await.unwrap();
    let key = key_of(&filling, &bytes);
    let error = within(filling.commit(&key)).await.unwrap_err();
    assert!(matches!(error, StoreError::Storage(_)), "{error:?}");
    let (received, error) = within(reader).await.unwrap();
    assert!(error.is_none(), "{error:?}");
    assert_same(&received, &bytes);
}

/// O2: as long as bytes still arrive, nobody waits for the bucket, and it may be away for any time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outlasts_any_outage_while_bytes_still_arrive() {
    let patience = Patience {
        outage: Duration::from_millis(300),
        ..SHORT
    };
    let depot = Depot::waiting(patience).await;
    depot.door.break_all(Operation::UploadPart, Fault::SlowDown);
    let bytes = content(2 * PART + 5, 9);
    let mut filling = begin(&depot.store, &bytes).await;
    append(&mut filling, &bytes.slice(..2 * PART), MIB).await;
    // Two parts, each tried more often than fits into the patience: four times, and each time twice.
    eventually("parts are tried again and again", || async {
        depot.door.count(Operation::UploadPart) >= 16
    })
    .await;
    depot.door.heal();
    depot.has_parts(&[PART, PART]).await;
    append(&mut filling, &bytes.slice(2 * PART..), MIB).await;
    filling.verify().await.unwrap();
    let key = key_of(&filling, &bytes);
    within(filling.commit(&key)).await.unwrap();
    let blob = depot.store.open(&key, bytes.len() as u64).await.unwrap();
    assert_same(&whole(&blob).await, &bytes);
}

/// O2: a bucket that is gone for shorter than a fill waits loses none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outlasts_a_bucket_that_comes_back() {
    let mut depot = Depot::new().await;
    for length in [2 * PART, 5 * KIB] {
        let bytes = content(length, 6);
        depot.server.kill();
        let (ingest, key) = received(&depot.store, &bytes).await;
        let commit = tokio::spawn(async move { ingest.commit(&key).await.map(|()| key) });
        eventually("the bucket was missed", || async {
            !depot.door.seen().is_empty()
        })
        .await;
        depot.server.restart();
        let key = within(commit).await.unwrap().unwrap();
        let blob = depot.store.open(&key, length as u64).await.unwrap();
        assert_same(&whole(&blob).await, &bytes);
        depot.door.forget();
    }
}

/// O2: a bucket without room is told from one that is down; readers finish, and it heals by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn says_that_the_bucket_is_full() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("skipped: mounting a tmpfs needs root");
        return;
    }
    let server = Versitygw::start_on(Disk::Small(12 * MIB as u64));
    let depot = Depot::on(server, Versions::Off, Patience::default(), |_| {})
        .await
        .unwrap();
    for length in [2 * PART, PART] {
        let bytes = content(length, 7);
        let other = depot.server.bucket("blobs").join("other");
        fs::write(&other, vec![1; 6 * MIB]).unwrap();
        let (ingest, key) = received(&depot.store, &bytes).await;
        let spool = ingest.spool();
        let error = within(ingest.commit(&key)).await.unwrap_err();
        assert!(
            matches!(&error, StoreError::Storage(fault) if fault.is_no_space()),
            "{error:?}"
        );
        assert_same(&read(spool.follow(0..u64::MAX)).await, &bytes);
        depot.has_no_uploads().await;
        fs::remove_file(&other).unwrap();
    }
    let bytes = content(PART, 8);
    let (ingest, key) = received(&depot.store, &bytes).await;
    within(ingest.commit(&key)).await.unwrap();
}
